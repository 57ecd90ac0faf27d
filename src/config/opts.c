// SPDX-License-Identifier: Apache-2.0
#include "config/opts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opts_private.h"
#include "util/alloc.h"

/* More than any option has keys; keeps the quadratic search for repeated keys cheap. */
#define OPTS_MAX 256

static struct opt *opts_find(const struct opts *opts, const char *key)
{
	struct opt *opt;

	list_for_each(opt, &opts->pairs, node) {
		if (strcmp(opt->key, key) == 0)
			return opt;
	}
	return NULL;
}

static void opt_free(struct opt *opt)
{
	list_del(&opt->node);
	free(opt->key);
	free(opt->value);
	free(opt);
}

struct opts *opts_new(const char *origin)
{
	struct opts *opts = xcalloc(1, sizeof(*opts));

	list_init(&opts->node);
	list_init(&opts->pairs);
	opts->origin = xstrdup(origin);
	return opts;
}

void opts_free(struct opts *opts)
{
	struct opt *opt, *next;

	if (!opts)
		return;
	list_for_each_safe(opt, next, &opts->pairs, node)
		opt_free(opt);
	list_del(&opts->node);
	free(opts->origin);
	free(opts);
}

struct opt *opts_append(struct opts *opts, char *key, char *value)
{
	struct opt *opt = xcalloc(1, sizeof(*opt));

	opt->key = key;
	opt->value = value;
	list_add_tail(&opts->pairs, &opt->node);
	return opt;
}

struct opts *opts_clone(const struct opts *opts)
{
	struct opts *copy = opts_new(opts->origin);
	struct opt *opt, *made;

	list_for_each(opt, &opts->pairs, node) {
		made = opts_append(copy, xstrdup(opt->key), xstrdup(opt->value));
		made->flag = opt->flag;
		made->implied = opt->implied;
	}
	return copy;
}

/*
 * One word up to a single ',' or the end, with ",," turned into ','. Moves *@text to the comma or
 * the end. With @key the word also ends at '='.
 */
static char *take_word(const char **text, bool key)
{
	const char *p = *text;
	char *word = xcalloc(1, strlen(p) + 1);
	size_t len = 0;

	for (; *p; p++) {
		if (key && *p == '=')
			break;
		if (*p == ',') {
			if (p[1] != ',')
				break;
			p++;
		}
		word[len++] = *p;
	}
	*text = p;
	return word;
}

int opts_check_keys(const struct opts *opts, struct error **errp)
{
	size_t count = 0;
	struct opt *opt;
	char *name;
	int ret = 0;

	list_for_each(opt, &opts->pairs, node) {
		if (++count > OPTS_MAX)
			ret = error_set(errp, -E2BIG, "more than %d keys", OPTS_MAX);
		else if (!*opt->key)
			ret = error_set(errp, -EINVAL, "'=%s' has no key before it", opt->value);
		else if (opts_find(opts, opt->key) != opt)
			ret = error_set(errp, -EINVAL, "'%s' is given twice", opt->key);
		if (!ret)
			continue;
		name = opts_describe(opts);
		error_prefix(errp, "%s: ", name);
		free(name);
		return ret;
	}
	return 0;
}

int opts_parse(const char *origin, const char *text, const char *implied, struct opts **ret,
	       struct error **errp)
{
	struct opts *opts = opts_new(origin);
	const char *p = text;
	struct opt *opt;
	int err = 0;

	while (*p) {
		char *key = take_word(&p, true);

		if (*p == '=') {
			p++;
			opts_append(opts, key, take_word(&p, false));
		} else if (!*key) {
			free(key);
			err = error_set(errp, -EINVAL, "%s %s: a word is missing beside a comma",
					origin, text);
			goto fail;
		} else if (implied && list_empty(&opts->pairs)) {
			opt = opts_append(opts, xstrdup(implied), key);
			opt->implied = true;
		} else {
			opt = opts_append(opts, key, xstrdup("on"));
			opt->flag = true;
		}
		if (*p == ',' && !*++p) {
			err = error_set(errp, -EINVAL, "%s %s: a word is missing beside a comma",
					origin, text);
			goto fail;
		}
	}
	err = opts_check_keys(opts, errp);
	if (err)
		goto fail;
	*ret = opts;
	return 0;

fail:
	opts_free(opts);
	return err;
}

const char *opts_get(const struct opts *opts, const char *key)
{
	struct opt *opt = opts_find(opts, key);

	return opt ? opt->value : NULL;
}

void opts_set(struct opts *opts, const char *key, const char *value)
{
	struct opt *opt = opts_find(opts, key);
	char *copy = xstrdup(value); /* @value may be the old one */

	if (!opt) {
		opts_append(opts, xstrdup(key), copy);
		return;
	}
	free(opt->value);
	opt->value = copy;
	opt->flag = false;
}

char *opts_take(struct opts *opts, const char *key)
{
	struct opt *opt = opts_find(opts, key);
	char *value;

	if (!opt)
		return NULL;
	value = opt->value;
	opt->value = NULL;
	opt_free(opt);
	return value;
}

bool opts_del(struct opts *opts, const char *key)
{
	struct opt *opt = opts_find(opts, key);

	if (opt)
		opt_free(opt);
	return opt != NULL;
}

/* What the option makes, whatever the front end: the implied word, or the key that has its place in
 * JSON. */
static const char *opts_kind(const struct opts *opts)
{
	static const char *const keys[] = { "driver", "qom-type", "backend", "type", "model" };
	struct opt *opt = list_empty(&opts->pairs)
				  ? NULL
				  : list_entry(list_first(&opts->pairs), struct opt, node);

	if (opt && opt->implied)
		return opt->value;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		opt = opts_find(opts, keys[i]);
		if (opt)
			return opt->value;
	}
	return NULL;
}

char *opts_describe(const struct opts *opts)
{
	const char *kind = opts_kind(opts), *id = opts_get(opts, "id");
	struct opt *first;

	if (kind && id)
		return xasprintf("%s %s,id=%s", opts->origin, kind, id);
	if (kind)
		return xasprintf("%s %s", opts->origin, kind);
	if (id)
		return xasprintf("%s id=%s", opts->origin, id);
	if (list_empty(&opts->pairs))
		return xstrdup(opts->origin);
	/* Nothing names it: its first pair tells best which of several is meant. */
	first = list_entry(list_first(&opts->pairs), struct opt, node);
	return xasprintf("%s %s=%s", opts->origin, first->key, first->value);
}

static char *escape_to(char *out, const char *text)
{
	for (; *text; text++) {
		if (*text == ',')
			*out++ = ',';
		*out++ = *text;
	}
	return out;
}

char *opts_to_string(const struct opts *opts)
{
	size_t size = 1;
	struct opt *opt;
	char *text, *p;

	list_for_each(opt, &opts->pairs, node)
		size += 2 * (strlen(opt->key) + strlen(opt->value)) + 2;
	text = p = xcalloc(1, size);
	list_for_each(opt, &opts->pairs, node) {
		if (p != text)
			*p++ = ',';
		p = escape_to(p, opt->key);
		if (opt->flag)
			continue;
		*p++ = '=';
		p = escape_to(p, opt->value);
	}
	*p = '\0';
	return text;
}
