// SPDX-License-Identifier: Apache-2.0
/*
 * -netdev stream: frames over a unix or TCP socket, to passt, or to another VM. Connecting, listening and trying again are a
 * socket chardev's, which nobody else sees; on the main thread it notices that the other side comes and goes. The frames
 * pass on the user's threads, over a descriptor of their own. When one of these finds the stream at its end, or finds something
 * that is no frame, it shuts the socket down, which the main thread notices as well; until the user has heard of it by
 * connected() nothing passes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "internal.h"
#include "stream_frames.h"
#include "util/address.h"
#include "util/fd.h"

#define LOG_MODULE "net"
#include "util/log.h"

enum { ADDR_UNIX, ADDR_INET, ADDR_FD };
static const char *const addr_types[] = { "unix", "inet", "fd", NULL };

struct netdev_stream {
	struct netdev netdev;
	/* properties */
	int addr_type;
	char *path, *host, *str;
	uint16_t port;
	bool server;
	uint32_t reconnect;

	struct address address;	  /* as asked for; without a family for addr.type=fd */
	struct link_scope *scope; /* the chardev's own */
	struct chardev *chardev;
	struct chardev_user user;
	bool connected, told;
	struct loop_call tell; /* once whoever listens is known */
	struct log_limit limit;
	struct stream_in in;   /* rx thread of the user */
	struct stream_out out; /* tx thread of the user */
};

static const struct property stream_props[] = {
	PROP_ENUM("addr.type", struct netdev_stream, addr_type, addr_types, ADDR_UNIX, "kind of socket"),
	PROP_STRING("addr.path", struct netdev_stream, path, 1, 107, NULL, "unix socket"),
	PROP_STRING("addr.host", struct netdev_stream, host, 0, 64, NULL,
		    "inet: IPv4 or IPv6 address or localhost; empty: all (server), localhost (client)"),
	PROP_UINT(16, "addr.port", struct netdev_stream, port, 0, 65535, 0, "inet: TCP port"),
	PROP_STRING("addr.str", struct netdev_stream, str, 1, 10, NULL,
		    "fd: number of a connected or listening socket"),
	PROP_BOOL("server", struct netdev_stream, server, false, "listen; off: connect"),
	PROP_UINT(32, "reconnect", struct netdev_stream, reconnect, 0, 86400, 0,
		  "client: seconds until the next attempt; 0: one attempt only"),
	PROP_END,
};

static struct netdev_stream *to_stream(struct netdev *netdev)
{
	return container_of(netdev, struct netdev_stream, netdev);
}

/* --- Threads of the user --- */

/* The main thread sees the end of the connection and tells the user. */
static int give_up(struct netdev_stream *stream, const char *why)
{
	if (why)
		log_warn_limited(&stream->limit, "netdev '%s': the connection is dropped: %s", stream->netdev.id, why);
	shutdown(stream->netdev.fds[0], SHUT_RDWR);
	return -ENOTCONN;
}

static ssize_t receive(struct netdev *netdev, unsigned int queue, const struct iovec *iov, unsigned int count)
{
	struct netdev_stream *stream = to_stream(netdev);
	ssize_t n = stream_receive(&stream->in, netdev->fds[queue], iov, count);

	if (n >= 0 || n == -EAGAIN)
		return n;
	return give_up(stream, n == -ENOTCONN ? NULL :
			       n == -EPROTO   ? "a frame longer than any" :
						strerror((int)-n));
}

static int sent(struct netdev_stream *stream, int ret)
{
	return !ret || ret == -EAGAIN ? ret : give_up(stream, ret == -EPIPE ? NULL : strerror(-ret));
}

static int flush(struct netdev *netdev, unsigned int queue)
{
	struct netdev_stream *stream = to_stream(netdev);

	return sent(stream, stream_flush(&stream->out, netdev->fds[queue]));
}

static int send_frame(struct netdev *netdev, unsigned int queue, const struct iovec *iov, unsigned int count)
{
	struct netdev_stream *stream = to_stream(netdev);

	return sent(stream, stream_send(&stream->out, netdev->fds[queue], iov, count));
}

static int set_offloads(struct netdev *netdev, unsigned int offloads)
{
	(void)netdev;
	return offloads ? -ENOTSUP : 0;
}

static int set_queue(struct netdev *netdev, unsigned int queue, bool on)
{
	(void)netdev;
	(void)queue;
	(void)on;
	return 0;
}

static const struct netdev_ops stream_ops = {
	.set_offloads = set_offloads,
	.set_queue = set_queue,
	.receive = receive,
	.send = send_frame,
	.flush = flush,
};

/* --- Main thread --- */

static void tell(struct loop_call *call)
{
	struct netdev_stream *stream = container_of(call, struct netdev_stream, tell);
	struct netdev_listener *listener = stream->netdev.listener;

	stream->told = true;
	if (listener)
		listener->connected(listener, &stream->netdev, &stream->address);
}

static void disconnected(struct netdev_stream *stream)
{
	struct netdev *netdev = &stream->netdev;

	if (!stream->connected)
		return;
	stream->connected = false;
	loop_call_cancel(&stream->tell);
	if (!stream->told) /* they belong together */
		tell(&stream->tell);
	log_warn_limited(&stream->limit, "netdev '%s': the other side has gone", netdev->id);
	if (netdev->user)
		netdev->user->connected(netdev->user, false);
	fd_close(&netdev->fds[0]);
	if (netdev->listener)
		netdev->listener->connected(netdev->listener, netdev, NULL);
}

static void connected(struct netdev_stream *stream)
{
	struct netdev *netdev = &stream->netdev;
	int fd = chardev_copy_connection(stream->chardev);

	if (fd < 0) /* gone again, which is told next */
		return;
	if (fd_set_nonblock(fd, true)) { /* never fails */
		close(fd);
		return;
	}
	netdev->fds[0] = fd;
	stream->in.head = stream->in.len = stream->out.head = stream->out.len = 0;
	stream->connected = true;
	log_info("netdev '%s': connected, %s", netdev->id, chardev_filename(stream->chardev));
	if (netdev->user)
		netdev->user->connected(netdev->user, true);
	stream->told = false;
	loop_call_schedule(&stream->tell);
}

static void chardev_changed(struct chardev_user *user, enum chardev_event event)
{
	struct netdev_stream *stream = container_of(user, struct netdev_stream, user);

	if (event == CHARDEV_OPENED)
		connected(stream);
	else if (event == CHARDEV_CLOSED)
		disconnected(stream);
}

static int check_address(const struct netdev_stream *stream, struct error **errp)
{
	const struct {
		int type;
		const char *key;
		bool given;
	} keys[] = {
		{ ADDR_UNIX, "addr.path", stream->path },
		{ ADDR_INET, "addr.host", stream->host },
		{ ADDR_INET, "addr.port", stream->port },
		{ ADDR_FD, "addr.str", stream->str },
	};
	static const char *const required[] = { "addr.path", "addr.port", "addr.str" };

	for (unsigned int i = 0; i < ARRAY_SIZE(keys); i++) {
		if (keys[i].given && keys[i].type != stream->addr_type)
			return error_set(errp, -EINVAL, "%s is not for addr.type=%s", keys[i].key,
					 addr_types[stream->addr_type]);
		if (!keys[i].given && keys[i].type == stream->addr_type &&
		    !strcmp(keys[i].key, required[stream->addr_type]))
			return error_set(errp, -EINVAL, "%s is missing", keys[i].key);
	}
	return 0;
}

static int find_address(struct netdev_stream *stream, struct error **errp)
{
	switch (stream->addr_type) {
	case ADDR_UNIX:
		return address_unix(stream->path, &stream->address, errp);
	case ADDR_INET:
		return address_tcp(stream->host ? stream->host : "", stream->port, stream->server, &stream->address,
				   errp);
	default:
		return 0;
	}
}

static struct opts *chardev_opts(const struct netdev_stream *stream)
{
	struct opts *opts = opts_new("its");
	char number[12];

	opts_set(opts, "backend", "socket");
	opts_set(opts, "id", stream->netdev.id);
	if (stream->path)
		opts_set(opts, "path", stream->path);
	if (stream->str)
		opts_set(opts, "fd", stream->str);
	if (stream->addr_type == ADDR_INET) {
		snprintf(number, sizeof(number), "%u", stream->port);
		opts_set(opts, "host", stream->host ? stream->host : "");
		opts_set(opts, "port", number);
	}
	if (stream->server) {
		opts_set(opts, "server", "on");
		opts_set(opts, "wait", "off");
	}
	if (stream->reconnect) {
		snprintf(number, sizeof(number), "%u", stream->reconnect);
		opts_set(opts, "reconnect", number);
	}
	return opts;
}

static void release(struct netdev_stream *stream)
{
	chardev_free(stream->chardev);
	link_scope_free(stream->scope);
	free(stream->in.data);
	free(stream->out.data);
}

static int stream_open(struct netdev *netdev, const struct opts *given, struct error **errp)
{
	struct netdev_stream *stream = to_stream(netdev);
	struct opts *opts;
	int ret = check_address(stream, errp);

	(void)given;
	if (!ret)
		ret = find_address(stream, errp);
	if (ret)
		return ret;
	stream->in.data = malloc(STREAM_IN_SIZE);
	stream->out.data = malloc(STREAM_OUT_SIZE);
	stream->scope = link_scope_new();
	opts = chardev_opts(stream);
	if (!stream->in.data || !stream->out.data)
		ret = error_set(errp, -ENOMEM, "out of memory");
	else
		ret = chardev_new(opts, netdev->loop, stream->scope, &stream->chardev, errp);
	opts_free(opts);
	netdev->queue_count = 1;
	stream->user.event = chardev_changed;
	loop_call_init(&stream->tell, netdev->loop, tell);
	if (!ret)
		ret = chardev_attach(stream->chardev, &stream->user, errp);
	if (ret)
		release(stream);
	return ret;
}

static void stream_close(struct netdev *netdev)
{
	struct netdev_stream *stream = to_stream(netdev);

	chardev_detach(stream->chardev);
	loop_call_cancel(&stream->tell);
	release(stream);
}

const struct netdev_kind netdev_kind_stream = {
	.name = "stream",
	.summary = "frames over a unix or TCP socket (passt)",
	.instance_size = sizeof(struct netdev_stream),
	.props = stream_props,
	.ops = &stream_ops,
	.open = stream_open,
	.close = stream_close,
};
