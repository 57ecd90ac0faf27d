// SPDX-License-Identifier: Apache-2.0
/* The builtin types, and the check of arguments against what a command declares. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/json.h"

#define BUILTIN(symbol, type_name, json)                                                           \
	const struct qmp_type symbol = { .name = type_name, .meta = QMP_BUILTIN, .json_type = json }

BUILTIN(qmp_str, "str", "string");
BUILTIN(qmp_int, "int", "int");
BUILTIN(qmp_size, "size", "int");
BUILTIN(qmp_number, "number", "number");
BUILTIN(qmp_bool, "bool", "boolean");
BUILTIN(qmp_any, "any", "value");

QMP_TYPE_ARRAY(qmp_int_array, "int", qmp_int);
QMP_TYPE_ARRAY(qmp_str_array, "str", qmp_str);

const char *qmp_quote(const char *text, char buf[QMP_QUOTE_MAX])
{
	static const char dots[] = "...";
	size_t len = strlen(text), kept = 0, n;

	if (len < QMP_QUOTE_MAX)
		return strcpy(buf, text);
	while ((n = json_utf8_len(text + kept, len - kept)) &&
	       kept + n <= QMP_QUOTE_MAX - sizeof(dots))
		kept += n;
	memcpy(buf, text, kept);
	memcpy(buf + kept, dots, sizeof(dots));
	return buf;
}

static int check(const struct qmp_type *type, struct json_object *value, const char *path,
		 struct error **errp);

static int wrong_type(const char *path, const char *expected, struct error **errp)
{
	char quote[QMP_QUOTE_MAX];

	return error_set(errp, -EINVAL, "Invalid parameter type for '%s', expected: %s",
			 qmp_quote(path, quote), expected);
}

static bool has_member(const struct qmp_member *members, const char *name)
{
	for (; members && members->name; members++) {
		if (!strcmp(members->name, name))
			return true;
	}
	return false;
}

/* @path: of the object itself, "" at the top. */
static int check_known(const struct qmp_member *members, struct json_object *value,
		       const char *path, struct error **errp)
{
	const char *dot = *path ? "." : "";
	char quote[QMP_QUOTE_MAX];
	int ret = 0;

	for (const struct qmp_member *m = members; !ret && m && m->name; m++) {
		struct json_object *found;
		char *name = xasprintf("%s%s%s", path, dot, m->name);

		if (json_object_object_get_ex(value, m->name, &found))
			ret = check(m->type, found, name, errp);
		else if (!m->optional)
			ret = error_set(errp, -EINVAL, "Parameter '%s' is missing",
					qmp_quote(name, quote));
		free(name);
	}
	return ret;
}

static int check_object(const struct qmp_member *members, struct json_object *value,
			const char *path, struct error **errp)
{
	const char *dot = *path ? "." : "";
	char quote[QMP_QUOTE_MAX];
	int ret = check_known(members, value, path, errp);

	if (ret || !value)
		return ret;
	json_object_object_foreach(value, key, member)
	{
		char *name;

		(void)member;
		if (has_member(members, key))
			continue;
		name = xasprintf("%s%s%s", path, dot, key);
		ret = error_set(errp, -EINVAL, "Parameter '%s' is unexpected",
				qmp_quote(name, quote));
		free(name);
		return ret;
	}
	return 0;
}

static int check_array(const struct qmp_type *type, struct json_object *value, const char *path,
		       struct error **errp)
{
	int ret = 0;

	if (!json_object_is_type(value, json_type_array))
		return wrong_type(path, "array", errp);
	for (size_t i = 0; !ret && i < json_object_array_length(value); i++) {
		char *name = xasprintf("%s[%zu]", path, i);

		ret = check(type->element, json_object_array_get_idx(value, i), name, errp);
		free(name);
	}
	return ret;
}

static int check_enum(const struct qmp_type *type, struct json_object *value, const char *path,
		      struct error **errp)
{
	char quote[QMP_QUOTE_MAX], quoted_value[QMP_QUOTE_MAX];
	const char *word;

	if (!json_object_is_type(value, json_type_string))
		return wrong_type(path, "string", errp);
	word = json_object_get_string(value);
	for (size_t i = 0; type->values[i]; i++) {
		if (!strcmp(type->values[i], word))
			return 0;
	}
	return error_set(errp, -EINVAL, "Parameter '%s' does not accept value '%s'",
			 qmp_quote(path, quote), qmp_quote(word, quoted_value));
}

/* json-c says int for all whole numbers up to UINT64_MAX and gives the nearest value when asked for
 * a smaller type. */
static bool fits_int64(struct json_object *value)
{
	return json_object_get_uint64(value) <= INT64_MAX;
}

static int check_builtin(const struct qmp_type *type, struct json_object *value, const char *path,
			 struct error **errp)
{
	char quote[QMP_QUOTE_MAX];

	if (type == &qmp_any)
		return 0;
	if (type == &qmp_str)
		return json_object_is_type(value, json_type_string)
			       ? 0
			       : wrong_type(path, "string", errp);
	if (type == &qmp_bool)
		return json_object_is_type(value, json_type_boolean)
			       ? 0
			       : wrong_type(path, "boolean", errp);
	if (type == &qmp_number)
		return json_object_is_type(value, json_type_int) ||
				       json_object_is_type(value, json_type_double)
			       ? 0
			       : wrong_type(path, "number", errp);
	if (!json_object_is_type(value, json_type_int))
		return wrong_type(path, "integer", errp);
	if (type == &qmp_int && !fits_int64(value))
		return error_set(errp, -ERANGE, "Parameter '%s' expects a 64-bit signed integer",
				 qmp_quote(path, quote));
	if (type == &qmp_size && json_object_get_int64(value) < 0)
		return error_set(errp, -ERANGE, "Parameter '%s' expects a non-negative value",
				 qmp_quote(path, quote));
	return 0;
}

static int check(const struct qmp_type *type, struct json_object *value, const char *path,
		 struct error **errp)
{
	switch (type->meta) {
	case QMP_OBJECT:
		if (!json_object_is_type(value, json_type_object))
			return wrong_type(path, "object", errp);
		return check_object(type->members, value, path, errp);
	case QMP_ARRAY:
		return check_array(type, value, path, errp);
	case QMP_ENUM:
		return check_enum(type, value, path, errp);
	case QMP_BUILTIN:
		break;
	}
	return check_builtin(type, value, path, errp);
}

int qmp_check_members(const struct qmp_member *members, struct json_object *value,
		      struct error **errp)
{
	return check_object(members, value, "", errp);
}

int qmp_check_known_members(const struct qmp_member *members, struct json_object *value,
			    struct error **errp)
{
	return check_known(members, value, "", errp);
}

int qmp_generic_error(int code, struct error **errp)
{
	struct error *cause = errp ? *errp : NULL;

	if (!cause || (code != QMP_DEVICE_NOT_FOUND && code != QMP_DEVICE_NOT_ACTIVE &&
		       code != QMP_COMMAND_NOT_FOUND && code != QMP_KVM_MISSING_CAP))
		return code;
	*errp = NULL;
	code = error_set(errp, -EINVAL, "%s", error_text(cause));
	error_free(cause);
	return code;
}

/* --- arguments that were checked, and replies --- */

bool qmp_arg_has(struct json_object *args, const char *name)
{
	return json_object_object_get_ex(args, name, NULL);
}

const char *qmp_arg_str(struct json_object *args, const char *name)
{
	return json_object_get_string(json_object_object_get(args, name));
}

int64_t qmp_arg_int(struct json_object *args, const char *name, int64_t absent)
{
	struct json_object *value;

	return json_object_object_get_ex(args, name, &value) ? json_object_get_int64(value)
							     : absent;
}

bool qmp_arg_bool(struct json_object *args, const char *name, bool absent)
{
	struct json_object *value;

	return json_object_object_get_ex(args, name, &value) ? json_object_get_boolean(value)
							     : absent;
}

void qmp_add_str(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

void qmp_add_int(struct json_object *object, const char *name, int64_t value)
{
	json_object_object_add(object, name, json_object_new_int64(value));
}

void qmp_add_bool(struct json_object *object, const char *name, bool value)
{
	json_object_object_add(object, name, json_object_new_boolean(value));
}

void qmp_add_path(struct json_object *object, const char *name, const char *device)
{
	char *path = xasprintf("/machine/peripheral/%s", device);

	qmp_add_str(object, name, path);
	free(path);
}
