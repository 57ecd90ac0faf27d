// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables of microvm on x86_64. The section numbers are those of ACPI 6.5. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../acpi_table.h"
#include "../aml.h"
#include "boot/acpi.h"
#include "boot/boot.h"
#include "devices/ged.h"
#include "mptable.h"

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

#define MADT_PCAT_COMPAT 1
#define LAPIC_ENABLED 1
#define LAPIC_ID_MAX 254 /* higher ids need x2APIC entries, §5.2.12.12 */

#define COM1_PORT 0x3f8
#define COM1_GSI 4
#define RTC_PORT 0x70

#define DEVICES_MAX 256 /* two hexadecimal digits in the name */
#define CPUS_MAX 4096	/* three */

/*
 * Fixed ACPI Description Table, §5.2.9. With HW_REDUCED_ACPI set the fields for fixed hardware are
 * zero. The 8042 bit of IAPC_BOOT_ARCH stays clear and no PNP0303 is announced: there is only the
 * reset line behind port 0x64, which "reboot=k" uses unasked, and a kernel that looked for a
 * keyboard would waste its time.
 */
static size_t add_fadt(struct blob *tables, const struct acpi_microvm *info, gpa_t dsdt)
{
	size_t start = acpi_table_begin(tables, "FACP", 6, "VIRTFACP");
	uint16_t boot = BOOT_NO_VGA;

	if (info->has_serial || info->has_rtc)
		boot |= BOOT_LEGACY_DEVICES;
	if (!info->has_rtc)
		boot |= BOOT_NO_RTC;

	blob_u32(tables, 0); /* FIRMWARE_CTRL: no FACS */
	blob_u32(tables, (uint32_t)dsdt);
	blob_zero(tables, 109 - 44); /* profile, SCI, PM blocks, C-state latencies, CMOS indices */
	blob_u16(tables, boot);
	blob_u8(tables, 0);
	blob_u32(tables, FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
				 FADT_RESET_REG | FADT_HW_REDUCED);
	acpi_add_register8(tables, info->ged_base + GED_REG_RESET);
	blob_u8(tables, GED_RESET_VALUE);
	blob_u16(tables, 0); /* ARM_BOOT_ARCH */
	blob_u8(tables, 5);  /* minor version */
	blob_u64(tables, 0); /* X_FIRMWARE_CTRL */
	blob_u64(tables, dsdt);
	blob_zero(tables, 244 - 148); /* X_ PM blocks */
	acpi_add_register8(tables, info->ged_base + GED_REG_SLEEP_CTL);
	acpi_add_register8(tables, info->ged_base + GED_REG_SLEEP_STS);
	blob_text(tables, ACPI_OEM_ID, 8, '\0'); /* hypervisor vendor */
	acpi_table_end(tables, start);
	return start;
}

/* One entry a CPU: §5.2.12.2 or §5.2.12.12. Returns whether any needed the latter. */
static bool add_local_apics(struct blob *tables, const struct vcpu_topology *topology)
{
	bool x2apic = false;

	for (uint32_t i = 0; i < topology->cpus; i++) {
		uint64_t id = vcpu_arch_id(topology, i);

		if (id <= LAPIC_ID_MAX && i <= UINT8_MAX) {
			blob_u8(tables, 0);
			blob_u8(tables, 8);
			blob_u8(tables, (uint8_t)i);
			blob_u8(tables, (uint8_t)id);
			blob_u32(tables, LAPIC_ENABLED);
		} else {
			x2apic = true;
			blob_u8(tables, 9);
			blob_u8(tables, 16);
			blob_u16(tables, 0);
			blob_u32(tables, (uint32_t)id);
			blob_u32(tables, LAPIC_ENABLED);
			blob_u32(tables, i);
		}
	}
	return x2apic;
}

/* Multiple APIC Description Table, §5.2.12. */
static size_t add_madt(struct blob *tables, const struct acpi_microvm *info)
{
	size_t start = acpi_table_begin(tables, "APIC", 6, "VIRTAPIC");
	bool x2apic;

	blob_u32(tables, (uint32_t)info->lapic);
	blob_u32(tables, MADT_PCAT_COMPAT);
	x2apic = add_local_apics(tables, info->topology);

	blob_u8(tables, 1); /* I/O APIC, §5.2.12.3 */
	blob_u8(tables, 12);
	blob_u8(tables, 0); /* id */
	blob_u8(tables, 0);
	blob_u32(tables, (uint32_t)info->ioapic);
	blob_u32(tables, 0); /* first GSI */

	/*
	 * No interrupt source override (§5.2.12.5): KVM's timer drives GSI 0, which its default
	 * routing takes to pin 0, not 2 as on a PC.
	 */

	blob_u8(tables, 4); /* local APIC NMI, §5.2.12.7: LINT1 of every CPU */
	blob_u8(tables, 6);
	blob_u8(tables, 0xff);
	blob_u16(tables, 0);
	blob_u8(tables, 1);
	if (x2apic) { /* local x2APIC NMI, §5.2.12.13 */
		blob_u8(tables, 10);
		blob_u8(tables, 12);
		blob_u16(tables, 0);
		blob_u32(tables, UINT32_MAX);
		blob_u8(tables, 1);
		blob_zero(tables, 3);
	}
	acpi_table_end(tables, start);
	return start;
}

/* §8.4: the _UIDs tie the processor devices to the MADT's entries. */
static void add_cpus(struct aml *aml, const struct vcpu_topology *topology)
{
	for (uint32_t i = 0; i < topology->cpus; i++) {
		char name[8];

		snprintf(name, sizeof(name), "C%03" PRIX32, i % CPUS_MAX);
		aml_device(aml, name);
		aml_name(aml, "_HID");
		aml_string(aml, "ACPI0007");
		aml_name(aml, "_UID");
		aml_integer(aml, i);
		aml_end(aml);
	}
}

/*
 * The RTC has no interrupt here: IRQ 8 may be a virtio device's, and the clock's driver polls
 * without one. Nothing on this machine needs alarms.
 */
static void add_legacy_devices(struct aml *aml, const struct acpi_microvm *info)
{
	if (info->has_serial) {
		aml_device(aml, "COM1");
		aml_name(aml, "_HID");
		aml_eisaid(aml, "PNP0501");
		aml_name(aml, "_UID");
		aml_integer(aml, 0);
		aml_name(aml, "_CRS");
		aml_resources(aml);
		aml_io(aml, COM1_PORT, 8);
		aml_interrupt_edge(aml, COM1_GSI);
		aml_end(aml);
		aml_end(aml);
	}
	if (info->has_rtc) {
		aml_device(aml, "RTC");
		aml_name(aml, "_HID");
		aml_eisaid(aml, "PNP0B00");
		aml_name(aml, "_CRS");
		aml_resources(aml);
		aml_io(aml, RTC_PORT, 2);
		aml_end(aml);
		aml_end(aml);
	}
}

/*
 * virtio-mmio: id, registers and interrupt are all the Linux driver asks for (virtio 1.2 §4.2.1).
 */
static void add_virtio(struct aml *aml, const struct acpi_microvm *info)
{
	for (unsigned int i = 0; i < info->virtio_count; i++) {
		char name[8];

		snprintf(name, sizeof(name), "VR%02X", i % DEVICES_MAX);
		aml_device(aml, name);
		aml_name(aml, "_HID");
		aml_string(aml, "LNRO0005");
		aml_name(aml, "_UID");
		aml_integer(aml, i);
		aml_name(aml, "_CRS");
		aml_resources(aml);
		aml_memory(aml, info->virtio[i].base, info->virtio[i].size);
		aml_interrupt_edge(aml, info->virtio[i].gsi);
		aml_end(aml);
		aml_end(aml);
	}
}

/*
 * Generic event device, §5.6.9: reading its register tells which events are pending and clears
 * them. One event is defined, the control method power button (§4.8.3.2.2.1).
 */
static void add_events(struct aml *aml, const struct acpi_microvm *info)
{
	aml_device(aml, "PWRB");
	aml_name(aml, "_HID");
	aml_eisaid(aml, "PNP0C0C");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_end(aml);

	aml_device(aml, "GED");
	aml_name(aml, "_HID");
	aml_string(aml, "ACPI0013");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_interrupt_edge(aml, info->ged_gsi);
	aml_end(aml);

	aml_memory_region(aml, "EREG", info->ged_base + GED_REG_EVENTS, 4);
	aml_field(aml, "EREG", 32);
	aml_field_unit(aml, "ESEL", 32);
	aml_end(aml);

	aml_method(aml, "_EVT", 1, true);
	aml_store(aml);
	aml_path(aml, "ESEL");
	aml_local(aml, 0);
	aml_if(aml);
	aml_and(aml);
	aml_local(aml, 0);
	aml_integer(aml, GED_EVENT_POWER_BUTTON);
	aml_no_target(aml);
	aml_notify(aml);
	aml_path(aml, "PWRB");
	aml_integer(aml, 0x80);
	aml_end(aml);
	aml_end(aml);
	aml_end(aml);
}

/* §7.4.2: the value goes to SLP_TYP of the sleep control register. */
static void add_sleep(struct aml *aml)
{
	aml_name(aml, "_S5");
	aml_package(aml, 4);
	aml_integer(aml, GED_SLEEP_TYPE_S5);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_end(aml);
}

static int add_dsdt(struct blob *tables, const struct acpi_microvm *info, size_t *ret,
		    struct error **errp)
{
	size_t start = acpi_table_begin(tables, "DSDT", 2, "VIRTDSDT");
	struct aml aml = { 0 };
	int code;

	aml_scope(&aml, "_SB");
	add_cpus(&aml, info->topology);
	add_legacy_devices(&aml, info);
	add_virtio(&aml, info);
	add_events(&aml, info);
	aml_end(&aml);
	add_sleep(&aml);

	code = aml_finish(&aml);
	if (!code)
		blob_bytes(tables, aml.code.data, aml.code.len);
	aml_free(&aml);
	if (code)
		return error_set(errp, code, "internal error: the DSDT is not well-formed");
	acpi_table_end(tables, start);
	*ret = start;
	return 0;
}

/* All tables with the RSDP in front, as they will lie at BOOT_X86_ACPI. */
static int build_tables(struct blob *tables, const struct acpi_microvm *info, struct error **errp)
{
	uint64_t listed[2];
	size_t dsdt = 0, xsdt;
	struct blob rsdp = { 0 };
	int ret;

	blob_zero(tables, ACPI_RSDP_SIZE);
	ret = add_dsdt(tables, info, &dsdt, errp);
	if (ret)
		return ret;
	listed[0] = BOOT_X86_ACPI + add_fadt(tables, info, BOOT_X86_ACPI + dsdt);
	listed[1] = BOOT_X86_ACPI + add_madt(tables, info);
	xsdt = acpi_add_xsdt(tables, "VIRTXSDT", listed, ARRAY_SIZE(listed));
	acpi_add_rsdp(&rsdp, BOOT_X86_ACPI + xsdt);
	memcpy(tables->data, rsdp.data, ACPI_RSDP_SIZE);
	blob_free(&rsdp);
	if (tables->len > MPTABLE_SPILL - BOOT_X86_ACPI)
		return error_set(errp, -E2BIG,
				 "the ACPI tables have %zu bytes, there is room for %d",
				 tables->len, MPTABLE_SPILL - BOOT_X86_ACPI);
	return 0;
}

int acpi_microvm_install(struct mem_space *space, const struct acpi_microvm *info, gpa_t *rsdp,
			 struct error **errp)
{
	struct blob tables = { 0 };
	int ret;

	if (info->virtio_count > DEVICES_MAX || info->topology->cpus > CPUS_MAX)
		return error_set(errp, -E2BIG, "too many CPUs or devices for the ACPI tables");
	ret = build_tables(&tables, info, errp);
	if (!ret && guest_write(space, BOOT_X86_ACPI, tables.data, tables.len))
		ret = error_set(errp, -EFAULT, "no guest memory for the ACPI tables");
	blob_free(&tables);
	if (!ret)
		*rsdp = BOOT_X86_ACPI;
	return ret;
}
