// SPDX-License-Identifier: Apache-2.0
/*
 * microvm on x86_64: the smallest machine. RAM around a hole below 4 GiB, virtio-mmio slots, a serial port, and PCI Express
 * only when it is asked for.
 * Devices are announced to the guest by ACPI (hardware-reduced) and, to kernels that do not look there,
 * on the kernel's command line; an MP table tells the latter about the CPUs.
 */
#define LOG_MODULE "microvm"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../internal.h"
#include "boot/acpi.h"
#include "devices/ged.h"
#include "devices/vmgenid.h"
#include "../numa.h"
#include "firmware.h"
#include "pc.h"
#include "pci/host.h"
#include "util/alloc.h"
#include "util/log.h"

/* Memory map: StratoVirt's addresses where they are known to guests and scripts. */
#define RAM_LOW_MAX (3 * GIB)
#define GED_BASE 0xf0000000ULL
#define VIRTIO_MMIO_BASE 0xf0100000ULL
#define VIRTIO_MMIO_SIZE 0x200ULL

/*
 * Interrupt lines. Virtio devices get 5, 6, 7, 9 … 15, as StratoVirt hands them out but for 8, which kernels
 * without ACPI take for the RTC: it comes last. Lines above 15 are reachable only by those who read the MADT.
 */
#define GSI_GED 16
static const uint8_t virtio_gsi[] = { 5,  6,  7,  9,  10, 11, 12, 13, 14, 15,
				      17, 18, 19, 20, 21, 22, 23, 8 };
#define VIRTIO_SLOTS ARRAY_SIZE(virtio_gsi)
#define SERIAL_PORTS 1

/*
 * With pcie=on: a generic ECAM host bridge. Its four lines are the last four of the IOAPIC, which virtio-mmio slots then do
 * not get. BARs lie above RAM's 3 GiB; large ones above all RAM, and within the 39 address bits that every CPU has.
 */
#define PCI_ECAM_BASE 0xe0000000ULL
#define PCI_ECAM_SIZE_MAX (256 * MIB)
#define PCI_MEM32_BASE RAM_LOW_MAX
#define PCI_MEM32_SIZE (PCI_ECAM_BASE - PCI_MEM32_BASE)
#define PCI_MEM64_SIZE (64 * GIB)
#define PCI_IO_BASE_PORT 0x1000ULL
#define PCI_IO_SIZE 0xf000ULL
#define PCI_GSI_FIRST 20

/* Replaceable slots, as many as StratoVirt has. */
#define DISK_SLOTS 4
#define NET_SLOTS 2

enum { SLOTS_AUTO, SLOTS_ON, SLOTS_OFF };
static const char *const slots_words[] = { "auto", "on", "off", NULL };

struct microvm {
	struct machine machine;
	bool acpi;
	bool rtc;
	bool pcie;
	bool auto_cmdline;
	struct pci_host *pci;
	int replaceable_slots;
	bool slot_used[VIRTIO_SLOTS];
	unsigned int serial_count;
	struct boot_source *source;
	char *cmdline; /* what the guest gets */
};

static const struct property microvm_props[] = {
	MACHINE_COMMON_PROPS(struct microvm),
	PROP_BOOL("acpi", struct microvm, acpi, 1,
		  "offer ACPI tables; off: devices are named on the kernel command line only"),
	PROP_BOOL("rtc", struct microvm, rtc, 1, "CMOS real-time clock"),
	PROP_BOOL("pcie", struct microvm, pcie, 0, "a PCI Express host bridge; needs ACPI"),
	PROP_BOOL("auto-kernel-cmdline", struct microvm, auto_cmdline, 1,
		  "name the devices on the kernel command line where the kernel needs that"),
	PROP_ENUM("replaceable-slots", struct microvm, replaceable_slots, slots_words, SLOTS_AUTO,
		  "the first four disks and two network cards can come and go (device_add, device_del); "
		  "empty ones are there with capacity 0 and the cable out; auto: when there is a monitor"),
	PROP_IGNORED("x-option-roms", "accepted for QEMU's sake: there are no option ROMs"),
	PROP_IGNORED("pit", "accepted for QEMU's sake: KVM's is there"),
	PROP_IGNORED("pic", "accepted for QEMU's sake: KVM's is there"),
	PROP_IGNORED("ioapic2", "accepted for QEMU's sake: there is one"),
	PROP_IGNORED("isa-serial", "accepted for QEMU's sake: there are the ports that -serial asks for"),
	PROP_END,
};

static struct microvm *to_microvm(struct machine *machine)
{
	return container_of(machine, struct microvm, machine);
}

static int microvm_init_memory(struct machine *machine, struct error **errp)
{
	return pc_add_ram(machine, RAM_LOW_MAX, errp);
}

/* --- virtio-mmio slots ------------------------------------------------------------------- */

/* Without ACPI only the sixteen ISA lines can be reached. PCI's are level-triggered and its own. */
static bool slot_usable(const struct microvm *vm, unsigned int index)
{
	if (vm->pcie && virtio_gsi[index] >= PCI_GSI_FIRST)
		return false;
	return vm->acpi || virtio_gsi[index] < 16;
}

static int slot_take(struct platform *platform, struct mmio_slot *slot, struct error **errp)
{
	struct microvm *vm = container_of(platform, struct microvm, machine.platform);
	unsigned int usable = 0;

	for (unsigned int i = 0; i < VIRTIO_SLOTS; i++) {
		if (!slot_usable(vm, i))
			continue;
		usable++;
		if (vm->slot_used[i])
			continue;
		vm->slot_used[i] = true;
		*slot = (struct mmio_slot){
			.base = VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE,
			.size = VIRTIO_MMIO_SIZE,
			.gsi = virtio_gsi[i],
		};
		return 0;
	}
	return error_set(errp, -ENOSPC, "all %u virtio-mmio slots of machine microvm%s are taken",
			 usable, vm->acpi ? "" : " without ACPI");
}

static void slot_release(struct platform *platform, const struct mmio_slot *slot)
{
	struct microvm *vm = container_of(platform, struct microvm, machine.platform);

	vm->slot_used[(slot->base - VIRTIO_MMIO_BASE) / VIRTIO_MMIO_SIZE] = false;
}

/* --- PCI ------------------------------------------------------------------------------------------ */

static void pci_irq_set(void *opaque, unsigned int line, bool level)
{
	static struct log_limit limit;
	struct accel *accel = opaque;

	if (accel->ops->irq_line(accel, PCI_GSI_FIRST + line, level))
		log_warn_limited(&limit, "PCI interrupt line %u cannot be set", line);
}

static struct pci_range pci_mem64(const struct machine *machine)
{
	uint64_t high = machine->ram_size > RAM_LOW_MAX ? machine->ram_size - RAM_LOW_MAX : 0;

	return (struct pci_range){ ALIGN_UP(PC_RAM_HIGH_BASE + high, PCI_MEM64_SIZE), PCI_MEM64_SIZE };
}

static int create_pci(struct microvm *vm, struct error **errp)
{
	struct machine *machine = &vm->machine;
	const struct pci_host_config config = {
		.platform = &machine->platform,
		.root_bus = "pcie.0",
		.ecam = { PCI_ECAM_BASE, PCI_ECAM_SIZE_MAX },
		.io = { PCI_IO_BASE_PORT, PCI_IO_SIZE },
		.mem32 = { PCI_MEM32_BASE, PCI_MEM32_SIZE },
		.mem64 = pci_mem64(machine),
		.irq_set = pci_irq_set,
		.irq_opaque = machine->accel,
	};
	struct device *dev;
	int ret;

	if (!vm->acpi)
		return error_set(errp, -EINVAL, "-machine microvm: pcie=on needs acpi=on, which tells the guest of it");
	ret = pci_host_new(&config, &vm->pci, errp);
	return ret ? ret : device_create_internal(&machine->platform, "gpex-root", "gpex-root", NULL, &dev, errp);
}

/* --- the machine's own devices --------------------------------------------------------------- */

static int microvm_init_devices(struct machine *machine, struct error **errp)
{
	struct microvm *vm = to_microvm(machine);
	struct platform *platform = &machine->platform;
	struct device *dev;
	char props[128];
	int ret;

	platform->mmio_slot_take = slot_take;
	platform->mmio_slot_release = slot_release;
	if (vm->replaceable_slots == SLOTS_ON ||
	    (vm->replaceable_slots == SLOTS_AUTO && !list_empty(&machine->config->monitors))) {
		machine->slot_counts[MACHINE_SLOT_DISK] = DISK_SLOTS;
		machine->slot_counts[MACHINE_SLOT_NET] = NET_SLOTS;
	}

	ret = machine_settle_flash(machine, errp);
	if (!ret)
		ret = x86_firmware_create(machine, errp);
	if (!ret && (machine_has_firmware(machine) || !list_empty(&machine->config->fw_cfgs)))
		ret = machine_create_fw_cfg(machine, "fw_cfg_io", NULL, errp);
	if (!ret)
		ret = device_create_internal(platform, "i8042", "i8042", NULL, &dev, errp);
	if (!ret)
		ret = device_create_internal(platform, "boot-timer", "boot-timer", NULL, &dev, errp);
	if (!ret && vm->rtc)
		ret = pc_create_rtc(machine, RAM_LOW_MAX, 0, errp);
	platform->has_vmgenid = vm->acpi && !machine_has_firmware(machine);
	if (!ret && vm->acpi) {
		snprintf(props, sizeof(props), "base=0x%llx,gsi=%d", GED_BASE, GSI_GED);
		ret = device_create_internal(platform, "acpi-ged", "ged", props, &dev, errp);
	}
	if (!ret && vm->pcie)
		ret = create_pci(vm, errp);
	if (ret)
		return ret;
	return pc_create_serials(machine, SERIAL_PORTS, &vm->serial_count, errp);
}

/* --- boot ----------------------------------------------------------------------------------------- */

/*
 * Does the kernel need the devices named on its command line? Certainly when there are no tables or it will not
 * look at them. When the image does not tell (BOOT_ACPI_UNKNOWN) both are given: a kernel that understands both
 * registers the ACPI devices first, and a second driver cannot claim the same registers, so each
 * device is bound once.
 */
static bool need_cmdline_devices(const struct microvm *vm, const char *append)
{
	if (!vm->auto_cmdline)
		return false;
	if (!vm->acpi || boot_cmdline_disables_acpi(append))
		return true;
	return boot_source_acpi_hint(vm->source) != BOOT_ACPI_YES;
}

static char *compose_cmdline(struct microvm *vm)
{
	const char *append = vm->machine.config->append ? vm->machine.config->append : "";
	char *text = xstrdup(append);

	if (!need_cmdline_devices(vm, append))
		return text;
	for (unsigned int i = 0; i < VIRTIO_SLOTS; i++) {
		char *longer;

		if (!vm->slot_used[i])
			continue;
		longer = xasprintf("%s%svirtio_mmio.device=%llu@0x%08llx:%u", text, *text ? " " : "",
				   VIRTIO_MMIO_SIZE, VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE,
				   virtio_gsi[i]);
		free(text);
		text = longer;
	}
	return text;
}

static const struct boot_x86_range reserved[] = { { KVM_PAGES_BASE, KVM_PAGES_SIZE } };

static int microvm_prepare_boot(struct machine *machine, struct error **errp)
{
	const struct vm_config *config = machine->config;
	struct microvm *vm = to_microvm(machine);
	int ret;

	if (!config->kernel && !machine_has_firmware(machine) && !machine->accel->no_guest_code)
		return error_set(errp, -EINVAL, "-machine microvm: -kernel is required");
	if (config->kernel) {
		ret = boot_source_open(config->kernel, config->initrd, &vm->source, errp);
		if (ret)
			return ret;
	}
	if (machine->fw_cfg) {
		ret = x86_firmware_fill_fw_cfg(machine, reserved, ARRAY_SIZE(reserved),
					       machine_has_firmware(machine) ? vm->source : NULL, errp);
		if (ret)
			return ret;
	}
	if (!vm->source || machine_has_firmware(machine))
		return 0;
	vm->cmdline = compose_cmdline(vm);
	log_debug("kernel command line: %s", vm->cmdline);
	return 0;
}

/* @rsdp NULL: to fw_cfg, for the firmware to place. */
static int place_acpi(struct microvm *vm, gpa_t *rsdp, struct error **errp)
{
	const struct pci_range high = pci_mem64(&vm->machine);
	struct acpi_virtio_mmio virtio[VIRTIO_SLOTS];
	struct acpi_tables *tables = NULL;
	struct acpi_pci_host pci = {
		.ecam = PCI_ECAM_BASE,
		.bus_last = PCI_ECAM_SIZE_MAX / MIB - 1,
		.mmio32 = { { .base = PCI_MEM32_BASE, .size = PCI_MEM32_SIZE } },
		.mmio64 = { .base = high.base, .size = high.size },
		.io = { { .base = PCI_IO_BASE_PORT, .size = PCI_IO_SIZE } },
		.native_hotplug = true,
	};
	struct acpi_microvm info = {
		.topology = &vm->machine.topology,
		.ioapic = IOAPIC_BASE,
		.lapic = LAPIC_BASE,
		.ged_base = GED_BASE,
		.ged_gsi = GSI_GED,
		.has_serial = vm->serial_count > 0,
		.has_rtc = vm->rtc,
		.has_fw_cfg = vm->machine.fw_cfg,
		.vmgenid = vmgenid_present(&vm->machine.platform) ? BOOT_X86_VMGENID : 0,
		.virtio = virtio,
		.pci = vm->pci ? &pci : NULL,
		.numa = numa_tables(&vm->machine),
	};
	int ret;

	for (unsigned int i = 0; i < PCI_INTX_PINS; i++)
		pci.intx_gsi[i] = PCI_GSI_FIRST + i;
	for (unsigned int i = 0; i < VIRTIO_SLOTS; i++)
		if (vm->slot_used[i])
			virtio[info.virtio_count++] = (struct acpi_virtio_mmio){
				.base = VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_SIZE,
				.size = VIRTIO_MMIO_SIZE,
				.gsi = virtio_gsi[i],
			};
	if (rsdp)
		return acpi_microvm_install(vm->machine.space, &info, rsdp, errp);
	ret = acpi_microvm_build(&info, &tables, errp);
	if (ret)
		return ret;
	ret = machine_fw_cfg_acpi(&vm->machine, tables, errp);
	acpi_tables_free(tables);
	return ret;
}

static int microvm_load(struct machine *machine, struct vcpu_entry *entry, struct error **errp)
{
	struct microvm *vm = to_microvm(machine);
	struct boot_x86_params params = {
		.cmdline = vm->cmdline,
		.reserved = reserved,
		.reserved_count = ARRAY_SIZE(reserved),
	};
	int ret;

	if (machine_has_firmware(machine)) {
		ret = vm->acpi ? place_acpi(vm, NULL, errp) : 0;
		return ret ? ret : x86_firmware_load(machine, entry, errp);
	}
	ret = vm->source ? boot_place_x86(vm->source, machine->space, &params, errp) : 0;
	if (!ret)
		ret = mptable_install(machine->space, &machine->topology, IOAPIC_BASE, LAPIC_BASE, NULL, errp);
	if (!ret && !list_empty(&machine->config->smbios))
		ret = machine_install_smbios(machine, BOOT_X86_SMBIOS_END, errp);
	if (!ret && vm->acpi)
		ret = place_acpi(vm, &params.rsdp, errp);
	if (!ret && vm->acpi)
		ret = vmgenid_place(&machine->platform, BOOT_X86_VMGENID, errp);
	if (ret || !vm->source)
		return ret;
	return boot_enter_x86(vm->source, machine->space, &params, entry, errp);
}

static void microvm_release(struct machine *machine)
{
	struct microvm *vm = to_microvm(machine);

	pci_host_free(vm->pci);
	boot_source_free(vm->source);
	free(vm->cmdline);
}

const struct machine_class microvm_x86_class = {
	.name = "microvm",
	.ram_id = "microvm.ram",
	.summary = "lightweight machine: virtio-mmio, direct kernel boot",
	.instance_size = sizeof(struct microvm),
	.props = microvm_props,
	.init_memory = microvm_init_memory,
	.init_devices = microvm_init_devices,
	.prepare_boot = microvm_prepare_boot,
	.load = microvm_load,
	.release = microvm_release,
};
