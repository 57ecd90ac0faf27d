/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log. A source file defines LOG_MODULE (its room's name) before including this header.
 * Lines read "2026-01-31T12:00:00.123456789:INFO: module: text". Default destination: stderr, or the
 * file given to log_open(); default level info, overridden by STRATOVIRT_LOG_LEVEL
 * (error, warn, info, debug, trace). Any thread; one write(2) a line.
 *
 * Anything a guest can provoke goes through log_warn_limited().
 */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

#include <stdatomic.h>

#include "util/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

extern enum log_level log_threshold; /* set at start, then only read */

/* Reads the level from the environment. With no file given, lines below warn are dropped unless
 * the environment names a level: a terminal that is the guest's console stays clean. */
void log_init(void);

/* Appends to @path (created 0640); NULL or "" selects stderr. -errno with a reason on failure. */
int log_open(const char *path, struct error **errp);

/* True when lines go to a file and not to stderr. Any thread. */
bool log_is_file(void);

/* Opens the file of log_open() again by its name: somebody may have moved it away. Without a file an error. Main thread. */
int log_reopen(struct error **errp);

void log_write(enum log_level level, const char *module, const char *fmt, ...) __printf(3, 4);

#define log_at(level, ...)                                                \
	do {                                                              \
		if ((level) <= log_threshold)                             \
			log_write((level), LOG_MODULE, __VA_ARGS__);      \
	} while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_TRACE, __VA_ARGS__)

/* A rate limit: at most one line a second, the next line tells how many were dropped. Zero-initialised. */
struct log_limit {
	_Atomic int64_t next_ns;
	_Atomic unsigned int dropped;
};

bool log_limit_pass(struct log_limit *limit, unsigned int *dropped);

#define log_warn_limited(limit, fmt, ...)                                                                \
	do {                                                                                             \
		unsigned int _dropped = 0;                                                               \
		if (!log_limit_pass((limit), &_dropped))                                                 \
			break;                                                                           \
		if (_dropped)                                                                            \
			log_warn(fmt " (%u alike dropped before)", ##__VA_ARGS__, _dropped);             \
		else                                                                                     \
			log_warn(fmt, ##__VA_ARGS__);                                                    \
	} while (0)

#endif
