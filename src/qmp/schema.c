// SPDX-License-Identifier: Apache-2.0
/* Introspection: the tables of commands, events and types as QEMU's SchemaInfo. */
#include <stdio.h>
#include <string.h>

#include "internal.h"

static const struct qmp_type empty = { .name = "q_empty", .meta = QMP_OBJECT };

/* A schema under construction; @seen has the names that are in it already. */
struct schema {
	struct json_object *list, *seen;
};

static void add_type(struct schema *schema, const struct qmp_type *type);

/* As QEMU shows them, all integers are int. */
static const struct qmp_type *shown(const struct qmp_type *type)
{
	return type == &qmp_size ? &qmp_int : type;
}

static struct json_object *new_info(const char *name, const char *meta)
{
	struct json_object *info = json_object_new_object();

	qmp_add_str(info, "name", name);
	qmp_add_str(info, "meta-type", meta);
	return info;
}

static struct json_object *members_of(struct schema *schema, const struct qmp_member *members)
{
	struct json_object *list = json_object_new_array();

	for (; members && members->name; members++) {
		struct json_object *member = json_object_new_object();

		qmp_add_str(member, "name", members->name);
		qmp_add_str(member, "type", shown(members->type)->name);
		if (members->optional) /* there is no other default than absence */
			json_object_object_add(member, "default", NULL);
		json_object_array_add(list, member);
		add_type(schema, shown(members->type));
	}
	return list;
}

static struct json_object *enum_info(const struct qmp_type *type)
{
	struct json_object *info = new_info(type->name, "enum");
	struct json_object *values = json_object_new_array(), *members = json_object_new_array();

	for (size_t i = 0; type->values[i]; i++) {
		struct json_object *member = json_object_new_object();

		qmp_add_str(member, "name", type->values[i]);
		json_object_array_add(members, member);
		json_object_array_add(values, json_object_new_string(type->values[i]));
	}
	json_object_object_add(info, "members", members);
	json_object_object_add(info, "values", values);
	return info;
}

static void add_type(struct schema *schema, const struct qmp_type *type)
{
	struct json_object *info = NULL;

	if (json_object_object_get_ex(schema->seen, type->name, NULL))
		return;
	qmp_add_bool(schema->seen, type->name, true);
	switch (type->meta) {
	case QMP_BUILTIN:
		info = new_info(type->name, "builtin");
		qmp_add_str(info, "json-type", type->json_type);
		break;
	case QMP_OBJECT:
		info = new_info(type->name, "object");
		json_object_object_add(info, "members", members_of(schema, type->members));
		break;
	case QMP_ARRAY:
		info = new_info(type->name, "array");
		qmp_add_str(info, "element-type", shown(type->element)->name);
		add_type(schema, shown(type->element));
		break;
	case QMP_ENUM:
		info = enum_info(type);
		break;
	}
	json_object_array_add(schema->list, info);
}

/* The object type that a table of members is, named after its owner. */
static void add_members(struct schema *schema, struct json_object *info, const char *owner,
			const char *suffix, const struct qmp_member *members)
{
	struct qmp_type type = empty;
	char name[80];

	if (members) {
		snprintf(name, sizeof(name), "%s-%s", owner, suffix);
		type.name = name;
		type.members = members;
	}
	qmp_add_str(info, "arg-type", type.name);
	add_type(schema, &type);
}

struct json_object *qmp_schema(void)
{
	struct schema schema = { json_object_new_array(), json_object_new_object() };

	qmp_for_each_command(cmd)
	{
		const struct qmp_type *returns = cmd->returns ? cmd->returns : &empty;
		struct json_object *info = new_info(cmd->name, "command");

		json_object_array_add(schema.list, info);
		add_members(&schema, info, cmd->name, "arg", cmd->args);
		qmp_add_str(info, "ret-type", returns->name);
		add_type(&schema, returns);
	}
	for (size_t i = 0; qmp_events[i]; i++) {
		struct json_object *info = new_info(qmp_events[i]->name, "event");

		json_object_array_add(schema.list, info);
		add_members(&schema, info, qmp_events[i]->name, "data", qmp_events[i]->data);
	}
	json_object_put(schema.seen);
	return schema.list;
}

/* --- the commands that show it --- */

static QMP_TYPE_OBJECT(command_info, "CommandInfo", QMP_MEMBER("name", qmp_str, NULL));
static QMP_TYPE_ARRAY(command_info_array, "CommandInfo", command_info);
static QMP_TYPE_OBJECT(event_info, "EventInfo", QMP_MEMBER("name", qmp_str, NULL));
static QMP_TYPE_ARRAY(event_info_array, "EventInfo", event_info);

static QMP_TYPE_ENUM(meta_type, "SchemaMetaType", "builtin", "enum", "array", "object", "command",
		     "event");
static QMP_TYPE_ENUM(json_type_word, "JSONType", "string", "number", "int", "boolean", "value");
static QMP_TYPE_OBJECT(schema_member, "SchemaInfoObjectMember", QMP_MEMBER("name", qmp_str, NULL),
		       QMP_OPTIONAL("type", qmp_str, "of an object's member"),
		       QMP_OPTIONAL("default", qmp_any, "there: the member is optional"));
static QMP_TYPE_ARRAY(schema_member_array, "SchemaInfoObjectMember", schema_member);
static QMP_TYPE_OBJECT(schema_info, "SchemaInfo", QMP_MEMBER("name", qmp_str, NULL),
		       QMP_MEMBER("meta-type", meta_type, "says which of the others are there"),
		       QMP_OPTIONAL("json-type", json_type_word, "builtin"),
		       QMP_OPTIONAL("values", qmp_str_array, "enum"),
		       QMP_OPTIONAL("members", schema_member_array, "object, enum"),
		       QMP_OPTIONAL("element-type", qmp_str, "array"),
		       QMP_OPTIONAL("arg-type", qmp_str, "command, event"),
		       QMP_OPTIONAL("ret-type", qmp_str, "command"));
static QMP_TYPE_ARRAY(schema_info_array, "SchemaInfo", schema_info);

static void add_name(struct json_object *list, const char *name)
{
	struct json_object *info = json_object_new_object();

	qmp_add_str(info, "name", name);
	json_object_array_add(list, info);
}

QMP_HANDLER(query_commands)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	qmp_for_each_command(cmd) add_name(*ret, cmd->name);
	return 0;
}

QMP_HANDLER(query_events)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	for (size_t i = 0; qmp_events[i]; i++)
		add_name(*ret, qmp_events[i]->name);
	return 0;
}

QMP_HANDLER(query_qmp_schema)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = qmp_schema();
	return 0;
}

const struct qmp_command qmp_schema_commands[] = {
	{ .name = "query-commands",
	  .help = "the commands there are",
	  .returns = &command_info_array,
	  .handler = query_commands },
	{ .name = "query-events",
	  .help = "the events there are",
	  .returns = &event_info_array,
	  .handler = query_events },
	{ .name = "query-qmp-schema",
	  .help = "commands, events and their types in QEMU's form of introspection",
	  .returns = &schema_info_array,
	  .handler = query_qmp_schema },
	{ .name = NULL },
};
