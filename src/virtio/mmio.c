// SPDX-License-Identifier: Apache-2.0
/*
 * virtio over MMIO, version 2 (virtio 1.2 §4.2.2). Registers are 32 bits wide and take only aligned 32-bit accesses
 * (§4.2.2.2); the configuration space behind them takes 8, 16 and 32 bits. Which registers take writes when is decided
 * by the device core's state table.
 *
 * The vendor id is 0, as StratoVirt has it; drivers do not look at it.
 */
#include "mmio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "virtio-mmio"
#include "util/log.h"

#define MMIO_MAGIC 0x74726976 /* "virt" */
#define MMIO_VERSION 2
#define MMIO_VENDOR 0

enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_VENDOR_ID = 0x00c,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM_MAX = 0x034,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC_LOW = 0x080,
	REG_QUEUE_DESC_HIGH = 0x084,
	REG_QUEUE_DRIVER_LOW = 0x090,
	REG_QUEUE_DRIVER_HIGH = 0x094,
	REG_QUEUE_DEVICE_LOW = 0x0a0,
	REG_QUEUE_DEVICE_HIGH = 0x0a4,
	REG_SHM_LEN_LOW = 0x0b0,
	REG_SHM_LEN_HIGH = 0x0b4,
	REG_SHM_BASE_LOW = 0x0b8,
	REG_SHM_BASE_HIGH = 0x0bc,
	REG_QUEUE_RESET = 0x0c0,
	REG_CONFIG_GENERATION = 0x0fc,
	REG_CONFIG = 0x100,
};

struct virtio_mmio {
	struct virtio_device *vdev;
	struct mmio_slot slot;
	struct io_region region;
	struct irq_line irq;
	unsigned int ioeventfds; /* queues 0 … n-1 have one */

	/* under the device lock */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
};

/* --- Interrupts: one edge line for both causes --- */

static void mmio_notify_queue(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_mmio *mmio = vdev->transport;

	(void)queue;
	irq_pulse(&mmio->irq);
}

static void mmio_notify_config(struct virtio_device *vdev)
{
	struct virtio_mmio *mmio = vdev->transport;

	irq_pulse(&mmio->irq);
}

static const struct virtio_transport_ops mmio_transport_ops = {
	.notify_queue = mmio_notify_queue,
	.notify_config = mmio_notify_config,
};

/* --- Registers --- */

static uint32_t register_read_locked(struct virtio_mmio *mmio, uint64_t offset)
{
	struct virtio_device *vdev = mmio->vdev;
	struct virtio_queue *queue = virtio_device_queue(vdev, mmio->queue_sel);

	switch (offset) {
	case REG_DEVICE_FEATURES:
		if (mmio->device_features_sel > 1)
			return 0;
		return (uint32_t)(vdev->features_offered >> (32 * mmio->device_features_sel));
	case REG_QUEUE_NUM_MAX:
		return queue ? queue->size_max : 0;
	case REG_QUEUE_READY:
		return queue && queue->enabled;
	default: /* REG_QUEUE_RESET among them: a reset is over when its write returns */
		return 0;
	}
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct virtio_mmio *mmio = opaque;
	struct virtio_device *vdev = mmio->vdev;
	uint32_t value;

	if (offset >= REG_CONFIG)
		return virtio_device_config_read(vdev, offset - REG_CONFIG, size);
	if (size != 4)
		return 0;
	switch (offset) {
	case REG_MAGIC:
		return MMIO_MAGIC;
	case REG_VERSION:
		return MMIO_VERSION;
	case REG_DEVICE_ID:
		return vdev->ops->device_id;
	case REG_VENDOR_ID:
		return MMIO_VENDOR;
	case REG_INTERRUPT_STATUS:
		return atomic_load(&vdev->isr);
	case REG_STATUS:
		return atomic_load(&vdev->status);
	case REG_CONFIG_GENERATION:
		return virtio_device_config_generation(vdev);
	case REG_SHM_LEN_LOW: /* §4.2.2.1: no such region */
	case REG_SHM_LEN_HIGH:
	case REG_SHM_BASE_LOW:
	case REG_SHM_BASE_HIGH:
		return 0xffffffff;
	}
	pthread_mutex_lock(&vdev->lock);
	value = register_read_locked(mmio, offset);
	pthread_mutex_unlock(&vdev->lock);
	return value;
}

static void set_low(gpa_t *addr, uint32_t value)
{
	*addr = (*addr & ~0xffffffffULL) | value;
}

static void set_high(gpa_t *addr, uint32_t value)
{
	*addr = (*addr & 0xffffffffULL) | (uint64_t)value << 32;
}

/* Registers of the selected queue. */
static void queue_write_locked(struct virtio_queue *queue, uint64_t offset, uint32_t value)
{
	if (offset == REG_QUEUE_READY && value == 0) {
		virtio_queue_disable_locked(queue);
		return;
	}
	if (offset == REG_QUEUE_RESET) {
		if (value == 1)
			virtio_queue_reset_locked(queue);
		return;
	}
	if (!virtio_queue_writable_locked(queue))
		return;
	switch (offset) {
	case REG_QUEUE_NUM:
		/* What does not fit is as wrong as zero, and refused as such when the queue is switched on. */
		queue->vq.size = value <= queue->size_max ? value : 0;
		break;
	case REG_QUEUE_DESC_LOW:
		set_low(&queue->vq.desc_addr, value);
		break;
	case REG_QUEUE_DESC_HIGH:
		set_high(&queue->vq.desc_addr, value);
		break;
	case REG_QUEUE_DRIVER_LOW:
		set_low(&queue->vq.avail_addr, value);
		break;
	case REG_QUEUE_DRIVER_HIGH:
		set_high(&queue->vq.avail_addr, value);
		break;
	case REG_QUEUE_DEVICE_LOW:
		set_low(&queue->vq.used_addr, value);
		break;
	case REG_QUEUE_DEVICE_HIGH:
		set_high(&queue->vq.used_addr, value);
		break;
	case REG_QUEUE_READY:
		if (value == 1)
			virtio_queue_enable_locked(queue);
		break;
	}
}

static void register_write_locked(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	struct virtio_device *vdev = mmio->vdev;
	struct virtio_queue *queue;

	switch (offset) {
	case REG_DEVICE_FEATURES_SEL:
		mmio->device_features_sel = value;
		break;
	case REG_DRIVER_FEATURES_SEL:
		mmio->driver_features_sel = value;
		break;
	case REG_DRIVER_FEATURES:
		virtio_device_set_driver_features_locked(vdev, mmio->driver_features_sel, value);
		break;
	case REG_QUEUE_SEL:
		mmio->queue_sel = value;
		break;
	case REG_STATUS:
		virtio_device_set_status_locked(vdev, (uint8_t)value);
		if (value == 0) {
			mmio->device_features_sel = 0;
			mmio->driver_features_sel = 0;
			mmio->queue_sel = 0;
		}
		break;
	default:
		queue = virtio_device_queue(vdev, mmio->queue_sel);
		if (queue)
			queue_write_locked(queue, offset, value);
	}
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio_mmio *mmio = opaque;
	struct virtio_device *vdev = mmio->vdev;
	struct virtio_queue *queue;

	if (offset >= REG_CONFIG) {
		if (vdev->ops->write_config)
			vdev->ops->write_config(vdev, (uint32_t)(offset - REG_CONFIG), (uint32_t)value, size);
		return;
	}
	if (size != 4)
		return;
	switch (offset) {
	case REG_QUEUE_NOTIFY: /* gets here only where there is no ioeventfd, or no such queue */
		queue = virtio_device_queue(vdev, (uint32_t)value);
		if (queue)
			virtio_queue_kick(queue);
		return;
	case REG_INTERRUPT_ACK:
		atomic_fetch_and(&vdev->isr, ~(uint32_t)value);
		return;
	}
	pthread_mutex_lock(&vdev->lock);
	register_write_locked(mmio, offset, (uint32_t)value);
	pthread_mutex_unlock(&vdev->lock);
}

static const struct io_ops mmio_io_ops = {
	.read = mmio_read,
	.write = mmio_write,
	.min_size = 1,
	.max_size = 4,
};

/* --- Life --- */

static int ioeventfd(struct virtio_mmio *mmio, unsigned int index, bool assign)
{
	struct accel *accel = mmio->vdev->dev.platform->accel;
	struct accel_ioeventfd event = {
		.kind = IO_MMIO,
		.addr = mmio->slot.base + REG_QUEUE_NOTIFY,
		.len = 4,
		.datamatch = true,
		.data = index,
		.fd = mmio->vdev->queues[index].kick.fd,
	};

	return accel->ops->ioeventfd ? accel->ops->ioeventfd(accel, &event, assign) : -ENOTSUP;
}

static void ioeventfds_add(struct virtio_mmio *mmio)
{
	struct virtio_device *vdev = mmio->vdev;

	for (unsigned int i = 0; i < vdev->queue_count; i++) {
		int ret = ioeventfd(mmio, i, true);

		if (ret) {
			log_debug("%s: queue %u is notified by register access: %d", vdev->dev.id, i, ret);
			return;
		}
		mmio->ioeventfds = i + 1;
	}
}

static void ioeventfds_del(struct virtio_mmio *mmio)
{
	while (mmio->ioeventfds)
		if (ioeventfd(mmio, --mmio->ioeventfds, false))
			log_warn("%s: ioeventfd of queue %u stays", mmio->vdev->dev.id, mmio->ioeventfds);
}

static int attach(struct virtio_mmio *mmio, struct error **errp)
{
	struct platform *platform = mmio->vdev->dev.platform;
	int ret;

	ret = irq_line_init_edge(&mmio->irq, platform->accel, mmio->slot.gsi, errp);
	if (ret)
		return ret;
	mmio->region = (struct io_region){
		.name = mmio->vdev->dev.id,
		.kind = IO_MMIO,
		.base = mmio->slot.base,
		.size = mmio->slot.size,
		.ops = &mmio_io_ops,
		.opaque = mmio,
	};
	ret = mem_space_add_io(platform->space, &mmio->region, errp);
	if (ret) {
		irq_line_release(&mmio->irq);
		return ret;
	}
	ioeventfds_add(mmio);
	return 0;
}

int virtio_mmio_realize(struct device *dev, struct error **errp)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);
	struct platform *platform = dev->platform;
	struct virtio_mmio *mmio;
	int ret;

	if (!platform->mmio_slot_take)
		return error_set(errp, -ENODEV, "this machine has no virtio-mmio slots; for its PCI bus there is %.*s-pci",
				 (int)(strlen(dev->class->name) - strlen("-device")), dev->class->name);
	mmio = calloc(1, sizeof(*mmio));
	if (!mmio)
		return error_set(errp, -ENOMEM, "%s: out of memory", dev->id);
	mmio->vdev = vdev;
	vdev->transport = mmio;
	ret = platform->mmio_slot_take(platform, &mmio->slot, errp);
	if (ret)
		goto fail;
	ret = virtio_device_realize(vdev, &mmio_transport_ops, errp);
	if (ret)
		goto fail_slot;
	ret = attach(mmio, errp);
	if (ret)
		goto fail_device;
	return 0;

fail_device:
	virtio_device_unrealize(vdev);
fail_slot:
	platform->mmio_slot_release(platform, &mmio->slot);
fail:
	free(mmio);
	vdev->transport = NULL;
	return ret;
}

void virtio_mmio_unrealize(struct device *dev)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);
	struct virtio_mmio *mmio = vdev->transport;

	/* First what lets the guest in, then the requests, then the interrupt that they end with. */
	ioeventfds_del(mmio);
	mem_space_del_io(dev->platform->space, &mmio->region);
	virtio_device_unrealize(vdev);
	irq_line_release(&mmio->irq);
	dev->platform->mmio_slot_release(dev->platform, &mmio->slot);
	free(mmio);
	vdev->transport = NULL;
}
