// SPDX-License-Identifier: Apache-2.0
/* Where a function goes: "bus" and "addr" of a user, or the first free slot. Main thread. */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/parse.h"

/* "S" or "S.F" in hexadecimal, with or without 0x, as QEMU has it. */
static int parse_addr(const char *given, unsigned int *devfn, struct error **errp)
{
	const char *addr = given;
	unsigned long slot, function = 0;
	char *end;

	errno = 0;
	slot = strtoul(addr, &end, 16);
	if (end == addr || errno || strchr("+- ", *addr))
		goto wrong;
	if (*end == '.') {
		addr = end + 1;
		function = strtoul(addr, &end, 16);
		if (end == addr || strchr("+- ", *addr) || function > 7)
			goto wrong;
	}
	if (*end)
		goto wrong;
	if (slot >= PCI_SLOTS)
		return error_set(errp, -ERANGE, "addr=%s: slot is out of range [0, 0x1f]", given);
	*devfn = pci_devfn((unsigned int)slot, (unsigned int)function);
	return 0;
wrong:
	return error_set(errp, -EINVAL, "addr=%s is no slot, or slot.function, in hexadecimal: 3 or 0x1f.7", given);
}

static bool slot_free(const struct pci_bus *bus, unsigned int slot)
{
	for (unsigned int function = 0; function < 8; function++)
		if (bus->owner[pci_devfn(slot, function)])
			return false;
	return true;
}

static int first_free(const struct pci_bus *bus, unsigned int *devfn, struct error **errp)
{
	for (unsigned int slot = 0; slot < bus->slots; slot++) {
		if (slot_free(bus, slot)) {
			*devfn = pci_devfn(slot, 0);
			return 0;
		}
	}
	if (bus->slots == 1)
		return error_set(errp, -EBUSY, "the slot of bus '%s' is taken by %s '%s'", bus->name,
				 bus->owner[0] ? bus->owner[0]->dev->class->name : "another device",
				 bus->owner[0] ? bus->owner[0]->dev->id : "");
	return error_set(errp, -ENOSPC, "all %u slots of bus '%s' are taken", bus->slots, bus->name);
}

static bool is_multifunction(const struct pci_function *fn)
{
	return fn->config[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MULTIFUNCTION;
}

/* PCI 3.0 §6.2.1: guests look for functions 1 to 7 only where function 0 says that there are more. */
static int check_functions(const struct pci_bus *bus, unsigned int devfn, const struct pci_place *place,
			   struct error **errp)
{
	unsigned int slot = pci_slot(devfn), function = pci_function_number(devfn);
	const struct pci_function *first = bus->owner[pci_devfn(slot, 0)], *other;

	if (function) {
		if (!first || is_multifunction(first))
			return 0;
		return error_set(errp, -EBUSY,
				 "function %x.%x of bus '%s' cannot be seen: %s '%s' at %x.0 needs multifunction=on",
				 slot, function, bus->name, first->dev->class->name, first->dev->id, slot);
	}
	if (place->multifunction)
		return 0;
	for (function = 1; function < 8; function++) {
		other = bus->owner[pci_devfn(slot, function)];
		if (other)
			return error_set(errp, -EBUSY,
					 "%x.0 of bus '%s' needs multifunction=on: %s '%s' is at %x.%x", slot,
					 bus->name, other->dev->class->name, other->dev->id, slot, function);
	}
	return 0;
}

static int choose(const struct pci_bus *bus, const struct pci_place *place, unsigned int *devfn, struct error **errp)
{
	const struct pci_function *other;
	int ret;

	if (!place->addr)
		return first_free(bus, devfn, errp);
	ret = parse_addr(place->addr, devfn, errp);
	if (ret)
		return ret;
	if (pci_slot(*devfn) >= bus->slots)
		return error_set(errp, -ERANGE, "addr=%s: bus '%s' has slot 0 only", place->addr, bus->name);
	other = bus->owner[*devfn];
	if (other)
		return error_set(errp, -EBUSY, "addr=%s: function %x.%x of bus '%s' is taken by %s '%s'", place->addr,
				 pci_slot(*devfn), pci_function_number(*devfn), bus->name, other->dev->class->name,
				 other->dev->id);
	return check_functions(bus, *devfn, place, errp);
}

static int bus_unknown(struct pci_host *host, const char *name, struct error **errp)
{
	const char *near, **names;
	unsigned int count = 0;
	struct pci_bus *bus;
	int ret;

	list_for_each(bus, &host->buses, node)
		count++;
	names = xcalloc(count + 1, sizeof(*names));
	count = 0;
	list_for_each(bus, &host->buses, node)
		names[count++] = bus->name;
	near = nearest_name(name, names);
	ret = error_set(errp, -ENOENT, "Bus '%s' not found%s%s%s", name, near ? "; did you mean '" : "",
			near ? near : "", near ? "'?" : "");
	free(names);
	return ret;
}

int pci_host_place(struct pci_host *host, struct pci_function *fn, const struct pci_place *place, struct error **errp)
{
	struct pci_bus *bus = place->bus ? pci_bus_find(host, place->bus) : &host->root;
	unsigned int devfn = 0;
	int ret;

	if (!bus)
		return bus_unknown(host, place->bus, errp);
	if (fn->dev->platform->hotplugging && !bus->hotplug)
		return error_set(errp, -ENOTSUP, "Bus '%s' does not support hotplugging", bus->name);
	ret = choose(bus, place, &devfn, errp);
	if (ret)
		return ret;
	bus->owner[devfn] = fn;
	fn->host = host;
	fn->bus = bus;
	fn->devfn = (uint8_t)devfn;
	return 0;
}
