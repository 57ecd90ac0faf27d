// SPDX-License-Identifier: Apache-2.0
/* The protocol's rules and QEMU's error texts, by commands that need no VM. */
#include <string.h>

#include "qmp/internal.h"
#include "unit.h"

static struct qmp_client client;

static void check(const char *text, const char *expected)
{
	struct qmp_call call = { .client = &client };
	char *line = qmp_dispatch(&call, text, strlen(text));

	ck_assert_ptr_nonnull(line);
	ck_assert_uint_ge(strlen(line), 2);
	ck_assert_str_eq(line + strlen(line) - 2, "\r\n");
	line[strlen(line) - 2] = '\0';
	ck_assert_str_eq(line, expected);
	free(line);
}

static void check_error(const char *text, const char *class, const char *desc)
{
	char expected[512];

	snprintf(expected, sizeof(expected), "{\"error\":{\"class\":\"%s\",\"desc\":\"%s\"}}",
		 class, desc);
	check(text, expected);
}

static void negotiate(void)
{
	client = (struct qmp_client){ .strict = true };
	check("{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}");
}

START_TEST(outer_object)
{
	static const struct {
		const char *text, *desc;
	} cases[] = {
		{ "[]", "QMP input must be a JSON object" },
		{ "{}", "QMP input lacks member 'execute'" },
		{ "{\"arguments\":{}}", "QMP input lacks member 'execute'" },
		{ "{\"execute\":1}", "QMP input member 'execute' must be a string" },
		{ "{\"execute\":null}", "QMP input member 'execute' must be a string" },
		{ "{\"execute\":\"query-version\",\"arguments\":[]}",
		  "QMP input member 'arguments' must be an object" },
		{ "{\"execute\":\"query-version\",\"arguments\":null}",
		  "QMP input member 'arguments' must be an object" },
		{ "{\"execute\":\"query-version\",\"extra\":1}",
		  "QMP input member 'extra' is unexpected" },
		{ "{\"exec-oob\":\"query-version\"}", "QMP input member 'exec-oob' is unexpected" },
		{ "{\"execute\":\"query-version\",}",
		  "JSON parse error, character 28: the key of an object must be a string" },
		{ "{\"execute\":\"a\",\"execute\":\"b\"}",
		  "JSON parse error, character 25: the key 'execute' is given twice" },
	};

	negotiate();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_error(cases[i].text, "GenericError", cases[i].desc);
}
END_TEST

START_TEST(negotiation)
{
	static const char *const expecting =
		"Expecting capabilities negotiation with 'qmp_capabilities'";

	client = (struct qmp_client){ .strict = true };
	check_error("{\"execute\":\"query-version\"}", "CommandNotFound", expecting);
	check_error("{\"execute\":\"no-such\"}", "CommandNotFound", expecting);
	check_error("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}",
		    "GenericError", "QMP capability 'oob' is not available");
	ck_assert(!client.negotiated);
	check("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}",
	      "{\"return\":{}}");
	ck_assert(client.negotiated);
	check_error("{\"execute\":\"qmp_capabilities\"}", "CommandNotFound",
		    "Capabilities negotiation is already complete, command ignored");
	check("{\"execute\":\"query-fdsets\"}", "{\"return\":[]}");
}
END_TEST

START_TEST(without_strictness_all_is_possible)
{
	client = (struct qmp_client){ .strict = false };
	check("{\"execute\":\"query-fdsets\"}", "{\"return\":[]}");
	check("{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}");
	check("{\"execute\":\"qmp_capabilities\"}", "{\"return\":{}}");
}
END_TEST

START_TEST(any_id_comes_back)
{
	static const char *const ids[] = { "1",		"\"x\"",
					   "null",	"true",
					   "1.50",	"[1,{\"a\":null}]",
					   "{\"b\":2}", "18446744073709551616" };
	char text[128], expected[128];

	negotiate();
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		snprintf(text, sizeof(text), "{\"id\":%s,\"execute\":\"query-fdsets\"}", ids[i]);
		snprintf(expected, sizeof(expected), "{\"return\":[],\"id\":%s}", ids[i]);
		check(text, expected);
	}
	check("{\"execute\":\"no-such\",\"id\":7}", "{\"error\":{\"class\":\"CommandNotFound\","
						    "\"desc\":\"The command no-such has not been "
						    "found\"},\"id\":7}");
	check("{\"id\":7}",
	      "{\"error\":{\"class\":\"GenericError\",\"desc\":\"QMP input lacks member "
	      "'execute'\"},\"id\":7}");
}
END_TEST

START_TEST(arguments)
{
	static const struct {
		const char *text, *desc;
	} cases[] = {
		{ "{\"execute\":\"qom-list\"}", "Parameter 'path' is missing" },
		{ "{\"execute\":\"qom-list\",\"arguments\":{}}", "Parameter 'path' is missing" },
		{ "{\"execute\":\"qom-list\",\"arguments\":{\"path\":1}}",
		  "Invalid parameter type for 'path', expected: string" },
		{ "{\"execute\":\"qom-list\",\"arguments\":{\"path\":null}}",
		  "Invalid parameter type for 'path', expected: string" },
		{ "{\"execute\":\"qom-list\",\"arguments\":{\"path\":\"/\",\"x\":1}}",
		  "Parameter 'x' is unexpected" },
		{ "{\"execute\":\"query-version\",\"arguments\":{\"x\":1}}",
		  "Parameter 'x' is unexpected" },
		{ "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":\"1\"}}",
		  "Invalid parameter type for 'fdset-id', expected: integer" },
		{ "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":1.0}}",
		  "Invalid parameter type for 'fdset-id', expected: integer" },
		{ "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":9223372036854775808}}",
		  "Parameter 'fdset-id' expects a 64-bit signed integer" },
		{ "{\"execute\":\"qom-list-types\",\"arguments\":{\"abstract\":1}}",
		  "Invalid parameter type for 'abstract', expected: boolean" },
		{ "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"x\"}}",
		  "No file descriptor supplied via SCM_RIGHTS" },
		{ "{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"x\"}}",
		  "File descriptor named 'x' not found" },
		{ "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":3,\"fd\":4}}",
		  "File descriptor named 'fdset-id:3, fd:4' not found" },
		{ "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":3,\"fd\":4294967296}}",
		  "File descriptor named 'fdset-id:3, fd:4294967296' not found" },
		{ "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":-1}}",
		  "Parameter 'fdset-id' expects a non-negative value" },
	};

	negotiate();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_error(cases[i].text, "GenericError", cases[i].desc);

	client = (struct qmp_client){ .strict = true };
	check_error("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":{}}}",
		    "GenericError", "Invalid parameter type for 'enable', expected: array");
	check_error(
		"{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\",\"bob\"]}}",
		"GenericError", "Parameter 'enable[1]' does not accept value 'bob'");
}
END_TEST

static QMP_TYPE_OBJECT(inner, "Inner", QMP_MEMBER("n", qmp_number, NULL),
		       QMP_OPTIONAL("size", qmp_size, NULL));
static QMP_TYPE_ARRAY(inners, "Inner", inner);

START_TEST(nested_arguments_are_named_by_their_path)
{
	const struct qmp_member members[] = { QMP_OPTIONAL("list", inners, NULL),
					      { .name = NULL } };
	static const struct {
		const char *text, *desc; /* NULL: fine */
	} cases[] = {
		{ "{\"list\":[{\"n\":1},{\"n\":1.5,\"size\":18446744073709551615}]}", NULL },
		{ "{\"list\":[{\"n\":1},{}]}", "Parameter 'list[1].n' is missing" },
		{ "{\"list\":[{\"n\":1,\"m\":2}]}", "Parameter 'list[0].m' is unexpected" },
		{ "{\"list\":[{\"n\":\"1\"}]}",
		  "Invalid parameter type for 'list[0].n', expected: number" },
		{ "{\"list\":[{\"n\":1,\"size\":-1}]}",
		  "Parameter 'list[0].size' expects a non-negative value" },
		{ "{\"list\":[1]}", "Invalid parameter type for 'list[0]', expected: object" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct json_object *value = json_tokener_parse(cases[i].text);
		struct error *err = NULL;
		int ret = qmp_check_members(members, value, &err);

		ck_assert_int_eq(ret != 0, cases[i].desc != NULL);
		if (ret)
			ck_assert_error(err, cases[i].desc);
		json_object_put(value);
	}
}
END_TEST

/* Names a megabyte long do not come back whole, nor cut inside of a character. */
START_TEST(long_names_are_cut)
{
	char text[2048] = "{\"execute\":\"a", quote[QMP_QUOTE_MAX];
	struct qmp_call call = { .client = &client };
	size_t n;
	char *line;

	for (int i = 0; i < 500; i++)
		strcat(text, "\u00e4");
	qmp_quote(text + 12, quote);
	ck_assert_uint_lt(strlen(quote), QMP_QUOTE_MAX);
	strcat(text, "\"}");
	negotiate();
	line = qmp_dispatch(&call, text, strlen(text));
	ck_assert_ptr_nonnull(strstr(line, "\u00e4... has not been found"));
	n = strlen(line);
	ck_assert_uint_lt(n, 300);
	free(line);
}
END_TEST

START_TEST(codes_tell_the_class)
{
	static const struct {
		int code;
		const char *class;
	} cases[] = {
		{ QMP_DEVICE_NOT_FOUND, "DeviceNotFound" },
		{ QMP_DEVICE_NOT_ACTIVE, "DeviceNotActive" },
		{ QMP_COMMAND_NOT_FOUND, "CommandNotFound" },
		{ QMP_KVM_MISSING_CAP, "KVMMissingCap" },
		{ -EINVAL, "GenericError" },
		{ -ENOENT, "GenericError" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error *err = NULL;
		char expected[128], *line;

		error_set(&err, cases[i].code, "text");
		line = qmp_dispatch_error(err);
		snprintf(expected, sizeof(expected),
			 "{\"error\":{\"class\":\"%s\",\"desc\":\"text\"}}\r\n", cases[i].class);
		ck_assert_str_eq(line, expected);
		free(line);
		error_free(err);
	}
}
END_TEST

UNIT_SUITE(suite, "qmp/dispatch", outer_object, negotiation, without_strictness_all_is_possible,
	   any_id_comes_back, arguments, nested_arguments_are_named_by_their_path,
	   long_names_are_cut, codes_tell_the_class)
UNIT_MAIN(suite)
