/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict JSON (RFC 8259) into json-c objects. json-c's own parser takes single quotes, NaN, numbers
 * out of range and keys given twice, even when told to be strict; what comes from a peer goes
 * through here. Any thread.
 */
#ifndef UTIL_JSON_H
#define UTIL_JSON_H

#include "util/error.h"

struct json_object;

#define JSON_DEPTH_MAX 64 /* nested objects and lists */

/*
 * Parses exactly one value. Refused, with the position: anything RFC 8259 does not allow, nesting
 * deeper than JSON_DEPTH_MAX, invalid UTF-8, lone surrogates, NUL characters, keys given twice in
 * one object, numbers beyond a double. Integers that fit neither int64 nor uint64 become doubles.
 * JSON's null is a NULL object.
 */
int __must_check json_text_parse(const char *text, size_t len, struct json_object **ret,
				 struct error **errp);

/* Where a text is wrong. */
struct json_place {
	size_t offset;  /* in bytes, from 0 */
	char path[256]; /* of the innermost value: "drive[0].file", "" for the whole; what does not fit is cut off */
};

/* The same; the error's text is without the position, which is in *@place on -EINVAL (otherwise
 * untouched). */
int __must_check json_text_parse_place(const char *text, size_t len, struct json_object **ret,
				       struct json_place *place, struct error **errp);

/* The length in bytes of the UTF-8 character at @text, 0 when it is not valid or longer than @len.
 */
size_t json_utf8_len(const char *text, size_t len);

/* Replaces what is not valid UTF-8 (a file name of the command line can be anything) by '?'. */
void json_utf8_repair(char *text, size_t len);

#endif
