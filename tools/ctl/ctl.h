/* SPDX-License-Identifier: Apache-2.0 */
/* stratovirt-ctl: a QMP client for people and scripts. One thread. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdio.h>

#include "util/error.h"

struct json_object;

/* --- connection.c: a monitor's socket, message by message --- */

struct connection;

/*
 * Connects to "PATH", "unix:PATH" or "tcp:HOST:PORT", waits for the greeting and negotiates.
 * @timeout_ms bounds all of it, and again each command; 0: no limit.
 */
int __must_check connection_open(const char *address, unsigned int timeout_ms,
				 struct connection **ret, struct error **errp);
void connection_close(struct connection *connection); /* NULL allowed */

/*
 * Runs a command with @arguments, which may be NULL and stays the caller's. Events that come
 * meanwhile are dropped. *@ret is what it returned, the caller's. -EREMOTEIO: the monitor refused,
 * the text is "CLASS: description".
 */
int __must_check connection_execute(struct connection *connection, const char *command,
				    struct json_object *arguments, struct json_object **ret,
				    struct error **errp);

/*
 * The next event; *@ret is the caller's. 1: there is one, 0: the monitor ended the connection,
 * -ETIMEDOUT: none came until
 * @deadline_ns (of clock_now_ns(); 0: no limit).
 */
int __must_check connection_next_event(struct connection *connection, int64_t deadline_ns,
				       struct json_object **ret, struct error **errp);

/* --- arguments.c: words of the command line to JSON --- */

/*
 * "key=value" words and JSON objects, laid together: true, false, null and integers are what they
 * look like, a value that begins with '{', '[' or '"' is JSON, the rest are strings. "a.b=c" is
 * {"a": {"b": "c"}}. NULL for no words.
 */
int __must_check arguments_parse(char **words, struct json_object **ret, struct error **errp);

/* --- print.c: JSON for people --- */

/* Tables for lists of flat objects, aligned members for objects, text as it is; nothing for {}. */
void print_value(struct json_object *value, FILE *out);

/* Text of others on a terminal: control characters are escaped, but for line ends and tabs with
 * @lines. */
void print_text(const char *text, bool lines, FILE *out);

/* One line: time, name and data. */
void print_event(struct json_object *event, FILE *out);

#endif
