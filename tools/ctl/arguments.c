// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "util/alloc.h"
#include "util/json.h"

/* -?[0-9]+ in a range that JSON and QMP have; "0x4" and "007" stay strings. */
static bool is_integer(const char *text)
{
	const char *digits = *text == '-' ? text + 1 : text;

	return *digits && strspn(digits, "0123456789") == strlen(digits) && strlen(digits) <= 20 &&
	       (digits[0] != '0' || !digits[1]);
}

static int parse_value(const char *text, struct json_object **ret, struct error **errp)
{
	static const char *const words[] = { "true", "false", "null" };
	bool json = *text && strchr("{[\"", *text);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		json |= strcmp(text, words[i]) == 0;
	if (json || is_integer(text))
		return json_text_parse(text, strlen(text), ret, errp);
	for (size_t i = 0, n, len = strlen(text); i < len; i += n) {
		n = json_utf8_len(text + i, len - i);
		if (!n)
			return error_set(errp, -EINVAL, "the value is not UTF-8");
	}
	*ret = json_object_new_string(text);
	return 0;
}

/* Puts @value, which it takes over, below @object at the dotted @key. */
static int put(struct json_object *object, const char *key, struct json_object *value,
	       struct error **errp)
{
	size_t len = strcspn(key, ".");
	char *name = xstrndup(key, len);
	struct json_object *inner = NULL;
	bool there = json_object_object_get_ex(object, name, &inner);
	int ret = 0;

	if (!len) {
		ret = error_set(errp, -EINVAL, "a key is missing");
	} else if (key[len] && there && !json_object_is_type(inner, json_type_object)) {
		ret = error_set(errp, -EINVAL, "'%s' is given as a value as well", name);
	} else if (key[len]) {
		if (!there) {
			inner = json_object_new_object();
			json_object_object_add(object, name, inner);
		}
		ret = put(inner, key + len + 1, value, errp);
		value = NULL;
	} else if (there) {
		ret = error_set(errp, -EINVAL, "'%s' is given twice", name);
	} else {
		json_object_object_add(object, name, value);
		value = NULL;
	}
	json_object_put(value);
	free(name);
	return ret;
}

/* A whole object as one word. */
static int put_all(struct json_object *object, const char *text, struct error **errp)
{
	struct json_object *more;
	int ret;

	ret = json_text_parse(text, strlen(text), &more, errp);
	if (ret)
		return ret;
	json_object_object_foreach(more, key, value)
	{
		if (json_object_object_get_ex(object, key, NULL)) {
			ret = error_set(errp, -EINVAL, "'%s' is given twice", key);
			break;
		}
		json_object_object_add(object, key, json_object_get(value));
	}
	json_object_put(more);
	return ret;
}

static int put_word(struct json_object *object, const char *word, struct error **errp)
{
	const char *equals = strchr(word, '=');
	struct json_object *value;
	char *key;
	int ret;

	if (*word == '{')
		return put_all(object, word, errp);
	if (!equals)
		return error_set(errp, -EINVAL, "KEY=VALUE is needed");
	ret = parse_value(equals + 1, &value, errp);
	if (ret)
		return ret;
	key = xstrndup(word, (size_t)(equals - word));
	ret = put(object, key, value, errp);
	free(key);
	return ret;
}

int arguments_parse(char **words, struct json_object **ret, struct error **errp)
{
	struct json_object *object = *words ? json_object_new_object() : NULL;
	int err;

	for (; *words; words++) {
		err = put_word(object, *words, errp);
		if (err) {
			error_prefix(errp, "%s: ", *words);
			json_object_put(object);
			return err;
		}
	}
	*ret = object;
	return 0;
}
