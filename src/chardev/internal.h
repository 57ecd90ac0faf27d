/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of back ends and their core share. Main loop's thread unless said otherwise. */
#ifndef CHARDEV_INTERNAL_H
#define CHARDEV_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "chardev/chardev.h"

/* Output that the host did not take yet. Not thread safe. */
#define RING_SIZE (64 * KIB)

struct ring {
	uint8_t *data; /* RING_SIZE bytes, allocated at first use */
	size_t head, len;
};

struct chardev_kind {
	const char *name;
	const char *summary;
	size_t instance_size; /* of the struct that begins with struct chardev; zero-initialised */
	const struct property *props;

	/* Opens, and sets filename. On failure it undoes what it did. Errors do not name the
	 * option. */
	int (*open)(struct chardev *chr, struct error **errp);
	void (*close)(struct chardev *chr);
	/* End of input, or output failed. NULL: input just ends, output is dropped. */
	void (*hangup)(struct chardev *chr);
	/* The peer closed its end, but the user has no room for what it sent before. NULL allowed.
	 */
	void (*hung)(struct chardev *chr);
	/* Takes all input that was read; only with read_ahead. Else it goes to the user. */
	void (*input)(struct chardev *chr, const uint8_t *data, size_t len);
	/* The user has room; only with read_ahead. */
	void (*room)(struct chardev *chr);
};

struct chardev {
	const struct chardev_kind *kind;
	char *id;
	char *filename;
	struct loop *loop;
	struct link_scope *scope;

	struct chardev_user *user;
	bool open;	 /* a peer is there */
	bool read_ahead; /* the kind wants input whether or not the user has room */
	bool lossy; /* output that nobody reads is thrown away after a second: it never blocks the
		       guest */
	struct loop_fd in, out;	     /* when both have one fd, only @in is registered */
	bool in_polled;		     /* false: a regular file, always ready */
	bool in_socket;		     /* EPOLLRDHUP means something */
	bool in_hung;		     /* EPOLLRDHUP was seen */
	struct loop_call update;     /* look at everything anew; scheduled from any thread */
	struct loop_call read_ready; /* !in_polled */
	struct loop_timer stall_timer;
	_Atomic bool in_paused; /* the user had no room when asked last */

	pthread_mutex_t lock; /* guards the rest */
	int out_fd;	      /* -1: nobody there, output is dropped */
	bool out_socket;
	bool out_failed; /* hang up, on the main loop */
	bool out_armed;	 /* the main loop knows that the ring is not empty */
	bool starved;	 /* a write was cut short: writable() is owed */
	bool stalled;	 /* lossy: nobody reads, the newest output replaces the oldest */
	struct ring ring;
};

extern const struct chardev_kind chardev_stdio;
extern const struct chardev_kind chardev_file;
extern const struct chardev_kind chardev_pty;
extern const struct chardev_kind chardev_socket;
extern const struct chardev_kind chardev_null;

/*
 * The descriptors of the peer from now on, -1 for none; the kind owns them and closes them after it
 * has set others. Output buffered for the descriptor before is dropped.
 */
int __must_check chardev_set_fds(struct chardev *chr, int in_fd, int out_fd, struct error **errp);
void chardev_clear_fds(struct chardev *chr);

/* A line on stderr for whoever starts the VM: "stratovirt: chardev 'ID' @what @object". */
void chardev_tell(const struct chardev *chr, const char *what, const char *object);

/* Tells the user that a peer came or went. */
void chardev_set_open(struct chardev *chr, bool open);
void chardev_send_event(struct chardev *chr, enum chardev_event event);

/* Passes on as much as the user has room for and returns how much. */
size_t chardev_deliver(struct chardev *chr, const uint8_t *data, size_t len);

/* ring.c */
size_t ring_put(struct ring *ring, const uint8_t *data, size_t len); /* returns what fitted */
size_t ring_put_overwrite(struct ring *ring, const uint8_t *data,
			  size_t len);				 /* drops the oldest; all of it */
size_t ring_peek(const struct ring *ring, const uint8_t **data); /* contiguous bytes at the head */
void ring_drop(struct ring *ring, size_t len);

#endif
