/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X (PCI 3.0 §6.8.2): a table of messages and an array of pending bits in a BAR.
 *
 * Interrupts that this process sends go out as messages (KVM_SIGNAL_MSI): they need no GSI, no route and no descriptor,
 * so a device with many vectors costs nothing until somebody else, the kernel's vhost or another process, shall
 * send one by writing an eventfd; then the vector gets a route. All functions: any thread, unless said otherwise; they may
 * take msix->lock, a leaf.
 */
#ifndef PCI_MSIX_H
#define PCI_MSIX_H

#include "pci/function.h"

#define PCI_MSIX_VECTORS_MAX 2048
/* In the registers of devices that choose vectors: none (virtio 1.2 §4.1.4.3). */
#define PCI_MSIX_NO_VECTOR 0xffff

/*
 * Main thread, before attach. Table and pending bits take BAR @bar alone: table at 0, pending bits behind it at
 * a multiple of 2 KiB as QEMU has them. @count: 1 to 2048.
 */
int __must_check pci_msix_init(struct pci_function *fn, unsigned int count, unsigned int bar, struct error **errp);

/* The guest switched MSI-X on: INTx is not used (§6.8.3.3). */
bool pci_msix_enabled(const struct pci_function *fn);
unsigned int pci_msix_count(const struct pci_function *fn); /* 0: no MSI-X */
/* Sends the vector's message, or leaves it pending while it is masked. Without such a vector, or with MSI-X off: nothing. */
void pci_msix_notify(struct pci_function *fn, unsigned int vector);
/*
 * From now on each write to the eventfd @fd sends the vector's message, too, without this process while the vector is
 * not masked. @fd -1: no more. One descriptor a vector; it remains the caller's, who ends this before closing it.
 * Main thread or home loops.
 */
int __must_check pci_msix_set_eventfd(struct pci_function *fn, unsigned int vector, int fd);

#endif
