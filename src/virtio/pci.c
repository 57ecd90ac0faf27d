// SPDX-License-Identifier: Apache-2.0
/*
 * virtio over PCI (virtio 1.2 §4.1): modern devices only. The registers lie in BAR 4, MSI-X in BAR 1, where QEMU has them.
 * Which of them take writes when is decided by the device core's state table, as on MMIO.
 *
 * Interrupts: with MSI-X each cause has a vector, and no state is needed here. With INTx the pin shows whether the ISR
 * register is not zero; irq_lock makes each look at the register and the pin that follows from it one step.
 */
#include "pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/host.h"
#include "pci/msix.h"

#define LOG_MODULE "virtio-pci"
#include "util/log.h"

#define MSIX_BAR 1
#define MODERN_BAR 4

/* BAR 4 */
#define COMMON_OFFSET 0x0000
#define ISR_OFFSET 0x1000
#define DEVICE_OFFSET 0x2000
#define NOTIFY_OFFSET 0x3000
#define REGION_SIZE 0x1000
#define MODERN_SIZE 0x4000
#define NOTIFY_MULTIPLIER 4

/* Structures that capabilities name (§4.1.4) */
#define CFG_TYPE_COMMON 1
#define CFG_TYPE_NOTIFY 2
#define CFG_TYPE_ISR 3
#define CFG_TYPE_DEVICE 4
#define CFG_TYPE_PCI 5
#define CAP_SIZE 16
#define CAP_LEN 2
#define CAP_CFG_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_NOTIFY_MULTIPLIER 16 /* of the notification capability */
#define CAP_PCI_DATA 16		 /* of the PCI configuration access capability */

/* Common configuration (§4.1.4.3) */
enum {
	REG_DEVICE_FEATURE_SELECT = 0x00,
	REG_DEVICE_FEATURE = 0x04,
	REG_DRIVER_FEATURE_SELECT = 0x08,
	REG_DRIVER_FEATURE = 0x0c,
	REG_CONFIG_MSIX_VECTOR = 0x10,
	REG_NUM_QUEUES = 0x12,
	REG_DEVICE_STATUS = 0x14,
	REG_CONFIG_GENERATION = 0x15,
	REG_QUEUE_SELECT = 0x16,
	REG_QUEUE_SIZE = 0x18,
	REG_QUEUE_MSIX_VECTOR = 0x1a,
	REG_QUEUE_ENABLE = 0x1c,
	REG_QUEUE_NOTIFY_OFF = 0x1e,
	REG_QUEUE_DESC = 0x20,
	REG_QUEUE_DRIVER = 0x28,
	REG_QUEUE_DEVICE = 0x30,
	REG_QUEUE_NOTIF_CONFIG_DATA = 0x38,
	REG_QUEUE_RESET = 0x3a,
	COMMON_SIZE = 0x3c,
};

const char *const virtio_pci_legacy_words[] = { "auto", "on", "off", NULL };

struct virtio_pci_queue {
	_Atomic uint16_t vector;
	uint16_t routed; /* home loop: the vector that sends for somebody else, or none */
	bool size_set;	 /* device lock: the driver chose a size; until then the largest one counts */
};

struct virtio_pci {
	struct virtio_device *vdev;
	struct pci_function fn;
	unsigned int pci_cap; /* offset of the PCI configuration access capability */
	_Atomic uint16_t config_vector;
	struct virtio_pci_queue *queues;

	/* device lock */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;

	pthread_mutex_t irq_lock; /* the pin follows the ISR register; inside: host->irq_lock */

	pthread_mutex_t notify_lock; /* leaf; guards: */
	uint64_t notify_base;	     /* of the notification registers; 0: the BAR is nowhere */
	bool used;		     /* a driver went live */
	unsigned int ioeventfds;     /* queues 0 … n-1 have one, at notify_base */
};

static struct virtio_pci *from_fn(struct pci_function *fn)
{
	return container_of(fn, struct virtio_pci, fn);
}

/* --- Interrupts --- */

static void pin_follows_isr(struct virtio_pci *vp)
{
	pthread_mutex_lock(&vp->irq_lock);
	pci_intx_set(&vp->fn, atomic_load(&vp->vdev->isr) && !pci_msix_enabled(&vp->fn));
	pthread_mutex_unlock(&vp->irq_lock);
}

static void interrupt(struct virtio_pci *vp, uint16_t vector)
{
	if (pci_msix_enabled(&vp->fn))
		pci_msix_notify(&vp->fn, vector); /* no such vector, no interrupt (§4.1.5.1.2) */
	else
		pin_follows_isr(vp);
}

/* A vector has one eventfd: queues that share theirs are told by the home loop. */
static bool vector_is_shared(const struct virtio_pci *vp, unsigned int index, uint16_t vector)
{
	for (unsigned int i = 0; i < vp->vdev->queue_count; i++)
		if (i != index && atomic_load(&vp->queues[i].vector) == vector)
			return true;
	return false;
}

static void pci_notify_queue(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_pci *vp = vdev->transport;

	interrupt(vp, atomic_load(&vp->queues[queue->index].vector));
}

static void pci_notify_config(struct virtio_device *vdev)
{
	struct virtio_pci *vp = vdev->transport;

	interrupt(vp, atomic_load(&vp->config_vector));
}

/*
 * Of whoever handles the queue instead of us. A driver has chosen its vectors before it goes live; one that turns MSI-X off
 * later, without a reset, gets no more interrupts of such a queue.
 */
static int pci_queue_eventfd(struct virtio_device *vdev, struct virtio_queue *queue, int fd)
{
	struct virtio_pci *vp = vdev->transport;
	struct virtio_pci_queue *mine = &vp->queues[queue->index];
	uint16_t vector = atomic_load(&mine->vector);
	int ret;

	if (fd < 0) {
		vector = mine->routed;
		mine->routed = PCI_MSIX_NO_VECTOR;
		return pci_msix_set_eventfd(&vp->fn, vector, -1);
	}
	/* The irqfds of the test accelerator are the main thread's. */
	if (!pci_msix_enabled(&vp->fn) || vector == PCI_MSIX_NO_VECTOR || vector_is_shared(vp, queue->index, vector) ||
	    vdev->dev.platform->accel->no_guest_code)
		return -ENOTSUP;
	ret = pci_msix_set_eventfd(&vp->fn, vector, fd);
	if (!ret)
		mine->routed = vector;
	return ret;
}

static const struct virtio_transport_ops pci_transport_ops = {
	.notify_queue = pci_notify_queue,
	.notify_config = pci_notify_config,
	.queue_eventfd = pci_queue_eventfd,
};

/* --- Notifications. An address a queue, so that the kernel need not look at what is written. --- */

static int ioeventfd(struct virtio_pci *vp, unsigned int index, bool assign)
{
	struct accel *accel = vp->vdev->dev.platform->accel;
	struct accel_ioeventfd event = {
		.kind = IO_MMIO,
		.addr = vp->notify_base + index * NOTIFY_MULTIPLIER,
		.fd = vp->vdev->queues[index].kick.fd,
	};

	return accel->ops->ioeventfd ? accel->ops->ioeventfd(accel, &event, assign) : -ENOTSUP;
}

static void ioeventfds_add_locked(struct virtio_pci *vp)
{
	struct virtio_device *vdev = vp->vdev;

	if (!vdev->pci.ioeventfd || !vp->notify_base || !vp->used || vp->ioeventfds)
		return;
	for (unsigned int i = 0; i < vdev->queue_count; i++) {
		int ret = ioeventfd(vp, i, true);

		if (ret) {
			log_debug("%s: queue %u is notified by register access: %d", vdev->dev.id, i, ret);
			return;
		}
		vp->ioeventfds = i + 1;
	}
}

static void ioeventfds_del_locked(struct virtio_pci *vp)
{
	while (vp->ioeventfds)
		if (ioeventfd(vp, --vp->ioeventfds, false))
			log_warn("%s: ioeventfd of queue %u stays", vp->vdev->dev.id, vp->ioeventfds);
}

/*
 * Only from the first DRIVER_OK on: while firmware and kernel move the BAR about, each ioeventfd that comes or goes would
 * make every CPU wait for a grace period.
 */
static void notifications_used(struct virtio_pci *vp)
{
	pthread_mutex_lock(&vp->notify_lock);
	vp->used = true;
	ioeventfds_add_locked(vp);
	pthread_mutex_unlock(&vp->notify_lock);
}

static void bar_moved(struct pci_function *fn, unsigned int index, uint64_t base)
{
	struct virtio_pci *vp = from_fn(fn);

	if (index != MODERN_BAR)
		return;
	pthread_mutex_lock(&vp->notify_lock);
	ioeventfds_del_locked(vp);
	vp->notify_base = base == UINT64_MAX ? 0 : base + NOTIFY_OFFSET;
	ioeventfds_add_locked(vp);
	pthread_mutex_unlock(&vp->notify_lock);
}

/* --- Common configuration. Each field takes accesses of its own width; those of 64 bits take halves (§4.1.3.1). --- */

/* §4.1.5.1.2: a vector that does not exist reads back as none. */
static void vector_write(struct virtio_pci *vp, _Atomic uint16_t *vector, uint32_t value)
{
	atomic_store(vector, value < pci_msix_count(&vp->fn) ? (uint16_t)value : PCI_MSIX_NO_VECTOR);
}

static uint32_t half(gpa_t addr, bool high)
{
	return (uint32_t)(high ? addr >> 32 : addr);
}

static uint32_t queue_read_locked(struct virtio_pci *vp, const struct virtio_queue *queue, uint32_t offset,
				  unsigned int size)
{
	switch (offset << 8 | size) {
	case REG_QUEUE_SIZE << 8 | 2:
		return vp->queues[queue->index].size_set ? queue->vq.size : queue->size_max;
	case REG_QUEUE_MSIX_VECTOR << 8 | 2:
		return atomic_load(&vp->queues[queue->index].vector);
	case REG_QUEUE_ENABLE << 8 | 2:
		return queue->enabled;
	case REG_QUEUE_NOTIFY_OFF << 8 | 2:
	case REG_QUEUE_NOTIF_CONFIG_DATA << 8 | 2:
		return queue->index;
	case REG_QUEUE_DESC << 8 | 4:
	case (REG_QUEUE_DESC + 4) << 8 | 4:
		return half(queue->vq.desc_addr, offset & 4);
	case REG_QUEUE_DRIVER << 8 | 4:
	case (REG_QUEUE_DRIVER + 4) << 8 | 4:
		return half(queue->vq.avail_addr, offset & 4);
	case REG_QUEUE_DEVICE << 8 | 4:
	case (REG_QUEUE_DEVICE + 4) << 8 | 4:
		return half(queue->vq.used_addr, offset & 4);
	default: /* REG_QUEUE_RESET among them: a reset is over when its write returns */
		return 0;
	}
}

static uint32_t common_read_locked(struct virtio_pci *vp, uint32_t offset, unsigned int size)
{
	struct virtio_device *vdev = vp->vdev;
	const struct virtio_queue *queue;

	switch (offset << 8 | size) {
	case REG_DEVICE_FEATURE_SELECT << 8 | 4:
		return vp->device_feature_select;
	case REG_DEVICE_FEATURE << 8 | 4:
		return vp->device_feature_select > 1 ? 0 : half(vdev->features_offered, vp->device_feature_select);
	case REG_DRIVER_FEATURE_SELECT << 8 | 4:
		return vp->driver_feature_select;
	case REG_DRIVER_FEATURE << 8 | 4:
		return vp->driver_feature_select > 1 ? 0 : half(vdev->features_driver, vp->driver_feature_select);
	case REG_CONFIG_MSIX_VECTOR << 8 | 2:
		return atomic_load(&vp->config_vector);
	case REG_NUM_QUEUES << 8 | 2:
		return vdev->queue_count;
	case REG_DEVICE_STATUS << 8 | 1:
		return atomic_load(&vdev->status);
	case REG_CONFIG_GENERATION << 8 | 1:
		return virtio_device_config_generation(vdev) & 0xff;
	case REG_QUEUE_SELECT << 8 | 2:
		return vp->queue_select;
	}
	queue = virtio_device_queue(vdev, vp->queue_select);
	if (queue)
		return queue_read_locked(vp, queue, offset, size);
	/* §4.1.4.3: a queue that is not there has size 0. */
	return offset == REG_QUEUE_MSIX_VECTOR && size == 2 ? PCI_MSIX_NO_VECTOR : 0;
}

static void half_set(gpa_t *addr, bool high, uint32_t value)
{
	*addr = high ? (*addr & 0xffffffffULL) | (uint64_t)value << 32 : (*addr & ~0xffffffffULL) | value;
}

static void queue_enable_locked(struct virtio_pci *vp, struct virtio_queue *queue)
{
	if (!vp->queues[queue->index].size_set && virtio_queue_writable_locked(queue))
		queue->vq.size = queue->size_max;
	virtio_queue_enable_locked(queue);
}

static void queue_write_locked(struct virtio_pci *vp, struct virtio_queue *queue, uint32_t offset,
			       unsigned int size, uint32_t value)
{
	struct virtio_pci_queue *mine = &vp->queues[queue->index];

	switch (offset << 8 | size) {
	case REG_QUEUE_MSIX_VECTOR << 8 | 2:
		vector_write(vp, &mine->vector, value);
		return;
	case REG_QUEUE_ENABLE << 8 | 2:
		if (value == 1) /* nothing else may be written (§4.1.4.3.2) */
			queue_enable_locked(vp, queue);
		return;
	case REG_QUEUE_RESET << 8 | 2:
		if (value == 1) {
			bool was = queue->enabled;

			virtio_queue_reset_locked(queue);
			if (was && !queue->enabled)
				mine->size_set = false;
		}
		return;
	}
	if (!virtio_queue_writable_locked(queue))
		return;
	switch (offset << 8 | size) {
	case REG_QUEUE_SIZE << 8 | 2:
		/* What does not fit is as wrong as zero, and refused as such when the queue is switched on. */
		queue->vq.size = value <= queue->size_max ? (uint16_t)value : 0;
		mine->size_set = true;
		break;
	case REG_QUEUE_DESC << 8 | 4:
	case (REG_QUEUE_DESC + 4) << 8 | 4:
		half_set(&queue->vq.desc_addr, offset & 4, value);
		break;
	case REG_QUEUE_DRIVER << 8 | 4:
	case (REG_QUEUE_DRIVER + 4) << 8 | 4:
		half_set(&queue->vq.avail_addr, offset & 4, value);
		break;
	case REG_QUEUE_DEVICE << 8 | 4:
	case (REG_QUEUE_DEVICE + 4) << 8 | 4:
		half_set(&queue->vq.used_addr, offset & 4, value);
		break;
	}
}

/* What the transport remembers of a driver, after the device forgot it. */
static void transport_reset(struct virtio_pci *vp)
{
	vp->device_feature_select = 0;
	vp->driver_feature_select = 0;
	vp->queue_select = 0;
	atomic_store(&vp->config_vector, PCI_MSIX_NO_VECTOR);
	for (unsigned int i = 0; i < vp->vdev->queue_count; i++) {
		atomic_store(&vp->queues[i].vector, PCI_MSIX_NO_VECTOR);
		vp->queues[i].size_set = false;
	}
	pin_follows_isr(vp);
}

static void status_write_locked(struct virtio_pci *vp, uint8_t value)
{
	virtio_device_set_status_locked(vp->vdev, value);
	if (!value)
		transport_reset(vp);
	else if (vp->vdev->started)
		notifications_used(vp);
}

static void common_write_locked(struct virtio_pci *vp, uint32_t offset, unsigned int size, uint32_t value)
{
	struct virtio_device *vdev = vp->vdev;
	struct virtio_queue *queue;

	switch (offset << 8 | size) {
	case REG_DEVICE_FEATURE_SELECT << 8 | 4:
		vp->device_feature_select = value;
		return;
	case REG_DRIVER_FEATURE_SELECT << 8 | 4:
		vp->driver_feature_select = value;
		return;
	case REG_DRIVER_FEATURE << 8 | 4:
		virtio_device_set_driver_features_locked(vdev, vp->driver_feature_select, value);
		return;
	case REG_CONFIG_MSIX_VECTOR << 8 | 2:
		vector_write(vp, &vp->config_vector, value);
		return;
	case REG_DEVICE_STATUS << 8 | 1:
		status_write_locked(vp, (uint8_t)value);
		return;
	case REG_QUEUE_SELECT << 8 | 2:
		vp->queue_select = (uint16_t)value;
		return;
	}
	queue = virtio_device_queue(vdev, vp->queue_select);
	if (queue)
		queue_write_locked(vp, queue, offset, size, value);
}

/* --- BAR 4 --- */

static uint32_t isr_read(struct virtio_pci *vp)
{
	/* §4.1.4.5: reading takes it, and the pin down. */
	uint32_t isr = atomic_exchange(&vp->vdev->isr, 0);

	if (isr)
		pin_follows_isr(vp);
	return isr;
}

static uint64_t modern_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct virtio_pci *vp = opaque;
	struct virtio_device *vdev = vp->vdev;
	uint32_t value = 0;

	if (offset < ISR_OFFSET) {
		pthread_mutex_lock(&vdev->lock);
		value = common_read_locked(vp, (uint32_t)offset, size);
		pthread_mutex_unlock(&vdev->lock);
	} else if (offset < DEVICE_OFFSET) {
		value = offset == ISR_OFFSET ? isr_read(vp) : 0;
	} else if (offset < NOTIFY_OFFSET) {
		value = virtio_device_config_read(vdev, (uint32_t)offset - DEVICE_OFFSET, size);
	}
	return value;
}

static void modern_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct virtio_pci *vp = opaque;
	struct virtio_device *vdev = vp->vdev;
	struct virtio_queue *queue;

	if (offset < ISR_OFFSET) {
		pthread_mutex_lock(&vdev->lock);
		common_write_locked(vp, (uint32_t)offset, size, (uint32_t)value);
		pthread_mutex_unlock(&vdev->lock);
	} else if (offset >= NOTIFY_OFFSET) {
		/* Gets here only where there is no ioeventfd, or no such queue. The address says which one. */
		queue = virtio_device_queue(vdev, (uint32_t)(offset - NOTIFY_OFFSET) / NOTIFY_MULTIPLIER);
		if (queue && offset % NOTIFY_MULTIPLIER == 0)
			virtio_queue_kick(queue);
	} else if (offset >= DEVICE_OFFSET && offset < DEVICE_OFFSET + VIRTIO_CONFIG_MAX && vdev->ops->write_config) {
		vdev->ops->write_config(vdev, (uint32_t)offset - DEVICE_OFFSET, (uint32_t)value, size);
	}
}

static const struct io_ops modern_ops = {
	.read = modern_read,
	.write = modern_write,
	.min_size = 1,
	.max_size = 4,
};

/* --- The PCI configuration access capability (§4.1.4.9): a window to BAR 4 for firmware without memory access --- */

static bool window(struct virtio_pci *vp, unsigned int offset, unsigned int size, uint32_t *at, uint32_t *length)
{
	struct pci_function *fn = &vp->fn;
	unsigned int data = vp->pci_cap + CAP_PCI_DATA;

	if (offset + size <= data || offset >= data + 4)
		return false;
	*at = pci_config_read(fn, vp->pci_cap + CAP_OFFSET, 4);
	*length = pci_config_read(fn, vp->pci_cap + CAP_LENGTH, 4);
	return pci_config_read(fn, vp->pci_cap + CAP_BAR, 1) == MODERN_BAR &&
	       (*length == 1 || *length == 2 || *length == 4) && *at < MODERN_SIZE && IS_ALIGNED(*at, *length);
}

/* PCI 3.0 §6.2.2: without bus mastering a device does not reach memory. The lock makes the later of two writers count. */
static void follow_bus_mastering(struct virtio_pci *vp)
{
	pthread_mutex_lock(&vp->vdev->lock);
	virtio_device_hold_locked(vp->vdev, !(pci_command(&vp->fn) & PCI_COMMAND_MASTER));
	pthread_mutex_unlock(&vp->vdev->lock);
}

static void config_read(struct pci_function *fn, unsigned int offset, unsigned int size)
{
	struct virtio_pci *vp = from_fn(fn);
	uint32_t at, length;

	if (window(vp, offset, size, &at, &length))
		pci_config_set(fn, vp->pci_cap + CAP_PCI_DATA, length, (uint32_t)modern_read(vp, at, length));
}

static void config_written(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t old)
{
	struct virtio_pci *vp = from_fn(fn);
	uint32_t at, length;

	(void)old;
	if (pci_is_command(fn, offset, size))
		follow_bus_mastering(vp);
	if (window(vp, offset, size, &at, &length))
		modern_write(vp, at, pci_config_read(fn, vp->pci_cap + CAP_PCI_DATA, length), length);
	/* MSI-X may be on or off now: which of the two interrupts counts. */
	if (offset < vp->pci_cap)
		pin_follows_isr(vp);
}

static void function_reset(struct pci_function *fn)
{
	struct virtio_pci *vp = from_fn(fn);

	pthread_mutex_lock(&vp->vdev->lock);
	status_write_locked(vp, 0);
	virtio_device_hold_locked(vp->vdev, true);
	pthread_mutex_unlock(&vp->vdev->lock);
}

static const struct pci_function_ops function_ops = {
	.config_read = config_read,
	.config_written = config_written,
	.bar_moved = bar_moved,
	.function_reset = function_reset,
};

/* --- Life --- */

static uint16_t class_code(uint16_t device_id)
{
	static const struct {
		uint16_t device_id, class;
	} codes[] = {
		{ 1, PCI_CLASS_NETWORK_ETHERNET },
		{ 2, PCI_CLASS_STORAGE_SCSI },
		{ 3, PCI_CLASS_COMMUNICATION_OTHER },
		{ 19, PCI_CLASS_COMMUNICATION_OTHER },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].device_id == device_id)
			return codes[i].class;
	return PCI_CLASS_OTHERS;
}

static int add_structure(struct pci_function *fn, uint8_t type, unsigned int size, uint32_t offset, uint32_t length,
			 struct error **errp)
{
	int cap = pci_add_capability(fn, PCI_CAP_ID_VENDOR, size, errp);

	if (cap < 0)
		return cap;
	pci_config_set(fn, cap + CAP_LEN, 1, size);
	pci_config_set(fn, cap + CAP_CFG_TYPE, 1, type);
	pci_config_set(fn, cap + CAP_BAR, 1, type == CFG_TYPE_PCI ? 0 : MODERN_BAR);
	pci_config_set(fn, cap + CAP_OFFSET, 4, offset);
	pci_config_set(fn, cap + CAP_LENGTH, 4, length);
	return cap;
}

static int add_capabilities(struct virtio_pci *vp, unsigned int vectors, struct error **errp)
{
	struct pci_function *fn = &vp->fn;
	int ret = 0;

	if (vectors)
		ret = pci_msix_init(fn, vectors, MSIX_BAR, errp);
	if (ret >= 0)
		ret = add_structure(fn, CFG_TYPE_COMMON, CAP_SIZE, COMMON_OFFSET, REGION_SIZE, errp);
	if (ret >= 0)
		ret = add_structure(fn, CFG_TYPE_ISR, CAP_SIZE, ISR_OFFSET, REGION_SIZE, errp);
	if (ret >= 0)
		ret = add_structure(fn, CFG_TYPE_DEVICE, CAP_SIZE, DEVICE_OFFSET, REGION_SIZE, errp);
	if (ret >= 0)
		ret = add_structure(fn, CFG_TYPE_NOTIFY, CAP_SIZE + 4, NOTIFY_OFFSET, REGION_SIZE, errp);
	if (ret >= 0) {
		pci_config_set(fn, ret + CAP_NOTIFY_MULTIPLIER, 4, NOTIFY_MULTIPLIER);
		ret = add_structure(fn, CFG_TYPE_PCI, CAP_SIZE + 4, 0, 0, errp);
	}
	if (ret < 0)
		return ret;
	vp->pci_cap = (unsigned int)ret;
	pci_config_set_writable(fn, vp->pci_cap + CAP_BAR, 1, 0xff);
	pci_config_set_writable(fn, vp->pci_cap + CAP_OFFSET, 4, 0xffffffff);
	pci_config_set_writable(fn, vp->pci_cap + CAP_LENGTH, 4, 0xffffffff);
	pci_config_set_writable(fn, vp->pci_cap + CAP_PCI_DATA, 4, 0xffffffff);
	return pci_add_express(fn, errp);
}

static int attach(struct virtio_pci *vp, struct error **errp)
{
	struct virtio_device *vdev = vp->vdev;
	const struct pci_ids ids = {
		.vendor = PCI_VENDOR_REDHAT_QUMRANET,
		.device = 0x1040 + vdev->ops->device_id,
		.subsystem_vendor = PCI_VENDOR_REDHAT_QUMRANET,
		.subsystem = PCI_SUBDEVICE_QEMU,
		.class = class_code(vdev->ops->device_id),
		.revision = 1, /* §4.1.2.1: not transitional */
	};
	unsigned int vectors = vdev->pci.vectors;
	int ret;

	if (vectors == VIRTIO_PCI_VECTORS_DEFAULT)
		vectors = vdev->queue_count + 1;
	vp->queues = calloc(vdev->queue_count, sizeof(*vp->queues));
	if (!vp->queues)
		return error_set(errp, -ENOMEM, "out of memory");
	pci_function_init(&vp->fn, &vdev->dev, &ids, &function_ops);
	pci_add_bar(&vp->fn, MODERN_BAR, PCI_BAR_MEM64 | PCI_BAR_PREFETCH, MODERN_SIZE, &modern_ops, vp);
	pci_set_interrupt_pin(&vp->fn, 1);
	for (unsigned int i = 0; i < vdev->queue_count; i++)
		vp->queues[i].routed = PCI_MSIX_NO_VECTOR;
	transport_reset(vp);
	ret = add_capabilities(vp, vectors, errp);
	if (!ret)
		ret = pci_function_attach(&vp->fn, &vdev->pci.place, errp);
	if (ret)
		pci_function_release(&vp->fn);
	return ret;
}

static void free_transport(struct virtio_pci *vp)
{
	vp->vdev->transport = NULL;
	pthread_mutex_destroy(&vp->irq_lock);
	pthread_mutex_destroy(&vp->notify_lock);
	free(vp->queues);
	free(vp);
}

int virtio_pci_realize(struct device *dev, struct error **errp)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);
	struct virtio_pci *vp;
	int ret;

	if (!strcmp(virtio_pci_legacy_words[vdev->pci.disable_legacy], "off") || vdev->pci.disable_modern)
		return error_set(errp, -ENOTSUP,
				 "only modern devices (virtio 1.0 and later) are offered: disable-legacy=on and "
				 "disable-modern=off are right");
	if (vdev->pci.ats)
		return error_set(errp, -ENOTSUP, "ats=on: there is no IOMMU whose translations a device could ask for");
	if (vdev->pci.page_per_vq)
		return error_set(errp, -ENOTSUP, "page-per-vq=on: the notifications of all queues are in one page");
	if (!dev->platform->pci)
		return error_set(errp, -ENODEV, "this machine has no PCI bus; for virtio-mmio there is %.*s-device",
				 (int)(strlen(dev->class->name) - strlen("-pci")), dev->class->name);
	vp = calloc(1, sizeof(*vp));
	if (!vp)
		return error_set(errp, -ENOMEM, "out of memory");
	vp->vdev = vdev;
	vdev->transport = vp;
	pthread_mutex_init(&vp->irq_lock, NULL);
	pthread_mutex_init(&vp->notify_lock, NULL);
	ret = virtio_device_realize(vdev, &pci_transport_ops, errp);
	if (ret) {
		free_transport(vp);
		return ret;
	}
	ret = attach(vp, errp);
	if (ret) {
		virtio_device_unrealize(vdev);
		free_transport(vp);
	}
	return ret;
}

void virtio_pci_unrealize(struct device *dev)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);
	struct virtio_pci *vp = vdev->transport;

	/* First the requests, which end with interrupts, then what lets the guest in: no vCPU runs. */
	virtio_device_reset(dev);
	pci_function_detach(&vp->fn);
	virtio_device_unrealize(vdev);
	pci_function_release(&vp->fn);
	free_transport(vp);
}

void virtio_pci_reset(struct device *dev)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);
	struct virtio_pci *vp = vdev->transport;

	virtio_device_reset(dev);
	transport_reset(vp);
	pci_function_reset(&vp->fn);
	follow_bus_mastering(vp);
}

void virtio_pci_show(struct device *dev)
{
	struct virtio_pci *vp = container_of(dev, struct virtio_device, dev)->transport;

	pci_function_show(&vp->fn);
}

int virtio_pci_ask_unplug(struct device *dev, struct error **errp)
{
	struct virtio_pci *vp = container_of(dev, struct virtio_device, dev)->transport;

	return pci_function_ask_unplug(&vp->fn, errp);
}

bool virtio_pci_boot_option(struct device *dev, char *path, size_t size, uint32_t *index)
{
	/* By device type (§5): the node of the function, as its class calls it, and that of the medium. */
	static const struct {
		uint16_t device_id;
		const char *node, *medium;
	} kinds[] = { { 1, "ethernet", "/ethernet-phy@0" }, { 2, "scsi", "/disk@0,0" } };
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);
	struct virtio_pci *vp = vdev->transport;

	if (vdev->bootindex == VIRTIO_NO_BOOTINDEX)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].device_id != vdev->ops->device_id)
			continue;
		pci_function_firmware_path(&vp->fn, kinds[i].node, path, size);
		strncat(path, kinds[i].medium, size - strlen(path) - 1);
		*index = vdev->bootindex;
		return true;
	}
	return false;
}
