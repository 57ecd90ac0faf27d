// SPDX-License-Identifier: Apache-2.0
/*
 * Receiving. The back end writes frames straight into the driver's buffers: chains are popped until
 * they hold the largest frame that may come, one readv() fills as many of them as the frame needs,
 * and the others wait for the next one. Behind them readv() is given the spill, so that a frame
 * that is longer than the buffers at hand is not lost: its rest waits there for more buffers.
 * Without buffers the back end is not looked at until the driver has put some in, which it is asked
 * to tell (rx-stall).
 */
#include <errno.h>
#include <string.h>

#include "net.h"

#define LOG_MODULE "virtio-net"
#include "util/log.h"

/* Frames in one turn on the home loop. */
#define FRAMES_A_TURN 256

static bool mergeable(const struct net_pair *pair)
{
	return virtio_has_feature(pair->rx->vdev, NET_F_MRG_RXBUF);
}

/* How much shall be at hand; more may come, which is what the spill is for. */
static uint32_t wanted(const struct net_pair *pair)
{
	const uint64_t large = NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_UFO |
			       NET_F_GUEST_USO4 | NET_F_GUEST_USO6;

	if (pair->rx_pending)
		return pair->rx_pending;
	return NETDEV_HEADER + (virtio_has_feature(pair->rx->vdev, large) ? NET_FRAME_MAX : 1522);
}

/* False: the driver broke a rule. */
static bool stage(struct net_pair *pair, const struct virtq_chain *chain)
{
	unsigned int count = MIN(chain->in_count, NET_IOV_MAX - 1);
	struct net_buffer *buffer = &pair->buffers[pair->buffer_count];
	const struct iovec *iov = chain->iov + chain->out_count;

	if (chain->out_count || chain->in_len < NETDEV_HEADER) {
		virtqueue_unpop(&pair->rx->vq, chain->head);
		virtio_device_error(pair->rx->vdev,
				    "a receive buffer is not writable or too short for the header");
		return false;
	}
	*buffer = (struct net_buffer){ .head = chain->head, .iov_count = count };
	for (unsigned int i = 0; i < count; i++)
		buffer->len += iov[i].iov_len;
	memcpy(&pair->rx_iov[pair->rx_iov_count], iov, count * sizeof(*iov));
	pair->rx_iov_count += count;
	pair->buffer_bytes += buffer->len;
	pair->buffer_count++;
	return true;
}

enum supply { SUPPLY_NONE, SUPPLY_ENOUGH, SUPPLY_IN_TOO_MANY_PIECES };

/* Pops chains until there is enough at hand, no more to pop now, or enough pieces for one call. */
static enum supply fill_up(struct net_pair *pair)
{
	struct virtio_queue *queue = pair->rx;
	uint32_t want = wanted(pair);
	struct virtq_chain chain;

	if (!mergeable(pair) && pair->buffer_count)
		return SUPPLY_ENOUGH;
	while (pair->buffer_bytes < want) {
		if (!virtio_queue_pop(queue, &chain))
			return SUPPLY_NONE;
		if (pair->rx_iov_count + MIN(chain.in_count, NET_IOV_MAX - 1) > NET_IOV_MAX - 1) {
			virtqueue_unpop(&queue->vq, chain.head);
			return SUPPLY_IN_TOO_MANY_PIECES;
		}
		if (!stage(pair, &chain))
			return SUPPLY_NONE;
		if (!mergeable(pair))
			return SUPPLY_ENOUGH;
	}
	return SUPPLY_ENOUGH;
}

/* The first @count buffers are the driver's now. */
static void consume(struct net_pair *pair, unsigned int count, unsigned int iovs)
{
	pair->buffer_count -= count;
	pair->rx_iov_count -= iovs;
	memmove(pair->buffers, pair->buffers + count, pair->buffer_count * sizeof(*pair->buffers));
	memmove(pair->rx_iov, pair->rx_iov + iovs, pair->rx_iov_count * sizeof(*pair->rx_iov));
}

/* Gives the driver the buffers that the first @len bytes lie in. */
static void give(struct net_pair *pair, uint32_t len)
{
	unsigned int count = 0, iovs = 0;
	uint32_t left = len;
	le16_t num_buffers;

	while (left) {
		struct net_buffer *buffer = &pair->buffers[count++];
		uint32_t part = MIN(left, buffer->len);

		virtqueue_push(&pair->rx->vq, buffer->head, part);
		pair->buffer_bytes -= buffer->len;
		iovs += buffer->iov_count;
		left -= part;
	}
	/* The back end does not write it (§5.1.6.4). The memory is guest RAM, which stays; nothing
	 * is published yet. */
	num_buffers = cpu_to_le16(count);
	if (!net_scatter(pair->rx_iov, pair->rx_iov_count, offsetof(struct net_header, num_buffers),
			 &num_buffers, sizeof(num_buffers)))
		log_debug("%s: no header in %u bytes", pair->rx->vdev->dev.id, len);
	consume(pair, count, iovs);
	net_publish(pair->rx, false);
}

/* What the filter looks at: read once, after which the guest may do with it what it likes. */
static bool accepted(struct net_pair *pair, uint32_t len)
{
	struct virtio_net *net = pair->net;
	uint8_t frame[ETHER_HEADER + 4] = { 0 };
	bool pass;

	if (len < NETDEV_HEADER + ETHER_HEADER)
		return false;
	/* The spill is the last piece. */
	if (!net_gather(pair->rx_iov, pair->rx_iov_count + 1, NETDEV_HEADER, frame,
			MIN(len - NETDEV_HEADER, (uint32_t)sizeof(frame))))
		return false;
	pthread_mutex_lock(&net->filter_lock);
	pass = net_filter_pass(&net->filter, net->mac, frame);
	pthread_mutex_unlock(&net->filter_lock);
	return pass;
}

/* Copies the spill behind what is in the buffers. False: still not enough of them. */
static bool finish_pending(struct net_pair *pair, uint64_t spilled_at)
{
	uint32_t rest = pair->rx_pending - spilled_at;

	if (pair->buffer_bytes < pair->rx_pending)
		return false;
	if (!net_scatter(pair->rx_iov, pair->rx_iov_count, spilled_at, pair->spill, rest))
		return false;
	give(pair, pair->rx_pending);
	pair->rx_pending = 0;
	return true;
}

/* Takes more buffers for the frame that did not fit. False: wait for them. */
static bool retry_pending(struct net_pair *pair)
{
	uint64_t spilled_at = pair->buffer_bytes;
	enum supply supply = fill_up(pair);

	if (!virtio_queue_live(pair->rx))
		return false;
	if (finish_pending(pair, spilled_at))
		return true;
	/* A ring, or a call, of tiny buffers that will never hold it: the frame is lost, the queue
	 * is not. */
	if (supply == SUPPLY_IN_TOO_MANY_PIECES || pair->buffer_count == pair->rx->vq.size) {
		pair->rx_pending = 0;
		return true;
	}
	/* What was in the spill goes with the buffers, so that the next look continues behind them.
	 */
	if (pair->buffer_bytes > spilled_at) {
		uint32_t part = pair->buffer_bytes - spilled_at;

		if (!net_scatter(pair->rx_iov, pair->rx_iov_count, spilled_at, pair->spill, part))
			return false;
		memmove(pair->spill, pair->spill + part, pair->rx_pending - pair->buffer_bytes);
	}
	return false;
}

/* One frame. 1: go on, 0: nothing there, -errno. */
static int receive(struct net_pair *pair)
{
	struct iovec *iov = pair->rx_iov;
	struct netdev *netdev = pair->net->netdev;
	ssize_t n;

	iov[pair->rx_iov_count] = (struct iovec){ pair->spill, NETDEV_HEADER + NET_FRAME_MAX };
	if (netdev->ops->receive) {
		n = netdev->ops->receive(netdev, pair->index, iov, pair->rx_iov_count + 1);
	} else {
		n = readv(pair->rx_watch->fd.fd, iov, pair->rx_iov_count + 1);
		if (n < 0)
			n = -errno;
	}
	if (n < 0)
		return n == -EAGAIN ? 0 : n == -EINTR ? 1 : (int)n;
	if (!n)
		return -ENODEV; /* the other side has gone */
	if (!net_link_up(pair->net) || !accepted(pair, n))
		return 1;
	if (pair->rx_watch == pair->tx_watch)
		pair->tx_done_ns = 0;
	if ((uint64_t)n <= pair->buffer_bytes) {
		give(pair, n);
		return 1;
	}
	if (!mergeable(pair)) /* the driver's buffers are too short for what it negotiated: lost */
		return 1;
	pair->rx_pending = n;
	return 1;
}

/* Is there something at hand to receive into? */
static bool ready(struct net_pair *pair)
{
	if (pair->rx_pending)
		return retry_pending(pair);
	(void)fill_up(pair);
	return virtio_queue_live(pair->rx) && pair->buffer_count;
}

/* By the driver. Asked again when reading failed: the control queue may have switched the netdev's queue off meanwhile. */
static bool used(const struct net_pair *pair)
{
	return pair->index < pair->net->pairs_used;
}

void net_rx_handle(struct net_pair *pair)
{
	struct virtio_queue *queue = pair->rx;
	unsigned int budget = FRAMES_A_TURN;
	bool want = true;

	if (!virtio_queue_live(queue) || pair->rx_watch->fd.fd < 0 || !used(pair) || pair->rx_retry.failed) {
		net_watch_in(pair, false);
		return;
	}
	virtqueue_notify_off(&queue->vq);
	for (;;) {
		int ret;

		if (!budget--) { /* others have their turn */
			virtio_queue_kick(queue);
			break;
		}
		if (!ready(pair)) {
			if (virtio_queue_live(queue) && virtqueue_notify_on(&queue->vq))
				continue;
			want = false; /* until the driver says that there are buffers */
			break;
		}
		ret = receive(pair);
		if (ret < 0 && ret != -ENOTCONN && used(pair))
			net_host_error(&pair->rx_retry, "receiving", ret);
		want = ret >= 0;
		if (ret <= 0)
			break;
	}
	net_watch_in(pair, want);
	net_publish(queue, true);
}

void net_rx_stop(struct net_pair *pair)
{
	/* In reverse, so that the next pop gives the first of them. */
	while (pair->buffer_count)
		virtqueue_unpop(&pair->rx->vq, pair->buffers[--pair->buffer_count].head);
	pair->rx_iov_count = 0;
	pair->buffer_bytes = 0;
	pair->rx_pending = 0;
}
