/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the net room share. Main thread. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "net/netdev.h"

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
