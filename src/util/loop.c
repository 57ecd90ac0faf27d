// SPDX-License-Identifier: Apache-2.0
/*
 * One iteration: wait in epoll, run the handlers of ready descriptors, then the timers that are
 * due, then the deferred calls. What other threads may touch (the calls) is under the lock; all the
 * rest belongs to the loop's thread.
 *
 * Removal from inside a handler is safe because nothing keeps a pointer to a source across a
 * handler: timers and calls are popped one at a time from lists that a removal unlinks them from,
 * and loop_fd_del() strikes the descriptor out of the batch that epoll returned.
 */
#include "util/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/errand.h"
#include "util/fd.h"

#define LOG_MODULE "loop"
#include "poll_window.h"
#include "util/log.h"
#include "util/thread.h"

#define BATCH 64

#define BUSY_MAX 1000 /* iterations after which idle calls run all the same */

/* A loop that finds enough to do by looking itself asks the kernel all the same after so many iterations. */
#define UNASKED_MAX 16

struct loop {
	struct list node; /* in all_loops */
	char *name;
	int epoll_fd;
	struct loop_fd wake; /* an eventfd: another thread has scheduled a call or wants a stop */
	_Atomic unsigned int wakes; /* how often */
	_Atomic bool stop;

	/* the loop's thread */
	struct list fds;
	struct list timers; /* by deadline, equal ones in the order they were set */
	struct epoll_event batch[BATCH];
	int batch_len; /* entries of the batch in dispatch, 0 outside of it */
	struct loop_polling polling;
	uint64_t window_ns; /* the widest of the sources' windows */
	int64_t idle_ns; /* when it had done what there was */
	bool found; /* something since then; calls and timers do not count, for which it need not look */
	unsigned int opaque_fds; /* those that only the kernel can tell of */
	unsigned int wakes_seen;
	unsigned int unasked; /* iterations since the kernel was asked */
	bool watching; /* sources were told that they need not signal */

	pthread_mutex_t lock;
	pthread_cond_t sync_done;
	struct list calls; /* under lock: struct loop_call, pending */
	struct list idle_calls; /* under lock: the same, for loop_call_schedule_idle() */
	unsigned int busy; /* the loop's thread: iterations that had work while an idle call waits */
	_Atomic uint64_t work;
	bool running;	   /* under lock */
	bool lent;	   /* under lock: the thread waits elsewhere */
	bool borrowed;	   /* under lock: another thread runs a synchronous call in its stead */
};

/* A call with somebody waiting for it. On the waiter's stack. */
struct sync_call {
	struct loop_call call;
	void (*fn)(void *opaque);
	void *opaque;
	bool done; /* under the loop's lock */
};

static __thread struct loop *current_loop;

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list all_loops = { &all_loops, &all_loops }; /* under all_lock */

static void loop_wake(struct loop *loop)
{
	atomic_fetch_add(&loop->wakes, 1);
	eventfd_signal(loop->wake.fd);
}

static void wake_handler(struct loop_fd *lfd, uint32_t events)
{
	(void)events;
	lfd->loop->wakes_seen = atomic_load(&lfd->loop->wakes);
	eventfd_consume(lfd->fd);
}

static bool wake_ready(struct loop_fd *lfd)
{
	return atomic_load_explicit(&lfd->loop->wakes, memory_order_relaxed) != lfd->loop->wakes_seen;
}

static const struct loop_poll_ops wake_poll = { .ready = wake_ready };

static int make_epoll(void *unused)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	(void)unused;
	return fd < 0 ? -errno : fd;
}

struct loop *loop_new(const char *name, struct error **errp)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int ret;

	if (!loop)
		return error_set(errp, -ENOMEM, "event loop '%s': out of memory", name), NULL;
	list_init(&loop->fds);
	list_init(&loop->timers);
	list_init(&loop->calls);
	list_init(&loop->idle_calls);
	pthread_mutex_lock(&all_lock);
	list_add_tail(&all_loops, &loop->node);
	pthread_mutex_unlock(&all_lock);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->sync_done, NULL);
	loop->wake.fd = -1;
	loop->epoll_fd = -1;
	loop->name = strdup(name);
	if (!loop->name) {
		ret = -ENOMEM;
		goto fail;
	}
	ret = errand_run(make_epoll, NULL);
	if (ret < 0)
		goto fail;
	loop->epoll_fd = ret;
	ret = eventfd_new();
	if (ret < 0)
		goto fail;
	loop->wake.fd = ret;
	loop->wake.events = EPOLLIN;
	loop->wake.handler = wake_handler;
	loop->wake.poll = &wake_poll;
	ret = loop_fd_add(loop, &loop->wake);
	if (ret)
		goto fail;
	return loop;

fail:
	error_set_errno(errp, ret, "event loop '%s'", name);
	loop_free(loop);
	return NULL;
}

void loop_free(struct loop *loop)
{
	struct loop_call *call, *next_call;
	struct loop_timer *timer, *next_timer;
	struct loop_fd *lfd, *next_lfd;

	if (!loop)
		return;
	pthread_mutex_lock(&all_lock);
	list_del(&loop->node);
	pthread_mutex_unlock(&all_lock);
	/* Leave what is still registered as if it had been removed: its owner may outlive the loop.
	 */
	list_for_each_safe(lfd, next_lfd, &loop->fds, node)
		loop_fd_del(lfd);
	list_for_each_safe(timer, next_timer, &loop->timers, node)
		loop_timer_cancel(timer);
	list_for_each_safe(call, next_call, &loop->calls, node)
		loop_call_cancel(call);
	list_for_each_safe(call, next_call, &loop->idle_calls, node)
		loop_call_cancel(call);
	fd_close(&loop->wake.fd);
	fd_close(&loop->epoll_fd);
	pthread_cond_destroy(&loop->sync_done);
	pthread_mutex_destroy(&loop->lock);
	free(loop->name);
	free(loop);
}

const char *loop_name(const struct loop *loop)
{
	return loop->name;
}

bool loop_is_current(const struct loop *loop)
{
	return current_loop == loop;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	loop_wake(loop);
}

/* --- Descriptors --- */

static bool is_opaque(const struct loop_fd *lfd)
{
	return lfd->events && !lfd->poll;
}

static void watch(struct loop_fd *lfd, bool on)
{
	if (lfd->watched == on)
		return;
	lfd->watched = on;
	if (lfd->poll->watch)
		lfd->poll->watch(lfd, on);
}

int loop_fd_add(struct loop *loop, struct loop_fd *lfd)
{
	struct epoll_event event = { .events = lfd->events, .data.ptr = lfd };

	/* Without wanted events it stays out of epoll, which reports EPOLLHUP and EPOLLERR even
	 * then. */
	if (lfd->events && epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, lfd->fd, &event) < 0)
		return -errno;
	lfd->loop = loop;
	lfd->watched = false;
	lfd->found = false;
	lfd->window = (struct poll_window){ .ns = 0 };
	loop->opaque_fds += is_opaque(lfd);
	list_add_tail(&loop->fds, &lfd->node);
	return 0;
}

int loop_fd_set_events(struct loop_fd *lfd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = lfd };
	int op = EPOLL_CTL_MOD;

	if (!lfd->loop || events == lfd->events) {
		lfd->events = events;
		return 0;
	}
	if (!lfd->events)
		op = EPOLL_CTL_ADD;
	else if (!events)
		op = EPOLL_CTL_DEL;
	if (epoll_ctl(lfd->loop->epoll_fd, op, lfd->fd, &event) < 0)
		return -errno;
	lfd->loop->opaque_fds -= is_opaque(lfd);
	lfd->events = events;
	lfd->loop->opaque_fds += is_opaque(lfd);
	if (!events)
		watch(lfd, false);
	return 0;
}

void loop_fd_del(struct loop_fd *lfd)
{
	struct loop *loop = lfd->loop;

	if (!loop)
		return;
	if (lfd->events)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, lfd->fd, NULL);
	for (int i = 0; i < loop->batch_len; i++) {
		if (loop->batch[i].data.ptr == lfd)
			loop->batch[i].data.ptr = NULL;
	}
	watch(lfd, false);
	loop->opaque_fds -= is_opaque(lfd);
	list_del(&lfd->node);
	lfd->loop = NULL;
}

static void count_work(struct loop *loop)
{
	atomic_fetch_add_explicit(&loop->work, 1, memory_order_relaxed);
}

static void dispatch_fds(struct loop *loop, int count)
{
	loop->batch_len = count;
	for (int i = 0; i < count; i++) {
		struct loop_fd *lfd = loop->batch[i].data.ptr;
		uint32_t events;

		if (!lfd)
			continue; /* removed by a handler before it */
		/* A handler before it may have changed what this one wants. */
		events = loop->batch[i].events & (lfd->events | EPOLLERR | EPOLLHUP);
		if (!lfd->events || !events)
			continue;
		if (lfd != &loop->wake)
			count_work(loop);
		lfd->handler(lfd, events);
	}
	loop->batch_len = 0;
}

/* --- Timers --- */

void loop_timer_init(struct loop_timer *timer, struct loop *loop,
		     void (*handler)(struct loop_timer *))
{
	timer->loop = loop;
	timer->handler = handler;
	timer->deadline_ns = 0;
	list_init(&timer->node);
}

void loop_timer_set(struct loop_timer *timer, int64_t deadline_ns)
{
	struct list *head = &timer->loop->timers, *after;

	list_del(&timer->node);
	timer->deadline_ns = MAX(deadline_ns, (int64_t)1);
	/* From the back: most timers are set further away than those that wait already. */
	for (after = head->prev; after != head; after = after->prev) {
		if (list_entry(after, struct loop_timer, node)->deadline_ns <= timer->deadline_ns)
			break;
	}
	list_add_tail(after->next, &timer->node); /* before the one behind @after */
}

void loop_timer_cancel(struct loop_timer *timer)
{
	if (!timer->deadline_ns)
		return;
	timer->deadline_ns = 0;
	list_del(&timer->node);
}

static void run_timers(struct loop *loop)
{
	struct list due, *node;
	int64_t now;

	if (list_empty(&loop->timers))
		return;
	now = clock_now_ns();
	/* Set the due ones aside first: a handler that arms its timer for the past waits for the
	 * next round. */
	list_init(&due);
	while ((node = list_first(&loop->timers))) {
		if (list_entry(node, struct loop_timer, node)->deadline_ns > now)
			break;
		list_del(node);
		list_add_tail(&due, node);
	}
	while ((node = list_first(&due))) {
		struct loop_timer *timer = list_entry(node, struct loop_timer, node);

		list_del(node);
		timer->deadline_ns = 0;
		count_work(loop);
		timer->handler(timer);
	}
}

int64_t loop_first_deadline(const struct loop *loop)
{
	const struct list *first = loop->timers.next;

	return first == &loop->timers ? 0 : list_entry(first, struct loop_timer, node)->deadline_ns;
}

/* --- Deferred calls --- */

void loop_call_init(struct loop_call *call, struct loop *loop, void (*handler)(struct loop_call *))
{
	call->handler = handler;
	call->loop = loop;
	call->pending = false;
	list_init(&call->node);
}

static void call_schedule_locked(struct loop_call *call)
{
	struct loop *loop = call->loop;
	bool wake = list_empty(&loop->calls) && current_loop != loop;

	if (call->pending)
		return;
	call->pending = true;
	list_add_tail(&loop->calls, &call->node);
	if (wake) /* under the lock: afterwards the call, and its loop with it, may be gone */
		loop_wake(loop);
}

void loop_call_schedule(struct loop_call *call)
{
	struct loop *loop = call->loop;

	pthread_mutex_lock(&loop->lock);
	call_schedule_locked(call);
	pthread_mutex_unlock(&loop->lock);
}

void loop_call_cancel(struct loop_call *call)
{
	pthread_mutex_lock(&call->loop->lock);
	if (call->pending) {
		call->pending = false;
		list_del(&call->node);
	}
	pthread_mutex_unlock(&call->loop->lock);
}

static void run_calls(struct loop *loop)
{
	struct list *node;
	unsigned int count = 0;

	pthread_mutex_lock(&loop->lock);
	/* Only as many as are here now: one that schedules itself again must not starve the
	 * descriptors. They stay on the loop's list, where loop_lend_begin() finds the synchronous
	 * ones. */
	for (node = loop->calls.next; node != &loop->calls; node = node->next)
		count++;
	while (count-- && (node = list_first(&loop->calls))) {
		struct loop_call *call = list_entry(node, struct loop_call, node);

		list_del(node);
		call->pending = false;
		pthread_mutex_unlock(&loop->lock);
		count_work(loop);
		call->handler(call);
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* At the end of an iteration. @worked: it had something to do. */
static void run_idle_calls(struct loop *loop, bool worked)
{
	struct list *node;

	pthread_mutex_lock(&loop->lock);
	if (list_empty(&loop->idle_calls) || !worked)
		loop->busy = 0;
	if (worked && !list_empty(&loop->idle_calls) && ++loop->busy < BUSY_MAX)
		goto out;
	/* One: it may give the loop work again, which comes before the next. */
	node = list_first(&loop->idle_calls);
	if (node) {
		struct loop_call *call = list_entry(node, struct loop_call, node);

		list_del(node);
		call->pending = false;
		loop->busy = 0;
		pthread_mutex_unlock(&loop->lock);
		call->handler(call);
		return;
	}
out:
	pthread_mutex_unlock(&loop->lock);
}

void loop_call_schedule_idle(struct loop_call *call)
{
	struct loop *loop = call->loop;

	pthread_mutex_lock(&loop->lock);
	if (!call->pending) {
		call->pending = true;
		list_add_tail(&loop->idle_calls, &call->node);
		if (current_loop != loop)
			loop_wake(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

uint64_t loop_work(const struct loop *loop)
{
	return atomic_load(&loop->work);
}

struct loop *loop_next(const struct loop *prev)
{
	const struct list *node;

	pthread_mutex_lock(&all_lock);
	node = prev ? prev->node.next : all_loops.next;
	pthread_mutex_unlock(&all_lock);
	return node == &all_loops ? NULL : list_entry(node, struct loop, node);
}

static void sync_handler(struct loop_call *call)
{
	struct sync_call *sync = container_of(call, struct sync_call, call);
	struct loop *loop = call->loop;

	sync->fn(sync->opaque);
	pthread_mutex_lock(&loop->lock);
	sync->done = true;
	pthread_cond_broadcast(&loop->sync_done);
	pthread_mutex_unlock(&loop->lock);
}

static void run_borrowed_locked(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
	struct loop *own = current_loop;

	loop->borrowed = true;
	pthread_mutex_unlock(&loop->lock);
	current_loop = loop;
	fn(opaque);
	current_loop = own;
	pthread_mutex_lock(&loop->lock);
	loop->borrowed = false;
	pthread_cond_broadcast(&loop->sync_done);
}

void loop_run_sync(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
	struct sync_call sync = { .fn = fn, .opaque = opaque };

	if (loop_is_current(loop)) {
		fn(opaque);
		return;
	}
	loop_call_init(&sync.call, loop, sync_handler);
	pthread_mutex_lock(&loop->lock);
	/* A loop that does not run is for anybody to borrow, too. */
	while ((loop->lent || !loop->running) && loop->borrowed)
		pthread_cond_wait(&loop->sync_done, &loop->lock);
	if (loop->lent || !loop->running) {
		run_borrowed_locked(loop, fn, opaque);
		pthread_mutex_unlock(&loop->lock);
		return;
	}
	call_schedule_locked(&sync.call);
	while (!sync.done)
		pthread_cond_wait(&loop->sync_done, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

/* Whoever waits in loop_run_sync() is served. Other calls stay pending. */
static void run_sync_calls_locked(struct loop *loop)
{
	struct loop_call *call;

again:
	list_for_each(call, &loop->calls, node) {
		if (call->handler != sync_handler)
			continue;
		list_del(&call->node);
		call->pending = false;
		pthread_mutex_unlock(&loop->lock);
		call->handler(call);
		pthread_mutex_lock(&loop->lock);
		goto again;
	}
}

void loop_lend_begin(void)
{
	struct loop *loop = current_loop;

	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	run_sync_calls_locked(loop);
	loop->lent = true;
	pthread_mutex_unlock(&loop->lock);
}

void loop_lend_end(void)
{
	struct loop *loop = current_loop;

	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	while (loop->borrowed)
		pthread_cond_wait(&loop->sync_done, &loop->lock);
	loop->lent = false;
	/* Who waited for its turn to borrow finds the loop back and schedules a call instead. */
	pthread_cond_broadcast(&loop->sync_done);
	pthread_mutex_unlock(&loop->lock);
}

/* --- The loop --- */

/* How long to sleep: NULL for ever. */
static struct timespec *wait_time(struct loop *loop, struct timespec *ts)
{
	struct list *first = list_first(&loop->timers);
	int64_t ns = 0;
	bool calls;

	pthread_mutex_lock(&loop->lock);
	calls = !list_empty(&loop->calls) || !list_empty(&loop->idle_calls);
	pthread_mutex_unlock(&loop->lock);
	if (!calls) {
		if (!first)
			return NULL;
		ns = list_entry(first, struct loop_timer, node)->deadline_ns - clock_now_ns();
		ns = MAX(ns, (int64_t)0);
		if (ns && clock_is_stepped())
			return NULL; /* whoever moves the clock wakes the loop */
	}
	ts->tv_sec = ns / NSEC_PER_SEC;
	ts->tv_nsec = ns % NSEC_PER_SEC;
	return ts;
}

/* epoll_pwait2() needs Linux 5.11; before it timers are rounded up to milliseconds. */
static int ask_kernel(struct loop *loop, const struct timespec *ts)
{
	static _Atomic bool no_pwait2;
	int64_t ms = -1;

	loop->unasked = 0;
	if (!atomic_load_explicit(&no_pwait2, memory_order_relaxed)) {
		int n = epoll_pwait2(loop->epoll_fd, loop->batch, BATCH, ts, NULL);

		if (n >= 0 || errno != ENOSYS)
			return n;
		atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
	}
	if (ts) {
		ms = MIN((int64_t)ts->tv_sec, (int64_t)3600) * 1000;
		ms += (ts->tv_nsec + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	}
	return epoll_pwait(loop->epoll_fd, loop->batch, BATCH, (int)ms, NULL);
}

/* Fills the batch with the descriptors whose sources have something, as the kernel would. */
static int look(struct loop *loop, bool keep_watching)
{
	struct loop_fd *lfd;
	int n = 0;

	loop->watching = keep_watching;
	list_for_each(lfd, &loop->fds, node) {
		if (!lfd->events || !lfd->poll)
			continue;
		watch(lfd, keep_watching);
		if (n < BATCH && lfd->poll->ready(lfd))
			loop->batch[n++] = (struct epoll_event){ .events = EPOLLIN, .data.ptr = lfd };
	}
	if (n == BATCH) { /* those behind the last one come first the next time */
		lfd = loop->batch[n - 1].data.ptr;
		list_del(&loop->fds);
		list_add_tail(lfd->node.next, &loop->fds);
	}
	return n;
}

/* At least once, and until @end while there is nothing. */
static int look_until(struct loop *loop, int64_t end)
{
	int n;

	do {
		n = look(loop, true);
	} while (!n && clock_now_ns() < end);
	return n;
}

/* The kernel also tells of what was found by looking before it was asked: there is nothing left, and nothing to learn. */
static bool has_work(const struct loop *loop, struct loop_fd *lfd)
{
	return lfd != &loop->wake && (!lfd->poll || lfd->poll->ready(lfd));
}

/* From what is in the batch, if that is more than a call. */
static void learn(struct loop *loop, int n)
{
	uint64_t waited = (uint64_t)(clock_now_ns() - loop->idle_ns);
	struct loop_fd *lfd;

	for (int i = 0; i < n; i++) {
		lfd = loop->batch[i].data.ptr;
		lfd->found = has_work(loop, lfd);
		loop->found = loop->found || lfd->found;
	}
	if (!loop->found)
		return;
	loop->window_ns = 0;
	list_for_each(lfd, &loop->fds, node) {
		if (lfd->found)
			poll_window_hit(&lfd->window, &loop->polling, waited);
		else
			poll_window_missed(&lfd->window, &loop->polling, waited);
		lfd->found = false;
		loop->window_ns = MAX(loop->window_ns, lfd->window.ns);
	}
}

/* Until when it is worth looking, not beyond @ts. */
static int64_t looks_until(const struct loop *loop, const struct timespec *ts, int64_t now)
{
	int64_t end = loop->idle_ns + (int64_t)MIN(loop->window_ns, (uint64_t)INT64_MAX / 2);

	return ts && !ts->tv_sec ? MIN(end, now + ts->tv_nsec) : end;
}

/* Waits, but not beyond @ts: by looking as long as that has been worth it lately, then in the kernel. */
static int wait_events(struct loop *loop, const struct timespec *ts)
{
	static const struct timespec at_once;
	bool sleeps = !ts || ts->tv_sec || ts->tv_nsec, looks = !loop->opaque_fds;
	int64_t now, end;
	int n = 0;

	/* As it is without iothreads, and in one that was told so. */
	if (!loop->polling.max_ns && !loop->watching)
		return ask_kernel(loop, ts);
	now = clock_now_ns();
	if (loop->found)
		loop->idle_ns = now; /* what was found is done */
	loop->found = false;
	if (loop->watching && loop->unasked++ >= UNASKED_MAX)
		n = ask_kernel(loop, &at_once);
	end = looks_until(loop, ts, now);
	if (!n && looks && (loop->watching || now < end))
		n = look_until(loop, end);
	if (!n && loop->watching && (sleeps || !looks))
		n = look(loop, false);
	if (!n)
		n = ask_kernel(loop, ts);
	if (n > 0)
		learn(loop, n);
	return n;
}

void loop_set_polling(struct loop *loop, const struct loop_polling *polling)
{
	struct loop_fd *lfd;

	loop->polling = *polling;
	loop->window_ns = 0;
	list_for_each(lfd, &loop->fds, node)
		lfd->window = (struct poll_window){ .ns = 0 };
	loop->idle_ns = clock_now_ns();
	loop->found = false;
}

void loop_run(struct loop *loop)
{
	struct loop *outer = current_loop;

	pthread_mutex_lock(&loop->lock);
	while (loop->borrowed)
		pthread_cond_wait(&loop->sync_done, &loop->lock);
	loop->running = true;
	pthread_cond_broadcast(&loop->sync_done); /* for who waited for its turn to borrow */
	pthread_mutex_unlock(&loop->lock);
	current_loop = loop;

	while (!atomic_load(&loop->stop)) {
		uint64_t work = loop_work(loop);
		struct timespec ts;
		int n = wait_events(loop, wait_time(loop, &ts));

		if (n < 0 && errno != EINTR) {
			log_error("event loop '%s': epoll: %s", loop->name, strerror(errno));
			break;
		}
		thread_confine();
		dispatch_fds(loop, MAX(n, 0));
		run_timers(loop);
		run_calls(loop);
		run_idle_calls(loop, loop_work(loop) != work);
	}

	pthread_mutex_lock(&loop->lock);
	run_sync_calls_locked(loop);
	loop->running = false;
	pthread_mutex_unlock(&loop->lock);
	current_loop = outer;
	/* A stop that came before the run counts too, so it is taken back only now. */
	atomic_store(&loop->stop, false);
}
