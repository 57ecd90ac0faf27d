// SPDX-License-Identifier: Apache-2.0
/*
 * "gpex-root": what a guest finds at 00:00.0 of a generic ECAM host bridge, under QEMU's ids. It has nothing but a header:
 * the windows of such a bridge are the platform's, told by ACPI or a device tree.
 */
#include "pci/classes.h"
#include "pci/function.h"

static int gpex_realize(struct device *dev, struct error **errp)
{
	static const struct pci_ids ids = {
		.vendor = PCI_VENDOR_REDHAT,
		.device = 0x0008,
		.subsystem_vendor = PCI_VENDOR_REDHAT_QUMRANET,
		.subsystem = PCI_SUBDEVICE_QEMU,
		.class = PCI_CLASS_BRIDGE_HOST,
	};
	struct pci_device *pci = container_of(dev, struct pci_device, dev);
	int ret;

	pci_function_init(&pci->fn, dev, &ids, NULL);
	ret = pci_function_attach(&pci->fn, &pci->place, errp);
	if (ret)
		pci_function_release(&pci->fn);
	return ret;
}

void pci_device_unrealize(struct device *dev)
{
	struct pci_device *pci = container_of(dev, struct pci_device, dev);

	pci_function_detach(&pci->fn);
	pci_function_release(&pci->fn);
}

void pci_device_reset(struct device *dev)
{
	pci_function_reset(&container_of(dev, struct pci_device, dev)->fn);
}

static const struct property gpex_props[] = {
	PCI_PLACE_PROPS(struct pci_device, place),
	PROP_END,
};

const struct device_class pci_gpex_root_class = {
	.name = "gpex-root",
	.summary = "function 00:00.0 of a generic PCI Express host bridge",
	.bus = DEVICE_BUS_PCI,
	.internal = true,
	.instance_size = sizeof(struct pci_device),
	.props = gpex_props,
	.realize = gpex_realize,
	.unrealize = pci_device_unrealize,
	.reset = pci_device_reset,
};
