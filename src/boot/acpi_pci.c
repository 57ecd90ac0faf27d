// SPDX-License-Identifier: Apache-2.0
/* Section numbers without a name are those of ACPI 6.5. */
#include "acpi_pci.h"

#define ECAM_BUS_SIZE (1ULL << 20)
#define PCI_SLOTS 32
#define PCI_PINS 4

#define CONFIG_PORT 0xcf8
#define CONFIG_PORTS 8

/* PCI Firmware 3.3 §4.5.1, "_OSC for PCI Host Bridge Devices" */
#define OSC_UUID "33DB4D5B-1FF7-401C-9657-7441C03DD766"
#define OSC_UNRECOGNIZED_UUID 0x04
#define OSC_UNRECOGNIZED_REVISION 0x08
#define OSC_MASKED 0x10
#define OSC_NATIVE_HOTPLUG 0x01
#define OSC_PME 0x04
#define OSC_AER 0x08
#define OSC_CAPABILITY_STRUCTURE 0x10

/* Serialized, because it makes named fields. */
static void add_osc(struct aml *aml, const struct acpi_pci_host *host)
{
	static const char *const fields[] = { "CDW1", "CDW3" }; /* status, control */
	uint32_t granted = OSC_PME | OSC_AER | OSC_CAPABILITY_STRUCTURE;

	if (host->native_hotplug)
		granted |= OSC_NATIVE_HOTPLUG;
	aml_method(aml, "_OSC", 4, true);
	aml_create_dword_field(aml);
	aml_arg(aml, 3);
	aml_integer(aml, 0);
	aml_path(aml, fields[0]);

	aml_if(aml);
	aml_equal(aml);
	aml_arg(aml, 0);
	aml_uuid(aml, OSC_UUID);
	aml_create_dword_field(aml);
	aml_arg(aml, 3);
	aml_integer(aml, 8);
	aml_path(aml, fields[1]);
	aml_if(aml); /* Arg1: revision */
	aml_not(aml);
	aml_equal(aml);
	aml_arg(aml, 1);
	aml_integer(aml, 1);
	aml_or(aml);
	aml_path(aml, fields[0]);
	aml_integer(aml, OSC_UNRECOGNIZED_REVISION);
	aml_path(aml, fields[0]);
	aml_end(aml);
	aml_and(aml);
	aml_path(aml, fields[1]);
	aml_integer(aml, granted);
	aml_local(aml, 0);
	aml_if(aml);
	aml_not(aml);
	aml_equal(aml);
	aml_path(aml, fields[1]);
	aml_local(aml, 0);
	aml_or(aml);
	aml_path(aml, fields[0]);
	aml_integer(aml, OSC_MASKED);
	aml_path(aml, fields[0]);
	aml_end(aml);
	aml_store(aml);
	aml_local(aml, 0);
	aml_path(aml, fields[1]);
	aml_end(aml);
	aml_else(aml);
	aml_or(aml);
	aml_path(aml, fields[0]);
	aml_integer(aml, OSC_UNRECOGNIZED_UUID);
	aml_path(aml, fields[0]);
	aml_end(aml);
	aml_return(aml);
	aml_arg(aml, 3);
	aml_end(aml);
}

static unsigned int line_of(const struct acpi_pci_host *host, unsigned int slot, unsigned int pin)
{
	unsigned int line = (slot + pin) % PCI_PINS;

	if (host->irq_map)
		line = host->irq_map(host->irq_opaque, slot, pin);
	return line % ARRAY_SIZE(host->intx_gsi);
}

/* §6.2.13: each slot and pin straight to its GSI. */
static void add_prt(struct aml *aml, const struct acpi_pci_host *host)
{
	aml_name(aml, "_PRT");
	aml_package(aml, PCI_SLOTS * PCI_PINS);
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
		for (unsigned int pin = 0; pin < PCI_PINS; pin++) {
			aml_package(aml, 4);
			aml_integer(aml, slot << 16 | 0xffff);
			aml_integer(aml, pin);
			aml_integer(aml, 0);
			aml_integer(aml, host->intx_gsi[line_of(host, slot, pin)]);
			aml_end(aml);
		}
	}
	aml_end(aml);
}

static void add_crs(struct aml *aml, const struct acpi_pci_host *host)
{
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_bus_range(aml, 0, host->bus_last);
	if (host->has_config_ports)
		aml_io(aml, CONFIG_PORT, CONFIG_PORTS);
	for (unsigned int i = 0; i < ARRAY_SIZE(host->io); i++)
		if (host->io[i].size)
			aml_io_window(aml, host->io[i].base, host->io[i].size,
				      host->io[i].translation);
	for (unsigned int i = 0; i < ARRAY_SIZE(host->mmio32); i++)
		if (host->mmio32[i].size)
			aml_memory_window(aml, host->mmio32[i].base, host->mmio32[i].size, false);
	if (host->mmio64.size)
		aml_memory_window(aml, host->mmio64.base, host->mmio64.size, true);
	aml_end(aml);
}

void acpi_pci_begin_host(struct aml *aml, const struct acpi_pci_host *host)
{
	aml_device(aml, "PCI0");
	aml_name(aml, "_HID");
	aml_eisaid(aml, "PNP0A08");
	aml_name(aml, "_CID");
	aml_eisaid(aml, "PNP0A03");
	aml_name(aml, "_SEG");
	aml_integer(aml, 0);
	aml_name(aml, "_BBN");
	aml_integer(aml, 0);
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	if (host->coherent) {
		aml_name(aml, "_CCA");
		aml_integer(aml, 1);
	}
	add_crs(aml, host);
	add_prt(aml, host);
	add_osc(aml, host);
}

/* The ECAM has to be reserved by a motherboard resource (PCI Firmware 3.3 §4.1.2, note 2). */
void acpi_pci_end_host(struct aml *aml, const struct acpi_pci_host *host)
{
	aml_end(aml);
	aml_device(aml, "ECAM");
	aml_name(aml, "_HID");
	aml_eisaid(aml, "PNP0C02");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_memory(aml, host->ecam, (host->bus_last + 1) * ECAM_BUS_SIZE);
	aml_end(aml);
	aml_end(aml);
}

void acpi_pci_add_host(struct aml *aml, const struct acpi_pci_host *host)
{
	acpi_pci_begin_host(aml, host);
	acpi_pci_end_host(aml, host);
}

void acpi_pci_add_mcfg(struct acpi_tables *tables, const struct acpi_pci_host *host)
{
	size_t start = acpi_table_begin(tables, "MCFG", 1);
	struct blob *blob = &tables->data;

	blob_zero(blob, 8);
	blob_u64(blob, host->ecam);
	blob_u16(blob, 0); /* segment */
	blob_u8(blob, 0);
	blob_u8(blob, host->bus_last);
	blob_zero(blob, 4);
	acpi_table_end(tables, start);
}
