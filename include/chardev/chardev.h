/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character back ends: stdio, file, pty, unix and TCP sockets, null. Each has one user (a serial port, a console
 * port, a monitor). The back end lives on the main loop; output is buffered up to a fixed bound and a full buffer
 * is told to the caller (back-pressure), input is offered only as far as the user has room.
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include "config/property.h"
#include "util/loop.h"

struct chardev;

enum chardev_event {
	CHARDEV_OPENED, /* a peer is there: connected, or always so */
	CHARDEV_CLOSED, /* the peer went; a server waits for the next one, a client reconnects if asked to */
	CHARDEV_BREAK,  /* a break on the line: Ctrl-A B on a terminal. */
	CHARDEV_RESIZED, /* the terminal behind it has another size, chardev_terminal_size() */
};

/* The user's side. All handlers run on the main loop's thread and may call the functions below. */
struct chardev_user {
	/*
	 * How many bytes receive() would take now; 0 pauses input until chardev_accept_input(). NULL: the user talks over
	 * chardev_copy_connection() itself; the back end reads and writes nothing, and sees only whether the peer is there.
	 */
	size_t (*can_receive)(struct chardev_user *user);
	void (*receive)(struct chardev_user *user, const uint8_t *data, size_t len);
	/* Descriptors that came with the bytes received next (SCM_RIGHTS); the user's from now on. NULL = not wanted. */
	void (*receive_fds)(struct chardev_user *user, const int *fds, unsigned int count);
	void (*event)(struct chardev_user *user, enum chardev_event event); /* NULL = not interested */
	void (*writable)(struct chardev_user *user); /* room again after a short chardev_write(); NULL allowed */
	bool (*is_open)(struct chardev_user *user); /* whether the guest has opened it; NULL = nothing like that exists: it has */
};

/*
 * Makes the back end that @opts describe ("backend", "id" and the kind's properties) and adds it to @scope under
 * LINK_CHARDEV. Errors name the option.
 */
int __must_check chardev_new(const struct opts *opts, struct loop *loop, struct link_scope *scope,
			     struct chardev **ret, struct error **errp);
/* chardev_finish(); restores the terminal, removes a socket file it made. */
void chardev_free(struct chardev *chr);
/*
 * Writes what is buffered, of all of them at once, as long as one of the readers takes some every half second, at most 5 s; what is
 * left is lost. Before chardev_free() of many, so that it is waited once. Main thread, without users that go on writing.
 */
void chardev_finish(struct chardev *const *chrs, unsigned int count);

const char *chardev_id(const struct chardev *chr);
/* As query-chardev shows it: "pty:/dev/pts/3", "stdio", "unix:/run/x,server=on". Valid until freed. */
const char *chardev_filename(const struct chardev *chr);

/* One user at a time: -EBUSY with the id. The user gets CHARDEV_OPENED at once when a peer is there. */
int __must_check chardev_attach(struct chardev *chr, struct chardev_user *user, struct error **errp);
void chardev_detach(struct chardev *chr);
bool chardev_in_use(const struct chardev *chr); /* somebody is attached */
bool chardev_user_is_open(const struct chardev *chr); /* and listens, as far as it can tell. Main thread. */

/* Drops the peer of a socket; the others have none that could be dropped. Not from the user's handlers. */
void chardev_disconnect(struct chardev *chr);

/*
 * Takes up to @len bytes and returns how many were taken. Fewer than @len: the buffer is full and writable()
 * will be called. Without a peer (no client, no reader of a pty) everything is taken and dropped. Any thread.
 */
size_t chardev_write(struct chardev *chr, const void *data, size_t len);

bool chardev_is_unix_socket(const struct chardev *chr);
/* A copy of the connected socket's descriptor, the caller's to close; -ENOTCONN, -ENOTSUP. Main thread. */
int chardev_copy_connection(struct chardev *chr);

/* The size of the terminal behind it, in characters; false when there is none, or none that knows its size. Any thread. */
bool chardev_terminal_size(struct chardev *chr, uint16_t *cols, uint16_t *rows);

/* The user has room again. Any thread. */
void chardev_accept_input(struct chardev *chr);

/* Ctrl-A X on a terminal: calls @quit on the main thread. Ctrl-A H prints help, Ctrl-A A sends Ctrl-A. */
void chardev_set_quit_handler(void (*quit)(void *opaque), void *opaque);

/* The process was told that its terminal has another size (SIGWINCH). Main thread. */
void chardev_terminal_resized(void);

/* Puts the terminal back as it was; async-signal-safe, harmless when nothing was changed. For every exit path. */
void chardev_restore_terminal(void);

void chardev_help(FILE *out);

#endif
