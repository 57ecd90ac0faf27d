// SPDX-License-Identifier: Apache-2.0
/*
 * The user-space vsock device (virtio 1.2 §5.10): packets out of the transmit queue, packets into the receive queue. What
 * they mean is in vsock_connection.c, where their bytes go in vsock_bridge.c.
 */
#include "vsock.h"

#include <errno.h>
#include <string.h>

#include "mmio.h"
#include "pci.h"
#include "virtio/classes.h"

#define LOG_MODULE "virtio-vsock"
#include "util/log.h"

#define PACKETS_A_TURN 256 /* bound of one turn on the home loop (io-hijack) */
#define PATH_MAX_BYTES 96 /* with "_4294967295" behind it, it still fits in a socket's address */

#define VSOCK_PROPS \
	{ .name = "guest-cid", .help = "context id of the guest", .type = PROPERTY_UINT32, \
	  .flags = PROPERTY_REQUIRED, .offset = offsetof(struct vsock, guest_cid), .min = VSOCK_CID_MIN, \
	  .max = VSOCK_CID_MAX }, \
	{ .name = "uds-path", .help = "socket for host programs; \"<uds-path>_<port>\" are those that the guest reaches", \
	  .type = PROPERTY_STRING, .flags = PROPERTY_REQUIRED, .offset = offsetof(struct vsock, uds_path), \
	  .min = 1, .max = PATH_MAX_BYTES }, \
	PROP_LINK("iothread", struct vsock, iothread, LINK_IOTHREAD, 0, \
		  "thread that moves the bytes; the main thread without it"), \
	VIRTIO_FEATURE_PROPS(struct vsock)

static const struct property vsock_props[] = { VSOCK_PROPS, PROP_END };
static const struct property vsock_pci_props[] = { VSOCK_PROPS, VIRTIO_PCI_PROPS(struct vsock), PROP_END };

static struct vsock *to_vsock(struct virtio_device *vdev)
{
	return container_of(vdev, struct vsock, vdev);
}

/* --- iovecs --- */

unsigned int vsock_iov_cut(struct iovec *iov, unsigned int count, uint64_t limit)
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

/* Where a header lies, which a driver may split at every byte. */
struct header_place {
	struct iovec iov[sizeof(struct vsock_header)];
	unsigned int count;
};

/*
 * Takes the header's bytes off the iovecs, which hold more than that; *iov and *count become what is behind it. The
 * virtqueue gives no empty iovecs.
 */
static void split_header(struct iovec **iov, unsigned int *count, struct header_place *place)
{
	size_t left = sizeof(struct vsock_header);

	place->count = 0;
	while (left) {
		struct iovec *first = *iov;
		size_t n = MIN(left, first->iov_len);

		place->iov[place->count++] = (struct iovec){ first->iov_base, n };
		left -= n;
		first->iov_base = (char *)first->iov_base + n;
		first->iov_len -= n;
		if (!first->iov_len) {
			(*iov)++;
			(*count)--;
		}
	}
}

static void read_header(const struct header_place *place, struct vsock_header *header)
{
	char *to = (char *)header;

	for (unsigned int i = 0; i < place->count; i++) {
		memcpy(to, place->iov[i].iov_base, place->iov[i].iov_len);
		to += place->iov[i].iov_len;
	}
}

static void write_header(const struct header_place *place, const struct vsock_header *header)
{
	const char *from = (const char *)header;

	for (unsigned int i = 0; i < place->count; i++) {
		memcpy(place->iov[i].iov_base, from, place->iov[i].iov_len);
		from += place->iov[i].iov_len;
	}
}

/* --- To the guest --- */

static bool has_work(const struct vsock *vsock)
{
	return vsock->refusal_count || !list_empty(&vsock->ready);
}

/* The next packet; its payload goes to the iovecs. The number of its bytes, or -EAGAIN: not this time. */
static int next_packet(struct vsock *vsock, struct vsock_header *header, struct iovec *iov,
		       unsigned int count, uint32_t room)
{
	if (vsock_next_refusal(vsock, header))
		return 0;
	return vsock_connection_next(list_entry(vsock->ready.next, struct vsock_connection, ready),
				     header, iov, count, room);
}

/* False: no buffer, or no packet fits the buffers of this driver. */
static bool fill_one(struct vsock *vsock, struct virtio_queue *queue)
{
	struct vsock_header header;
	struct header_place place;
	struct virtq_chain chain;
	unsigned int count;
	struct iovec *iov;
	int n;

	if (!virtio_queue_pop(queue, &chain))
		return false;
	if (chain.out_count || chain.in_len <= sizeof(header)) {
		virtio_device_error(queue->vdev, "a receive buffer is not writable, or has no room for data");
		return false;
	}
	iov = chain.iov;
	count = chain.in_count;
	split_header(&iov, &count, &place);
	n = next_packet(vsock, &header, iov, count, chain.in_len - sizeof(header));
	if (n < 0) {
		virtqueue_unpop(&queue->vq, chain.head);
		return true;
	}
	write_header(&place, &header);
	virtqueue_push(&queue->vq, chain.head, sizeof(header) + n);
	return true;
}

static void fill_buffers(struct vsock *vsock)
{
	struct virtio_queue *queue = &vsock->vdev.queues[VSOCK_QUEUE_RX];
	unsigned int budget = PACKETS_A_TURN;

	if (!vsock->running || !queue->running)
		return;
	vsock->filling = true;
	virtqueue_notify_off(&queue->vq);
	while (has_work(vsock)) {
		if (!budget--) {
			loop_call_schedule(&vsock->rx_call);
			break;
		}
		/* A notification is wanted only while something waits for buffers. */
		if (!fill_one(vsock, queue) && (!queue->running || !virtqueue_notify_on(&queue->vq)))
			break;
	}
	vsock->filling = false;
	virtio_queue_flush(queue);
	if (vsock->tx_stalled && vsock_can_refuse(vsock)) {
		vsock->tx_stalled = false;
		virtio_queue_kick(&vsock->vdev.queues[VSOCK_QUEUE_TX]);
	}
}

static void rx_call(struct loop_call *call)
{
	fill_buffers(container_of(call, struct vsock, rx_call));
}

void vsock_rx_schedule(struct vsock *vsock)
{
	if (vsock->running && !vsock->filling)
		loop_call_schedule(&vsock->rx_call);
}

/* --- From the guest --- */

static void take_packet(struct vsock *vsock, struct virtq_chain *chain)
{
	struct vsock_packet packet = { .iov = chain->iov, .iov_count = chain->out_count };
	struct vsock_header header;
	struct header_place place;

	split_header(&packet.iov, &packet.iov_count, &place);
	read_header(&place, &header);
	/* §5.10.6.4: the guest's own address is the only one it has. */
	if (le64_to_cpu(header.src_cid) != vsock->guest_cid) {
		log_warn_limited(&vsock->guest_limit, "%s: a packet from context id %llu is dropped",
				 vsock->vdev.dev.id, (unsigned long long)le64_to_cpu(header.src_cid));
		return;
	}
	packet.dst_cid = le64_to_cpu(header.dst_cid);
	packet.guest_port = le32_to_cpu(header.src_port);
	packet.host_port = le32_to_cpu(header.dst_port);
	packet.len = le32_to_cpu(header.len);
	packet.type = le16_to_cpu(header.type);
	packet.op = le16_to_cpu(header.op);
	packet.flags = le32_to_cpu(header.flags);
	packet.buf_alloc = le32_to_cpu(header.buf_alloc);
	packet.fwd_cnt = le32_to_cpu(header.fwd_cnt);
	packet.len_lies = packet.len > chain->out_len - sizeof(header);
	vsock_connection_receive(vsock, &packet);
}

static void take_available(struct vsock *vsock, struct virtio_queue *queue)
{
	unsigned int budget = queue->vq.size;
	struct virtq_chain chain;

	virtqueue_notify_off(&queue->vq);
	do {
		while (virtqueue_pending(&queue->vq)) {
			/* §5.10.6.2: packets that need an answer wait until the guest has taken those before. */
			if (!vsock_can_refuse(vsock)) {
				vsock->tx_stalled = true;
				return;
			}
			if (!budget--) {
				virtio_queue_kick(queue);
				return;
			}
			if (!virtio_queue_pop(queue, &chain))
				return;
			if (chain.in_count || chain.out_len < sizeof(struct vsock_header)) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_device_error(queue->vdev, "a packet has no header, or is writable");
				return;
			}
			take_packet(vsock, &chain);
			virtqueue_push(&queue->vq, chain.head, 0);
		}
	} while (virtqueue_notify_on(&queue->vq));
}

static void vsock_handle_queue(struct virtio_queue *queue)
{
	struct vsock *vsock = to_vsock(queue->vdev);

	switch (queue->index) {
	case VSOCK_QUEUE_RX:
		fill_buffers(vsock);
		break;
	case VSOCK_QUEUE_TX:
		take_available(vsock, queue);
		virtio_queue_flush(queue);
		break;
	default:
		vsock_events_send(&vsock->events, queue);
	}
}

/* --- Time --- */

void vsock_set_timer(struct vsock *vsock, int64_t deadline_ns)
{
	if (vsock->timer_ns && vsock->timer_ns <= deadline_ns)
		return;
	vsock->timer_ns = deadline_ns;
	loop_timer_set(&vsock->timer, deadline_ns);
}

/* While the device stands still, only what has nothing to do with the guest any more goes on. */
static bool may_act(const struct vsock_connection *conn)
{
	return conn->deadline_ns && (conn->vsock->running || conn->state == VSOCK_ORPHAN);
}

static void timer_expired(struct loop_timer *timer)
{
	struct vsock *vsock = container_of(timer, struct vsock, timer);
	struct vsock_connection *conn, *next;
	int64_t now = clock_now_ns();

	vsock->timer_ns = 0;
	list_for_each_safe(conn, next, &vsock->connections, node) {
		if (may_act(conn) && conn->deadline_ns <= now)
			vsock_connection_expired(conn);
	}
	list_for_each(conn, &vsock->connections, node) {
		if (may_act(conn))
			vsock_set_timer(vsock, conn->deadline_ns);
	}
	if (vsock->listen_again_ns && vsock->listen_again_ns <= now) {
		vsock->listen_again_ns = 0;
		vsock_bridge_update(vsock);
	} else if (vsock->listen_again_ns) {
		vsock_set_timer(vsock, vsock->listen_again_ns);
	}
}

/* --- Life --- */

static void orphan_all(struct vsock *vsock)
{
	struct vsock_connection *conn, *next;

	list_for_each_safe(conn, next, &vsock->connections, node)
		vsock_connection_orphan(conn);
	vsock->refusal_count = 0;
	vsock->tx_stalled = false;
}

static void vsock_start(struct virtio_device *vdev)
{
	struct vsock *vsock = to_vsock(vdev);
	struct vsock_connection *conn, *next;

	vsock->running = true;
	vsock_bridge_update(vsock);
	/* What happened at the host's ends during a pause was noted. */
	list_for_each_safe(conn, next, &vsock->connections, node)
		vsock_connection_host_event(conn);
	vsock_set_timer(vsock, clock_now_ns());
	vsock_rx_schedule(vsock);
}

static void vsock_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct vsock *vsock = to_vsock(vdev);
	bool stalled = vsock->tx_stalled;

	if (!queue) {
		vsock->running = false;
		vsock_bridge_update(vsock);
		loop_call_cancel(&vsock->rx_call);
	} else if (queue->index != VSOCK_QUEUE_EVENT) {
		/* Nobody knows which of its packets the driver threw away. */
		orphan_all(vsock);
		vsock_events_reset(&vsock->events, &vdev->queues[VSOCK_QUEUE_EVENT]);
		if (stalled) /* nothing is left that it waited for */
			virtio_queue_kick(&vdev->queues[VSOCK_QUEUE_TX]);
	}
}

static void vsock_reset(struct virtio_device *vdev)
{
	struct vsock *vsock = to_vsock(vdev);

	orphan_all(vsock);
	vsock->events.pending = false;
}

static int vsock_realize(struct virtio_device *vdev, struct error **errp)
{
	struct vsock *vsock = to_vsock(vdev);
	int ret;

	ret = vsock_check_single(&vdev->dev, errp);
	if (ret)
		return ret;
	vdev->home = vsock->iothread ? iothread_loop(vsock->iothread) : vdev->dev.platform->main_loop;
	list_init(&vsock->connections);
	list_init(&vsock->ready);
	loop_call_init(&vsock->rx_call, vdev->home, rx_call);
	loop_timer_init(&vsock->timer, vdev->home, timer_expired);
	ret = virtio_device_add_queues(vdev, VSOCK_QUEUES, VSOCK_QUEUE_SIZE, errp);
	if (!ret)
		ret = vsock_bridge_open(vsock, errp);
	if (ret)
		return ret;
	vdev->features_offered = VSOCK_F_STREAM;
	vsock_set_config(vdev, vsock->guest_cid);
	return 0;
}

static void home_close(void *opaque)
{
	struct vsock *vsock = opaque;
	struct vsock_connection *conn, *next;

	list_for_each_safe(conn, next, &vsock->connections, node)
		vsock_connection_free(conn);
	loop_call_cancel(&vsock->rx_call);
	loop_timer_cancel(&vsock->timer);
	loop_fd_del(&vsock->listener);
}

static void vsock_unrealize(struct virtio_device *vdev)
{
	loop_run_sync(vdev->home, home_close, to_vsock(vdev));
	/* The socket's file is the main thread's business: no other may reach for paths. */
	vsock_bridge_close(to_vsock(vdev));
}

static const struct virtio_device_ops vsock_ops = {
	.device_id = VSOCK_DEVICE_ID,
	.realize = vsock_realize,
	.unrealize = vsock_unrealize,
	.start = vsock_start,
	.stop = vsock_stop,
	.reset = vsock_reset,
	.handle_queue = vsock_handle_queue,
};

const struct device_class virtio_vsock_mmio_class = {
	.name = "virtio-vsock-device",
	.summary = "vsock between the guest and unix sockets of the host",
	.instance_size = sizeof(struct vsock),
	.props = vsock_props,
	.data = &vsock_ops,
	VIRTIO_MMIO_CLASS,
};

const struct device_class virtio_vsock_pci_class = {
	.name = "virtio-vsock-pci",
	.summary = "vsock between the guest and unix sockets of the host",
	.instance_size = sizeof(struct vsock),
	.props = vsock_pci_props,
	.data = &vsock_ops,
	VIRTIO_PCI_CLASS,
};
