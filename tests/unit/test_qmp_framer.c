// SPDX-License-Identifier: Apache-2.0
/* Where messages begin and end in a stream, whatever pieces it comes in. */
#include <string.h>

#include "qmp/internal.h"
#include "unit.h"

static struct qmp_framer framer;
static char seen[4096]; /* what came out: "<message>" and "!" for an error */

/* Feeds @text in pieces of @piece bytes. */
static void feed(const char *text, size_t len, size_t piece)
{
	for (size_t i = 0; i < len; i += piece) {
		size_t n = MIN(piece, len - i), pos = 0, used;

		while (pos < n) {
			struct error *err = NULL;
			int ret = qmp_framer_feed(&framer, text + i + pos, n - pos, &used, &err);

			ck_assert_uint_gt(used, 0);
			pos += used;
			if (ret > 0) {
				strcat(seen, "<");
				strncat(seen, framer.text, framer.len);
				strcat(seen, ">");
			} else if (ret < 0) {
				ck_assert_msg(!strncmp(error_text(err), "JSON parse error, ", 18),
					      "%s", error_text(err));
				error_free(err);
				strcat(seen, "!");
			}
		}
	}
}

static void check(const char *text, const char *expected)
{
	for (size_t piece = 1; piece <= strlen(text); piece++) {
		seen[0] = '\0';
		feed(text, strlen(text), piece);
		ck_assert_msg(!strcmp(seen, expected), "'%s' by %zu: %s, not %s", text, piece, seen,
			      expected);
		qmp_framer_reset(&framer);
	}
}

START_TEST(messages_need_no_line_ends)
{
	check("{}", "<{}>");
	check("{}{}", "<{}><{}>");
	check(" {\"a\":[{}]}\r\n\t{\"b\":1} ", "<{\"a\":[{}]}><{\"b\":1}>");
	check("{\n\"a\":\n1\n}", "<{\n\"a\":\n1\n}>");
	check("[1]", "<[1]>"); /* no request, but for the dispatcher to say */
}
END_TEST

START_TEST(brackets_in_strings_do_not_count)
{
	check("{\"}\":\"{[\"}{}", "<{\"}\":\"{[\"}><{}>");
	check("{\"a\":\"\\\"}\"}{}", "<{\"a\":\"\\\"}\"}><{}>");
	check("{\"a\":\"\\\\\"}{}", "<{\"a\":\"\\\\\"}><{}>");
}
END_TEST

START_TEST(garbage_is_reported_once_a_line)
{
	check("hello\n{}", "!<{}>");
	check("}}}}\n]\n{}", "!!<{}>");
	check("\x01\n{}", "!<{}>");
	check("{\"a\":\"x\n{}", "!<{}>"); /* a string that does not end on its line */
	check("{\x02 }}\n{}", "!<{}>");
	check("\xff\xff{}\n{}", "!<{}>");
}
END_TEST

START_TEST(json_depth_nesting_is_bounded)
{
	char text[400];

	memset(text, '{', 100);
	memset(text + 100, '}', 100);
	strcpy(text + 200, "{}");
	seen[0] = '\0';
	feed(text, strlen(text), strlen(text));
	ck_assert_str_eq(seen, "!<{}>");
	qmp_framer_reset(&framer);
}
END_TEST

START_TEST(messages_are_bounded)
{
	size_t len = QMP_MESSAGE_MAX * 4;
	char *text = malloc(len);

	memset(text, 'x', len);
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + len - 2, "\"}", 2);
	seen[0] = '\0';
	feed(text, len, 4096);
	ck_assert_str_eq(seen, "!");
	ck_assert_uint_le(framer.size, 4096);
	feed("{}", 2, 1);
	ck_assert_str_eq(seen, "!<{}>");

	/* One of just the size that is possible goes through. */
	text[QMP_MESSAGE_MAX - 2] = '"';
	text[QMP_MESSAGE_MAX - 1] = '}';
	for (size_t pos = 0, used; pos < QMP_MESSAGE_MAX; pos += used) {
		struct error *err = NULL;
		int ret = qmp_framer_feed(&framer, text + pos, QMP_MESSAGE_MAX - pos, &used, &err);

		ck_assert_int_eq(ret, 1);
	}
	ck_assert_uint_eq(framer.len, QMP_MESSAGE_MAX);
	qmp_framer_reset(&framer);
	free(text);
}
END_TEST

UNIT_SUITE(suite, "qmp/framer", messages_need_no_line_ends, brackets_in_strings_do_not_count,
	   garbage_is_reported_once_a_line, json_depth_nesting_is_bounded, messages_are_bounded)
UNIT_MAIN(suite)
