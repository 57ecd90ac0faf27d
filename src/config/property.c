// SPDX-License-Identifier: Apache-2.0
#include "config/property.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "config"
#include "links_private.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"

static void *field(const struct property *prop, void *object)
{
	return (char *)object + prop->offset;
}

static bool is_stored(const struct property *prop)
{
	return !(prop->flags & PROPERTY_IGNORED);
}

static bool is_owned_string(const struct property *prop)
{
	return prop->type == PROPERTY_STRING && is_stored(prop);
}

static uint64_t number_get(const struct property *prop, const void *object)
{
	const void *from = (const char *)object + prop->offset;

	switch (prop->type) {
	case PROPERTY_BOOL:
		return *(const bool *)from;
	case PROPERTY_UINT8:
		return *(const uint8_t *)from;
	case PROPERTY_UINT16:
		return *(const uint16_t *)from;
	case PROPERTY_UINT32:
		return *(const uint32_t *)from;
	case PROPERTY_UINT64:
	case PROPERTY_SIZE:
		return *(const uint64_t *)from;
	case PROPERTY_ENUM:
		return (uint64_t) * (const int *)from;
	case PROPERTY_STRING:
	case PROPERTY_LINK:
		break;
	}
	return 0;
}

static void number_store(const struct property *prop, void *object, uint64_t value)
{
	void *to = field(prop, object);

	switch (prop->type) {
	case PROPERTY_BOOL:
		*(bool *)to = value != 0;
		break;
	case PROPERTY_UINT8:
		*(uint8_t *)to = (uint8_t)value;
		break;
	case PROPERTY_UINT16:
		*(uint16_t *)to = (uint16_t)value;
		break;
	case PROPERTY_UINT32:
		*(uint32_t *)to = (uint32_t)value;
		break;
	case PROPERTY_UINT64:
	case PROPERTY_SIZE:
		*(uint64_t *)to = value;
		break;
	case PROPERTY_ENUM:
		*(int *)to = (int)value;
		break;
	case PROPERTY_STRING:
	case PROPERTY_LINK:
		break;
	}
}

static void string_store(const struct property *prop, void *object, const char *value)
{
	char **to = field(prop, object);
	char *copy = value ? xstrdup(value) : NULL;

	free(*to);
	*to = copy;
}

/* What the type can hold, whatever the table says. */
static uint64_t upper_bound(const struct property *prop)
{
	switch (prop->type) {
	case PROPERTY_UINT8:
		return MIN(prop->max, (uint64_t)UINT8_MAX);
	case PROPERTY_UINT16:
		return MIN(prop->max, (uint64_t)UINT16_MAX);
	case PROPERTY_UINT32:
		return MIN(prop->max, (uint64_t)UINT32_MAX);
	default:
		return prop->max;
	}
}

/* "[1, 32]", sizes as "[128M, 512G]". */
static const char *format_range(const struct property *prop, char buf[56])
{
	char low[24], high[24];

	if (prop->type == PROPERTY_SIZE)
		snprintf(buf, 56, "[%s, %s]", format_size(prop->min, low),
			 format_size(prop->max, high));
	else
		snprintf(buf, 56, "[%" PRIu64 ", %" PRIu64 "]", prop->min, upper_bound(prop));
	return buf;
}

/*
 * "io_uring, threads" or, for the left column of the help, "io_uring|threads". Caller frees. An empty one stands for a word that was
 * not given.
 */
static char *join_choices(const struct property *prop, const char *between)
{
	char *text = xstrdup(""), *longer;

	for (size_t i = 0; prop->choices[i]; i++) {
		if (!*prop->choices[i])
			continue;
		longer = xasprintf("%s%s%s", text, *text ? between : "", prop->choices[i]);
		free(text);
		text = longer;
	}
	return text;
}

/* --- Setting --- */

static int set_number(const struct property *prop, void *object, const char *value,
		      struct error **errp)
{
	bool size = prop->type == PROPERTY_SIZE;
	uint64_t number;
	char range[56];
	int ret;

	ret = size ? parse_size(value, prop->unit ? prop->unit : 1, &number)
		   : parse_u64(value, &number);
	if (ret == -EINVAL)
		return error_set(errp, ret, "%s=%s is not a %s", prop->name, value,
				 size ? "size (a number with an optional K, M, G or T)" : "number");
	if (ret || number < prop->min || number > upper_bound(prop))
		return error_set(errp, -ERANGE, "%s=%s is out of range %s", prop->name, value,
				 format_range(prop, range));
	if ((prop->flags & PROPERTY_POW2) && !is_pow2(number))
		return error_set(errp, -EINVAL, "%s=%s is not a power of two in %s", prop->name,
				 value, format_range(prop, range));
	number_store(prop, object, number);
	return 0;
}

static int set_enum(const struct property *prop, void *object, const char *value,
		    struct error **errp)
{
	char *words;
	int ret;

	for (size_t i = 0; prop->choices[i]; i++) {
		if (strcmp(prop->choices[i], value) == 0) {
			number_store(prop, object, i);
			return 0;
		}
	}
	words = join_choices(prop, ", ");
	ret = error_set(errp, -EINVAL, "%s=%s is not one of %s", prop->name, value, words);
	free(words);
	return ret;
}

static int set_string(const struct property *prop, void *object, const char *value,
		      struct error **errp)
{
	size_t len = strlen(value);

	if (prop->max && len > prop->max)
		return error_set(errp, -ENAMETOOLONG,
				 "%s=%.40s%s has %zu bytes, at most %" PRIu64 " are possible",
				 prop->name, value, len > 40 ? "..." : "", len, prop->max);
	if (len < prop->min)
		return error_set(errp, -EINVAL,
				 "%s=%s has %zu bytes, at least %" PRIu64 " are needed", prop->name,
				 value, len, prop->min);
	if (is_stored(prop))
		string_store(prop, object, value);
	else
		log_debug("%s=%s has no effect", prop->name, value);
	return 0;
}

static int set_link(const struct property *prop, void *object, const char *value,
		    const struct link_scope *scope, struct error **errp)
{
	const char *kind = prop->choices[0], *nearest;
	void *target = scope ? link_scope_find(scope, kind, value) : NULL;

	if (target) {
		*(void **)field(prop, object) = target;
		return 0;
	}
	nearest = scope ? link_scope_nearest(scope, kind, value) : NULL;
	if (nearest)
		return error_set(errp, -ENOENT,
				 "%s=%s: there is no %s with this id; did you mean '%s'?",
				 prop->name, value, kind, nearest);
	return error_set(errp, -ENOENT, "%s=%s: there is no %s with this id", prop->name, value,
			 kind);
}

int property_set(const struct property *prop, void *object, const char *value,
		 const struct link_scope *scope, struct error **errp)
{
	bool on;

	switch (prop->type) {
	case PROPERTY_STRING:
		return set_string(prop, object, value, errp);
	case PROPERTY_BOOL:
		if (parse_bool(value, &on))
			return error_set(errp, -EINVAL, "%s=%s is not one of on, off", prop->name,
					 value);
		number_store(prop, object, on);
		return 0;
	case PROPERTY_ENUM:
		return set_enum(prop, object, value, errp);
	case PROPERTY_LINK:
		return set_link(prop, object, value, scope, errp);
	default:
		return set_number(prop, object, value, errp);
	}
}

void property_defaults(const struct property *table, void *object)
{
	for (; table->name; table++) {
		if (!is_stored(table))
			continue;
		if (table->type == PROPERTY_STRING)
			string_store(table, object, table->def_str);
		else if (table->type == PROPERTY_LINK)
			*(void **)field(table, object) = NULL;
		else
			number_store(table, object, table->def);
	}
}

void property_release(const struct property *table, void *object)
{
	for (; table->name; table++) {
		if (is_owned_string(table))
			string_store(table, object, NULL);
	}
}

const struct property *property_find(const struct property *table, const char *name)
{
	for (; table->name; table++) {
		if (strcmp(table->name, name) == 0)
			return table;
	}
	return NULL;
}

static bool is_listed(const char *const *names, const char *name)
{
	for (; names && *names; names++) {
		if (strcmp(*names, name) == 0)
			return true;
	}
	return false;
}

static int unknown_property(const struct property *table, const char *const *skip, const char *key,
			    struct error **errp)
{
	size_t count = 0, n = 0;
	const char **names, *nearest;

	while (table[count].name)
		count++;
	for (const char *const *p = skip; p && *p; p++)
		n++;
	names = xcalloc(count + n + 1, sizeof(*names));
	for (n = 0; n < count; n++)
		names[n] = table[n].name;
	for (; skip && *skip; skip++)
		names[n++] = *skip;
	nearest = nearest_name(key, names);
	free(names);
	if (nearest)
		return error_set(errp, -EINVAL, "unknown property '%s'; did you mean '%s'?", key,
				 nearest);
	return error_set(errp, -EINVAL, "unknown property '%s'", key);
}

static int apply_all(const struct property *table, void *object, const struct opts *opts,
		     const char *const *skip, const struct link_scope *scope, struct error **errp)
{
	const struct property *prop;
	struct opt *opt;
	int ret;

	list_for_each(opt, &opts->pairs, node) {
		if (is_listed(skip, opt->key))
			continue;
		prop = property_find(table, opt->key);
		if (!prop)
			return unknown_property(table, skip, opt->key, errp);
		ret = property_set(prop, object, opt->value, scope, errp);
		if (ret)
			return ret;
	}
	for (prop = table; prop->name; prop++) {
		if ((prop->flags & PROPERTY_REQUIRED) && !is_listed(skip, prop->name) &&
		    !opts_get(opts, prop->name))
			return error_set(errp, -EINVAL, "'%s' is required", prop->name);
	}
	return 0;
}

int property_apply(const struct property *table, void *object, const struct opts *opts,
		   const char *const *skip, const struct link_scope *scope, struct error **errp)
{
	char *name;
	int ret;

	property_defaults(table, object);
	ret = apply_all(table, object, opts, skip, scope, errp);
	if (!ret)
		return 0;
	name = opts_describe(opts);
	error_prefix(errp, "%s: ", name);
	free(name);
	property_release(table, object);
	return ret;
}

/* --- Showing --- */

char *property_get(const struct property *prop, const void *object)
{
	const char *text;
	uint64_t value;
	char size[24];

	if (prop->type == PROPERTY_LINK || !is_stored(prop))
		return NULL;
	if (prop->type == PROPERTY_STRING) {
		text = *(char *const *)((const char *)object + prop->offset);
		return text ? xstrdup(text) : NULL;
	}
	value = number_get(prop, object);
	if (prop->type == PROPERTY_BOOL)
		return xstrdup(value ? "on" : "off");
	if (prop->type == PROPERTY_ENUM)
		return xstrdup(prop->choices[value]);
	if (prop->type != PROPERTY_SIZE)
		return xasprintf("%" PRIu64, value);
	format_size(value, size);
	/* Bytes that no suffix divides: say so where a bare number counts something larger. */
	return xasprintf("%s%s", size, value % 1024 && prop->unit > 1 ? "B" : "");
}

/* "num-queues=<uint16>" */
static char *help_left(const struct property *prop)
{
	static const char *const types[] = {
		[PROPERTY_STRING] = "string", [PROPERTY_BOOL] = "on|off",
		[PROPERTY_UINT8] = "uint8",   [PROPERTY_UINT16] = "uint16",
		[PROPERTY_UINT32] = "uint32", [PROPERTY_UINT64] = "uint64",
		[PROPERTY_SIZE] = "size",
	};
	char *words, *left;

	if (prop->type == PROPERTY_LINK)
		return xasprintf("%s=<%s id>", prop->name, prop->choices[0]);
	if (prop->type != PROPERTY_ENUM)
		return xasprintf("%s=<%s>", prop->name, types[prop->type]);
	words = join_choices(prop, "|");
	left = xasprintf("%s=<%s>", prop->name, words);
	free(words);
	return left;
}

static bool has_range(const struct property *prop)
{
	switch (prop->type) {
	case PROPERTY_UINT8:
	case PROPERTY_UINT16:
	case PROPERTY_UINT32:
		return true;
	case PROPERTY_UINT64:
	case PROPERTY_SIZE:
		return prop->min || prop->max != UINT64_MAX;
	default:
		return false;
	}
}

static void help_right(const struct property *prop, FILE *out)
{
	char text[56];

	fprintf(out, "%s", prop->help ? prop->help : "");
	if (prop->flags & PROPERTY_IGNORED)
		return;
	if (has_range(prop))
		fprintf(out, " %s", format_range(prop, text));
	if (prop->flags & PROPERTY_POW2)
		fprintf(out, ", a power of two");
	if (prop->type == PROPERTY_STRING && prop->max)
		fprintf(out, ", at most %" PRIu64 " bytes", prop->max);
	if (prop->flags & PROPERTY_REQUIRED) {
		fprintf(out, ", required");
		return;
	}
	switch (prop->type) {
	case PROPERTY_STRING:
		if (prop->def_str)
			fprintf(out, ", default %s", prop->def_str);
		break;
	case PROPERTY_LINK:
		break;
	case PROPERTY_BOOL:
		fprintf(out, ", default %s", prop->def ? "on" : "off");
		break;
	case PROPERTY_ENUM:
		if (*prop->choices[prop->def])
			fprintf(out, ", default %s", prop->choices[prop->def]);
		break;
	case PROPERTY_SIZE:
		fprintf(out, ", default %s", format_size(prop->def, text));
		break;
	default:
		/* Outside of the range it stands for "worked out", which the help text explains. */
		if (prop->def >= prop->min && prop->def <= prop->max)
			fprintf(out, ", default %" PRIu64, prop->def);
		break;
	}
}

#define HELP_COLUMN_MAX 36

void property_help(const struct property *table, FILE *out)
{
	const struct property *prop;
	size_t width = 0;
	char *left;

	for (prop = table; prop->name; prop++) {
		left = help_left(prop);
		if (strlen(left) <= HELP_COLUMN_MAX)
			width = MAX(width, strlen(left));
		free(left);
	}
	for (prop = table; prop->name; prop++) {
		left = help_left(prop);
		fprintf(out, "  %-*s  ", (int)width, left);
		help_right(prop, out);
		fputc('\n', out);
		free(left);
	}
}
