// SPDX-License-Identifier: Apache-2.0
/*
 * Where does a message end? Clients need not send newlines, may send several messages at once or
 * one byte at a time: the end is the bracket that closes the first one. This knows strings and
 * brackets only; whether the message is JSON is for the parser to say.
 */
#include <stdlib.h>

#include "internal.h"
#include "util/json.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Strings and brackets; true at the end of the message. */
static bool track(struct qmp_framer *f, char c)
{
	if (f->string) {
		if (f->escape)
			f->escape = false;
		else if (c == '\\')
			f->escape = true;
		else if (c == '"')
			f->string = false;
		return false;
	}
	if (c == '"')
		f->string = true;
	else if (c == '{' || c == '[')
		f->depth++;
	else if (c == '}' || c == ']')
		return --f->depth == 0;
	return false;
}

static int append(struct qmp_framer *f, char c)
{
	if (f->len == f->size) {
		size_t size = f->size ? f->size * 2 : 256;
		char *text = realloc(f->text, size);

		if (!text)
			return -ENOMEM;
		f->text = text;
		f->size = size;
	}
	f->text[f->len++] = c;
	return 0;
}

static void begin(struct qmp_framer *f, enum qmp_framer_state state)
{
	if (f->size > 4096) { /* a rare large message shall not stay */
		free(f->text);
		f->text = NULL;
		f->size = 0;
	}
	f->state = state;
	f->depth = 0;
	f->string = f->escape = false;
	f->len = 0;
}

/* Garbage: the rest of the line goes with it. */
static int skip_line(struct qmp_framer *f, char c, const char *why, struct error **errp)
{
	begin(f, c == '\n' ? QMP_FRAMER_IDLE : QMP_FRAMER_SKIP_LINE);
	return error_set(errp, -EINVAL, "JSON parse error, %s", why);
}

/* One character of a message; 1 at its end. */
static int take(struct qmp_framer *f, char c, struct error **errp)
{
	bool end;

	if ((unsigned char)c < 0x20 && (f->string || !is_blank(c)))
		return skip_line(f, c, "a control character in a message", errp);
	end = track(f, c);
	if (f->depth > JSON_DEPTH_MAX) {
		f->state = QMP_FRAMER_SKIP_MESSAGE;
		return error_set(errp, -E2BIG, "JSON parse error, nested deeper than %d",
				 JSON_DEPTH_MAX);
	}
	if (f->len == QMP_MESSAGE_MAX) {
		f->state = end ? QMP_FRAMER_IDLE : QMP_FRAMER_SKIP_MESSAGE;
		return error_set(errp, -E2BIG,
				 "JSON parse error, a message of more than %llu bytes",
				 QMP_MESSAGE_MAX);
	}
	if (append(f, c)) {
		f->state = end ? QMP_FRAMER_IDLE : QMP_FRAMER_SKIP_MESSAGE;
		return error_set(errp, -ENOMEM, "out of memory");
	}
	return end;
}

static int feed(struct qmp_framer *f, char c, struct error **errp)
{
	int ret;

	switch (f->state) {
	case QMP_FRAMER_IDLE:
		if (is_blank(c))
			return 0;
		if (c != '{' && c != '[')
			return skip_line(f, c, "a message begins with '{'", errp);
		begin(f, QMP_FRAMER_MESSAGE);
		/* fall through */
	case QMP_FRAMER_MESSAGE:
		ret = take(f, c, errp);
		if (ret > 0)
			f->state = QMP_FRAMER_IDLE;
		return ret;
	case QMP_FRAMER_SKIP_LINE:
		if (c == '\n')
			begin(f, QMP_FRAMER_IDLE);
		return 0;
	case QMP_FRAMER_SKIP_MESSAGE:
		/* A newline inside a string is no JSON: nothing can be told about its end. */
		if (track(f, c) || (f->string && c == '\n'))
			begin(f, QMP_FRAMER_IDLE);
		return 0;
	}
	return 0;
}

int qmp_framer_feed(struct qmp_framer *f, const char *data, size_t len, size_t *used,
		    struct error **errp)
{
	int ret = 0;

	for (*used = 0; !ret && *used < len; ++*used)
		ret = feed(f, data[*used], errp);
	return ret;
}

void qmp_framer_reset(struct qmp_framer *f)
{
	free(f->text);
	*f = (struct qmp_framer){ .state = QMP_FRAMER_IDLE };
}
