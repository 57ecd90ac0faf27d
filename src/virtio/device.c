// SPDX-License-Identifier: Apache-2.0
/*
 * The virtio device core: status and features (§2.1, §2.2, §3.1), starting and stopping queues on the home loop, and what
 * happens to a device whose driver breaks the rules. The locking is explained in virtio/virtio.h.
 */
#include "virtio/virtio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "util/fd.h"

#define LOG_MODULE "virtio"
#include "util/log.h"

#define COMMON_FEATURES \
	(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET)
#define STATUS_BY_DRIVER                                                                     \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |        \
	 VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

/* --- Queues on the home loop --- */

/* Edge-triggered: each signal gives an event of its own, so the counter need not be read. */
static void kick_handler(struct loop_fd *lfd, uint32_t events)
{
	struct virtio_queue *queue = container_of(lfd, struct virtio_queue, kick);

	(void)events;
	if (!virtio_queue_live(queue))
		return;
	queue->seen = virtqueue_avail_idx(&queue->vq); /* what comes from now on is news */
	queue->vdev->ops->handle_queue(queue);
}

/* What the driver would notify of: it has made more available. */
static bool kick_ready(struct loop_fd *lfd)
{
	struct virtio_queue *queue = container_of(lfd, struct virtio_queue, kick);

	return virtio_queue_live(queue) && virtqueue_avail_idx(&queue->vq) != queue->seen;
}

static void kick_watch(struct loop_fd *lfd, bool on)
{
	virtqueue_watch(&container_of(lfd, struct virtio_queue, kick)->vq, on);
}

static const struct loop_poll_ops kick_poll = { .ready = kick_ready, .watch = kick_watch };

static void queue_start(struct virtio_queue *queue)
{
	struct virtio_device *vdev = queue->vdev;

	if (queue->running || !queue->enabled ||
	    atomic_load(&vdev->status) & VIRTIO_STATUS_NEEDS_RESET)
		return;
	if (loop_fd_add(queue->home, &queue->kick)) {
		virtio_device_error(vdev, "its queue cannot be watched");
		return;
	}
	queue->running = true;
	queue->seen = queue->vq.last_avail;
	/* Chains may be there already. */
	virtio_queue_kick(queue);
}

static void queue_stop(struct virtio_queue *queue)
{
	loop_fd_del(&queue->kick);
	queue->running = false;
}

/* What one loop has of a device. */
struct share {
	struct virtio_device *vdev;
	struct loop *loop;
};

static void share_start(void *opaque)
{
	const struct share *share = opaque;
	struct virtio_device *vdev = share->vdev;

	if (share->loop == vdev->home && vdev->ops->start)
		vdev->ops->start(vdev);
	for (unsigned int i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i].home == share->loop)
			queue_start(&vdev->queues[i]);
}

static void share_stop(void *opaque)
{
	const struct share *share = opaque;
	struct virtio_device *vdev = share->vdev;

	for (unsigned int i = 0; i < vdev->queue_count; i++) {
		struct virtio_queue *queue = &vdev->queues[i];

		if (queue->home != share->loop)
			continue;
		queue_stop(queue);
		if (share->loop != vdev->home && vdev->ops->stop)
			vdev->ops->stop(vdev, queue);
	}
	if (share->loop == vdev->home && vdev->ops->stop)
		vdev->ops->stop(vdev, NULL);
}

/* On each loop, once, that has queues of the device and is not the device's own. */
static void on_other_loops(struct virtio_device *vdev, void (*fn)(void *opaque))
{
	for (unsigned int i = 0; i < vdev->queue_count; i++) {
		struct share share = { vdev, vdev->queues[i].home };
		bool done = share.loop == vdev->home;

		for (unsigned int j = 0; !done && j < i; j++)
			done = vdev->queues[j].home == share.loop;
		if (!done)
			loop_run_sync(share.loop, fn, &share);
	}
}

/* Under the device lock. The device is live before any of its queues, and to the end of the last one. */
static void start_all(struct virtio_device *vdev)
{
	struct share own = { vdev, vdev->home };

	loop_run_sync(vdev->home, share_start, &own);
	on_other_loops(vdev, share_start);
}

static void stop_all(struct virtio_device *vdev)
{
	struct share own = { vdev, vdev->home };

	on_other_loops(vdev, share_stop);
	loop_run_sync(vdev->home, share_stop, &own);
}

static void home_reset(void *opaque)
{
	struct virtio_device *vdev = opaque;

	vdev->ops->reset(vdev);
}

static void home_queue_start(void *opaque)
{
	queue_start(opaque);
}

static void home_queue_stop(void *opaque)
{
	struct virtio_queue *queue = opaque;

	queue_stop(queue);
	if (queue->vdev->ops->stop)
		queue->vdev->ops->stop(queue->vdev, queue);
}

bool virtio_queue_pop(struct virtio_queue *queue, struct virtq_chain *chain)
{
	int ret;

	if (!virtio_queue_live(queue))
		return false;
	ret = virtqueue_pop(&queue->vq, chain);
	if (ret < 0)
		virtio_device_error(queue->vdev, queue->vq.broken);
	return ret > 0;
}

void virtio_queue_flush(struct virtio_queue *queue)
{
	struct virtio_device *vdev = queue->vdev;

	if (!virtqueue_publish(&queue->vq))
		return;
	atomic_fetch_or(&vdev->isr, VIRTIO_ISR_QUEUE);
	vdev->transport_ops->notify_queue(vdev, queue);
}

/* Another process may have filled the counter and made the descriptor blocking: then the signal is its to miss. */
static bool takes_signal(int fd)
{
	return !fd_set_nonblock(fd, true) && fd_poll(fd, POLLOUT, 0) == 1;
}

void virtio_queue_kick(struct virtio_queue *queue)
{
	if (!queue->kick_shared || takes_signal(queue->kick.fd))
		eventfd_signal(queue->kick.fd);
}

int virtio_queue_call_begin(struct virtio_queue *queue, struct loop_fd *call)
{
	const struct virtio_transport_ops *ops = queue->vdev->transport_ops;

	if (queue->direct || call->loop)
		return 0;
	queue->direct = ops->queue_eventfd && !ops->queue_eventfd(queue->vdev, queue, call->fd);
	return queue->direct ? 0 : loop_fd_add(queue->home, call);
}

void virtio_queue_call_end(struct virtio_queue *queue, struct loop_fd *call)
{
	if (queue->direct)
		(void)queue->vdev->transport_ops->queue_eventfd(queue->vdev, queue, -1);
	queue->direct = false;
	loop_fd_del(call);
}

void virtio_device_error(struct virtio_device *vdev, const char *why)
{
	uint8_t old = atomic_fetch_or(&vdev->status, VIRTIO_STATUS_NEEDS_RESET);

	for (unsigned int i = 0; i < vdev->queue_count; i++)
		if (loop_is_current(vdev->queues[i].home))
			queue_stop(&vdev->queues[i]);
	if (old & VIRTIO_STATUS_NEEDS_RESET)
		return;
	log_warn_limited(&vdev->limit, "%s: the driver is broken, the device stops until it is reset: %s",
			 vdev->dev.id, why);
	/* §2.1.2: told at DRIVER_OK when that is still to come. */
	if (old & VIRTIO_STATUS_DRIVER_OK) {
		atomic_fetch_or(&vdev->isr, VIRTIO_ISR_CONFIG);
		vdev->transport_ops->notify_config(vdev);
	}
}

struct error_call {
	struct virtio_device *vdev;
	const char *why;
};

static void home_error(void *opaque)
{
	struct error_call *call = opaque;

	virtio_device_error(call->vdev, call->why);
}

/* --- Set-up of queues, under the device lock --- */

static bool resting(const struct virtio_device *vdev)
{
	return vdev->quiesced || vdev->held;
}

struct virtio_queue *virtio_device_queue(struct virtio_device *vdev, uint32_t index)
{
	return index < vdev->queue_count ? &vdev->queues[index] : NULL;
}

bool virtio_queue_writable_locked(const struct virtio_queue *queue)
{
	uint8_t status = atomic_load(&queue->vdev->status);

	if (!(status & VIRTIO_STATUS_FEATURES_OK) || queue->enabled)
		return false;
	return !(status & VIRTIO_STATUS_DRIVER_OK) || queue->was_reset;
}

void virtio_queue_enable_locked(struct virtio_queue *queue)
{
	struct virtio_device *vdev = queue->vdev;
	const char *why = NULL;

	if (!virtio_queue_writable_locked(queue))
		return;
	if (virtqueue_map(&queue->vq, queue->size_max, virtio_has_feature(vdev, VIRTIO_F_EVENT_IDX),
			  virtio_has_feature(vdev, VIRTIO_F_INDIRECT_DESC), &why)) {
		struct error_call call = { vdev, why };

		loop_run_sync(vdev->home, home_error, &call);
		return;
	}
	queue->enabled = true;
	queue->was_reset = false;
	if (vdev->started && !resting(vdev) &&
	    !(atomic_load(&vdev->status) & VIRTIO_STATUS_NEEDS_RESET))
		loop_run_sync(queue->home, home_queue_start, queue);
}

void virtio_queue_disable_locked(struct virtio_queue *queue)
{
	struct virtqueue old = queue->vq;

	if (!queue->enabled || atomic_load(&queue->vdev->status) & VIRTIO_STATUS_DRIVER_OK)
		return;
	virtqueue_reset(&queue->vq);
	queue->vq.size = old.size;
	queue->vq.desc_addr = old.desc_addr;
	queue->vq.avail_addr = old.avail_addr;
	queue->vq.used_addr = old.used_addr;
	queue->enabled = false;
}

void virtio_queue_reset_locked(struct virtio_queue *queue)
{
	struct virtio_device *vdev = queue->vdev;

	if (!vdev->started || !virtio_has_feature(vdev, VIRTIO_F_RING_RESET) || !queue->enabled)
		return;
	loop_run_sync(queue->home, home_queue_stop, queue);
	virtqueue_reset(&queue->vq);
	queue->enabled = false;
	queue->was_reset = true;
}

/* --- Features and status --- */

void virtio_device_set_driver_features_locked(struct virtio_device *vdev, uint32_t word, uint32_t value)
{
	uint64_t mask;

	/* §3.1.1: fixed from FEATURES_OK on. */
	if (word > 1 || atomic_load(&vdev->status) & VIRTIO_STATUS_FEATURES_OK)
		return;
	mask = 0xffffffffULL << (32 * word);
	vdev->features_driver = (vdev->features_driver & ~mask) | (uint64_t)value << (32 * word);
}

/* §2.2.2, §6.1: only what was offered, and never without VERSION_1. */
static bool accept_features(struct virtio_device *vdev)
{
	uint64_t strange = vdev->features_driver & ~vdev->features_offered;

	if (strange || !(vdev->features_driver & VIRTIO_F_VERSION_1)) {
		log_warn_limited(&vdev->limit, "%s: the driver wants features %#llx of %#llx: refused",
				 vdev->dev.id, (unsigned long long)vdev->features_driver,
				 (unsigned long long)vdev->features_offered);
		return false;
	}
	vdev->features = vdev->features_driver & vdev->features_offered;
	return true;
}

static void reset_locked(struct virtio_device *vdev)
{
	if (vdev->started)
		stop_all(vdev);
	for (unsigned int i = 0; i < vdev->queue_count; i++) {
		struct virtio_queue *queue = &vdev->queues[i];

		virtqueue_reset(&queue->vq);
		queue->enabled = false;
		queue->was_reset = false;
	}
	vdev->started = false;
	vdev->features_driver = 0;
	vdev->features = 0;
	vdev->features_offered = atomic_load(&vdev->features_next);
	atomic_store(&vdev->isr, 0);
	atomic_store(&vdev->status, 0);
	if (vdev->ops->reset)
		loop_run_sync(vdev->home, home_reset, vdev);
}

static void start_locked(struct virtio_device *vdev)
{
	vdev->started = true;
	if (atomic_load(&vdev->status) & VIRTIO_STATUS_NEEDS_RESET) {
		atomic_fetch_or(&vdev->isr, VIRTIO_ISR_CONFIG);
		vdev->transport_ops->notify_config(vdev);
	} else if (!resting(vdev)) {
		start_all(vdev);
	}
}

void virtio_device_set_status_locked(struct virtio_device *vdev, uint8_t value)
{
	uint8_t old = atomic_load(&vdev->status), set, all;

	if (!value) {
		reset_locked(vdev);
		return;
	}
	/* §2.1.1: a driver only ever adds bits; DEVICE_NEEDS_RESET is not its own. */
	set = value & STATUS_BY_DRIVER & ~old;
	all = old | set;
	if (set & VIRTIO_STATUS_FEATURES_OK &&
	    (!(all & VIRTIO_STATUS_ACKNOWLEDGE) || !(all & VIRTIO_STATUS_DRIVER) ||
	     !accept_features(vdev))) {
		set &= ~VIRTIO_STATUS_FEATURES_OK;
		all = old | set;
	}
	if (set & VIRTIO_STATUS_DRIVER_OK && !(all & VIRTIO_STATUS_FEATURES_OK))
		set &= ~VIRTIO_STATUS_DRIVER_OK;
	atomic_fetch_or(&vdev->status, set);
	if (set & VIRTIO_STATUS_DRIVER_OK)
		start_locked(vdev);
}

/* --- Configuration space --- */

static void config_changed(struct virtio_device *vdev)
{
	if (atomic_load(&vdev->status) & VIRTIO_STATUS_DRIVER_OK) {
		atomic_fetch_or(&vdev->isr, VIRTIO_ISR_CONFIG);
		vdev->transport_ops->notify_config(vdev);
	}
}

void virtio_device_set_config(struct virtio_device *vdev, const void *config, uint32_t size)
{
	pthread_mutex_lock(&vdev->config_lock);
	memcpy(vdev->config, config, size);
	vdev->config_size = size;
	vdev->config_generation++;
	pthread_mutex_unlock(&vdev->config_lock);
	config_changed(vdev);
}

void virtio_device_update_config(struct virtio_device *vdev, uint32_t offset, const void *data, uint32_t size,
				 bool tell)
{
	pthread_mutex_lock(&vdev->config_lock);
	memcpy(vdev->config + offset, data, size);
	vdev->config_generation++;
	pthread_mutex_unlock(&vdev->config_lock);
	if (tell)
		config_changed(vdev);
}

uint32_t virtio_device_config_read(struct virtio_device *vdev, uint32_t offset, unsigned int size)
{
	le32_t value = { 0 };

	pthread_mutex_lock(&vdev->config_lock);
	if (offset < vdev->config_size)
		memcpy(&value, vdev->config + offset, MIN(size, vdev->config_size - offset));
	pthread_mutex_unlock(&vdev->config_lock);
	return le32_to_cpu(value);
}

uint32_t virtio_device_config_generation(struct virtio_device *vdev)
{
	uint32_t generation;

	pthread_mutex_lock(&vdev->config_lock);
	generation = vdev->config_generation;
	pthread_mutex_unlock(&vdev->config_lock);
	return generation;
}

/* --- Life --- */

static void release(struct virtio_device *vdev)
{
	for (unsigned int i = 0; i < vdev->queue_count; i++)
		fd_close(&vdev->queues[i].kick.fd);
	free(vdev->queues);
	vdev->queues = NULL;
	vdev->queue_count = 0;
	pthread_mutex_destroy(&vdev->config_lock);
	pthread_mutex_destroy(&vdev->lock);
}

int virtio_device_add_queues(struct virtio_device *vdev, unsigned int count, uint16_t size,
			     struct error **errp)
{
	vdev->queues = calloc(count, sizeof(*vdev->queues));
	if (!vdev->queues)
		return error_set(errp, -ENOMEM, "%s: out of memory", vdev->dev.id);
	for (unsigned int i = 0; i < count; i++) {
		struct virtio_queue *queue = &vdev->queues[i];
		int fd = eventfd_new();

		if (fd < 0) /* release() closes those that are there */
			return error_set_errno(errp, fd, "%s: eventfd", vdev->dev.id);
		virtqueue_init(&queue->vq, vdev->dev.platform->space);
		queue->vdev = vdev;
		queue->index = i;
		queue->size_max = size;
		queue->kick = (struct loop_fd){
			.fd = fd, .events = EPOLLIN | EPOLLET, .handler = kick_handler, .poll = &kick_poll
		};
		list_init(&queue->kick.node);
		vdev->queue_count = i + 1;
	}
	return 0;
}

static int check_params(const struct virtio_feature_params *params, struct error **errp)
{
	if (params->packed)
		return error_set(errp, -ENOTSUP, "packed=on: there are no packed virtqueues, only split ones");
	if (params->iommu_platform)
		return error_set(errp, -ENOTSUP, "iommu_platform=on: there is no IOMMU, devices reach memory by its own addresses");
	return 0;
}

int virtio_device_realize(struct virtio_device *vdev, const struct virtio_transport_ops *ops,
			  struct error **errp)
{
	int ret;

	vdev->ops = vdev->dev.class->data;
	vdev->transport_ops = ops;
	ret = check_params(&vdev->params, errp);
	if (ret)
		return ret;
	pthread_mutex_init(&vdev->lock, NULL);
	pthread_mutex_init(&vdev->config_lock, NULL);
	ret = vdev->ops->realize(vdev, errp);
	if (ret) {
		release(vdev);
		return ret;
	}
	for (unsigned int i = 0; i < vdev->queue_count; i++)
		if (!vdev->queues[i].home)
			vdev->queues[i].home = vdev->home;
	virtio_device_offer(vdev, vdev->features_offered);
	vdev->features_offered = atomic_load(&vdev->features_next);
	return 0;
}

void virtio_device_offer(struct virtio_device *vdev, uint64_t features)
{
	uint64_t common = COMMON_FEATURES & ~vdev->features_lacking;

	if (!vdev->params.event_idx)
		common &= ~VIRTIO_F_EVENT_IDX;
	if (!vdev->params.indirect_desc)
		common &= ~VIRTIO_F_INDIRECT_DESC;
	atomic_store(&vdev->features_next, features | common);
}

void virtio_device_unrealize(struct virtio_device *vdev)
{
	virtio_device_reset(&vdev->dev);
	vdev->ops->unrealize(vdev);
	release(vdev);
}

void virtio_device_reset(struct device *dev)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);

	pthread_mutex_lock(&vdev->lock);
	reset_locked(vdev);
	pthread_mutex_unlock(&vdev->lock);
}

/* @flag is one of the reasons to rest; the queues run while there is none. */
static void rest_locked(struct virtio_device *vdev, bool *flag, bool value)
{
	bool before = resting(vdev);

	*flag = value;
	if (!vdev->started || resting(vdev) == before)
		return;
	if (!before)
		stop_all(vdev);
	else if (!(atomic_load(&vdev->status) & VIRTIO_STATUS_NEEDS_RESET))
		start_all(vdev);
}

bool virtio_is_device(const struct device *dev)
{
	return dev->class->quiesce == virtio_device_quiesce; /* as in the class of every transport */
}

void virtio_device_quiesce(struct device *dev)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);

	pthread_mutex_lock(&vdev->lock);
	rest_locked(vdev, &vdev->quiesced, true);
	pthread_mutex_unlock(&vdev->lock);
}

void virtio_device_resume(struct device *dev)
{
	struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);

	pthread_mutex_lock(&vdev->lock);
	rest_locked(vdev, &vdev->quiesced, false);
	pthread_mutex_unlock(&vdev->lock);
}

void virtio_device_hold_locked(struct virtio_device *vdev, bool hold)
{
	rest_locked(vdev, &vdev->held, hold);
}
