// SPDX-License-Identifier: Apache-2.0
/*
 * Where BARs are. A BAR is in the guest's address space exactly when the registers on the way say so; each change of one of
 * them asks this file, which reads them afresh under the host bridge's map_lock, so that of two vCPUs that write at once the
 * later one sees both writes.
 *
 * A guest may put a BAR on top of RAM or of another device. The address space refuses that; the BAR then waits outside, and
 * is tried again whenever some other BAR goes away.
 */
#include "internal.h"

#include <inttypes.h>

#define LOG_MODULE "pci"
#include "util/log.h"

#define NOWHERE UINT64_MAX

void pci_add_bar(struct pci_function *fn, unsigned int index, unsigned int flags, uint64_t size,
		 const struct io_ops *ops, void *opaque)
{
	unsigned int offset = PCI_BASE_ADDRESS_0 + 4 * index;
	uint64_t mask = ~(size - 1);

	fn->bars[index] = (struct pci_bar){
		.size = size,
		.flags = flags,
		.region = {
			.name = fn->dev->id,
			.kind = flags & PCI_BAR_IO ? IO_PORT : IO_MMIO,
			.size = size,
			.ops = ops,
			.opaque = opaque,
		},
	};
	/* §6.2.5.1: the bits below the size are not there, which is how the guest learns it. */
	pci_config_set(fn, offset, 4, flags);
	pci_config_set_writable(fn, offset, 4, (uint32_t)mask);
	if (flags & PCI_BAR_MEM64)
		pci_config_set_writable(fn, offset + 4, 4, (uint32_t)(mask >> 32));
}

static bool within(uint64_t base, uint64_t size, uint64_t lo, uint64_t last)
{
	return base >= lo && base <= last && size - 1 <= last - base;
}

static bool within_range(uint64_t base, uint64_t size, const struct pci_range *range)
{
	return range->size && within(base, size, range->base, range->base + (range->size - 1));
}

/* Bridge 1.2 §3.2.5.6, §3.2.5.8 to §3.2.5.10: does the bridge pass the range on? */
static bool bridge_passes(struct pci_function *bridge, bool io, uint64_t base, uint64_t size)
{
	uint32_t command = pci_config_read(bridge, PCI_COMMAND, 2);
	uint64_t lo, last;

	if (io) {
		if (!(command & PCI_COMMAND_IO))
			return false;
		lo = (uint64_t)(pci_config_read(bridge, PCI_IO_BASE, 1) & 0xf0) << 8;
		last = (uint64_t)(pci_config_read(bridge, PCI_IO_LIMIT, 1) & 0xf0) << 8 | 0xfff;
		return within(base, size, lo, last);
	}
	if (!(command & PCI_COMMAND_MEMORY))
		return false;
	lo = (uint64_t)(pci_config_read(bridge, PCI_MEMORY_BASE, 2) & 0xfff0) << 16;
	last = (uint64_t)(pci_config_read(bridge, PCI_MEMORY_LIMIT, 2) & 0xfff0) << 16 | 0xfffff;
	if (within(base, size, lo, last))
		return true;
	lo = (uint64_t)(pci_config_read(bridge, PCI_PREF_MEMORY_BASE, 2) & 0xfff0) << 16 |
	     (uint64_t)pci_config_read(bridge, PCI_PREF_BASE_UPPER32, 4) << 32;
	last = (uint64_t)(pci_config_read(bridge, PCI_PREF_MEMORY_LIMIT, 2) & 0xfff0) << 16 | 0xfffff |
	       (uint64_t)pci_config_read(bridge, PCI_PREF_LIMIT_UPPER32, 4) << 32;
	return within(base, size, lo, last);
}

static bool windows_pass(struct pci_function *fn, bool io, uint64_t base, uint64_t size)
{
	const struct pci_host_config *config = &fn->host->config;

	for (struct pci_bus *bus = fn->bus; bus->bridge; bus = bus->bridge->bus)
		if (atomic_load(&bus->off) || !bridge_passes(bus->bridge, io, base, size))
			return false;
	if (io)
		return within_range(base, size, &config->io);
	return within_range(base, size, &config->mem32) || within_range(base, size, &config->mem64);
}

/* Where the registers put BAR @index, as the CPU finds it, or NOWHERE. */
static uint64_t wanted(struct pci_function *fn, unsigned int index)
{
	const struct pci_bar *bar = &fn->bars[index];
	unsigned int offset = PCI_BASE_ADDRESS_0 + 4 * index;
	bool io = bar->flags & PCI_BAR_IO;
	uint32_t command;
	uint64_t base;

	pthread_mutex_lock(&fn->lock);
	command = pci_command_locked(fn);
	base = config_get_locked(fn, offset, 4);
	if (bar->flags & PCI_BAR_MEM64)
		base |= (uint64_t)config_get_locked(fn, offset + 4, 4) << 32;
	pthread_mutex_unlock(&fn->lock);
	base &= ~(bar->size - 1);
	/* A BAR that nobody has set is not at zero (§6.2.5.1). */
	if (!(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) || !base ||
	    !windows_pass(fn, io, base, bar->size))
		return NOWHERE;
	if (io && fn->host->config.io_is_memory)
		base = fn->host->config.io_memory_base + (base - fn->host->config.io.base);
	return base;
}

static void unmap_locked(struct pci_function *fn, unsigned int index)
{
	struct pci_bar *bar = &fn->bars[index];

	if (bar->blocked)
		fn->host->blocked--;
	bar->blocked = false;
	if (!bar->mapped)
		return;
	bar->mapped = false;
	if (fn->ops && fn->ops->bar_moved)
		fn->ops->bar_moved(fn, index, NOWHERE);
	mem_space_del_io(fn->host->config.platform->space, &bar->region);
	log_debug("%s: BAR %u left 0x%" PRIx64, fn->dev->id, index, bar->region.base);
}

static void map_locked(struct pci_function *fn, unsigned int index, uint64_t base)
{
	static struct log_limit limit;
	struct pci_host *host = fn->host;
	struct pci_bar *bar = &fn->bars[index];
	struct error *err = NULL;
	bool was_blocked = bar->blocked;

	if (host->config.io_is_memory)
		bar->region.kind = IO_MMIO;
	bar->region.base = base;
	bar->mapped = !mem_space_add_io(host->config.platform->space, &bar->region, &err);
	bar->blocked = !bar->mapped;
	host->blocked += bar->blocked - was_blocked;
	if (bar->mapped) {
		log_debug("%s: BAR %u is at 0x%" PRIx64, fn->dev->id, index, base);
		if (fn->ops && fn->ops->bar_moved)
			fn->ops->bar_moved(fn, index, base);
		return;
	}
	if (!was_blocked)
		log_warn_limited(&limit, "%s: BAR %u stays out: %s", fn->dev->id, index, error_text(err));
	error_free(err);
}

static void function_update_locked(struct pci_function *fn)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &fn->bars[i];
		uint64_t base;

		if (!bar->size)
			continue;
		base = wanted(fn, i);
		if (bar->mapped && bar->region.base == base)
			continue;
		if (bar->mapped || base == NOWHERE)
			unmap_locked(fn, i);
		if (base != NOWHERE)
			map_locked(fn, i, base);
	}
}

static void bus_each_locked(struct pci_bus *bus, void (*visit)(struct pci_function *fn))
{
	for (unsigned int devfn = 0; devfn < PCI_FUNCTIONS; devfn++) {
		struct pci_function *fn = atomic_load(&bus->functions[devfn]);

		if (fn)
			visit(fn);
	}
}

void pci_bars_update_locked(struct pci_function *fn)
{
	function_update_locked(fn);
	if (fn->secondary)
		bus_each_locked(fn->secondary, pci_bars_update_locked);
}

void pci_bars_unmap_locked(struct pci_function *fn)
{
	for (unsigned int i = 0; i < PCI_BARS; i++)
		if (fn->bars[i].size)
			unmap_locked(fn, i);
}

void pci_bars_retry_locked(struct pci_host *host)
{
	struct pci_bus *bus;

	if (!host->blocked)
		return;
	list_for_each(bus, &host->buses, node)
		bus_each_locked(bus, function_update_locked);
}

void pci_host_remap(struct pci_host *host, struct pci_function *fn)
{
	pthread_mutex_lock(&host->map_lock);
	pci_bars_update_locked(fn);
	pci_bars_retry_locked(host);
	pthread_mutex_unlock(&host->map_lock);
}
