// SPDX-License-Identifier: Apache-2.0
/* virtio-rng, the entropy device (virtio 1.2 §5.4): one queue of buffers to fill. */
#include <errno.h>
#include <string.h>

#include "mmio.h"
#include "pci.h"
#include "util/bucket.h"
#include "util/fd.h"
#include "virtio/classes.h"
#include "virtio/rng_backend.h"

#define LOG_MODULE "virtio-rng"
#include "util/log.h"

#define RNG_QUEUE_SIZE 256
/* Bounds of one turn on the home loop, so that a guest that asks without end does not hold it up (io-hijack). A
 * buffer may be filled in part (§5.4.6). */
#define REQUEST_MAX (64 * KIB)
#define REQUESTS_A_TURN 16
/*
 * What Linux asks for at a time. It gets that in one piece, however low the rate: since its driver checks the lengths of
 * devices (copy_data() in Debian's 6.1.0-56), it may wait for ever once it has taken a part of a buffer.
 */
#define WHOLE_MAX 64U
/* After an error of the source. */
#define RETRY_NS NSEC_PER_SEC

#define RATE_MIN 64
#define RATE_MAX 1000000000ULL

struct virtio_rng {
	struct virtio_device vdev;
	struct rng_backend *rng;
	uint64_t max_bytes;
	uint32_t period; /* ms */

	/* home loop */
	struct loop_fd source; /* watched while it has nothing to give */
	struct loop_timer timer;
	struct bucket bucket;
	struct log_limit source_limit;
};

#define RNG_PROPS \
	PROP_LINK("rng", struct virtio_rng, rng, LINK_RNG, PROPERTY_REQUIRED, "source of random bytes"), \
	PROP_UINT(64, "max-bytes", struct virtio_rng, max_bytes, 1, UINT64_MAX / 1000, 0, \
		  "bytes a period; no limit without it"), \
	PROP_UINT(32, "period", struct virtio_rng, period, 1, UINT32_MAX, 0, \
		  "milliseconds of a period"), \
	VIRTIO_FEATURE_PROPS(struct virtio_rng)

static const struct property rng_props[] = { RNG_PROPS, PROP_END };
static const struct property rng_pci_props[] = { RNG_PROPS, VIRTIO_PCI_PROPS(struct virtio_rng), PROP_END };

static struct virtio_rng *to_rng(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_rng, vdev);
}

/* Cuts the iovecs to @limit bytes; how many are left. */
static unsigned int cut(struct iovec *iov, unsigned int count, uint64_t limit)
{
	for (unsigned int i = 0; i < count; i++) {
		if (iov[i].iov_len >= limit) {
			iov[i].iov_len = limit;
			return i + 1;
		}
		limit -= iov[i].iov_len;
	}
	return count;
}

static void wait_for_source(struct virtio_rng *rng)
{
	if (rng->source.loop)
		return;
	if (rng->source.fd < 0 || loop_fd_add(rng->vdev.home, &rng->source)) /* not every device can be polled */
		loop_timer_set(&rng->timer, clock_now_ns() + RETRY_NS);
}

/* Fills one buffer. False: not now; whatever it waits for will call handle_queue() again. */
static bool fill(struct virtio_rng *rng, struct virtqueue *vq, struct virtq_chain *chain)
{
	int64_t now = clock_now_ns();
	uint64_t limit = MIN((uint64_t)chain->in_len, REQUEST_MAX);
	uint64_t available = bucket_available(&rng->bucket, now);
	ssize_t n;

	if (available < MIN(limit, rng->bucket.burst)) {
		loop_timer_set(&rng->timer, bucket_ready_ns(&rng->bucket, limit));
		return false;
	}
	n = rng_backend_read(rng->rng, rng->source.fd, chain->iov,
			     cut(chain->iov, chain->in_count, MIN(limit, available)));
	if (n == -EAGAIN) {
		wait_for_source(rng);
		return false;
	}
	if (n <= 0) {
		log_warn_limited(&rng->source_limit, "%s: reading %s: %s", rng->vdev.dev.id,
				 rng_backend_filename(rng->rng), n ? strerror((int)-n) : "end of file");
		loop_timer_set(&rng->timer, now + RETRY_NS);
		return false;
	}
	bucket_take(&rng->bucket, n, now);
	virtqueue_push(vq, chain->head, n);
	return true;
}

static void rng_handle_queue(struct virtio_queue *queue)
{
	struct virtio_rng *rng = to_rng(queue->vdev);
	unsigned int budget = REQUESTS_A_TURN;
	struct virtq_chain chain;

	if (!queue->running) /* the timer or the source of a device that broke meanwhile */
		return;
	virtqueue_notify_off(&queue->vq);
	do {
		while (virtio_queue_pop(queue, &chain)) {
			if (!chain.in_count || chain.out_count) { /* §5.4.6.1 */
				virtio_device_error(queue->vdev, "a buffer for random bytes is not writable");
				return;
			}
			if (!budget--) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_queue_kick(queue);
				goto out;
			}
			if (!fill(rng, &queue->vq, &chain)) {
				virtqueue_unpop(&queue->vq, chain.head);
				goto out;
			}
		}
	} while (queue->running && virtqueue_notify_on(&queue->vq));
out:
	virtio_queue_flush(queue);
}

static void source_ready(struct loop_fd *lfd, uint32_t events)
{
	struct virtio_rng *rng = container_of(lfd, struct virtio_rng, source);

	(void)events;
	loop_fd_del(lfd);
	rng_handle_queue(&rng->vdev.queues[0]);
}

static void timer_expired(struct loop_timer *timer)
{
	rng_handle_queue(&container_of(timer, struct virtio_rng, timer)->vdev.queues[0]);
}

static void rng_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_rng *rng = to_rng(vdev);

	(void)queue;
	loop_fd_del(&rng->source);
	loop_timer_cancel(&rng->timer);
}

static int rng_realize(struct virtio_device *vdev, struct error **errp)
{
	struct virtio_rng *rng = to_rng(vdev);
	uint64_t rate = 0;
	int fd, ret;

	if (!rng->max_bytes != !rng->period)
		return error_set(errp, -EINVAL, "max-bytes and period are given together or not at all");
	if (rng->period) {
		rate = rng->max_bytes * 1000 / rng->period;
		if (rate < RATE_MIN || rate > RATE_MAX)
			return error_set(errp, -ERANGE,
					 "max-bytes=%llu,period=%u: %llu bytes a second is out of range "
					 "[%d, %llu]", (unsigned long long)rng->max_bytes, rng->period,
					 (unsigned long long)rate, RATE_MIN, RATE_MAX);
	}
	bucket_init_burst(&rng->bucket, rate, MAX(rate / 10, (uint64_t)WHOLE_MAX));
	vdev->home = vdev->dev.platform->main_loop;
	ret = virtio_device_add_queues(vdev, 1, RNG_QUEUE_SIZE, errp);
	if (ret)
		return ret;
	ret = rng_backend_open(rng->rng, &fd);
	if (ret)
		return error_set_errno(errp, ret, "%s", rng_backend_filename(rng->rng));
	rng->source = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .handler = source_ready };
	list_init(&rng->source.node);
	loop_timer_init(&rng->timer, vdev->home, timer_expired);
	return 0;
}

static void rng_unrealize(struct virtio_device *vdev)
{
	fd_close(&to_rng(vdev)->source.fd);
}

static const struct virtio_device_ops rng_ops = {
	.device_id = 4,
	.realize = rng_realize,
	.unrealize = rng_unrealize,
	.stop = rng_stop,
	.handle_queue = rng_handle_queue,
};

const struct device_class virtio_rng_mmio_class = {
	.name = "virtio-rng-device",
	.summary = "virtio random number generator",
	.instance_size = sizeof(struct virtio_rng),
	.props = rng_props,
	.data = &rng_ops,
	VIRTIO_MMIO_CLASS,
};

const struct device_class virtio_rng_pci_class = {
	.name = "virtio-rng-pci",
	.summary = "virtio random number generator",
	.instance_size = sizeof(struct virtio_rng),
	.props = rng_pci_props,
	.data = &rng_ops,
	VIRTIO_PCI_CLASS,
};
