// SPDX-License-Identifier: Apache-2.0
#include "slot.h"

#include <errno.h>

#define LOG_MODULE "pci"
#include "util/log.h"

/* A guest that got the button pressed blinks for 5 s, in which a second press would mean never mind (§6.7.1.5). */
#define PRESS_AGAIN_NS (5 * NSEC_PER_SEC)

#define CONTROL_BASIC                                                                                      \
	(PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_HPIE |           \
	 PCI_EXP_SLTCTL_AIC | PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_DLLSCE)
#define EVENTS (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_CC | PCI_EXP_SLTSTA_DLLSC)

static unsigned int at(const struct pci_slot *slot, unsigned int offset)
{
	return slot->port->express_cap + offset;
}

static struct pci_slot *from_bus(struct pci_bus *bus)
{
	return container_of(bus, struct pci_slot, bus);
}

/* --- Interrupts --- */

static bool pending_locked(const struct pci_slot *slot)
{
	uint32_t control = slot->control, status = pci_config_read(slot->port, at(slot, PCI_EXP_SLTSTA), 2);

	return control & PCI_EXP_SLTCTL_HPIE &&
	       ((control & PCI_EXP_SLTCTL_ABPE && status & PCI_EXP_SLTSTA_ABP) ||
		(control & PCI_EXP_SLTCTL_PDCE && status & PCI_EXP_SLTSTA_PDC) ||
		(control & PCI_EXP_SLTCTL_CCIE && status & PCI_EXP_SLTSTA_CC) ||
		(control & PCI_EXP_SLTCTL_DLLSCE && status & PCI_EXP_SLTSTA_DLLSC));
}

/* §6.7.3.4: a message when the first event comes, the pin as long as there is one. */
static void interrupt_locked(struct pci_slot *slot)
{
	bool pending = pending_locked(slot), rises = pending && !slot->notified;

	slot->notified = pending;
	if (!pci_msix_enabled(slot->port)) {
		pci_intx_set(slot->port, pending);
		return;
	}
	pci_intx_set(slot->port, false);
	if (rises)
		pci_msix_notify(slot->port, 0);
}

static void event_locked(struct pci_slot *slot, uint16_t events)
{
	pci_config_change(slot->port, at(slot, PCI_EXP_SLTSTA), 2, 0, events);
	interrupt_locked(slot);
}

/* --- Presence, power and link --- */

/* What presence and power make of the link; the events it changes cause. */
static uint16_t settle_link_locked(struct pci_slot *slot)
{
	bool link = slot->present && slot->powered;

	pci_config_change(slot->port, at(slot, PCI_EXP_SLTSTA), 2, slot->present ? 0 : PCI_EXP_SLTSTA_PDS,
			  slot->present ? PCI_EXP_SLTSTA_PDS : 0);
	atomic_store(&slot->bus.off, !link);
	if (link == slot->link)
		return 0;
	slot->link = link;
	pci_config_change(slot->port, at(slot, PCI_EXP_LNKSTA), 2, link ? 0 : PCI_EXP_LNKSTA_DLLLA,
			  link ? PCI_EXP_LNKSTA_DLLLA : 0);
	return PCI_EXP_SLTSTA_DLLSC;
}

static bool switched_off(uint32_t control)
{
	return control & PCI_EXP_SLTCTL_PCC && (control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PIC_OFF;
}

/* --- For the host --- */

/* Function 0 comes last: it is what guests look for. */
static void slot_shown(struct pci_bus *bus, struct pci_function *fn, bool hot)
{
	struct pci_slot *slot = from_bus(bus);

	if (!hot)
		pci_slot_reset(slot);
	if (!hot || pci_function_number(fn->devfn))
		return;
	pthread_mutex_lock(&slot->lock);
	slot->present = true;
	slot->powered = true; /* a card that is put in is tried at once; the guest may switch it off */
	event_locked(slot, settle_link_locked(slot) | PCI_EXP_SLTSTA_PDC);
	pthread_mutex_unlock(&slot->lock);
	pci_host_remap(slot->port->host, slot->port);
}

static bool bus_empty(const struct pci_bus *bus)
{
	for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++)
		if (bus->owner[devfn])
			return false;
	return true;
}

/* Main loop: the guest let go of what is in the slot. */
static void slot_gone(struct loop_call *call)
{
	struct pci_slot *slot = container_of(call, struct pci_slot, gone);
	struct platform *platform = slot->port->dev->platform;

	/* The other functions first: function 0 stands for all of them. */
	for (unsigned int devfn = 8; devfn--;) {
		struct pci_function *fn = slot->bus.owner[devfn];

		if (fn)
			platform->unplugged(platform, fn->dev);
	}
	pthread_mutex_lock(&slot->lock);
	slot->leaving = false;
	if (slot->present) {
		slot->present = false;
		event_locked(slot, settle_link_locked(slot) | PCI_EXP_SLTSTA_PDC);
	}
	pthread_mutex_unlock(&slot->lock);
}

static int slot_ask_unplug(struct pci_bus *bus, struct pci_function *fn, struct error **errp)
{
	struct pci_slot *slot = from_bus(bus);
	int64_t now = clock_now_ns();
	bool asked, at_once;

	pthread_mutex_lock(&slot->lock);
	asked = slot->leaving && now - slot->pressed_ns < PRESS_AGAIN_NS;
	at_once = !slot->leaving && switched_off(slot->control); /* the guest does not use it, or no more */
	if (!asked) {
		slot->leaving = true;
		slot->pressed_ns = now;
		if (!at_once)
			event_locked(slot, slot->fast ? PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC : PCI_EXP_SLTSTA_ABP);
	}
	pthread_mutex_unlock(&slot->lock);
	if (asked)
		return error_set(errp, -EBUSY, "Device %s is already in the process of unplug", fn->dev->id);
	if (at_once)
		loop_call_schedule(&slot->gone);
	return 0;
}

/* --- For the guest --- */

static void control_written_locked(struct pci_slot *slot)
{
	uint16_t old = slot->control, control = (uint16_t)pci_config_read(slot->port, at(slot, PCI_EXP_SLTCTL), 2);
	uint16_t events = PCI_EXP_SLTSTA_CC; /* §6.7.3.2: each write is a command, and ours are done at once */

	slot->control = control;
	if ((old ^ control) & PCI_EXP_SLTCTL_PCC) {
		slot->powered = !(control & PCI_EXP_SLTCTL_PCC);
		events |= settle_link_locked(slot);
	}
	/* For the guest it is gone at once; what that takes here is done by the main loop. */
	if (slot->leaving && slot->present && switched_off(control) && !switched_off(old)) {
		slot->present = false;
		events |= settle_link_locked(slot) | PCI_EXP_SLTSTA_PDC;
		loop_call_schedule(&slot->gone);
	}
	event_locked(slot, events);
}

void pci_slot_written(struct pci_slot *slot, unsigned int offset, unsigned int size)
{
	bool control = ranges_meet(offset, size, at(slot, PCI_EXP_SLTCTL), 2);
	bool was, moved;

	pthread_mutex_lock(&slot->lock);
	was = slot->link;
	if (control)
		control_written_locked(slot);
	else
		interrupt_locked(slot); /* status, or MSI-X and the pin */
	moved = was != slot->link;
	pthread_mutex_unlock(&slot->lock);
	if (!moved)
		return;
	pci_host_remap(slot->port->host, slot->port);
	if (was)
		pci_bus_guest_reset(&slot->bus); /* without power nothing is remembered */
}

/* --- Life --- */

void pci_slot_init(struct pci_slot *slot, struct pci_function *port, uint16_t number, bool hotplug)
{
	uint32_t capabilities = (uint32_t)number << 19;

	slot->port = port;
	pthread_mutex_init(&slot->lock, NULL);
	loop_call_init(&slot->gone, port->dev->platform->main_loop, slot_gone);
	if (hotplug) {
		capabilities |= PCI_EXP_SLTCAP_ABP | PCI_EXP_SLTCAP_PCP | PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_PIP |
				PCI_EXP_SLTCAP_HPS | PCI_EXP_SLTCAP_HPC;
		pci_config_set_writable(port, at(slot, PCI_EXP_SLTCTL), 2, CONTROL_BASIC);
		pci_config_set_w1c(port, at(slot, PCI_EXP_SLTSTA), 2, EVENTS);
	}
	pci_config_set(port, at(slot, PCI_EXP_SLTCAP), 4, capabilities);
}

void pci_slot_open(struct pci_slot *slot, bool hotplug)
{
	pci_bus_init(&slot->bus, slot->port, 1);
	slot->bus.hotplug = hotplug;
	slot->bus.shown = slot_shown;
	slot->bus.ask_unplug = slot_ask_unplug;
}

void pci_slot_close(struct pci_slot *slot)
{
	pci_bus_release(&slot->bus);
	loop_call_cancel(&slot->gone);
	pthread_mutex_destroy(&slot->lock);
}

void pci_slot_reset(struct pci_slot *slot)
{
	bool leaves;

	pthread_mutex_lock(&slot->lock);
	/* A guest that was asked and starts anew has let go, too; it does not see the device again. */
	leaves = slot->leaving;
	slot->present = slot->powered = !leaves && !bus_empty(&slot->bus);
	slot->link = false;
	slot->notified = false;
	slot->control = 0;
	if (slot->bus.hotplug)
		slot->control = PCI_EXP_SLTCTL_AIC_OFF |
				(slot->present ? PCI_EXP_SLTCTL_PIC_ON : PCI_EXP_SLTCTL_PIC_OFF | PCI_EXP_SLTCTL_PCC);
	pci_config_set(slot->port, at(slot, PCI_EXP_SLTCTL), 2, slot->control);
	(void)settle_link_locked(slot); /* no event: that is how it was found */
	pthread_mutex_unlock(&slot->lock);
	if (leaves)
		loop_call_schedule(&slot->gone);
}
