// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "unit.h"
#include "util/json.h"

static int parse(const char *text, struct json_object **value, struct error **errp)
{
	return json_text_parse(text, strlen(text), value, errp);
}

START_TEST(accepted_texts_come_out_as_they_went_in)
{
	static const struct {
		const char *text, *out;
	} cases[] = {
		{ "{}", "{}" },
		{ " [ ] ", "[]" },
		{ "\t{\"a\" : 1 ,\r\n\"b\":[true,false,null,\"x\"]}",
		  "{\"a\":1,\"b\":[true,false,null,\"x\"]}" },
		{ "0", "0" },
		{ "-0", "0" },
		{ "-12", "-12" },
		{ "9223372036854775807", "9223372036854775807" },
		{ "-9223372036854775808", "-9223372036854775808" },
		{ "18446744073709551615", "18446744073709551615" },
		{ "18446744073709551616", "18446744073709551616" }, /* a double, shown as written */
		{ "-9223372036854775809", "-9223372036854775809" },
		{ "1.50", "1.50" },
		{ "1e3", "1e3" },
		{ "1E+3", "1E+3" },
		{ "1e-400", "1e-400" },
		{ "\"\"", "\"\"" },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
		{ "\"\\u00e4\\u20AC\\ud83d\\ude00\"", "\"\u00e4\u20ac\U0001f600\"" },
		{ "\"\u00e4\u20ac\U0001f600\"", "\"\u00e4\u20ac\U0001f600\"" },
		{ "{\"a\":{\"a\":{\"a\":1}}}", "{\"a\":{\"a\":{\"a\":1}}}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *value = NULL;
		struct error *err = NULL;
		int ret = parse(cases[i].text, &value, &err);

		ck_assert_msg(!ret, "%s: %s", cases[i].text, err ? error_text(err) : "");
		ck_assert_str_eq(
			json_object_to_json_string_ext(
				value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
			cases[i].out);
		json_object_put(value);
	}
}
END_TEST

START_TEST(null_is_a_value)
{
	struct json_object *value = json_object_new_int(1), *old = value;
	struct error *err = NULL;

	ck_assert_int_eq(parse("null", &value, &err), 0);
	ck_assert_ptr_null(value);
	json_object_put(old);
}
END_TEST

START_TEST(what_is_no_json_is_refused)
{
	static const char *const cases[] = {
		"",
		" ",
		"{",
		"}",
		"[",
		"]",
		"{]",
		"[}",
		"{}{}",
		"1 2",
		"nul",
		"nulll",
		"True",
		"TRUE",
		"NaN",
		"Infinity",
		"-Infinity",
		"-",
		"+1",
		"01",
		"-01",
		"00",
		"1.",
		".5",
		"1.e3",
		"1e",
		"1e+",
		"0x10",
		"1_000",
		"1e400",
		"-1e400",
		"{'a':1}",
		"['a']",
		"{a:1}",
		"{\"a\"}",
		"{\"a\" 1}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{,}",
		"{\"a\":1 \"b\":2}",
		"[1,]",
		"[,1]",
		"[1 2]",
		"{1:2}",
		"{\"a\":1;}",
		"//x\n1",
		"/*x*/1",
		"\"",
		"\"a",
		"\"\\\"",
		"\"\\x\"",
		"\"\\'\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"\\u\"",
		"\"a\tb\"",
		"\"a\nb\"",
		"\"\x01\"",
		"\"\\ud800\"",
		"\"\\udc00\"",
		"\"\\ud800\\u0041\"",
		"\"\\ud800x\"",
		"\"\\ud83d\\ud83d\"",
		"\"\x80\"",
		"\"\xc0\xaf\"",
		"\"\xe0\x80\x80\"",
		"\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"",
		"\"\xf8\x88\x80\x80\x80\"",
		"\"\xe2\x82\"",
		"\"\xff\"",
		"{\"\xff\":1}",
		"\"\\u0000\"",
		"{\"a\\u0000\":1}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *value = (void *)cases;
		struct error *err = NULL;

		ck_assert_msg(parse(cases[i], &value, &err) == -EINVAL, "accepted: %s", cases[i]);
		ck_assert_ptr_eq(value, (void *)cases);
		ck_assert_msg(!strncmp(error_text(err), "character ", 10), "%s", error_text(err));
		error_free(err);
	}
}
END_TEST

START_TEST(json_depth_duplicate_keys)
{
	static const char *const cases[] = { "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"\\u0061\":3}",
					     "[{\"x\":{\"k\":1,\"k\":null}}]" };
	struct json_object *value;
	struct error *err = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_int_eq(parse(cases[i], &value, &err), -EINVAL);
		ck_assert_msg(strstr(error_text(err), "is given twice"), "%s", error_text(err));
		error_free(err);
		err = NULL;
	}
	ck_assert_int_eq(parse("{\"a\":{\"a\":1},\"b\":{\"a\":1}}", &value, &err), 0);
	json_object_put(value);
	ck_assert_int_eq(parse("{\"abc\":1,\"abc\":2}", &value, &err), -EINVAL);
	ck_assert_error(err, "character 15: the key 'abc' is given twice");
}
END_TEST

START_TEST(json_depth_nesting)
{
	char text[2 * JSON_DEPTH_MAX + 3];
	struct json_object *value;
	struct error *err = NULL;

	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	text[2 * JSON_DEPTH_MAX] = '\0';
	ck_assert_int_eq(parse(text, &value, &err), 0);
	json_object_put(value);

	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	text[2 * JSON_DEPTH_MAX + 2] = '\0';
	ck_assert_int_eq(parse(text, &value, &err), -EINVAL);
	ck_assert_error(err, "character 65: nested deeper than 64");
}
END_TEST

START_TEST(json_depth_huge_numbers)
{
	char text[4096];
	struct json_object *value;
	struct error *err = NULL;

	memset(text, '9', sizeof(text));
	ck_assert_int_eq(json_text_parse(text, 300, &value, &err), 0);
	ck_assert_int_eq(json_object_get_type(value), json_type_double);
	json_object_put(value);
	ck_assert_int_eq(json_text_parse(text, 400, &value, &err), -EINVAL);
	ck_assert_error(err, "character 1: a number that is too large");
	ck_assert_int_eq(json_text_parse(text, sizeof(text), &value, &err), -EINVAL);
	ck_assert_error(err, "character 1: a number of 4096 characters, at most 512 are possible");
}
END_TEST

/* The length counts, not a NUL: neither is read past the one nor stopped at the other. */
START_TEST(text_ends_at_its_length)
{
	struct json_object *value;
	struct error *err = NULL;

	for (size_t len = 0; len < 9; len++) {
		char *copy = malloc(len ? len : 1);

		memcpy(copy, "{\"a\":1e5}", len);
		ck_assert_int_eq(json_text_parse(copy, len, &value, &err), -EINVAL);
		error_free(err);
		err = NULL;
		free(copy);
	}
	ck_assert_int_eq(json_text_parse("1\0", 2, &value, &err), -EINVAL);
	error_free(err);
	err = NULL;
	ck_assert_int_eq(json_text_parse("\"a\0b\"", 5, &value, &err), -EINVAL);
	error_free(err);
}
END_TEST

/* Every cut and every changed byte of a text ends, in a value or an error. */
START_TEST(mutations_end)
{
	static const char good[] = "{\"execute\":\"a\\u00e4\\ud83d\\ude00\",\"arguments\":{\"x\":["
				   "1,-2.5e3,true,null]},\"id\":{}}";
	char text[sizeof(good)];

	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		for (unsigned int c = 0; c < 256; c++) {
			struct json_object *value;
			struct error *err = NULL;

			memcpy(text, good, sizeof(good));
			text[i] = (char)c;
			if (json_text_parse(text, sizeof(good) - 1, &value, &err))
				error_free(err);
			else
				json_object_put(value);
		}
	}
}
END_TEST

START_TEST(repair_leaves_valid_text_alone)
{
	char valid[] = "a\u00e4\u20ac\U0001f600", broken[] = "a\xff\u00e4\xc3";

	json_utf8_repair(valid, strlen(valid));
	ck_assert_str_eq(valid, "a\u00e4\u20ac\U0001f600");
	json_utf8_repair(broken, strlen(broken));
	ck_assert_str_eq(broken, "a?\u00e4?");
}
END_TEST

UNIT_SUITE(suite, "util/json", accepted_texts_come_out_as_they_went_in, null_is_a_value,
	   what_is_no_json_is_refused, json_depth_duplicate_keys, json_depth_nesting,
	   json_depth_huge_numbers, text_ends_at_its_length, mutations_end,
	   repair_leaves_valid_text_alone)
UNIT_MAIN(suite)
