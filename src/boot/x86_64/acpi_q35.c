// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables of the q35 machine. The section numbers are those of ACPI 6.5. */
#include <errno.h>
#include <stdio.h>

#include "../acpi_devices.h"
#include "../acpi_pci.h"
#include "../acpi_table.h"
#include "../aml.h"
#include "acpi_x86.h"
#include "boot/acpi.h"
#include "pci/q35.h"

#define LATENCY_C2_NONE 101 /* no such states: §5.2.9, P_LVL2_LAT, P_LVL3_LAT */
#define LATENCY_C3_NONE 1001

#define CMOS_CENTURY 0x32
#define RTC_GSI 8
#define PVPANIC_PORTS 1

static void add_pm_ports(struct blob *blob, const struct acpi_q35 *info)
{
	uint16_t pm = info->pm_base;

	blob_u32(blob, pm + ICH9_PM1_EVT); /* PM1a_EVT_BLK */
	blob_u32(blob, 0);		   /* PM1b */
	blob_u32(blob, pm + ICH9_PM1_CNT); /* PM1a_CNT_BLK */
	blob_u32(blob, 0);
	blob_u32(blob, 0); /* PM2_CNT_BLK */
	blob_u32(blob, pm + ICH9_PM_TMR);
	blob_u32(blob, pm + ICH9_GPE0);
	blob_u32(blob, 0); /* GPE1 */
	blob_u8(blob, 4);  /* lengths: PM1_EVT, PM1_CNT, PM2_CNT, PM_TMR, GPE0, GPE1 */
	blob_u8(blob, 2);
	blob_u8(blob, 0);
	blob_u8(blob, 4);
	blob_u8(blob, ICH9_GPE0_LEN);
	blob_u8(blob, 0);
	blob_u8(blob, 0); /* GPE1_BASE */
	blob_u8(blob, 0); /* CST_CNT */
}

static void add_extended_pm_ports(struct blob *blob, const struct acpi_q35 *info)
{
	uint16_t pm = info->pm_base;

	acpi_add_port(blob, pm + ICH9_PM1_EVT, 32);
	blob_zero(blob, 12);
	acpi_add_port(blob, pm + ICH9_PM1_CNT, 16);
	blob_zero(blob, 2 * 12); /* PM1b, PM2 */
	acpi_add_port(blob, pm + ICH9_PM_TMR, 32);
	acpi_add_port(blob, pm + ICH9_GPE0, ICH9_GPE0_LEN * 8);
	blob_zero(blob, 12); /* GPE1 */
}

/* Fixed ACPI Description Table, §5.2.9, with fixed hardware: a power button among it. */
static void add_fadt(struct acpi_tables *tables, const struct acpi_q35 *info, size_t facs,
		     size_t dsdt)
{
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "FACP", 6);

	acpi_table_pointer(tables, 4, facs);
	acpi_table_pointer(tables, 4, dsdt);
	blob_u8(blob, 0);
	blob_u8(blob, 0); /* profile: unspecified */
	blob_u16(blob, ICH9_SCI_GSI);
	blob_u32(blob, ICH9_APM_CNT); /* SMI_CMD */
	blob_u8(blob, ICH9_ACPI_ENABLE);
	blob_u8(blob, ICH9_ACPI_DISABLE);
	blob_u8(blob, 0); /* S4BIOS_REQ */
	blob_u8(blob, 0); /* PSTATE_CNT */
	add_pm_ports(blob, info);
	blob_u16(blob, LATENCY_C2_NONE);
	blob_u16(blob, LATENCY_C3_NONE);
	blob_zero(blob, 2 + 2 + 1 + 1); /* cache flushing, duty cycle */
	blob_u8(blob, 0);		/* day and month alarms */
	blob_u8(blob, 0);
	blob_u8(blob, CMOS_CENTURY);
	blob_u16(blob, BOOT_LEGACY_DEVICES | BOOT_NO_VGA);
	blob_u8(blob, 0);
	blob_u32(blob, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RESET_REG);
	acpi_add_port(blob, ICH9_RESET_PORT, 8);
	blob_u8(blob, ICH9_RESET_VALUE);
	blob_u16(blob, 0); /* ARM_BOOT_ARCH */
	blob_u8(blob, 5);  /* minor version */
	blob_u64(blob, 0); /* X_FIRMWARE_CTRL: the 32-bit one counts */
	acpi_table_pointer(tables, 8, dsdt);
	add_extended_pm_ports(blob, info);
	blob_zero(blob, 2 * 12); /* hardware-reduced sleep registers */
	blob_text(blob, ACPI_OEM_ID, 8, '\0');
	acpi_table_end(tables, start);
}

/* There, but not to be shown to users. */
static void add_pvpanic(struct aml *aml, uint16_t port)
{
	aml_device(aml, "PEVT");
	aml_name(aml, "_HID");
	aml_string(aml, "QEMU0001");
	aml_name(aml, "_STA");
	aml_integer(aml, 0x0b);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, port, PVPANIC_PORTS);
	aml_end(aml);
	aml_end(aml);
}

/*
 * The LPC bridge 1f.0, and what is on its bus. The keyboard controller is not announced: it has a reset line and
 * no keyboard, and kernels that see none do not spend time on a probe.
 */
static void add_lpc(struct aml *aml, const struct acpi_q35 *info)
{
	aml_device(aml, "ISA");
	aml_name(aml, "_ADR");
	aml_integer(aml, 0x001f0000);
	for (unsigned int i = 0; i < ACPI_X86_COMS; i++)
		if (info->coms & 1u << i)
			acpi_x86_add_com(aml, i);
	acpi_x86_add_rtc(aml, RTC_GSI);
	if (info->pvpanic_port)
		add_pvpanic(aml, info->pvpanic_port);
	aml_end(aml);
}

/* Ports of the chipset that belong to no driver. */
static void add_motherboard(struct aml *aml, const struct acpi_q35 *info)
{
	aml_device(aml, "MBRD");
	aml_name(aml, "_HID");
	aml_eisaid(aml, "PNP0C02");
	aml_name(aml, "_UID");
	aml_integer(aml, 1);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, info->pm_base, ICH9_PM_SIZE);
	aml_io(aml, ICH9_APM_CNT, 2);
	aml_end(aml);
	aml_end(aml);
}

/* §7.4.2. S5 only: a VM sleeps by being stopped. */
static void add_sleep(struct aml *aml)
{
	aml_name(aml, "_S5");
	aml_package(aml, 4);
	for (unsigned int i = 0; i < 4; i++)
		aml_integer(aml, i < 2 ? ICH9_SLEEP_TYPE_S5 : 0);
	aml_end(aml);
}

/* §5.6.4.1 */
static void add_vmgenid_event(struct aml *aml)
{
	char name[8];

	snprintf(name, sizeof(name), "_E%02X", Q35_GPE_VMGENID);
	aml_scope(aml, "_GPE");
	aml_method(aml, name, 0, false);
	aml_notify(aml);
	aml_path(aml, "\\_SB.VGEN");
	aml_integer(aml, 0x80);
	aml_end(aml);
	aml_end(aml);
}

static int add_dsdt(struct acpi_tables *tables, const struct acpi_q35 *info, size_t *ret,
		    struct error **errp)
{
	struct aml aml = { 0 };

	aml_scope(&aml, "_SB");
	if (info->cpu_hotplug)
		acpi_x86_add_hotplug_cpus(&aml, info->topology);
	else
		acpi_x86_add_cpus(&aml, info->topology);
	acpi_pci_begin_host(&aml, info->pci);
	add_lpc(&aml, info);
	acpi_pci_end_host(&aml, info->pci);
	add_motherboard(&aml, info);
	if (info->has_fw_cfg)
		acpi_x86_add_fw_cfg(&aml);
	if (info->vmgenid)
		acpi_add_vmgenid(&aml, info->vmgenid);
	aml_end(&aml);
	if (info->cpu_hotplug)
		acpi_x86_add_hotplug_event(&aml, Q35_GPE_CPU);
	if (info->vmgenid)
		add_vmgenid_event(&aml);
	add_sleep(&aml);
	return acpi_add_dsdt(tables, &aml, ret, errp);
}

int acpi_q35_build(const struct acpi_q35 *info, struct acpi_tables **ret, struct error **errp)
{
	const struct acpi_x86_madt madt = {
		.topology = info->topology,
		.ioapic = info->ioapic,
		.lapic = info->lapic,
		.cpus = info->cpu_hotplug ? info->topology->maxcpus : info->topology->cpus,
		.sci = ICH9_SCI_GSI,
	};
	struct acpi_tables *tables;
	size_t dsdt = 0, facs;
	int code;

	if (info->topology->maxcpus > ACPI_X86_CPUS_MAX)
		return error_set(errp, -E2BIG, "too many CPUs for the ACPI tables");
	tables = acpi_tables_new("Q35");
	facs = acpi_add_facs(tables);
	code = add_dsdt(tables, info, &dsdt, errp);
	if (code) {
		acpi_tables_free(tables);
		return code;
	}
	add_fadt(tables, info, facs, dsdt);
	acpi_x86_add_madt(tables, &madt);
	acpi_pci_add_mcfg(tables, info->pci);
	if (info->numa)
		acpi_x86_add_numa(tables, info->numa, info->topology);
	acpi_tables_finish(tables);
	*ret = tables;
	return 0;
}
