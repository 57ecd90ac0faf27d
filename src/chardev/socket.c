/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "socket": a unix or TCP stream. A server serves one client at a time, the others wait in its
 * backlog; a client connects again after "reconnect" seconds. A descriptor that was inherited takes
 * the part it is fit for.
 *
 *   server:  listening → connected → listening …
 *   client:  connecting → connected → (reconnect) waiting → connecting …
 */
#define LOG_MODULE "chardev"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "internal.h"
#include "util/address.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fd_store.h"
#include "util/log.h"
#include "util/parse.h"

struct chardev_socket {
	struct chardev chr;
	/* properties */
	char *path, *host, *fd_text;
	uint16_t port;
	bool server, wait, nodelay;
	uint32_t reconnect; /* seconds; 0: no */

	struct address address;
	bool has_file;
	struct socket_file file;
	struct loop_fd listener;   /* server; registered while a client may come */
	struct loop_fd connecting; /* client: the connection under way */
	struct loop_timer again;   /* the next attempt, to connect or to accept */
	int fd;			   /* the connection, -1 */
};

static struct chardev_socket *to_socket(struct chardev *chr)
{
	return container_of(chr, struct chardev_socket, chr);
}

/* --- the connection --- */

static void set_nodelay(const struct chardev_socket *s, int fd)
{
	int one = 1;

	/* Fails on unix sockets, where there is no delay anyway. */
	if (s->nodelay)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void schedule_attempt(struct chardev_socket *s)
{
	if (s->reconnect)
		loop_timer_set(&s->again, clock_now_ns() + s->reconnect * NSEC_PER_SEC);
}

/* Takes @fd over. */
static void connected(struct chardev_socket *s, int fd)
{
	struct error *err = NULL;

	set_nodelay(s, fd);
	if (fd_set_nonblock(fd, true) || chardev_set_fds(&s->chr, fd, fd, &err)) {
		log_warn("%s: connection dropped: %s", s->chr.id,
			 err ? error_text(err) : strerror(errno));
		error_free(err);
		close(fd);
		schedule_attempt(s);
		return;
	}
	s->fd = fd;
	loop_fd_set_events(&s->listener, 0);
	log_debug("%s: connected", s->chr.id);
	chardev_set_open(&s->chr, true);
}

static void drop_connection(struct chardev_socket *s)
{
	if (s->fd < 0)
		return;
	chardev_clear_fds(&s->chr);
	fd_close(&s->fd);
	log_debug("%s: disconnected", s->chr.id);
	chardev_set_open(&s->chr, false);
}

static void socket_hangup(struct chardev *chr)
{
	struct chardev_socket *s = to_socket(chr);

	drop_connection(s);
	if (s->listener.fd >= 0)
		loop_fd_set_events(&s->listener, EPOLLIN);
	else
		schedule_attempt(s);
}

/* The client went while the guest has not read its last words: they stay until the next client
 * comes. */
static void socket_hung(struct chardev *chr)
{
	struct chardev_socket *s = to_socket(chr);

	if (s->listener.fd >= 0)
		loop_fd_set_events(&s->listener, EPOLLIN);
}

/* --- server --- */

static void listener_ready(struct loop_fd *lfd, uint32_t events)
{
	struct chardev_socket *s = container_of(lfd, struct chardev_socket, listener);
	bool exhausted;
	int fd;

	(void)events;
	fd = fd_accept(lfd->fd, &exhausted);
	if (exhausted) {
		loop_fd_set_events(lfd, 0);
		loop_timer_set(&s->again, clock_now_ns() + NSEC_PER_SEC);
	}
	if (fd < 0)
		return;
	drop_connection(s);
	connected(s, fd);
}

/* Signals that mean the end may be blocked and meant for a descriptor of the main loop, which does
 * not run yet. */
static bool end_requested(void)
{
	sigset_t pending;

	return !sigpending(&pending) &&
	       (sigismember(&pending, SIGINT) || sigismember(&pending, SIGTERM) ||
		sigismember(&pending, SIGHUP));
}

static int wait_for_client(struct chardev_socket *s, struct error **errp)
{
	chardev_tell(&s->chr, "waits for a connection on", s->chr.filename);
	log_info("%s: waiting for a connection on %s", s->chr.id, s->chr.filename);
	while (s->fd < 0) {
		int n = fd_poll(s->listener.fd, POLLIN, 200);

		if ((n < 0 && errno == EINTR) || end_requested())
			return error_set(errp, -EINTR,
					 "interrupted while waiting for a connection");
		if (n < 0)
			return error_set_errno(errp, -errno, "waiting for a connection");
		if (n > 0)
			listener_ready(&s->listener, EPOLLIN);
	}
	return 0;
}

static int start_server(struct chardev_socket *s, int fd, struct error **errp)
{
	int ret;

	s->listener.fd = fd;
	s->listener.events = EPOLLIN;
	s->listener.handler = listener_ready;
	ret = loop_fd_add(s->chr.loop, &s->listener);
	if (ret)
		return error_set_errno(errp, ret, "cannot wait for connections");
	return s->wait ? wait_for_client(s, errp) : 0;
}

/* --- client --- */

static void attempt_ended(struct chardev_socket *s, int fd, int error)
{
	if (!error) {
		connected(s, fd);
		return;
	}
	close(fd);
	log_debug("%s: cannot connect: %s", s->chr.id, strerror(error));
	schedule_attempt(s);
}

static void connecting_ready(struct loop_fd *lfd, uint32_t events)
{
	struct chardev_socket *s = container_of(lfd, struct chardev_socket, connecting);
	int fd = lfd->fd;

	(void)events;
	loop_fd_del(lfd);
	lfd->fd = -1;
	/* Asked again, connect() says what came of it. */
	attempt_ended(s, fd, connect(fd, &s->address.any, s->address.len) ? errno : 0);
}

static void start_connecting(struct chardev_socket *s)
{
	int fd = socket(s->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		log_warn("%s: cannot make a socket: %s", s->chr.id, strerror(errno));
		schedule_attempt(s);
		return;
	}
	if (!connect(fd, &s->address.any, s->address.len)) {
		attempt_ended(s, fd, 0);
	} else if (errno == EINPROGRESS) {
		s->connecting.fd = fd;
		s->connecting.events = EPOLLOUT;
		s->connecting.handler = connecting_ready;
		if (loop_fd_add(s->chr.loop, &s->connecting)) {
			s->connecting.fd = -1;
			attempt_ended(s, fd, ENOMEM);
		}
	} else {
		attempt_ended(s, fd, errno);
	}
}

static void attempt_again(struct loop_timer *timer)
{
	struct chardev_socket *s = container_of(timer, struct chardev_socket, again);

	if (s->listener.fd >= 0)
		loop_fd_set_events(&s->listener, EPOLLIN);
	else
		start_connecting(s);
}

/* Without "reconnect" there is one attempt, and start waits for it. */
static int connect_once(struct chardev_socket *s, struct error **errp)
{
	int fd = socket(s->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return error_set_errno(errp, -errno, "cannot make a socket");
	if (connect(fd, &s->address.any, s->address.len)) {
		ret = error_set_errno(errp, -errno, "cannot connect to %s", s->chr.filename);
		close(fd);
		return ret;
	}
	connected(s, fd);
	return 0;
}

/* --- opening --- */

static int check_options(const struct chardev_socket *s, struct error **errp)
{
	bool tcp = s->host || s->port;

	if ((s->path != NULL) + tcp + (s->fd_text != NULL) != 1)
		return error_set(errp, -EINVAL, "give one of path=, host=/port= and fd=");
	if (tcp && !s->port && !s->server)
		return error_set(errp, -EINVAL, "port= is missing");
	if (s->server && s->reconnect)
		return error_set(errp, -EINVAL, "reconnect= is for clients, not for server=on");
	return 0;
}

static void set_filename(struct chardev_socket *s, const struct address *address)
{
	char *text = address_text(address);

	free(s->chr.filename);
	s->chr.filename = xasprintf("%s%s", text, s->server ? ",server=on" : "");
	free(text);
}

static int take_socket(struct chardev_socket *s, int fd, struct error **errp)
{
	struct address name;
	bool listening;
	int ret = socket_inspect(fd, &listening, &name);

	if (ret)
		return error_set_errno(errp, ret, "fd=%s is not an open socket", s->fd_text);
	if (s->server && !listening)
		return error_set(errp, -EINVAL, "fd=%s does not listen, but server=on is given", s->fd_text);
	ret = listening ? fd_set_nonblock(fd, true) : 0;
	if (ret)
		return error_set_errno(errp, ret, "fd=%s", s->fd_text);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	s->server = listening;
	set_filename(s, &name);
	if (listening)
		return start_server(s, fd, errp);
	connected(s, fd);
	return 0;
}

/* The name of a descriptor that a client of the monitor passed, or the number of one that the process came with. */
static int take_inherited(struct chardev_socket *s, struct error **errp)
{
	int fd = fd_store_take(s->fd_text), ret;
	uint64_t number;

	if (fd < 0) {
		if (parse_u64(s->fd_text, &number) || number > INT32_MAX)
			return error_set(errp, -EINVAL, "fd=%s is neither a descriptor number nor the name of one", s->fd_text);
		return take_socket(s, (int)number, errp);
	}
	ret = take_socket(s, fd, errp);
	if (ret && s->listener.fd != fd) /* else it is closed with the chardev */
		close(fd);
	return ret;
}

static int open_named(struct chardev_socket *s, struct error **errp)
{
	int fd, ret;

	ret = s->path ? address_unix(s->path, &s->address, errp)
		      : address_tcp(s->host, s->port, s->server, &s->address, errp);
	if (ret)
		return ret;
	if (s->server) {
		fd = address_listen(&s->address, &s->file, 1, errp);
		if (fd < 0)
			return fd;
		s->has_file = s->path != NULL;
		set_filename(s, &s->address);
		return start_server(s, fd, errp);
	}
	set_filename(s, &s->address);
	if (!s->reconnect)
		return connect_once(s, errp);
	start_connecting(s);
	return 0;
}

static void socket_close(struct chardev *chr)
{
	struct chardev_socket *s = to_socket(chr);

	loop_timer_cancel(&s->again);
	drop_connection(s);
	loop_fd_del(&s->connecting);
	fd_close(&s->connecting.fd);
	loop_fd_del(&s->listener);
	fd_close(&s->listener.fd);
	if (s->has_file)
		socket_file_remove(&s->address, &s->file);
}

static int socket_open(struct chardev *chr, struct error **errp)
{
	struct chardev_socket *s = to_socket(chr);
	int ret;

	s->fd = s->listener.fd = s->connecting.fd = -1;
	loop_timer_init(&s->again, chr->loop, attempt_again);
	ret = check_options(s, errp);
	if (!ret)
		ret = s->fd_text ? take_inherited(s, errp) : open_named(s, errp);
	if (ret)
		socket_close(chr);
	return ret;
}

static const struct property socket_props[] = {
	PROP_STRING("path", struct chardev_socket, path, 1, 107, NULL, "unix socket"),
	PROP_STRING("host", struct chardev_socket, host, 0, 64, NULL,
		    "IPv4 or IPv6 address or localhost; empty: all (server), localhost (client)"),
	PROP_UINT(16, "port", struct chardev_socket, port, 0, 65535, 0,
		  "TCP port; 0: any (server)"),
	PROP_STRING("fd", struct chardev_socket, fd_text, 1, 64, NULL,
		    "inherited descriptor, listening or connected, or the name of one that getfd gave"),
	PROP_BOOL("server", struct chardev_socket, server, 0, "listen; off: connect"),
	PROP_BOOL("wait", struct chardev_socket, wait, 1,
		  "server: start when the first client is there (old word for off: nowait)"),
	PROP_UINT(32, "reconnect", struct chardev_socket, reconnect, 0, 86400, 0,
		  "client: seconds until the next attempt; 0: one attempt only"),
	PROP_BOOL("nodelay", struct chardev_socket, nodelay, 1, "TCP: send every byte at once"),
	PROP_END,
};

const struct chardev_kind chardev_socket = {
	.name = "socket",
	.summary = "a unix or TCP stream, as server or client",
	.instance_size = sizeof(struct chardev_socket),
	.props = socket_props,
	.open = socket_open,
	.close = socket_close,
	.hangup = socket_hangup,
	.hung = socket_hung,
};
