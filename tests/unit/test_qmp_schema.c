// SPDX-License-Identifier: Apache-2.0
/* query-qmp-schema is honest: closed, without doubles, and the same as the tables. */
#include <string.h>

#include "qmp/internal.h"
#include "unit.h"

static struct json_object *schema;

static void setup(void)
{
	schema = qmp_schema();
}

static const char *str(struct json_object *info, const char *name)
{
	return json_object_get_string(json_object_object_get(info, name));
}

static struct json_object *find(const char *name)
{
	for (size_t i = 0; i < json_object_array_length(schema); i++) {
		struct json_object *info = json_object_array_get_idx(schema, i);

		if (!strcmp(str(info, "name"), name))
			return info;
	}
	return NULL;
}

static void assert_type(const char *owner, const char *name)
{
	struct json_object *info = name ? find(name) : NULL;

	ck_assert_msg(info != NULL, "%s refers to %s, which is not there", owner, name);
	ck_assert_str_ne(str(info, "meta-type"), "command");
	ck_assert_str_ne(str(info, "meta-type"), "event");
}

START_TEST(every_type_is_defined)
{
	setup();
	for (size_t i = 0; i < json_object_array_length(schema); i++) {
		struct json_object *info = json_object_array_get_idx(schema, i), *members;
		const char *meta = str(info, "meta-type"), *name = str(info, "name");

		if (!strcmp(meta, "command"))
			assert_type(name, str(info, "ret-type"));
		if (!strcmp(meta, "command") || !strcmp(meta, "event"))
			assert_type(name, str(info, "arg-type"));
		if (!strcmp(meta, "array"))
			assert_type(name, str(info, "element-type"));
		if (strcmp(meta, "object"))
			continue;
		members = json_object_object_get(info, "members");
		for (size_t j = 0; j < json_object_array_length(members); j++)
			assert_type(name, str(json_object_array_get_idx(members, j), "type"));
	}
	json_object_put(schema);
}
END_TEST

START_TEST(names_are_unique)
{
	setup();
	for (size_t i = 0; i < json_object_array_length(schema); i++) {
		struct json_object *info = json_object_array_get_idx(schema, i);

		ck_assert_msg(find(str(info, "name")) == info, "%s is there twice",
			      str(info, "name"));
	}
	json_object_put(schema);
}
END_TEST

START_TEST(commands_and_events_are_there_and_explained)
{
	setup();
	qmp_for_each_command(cmd)
	{
		ck_assert_ptr_nonnull(find(cmd->name));
		ck_assert_str_eq(str(find(cmd->name), "meta-type"), "command");
		ck_assert_msg(cmd->help && cmd->handler, "%s", cmd->name);
		ck_assert_ptr_eq(qmp_command_find(cmd->name), cmd);
	}
	for (size_t i = 0; qmp_events[i]; i++) {
		ck_assert_ptr_nonnull(find(qmp_events[i]->name));
		ck_assert_str_eq(str(find(qmp_events[i]->name), "meta-type"), "event");
		ck_assert_msg(qmp_events[i]->help != NULL, "%s", qmp_events[i]->name);
	}
	json_object_put(schema);
}
END_TEST

/* libvirt decides by these words what it passes as JSON, and by names of commands what it sends. */
START_TEST(nothing_is_promised_that_is_not_there)
{
	setup();
	ck_assert_ptr_null(find("query-cpu-model-expansion"));
	ck_assert_ptr_null(find("migrate"));
	ck_assert_ptr_null(qmp_command_find("query-tpm-models"));
	json_object_put(schema);
}
END_TEST

START_TEST(docs_have_every_command_event_and_type)
{
	char *text = NULL, heading[96];
	size_t size;
	FILE *out = open_memstream(&text, &size);

	qmp_dump_docs(out);
	fclose(out);
	setup();
	for (size_t i = 0; i < json_object_array_length(schema); i++) {
		struct json_object *info = json_object_array_get_idx(schema, i);
		const char *meta = str(info, "meta-type"), *name = str(info, "name");
		size_t len = strlen(name);

		if (!strcmp(meta, "array") || !strcmp(meta, "builtin") ||
		    !strcmp(name, "q_empty") || (len > 4 && !strcmp(name + len - 4, "-arg")) ||
		    (len > 5 && !strcmp(name + len - 5, "-data")))
			continue;
		snprintf(heading, sizeof(heading), "\n### %s\n", name);
		ck_assert_msg(strstr(text, heading) != NULL, "%s is not documented", name);
	}
	json_object_put(schema);
	free(text);
}
END_TEST

UNIT_SUITE(suite, "qmp/schema", every_type_is_defined, names_are_unique,
	   commands_and_events_are_there_and_explained, nothing_is_promised_that_is_not_there,
	   docs_have_every_command_event_and_type)
UNIT_MAIN(suite)
