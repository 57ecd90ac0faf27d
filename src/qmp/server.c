// SPDX-License-Identifier: Apache-2.0
/* -qmp and -api-channel: a listening socket, and a session of its own for every client that
 * connects to it. */
#define LOG_MODULE "qmp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"
#include "util/address.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define CLIENTS_MAX 32
#define BACKLOG 32
#define RETRY_NS NSEC_PER_SEC		     /* to accept, when descriptors ran out */
#define FINAL_FLUSH_NS (200 * NSEC_PER_MSEC) /* for all clients together */

struct listener {
	struct qmp_monitor monitor;
	/* properties */
	char *path, *host, *fd_text;
	uint16_t port;
	bool server, wait, nowait, strict;

	struct address address;
	struct socket_file file;
	bool has_file;
	struct loop_fd lfd;
	struct loop_timer retry;
	struct list clients;
	unsigned int client_count;
};

struct client {
	struct list node; /* in listener->clients, until freed */
	struct listener *listener;
	struct qmp_session session;
	struct loop_fd lfd;
	struct loop_call gone; /* frees it, when nobody is inside any more */
};

static const struct property listener_props[] = {
	PROP_STRING("path", struct listener, path, 1, 107, NULL, "unix socket to listen on"),
	PROP_STRING("host", struct listener, host, 0, 64, NULL,
		    "IPv4 or IPv6 address or localhost; empty: all"),
	PROP_UINT(16, "port", struct listener, port, 0, 65535, 0, "TCP port; 0: any"),
	PROP_STRING("fd", struct listener, fd_text, 1, 10, NULL,
		    "inherited descriptor that listens"),
	PROP_BOOL("server", struct listener, server, 0, "monitors listen: required"),
	PROP_BOOL("wait", struct listener, wait, 1, "start the VM when the first client is there"),
	PROP_BOOL("nowait", struct listener, nowait, 0, "the old word for wait=off"),
	PROP_BOOL("strict", struct listener, strict, 1,
		  "no command before qmp_capabilities; off for StratoVirt's clients that never "
		  "send it"),
	PROP_END,
};

/* --- a client's connection --- */

static struct client *to_client(struct qmp_session *session)
{
	return container_of(session, struct client, session);
}

static ssize_t socket_write(struct qmp_session *session, const char *data, size_t len)
{
	struct client *client = to_client(session);
	ssize_t n;

	do
		n = fd_send(client->lfd.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return -errno;
	n = MAX(n, (ssize_t)0);
	if ((size_t)n < len)
		loop_fd_set_events(&client->lfd, client->lfd.events | EPOLLOUT);
	return n;
}

static void socket_accept_input(struct qmp_session *session)
{
	struct client *client = to_client(session);

	loop_fd_set_events(&client->lfd, client->lfd.events | EPOLLIN);
}

static void socket_close(struct qmp_session *session)
{
	struct client *client = to_client(session);

	loop_fd_del(&client->lfd);
	fd_close(&client->lfd.fd);
	client->listener->client_count--;
	loop_call_schedule(&client->gone);
	log_debug("a client left, %u are there", client->listener->client_count);
}

static const struct qmp_transport socket_transport = {
	.write = socket_write,
	.accept_input = socket_accept_input,
	.close = socket_close,
};

static void client_free(struct client *client)
{
	list_del(&client->node);
	loop_call_cancel(&client->gone);
	qmp_session_release(&client->session);
	free(client);
}

static void gone_call(struct loop_call *call)
{
	client_free(container_of(call, struct client, gone));
}

static void take_descriptors(struct client *client, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < bytes / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			qmp_client_give_fd(&client->session.client, fd);
		}
	}
}

static void receive(struct client *client)
{
	union {
		char bytes[CMSG_SPACE(QMP_CLIENT_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	char data[sizeof(client->session.input)];
	struct iovec iov = { .iov_base = data, .iov_len = qmp_session_room(&client->session) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	/* What is received is worked on before more is: a client that sends faster waits in its
	 * socket. */
	loop_fd_set_events(&client->lfd, client->lfd.events & ~(uint32_t)EPOLLIN);
	if (!iov.iov_len)
		return;
	n = recvmsg(client->lfd.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		socket_accept_input(&client->session);
		return;
	}
	if (n < 0) {
		qmp_session_close(&client->session);
		return;
	}
	take_descriptors(client, &msg);
	if (n)
		qmp_session_input(&client->session, data, (size_t)n);
	else
		qmp_session_input_end(&client->session);
}

static void client_ready(struct loop_fd *lfd, uint32_t events)
{
	struct client *client = container_of(lfd, struct client, lfd);
	struct qmp_session *session = &client->session;

	if (events & EPOLLOUT) {
		loop_fd_set_events(lfd, lfd->events & ~(uint32_t)EPOLLOUT);
		qmp_session_writable(session);
	}
	if (session->open && (events & lfd->events & EPOLLIN))
		receive(client);
	else if (session->open && (events & (EPOLLHUP | EPOLLERR)))
		qmp_session_close(session); /* both directions are gone: nobody waits for replies */
}

/* --- the listening socket --- */

static void refuse(int fd)
{
	struct error *err = NULL;
	char *line;

	error_set(&err, -EBUSY, "this monitor has %d clients, which is the limit", CLIENTS_MAX);
	log_warn("a client is refused: %s", error_text(err));
	line = qmp_dispatch_error(err);
	error_free(err);
	if (line) {
		ssize_t n = fd_send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);

		(void)n;
	}
	free(line);
	close(fd);
}

static void client_new(struct listener *listener, int fd)
{
	struct client *client = xcalloc(1, sizeof(*client));
	struct qmp *qmp = listener->monitor.qmp;

	client->listener = listener;
	client->lfd = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .handler = client_ready };
	qmp_session_init(&client->session, qmp, &socket_transport, listener->strict);
	loop_call_init(&client->gone, qmp->loop, gone_call);
	if (loop_fd_add(qmp->loop, &client->lfd)) {
		close(fd);
		free(client);
		return;
	}
	list_add_tail(&listener->clients, &client->node);
	listener->client_count++;
	log_debug("a client came, %u are there", listener->client_count);
	qmp_session_open(&client->session);
	qmp_monitor_connected(&listener->monitor);
}

static void listener_ready(struct loop_fd *lfd, uint32_t events)
{
	struct listener *listener = container_of(lfd, struct listener, lfd);
	bool exhausted;
	int fd;

	(void)events;
	fd = fd_accept(lfd->fd, &exhausted);
	if (exhausted) {
		loop_fd_set_events(lfd, 0);
		loop_timer_set(&listener->retry, clock_now_ns() + RETRY_NS);
	}
	if (fd < 0)
		return;
	if (listener->client_count == CLIENTS_MAX)
		refuse(fd);
	else
		client_new(listener, fd);
}

static void retry_handler(struct loop_timer *timer)
{
	struct listener *listener = container_of(timer, struct listener, retry);

	loop_fd_set_events(&listener->lfd, EPOLLIN);
}

/* --- opening and closing --- */

static int take_inherited(struct listener *listener, struct error **errp)
{
	struct address name;
	uint64_t number;
	bool listening;
	int fd, ret;

	if (parse_u64(listener->fd_text, &number) || number > INT32_MAX)
		return error_set(errp, -EINVAL, "fd=%s is not a descriptor number",
				 listener->fd_text);
	fd = (int)number;
	ret = socket_inspect(fd, &listening, &name);
	if (ret)
		return error_set_errno(errp, ret, "fd=%d is not an open socket", fd);
	if (!listening)
		return error_set(errp, -EINVAL, "fd=%d is a socket that does not listen", fd);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	ret = fd_set_nonblock(fd, true);
	return ret ? error_set_errno(errp, ret, "fd=%d", fd) : fd;
}

static int open_named(struct listener *listener, struct error **errp)
{
	int fd, ret;

	if (listener->path)
		ret = address_unix(listener->path, &listener->address, errp);
	else
		ret = address_tcp(listener->host, listener->port, true, &listener->address, errp);
	if (ret)
		return ret;
	fd = address_listen(&listener->address, &listener->file, BACKLOG, errp);
	if (fd >= 0)
		listener->has_file = listener->path != NULL;
	return fd;
}

static int listener_open(struct listener *listener, struct error **errp)
{
	bool tcp = listener->host || listener->port;
	int fd, ret;

	if (!listener->server)
		return error_set(errp, -EINVAL,
				 "monitors listen only: add \"server\" (or server=on)");
	if ((listener->path != NULL) + tcp + (listener->fd_text != NULL) != 1)
		return error_set(errp, -EINVAL, "give one of a path, HOST:PORT and fd=");
	fd = listener->fd_text ? take_inherited(listener, errp) : open_named(listener, errp);
	if (fd < 0)
		return fd;
	listener->lfd = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .handler = listener_ready };
	ret = loop_fd_add(listener->monitor.qmp->loop, &listener->lfd);
	if (ret)
		return error_set_errno(errp, ret, "cannot wait for clients");
	listener->monitor.wait = listener->wait && !listener->nowait;
	return 0;
}

/* The last words, "quit"'s reply and SHUTDOWN, for clients that read; the others do not hold us up.
 */
static void final_flush(struct client *client, int64_t end)
{
	int64_t now;

	while (client->session.open && qmp_session_output_pending(&client->session)) {
		now = clock_host_ns();
		if (now >= end)
			break;
		if (fd_poll(client->lfd.fd, POLLOUT, (int)((end - now) / NSEC_PER_MSEC) + 1) == 1)
			qmp_session_writable(&client->session);
	}
	qmp_session_close(&client->session);
}

static void listener_free(struct qmp_monitor *monitor)
{
	struct listener *listener = container_of(monitor, struct listener, monitor);
	int64_t end = clock_host_ns() + FINAL_FLUSH_NS;
	struct client *client, *next;

	loop_fd_del(&listener->lfd);
	loop_timer_cancel(&listener->retry);
	list_for_each_safe(client, next, &listener->clients, node) {
		final_flush(client, end);
		client_free(client);
	}
	fd_close(&listener->lfd.fd);
	if (listener->has_file)
		socket_file_remove(&listener->address, &listener->file);
	property_release(listener_props, listener);
	free(listener);
}

int qmp_listener_new(struct qmp *qmp, const struct opts *opts, struct error **errp)
{
	static const char *const skip[] = { "backend", "id", NULL };
	struct listener *listener = xcalloc(1, sizeof(*listener));
	char *what;
	int ret;

	listener->monitor.qmp = qmp;
	listener->monitor.free = listener_free;
	listener->lfd.fd = -1;
	list_init(&listener->clients);
	loop_timer_init(&listener->retry, qmp->loop, retry_handler);
	ret = property_apply(listener_props, listener, opts, skip, NULL, errp);
	if (!ret) {
		ret = listener_open(listener, errp);
		if (ret) {
			what = opts_describe(opts);
			error_prefix(errp, "%s: ", what);
			free(what);
		}
	}
	if (ret) {
		listener_free(&listener->monitor);
		return ret;
	}
	list_add_tail(&qmp->monitors, &listener->monitor.node);
	return 0;
}
