// SPDX-License-Identifier: Apache-2.0
/* "pvpanic-pci": pvpanic's register behind BAR 0, under QEMU's ids. */
#define LOG_MODULE "pvpanic"

#include "devices/pvpanic.h"

#include "internal.h"
#include "pci/classes.h"

#define PVPANIC_DEVICE_ID 0x0011
#define PVPANIC_BAR_SIZE 16

struct pvpanic_pci {
	struct pci_device pci;
	struct pvpanic_register reg;
};

static int pvpanic_pci_realize(struct device *dev, struct error **errp)
{
	static const struct pci_ids ids = {
		.vendor = PCI_VENDOR_REDHAT,
		.device = PVPANIC_DEVICE_ID,
		.revision = 1,
		.subsystem_vendor = PCI_VENDOR_REDHAT_QUMRANET,
		.subsystem = PCI_SUBDEVICE_QEMU,
		.class = PCI_CLASS_SYSTEM_OTHER,
	};
	struct pvpanic_pci *p = container_of(dev, struct pvpanic_pci, pci.dev);
	struct pci_function *fn = &p->pci.fn;
	int ret;

	p->reg.platform = dev->platform;
	pci_function_init(fn, dev, &ids, NULL);
	pci_add_bar(fn, 0, PCI_BAR_MEM32, PVPANIC_BAR_SIZE, &pvpanic_ops, &p->reg);
	ret = pci_function_attach(fn, &p->pci.place, errp);
	if (ret)
		pci_function_release(fn);
	return ret;
}

static const struct property pvpanic_pci_props[] = {
	PVPANIC_EVENTS_PROP(struct pvpanic_pci, reg),
	PCI_PLACE_PROPS(struct pvpanic_pci, pci.place),
	PROP_END,
};

const struct device_class pvpanic_pci_class = {
	.name = "pvpanic-pci",
	.summary = "lets the guest say that it panicked",
	.bus = DEVICE_BUS_PCI,
	.instance_size = sizeof(struct pvpanic_pci),
	.props = pvpanic_pci_props,
	.realize = pvpanic_pci_realize,
	.unrealize = pci_device_unrealize,
	.reset = pci_device_reset,
};
