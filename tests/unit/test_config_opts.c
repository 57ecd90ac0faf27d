// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/opts.h"
#include "unit.h"

static struct opts *parse(const char *text, const char *implied)
{
	struct error *err = NULL;
	struct opts *opts = NULL;
	int ret = opts_parse("-device", text, implied, &opts, &err);

	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	return opts;
}

static void check_text(const struct opts *opts, const char *expected)
{
	char *text = opts_to_string(opts);

	ck_assert_str_eq(text, expected);
	free(text);
}

static void check_name(const char *text, const char *implied, const char *expected)
{
	struct opts *opts = parse(text, implied);
	char *name = opts_describe(opts);

	ck_assert_str_eq(name, expected);
	free(name);
	opts_free(opts);
}

START_TEST(grammar)
{
	static const struct {
		const char *text, *implied, *back;
	} cases[] = {
		{ "blk,drive=d0,id=b0", "driver", "driver=blk,drive=d0,id=b0" },
		{ "driver=blk,id=b0", "driver", "driver=blk,id=b0" },
		{ "id=b0,server,wait=off", "backend", "id=b0,server,wait=off" },
		{ "server", NULL, "server" },
		{ "file=a,,b,id=d", NULL, "file=a,,b,id=d" },
		{ "a,,b", "driver", "driver=a,,b" },
		{ "file=,,", NULL, "file=,," },
		{ "file=,,,id=x", NULL, "file=,,,id=x" },
		{ "k=a=b=c", NULL, "k=a=b=c" },
		{ "k=", NULL, "k=" },
		{ "k=,l=", NULL, "k=,l=" },
		{ "", "driver", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opts *opts = parse(cases[i].text, cases[i].implied), *again;

		check_text(opts, cases[i].back);
		again = parse(cases[i].back, cases[i].implied);
		check_text(again, cases[i].back);
		opts_free(again);
		opts_free(opts);
	}
}
END_TEST

START_TEST(values)
{
	struct opts *opts = parse("blk,file=a,,b,server,k=x=y", "driver");

	ck_assert_str_eq(opts_get(opts, "driver"), "blk");
	ck_assert_str_eq(opts_get(opts, "file"), "a,b");
	ck_assert_str_eq(opts_get(opts, "server"), "on");
	ck_assert_str_eq(opts_get(opts, "k"), "x=y");
	ck_assert_ptr_null(opts_get(opts, "fil"));
	opts_free(opts);
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "blk,a=1,a=2,id=x", "-device blk,id=x: 'a' is given twice" },
		{ "blk,driver=net", "-device blk: 'driver' is given twice" },
		{ "blk,server,server=off", "-device blk: 'server' is given twice" },
		{ "blk,=x", "-device blk: '=x' has no key before it" },
		{ "blk,", "-device blk,: a word is missing beside a comma" },
		{ ",", "-device ,: a word is missing beside a comma" },
		{ "a=1,,,", "-device a=1,,,: a word is missing beside a comma" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opts *opts = (struct opts *)&cases;
		struct error *err = NULL;

		ck_assert_int_eq(opts_parse("-device", cases[i].text, "driver", &opts, &err),
				 -EINVAL);
		ck_assert_error(err, cases[i].error);
		ck_assert_ptr_eq(opts, &cases); /* untouched */
	}
}
END_TEST

START_TEST(too_many_keys)
{
	struct error *err = NULL;
	struct opts *opts;
	char text[4096] = "x";
	size_t len = 1;

	for (int i = 0; i < 300; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ",k%d=1", i);
	ck_assert_int_eq(opts_parse("-device", text, "driver", &opts, &err), -E2BIG);
	ck_assert_error(err, "-device x: more than 256 keys");
}
END_TEST

START_TEST(names_in_messages)
{
	check_name("blk,drive=x,id=b0", "driver", "-device blk,id=b0");
	check_name("id=b0,driver=blk", "driver", "-device blk,id=b0");
	check_name("blk", "driver", "-device blk");
	check_name("4,sockets=2", "cpus", "-device 4");
	check_name("file=x,id=d0", NULL, "-device id=d0");
	check_name("file=x,readonly=on", NULL, "-device file=x");
	check_name("", NULL, "-device");
}
END_TEST

START_TEST(changing)
{
	struct opts *opts = parse("blk,a=1,server", "driver"), *copy;
	char *taken;

	opts_set(opts, "a", "2");
	opts_set(opts, "b", "3,4");
	opts_set(opts, "server", "off"); /* no bare word any more */
	check_text(opts, "driver=blk,a=2,server=off,b=3,,4");
	opts_set(opts, "a", opts_get(opts, "a")); /* its own value */
	copy = opts_clone(opts);
	ck_assert(opts_del(opts, "a"));
	ck_assert(!opts_del(opts, "a"));
	taken = opts_take(opts, "b");
	ck_assert_str_eq(taken, "3,4");
	free(taken);
	ck_assert_ptr_null(opts_take(opts, "b"));
	check_text(opts, "driver=blk,server=off");
	opts_free(opts);
	check_text(copy, "driver=blk,a=2,server=off,b=3,,4");
	taken = opts_describe(copy);
	ck_assert_str_eq(taken, "-device blk");
	free(taken);
	opts_free(copy);
	opts_free(NULL);
}
END_TEST

/* --- JSON --- */

START_TEST(json)
{
	static const struct {
		const char *text, *back;
	} cases[] = {
		{ "{}", "" },
		{ "{\"driver\":\"blk\",\"id\":\"b0\"}", "driver=blk,id=b0" },
		{ " { \"a\" : true , \"b\" : false } ", "a=on,b=off" },
		{ "{\"n\":268435456,\"m\":-1,\"z\":18446744073709551615}",
		  "n=268435456,m=-1,z=18446744073709551615" },
		/* Larger than any integer: not the largest one, but for the property to refuse. */
		{ "{\"n\":99999999999999999999999}", "n=99999999999999999999999" },
		{ "{\"f\":\"a,b=c\"}", "f=a,,b=c" },
		{ "{\"a\":{\"b\":{\"c\":1},\"d\":2}}", "a.b.c=1,a.d=2" },
		{ "{\"a\":\"x:\\\"y\\\\\",\"it's\":\"it's\"}", "a=x:\"y\\,it's=it's" },
		{ "{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{\"8\":0}}}}}}}}",
		  "1.2.3.4.5.6.7.8=0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error *err = NULL;
		struct opts *opts = NULL;
		int ret = opts_parse_json("-device", cases[i].text, &opts, &err);

		ck_assert_no_error(err);
		ck_assert_int_eq(ret, 0);
		check_text(opts, cases[i].back);
		opts_free(opts);
	}
}
END_TEST

START_TEST(json_refused)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "{\"driver\":\"blk\",\"a\":[1]}", "-device blk: 'a' is a list, not a value" },
		{ "{\"driver\":\"blk\",\"a\":null}", "-device blk: 'a' is null, not a value" },
		{ "{\"a\":\"x\\u0000y\"}", "-device: JSON, character 14: a NUL character in a string" },
		{ "{\"a\":1,\"a\":2}", "-device: JSON, character 11: the key 'a' is given twice" },
		{ "{\"a\":{\"b\":1},\"a\":{\"c\":1,\"d\":2}}",
		  "-device: JSON, character 17: the key 'a' is given twice" },
		{ "{\"\\u0061\":1,\"a\":2}", "-device: JSON, character 16: the key 'a' is given twice" },
		{ "{\"x\":1,\"a.b\":1,\"a\":{\"b\":2}}", "-device x=1: 'a.b' is given twice" },
		{ "{'a':1}", "-device: JSON, character 2: the key of an object must be a string" },
		{ "{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":{\"7\":{\"8\":{\"9\":0}}}}}}}}}",
		  "-device: JSON nested deeper than 8" },
		{ "[1]", "-device: not a JSON object" },
		{ "\"x\"", "-device: not a JSON object" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error *err = NULL;
		struct opts *opts = NULL;

		ck_assert_int_eq(opts_parse_json("-device", cases[i].text, &opts, &err), -EINVAL);
		ck_assert_error(err, cases[i].error);
		ck_assert_ptr_null(opts);
	}
}
END_TEST

START_TEST(json_that_is_none)
{
	static const char *const cases[] = {
		"",	      "{",
		"{\"a\"",     "{\"a\":",
		"{\"a\":1",   "{\"a\":1} x",
		"{a:1}",      "{\"a\":1,}",
		"{\"a\":x}",  "{\"a\":\"\xff\"}",
		"}",	      "{\"a\" 1}",
		"{\"a\":1}}",
	};
	char deep[1024];

	for (size_t i = 0; i < ARRAY_SIZE(cases) + 1; i++) {
		struct error *err = NULL;
		struct opts *opts = NULL;

		memset(deep, '[', sizeof(deep) - 1);
		deep[sizeof(deep) - 1] = '\0';
		memcpy(deep, "{\"a\":", 5);
		ck_assert_int_eq(opts_parse_json("-object", i < ARRAY_SIZE(cases) ? cases[i] : deep,
						 &opts, &err),
				 -EINVAL);
		ck_assert_ptr_nonnull(err);
		ck_assert_msg(strncmp(error_text(err), "-object: JSON, character ", 25) == 0, "%s",
			      error_text(err));
		error_free(err);
		ck_assert_ptr_null(opts);
	}
}
END_TEST

UNIT_SUITE(strings, "config opts", grammar, values, refused, too_many_keys, names_in_messages,
	   changing)
UNIT_SUITE(objects, "config opts from JSON", json, json_refused, json_that_is_none)
UNIT_MAIN(strings, objects)
