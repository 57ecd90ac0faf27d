/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-pci transport: the operations of a struct device_class whose data is a struct virtio_device_ops. */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "virtio/virtio.h"

int virtio_pci_realize(struct device *dev, struct error **errp);
void virtio_pci_unrealize(struct device *dev);
void virtio_pci_reset(struct device *dev);
void virtio_pci_show(struct device *dev);
int virtio_pci_ask_unplug(struct device *dev, struct error **errp);

bool virtio_pci_boot_option(struct device *dev, char *path, size_t size, uint32_t *index);

#define VIRTIO_PCI_CLASS                                                                             \
	.bus = DEVICE_BUS_PCI, .realize = virtio_pci_realize, .unrealize = virtio_pci_unrealize,     \
	.reset = virtio_pci_reset, .quiesce = virtio_device_quiesce, .resume = virtio_device_resume, \
	.show = virtio_pci_show, .ask_unplug = virtio_pci_ask_unplug,                          \
	.boot_option = virtio_pci_boot_option

extern const char *const virtio_pci_legacy_words[];

/* What each of them has beside the device's own properties; T has a struct virtio_device in @vdev. */
#define VIRTIO_PCI_PROPS(T)                                                                                    \
	PCI_PLACE_PROPS(T, vdev.pci.place),                                                                    \
	PROP_UINT(16, "vectors", T, vdev.pci.vectors, 0, VIRTIO_PCI_VECTORS_MAX, VIRTIO_PCI_VECTORS_DEFAULT,   \
		  "MSI-X vectors, 0: INTx; one a queue and one more without it"),                              \
	PROP_ENUM("disable-legacy", T, vdev.pci.disable_legacy, virtio_pci_legacy_words, 0,                    \
		  "off is refused: there is no transitional device"),                                          \
	PROP_BOOL("disable-modern", T, vdev.pci.disable_modern, 0, "on is refused: there is no legacy device"), \
	PROP_BOOL("ioeventfd", T, vdev.pci.ioeventfd, true,                                                    \
		  "notifications come without a vCPU leaving for this process; off: by its own access"),       \
	PROP_BOOL("ats", T, vdev.pci.ats, false, "on is refused: there is no IOMMU whose translations to ask for"), \
	PROP_BOOL("page-per-vq", T, vdev.pci.page_per_vq, false, "on is refused: queues share a page")

#endif
