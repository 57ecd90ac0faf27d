// SPDX-License-Identifier: Apache-2.0
/*
 * When has everything happened that a request caused? When, on a walk over all loops, each was
 * found with nothing to do and none of them did anything meanwhile: what one loop gives another to
 * do shows as work of the first. The main loop is waited for by a call of its own; iothreads wait
 * for nobody, so they can be waited for.
 */
#include <errno.h>
#include <semaphore.h>

#include "test_private.h"

#define PASSES_MAX 100 /* loops that keep each other busy for ever are not waited for */

struct rest {
	struct loop_call idle;
	sem_t sem;
};

static void at_rest(struct loop_call *call)
{
	sem_post(&container_of(call, struct rest, idle)->sem);
}

static void wait_for(struct loop *loop)
{
	struct rest rest;

	sem_init(&rest.sem, 0, 0);
	loop_call_init(&rest.idle, loop, at_rest);
	loop_call_schedule_idle(&rest.idle);
	while (sem_wait(&rest.sem) && errno == EINTR)
		;
	sem_destroy(&rest.sem);
}

static uint64_t all_work(void)
{
	uint64_t work = 0;

	for (struct loop *loop = loop_next(NULL); loop; loop = loop_next(loop))
		work += loop_work(loop);
	return work;
}

static void main_idle(struct loop_call *call)
{
	struct test_settle *settle = container_of(call, struct test_settle, idle);
	uint64_t work;

	for (struct loop *loop = loop_next(NULL); loop; loop = loop_next(loop))
		if (loop != call->loop)
			wait_for(loop);
	work = all_work();
	if (work == settle->work || ++settle->passes == PASSES_MAX) {
		settle->done(settle);
		return;
	}
	settle->work = work;
	loop_call_schedule_idle(call);
}

void test_settle_init(struct test_settle *settle, struct loop *main_loop,
		      void (*done)(struct test_settle *settle))
{
	loop_call_init(&settle->idle, main_loop, main_idle);
	settle->done = done;
}

void test_settle_start(struct test_settle *settle)
{
	settle->passes = 0;
	settle->work = all_work();
	loop_call_schedule_idle(&settle->idle);
}

void test_settle_cancel(struct test_settle *settle)
{
	loop_call_cancel(&settle->idle);
}

/* --- Deadlines --- */

struct deadline {
	struct loop *loop;
	int64_t ns;
};

static void look(void *opaque)
{
	struct deadline *deadline = opaque;

	deadline->ns = loop_first_deadline(deadline->loop);
}

int64_t test_next_deadline(void)
{
	int64_t first = 0;

	for (struct loop *loop = loop_next(NULL); loop; loop = loop_next(loop)) {
		struct deadline deadline = { .loop = loop };

		loop_run_sync(loop, look, &deadline);
		if (deadline.ns && (!first || deadline.ns < first))
			first = deadline.ns;
	}
	return first;
}
