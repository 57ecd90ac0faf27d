// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"
#include "util/loop.h"
#include "util/thread.h"

static void store_tid(void *opaque)
{
	*(int *)opaque = gettid();
}

static void read_comm(int tid, char buf[32])
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(buf, 32, file));
	buf[strcspn(buf, "\n")] = '\0';
	fclose(file);
}

START_TEST(tid_and_name)
{
	struct iothread *iothread;
	struct error *err = NULL;
	char comm[32];
	int tid = 0;

	iothread = iothread_new("iothread-with-a-long-id", &err);
	ck_assert_no_error(err);
	ck_assert_int_gt(iothread_tid(iothread), 0);
	ck_assert_int_ne(iothread_tid(iothread), gettid());
	loop_run_sync(iothread_loop(iothread), store_tid, &tid);
	ck_assert_int_eq(tid, iothread_tid(iothread));
	read_comm(tid, comm);
	ck_assert_str_eq(comm, "iothread-with-a");
	ck_assert_str_eq(loop_name(iothread_loop(iothread)), "iothread-with-a-long-id");
	ck_assert(!loop_is_current(iothread_loop(iothread)));
	iothread_free(iothread);
	iothread_free(NULL);
}
END_TEST

/* --- waiting for a loop --- */

static struct iothread *shared;

#define CALLERS 4
#define CALLS 2000

static unsigned int counter; /* the iothread's alone: the loop is its lock */

static void add_one(void *opaque)
{
	(void)opaque;
	ck_assert(loop_is_current(iothread_loop(shared)));
	counter++;
}

static void *call_often(void *opaque)
{
	for (int i = 0; i < CALLS; i++)
		loop_run_sync(iothread_loop(shared), add_one, opaque);
	return NULL;
}

START_TEST(sync_calls_from_many_threads)
{
	pthread_t threads[CALLERS];
	struct error *err = NULL;

	shared = iothread_new("io", &err);
	ck_assert_no_error(err);
	for (int i = 0; i < CALLERS; i++)
		ck_assert_int_eq(thread_start(&threads[i], THREAD_WORKER, "caller", call_often, NULL, &err), 0);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(counter, CALLERS * CALLS);
	iothread_free(shared);
}
END_TEST

static void nested(void *opaque)
{
	loop_run_sync(iothread_loop(shared), store_tid, opaque); /* its own loop: at once */
}

START_TEST(sync_call_on_the_loops_own_thread)
{
	struct error *err = NULL;
	int tid = 0;

	shared = iothread_new("io", &err);
	ck_assert_no_error(err);
	loop_run_sync(iothread_loop(shared), nested, &tid);
	ck_assert_int_eq(tid, iothread_tid(shared));
	iothread_free(shared);
}
END_TEST

START_TEST(sync_call_on_a_loop_that_does_not_run)
{
	struct error *err = NULL;
	struct loop *loop = loop_new("idle", &err);
	int tid = 0;

	loop_run_sync(loop, store_tid, &tid);
	ck_assert_int_eq(tid, gettid());
	loop_free(loop);
}
END_TEST

static void *call_until_done(void *opaque)
{
	_Atomic bool *done = opaque;
	int tid;

	while (!atomic_load(done))
		loop_run_sync(iothread_loop(shared), store_tid, &tid);
	return NULL;
}

static void stop_own_loop(void *opaque)
{
	(void)opaque;
	loop_stop(iothread_loop(shared));
}

/* A loop that stops while others wait for it serves them first: nobody hangs. */
START_TEST(stop_with_sync_callers)
{
	for (int round = 0; round < 50; round++) {
		_Atomic bool done = false;
		struct error *err = NULL;
		pthread_t thread;

		shared = iothread_new("io", &err);
		ck_assert_no_error(err);
		ck_assert_int_eq(thread_start(&thread, THREAD_WORKER, "caller", call_until_done, &done, &err), 0);
		loop_run_sync(iothread_loop(shared), stop_own_loop, NULL);
		atomic_store(&done, true);
		pthread_join(thread, NULL);
		iothread_free(shared);
	}
}
END_TEST

/* --- plain threads --- */

static void *show_mask(void *opaque)
{
	pthread_sigmask(SIG_BLOCK, NULL, opaque);
	return opaque;
}

START_TEST(signals_do_not_land_on_threads)
{
	sigset_t before, after, inside;
	struct error *err = NULL;
	pthread_t thread;
	void *result;

	pthread_sigmask(SIG_BLOCK, NULL, &before);
	ck_assert_int_eq(thread_start(&thread, THREAD_WORKER, "t", show_mask, &inside, &err), 0);
	pthread_join(thread, &result);
	ck_assert_ptr_eq(result, &inside);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	for (int signo = 1; signo < 32; signo++)
		ck_assert_int_eq(sigismember(&before, signo), sigismember(&after, signo));
	ck_assert(sigismember(&inside, SIGTERM));
	ck_assert(sigismember(&inside, SIGINT));
	ck_assert(sigismember(&inside, SIGRTMIN));
	ck_assert(!sigismember(&inside, SIGSEGV));
	ck_assert(!sigismember(&inside, SIGBUS));
	ck_assert(!sigismember(&inside, SIGSYS));
}
END_TEST

UNIT_SUITE(suite, "util iothread", tid_and_name, sync_calls_from_many_threads,
	   sync_call_on_the_loops_own_thread, sync_call_on_a_loop_that_does_not_run,
	   stop_with_sync_callers, signals_do_not_land_on_threads)
UNIT_MAIN(suite)
