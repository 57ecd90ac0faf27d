// SPDX-License-Identifier: Apache-2.0
#include "vsock_common.h"

#include <errno.h>
#include <string.h>

#define EVENT_TRANSPORT_RESET 0

int vsock_check_single(const struct device *dev, struct error **errp)
{
	const struct device *other;

	list_for_each(other, &dev->platform->devices, node) {
		const struct virtio_device_ops *ops = other->class->data;

		if (virtio_is_device(other) && ops->device_id == VSOCK_DEVICE_ID)
			return error_set(errp, -EBUSY,
					 "a VM has one vsock device, and '%s' (%s) is there already",
					 other->id, other->class->name);
	}
	return 0;
}

void vsock_set_config(struct virtio_device *vdev, uint32_t guest_cid)
{
	le64_t config = cpu_to_le64(guest_cid); /* §5.10.4, all of it */

	virtio_device_set_config(vdev, &config, sizeof(config));
}

void vsock_events_send(struct vsock_events *events, struct virtio_queue *queue)
{
	le32_t event = cpu_to_le32(EVENT_TRANSPORT_RESET);
	const char *from = (const char *)&event;
	size_t left = sizeof(event);
	struct virtq_chain chain;

	if (!events->pending || !virtio_queue_pop(queue, &chain))
		return;
	if (chain.out_count || chain.in_len < sizeof(event)) {
		virtio_device_error(queue->vdev, "an event buffer is not writable, or too small");
		return;
	}
	for (unsigned int i = 0; left; i++) {
		size_t n = MIN(left, chain.iov[i].iov_len);

		memcpy(chain.iov[i].iov_base, from, n);
		from += n;
		left -= n;
	}
	events->pending = false;
	virtqueue_push(&queue->vq, chain.head, sizeof(event));
	virtio_queue_flush(queue);
}

void vsock_events_reset(struct vsock_events *events, struct virtio_queue *queue)
{
	events->pending = true;
	vsock_events_send(events, queue);
}
