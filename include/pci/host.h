/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buses and the host bridge, which a machine makes: it turns accesses of the guest to its ECAM window and, on PCs, to ports
 * 0xCF8 and 0xCFC into accesses to configuration space, decides where BARs may lie, and takes interrupt lines.
 * It is no function itself: what the guest sees at 00:00.0 is a device of the machine's choice ("gpex-root", Q35's MCH).
 *
 * Made and freed on the main thread. Accesses come from vCPU threads; see pci/function.h for the locks. The set of buses is
 * fixed before vCPUs run; functions come and go while vCPUs are parked, but for pci_function_show().
 */
#ifndef PCI_HOST_H
#define PCI_HOST_H

#include "pci/function.h"

#define PCI_SLOTS 32
#define PCI_FUNCTIONS 256
#define PCI_INTX_PINS 4
#define PCI_HOST_IRQS 8

struct pci_range {
	uint64_t base, size; /* size 0: none */
};

struct pci_host_config {
	struct platform *platform;
	const char *root_bus; /* "pcie.0" */
	/* 1 MiB a bus, at most 256; size 0: not yet, see pci_host_set_ecam(). */
	struct pci_range ecam;
	bool config_ports; /* 0xCF8 to 0xCFF (PCI 3.0 §3.2.2.3.2) */
	/* On PCs: what bytes of 0xCF8 to 0xCFB are, 0xCF9 being the reset control; the offset is from 0xCF8. NULL: nothing. */
	const struct io_ops *cf8_bytes;
	void *cf8_opaque;
	/* What the bridge passes on, in terms of addresses in BARs. mem32 below 4 GiB. */
	struct pci_range io, mem32, mem64;
	/* Without port I/O (aarch64): where the I/O window lies in memory; io.base is there. */
	bool io_is_memory;
	gpa_t io_memory_base;
	/*
	 * Interrupt lines. irq_map: the line of a root bus device's pin (0 to 3); NULL: (slot + pin) % 4 (PCI-to-PCI
	 * Bridge 1.2 §9.1). irq_set: the OR of all functions on line n changed; any thread, under host->irq_lock.
	 */
	unsigned int (*irq_map)(void *opaque, unsigned int slot, unsigned int pin);
	void (*irq_set)(void *opaque, unsigned int line, bool level);
	void *irq_opaque;
};

struct pci_bus {
	struct list node; /* host->buses */
	char *name;
	struct pci_host *host;
	struct pci_function *bridge; /* NULL: the root bus */
	unsigned int slots;          /* 32, or 1 below a port */
	bool hotplug;                /* devices may come and go while the guest runs */
	_Atomic bool off;            /* no link: what is there does not answer. See pci_host_remap() */
	/* Told of functions that come. Main thread. NULL: nobody cares. */
	void (*shown)(struct pci_bus *bus, struct pci_function *fn, bool hot);
	/*
	 * device_del: asks the guest to let go of @fn; platform->unplugged() when it has. -EBUSY: it was asked before.
	 * Main thread.
	 */
	int (*ask_unplug)(struct pci_bus *bus, struct pci_function *fn, struct error **errp);
	struct pci_function *owner[PCI_FUNCTIONS];           /* by devfn. Main thread */
	_Atomic(struct pci_function *) functions[PCI_FUNCTIONS]; /* those that the guest sees */
};

struct pci_host {
	struct pci_host_config config;
	struct pci_bus root;
	struct list buses; /* struct pci_bus, the root bus first. Fixed when vCPUs run */

	pthread_mutex_t map_lock; /* guards: where BARs and the ECAM window are */
	struct io_region ecam, cf8, cfc;
	bool ecam_mapped;
	unsigned int blocked; /* BARs that something else keeps out */

	pthread_mutex_t irq_lock; /* guards: */
	unsigned int irq_users[PCI_HOST_IRQS]; /* functions that hold the line up */

	_Atomic uint32_t config_address; /* port 0xCF8 */
};

/* Also makes it the one of @config->platform, on which devices are placed. */
int __must_check pci_host_new(const struct pci_host_config *config, struct pci_host **ret, struct error **errp);
void pci_host_free(struct pci_host *host); /* NULL allowed; the devices are gone already */
/* All BARs are out and all lines down: after the functions' resets. Main thread, vCPUs parked. */
void pci_host_reset(struct pci_host *host);
/* Q35's PCIEXBAR. size 0: nowhere. vCPU threads. -EEXIST when something else lies there; then it is nowhere. */
int pci_host_set_ecam(struct pci_host *host, uint64_t base, uint64_t size);
/* Q35: lines are routed elsewhere; they are told their levels again, by irq_set. Any thread. */
void pci_host_reroute(struct pci_host *host, void (*change)(void *opaque), void *opaque);

/* The line (0 to PCI_HOST_IRQS - 1) that the function's INTx goes to. */
unsigned int pci_intx_line(const struct pci_function *fn);

/* NULL: no such bus. Main thread. */
struct pci_bus *pci_bus_find(struct pci_host *host, const char *name);
/* For bridges: below @bridge, named as its device. */
void pci_bus_init(struct pci_bus *bus, struct pci_function *bridge, unsigned int slots);
void pci_bus_release(struct pci_bus *bus);

/* What lies at a bus number, as the guest set the bridges up, and a devfn; NULL: nothing. Any thread. */
struct pci_function *pci_host_find(struct pci_host *host, unsigned int bus, unsigned int devfn);
/* Bridges: a window or its decoding changed. vCPU threads, no lock held. */
void pci_host_remap(struct pci_host *host, struct pci_function *fn);

#endif
