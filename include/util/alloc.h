/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation for start-up and configuration, where there is nothing sensible to do without memory:
 * these print a line and abort when it runs out, and so never return NULL. Not for sizes that a
 * guest or a peer chooses; there calloc() and a reported -ENOMEM are right. Free with free(). Any
 * thread.
 */
#ifndef UTIL_ALLOC_H
#define UTIL_ALLOC_H

#include "util/macros.h"

#define __allocates __attribute__((__returns_nonnull__, warn_unused_result))

void *xcalloc(size_t count, size_t size) __allocates; /* zeroed */
void *xrealloc(void *old, size_t size) __allocates;
char *xstrdup(const char *text) __allocates;
char *xstrndup(const char *text, size_t len) __allocates;
char *xasprintf(const char *fmt, ...) __printf(1, 2) __allocates;

#endif
