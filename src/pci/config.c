// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration space: stored bytes with two masks, what the guest may write and what it clears by writing ones. A bit that
 * neither mask names cannot be changed by the guest, whatever it tries (hostile-guests: config-mask).
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/error.h"

#define LINK_2_5GT_X1 0x11 /* speed 1, width 1: as QEMU's endpoints */

static void bytes_put(uint8_t *bytes, unsigned int offset, unsigned int size, uint32_t value)
{
	for (unsigned int i = 0; i < size; i++)
		bytes[offset + i] = (uint8_t)(value >> 8 * i);
}

/* --- For devices --- */

uint32_t pci_config_read(struct pci_function *fn, unsigned int offset, unsigned int size)
{
	uint32_t value;

	pthread_mutex_lock(&fn->lock);
	value = config_get_locked(fn, offset, size);
	pthread_mutex_unlock(&fn->lock);
	return value;
}

static bool asleep_locked(const struct pci_function *fn)
{
	return fn->pm_cap && (fn->config[fn->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK) == PCI_PM_D3HOT;
}

/* PCI Power Management 1.2 §5.4.1: in D3hot configuration space is all that there is. */
uint32_t pci_command_locked(const struct pci_function *fn)
{
	return asleep_locked(fn) ? PCI_COMMAND_INTX_DISABLE : config_get_locked(fn, PCI_COMMAND, 2);
}

uint32_t pci_command(struct pci_function *fn)
{
	uint32_t command;

	pthread_mutex_lock(&fn->lock);
	command = pci_command_locked(fn);
	pthread_mutex_unlock(&fn->lock);
	return command;
}

bool pci_is_command(const struct pci_function *fn, unsigned int offset, unsigned int size)
{
	return ranges_meet(offset, size, PCI_COMMAND, 2) ||
	       (fn->pm_cap && ranges_meet(offset, size, fn->pm_cap + PCI_PM_CTRL, 1));
}

void pci_config_set(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t value)
{
	pthread_mutex_lock(&fn->lock);
	bytes_put(fn->config, offset, size, value);
	pthread_mutex_unlock(&fn->lock);
}

void pci_config_change(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t clear,
		       uint32_t set)
{
	pthread_mutex_lock(&fn->lock);
	bytes_put(fn->config, offset, size, (config_get_locked(fn, offset, size) & ~clear) | set);
	pthread_mutex_unlock(&fn->lock);
}

void pci_config_set_writable(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t mask)
{
	bytes_put(fn->writable, offset, size, mask);
}

void pci_config_set_w1c(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t mask)
{
	bytes_put(fn->w1c, offset, size, mask);
}

int pci_add_capability(struct pci_function *fn, uint8_t id, unsigned int size, struct error **errp)
{
	unsigned int offset = fn->cap_end;

	if (offset + size > PCI_CONFIG_SIZE)
		return error_set(errp, -ENOSPC, "there is no room for PCI capability %u of %u bytes", id, size);
	fn->config[fn->cap_last ? fn->cap_last + 1 : PCI_CAPABILITY_LIST] = (uint8_t)offset;
	fn->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fn->config[offset] = id;
	fn->cap_last = (uint8_t)offset;
	fn->cap_end = (uint16_t)ALIGN_UP(offset + size, 4u);
	return (int)offset;
}

/*
 * Version 2 with no errors to report: what is left for the guest to set are the error enables, payload and read request
 * sizes, which it sees stored, and the function level reset.
 */
int pci_add_express(struct pci_function *fn, struct error **errp)
{
	int cap = pci_add_capability(fn, PCI_CAP_ID_EXPRESS, PCI_EXP_SIZEOF, errp);

	if (cap < 0)
		return cap;
	fn->express = true;
	fn->express_cap = (uint8_t)cap;
	pci_config_set(fn, cap + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_RC_END << 4);
	pci_config_set(fn, cap + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR);
	pci_config_set_writable(fn, cap + PCI_EXP_DEVCTL, 2, 0x78ff);
	pci_config_set_w1c(fn, cap + PCI_EXP_DEVSTA, 2, 0x000f);
	return 0;
}

/* Version 3: awake, or asleep and remembering nothing (D0, D3hot, no "no soft reset"); no wake-up. */
static int add_power_management(struct pci_function *fn, struct error **errp)
{
	int cap = pci_add_capability(fn, PCI_CAP_ID_PM, PCI_PM_SIZEOF, errp);

	if (cap < 0)
		return cap;
	fn->pm_cap = (uint8_t)cap;
	pci_config_set(fn, cap + PCI_PM_PMC, 2, 3);
	pci_config_set_writable(fn, cap + PCI_PM_CTRL, 1, PCI_PM_CTRL_STATE_MASK);
	return 0;
}

/* --- For the guest --- */

static bool has_intx_status(const struct pci_function *fn, unsigned int offset, unsigned int size)
{
	return ranges_meet(offset, size, PCI_STATUS, 1) && atomic_load(&fn->intx_level);
}

uint32_t pci_config_guest_read(struct pci_function *fn, unsigned int offset, unsigned int size)
{
	uint32_t value;

	/* No extended capabilities: the header at 256 reads as zero (PCIe §7.9.2). */
	if (offset + size > PCI_CONFIG_SIZE)
		return 0;
	if (fn->ops && fn->ops->config_read)
		fn->ops->config_read(fn, offset, size);
	value = pci_config_read(fn, offset, size);
	if (has_intx_status(fn, offset, size))
		value |= PCI_STATUS_INTERRUPT << 8 * (PCI_STATUS - offset);
	return value;
}

/* Where BARs are decoded depends on these. */
static bool moves_bars(const struct pci_function *fn, unsigned int offset, unsigned int size)
{
	if (pci_is_command(fn, offset, size))
		return true;
	if (fn->secondary)
		return ranges_meet(offset, size, PCI_BASE_ADDRESS_0, 8) ||
		       ranges_meet(offset, size, PCI_IO_BASE, PCI_IO_LIMIT_UPPER16 + 2 - PCI_IO_BASE);
	return ranges_meet(offset, size, PCI_BASE_ADDRESS_0, 4 * PCI_BARS);
}

static void restore_locked(struct pci_function *fn)
{
	memcpy(fn->config, fn->initial, sizeof(fn->config));
	if (fn->msix)
		pci_msix_update_locked(fn);
}

/* PCIe §6.6.2: everything but what the hardware alone sets. The guest waits 100 ms; we are done before it may look. */
void pci_function_guest_reset(struct pci_function *fn)
{
	if (fn->ops && fn->ops->function_reset)
		fn->ops->function_reset(fn);
	pthread_mutex_lock(&fn->lock);
	restore_locked(fn);
	pthread_mutex_unlock(&fn->lock);
	if (fn->msix)
		pci_msix_reset(fn);
	pci_intx_set(fn, false);
	pci_intx_update(fn);
	pci_host_remap(fn->host, fn);
}

void pci_bus_guest_reset(struct pci_bus *bus)
{
	for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
		struct pci_function *fn = atomic_load(&bus->functions[devfn]);

		if (fn)
			pci_function_guest_reset(fn);
	}
}

/* §3.2.4: a state that is not there is not entered. */
static void settle_power_locked(struct pci_function *fn, bool slept)
{
	uint8_t *control = &fn->config[fn->pm_cap + PCI_PM_CTRL], state = *control & PCI_PM_CTRL_STATE_MASK;

	if (!fn->pm_cap || state == PCI_PM_D0 || state == PCI_PM_D3HOT)
		return;
	*control = (uint8_t)((*control & ~PCI_PM_CTRL_STATE_MASK) | (slept ? PCI_PM_D3HOT : PCI_PM_D0));
}

void pci_config_guest_write(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t value)
{
	uint32_t old, new = 0, bytes = value;
	bool slept;

	if (offset + size > PCI_CONFIG_SIZE)
		return;
	pthread_mutex_lock(&fn->lock);
	old = config_get_locked(fn, offset, size);
	slept = asleep_locked(fn);
	for (unsigned int i = 0; i < size; i++, bytes >>= 8) {
		uint8_t byte = fn->config[offset + i], mask = fn->writable[offset + i];

		byte = (uint8_t)((byte & ~mask) | (bytes & mask));
		fn->config[offset + i] = byte & (uint8_t)~(bytes & fn->w1c[offset + i]);
	}
	settle_power_locked(fn, slept);
	new = config_get_locked(fn, offset, size);
	if (fn->msix && new != old)
		pci_msix_update_locked(fn);
	slept = slept && !asleep_locked(fn);
	pthread_mutex_unlock(&fn->lock);

	if (slept) { /* §5.4.1: to D0 by way of an internal reset */
		pci_function_guest_reset(fn);
		return;
	}
	if (new != old && pci_is_command(fn, offset, size))
		pci_intx_update(fn);
	if (new != old && moves_bars(fn, offset, size))
		pci_host_remap(fn->host, fn);
	if (fn->ops && fn->ops->config_written)
		fn->ops->config_written(fn, offset, size, old);
	/* The bit that starts it is not stored: it reads as zero. */
	if (fn->express && ranges_meet(offset, size, fn->express_cap + PCI_EXP_DEVCTL + 1, 1) &&
	    value >> 8 * (fn->express_cap + PCI_EXP_DEVCTL + 1 - offset) & PCI_EXP_DEVCTL_BCR_FLR >> 8 &&
	    pci_config_read(fn, fn->express_cap + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR)
		pci_function_guest_reset(fn);
}

/* --- Life --- */

void pci_function_init(struct pci_function *fn, struct device *dev, const struct pci_ids *ids,
		       const struct pci_function_ops *ops)
{
	*fn = (struct pci_function){ .dev = dev, .ops = ops, .cap_end = 0x40 };
	pthread_mutex_init(&fn->lock, NULL);
	pci_config_set(fn, PCI_VENDOR_ID, 2, ids->vendor);
	pci_config_set(fn, PCI_DEVICE_ID, 2, ids->device);
	pci_config_set(fn, PCI_REVISION_ID, 1, ids->revision);
	pci_config_set(fn, PCI_CLASS_PROG, 1, ids->prog);
	pci_config_set(fn, PCI_CLASS_DEVICE, 2, ids->class);
	pci_config_set(fn, PCI_SUBSYSTEM_VENDOR_ID, 2, ids->subsystem_vendor);
	pci_config_set(fn, PCI_SUBSYSTEM_ID, 2, ids->subsystem);
	pci_config_set_writable(fn, PCI_COMMAND, 2,
				PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
					PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
	pci_config_set_w1c(fn, PCI_STATUS, 2, 0xf900);
	pci_config_set_writable(fn, PCI_CACHE_LINE_SIZE, 1, 0xff);
	pci_config_set_writable(fn, PCI_INTERRUPT_LINE, 1, 0xff);
}

int pci_function_attach(struct pci_function *fn, const struct pci_place *place, struct error **errp)
{
	struct platform *platform = fn->dev->platform;
	bool endpoint;
	int ret;

	if (!platform->pci)
		return error_set(errp, -ENODEV, "this machine has no PCI bus");
	ret = pci_host_place(platform->pci, fn, place, errp);
	if (ret)
		return ret;
	endpoint = fn->express && fn->bus->bridge && !fn->secondary;
	ret = endpoint ? add_power_management(fn, errp) : 0;
	if (ret) {
		fn->bus->owner[fn->devfn] = NULL;
		fn->host = NULL;
		fn->bus = NULL;
		return ret;
	}
	if (place->multifunction)
		fn->config[PCI_HEADER_TYPE] |= PCI_HEADER_TYPE_MULTIFUNCTION;
	if (endpoint) {
		pci_config_set(fn, fn->express_cap + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_ENDPOINT << 4);
		/* An endpoint has a link (§7.5.3.6); what goes over it does not depend on these numbers. */
		pci_config_set(fn, fn->express_cap + PCI_EXP_LNKCAP, 4, LINK_2_5GT_X1);
		pci_config_set(fn, fn->express_cap + PCI_EXP_LNKSTA, 2, LINK_2_5GT_X1);
	}
	memcpy(fn->initial, fn->config, sizeof(fn->initial));
	if (platform->hotplugging)
		return 0;
	atomic_store(&fn->bus->functions[fn->devfn], fn);
	if (fn->bus->shown)
		fn->bus->shown(fn->bus, fn, false);
	return 0;
}

void pci_function_show(struct pci_function *fn)
{
	atomic_store(&fn->bus->functions[fn->devfn], fn);
	if (fn->bus->shown)
		fn->bus->shown(fn->bus, fn, true);
}

int pci_function_ask_unplug(struct pci_function *fn, struct error **errp)
{
	struct pci_bus *bus = fn->bus;

	if (!bus->hotplug || !bus->ask_unplug)
		return error_set(errp, -ENOTSUP, "Bus '%s' does not support hotplugging", bus->name);
	return bus->ask_unplug(bus, fn, errp);
}

void pci_function_detach(struct pci_function *fn)
{
	struct pci_host *host = fn->host;

	if (!host)
		return;
	atomic_store(&fn->bus->functions[fn->devfn], NULL);
	fn->bus->owner[fn->devfn] = NULL;
	pthread_mutex_lock(&host->map_lock);
	pci_bars_unmap_locked(fn);
	pci_bars_retry_locked(host);
	pthread_mutex_unlock(&host->map_lock);
	pci_intx_release(fn);
	/* Whoever still has an eventfd of it sends nothing any more. */
	pthread_mutex_lock(&fn->lock);
	restore_locked(fn);
	pthread_mutex_unlock(&fn->lock);
	if (fn->msix)
		pci_msix_reset(fn);
	fn->host = NULL;
	fn->bus = NULL;
}

void pci_function_release(struct pci_function *fn)
{
	if (fn->msix)
		pci_msix_release(fn);
	pthread_mutex_destroy(&fn->lock);
}

void pci_function_reset(struct pci_function *fn)
{
	struct pci_host *host = fn->host;

	pthread_mutex_lock(&fn->lock);
	restore_locked(fn);
	pthread_mutex_unlock(&fn->lock);
	if (fn->msix)
		pci_msix_reset(fn);
	pci_intx_set(fn, false);
	pci_intx_update(fn);
	pci_host_remap(host, fn);
}

const char *pci_function_firmware_path(const struct pci_function *fn, const char *name, char *buf, size_t size)
{
	size_t len = 0;

	if (fn->bus->bridge) {
		pci_function_firmware_path(fn->bus->bridge, "pci-bridge", buf, size);
		len = strlen(buf);
		len += MIN((size_t)snprintf(buf + len, size - len, "/"), size - len - 1);
	}
	if (pci_function_number(fn->devfn))
		snprintf(buf + len, size - len, "%s@%x,%x", name, pci_slot(fn->devfn), pci_function_number(fn->devfn));
	else
		snprintf(buf + len, size - len, "%s@%x", name, pci_slot(fn->devfn));
	return buf;
}

const char *pci_function_address(const struct pci_function *fn, char buf[16])
{
	unsigned int bus = fn->bus->bridge ? pci_config_read(fn->bus->bridge, PCI_SECONDARY_BUS, 1) : 0;

	snprintf(buf, 16, "0000:%02x:%02x.%x", bus, pci_slot(fn->devfn), pci_function_number(fn->devfn));
	return buf;
}
