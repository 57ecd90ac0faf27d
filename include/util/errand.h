/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errands of the control plane. Once the process is confined, what hot-plug needs and guests have no part in (threads, rings of
 * io_uring, memory files, listening sockets) is done by a thread of its own, "setup", which does nothing else: so the main
 * thread, which serves guests and clients, has no right to any of that (src/seccomp/rules.c).
 */
#ifndef UTIL_ERRAND_H
#define UTIL_ERRAND_H

#include "util/error.h"

/*
 * Runs @fn on the setup thread and returns what it returned; the caller waits. Before errand_start(), which is also to say
 * without a sandbox, and on the setup thread itself it is a plain call. Any thread; the caller may hold locks that @fn does not take.
 */
int errand_run(int (*fn)(void *arg), void *arg);

/* Starts the thread. For thread_confine_all(), once. */
int __must_check errand_start(struct error **errp);

#endif
