// SPDX-License-Identifier: Apache-2.0
/*
 * The PCI IRQ routing table ("$PIR" specification 1.0, Microsoft): for kernels that know neither ACPI nor MP tables, as
 * Debian's without ACPI, which route INTx to the PIC by the registers of the LPC bridge.
 */
#include <errno.h>

#include "../blob.h"
#include "boot/acpi.h"
#include "mptable.h"

#define VERSION 0x0100
#define PCI_SLOTS 32
#define PCI_PINS 4
#define PIIX 0x122e8086u /* what the registers are compatible with */

int pirtable_install(struct mem_space *space, const struct acpi_pci_host *pci, const struct pir_router *router,
		     struct error **errp)
{
	struct blob table = { 0 };
	int ret = 0;

	blob_text(&table, "$PIR", 4, ' ');
	blob_u16(&table, VERSION);
	blob_u16(&table, PIRTABLE_SIZE);
	blob_u8(&table, 0); /* router: bus, device and function */
	blob_u8(&table, router->devfn);
	blob_u16(&table, 0); /* no interrupt is PCI's alone */
	blob_u32(&table, PIIX);
	blob_u32(&table, 0); /* miniport data */
	blob_zero(&table, 11);
	blob_u8(&table, 0); /* checksum */
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++) {
		blob_u8(&table, 0); /* bus */
		blob_u8(&table, (uint8_t)(slot << 3));
		for (unsigned int pin = 0; pin < PCI_PINS; pin++) {
			blob_u8(&table, router->links[pci->irq_map(pci->irq_opaque, slot, pin)]);
			blob_u16(&table, router->irqs);
		}
		blob_u8(&table, 0); /* on the board */
		blob_u8(&table, 0);
	}
	blob_checksum(&table, 31, 0, table.len);
	if (guest_write(space, PIRTABLE_BASE, table.data, table.len))
		ret = error_set(errp, -EFAULT, "no guest memory for the PCI IRQ routing table");
	blob_free(&table);
	return ret;
}
