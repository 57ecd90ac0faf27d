// SPDX-License-Identifier: Apache-2.0
/*
 * CPUs that come and go while the guest runs. A place is named by its ids in the topology, as query-hotpluggable-cpus lists them. They
 * are filled in order and emptied in the reverse one: a set of vCPUs has no gaps. Those of the start stay.
 */
#define LOG_MODULE "machine"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/cpu_hotplug.h"
#include "internal.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"

#ifdef __x86_64__
#define CPU_CLASS "host-x86_64-cpu"
#else
#define CPU_CLASS "host-arm-cpu"
#endif

/* What device_add calls it: libvirt says what query-hotpluggable-cpus does. */
static const char *const cpu_classes[] = { CPU_CLASS, "host" };

bool cpu_is_class(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_classes); i++)
		if (name && !strcmp(name, cpu_classes[i]))
			return true;
	return false;
}

void cpu_ids_free(struct machine *machine)
{
	for (unsigned int i = 0; machine->cpu_ids && i < machine->topology.maxcpus; i++)
		free(machine->cpu_ids[i]);
	free(machine->cpu_ids);
}

const char *machine_cpu_id(const struct machine *machine, unsigned int index)
{
	return machine->cpu_ids && index < machine->topology.maxcpus ? machine->cpu_ids[index] : NULL;
}

/* The ids of a place, from the outermost level in. */
struct level {
	const char *key;
	uint32_t count;
};

/* libvirt repeats what query-hotpluggable-cpus says of the place. */
static int check_node(const struct machine *machine, const struct opts *opts, unsigned int index, struct error **errp)
{
	const char *text = opts_get(opts, "node-id");
	uint64_t node;

	if (!text || index >= machine->topology.maxcpus)
		return 0;
	if (parse_u64(text, &node))
		return error_set(errp, -EINVAL, "node-id=%s is not a number", text);
	if (node != machine_cpu_node(machine, index))
		return error_set(errp, -EINVAL, "node-id=%s: CPU %u is in node %u", text, index,
				 machine_cpu_node(machine, index));
	return 0;
}

/* All ids, or none of them for the next place. */
static int find_place(const struct machine *machine, const struct opts *opts, unsigned int *ret,
		      struct error **errp)
{
	const struct vcpu_topology *t = &machine->topology;
	const struct level levels[] = { { "socket-id", t->sockets },
					{ "die-id", t->dies },
					{ "cluster-id", t->clusters },
					{ "core-id", t->cores },
					{ "thread-id", t->threads } };
	unsigned int index = 0;
	bool any = false;

	for (unsigned int i = 0; i < ARRAY_SIZE(levels); i++) {
		const char *text = opts_get(opts, levels[i].key);
		uint64_t id = 0;

		if (text && parse_u64(text, &id))
			return error_set(errp, -EINVAL, "%s=%s is not a number", levels[i].key, text);
		if (id >= levels[i].count)
			return error_set(errp, -ERANGE, "%s=%s is out of range [0, %u]", levels[i].key, text,
					 levels[i].count - 1);
		if (!text && any && levels[i].count > 1)
			return error_set(errp, -EINVAL, "'%s' is required", levels[i].key);
		any |= text != NULL;
		index = index * levels[i].count + (unsigned int)id;
	}
	*ret = any ? index : t->cpus;
	return check_node(machine, opts, *ret, errp);
}

static int check_keys(const struct opts *opts, struct error **errp)
{
	static const char *const known[] = { "driver", "id", "socket-id", "die-id", "cluster-id", "core-id",
					     "thread-id", "node-id", NULL };
	const char *id = opts_get(opts, "id");
	struct opt *opt;

	if (id && id_check(id, errp))
		return -EINVAL;

	list_for_each(opt, &opts->pairs, node) {
		unsigned int i = 0;

		while (known[i] && strcmp(known[i], opt->key))
			i++;
		if (!known[i])
			return error_set(errp, -EINVAL, "Property '" CPU_CLASS ".%s' not found", opt->key);
	}
	return 0;
}

bool cpu_has_id(const struct machine *machine, const char *id, unsigned int *ret)
{
	for (unsigned int i = 0; i < machine->topology.maxcpus; i++) {
		const char *other = machine_cpu_id(machine, i);

		if (other && !strcmp(other, id)) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static int check_id(const struct machine *machine, const char *id, struct error **errp)
{
	unsigned int index;

	if (id && (device_find(&machine->platform, id) || cpu_has_id(machine, id, &index)))
		return error_set(errp, -EEXIST, "Duplicate device ID '%s'", id);
	return 0;
}

/* Which place @opts ask for, and that it is the next one. */
static int check_request(const struct machine *machine, const struct opts *opts, unsigned int *ret_index,
			 struct error **errp)
{
	unsigned int index = 0;
	int ret;

	ret = check_keys(opts, errp);
	if (!ret)
		ret = check_id(machine, opts_get(opts, "id"), errp);
	if (!ret)
		ret = find_place(machine, opts, &index, errp);
	if (ret)
		return ret;
	if (machine->topology.cpus == machine->topology.maxcpus)
		return error_set(errp, -ENOSPC, "all %u CPUs are there (-smp maxcpus=)", machine->topology.cpus);
	if (!machine->cpu_registers)
		return error_set(errp, -ENOTSUP, "CPU hot-plug needs ACPI (-machine %s,acpi=on)",
				 machine->class->name);
	if (index < machine->topology.cpus)
		return error_set(errp, -EBUSY, "CPU %u is there already", index);
	if (index > machine->topology.cpus)
		return error_set(errp, -ENOTSUP, "CPU %u comes after CPU %u: CPUs are added in order", index,
				 machine->topology.cpus);
	*ret_index = index;
	return 0;
}

int cpu_add(struct machine *machine, const struct opts *opts, struct error **errp)
{
	const char *id = opts_get(opts, "id");
	unsigned int index = 0;
	int ret;

	if (!machine->class->cpu_event)
		return error_set(errp, -ENOTSUP, "machine %s has no CPU hot-plug", machine->class->name);
	/* Each round there is one CPU less that the guest could let go of. */
	do {
		if (machine->cpu_registers)
			cpu_hotplug_settle(machine->cpu_registers);
		ret = check_request(machine, opts, &index, errp);
		if (ret)
			return ret;
	} while (!cpu_hotplug_reserve(machine->cpu_registers, index));
	ret = vcpus_add(machine->vcpus, errp);
	if (ret) {
		cpu_hotplug_add(machine->cpu_registers, index, false);
		return ret;
	}
	if (!machine->cpu_ids)
		machine->cpu_ids = xcalloc(machine->topology.maxcpus, sizeof(*machine->cpu_ids));
	if (id)
		machine->cpu_ids[index] = xstrdup(id);
	machine->topology.cpus++;
	cpu_hotplug_add(machine->cpu_registers, index, true);
	machine->class->cpu_event(machine);
	log_info("CPU %u was plugged in", index);
	return 0;
}

int cpu_ask_unplug(struct machine *machine, const char *id, struct error **errp)
{
	unsigned int index = 0;

	cpu_hotplug_settle(machine->cpu_registers);
	if (!cpu_has_id(machine, id, &index))
		return error_set(errp, -ENODEV, "Device '%s' not found", id);
	if (index + 1 < machine->topology.cpus)
		return error_set(errp, -ENOTSUP, "CPU %u goes before CPU %u: CPUs go in the reverse of their order",
				 machine->topology.cpus - 1, index);
	cpu_hotplug_ask(machine->cpu_registers, index);
	machine->class->cpu_event(machine);
	return 0;
}

void cpu_ejected(void *opaque, unsigned int index)
{
	struct machine *machine = opaque;
	bool running = vcpus_running(machine->vcpus);
	struct device_event_info info = { .id = machine->cpu_ids[index] };
	struct error *err = NULL;

	if (running)
		vcpus_pause(machine->vcpus);
	if (vcpus_remove(machine->vcpus, &err)) {
		log_warn("CPU %u is gone, but %s", index, error_text(err));
		error_free(err);
	}
	if (running)
		vcpus_resume(machine->vcpus);
	machine->topology.cpus--;
	machine->cpu_ids[index] = NULL;
	log_info("CPU %u was unplugged", index);
	if (info.id)
		machine->platform.event(&machine->platform, DEVICE_EVENT_DELETED, &info);
	free((char *)(uintptr_t)info.id);
}
