// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "util/address.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/json.h"
#include "util/loop.h"
#include "util/parse.h"

#define MESSAGE_MAX (64 * MIB) /* longer than any list a VM has */
#define READ_SIZE 65536U

struct connection {
	int fd;
	int64_t timeout_ns;	/* of a command; 0: none */
	char *data;		/* what was read and not yet parsed */
	size_t len, size, seen; /* @seen bytes have no line end */
};

static int64_t deadline(const struct connection *connection)
{
	return connection->timeout_ns ? clock_now_ns() + connection->timeout_ns : 0;
}

/* Waits until @events. -ETIMEDOUT at @until. */
static int wait_for(const struct connection *connection, short events, int64_t until)
{
	struct pollfd pfd = { .fd = connection->fd, .events = events };
	int ms = -1, ret;

	do {
		if (until) {
			int64_t now = clock_now_ns();

			if (now >= until)
				return -ETIMEDOUT;
			ms = (int)MIN((until - now) / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX);
		}
		ret = poll(&pfd, 1, ms);
	} while (ret == 0 || (ret < 0 && errno == EINTR));
	return ret < 0 ? -errno : 0;
}

static int send_all(struct connection *connection, const char *text, size_t len, int64_t until)
{
	while (len) {
		ssize_t n = send(connection->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0) {
			ret = wait_for(connection, POLLOUT, until);
			if (ret)
				return ret;
			continue;
		}
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Reads until there is a whole line. 1: there is, 0: the peer closed. */
static int fill_line(struct connection *connection, int64_t until)
{
	for (;;) {
		ssize_t n;
		int ret;

		if (memchr(connection->data + connection->seen, '\n',
			   connection->len - connection->seen))
			return 1;
		connection->seen = connection->len;
		if (connection->len >= MESSAGE_MAX)
			return -EMSGSIZE;
		if (connection->size - connection->len < READ_SIZE) {
			connection->size = 2 * connection->size + READ_SIZE;
			connection->data = xrealloc(connection->data, connection->size);
		}
		ret = wait_for(connection, POLLIN, until);
		if (ret)
			return ret;
		n = recv(connection->fd, connection->data + connection->len, READ_SIZE,
			 MSG_DONTWAIT);
		if (n == 0)
			return 0;
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return errno == ECONNRESET ? 0 : -errno;
		connection->len += (size_t)n;
	}
}

/* The next message, an object. 1, 0 at the end of the stream, or an error. */
static int next_message(struct connection *connection, int64_t until, struct json_object **ret,
			struct error **errp)
{
	struct json_object *message = NULL;
	size_t line;
	int err;

	err = fill_line(connection, until);
	if (err == -ETIMEDOUT)
		return error_set(errp, err, "the monitor does not answer");
	if (err < 0)
		return error_set_errno(errp, err, "reading from the monitor");
	if (!err)
		return 0;
	line = (size_t)((char *)memchr(connection->data, '\n', connection->len) - connection->data);
	err = json_text_parse(connection->data, line, &message, errp);
	if (err) {
		error_prefix(errp, "the monitor sent no JSON: ");
		return err;
	}
	connection->len -= line + 1;
	connection->seen = 0;
	memmove(connection->data, connection->data + line + 1, connection->len);
	if (!json_object_is_type(message, json_type_object)) {
		json_object_put(message);
		return error_set(errp, -EPROTO, "the monitor sent no object");
	}
	*ret = message;
	return 1;
}

/* The next message that is no event, for which somebody waits. */
static int next_answer(struct connection *connection, struct json_object **ret, struct error **errp)
{
	int64_t until = deadline(connection);
	int err;

	while ((err = next_message(connection, until, ret, errp)) == 1) {
		if (!json_object_object_get_ex(*ret, "event", NULL))
			return 0;
		json_object_put(*ret);
	}
	return err ? err : error_set(errp, -ECONNRESET, "the monitor closed the connection");
}

static int refused(struct json_object *error, struct error **errp)
{
	struct json_object *kind = NULL, *text = NULL;

	json_object_object_get_ex(error, "class", &kind);
	json_object_object_get_ex(error, "desc", &text);
	return error_set(errp, -EREMOTEIO, "%s: %s",
			 kind ? json_object_get_string(kind) : "error without class",
			 text ? json_object_get_string(text) : "and without text");
}

int connection_execute(struct connection *connection, const char *command,
		       struct json_object *arguments, struct json_object **ret, struct error **errp)
{
	struct json_object *message = json_object_new_object(), *answer, *value;
	char *text;
	int err;

	json_object_object_add(message, "execute", json_object_new_string(command));
	if (arguments)
		json_object_object_add(message, "arguments", json_object_get(arguments));
	text = xasprintf("%s\r\n",
			 json_object_to_json_string_ext(
				 message, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(message);
	err = send_all(connection, text, strlen(text), deadline(connection));
	free(text);
	/* A monitor that leaves (quit) has answered before, perhaps in the middle of our line. */
	if (err && err != -EPIPE)
		return error_set_errno(errp, err, "writing to the monitor");
	err = next_answer(connection, &answer, errp);
	if (err)
		return err;
	if (json_object_object_get_ex(answer, "return", &value))
		*ret = json_object_get(value);
	else if (json_object_object_get_ex(answer, "error", &value))
		err = refused(value, errp);
	else
		err = error_set(errp, -EPROTO, "the monitor sent neither return nor error");
	json_object_put(answer);
	return err;
}

int connection_next_event(struct connection *connection, int64_t deadline_ns,
			  struct json_object **ret, struct error **errp)
{
	int err;

	while ((err = next_message(connection, deadline_ns, ret, errp)) == 1) {
		if (json_object_object_get_ex(*ret, "event", NULL))
			return 1;
		json_object_put(*ret);
	}
	return err;
}

/* --- opening ------------------------------------------------------------------------------------
 */

static int parse_address(const char *text, struct address *address, struct error **errp)
{
	char *host, *colon;
	uint64_t port;
	int ret;

	if (strncmp(text, "unix:", 5) == 0)
		return address_unix(text + 5, address, errp);
	if (strncmp(text, "tcp:", 4))
		return address_unix(text, address, errp);
	host = xstrdup(text + 4);
	colon = strrchr(host, ':');
	if (!colon || parse_u64(colon + 1, &port) || port < 1 || port > UINT16_MAX) {
		free(host);
		return error_set(errp, -EINVAL, "%s: tcp:HOST:PORT is needed", text);
	}
	*colon = '\0';
	if (host[0] == '[' && colon > host && colon[-1] == ']') { /* IPv6 */
		colon[-1] = '\0';
		ret = address_tcp(host + 1, (uint16_t)port, false, address, errp);
	} else {
		ret = address_tcp(host, (uint16_t)port, false, address, errp);
	}
	free(host);
	return ret;
}

static int negotiate(struct connection *connection, struct error **errp)
{
	struct json_object *message;
	int ret;

	ret = next_answer(connection, &message, errp);
	if (ret)
		return ret;
	if (!json_object_object_get_ex(message, "QMP", NULL))
		ret = error_set(errp, -EPROTO, "it is no QMP monitor: there is no greeting");
	json_object_put(message);
	if (ret)
		return ret;
	ret = connection_execute(connection, "qmp_capabilities", NULL, &message, errp);
	if (!ret)
		json_object_put(message);
	return ret;
}

int connection_open(const char *address_text, unsigned int timeout_ms, struct connection **ret,
		    struct error **errp)
{
	struct timeval limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	struct connection *connection;
	struct address address;
	int err;

	err = parse_address(address_text, &address, errp);
	if (err)
		return err;
	connection = xcalloc(1, sizeof(*connection));
	connection->timeout_ns = timeout_ms * NSEC_PER_MSEC;
	connection->size = READ_SIZE;
	connection->data = xcalloc(1, connection->size);
	connection->fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* A monitor whose queue of clients is full makes connect() wait. */
	if (connection->fd < 0 ||
	    setsockopt(connection->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
	    connect(connection->fd, &address.any, address.len))
		err = error_set_errno(errp, -errno, "%s", address_text);
	if (!err) {
		err = negotiate(connection, errp);
		if (err)
			error_prefix(errp, "%s: ", address_text);
	}
	if (err) {
		connection_close(connection);
		return err;
	}
	*ret = connection;
	return 0;
}

void connection_close(struct connection *connection)
{
	if (!connection)
		return;
	fd_close(&connection->fd);
	free(connection->data);
	free(connection);
}
