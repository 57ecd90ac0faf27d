// SPDX-License-Identifier: Apache-2.0
/* -netdev vhost-user: the connection to a process that moves the frames, by way of a chardev. What is
 * said over it is the device's affair (the virtio room's vhost_user.h). */
#include <errno.h>

#include "chardev/chardev.h"
#include "internal.h"

struct netdev_vhost_user {
	struct netdev netdev;
	struct chardev *chardev;
	struct chardev_user user;
	bool vhostforce;
	uint16_t queues;
};

static const struct property vhost_user_props[] = {
	PROP_LINK("chardev", struct netdev_vhost_user, chardev, LINK_CHARDEV, PROPERTY_REQUIRED,
		  "unix socket of the process that moves the frames"),
	PROP_UINT(16, "queues", struct netdev_vhost_user, queues, 1, NETDEV_QUEUES_MAX, 1,
		  "pairs of queues"),
	PROP_BOOL("vhostforce", struct netdev_vhost_user, vhostforce, false,
		  "accepted: there is no other way"),
	PROP_END,
};

static struct netdev_vhost_user *to_vhost_user(struct netdev *netdev)
{
	return container_of(netdev, struct netdev_vhost_user, netdev);
}

static void chardev_changed(struct chardev_user *user, enum chardev_event event)
{
	struct netdev *netdev = &container_of(user, struct netdev_vhost_user, user)->netdev;

	if (netdev->user && (event == CHARDEV_OPENED || event == CHARDEV_CLOSED))
		netdev->user->connected(netdev->user, event == CHARDEV_OPENED);
}

/* What frames may leave undone, and on which queues they come, is settled over the connection. */
static int set_offloads(struct netdev *netdev, unsigned int offloads)
{
	(void)netdev;
	(void)offloads;
	return 0;
}

static int set_queue(struct netdev *netdev, unsigned int queue, bool on)
{
	(void)netdev;
	(void)queue;
	(void)on;
	return 0;
}

static int connection(struct netdev *netdev)
{
	return chardev_copy_connection(to_vhost_user(netdev)->chardev);
}

static int vhost_user_open(struct netdev *netdev, const struct opts *opts, struct error **errp)
{
	struct netdev_vhost_user *vu = to_vhost_user(netdev);

	(void)opts;
	if (!chardev_is_unix_socket(vu->chardev))
		return error_set(errp, -EINVAL,
				 "chardev=%s is no unix socket (-chardev socket,path=…), which "
				 "alone can pass guest memory on",
				 chardev_id(vu->chardev));
	netdev->queue_count = vu->queues;
	vu->user.event = chardev_changed;
	return chardev_attach(vu->chardev, &vu->user, errp);
}

static void vhost_user_close(struct netdev *netdev)
{
	chardev_detach(to_vhost_user(netdev)->chardev);
}

static const struct netdev_ops vhost_user_ops = {
	.set_offloads = set_offloads,
	.set_queue = set_queue,
	.connection = connection,
};

const struct netdev_kind netdev_kind_vhost_user = {
	.name = "vhost-user",
	.summary = "another process moves the frames (passt, DPDK)",
	.instance_size = sizeof(struct netdev_vhost_user),
	.props = vhost_user_props,
	.ops = &vhost_user_ops,
	.open = vhost_user_open,
	.close = vhost_user_close,
};
