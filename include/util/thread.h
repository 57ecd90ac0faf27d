/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: named, with every signal blocked except the ones that report faults of the thread itself. */
#ifndef UTIL_THREAD_H
#define UTIL_THREAD_H

#include <pthread.h>

#include "util/error.h"

/* @name: at most 15 characters are shown (prctl PR_SET_NAME). Joinable. */
int __must_check thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg,
			      struct error **errp);

#endif
