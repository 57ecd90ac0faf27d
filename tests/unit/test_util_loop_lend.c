// SPDX-License-Identifier: Apache-2.0
/* A loop whose thread waits for another thread, which itself waits in loop_run_sync(): nobody waits for ever. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "unit.h"
#include "util/loop.h"

static struct loop *loop;
static _Atomic unsigned int inside, ran, overlaps;
static pthread_t threads[4];

static void nested(void *opaque)
{
	(void)opaque;
	ck_assert(loop_is_current(loop));
}

static void work(void *opaque)
{
	(void)opaque;
	ck_assert(loop_is_current(loop));
	if (atomic_fetch_add(&inside, 1))
		atomic_fetch_add(&overlaps, 1);
	loop_run_sync(loop, nested, NULL);
	usleep(1000);
	atomic_fetch_sub(&inside, 1);
	atomic_fetch_add(&ran, 1);
}

static void *caller(void *arg)
{
	for (int i = 0; i < 20; i++)
		loop_run_sync(loop, work, arg);
	return NULL;
}

/* As pausing from a deferred call: the synchronous calls of others may already be queued behind it. */
static void pause_handler(struct loop_call *call)
{
	(void)call;
	usleep(5000); /* let them queue up: lending has to serve those too */
	loop_lend_begin();
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	loop_lend_end();
	loop_stop(loop);
}

static void start_handler(struct loop_call *call)
{
	static struct loop_call later;

	for (unsigned int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, caller, NULL), 0);
	loop_call_init(&later, call->loop, pause_handler);
	loop_call_schedule(&later);
}

START_TEST(lent_loop_serves_waiters)
{
	struct loop_call call;

	loop = loop_new("test", NULL);
	ck_assert_ptr_nonnull(loop);
	loop_call_init(&call, loop, start_handler);
	loop_call_schedule(&call);
	loop_run(loop);
	ck_assert_uint_eq(ran, 80);
	ck_assert_uint_eq(overlaps, 0);
	loop_free(loop);
}
END_TEST

static void stop_handler(struct loop_call *call)
{
	atomic_fetch_add(&ran, 1000);
	if (atomic_fetch_add(&inside, 1)) /* the loop's own thread runs while somebody has borrowed it */
		atomic_fetch_add(&overlaps, 1);
	usleep(1000);
	atomic_fetch_sub(&inside, 1);
	loop_stop(call->loop);
}

/* A guest may be faster than the main thread on its way into the loop: they take turns all the same. */
START_TEST(loop_that_does_not_run_yet_is_borrowed)
{
	struct loop_call call;

	loop = loop_new("test", NULL);
	ck_assert_ptr_nonnull(loop);
	loop_call_init(&call, loop, stop_handler);
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, caller, NULL), 0);
	usleep(5000);
	loop_call_schedule(&call);
	loop_run(loop);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(ran, 1080);
	ck_assert_uint_eq(overlaps, 0);
	loop_free(loop);
}
END_TEST

START_TEST(lending_without_a_loop_does_nothing)
{
	loop_lend_begin();
	loop_lend_end();
}
END_TEST

UNIT_SUITE(lend_suite, "loop_lend", lent_loop_serves_waiters,
	   loop_that_does_not_run_yet_is_borrowed, lending_without_a_loop_does_nothing)
UNIT_MAIN(lend_suite)
