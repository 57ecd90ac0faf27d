// SPDX-License-Identifier: Apache-2.0
/*
 * CPUs that may come and go: their ACPI devices, and the methods that find out which one came or shall go, and eject it
 * (ACPI 6.5 §8.4, §5.6.6, §6.3.3).
 */
#include <stdio.h>

#include "acpi_x86.h"
#include "devices/cpu_hotplug.h"

#define NOTIFY_DEVICE_CHECK 1
#define NOTIFY_EJECT_REQUEST 3
#define STATUS_THERE 0x0f /* present, enabled, shown, working */

static void add_registers(struct aml *aml)
{
	aml_port_region(aml, "CREG", CPU_HOTPLUG_PORT, CPU_HOTPLUG_PORTS);
	aml_field_zeros(aml, "CREG", 8);
	aml_field_skip(aml, CPU_HOTPLUG_FLAGS * 8);
	aml_field_unit(aml, "CENA", 1);
	aml_field_unit(aml, "CINS", 1);
	aml_field_unit(aml, "CRMV", 1);
	aml_field_unit(aml, "CEJT", 1);
	aml_field_skip(aml, 4);
	aml_field_unit(aml, "CCMD", 8);
	aml_end(aml);
	aml_field(aml, "CREG", 32);
	aml_field_unit(aml, "CSEL", 32);
	aml_field_skip(aml, 32);
	aml_field_unit(aml, "CDAT", 32);
	aml_end(aml);
	aml_mutex(aml, "CLCK"); /* the selector is one for all */
}

static void store(struct aml *aml, uint64_t value, const char *target)
{
	aml_store(aml);
	aml_integer(aml, value);
	aml_path(aml, target);
}

/* CSTA(cpu): its _STA. */
static void add_status(struct aml *aml)
{
	aml_method(aml, "CSTA", 1, true);
	aml_acquire(aml, "CLCK");
	aml_store(aml);
	aml_arg(aml, 0);
	aml_path(aml, "CSEL");
	aml_store(aml);
	aml_integer(aml, 0);
	aml_local(aml, 0);
	aml_if(aml);
	aml_equal(aml);
	aml_path(aml, "CENA");
	aml_integer(aml, 1);
	aml_store(aml);
	aml_integer(aml, STATUS_THERE);
	aml_local(aml, 0);
	aml_end(aml);
	aml_release(aml, "CLCK");
	aml_return(aml);
	aml_local(aml, 0);
	aml_end(aml);
}

/* CEJ0(cpu): its _EJ0. */
static void add_eject(struct aml *aml)
{
	aml_method(aml, "CEJ0", 1, true);
	aml_acquire(aml, "CLCK");
	aml_store(aml);
	aml_arg(aml, 0);
	aml_path(aml, "CSEL");
	store(aml, 1, "CEJT");
	aml_release(aml, "CLCK");
	aml_end(aml);
}

/* CNTF(cpu, what): Notify() wants a name. */
static void add_notify(struct aml *aml, uint32_t cpus)
{
	aml_method(aml, "CNTF", 2, false);
	for (uint32_t i = 0; i < cpus; i++) {
		char name[ACPI_X86_CPU_NAME];

		acpi_x86_cpu_name(name, i);
		aml_if(aml);
		aml_equal(aml);
		aml_arg(aml, 0);
		aml_integer(aml, i);
		aml_notify(aml);
		aml_path(aml, name);
		aml_arg(aml, 1);
		aml_end(aml);
	}
	aml_end(aml);
}

/* In CSCN: the selected CPU's event, if it has that one. */
static void add_scan_event(struct aml *aml, const char *bit, uint64_t what)
{
	aml_if(aml);
	aml_equal(aml);
	aml_path(aml, bit);
	aml_integer(aml, 1);
	aml_path(aml, "CNTF");
	aml_path(aml, "CDAT");
	aml_integer(aml, what);
	store(aml, 1, bit);
	aml_store(aml);
	aml_integer(aml, 1);
	aml_local(aml, 0);
	aml_end(aml);
}

/* CSCN(): acknowledges and tells every CPU that came or shall go. */
static void add_scan(struct aml *aml)
{
	aml_method(aml, "CSCN", 0, true);
	aml_acquire(aml, "CLCK");
	store(aml, 0, "CSEL");
	aml_store(aml);
	aml_integer(aml, 1);
	aml_local(aml, 0);
	aml_while(aml);
	aml_equal(aml);
	aml_local(aml, 0);
	aml_integer(aml, 1);
	aml_store(aml);
	aml_integer(aml, 0);
	aml_local(aml, 0);
	store(aml, CPU_HOTPLUG_NEXT_EVENT, "CCMD");
	add_scan_event(aml, "CINS", NOTIFY_DEVICE_CHECK);
	add_scan_event(aml, "CRMV", NOTIFY_EJECT_REQUEST);
	aml_end(aml);
	aml_release(aml, "CLCK");
	aml_end(aml);
}

/* §6.2.11: _MAT is the CPU's MADT entry, as if it were there. */
static void add_cpu(struct aml *aml, const struct vcpu_topology *topology, uint32_t index)
{
	char name[ACPI_X86_CPU_NAME];
	struct blob entry = { 0 };

	acpi_x86_cpu_name(name, index);
	(void)acpi_x86_add_lapic(&entry, index, vcpu_arch_id(topology, index), LAPIC_ENABLED);
	aml_device(aml, name);
	aml_name(aml, "_HID");
	aml_string(aml, "ACPI0007");
	aml_name(aml, "_UID");
	aml_integer(aml, index);
	aml_method(aml, "_STA", 0, true);
	aml_return(aml);
	aml_path(aml, "CSTA");
	aml_integer(aml, index);
	aml_end(aml);
	aml_name(aml, "_MAT");
	aml_buffer(aml, entry.data, entry.len);
	if (index) { /* the boot CPU never goes */
		aml_method(aml, "_EJ0", 1, true);
		aml_path(aml, "CEJ0");
		aml_integer(aml, index);
		aml_end(aml);
	}
	aml_end(aml);
	blob_free(&entry);
}

void acpi_x86_add_hotplug_cpus(struct aml *aml, const struct vcpu_topology *topology)
{
	aml_device(aml, "CPUS");
	aml_name(aml, "_HID");
	aml_string(aml, "ACPI0010");
	aml_name(aml, "_CID");
	aml_eisaid(aml, "PNP0A05");
	add_registers(aml);
	add_status(aml);
	add_eject(aml);
	for (uint32_t i = 0; i < topology->maxcpus; i++)
		add_cpu(aml, topology, i);
	add_notify(aml, topology->maxcpus);
	add_scan(aml);
	aml_end(aml);
}

void acpi_x86_add_hotplug_event(struct aml *aml, unsigned int gpe)
{
	char name[8];

	snprintf(name, sizeof(name), "_E%02X", gpe & 0xff);
	aml_scope(aml, "_GPE");
	aml_method(aml, name, 0, false);
	aml_path(aml, "\\_SB.CPUS.CSCN");
	aml_end(aml);
	aml_end(aml);
}
