/* SPDX-License-Identifier: Apache-2.0 */
/* What both kinds of vsock device (virtio 1.2 §5.10) have in common: by unix sockets, and by the host's kernel. */
#ifndef VIRTIO_VSOCK_COMMON_H
#define VIRTIO_VSOCK_COMMON_H

#include "virtio/virtio.h"

#define VSOCK_DEVICE_ID 19
#define VSOCK_CID_HOST 2
#define VSOCK_CID_MIN 3
#define VSOCK_CID_MAX 0xfffffffe /* 0xffffffff means "any" to programs */

#define VSOCK_QUEUE_RX 0 /* to the guest */
#define VSOCK_QUEUE_TX 1
#define VSOCK_QUEUE_EVENT 2
#define VSOCK_QUEUES 3
#define VSOCK_QUEUE_SIZE 256

/* §5.10.4 */
#define VSOCK_F_STREAM (1ULL << 0)
#define VSOCK_F_SEQPACKET (1ULL << 1)

/* Main thread, in realize: -EBUSY when there is a vsock of either kind already. */
int __must_check vsock_check_single(const struct device *dev, struct error **errp);
/* Main thread, in realize: what the driver reads. */
void vsock_set_config(struct virtio_device *vdev, uint32_t guest_cid);

/* The one event there is (§5.10.6.7): the driver's connections are gone. Home loop. */
struct vsock_events {
	bool pending; /* waits for a buffer */
};

/* Tells the driver, at once or when it has a buffer for it. */
void vsock_events_reset(struct vsock_events *events, struct virtio_queue *queue);
/* There may be buffers in the event queue. */
void vsock_events_send(struct vsock_events *events, struct virtio_queue *queue);

#endif
