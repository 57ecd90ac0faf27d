// SPDX-License-Identifier: Apache-2.0
/*
 * microvm on aarch64: RAM, virtio-mmio slots, a serial port and a clock, announced by a flattened device tree. No PCI, no
 * firmware.
 */
#include <errno.h>

#include "arm.h"

static const struct property microvm_props[] = {
	ARM_PROPS,
	PROP_ENUM("replaceable-slots", struct arm_vm, replaceable_slots, arm_slots_words, ARM_SLOTS_AUTO,
		  "the first four disks can come and go (device_add, device_del), empty ones are there "
		  "with capacity 0; auto: when there is a monitor"),
	PROP_END,
};

static int microvm_init_devices(struct machine *machine, struct error **errp)
{
	struct arm_vm *vm = to_arm_vm(machine);
	struct device *dev;
	char props[32];
	int ret;

	arm_create_slots(vm);
	arm_offer_vmgenid(vm);
	if (vm->replaceable_slots == ARM_SLOTS_ON ||
	    (vm->replaceable_slots == ARM_SLOTS_AUTO && !list_empty(&machine->config->monitors))) {
		machine->slot_counts[MACHINE_SLOT_DISK] = ARM_DISK_SLOTS;
		machine->slot_counts[MACHINE_SLOT_NET] = ARM_NET_SLOTS;
	}
	ret = arm_create_rtc(vm, errp);
	if (!ret)
		ret = arm_create_gpio(vm, errp);
	snprintf(props, sizeof(props), "base=0x%llx", ARM_BOOT_TIMER_BASE);
	if (!ret)
		ret = device_create_internal(&machine->platform, "boot-timer", "boot-timer", props, &dev, errp);
	return ret ? ret : arm_create_serial(vm, errp);
}

static int microvm_prepare_boot(struct machine *machine, struct error **errp)
{
	if (!machine->config->kernel && !machine->accel->no_guest_code)
		return error_set(errp, -EINVAL, "-machine microvm: -kernel is required");
	return arm_open_files(to_arm_vm(machine), errp);
}

static int microvm_load(struct machine *machine, struct vcpu_entry *entry, struct error **errp)
{
	return arm_load(to_arm_vm(machine), true, entry, errp);
}

const struct machine_class microvm_arm_class = {
	.name = "microvm",
	.summary = "lightweight machine: virtio-mmio, direct kernel boot, no PCI",
	.instance_size = sizeof(struct arm_vm),
	.props = microvm_props,
	.init_memory = arm_init_memory,
	.init_devices = microvm_init_devices,
	.prepare_boot = microvm_prepare_boot,
	.load = microvm_load,
	.power_button = arm_power_button,
	.release = arm_release,
};
