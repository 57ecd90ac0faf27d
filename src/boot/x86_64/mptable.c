// SPDX-License-Identifier: Apache-2.0
/* MultiProcessor Specification 1.4, chapter 4. */
#include "mptable.h"

#include <errno.h>
#include <inttypes.h>

#include "../blob.h"
#include "boot/acpi.h"

#define OEM_ID "STRATO"
#define PRODUCT_ID "MICROVM"

#define POINTER_SIZE 16
#define EBDA_SIZE 0x400

#define SPEC_REVISION 4 /* 1.4 */
/* Kernels take the number of a PCI bus for the one in configuration space. */
#define PCI_BUS 0
#define PCI_SLOTS 32
#define PCI_PINS 4
#define ISA_IRQS 16
#define LAPIC_ID_MAX 254 /* 255 is the broadcast id; entries hold eight bits */
#define LAPIC_ALL 0xff
#define APIC_VERSION 0x14

enum entry_type { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_IO_INTERRUPT, ENTRY_LOCAL_INTERRUPT };
enum interrupt_type { INTERRUPT_INT = 0, INTERRUPT_NMI = 1, INTERRUPT_EXTINT = 3 };

#define CPU_ENABLED 1
#define CPU_BOOT 2
#define CPU_SIGNATURE 0x600 /* family 6; kernels ask CPUID */
#define CPU_FEATURES 0x201  /* FPU and local APIC */

/* Processors with ids that fit (§4.3.1). Returns their number. */
static unsigned int add_cpus(struct blob *table, const struct vcpu_topology *topology,
			     bool used[256])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < topology->cpus; i++) {
		uint64_t id = vcpu_arch_id(topology, i);

		if (id > LAPIC_ID_MAX)
			continue;
		used[id] = true;
		count++;
		blob_u8(table, ENTRY_CPU);
		blob_u8(table, (uint8_t)id);
		blob_u8(table, APIC_VERSION);
		blob_u8(table, i ? CPU_ENABLED : CPU_ENABLED | CPU_BOOT);
		blob_u32(table, CPU_SIGNATURE);
		blob_u32(table, CPU_FEATURES);
		blob_zero(table, 8);
	}
	return count;
}

/* §4.3.2 */
static void add_bus(struct blob *table, uint8_t bus, const char *name)
{
	blob_u8(table, ENTRY_BUS);
	blob_u8(table, bus);
	blob_text(table, name, 6, ' ');
}

/* §4.3.4, §4.3.5; polarity and trigger conform to the bus: ISA is edge, active high; PCI level, active low. */
static void add_interrupt(struct blob *table, enum entry_type entry, enum interrupt_type type,
			  uint8_t bus, uint8_t irq, uint8_t apic, uint8_t pin)
{
	blob_u8(table, (uint8_t)entry);
	blob_u8(table, (uint8_t)type);
	blob_u16(table, 0);
	blob_u8(table, bus);
	blob_u8(table, irq);
	blob_u8(table, apic);
	blob_u8(table, pin);
}

/* §D.3: the source is the slot and the pin. What is behind bridges, kernels derive from the bridge's slot. */
static unsigned int add_pci_interrupts(struct blob *table, const struct acpi_pci_host *pci, uint8_t ioapic_id)
{
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned int pin = 0; pin < PCI_PINS; pin++) {
			unsigned int line = pci->irq_map ? pci->irq_map(pci->irq_opaque, slot, pin) : (slot + pin) % PCI_PINS;

			add_interrupt(table, ENTRY_IO_INTERRUPT, INTERRUPT_INT, PCI_BUS, (uint8_t)(slot << 2 | pin),
				      ioapic_id, (uint8_t)pci->intx_gsi[line]);
		}
	return PCI_SLOTS * PCI_PINS;
}

static void build_table(struct blob *table, const struct vcpu_topology *topology, gpa_t ioapic,
			gpa_t lapic, const struct acpi_pci_host *pci)
{
	uint8_t isa_bus = pci ? PCI_BUS + 1 : 0;
	bool used[256] = { false };
	unsigned int entries;
	uint8_t ioapic_id = 0;

	blob_text(table, "PCMP", 4, ' ');
	blob_u16(table, 0); /* length */
	blob_u8(table, SPEC_REVISION);
	blob_u8(table, 0); /* checksum */
	blob_text(table, OEM_ID, 8, ' ');
	blob_text(table, PRODUCT_ID, 12, ' ');
	blob_u32(table, 0); /* no OEM table */
	blob_u16(table, 0);
	blob_u16(table, 0); /* entries */
	blob_u32(table, (uint32_t)lapic);
	blob_u32(table, 0); /* no extended table */

	entries = add_cpus(table, topology, used);
	while (used[ioapic_id] && ioapic_id < LAPIC_ID_MAX)
		ioapic_id++;

	if (pci)
		add_bus(table, PCI_BUS, "PCI");
	add_bus(table, isa_bus, "ISA");

	blob_u8(table, ENTRY_IOAPIC); /* §4.3.3 */
	blob_u8(table, ioapic_id);
	blob_u8(table, 0x11); /* version of the 82093AA */
	blob_u8(table, 1);    /* usable */
	blob_u32(table, (uint32_t)ioapic);
	entries += pci ? 3 : 2;

	/* Pin by pin as KVM's default routing has it; 2, the cascade of the PICs, is no interrupt. */
	for (uint8_t irq = 0; irq < ISA_IRQS; irq++) {
		if (irq == 2)
			continue;
		add_interrupt(table, ENTRY_IO_INTERRUPT, INTERRUPT_INT, isa_bus, irq, ioapic_id, irq);
		entries++;
	}
	if (pci)
		entries += add_pci_interrupts(table, pci, ioapic_id);
	/* LINT0: the PIC, at the boot CPU only; LINT1: NMI, everywhere. */
	add_interrupt(table, ENTRY_LOCAL_INTERRUPT, INTERRUPT_EXTINT, isa_bus, 0,
		      (uint8_t)vcpu_arch_id(topology, 0), 0);
	add_interrupt(table, ENTRY_LOCAL_INTERRUPT, INTERRUPT_NMI, isa_bus, 0, LAPIC_ALL, 1);
	entries += 2;

	table->data[4] = (uint8_t)table->len;
	table->data[5] = (uint8_t)(table->len >> 8);
	table->data[34] = (uint8_t)entries;
	table->data[35] = (uint8_t)(entries >> 8);
	blob_checksum(table, 7, 0, table->len);
}

/* §4.1 */
static void build_pointer(struct blob *pointer, gpa_t table)
{
	blob_text(pointer, "_MP_", 4, ' ');
	blob_u32(pointer, (uint32_t)table);
	blob_u8(pointer, POINTER_SIZE / 16);
	blob_u8(pointer, SPEC_REVISION);
	blob_u8(pointer, 0);   /* checksum */
	blob_zero(pointer, 5); /* a table is present; virtual wire mode */
	blob_checksum(pointer, 10, 0, POINTER_SIZE);
}

int mptable_install(struct mem_space *space, const struct vcpu_topology *topology, gpa_t ioapic,
		    gpa_t lapic, const struct acpi_pci_host *pci, struct error **errp)
{
	struct blob pointer = { 0 }, table = { 0 };
	gpa_t at = BOOT_X86_EBDA + POINTER_SIZE;
	int ret = 0;

	build_table(&table, topology, ioapic, lapic, pci);
	if (table.len > EBDA_SIZE - POINTER_SIZE)
		at = MPTABLE_SPILL;
	build_pointer(&pointer, at);
	if (table.len > MPTABLE_SPILL_SIZE)
		ret = error_set(errp, -E2BIG,
				"the MP table for %" PRIu32
				" CPUs has %zu bytes, there is room for %d",
				topology->cpus, table.len, MPTABLE_SPILL_SIZE);
	else if (guest_write(space, BOOT_X86_EBDA, pointer.data, pointer.len) ||
		 guest_write(space, at, table.data, table.len))
		ret = error_set(errp, -EFAULT, "no guest memory for the MP table");
	blob_free(&pointer);
	blob_free(&table);
	return ret;
}
