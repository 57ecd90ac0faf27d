// SPDX-License-Identifier: Apache-2.0
/* The section numbers are those of ACPI 6.5. */
#include "acpi_devices.h"

#include <stdio.h>

#include "devices/ged.h"

/*
 * virtio-mmio: id, registers and interrupt are all the Linux driver asks for (virtio 1.2 §4.2.1).
 */
void acpi_add_virtio(struct aml *aml, const struct acpi_virtio_mmio *virtio, unsigned int count,
		     bool coherent)
{
	for (unsigned int i = 0; i < count; i++) {
		char name[8];

		snprintf(name, sizeof(name), "VR%02X", i % ACPI_VIRTIO_MAX);
		aml_device(aml, name);
		aml_name(aml, "_HID");
		aml_string(aml, "LNRO0005");
		aml_name(aml, "_UID");
		aml_integer(aml, i);
		if (coherent) {
			aml_name(aml, "_CCA");
			aml_integer(aml, 1);
		}
		aml_name(aml, "_CRS");
		aml_resources(aml);
		aml_memory(aml, virtio[i].base, virtio[i].size);
		aml_interrupt_edge(aml, virtio[i].gsi);
		aml_end(aml);
		aml_end(aml);
	}
}

/*
 * What its specification asks for: the compatible id, the same as a name, and ADDR. As that id is longer than ACPI allows,
 * Hyper-V has given it a second one; neither is a hardware id in ACPI's form (§6.1.5), so that one is of ours.
 */
void acpi_add_vmgenid(struct aml *aml, gpa_t address)
{
	aml_device(aml, "VGEN");
	aml_name(aml, "_HID");
	aml_string(aml, "STRV0001");
	aml_name(aml, "_CID");
	aml_package(aml, 2);
	aml_string(aml, "VMGENCTR");
	aml_string(aml, "VM_Gen_Counter");
	aml_end(aml);
	aml_name(aml, "_DDN");
	aml_string(aml, "VM_Gen_Counter");
	aml_name(aml, "ADDR");
	aml_package(aml, 2);
	aml_integer(aml, address & UINT32_MAX);
	aml_integer(aml, address >> 32);
	aml_end(aml);
	aml_end(aml);
}

/* Within _EVT: Local0 holds the events. */
static void notify_on(struct aml *aml, uint32_t event, const char *device)
{
	aml_if(aml);
	aml_and(aml);
	aml_local(aml, 0);
	aml_integer(aml, event);
	aml_no_target(aml);
	aml_notify(aml);
	aml_path(aml, device);
	aml_integer(aml, 0x80);
	aml_end(aml);
}

/*
 * Generic event device, §5.6.9: reading its register tells which events are pending and clears
 * them. The button is the control method power button (§4.8.3.2.2.1).
 */
void acpi_add_ged(struct aml *aml, gpa_t base, uint32_t gsi, gpa_t vmgenid)
{
	if (vmgenid)
		acpi_add_vmgenid(aml, vmgenid);
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
	aml_interrupt_edge(aml, gsi);
	aml_end(aml);

	aml_memory_region(aml, "EREG", base + GED_REG_EVENTS, 4);
	aml_field(aml, "EREG", 32);
	aml_field_unit(aml, "ESEL", 32);
	aml_end(aml);

	aml_method(aml, "_EVT", 1, true);
	aml_store(aml);
	aml_path(aml, "ESEL");
	aml_local(aml, 0);
	notify_on(aml, GED_EVENT_POWER_BUTTON, "PWRB");
	if (vmgenid)
		notify_on(aml, GED_EVENT_VM_GENERATION, "VGEN");
	aml_end(aml);
	aml_end(aml);
}
