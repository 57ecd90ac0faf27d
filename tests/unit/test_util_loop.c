// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"
#include "util/fd.h"
#include "util/loop.h"

static struct loop *loop;

static void setup(void)
{
	struct error *err = NULL;

	loop = loop_new("unit", &err);
	ck_assert_no_error(err);
	ck_assert_ptr_nonnull(loop);
	ck_assert_str_eq(loop_name(loop), "unit");
}

static void on_deadline(struct loop_timer *timer)
{
	(void)timer;
	ck_abort_msg("the loop did not stop in time");
}

/* Runs until something stops it; ten seconds are a failure. */
static void run(void)
{
	struct loop_timer limit;

	loop_timer_init(&limit, loop, on_deadline);
	loop_timer_set(&limit, clock_now_ns() + 10 * NSEC_PER_SEC);
	loop_run(loop);
	loop_timer_cancel(&limit);
}

/* A descriptor that is always readable, and a record of its handler's calls. */
struct source {
	struct loop_fd lfd;
	unsigned int calls;
	void (*action)(struct source *source);
	struct source *other;
};

static void source_ready(struct loop_fd *lfd, uint32_t events)
{
	struct source *source = container_of(lfd, struct source, lfd);

	ck_assert_uint_eq(events & EPOLLIN, EPOLLIN);
	ck_assert(loop_is_current(loop));
	source->calls++;
	if (source->action)
		source->action(source);
}

static struct source *source_new(void (*action)(struct source *source))
{
	struct source *source = calloc(1, sizeof(*source));

	source->lfd.fd = eventfd_new();
	source->lfd.events = EPOLLIN;
	source->lfd.handler = source_ready;
	source->action = action;
	eventfd_signal(source->lfd.fd);
	ck_assert_int_eq(loop_fd_add(loop, &source->lfd), 0);
	ck_assert_ptr_eq(source->lfd.loop, loop);
	return source;
}

static void source_free(struct source *source)
{
	loop_fd_del(&source->lfd);
	fd_close(&source->lfd.fd);
	memset(source, 0xa5,
	       sizeof(*source)); /* a stale pointer shall crash even without a sanitizer */
	free(source);
}

static void stop_at_three(struct source *source)
{
	if (source->calls == 3)
		loop_stop(loop);
}

START_TEST(level_triggered)
{
	struct source *source;

	setup();
	source = source_new(stop_at_three);
	run();
	ck_assert_uint_eq(source->calls, 3);
	source_free(source);
	loop_free(loop);
}
END_TEST

static void free_self(struct source *source)
{
	source_free(source);
	loop_stop(loop);
}

START_TEST(handler_frees_its_own_source)
{
	setup();
	source_new(free_self);
	run();
	loop_free(loop);
}
END_TEST

static unsigned int pair_calls;
static struct source *survivor;

static void free_other(struct source *source)
{
	pair_calls++;
	source_free(source->other);
	survivor = source;
	loop_stop(loop);
}

/* Both are ready in one batch; whichever runs first removes the other, whose handler must not run.
 */
START_TEST(handler_frees_another_ready_source)
{
	struct source *a, *b;

	setup();
	a = source_new(free_other);
	b = source_new(free_other);
	a->other = b;
	b->other = a;
	run();
	ck_assert_uint_eq(pair_calls, 1);
	source_free(survivor); /* which of the two, the kernel decides */
	loop_free(loop);
}
END_TEST

static void replace_other(struct source *source)
{
	struct source *again = source->other;

	/* Still the same struct, but what was ready is not so any more: the event in the batch is
	 * stale. */
	loop_fd_del(&again->lfd);
	ck_assert(eventfd_consume(again->lfd.fd));
	ck_assert_int_eq(loop_fd_add(loop, &again->lfd), 0);
	loop_fd_del(&source->lfd);
	loop_stop(loop);
}

START_TEST(stale_event_is_not_delivered_after_adding_again)
{
	struct source *a, *b;

	setup();
	a = source_new(replace_other);
	b = source_new(replace_other);
	a->other = b;
	b->other = a;
	run();
	ck_assert_uint_eq(a->calls + b->calls, 1);
	source_free(a);
	source_free(b);
	loop_free(loop);
}
END_TEST

static void mute_other(struct source *source)
{
	ck_assert_int_eq(loop_fd_set_events(&source->other->lfd, 0), 0);
	ck_assert_int_eq(loop_fd_set_events(&source->lfd, 0), 0);
	loop_stop(loop);
}

START_TEST(no_events_means_silence)
{
	struct source *a, *b;

	setup();
	a = source_new(mute_other);
	b = source_new(mute_other);
	a->other = b;
	b->other = a;
	run();
	ck_assert_uint_eq(a->calls + b->calls, 1);
	/* And events wanted again come again. */
	a->calls = 0;
	a->action = stop_at_three;
	ck_assert_int_eq(loop_fd_set_events(&a->lfd, EPOLLIN), 0);
	run();
	ck_assert_uint_eq(a->calls, 3);
	ck_assert_uint_le(b->calls, 1);
	source_free(a);
	source_free(b);
	loop_free(loop);
}
END_TEST

static unsigned int hangups;

static void hangup_handler(struct loop_fd *lfd, uint32_t events)
{
	(void)lfd;
	(void)events;
	hangups++;
}

static void stop_handler(struct loop_timer *timer)
{
	loop_stop(timer->loop);
}

/* epoll reports a hang-up whether wanted or not: a paused source must not spin on it. */
START_TEST(hangup_of_a_paused_source_is_silent)
{
	struct loop_fd lfd = { .handler = hangup_handler };
	struct loop_timer timer;
	int fds[2];

	setup();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	lfd.fd = fds[0];
	ck_assert_int_eq(loop_fd_add(loop, &lfd), 0);
	close(fds[1]);
	loop_timer_init(&timer, loop, stop_handler);
	loop_timer_set(&timer, clock_now_ns() + 20 * NSEC_PER_MSEC);
	run();
	ck_assert_uint_eq(hangups, 0);
	loop_fd_del(&lfd);
	close(fds[0]);
	loop_free(loop);
}
END_TEST

START_TEST(descriptors_that_cannot_be_watched)
{
	struct loop_fd lfd = { .events = EPOLLIN, .handler = hangup_handler };
	char path[] = "./unit-loop-XXXXXX";

	setup();
	lfd.fd = mkstemp(path);
	unlink(path);
	ck_assert_int_eq(loop_fd_add(loop, &lfd), -EPERM);
	ck_assert_ptr_null(lfd.loop);
	loop_fd_del(&lfd); /* harmless */
	close(lfd.fd);
	ck_assert_int_eq(loop_fd_add(loop, &lfd), -EBADF);
	loop_free(loop);
}
END_TEST

/* --- timers --- */

static char order[16];
static size_t order_len;

struct named_timer {
	struct loop_timer timer;
	char name;
	struct named_timer *victim;
};

static void timer_note(struct loop_timer *timer)
{
	struct named_timer *named = container_of(timer, struct named_timer, timer);

	order[order_len++] = named->name;
	if (named->victim)
		loop_timer_cancel(&named->victim->timer);
	if (named->name == 'z')
		loop_stop(timer->loop);
}

START_TEST(timers_run_by_deadline)
{
	static const int64_t at[] = { 3, 1, 2, 1, 5, 4 };
	struct named_timer timers[ARRAY_SIZE(at)], last = { .name = 'z' };
	int64_t start;

	setup();
	start = clock_now_ns() + NSEC_PER_MSEC;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		timers[i] = (struct named_timer){ .name = (char)('a' + i) };
		loop_timer_init(&timers[i].timer, loop, timer_note);
		loop_timer_set(&timers[i].timer, start + at[i] * 1000);
	}
	timers[4].victim = &timers[0]; /* ran already: harmless */
	timers[2].victim = &timers[5];
	loop_timer_init(&last.timer, loop, timer_note);
	loop_timer_set(&last.timer, start);
	loop_timer_set(&last.timer, start + NSEC_PER_MSEC); /* moves it */
	run();
	ck_assert_str_eq(order,
			 "bdcaez"); /* f cancelled by c, though perhaps due in the same round */
	ck_assert_int_ge(clock_now_ns(), start + NSEC_PER_MSEC);
	loop_free(loop);
}
END_TEST

static unsigned int rearms;

static void timer_again(struct loop_timer *timer)
{
	if (++rearms == 5)
		loop_stop(timer->loop);
	else
		loop_timer_set(timer, rearms % 2 ? 0 : -5);
}

/* A deadline in the past runs at once, but not before the descriptors had their turn. */
START_TEST(timer_in_the_past)
{
	struct loop_timer timer;
	struct source *source;

	setup();
	source = source_new(NULL);
	loop_timer_init(&timer, loop, timer_again);
	loop_timer_set(&timer, 1);
	run();
	ck_assert_uint_eq(rearms, 5);
	ck_assert_uint_ge(source->calls, 5);
	source_free(source);
	loop_free(loop);
}
END_TEST

static void timer_free_self(struct loop_timer *timer)
{
	loop_stop(timer->loop);
	memset(timer, 0xa5, sizeof(*timer));
	free(timer);
}

START_TEST(handler_frees_its_own_timer)
{
	struct loop_timer *timer = malloc(sizeof(*timer));

	setup();
	loop_timer_init(timer, loop, timer_free_self);
	loop_timer_set(timer, 1);
	run();
	loop_free(loop);
}
END_TEST

/* --- deferred calls --- */

struct counted_call {
	struct loop_call call;
	unsigned int count;
	struct counted_call *victim;
};

static void count_call(struct loop_call *call)
{
	struct counted_call *counted = container_of(call, struct counted_call, call);

	counted->count++;
	if (counted->victim)
		loop_call_cancel(&counted->victim->call);
	loop_stop(call->loop);
}

START_TEST(call_scheduled_twice_runs_once)
{
	struct counted_call a = { 0 }, b = { 0 };

	setup();
	loop_call_init(&a.call, loop, count_call);
	loop_call_init(&b.call, loop, count_call);
	a.victim = &b;
	loop_call_schedule(&a.call);
	loop_call_schedule(&a.call);
	loop_call_schedule(&b.call);
	run();
	ck_assert_uint_eq(a.count, 1);
	ck_assert_uint_eq(b.count, 0); /* cancelled in the same round */
	loop_call_schedule(&b.call);
	loop_call_cancel(&b.call);
	loop_call_schedule(&a.call);
	run();
	ck_assert_uint_eq(a.count, 2);
	ck_assert_uint_eq(b.count, 0);
	loop_free(loop);
}
END_TEST

static void call_again(struct loop_call *call)
{
	struct counted_call *counted = container_of(call, struct counted_call, call);

	if (++counted->count == 100)
		loop_stop(call->loop);
	else
		loop_call_schedule(call);
}

START_TEST(call_that_schedules_itself_starves_nobody)
{
	struct counted_call again = { 0 };
	struct source *source;

	setup();
	source = source_new(NULL);
	loop_call_init(&again.call, loop, call_again);
	loop_call_schedule(&again.call);
	run();
	ck_assert_uint_eq(again.count, 100);
	ck_assert_uint_ge(source->calls, 99);
	source_free(source);
	loop_free(loop);
}
END_TEST

static void call_free_self(struct loop_call *call)
{
	loop_stop(call->loop);
	memset(call, 0xa5, sizeof(*call));
	free(call);
}

START_TEST(handler_frees_its_own_call)
{
	struct loop_call *call = malloc(sizeof(*call));

	setup();
	loop_call_init(call, loop, call_free_self);
	loop_call_schedule(call);
	run();
	loop_free(loop);
}
END_TEST

/* --- stopping --- */

START_TEST(stop_before_the_run_counts)
{
	setup();
	loop_stop(loop);
	run(); /* returns at once */
	loop_free(loop);
}
END_TEST

static void on_alarm(int signo)
{
	(void)signo;
	loop_stop(loop);
}

START_TEST(stop_from_a_signal_handler)
{
	setup();
	signal(SIGALRM, on_alarm);
	ualarm(20000, 0);
	run();
	loop_free(loop);
}
END_TEST

static void *stop_soon(void *opaque)
{
	(void)opaque;
	usleep(10000); /* so that the loop most likely sleeps; it stops in any case */
	loop_stop(loop);
	return NULL;
}

START_TEST(stop_from_another_thread)
{
	pthread_t thread;

	setup();
	ck_assert_int_eq(pthread_create(&thread, NULL, stop_soon, NULL), 0);
	run();
	pthread_join(thread, NULL);
	loop_free(loop);
}
END_TEST

START_TEST(free_lets_go_of_what_is_registered)
{
	struct counted_call call = { 0 };
	struct loop_timer timer;
	struct source *source;

	setup();
	source = source_new(NULL);
	loop_timer_init(&timer, loop, stop_handler);
	loop_timer_set(&timer, 1);
	loop_call_init(&call.call, loop, count_call);
	loop_call_schedule(&call.call);
	loop_free(loop);
	ck_assert_ptr_null(source->lfd.loop);
	ck_assert_int_eq(timer.deadline_ns, 0);
	ck_assert(!call.call.pending);
	source_free(source);
	loop_free(NULL);
}
END_TEST

UNIT_SUITE(fds, "loop descriptors", level_triggered, handler_frees_its_own_source,
	   handler_frees_another_ready_source, stale_event_is_not_delivered_after_adding_again,
	   no_events_means_silence, hangup_of_a_paused_source_is_silent,
	   descriptors_that_cannot_be_watched)
UNIT_SUITE(timers, "loop timers", timers_run_by_deadline, timer_in_the_past,
	   handler_frees_its_own_timer)
UNIT_SUITE(calls, "loop calls", call_scheduled_twice_runs_once,
	   call_that_schedules_itself_starves_nobody, handler_frees_its_own_call)
UNIT_SUITE(stops, "loop stop", stop_before_the_run_counts, stop_from_a_signal_handler,
	   stop_from_another_thread, free_lets_go_of_what_is_registered)
UNIT_MAIN(fds, timers, calls, stops)
