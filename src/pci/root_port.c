// SPDX-License-Identifier: Apache-2.0
/*
 * "pcie-root-port": a bridge from the root bus to a bus with one slot, under QEMU's ids. Where it leads what to is in
 * bar.c and host.c; the slot is slot.c's.
 */
#include <errno.h>

#include "pci/classes.h"
#include "slot.h"

#define DEVICE_ROOT_PORT 0x000c
#define MSIX_BAR 0
#define LINK_16GT_X32 0x204 /* speed 4, width 32: as QEMU's */
#define SLOT_ANY UINT16_MAX
#define SLOT_NUMBER_MAX 0x1fff

struct root_port {
	struct pci_device pci;
	struct pci_slot slot;
	uint8_t chassis, port;
	uint16_t number;
	bool hotplug;
};

static struct root_port *from_fn(struct pci_function *fn)
{
	return container_of(fn, struct root_port, pci.fn);
}

static struct root_port *from_dev(struct device *dev)
{
	return container_of(dev, struct root_port, pci.dev);
}

/* --- The guest's writes --- */

static void port_written(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t old)
{
	struct root_port *port = from_fn(fn);
	unsigned int shift;

	/* Bridge 1.2 §3.2.5.18: the bit's rising edge resets what is below. */
	if (ranges_meet(offset, size, PCI_BRIDGE_CONTROL, 1)) {
		shift = 8 * (PCI_BRIDGE_CONTROL - offset);
		if (!(old >> shift & PCI_BRIDGE_CONTROL_SECONDARY_RESET) &&
		    pci_config_read(fn, PCI_BRIDGE_CONTROL, 2) & PCI_BRIDGE_CONTROL_SECONDARY_RESET)
			pci_bus_guest_reset(&port->slot.bus);
	}
	if (port->hotplug)
		pci_slot_written(&port->slot, offset, size);
}

static const struct pci_function_ops port_ops = { .config_written = port_written };

/* --- Life --- */

static int find_number(struct root_port *port, struct error **errp)
{
	struct platform *platform = port->pci.dev.platform;
	const struct device *dev;
	uint16_t next = 0;

	list_for_each(dev, &platform->devices, node) {
		const struct root_port *other;

		if (dev->class != port->pci.dev.class)
			continue;
		other = container_of(dev, const struct root_port, pci.dev);
		if (other->chassis != port->chassis)
			continue;
		if (other->number == port->number)
			return error_set(errp, -EBUSY, "chassis %u, slot %u is that of port '%s' already", port->chassis,
					 port->number, dev->id);
		next = MAX(next, (uint16_t)(other->number + 1));
	}
	if (port->number == SLOT_ANY)
		port->number = next;
	if (port->number > SLOT_NUMBER_MAX)
		return error_set(errp, -ENOSPC, "chassis %u has no slot number left", port->chassis);
	return 0;
}

static void add_bridge_registers(struct pci_function *fn)
{
	pci_config_set(fn, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_BRIDGE);
	pci_config_set_writable(fn, PCI_PRIMARY_BUS, 4, 0xffffffff); /* and secondary, subordinate, latency */
	pci_config_set_writable(fn, PCI_IO_BASE, 2, 0xf0f0);
	pci_config_set_w1c(fn, PCI_SEC_STATUS, 2, 0xf900);
	pci_config_set_writable(fn, PCI_MEMORY_BASE, 4, 0xfff0fff0);
	pci_config_set(fn, PCI_PREF_MEMORY_BASE, 4, 0x00010001); /* 64 bits */
	pci_config_set_writable(fn, PCI_PREF_MEMORY_BASE, 4, 0xfff0fff0);
	pci_config_set_writable(fn, PCI_PREF_BASE_UPPER32, 4, 0xffffffff);
	pci_config_set_writable(fn, PCI_PREF_LIMIT_UPPER32, 4, 0xffffffff);
	pci_config_set_writable(fn, PCI_BRIDGE_CONTROL, 2, 0x0003 | PCI_BRIDGE_CONTROL_SECONDARY_RESET);
	/* Bridge 1.2 §3.2.5.6, §3.2.5.8: closed, though the registers' zeroes would mean the first block. */
	pci_config_set(fn, PCI_IO_BASE, 2, 0x00f0);
	pci_config_set(fn, PCI_MEMORY_BASE, 4, 0x0000fff0);
	pci_config_change(fn, PCI_PREF_MEMORY_BASE, 4, 0, 0x0000fff0);
}

static int add_express(struct root_port *port, struct error **errp)
{
	struct pci_function *fn = &port->pci.fn;
	int ret = pci_add_express(fn, errp);
	unsigned int cap = fn->express_cap;

	if (ret)
		return ret;
	pci_config_set(fn, cap + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_ROOT_PORT << 4 | PCI_EXP_FLAGS_SLOT);
	pci_config_set(fn, cap + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER);
	pci_config_set(fn, cap + PCI_EXP_LNKCAP, 4, LINK_16GT_X32 | PCI_EXP_LNKCAP_DLLLARC | (uint32_t)port->port << 24);
	pci_config_set_writable(fn, cap + PCI_EXP_LNKCTL, 2, 0x00eb);
	pci_config_set(fn, cap + PCI_EXP_LNKSTA, 2, LINK_16GT_X32);
	pci_config_set_writable(fn, cap + PCI_EXP_RTCTL, 2, 0x000f);
	pci_config_set(fn, cap + PCI_EXP_LNKCAP2, 4, 0x1e); /* 2.5, 5, 8 and 16 GT/s */
	pci_config_set(fn, cap + PCI_EXP_LNKCTL2, 2, 4);
	pci_config_set_writable(fn, cap + PCI_EXP_LNKCTL2, 2, 0x000f);
	pci_slot_init(&port->slot, fn, port->number, port->hotplug);
	return 0;
}

static int add_subsystem(struct pci_function *fn, struct error **errp)
{
	int cap = pci_add_capability(fn, PCI_CAP_ID_SUBSYSTEM, 8, errp);

	if (cap < 0)
		return cap;
	pci_config_set(fn, cap + 4, 2, PCI_VENDOR_REDHAT);
	return 0;
}

static int port_realize(struct device *dev, struct error **errp)
{
	static const struct pci_ids ids = {
		.vendor = PCI_VENDOR_REDHAT,
		.device = DEVICE_ROOT_PORT,
		.class = PCI_CLASS_BRIDGE_PCI,
	};
	struct root_port *port = from_dev(dev);
	struct pci_function *fn = &port->pci.fn;
	int ret;

	if (dev->platform->hotplugging)
		return error_set(errp, -ENOTSUP, "Device '%s' does not support hotplugging", dev->class->name);
	ret = find_number(port, errp);
	if (ret)
		return ret;
	pci_function_init(fn, dev, &ids, &port_ops);
	add_bridge_registers(fn);
	pci_set_interrupt_pin(fn, 1);
	ret = pci_msix_init(fn, 1, MSIX_BAR, errp);
	if (!ret)
		ret = add_subsystem(fn, errp);
	if (ret)
		goto fail;
	ret = add_express(port, errp);
	if (ret)
		goto fail;
	ret = pci_function_attach(fn, &port->pci.place, errp);
	if (ret) {
		pci_slot_close(&port->slot);
		goto fail;
	}
	if (fn->bus->bridge) {
		ret = error_set(errp, -EINVAL, "a root port goes on the root bus, not on '%s'", fn->bus->name);
		pci_function_detach(fn);
		pci_slot_close(&port->slot);
		goto fail;
	}
	pci_slot_open(&port->slot, port->hotplug);
	return 0;

fail:
	pci_function_release(fn);
	return ret;
}

/* Devices are destroyed in reverse order, so nothing is below any more. */
static void port_unrealize(struct device *dev)
{
	struct root_port *port = from_dev(dev);

	pci_function_detach(&port->pci.fn);
	pci_slot_close(&port->slot);
	pci_function_release(&port->pci.fn);
}

static void port_reset(struct device *dev)
{
	struct root_port *port = from_dev(dev);

	pci_function_reset(&port->pci.fn);
	pci_slot_reset(&port->slot);
	pci_host_remap(port->pci.fn.host, &port->pci.fn);
}

static const struct property port_props[] = {
	PCI_PLACE_PROPS(struct root_port, pci.place),
	PROP_UINT(8, "chassis", struct root_port, chassis, 0, 255, 0, "number of the chassis that the slot is in"),
	PROP_UINT(16, "slot", struct root_port, number, 0, SLOT_NUMBER_MAX, SLOT_ANY,
		  "number of the slot, one of its own in the chassis; the next one without it"),
	PROP_UINT(8, "port", struct root_port, port, 0, 255, 0, "number of the port's link"),
	PROP_BOOL("fast-unplug", struct root_port, slot.fast, 0,
		  "guests let go at once, without the 5 s in which a user may change his mind, and as if by surprise"),
	PROP_BOOL("hotplug", struct root_port, hotplug, 1, "devices may come and go while the guest runs"),
	PROP_END,
};

const struct device_class pcie_root_port_class = {
	.name = "pcie-root-port",
	.summary = "PCI Express port with a slot, which devices may be hot-plugged into (bus=ID)",
	.bus = DEVICE_BUS_PCI,
	.instance_size = sizeof(struct root_port),
	.props = port_props,
	.realize = port_realize,
	.unrealize = port_unrealize,
	.reset = port_reset,
};
