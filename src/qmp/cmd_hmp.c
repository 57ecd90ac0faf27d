// SPDX-License-Identifier: Apache-2.0
/* human-monitor-command: a few tables for people. Their form is no interface. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/vcpu.h"
#include "devices/device.h"
#include "internal.h"
#include "memory/space.h"
#include "net/netdev.h"
#include "util/version.h"

static void info_status(struct qmp_call *call, FILE *out)
{
	struct machine *machine = call->qmp->machine;
	enum run_state state = machine_run_state(machine);

	if (state == RUN_STATE_RUNNING)
		fprintf(out, "VM status: running\r\n");
	else
		fprintf(out, "VM status: paused (%s)\r\n", run_state_name(state));
}

static void info_cpus(struct qmp_call *call, FILE *out)
{
	struct machine *machine = call->qmp->machine;
	const struct vcpus *vcpus = machine_vcpus(machine);

	for (unsigned int i = 0; i < vcpus_count(vcpus); i++)
		fprintf(out, "  CPU #%u: thread_id=%d\r\n", i, vcpu_tid(vcpus, i));
}

static void info_registers(struct qmp_call *call, FILE *out)
{
	struct machine *machine = call->qmp->machine;
	struct vcpus *vcpus = machine_vcpus(machine);
	bool running = vcpus_running(vcpus);

	/* Too short for an event: the devices go on. */
	if (running)
		vcpus_pause(vcpus);
	for (unsigned int i = 0; i < vcpus_count(vcpus); i++) {
		char *text = vcpu_describe(vcpus, i);

		fprintf(out, "CPU#%u\r\n%s\r\n", i, text);
		free(text);
	}
	if (running)
		vcpus_resume(vcpus);
}

static void list_io(struct mem_space *space, enum io_kind kind, const char *heading, FILE *out)
{
	struct io_region region;

	fprintf(out, "%s\r\n", heading);
	for (unsigned int i = 0; mem_space_io(space, kind, i, &region); i++)
		fprintf(out, "  %016" PRIx64 "-%016" PRIx64 ": %s\r\n", region.base, region.base + region.size - 1,
			region.name);
}

static void info_mtree(struct qmp_call *call, FILE *out)
{
	struct machine *machine = call->qmp->machine;
	struct mem_space *space = machine_platform(machine)->space;

	fprintf(out, "RAM\r\n");
	for (unsigned int i = 0; i < mem_space_ram_count(space); i++) {
		const struct ram_region *ram = mem_space_ram(space, i);

		fprintf(out, "  %016" PRIx64 "-%016" PRIx64 ": ram\r\n", ram->base,
			ram->base + ram->size - 1);
	}
	list_io(space, IO_MMIO, "MMIO", out);
	list_io(space, IO_PORT, "I/O ports", out);
}

static void info_qtree(struct qmp_call *call, FILE *out)
{
	struct machine *machine = call->qmp->machine;
	const struct device *dev;

	fprintf(out, "machine: %s\r\n", machine_class_name(machine));
	list_for_each(dev, &machine_platform(machine)->devices, node) {
		fprintf(out, "  dev: %s, id \"%s\"\r\n", dev->class->name, device_name(dev));
		for (const struct property *p = dev->class->props; p && p->name; p++) {
			char *value = property_get(p, dev);

			if (value)
				fprintf(out, "    %s = %s\r\n", p->name, value);
			free(value);
		}
	}
}

/* --- tables of what a query answers --- */

/* A member of @object as text, or "". */
static const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *member = json_object_object_get(object, name);

	return member ? json_object_get_string(member) : "";
}

/* What the command @name answers to @call; NULL when it refuses. The caller drops it. */
static struct json_object *ask(struct qmp_call *call, const char *name)
{
	struct json_object *none = json_object_new_object(), *ret = NULL;
	const struct qmp_command *command = qmp_command_find(name);

	if (command->handler(call, none, &ret, NULL))
		ret = NULL;
	json_object_put(none);
	return ret;
}

static void info_block(struct qmp_call *call, FILE *out)
{
	struct json_object *list = ask(call, "query-block");

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *entry = json_object_array_get_idx(list, i), *inserted, *image;

		inserted = json_object_object_get(entry, "inserted");
		image = json_object_object_get(inserted, "image");
		fprintf(out, "%s%s: %s (%s%s)\r\n", text_of(entry, "device"),
			*text_of(entry, "device") ? "" : text_of(inserted, "node-name"), text_of(inserted, "file"),
			text_of(inserted, "drv"),
			json_object_get_boolean(json_object_object_get(inserted, "ro")) ? ", read-only" : "");
		if (*text_of(entry, "qdev"))
			fprintf(out, "    Attached to:      %s\r\n", text_of(entry, "qdev"));
		fprintf(out, "    Size:             %s bytes, %s on the host\r\n", text_of(image, "virtual-size"),
			text_of(image, "actual-size"));
		if (*text_of(entry, "io-status"))
			fprintf(out, "    I/O status:       %s\r\n", text_of(entry, "io-status"));
		fprintf(out, "    I/O limits:       bps=%s bps_rd=%s bps_wr=%s iops=%s iops_rd=%s iops_wr=%s\r\n",
			text_of(inserted, "bps"), text_of(inserted, "bps_rd"), text_of(inserted, "bps_wr"),
			text_of(inserted, "iops"), text_of(inserted, "iops_rd"), text_of(inserted, "iops_wr"));
	}
	json_object_put(list);
}

static void print_netdev(void *opaque, const char *id, void *object)
{
	struct qmp_call *call = ((void **)opaque)[0];
	FILE *out = ((void **)opaque)[1];
	const struct netdev *netdev = object;
	const struct device *dev = device_find_user(machine_platform(call->qmp->machine), netdev);

	if (dev)
		fprintf(out, "%s: type=nic,model=%s\r\n \\ ", device_name(dev), dev->class->name);
	fprintf(out, "%s: type=%s,ifname=%s,queues=%u,vhost=%s,link=%s\r\n", id, netdev_kind_name(netdev), netdev->name,
		netdev->queue_count, netdev->vhost ? "on" : "off", netdev->link_up ? "up" : "down");
}

static void info_network(struct qmp_call *call, FILE *out)
{
	void *opaque[] = { call, out };

	link_scope_each(machine_platform(call->qmp->machine)->links, LINK_NETDEV, print_netdev, opaque);
}

static void info_chardev(struct qmp_call *call, FILE *out)
{
	struct json_object *list = ask(call, "query-chardev");

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *entry = json_object_array_get_idx(list, i);

		fprintf(out, "%s: filename=%s\r\n", text_of(entry, "label"), text_of(entry, "filename"));
	}
	json_object_put(list);
}

static void info_iothreads(struct qmp_call *call, FILE *out)
{
	struct json_object *list = ask(call, "query-iothreads");

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *entry = json_object_array_get_idx(list, i);

		fprintf(out, "%s: thread_id=%s\r\n", text_of(entry, "id"), text_of(entry, "thread-id"));
	}
	json_object_put(list);
}

static void info_version(struct qmp_call *call, FILE *out)
{
	(void)call;
	fprintf(out, "%s\r\n", version_text());
}

/* One line from one member of what a command answers. */
static void info_member(struct qmp_call *call, FILE *out, const char *command, const char *member, const char *form)
{
	struct json_object *answer = ask(call, command);

	if (answer)
		fprintf(out, form, text_of(answer, member));
	else
		fprintf(out, "none");
	fprintf(out, "\r\n");
	json_object_put(answer);
}

static void info_name(struct qmp_call *call, FILE *out)
{
	info_member(call, out, "query-name", "name", "%s");
}

static void info_uuid(struct qmp_call *call, FILE *out)
{
	info_member(call, out, "query-uuid", "UUID", "%s");
}

static void info_kvm(struct qmp_call *call, FILE *out)
{
	info_member(call, out, "query-kvm", "enabled", "KVM enabled: %s");
}

static void info_balloon(struct qmp_call *call, FILE *out)
{
	info_member(call, out, "query-balloon", "actual", "balloon: actual=%s bytes");
}

static void info_memory(struct qmp_call *call, FILE *out)
{
	info_member(call, out, "query-memory-size-summary", "base-memory", "base memory: %s");
}

static void info_numa(struct qmp_call *call, FILE *out)
{
	struct machine *machine = call->qmp->machine;
	unsigned int nodes = machine_numa_nodes(machine);

	fprintf(out, "%u nodes\r\n", nodes);
	for (unsigned int node = 0; node < nodes; node++) {
		fprintf(out, "node %u cpus:", node);
		for (unsigned int cpu = 0; cpu < vcpus_count(machine_vcpus(machine)); cpu++)
			if (machine_cpu_node(machine, cpu) == node)
				fprintf(out, " %u", cpu);
		fprintf(out, "\r\nnode %u size: %" PRIu64 " MB\r\nnode %u plugged: 0 MB\r\n", node,
			(uint64_t)(machine_numa_memory(machine, node) / MIB), node);
	}
}

static const struct {
	const char *what;
	void (*print)(struct qmp_call *call, FILE *out);
} subjects[] = {
	{ "balloon", info_balloon },
	{ "block", info_block },
	{ "chardev", info_chardev },
	{ "cpus", info_cpus },
	{ "iothreads", info_iothreads },
	{ "kvm", info_kvm },
	{ "memory_size_summary", info_memory },
	{ "mtree", info_mtree },
	{ "name", info_name },
	{ "network", info_network },
	{ "numa", info_numa },
	{ "qtree", info_qtree },
	{ "registers", info_registers },
	{ "status", info_status },
	{ "uuid", info_uuid },
	{ "version", info_version },
};

static int run_info(struct qmp_call *call, size_t index, struct json_object **ret, struct error **errp)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return error_set_errno(errp, -errno, "info %s", subjects[index].what);
	subjects[index].print(call, out);
	fclose(out);
	*ret = json_object_new_string(text);
	free(text);
	return 0;
}

static int refuse(const char *line, struct error **errp)
{
	char quote[QMP_QUOTE_MAX], *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int ret;

	if (!out)
		return error_set_errno(errp, -errno, "human-monitor-command");
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		fprintf(out, "%s%s", i ? ", " : "", subjects[i].what);
	fclose(out);
	ret = error_set(errp, -EINVAL, "Unsupported command: '%s'; there are \"info\" and one of %s",
			qmp_quote(line, quote), text);
	free(text);
	return ret;
}

QMP_HANDLER(human_monitor_command)
{
	const char *line = qmp_arg_str(args, "command-line");
	int64_t cpu = qmp_arg_int(args, "cpu-index", 0);

	if (qmp_arg_has(args, "cpu-index") && (cpu < 0 || cpu >= vcpus_count(machine_vcpus(call->qmp->machine))))
		return error_set(errp, -EINVAL, "Parameter 'cpu-index' expects a CPU number");
	for (size_t i = 0; !strncmp(line, "info ", 5) && i < ARRAY_SIZE(subjects); i++)
		if (!strcmp(subjects[i].what, line + 5))
			return run_info(call, i, ret, errp);
	return refuse(line, errp);
}

const struct qmp_command qmp_hmp_commands[] = {
	{ .name = "human-monitor-command",
	  .help = "\"info WHAT\" as text for people, whose form may change. WHAT is balloon, block, chardev, cpus, "
		  "iothreads, kvm, memory_size_summary, mtree, name, network, numa, qtree, registers, status, uuid or version",
	  .args = QMP_MEMBERS(QMP_MEMBER("command-line", qmp_str, NULL),
			      QMP_OPTIONAL("cpu-index", qmp_int, "a CPU of the VM; what is shown is of all of them")),
	  .returns = &qmp_str,
	  .handler = human_monitor_command },
	{ .name = NULL },
};
