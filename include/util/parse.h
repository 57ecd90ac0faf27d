/* SPDX-License-Identifier: Apache-2.0 */
/* Text to numbers. The whole string must be consumed; nothing is stored on failure. Any thread. */
#ifndef UTIL_PARSE_H
#define UTIL_PARSE_H

#include <sched.h>

#include "util/error.h"
#include "util/macros.h"

/* Decimal, or hexadecimal with 0x. No sign, no blanks. -EINVAL not a number, -ERANGE too large. */
int __must_check parse_u64(const char *text, uint64_t *out);
int __must_check parse_s64(const char *text, int64_t *out);

/*
 * A size: number with optional fraction-free suffix B, K, M, G, T (either case; "KiB", "MB" not accepted).
 * Without a suffix the number is multiplied by @unit (1 or MIB).
 */
int __must_check parse_size(const char *text, uint64_t unit, uint64_t *out);

/* on/off, true/false, yes/no (any of StratoVirt's and QEMU's words). */
int __must_check parse_bool(const char *text, bool *out);

/* Host CPUs: numbers and ranges with ':' between them, "0-3:8". At least one. -EINVAL, -ERANGE. */
int __must_check parse_cpus(const char *text, cpu_set_t *out);

/* A UUID in 8-4-4-4-12 form to 16 bytes in text order. */
int __must_check parse_uuid(const char *text, uint8_t out[16]);

/*
 * What names an object of the VM, a letter or digit, then letters, digits, '-', '.' and '_', at most ID_MAX in all, so that an id
 * needs no escapes in options and is one step of an object's path. -EINVAL; NULL is no id.
 */
#define ID_MAX 255
int __must_check id_check(const char *id, struct error **errp);

/* "12.5 MiB"-free exact rendering: "256M", "3G", "1000" - the largest unit that divides. Returns @buf. */
const char *format_size(uint64_t size, char buf[24]);

/* The entry of the NULL-terminated @names nearest to @word by edit distance, or NULL when none is near. */
const char *nearest_name(const char *word, const char *const *names);

#endif
