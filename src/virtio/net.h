/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2 §5.1), cut into: the device (net.c), receiving (net_rx.c), sending
 * (net_tx.c), the control queue and the receive filter (net_ctrl.c), headers and scattered bytes
 * (net_packet.c), the netdev's descriptors in the loops (net_watch.c), the kernel's data path (vhost_net.c) and
 * another process's (vhost_user_net.c), back ends that come and go (net_slot.c).
 *
 * There are up to three loops: the device's home loop has the control queue and the configuration, the rx loop all queues
 * to receive, the tx loop all queues to send. Without rx-iothread and tx-iothread they are one. What more than one of
 * them looks at is atomic or under filter_lock; on the home loop nothing waits for another one.
 */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include <sys/uio.h>

#include "net/netdev.h"
#include "virtio/virtio.h"

#define NET_F_CSUM (1ULL << 0)
#define NET_F_GUEST_CSUM (1ULL << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (1ULL << 2)
#define NET_F_MTU (1ULL << 3)
#define NET_F_MAC (1ULL << 5)
#define NET_F_GUEST_TSO4 (1ULL << 7)
#define NET_F_GUEST_TSO6 (1ULL << 8)
#define NET_F_GUEST_ECN (1ULL << 9)
#define NET_F_GUEST_UFO (1ULL << 10)
#define NET_F_HOST_TSO4 (1ULL << 11)
#define NET_F_HOST_TSO6 (1ULL << 12)
#define NET_F_HOST_ECN (1ULL << 13)
#define NET_F_HOST_UFO (1ULL << 14)
#define NET_F_MRG_RXBUF (1ULL << 15)
#define NET_F_STATUS (1ULL << 16)
#define NET_F_CTRL_VQ (1ULL << 17)
#define NET_F_CTRL_RX (1ULL << 18)
#define NET_F_CTRL_VLAN (1ULL << 19)
#define NET_F_CTRL_RX_EXTRA (1ULL << 20)
#define NET_F_GUEST_ANNOUNCE (1ULL << 21)
#define NET_F_MQ (1ULL << 22)
#define NET_F_CTRL_MAC_ADDR (1ULL << 23)
#define NET_F_GUEST_USO4 (1ULL << 54)
#define NET_F_GUEST_USO6 (1ULL << 55)
#define NET_F_HOST_USO (1ULL << 56)

/* What CTRL_GUEST_OFFLOADS switches: bits of the same numbers (§5.1.6.5.6). */
#define NET_GUEST_OFFLOADS                                                                         \
	(NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN |                \
	 NET_F_GUEST_UFO | NET_F_GUEST_USO4 | NET_F_GUEST_USO6)

#define NET_S_LINK_UP 1
#define NET_S_ANNOUNCE 2

/* struct virtio_net_hdr_v1. Its length does not depend on features: VERSION_1 is always negotiated
 * (§5.1.6.1). */
struct net_header {
	uint8_t flags, gso_type;
	le16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
_Static_assert(sizeof(struct net_header) == NETDEV_HEADER, "header");

#define NET_HDR_F_NEEDS_CSUM 1
#define NET_HDR_GSO_TCPV4 1
#define NET_HDR_GSO_UDP 3
#define NET_HDR_GSO_TCPV6 4
#define NET_HDR_GSO_UDP_L4 5
#define NET_HDR_GSO_ECN 0x80

#define ETHER_HEADER 14U
#define ETHER_ADDR 6U
#define NET_FRAME_MAX NETDEV_FRAME_MAX
/* Pieces of memory in one readv() or writev(). */
#define NET_IOV_MAX 1024U

/* --- net_packet.c --- */

/* Copies @len bytes out of, or into, the iovecs' bytes from @offset on. False: they end before
 * that, nothing is copied. */
bool __must_check net_gather(const struct iovec *iov, unsigned int count, size_t offset, void *buf,
			     size_t len);
bool __must_check net_scatter(const struct iovec *iov, unsigned int count, size_t offset,
			      const void *buf, size_t len);
/* Drops the first @len bytes, which must be there; how many iovecs are left at *iov. */
unsigned int net_skip(struct iovec **iov, unsigned int count, size_t len);
/* May a driver that negotiated @features send a frame of @frame_len bytes under this header
 * (§5.1.6.2)? */
bool net_header_valid(const struct net_header *header, uint64_t features, uint32_t frame_len);

/* --- Receive filter, net_ctrl.c. Under filter_lock. --- */

#define NET_MAC_TABLE 64

struct net_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool unicast_overflow,
		multicast_overflow; /* the driver's table is longer than ours: all of them pass */
	bool vlan_off;		    /* not negotiated: all VLANs pass */
	unsigned int unicast, multicast; /* entries of table, in this order */
	uint8_t table[NET_MAC_TABLE][ETHER_ADDR];
	uint64_t vlans[4096 / 64];
};

void net_filter_reset(struct net_filter *filter);
/* @frame: its first 18 bytes, zeroes where it is shorter. */
bool net_filter_pass(const struct net_filter *filter, const uint8_t *mac, const uint8_t frame[18]);

/* --- The device --- */

/* A chain that was popped and waits for a frame. */
struct net_buffer {
	uint16_t head;
	uint16_t iov_count;
	uint32_t len;
};

/* A queue of the netdev in one loop, watched while frames are wanted or sending waits. */
struct net_watch {
	struct net_pair *pair;
	struct loop *loop;
	struct loop_fd fd; /* fd.fd: -1: there is no back end, or it has no descriptor */
	bool want_in, want_out;
};

/* The netdev gave an error: it is left alone until the timer says so. */
struct net_retry {
	struct virtio_queue *queue;
	struct loop_timer timer;
	bool failed;
};

struct net_pair {
	struct virtio_net *net;
	unsigned int index;
	struct virtio_queue *rx, *tx;
	struct net_watch watches[2];
	struct net_watch *rx_watch, *tx_watch; /* the same one when both queues have the same loop */
	struct net_retry rx_retry, tx_retry;

	/* Rx loop. Popped receive chains, in order, with their memory in rx_iov[0 … rx_iov_count). One more
	 * iovec for the spill. */
	struct net_buffer *buffers; /* as many as the queue has entries */
	unsigned int buffer_count, rx_iov_count;
	uint64_t buffer_bytes;
	struct iovec *rx_iov; /* NET_IOV_MAX */
	/* What of a frame did not fit; rx_pending bytes of frame and header in all wait for more
	 * chains. */
	uint8_t *spill;
	uint32_t rx_pending;

	/* tx loop */
	int64_t tx_done_ns; /* when there was nothing more to send; 0: long ago, in vain, or something came in */
	uint8_t *bounce; /* for frames to send in too many pieces; allocated when the first one
			    comes */
};

struct virtio_net {
	struct virtio_device vdev;
	/*
	 * NULL: an empty slot. Changed on the home loop, by the main thread, while the other loops have no
	 * descriptor of it.
	 */
	struct netdev *netdev;
	struct iothread *iothread, *rx_iothread, *tx_iothread;
	char *mac_text;
	uint16_t queue_size, rx_queue_size, tx_queue_size, mtu, host_mtu;
	int tx; /* index of the words of net.c */
	bool mq;

	struct netdev_user user;
	unsigned int pair_count;
	struct net_pair *pairs;
	struct virtio_queue *ctrl_last; /* where the control queue is with MQ */
	uint8_t mac_default[ETHER_ADDR];

	/* Written on the home loop. */
	_Atomic uint16_t status;
	_Atomic uint16_t pairs_used; /* by the driver; survives a pause */
	pthread_mutex_t filter_lock; /* leaf; the home loop writes, the rx loop reads: */
	uint8_t mac[ETHER_ADDR];
	struct net_filter filter;

	/* home loop */
	uint64_t guest_offloads; /* features that the driver has not switched off since; so does it
				  */
	bool started; /* between start and stop */
	bool peer;    /* the netdev has descriptors, and the loops have them */
	struct log_limit host_limit; /* any thread */
	/* Who moves the frames. NULL: this process. */
	const struct net_path *path;
	struct vhost_net *vhost;
	struct vhost_user_net *vhost_user;
};

static inline struct virtio_net *to_net(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_net, vdev);
}

/* Home loop. */
void net_update_config(struct virtio_net *net); /* from mac and status */
void net_link_changed(struct virtio_net *net);	/* or may have: of the netdev, or of the path */
int __must_check net_set_pairs(struct virtio_net *net, unsigned int pairs);
/* @features: those of NET_GUEST_OFFLOADS that received frames may use from now on. */
int __must_check net_set_offloads(struct virtio_net *net, uint64_t features);

void net_set_power_on(struct virtio_net *net); /* address, link, filter as before any driver */
int net_start_netdev(struct virtio_net *net); /* for a driver that is there; -errno was logged */

bool net_link_up(const struct virtio_net *net); /* any thread */

/* --- net_watch.c --- */

void net_watch_init(struct net_pair *pair);	     /* in realize: rx, tx, and their homes are set */
void net_watch_in(struct net_pair *pair, bool on);   /* rx loop: calls net_rx_handle() */
void net_watch_out(struct net_pair *pair, bool on);  /* tx loop: once, calls net_tx_handle() */
/* The queue's loop: the netdev fails; the queue is handled again in a second. */
void net_host_error(struct net_retry *retry, const char *what, int error);
void net_retry_cancel(struct net_retry *retry);
/* Main thread: the queues' loops have the descriptors of net->netdev from now on, or none. */
void net_connect(struct virtio_net *net);
void net_disconnect(struct virtio_net *net);

/*
 * The queue's loop. Shows the driver what was pushed: @all of it, or as soon as it is worth it, so that the driver works at one end of a
 * long batch while this process works at the other.
 */
#define NET_PUBLISH_EVERY 16
static inline void net_publish(struct virtio_queue *queue, bool all)
{
	if (all || queue->vq.used_filled >= NET_PUBLISH_EVERY)
		virtio_queue_flush(queue);
}

void net_rx_handle(struct net_pair *pair);
void net_rx_stop(struct net_pair *pair); /* chains that are not filled go back */
void net_tx_handle(struct net_pair *pair);
void net_ctrl_handle(struct virtio_queue *queue);

/* --- A slot's back ends, net_slot.c. Main thread. --- */

uint64_t net_offer(struct virtio_net *net); /* the features for its back end, or for none */
int __must_check net_parse_mac(const char *text, uint8_t mac[ETHER_ADDR], struct error **errp);
int __must_check net_plug(struct device *dev, const struct opts *opts, struct error **errp);
void net_unplug(struct device *dev);

/* --- Somebody else moves the frames: the host's kernel, or another process. Home loop but for free() --- */

struct net_path {
	uint64_t (*offer)(struct virtio_net *net); /* features of frames. NULL: the netdev's */
	/* The driver has negotiated; no queue runs yet. */
	int (*start)(struct virtio_net *net);
	/* Hands the queue over, if it is not there already; -errno: the device is of no use. */
	int (*queue_start)(struct virtio_net *net, struct virtio_queue *queue);
	void (*queue_stop)(struct virtio_net *net, struct virtio_queue *queue); /* harmless when not there */
	void (*pairs_changed)(struct virtio_net *net); /* to net->pairs_used. NULL allowed */
	bool (*connected)(struct virtio_net *net);     /* NULL: always */
	void (*free)(struct virtio_net *net);	       /* main thread */
};

/* --- vhost_net.c: one kernel device a pair, with vring 0 to receive and 1 to send. Sets net->path --- */

/* Main thread. Takes what the kernel cannot do out of *features. */
int __must_check vhost_net_new(struct virtio_net *net, uint64_t *features, struct error **errp);

/* --- vhost_user_net.c: all queues but the control queue are another process's. Sets net->path --- */

/* Main thread. Waits for that process's answers if it is there already. */
int __must_check vhost_user_net_new(struct virtio_net *net, struct error **errp);

#endif
