/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pci room share. */
#ifndef PCI_INTERNAL_H
#define PCI_INTERNAL_H

#include "pci/function.h"
#include "pci/host.h"
#include "pci/msix.h"

static inline uint32_t config_get_locked(const struct pci_function *fn, unsigned int offset,
					 unsigned int size)
{
	uint32_t value = 0;

	for (unsigned int i = size; i--;)
		value = value << 8 | fn->config[offset + i];
	return value;
}

uint32_t pci_command_locked(const struct pci_function *fn); /* config.c */

/* Do [a, a + alen) and [b, b + blen) share a byte? */
static inline bool ranges_meet(unsigned int a, unsigned int alen, unsigned int b, unsigned int blen)
{
	return a < b + blen && b < a + alen;
}

/* config.c: by FLR or the port above: the device and its registers. vCPU threads, no lock held. */
void pci_function_guest_reset(struct pci_function *fn);
void pci_bus_guest_reset(struct pci_bus *bus);

/* --- bar.c: under host->map_lock --- */

/* Brings the BARs of @fn, and of what is behind it when it is a bridge, to where the registers say. */
void pci_bars_update_locked(struct pci_function *fn);
/* Takes them out, whatever the registers say. */
void pci_bars_unmap_locked(struct pci_function *fn);
/* Something went away: those that were kept out may find their place free. */
void pci_bars_retry_locked(struct pci_host *host);

/* --- intx.c --- */

/* The command register changed, or the device's wish. Any thread. */
void pci_intx_update(struct pci_function *fn);
/* The function goes: it holds no line. */
void pci_intx_release(struct pci_function *fn);

/* --- msix.c --- */

/* The enable and mask bits or bus mastering may have changed. Under fn->lock. */
void pci_msix_update_locked(struct pci_function *fn);
/* Power-on state of table and pending bits, after the configuration space's. */
void pci_msix_reset(struct pci_function *fn);
void pci_msix_release(struct pci_function *fn);

/* --- host.c --- */

int __must_check pci_host_place(struct pci_host *host, struct pci_function *fn, const struct pci_place *place,
				struct error **errp);

#endif
