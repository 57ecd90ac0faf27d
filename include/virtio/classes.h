/* SPDX-License-Identifier: Apache-2.0 */
/* Device classes of this room, for the registry of the machine room. */
#ifndef VIRTIO_CLASSES_H
#define VIRTIO_CLASSES_H

#include "devices/device.h"

extern const struct device_class virtio_blk_mmio_class; /* virtio-blk-device */
extern const struct device_class virtio_rng_mmio_class; /* virtio-rng-device */
extern const struct device_class virtio_net_mmio_class; /* virtio-net-device */
extern const struct device_class virtio_vsock_mmio_class; /* virtio-vsock-device */
extern const struct device_class vhost_vsock_mmio_class; /* vhost-vsock-device */
extern const struct device_class virtio_serial_mmio_class; /* virtio-serial-device */
extern const struct device_class virtio_balloon_mmio_class; /* virtio-balloon-device */
extern const struct device_class virtio_blk_pci_class, virtio_rng_pci_class, virtio_net_pci_class; /* …-pci */
extern const struct device_class virtio_vsock_pci_class, vhost_vsock_pci_class;
extern const struct device_class virtio_serial_pci_class, virtio_balloon_pci_class;
extern const struct device_class virtconsole_class, virtserialport_class; /* its ports */

#endif
