// SPDX-License-Identifier: Apache-2.0
/*
 * The machine "none": for management programs that look at what this binary offers (libvirt's probe). It answers every
 * query of QMP; it has no device, it boots nothing and its CPU never runs, so it needs no KVM.
 */
#include "internal.h"

struct none {
	struct machine machine;
};

static const struct property none_props[] = {
	MACHINE_COMMON_PROPS(struct none),
	PROP_END,
};

static int none_init_memory(struct machine *machine, struct error **errp)
{
	return machine_map_ram(machine, 0, 0, machine->ram_size, errp);
}

static int none_init_devices(struct machine *machine, struct error **errp)
{
	(void)machine;
	(void)errp;
	return 0;
}

static int none_load(struct machine *machine, struct vcpu_entry *entry, struct error **errp)
{
	(void)machine;
	(void)entry;
	(void)errp;
	return 0;
}

static void none_release(struct machine *machine)
{
	(void)machine;
}

const struct machine_class none_class = {
	.name = "none",
	.summary = "no machine: answers QMP, for programs that look at what there is",
	.bare = true,
	.instance_size = sizeof(struct none),
	.props = none_props,
	.init_memory = none_init_memory,
	.init_devices = none_init_devices,
	.prepare_boot = none_init_devices,
	.load = none_load,
	.release = none_release,
};
