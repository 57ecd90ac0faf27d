// SPDX-License-Identifier: Apache-2.0
/*
 * -dump-config: the description as JSON that -config takes back. What means the same is printed the
 * same: fields in the order of their table, of an option list first what it is, then its id, then
 * the rest by name.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "description.h"
#include "util/alloc.h"
#include "util/json.h"
#include "util/parse.h"

/* Strings of a command line can be anything; JSON is UTF-8. */
static int check_text(const char *path, const char *text, struct error **errp)
{
	size_t left = strlen(text), n;

	for (; left; text += n, left -= n) {
		n = json_utf8_len(text, left);
		if (!n)
			return error_set(errp, -EILSEQ,
					 "-dump-config: %s is not UTF-8, which JSON has to be",
					 path);
	}
	return 0;
}

static int add_text(struct json_object *to, const char *path, const char *key, const char *text,
		    struct error **errp)
{
	int ret = check_text(path, text, errp);

	if (!ret)
		json_object_object_add(to, key, json_object_new_string(text));
	return ret;
}

/* --- option lists -------------------------------------------------------------------------------
 */

struct pair {
	const char *key, *value;
	int rank;
};

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return x->rank != y->rank ? x->rank - y->rank : strcmp(x->key, y->key);
}

/* The old word "nowait" is wait=off. */
static struct pair settle(const struct opts *opts, const struct opt *opt)
{
	bool on;

	if (strcmp(opt->key, "nowait") == 0 && !opts_get(opts, "wait") &&
	    !parse_bool(opt->value, &on))
		return (struct pair){ .key = "wait", .value = on ? "off" : "on" };
	return (struct pair){ .key = opt->key, .value = opt->value };
}

static int dump_opts(const struct opts *opts, const char *kind_key, const char *path,
		     struct json_object **ret, struct error **errp)
{
	struct json_object *object = json_object_new_object();
	struct pair *pairs;
	struct opt *opt;
	size_t count = 0;
	int err = 0;

	list_for_each(opt, &opts->pairs, node)
		count++;
	pairs = xcalloc(count + 1, sizeof(*pairs));
	count = 0;
	list_for_each(opt, &opts->pairs, node) {
		pairs[count] = settle(opts, opt);
		pairs[count].rank = kind_key && strcmp(opt->key, kind_key) == 0 ? 0
				    : strcmp(opt->key, "id") == 0		? 1
										: 2;
		count++;
	}
	qsort(pairs, count, sizeof(*pairs), compare_pairs);
	for (size_t i = 0; i < count && !err; i++) {
		err = check_text(path, pairs[i].key, errp);
		if (!err)
			err = add_text(object, path, pairs[i].key, pairs[i].value, errp);
	}
	free(pairs);
	if (err)
		json_object_put(object);
	else
		*ret = object;
	return err;
}

static int dump_list(const struct list *head, const struct description_field *field,
		     struct json_object *top, struct error **errp)
{
	struct json_object *array, *object;
	struct opts *opts;
	int ret;

	if (list_empty(head))
		return 0;
	array = json_object_new_array();
	json_object_object_add(top, field->key, array);
	list_for_each(opts, head, node) {
		ret = dump_opts(opts, field->kind_key, opts->origin, &object, errp);
		if (ret)
			return ret;
		json_object_array_add(array, object);
	}
	return 0;
}

/* --- the whole
 * -------------------------------------------------------------------------------------- */

static struct json_object *dump_smp(const struct cpu_topology *topology)
{
	struct json_object *object = json_object_new_object();

	for (const struct property *prop = cpu_topology_properties; prop->name; prop++) {
		const char *field = (const char *)topology + prop->offset;

		json_object_object_add(object, prop->name,
				       json_object_new_int64(*(const uint32_t *)field));
	}
	return object;
}

static struct json_object *dump_uuid(const uint8_t uuid[16])
{
	char text[37], *p = text;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += sprintf(p, "%02x", uuid[i]);
	}
	return json_object_new_string(text);
}

static int dump_field(const struct description_field *field, const struct vm_config *config,
		      struct json_object *top, struct error **errp)
{
	const void *from = (const char *)config + field->offset;
	const char *text = NULL;
	struct json_object *object;
	int ret;

	switch (field->kind) {
	case DESCRIPTION_TEXT:
		text = *(char *const *)from;
		return text ? add_text(top, field->key, field->key, text, errp) : 0;
	case DESCRIPTION_FLAG:
		if (*(const bool *)from)
			json_object_object_add(top, field->key, json_object_new_boolean(true));
		return 0;
	case DESCRIPTION_MEMORY:
		json_object_object_add(top, field->key,
				       json_object_new_uint64(*(const uint64_t *)from));
		return 0;
	case DESCRIPTION_SMP:
		json_object_object_add(top, field->key, dump_smp(from));
		return 0;
	case DESCRIPTION_UUID:
		if (config->has_uuid)
			json_object_object_add(top, field->key, dump_uuid(config->uuid));
		return 0;
	case DESCRIPTION_LOG:
		if (config->log_path)
			return add_text(top, field->key, field->key, config->log_path, errp);
		if (config->log_to_file)
			json_object_object_add(top, field->key, json_object_new_boolean(true));
		return 0;
	case DESCRIPTION_OPTS:
		if (!*(struct opts *const *)from)
			return 0;
		ret = dump_opts(*(struct opts *const *)from, field->kind_key, field->key, &object,
				errp);
		if (!ret)
			json_object_object_add(top, field->key, object);
		return ret;
	case DESCRIPTION_LIST:
	case DESCRIPTION_WHOLE_LIST:
		return dump_list(from, field, top, errp);
	}
	return 0;
}

int vm_config_dump(const struct vm_config *config, FILE *out, struct error **errp)
{
	struct json_object *top = json_object_new_object();
	int ret = 0;

	for (const struct description_field *field = description_fields; field->key && !ret;
	     field++)
		ret = dump_field(field, config, top, errp);
	if (!ret)
		fprintf(out, "%s\n",
			json_object_to_json_string_ext(
				top, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					     JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(top);
	return ret;
}
