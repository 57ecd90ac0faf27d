// SPDX-License-Identifier: Apache-2.0
/*
 * The thread back half: a few threads that make the system calls. One is there from the start; the main loop starts more
 * when there is work for them, since an iothread may not start threads (src/seccomp/rules.c). The home loop is told of
 * completions by an eventfd. Threads touch a request between submit and its arrival on the finished list.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"
#include "util/fd.h"
#include "util/thread.h"

#define THREADS_MAX 10

struct threads {
	struct block_engine *engine;
	int fd;
	struct loop_fd completions; /* eventfd, edge-triggered: its counter is never read */
	struct list added;          /* home loop: not yet submitted */
	unsigned int added_count;
	struct loop_call more; /* on the main loop: start threads */

	pthread_mutex_t lock; /* guards: */
	pthread_cond_t work, done;
	struct list todo, finished;
	unsigned int todo_count, idle, count;
	_Atomic bool done_some; /* written under the lock: finished is not empty */
	bool watched;           /* the home loop looks at done_some: no need to signal */
	pthread_t thread[THREADS_MAX];
	bool quit;
};

/* One system call. A thread of the pool. */
static int carry_out(int fd, const struct block_request *request)
{
	struct block_call call;
	ssize_t ret = -1;

	block_request_call(request, &call);
	switch (call.step) {
	case STEP_READV:
		ret = preadv(fd, call.iov, call.iov_count, call.offset);
		break;
	case STEP_WRITEV:
		ret = pwritev(fd, call.iov, call.iov_count, call.offset);
		break;
	case STEP_SYNC:
		ret = fdatasync(fd);
		break;
	case STEP_PUNCH:
	case STEP_ZERO:
		ret = fallocate(fd, call.mode, call.offset, call.length);
		break;
	}
	return ret < 0 ? -errno : (int)ret;
}

static void carry_out_first_locked(struct threads *threads)
{
	struct list *node = list_first(&threads->todo);
	struct block_request *request = list_entry(node, struct block_request, node);
	bool first;

	list_del(node);
	threads->todo_count--;
	pthread_mutex_unlock(&threads->lock);
	thread_confine();
	request->result = carry_out(threads->fd, request);
	pthread_mutex_lock(&threads->lock);
	first = list_empty(&threads->finished);
	list_add_tail(&threads->finished, node);
	atomic_store_explicit(&threads->done_some, true, memory_order_relaxed);
	if (first && !threads->watched) /* who wakes up sees it */
		eventfd_signal(threads->completions.fd);
	pthread_cond_signal(&threads->done);
}

static void *worker(void *arg)
{
	struct threads *threads = arg;

	pthread_mutex_lock(&threads->lock);
	for (;;) {
		if (!list_empty(&threads->todo)) {
			carry_out_first_locked(threads);
		} else if (threads->quit) {
			break;
		} else {
			threads->idle++;
			pthread_cond_wait(&threads->work, &threads->lock);
			threads->idle--;
		}
	}
	pthread_mutex_unlock(&threads->lock);
	return NULL;
}

static bool threads_add(void *self, struct block_request *request)
{
	struct threads *threads = self;

	list_add_tail(&threads->added, &request->node);
	threads->added_count++;
	return true;
}

static int start_thread_locked(struct threads *threads, struct error **errp)
{
	int ret = thread_start(&threads->thread[threads->count], THREAD_WORKER, "block-worker", worker, threads, errp);

	if (!ret)
		threads->count++;
	return ret;
}

/* Main loop: one for each request that waits, as far as there may be. */
static void start_more(struct loop_call *call)
{
	struct threads *threads = container_of(call, struct threads, more);

	pthread_mutex_lock(&threads->lock);
	for (unsigned int have = threads->idle; have < threads->todo_count && threads->count < THREADS_MAX; have++)
		if (start_thread_locked(threads, NULL))
			break;
	pthread_mutex_unlock(&threads->lock);
}

static void threads_submit(void *self)
{
	struct threads *threads = self;
	unsigned int count = threads->added_count;
	struct list *node;

	if (!count)
		return;
	threads->added_count = 0;
	pthread_mutex_lock(&threads->lock);
	while ((node = list_first(&threads->added))) {
		list_del(node);
		list_add_tail(&threads->todo, node);
	}
	threads->todo_count += count;
	for (unsigned int i = 0; i < MIN(count, threads->idle); i++)
		pthread_cond_signal(&threads->work);
	if (threads->idle < threads->todo_count && threads->count < THREADS_MAX)
		loop_call_schedule(&threads->more);
	pthread_mutex_unlock(&threads->lock);
}

static void threads_reap(void *self, bool wait)
{
	struct threads *threads = self;
	struct list finished, *node;

	list_init(&finished);
	pthread_mutex_lock(&threads->lock);
	while (wait && list_empty(&threads->finished))
		pthread_cond_wait(&threads->done, &threads->lock);
	while ((node = list_first(&threads->finished))) {
		list_del(node);
		list_add_tail(&finished, node);
	}
	atomic_store_explicit(&threads->done_some, false, memory_order_relaxed);
	pthread_mutex_unlock(&threads->lock);
	while ((node = list_first(&finished))) {
		list_del(node);
		block_engine_step_done(threads->engine, list_entry(node, struct block_request, node));
	}
}

static void completions_ready(struct loop_fd *lfd, uint32_t events)
{
	(void)events;
	block_engine_reap(container_of(lfd, struct threads, completions)->engine);
}

static bool completions_there(struct loop_fd *lfd)
{
	struct threads *threads = container_of(lfd, struct threads, completions);

	return atomic_load_explicit(&threads->done_some, memory_order_relaxed);
}

static void completions_watch(struct loop_fd *lfd, bool on)
{
	struct threads *threads = container_of(lfd, struct threads, completions);

	pthread_mutex_lock(&threads->lock);
	threads->watched = on;
	pthread_mutex_unlock(&threads->lock);
}

static const struct loop_poll_ops completions_poll = { .ready = completions_there, .watch = completions_watch };

static void threads_free(void *self)
{
	struct threads *threads = self;

	loop_call_cancel(&threads->more); /* the main thread is our caller, or waits for us */
	pthread_mutex_lock(&threads->lock);
	threads->quit = true;
	pthread_cond_broadcast(&threads->work);
	pthread_mutex_unlock(&threads->lock);
	for (unsigned int i = 0; i < threads->count; i++)
		pthread_join(threads->thread[i], NULL);
	loop_fd_del(&threads->completions);
	fd_close(&threads->completions.fd);
	pthread_cond_destroy(&threads->done);
	pthread_cond_destroy(&threads->work);
	pthread_mutex_destroy(&threads->lock);
	free(threads);
}

static int threads_watch(void *self, struct loop *home)
{
	struct threads *threads = self;

	return loop_fd_add(home, &threads->completions);
}

static const struct block_backend threads_backend = {
	.name = "threads",
	.start = threads_watch,
	.add = threads_add,
	.submit = threads_submit,
	.reap = threads_reap,
	.free = threads_free,
};

int block_threads_new(struct block_engine *engine, int fd, struct loop *main_loop,
		      const struct block_backend **backend, void **self)
{
	struct threads *threads = calloc(1, sizeof(*threads));
	int ret;

	if (!threads)
		return -ENOMEM;
	threads->engine = engine;
	threads->fd = fd;
	list_init(&threads->added);
	list_init(&threads->todo);
	list_init(&threads->finished);
	loop_call_init(&threads->more, main_loop, start_more);
	pthread_mutex_init(&threads->lock, NULL);
	pthread_cond_init(&threads->work, NULL);
	pthread_cond_init(&threads->done, NULL);
	ret = eventfd_new();
	threads->completions = (struct loop_fd){
		.fd = ret, .events = EPOLLIN | EPOLLET, .handler = completions_ready, .poll = &completions_poll
	};
	list_init(&threads->completions.node);
	if (ret >= 0) {
		pthread_mutex_lock(&threads->lock);
		ret = start_thread_locked(threads, NULL);
		pthread_mutex_unlock(&threads->lock);
	}
	if (ret < 0) {
		threads_free(threads);
		return ret;
	}
	*backend = &threads_backend;
	*self = threads;
	return 0;
}
