// SPDX-License-Identifier: Apache-2.0
/*
 * Every command of the table, with arguments of the declared types, at a real machine (under the test accelerator) that
 * earlier commands of the same input have changed: what fuzz_qmp, which tries the stream, never reaches. The input chooses
 * commands, members and values. Strings are those that mean something to some command, or bytes of the input.
 */
#include <signal.h>
#include <unistd.h>

#include "qmp/internal.h"
#include "shared.h"
#include "util/fd_store.h"

#define COMMANDS_MAX 24
#define DEPTH_MAX 6

/* --- values --- */

/* Names of things there are or may be, of kinds, of files in the folder of the target, and texts that commands read. */
static const char *const words[] = {
	"d0", "d1", "n0", "n1", "io0", "c0", "blk0", "rng0", "balloon0", "port0", "rp0", "x", "y", "", "serial0", "net0",
	"file", "raw", "host_device", "null-co", "qcow2", "disk0", "disk1", "virtio-blk-mmio", "virtio-net-mmio",
	"virtio-blk-device", "virtio-net-device", "virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci",
	"virtio-serial-pci", "virtio-balloon-pci", "pcie-root-port", "virtconsole", "isa-serial", "tap", "iothread",
	"memory-backend-ram", "memory-backend-memfd", "rng-random", "secret", "throttle-group", "null", "pty", "socket",
	"unix", "sock", "/dev/urandom", "/machine", "/machine/peripheral", "/machine/peripheral/blk0",
	"/machine/peripheral/balloon0", "/machine/unattached", "/machine/unattached/device[0]", "/objects/io0",
	"guest-stats", "guest-stats-polling-interval", "type", "drive", "iops", "info status", "info block",
	"info network", "info qtree", "info mtree", "info registers", "info chardev", "0", "1", "0x1", "0x40000000000",
	"on", "off", "4096", "1M", "unmap", "threads", "none-machine", "device", "threadless",
};
static const char *const keys[] = {
	"id", "driver", "node-name", "filename", "file", "read-only", "drive", "bus", "addr", "serial", "num-queues",
	"queue-size", "rng", "mac", "netdev", "mq", "iothread", "size", "share", "chassis", "port", "multifunction",
	"chardev", "nr", "name", "max-bytes", "period", "discard", "cache", "direct", "aio", "type", "queues", "data", "path",
	"addr", "server", "wait", "write-cache", "iops-total", "throttling", "limits", "lun", "hotplug",
};
static const int64_t numbers[] = {
	0, 1, -1, 2, 3, 4, 8, 15, 16, 255, 256, 511, 512, 4096, 65536, 1 << 20, 1 << 27, 1LL << 32, 1LL << 40, INT64_MAX, INT64_MIN,
};

static struct json_object *some_string(void)
{
	unsigned int pick = byte();
	char text[32];
	size_t len;

	if (pick < 240)
		return json_object_new_string(words[pick % ARRAY_SIZE(words)]);
	len = MIN(byte() % sizeof(text), input_left());
	for (size_t i = 0; i < len; i++) {
		text[i] = (char)(byte() & 0x7f);
		/* A command that makes files makes them in this folder. */
		if (text[i] == '/' || text[i] == '.' || !text[i])
			text[i] = '_';
	}
	return json_object_new_string_len(text, (int)len);
}

static struct json_object *of_type(const struct qmp_type *type, unsigned int depth);

static struct json_object *of_members(const struct qmp_member *members, unsigned int depth)
{
	struct json_object *object = json_object_new_object();

	for (; members && members->name; members++)
		if (!members->optional || byte() & 1)
			json_object_object_add(object, members->name, of_type(members->type, depth + 1));
	return object;
}

static struct json_object *anything(unsigned int depth)
{
	struct json_object *value;

	switch (depth < DEPTH_MAX ? byte() % 7 : 2) {
	case 0:
		value = json_object_new_object();
		for (unsigned int n = byte() % 5; n; n--)
			json_object_object_add(value, keys[byte() % ARRAY_SIZE(keys)], anything(depth + 1));
		return value;
	case 1:
		value = json_object_new_array();
		for (unsigned int n = byte() % 3; n; n--)
			json_object_array_add(value, anything(depth + 1));
		return value;
	case 3:
		return json_object_new_int64(numbers[byte() % ARRAY_SIZE(numbers)]);
	case 4:
		return json_object_new_boolean(byte() & 1);
	case 5:
		return byte() & 7 ? some_string() : NULL; /* null */
	default:
		return some_string();
	}
}

static unsigned int count_of(const char *const *list)
{
	unsigned int count = 0;

	while (list[count])
		count++;
	return count;
}

static struct json_object *of_type(const struct qmp_type *type, unsigned int depth)
{
	struct json_object *list;

	/* Now and then one of another type. */
	if (type == &qmp_any || byte() == 0xff)
		return anything(depth);
	switch (type->meta) {
	case QMP_ENUM:
		return json_object_new_string(type->values[byte() % count_of(type->values)]);
	case QMP_OBJECT:
		return of_members(type->members, depth);
	case QMP_ARRAY:
		list = json_object_new_array();
		for (unsigned int n = depth < DEPTH_MAX ? byte() % 4 : 0; n; n--)
			json_object_array_add(list, of_type(type->element, depth + 1));
		return list;
	case QMP_BUILTIN:
		break;
	}
	if (type == &qmp_str)
		return some_string();
	if (type == &qmp_bool)
		return json_object_new_boolean(byte() & 1);
	return json_object_new_int64(numbers[byte() % ARRAY_SIZE(numbers)]);
}

static const struct qmp_command *some_command(void)
{
	unsigned int count = 0, pick;

	qmp_for_each_command(cmd)
		count++;
	pick = (byte() | byte() << 8) % count;
	qmp_for_each_command(cmd)
		if (!pick--)
			return cmd;
	return NULL;
}

static char *some_message(void)
{
	const struct qmp_command *cmd = some_command();
	struct json_object *message = json_object_new_object(), *args = of_members(cmd->args, 0);

	if (cmd->flags & QMP_MORE_ARGS)
		for (unsigned int n = byte() % 6; n; n--)
			json_object_object_add(args, keys[byte() % ARRAY_SIZE(keys)], anything(1));
	qmp_add_str(message, "execute", cmd->name);
	json_object_object_add(message, "arguments", args);
	return qmp_to_line(message);
}

/* --- the machine and its client --- */

static const char microvm[] =
	"-machine microvm,replaceable-slots=on -m 128 -accel test -S -object iothread,id=io0"
	" -object rng-random,id=r0,filename=/dev/urandom -device virtio-rng-device,rng=r0,id=rng0"
	" -drive id=d0,file=disk0,if=none -device virtio-blk-device,drive=d0,id=blk0,iothread=io0"
	" -device virtio-balloon-device,id=balloon0 -device virtio-serial-device,id=vs0 -chardev null,id=c0"
	" -device virtserialport,chardev=c0,id=port0,name=p -serial null";
#ifdef __x86_64__
static const char pcie[] =
	"-machine q35 -m 128 -accel test -S -object iothread,id=io0"
	" -device pcie-root-port,id=rp0,bus=pcie.0,addr=0x2,chassis=1 -drive id=d0,file=disk0,if=none"
	" -device virtio-blk-pci,drive=d0,id=blk0,bus=rp0,addr=0,iothread=io0"
	" -device virtio-balloon-pci,id=balloon0,bus=pcie.0,addr=0x3 -object rng-random,id=r0,filename=/dev/urandom"
	" -device virtio-rng-pci,rng=r0,id=rng0,bus=pcie.0,addr=0x4 -serial null";
#endif

static size_t written;

static ssize_t take(struct qmp_session *session, const char *data, size_t len)
{
	(void)session;
	MUST(memchr(data, '\0', len) == NULL);
	written += len;
	return (ssize_t)len;
}

static void nothing(struct qmp_session *session)
{
	(void)session;
}

static const struct qmp_transport transport = { .write = take, .accept_input = nothing, .close = nothing };

static void stop_loop(struct loop_call *call)
{
	loop_stop(call->loop);
}

static void turn(struct loop *loop)
{
	struct loop_call call;

	loop_call_init(&call, loop, stop_loop);
	loop_call_schedule(&call);
	loop_run(loop);
	loop_call_cancel(&call);
}

/* The folder where commands find and leave files. */
static void enter_folder(void)
{
	make_disk("disk0");
	make_disk("disk1");
	MUST(!chdir(folder()));
	signal(SIGPIPE, SIG_IGN);
}

static void talk(struct qmp *qmp)
{
	struct qmp_session session = { .open = false };
	size_t before;

	qmp_session_init(&session, qmp, &transport, false);
	qmp_session_open(&session);
	for (unsigned int n = 0; n < COMMANDS_MAX && input_left() > 1 && session.open && !qmp->ending; n++) {
		char *line = some_message();
		size_t len = strlen(line), done = 0;

		before = written;
		while (done < len && session.open) {
			size_t piece = MIN(len - done, qmp_session_room(&session));

			qmp_session_input(&session, line + done, piece);
			done += piece;
			turn(qmp->loop);
		}
		turn(qmp->loop);
		/* Whatever it was, it is answered. */
		MUST(written > before);
		free(line);
	}
	qmp_session_close(&session);
	qmp_session_release(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *options = microvm;
	struct vm_config config;
	struct machine *machine;
	struct qmp qmp = { .machine = NULL };
	struct loop *loop;

	if (!written)
		enter_folder();
	input_begin(data, size);
#ifdef __x86_64__
	if (byte() & 1)
		options = pcie;
#endif
	loop = loop_new("fuzz", NULL);
	machine = make_machine(options, loop, &config);
	qmp.machine = machine;
	qmp.loop = loop;
	list_init(&qmp.monitors);
	list_init(&qmp.sessions);
	list_init(&qmp.limited);
	qmp_event_watch(&qmp);
	talk(&qmp);
	qmp_event_unwatch(&qmp);
	fd_store_clear();
	machine_free(machine);
	loop_free(loop);
	vm_config_release(&config);
	return 0;
}
