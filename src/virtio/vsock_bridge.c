// SPDX-License-Identifier: Apache-2.0
/*
 * The host's side of the user-space vsock: stream sockets in the file system.
 *
 * A host program that wants a port of the guest connects to uds-path and writes "CONNECT <port>\n"; when the guest has
 * accepted, it reads "OK <host port>\n", and then the stream begins. A guest program that connects to port n of the host
 * reaches whoever listens on "<uds-path>_<n>".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/errand.h"
#include "util/fd.h"
#include "util/parse.h"
#include "vsock.h"

#define LOG_MODULE "virtio-vsock"
#include "util/log.h"

#define BACKLOG 128
#define LISTEN_PAUSE_NS (100 * NSEC_PER_MSEC)
#define HELLO_WORD "CONNECT "

/* --- Listening --- */

void vsock_bridge_update(struct vsock *vsock)
{
	bool want = vsock->running && vsock->count < VSOCK_CONNECTIONS_MAX && !vsock->listen_again_ns;

	if (loop_fd_set_events(&vsock->listener, want ? EPOLLIN : 0))
		log_warn_limited(&vsock->host_limit, "%s: '%s' cannot be watched", vsock->vdev.dev.id,
				 vsock->uds_path);
}

static void listener_ready(struct loop_fd *lfd, uint32_t events)
{
	struct vsock *vsock = container_of(lfd, struct vsock, listener);
	int fd;

	(void)events;
	while (vsock->count < VSOCK_CONNECTIONS_MAX) {
		fd = accept4(lfd->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			break;
		if (!vsock_connection_new(vsock, VSOCK_HELLO, fd))
			close(fd);
	}
	if (vsock->count < VSOCK_CONNECTIONS_MAX && errno != EAGAIN && errno != ECONNABORTED) {
		/* Most likely there are no descriptors left. Those who wait stay in the backlog. */
		log_warn_limited(&vsock->host_limit, "%s: accepting on '%s': %s", vsock->vdev.dev.id,
				 vsock->uds_path, strerror(errno));
		vsock->listen_again_ns = clock_now_ns() + LISTEN_PAUSE_NS;
		vsock_set_timer(vsock, vsock->listen_again_ns);
	}
	vsock_bridge_update(vsock);
}

/* Each connection is a descriptor, and the usual limit is 1024 for all that the process has. */
static int raise_descriptor_limit(void *unused)
{
	const rlim_t want = VSOCK_CONNECTIONS_MAX + 1024;
	struct rlimit limit;

	(void)unused;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want)
		return 0;
	limit.rlim_cur = MIN(want, limit.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_debug("descriptors stay limited: %s", strerror(errno));
	return 0;
}

struct listen_call {
	struct vsock *vsock;
	int ret;
};

static void home_listen(void *opaque)
{
	struct listen_call *call = opaque;

	call->ret = loop_fd_add(call->vsock->vdev.home, &call->vsock->listener);
}

int vsock_bridge_open(struct vsock *vsock, struct error **errp)
{
	struct listen_call call = { vsock, 0 };
	int ret;

	ret = address_unix(vsock->uds_path, &vsock->address, errp);
	if (ret)
		return ret;
	ret = address_listen(&vsock->address, &vsock->file, BACKLOG, errp);
	if (ret < 0)
		return ret;
	vsock->listener = (struct loop_fd){ .fd = ret, .handler = listener_ready };
	list_init(&vsock->listener.node);
	(void)errand_run(raise_descriptor_limit, NULL);
	loop_run_sync(vsock->vdev.home, home_listen, &call);
	return call.ret; /* never fails: nothing is watched yet */
}

void vsock_bridge_close(struct vsock *vsock)
{
	socket_file_remove(&vsock->address, &vsock->file);
	fd_close(&vsock->listener.fd);
}

/* --- Sockets of connections --- */

int vsock_bridge_dial(struct vsock *vsock, uint32_t port)
{
	struct address address;
	char path[sizeof(address.un.sun_path)];
	int fd, ret, len;

	len = snprintf(path, sizeof(path), "%s_%u", vsock->uds_path, port);
	if (len >= (int)sizeof(path))
		return -ENAMETOOLONG;
	ret = address_unix(path, &address, NULL);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, &address.any, address.len)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static void host_ready(struct loop_fd *lfd, uint32_t events)
{
	struct vsock_connection *conn = container_of(lfd, struct vsock_connection, host);

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->readable = true;
	if (events & EPOLLOUT)
		conn->writable = true;
	if (events & EPOLLHUP)
		conn->hung_up = true;
	/* While the device stands still it is noted only; start looks at every connection. An orphan does not wait. */
	if (conn->vsock->running || conn->state == VSOCK_ORPHAN)
		vsock_connection_host_event(conn);
}

int vsock_bridge_attach(struct vsock_connection *conn, int fd)
{
	int ret;

	conn->host = (struct loop_fd){
		.fd = fd, .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .handler = host_ready
	};
	list_init(&conn->host.node);
	conn->writable = true;
	ret = loop_fd_add(conn->vsock->vdev.home, &conn->host);
	if (ret)
		conn->host.fd = -1;
	return ret;
}

void vsock_bridge_detach(struct vsock_connection *conn)
{
	loop_fd_del(&conn->host);
	fd_close(&conn->host.fd);
	conn->readable = conn->writable = false;
}

/* --- The first line --- */

/* 0 with *port, or -EINVAL. @text: the line without its end. */
static int parse_hello(char *text, size_t len, uint32_t *port)
{
	uint64_t number;

	if (len && text[len - 1] == '\r')
		text[--len] = '\0';
	if (strlen(text) != len || strncmp(text, HELLO_WORD, strlen(HELLO_WORD)))
		return -EINVAL;
	text += strlen(HELLO_WORD);
	/* Decimal digits only. */
	if (!*text || text[strspn(text, "0123456789")] || parse_u64(text, &number) ||
	    number >= UINT32_MAX)
		return -EINVAL;
	*port = (uint32_t)number;
	return 0;
}

/* Up to the line's end and not a byte further: what follows belongs to the stream. 1: it is complete; 0: not yet. */
static int read_hello(struct vsock_connection *conn)
{
	while (conn->hello_len < VSOCK_HELLO_MAX) {
		ssize_t n = fd_read(conn->host.fd, conn->hello + conn->hello_len, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			conn->readable = false;
			return 0;
		}
		if (n <= 0)
			return -EPIPE;
		if (conn->hello[conn->hello_len++] == '\n')
			return 1;
	}
	return -EINVAL;
}

void vsock_bridge_hello(struct vsock_connection *conn)
{
	int ret = read_hello(conn);
	uint32_t port;

	if (!ret)
		return; /* more will come, and be signalled */
	if (ret < 0) {
		vsock_connection_free(conn);
		return;
	}
	conn->hello[--conn->hello_len] = '\0';
	if (parse_hello(conn->hello, conn->hello_len, &port)) {
		log_warn_limited(&conn->vsock->host_limit,
				 "%s: '%s': a client's first line is not \"CONNECT <port>\"",
				 conn->vsock->vdev.dev.id, conn->vsock->uds_path);
		vsock_connection_free(conn);
		return;
	}
	vsock_connection_request(conn, port);
}

int vsock_bridge_say_ok(struct vsock_connection *conn)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "OK %u\n", conn->host_port);
	ssize_t n = fd_send(conn->host.fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	/* Nothing was sent before it: if it does not fit, the client is no client. */
	return n == len ? 0 : -EPIPE;
}

/* --- Bytes --- */

ssize_t vsock_bridge_read(struct vsock_connection *conn, struct iovec *iov, unsigned int count)
{
	ssize_t n;

	do
		n = readv(conn->host.fd, iov, count);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* How many bytes the host took; whatever hinders is noted. */
static uint32_t send_now(struct vsock_connection *conn, struct iovec *iov, unsigned int count)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t n;

	if (conn->deaf || !conn->writable)
		return 0;
	do
		n = sendmsg(conn->host.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (uint32_t)n;
	if (errno == EAGAIN)
		conn->writable = false;
	else
		conn->deaf = true;
	return 0;
}

static void keep(struct vsock_connection *conn, const uint8_t *data, uint32_t len)
{
	while (len) {
		uint32_t at = (conn->buffer_head + conn->buffer_fill) % conn->buffer_size;
		uint32_t n = MIN(len, conn->buffer_size - at);

		memcpy(conn->buffer + at, data, n);
		conn->buffer_fill += n;
		data += n;
		len -= n;
	}
}

int vsock_bridge_write(struct vsock_connection *conn, struct iovec *iov, unsigned int count,
		       uint32_t len)
{
	uint32_t sent = 0, skip;

	count = vsock_iov_cut(iov, count, len);
	if (!conn->buffer_fill)
		sent = send_now(conn, iov, count);
	if (conn->deaf)
		sent = len; /* nobody wants it */
	conn->fwd_cnt += sent;
	if (sent == len)
		return 0;
	if (!conn->buffer) {
		conn->buffer = malloc(conn->buffer_size);
		conn->buffer_head = 0;
		if (!conn->buffer)
			return -ENOMEM;
	}
	skip = sent;
	for (unsigned int i = 0; i < count; i++) {
		uint32_t passed = MIN((size_t)skip, iov[i].iov_len);

		keep(conn, (const uint8_t *)iov[i].iov_base + passed, iov[i].iov_len - passed);
		skip -= passed;
	}
	return 0;
}

static void empty(struct vsock_connection *conn)
{
	free(conn->buffer);
	conn->buffer = NULL;
	conn->buffer_fill = 0;
}

void vsock_bridge_drop(struct vsock_connection *conn)
{
	conn->fwd_cnt += conn->buffer_fill;
	empty(conn);
}

void vsock_bridge_flush(struct vsock_connection *conn)
{
	while (conn->buffer_fill && conn->writable && !conn->deaf) {
		uint32_t first = MIN(conn->buffer_fill, conn->buffer_size - conn->buffer_head), sent;
		struct iovec iov[2] = {
			{ conn->buffer + conn->buffer_head, first },
			{ conn->buffer, conn->buffer_fill - first },
		};

		sent = send_now(conn, iov, 2);
		conn->fwd_cnt += sent;
		conn->buffer_fill -= sent;
		conn->buffer_head = (conn->buffer_head + sent) % conn->buffer_size;
	}
	if (conn->deaf)
		vsock_bridge_drop(conn);
	else if (!conn->buffer_fill)
		empty(conn);
}
