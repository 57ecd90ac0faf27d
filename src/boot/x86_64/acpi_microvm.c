// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables of microvm on x86_64. The section numbers are those of ACPI 6.5. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../acpi_devices.h"
#include "../acpi_pci.h"
#include "../acpi_table.h"
#include "../aml.h"
#include "acpi_x86.h"
#include "boot/acpi.h"
#include "boot/boot.h"
#include "boot/smbios.h"
#include "devices/ged.h"

/*
 * Fixed ACPI Description Table, §5.2.9. With HW_REDUCED_ACPI set the fields for fixed hardware are
 * zero. The 8042 bit of IAPC_BOOT_ARCH stays clear and no PNP0303 is announced: there is only the
 * reset line behind port 0x64, which "reboot=k" uses unasked, and a kernel that looked for a
 * keyboard would waste its time.
 */
static void add_fadt(struct acpi_tables *tables, const struct acpi_microvm *info, size_t dsdt)
{
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "FACP", 6);
	uint16_t boot = BOOT_NO_VGA;

	if (info->has_serial || info->has_rtc)
		boot |= BOOT_LEGACY_DEVICES;
	if (!info->has_rtc)
		boot |= BOOT_NO_RTC;

	blob_u32(blob, 0); /* FIRMWARE_CTRL: no FACS */
	acpi_table_pointer(tables, 4, dsdt);
	blob_zero(blob, 109 - 44); /* profile, SCI, PM blocks, C-state latencies, CMOS indices */
	blob_u16(blob, boot);
	blob_u8(blob, 0);
	blob_u32(blob, FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
			       FADT_RESET_REG | FADT_HW_REDUCED);
	acpi_add_register8(blob, info->ged_base + GED_REG_RESET);
	blob_u8(blob, GED_RESET_VALUE);
	blob_u16(blob, 0); /* ARM_BOOT_ARCH */
	blob_u8(blob, 5);  /* minor version */
	blob_u64(blob, 0); /* X_FIRMWARE_CTRL */
	acpi_table_pointer(tables, 8, dsdt);
	blob_zero(blob, 244 - 148); /* X_ PM blocks */
	acpi_add_register8(blob, info->ged_base + GED_REG_SLEEP_CTL);
	acpi_add_register8(blob, info->ged_base + GED_REG_SLEEP_STS);
	blob_text(blob, ACPI_OEM_ID, 8, '\0'); /* hypervisor vendor */
	acpi_table_end(tables, start);
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

static int add_dsdt(struct acpi_tables *tables, const struct acpi_microvm *info, size_t *ret,
		    struct error **errp)
{
	struct aml aml = { 0 };

	aml_scope(&aml, "_SB");
	acpi_x86_add_cpus(&aml, info->topology);
	if (info->has_serial)
		acpi_x86_add_com(&aml, 0);
	if (info->has_rtc)
		acpi_x86_add_rtc(&aml, 0);
	if (info->has_fw_cfg)
		acpi_x86_add_fw_cfg(&aml);
	acpi_add_virtio(&aml, info->virtio, info->virtio_count, false);
	acpi_add_ged(&aml, info->ged_base, info->ged_gsi, info->vmgenid);
	if (info->pci)
		acpi_pci_add_host(&aml, info->pci);
	aml_end(&aml);
	add_sleep(&aml);
	return acpi_add_dsdt(tables, &aml, ret, errp);
}

static int build_tables(struct acpi_tables *tables, const struct acpi_microvm *info,
			struct error **errp)
{
	const struct acpi_x86_madt madt = {
		.topology = info->topology,
		.ioapic = info->ioapic,
		.lapic = info->lapic,
		.cpus = info->topology->cpus,
	};
	size_t dsdt = 0;
	int ret;

	ret = add_dsdt(tables, info, &dsdt, errp);
	if (ret)
		return ret;
	add_fadt(tables, info, dsdt);
	acpi_x86_add_madt(tables, &madt);
	if (info->pci)
		acpi_pci_add_mcfg(tables, info->pci);
	if (info->numa)
		acpi_x86_add_numa(tables, info->numa, info->topology);
	acpi_tables_finish(tables);
	return 0;
}

int acpi_microvm_build(const struct acpi_microvm *info, struct acpi_tables **ret, struct error **errp)
{
	struct acpi_tables *tables;
	int err;

	if (info->virtio_count > ACPI_VIRTIO_MAX || info->topology->cpus > ACPI_X86_CPUS_MAX)
		return error_set(errp, -E2BIG, "too many CPUs or devices for the ACPI tables");
	tables = acpi_tables_new("MICROVM");
	err = build_tables(tables, info, errp);
	if (err)
		acpi_tables_free(tables);
	else
		*ret = tables;
	return err;
}

int acpi_microvm_install(struct mem_space *space, const struct acpi_microvm *info, gpa_t *rsdp,
			 struct error **errp)
{
	struct acpi_tables *tables = NULL;
	int ret;

	ret = acpi_microvm_build(info, &tables, errp);
	if (!ret)
		ret = acpi_tables_install(tables, space, BOOT_X86_ACPI,
					  BOOT_X86_VMGENID - BOOT_X86_ACPI, rsdp, errp);
	acpi_tables_free(tables);
	return ret;
}
