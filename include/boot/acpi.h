/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI 6.5 tables of the microvm machine (hardware-reduced, §3.11.1, §4.1) and the MP table (MultiProcessor
 * Specification 1.4) for kernels without ACPI. Main thread.
 */
#ifndef BOOT_ACPI_H
#define BOOT_ACPI_H

#include "cpu/vcpu.h"
#include "memory/space.h"

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
	const struct acpi_virtio_mmio *virtio; /* LNRO0005 devices */
	unsigned int virtio_count;
};

/*
 * Builds RSDP, XSDT, FADT, MADT, DSDT from BOOT_X86_ACPI on. @rsdp: address of the RSDP. A keyboard controller is not
 * announced: the machine has only its reset line, and kernels that see no 8042 do not spend time on a probe.
 */
int __must_check acpi_microvm_install(struct mem_space *space, const struct acpi_microvm *info, gpa_t *rsdp,
				      struct error **errp);

/*
 * MP floating pointer at BOOT_X86_EBDA; the configuration table behind it, or, when that KiB is too small, in the last
 * 8 KiB below BOOT_X86_ACPI_END. ISA interrupts go to the IOAPIC pins of their number. CPUs whose APIC id does not fit eight
 * bits are left out.
 */
int __must_check mptable_install(struct mem_space *space, const struct vcpu_topology *topology, gpa_t ioapic,
				 gpa_t lapic, struct error **errp);

#endif
