/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that a person will read.
 *
 * A function that can fail for a reason worth telling takes a last parameter
 * "struct error **errp" and returns -errno. On failure it stores one error there,
 * unless errp is NULL. On success *errp is untouched. Out-parameters stay untouched
 * on failure. The caller owns the error and frees it (error_report() does that too).
 * The text says what, which object, why, and what would be right; it has no trailing
 * newline or full stop. Any thread.
 */
#ifndef UTIL_ERROR_H
#define UTIL_ERROR_H

#include "util/macros.h"

struct error;

/* Stores a new error; returns @code (a negative errno), so that "return error_set(…)" works. */
int error_set(struct error **errp, int code, const char *fmt, ...) __printf(3, 4);

/* As error_set(), with ": strerror(-code)" behind the text. */
int error_set_errno(struct error **errp, int code, const char *fmt, ...) __printf(3, 4);

/* Puts text before the stored error, if there is one: "-device foo: " + what was said. */
void error_prefix(struct error **errp, const char *fmt, ...) __printf(2, 3);

const char *error_text(const struct error *err);

/* The negative errno the error was made with. */
int error_code(const struct error *err);

void error_free(struct error *err);

/* Prints "stratovirt: <text>" to stderr, logs it at error level, and frees it. */
void error_report(struct error *err);

#endif
