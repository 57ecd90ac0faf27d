/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost-user: another process handles the rings of a device, in guest memory that it maps as well (QEMU
 * docs/interop/vhost-user). This is the front end's side of the conversation, for any device: it greets a back end,
 * gives it memory and rings, and takes them back.
 *
 * Everything here runs on the device's home loop. Nothing waits for the back end but what must be sure that it has let
 * go of its rings, and that for VHOST_USER_PATIENCE_NS at most. A back end that says anything else than what it was asked,
 * says nothing in time, or goes, is dropped: its rings are the device's again, and the next connection begins anew.
 */
#ifndef VIRTIO_VHOST_USER_H
#define VIRTIO_VHOST_USER_H

#include "vhost.h"

#define VHOST_USER_PATIENCE_NS (5 * NSEC_PER_SEC)
#define VHOST_USER_ANSWERS_MAX 128 /* that are waited for at a time */

struct vhost_user;

struct vhost_user_ops {
	/* The back end has said what it can do. vhost_user_drop() is allowed. */
	void (*ready)(struct vhost_user *vu);
	/* It was ready, and has gone; no ring runs. */
	void (*gone)(struct vhost_user *vu);
};

struct vhost_user {
	const struct vhost_user_ops *ops;
	struct virtio_device *vdev;
	const char *name; /* of the back end, for messages; the owner's */
	struct vhost_vring *rings;
	unsigned int ring_count;
	unsigned int queues_wanted; /* in the device's unit (pairs); more than 1 need the back end to be able to */

	struct loop_fd socket; /* fd -1: nobody there */
	enum { VHOST_USER_GONE, VHOST_USER_GREETING, VHOST_USER_READY } state;
	uint64_t features, protocol_features; /* from READY on */
	struct loop_timer patience;	      /* runs while answers are waited for */
	/* Requests whose answers are to come, in order. */
	uint8_t expected[VHOST_USER_ANSWERS_MAX];
	unsigned int expected_first, expected_count;
	uint8_t in[20]; /* all answers have this size */
	unsigned int in_len;
	int64_t wait_left_ns;	   /* of the patience, for all rings that are stopped in a row */
	uint32_t base_index, base; /* of the last answer to GET_VRING_BASE */
	struct log_limit limit;
};

/* Main thread. @queues: the device's, one ring each. -ENOMEM. */
int __must_check vhost_user_init(struct vhost_user *vu, struct virtio_device *vdev, unsigned int ring_count,
				 const struct vhost_user_ops *ops, const char *name);
void vhost_user_release(struct vhost_user *vu); /* the home loop has dropped it; harmless when not initialised */
/* Can another process map all of guest memory? Main thread. */
int __must_check vhost_user_check_memory(const struct mem_space *space, struct error **errp);

/* A back end is there: greets it. @fd: the connection, which is the callee's from now on. */
void vhost_user_connect(struct vhost_user *vu, int fd);
/* Waits until the back end is ready or gone. For the start of a device. */
void vhost_user_wait(struct vhost_user *vu);
/* Ends the connection. @why: static text for the log, NULL when it is nothing to tell. */
void vhost_user_drop(struct vhost_user *vu, const char *why);

/* All of these are harmless when the back end is not ready, or goes meanwhile. */

/* The negotiated features (device bits and those of the rings), and guest memory. */
void vhost_user_start(struct vhost_user *vu, uint64_t features);
/* The ring as its queue says. @on: as vhost_user_ring_enable(). */
void vhost_user_ring_start(struct vhost_user *vu, unsigned int index, bool on);
/* A ring that is off is drained and carries nothing. */
void vhost_user_ring_enable(struct vhost_user *vu, unsigned int index, bool on);
/* Waits until the back end has let go of it. */
void vhost_user_ring_stop(struct vhost_user *vu, unsigned int index);

#endif
