// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "opts_private.h"
#include "util/alloc.h"

#define JSON_DEPTH_MAX 8

static int add_members(struct opts *opts, struct json_object *object, const char *prefix,
		       unsigned int depth, struct error **errp);

bool opts_takes_list(const char *key)
{
	return !strcmp(key, "host-nodes");
}

/*
 * Host nodes are a list in QEMU's JSON, [0,1]; here they are text of the form 0:1. Any other list is none of an option's: NULL.
 * Caller frees.
 */
static char *number_list(const char *key, struct json_object *list)
{
	char *text = NULL, *longer;

	if (!opts_takes_list(key))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *number = json_object_array_get_idx(list, i);

		if (!json_object_is_type(number, json_type_int)) {
			free(text);
			return NULL;
		}
		longer = xasprintf("%s%s%s", text ? text : "", text ? ":" : "", json_object_get_string(number));
		free(text);
		text = longer;
	}
	return text ? text : xstrdup("");
}

/* Takes over @key. */
static int add_member(struct opts *opts, char *key, struct json_object *value, unsigned int depth,
		      struct error **errp)
{
	char *text = NULL;
	int ret;

	switch (json_object_get_type(value)) {
	case json_type_object:
		ret = add_members(opts, value, key, depth + 1, errp);
		free(key);
		return ret;
	case json_type_boolean:
		text = xstrdup(json_object_get_boolean(value) ? "on" : "off");
		break;
	case json_type_string:
		text = xstrdup(json_object_get_string(value));
		if (strlen(text) == (size_t)json_object_get_string_len(value))
			break;
		ret = error_set(errp, -EINVAL, "'%s' has a NUL character in it", key);
		goto fail;
	case json_type_int:
	case json_type_double:
		text = xstrdup(json_object_get_string(value));
		break;
	case json_type_array:
		text = number_list(key, value);
		if (text)
			break;
		ret = error_set(errp, -EINVAL, "'%s' is a list, not a value", key);
		goto fail;
	case json_type_null:
	default:
		ret = error_set(errp, -EINVAL, "'%s' is null, not a value", key);
		goto fail;
	}
	opts_append(opts, key, text);
	return 0;

fail:
	free(text);
	free(key);
	return ret;
}

static int add_members(struct opts *opts, struct json_object *object, const char *prefix,
		       unsigned int depth, struct error **errp)
{
	int ret;

	if (depth > JSON_DEPTH_MAX)
		return error_set(errp, -EINVAL, "JSON nested deeper than %d", JSON_DEPTH_MAX);
	json_object_object_foreach(object, name, value)
	{
		ret = add_member(opts, prefix ? xasprintf("%s.%s", prefix, name) : xstrdup(name),
				 value, depth, errp);
		if (ret)
			return ret;
	}
	return 0;
}

int opts_from_json(const char *origin, struct json_object *object, struct opts **ret,
		   struct error **errp)
{
	struct opts *opts;
	char *name;
	int err;

	if (!json_object_is_type(object, json_type_object))
		return error_set(errp, -EINVAL, "%s: not a JSON object", origin);
	opts = opts_new(origin);
	err = add_members(opts, object, NULL, 1, errp);
	if (err) {
		name = opts_describe(opts);
		error_prefix(errp, "%s: ", name);
		free(name);
	} else {
		err = opts_check_keys(opts, errp);
	}
	if (err) {
		opts_free(opts);
		return err;
	}
	*ret = opts;
	return 0;
}

static size_t count_members(struct json_object *object)
{
	size_t count = 0;

	if (json_object_is_type(object, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(object); i++)
			count += count_members(json_object_array_get_idx(object, i));
		return count;
	}
	if (!json_object_is_type(object, json_type_object))
		return 0;
	json_object_object_foreach(object, name, value)
	{
		(void)name;
		count += 1 + count_members(value);
	}
	return count;
}

/*
 * The members in JSON text that has been parsed: one colon each, outside of strings. -EINVAL for
 * strings in single quotes, which json-c takes even when told to be strict.
 */
static int count_colons(const char *text, size_t *count)
{
	bool string = false;

	for (*count = 0; *text; text++) {
		if (string && *text == '\\')
			text++; /* never the last character: the text has been parsed */
		else if (*text == '"')
			string = !string;
		else if (*text == ':' && !string)
			++*count;
		else if (*text == '\'' && !string)
			return -EINVAL;
	}
	return 0;
}

int opts_parse_json(const char *origin, const char *text, struct opts **ret, struct error **errp)
{
	struct json_tokener *tokener;
	enum json_tokener_error error;
	struct json_object *object;
	size_t members;
	int err;

	tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
	if (!tokener)
		return error_set(errp, -ENOMEM, "%s: out of memory", origin);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With its NUL: an unfinished text is an error then, not a wait for more. */
	object = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
	error = json_tokener_get_error(tokener);
	if (error != json_tokener_success) {
		err = error_set(errp, -EINVAL, "%s: JSON, character %zu: %s", origin,
				json_tokener_get_parse_end(tokener) + 1,
				json_tokener_error_desc(error));
	} else if (count_colons(text, &members)) {
		err = error_set(errp, -EINVAL, "%s: JSON strings need double quotes: %s", origin,
				text);
	} else if (count_members(object) != members) {
		/* json-c silently keeps the last of equal keys; which one was meant is not ours to
		 * guess. */
		err = error_set(errp, -EINVAL, "%s: a JSON key is given twice: %s", origin, text);
	} else {
		err = opts_from_json(origin, object, ret, errp);
	}
	json_object_put(object);
	json_tokener_free(tokener);
	return err;
}
