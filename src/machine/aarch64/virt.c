// SPDX-License-Identifier: Apache-2.0
/*
 * virt: a standard machine of aarch64, as QEMU's of that name looks to a guest: PCI Express with MSIs through the ITS, a
 * serial port, a clock, fw_cfg. A kernel boots directly and is told everything by a device tree; or firmware starts from
 * the flash banks at 0, gets ACPI tables by fw_cfg, and reads the tree for what it needs itself.
 */
#define LOG_MODULE "virt"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../numa.h"
#include "arm.h"
#include "block/drive.h"
#include "boot/acpi.h"
#include "boot/acpi_tables.h"
#include "boot/firmware.h"
#include "devices/fw_cfg.h"
#include "devices/vmgenid.h"
#include "pci/host.h"
#include "util/log.h"

#define FLASH_SECTOR (256 * KIB)
#define ADDRESS_BITS_NEEDED 40

static const struct property virt_props[] = {
	ARM_PROPS,
	PROP_IGNORED("iommu", "accepted for QEMU's sake: there is none"),
	PROP_END,
};

/* --- devices ---------------------------------------------------------------------------------- */

static int create_flash(struct machine *machine, struct error **errp)
{
	char id[16], props[VM_ID_MAX + 128];
	struct device *dev;
	int ret = 0;

	for (unsigned int unit = 0; !ret && unit < MACHINE_FLASH_BANKS; unit++) {
		struct block_drive *drive = machine->flash[unit];

		if (!drive)
			continue;
		snprintf(id, sizeof(id), "flash%u", unit);
		snprintf(props, sizeof(props), "drive=%s,base=0x%" PRIx64 ",size=%" PRIu64
			 ",sector-length=%d,width=4,device-width=2",
			 block_drive_id(drive), (uint64_t)(ARM_FLASH_BASE + unit * ARM_FLASH_BANK),
			 (uint64_t)ARM_FLASH_BANK, (int)FLASH_SECTOR);
		ret = device_create_internal(&machine->platform, "cfi.pflash01", id, props, &dev, errp);
	}
	return ret;
}

static int create_rom(struct machine *machine, struct error **errp)
{
	struct opts *opts = opts_new("-bios");
	struct device *dev;
	int ret;

	opts_set(opts, "driver", "rom");
	opts_set(opts, "id", "bios");
	opts_set(opts, "file", machine->config->bios);
	opts_set(opts, "base", "0");
	ret = device_create(&machine->platform, opts, false, &dev, errp);
	opts_free(opts);
	return ret;
}

static void pci_irq_set(void *opaque, unsigned int line, bool level)
{
	static struct log_limit limit;
	struct accel *accel = opaque;

	if (accel->ops->irq_line(accel, ARM_GSI_PCI + line, level))
		log_warn_limited(&limit, "PCI interrupt line %u cannot be set", line);
}

static int create_pci(struct arm_vm *vm, struct error **errp)
{
	struct machine *machine = &vm->machine;
	const struct pci_host_config config = {
		.platform = &machine->platform,
		.root_bus = "pcie.0",
		.ecam = { ARM_PCI_ECAM_BASE, ARM_PCI_ECAM_SIZE },
		.io = { 0, ARM_PCI_IO_SIZE },
		.io_is_memory = true,
		.io_memory_base = ARM_PCI_IO_BASE,
		.mem32 = { ARM_PCI_MEM32_BASE, ARM_PCI_MEM32_SIZE },
		.mem64 = { ARM_PCI_MEM64_BASE, ARM_PCI_MEM64_SIZE },
		.irq_set = pci_irq_set,
		.irq_opaque = machine->accel,
	};
	struct device *dev;
	int ret;

	if (machine->accel->phys_bits && machine->accel->phys_bits < ADDRESS_BITS_NEEDED)
		return error_set(errp, -ENOTSUP,
				 "-machine virt needs %d bits of guest addresses, the CPUs of this host have %u: use microvm",
				 ADDRESS_BITS_NEEDED, machine->accel->phys_bits);
	ret = pci_host_new(&config, &vm->pci_host, errp);
	if (ret)
		return ret;
	vm->pci = (struct fdt_pci){
		.ecam = ARM_PCI_ECAM_BASE,
		.ecam_size = ARM_PCI_ECAM_SIZE,
		.io_base = ARM_PCI_IO_BASE,
		.io_size = ARM_PCI_IO_SIZE,
		.mem32_base = ARM_PCI_MEM32_BASE,
		.mem32_size = ARM_PCI_MEM32_SIZE,
		.mem64_base = ARM_PCI_MEM64_BASE,
		.mem64_size = ARM_PCI_MEM64_SIZE,
		.intx_gsi = ARM_GSI_PCI,
	};
	return device_create_internal(&machine->platform, "gpex-root", "gpex-root", NULL, &dev, errp);
}

static int virt_init_devices(struct machine *machine, struct error **errp)
{
	struct arm_vm *vm = to_arm_vm(machine);
	struct device *dev;
	char props[64];
	int ret;

	arm_create_slots(vm);
	arm_offer_vmgenid(vm);
	ret = machine_settle_flash(machine, errp);
	if (!ret)
		ret = machine->config->bios ? create_rom(machine, errp) : create_flash(machine, errp);
	snprintf(props, sizeof(props), "base=0x%llx", ARM_FW_CFG_BASE);
	if (!ret)
		ret = machine_create_fw_cfg(machine, "fw_cfg_mem", props, errp);
	if (!ret)
		ret = arm_create_rtc(vm, errp);
	/* Each has its power button: ACPI tells of the one, a device tree of the other. */
	if (!ret && !machine_has_firmware(machine)) {
		ret = arm_create_gpio(vm, errp);
	} else if (!ret) {
		snprintf(props, sizeof(props), "base=0x%llx,gsi=%d", ARM_GED_BASE, ARM_GSI_GED);
		ret = device_create_internal(&machine->platform, "acpi-ged", "ged", props, &dev, errp);
	}
	if (!ret)
		ret = create_pci(vm, errp);
	return ret ? ret : arm_create_serial(vm, errp);
}

/* --- boot ------------------------------------------------------------------------------------ */

static int virt_prepare_boot(struct machine *machine, struct error **errp)
{
	struct arm_vm *vm = to_arm_vm(machine);
	bool firmware = machine_has_firmware(machine);
	int ret;

	if (!machine->config->kernel && !firmware && !machine->accel->no_guest_code)
		return error_set(errp, -EINVAL, "-machine virt: firmware (-drive if=pflash) or -kernel is required");
	ret = arm_open_files(vm, errp);
	if (!ret && vm->source && firmware)
		ret = boot_source_to_fw_cfg(vm->source, machine->config->append ? machine->config->append : "",
					    machine->fw_cfg, errp);
	return ret ? ret : machine_fill_fw_cfg(machine, errp);
}

static int place_acpi(struct arm_vm *vm, struct error **errp)
{
	struct machine *machine = &vm->machine;
	struct acpi_virtio_mmio virtio[ARM_VIRTIO_SLOTS];
	struct acpi_pci_host pci = {
		.ecam = ARM_PCI_ECAM_BASE,
		.bus_last = ARM_PCI_ECAM_SIZE / MIB - 1,
		.mmio32 = { { .base = ARM_PCI_MEM32_BASE, .size = ARM_PCI_MEM32_SIZE } },
		.mmio64 = { .base = ARM_PCI_MEM64_BASE, .size = ARM_PCI_MEM64_SIZE },
		.io = { { .base = 0, .size = ARM_PCI_IO_SIZE, .translation = ARM_PCI_IO_BASE } },
		.coherent = true,
		.native_hotplug = true,
	};
	struct acpi_virt info = {
		.topology = &machine->topology,
		.pmu = machine->accel->pmu,
		.serial = vm->has_serial ? ARM_SERIAL_BASE : 0,
		.serial_gsi = GIC_SPI_BASE + ARM_GSI_SERIAL,
		.fw_cfg = ARM_FW_CFG_BASE,
		.ged = ARM_GED_BASE,
		.ged_gsi = GIC_SPI_BASE + ARM_GSI_GED,
		.vmgenid = vmgenid_present(&machine->platform) ? ARM_VMGENID_BASE : 0,
		.virtio = virtio,
		.pci = &pci,
		.caches = &vm->caches,
		.numa = numa_tables(machine),
		.variables = { .base = ARM_FLASH_BASE + ARM_FLASH_BANK, .size = machine->flash[1] ? ARM_FLASH_BANK : 0 },
	};
	struct acpi_tables *tables;
	int ret;

	for (unsigned int i = 0; i < ARRAY_SIZE(pci.intx_gsi); i++)
		pci.intx_gsi[i] = GIC_SPI_BASE + ARM_GSI_PCI + i % PCI_INTX_PINS;
	for (unsigned int i = 0; i < ARM_VIRTIO_SLOTS; i++)
		if (vm->slot_used[i])
			virtio[info.virtio_count++] = (struct acpi_virtio_mmio){
				.base = ARM_VIRTIO_BASE + i * ARM_VIRTIO_SIZE,
				.size = ARM_VIRTIO_SIZE,
				.gsi = GIC_SPI_BASE + ARM_GSI_VIRTIO + i,
			};
	ret = acpi_virt_build(&info, &tables, errp);
	if (ret)
		return ret;
	ret = machine_fw_cfg_acpi(machine, tables, errp);
	acpi_tables_free(tables);
	return ret;
}

static int virt_load(struct machine *machine, struct vcpu_entry *entry, struct error **errp)
{
	struct arm_vm *vm = to_arm_vm(machine);
	int ret;

	pci_host_reset(vm->pci_host);
	if (!machine_has_firmware(machine))
		return arm_load(vm, true, entry, errp);
	ret = place_acpi(vm, errp);
	*entry = (struct vcpu_entry){ .mode = VCPU_ENTRY_RESET };
	return ret ? ret : arm_load(vm, false, entry, errp);
}

static void virt_release(struct machine *machine)
{
	struct arm_vm *vm = to_arm_vm(machine);

	arm_release(machine);
	pci_host_free(vm->pci_host);
}

const struct machine_class virt_class = {
	.name = "virt",
	.firmware_bus = "/pci@7fc0000000/",
	.alias = "virt-*",
	.summary = "standard machine: PCI Express, UEFI, ACPI or device tree",
	.instance_size = sizeof(struct arm_vm),
	.props = virt_props,
	.init_memory = arm_init_memory,
	.init_devices = virt_init_devices,
	.prepare_boot = virt_prepare_boot,
	.load = virt_load,
	.power_button = arm_power_button,
	.release = virt_release,
};
