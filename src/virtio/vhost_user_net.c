// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net whose frames another process moves (-netdev vhost-user). The link is up while that process is there: a
 * guest whose back end died sees a cable that is out, and goes on where it was when the next one comes.
 */
#include <errno.h>
#include <stdlib.h>

#include "net.h"
#include "vhost_user.h"

#define LOG_MODULE "vhost-user"
#include "util/log.h"

/* What the other process does, and must know of the negotiation. */
#define RING_FEATURES (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define FRAME_FEATURES                                                                             \
	(NET_F_MRG_RXBUF | NET_GUEST_OFFLOADS | NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 |   \
	 NET_F_HOST_ECN | NET_F_HOST_UFO | NET_F_HOST_USO)

struct vhost_user_net {
	struct vhost_user vu; /* home loop */
	struct virtio_net *net;
};

/* --- Home loop --- */

/* Until somebody has come there is nothing of his to offer, so that any back end will do. */
static uint64_t offer(struct virtio_net *net)
{
	const struct vhost_user *vu = &net->vhost_user->vu;
	uint64_t features = vu->state == VHOST_USER_READY ? vu->features : 0;

	net->vdev.features_lacking = RING_FEATURES & ~features;
	return features & FRAME_FEATURES;
}

static int start(struct virtio_net *net)
{
	vhost_user_start(&net->vhost_user->vu, net->vdev.features & (FRAME_FEATURES | RING_FEATURES |
								       VIRTIO_F_VERSION_1));
	return 0;
}

static bool connected(struct virtio_net *net)
{
	return net->vhost_user->vu.state == VHOST_USER_READY;
}

static int queue_start(struct virtio_net *net, struct virtio_queue *queue)
{
	vhost_user_ring_start(&net->vhost_user->vu, queue->index, queue->index / 2 < net->pairs_used);
	return 0;
}

static void queue_stop(struct virtio_net *net, struct virtio_queue *queue)
{
	vhost_user_ring_stop(&net->vhost_user->vu, queue->index);
}

static void pairs_changed(struct virtio_net *net)
{
	for (unsigned int i = 0; i < 2 * net->pair_count; i++)
		vhost_user_ring_enable(&net->vhost_user->vu, i, i / 2 < net->pairs_used);
}

static void back_end_ready(struct vhost_user *vu)
{
	struct vhost_user_net *user = container_of(vu, struct vhost_user_net, vu);

	log_info("%s: netdev '%s': a vhost-user back end is there", user->net->vdev.dev.id, vu->name);
	/* A driver sees them at its next reset. */
	virtio_device_offer(&user->net->vdev, net_offer(user->net));
	if (user->net->started)
		(void)start(user->net);
	net_link_changed(user->net);
}

static void back_end_gone(struct vhost_user *vu)
{
	struct vhost_user_net *user = container_of(vu, struct vhost_user_net, vu);

	net_link_changed(user->net);
}

static const struct vhost_user_ops user_ops = {
	.ready = back_end_ready,
	.gone = back_end_gone,
};

struct home_call {
	struct vhost_user *vu;
	int fd;
	bool wait;
};

static void home_connection(void *opaque)
{
	struct home_call *call = opaque;

	if (call->fd < 0) {
		vhost_user_drop(call->vu, "it closed the connection");
		return;
	}
	vhost_user_connect(call->vu, call->fd);
	if (call->wait)
		vhost_user_wait(call->vu);
}

/* --- Main thread --- */

static void connection_changed(struct virtio_net *net, bool is_connected, bool wait)
{
	struct home_call call = { .vu = &net->vhost_user->vu, .fd = -1, .wait = wait };

	if (is_connected) {
		call.fd = net->netdev->ops->connection(net->netdev);
		if (call.fd < 0) /* gone again, which is told next */
			return;
	}
	loop_run_sync(net->vdev.home, home_connection, &call);
}

static void netdev_connected(struct netdev_user *user, bool is_connected)
{
	connection_changed(container_of(user, struct virtio_net, user), is_connected, false);
}

static void home_drop(void *opaque)
{
	vhost_user_drop(opaque, NULL);
}

static void vhost_user_net_free(struct virtio_net *net)
{
	struct vhost_user_net *user = net->vhost_user;

	net->path = NULL; /* the link is nobody's to follow any more */
	loop_run_sync(net->vdev.home, home_drop, &user->vu);
	vhost_user_release(&user->vu);
	free(user);
	net->vhost_user = NULL;
}

static const struct net_path vhost_user_path = {
	.offer = offer,
	.start = start,
	.queue_start = queue_start,
	.queue_stop = queue_stop,
	.pairs_changed = pairs_changed,
	.connected = connected,
	.free = vhost_user_net_free,
};

int vhost_user_net_new(struct virtio_net *net, struct error **errp)
{
	struct vhost_user_net *user;
	int ret;

	ret = vhost_user_check_memory(net->vdev.dev.platform->space, errp);
	if (ret) {
		error_prefix(errp, "netdev '%s': ", net->netdev->id);
		return ret;
	}
	user = calloc(1, sizeof(*user));
	if (!user)
		return error_set(errp, -ENOMEM, "out of memory");
	user->net = net;
	net->vhost_user = user;
	net->path = &vhost_user_path;
	ret = vhost_user_init(&user->vu, &net->vdev, 2 * net->pair_count, &user_ops, net->netdev->id);
	if (ret) {
		vhost_user_net_free(net);
		return error_set_errno(errp, ret, "netdev '%s': vhost-user", net->netdev->id);
	}
	user->vu.queues_wanted = net->pair_count;
	net->user.connected = netdev_connected;
	connection_changed(net, true, true);
	if (user->vu.state != VHOST_USER_READY)
		log_warn("%s: netdev '%s': no vhost-user back end is there yet; the link is down until it comes",
			 net->vdev.dev.id, net->netdev->id);
	return 0;
}
