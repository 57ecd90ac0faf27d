/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network back ends: "-netdev tap,id=…". A netdev is a set of queues, each a descriptor that tells when
 * frames can be received and sent, one at a time, behind a virtio_net_hdr of NETDEV_HEADER bytes: by
 * one read() or write(), or by the kind's own receive() and send(). Made and freed on the main thread; one device
 * uses it. What is said here holds at start and at run time (netdev_add, netdev_del).
 *
 * "-netdev stream" has one queue, whose descriptor comes and goes with the other side.
 *
 * "-netdev vhost-user" has no such descriptors: another process moves the frames in the guest's own
 * rings, and the netdev is the connection to it, which comes and goes.
 */
#ifndef NET_NETDEV_H
#define NET_NETDEV_H

#include <stdio.h>
#include <sys/uio.h>

#include "config/property.h"
#include "util/loop.h"

#define NETDEV_QUEUES_MAX 16
/* struct virtio_net_hdr_v1, which every modern driver uses (virtio 1.2 §5.1.6). */
#define NETDEV_HEADER 12
/* The longest frame: a segmented packet of 64 KiB behind an Ethernet header with two VLAN tags. */
#define NETDEV_FRAME_MAX (65535U + 14 + 8)

/* Work that the side which sends leaves to the side which receives. */
#define NETDEV_CSUM (1u << 0) /* the checksum; the others imply it */
#define NETDEV_TSO4 (1u << 1)
#define NETDEV_TSO6 (1u << 2)
#define NETDEV_ECN (1u << 3)
#define NETDEV_UFO (1u << 4)
#define NETDEV_USO (1u << 5) /* UDP segmentation over IPv4 and IPv6 */

struct netdev;
struct netdev_kind;

/* What a kind of back end does. 0 or -errno; on any thread, one at a time. */
struct netdev_ops {
	/* What received frames may leave undone. Frames to send may always use all of
	 * netdev->offloads. */
	int (*set_offloads)(struct netdev *netdev, unsigned int offloads);
	/* Frames arrive on this queue or not. */
	int (*set_queue)(struct netdev *netdev, unsigned int queue, bool on);
	/* Main thread: a copy of the connection's descriptor, the caller's own; -ENOTCONN. NULL but
	 * for vhost-user. A user that is done with the other side shuts the socket down, which both
	 * sides see. */
	int (*connection)(struct netdev *netdev);

	/*
	 * NULL: readv() and writev() of the descriptor. receive() and the two others may run at the same time on two
	 * threads of the user. The header's bytes, and -errno: -EAGAIN: not now; -ENOTCONN: the other side has gone,
	 * which the user hears by connected().
	 */
	ssize_t (*receive)(struct netdev *netdev, unsigned int queue, const struct iovec *iov, unsigned int count);
	/* iov[0] is the header. 0: it is on its way. */
	int (*send)(struct netdev *netdev, unsigned int queue, const struct iovec *iov, unsigned int count);
	/* -EAGAIN: of what was taken some cannot be sent before the descriptor is writable. NULL: nothing is kept. */
	int (*flush)(struct netdev *netdev, unsigned int queue);
};

/* The device that uses it. */
struct netdev_user {
	/* Main thread: the operator connected or cut the cable. */
	void (*set_link)(struct netdev_user *user, bool up);
	/* Main thread: the guest shall tell the network where it is. */
	void (*announce)(struct netdev_user *user);
	/*
	 * Main thread. The other side has come: there is a new connection(), or the descriptor; or it has gone: the
	 * descriptor is closed when this returns. For vhost-user and stream.
	 */
	void (*connected)(struct netdev_user *user, bool connected);
};

/* Who is told of other sides that come and go, for people. Main thread. */
struct address;
struct netdev_listener {
	/* @peer: where it has come to or was found; NULL: it has gone. */
	void (*connected)(struct netdev_listener *listener, struct netdev *netdev, const struct address *peer);
};

struct netdev {
	const struct netdev_kind *kind;
	const struct netdev_ops *ops;
	char *id;
	char name[16];	       /* of the interface, where known; for messages */
	unsigned int offloads; /* that it can */
	unsigned int queue_count;
	int fds[NETDEV_QUEUES_MAX];	  /* non-blocking; -1: none now. Changed on the main thread, unseen by the user */
	int vhost_fds[NETDEV_QUEUES_MAX]; /* of /dev/vhost-net, or -1 */
	bool vhost;
	_Atomic bool link_up;	  /* set on the main thread */
	struct netdev_user *user; /* NULL: nobody */
	struct link_scope *scope;
	struct loop *loop;		  /* main */
	struct netdev_listener *listener; /* NULL: nobody. Set by whoever made it */
};

/* The frames do not pass through this process. */
static inline bool netdev_moved_by_others(const struct netdev *netdev)
{
	return netdev->vhost || netdev->ops->connection;
}

/*
 * Opens what @opts ("type" is the kind) describe and adds it to @scope under LINK_NETDEV. Errors
 * name the option and the reason. Descriptors given by number or by name (QMP getfd) are the
 * netdev's from then on; on failure those given by number stay open, those given by name are
 * closed. @loop: main.
 */
int __must_check netdev_new(const struct opts *opts, struct loop *loop, struct link_scope *scope,
			    struct netdev **ret, struct error **errp);
/* Also takes it out of its scope. Nobody uses it any more. NULL allowed. */
void netdev_free(struct netdev *netdev);
void netdev_help(FILE *out);
bool netdev_in_use(const struct netdev *netdev);
const char *netdev_kind_name(const struct netdev *netdev);

/* -EBUSY with the id when somebody else has it. */
int __must_check netdev_attach(struct netdev *netdev, struct netdev_user *user,
			       struct error **errp);
void netdev_detach(struct netdev *netdev);

/* Main thread. Survives a reset of the guest. */
void netdev_set_link(struct netdev *netdev, bool up);
void netdev_announce(struct netdev *netdev);

#endif
