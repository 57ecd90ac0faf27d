// SPDX-License-Identifier: Apache-2.0
/*
 * A network card in a replaceable slot. Without a back end it is a card whose cable is out: what its driver sends is
 * dropped, nothing arrives. A back end connects the cable, on the home loop, where the frames are moved;
 * the guest learns of it by the link's state (virtio 1.2 §5.1.4) and nothing else need be negotiated.
 */
#include "net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "virtio-net"
#include "util/log.h"

/* What can be said of a card that the guest knows already. */
struct plug_config {
	struct netdev *netdev;
	char *mac;
	bool mq;
};

static const struct property plug_props[] = {
	PROP_LINK("netdev", struct plug_config, netdev, LINK_NETDEV, PROPERTY_REQUIRED, "the network back end"),
	PROP_STRING("mac", struct plug_config, mac, 17, 17, NULL, "Ethernet address"),
	PROP_BOOL("mq", struct plug_config, mq, false, "use all queues of the netdev"),
	PROP_IGNORED("vectors", "MSI-X vectors: virtio-mmio has none"),
	PROP_IGNORED("romfile", "for Kata's runtime, which gives it with every device: there are no option ROMs"),
	PROP_END,
};

struct plug_call {
	struct virtio_net *net;
	struct netdev *netdev;
	uint8_t mac[ETHER_ADDR];
	int ret;
};

/* Work on the frames to send that a driver with @features leaves to the netdev. */
static unsigned int left_to_netdev(uint64_t features)
{
	static const struct {
		uint64_t features;
		unsigned int offload;
	} list[] = {
		{ NET_F_CSUM, NETDEV_CSUM },	   { NET_F_HOST_TSO4, NETDEV_TSO4 }, { NET_F_HOST_TSO6, NETDEV_TSO6 },
		{ NET_F_HOST_ECN, NETDEV_ECN },	   { NET_F_HOST_UFO, NETDEV_UFO },   { NET_F_HOST_USO, NETDEV_USO },
	};
	unsigned int offloads = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++)
		if (features & list[i].features)
			offloads |= list[i].offload;
	return offloads;
}

static void home_take(void *opaque)
{
	struct plug_call *call = opaque;
	struct virtio_net *net = call->net;

	if (atomic_load(&net->vdev.status) & VIRTIO_STATUS_DRIVER_OK &&
	    left_to_netdev(net->vdev.features) & ~call->netdev->offloads)
		call->ret = -ENOTSUP;
	else
		net->netdev = call->netdev;
}

static void home_plug(void *opaque)
{
	const struct plug_call *call = opaque;
	struct virtio_net *net = call->net;

	memcpy(net->mac_default, call->mac, ETHER_ADDR);
	net->peer = net->netdev->fds[0] >= 0;
	/*
	 * A driver keeps the address that it read when it was bound, and its frames must find it: a new one is
	 * shown when the device has been reset.
	 */
	if (!atomic_load(&net->vdev.status)) {
		net_set_power_on(net);
	} else {
		net_link_changed(net);
	}
	/* Frames may arrive from now on; the ring may have had buffers for them for long: it is looked at. */
	(void)net_start_netdev(net); /* said so already */
}

static void home_unplug(void *opaque)
{
	struct virtio_net *net = opaque;

	net->peer = false;
	net_link_changed(net);
}

static void home_leave(void *opaque)
{
	struct virtio_net *net = opaque;

	net->netdev = NULL;
}

static int plug(struct virtio_net *net, const struct plug_config *config, struct error **errp)
{
	struct plug_call call = { .net = net, .netdev = config->netdev };
	const char *id = config->netdev->id;
	int ret;

	if (netdev_moved_by_others(config->netdev))
		return error_set(errp, -ENOTSUP, "netdev '%s': %s is not for replaceable slots", id,
				 config->netdev->vhost ? "vhost=on" : "vhost-user");
	if (config->mq && config->netdev->queue_count > 1)
		return error_set(errp, -ENOTSUP,
				 "mq=on: a replaceable slot has one pair of queues, netdev '%s' has %u", id,
				 config->netdev->queue_count);
	memcpy(call.mac, net->mac_default, ETHER_ADDR);
	ret = config->mac ? net_parse_mac(config->mac, call.mac, errp) : 0;
	if (!ret)
		ret = netdev_attach(config->netdev, &net->user, errp);
	if (ret)
		return ret;
	/* Nothing is sent before the link is up, which comes last. */
	loop_run_sync(net->vdev.home, home_take, &call);
	if (call.ret) {
		netdev_detach(config->netdev);
		return error_set(errp, call.ret,
				 "netdev '%s' cannot make the checksums and segments that the guest's driver leaves to "
				 "it; a driver that starts later makes its own", id);
	}
	net_connect(net);
	loop_run_sync(net->vdev.home, home_plug, &call);
	virtio_device_offer(&net->vdev, net_offer(net));
	return 0;
}

int net_plug(struct device *dev, const struct opts *opts, struct error **errp)
{
	static const char *const skip[] = { "driver", "id", "addr", "lun", NULL };
	struct virtio_net *net = container_of(dev, struct virtio_net, vdev.dev);
	struct plug_config config = { 0 };
	char *what;
	int ret;

	ret = property_apply(plug_props, &config, opts, skip, dev->platform->links, errp);
	if (ret)
		return ret;
	ret = plug(net, &config, errp);
	if (ret) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
	} else if (config.mac) {
		char *before = net->mac_text;

		net->mac_text = config.mac;
		config.mac = before;
	}
	property_release(plug_props, &config);
	return ret;
}

void net_unplug(struct device *dev)
{
	struct virtio_net *net = container_of(dev, struct virtio_net, vdev.dev);
	struct netdev *netdev = net->netdev;

	loop_run_sync(net->vdev.home, home_unplug, net);
	net_disconnect(net);
	loop_run_sync(net->vdev.home, home_leave, net);
	netdev_detach(netdev);
	virtio_device_offer(&net->vdev, net_offer(net));
}
