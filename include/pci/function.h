/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI function: configuration space with write masks, capabilities, BARs and INTx. A struct pci_function is embedded in
 * whatever owns it: struct pci_device below for plain devices, the state of a transport for virtio.
 *
 * Life, all on the main thread: pci_function_init(), then BARs, capabilities and pci_msix_init() in any order, then
 * pci_function_attach(), from which on the guest sees it; pci_function_detach() when it must not any more, and
 * pci_function_release().
 *
 * Threads and locks. Configuration space is accessed on vCPU threads, two at once as it may be.
 *   fn->lock            config, and what the masks say of it. Held for the copy of a few bytes; taken inside host->map_lock.
 *   host->map_lock      where BARs are mapped, of all functions of a host bridge: taken when a BAR, the command register or
 *                       a bridge's window changes, never by a device's I/O.
 *   host->irq_lock      INTx levels; any thread. fn->lock is taken inside.
 *   msix->lock          the MSI-X table; leaf, any thread, taken inside fn->lock.
 * No handler of a device is called under fn->lock.
 */
#ifndef PCI_FUNCTION_H
#define PCI_FUNCTION_H

#include <pthread.h>
#include <stdatomic.h>

#include "devices/device.h"
#include "pci/regs.h"

#define PCI_BARS 6

struct pci_bus;
struct pci_function;
struct pci_host;
struct pci_msix;

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint16_t class; /* PCI_CLASS_* */
	uint8_t prog, revision;
};

enum pci_bar_flags {
	PCI_BAR_MEM32 = 0,
	PCI_BAR_IO = PCI_BASE_ADDRESS_SPACE_IO,
	PCI_BAR_MEM64 = PCI_BASE_ADDRESS_MEM_TYPE_64, /* takes the next BAR, too */
	PCI_BAR_PREFETCH = PCI_BASE_ADDRESS_MEM_PREFETCH,
};

struct pci_bar {
	uint64_t size; /* 0: not there */
	unsigned int flags;
	struct io_region region; /* host->map_lock; region.base: where it is mapped now */
	bool mapped, blocked;    /* host->map_lock; blocked: decoded, but something else lies there */
};

struct pci_function_ops {
	/*
	 * The guest is about to read [offset, offset + size), or has written it: for registers that are more than stored bits.
	 * vCPU threads, no lock held; size 1, 2 or 4, aligned. What was written is read with pci_config_read(). NULL allowed.
	 */
	void (*config_read)(struct pci_function *fn, unsigned int offset, unsigned int size);
	void (*config_written)(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t old);
	/* BAR @index begins to be at @base, or (UINT64_MAX) is nowhere any more. Under host->map_lock. NULL allowed. */
	void (*bar_moved)(struct pci_function *fn, unsigned int index, uint64_t base);
	/* Function level reset (PCIe §6.6.2). vCPU threads, no lock held; the registers follow. NULL: nothing but registers. */
	void (*function_reset)(struct pci_function *fn);
};

struct pci_function {
	struct device *dev;
	const struct pci_function_ops *ops; /* NULL allowed */
	struct pci_host *host; /* from attach to detach */
	struct pci_bus *bus;
	uint8_t devfn;
	bool express; /* has the PCI Express capability, at express_cap */
	uint8_t express_cap;
	uint8_t pm_cap;   /* its power management capability, 0: none */
	uint8_t cap_last; /* the last capability, 0: none */
	uint16_t cap_end; /* where the next one goes */
	struct pci_bus *secondary; /* of a bridge */

	pthread_mutex_t lock; /* guards: */
	uint8_t config[PCI_CONFIG_SIZE];
	/* Bit set: the guest may write it / clears it by writing 1. Fixed from attach on. */
	uint8_t writable[PCI_CONFIG_SIZE];
	uint8_t w1c[PCI_CONFIG_SIZE];
	uint8_t initial[PCI_CONFIG_SIZE]; /* power-on values, taken at attach */

	struct pci_bar bars[PCI_BARS];
	struct pci_msix *msix; /* NULL: none */
	_Atomic bool intx_level; /* what the device wants; written under host->irq_lock */
	bool intx_up;            /* what the line was told; host->irq_lock */
};

/* Where the user wants it: the properties of every PCI device. */
struct pci_place {
	char *bus;  /* id of a bus, NULL: the root bus */
	char *addr; /* "S" or "S.F", hexadecimal; NULL: the first free slot */
	bool multifunction;
};

/* For a property table on T with the field "struct pci_place @f". */
#define PCI_PLACE_PROPS(T, f)                                                                             \
	PROP_STRING("bus", T, f.bus, 1, 255, NULL, "PCI bus; the root bus (pcie.0) without it"),          \
	PROP_STRING("addr", T, f.addr, 1, 15, NULL, "slot[.function] on it, hexadecimal; the first free"), \
	PROP_BOOL("multifunction", T, f.multifunction, 0,                                                 \
		  "other functions may share the slot (function 0 only)"),                                \
	PROP_IGNORED("rombar", "there are no option ROMs"),                                               \
	PROP_IGNORED("romfile", "there are no option ROMs")

/* A device whose struct begins with this needs nothing else to be on the bus. */
struct pci_device {
	struct device dev;
	struct pci_function fn;
	struct pci_place place;
};

/* struct device_class's operations for those that have no state beside their registers. */
void pci_device_unrealize(struct device *dev);
void pci_device_reset(struct device *dev);

/* --- Life --- */

void pci_function_init(struct pci_function *fn, struct device *dev, const struct pci_ids *ids,
		       const struct pci_function_ops *ops);
/*
 * Finds a place on a bus: -EBUSY naming both devices, -ENOENT, -ERANGE, -ENOSPC. On failure nothing has changed. A device
 * that is hot-plugged (platform->hotplugging) is shown by pci_function_show(), all others at once.
 */
int __must_check pci_function_attach(struct pci_function *fn, const struct pci_place *place, struct error **errp);
/* Slots are told that the function is there. Main thread, the function and its device are complete. */
void pci_function_show(struct pci_function *fn);
/*
 * device_del: asks the guest to let go; platform->unplugged() when it has. -ENOTSUP: its bus has no hot-plug; -EBUSY: it was
 * asked before. Main thread.
 */
int __must_check pci_function_ask_unplug(struct pci_function *fn, struct error **errp);
/* No vCPU is in a handler (vcpus_pause()). Harmless when not attached. */
void pci_function_detach(struct pci_function *fn);
void pci_function_release(struct pci_function *fn);
/* To the power-on state: struct device_class's reset. Main thread with parked vCPUs, or before the guest sees it. */
void pci_function_reset(struct pci_function *fn);

/* The OpenFirmware path of a function called @name, from the root bus on: "pci-bridge@1/scsi@0". Returns @buf. */
const char *pci_function_firmware_path(const struct pci_function *fn, const char *name, char *buf, size_t size);
/* "0000:00:03.0" as the guest calls it while firmware has not renumbered buses; returns @buf. */
const char *pci_function_address(const struct pci_function *fn, char buf[16]);

/* --- Configuration space. Any thread; values in CPU byte order. --- */

uint32_t pci_config_read(struct pci_function *fn, unsigned int offset, unsigned int size);
/* The command register as it counts: a function that sleeps (D3hot) decodes and masters nothing, and no pin of it is up. */
uint32_t pci_command(struct pci_function *fn);
/* Does a write to [offset, offset + size) change that? */
bool pci_is_command(const struct pci_function *fn, unsigned int offset, unsigned int size);
/* By the device itself: masks do not apply. */
void pci_config_set(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t value);
/* By the device itself: sets and clears bits at once. */
void pci_config_change(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t clear, uint32_t set);
/* Before attach: the bits the guest may write, and those it clears by writing ones. */
void pci_config_set_writable(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t mask);
void pci_config_set_w1c(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t mask);
/* As the guest does it: 1, 2 or 4 bytes, aligned, offset below 4096. vCPU threads. */
uint32_t pci_config_guest_read(struct pci_function *fn, unsigned int offset, unsigned int size);
void pci_config_guest_write(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t value);

/* Before attach: a capability of @size bytes; its offset, a multiple of 4, or -ENOSPC. */
int __must_check pci_add_capability(struct pci_function *fn, uint8_t id, unsigned int size, struct error **errp);
/*
 * The PCI Express capability of an endpoint. Whether it is integrated or behind a port shows at attach: the latter also has power
 * management then.
 */
int __must_check pci_add_express(struct pci_function *fn, struct error **errp);

/* --- BARs --- */

/*
 * Before attach. @size: a power of two, at least 16 bytes (I/O: 4). Handlers see offsets into the BAR. The region is
 * there while the guest's registers say so: decoding on, within the windows of the host bridge and of all bridges
 * on the way, and free of others.
 */
void pci_add_bar(struct pci_function *fn, unsigned int index, unsigned int flags, uint64_t size,
		 const struct io_ops *ops, void *opaque);

/* --- INTx (PCI 3.0 §2.2.6) --- */

/* Before attach: the function interrupts by pin @pin, 1 (INTA#) to 4. */
void pci_set_interrupt_pin(struct pci_function *fn, unsigned int pin);
/* Any thread. */
void pci_intx_set(struct pci_function *fn, bool level);

#endif
