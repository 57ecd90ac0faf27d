// SPDX-License-Identifier: Apache-2.0
/*
 * Every command of the table, with arguments of the declared types, at a real machine (under the test accelerator) that
 * earlier commands of the same input have changed: what fuzz_qmp, which tries the stream, never reaches. The input chooses
 * commands, members and values. Strings are those that mean something to some command, or bytes of the input.
 */
#include <signal.h>
#include <unistd.h>

#include "config/vm_config.h"
#include "fuzz.h"
#include "machine/machine.h"
#include "qmp/internal.h"
#include "util/fd_store.h"

#define COMMANDS_MAX 24
#define DEPTH_MAX 6

struct input {
	const uint8_t *data;
	size_t left;
};

static unsigned int next(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

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

static struct json_object *some_string(struct input *in)
{
	unsigned int pick = next(in);
	char text[32];
	size_t len;

	if (pick < 240)
		return json_object_new_string(words[pick % ARRAY_SIZE(words)]);
	len = MIN(next(in) % sizeof(text), in->left);
	for (size_t i = 0; i < len; i++) {
		text[i] = (char)(next(in) & 0x7f);
		/* A command that makes files makes them in this folder. */
		if (text[i] == '/' || text[i] == '.' || !text[i])
			text[i] = '_';
	}
	return json_object_new_string_len(text, (int)len);
}

static struct json_object *of_type(struct input *in, const struct qmp_type *type, unsigned int depth);

static struct json_object *of_members(struct input *in, const struct qmp_member *members, unsigned int depth)
{
	struct json_object *object = json_object_new_object();

	for (; members && members->name; members++)
		if (!members->optional || next(in) & 1)
			json_object_object_add(object, members->name, of_type(in, members->type, depth + 1));
	return object;
}

static struct json_object *anything(struct input *in, unsigned int depth)
{
	struct json_object *value;

	switch (depth < DEPTH_MAX ? next(in) % 7 : 2) {
	case 0:
		value = json_object_new_object();
		for (unsigned int n = next(in) % 5; n; n--)
			json_object_object_add(value, keys[next(in) % ARRAY_SIZE(keys)], anything(in, depth + 1));
		return value;
	case 1:
		value = json_object_new_array();
		for (unsigned int n = next(in) % 3; n; n--)
			json_object_array_add(value, anything(in, depth + 1));
		return value;
	case 3:
		return json_object_new_int64(numbers[next(in) % ARRAY_SIZE(numbers)]);
	case 4:
		return json_object_new_boolean(next(in) & 1);
	case 5:
		return next(in) & 7 ? some_string(in) : NULL; /* null */
	default:
		return some_string(in);
	}
}

static unsigned int count_of(const char *const *list)
{
	unsigned int count = 0;

	while (list[count])
		count++;
	return count;
}

static struct json_object *of_type(struct input *in, const struct qmp_type *type, unsigned int depth)
{
	struct json_object *list;

	/* Now and then one of another type. */
	if (type == &qmp_any || next(in) == 0xff)
		return anything(in, depth);
	switch (type->meta) {
	case QMP_ENUM:
		return json_object_new_string(type->values[next(in) % count_of(type->values)]);
	case QMP_OBJECT:
		return of_members(in, type->members, depth);
	case QMP_ARRAY:
		list = json_object_new_array();
		for (unsigned int n = depth < DEPTH_MAX ? next(in) % 4 : 0; n; n--)
			json_object_array_add(list, of_type(in, type->element, depth + 1));
		return list;
	case QMP_BUILTIN:
		break;
	}
	if (type == &qmp_str)
		return some_string(in);
	if (type == &qmp_bool)
		return json_object_new_boolean(next(in) & 1);
	return json_object_new_int64(numbers[next(in) % ARRAY_SIZE(numbers)]);
}

static const struct qmp_command *some_command(struct input *in)
{
	unsigned int count = 0, pick;

	qmp_for_each_command(cmd)
		count++;
	pick = (next(in) | next(in) << 8) % count;
	qmp_for_each_command(cmd)
		if (!pick--)
			return cmd;
	return NULL;
}

static char *some_message(struct input *in)
{
	const struct qmp_command *cmd = some_command(in);
	struct json_object *message = json_object_new_object(), *args = of_members(in, cmd->args, 0);

	if (cmd->flags & QMP_MORE_ARGS)
		for (unsigned int n = next(in) % 6; n; n--)
			json_object_object_add(args, keys[next(in) % ARRAY_SIZE(keys)], anything(in, 1));
	qmp_add_str(message, "execute", cmd->name);
	json_object_object_add(message, "arguments", args);
	return qmp_to_line(message);
}

/* --- the machine and its client --- */

static const char *const microvm[] = {
	"stratovirt", "-machine", "microvm,replaceable-slots=on", "-m", "128", "-accel", "test", "-S", "-object",
	"iothread,id=io0", "-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=r0,id=rng0",
	"-drive", "id=d0,file=disk0,if=none", "-device", "virtio-blk-device,drive=d0,id=blk0,iothread=io0", "-device",
	"virtio-balloon-device,id=balloon0", "-device", "virtio-serial-device,id=vs0", "-chardev", "null,id=c0", "-device",
	"virtserialport,chardev=c0,id=port0,name=p", "-serial", "null", NULL,
};
#ifdef __x86_64__
static const char *const pcie[] = {
	"stratovirt", "-machine", "q35", "-m", "128", "-accel", "test", "-S", "-object", "iothread,id=io0", "-device",
	"pcie-root-port,id=rp0,bus=pcie.0,addr=0x2,chassis=1", "-drive", "id=d0,file=disk0,if=none", "-device",
	"virtio-blk-pci,drive=d0,id=blk0,bus=rp0,addr=0,iothread=io0", "-device",
	"virtio-balloon-pci,id=balloon0,bus=pcie.0,addr=0x3", "-object", "rng-random,id=r0,filename=/dev/urandom", "-device",
	"virtio-rng-pci,rng=r0,id=rng0,bus=pcie.0,addr=0x4", "-serial", "null", NULL,
};
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
	const char *tmp = getenv("TMPDIR"); /* tests/fuzz/run removes it */
	char folder[4096];
	FILE *file;

	snprintf(folder, sizeof(folder), "%s/commands-XXXXXX", tmp ? tmp : "/tmp");
	MUST(mkdtemp(folder) && !chdir(folder));
	for (unsigned int i = 0; i < 2; i++) {
		file = fopen(i ? "disk1" : "disk0", "w");
		MUST(file && !ftruncate(fileno(file), 1 << 20));
		fclose(file);
	}
	signal(SIGPIPE, SIG_IGN);
}

static void talk(struct qmp *qmp, struct input *in)
{
	struct qmp_session session = { .open = false };
	size_t before;

	qmp_session_init(&session, qmp, &transport, false);
	qmp_session_open(&session);
	for (unsigned int n = 0; n < COMMANDS_MAX && in->left > 1 && session.open && !qmp->ending; n++) {
		char *line = some_message(in);
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
	struct input in = { data, size };
	const char *const *argv = microvm;
	enum cmdline_action action;
	struct vm_config config;
	struct machine *machine;
	struct qmp qmp = { .machine = NULL };
	struct error *err = NULL;
	char *topic = NULL;
	struct loop *loop;

	if (!written)
		enter_folder();
#ifdef __x86_64__
	if (next(&in) & 1)
		argv = pcie;
#endif
	vm_config_init(&config);
	loop = loop_new("fuzz", NULL);
	if (cmdline_parse((int)count_of(argv), (char **)(uintptr_t)argv, &config, &action, &topic, &err) ||
	    machine_new(&config, loop, &machine, &err)) {
		fprintf(stderr, "%s\n", error_text(err));
		abort();
	}
	qmp.machine = machine;
	qmp.loop = loop;
	list_init(&qmp.monitors);
	list_init(&qmp.sessions);
	list_init(&qmp.limited);
	qmp_event_watch(&qmp);
	talk(&qmp, &in);
	qmp_event_unwatch(&qmp);
	fd_store_clear();
	machine_free(machine);
	loop_free(loop);
	vm_config_release(&config);
	return 0;
}
