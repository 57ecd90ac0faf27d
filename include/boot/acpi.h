/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI 6.5 tables: what the builders of the machines need to know; and the MP table (MultiProcessor Specification 1.4)
 * for kernels without ACPI. Main thread.
 */
#ifndef BOOT_ACPI_H
#define BOOT_ACPI_H

#include "boot/acpi_tables.h"
#include "cpu/vcpu.h"
#include "memory/space.h"

/*
 * A PCI Express host bridge with one ECAM window (§6.1.5 PNP0A08, PCI Firmware 3.3 §4). Windows of size 0 do not
 * exist. Pin p (0 = A) of slot s of the root bus arrives at intx_gsi[irq_map(s, p)]; without irq_map, at
 * intx_gsi[(s + p) % 4].
 */
struct acpi_pci_host {
	gpa_t ecam;
	uint8_t bus_last; /* buses 0 … bus_last */
	struct acpi_pci_window {
		uint64_t base, size;
		uint64_t translation; /* I/O behind a memory window (aarch64): address there is base + this */
	} mmio32[2], mmio64, io[2];
	bool has_config_ports; /* 0xcf8-0xcff are the bridge's */
	uint32_t intx_gsi[8];
	unsigned int (*irq_map)(void *opaque, unsigned int slot, unsigned int pin);
	void *irq_opaque;
	bool coherent;	       /* say so by _CCA: aarch64 */
	bool native_hotplug;   /* the guest may drive the slots of root ports */
};

/* Which CPUs and memory are near each other (§5.2.16, §5.2.17). */
struct acpi_numa {
	unsigned int nodes; /* at most ACPI_NUMA_NODES_MAX */
	const struct acpi_numa_memory {
		gpa_t base;
		uint64_t size;
		unsigned int node;
	} *memory;
	unsigned int memory_count;
	const unsigned int *cpu_node; /* [maxcpus] */
	const uint8_t *distances;     /* [nodes * nodes], row by row: from, to; NULL: 10 within a node, 20 to others */
};

#define ACPI_NUMA_NODES_MAX 128

static inline unsigned int acpi_numa_distance(const struct acpi_numa *numa, unsigned int from, unsigned int to)
{
	return numa->distances ? numa->distances[from * numa->nodes + to] : from == to ? 10 : 20;
}

struct acpi_virtio_mmio {
	gpa_t base;
	uint64_t size;
	uint32_t gsi;
};

struct acpi_microvm {
	const struct vcpu_topology *topology;
	gpa_t ioapic, lapic;
	gpa_t ged_base;      /* devices/ged.h: event register and the hardware-reduced sleep and reset registers */
	uint32_t ged_gsi;
	bool has_serial;     /* COM1: ports 0x3f8-0x3ff, GSI 4 */
	bool has_rtc;        /* CMOS RTC: ports 0x70-0x71 */
	bool has_fw_cfg;     /* devices/fw_cfg.h: ports 0x510-0x51b */
	gpa_t vmgenid;       /* devices/vmgenid.h: where the id lies, 0 without one */
	const struct acpi_virtio_mmio *virtio; /* LNRO0005 devices */
	unsigned int virtio_count;
	const struct acpi_pci_host *pci; /* NULL without one */
	const struct acpi_numa *numa;    /* NULL: no SRAT and SLIT */
};

/*
 * Hardware-reduced tables (§3.11.1, §4.1): FADT, MADT, DSDT, with PCI an MCFG. A keyboard controller is not announced: the machine has only its reset line, and kernels that see no 8042 do not spend time on a probe.
 */
int __must_check acpi_microvm_build(const struct acpi_microvm *info, struct acpi_tables **ret, struct error **errp);
/* The same, placed from BOOT_X86_ACPI on. */
int __must_check acpi_microvm_install(struct mem_space *space, const struct acpi_microvm *info, gpa_t *rsdp,
				      struct error **errp);

struct acpi_q35 {
	const struct vcpu_topology *topology;
	gpa_t ioapic, lapic;
	uint16_t pm_base;      /* the other registers and the SCI are as in pci/q35.h */
	unsigned int coms;     /* bit n: COM<n + 1> */
	uint16_t pvpanic_port; /* 0 without one */
	bool has_fw_cfg;       /* devices/fw_cfg.h: ports 0x510-0x51b */
	gpa_t vmgenid;         /* devices/vmgenid.h: where the id lies, 0 without one; an event is GPE Q35_GPE_VMGENID */
	bool cpu_hotplug;      /* devices/cpu_hotplug.h; an event is GPE Q35_GPE_CPU. CPUs up to maxcpus may come */
	const struct acpi_numa *numa; /* NULL: no SRAT and SLIT */
	const struct acpi_pci_host *pci;
};

#define Q35_GPE_CPU 2
#define Q35_GPE_VMGENID 5 /* QEMU's number */

/*
 * Tables of a PC with fixed ACPI hardware: FACS, FADT, MADT, MCFG, DSDT. *ret is the caller's, acpi_tables_free().
 */
int __must_check acpi_q35_build(const struct acpi_q35 *info, struct acpi_tables **ret, struct error **errp);

struct acpi_tables;

/* virt on aarch64. Addresses of 0: the device is not there. GSIs are INTIDs. */
struct cpu_caches;
struct acpi_virt {
	const struct vcpu_topology *topology;
	bool pmu;
	gpa_t serial; /* PL011 */
	uint32_t serial_gsi;
	gpa_t fw_cfg;
	gpa_t ged;
	uint32_t ged_gsi;
	gpa_t vmgenid; /* needs the GED */
	const struct acpi_virtio_mmio *virtio;
	unsigned int virtio_count;
	const struct acpi_pci_host *pci;
	const struct cpu_caches *caches; /* boot/arm64.h; NULL: nothing is known */
	const struct acpi_numa *numa; /* NULL: no SRAT and SLIT */
	struct acpi_numa_memory variables; /* the firmware's flash bank; of no size: none */
};
int __must_check acpi_virt_build(const struct acpi_virt *info, struct acpi_tables **ret, struct error **errp);

/*
 * MP floating pointer at BOOT_X86_EBDA; the configuration table behind it, or, when that KiB is too small, in the last
 * 8 KiB below BOOT_X86_ACPI_END. ISA interrupts go to the IOAPIC pins of their number; those of @pci, unless NULL, as they do by ACPI.
 * CPUs whose APIC id does not fit eight bits are left out.
 */
int __must_check mptable_install(struct mem_space *space, const struct vcpu_topology *topology, gpa_t ioapic,
				 gpa_t lapic, const struct acpi_pci_host *pci, struct error **errp);

/* A bridge that takes interrupt lines to the PIC by registers of a byte, as those of Intel's LPC bridges. */
struct pir_router {
	uint8_t devfn;        /* on bus 0 */
	const uint8_t *links; /* [8]: the register of each line */
	uint16_t irqs;        /* bit n: a line may go to IRQ n */
};

/* Between the MP table and the reset vector. @pci has an irq_map. */
int __must_check pirtable_install(struct mem_space *space, const struct acpi_pci_host *pci,
				  const struct pir_router *router, struct error **errp);

#endif
