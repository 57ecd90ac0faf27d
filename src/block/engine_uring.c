// SPDX-License-Identifier: Apache-2.0
/*
 * The io_uring back half: steps become submission entries, one system call hands over all that gathered, and the loop
 * watches the ring itself for completions. The file is registered with the ring, which saves a look-up each time (ring.h).
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "internal.h"
#include "ring.h"

#define LOG_MODULE "block"
#include "util/log.h"

#define REAP_BATCH 64
/* After the kernel had no memory for a submission. */
#define RETRY_NS NSEC_PER_MSEC

struct uring {
	struct block_engine *engine;
	struct io_uring ring;
	struct loop_fd completions; /* the ring: readable while it holds completions */
	struct loop_timer retry;
	struct log_limit limit;
	int fd;	   /* or the index among the registered files */
	uint8_t fd_flags; /* IOSQE_FIXED_FILE */
	unsigned int in_flight, in_flight_max; /* as many as the completion ring holds */
};

static void prepare(struct uring *uring, struct io_uring_sqe *sqe, const struct block_call *call)
{
	const struct iovec *iov = call->iov;

	switch (call->step) {
	case STEP_READV:
		if (call->iov_count == 1)
			io_uring_prep_read(sqe, uring->fd, iov->iov_base, MIN(iov->iov_len, 0x7ffff000UL),
					   call->offset);
		else
			io_uring_prep_readv(sqe, uring->fd, iov, call->iov_count, call->offset);
		break;
	case STEP_WRITEV:
		if (call->iov_count == 1)
			io_uring_prep_write(sqe, uring->fd, iov->iov_base, MIN(iov->iov_len, 0x7ffff000UL),
					    call->offset);
		else
			io_uring_prep_writev(sqe, uring->fd, iov, call->iov_count, call->offset);
		break;
	case STEP_SYNC:
		io_uring_prep_fsync(sqe, uring->fd, IORING_FSYNC_DATASYNC);
		break;
	case STEP_PUNCH:
	case STEP_ZERO:
		io_uring_prep_fallocate(sqe, uring->fd, call->mode, call->offset, call->length);
		break;
	}
	sqe->flags |= uring->fd_flags;
}

static void uring_submit(void *self)
{
	struct uring *uring = self;
	int ret = 1;

	while (io_uring_sq_ready(&uring->ring) && ret > 0)
		ret = io_uring_submit(&uring->ring);
	if (!io_uring_sq_ready(&uring->ring))
		return;
	if (ret < 0 && ret != -EAGAIN && ret != -EBUSY && ret != -EINTR)
		log_warn_limited(&uring->limit, "io_uring: submission fails: error %d; trying again", -ret);
	loop_timer_set(&uring->retry, clock_now_ns() + RETRY_NS);
}

static bool uring_add(void *self, struct block_request *request)
{
	struct uring *uring = self;
	struct io_uring_sqe *sqe;
	struct block_call call;

	if (uring->in_flight == uring->in_flight_max)
		return false;
	sqe = io_uring_get_sqe(&uring->ring);
	if (!sqe) {
		uring_submit(uring);
		sqe = io_uring_get_sqe(&uring->ring);
		if (!sqe)
			return false;
	}
	block_request_call(request, &call);
	prepare(uring, sqe, &call);
	io_uring_sqe_set_data(sqe, request);
	uring->in_flight++;
	return true;
}

static void uring_reap(void *self, bool wait)
{
	struct uring *uring = self;
	struct io_uring_cqe *cqes[REAP_BATCH];
	struct block_request *done[REAP_BATCH];
	unsigned int n;

	if (wait && uring->in_flight)
		(void)io_uring_submit_and_wait(&uring->ring, 1); /* the caller comes again */
	while ((n = io_uring_peek_batch_cqe(&uring->ring, cqes, REAP_BATCH))) {
		for (unsigned int i = 0; i < n; i++) {
			done[i] = io_uring_cqe_get_data(cqes[i]);
			done[i]->result = cqes[i]->res;
		}
		io_uring_cq_advance(&uring->ring, n);
		uring->in_flight -= n;
		for (unsigned int i = 0; i < n; i++)
			block_engine_step_done(uring->engine, done[i]);
	}
}

static void completions_ready(struct loop_fd *lfd, uint32_t events)
{
	(void)events;
	block_engine_reap(container_of(lfd, struct uring, completions)->engine);
}

/* Completions, or that the kernel has some for whoever enters it, which the reaping does. */
static bool completions_there(struct loop_fd *lfd)
{
	const struct uring *uring = container_of(lfd, struct uring, completions);
	const unsigned int *flags = uring->ring.sq.kflags;

	return io_uring_cq_ready(&uring->ring) ||
	       __atomic_load_n(flags, __ATOMIC_RELAXED) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static const struct loop_poll_ops completions_poll = { .ready = completions_there };

static void retry_submit(struct loop_timer *timer)
{
	uring_submit(container_of(timer, struct uring, retry));
}

static void uring_free(void *self)
{
	struct uring *uring = self;

	loop_timer_cancel(&uring->retry);
	loop_fd_del(&uring->completions);
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

static int uring_start(void *self, struct loop *home)
{
	struct uring *uring = self;

	return loop_fd_add(home, &uring->completions);
}

static const struct block_backend uring_backend = {
	.name = "io_uring",
	.start = uring_start,
	.completes_in_submit = true,
	.add = uring_add,
	.submit = uring_submit,
	.reap = uring_reap,
	.free = uring_free,
};

int block_uring_new(struct block_engine *engine, int fd, struct loop *home, unsigned int depth,
		    const struct block_backend **backend, void **self)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	struct block_ring ring;
	int ret;

	if (!uring)
		return -ENOMEM;
	ret = block_ring_open(&ring, depth, fd);
	if (ret) {
		free(uring);
		return ret;
	}
	uring->ring = ring.ring;
	uring->engine = engine;
	uring->in_flight_max = uring->ring.cq.ring_entries;
	uring->fd = ring.fixed ? 0 : fd;
	uring->fd_flags = ring.fixed ? IOSQE_FIXED_FILE : 0;
	loop_timer_init(&uring->retry, home, retry_submit);
	uring->completions = (struct loop_fd){
		.fd = uring->ring.ring_fd, .events = EPOLLIN, .handler = completions_ready, .poll = &completions_poll
	};
	list_init(&uring->completions.node);
	*backend = &uring_backend;
	*self = uring;
	return 0;
}
