// SPDX-License-Identifier: Apache-2.0
/* The section numbers are those of ACPI 6.5. */
#include "acpi_x86.h"
#include "devices/fw_cfg.h"

#include <inttypes.h>
#include <stdio.h>

#include "../acpi_numa.h"

#define MADT_PCAT_COMPAT 1
#define LAPIC_ID_MAX 254 /* higher ids need x2APIC entries, §5.2.12.12 */

#define COM_PORTS 8
#define RTC_PORT 0x70

bool acpi_x86_add_lapic(struct blob *blob, uint32_t uid, uint64_t id, uint32_t flags)
{
	if (id <= LAPIC_ID_MAX && uid <= UINT8_MAX) {
		blob_u8(blob, 0);
		blob_u8(blob, 8);
		blob_u8(blob, (uint8_t)uid);
		blob_u8(blob, (uint8_t)id);
		blob_u32(blob, flags);
		return false;
	}
	blob_u8(blob, 9);
	blob_u8(blob, 16);
	blob_u16(blob, 0);
	blob_u32(blob, (uint32_t)id);
	blob_u32(blob, flags);
	blob_u32(blob, uid);
	return true;
}

/* One entry a CPU: §5.2.12.2 or §5.2.12.12. Returns whether any needed the latter. */
static bool add_local_apics(struct blob *blob, const struct acpi_x86_madt *info)
{
	bool x2apic = false;

	for (uint32_t i = 0; i < info->cpus; i++) {
		uint64_t id = vcpu_arch_id(info->topology, i);
		uint32_t flags = i < info->topology->cpus ? LAPIC_ENABLED : LAPIC_ONLINE_CAPABLE;

		x2apic |= acpi_x86_add_lapic(blob, i, id, flags);
	}
	return x2apic;
}

void acpi_x86_add_madt(struct acpi_tables *tables, const struct acpi_x86_madt *info)
{
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "APIC", 6);
	bool x2apic;

	blob_u32(blob, (uint32_t)info->lapic);
	blob_u32(blob, MADT_PCAT_COMPAT);
	x2apic = add_local_apics(blob, info);

	blob_u8(blob, 1); /* I/O APIC, §5.2.12.3 */
	blob_u8(blob, 12);
	blob_u8(blob, 0); /* id */
	blob_u8(blob, 0);
	blob_u32(blob, (uint32_t)info->ioapic);
	blob_u32(blob, 0); /* first GSI */

	/*
	 * No interrupt source override (§5.2.12.5) for the timer: KVM's drives GSI 0, which its
	 * default routing takes to pin 0, not 2 as on a PC.
	 */
	if (info->sci) {
		blob_u8(blob, 2);
		blob_u8(blob, 10);
		blob_u8(blob, 0); /* ISA */
		blob_u8(blob, info->sci);
		blob_u32(blob, info->sci);
		blob_u16(blob, 0x0d); /* active high, level */
	}

	blob_u8(blob, 4); /* local APIC NMI, §5.2.12.7: LINT1 of every CPU */
	blob_u8(blob, 6);
	blob_u8(blob, 0xff);
	blob_u16(blob, 0);
	blob_u8(blob, 1);
	if (x2apic) { /* local x2APIC NMI, §5.2.12.13 */
		blob_u8(blob, 10);
		blob_u8(blob, 12);
		blob_u16(blob, 0);
		blob_u32(blob, UINT32_MAX);
		blob_u8(blob, 1);
		blob_zero(blob, 3);
	}
	acpi_table_end(tables, start);
}

/* §5.2.16.1, and §5.2.16.3 for ids beyond eight bits. */
static void add_cpu_affinity(struct blob *blob, uint64_t id, unsigned int node)
{
	if (id <= LAPIC_ID_MAX) {
		blob_u8(blob, 0);
		blob_u8(blob, 16);
		blob_u8(blob, (uint8_t)node);
		blob_u8(blob, (uint8_t)id);
		blob_u32(blob, 1); /* enabled */
		blob_zero(blob, 8);
		return;
	}
	blob_u8(blob, 2);
	blob_u8(blob, 24);
	blob_u16(blob, 0);
	blob_u32(blob, node);
	blob_u32(blob, (uint32_t)id);
	blob_u32(blob, 1);
	blob_zero(blob, 8);
}

void acpi_x86_add_numa(struct acpi_tables *tables, const struct acpi_numa *numa,
		       const struct vcpu_topology *topology)
{
	size_t start = acpi_numa_begin_srat(tables, numa);

	for (uint32_t i = 0; i < topology->maxcpus; i++)
		add_cpu_affinity(&tables->data, vcpu_arch_id(topology, i), numa->cpu_node[i]);
	acpi_table_end(tables, start);
	acpi_numa_add_slit(tables, numa);
}

/* §8.4: the _UIDs tie the processor devices to the MADT's entries. */
void acpi_x86_add_cpus(struct aml *aml, const struct vcpu_topology *topology)
{
	for (uint32_t i = 0; i < topology->cpus; i++) {
		char name[ACPI_X86_CPU_NAME];

		acpi_x86_cpu_name(name, i);
		aml_device(aml, name);
		aml_name(aml, "_HID");
		aml_string(aml, "ACPI0007");
		aml_name(aml, "_UID");
		aml_integer(aml, i);
		aml_end(aml);
	}
}

void acpi_x86_cpu_name(char name[ACPI_X86_CPU_NAME], uint32_t index)
{
	snprintf(name, ACPI_X86_CPU_NAME, "C%03" PRIX32, index % ACPI_X86_CPUS_MAX);
}

void acpi_x86_add_com(struct aml *aml, unsigned int index)
{
	static const struct {
		const char *name;
		uint16_t port;
		uint8_t gsi;
	} coms[ACPI_X86_COMS] = {
		{ "COM1", 0x3f8, 4 }, { "COM2", 0x2f8, 3 }, { "COM3", 0x3e8, 4 }, { "COM4", 0x2e8, 3 },
	};

	aml_device(aml, coms[index].name);
	aml_name(aml, "_HID");
	aml_eisaid(aml, "PNP0501");
	aml_name(aml, "_UID");
	aml_integer(aml, index);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, coms[index].port, COM_PORTS);
	aml_interrupt_edge(aml, coms[index].gsi);
	aml_end(aml);
	aml_end(aml);
}

/*
 * Without an interrupt where IRQ 8 may be a virtio device's: the clock's driver polls then.
 */
void acpi_x86_add_rtc(struct aml *aml, uint32_t gsi)
{
	aml_device(aml, "RTC");
	aml_name(aml, "_HID");
	aml_eisaid(aml, "PNP0B00");
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, RTC_PORT, 2);
	if (gsi)
		aml_interrupt_edge(aml, gsi);
	aml_end(aml);
	aml_end(aml);
}

/* As QEMU announces it; present and working, not shown to users (§6.3.7). */
void acpi_x86_add_fw_cfg(struct aml *aml)
{
	aml_device(aml, "FWCF");
	aml_name(aml, "_HID");
	aml_string(aml, "QEMU0002");
	aml_name(aml, "_STA");
	aml_integer(aml, 0x0b);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, FW_CFG_IO_BASE, FW_CFG_IO_SIZE);
	aml_end(aml);
	aml_end(aml);
}
