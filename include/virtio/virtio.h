/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio device core (virtio 1.2 §2, §3), between a device (its operations and property table in a file of its own) and
 * a transport (virtio-mmio, virtio-pci). Neither knows the other: a device is offered on both by two struct
 * device_class that name the same operations.
 *
 * Threads and locks
 *   Every device has a home loop: the main loop or its iothread. Only the home loop pops and pushes chains and calls
 *   the device's operations start, stop and handle_queue. A device may give queues home loops of their own: then what is
 *   said of the home loop below is that of the queue where there is a queue, and the device keeps apart what its
 *   loops do at the same time. Register handlers run on vCPU threads, take the device lock and do no I/O; what starts or
 *   stops queues they hand to the home loops with loop_run_sync() and wait, still holding the lock. That cannot
 *   deadlock because
 *     - nothing on a home loop ever takes a device lock: what both sides share is atomic (status, isr) or under the
 *       leaf lock of the configuration space, inside which nothing else is called;
 *     - the main thread takes device locks only while every vCPU is parked (reset, quiesce, resume, unrealize);
 *     - while the main thread waits for vCPUs to park it lends its loop (loop_lend_begin()), so that a vCPU in
 *       loop_run_sync() gets its call done and can leave its handler.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>

#include "devices/device.h"
#include "pci/function.h"
#include "util/log.h"
#include "virtio/virtqueue.h"

/* Device status (§2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER 2
#define VIRTIO_STATUS_DRIVER_OK 4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED 128

/* Features of every device (§6), as bits. */
#define VIRTIO_F_INDIRECT_DESC (1ULL << 28)
#define VIRTIO_F_EVENT_IDX (1ULL << 29)
#define VIRTIO_F_VERSION_1 (1ULL << 32)
#define VIRTIO_F_RING_RESET (1ULL << 40)

/* Causes in the interrupt status (§4.2.2). */
#define VIRTIO_ISR_QUEUE 1
#define VIRTIO_ISR_CONFIG 2

#define VIRTIO_CONFIG_MAX 256 /* bytes of configuration space: what a virtio-mmio slot has */

struct virtio_device;
struct virtio_queue;

/* What a device is. Its struct begins with struct virtio_device; class->data points here. */
struct virtio_device_ops {
	uint16_t device_id; /* §5 */
	/*
	 * Main thread. Takes back ends, sets vdev->home, vdev->features_offered (device bits only) and the configuration
	 * space, and calls virtio_device_add_queues(). On failure it undoes what it did.
	 */
	int (*realize)(struct virtio_device *vdev, struct error **errp);
	void (*unrealize)(struct virtio_device *vdev);
	/* Home loop: the device becomes live with vdev->features, before any queue is handled. NULL allowed. */
	void (*start)(struct virtio_device *vdev);
	/* Home loop. Completes or cancels every request of @queue (NULL: of all queues of this loop) and waits for it:
	 * afterwards the device touches no guest memory of theirs. They are not handled any more. When all stop, NULL
	 * comes last, after each queue that has another home. NULL: it keeps nothing. */
	void (*stop)(struct virtio_device *vdev, struct virtio_queue *queue);
	/* Home loop: there may be something to pop. */
	void (*handle_queue)(struct virtio_queue *queue);
	/* Home loop, while the device is stopped: the driver, or the machine, reset it. A stop for a pause does not come
	 * here: what a device remembers of its driver outlives that. NULL: it remembers nothing. */
	void (*reset)(struct virtio_device *vdev);
	/* The driver wrote @size (1, 2 or 4) bytes of the configuration space. vCPU threads, without the device lock. NULL:
	 * no field may be written. */
	void (*write_config)(struct virtio_device *vdev, uint32_t offset, uint32_t value, unsigned int size);
};

struct virtio_transport_ops {
	/* The cause is set in vdev->isr already. Any thread. */
	void (*notify_queue)(struct virtio_device *vdev, struct virtio_queue *queue);
	void (*notify_config)(struct virtio_device *vdev);
	/*
	 * From now on each write to the eventfd @fd interrupts the driver for this queue without this process; -1: no more.
	 * Home loop. -ENOTSUP: not now; NULL: never.
	 */
	int (*queue_eventfd)(struct virtio_device *vdev, struct virtio_queue *queue, int fd);
};

struct virtio_queue {
	struct virtqueue vq;
	struct virtio_device *vdev;
	/* The device's unless realize sets it, behind virtio_device_add_queues(), or start, when no queue runs yet. */
	struct loop *home;
	uint16_t index;
	uint16_t size_max;
	bool enabled;  /* device lock: the driver switched it on */
	bool was_reset; /* device lock: by RING_RESET, so it may be set up again after DRIVER_OK */
	bool running;  /* home loop */
	bool direct; /* home loop: see virtio_queue_call_begin() */
	uint16_t seen; /* home loop: virtqueue_avail_idx() when it was last handled */
	struct loop_fd kick; /* kick.fd: eventfd, lives as long as the device; watched while running */
	_Atomic bool kick_shared; /* a process that may be hostile has had kick.fd, too */
};

/* As the user gave them; of devices on PCI only. */
#define VIRTIO_PCI_VECTORS_MAX 2048
#define VIRTIO_PCI_VECTORS_DEFAULT UINT16_MAX
struct virtio_pci_params {
	struct pci_place place;
	uint16_t vectors;
	int disable_legacy;
	bool disable_modern, ioeventfd, ats, page_per_vq;
};

#define VIRTIO_NO_BOOTINDEX UINT32_MAX
#define VIRTIO_BOOTINDEX_PROP(T)                                                                          \
	PROP_UINT(32, "bootindex", T, vdev.bootindex, 0, INT32_MAX, VIRTIO_NO_BOOTINDEX,                  \
		  "order in which firmware tries devices; without effect where a kernel is given")

/* As the user gave them. What is on without a word can be taken away; what is off cannot be had, and says so. */
struct virtio_feature_params {
	bool event_idx, indirect_desc, packed, iommu_platform;
};
#define VIRTIO_FEATURE_PROPS(T)                                                                           \
	PROP_BOOL("event_idx", T, vdev.params.event_idx, true, "offer VIRTIO_F_EVENT_IDX"),                 \
	PROP_BOOL("indirect_desc", T, vdev.params.indirect_desc, true, "offer VIRTIO_F_INDIRECT_DESC"),     \
	PROP_BOOL("packed", T, vdev.params.packed, false, "on is refused: queues are split ones"),          \
	PROP_BOOL("iommu_platform", T, vdev.params.iommu_platform, false, "on is refused: there is no IOMMU")

struct virtio_device {
	struct device dev;
	struct virtio_pci_params pci;
	struct virtio_feature_params params;
	uint32_t bootindex; /* order of boot devices; VIRTIO_NO_BOOTINDEX: none. Main thread */
	const struct virtio_device_ops *ops;
	const struct virtio_transport_ops *transport_ops;
	void *transport; /* the transport's own state */
	struct loop *home;
	struct log_limit limit;

	pthread_mutex_t lock;      /* the device lock, see above; guards: */
	uint64_t features_offered; /* fixed while a driver negotiates; see virtio_device_offer() */
	uint64_t features_driver;  /* what the driver wrote */
	uint64_t features;         /* in use: fixed at FEATURES_OK, read on the home loop from DRIVER_OK on */
	bool started;              /* DRIVER_OK took effect */
	bool quiesced;             /* by the machine: stop */
	bool held;                 /* by the transport: see virtio_device_hold_locked() */

	unsigned int queue_count;
	struct virtio_queue *queues;

	_Atomic uint8_t status;
	_Atomic uint32_t isr;
	_Atomic uint64_t features_next; /* offered from the next reset on */
	/* Features of every device that this one's data path lacks. Set before virtio_device_offer(), or in realize. */
	uint64_t features_lacking;

	pthread_mutex_t config_lock; /* leaf; guards: */
	uint32_t config_generation;
	uint32_t config_size;
	uint8_t config[VIRTIO_CONFIG_MAX];
};

/* --- For devices --- */

/* In realize: @count queues of at most @size (a power of two) entries. */
int __must_check virtio_device_add_queues(struct virtio_device *vdev, unsigned int count, uint16_t size,
					  struct error **errp);
/*
 * Replaces the configuration space (little-endian, @size <= VIRTIO_CONFIG_MAX). A driver that is running is told.
 * Any thread.
 */
void virtio_device_set_config(struct virtio_device *vdev, const void *config, uint32_t size);
/* Replaces @size bytes at @offset of it. @tell: a driver that is running is told. Any thread. */
void virtio_device_update_config(struct virtio_device *vdev, uint32_t offset, const void *data, uint32_t size,
				 bool tell);

/* The device bits that are offered from the driver's next reset on. Any thread. */
void virtio_device_offer(struct virtio_device *vdev, uint64_t features);

/* Home loop. May it be handled? Not while it is stopped, nor when another loop has found the driver broken. */
static inline bool virtio_queue_live(const struct virtio_queue *queue)
{
	return queue->running &&
	       !(atomic_load_explicit(&queue->vdev->status, memory_order_relaxed) & VIRTIO_STATUS_NEEDS_RESET);
}

/* Home loop. False: nothing more to take, or the driver broke a rule (dealt with already). */
bool __must_check virtio_queue_pop(struct virtio_queue *queue, struct virtq_chain *chain);
/* Home loop. Publishes what was pushed and interrupts the driver if it wants that. */
void virtio_queue_flush(struct virtio_queue *queue);
/* Has the home loop handle the queue again, after everything else that waits there. Any thread. */
void virtio_queue_kick(struct virtio_queue *queue);
/*
 * For queues that somebody else handles, the kernel or another process: from now on, each write to the eventfd @call->fd
 * interrupts the driver. Where the transport can, without this process; else by the home loop, which then has @call->handler set
 * the cause and interrupt. @call must have fd, events and handler set. Home loop. Harmless when begun already.
 */
int __must_check virtio_queue_call_begin(struct virtio_queue *queue, struct loop_fd *call);
/* Harmless when not begun. What was written and not delivered is in the eventfd still. */
void virtio_queue_call_end(struct virtio_queue *queue, struct loop_fd *call);
/*
 * The driver broke a rule: DEVICE_NEEDS_RESET, a configuration interrupt, one warning, and no queue is handled until
 * the driver resets the device: those of other loops from virtio_queue_live() on. @why: static text. Home loop.
 */
void virtio_device_error(struct virtio_device *vdev, const char *why);

static inline bool virtio_has_feature(const struct virtio_device *vdev, uint64_t feature)
{
	return vdev->features & feature;
}

/* --- For transports --- */

/* Main thread. @ops of the transport; calls the device's realize. */
int __must_check virtio_device_realize(struct virtio_device *vdev, const struct virtio_transport_ops *ops,
				       struct error **errp);
/* The guest cannot reach the registers any more. */
void virtio_device_unrealize(struct virtio_device *vdev);
/* Is it a virtio device, on whatever transport? */
bool virtio_is_device(const struct device *dev);
/* struct device_class's operations for every transport. Main thread. */
void virtio_device_reset(struct device *dev);
void virtio_device_quiesce(struct device *dev);
void virtio_device_resume(struct device *dev);

/* All of these under the device lock. */
void virtio_device_set_driver_features_locked(struct virtio_device *vdev, uint32_t word, uint32_t value);
void virtio_device_set_status_locked(struct virtio_device *vdev, uint8_t value);
struct virtio_queue *virtio_device_queue(struct virtio_device *vdev, uint32_t index); /* NULL: no such queue */
/* May the driver write this queue's size and addresses now? */
bool virtio_queue_writable_locked(const struct virtio_queue *queue);
void virtio_queue_enable_locked(struct virtio_queue *queue);
void virtio_queue_disable_locked(struct virtio_queue *queue); /* before DRIVER_OK only */
void virtio_queue_reset_locked(struct virtio_queue *queue);   /* §2.6.1, RING_RESET */
/* The device may not reach memory now (PCI: bus mastering is off): the queues rest until it may. */
void virtio_device_hold_locked(struct virtio_device *vdev, bool hold);

/* Without the lock. @size 1, 2 or 4, aligned; outside of the device's space zero. */
uint32_t virtio_device_config_read(struct virtio_device *vdev, uint32_t offset, unsigned int size);
uint32_t virtio_device_config_generation(struct virtio_device *vdev);

#endif
