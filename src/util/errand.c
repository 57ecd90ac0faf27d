// SPDX-License-Identifier: Apache-2.0
#include "util/errand.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "util/thread.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one errand at a time */
static sem_t asked, done;
static pthread_t setup;
static bool there; /* set while there is no other thread that could ask */

/* Handed over by the semaphores. */
static int (*errand)(void *arg);
static void *errand_arg;
static int errand_result;

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		; /* EINTR */
}

static void *setup_main(void *opaque)
{
	(void)opaque;
	for (;;) {
		wait_for(&asked);
		errand_result = errand(errand_arg);
		sem_post(&done);
	}
	return NULL;
}

int errand_run(int (*fn)(void *arg), void *arg)
{
	int ret;

	if (!there || pthread_equal(pthread_self(), setup))
		return fn(arg);
	pthread_mutex_lock(&lock);
	errand = fn;
	errand_arg = arg;
	sem_post(&asked);
	wait_for(&done);
	ret = errand_result;
	pthread_mutex_unlock(&lock);
	return ret;
}

int errand_start(struct error **errp)
{
	int ret;

	sem_init(&asked, 0, 0);
	sem_init(&done, 0, 0);
	ret = thread_start(&setup, THREAD_SETUP, "setup", setup_main, NULL, errp);
	there = !ret;
	return ret;
}
