// SPDX-License-Identifier: Apache-2.0
/*
 * A loop that looks for work before it sleeps. How long it does follows the clock, so the tests use windows without end,
 * or of one nanosecond, and a source that knows whether it is being looked at.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "../../src/util/poll_window.h"
#include "unit.h"
#include "util/fd.h"

#define FOREVER INT64_MAX

/* --- How long --- */

static struct poll_window window;

static uint64_t after(const struct loop_polling *limits, uint64_t waited)
{
	poll_window_hit(&window, limits, waited);
	return window.ns;
}

START_TEST(a_window_opens_and_closes)
{
	const struct loop_polling limits = { .max_ns = 20000 };

	ck_assert_uint_eq(after(&limits, 0), 0);
	ck_assert_uint_eq(after(&limits, 100), 4000);
	ck_assert_uint_eq(after(&limits, 4000), 4000); /* it was enough */
	ck_assert_uint_eq(after(&limits, 4001), 8000);
	ck_assert_uint_eq(after(&limits, 20000), 16000);
	ck_assert_uint_eq(after(&limits, 20000), 20000);
	ck_assert_uint_eq(after(&limits, 20000), 20000);
	ck_assert_uint_eq(after(&limits, 20001), 0); /* no window that is allowed would have done */
}
END_TEST

START_TEST(growing_and_shrinking_as_told)
{
	const struct loop_polling limits = { .max_ns = 1000000, .grow = 3, .shrink = 10 };

	for (unsigned int i = 0; i < 3; i++)
		after(&limits, 1000000);
	ck_assert_uint_eq(after(&limits, 1000000), 108000);
	ck_assert_uint_eq(after(&limits, 1000001), 10800);
	for (unsigned int i = 0; i < 4; i++)
		after(&limits, UINT64_MAX);
	ck_assert_uint_eq(after(&limits, UINT64_MAX), 0);
}
END_TEST

START_TEST(a_window_never_passes_its_limit)
{
	const struct loop_polling off = { .max_ns = 0 }, small = { .max_ns = 1500 }, end = { .max_ns = FOREVER, .grow = FOREVER };

	for (uint64_t waited = 0; waited < 100000; waited += 1000)
		ck_assert_uint_eq(after(&off, waited), 0);
	ck_assert_uint_eq(after(&small, 1000), 1500); /* less than the first step */
	ck_assert_uint_eq(after(&end, 2000), FOREVER);
	ck_assert_uint_eq(after(&end, FOREVER), FOREVER);
}
END_TEST

/* A disk that is slow leaves the window of the ring whose requests come soon; a ring that is forgotten loses it. */
START_TEST(long_waits_for_others_close_it_in_the_end)
{
	const struct loop_polling limits = { .max_ns = 20000 };

	after(&limits, 100);
	for (unsigned int i = 0; i < 1000; i++) {
		poll_window_missed(&window, &limits, 50000);
		ck_assert_uint_eq(after(&limits, 3000), 4000);
	}
	for (unsigned int i = 0; i < 1000; i++)
		poll_window_missed(&window, &limits, 20000); /* short ones do not */
	ck_assert_uint_eq(window.ns, 4000);
	for (unsigned int i = 0; i < 15; i++)
		poll_window_missed(&window, &limits, 50000);
	ck_assert_uint_eq(window.ns, 4000);
	poll_window_missed(&window, &limits, 50000);
	ck_assert_uint_eq(window.ns, 0);
	ck_assert_uint_eq(after(&limits, 100), 4000);
}
END_TEST

/* --- Sources --- */

static struct loop *loop;
static const struct loop_polling for_ever = { .max_ns = FOREVER, .grow = FOREVER };

/* Filled by another thread, which signals the descriptor unless the loop said that it looks. */
struct source {
	struct loop_fd lfd;
	_Atomic bool full, watched, refills;
	unsigned int signals, on, off;
	_Atomic unsigned int handled;
	void (*action)(struct source *source);
};

static bool source_is_full(struct loop_fd *lfd)
{
	return atomic_load(&container_of(lfd, struct source, lfd)->full);
}

static void source_watch(struct loop_fd *lfd, bool on)
{
	struct source *source = container_of(lfd, struct source, lfd);

	ck_assert(on != source->watched);
	*(on ? &source->on : &source->off) += 1;
	atomic_store(&source->watched, on);
}

static const struct loop_poll_ops source_poll = { .ready = source_is_full, .watch = source_watch };

static void source_handle(struct loop_fd *lfd, uint32_t events)
{
	struct source *source = container_of(lfd, struct source, lfd);

	ck_assert_uint_eq(events, EPOLLIN);
	eventfd_consume(lfd->fd);
	if (!atomic_exchange(&source->full, false))
		return;
	if (source->action)
		source->action(source);
	if (atomic_load(&source->refills))
		atomic_store(&source->full, true);
	atomic_fetch_add(&source->handled, 1);
}

static void source_add(struct source *source, const struct loop_poll_ops *poll)
{
	source->lfd.fd = eventfd_new();
	source->lfd.events = EPOLLIN;
	source->lfd.handler = source_handle;
	source->lfd.poll = poll;
	ck_assert_int_eq(loop_fd_add(loop, &source->lfd), 0);
}

/* Another thread. True: without a signal. */
static bool put(struct source *source)
{
	bool signal;

	atomic_store(&source->full, true);
	signal = !atomic_load(&source->watched);
	if (signal) {
		source->signals++;
		eventfd_signal(source->lfd.fd);
	}
	return !signal;
}

/* The same, and waits until it was handled. */
static bool fill(struct source *source)
{
	unsigned int before = atomic_load(&source->handled);
	bool silent = put(source);

	while (atomic_load(&source->handled) == before)
		sched_yield();
	return silent;
}

static void fill_until_seen_without_a_signal(struct source *source)
{
	while (!fill(source))
		;
}

static void *fill_and_stop(void *opaque)
{
	fill_until_seen_without_a_signal(opaque);
	loop_stop(loop);
	return NULL;
}

static void run_beside(void *(*fn)(void *), void *opaque, const struct loop_polling *polling)
{
	pthread_t thread;

	loop_set_polling(loop, polling);
	ck_assert_int_eq(pthread_create(&thread, NULL, fn, opaque), 0);
	loop_run(loop);
	pthread_join(thread, NULL);
}

static void setup(struct source *source)
{
	loop = loop_new("unit", NULL);
	memset(source, 0, sizeof(*source));
	source_add(source, &source_poll);
}

static void teardown(struct source *source)
{
	loop_fd_del(&source->lfd);
	ck_assert(!source->watched); /* whoever fills it signals again */
	ck_assert_uint_eq(source->on, source->off);
	fd_close(&source->lfd.fd);
	loop_free(loop);
}

START_TEST(what_is_not_signalled_is_seen)
{
	struct source source;

	setup(&source);
	run_beside(fill_and_stop, &source, &for_ever);
	ck_assert_uint_ge(source.signals, 1); /* the first wait was in the kernel */
	ck_assert_uint_ge(source.on, 1);
	teardown(&source);
}
END_TEST

static void *fill_often_and_stop(void *opaque)
{
	for (unsigned int i = 0; i < 1000; i++)
		fill(opaque);
	loop_stop(loop);
	return NULL;
}

/* Opening and closing all the time, nothing is lost. */
START_TEST(a_window_that_comes_and_goes_loses_nothing)
{
	const struct loop_polling sometimes = { .max_ns = 6000 };
	struct source source;

	setup(&source);
	run_beside(fill_often_and_stop, &source, &sometimes);
	ck_assert_uint_eq(source.handled, 1000);
	teardown(&source);
}
END_TEST

START_TEST(never_is_never)
{
	const struct loop_polling never = { .max_ns = 0, .grow = 100 };
	const struct loop_polling too_short = { .max_ns = 1 };
	struct source source;

	setup(&source);
	run_beside(fill_often_and_stop, &source, &never);
	ck_assert_uint_eq(source.on, 0);
	/* Any wait is longer than this window may be. */
	run_beside(fill_often_and_stop, &source, &too_short);
	ck_assert_uint_eq(source.on, 0);
	ck_assert_uint_eq(source.signals, 2000);
	teardown(&source);
}
END_TEST

static void count_call(void *opaque)
{
	++*(unsigned int *)opaque;
}

static unsigned int calls;

static void *call_and_stop(void *opaque)
{
	fill_until_seen_without_a_signal(opaque);
	for (unsigned int i = 0; i < 100; i++)
		loop_run_sync(loop, count_call, &calls);
	loop_stop(loop);
	return NULL;
}

START_TEST(calls_reach_a_loop_that_looks_for_ever)
{
	struct source source;

	setup(&source);
	run_beside(call_and_stop, &source, &for_ever);
	ck_assert_uint_eq(calls, 100);
	teardown(&source);
}
END_TEST

static struct loop_timer timer;

static void stop_by_timer(struct loop_timer *expired)
{
	(void)expired;
	loop_stop(loop);
}

static void set_timer(void *opaque)
{
	loop_timer_set(opaque, clock_now_ns() + NSEC_PER_MSEC);
}

static void *start_timer(void *opaque)
{
	fill_until_seen_without_a_signal(opaque);
	loop_run_sync(loop, set_timer, &timer);
	return NULL;
}

START_TEST(a_timer_ends_the_looking)
{
	struct source source;

	setup(&source);
	loop_timer_init(&timer, loop, stop_by_timer);
	run_beside(start_timer, &source, &for_ever);
	teardown(&source);
}
END_TEST

/* --- With descriptors of which only the kernel can tell --- */

static struct source opaque_source;

static void add_opaque(void *opaque)
{
	(void)opaque;
	source_add(&opaque_source, NULL);
}

static void drop_opaque(void *opaque)
{
	(void)opaque;
	loop_fd_del(&opaque_source.lfd);
}

static void *mix_and_stop(void *opaque)
{
	struct source *source = opaque;

	fill_until_seen_without_a_signal(source);
	loop_run_sync(loop, add_opaque, NULL);
	for (unsigned int i = 0; i < 100; i++)
		ck_assert(!fill(&opaque_source)); /* which nothing but its signal tells of */
	ck_assert(!source->watched);
	ck_assert(!fill(source));
	loop_run_sync(loop, drop_opaque, NULL);
	fill_until_seen_without_a_signal(source);
	loop_stop(loop);
	return NULL;
}

START_TEST(the_kernel_is_asked_while_only_it_can_tell)
{
	struct source source;

	setup(&source);
	run_beside(mix_and_stop, &source, &for_ever);
	ck_assert_uint_eq(opaque_source.handled, 100);
	ck_assert_uint_eq(opaque_source.on, 0);
	fd_close(&opaque_source.lfd.fd);
	teardown(&source);
}
END_TEST

/* A signal that comes by way of the kernel is heard although there is always something to be seen. */
static bool never_full(struct loop_fd *lfd)
{
	(void)lfd;
	return false;
}

static const struct loop_poll_ops blind_poll = { .ready = never_full };

static void stop_loop(struct source *source)
{
	(void)source;
	loop_stop(loop);
}

static void *signal_blind(void *opaque)
{
	struct source *source = opaque;

	fill_until_seen_without_a_signal(source);
	source->refills = true;
	put(source);
	atomic_store(&opaque_source.full, true);
	eventfd_signal(opaque_source.lfd.fd);
	return NULL;
}

START_TEST(the_kernel_is_asked_now_and_then)
{
	struct source source;

	setup(&source);
	source_add(&opaque_source, &blind_poll);
	opaque_source.action = stop_loop;
	run_beside(signal_blind, &source, &for_ever);
	ck_assert_uint_eq(opaque_source.handled, 1);
	loop_fd_del(&opaque_source.lfd);
	fd_close(&opaque_source.lfd.fd);
	teardown(&source);
}
END_TEST

/* --- More than a batch holds --- */

#define MANY 200

static struct source many[MANY];
static unsigned int at_least_once;

static void count_first(struct source *source)
{
	if (!atomic_load(&source->handled) && ++at_least_once == MANY)
		loop_stop(loop);
}

static void *start_many(void *opaque)
{
	fill_until_seen_without_a_signal(opaque); /* now the loop most likely looks; those that it does not look at signal */
	for (unsigned int i = 0; i < MANY; i++)
		put(&many[i]);
	return NULL;
}

START_TEST(all_of_many_busy_sources_have_their_turn)
{
	struct source source;

	setup(&source);
	for (unsigned int i = 0; i < MANY; i++) {
		source_add(&many[i], &source_poll);
		many[i].action = count_first;
		many[i].refills = true;
	}
	run_beside(start_many, &source, &for_ever);
	for (unsigned int i = 0; i < MANY; i++) {
		ck_assert_uint_ge(many[i].handled, 1);
		loop_fd_del(&many[i].lfd);
		fd_close(&many[i].lfd.fd);
	}
	teardown(&source);
}
END_TEST

UNIT_SUITE(windows, "how long a loop looks", a_window_opens_and_closes, growing_and_shrinking_as_told,
	   a_window_never_passes_its_limit, long_waits_for_others_close_it_in_the_end)
UNIT_SUITE(sources, "sources that a loop looks at", what_is_not_signalled_is_seen,
	   a_window_that_comes_and_goes_loses_nothing, never_is_never, calls_reach_a_loop_that_looks_for_ever,
	   a_timer_ends_the_looking, the_kernel_is_asked_while_only_it_can_tell, the_kernel_is_asked_now_and_then,
	   all_of_many_busy_sources_have_their_turn)
UNIT_MAIN(windows, sources)
