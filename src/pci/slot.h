/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot-plug slot of a port (PCIe 5.0 §6.7, §7.5.3.9 to 7.5.3.11): presence, attention button, power controller and
 * indicator, link, command completed.
 *
 * Inserting a card changes presence and link; the guest takes it from there. To take it out the attention button is
 * pressed, and the guest, when it is done, switches power and its indicator off, which is when the device goes; at once, when they
 * are off already. What the guest switches off by itself stays in the slot, and does not answer until it is switched on again.
 */
#ifndef PCI_SLOT_H
#define PCI_SLOT_H

#include "internal.h"

struct pci_slot {
	struct pci_function *port;
	struct pci_bus bus; /* what is in the slot */
	struct loop_call gone; /* the guest let go: main loop */
	bool fast;	       /* an unplug looks like a change of presence, too: nobody waits for a second thought. Constant */

	pthread_mutex_t lock; /* guards what follows and slot status; inside: locks of the port's registers and interrupts */
	uint16_t control;     /* as acted upon last */
	bool present, powered, link;
	bool notified;	      /* an interrupt told of what is pending in slot status */
	bool leaving;	      /* the button was pressed for an unplug */
	int64_t pressed_ns;
};

/* Main thread, after pci_add_express() and before attach. @number: physical slot number; hotplug: the rest as well. */
void pci_slot_init(struct pci_slot *slot, struct pci_function *port, uint16_t number, bool hotplug);
/* After attach: the bus below, named as the port's device. */
void pci_slot_open(struct pci_slot *slot, bool hotplug);
void pci_slot_close(struct pci_slot *slot);
/* Power-on state for what is in it now, after the port's registers were reset. */
void pci_slot_reset(struct pci_slot *slot);
/* The guest wrote [offset, offset + size) of the port's registers. vCPU threads. */
void pci_slot_written(struct pci_slot *slot, unsigned int offset, unsigned int size);

#endif
