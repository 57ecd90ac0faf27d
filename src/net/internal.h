/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the net room share. Main thread. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "net/netdev.h"

struct netdev_kind {
	const char *name, *summary;
	size_t instance_size; /* of the struct that begins with struct netdev; zero-initialised */
	const struct property *props;
	const struct netdev_ops *ops;
	/* The properties are set. Errors do not name the option. On failure it undoes what it did. */
	int (*open)(struct netdev *netdev, const struct opts *opts, struct error **errp);
	/* Descriptors in struct netdev are closed by the core. NULL allowed. */
	void (*close)(struct netdev *netdev);
};

extern const struct netdev_kind netdev_kind_tap;
extern const struct netdev_kind netdev_kind_stream;
extern const struct netdev_kind netdev_kind_vhost_user;

struct netdev_tap {
	struct netdev netdev;
	char *ifname, *path, *fd, *fds, *vhostfd, *vhostfds, *script, *downscript;
	uint16_t queues;
};

/*
 * Opens tap->queues queues of the interface (or of the character device of a macvtap, @path), which
 * is created when it does not exist. Fills netdev.fds and queue_count, and what tap_take() fills.
 */
int __must_check tap_open(struct netdev_tap *tap, struct error **errp);
/* Checks the descriptors in netdev.fds, made elsewhere; sets name, offloads and header length. */
int __must_check tap_take(struct netdev_tap *tap, struct error **errp);

extern const struct netdev_ops tap_ops;

#endif
