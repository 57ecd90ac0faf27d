// SPDX-License-Identifier: Apache-2.0
#include "json_config.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/json.h"
#include "util/parse.h"

/* --- what both forms use ------------------------------------------------------------------------
 */

char *json_path_member(const char *parent, const char *key)
{
	size_t len = strlen(parent);

	/* A key is whatever the file says: it must not scribble on a terminal. */
	char *path = xasprintf("%s%s%s", parent, len && parent[len - 1] == ' ' ? "" : ".", key);

	for (char *p = path + len; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	return path;
}

char *json_path_item(const char *parent, size_t index)
{
	return xasprintf("%s[%zu]", parent, index);
}

static const char *kind_of(struct json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_boolean:
		return json_object_get_boolean(value) ? "true" : "false";
	case json_type_int:
		return "an integer";
	case json_type_double:
		return "a number that is no integer";
	case json_type_string:
		return "a string";
	case json_type_array:
		return "a list";
	case json_type_object:
		return "an object";
	case json_type_null:
	default:
		return "null";
	}
}

int json_wrong_type(const char *path, struct json_object *value, const char *allowed,
		    struct error **errp)
{
	return error_set(errp, -EINVAL, "%s: %s is given, %s is allowed", path, kind_of(value),
			 allowed);
}

int json_unknown_key(const char *parent, const char *key, const char *const *names,
		     struct error **errp)
{
	const char *nearest = nearest_name(key, names);
	char *path = json_path_member(parent, key), *all = xstrdup(""), *longer;

	for (size_t i = 0; names[i]; i++) {
		longer = xasprintf("%s%s%s", all, i ? ", " : "", names[i]);
		free(all);
		all = longer;
	}
	error_set(errp, -EINVAL, "%.300s: unknown key%s%s%s; allowed are %s", path,
		  nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
		  all);
	free(all);
	free(path);
	return -EINVAL;
}

/* What the property takes, in words. Caller frees. */
static char *allowed_text(const struct property *prop)
{
	char low[24], high[24];

	switch (prop->type) {
	case PROPERTY_BOOL:
		return xstrdup("true or false");
	case PROPERTY_SIZE:
		return xasprintf("bytes as an integer or \"256M\" as a string, in [%s, %s],",
				 format_size(prop->min, low), format_size(prop->max, high));
	case PROPERTY_STRING:
	case PROPERTY_ENUM:
	case PROPERTY_LINK:
		return xstrdup("a string");
	default:
		return xasprintf("an integer in [%llu, %llu]", (unsigned long long)prop->min,
				 (unsigned long long)prop->max);
	}
}

static bool fits(const struct property *prop, struct json_object *value)
{
	enum json_type type = json_object_get_type(value);

	switch (prop->type) {
	case PROPERTY_BOOL:
		return type == json_type_boolean;
	case PROPERTY_SIZE:
		return type == json_type_int || type == json_type_string;
	case PROPERTY_STRING:
	case PROPERTY_ENUM:
	case PROPERTY_LINK:
		return type == json_type_string;
	default:
		return type == json_type_int;
	}
}

int json_property_set(const char *parent, const struct property *prop, void *object,
		      struct json_object *value, struct error **errp)
{
	char *path = json_path_member(parent, prop->name), *allowed;
	int ret;

	if (!fits(prop, value)) {
		allowed = allowed_text(prop);
		ret = json_wrong_type(path, value, allowed, errp);
		free(allowed);
	} else if (json_object_is_type(value, json_type_int) && json_object_get_int64(value) < 0) {
		allowed = allowed_text(prop);
		ret = error_set(errp, -ERANGE, "%s: %s is given, %s is allowed", path,
				json_object_get_string(value), allowed);
		free(allowed);
	} else {
		ret = property_set(prop, object, json_object_get_string(value), NULL, errp);
		if (ret)
			error_prefix(errp, "%.*s", (int)(strlen(path) - strlen(prop->name)), path);
	}
	free(path);
	return ret;
}

/* --- the file
 * --------------------------------------------------------------------------------------- */

/* Which form it is follows from the first key that only one of them has. */
static int decide_form(struct json_object *top, const char *path, bool *description,
		       struct error **errp)
{
	const char *ours = NULL, *old = NULL;
	char *where;
	int ret;

	json_object_object_foreach(top, key, value)
	{
		bool in_ours = json_description_has(key), in_old = json_old_form_has(key);

		(void)value;
		if (in_ours && !in_old && !ours)
			ours = key;
		if (in_old && !in_ours && !old)
			old = key;
	}
	*description = ours != NULL;
	if (!ours || !old)
		return 0;
	where = json_path_member(path, old);
	ret = error_set(errp, -EINVAL,
			"%s: a key of StratoVirt's old file format, but '%s' is one of the "
			"description that -dump-config prints: a file has one of the two forms",
			where, ours);
	free(where);
	return ret;
}

static int wrong_text(const char *file, const char *text, const struct json_place *place,
		      struct error **errp)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < place->offset; i++, column++) {
		if (text[i] == '\n') {
			line++;
			column = 0;
		}
	}
	error_prefix(errp, "%s: %s%sline %zu, column %zu: ", file, place->path,
		     *place->path ? ": " : "", line, column);
	return -EINVAL;
}

int json_config_parse(const char *file, const char *text, size_t len, struct vm_config *config,
		      struct error **errp)
{
	struct json_place place = { 0 };
	struct json_object *top = NULL;
	bool description = false;
	char *path;
	int ret;

	if (len > JSON_CONFIG_MAX)
		return error_set(errp, -E2BIG, "%s: more than %llu bytes", file,
				 (unsigned long long)JSON_CONFIG_MAX);
	ret = json_text_parse_place(text, len, &top, &place, errp);
	if (ret == -EINVAL)
		return wrong_text(file, text, &place, errp);
	if (ret) {
		error_prefix(errp, "%s: ", file);
		return ret;
	}
	path = xasprintf("%s: ", file);
	if (!json_object_is_type(top, json_type_object))
		ret = json_wrong_type(file, top, "an object", errp);
	else
		ret = decide_form(top, path, &description, errp);
	if (!ret)
		ret = description ? json_description_read(top, path, config, errp)
				  : json_old_form_read(top, path, config, errp);
	free(path);
	json_object_put(top);
	return ret;
}

/* Up to @size bytes, from anything that can be read. Returns how many, or -errno. */
static ssize_t read_up_to(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n = 1;

	while (n && len < size) {
		n = fd_read(fd, buf + len, size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int json_config_read(const char *file, struct vm_config *config, struct error **errp)
{
	size_t size = JSON_CONFIG_MAX + 1; /* one more shows that it is too much */
	ssize_t len;
	char *text;
	int fd, ret;

	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(errp, -errno, "-config %s", file);
	text = xcalloc(1, size);
	len = read_up_to(fd, text, size);
	if (len < 0)
		ret = error_set_errno(errp, (int)len, "-config %s", file);
	else
		ret = json_config_parse(file, text, (size_t)len, config, errp);
	free(text);
	fd_close(&fd);
	return ret;
}
