// SPDX-License-Identifier: Apache-2.0
/*
 * Sending. The header is copied out of the chain and checked before the host's kernel sees it; the
 * copy is what is sent, so the guest cannot change it any more (csum-offset). A frame that cannot
 * be sent, because it is malformed or because the host refuses it, is dropped as on any network;
 * only a chain without room for a header is a broken driver's.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net.h"

#define LOG_MODULE "virtio-net"
#include "util/log.h"

/* For so long it is looked for a next frame. */
#define LOOK_NS 50000

/* The frame in too many pieces for one call, as one. False: no memory. */
static bool flatten(struct net_pair *pair, struct iovec **iov, unsigned int *count, uint32_t len)
{
	if (!pair->bounce)
		pair->bounce = malloc(NET_FRAME_MAX);
	if (!pair->bounce || !net_gather(*iov, *count, 0, pair->bounce, len))
		return false;
	(*iov)[0] = (struct iovec){ pair->bounce, len };
	*count = 1;
	return true;
}

/* -EAGAIN: the netdev takes nothing now. Everything else is done with the frame. */
static int send_frame(struct net_pair *pair, struct net_header *header, struct virtq_chain *chain)
{
	struct virtio_net *net = pair->net;
	uint32_t len = chain->out_len - NETDEV_HEADER;
	struct iovec iov[NET_IOV_MAX], *data = chain->iov;
	struct netdev *netdev;
	unsigned int count;
	ssize_t n;

	if (!net_link_up(net) || !net_header_valid(header, net->vdev.features, len))
		return 0;
	count = net_skip(&data, chain->out_count, NETDEV_HEADER);
	if (count > NET_IOV_MAX - 1 && !flatten(pair, &data, &count, len))
		return 0;
	/* What a driver has no business to set (§5.1.6.2). */
	header->flags &= NET_HDR_F_NEEDS_CSUM;
	header->num_buffers = cpu_to_le16(0);
	iov[0] = (struct iovec){ header, sizeof(*header) };
	for (unsigned int i = 0; i < count; i++)
		iov[i + 1] = data[i];
	netdev = net->netdev; /* for the link is up */
	/* Chosen in an empty slot, and nobody makes the checksum. */
	if (header->flags && !(netdev->offloads & NETDEV_CSUM))
		return 0;
	if (netdev->ops->send) {
		n = netdev->ops->send(netdev, pair->index, iov, count + 1);
	} else {
		do {
			n = writev(pair->tx_watch->fd.fd, iov, count + 1);
		} while (n < 0 && errno == EINTR);
		if (n < 0)
			n = -errno;
	}
	if (n == -EAGAIN)
		return -EAGAIN;
	if (n < 0 && n != -EINVAL) /* EINVAL is the guest's doing, and its loss */
		log_debug("%s: a frame of %u bytes is not sent: %zd", net->vdev.dev.id, len, -n);
	return 0;
}

/* Does the netdev keep some of a frame until its descriptor is writable? */
static bool unsent(struct net_pair *pair)
{
	struct netdev *netdev;

	if (pair->tx_watch->fd.fd < 0)
		return false;
	netdev = pair->net->netdev;
	return netdev->ops->flush && netdev->ops->flush(netdev, pair->index) == -EAGAIN;
}

/*
 * Is it worth to look again before the driver is asked to tell? A notification costs it the way out of the guest and back, often
 * more than the frame costs here; when frames come one by one as fast as they are sent, each would have one. Who sends and waits for
 * an answer sends nothing meanwhile: what comes in ends the looking (net_rx.c). @sent: in this turn.
 */
static bool look_again(struct net_pair *pair, bool sent)
{
	int64_t now = clock_host_ns();

	if (!sent) { /* for the first time, or still */
		if (now - pair->tx_done_ns < LOOK_NS)
			return true;
		pair->tx_done_ns = 0;
		return false;
	}
	sent = now - pair->tx_done_ns < 2 * LOOK_NS;
	pair->tx_done_ns = now;
	return sent;
}

void net_tx_handle(struct net_pair *pair)
{
	struct virtio_queue *queue = pair->tx;
	unsigned int budget = queue->vq.size;
	struct virtq_chain chain;
	struct net_header header;
	bool sent = false;

	if (!virtio_queue_live(queue))
		return;
	net_watch_out(pair, unsent(pair));
	if (pair->tx_watch->want_out)
		return; /* the driver need not tell of more before that */
	virtqueue_notify_off(&queue->vq);
	do {
		while (virtio_queue_pop(queue, &chain)) {
			if (!net_gather(chain.iov, chain.out_count, 0, &header, sizeof(header))) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_device_error(queue->vdev, "a frame to send has no header");
				goto out;
			}
			if (!budget--) { /* others have their turn */
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_queue_kick(queue);
				goto out;
			}
			if (send_frame(pair, &header, &chain)) {
				virtqueue_unpop(&queue->vq, chain.head);
				net_watch_out(pair, true);
				goto out;
			}
			sent = true;
			virtqueue_push(&queue->vq, chain.head, 0);
			net_publish(queue, false);
		}
		if (virtio_queue_live(queue) && look_again(pair, sent)) {
			virtio_queue_kick(queue);
			break;
		}
	} while (virtio_queue_live(queue) && virtqueue_notify_on(&queue->vq));
	net_watch_out(pair, unsent(pair));
out:
	net_publish(queue, true);
}
