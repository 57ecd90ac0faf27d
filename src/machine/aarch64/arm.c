// SPDX-License-Identifier: Apache-2.0
#define LOG_MODULE "machine"

#include "../numa.h"
#include "arm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "devices/fw_cfg.h"
#include "devices/ged.h"
#include "devices/pl061.h"
#include "devices/vmgenid.h"
#include "util/alloc.h"
#include "util/log.h"

const char *const arm_slots_words[] = { "auto", "on", "off", NULL };

static int check_gic_version(const struct arm_vm *vm, struct error **errp)
{
	static const char *const known[] = { "3", "max", "host" };

	if (!vm->gic_version)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(vm->gic_version, known[i]))
			return 0;
	return error_set(errp, -EINVAL, "-machine %s: gic-version=%s is not 3, which is what there is",
			 vm->machine.class->name, vm->gic_version);
}

int arm_init_memory(struct machine *machine, struct error **errp)
{
	uint64_t size = machine->ram_size;
	int ret = check_gic_version(to_arm_vm(machine), errp);

	if (ret)
		return ret;
	if (size > ARM_RAM_END - ARM_RAM_BASE)
		return error_set(errp, -E2BIG, "-m: machine %s has room for %" PRIu64 " MiB of memory",
				 machine->class->name, (uint64_t)((ARM_RAM_END - ARM_RAM_BASE) / MIB));
	return machine_map_ram(machine, ARM_RAM_BASE, 0, size, errp);
}

/* --- virtio-mmio slots ------------------------------------------------------------------- */

static int slot_take(struct platform *platform, struct mmio_slot *slot, struct error **errp)
{
	struct arm_vm *vm = container_of(platform, struct arm_vm, machine.platform);

	for (unsigned int i = 0; i < ARM_VIRTIO_SLOTS; i++) {
		if (vm->slot_used[i])
			continue;
		vm->slot_used[i] = true;
		*slot = (struct mmio_slot){
			.base = ARM_VIRTIO_BASE + i * ARM_VIRTIO_SIZE,
			.size = ARM_VIRTIO_SIZE,
			.gsi = ARM_GSI_VIRTIO + i,
		};
		return 0;
	}
	return error_set(errp, -ENOSPC, "all %d virtio-mmio slots of machine %s are taken", ARM_VIRTIO_SLOTS,
			 vm->machine.class->name);
}

static void slot_release(struct platform *platform, const struct mmio_slot *slot)
{
	struct arm_vm *vm = container_of(platform, struct arm_vm, machine.platform);

	vm->slot_used[(slot->base - ARM_VIRTIO_BASE) / ARM_VIRTIO_SIZE] = false;
}

void arm_create_slots(struct arm_vm *vm)
{
	vm->machine.platform.mmio_slot_take = slot_take;
	vm->machine.platform.mmio_slot_release = slot_release;
}

/* --- devices ------------------------------------------------------------------------------- */

void arm_offer_vmgenid(struct arm_vm *vm)
{
	struct platform *platform = &vm->machine.platform;

	platform->has_vmgenid = true;
	platform->vmgenid_page = ARM_VMGENID_BASE;
	platform->vmgenid_gsi = ARM_GSI_VMGENID;
}

int arm_create_rtc(struct arm_vm *vm, struct error **errp)
{
	struct device *dev;
	char props[64];

	snprintf(props, sizeof(props), "base=0x%llx,gsi=%d", ARM_RTC_BASE, ARM_GSI_RTC);
	return device_create_internal(&vm->machine.platform, "pl031", "rtc", props, &dev, errp);
}

int arm_create_gpio(struct arm_vm *vm, struct error **errp)
{
	struct device *dev;
	char props[64];
	int ret;

	snprintf(props, sizeof(props), "base=0x%llx,gsi=%d", ARM_GPIO_BASE, ARM_GSI_GPIO);
	ret = device_create_internal(&vm->machine.platform, "pl061", "gpio", props, &dev, errp);
	vm->has_gpio = !ret;
	return ret;
}

int arm_power_button(struct machine *machine)
{
	return to_arm_vm(machine)->has_gpio ? pl061_power_button(&machine->platform) :
					      ged_power_button(&machine->platform);
}

/* Each -serial is a back end of its own, "chardev:ID" or "none". */
int arm_create_serial(struct arm_vm *vm, struct error **errp)
{
	struct machine *machine = &vm->machine;
	char props[VM_ID_MAX + 96];
	struct device *dev;
	struct opts *opts;
	int ret;

	list_for_each(opts, &machine->config->serials, node) {
		const char *backend = opts_get(opts, "backend");
		const char *chardev = "serial0";

		if (backend && !strcmp(backend, "none"))
			continue;
		if (vm->has_serial)
			return error_set(errp, -EINVAL, "-serial: machine %s has 1 serial port", machine->class->name);
		if (backend && !strcmp(backend, "chardev"))
			chardev = opts_get(opts, "chardev");
		snprintf(props, sizeof(props), "chardev=%s,base=0x%llx,gsi=%d", chardev, ARM_SERIAL_BASE,
			 ARM_GSI_SERIAL);
		ret = device_create_internal(&machine->platform, "pl011", "serial0", props, &dev, errp);
		if (ret)
			return ret;
		vm->has_serial = true;
	}
	return 0;
}

/* --- boot ------------------------------------------------------------------------------------ */

/* The earliest messages come out without being asked for, as StratoVirt's users know it. */
static char *compose_cmdline(const struct arm_vm *vm)
{
	const char *append = vm->machine.config->append ? vm->machine.config->append : "";

	if (!vm->has_serial || strstr(append, "earlycon"))
		return xstrdup(append);
	return xasprintf("%s%searlycon=pl011,mmio,0x%08llx", append, *append ? " " : "", ARM_SERIAL_BASE);
}

int arm_open_files(struct arm_vm *vm, struct error **errp)
{
	const struct vm_config *config = vm->machine.config;
	int ret = 0;

	cpu_caches_read("/sys/devices/system/cpu/cpu0", &vm->caches);
	if (config->dtb)
		ret = fdt_read(config->dtb, &vm->dtb, errp);
	if (ret || !config->kernel)
		return ret;
	ret = boot_source_open(config->kernel, config->initrd, &vm->source, errp);
	if (ret)
		return ret;
	vm->cmdline = compose_cmdline(vm);
	log_debug("kernel command line: %s", vm->cmdline);
	return 0;
}

int arm_load(struct arm_vm *vm, bool direct, struct vcpu_entry *entry, struct error **errp)
{
	struct machine *machine = &vm->machine;
	struct fdt_device virtio[ARM_VIRTIO_SLOTS];
	struct fdt_machine fdt = {
		.topology = &machine->topology,
		.caches = &vm->caches,
		.space = machine->space,
		.pmu = machine->accel->pmu,
		.its = vm->pci.ecam_size > 0,
		.rtc = { ARM_RTC_BASE, ARM_PAGE, ARM_GSI_RTC },
		.virtio = virtio,
		.pci = vm->pci.ecam_size ? &vm->pci : NULL,
		.numa = numa_tables(machine),
		.cmdline = direct ? vm->cmdline : NULL,
	};
	int ret;

	for (unsigned int i = 0; i < ARM_VIRTIO_SLOTS; i++)
		if (vm->slot_used[i])
			virtio[fdt.virtio_count++] = (struct fdt_device){
				ARM_VIRTIO_BASE + i * ARM_VIRTIO_SIZE,
				ARM_VIRTIO_SIZE,
				ARM_GSI_VIRTIO + i,
			};
	if (vm->has_serial)
		fdt.serial = (struct fdt_device){ ARM_SERIAL_BASE, ARM_PAGE, ARM_GSI_SERIAL };
	if (vm->has_gpio)
		fdt.gpio = (struct fdt_device){ ARM_GPIO_BASE, PL061_SIZE, ARM_GSI_GPIO };
	if (vmgenid_present(&machine->platform))
		fdt.vmgenid = (struct fdt_device){ ARM_VMGENID_BASE, VMGENID_PAGE_SIZE, ARM_GSI_VMGENID };
	if (machine->fw_cfg)
		fdt.fw_cfg = (struct fdt_device){ ARM_FW_CFG_BASE, FW_CFG_MEM_SIZE, 0 };
	if (machine->flash[0]) {
		fdt.flash = ARM_FLASH_BASE;
		fdt.flash_bank_size = ARM_FLASH_BANK;
	}
	ret = boot_load_arm64(direct ? vm->source : NULL, machine->space, &fdt, vm->dtb,
			      vm->dumped ? NULL : vm->dumpdtb, entry, errp);
	vm->dumped = true;
	return ret;
}

void arm_release(struct machine *machine)
{
	struct arm_vm *vm = to_arm_vm(machine);

	boot_source_free(vm->source);
	free(vm->cmdline);
	free(vm->dtb);
}
