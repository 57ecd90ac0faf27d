// SPDX-License-Identifier: Apache-2.0
#include "util/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/errand.h"

static void (*_Atomic confine_fn)(enum thread_kind kind);
static _Thread_local enum thread_kind own_kind = THREAD_MAIN;
static _Thread_local char own_name[16] = "main";
static _Thread_local bool confined;
static _Thread_local int own_tid; /* of threads that thread_start() made */
static _Atomic int own_pid;	  /* once the process is confined, and so does not fork any more */

void thread_confine(void)
{
	void (*confine)(enum thread_kind kind);

	if (confined)
		return;
	confine = atomic_load_explicit(&confine_fn, memory_order_acquire);
	if (!confine)
		return;
	confined = true;
	confine(own_kind);
}

static int nothing(void *unused)
{
	(void)unused;
	return 0;
}

int thread_confine_all(void (*confine)(enum thread_kind kind), struct error **errp)
{
	int ret;

	own_pid = getpid();
	atomic_store_explicit(&confine_fn, confine, memory_order_release);
	/* While the main thread is still free: what that one will not be allowed, its threads are not either. */
	ret = errand_start(errp);
	if (ret)
		return ret;
	thread_confine();
	return errand_run(nothing, NULL); /* it has confined itself when it answers */
}

const char *thread_name(void)
{
	return own_name;
}

int thread_tid(void)
{
	return own_tid ? own_tid : gettid();
}

int thread_pid(void)
{
	int pid = own_pid;

	return pid ? pid : getpid();
}

void thread_signal(int tid, int sig)
{
	syscall(SYS_tgkill, thread_pid(), tid, sig);
}

void thread_raise(int sig)
{
	/* The main thread has the process's number. */
	thread_signal(own_tid ? own_tid : thread_pid(), sig);
}

const char *thread_kind_name(void)
{
	static const char *const names[THREAD_KINDS] = { "main", "vcpu", "iothread", "worker", "setup", "startup" };

	return names[own_kind];
}

struct thread_start {
	enum thread_kind kind;
	void *(*fn)(void *);
	void *arg;
	char name[16];
	pthread_t *thread; /* the caller's, as long as that waits */
};

static void *thread_main(void *opaque)
{
	struct thread_start start = *(struct thread_start *)opaque;

	free(opaque);
	prctl(PR_SET_NAME, start.name);
	own_tid = gettid();
	own_kind = start.kind;
	memcpy(own_name, start.name, sizeof(own_name));
	thread_confine();
	return start.fn(start.arg);
}

static int create(void *opaque)
{
	/* Raised by the thread's own instructions or system calls: blocking them would hide the
	 * fault. */
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	struct thread_start *start = opaque;
	sigset_t block, saved;
	int ret;

	/* The new thread inherits the mask: there is no moment in which a signal could land on it.
	 */
	sigfillset(&block);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&block, faults[i]);
	pthread_sigmask(SIG_SETMASK, &block, &saved);
	ret = -pthread_create(start->thread, NULL, thread_main, start);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return ret;
}

int thread_start(pthread_t *thread, enum thread_kind kind, const char *name, void *(*fn)(void *),
		 void *arg, struct error **errp)
{
	struct thread_start *start;
	int ret;

	start = calloc(1, sizeof(*start));
	if (!start)
		return error_set(errp, -ENOMEM, "thread '%s': out of memory", name);
	start->kind = kind;
	start->fn = fn;
	start->arg = arg;
	memcpy(start->name, name, strnlen(name, sizeof(start->name) - 1));
	start->thread = thread;
	ret = errand_run(create, start);
	if (ret) {
		free(start);
		return error_set_errno(errp, ret, "cannot start thread '%s'", name);
	}
	return 0;
}
