// SPDX-License-Identifier: Apache-2.0
/*
 * The host bridge: from ECAM addresses (PCIe 5.0 §7.2.2) and ports (PCI 3.0 §3.2.2.3.2) to a function's configuration
 * space. What is not there reads as ones, and writes to it are dropped.
 */
#include "pci/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/alloc.h"

#define LOG_MODULE "pci"
#include "util/log.h"

#define CF8_PORT 0xcf8
#define CFC_PORT 0xcfc
#define CF8_ENABLE 0x80000000u
#define CF8_WRITABLE 0x80fffffcu /* the rest is reserved and reads as zero */

/* --- ECAM --- */

static struct pci_function *ecam_function(struct pci_host *host, uint64_t offset)
{
	return pci_host_find(host, (unsigned int)(offset >> 20), offset >> 12 & 0xff);
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_function *fn = ecam_function(opaque, offset);

	return fn ? pci_config_guest_read(fn, offset & (PCI_ECAM_SIZE - 1), size) : UINT64_MAX;
}

static void ecam_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_function *fn = ecam_function(opaque, offset);

	if (fn)
		pci_config_guest_write(fn, offset & (PCI_ECAM_SIZE - 1), size, (uint32_t)value);
}

static const struct io_ops ecam_ops = {
	.read = ecam_read,
	.write = ecam_write,
	.max_size = 4,
};

static void ecam_unmap_locked(struct pci_host *host)
{
	if (host->ecam_mapped)
		mem_space_del_io(host->config.platform->space, &host->ecam);
	host->ecam_mapped = false;
}

static int ecam_map_locked(struct pci_host *host, uint64_t base, uint64_t size, struct error **errp)
{
	int ret;

	ecam_unmap_locked(host);
	if (!size)
		return 0;
	host->ecam.base = base;
	host->ecam.size = size;
	ret = mem_space_add_io(host->config.platform->space, &host->ecam, errp);
	host->ecam_mapped = !ret;
	return ret;
}

int pci_host_set_ecam(struct pci_host *host, uint64_t base, uint64_t size)
{
	static struct log_limit limit;
	struct error *err = NULL;
	int ret = 0;

	pthread_mutex_lock(&host->map_lock);
	if (!host->ecam_mapped || host->ecam.base != base || host->ecam.size != size) {
		ret = ecam_map_locked(host, base, size, &err);
		pci_bars_retry_locked(host);
	}
	pthread_mutex_unlock(&host->map_lock);
	if (ret)
		log_warn_limited(&limit, "the ECAM window stays out: %s", error_text(err));
	error_free(err);
	return ret;
}

/* --- Ports --- */

/* The address register takes whole double words only; narrower accesses go to whoever else is there. */
static uint64_t cf8_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *host = opaque;
	const struct io_ops *bytes = host->config.cf8_bytes;

	if (size == 4)
		return atomic_load(&host->config_address);
	return bytes && bytes->read ? bytes->read(host->config.cf8_opaque, offset, size) : UINT64_MAX;
}

static void cf8_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_host *host = opaque;
	const struct io_ops *bytes = host->config.cf8_bytes;

	if (size == 4)
		atomic_store(&host->config_address, (uint32_t)value & CF8_WRITABLE);
	else if (bytes && bytes->write)
		bytes->write(host->config.cf8_opaque, offset, value, size);
}

static const struct io_ops cf8_ops = { .read = cf8_read, .write = cf8_write };

static struct pci_function *port_function(struct pci_host *host, uint32_t address)
{
	return address & CF8_ENABLE ? pci_host_find(host, address >> 16 & 0xff, address >> 8 & 0xff) : NULL;
}

static uint64_t cfc_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_host *host = opaque;
	uint32_t address = atomic_load(&host->config_address);
	struct pci_function *fn = port_function(host, address);

	return fn ? pci_config_guest_read(fn, (address & 0xfc) + (unsigned int)offset, size) : UINT64_MAX;
}

static void cfc_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pci_host *host = opaque;
	uint32_t address = atomic_load(&host->config_address);
	struct pci_function *fn = port_function(host, address);

	if (fn)
		pci_config_guest_write(fn, (address & 0xfc) + (unsigned int)offset, size, (uint32_t)value);
}

static const struct io_ops cfc_ops = { .read = cfc_read, .write = cfc_write };

static int add_ports(struct pci_host *host, struct error **errp)
{
	struct mem_space *space = host->config.platform->space;
	int ret;

	host->cf8 = (struct io_region){
		.name = "pci-conf-idx", .kind = IO_PORT, .base = CF8_PORT, .size = 4, .ops = &cf8_ops, .opaque = host,
	};
	host->cfc = (struct io_region){
		.name = "pci-conf-data", .kind = IO_PORT, .base = CFC_PORT, .size = 4, .ops = &cfc_ops, .opaque = host,
	};
	ret = mem_space_add_io(space, &host->cf8, errp);
	return ret ? ret : mem_space_add_io(space, &host->cfc, errp);
}

/* --- Life --- */

static void bus_setup(struct pci_bus *bus, struct pci_host *host, const char *name, unsigned int slots)
{
	*bus = (struct pci_bus){ .host = host, .slots = slots };
	bus->name = xstrdup(name);
	list_add_tail(&host->buses, &bus->node);
}

int pci_host_new(const struct pci_host_config *config, struct pci_host **ret_host, struct error **errp)
{
	struct pci_host *host = xcalloc(1, sizeof(*host));
	int ret;

	host->config = *config;
	list_init(&host->buses);
	pthread_mutex_init(&host->map_lock, NULL);
	pthread_mutex_init(&host->irq_lock, NULL);
	bus_setup(&host->root, host, config->root_bus, PCI_SLOTS);
	host->ecam = (struct io_region){ .name = "pcie-ecam", .kind = IO_MMIO, .ops = &ecam_ops, .opaque = host };
	ret = ecam_map_locked(host, config->ecam.base, config->ecam.size, errp);
	if (!ret && config->config_ports)
		ret = add_ports(host, errp);
	if (ret) {
		pci_host_free(host);
		return ret;
	}
	config->platform->pci = host;
	*ret_host = host;
	return 0;
}

void pci_host_free(struct pci_host *host)
{
	struct mem_space *space;

	if (!host)
		return;
	space = host->config.platform->space;
	ecam_unmap_locked(host);
	mem_space_del_io(space, &host->cf8);
	mem_space_del_io(space, &host->cfc);
	if (host->config.platform->pci == host)
		host->config.platform->pci = NULL;
	pci_bus_release(&host->root);
	pthread_mutex_destroy(&host->map_lock);
	pthread_mutex_destroy(&host->irq_lock);
	free(host);
}

void pci_host_reset(struct pci_host *host)
{
	atomic_store(&host->config_address, 0);
	(void)pci_host_set_ecam(host, host->config.ecam.base, host->config.ecam.size);
}

/* --- Buses --- */

void pci_bus_init(struct pci_bus *bus, struct pci_function *bridge, unsigned int slots)
{
	bus_setup(bus, bridge->host, bridge->dev->id, slots);
	bus->bridge = bridge;
	bridge->secondary = bus;
}

void pci_bus_release(struct pci_bus *bus)
{
	if (!bus->name)
		return;
	list_del(&bus->node);
	if (bus->bridge)
		bus->bridge->secondary = NULL;
	free(bus->name);
	bus->name = NULL;
}

struct pci_bus *pci_bus_find(struct pci_host *host, const char *name)
{
	struct pci_bus *bus;

	list_for_each(bus, &host->buses, node)
		if (!strcmp(bus->name, name))
			return bus;
	return NULL;
}

/*
 * Bridge 1.2 §3.1.2.1: a bridge takes what is for a bus between its secondary and its subordinate one. The guest chooses
 * the numbers: it may make a loop of none, as each step goes to a bus further down.
 */
struct pci_function *pci_host_find(struct pci_host *host, unsigned int number, unsigned int devfn)
{
	struct pci_bus *bus = &host->root, *down, *next;

	while (number) {
		down = NULL;
		list_for_each(next, &host->buses, node) {
			unsigned int secondary;

			if (!next->bridge || next->bridge->bus != bus)
				continue;
			secondary = pci_config_read(next->bridge, PCI_SECONDARY_BUS, 1);
			if (secondary == number)
				return atomic_load(&next->off) ? NULL : atomic_load(&next->functions[devfn]);
			if (secondary && secondary < number &&
			    number <= pci_config_read(next->bridge, PCI_SUBORDINATE_BUS, 1) && !atomic_load(&next->off))
				down = next;
		}
		if (!down)
			return NULL;
		bus = down;
	}
	return atomic_load(&bus->functions[devfn]);
}
