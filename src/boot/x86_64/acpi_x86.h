/* SPDX-License-Identifier: Apache-2.0 */
/* What the ACPI tables of the x86_64 machines have in common. Main thread. */
#ifndef BOOT_ACPI_X86_H
#define BOOT_ACPI_X86_H

#include "../acpi_table.h"
#include "../aml.h"
#include "boot/acpi.h"
#include "cpu/vcpu.h"

/* IAPC_BOOT_ARCH, table 5.11 */
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_NO_VGA (1u << 2)
#define BOOT_NO_RTC (1u << 5)

/* FADT flags, table 5.10 */
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_PWR_BUTTON (1u << 4) /* not in fixed hardware */
#define FADT_SLP_BUTTON (1u << 5) /* not in fixed hardware: there is none */
#define FADT_RESET_REG (1u << 10)
#define FADT_HW_REDUCED (1u << 20)

/* Flags of local APICs, table 5.34 */
#define LAPIC_ENABLED 1u
#define LAPIC_ONLINE_CAPABLE 2u

#define ACPI_X86_CPUS_MAX 4096 /* three hexadecimal digits in the name */
#define ACPI_X86_CPU_NAME 8

struct acpi_x86_madt {
	const struct vcpu_topology *topology;
	gpa_t ioapic, lapic;
	uint32_t cpus; /* entries; those from topology->cpus on are not there, but can be plugged in */
	uint8_t sci;	     /* GSI of the SCI, which is level-triggered; 0 = none */
};

/* Multiple APIC Description Table, §5.2.12. */
void acpi_x86_add_madt(struct acpi_tables *tables, const struct acpi_x86_madt *info);
/* A MADT entry for a CPU; true when it is one for an x2APIC. */
bool acpi_x86_add_lapic(struct blob *blob, uint32_t uid, uint64_t id, uint32_t flags);

/* SRAT and SLIT. */
void acpi_x86_add_numa(struct acpi_tables *tables, const struct acpi_numa *numa,
		       const struct vcpu_topology *topology);

void acpi_x86_cpu_name(char name[ACPI_X86_CPU_NAME], uint32_t index);
void acpi_x86_add_cpus(struct aml *aml, const struct vcpu_topology *topology);
/* The same with their hot-plug registers (devices/cpu_hotplug.h), and what the GPE does; the latter at top level. */
void acpi_x86_add_hotplug_cpus(struct aml *aml, const struct vcpu_topology *topology);
void acpi_x86_add_hotplug_event(struct aml *aml, unsigned int gpe);

#define ACPI_X86_COMS 4
void acpi_x86_add_com(struct aml *aml, unsigned int index); /* COM1 is 0 */
void acpi_x86_add_rtc(struct aml *aml, uint32_t gsi);	    /* 0: no interrupt */
void acpi_x86_add_fw_cfg(struct aml *aml);

#endif
