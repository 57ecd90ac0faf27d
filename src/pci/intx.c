// SPDX-License-Identifier: Apache-2.0
/*
 * INTx (PCI 3.0 §2.2.6): level-triggered pins, which functions share. What the line to the interrupt controller shows is
 * the OR of all functions that are routed to it; who holds it up is counted here.
 */
#include "internal.h"

void pci_set_interrupt_pin(struct pci_function *fn, unsigned int pin)
{
	pci_config_set(fn, PCI_INTERRUPT_PIN, 1, pin);
}

unsigned int pci_intx_line(const struct pci_function *fn)
{
	const struct pci_host_config *config = &fn->host->config;
	unsigned int pin = (fn->initial[PCI_INTERRUPT_PIN] + PCI_INTX_PINS - 1) % PCI_INTX_PINS;
	unsigned int slot = pci_slot(fn->devfn);

	/* Bridge 1.2 §9.1: each bridge turns the pins by the slot of the device. */
	for (const struct pci_function *bridge = fn->bus->bridge; bridge; bridge = bridge->bus->bridge) {
		pin = (pin + slot) % PCI_INTX_PINS;
		slot = pci_slot(bridge->devfn);
	}
	if (config->irq_map)
		return config->irq_map(config->irq_opaque, slot, pin) % PCI_HOST_IRQS;
	return (slot + pin) % PCI_INTX_PINS;
}

static void hold_locked(struct pci_function *fn, bool up)
{
	struct pci_host *host = fn->host;
	unsigned int line = pci_intx_line(fn);

	if (up == fn->intx_up)
		return;
	fn->intx_up = up;
	host->irq_users[line] += up ? 1 : -1;
	if (host->config.irq_set && host->irq_users[line] == (up ? 1 : 0))
		host->config.irq_set(host->config.irq_opaque, line, up);
}

/* The disable bit is read inside irq_lock, so that of a device and a guest at once the later one sees both changes. */
static void settle_locked(struct pci_function *fn)
{
	bool off = pci_command(fn) & PCI_COMMAND_INTX_DISABLE;

	hold_locked(fn, atomic_load(&fn->intx_level) && !off);
}

void pci_intx_set(struct pci_function *fn, bool level)
{
	struct pci_host *host = fn->host;

	if (!host || atomic_load(&fn->intx_level) == level)
		return;
	pthread_mutex_lock(&host->irq_lock);
	atomic_store(&fn->intx_level, level);
	settle_locked(fn);
	pthread_mutex_unlock(&host->irq_lock);
}

void pci_intx_update(struct pci_function *fn)
{
	pthread_mutex_lock(&fn->host->irq_lock);
	settle_locked(fn);
	pthread_mutex_unlock(&fn->host->irq_lock);
}

void pci_intx_release(struct pci_function *fn)
{
	pthread_mutex_lock(&fn->host->irq_lock);
	atomic_store(&fn->intx_level, false);
	hold_locked(fn, false);
	pthread_mutex_unlock(&fn->host->irq_lock);
}

static void each_locked(struct pci_host *host, void (*visit)(struct pci_function *fn))
{
	struct pci_bus *bus;

	list_for_each(bus, &host->buses, node) {
		for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
			struct pci_function *fn = atomic_load(&bus->functions[devfn]);

			if (fn)
				visit(fn);
		}
	}
}

static void drop_locked(struct pci_function *fn)
{
	hold_locked(fn, false);
}

void pci_host_reroute(struct pci_host *host, void (*change)(void *opaque), void *opaque)
{
	pthread_mutex_lock(&host->irq_lock);
	each_locked(host, drop_locked);
	change(opaque);
	each_locked(host, settle_locked);
	pthread_mutex_unlock(&host->irq_lock);
}
