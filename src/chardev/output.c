/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output of a back end. A write goes to the descriptor directly when nothing waits before it, from
 * whichever thread; what the descriptor does not take is buffered in a ring of fixed size and
 * written by the main loop. A full ring cuts the write short, and writable() follows when half of
 * it is free.
 */
#define LOG_MODULE "chardev"

#include "util/fd.h"
#include "output.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/log.h"

#define STALL_NS NSEC_PER_SEC /* without progress: nobody reads */
/* At the end: as long as one of the readers takes something this often, and no longer than that in all. */
#define FINISH_STEP_NS (500 * NSEC_PER_MSEC)
#define FINISH_NS (5 * NSEC_PER_SEC)

static struct log_limit write_limit;

/* The descriptor is of no use any more; the main loop closes it. */
static void fail_locked(struct chardev *chr)
{
	chr->out_fd = -1;
	chr->out_failed = true;
	chr->ring.len = 0;
	chr->stalled = false;
	loop_call_schedule(&chr->update);
}

/*
 * Returns how much is done with: taken by the host, or lost because of an error. A disk that is
 * full loses what it had no room for and is tried again; a peer that is gone is gone.
 */
static size_t put_locked(struct chardev *chr, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n;

		if (chr->out_socket)
			n = fd_send(chr->out_fd, data + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		else
			n = fd_write(chr->out_fd, data + done, len - done);
		if (n > 0) {
			done += (size_t)n;
		} else if (n == 0 || errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			int error = errno;

			if (chr->kind->hangup) /* a client that goes is nothing to warn of */
				log_debug("%s: output ends: %s", chr->id, strerror(error));
			else
				log_warn_limited(&write_limit, "%s: output is lost: %s", chr->id,
						 strerror(error));
			if (chr->kind->hangup || error == EPIPE)
				fail_locked(chr);
			return len;
		}
	}
	return done;
}

/* Returns whether anything went out. */
static bool flush_locked(struct chardev *chr)
{
	bool progress = false;

	while (chr->ring.len && chr->out_fd >= 0) {
		const uint8_t *data;
		size_t len = ring_peek(&chr->ring, &data);
		size_t done = put_locked(chr, data, len);

		if (chr->out_fd < 0)
			break; /* failed, and the ring is empty */
		if (done)
			progress = true;
		ring_drop(&chr->ring, done);
		if (done < len)
			break;
	}
	return progress;
}

size_t chardev_write(struct chardev *chr, const void *buf, size_t len)
{
	const uint8_t *data = buf;
	size_t taken = 0;

	pthread_mutex_lock(&chr->lock);
	if (chr->out_fd >= 0 && !chr->ring.len)
		taken = put_locked(chr, data, len);
	if (chr->out_fd < 0) {
		taken = len; /* nobody there */
	} else if (taken < len) {
		if (chr->stalled)
			taken += ring_put_overwrite(&chr->ring, data + taken, len - taken);
		else
			taken += ring_put(&chr->ring, data + taken, len - taken);
		if (taken < len)
			chr->starved = true;
		if (!chr->out_armed || taken < len) {
			chr->out_armed = true;
			loop_call_schedule(&chr->update);
		}
	}
	pthread_mutex_unlock(&chr->lock);
	return taken;
}

/* --- main loop --- */

static void tell_user(struct chardev *chr)
{
	if (chr->user && chr->user->writable)
		chr->user->writable(chr->user);
}

void chardev_output_set_fd(struct chardev *chr, int fd, bool socket)
{
	bool owed;

	pthread_mutex_lock(&chr->lock);
	chr->out_fd = fd;
	chr->out_socket = socket;
	chr->out_failed = false;
	chr->stalled = false;
	chr->ring.len = 0;
	owed = chr->starved;
	chr->starved = false;
	pthread_mutex_unlock(&chr->lock);
	if (owed)
		tell_user(chr);
}

void chardev_output_ready(struct chardev *chr)
{
	bool progress;

	pthread_mutex_lock(&chr->lock);
	progress = flush_locked(chr);
	if (progress)
		chr->stalled = false;
	pthread_mutex_unlock(&chr->lock);
	if (progress)
		loop_timer_cancel(&chr->stall_timer);
	chardev_output_relieve(chr);
}

bool chardev_output_wanted(struct chardev *chr)
{
	bool wanted;

	pthread_mutex_lock(&chr->lock);
	wanted = chr->out_fd >= 0 && chr->ring.len;
	chr->out_armed = wanted;
	pthread_mutex_unlock(&chr->lock);
	return wanted;
}

void chardev_output_relieve(struct chardev *chr)
{
	bool owed, stuck;

	pthread_mutex_lock(&chr->lock);
	owed = chr->starved && (chr->out_fd < 0 || chr->ring.len <= RING_SIZE / 2);
	if (owed)
		chr->starved = false;
	stuck = chr->starved && chr->lossy && !chr->stalled;
	pthread_mutex_unlock(&chr->lock);
	if (owed)
		tell_user(chr);
	if (stuck && !chr->stall_timer.deadline_ns)
		loop_timer_set(&chr->stall_timer, clock_now_ns() + STALL_NS);
}

void chardev_output_stalled(struct loop_timer *timer)
{
	struct chardev *chr = container_of(timer, struct chardev, stall_timer);
	bool owed;

	pthread_mutex_lock(&chr->lock);
	owed = chr->starved;
	chr->starved = false;
	chr->stalled = owed;
	pthread_mutex_unlock(&chr->lock);
	if (!owed)
		return;
	log_info("%s: nobody reads, older output is dropped", chr->id);
	tell_user(chr);
}

bool chardev_output_failed(struct chardev *chr)
{
	bool failed;

	pthread_mutex_lock(&chr->lock);
	failed = chr->out_failed;
	chr->out_failed = false;
	pthread_mutex_unlock(&chr->lock);
	return failed;
}

void chardev_output_forget_user(struct chardev *chr)
{
	pthread_mutex_lock(&chr->lock);
	chr->starved = false;
	pthread_mutex_unlock(&chr->lock);
}

/* What @chr still has to wait for, or -1. */
static int finish_step(struct chardev *chr, bool *progress)
{
	int fd = -1;

	pthread_mutex_lock(&chr->lock);
	if (flush_locked(chr))
		*progress = true;
	if (chr->ring.len && !chr->stalled)
		fd = chr->out_fd;
	pthread_mutex_unlock(&chr->lock);
	return fd;
}

static void give_up(struct chardev *chr)
{
	pthread_mutex_lock(&chr->lock);
	if (chr->ring.len)
		log_info("%s: nobody reads the last output, it is lost", chr->id);
	chr->ring.len = 0;
	pthread_mutex_unlock(&chr->lock);
}

void chardev_finish(struct chardev *const *chrs, unsigned int count)
{
	int64_t now = clock_host_ns(), end = now + FINISH_NS, step = now + FINISH_STEP_NS;
	struct pollfd *fds = xcalloc(count, sizeof(*fds));

	for (;;) {
		bool progress = false, waiting = false;

		for (unsigned int i = 0; i < count; i++) {
			fds[i] = (struct pollfd){ .fd = finish_step(chrs[i], &progress), .events = POLLOUT };
			waiting |= fds[i].fd >= 0;
		}
		now = clock_host_ns();
		if (progress)
			step = now + FINISH_STEP_NS;
		if (!waiting || now >= MIN(step, end))
			break;
		fds_poll(fds, count, (int)((MIN(step, end) - now) / NSEC_PER_MSEC) + 1);
	}
	free(fds);
	for (unsigned int i = 0; i < count; i++)
		give_up(chrs[i]);
}
