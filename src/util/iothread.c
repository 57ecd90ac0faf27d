// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/errand.h"
#include "util/loop.h"
#include "util/parse.h"
#include "util/thread.h"

struct iothread {
	struct loop *loop;
	pthread_t thread;
	int tid; /* written by the thread before started is posted, then constant */
	sem_t started;
	struct loop_call start;
	struct iothread_config config;
};

/* The first thing the loop does: from here on it counts as running, so loop_run_sync() goes to it.
 */
static void iothread_started(struct loop_call *call)
{
	struct iothread *iothread = container_of(call, struct iothread, start);

	iothread->tid = thread_tid();
	sem_post(&iothread->started);
}

static void *iothread_main(void *opaque)
{
	struct iothread *iothread = opaque;

	loop_run(iothread->loop);
	return NULL;
}

struct iothread *iothread_new(const char *id, struct error **errp)
{
	struct iothread *iothread = calloc(1, sizeof(*iothread));

	if (!iothread)
		return error_set(errp, -ENOMEM, "iothread '%s': out of memory", id), NULL;
	iothread->loop = loop_new(id, errp);
	if (!iothread->loop) {
		free(iothread);
		return NULL;
	}
	sem_init(&iothread->started, 0, 0);
	loop_call_init(&iothread->start, iothread->loop, iothread_started);
	loop_call_schedule(&iothread->start);
	if (thread_start(&iothread->thread, THREAD_IOTHREAD, id, iothread_main, iothread, errp)) {
		sem_destroy(&iothread->started);
		loop_free(iothread->loop);
		free(iothread);
		return NULL;
	}
	while (sem_wait(&iothread->started) < 0)
		; /* EINTR */
	return iothread;
}

void iothread_free(struct iothread *iothread)
{
	if (!iothread)
		return;
	loop_stop(iothread->loop);
	pthread_join(iothread->thread, NULL);
	sem_destroy(&iothread->started);
	loop_free(iothread->loop);
	free(iothread->config.cpu_affinity);
	free(iothread);
}

static void set_polling(void *opaque)
{
	const struct iothread *iothread = opaque;

	loop_set_polling(iothread->loop, &iothread->config.polling);
}

void iothread_set_polling(struct iothread *iothread, const struct loop_polling *polling)
{
	iothread->config.polling = *polling;
	loop_run_sync(iothread->loop, set_polling, iothread);
}

struct affinity {
	pthread_t thread;
	cpu_set_t cpus;
};

static int set_affinity(void *opaque)
{
	const struct affinity *affinity = opaque;

	return -pthread_setaffinity_np(affinity->thread, sizeof(affinity->cpus), &affinity->cpus);
}

int iothread_configure(struct iothread *iothread, const struct iothread_config *config,
		       struct error **errp)
{
	struct affinity affinity = { .thread = iothread->thread };
	int ret = 0;

	if (config->cpu_affinity) {
		ret = parse_cpus(config->cpu_affinity, &affinity.cpus);
		if (ret)
			return error_set(errp, ret,
					 "cpu-affinity=%s: CPU numbers below %d and ranges of them are "
					 "needed, with ':' between them", config->cpu_affinity, CPU_SETSIZE);
		ret = errand_run(set_affinity, &affinity);
		if (ret)
			return error_set_errno(errp, ret, "cpu-affinity=%s: none of these CPUs can be used",
					       config->cpu_affinity);
	}
	iothread->config = *config;
	iothread_set_polling(iothread, &config->polling);
	return 0;
}

const struct iothread_config *iothread_config(const struct iothread *iothread)
{
	return &iothread->config;
}

struct loop *iothread_loop(struct iothread *iothread)
{
	return iothread->loop;
}

int iothread_tid(struct iothread *iothread)
{
	return iothread->tid;
}
