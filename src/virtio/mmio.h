/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio-mmio transport: the operations of a struct device_class whose data is a struct virtio_device_ops. */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "virtio/virtio.h"

int virtio_mmio_realize(struct device *dev, struct error **errp);
void virtio_mmio_unrealize(struct device *dev);

#define VIRTIO_MMIO_CLASS                                                          \
	.bus = DEVICE_BUS_MMIO, .realize = virtio_mmio_realize,                    \
	.unrealize = virtio_mmio_unrealize, .reset = virtio_device_reset,          \
	.quiesce = virtio_device_quiesce, .resume = virtio_device_resume

#endif
