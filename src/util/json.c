// SPDX-License-Identifier: Apache-2.0
#include "util/json.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 512 /* characters */

struct parser {
	const char *start, *p, *end;
	unsigned int depth;
	struct json_place *place; /* NULL: the position goes into the error's text */
	struct error **errp;
};

static int parse_value(struct parser *ps, struct json_object **ret);

static int __printf(2, 3) fail(struct parser *ps, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (ps->place) {
		ps->place->offset = (size_t)(ps->p - ps->start);
		ps->place->path[0] = '\0';
		return error_set(ps->errp, -EINVAL, "%s", text);
	}
	return error_set(ps->errp, -EINVAL, "character %zu: %s", (size_t)(ps->p - ps->start) + 1,
			 text);
}

/* Called from the inside out, once the error is known: puts one step before the path. */
static void __printf(2, 3) place_inside(struct parser *ps, const char *fmt, ...)
{
	char step[sizeof(ps->place->path)], *path;
	size_t len, room;
	va_list ap;

	if (!ps->place)
		return;
	va_start(ap, fmt);
	vsnprintf(step, sizeof(step), fmt, ap);
	va_end(ap);
	for (char *p = step; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	path = ps->place->path;
	len = strlen(step);
	if (*path && *path != '[' && len < sizeof(step) - 1)
		step[len++] = '.';
	room = sizeof(ps->place->path) - 1 - len;
	memmove(path + len, path, MIN(strlen(path), room) + 1);
	path[sizeof(ps->place->path) - 1] = '\0';
	memcpy(path, step, len);
}

static int no_memory(struct parser *ps)
{
	return error_set(ps->errp, -ENOMEM, "out of memory");
}

static void skip_blanks(struct parser *ps)
{
	while (ps->p < ps->end && strchr(" \t\r\n", *ps->p) && *ps->p)
		ps->p++;
}

/* --- UTF-8 (RFC 3629) --- */

size_t json_utf8_len(const char *text, size_t len)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t want;

	if (!len)
		return 0;
	if (c[0] < 0x80)
		return 1;
	want = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
	if (c[0] < 0xc2 || c[0] > 0xf4 || want > len)
		return 0;
	for (size_t i = 1; i < want; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	}
	/* overlong forms, surrogates, beyond U+10FFFF */
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
	    (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;
	return want;
}

void json_utf8_repair(char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = json_utf8_len(text + i, len - i);

		if (!n)
			text[i] = '?';
		i += n ? n : 1;
	}
}

static char *put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
	} else if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
		*to++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	}
	return to;
}

/* --- strings --- */

/* Four hexadecimal digits at ps->p. */
static int parse_hex4(struct parser *ps, uint32_t *value)
{
	*value = 0;
	for (int i = 0; i < 4; i++, ps->p++) {
		char c = ps->p < ps->end ? *ps->p : '\0';

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			*value = *value << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return fail(ps, "four hexadecimal digits belong behind \\u");
	}
	return 0;
}

static int parse_unicode(struct parser *ps, char **to)
{
	uint32_t c, low;
	int ret = parse_hex4(ps, &c);

	if (ret)
		return ret;
	if (c >= 0xd800 && c <= 0xdbff && ps->end - ps->p >= 2 && ps->p[0] == '\\' &&
	    ps->p[1] == 'u') {
		ps->p += 2;
		ret = parse_hex4(ps, &low);
		if (ret)
			return ret;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(ps, "a surrogate without its other half");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	} else if (c >= 0xd800 && c <= 0xdfff) {
		return fail(ps, "a surrogate without its other half");
	}
	if (!c)
		return fail(ps, "a NUL character in a string");
	*to = put_utf8(*to, c);
	return 0;
}

static int parse_escape(struct parser *ps, char **to)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	char c = ps->p < ps->end ? *ps->p : '\0';
	const char *found = c ? strchr(from, c) : NULL;

	if (c == 'u') {
		ps->p++;
		return parse_unicode(ps, to);
	}
	if (!found)
		return fail(ps, "not an escape sequence of a string");
	ps->p++;
	*(*to)++ = into[found - from];
	return 0;
}

/* ps->p is behind the opening quote. *@ret: what is inside, NUL-terminated; caller frees. */
static int parse_string(struct parser *ps, char **ret, size_t *len)
{
	const char *close = ps->p;
	char *text, *to;
	int err = 0;

	/* Decoding never makes it longer. */
	while (close < ps->end && *close != '"')
		close += *close == '\\' ? 2 : 1;
	if (close >= ps->end)
		return fail(ps, "a string without its end");
	text = to = malloc((size_t)(close - ps->p) + 1);
	if (!text)
		return no_memory(ps);
	while (!err && *ps->p != '"') {
		size_t n = json_utf8_len(ps->p, (size_t)(ps->end - ps->p));

		if (*ps->p == '\\') {
			ps->p++;
			err = parse_escape(ps, &to);
		} else if ((unsigned char)*ps->p < 0x20) {
			err = fail(ps, "a control character in a string");
		} else if (!n) {
			err = fail(ps, "invalid UTF-8");
		} else {
			memcpy(to, ps->p, n);
			to += n;
			ps->p += n;
		}
	}
	if (err) {
		free(text);
		return err;
	}
	ps->p++;
	*to = '\0';
	*len = (size_t)(to - text);
	*ret = text;
	return 0;
}

/* --- numbers and words --- */

static const char *skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* The end of the number that begins at @p, or NULL. *@integer: without fraction and exponent. */
static const char *number_end(const char *p, const char *end, bool *integer)
{
	const char *digits;

	*integer = true;
	if (p < end && *p == '-')
		p++;
	digits = p;
	p = skip_digits(p, end);
	if (p == digits || (*digits == '0' && p - digits > 1))
		return NULL;
	if (p < end && *p == '.') {
		*integer = false;
		digits = ++p;
		p = skip_digits(p, end);
		if (p == digits)
			return NULL;
	}
	if (p < end && (*p | 0x20) == 'e') {
		*integer = false;
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = skip_digits(p, end);
		if (p == digits)
			return NULL;
	}
	return p;
}

static int parse_number(struct parser *ps, struct json_object **ret)
{
	char text[NUMBER_MAX + 1];
	const char *end;
	bool integer;
	size_t len;
	double real;

	end = number_end(ps->p, ps->end, &integer);
	if (!end)
		return fail(ps, "not a number");
	len = (size_t)(end - ps->p);
	if (len > NUMBER_MAX)
		return fail(ps, "a number of %zu characters, at most %d are possible", len,
			    NUMBER_MAX);
	memcpy(text, ps->p, len);
	text[len] = '\0';

	errno = 0;
	if (integer) {
		long long number = strtoll(text, NULL, 10);

		if (!errno) {
			*ret = json_object_new_int64(number);
			goto made;
		}
		errno = 0;
		if (*text != '-') {
			unsigned long long big = strtoull(text, NULL, 10);

			if (!errno) {
				*ret = json_object_new_uint64(big);
				goto made;
			}
		}
	}
	real = strtod(text, NULL);
	if (!isfinite(real))
		return fail(ps, "a number that is too large");
	*ret = json_object_new_double_s(real, text);
made:
	ps->p = end;
	return *ret ? 0 : no_memory(ps);
}

static int parse_word(struct parser *ps, struct json_object **ret)
{
	static const char *const words[] = { "null", "true", "false" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(ps->end - ps->p) < len || memcmp(ps->p, words[i], len))
			continue;
		ps->p += len;
		*ret = i ? json_object_new_boolean(i == 1) : NULL;
		return i && !*ret ? no_memory(ps) : 0;
	}
	if (ps->p == ps->end)
		return fail(ps, "a value is missing");
	return fail(ps, "a value cannot begin with this character");
}

/* --- lists and objects --- */

static int parse_list(struct parser *ps, struct json_object *list)
{
	struct json_object *value;
	int ret;

	skip_blanks(ps);
	if (ps->p < ps->end && *ps->p == ']') {
		ps->p++;
		return 0;
	}
	for (;;) {
		ret = parse_value(ps, &value);
		if (ret) {
			place_inside(ps, "[%zu]", json_object_array_length(list));
			return ret;
		}
		if (json_object_array_add(list, value)) {
			json_object_put(value);
			return no_memory(ps);
		}
		skip_blanks(ps);
		if (ps->p == ps->end || (*ps->p != ',' && *ps->p != ']'))
			return fail(ps, "',' or ']' is missing in a list");
		if (*ps->p++ == ']')
			return 0;
	}
}

/* One "key": value. */
static int parse_member(struct parser *ps, struct json_object *object)
{
	struct json_object *value;
	size_t len;
	char *key;
	int ret;

	skip_blanks(ps);
	if (ps->p == ps->end || *ps->p != '"')
		return fail(ps, "the key of an object must be a string");
	ps->p++;
	ret = parse_string(ps, &key, &len);
	if (ret)
		return ret;
	if (json_object_object_get_ex(object, key, NULL)) {
		ret = fail(ps, "the key '%.40s' is given twice", key);
		goto out;
	}
	skip_blanks(ps);
	if (ps->p == ps->end || *ps->p != ':') {
		ret = fail(ps, "':' is missing behind a key");
		goto out;
	}
	ps->p++;
	ret = parse_value(ps, &value);
	if (!ret && json_object_object_add(object, key, value)) {
		json_object_put(value);
		ret = no_memory(ps);
	}
out:
	if (ret)
		place_inside(ps, "%s", key);
	free(key);
	return ret;
}

static int parse_object(struct parser *ps, struct json_object *object)
{
	int ret;

	skip_blanks(ps);
	if (ps->p < ps->end && *ps->p == '}') {
		ps->p++;
		return 0;
	}
	for (;;) {
		ret = parse_member(ps, object);
		if (ret)
			return ret;
		skip_blanks(ps);
		if (ps->p == ps->end || (*ps->p != ',' && *ps->p != '}'))
			return fail(ps, "',' or '}' is missing in an object");
		if (*ps->p++ == '}')
			return 0;
	}
}

static int parse_nested(struct parser *ps, struct json_object **ret)
{
	bool list = *ps->p == '[';
	struct json_object *made;
	int err;

	if (ps->depth == JSON_DEPTH_MAX)
		return fail(ps, "nested deeper than %d", JSON_DEPTH_MAX);
	made = list ? json_object_new_array() : json_object_new_object();
	if (!made)
		return no_memory(ps);
	ps->p++;
	ps->depth++;
	err = list ? parse_list(ps, made) : parse_object(ps, made);
	ps->depth--;
	if (err) {
		json_object_put(made);
		return err;
	}
	*ret = made;
	return 0;
}

static int parse_value(struct parser *ps, struct json_object **ret)
{
	size_t len;
	char *text;
	int err;

	skip_blanks(ps);
	switch (ps->p < ps->end ? *ps->p : '\0') {
	case '{':
	case '[':
		return parse_nested(ps, ret);
	case '"':
		ps->p++;
		err = parse_string(ps, &text, &len);
		if (err)
			return err;
		*ret = json_object_new_string_len(text, (int)len);
		free(text);
		return *ret ? 0 : no_memory(ps);
	case '-':
	case '0' ... '9':
		return parse_number(ps, ret);
	default:
		return parse_word(ps, ret);
	}
}

int json_text_parse_place(const char *text, size_t len, struct json_object **ret,
			  struct json_place *place, struct error **errp)
{
	struct parser ps = {
		.start = text, .p = text, .end = text + len, .place = place, .errp = errp
	};
	struct json_object *value;
	int err;

	if (len > INT32_MAX)
		return error_set(errp, -E2BIG, "more than 2 GiB");
	err = parse_value(&ps, &value);
	if (err)
		return err;
	skip_blanks(&ps);
	if (ps.p != ps.end) {
		err = fail(&ps, "something follows the value");
		json_object_put(value);
		return err;
	}
	*ret = value;
	return 0;
}

int json_text_parse(const char *text, size_t len, struct json_object **ret, struct error **errp)
{
	return json_text_parse_place(text, len, ret, NULL, errp);
}
