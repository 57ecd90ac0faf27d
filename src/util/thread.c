// SPDX-License-Identifier: Apache-2.0
#include "util/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

struct thread_start {
	void *(*fn)(void *);
	void *arg;
	char name[16];
};

static void *thread_main(void *opaque)
{
	struct thread_start start = *(struct thread_start *)opaque;

	free(opaque);
	prctl(PR_SET_NAME, start.name);
	return start.fn(start.arg);
}

int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *), void *arg,
		 struct error **errp)
{
	/* Raised by the thread's own instructions or system calls: blocking them would hide the
	 * fault. */
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	struct thread_start *start;
	sigset_t block, saved;
	int ret;

	start = calloc(1, sizeof(*start));
	if (!start)
		return error_set(errp, -ENOMEM, "thread '%s': out of memory", name);
	start->fn = fn;
	start->arg = arg;
	memcpy(start->name, name, strnlen(name, sizeof(start->name) - 1));

	/* The new thread inherits the mask: there is no moment in which a signal could land on it.
	 */
	sigfillset(&block);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&block, faults[i]);
	pthread_sigmask(SIG_SETMASK, &block, &saved);
	ret = -pthread_create(thread, NULL, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (ret) {
		free(start);
		return error_set_errno(errp, ret, "cannot start thread '%s'", name);
	}
	return 0;
}
