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

static void info_status(struct machine *machine, FILE *out)
{
	enum run_state state = machine_run_state(machine);

	if (state == RUN_STATE_RUNNING)
		fprintf(out, "VM status: running\r\n");
	else
		fprintf(out, "VM status: paused (%s)\r\n", run_state_name(state));
}

static void info_cpus(struct machine *machine, FILE *out)
{
	const struct vcpus *vcpus = machine_vcpus(machine);

	for (unsigned int i = 0; i < vcpus_count(vcpus); i++)
		fprintf(out, "  CPU #%u: thread_id=%d\r\n", i, vcpu_tid(vcpus, i));
}

static void info_registers(struct machine *machine, FILE *out)
{
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

static void list_io(const struct mem_space *space, enum io_kind kind, const char *heading,
		    FILE *out)
{
	const struct io_region *region;

	fprintf(out, "%s\r\n", heading);
	for (unsigned int i = 0; (region = mem_space_io(space, kind, i)); i++)
		fprintf(out, "  %016" PRIx64 "-%016" PRIx64 ": %s\r\n", region->base,
			region->base + region->size - 1, region->name);
}

static void info_mtree(struct machine *machine, FILE *out)
{
	const struct mem_space *space = machine_platform(machine)->space;

	fprintf(out, "RAM\r\n");
	for (unsigned int i = 0; i < mem_space_ram_count(space); i++) {
		const struct ram_region *ram = mem_space_ram(space, i);

		fprintf(out, "  %016" PRIx64 "-%016" PRIx64 ": ram\r\n", ram->base,
			ram->base + ram->size - 1);
	}
	list_io(space, IO_MMIO, "MMIO", out);
	list_io(space, IO_PORT, "I/O ports", out);
}

static void info_qtree(struct machine *machine, FILE *out)
{
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

static const struct {
	const char *command;
	void (*print)(struct machine *machine, FILE *out);
} commands[] = {
	{ "info status", info_status },
	{ "info cpus", info_cpus },
	{ "info mtree", info_mtree },
	{ "info qtree", info_qtree },
	{ "info registers", info_registers },
};

QMP_HANDLER(human_monitor_command)
{
	const char *line = qmp_arg_str(args, "command-line");
	char quote[QMP_QUOTE_MAX], *text = NULL;
	size_t size = 0;
	FILE *out;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].command, line))
			continue;
		out = open_memstream(&text, &size);
		if (!out)
			return error_set_errno(errp, -errno, "%s", line);
		commands[i].print(call->qmp->machine, out);
		fclose(out);
		*ret = json_object_new_string(text);
		free(text);
		return 0;
	}
	return error_set(errp, -EINVAL,
			 "Unsupported command: '%s'; there are info status, cpus, mtree, qtree and registers",
			 qmp_quote(line, quote));
}

const struct qmp_command qmp_hmp_commands[] = {
	{ .name = "human-monitor-command",
	  .help = "\"info\" and status, cpus, mtree, qtree or registers, as text",
	  .args = QMP_MEMBERS(QMP_MEMBER("command-line", qmp_str, NULL)),
	  .returns = &qmp_str,
	  .handler = human_monitor_command },
	{ .name = NULL },
};
