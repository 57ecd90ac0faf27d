// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net (virtio 1.2 §5.1). The queues of a device live on its loops (see net.h), or, with vhost=on, in
 * the kernel, or in another process: then only the control queue and the interrupts are handled here.
 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmio.h"
#include "pci.h"
#include "virtio/classes.h"

#define LOG_MODULE "virtio-net"
#include "util/log.h"

/* §5.1.4 */
struct net_config {
	uint8_t mac[ETHER_ADDR];
	le16_t status, max_virtqueue_pairs, mtu;
} __packed;

#define NET_QUEUE_MIN 256
/* QEMU's word for it; its other one, timer, is for batches that wait for a timer. */
static const char *const net_tx_words[] = { "bh", NULL };

#define NET_PROPS \
	PROP_LINK("netdev", struct virtio_net, netdev, LINK_NETDEV, 0, "the network back end; required"), \
	PROP_STRING("mac", struct virtio_net, mac_text, 17, 17, NULL, \
		    "Ethernet address; from 52:54:00:12:34:56 upward without it"), \
	PROP_UINT(16, "mtu", struct virtio_net, mtu, 0, 65535, 0, \
		  "MTU that the guest is told; 0: not told"), \
	PROP_UINT(16, "host_mtu", struct virtio_net, host_mtu, 0, 65535, 0, "the same"), \
	PROP_LINK("iothread", struct virtio_net, iothread, LINK_IOTHREAD, 0, \
		  "thread that moves the frames; the main thread without it"), \
	PROP_LINK("rx-iothread", struct virtio_net, rx_iothread, LINK_IOTHREAD, 0, \
		  "thread that receives; that of iothread without it"), \
	PROP_LINK("tx-iothread", struct virtio_net, tx_iothread, LINK_IOTHREAD, 0, \
		  "thread that sends; that of iothread without it"), \
	PROP_ENUM("tx", struct virtio_net, tx, net_tx_words, 0, "when frames are sent: at once"), \
	PROP_BOOL("mq", struct virtio_net, mq, false, "use all queues of the netdev"), \
	PROP_POW2(16, "queue-size", struct virtio_net, queue_size, NET_QUEUE_MIN, VIRTQ_SIZE_MAX, NET_QUEUE_MIN, \
		  "entries of a queue"), \
	PROP_POW2(16, "rx_queue_size", struct virtio_net, rx_queue_size, NET_QUEUE_MIN, VIRTQ_SIZE_MAX, 0, \
		  "of the queues that receive; queue-size without it"), \
	PROP_POW2(16, "tx_queue_size", struct virtio_net, tx_queue_size, NET_QUEUE_MIN, VIRTQ_SIZE_MAX, 0, \
		  "of the queues that send; queue-size without it"), \
	VIRTIO_FEATURE_PROPS(struct virtio_net), \
	VIRTIO_BOOTINDEX_PROP(struct virtio_net)

static const struct property net_props[] = {
	NET_PROPS,
	PROP_IGNORED("vectors", "MSI-X vectors: virtio-mmio has none"),
	PROP_END,
};
static const struct property net_pci_props[] = { NET_PROPS, VIRTIO_PCI_PROPS(struct virtio_net), PROP_END };

/* --- Helpers of the data path. Home loop. --- */

bool net_link_up(const struct virtio_net *net)
{
	return net->status & NET_S_LINK_UP;
}

void net_update_config(struct virtio_net *net)
{
	struct net_config config = {
		.status = cpu_to_le16(net->status),
		.max_virtqueue_pairs = cpu_to_le16(net->pair_count),
		.mtu = cpu_to_le16(net->mtu),
	};

	memcpy(config.mac, net->mac, sizeof(config.mac));
	virtio_device_set_config(&net->vdev, &config, sizeof(config));
}

int net_set_pairs(struct virtio_net *net, unsigned int pairs)
{
	struct netdev *netdev = net->netdev;
	uint16_t before = net->pairs_used;

	/* Nobody takes the errors of a descriptor that is switched off for the host's: see net_rx_handle(). */
	net->pairs_used = MIN(pairs, before);
	for (unsigned int i = 0; netdev && i < netdev->queue_count; i++) {
		int ret = netdev->ops->set_queue(netdev, i, i < pairs);

		if (ret) {
			net->pairs_used = before;
			log_warn_limited(&net->host_limit, "%s: netdev '%s': queue %u: %s",
					 net->vdev.dev.id, netdev->id, i, strerror(-ret));
			return ret;
		}
	}
	net->pairs_used = pairs;
	if (net->path && net->path->pairs_changed)
		net->path->pairs_changed(net);
	/* Whether a queue runs is its loop's to know; a signal too many does nothing. */
	for (unsigned int i = 0; i < net->pair_count; i++)
		virtio_queue_kick(net->pairs[i].rx);
	return 0;
}

/* --- Queues --- */

/* §5.1.2: receiveq1, transmitq1, receiveq2, …, and the control queue behind those in use. */
static bool is_ctrl(const struct virtio_net *net, const struct virtio_queue *queue)
{
	return virtio_has_feature(&net->vdev, NET_F_MQ) ? queue == net->ctrl_last
							: queue->index == 2;
}

static void net_handle_queue(struct virtio_queue *queue)
{
	struct virtio_net *net = to_net(queue->vdev);
	struct net_pair *pair;
	int ret;

	if (is_ctrl(net, queue)) {
		if (virtio_has_feature(&net->vdev, NET_F_CTRL_VQ))
			net_ctrl_handle(queue);
		return;
	}
	if (queue->index / 2 >= net->pair_count)
		return;
	pair = &net->pairs[queue->index / 2];
	if (net->path) {
		ret = net_link_up(net) ? net->path->queue_start(net, queue) : 0;
		if (ret) {
			log_warn_limited(&net->host_limit, "%s: vhost-net: queue %u: %s",
					 net->vdev.dev.id, queue->index, strerror(-ret));
			virtio_device_error(&net->vdev, "vhost-net does not take its queue");
		}
	} else if (queue == pair->rx) {
		net_rx_handle(pair);
	} else {
		net_tx_handle(pair);
	}
}

static unsigned int wanted_offloads(uint64_t active)
{
	static const struct {
		uint64_t features;
		unsigned int offload;
	} list[] = {
		{ NET_F_GUEST_TSO4, NETDEV_TSO4 },
		{ NET_F_GUEST_TSO6, NETDEV_TSO6 },
		{ NET_F_GUEST_ECN, NETDEV_ECN },
		{ NET_F_GUEST_UFO, NETDEV_UFO },
		{ NET_F_GUEST_USO4 | NET_F_GUEST_USO6, NETDEV_USO },
	};
	unsigned int offloads = NETDEV_CSUM;

	if (!(active & NET_F_GUEST_CSUM)) /* §5.1.3.1: the others depend on it */
		return 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++)
		if ((active & list[i].features) == list[i].features)
			offloads |= list[i].offload;
	return offloads;
}

int net_set_offloads(struct virtio_net *net, uint64_t features)
{
	struct netdev *netdev = net->netdev;
	int ret;

	/* A slot's driver may have taken more than this netdev can; it goes without. */
	ret = netdev ? netdev->ops->set_offloads(netdev, wanted_offloads(features) & netdev->offloads) : 0;
	if (!ret)
		net->guest_offloads = features;
	return ret;
}

int net_start_netdev(struct virtio_net *net)
{
	struct netdev *netdev = net->netdev;
	int ret;

	ret = net_set_offloads(net, net->vdev.features & net->guest_offloads);
	if (!ret)
		ret = net_set_pairs(net, net->pairs_used);
	if (!ret && net->path)
		ret = net->path->start(net);
	if (ret)
		log_warn_limited(&net->host_limit, "%s: netdev '%s' does not start: %s",
				 net->vdev.dev.id, netdev->id, strerror(-ret));
	return ret;
}

static struct loop *loop_of(const struct virtio_net *net, struct iothread *iothread)
{
	return iothread ? iothread_loop(iothread) : net->vdev.home;
}

/* Without MQ the third queue is the control queue and no pair's. No queue runs yet. */
static void settle_third_queue(struct virtio_net *net)
{
	if (net->pair_count > 1)
		net->pairs[1].rx->home = virtio_has_feature(&net->vdev, NET_F_MQ) ? loop_of(net, net->rx_iothread) :
										    net->vdev.home;
}

static void net_start(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);

	net->started = true;
	settle_third_queue(net);
	net->filter.vlan_off = !virtio_has_feature(vdev, NET_F_CTRL_VLAN);
	if (net->netdev)
		(void)net_start_netdev(net); /* said so already */
}

static void stop_receiving(struct net_pair *pair)
{
	if (pair->net->path)
		pair->net->path->queue_stop(pair->net, pair->rx);
	net_retry_cancel(&pair->rx_retry);
	net_watch_in(pair, false);
	net_rx_stop(pair);
}

static void stop_sending(struct net_pair *pair)
{
	if (pair->net->path)
		pair->net->path->queue_stop(pair->net, pair->tx);
	net_retry_cancel(&pair->tx_retry);
	net_watch_out(pair, false);
}

static void net_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_net *net = to_net(vdev);

	if (!queue)
		net->started = false;
	for (unsigned int i = 0; i < net->pair_count; i++) {
		struct net_pair *pair = &net->pairs[i];

		if (queue ? queue == pair->rx : pair->rx->home == vdev->home)
			stop_receiving(pair);
		if (queue ? queue == pair->tx : pair->tx->home == vdev->home)
			stop_sending(pair);
	}
}

static uint16_t link_status(struct virtio_net *net)
{
	bool up = net->netdev && net->netdev->link_up;

	if (up)
		up = net->path && net->path->connected ? net->path->connected(net) : net->peer;
	return up ? NET_S_LINK_UP : 0;
}

void net_set_power_on(struct virtio_net *net)
{
	pthread_mutex_lock(&net->filter_lock);
	memcpy(net->mac, net->mac_default, sizeof(net->mac));
	net_filter_reset(&net->filter);
	pthread_mutex_unlock(&net->filter_lock);
	net->status = link_status(net);
	net->pairs_used = 1;
	net->guest_offloads = NET_GUEST_OFFLOADS;
	net_update_config(net);
}

static void net_reset(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);

	net_set_power_on(net);
	if (net_set_pairs(net, 1)) /* said so already */
		net->pairs_used = 1;
}

/* --- The operator --- */

void net_link_changed(struct virtio_net *net)
{
	net->status = link_status(net);
	net_update_config(net);
	for (unsigned int i = 0; net->path && i < net->pair_count; i++) {
		struct net_pair *pair = &net->pairs[i];

		if (net_link_up(net)) { /* net_handle_queue() starts them */
			if (pair->rx->running)
				net_handle_queue(pair->rx);
			if (pair->tx->running)
				net_handle_queue(pair->tx);
		} else {
			net->path->queue_stop(net, pair->rx);
			net->path->queue_stop(net, pair->tx);
		}
	}
}

static void home_link_changed(void *opaque)
{
	net_link_changed(opaque);
}

static void user_set_link(struct netdev_user *user, bool up)
{
	struct virtio_net *net = container_of(user, struct virtio_net, user);

	(void)up; /* netdev->link_up, which changes on this thread only */
	loop_run_sync(net->vdev.home, home_link_changed, net);
}

static void home_announce(void *opaque)
{
	struct virtio_net *net = opaque;

	net->status |= NET_S_ANNOUNCE;
	net_update_config(net);
}

static void user_announce(struct netdev_user *user)
{
	struct virtio_net *net = container_of(user, struct virtio_net, user);

	loop_run_sync(net->vdev.home, home_announce, net);
}

static void home_connected(void *opaque)
{
	struct virtio_net *net = opaque;

	net->peer = true;
	net_link_changed(net);
	/* Behind the link: what is received before it is up is lost. */
	if (net->started)
		(void)net_start_netdev(net); /* said so already */
}

static void home_disconnected(void *opaque)
{
	struct virtio_net *net = opaque;

	net->peer = false;
	net_link_changed(net);
}

/* Nothing is sent before the link is up, nor after it went down. */
static void user_connected(struct netdev_user *user, bool connected)
{
	struct virtio_net *net = container_of(user, struct virtio_net, user);

	if (connected)
		net_connect(net);
	loop_run_sync(net->vdev.home, connected ? home_connected : home_disconnected, net);
	if (!connected)
		net_disconnect(net);
}

/* --- Life --- */

static bool mac_taken(const struct virtio_net *net, const uint8_t *mac)
{
	struct device *dev;

	list_for_each(dev, &net->vdev.dev.platform->devices, node) {
		struct virtio_device *vdev = container_of(dev, struct virtio_device, dev);

		if (dev->class->data == net->vdev.dev.class->data && vdev != &net->vdev &&
		    !memcmp(to_net(vdev)->mac_default, mac, ETHER_ADDR))
			return true;
	}
	return false;
}

int net_parse_mac(const char *text, uint8_t mac[ETHER_ADDR], struct error **errp)
{
	unsigned int byte[ETHER_ADDR];
	int end = 0;

	/* Two digits each; sscanf() alone would take a sign or a space for one. */
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5],
		   &end) != 6 ||
	    end != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return error_set(errp, -EINVAL,
				 "mac=%s is no address of the form 52:54:00:12:34:56", text);
	if (byte[0] & 1)
		return error_set(errp, -EINVAL, "mac=%s is a multicast address", text);
	for (unsigned int i = 0; i < ETHER_ADDR; i++)
		mac[i] = byte[i];
	return 0;
}

static int choose_mac(struct virtio_net *net, struct error **errp)
{
	uint8_t mac[ETHER_ADDR] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

	if (net->mac_text)
		return net_parse_mac(net->mac_text, net->mac_default, errp);
	while (mac_taken(net, mac))
		if (!++mac[5])
			mac[4]++;
	memcpy(net->mac_default, mac, sizeof(mac));
	return 0;
}

/* What the netdev's descriptors can do with frames. */
static uint64_t offer_frames(const struct virtio_net *net)
{
	static const struct {
		unsigned int offload;
		uint64_t features;
	} list[] = {
		{ NETDEV_CSUM, NET_F_CSUM | NET_F_GUEST_CSUM },
		{ NETDEV_TSO4, NET_F_HOST_TSO4 | NET_F_GUEST_TSO4 },
		{ NETDEV_TSO6, NET_F_HOST_TSO6 | NET_F_GUEST_TSO6 },
		{ NETDEV_ECN, NET_F_HOST_ECN | NET_F_GUEST_ECN },
		{ NETDEV_UFO, NET_F_HOST_UFO | NET_F_GUEST_UFO },
		{ NETDEV_USO, NET_F_HOST_USO | NET_F_GUEST_USO4 | NET_F_GUEST_USO6 },
	};
	uint64_t features = NET_F_MRG_RXBUF;
	/* An empty slot: what every tap can. */
	unsigned int offloads = net->netdev ? net->netdev->offloads :
					      NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN;

	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++)
		if (offloads & list[i].offload)
			features |= list[i].features;
	if (features & NET_F_GUEST_CSUM)
		features |= NET_F_CTRL_GUEST_OFFLOADS;
	return features;
}

uint64_t net_offer(struct virtio_net *net)
{
	uint64_t features = NET_F_MAC | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX |
			    NET_F_CTRL_RX_EXTRA | NET_F_CTRL_VLAN | NET_F_CTRL_MAC_ADDR |
			    NET_F_GUEST_ANNOUNCE;

	features |= net->path && net->path->offer ? net->path->offer(net) : offer_frames(net);
	if (net->pair_count > 1)
		features |= NET_F_MQ;
	if (net->mtu)
		features |= NET_F_MTU;
	return features;
}

static void free_pairs(struct virtio_net *net)
{
	for (unsigned int i = 0; net->pairs && i < net->pair_count; i++) {
		free(net->pairs[i].buffers);
		free(net->pairs[i].rx_iov);
		free(net->pairs[i].spill);
		free(net->pairs[i].bounce);
	}
	free(net->pairs);
	net->pairs = NULL;
}

static int create_pairs(struct virtio_net *net, struct error **errp)
{
	net->pairs = calloc(net->pair_count, sizeof(*net->pairs));
	for (unsigned int i = 0; net->pairs && i < net->pair_count; i++) {
		struct net_pair *pair = &net->pairs[i];

		pair->net = net;
		pair->index = i;
		pair->rx = &net->vdev.queues[2 * i];
		pair->tx = &net->vdev.queues[2 * i + 1];
		pair->rx->size_max = net->rx_queue_size;
		pair->tx->size_max = net->tx_queue_size;
		pair->rx->home = loop_of(net, net->rx_iothread);
		pair->tx->home = loop_of(net, net->tx_iothread);
		net_watch_init(pair);
		pair->buffers = calloc(net->rx_queue_size, sizeof(*pair->buffers));
		pair->rx_iov = calloc(NET_IOV_MAX, sizeof(*pair->rx_iov));
		pair->spill = malloc(NETDEV_HEADER + NET_FRAME_MAX);
		if (!pair->buffers || !pair->rx_iov || !pair->spill)
			return error_set(errp, -ENOMEM, "out of memory");
	}
	return net->pairs ? 0 : error_set(errp, -ENOMEM, "out of memory");
}

/* QEMU has one name for each of them, StratoVirt another. */
static int check_sizes(struct virtio_net *net, struct error **errp)
{
	if (net->mtu && net->host_mtu && net->mtu != net->host_mtu)
		return error_set(errp, -EINVAL, "mtu=%u and host_mtu=%u are two words for the same", net->mtu, net->host_mtu);
	if (!net->mtu)
		net->mtu = net->host_mtu;
	net->host_mtu = net->mtu;
	if (net->mtu && net->mtu < 68)
		return error_set(errp, -ERANGE,
				 "mtu=%u is less than 68, the least that IPv4 allows", net->mtu);
	if (!net->rx_queue_size)
		net->rx_queue_size = net->queue_size;
	if (!net->tx_queue_size)
		net->tx_queue_size = net->queue_size;
	return 0;
}

static int net_realize(struct virtio_device *vdev, struct error **errp)
{
	struct virtio_net *net = to_net(vdev);
	bool empty = vdev->dev.replaceable && !vdev->dev.plugged;
	uint64_t features;
	int ret;

	if (!net->netdev && !empty)
		return error_set(errp, -EINVAL, "netdev is required");
	if (net->netdev && netdev_moved_by_others(net->netdev) && (net->rx_iothread || net->tx_iothread))
		return error_set(errp, -EINVAL,
				 "rx-iothread and tx-iothread: the frames of netdev '%s' do not pass through this process",
				 net->netdev->id);
	ret = check_sizes(net, errp);
	if (!ret)
		ret = choose_mac(net, errp);
	if (ret)
		return ret;
	net->user = (struct netdev_user){ .set_link = user_set_link,
					  .announce = user_announce,
					  .connected = user_connected };
	net->peer = net->netdev && net->netdev->fds[0] >= 0;
	ret = empty ? 0 : netdev_attach(net->netdev, &net->user, errp);
	if (ret)
		return ret;
	pthread_mutex_init(&net->filter_lock, NULL);
	vdev->home = net->iothread ? iothread_loop(net->iothread) : vdev->dev.platform->main_loop;
	net->pair_count = net->mq && net->netdev ? net->netdev->queue_count : 1;
	ret = virtio_device_add_queues(vdev, 2 * net->pair_count + 1, net->queue_size, errp);
	if (ret)
		goto fail;
	net->ctrl_last = &vdev->queues[2 * net->pair_count];
	ret = create_pairs(net, errp);
	if (ret)
		goto fail;
	if (net->netdev && net->netdev->ops->connection)
		ret = vhost_user_net_new(net, errp);
	if (ret)
		goto fail;
	features = net_offer(net);
	if (net->netdev && net->netdev->vhost)
		ret = vhost_net_new(net, &features, errp);
	if (ret)
		goto fail;
	vdev->features_offered = features;
	net_set_power_on(net);
	ret = net_set_pairs(net, 1);
	if (!ret)
		return 0;
	error_set_errno(errp, ret, "netdev '%s': its queues cannot be switched", net->netdev->id);
	if (net->path)
		net->path->free(net);
fail:
	free_pairs(net);
	pthread_mutex_destroy(&net->filter_lock);
	if (net->netdev)
		netdev_detach(net->netdev);
	return ret;
}

static void net_unrealize(struct virtio_device *vdev)
{
	struct virtio_net *net = to_net(vdev);

	if (net->path)
		net->path->free(net);
	free_pairs(net);
	pthread_mutex_destroy(&net->filter_lock);
	if (net->netdev)
		netdev_detach(net->netdev);
}

static const struct virtio_device_ops net_ops = {
	.device_id = 1,
	.realize = net_realize,
	.unrealize = net_unrealize,
	.start = net_start,
	.stop = net_stop,
	.handle_queue = net_handle_queue,
	.reset = net_reset,
};

const struct device_class virtio_net_mmio_class = {
	.name = "virtio-net-device",
	.summary = "virtio network card",
	.instance_size = sizeof(struct virtio_net),
	.props = net_props,
	.data = &net_ops,
	.plug = net_plug,
	.unplug = net_unplug,
	VIRTIO_MMIO_CLASS,
};

const struct device_class virtio_net_pci_class = {
	.name = "virtio-net-pci",
	.summary = "virtio network card",
	.instance_size = sizeof(struct virtio_net),
	.props = net_pci_props,
	.data = &net_ops,
	VIRTIO_PCI_CLASS,
};
