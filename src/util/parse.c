// SPDX-License-Identifier: Apache-2.0
#include "util/parse.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Reads digits from *@text and moves it behind them. Not strtoull(): it takes blanks, signs and
 * octal. */
static int parse_digits(const char **text, uint64_t *out)
{
	const char *p = *text;
	unsigned int base = 10;
	bool overflow = false;
	uint64_t value = 0;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	if (digit_value(*p) >= (int)base)
		return -EINVAL;
	for (; digit_value(*p) < (int)base; p++) {
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit_value(*p), &value))
			overflow = true;
	}
	*text = p;
	*out = value;
	return overflow ? -ERANGE : 0;
}

int parse_u64(const char *text, uint64_t *out)
{
	uint64_t value;
	int ret = parse_digits(&text, &value);

	if (ret == -EINVAL || *text)
		return -EINVAL;
	if (ret)
		return ret;
	*out = value;
	return 0;
}

int parse_s64(const char *text, int64_t *out)
{
	bool negative = *text == '-';
	uint64_t value;
	int ret;

	ret = parse_u64(text + negative, &value);
	if (ret)
		return ret;
	if (value > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*out = negative ? (int64_t)(0 - value) : (int64_t)value;
	return 0;
}

int parse_size(const char *text, uint64_t unit, uint64_t *out)
{
	uint64_t value;
	int ret;

	ret = parse_digits(&text, &value);
	if (ret == -EINVAL)
		return ret;
	switch (toupper((unsigned char)*text)) {
	case '\0':
		break;
	case 'B':
		unit = 1;
		text++;
		break;
	case 'K':
		unit = KIB;
		text++;
		break;
	case 'M':
		unit = MIB;
		text++;
		break;
	case 'G':
		unit = GIB;
		text++;
		break;
	case 'T':
		unit = TIB;
		text++;
		break;
	default:
		return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	if (ret || __builtin_mul_overflow(value, unit, &value))
		return -ERANGE;
	*out = value;
	return 0;
}

int parse_bool(const char *text, bool *out)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {
		{ "on", true },	 { "off", false }, { "true", true }, { "false", false },
		{ "yes", true }, { "no", false },  { "y", true },    { "n", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i].word) == 0) {
			*out = words[i].value;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_cpu_range(char *range, cpu_set_t *out)
{
	char *dash = strchr(range, '-');
	uint64_t first, last;
	int ret;

	if (dash)
		*dash = '\0';
	ret = parse_u64(range, &first);
	last = first;
	if (!ret && dash)
		ret = parse_u64(dash + 1, &last);
	if (ret)
		return ret;
	if (last >= CPU_SETSIZE)
		return -ERANGE;
	if (first > last)
		return -EINVAL;
	for (uint64_t cpu = first; cpu <= last; cpu++)
		CPU_SET(cpu, out);
	return 0;
}

int parse_cpus(const char *text, cpu_set_t *out)
{
	char *copy = strdup(text), *rest = copy, *range;
	cpu_set_t cpus;
	int ret = copy ? 0 : -ENOMEM;

	CPU_ZERO(&cpus);
	while (!ret && (range = strsep(&rest, ":")))
		ret = parse_cpu_range(range, &cpus);
	free(copy);
	if (!ret)
		*out = cpus;
	return ret;
}

/* Not isalnum(): it asks the locale. */
static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_wellformed(const char *id)
{
	if (!is_alnum(*id))
		return false;
	while (is_alnum(*id) || *id == '-' || *id == '.' || *id == '_')
		id++;
	return !*id;
}

int id_check(const char *id, struct error **errp)
{
	if (!id || !*id || strlen(id) > ID_MAX)
		return error_set(errp, -EINVAL, "an id of 1 to %d characters is required", ID_MAX);
	if (!is_wellformed(id))
		return error_set(errp, -EINVAL, "id '%s': ids are of letters, digits, '-', '.' and '_', and begin with one of the former two",
				 id);
	return 0;
}

int parse_uuid(const char *text, uint8_t out[16])
{
	uint8_t bytes[16];
	size_t n = 0;

	for (size_t i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return -EINVAL;
			continue;
		}
		/* The first bad digit may be the end of the text: look no further than it. */
		if (digit_value(text[i]) > 15 || digit_value(text[i + 1]) > 15)
			return -EINVAL;
		bytes[n++] = (uint8_t)(digit_value(text[i]) << 4 | digit_value(text[i + 1]));
		i++;
	}
	if (text[36])
		return -EINVAL;
	memcpy(out, bytes, sizeof(bytes));
	return 0;
}

const char *format_size(uint64_t size, char buf[24])
{
	static const char suffix[] = "KMGT";
	unsigned int unit = 0;

	while (size && unit < 4 && size % 1024 == 0) {
		size /= 1024;
		unit++;
	}
	if (unit)
		snprintf(buf, 24, "%" PRIu64 "%c", size, suffix[unit - 1]);
	else
		snprintf(buf, 24, "%" PRIu64, size);
	return buf;
}

#define NAME_MAX_COMPARED 48

/*
 * Edits (insert, delete, replace, swap of neighbours) that turn @a into @b: Damerau-Levenshtein in
 * its "optimal string alignment" form, which is what a typing mistake looks like.
 */
static unsigned int edit_distance(const char *a, size_t alen, const char *b, size_t blen)
{
	unsigned int row[3][NAME_MAX_COMPARED + 1];
	unsigned int *before = row[0], *last = row[1], *now = row[2];

	for (size_t j = 0; j <= blen; j++)
		last[j] = (unsigned int)j;
	for (size_t i = 1; i <= alen; i++) {
		unsigned int *spare = before;

		now[0] = (unsigned int)i;
		for (size_t j = 1; j <= blen; j++) {
			unsigned int cost = last[j - 1] + (a[i - 1] != b[j - 1]);

			cost = MIN(cost, MIN(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				cost = MIN(cost, before[j - 2] + 1);
			now[j] = cost;
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[blen];
}

const char *nearest_name(const char *word, const char *const *names)
{
	size_t len = strlen(word);
	const char *best = NULL;
	unsigned int best_distance;

	if (len < 2 || len > NAME_MAX_COMPARED)
		return NULL;
	/* One mistake in three letters is still the same word; more is a guess that misleads. */
	best_distance = (unsigned int)MIN(MAX(len / 3, (size_t)1), (size_t)4) + 1;
	for (; *names; names++) {
		size_t name_len = strlen(*names);
		unsigned int distance;

		if (name_len > NAME_MAX_COMPARED)
			continue;
		distance = edit_distance(word, len, *names, name_len);
		if (distance < best_distance) {
			best = *names;
			best_distance = distance;
		}
	}
	return best;
}
