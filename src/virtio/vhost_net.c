// SPDX-License-Identifier: Apache-2.0
/* virtio-net's data path in the kernel (vhost-net): one vhost device a pair of queues, which moves
 * frames to and from the tap. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "vhost.h"

#define LOG_MODULE "vhost-net"
#include "util/log.h"

/* What the kernel must know of the negotiation; the rest is between the driver, the tap and the
 * control queue. */
#define KERNEL_FEATURES                                                                            \
	(NET_F_MRG_RXBUF | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1)

struct vhost_net {
	unsigned int count;		/* pairs whose vrings exist */
	struct vhost_vring vrings[][2]; /* to receive, to send */
};

static struct vhost_vring *vring_of(struct virtio_net *net, const struct virtio_queue *queue)
{
	return &net->vhost->vrings[queue->index / 2][queue->index % 2];
}

static int init_pair(struct virtio_net *net, unsigned int i)
{
	int fd = net->netdev->vhost_fds[i], ret;
	struct vhost_vring *vrings = net->vhost->vrings[i];

	ret = vhost_vring_init(&vrings[0], fd, 0, net->pairs[i].rx);
	if (!ret)
		ret = vhost_vring_init(&vrings[1], fd, 1, net->pairs[i].tx);
	return ret;
}

static void vhost_net_free(struct virtio_net *net)
{
	if (!net->vhost)
		return;
	for (unsigned int i = 0; i < net->vhost->count; i++) {
		vhost_vring_release(&net->vhost->vrings[i][0]);
		vhost_vring_release(&net->vhost->vrings[i][1]);
		/* A netdev may outlive its device, and find another. */
		vhost_close(net->netdev->vhost_fds[i]);
	}
	free(net->vhost);
	net->vhost = NULL;
	net->path = NULL;
}

static int vhost_net_start(struct virtio_net *net)
{
	for (unsigned int i = 0; i < net->pair_count; i++) {
		int ret =
			vhost_start(net->netdev->vhost_fds[i], net->vdev.features & KERNEL_FEATURES,
				    net->vdev.dev.platform->space);

		if (ret)
			return ret;
	}
	return 0;
}

static int vhost_net_queue_start(struct virtio_net *net, struct virtio_queue *queue)
{
	struct vhost_vring *vring = vring_of(net, queue);
	int ret;

	if (vring->running)
		return 0;
	ret = vhost_vring_set_up(vring);
	if (ret)
		return ret;
	ret = vhost_vring_set_tap(vring, net->netdev->fds[queue->index / 2]);
	if (ret)
		vhost_vring_take_back(vring);
	return ret;
}

static void vhost_net_queue_stop(struct virtio_net *net, struct virtio_queue *queue)
{
	struct vhost_vring *vring = vring_of(net, queue);
	int ret;

	if (!vring->running)
		return;
	ret = vhost_vring_set_tap(vring, -1);
	if (ret)
		log_warn("%s: vhost-net keeps queue %u: %s", net->vdev.dev.id, queue->index,
			 strerror(-ret));
	vhost_vring_take_back(vring);
}

static const struct net_path vhost_net_path = {
	.start = vhost_net_start,
	.queue_start = vhost_net_queue_start,
	.queue_stop = vhost_net_queue_stop,
	.free = vhost_net_free,
};

int vhost_net_new(struct virtio_net *net, uint64_t *features, struct error **errp)
{
	uint64_t kernel = 0;
	int ret = 0;

	net->vhost =
		calloc(1, sizeof(*net->vhost) + net->pair_count * sizeof(net->vhost->vrings[0]));
	if (!net->vhost)
		return error_set(errp, -ENOMEM, "out of memory");
	for (unsigned int i = 0; !ret && i < net->pair_count; i++) {
		ret = vhost_open(net->netdev->vhost_fds[i], &kernel);
		net->vhost->count = i + 1;
		if (!ret)
			ret = init_pair(net, i);
		if (!ret && (kernel & KERNEL_FEATURES & ~NET_F_MRG_RXBUF) !=
				    (KERNEL_FEATURES & ~NET_F_MRG_RXBUF))
			ret = -ENOTSUP;
		if (!(kernel & NET_F_MRG_RXBUF))
			*features &= ~NET_F_MRG_RXBUF;
	}
	if (ret) {
		error_set_errno(errp, ret, "netdev '%s': vhost-net", net->netdev->id);
		vhost_net_free(net);
		return ret;
	}
	net->path = &vhost_net_path;
	return 0;
}
