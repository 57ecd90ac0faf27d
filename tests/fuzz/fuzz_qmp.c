// SPDX-License-Identifier: Apache-2.0
/*
 * A client's stream, in pieces whose lengths are part of the input: framing, JSON, dispatch and the bounds of a session, before
 * negotiation. There is no machine behind it, so streams that negotiate are left out.
 */
#include "fuzz.h"
#include "qmp/internal.h"

static struct qmp qmp;
static size_t written;

static ssize_t take(struct qmp_session *session, const char *data, size_t len)
{
	(void)session;
	MUST(memchr(data, '\0', len) == NULL);
	written += len;
	return (ssize_t)len;
}

static void nothing(struct qmp_session *session)
{
	(void)session;
}

static const struct qmp_transport transport = {
	.write = take,
	.accept_input = nothing,
	.close = nothing,
};

static void stop_loop(struct loop_call *call)
{
	loop_stop(call->loop);
}

static void turn(void)
{
	struct loop_call call;

	loop_call_init(&call, qmp.loop, stop_loop);
	loop_call_schedule(&call);
	loop_run(qmp.loop);
	loop_call_cancel(&call);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qmp_session session = { .open = false };
	unsigned int stuck = 0;

	if (memmem(data, size, "capabilities", 12) || memmem(data, size, "\\u", 2))
		return 0;
	if (!qmp.loop) {
		qmp.loop = loop_new("fuzz", NULL);
		list_init(&qmp.monitors);
		list_init(&qmp.sessions);
		list_init(&qmp.limited);
	}
	qmp_session_init(&session, &qmp, &transport, true);
	qmp_session_open(&session);
	while (size && session.open && stuck < 64) {
		size_t room = qmp_session_room(&session), piece = 1 + data[0] % 64;

		piece = MIN(MIN(piece, size), room);
		if (!piece) { /* its turn comes again */
			stuck++;
			turn();
			continue;
		}
		stuck = 0;
		qmp_session_input(&session, (const char *)data, piece);
		data += piece;
		size -= piece;
	}
	MUST(stuck < 64);
	qmp_session_close(&session);
	qmp_session_release(&session);
	return 0;
}
