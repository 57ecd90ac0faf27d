// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "opts_private.h"
#include "util/alloc.h"
#include "util/json.h"

#define DEPTH_MAX 8 /* of dotted keys */

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
	case json_type_string: /* the parser has refused NUL characters */
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

	if (depth > DEPTH_MAX)
		return error_set(errp, -EINVAL, "JSON nested deeper than %d", DEPTH_MAX);
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

int opts_parse_json(const char *origin, const char *text, struct opts **ret, struct error **errp)
{
	struct json_object *object;
	int err;

	err = json_text_parse(text, strlen(text), &object, errp);
	if (err) {
		error_prefix(errp, "%s: JSON, ", origin);
		return err;
	}
	err = opts_from_json(origin, object, ret, errp);
	json_object_put(object);
	return err;
}
