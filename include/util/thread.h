/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads: named, with every signal blocked except the ones that report faults of the thread itself, and of a kind that
 * says what the kernel will be asked for on it.
 */
#ifndef UTIL_THREAD_H
#define UTIL_THREAD_H

#include <pthread.h>

#include "util/error.h"

enum thread_kind {
	THREAD_MAIN,	 /* the process's first thread; never started here */
	THREAD_VCPU,	 /* KVM_RUN and register handlers */
	THREAD_IOTHREAD, /* an event loop for devices */
	THREAD_WORKER,	 /* blocking file I/O */
	THREAD_SETUP,	 /* what the main thread may not do itself: util/errand.h */
	THREAD_STARTUP,	 /* ends before the guest runs */
	THREAD_KINDS,
};

/* @name: at most 15 characters are shown (prctl PR_SET_NAME). Joinable. */
int __must_check thread_start(pthread_t *thread, enum thread_kind kind, const char *name,
			      void *(*fn)(void *), void *arg, struct error **errp);

/*
 * The sandbox. From thread_confine_all() on every thread calls @confine once, on itself: threads that exist when they pass
 * thread_confine() the next time, which each does before it serves the guest or a host's event; new ones before
 * anything else. The setup thread (util/errand.h) is started, and then the calling thread does so at once. Main thread, once.
 */
int __must_check thread_confine_all(void (*confine)(enum thread_kind kind), struct error **errp);
/* Of the calling thread; from signal handlers too. */
const char *thread_name(void);
int thread_tid(void);
int thread_pid(void); /* the process */
/* tgkill(2), without what pthread_kill() and raise() ask the kernel besides; to a thread of this process, and to oneself. */
void thread_signal(int tid, int sig);
void thread_raise(int sig);
const char *thread_kind_name(void);
void thread_confine(void); /* on the thread itself; costs a look at a thread-local variable */

#endif
