// SPDX-License-Identifier: Apache-2.0
/*
 * Clients of the test accelerator. One request at a time: while one is carried out nothing is read,
 * and its reply is sent when everything has come to rest. A client's end, mistakes and silence
 * concern nobody but itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test_private.h"
#include "util/address.h"
#include "util/alloc.h"
#include "util/fd.h"

#define LOG_MODULE "test"
#include "util/log.h"

#define LINE_MAX_BYTES (33u * 1024 * 1024) /* a write of 16 MiB in hexadecimal */
#define WHOLE_READ_MAX 4096u
#define OUTPUT_MAX (64u * 1024 * 1024)

struct test_server {
	struct list node; /* in accel->servers; the first member */
	struct test_accel *accel;
	enum test_dialect dialect;
	struct address address;
	struct socket_file file;
	bool listening;
	struct loop_fd listener;

	struct loop_fd client; /* fd -1: none */
	char *in;
	size_t in_len, in_size;
	bool skip; /* the rest of a line that was too long */
	char *out;
	size_t out_len, out_sent;

	/* The request that is being carried out. */
	bool busy;
	struct test_settle settle;
	char *reply; /* NULL: the time */
	int64_t target;
};

static void process(struct test_server *server);

static void client_close(struct test_server *server)
{
	test_settle_cancel(&server->settle);
	loop_fd_del(&server->client);
	fd_close(&server->client.fd);
	free(server->reply);
	free(server->out);
	server->reply = server->out = NULL;
	server->in_len = server->out_len = server->out_sent = 0;
	server->busy = server->skip = false;
	if (server->listening && loop_fd_set_events(&server->listener, EPOLLIN))
		log_warn("test client: no further one can be accepted");
}

/* Reads only when there is nothing to do and to say. */
static void update_events(struct test_server *server)
{
	uint32_t events = server->out_len ? EPOLLOUT : server->busy ? 0 : EPOLLIN;

	if (server->client.fd >= 0 && loop_fd_set_events(&server->client, events))
		client_close(server);
}

static void send_output(struct test_server *server)
{
	while (server->out_sent < server->out_len) {
		ssize_t n = fd_send(server->client.fd, server->out + server->out_sent,
				    server->out_len - server->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			client_close(server);
			return;
		}
		server->out_sent += (size_t)n;
	}
	free(server->out);
	server->out = NULL;
	server->out_len = server->out_sent = 0;
}

static void say(struct test_server *server, const char *text)
{
	const char *end = server->dialect == TEST_DIALECT_STRATOVIRT ? "\r\n" : "\n";
	size_t len = strlen(text), end_len = strlen(end);

	if (server->out_len + len + end_len > OUTPUT_MAX)
		return;
	server->out = xrealloc(server->out, server->out_len + len + end_len);
	memcpy(server->out + server->out_len, text, len);
	memcpy(server->out + server->out_len + len, end, end_len);
	server->out_len += len + end_len;
}

void test_server_tell(struct test_accel *accel, uint32_t gsi, bool level)
{
	struct test_server *server;
	char text[32];

	snprintf(text, sizeof(text), "IRQ %s %u", level ? "raise" : "lower", gsi);
	list_for_each(server, &accel->servers, node) {
		if (server->client.fd < 0)
			continue;
		say(server, text);
		if (!server->busy) { /* else with the reply, which comes after it */
			send_output(server);
			update_events(server);
		}
	}
}

/* --- Requests --- */

static void finish(struct test_server *server)
{
	char now[32];

	test_irq_tell(server->accel);
	snprintf(now, sizeof(now), "OK %" PRId64, clock_now_ns());
	say(server, server->reply ? server->reply : now);
	free(server->reply);
	server->reply = NULL;
	server->busy = false;
	send_output(server);
	process(server);
}

/* All is at rest: the next deadline on the way, or the end. Timers run at their own time, one after
 * the other. */
static void at_rest(struct test_settle *settle)
{
	struct test_server *server = container_of(settle, struct test_server, settle);
	int64_t next, now = clock_now_ns();

	if (server->reply || now >= server->target) {
		finish(server);
		return;
	}
	next = test_next_deadline();
	if (!next || next > server->target)
		next = server->target;
	clock_step_to(MAX(next, now));
	test_settle_start(settle);
}

static void execute(struct test_server *server, char *line)
{
	struct test_reply reply = { NULL };

	server->busy = true;
	switch (test_execute(server->accel, server->dialect, line, &reply, &server->target)) {
	case TEST_ANSWERED:
		server->reply = reply.text;
		test_irq_tell(server->accel);
		say(server, server->reply);
		free(server->reply);
		server->reply = NULL;
		server->busy = false;
		send_output(server);
		break;
	case TEST_SETTLE:
		server->reply = reply.text;
		test_settle_start(&server->settle);
		break;
	case TEST_STEP:
		free(reply.text);
		test_settle_start(&server->settle);
		break;
	}
}

static void refuse_long(struct test_server *server)
{
	say(server, "FAIL the request is too long");
	send_output(server);
}

/* Carries out what lies in the buffer, until something has to be waited for. */
static void process(struct test_server *server)
{
	while (server->in_len && server->client.fd >= 0 && !server->busy && !server->out_len) {
		char *end = memchr(server->in, '\n', server->in_len), *line;
		size_t len;

		if (!end)
			break;
		len = (size_t)(end - server->in);
		line = xstrndup(server->in, len && end[-1] == '\r' ? len - 1 : len);
		server->in_len -= len + 1;
		memmove(server->in, end + 1, server->in_len);
		/* One receive can bring far more than the limit, the line's end included. */
		if (server->skip)
			server->skip = false;
		else if (len > LINE_MAX_BYTES)
			refuse_long(server);
		else
			execute(server, line);
		free(line);
	}
	update_events(server);
}

static void receive(struct test_server *server)
{
	ssize_t n;

	if (server->in_size - server->in_len < 2) { /* one byte is for a line's end of ours */
		server->in_size = server->in_size ? server->in_size * 2 : 64 * KIB;
		server->in = xrealloc(server->in, server->in_size);
	}
	n = fd_recv(server->client.fd, server->in + server->in_len,
		 server->in_size - server->in_len - 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(server);
		return;
	}
	server->in_len += (size_t)n;
	/* StratoVirt's clients end a request with the end of what they send at once. */
	if (server->dialect == TEST_DIALECT_STRATOVIRT && server->in_len == (size_t)n &&
	    (size_t)n <= WHOLE_READ_MAX && server->in[n - 1] != '\n')
		server->in[server->in_len++] = '\n';
	if (server->in_len > LINE_MAX_BYTES && !memchr(server->in, '\n', server->in_len)) {
		if (!server->skip)
			refuse_long(server);
		server->skip = true;
		server->in_len = 0;
	}
	process(server);
}

static void client_ready(struct loop_fd *lfd, uint32_t events)
{
	struct test_server *server = container_of(lfd, struct test_server, client);

	if (events & EPOLLOUT) {
		send_output(server);
		process(server);
	} else {
		receive(server);
	}
}

/* --- Connections --- */

static int client_open(struct test_server *server, int fd)
{
	server->client.fd = fd;
	server->client.events = EPOLLIN;
	server->client.handler = client_ready;
	return loop_fd_add(server->accel->main_loop, &server->client);
}

static void accept_client(struct loop_fd *lfd, uint32_t events)
{
	struct test_server *server = container_of(lfd, struct test_server, listener);
	int fd;

	(void)events;
	fd = accept4(lfd->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (client_open(server, fd) || loop_fd_set_events(lfd, 0))
		client_close(server);
}

static int server_connect(struct test_server *server, struct error **errp)
{
	int fd, ret;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ret = fd < 0 || connect(fd, &server->address.any, server->address.len) ? -errno : 0;
	if (!ret)
		ret = fd_set_nonblock(fd, true);
	if (!ret)
		ret = client_open(server, fd);
	if (ret) {
		server->client.fd = -1;
		fd_close(&fd);
		return error_set_errno(errp, ret, "cannot connect to '%s'",
				       server->address.un.sun_path);
	}
	return 0;
}

static int server_listen(struct test_server *server, struct error **errp)
{
	int ret;

	ret = address_listen(&server->address, &server->file, 1, errp);
	if (ret < 0)
		return ret;
	server->listening = true;
	server->listener.fd = ret;
	server->listener.events = EPOLLIN;
	server->listener.handler = accept_client;
	ret = loop_fd_add(server->accel->main_loop, &server->listener);
	return ret ? error_set_errno(errp, ret, "the test socket cannot be watched") : 0;
}

int accel_test_serve(struct accel *base, const char *path, bool listening,
		     enum test_dialect dialect, struct error **errp)
{
	struct test_accel *accel = to_test_accel(base);
	struct test_server *server = xcalloc(1, sizeof(*server));
	int ret;

	server->accel = accel;
	server->dialect = dialect;
	server->listener.fd = server->client.fd = -1;
	test_settle_init(&server->settle, accel->main_loop, at_rest);
	list_add_tail(&accel->servers, &server->node);
	ret = address_unix(path, &server->address, errp);
	if (!ret)
		ret = listening ? server_listen(server, errp) : server_connect(server, errp);
	if (ret)
		test_server_free(server);
	return ret;
}

void test_server_free(struct test_server *server)
{
	if (server->client.fd >= 0)
		client_close(server);
	loop_fd_del(&server->listener);
	fd_close(&server->listener.fd);
	if (server->listening)
		socket_file_remove(&server->address, &server->file);
	list_del(&server->node);
	free(server->in);
	free(server);
}
