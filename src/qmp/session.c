// SPDX-License-Identifier: Apache-2.0
/*
 * One client: its messages in, one after the other; replies and events out. What carries the bytes
 * is a transport.
 *
 * Nothing here is unbounded. A client that sends without pause gets BURST commands worked on in a
 * turn of the loop. One that does not read gets no command worked on while OUTPUT_STOP bytes wait
 * for it, loses events beyond OUTPUT_MAX, and is disconnected when it has lost EVENTS_LOST_MAX of
 * them.
 */
#define LOG_MODULE "qmp"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "util/fd_store.h"
#include "util/log.h"

#define BURST 8
#define OUTPUT_STOP (64 * KIB)
#define OUTPUT_MAX MIB
#define EVENTS_LOST_MAX 256

/* --- descriptors --- */

int qmp_client_take_fd(struct qmp_client *client)
{
	int fd;

	if (!client->fd_count)
		return -ENOENT;
	fd = client->fds[0];
	client->fd_count--;
	memmove(client->fds, client->fds + 1, client->fd_count * sizeof(client->fds[0]));
	return fd;
}

void qmp_client_give_fd(struct qmp_client *client, int fd)
{
	if (client->fd_count == QMP_CLIENT_FDS_MAX)
		close(fd);
	else
		client->fds[client->fd_count++] = fd;
}

void qmp_client_close_fds(struct qmp_client *client)
{
	while (client->fd_count)
		close(client->fds[--client->fd_count]);
}

/* --- output --- */

bool qmp_session_output_pending(const struct qmp_session *session)
{
	return session->output_pos < session->output_len;
}

static size_t output_waiting(const struct qmp_session *session)
{
	return session->output_len - session->output_pos;
}

static void flush(struct qmp_session *session)
{
	while (session->open && qmp_session_output_pending(session)) {
		ssize_t n = session->transport->write(
			session, session->output + session->output_pos, output_waiting(session));

		if (n < 0) {
			qmp_session_close(session);
			return;
		}
		session->output_pos += (size_t)n;
		if (n)
			session->events_dropped = 0;
		if (qmp_session_output_pending(session))
			return; /* the transport calls when there is room */
	}
	session->output_pos = session->output_len = 0;
	if (session->output_size > OUTPUT_STOP) {
		free(session->output);
		session->output = NULL;
		session->output_size = 0;
	}
}

static int output_grow(struct qmp_session *session, size_t more)
{
	size_t waiting = output_waiting(session), size = MAX(session->output_size, (size_t)1024);
	char *output;

	if (session->output_pos) {
		memmove(session->output, session->output + session->output_pos, waiting);
		session->output_pos = 0;
		session->output_len = waiting;
	}
	while (size - waiting < more)
		size *= 2;
	if (size == session->output_size)
		return 0;
	output = realloc(session->output, size);
	if (!output)
		return -ENOMEM;
	session->output = output;
	session->output_size = size;
	return 0;
}

/* @line may be NULL: memory ran out when it was made. Without its replies a client cannot go on. */
static void send_line(struct qmp_session *session, const char *line, size_t len)
{
	if (!session->open)
		return;
	if (!line ||
	    (session->output_size - session->output_len < len && output_grow(session, len))) {
		log_warn("out of memory: a client is disconnected");
		qmp_session_close(session);
		return;
	}
	memcpy(session->output + session->output_len, line, len);
	session->output_len += len;
	flush(session);
}

void qmp_session_send_event(struct qmp_session *session, const char *line, size_t len)
{
	if (session->client.strict && !session->client.negotiated)
		return;
	if (output_waiting(session) + len <= OUTPUT_MAX) {
		send_line(session, line, len);
	} else if (++session->events_dropped == EVENTS_LOST_MAX) {
		log_warn("a client that does not read lost %d events and is disconnected",
			 EVENTS_LOST_MAX);
		qmp_session_close(session);
	}
}

/* --- input --- */

size_t qmp_session_room(const struct qmp_session *session)
{
	/* One receipt after the other: so it is known which bytes a descriptor came with. */
	if (!session->open || session->input_ended || session->input_len)
		return 0;
	return sizeof(session->input);
}

/*
 * Descriptors are for the last message of what they came with; some clients send them with a blank
 * before it. Before the reply is sent: who has it sees that they are closed.
 */
static void drop_unused_fds(struct qmp_session *session)
{
	for (size_t i = session->input_pos; i < session->input_len; i++) {
		if (!strchr(" \t\r\n", session->input[i]) || !session->input[i])
			return;
	}
	qmp_client_close_fds(&session->client);
}

static void message(struct qmp_session *session)
{
	struct qmp_call call = { .qmp = session->qmp, .client = &session->client };
	char *line = qmp_dispatch(&call, session->framer.text, session->framer.len);

	drop_unused_fds(session);
	send_line(session, line, line ? strlen(line) : 0);
	free(line);
	if (call.after)
		call.after(call.qmp);
}

static void bad_input(struct qmp_session *session, struct error *err)
{
	char *line = qmp_dispatch_error(err);

	drop_unused_fds(session);
	error_free(err);
	send_line(session, line, line ? strlen(line) : 0);
	free(line);
}

/* Works on what was received, as far as fairness and the client's reading allow. */
static void run(struct qmp_session *session)
{
	unsigned int budget = BURST;

	while (session->open && session->input_pos < session->input_len) {
		struct error *err = NULL;
		size_t used;
		int ret;

		if (session->qmp->ending) /* what came behind "quit" is too late */
			return;
		if (output_waiting(session) >= OUTPUT_STOP)
			return; /* qmp_session_writable() goes on */
		if (!budget--) {
			loop_call_schedule(&session->work);
			return;
		}
		ret = qmp_framer_feed(&session->framer, session->input + session->input_pos,
				      session->input_len - session->input_pos, &used, &err);
		session->input_pos += used;
		if (ret > 0)
			message(session);
		else if (ret < 0)
			bad_input(session, err);
	}
	if (!session->open)
		return;
	session->input_pos = session->input_len = 0;
	if (session->input_ended && !qmp_session_output_pending(session))
		qmp_session_close(session);
	else if (!session->input_ended)
		session->transport->accept_input(session);
}

static void work_call(struct loop_call *call)
{
	run(container_of(call, struct qmp_session, work));
}

void qmp_session_input(struct qmp_session *session, const char *data, size_t len)
{
	memcpy(session->input, data, len);
	session->input_pos = 0;
	session->input_len = len;
	run(session);
}

void qmp_session_input_end(struct qmp_session *session)
{
	session->input_ended = true;
	if (!session->input_len)
		run(session);
}

void qmp_session_writable(struct qmp_session *session)
{
	flush(session);
	if (!session->open || output_waiting(session) >= OUTPUT_STOP)
		return;
	/* Not from here: the transport is in the middle of its own work. */
	if (session->input_len || (session->input_ended && !qmp_session_output_pending(session)))
		loop_call_schedule(&session->work);
}

/* --- life --- */

void qmp_session_init(struct qmp_session *session, struct qmp *qmp,
		      const struct qmp_transport *transport, bool strict)
{
	list_init(&session->node);
	session->qmp = qmp;
	session->transport = transport;
	session->client.strict = strict;
	loop_call_init(&session->work, qmp->loop, work_call);
}

void qmp_session_open(struct qmp_session *session)
{
	struct json_object *greeting = json_object_new_object(), *inner = json_object_new_object();
	char *line;

	session->open = true;
	session->client.negotiated = false;
	list_add_tail(&session->qmp->sessions, &session->node);
	json_object_object_add(inner, "version", qmp_version_object());
	json_object_object_add(inner, "capabilities", json_object_new_array());
	json_object_object_add(greeting, "QMP", inner);
	line = qmp_to_line(greeting);
	send_line(session, line, line ? strlen(line) : 0);
	free(line);
}

void qmp_session_close(struct qmp_session *session)
{
	if (!session->open)
		return;
	session->open = false;
	list_del(&session->node);
	loop_call_cancel(&session->work);
	qmp_client_close_fds(&session->client);
	fd_store_drop(&session->client);
	session->transport->close(session);
}

void qmp_session_release(struct qmp_session *session)
{
	qmp_framer_reset(&session->framer);
	free(session->output);
	session->output = NULL;
	session->output_pos = session->output_len = session->output_size = 0;
	session->input_pos = session->input_len = 0;
	session->input_ended = false;
	session->events_dropped = 0;
}
