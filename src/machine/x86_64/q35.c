// SPDX-License-Identifier: Apache-2.0
/*
 * q35: a standard PC with PCI Express, as QEMU's machine of that name looks to a guest: a Q35 memory controller hub and
 * the LPC bridge of an ICH9 on the root bus, ACPI with fixed hardware, fw_cfg. A kernel boots directly, with tables
 * that are placed in memory here; then this file also does what firmware would do to the chipset.
 */
#define LOG_MODULE "q35"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/acpi.h"
#include "boot/smbios.h"
#include "devices/cpu_hotplug.h"
#include "devices/fw_cfg.h"
#include "devices/vmgenid.h"
#include "../numa.h"
#include "firmware.h"
#include "pc.h"
#include "pci/host.h"
#include "pci/q35.h"
#include "util/alloc.h"
#include "util/log.h"

/*
 * Memory map, QEMU's: with less than 2.75 GiB all RAM is below the hole, else 2 GiB are. Firmware computes
 * the same from the CMOS bytes.
 */
#define RAM_LOW_MAX 0xb0000000ULL
#define RAM_LOW_SPLIT 0x80000000ULL

/* What PCI may use of the hole: all from the largest low RAM's end to the IOAPIC. */
#define PCI_HOLE_END IOAPIC_BASE
#define PCI_HOLE_CUT (64 * MIB)
#define PCI_IO_SIZE 0x10000ULL
#define CONFIG_PORTS_BASE 0xcf8
#define CONFIG_PORTS_END 0xd00
/* The window above RAM begins at a multiple of this, or at twice, … of it. */
#define PCI_HIGH_ALIGN (32 * GIB)
#define PHYS_BITS_DEFAULT 36

/* Of the megabyte's end: RSDP and tables first, then SMBIOS, then the reset vector. */
#define TABLES_BASE BOOT_X86_ACPI
#define TABLES_SIZE (SMBIOS_AREA - TABLES_BASE)

/* Between the chipset's registers and the pages that KVM has for itself: a page of the VM generation ID's. */
#define VMGENID_BASE 0xfef00000ULL

#define SERIAL_PORTS 4
#define RTC_IRQ 8

enum { UNSUPPORTED_AUTO, UNSUPPORTED_OFF, UNSUPPORTED_ON };
static const char *const unsupported_words[] = { "auto", "off", "on", NULL };

struct q35 {
	struct machine machine;
	bool acpi;
	int smm, vmport, hpet;
	struct pci_host *pci;
	struct ich9_reset_control reset;
	struct device *mch, *lpc;
	unsigned int coms;     /* as struct acpi_q35 has them; set in prepare_boot, like the next one */
	uint16_t pvpanic_port;
	struct boot_source *source;
	struct log_limit limit;
};

static const struct property q35_props[] = {
	MACHINE_COMMON_PROPS(struct q35),
	PROP_BOOL("acpi", struct q35, acpi, 1,
		  "ACPI tables; off: neither power button nor power-off, no CPU hot-plug, for most kernels one CPU"),
	PROP_ENUM("smm", struct q35, smm, unsupported_words, UNSUPPORTED_AUTO,
		  "system management mode: there is none"),
	PROP_ENUM("vmport", struct q35, vmport, unsupported_words, UNSUPPORTED_AUTO,
		  "VMware's I/O port: there is none"),
	PROP_ENUM("hpet", struct q35, hpet, unsupported_words, UNSUPPORTED_AUTO,
		  "high precision event timer: there is none"),
	PROP_IGNORED("graphics", "accepted for QEMU's sake: there is no display"),
	PROP_IGNORED("hmat", "accepted for libvirt"),
	PROP_IGNORED("mem-merge", "accepted for libvirt"),
	PROP_IGNORED("nvdimm", "accepted for libvirt: there are no NVDIMMs"),
	PROP_IGNORED("sata", "accepted for QEMU's sake: there is no SATA controller"),
	PROP_IGNORED("smbus", "accepted for QEMU's sake: there is no SMBus"),
	PROP_END,
};

static struct q35 *to_q35(struct machine *machine)
{
	return container_of(machine, struct q35, machine);
}

/* --- Memory -------------------------------------------------------------------------- */

static uint64_t low_ram(const struct machine *machine)
{
	return machine->ram_size >= RAM_LOW_MAX ? RAM_LOW_SPLIT : RAM_LOW_MAX;
}

static int check_options(const struct q35 *q35, struct error **errp)
{
	static const char missing[] = "-machine q35: %s=%s: this machine has none";

	if (q35->smm == UNSUPPORTED_ON)
		return error_set(errp, -ENOTSUP, missing, "smm", "on");
	if (q35->vmport == UNSUPPORTED_ON)
		return error_set(errp, -ENOTSUP, missing, "vmport", "on");
	if (q35->hpet == UNSUPPORTED_ON)
		return error_set(errp, -ENOTSUP, missing, "hpet", "on");
	return 0;
}

static int q35_init_memory(struct machine *machine, struct error **errp)
{
	int ret = check_options(to_q35(machine), errp);

	return ret ? ret : pc_add_ram(machine, low_ram(machine), errp);
}

/* How many physical address bits the guest's CPUs have: those of the host's. */
static unsigned int phys_bits(void)
{
	unsigned int eax, ebx, ecx, edx;

	if (__get_cpuid(0x80000008, &eax, &ebx, &ecx, &edx) && (eax & 0xff) >= 32)
		return MIN(eax & 0xff, 52u);
	return PHYS_BITS_DEFAULT;
}

/*
 * What the chipset passes on to PCI: all that is not RAM (Q35 datasheet §4.2). Kernels without ACPI take what the memory map
 * leaves free, which with little RAM is below the holes that the tables tell of.
 */
static struct pci_range not_ram_32(const struct machine *machine)
{
	uint64_t base = MIN(machine->ram_size, low_ram(machine));

	return (struct pci_range){ .base = base, .size = PCI_HOLE_END - base };
}

static struct pci_range not_ram_64(const struct machine *machine)
{
	uint64_t base = PC_RAM_HIGH_BASE + machine->ram_size - MIN(machine->ram_size, low_ram(machine));
	uint64_t end = 1ULL << phys_bits();

	return (struct pci_range){ .base = base, .size = base < end ? end - base : 0 };
}

static struct pci_range hole_32(const struct machine *machine)
{
	uint64_t base = low_ram(machine);

	return (struct pci_range){ .base = base, .size = PCI_HOLE_END - base };
}

/* From the first multiple behind RAM to the end of what CPUs can address. */
static struct pci_range hole_64(const struct machine *machine)
{
	struct pci_range range = not_ram_64(machine);
	uint64_t base = ALIGN_UP(range.base, PCI_HIGH_ALIGN), end = range.base + range.size;

	return (struct pci_range){ .base = base, .size = base < end ? end - base : 0 };
}

/* --- The machine's own devices ---------------------------------------------------------- */

/* The bridge's lines are the LPC bridge's business; before and after its life nobody interrupts. */
static unsigned int irq_map(void *opaque, unsigned int slot, unsigned int pin)
{
	struct q35 *q35 = opaque;

	return q35->lpc ? ich9_lpc_irq_map(q35->lpc, slot, pin) : (slot + pin) % PCI_INTX_PINS;
}

static void irq_set_line(void *opaque, unsigned int line, bool level)
{
	struct q35 *q35 = opaque;

	if (q35->lpc)
		ich9_lpc_set_pirq(q35->lpc, line, level);
}

static int create_pci(struct q35 *q35, struct error **errp)
{
	struct machine *machine = &q35->machine;
	struct platform *platform = &machine->platform;
	const struct pci_host_config config = {
		.platform = platform,
		.root_bus = "pcie.0",
		.config_ports = true,
		.cf8_bytes = &ich9_reset_ops,
		.cf8_opaque = &q35->reset,
		.io = { .base = 0, .size = PCI_IO_SIZE },
		.mem32 = not_ram_32(machine),
		.mem64 = not_ram_64(machine),
		.irq_map = irq_map,
		.irq_set = irq_set_line,
		.irq_opaque = q35,
	};
	int ret;

	q35->reset.platform = platform;
	ret = pci_host_new(&config, &q35->pci, errp);
	if (!ret)
		ret = device_create_internal(platform, "ICH9-LPC", "lpc", "addr=1f.0,multifunction=on",
					     &q35->lpc, errp);
	if (!ret)
		ret = device_create_internal(platform, "mch", "mch", "addr=0.0", &q35->mch, errp);
	return ret;
}

/* Only where CPUs may come: others see CPUs without methods. */
static int create_cpu_hotplug(struct q35 *q35, struct error **errp)
{
	struct machine *machine = &q35->machine;
	const struct vcpu_topology *topology = &machine->topology;
	uint64_t *ids;
	int ret;

	if (topology->cpus == topology->maxcpus || !q35->acpi)
		return 0;
	ret = device_create_internal(&machine->platform, "acpi-cpu-hotplug", "cpu-hotplug", NULL,
				     &machine->cpu_registers, errp);
	if (ret)
		return ret;
	ids = xcalloc(topology->maxcpus, sizeof(*ids));
	for (unsigned int i = 0; i < topology->maxcpus; i++)
		ids[i] = vcpu_arch_id(topology, i);
	cpu_hotplug_init_present(machine->cpu_registers, ids, topology->maxcpus, topology->cpus);
	cpu_hotplug_watch(machine->cpu_registers, cpu_ejected, machine);
	free(ids);
	return 0;
}

static int vm_generation(struct platform *platform)
{
	struct machine *machine = container_of(platform, struct machine, platform);

	ich9_lpc_set_gpe(to_q35(machine)->lpc, Q35_GPE_VMGENID);
	return 0;
}

static int q35_init_devices(struct machine *machine, struct error **errp)
{
	struct q35 *q35 = to_q35(machine);
	struct platform *platform = &machine->platform;
	unsigned int serials;
	struct device *dev;
	int ret;

	platform->has_vmgenid = q35->acpi;
	platform->vmgenid_page = VMGENID_BASE;
	platform->vm_generation = vm_generation;
	ret = machine_settle_flash(machine, errp);
	if (!ret)
		ret = x86_firmware_create(machine, errp);
	if (!ret)
		ret = machine_create_fw_cfg(machine, "fw_cfg_io", NULL, errp);
	if (!ret)
		ret = create_pci(q35, errp);
	if (!ret)
		ret = device_create_internal(platform, "i8042", "i8042", NULL, &dev, errp);
	if (!ret)
		ret = pc_create_rtc(machine, low_ram(machine), RTC_IRQ, errp);
	if (!ret)
		ret = pc_create_serials(machine, SERIAL_PORTS, &serials, errp);
	if (!ret)
		ret = create_cpu_hotplug(q35, errp);
	return ret;
}

static void q35_cpu_event(struct machine *machine)
{
	ich9_lpc_set_gpe(to_q35(machine)->lpc, Q35_GPE_CPU);
}

static int q35_power_button(struct machine *machine)
{
	struct q35 *q35 = to_q35(machine);

	if (!q35->acpi)
		return -ENODEV;
	ich9_lpc_power_button(q35->lpc);
	return 0;
}

/* --- Boot ------------------------------------------------------------------------------------ */

/* Devices of users, too, at the ports where tables can name them. Main thread. */
static void find_ports(struct q35 *q35)
{
	static const uint16_t coms[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
	struct io_region region;

	for (unsigned int i = 0; mem_space_io(q35->machine.space, IO_PORT, i, &region); i++) {
		if (!strcmp(region.name, "pvpanic"))
			q35->pvpanic_port = (uint16_t)region.base;
		for (unsigned int com = 0; com < ARRAY_SIZE(coms); com++)
			if (!strcmp(region.name, "serial") && region.base == coms[com])
				q35->coms |= 1u << com;
	}
}

/*
 * What PCI has below the IOAPIC around the ECAM. Always two windows, so that tables have one size wherever the ECAM is:
 * where it touches an end of the hole, what is left is cut in two.
 */
static void split_hole(const struct machine *machine, gpa_t ecam, struct acpi_pci_window window[2])
{
	const struct pci_range hole = hole_32(machine);
	gpa_t end = hole.base + hole.size, ecam_end = ecam + Q35_ECAM_SIZE;

	if (ecam <= hole.base) {
		ecam = MAX(ecam_end, hole.base) + PCI_HOLE_CUT;
		ecam_end = ecam;
		window[0].base = ecam - PCI_HOLE_CUT;
	} else if (ecam_end >= end) {
		ecam = ecam_end = MIN(ecam, end) - PCI_HOLE_CUT;
		window[0].base = hole.base;
		end = ecam + PCI_HOLE_CUT;
	} else {
		window[0].base = hole.base;
	}
	window[0].size = ecam - window[0].base;
	window[1].base = ecam_end;
	window[1].size = end - ecam_end;
}

/* What tables say of the host bridge. */
static struct acpi_pci_host describe_pci(struct q35 *q35, gpa_t ecam)
{
	const struct pci_range high = hole_64(&q35->machine);
	struct acpi_pci_host pci = {
		.ecam = ecam,
		.bus_last = Q35_ECAM_SIZE / MIB - 1,
		.mmio64 = { .base = high.base, .size = high.size },
		.io = { { .base = 0, .size = CONFIG_PORTS_BASE },
			{ .base = CONFIG_PORTS_END, .size = PCI_IO_SIZE - CONFIG_PORTS_END } },
		.has_config_ports = true,
		.irq_map = irq_map,
		.irq_opaque = q35,
		.native_hotplug = true,
	};

	split_hole(&q35->machine, ecam, pci.mmio32);
	for (unsigned int i = 0; i < ICH9_PIRQS; i++)
		pci.intx_gsi[i] = ICH9_PIRQ_GSI + i;
	return pci;
}

static int build_tables(struct q35 *q35, gpa_t ecam, struct acpi_tables **tables, struct error **errp)
{
	const struct acpi_pci_host pci = describe_pci(q35, ecam);
	const struct acpi_q35 info = {
		.topology = &q35->machine.topology,
		.ioapic = IOAPIC_BASE,
		.lapic = LAPIC_BASE,
		.pm_base = ICH9_PM_BASE,
		.coms = q35->coms,
		.pvpanic_port = q35->pvpanic_port,
		.has_fw_cfg = true,
		.vmgenid = vmgenid_present(&q35->machine.platform) ? VMGENID_BASE : 0,
		.cpu_hotplug = q35->machine.cpu_registers,
		.numa = numa_tables(&q35->machine),
		.pci = &pci,
	};

	return acpi_q35_build(&info, tables, errp);
}

/*
 * On a vCPU's thread: firmware has put the ECAM elsewhere, and will read the tables later. Tables have no room for
 * addresses beyond 32 bits, nor for fewer buses.
 */
static void ecam_moved(void *opaque, gpa_t base, uint64_t size)
{
	struct q35 *q35 = opaque;
	struct acpi_file files[ACPI_FILES];
	struct acpi_tables *tables;
	struct error *err = NULL;
	int ret = 0;

	if (size != Q35_ECAM_SIZE || base + size > 4 * GIB)
		return;
	if (build_tables(q35, base, &tables, &err)) {
		log_warn_limited(&q35->limit, "%s", error_text(err));
		error_free(err);
		return;
	}
	acpi_tables_files(tables, files);
	for (unsigned int i = 0; !ret && i < ACPI_FILES; i++)
		ret = fw_cfg_rewrite_file(q35->machine.fw_cfg, files[i].name, files[i].data,
					  (uint32_t)files[i].len);
	acpi_tables_free(tables);
	if (ret)
		log_warn_limited(&q35->limit, "ACPI tables cannot follow the ECAM to 0x%llx",
				 (unsigned long long)base);
}

static const struct boot_x86_range reserved[] = {
	{ KVM_PAGES_BASE, KVM_PAGES_SIZE },
	{ Q35_ECAM_BASE, Q35_ECAM_SIZE }, /* without firmware, which may choose another place */
};

static int q35_prepare_boot(struct machine *machine, struct error **errp)
{
	const struct vm_config *config = machine->config;
	struct q35 *q35 = to_q35(machine);
	bool firmware = machine_has_firmware(machine);
	int ret;

	if (!config->kernel && !firmware && !machine->accel->no_guest_code)
		return error_set(errp, -EINVAL, "-machine q35: firmware (-bios, -drive if=pflash) or -kernel is required");
	find_ports(q35);
	if (config->kernel) {
		ret = boot_source_open(config->kernel, config->initrd, &q35->source, errp);
		if (ret)
			return ret;
	}
	ret = x86_firmware_fill_fw_cfg(machine, reserved, firmware ? 1 : ARRAY_SIZE(reserved),
				       firmware ? q35->source : NULL, errp);
	if (!ret && firmware && q35->acpi)
		q35_mch_watch(q35->mch, ecam_moved, q35);
	return ret;
}

/* What firmware would do: to the chipset, and to memory. */
static int load_kernel(struct q35 *q35, struct vcpu_entry *entry, struct error **errp)
{
	struct machine *machine = &q35->machine;
	struct boot_x86_params params = {
		.cmdline = machine->config->append ? machine->config->append : "",
		.reserved = reserved,
		.reserved_count = ARRAY_SIZE(reserved),
	};
	const struct acpi_pci_host pci = describe_pci(q35, Q35_ECAM_BASE);
	static const struct pir_router router = {
		.devfn = ICH9_LPC_DEVFN,
		.links = ich9_pirq_registers,
		.irqs = 1u << 5 | 1u << 10 | 1u << 11, /* those that nothing on the ISA bus has */
	};
	struct acpi_tables *tables = NULL;
	int ret;

	q35_mch_setup(q35->mch);
	ich9_lpc_setup(q35->lpc);
	ret = boot_place_x86(q35->source, machine->space, &params, errp);
	if (!ret && q35->acpi)
		ret = build_tables(q35, Q35_ECAM_BASE, &tables, errp);
	if (!ret && tables)
		ret = acpi_tables_install(tables, machine->space, TABLES_BASE, TABLES_SIZE, &params.rsdp, errp);
	acpi_tables_free(tables);
	/* In any case: a kernel may not look at ACPI (acpi=off). */
	if (!ret)
		ret = mptable_install(machine->space, &machine->topology, IOAPIC_BASE, LAPIC_BASE, &pci, errp);
	if (!ret)
		ret = pirtable_install(machine->space, &pci, &router, errp);
	if (!ret)
		ret = machine_install_smbios(machine, BOOT_X86_SMBIOS_END, errp);
	return ret ? ret : boot_enter_x86(q35->source, machine->space, &params, entry, errp);
}

static int load_firmware(struct q35 *q35, struct vcpu_entry *entry, struct error **errp)
{
	struct machine *machine = &q35->machine;
	struct acpi_tables *tables;
	int ret = 0;

	if (q35->acpi) {
		ret = build_tables(q35, Q35_ECAM_BASE, &tables, errp);
		if (ret)
			return ret;
		ret = machine_fw_cfg_acpi(machine, tables, errp);
		acpi_tables_free(tables);
	}
	return ret ? ret : x86_firmware_load(machine, entry, errp);
}

static int q35_load(struct machine *machine, struct vcpu_entry *entry, struct error **errp)
{
	struct q35 *q35 = to_q35(machine);

	q35->reset.value = 0;
	pci_host_reset(q35->pci);
	fw_cfg_set_u16(machine->fw_cfg, FW_CFG_NB_CPUS, (uint16_t)machine->topology.cpus); /* some came */
	if (machine_has_firmware(machine))
		return load_firmware(q35, entry, errp);
	return q35->source ? load_kernel(q35, entry, errp) : 0;
}

static void q35_release(struct machine *machine)
{
	struct q35 *q35 = to_q35(machine);

	boot_source_free(q35->source);
	pci_host_free(q35->pci);
}

const struct machine_class q35_class = {
	.name = "q35",
	.firmware_bus = "/pci@i0cf8/",
	.ram_id = "pc.ram",
	.alias = "pc-q35-*",
	.summary = "standard PC: PCI Express, ACPI, hot-plug",
	.instance_size = sizeof(struct q35),
	.props = q35_props,
	.init_memory = q35_init_memory,
	.init_devices = q35_init_devices,
	.prepare_boot = q35_prepare_boot,
	.load = q35_load,
	.power_button = q35_power_button,
	.cpu_event = q35_cpu_event,
	.release = q35_release,
};
