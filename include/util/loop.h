/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: file descriptors (epoll), timers and deferred calls. One thread runs a loop;
 * that thread is the "home" of everything registered with it.
 *
 * Unless said otherwise a function may be called only on the loop's own thread, or before the loop runs.
 * Callbacks run on the loop's thread and may add, change and remove any source, their own included.
 */
#ifndef UTIL_LOOP_H
#define UTIL_LOOP_H

#include <sys/epoll.h>

#include "util/error.h"
#include "util/list.h"

struct loop;

/* @name is copied; it is what query-iothreads and the thread list show. */
struct loop *loop_new(const char *name, struct error **errp);
void loop_free(struct loop *loop); /* the loop must not be running; NULL allowed */

/* Runs until loop_stop(); a stop from before the run makes it return at once. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread, async-signal-safe */

const char *loop_name(const struct loop *loop);
bool loop_is_current(const struct loop *loop); /* any thread: does the caller run this loop? */

struct loop_fd;

/* For a loop that polls: how it looks at a source without a system call. Loop's thread. */
struct loop_poll_ops {
	bool (*ready)(struct loop_fd *lfd); /* is there something for the handler? It gets EPOLLIN then */
	/*
	 * @on: from now on the loop looks all the time, so whoever fills the source need not signal the descriptor. Off: they
	 * must, and the loop looks once more. Comes before the descriptor is removed, too. NULL: they signal all the time.
	 */
	void (*watch)(struct loop_fd *lfd, bool on);
};

/* For how long a loop looks for a source's work; see src/util/poll_window.h. */
struct poll_window {
	uint64_t ns;
	unsigned int misses;
};

/* A watched file descriptor; embedded in its owner. */
struct loop_fd {
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT, …; level-triggered. 0: silent, even when the peer hangs up */
	void (*handler)(struct loop_fd *lfd, uint32_t events);
	const struct loop_poll_ops *poll; /* NULL: only the kernel can tell, so that the loop does not poll meanwhile */
	struct loop *loop; /* set by loop_fd_add(), NULL when not registered */
	struct list node;  /* private */
	bool watched;      /* private: poll->watch(true) was said */
	bool found;        /* private: is in the batch */
	struct poll_window window; /* private */
};

/* @lfd must have fd, events and handler set. -errno from epoll_ctl() (EPERM: a regular file). */
int __must_check loop_fd_add(struct loop *loop, struct loop_fd *lfd);
int loop_fd_set_events(struct loop_fd *lfd, uint32_t events);
void loop_fd_del(struct loop_fd *lfd); /* harmless when not registered; before fd is closed, which it does not do */

/*
 * Before it sleeps, a loop all of whose descriptors have poll operations looks at them for up to max_ns nanoseconds, 0 (as
 * loops begin): never. For how long is learned from how long it had to wait for each: @grow times as long (0: twice) when a
 * little longer would have done, the @shrink-th part (0: not at all) when even max_ns would not. Loop's thread.
 */
struct loop_polling {
	uint64_t max_ns, grow, shrink;
};
void loop_set_polling(struct loop *loop, const struct loop_polling *polling);

/* A one-shot timer on CLOCK_MONOTONIC as read by clock_now_ns(). */
struct loop_timer {
	struct loop *loop;
	void (*handler)(struct loop_timer *timer);
	int64_t deadline_ns; /* private: 0 when not armed */
	struct list node;    /* private */
};

void loop_timer_init(struct loop_timer *timer, struct loop *loop, void (*handler)(struct loop_timer *));
void loop_timer_set(struct loop_timer *timer, int64_t deadline_ns); /* absolute; re-arms */
void loop_timer_cancel(struct loop_timer *timer);

/* Work handed to a loop from any thread. Scheduling it again before it ran is a no-op. */
struct loop_call {
	void (*handler)(struct loop_call *call);
	struct loop *loop;
	bool pending;     /* private, under the loop's lock */
	struct list node; /* private */
};

void loop_call_init(struct loop_call *call, struct loop *loop, void (*handler)(struct loop_call *));
void loop_call_schedule(struct loop_call *call); /* any thread */
void loop_call_cancel(struct loop_call *call);   /* loop's thread */

/*
 * Runs fn(opaque) on the loop's thread and waits for it. While the loop does not run, the caller borrows it: fn runs on
 * the calling thread as if it were the loop's, one caller at a time, and loop_run() waits for its end. Any
 * thread that holds no lock that the loop's handlers take.
 */
void loop_run_sync(struct loop *loop, void (*fn)(void *opaque), void *opaque);

/*
 * For a loop's thread that is about to wait, outside of its loop, for a thread that may itself be in loop_run_sync()
 * (vCPUs that shall park). Until loop_lend_end() such calls, those waiting already included, run at once: on the calling
 * thread, one at a time, as if it were the loop's. On a thread that runs no loop without effect.
 */
void loop_lend_begin(void);
void loop_lend_end(void);

/*
 * Nanoseconds of CLOCK_MONOTONIC, or of the stepped clock: all timers follow it. Waits for the host (a last flush) count
 * by clock_host_ns(), which is always CLOCK_MONOTONIC. clock_wall_ns() is what the guest's real-time clocks go by: CLOCK_REALTIME, or a
 * fixed date plus the stepped clock, and clock_set_wall_offset() more, which is set before they are made. Any thread.
 */
int64_t clock_now_ns(void);
int64_t clock_host_ns(void);
int64_t clock_wall_ns(void);
void clock_set_wall_offset(int64_t ns);

/*
 * The stepped clock of the test accelerator: time stands still but for clock_step_to(). The first call, before any timer
 * is set, switches to it for good; from then on loops sleep until something happens and look at their timers when they
 * are woken. Main thread.
 */
bool clock_is_stepped(void); /* any thread */
void clock_step_to(int64_t ns);

/* --- For the test accelerator, which waits until everything it caused has happened --- */

/*
 * As loop_call_schedule(), but the call comes after an iteration that found nothing to do, or after 1000 when the loop
 * never rests.
 */
void loop_call_schedule_idle(struct loop_call *call);
uint64_t loop_work(const struct loop *loop); /* any thread: how many handlers have run, idle calls not counted */
int64_t loop_first_deadline(const struct loop *loop); /* loop's thread; 0: no timer is set */
/* The loops that exist, main's among them; NULL ends. Main thread, on which all but those of tests come and go. */
struct loop *loop_next(const struct loop *prev);

/*
 * An iothread: a loop with its own thread (DESIGN §4). Created by "-object iothread,id=…".
 * iothread_free() stops and joins it.
 */
struct iothread;
struct iothread *iothread_new(const char *id, struct error **errp);
void iothread_free(struct iothread *iothread);
struct loop *iothread_loop(struct iothread *iothread);
int iothread_tid(struct iothread *iothread);

#define IOTHREAD_POLL_MAX_NS 32768 /* unless said otherwise */

/* What users said of it. The last three numbers are shown and have no effect. Main thread. */
struct iothread_config {
	struct loop_polling polling;
	uint64_t aio_max_batch, thread_pool_min, thread_pool_max;
	char *cpu_affinity; /* see parse_cpus(), or NULL */
};

/* Takes over the strings; binds the thread. -EINVAL: no such CPU, or none that this process may use. */
int __must_check iothread_configure(struct iothread *iothread, const struct iothread_config *config,
				    struct error **errp);
const struct iothread_config *iothread_config(const struct iothread *iothread);
void iothread_set_polling(struct iothread *iothread, const struct loop_polling *polling); /* main thread */

#endif
