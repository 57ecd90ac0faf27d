// SPDX-License-Identifier: Apache-2.0
/* One client's bounds and fairness, and the limit of noisy events, over a transport that the test
 * holds. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "qmp/internal.h"
#include "unit.h"

#define REQUEST "{\"execute\":\"query-fdsets\"}"
#define REPLY "{\"return\":[]}\r\n"

static struct qmp qmp;
static struct qmp_session session;
static char out[4 << 20];
static size_t out_len, out_room; /* what the transport takes */
static bool closed;

static ssize_t take(struct qmp_session *s, const char *data, size_t len)
{
	size_t n = MIN(len, out_room);

	(void)s;
	ck_assert_uint_le(out_len + n, sizeof(out) - 1);
	memcpy(out + out_len, data, n);
	out_len += n;
	out[out_len] = '\0';
	out_room -= n;
	return (ssize_t)n;
}

static void accept_input(struct qmp_session *s)
{
	(void)s;
}

static void on_close(struct qmp_session *s)
{
	(void)s;
	closed = true;
}

static const struct qmp_transport transport = {
	.write = take,
	.accept_input = accept_input,
	.close = on_close,
};

static void stop_loop(struct loop_call *call)
{
	loop_stop(call->loop);
}

/* One turn of the loop. */
static void turn(void)
{
	struct loop_call call;

	loop_call_init(&call, qmp.loop, stop_loop);
	loop_call_schedule(&call);
	loop_run(qmp.loop);
	loop_call_cancel(&call);
}

static void setup(void)
{
	struct error *err = NULL;

	qmp = (struct qmp){ .loop = loop_new("test", &err) };
	ck_assert_no_error(err);
	list_init(&qmp.monitors);
	list_init(&qmp.sessions);
	list_init(&qmp.limited);
	out_room = sizeof(out);
	qmp_session_init(&session, &qmp, &transport, true);
	qmp_session_open(&session);
	ck_assert_ptr_nonnull(strstr(out, "{\"QMP\":"));
	out_len = 0;
	session.client.negotiated = true;
}

static void teardown(void)
{
	qmp_session_close(&session);
	qmp_session_release(&session);
	loop_free(qmp.loop);
}

static size_t replies(void)
{
	size_t count = 0;

	for (const char *p = out; (p = strstr(p, REPLY)); p++)
		count++;
	return count;
}

static void send(const char *text, unsigned int times)
{
	char data[4096] = "";

	while (times--)
		strcat(data, text);
	ck_assert_uint_ge(qmp_session_room(&session), strlen(data));
	qmp_session_input(&session, data, strlen(data));
}

START_TEST(a_burst_is_spread_over_turns_of_the_loop)
{
	setup();
	send(REQUEST, 100);
	ck_assert_uint_eq(replies(), 8);
	ck_assert_uint_eq(qmp_session_room(&session), 0); /* and nothing more is read meanwhile */
	turn();
	ck_assert_uint_eq(replies(), 16);
	for (int i = 0; i < 20; i++)
		turn();
	ck_assert_uint_eq(replies(), 100);
	ck_assert_uint_gt(qmp_session_room(&session), 0);
	teardown();
}
END_TEST

START_TEST(slow_reader_gets_no_command_worked_on)
{
	size_t held;

	setup();
	out_room = 0;
	/* Schemas are large: a few fill the bound. */
	send("{\"execute\":\"query-qmp-schema\"}", 100);
	for (int i = 0; i < 100; i++)
		turn();
	held = session.output_len - session.output_pos;
	ck_assert_uint_ge(held, 64 << 10);
	ck_assert_uint_lt(held, 128 << 10);
	ck_assert_uint_eq(qmp_session_room(&session), 0);

	out_room = sizeof(out) - 1;
	qmp_session_writable(&session);
	for (int i = 0; i < 100; i++)
		turn();
	ck_assert(!qmp_session_output_pending(&session));
	ck_assert_uint_gt(qmp_session_room(&session), 0);
	ck_assert(!closed);
	teardown();
}
END_TEST

START_TEST(slow_reader_loses_events_and_is_disconnected)
{
	static const struct qmp_event event = { .name = "NOISE", .help = "" };
	struct qmp_session other = { .open = false };
	unsigned int sent = 0;

	setup();
	out_room = 0;
	while (!closed) {
		qmp_event_send(&qmp, &event, NULL);
		ck_assert_uint_lt(++sent, 100000);
		ck_assert_uint_le(session.output_len - session.output_pos, 1 << 20);
		ck_assert_uint_le(session.output_size, 2 << 20);
	}
	ck_assert(!session.open);
	ck_assert(list_empty(&qmp.sessions));
	/* The others go on. */
	out_room = sizeof(out) - 1;
	qmp_session_init(&other, &qmp, &transport, false);
	qmp_session_open(&other);
	out_len = 0;
	qmp_event_send(&qmp, &event, NULL);
	ck_assert_ptr_nonnull(strstr(out, "\"event\":\"NOISE\"}\r\n"));
	qmp_session_close(&other);
	qmp_session_release(&other);
	teardown();
}
END_TEST

START_TEST(events_wait_for_negotiation)
{
	static const struct qmp_event event = { .name = "NOISE", .help = "" };

	setup();
	session.client.negotiated = false;
	qmp_event_send(&qmp, &event, NULL);
	ck_assert_uint_eq(out_len, 0);
	session.client.strict = false;
	qmp_event_send(&qmp, &event, NULL);
	ck_assert_uint_gt(out_len, 0);
	teardown();
}
END_TEST

START_TEST(limited_events_send_the_first_and_the_last)
{
	static const struct qmp_event event = { .name = "NOISE",
						.help = "",
						.interval_ns = 50 * NSEC_PER_MSEC };
	int64_t end;

	setup();
	for (int i = 0; i < 100; i++) {
		struct json_object *data = json_object_new_object();

		qmp_add_int(data, "n", i);
		qmp_event_send(&qmp, &event, data);
	}
	ck_assert_ptr_nonnull(strstr(out, "{\"n\":0}"));
	ck_assert_ptr_null(strstr(out, "{\"n\":99}"));
	end = clock_now_ns() + 10 * NSEC_PER_SEC;
	while (!strstr(out, "{\"n\":99}") && clock_now_ns() < end)
		turn();
	ck_assert_ptr_nonnull(strstr(out, "{\"n\":99}"));
	ck_assert_ptr_null(strstr(out, "{\"n\":98}"));
	while (!list_empty(&qmp.limited) && clock_now_ns() < end)
		turn();
	ck_assert(list_empty(&qmp.limited));
	teardown();
}
END_TEST

START_TEST(fd_flood_is_bounded_and_closed)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), first = -1, next;

	setup();
	for (int i = 0; i < 100; i++) {
		int copy = dup(fd);

		if (first < 0)
			first = copy;
		qmp_client_give_fd(&session.client, copy);
	}
	ck_assert_uint_eq(session.client.fd_count, QMP_CLIENT_FDS_MAX);
	/* A blank that only carries them, half a message: they are still of use. */
	send(" ", 1);
	send("{\"execute\":\"getfd\",", 1);
	ck_assert_uint_eq(session.client.fd_count, QMP_CLIENT_FDS_MAX);
	send("\"arguments\":{\"fdname\":\"a\"}}", 1);
	ck_assert_ptr_nonnull(strstr(out, "{\"return\":{}}"));
	ck_assert_uint_eq(session.client.fd_count, 0);
	next = dup(fd); /* the first free number: all but the one that was taken are closed */
	ck_assert_int_eq(next, first + 1);
	close(next);
	/* The one that was taken goes with the client. */
	qmp_session_close(&session);
	next = dup(fd);
	ck_assert_int_eq(next, first);
	close(next);
	close(fd);
	teardown();
}
END_TEST

START_TEST(replies_go_out_before_a_half_closed_client_goes)
{
	setup();
	out_room = 0;
	send(REQUEST, 20);
	qmp_session_input_end(&session);
	for (int i = 0; i < 10; i++)
		turn();
	ck_assert(!closed);
	out_room = sizeof(out) - 1;
	qmp_session_writable(&session);
	for (int i = 0; i < 10; i++)
		turn();
	ck_assert_uint_eq(replies(), 20);
	ck_assert(closed);
	teardown();
}
END_TEST

START_TEST(what_follows_the_end_is_not_done)
{
	setup();
	qmp.ending = true;
	send(REQUEST, 1);
	ck_assert_uint_eq(replies(), 0);
	teardown();
}
END_TEST

/* Damaged streams in pieces of any size: each line that comes back is a reply, and in the end a
 * good command works. */
START_TEST(json_depth_damaged_streams)
{
	static const char *const good[] = {
		"{\"execute\":\"query-fdsets\",\"id\":[1,{\"a\":\"\\u00e4\\\"\"}]}",
		"{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"x\"}}\n",
		"{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":-12,\"fd\":1.5e3}}\r\n",
		"{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\",null]}}",
		"[[[[",
		"}\n",
		"\"",
		"\\",
		"\n",
	};
	static const char alphabet[] = "{}[]\",:\\ \n0x\xff\xc3\x01";

	setup();
	srandom(1);
	for (int round = 0; round < 3000; round++) {
		char data[4096];
		size_t len = 0;

		for (int i = 0; i < 6; i++) {
			const char *text = good[(size_t)random() % ARRAY_SIZE(good)];

			memcpy(data + len, text, strlen(text));
			len += strlen(text);
		}
		for (long i = random() % 6; i > 0; i--)
			data[(size_t)random() % len] =
				alphabet[(size_t)random() % (sizeof(alphabet) - 1)];
		for (size_t pos = 0, n; pos < len; pos += n) {
			n = MIN(len - pos, (size_t)random() % 64 + 1);
			out_len = 0;
			out_room = sizeof(out) - 1;
			out[0] = '\0';
			qmp_session_input(&session, data + pos, n);
			while (session.open && !qmp_session_room(&session))
				turn();
			for (char *line = out, *end; *line; line = end + 2) {
				end = strstr(line, "\r\n");
				ck_assert_ptr_nonnull(end);
				ck_assert_msg(!strncmp(line, "{\"return\":", 10) ||
						      !strncmp(line, "{\"error\":", 9),
					      "%s", line);
			}
		}
	}
	ck_assert(session.open);
	/* Whatever is open, strings and brackets, closes with enough of these. */
	for (int i = 0; i < 200; i++)
		send("\n\"}]\n", 1);
	out_len = 0;
	send("\n" REQUEST, 1);
	while (!qmp_session_room(&session))
		turn();
	ck_assert_ptr_nonnull(strstr(out, REPLY));
	teardown();
}
END_TEST

UNIT_SUITE(suite, "qmp/session", a_burst_is_spread_over_turns_of_the_loop,
	   slow_reader_gets_no_command_worked_on, slow_reader_loses_events_and_is_disconnected,
	   events_wait_for_negotiation, limited_events_send_the_first_and_the_last,
	   fd_flood_is_bounded_and_closed, replies_go_out_before_a_half_closed_client_goes,
	   what_follows_the_end_is_not_done, json_depth_damaged_streams)
UNIT_MAIN(suite)
