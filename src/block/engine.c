// SPDX-License-Identifier: Apache-2.0
/*
 * From a request to system calls. A request is one or more steps: transfers that were short go on, memory that does not
 * suit direct I/O goes through a bounce buffer piece by piece, a write-through write ends with a sync, and zeroes
 * that the file system cannot make are written. Which thread or ring carries a step out is the back half's matter.
 */
#include "block/engine.h"

#include <errno.h>
#include <linux/falloc.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "throttle_member.h"

#define LOG_MODULE "block"
#include "util/log.h"

#define BOUNCE_MAX MIB
#define ZEROES_SIZE (256 * KIB)
/* A host without resources is asked again for about a second. */
#define AGAIN_NS NSEC_PER_MSEC
#define AGAIN_MAX 1000

struct block_engine {
	struct block_drive *drive;
	struct loop *home;
	struct block_engine_user *user;
	const struct block_backend *backend;
	void *self;
	unsigned int outstanding;
	int64_t now_ns; /* the time as of this batch, 0: not yet asked for */
	struct list waiting; /* steps the back half has no room for, or that follow a finished one */
	struct list later;   /* steps that the host had no resources for */
	struct loop_timer later_timer;
	unsigned int stages; /* of members, which a request passes in this order */
	struct engine_member {
		struct throttle_member member;
		struct block_engine *engine;
	} members[BLOCK_GROUPS_MAX];
};

/* Never written to: all its pages are the one zero page. */
static uint8_t zeroes[ZEROES_SIZE] __attribute__((aligned(4096)));

/* --- Guest memory --- */

/* Copies @len bytes between @buf and the iovecs, from their byte @skip on. */
static void iov_copy(const struct iovec *iov, uint64_t skip, uint8_t *buf, size_t len, bool to_iov)
{
	for (; len; iov++) {
		size_t n;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		n = MIN(len, iov->iov_len - (size_t)skip);
		if (to_iov)
			memcpy((uint8_t *)iov->iov_base + skip, buf, n);
		else
			memcpy(buf, (uint8_t *)iov->iov_base + skip, n);
		buf += n;
		len -= n;
		skip = 0;
	}
}

static void iov_advance(struct block_request *request, uint64_t len)
{
	while (len && len >= request->iov->iov_len) {
		len -= request->iov->iov_len;
		request->iov++;
		request->iov_count--;
	}
	if (len) {
		request->iov->iov_base = (uint8_t *)request->iov->iov_base + len;
		request->iov->iov_len -= len;
	}
}

/* Direct I/O wants addresses to be multiples of the one, and the length of each piece of the other (open(2), statx(2)). */
static bool iov_is_aligned(const struct block_request *request, const struct block_drive *drive)
{
	uintptr_t bases = 0, lens = 0;

	for (unsigned int i = 0; i < request->iov_count; i++) {
		bases |= (uintptr_t)request->iov[i].iov_base;
		lens |= request->iov[i].iov_len;
	}
	return !(bases & (drive->dio_mem_align - 1)) && !(lens & (drive->dio_offset_align - 1));
}

static bool iov_is_zero(const struct block_request *request)
{
	for (unsigned int i = 0; i < request->iov_count; i++) {
		const uint8_t *p = request->iov[i].iov_base;
		size_t left = request->iov[i].iov_len, n;

		for (; left; left -= n, p += n) {
			n = MIN(left, sizeof(zeroes));
			if (memcmp(p, zeroes, n))
				return false;
		}
	}
	return true;
}

/* --- Steps --- */

void block_request_call(const struct block_request *request, struct block_call *call)
{
	*call = (struct block_call){
		.step = request->step,
		.iov = request->piece_len ? &request->piece : request->iov,
		.iov_count = request->piece_len ? 1 : request->iov_count,
		.offset = request->offset + request->completed,
		.length = request->length - request->completed,
	};
	if (request->step == STEP_PUNCH)
		call->mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	else if (request->step == STEP_ZERO)
		call->mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
}

/* The next piece of a transfer that does not use the caller's memory directly. */
static void prepare_piece(struct block_request *request)
{
	uint64_t left = request->length - request->completed;

	if (request->bounce) {
		request->piece_len = MIN(left, BOUNCE_MAX);
		request->piece = (struct iovec){ request->bounce, request->piece_len };
		if (request->op == BLOCK_WRITE)
			iov_copy(request->iov, request->completed - request->advanced, request->bounce,
				 request->piece_len, false);
	} else if (request->op == BLOCK_WRITE_ZEROES) {
		request->piece_len = MIN(left, ZEROES_SIZE);
		request->piece = (struct iovec){ zeroes, request->piece_len };
	}
}

static int begin_transfer(struct block_engine *engine, struct block_request *request)
{
	const struct block_drive *drive = engine->drive;
	void *bounce = NULL;

	request->step = request->op == BLOCK_READ ? STEP_READV : STEP_WRITEV;
	if (drive->dio_offset_align && !iov_is_aligned(request, drive)) {
		if (posix_memalign(&bounce, 4096, MIN(request->length - request->completed, BOUNCE_MAX)))
			return -ENOMEM;
		request->bounce = bounce;
		prepare_piece(request);
	}
	return 0;
}

/* The first step, or an error, or 1 when there is nothing to do. */
static int begin(struct block_engine *engine, struct block_request *request)
{
	struct block_drive *drive = engine->drive;

	if (request->op == BLOCK_WRITE && drive->detect_zeroes != BLOCK_DETECT_ZEROES_OFF &&
	    iov_is_zero(request)) {
		request->op = BLOCK_WRITE_ZEROES;
		request->may_unmap = drive->detect_zeroes == BLOCK_DETECT_ZEROES_UNMAP;
	}
	if (request->op != BLOCK_FLUSH && !request->length)
		return 1;
	if (request->length && request->completed == request->length) { /* again: all but the sync was done */
		request->step = STEP_SYNC;
		return 0;
	}
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		return begin_transfer(engine, request);
	case BLOCK_FLUSH:
		request->step = STEP_SYNC;
		return drive->ignore_flush;
	case BLOCK_DISCARD:
		request->step = STEP_PUNCH;
		return 0;
	case BLOCK_WRITE_ZEROES:
		request->step = request->may_unmap && drive->discard ? STEP_PUNCH : STEP_ZERO;
		return 0;
	}
	return -EINVAL;
}

/*
 * What the page cache could not write it may have dropped, and the next fdatasync() would not know: once one has failed,
 * none is believed any more.
 */
static int sync_result(struct block_drive *drive, int result)
{
	if (result && !drive->direct && !drive->sync_error) {
		drive->sync_error = result;
		log_error("drive '%s': what was written may be lost, as flushing it failed: %s", drive->id,
			  strerror(-result));
	}
	return result ? result : drive->sync_error;
}

/* A step is over with request->result: true when another one is set up, else *result is the request's. */
static bool next_step(struct block_engine *engine, struct block_request *request, int *result)
{
	const struct block_drive *drive = engine->drive;
	bool unsupported = request->result == -EOPNOTSUPP || request->result == -ENOSYS ||
			   request->result == -EINVAL;
	uint32_t n;

	*result = MIN(request->result, 0);
	switch ((enum block_step)request->step) {
	case STEP_READV:
	case STEP_WRITEV:
		if (request->result <= 0) {
			/* The end of the file: somebody has truncated the image. */
			*result = request->result ? request->result : -EIO;
			return false;
		}
		n = request->result;
		if (request->bounce && request->op == BLOCK_READ)
			iov_copy(request->iov, request->completed - request->advanced, request->bounce, n,
				 true);
		if (!request->piece_len) {
			iov_advance(request, n);
			request->advanced += n;
		}
		request->completed += n;
		*result = 0;
		if (request->completed < request->length) {
			prepare_piece(request);
			return true;
		}
		break;
	case STEP_SYNC:
		*result = sync_result(engine->drive, *result);
		return false;
	case STEP_PUNCH:
		if (request->op == BLOCK_DISCARD) { /* a hint: it need not be followed */
			if (unsupported)
				*result = 0;
			return false;
		}
		if (unsupported) {
			request->step = STEP_ZERO;
			return true;
		}
		break;
	case STEP_ZERO:
		if (unsupported) {
			request->step = STEP_WRITEV;
			prepare_piece(request);
			return true;
		}
		break;
	}
	if (*result || request->op == BLOCK_READ || drive->ignore_flush ||
	    !(request->sync || drive->writethrough))
		return false;
	request->step = STEP_SYNC;
	request->piece_len = 0;
	return true;
}

/* The host could not even try: true when the step is put off. */
static bool put_off(struct block_engine *engine, struct block_request *request)
{
	if (request->result == -EINTR) {
		list_add_tail(&engine->waiting, &request->node);
		return true;
	}
	if (request->result != -EAGAIN || request->attempts == AGAIN_MAX)
		return false;
	request->attempts++;
	if (list_empty(&engine->later))
		loop_timer_set(&engine->later_timer, clock_now_ns() + AGAIN_NS);
	list_add_tail(&engine->later, &request->node);
	return true;
}

/* --- Accounts --- */

/* A batch's requests share one look at the clock. */
static int64_t batch_now(struct block_engine *engine)
{
	if (!engine->now_ns)
		engine->now_ns = clock_now_ns();
	return engine->now_ns;
}

static enum block_account account_of(enum block_op op)
{
	switch (op) {
	case BLOCK_READ:
		return BLOCK_ACCOUNT_READ;
	case BLOCK_FLUSH:
		return BLOCK_ACCOUNT_FLUSH;
	case BLOCK_DISCARD:
		return BLOCK_ACCOUNT_DISCARD;
	case BLOCK_WRITE:
	case BLOCK_WRITE_ZEROES:
		break;
	}
	return BLOCK_ACCOUNT_WRITE;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static void account(struct block_engine *engine, const struct block_request *request, int result)
{
	struct block_counters *counters = &engine->drive->counters;
	uint64_t end = request->offset + request->length;
	int n = request->account;

	count(&counters->time_ns[n], (uint64_t)(batch_now(engine) - request->start_ns));
	if (result) {
		count(&counters->failed[n], 1);
		return;
	}
	count(&counters->operations[n], 1);
	count(&counters->bytes[n], request->length);
	if (n == BLOCK_ACCOUNT_WRITE &&
	    end > atomic_load_explicit(&counters->highest_write, memory_order_relaxed))
		atomic_store_explicit(&counters->highest_write, end, memory_order_relaxed);
}

static void finish(struct block_engine *engine, struct block_request *request, int result)
{
	free(request->bounce);
	request->bounce = NULL;
	request->stage = 0;
	engine->outstanding--;
	account(engine, request, result);
	request->done(request, result);
}

void block_engine_step_done(struct block_engine *engine, struct block_request *request)
{
	int result = 0;

	if (put_off(engine, request))
		return;
	request->attempts = 0;
	if (next_step(engine, request, &result))
		list_add_tail(&engine->waiting, &request->node);
	else
		finish(engine, request, result);
}

static void issue_waiting(struct block_engine *engine)
{
	struct list *node;

	while ((node = list_first(&engine->waiting))) {
		list_del(node);
		if (!engine->backend->add(engine->self, list_entry(node, struct block_request, node))) {
			/* Back to the front. */
			list_add_tail(engine->waiting.next, node);
			return;
		}
	}
}

static void start(struct block_engine *engine, struct block_request *request)
{
	int ret;

	engine->outstanding++;
	ret = begin(engine, request);
	if (ret)
		finish(engine, request, MIN(ret, 0));
	else if (!list_empty(&engine->waiting) || !engine->backend->add(engine->self, request))
		list_add_tail(&engine->waiting, &request->node);
}

/* --- Limits --- */

/* On through the groups that it has not passed yet. */
static void admit(struct block_engine *engine, struct block_request *request)
{
	while (request->op != BLOCK_FLUSH && request->stage < engine->stages) {
		struct throttle_member *member = &engine->members[request->stage].member;

		if (throttle_member_hold(member, request, batch_now(engine)))
			return;
		request->stage++;
	}
	start(engine, request);
}

static void release_due(struct block_engine *engine, struct throttle_member *member)
{
	struct list due, *node;

	list_init(&due);
	throttle_member_due(member, batch_now(engine), &due);
	while ((node = list_first(&due))) {
		struct block_request *request = list_entry(node, struct block_request, node);

		list_del(node);
		request->stage++;
		admit(engine, request);
	}
}

static void member_ready(struct throttle_member *member)
{
	struct block_engine *engine = container_of(member, struct engine_member, member)->engine;

	engine->now_ns = 0;
	release_due(engine, member);
	block_engine_submit(engine);
	engine->user->batch_done(engine->user);
}

static void join_groups(struct block_engine *engine, struct list *displaced)
{
	struct throttle_group *groups[BLOCK_GROUPS_MAX];

	engine->stages = block_drive_groups(engine->drive, groups);
	for (unsigned int i = 0; i < BLOCK_GROUPS_MAX; i++) {
		struct throttle_member *member = &engine->members[i].member;
		struct throttle_group *group = i < engine->stages ? groups[i] : NULL;

		if (member->group == group)
			continue;
		throttle_member_take_back(member, displaced);
		throttle_member_join(member, group);
	}
}

void block_engine_limits_changed(struct block_engine *engine)
{
	struct list displaced, *node;

	engine->now_ns = 0;
	list_init(&displaced);
	join_groups(engine, &displaced);
	while ((node = list_first(&displaced))) {
		list_del(node);
		admit(engine, list_entry(node, struct block_request, node));
	}
	for (unsigned int i = 0; i < engine->stages; i++)
		release_due(engine, &engine->members[i].member);
	block_engine_submit(engine);
	engine->user->batch_done(engine->user);
}

/* What has passed one group does not pay there again. */
static void give_back_held(struct block_engine *engine)
{
	struct list held, *node;

	list_init(&held);
	for (unsigned int i = engine->stages; i--;)
		throttle_member_take_back(&engine->members[i].member, &held);
	while ((node = list_first(&held))) {
		struct block_request *request = list_entry(node, struct block_request, node);

		list_del(node);
		request->done(request, -ECANCELED);
	}
}

/* --- For the user --- */

void block_engine_again(struct block_engine *engine, struct block_request *request)
{
	request->start_ns = batch_now(engine);
	request->bounce = NULL;
	request->piece_len = 0;
	request->attempts = 0;
	list_init(&request->node);
	admit(engine, request);
}

void block_engine_add(struct block_engine *engine, struct block_request *request)
{
	request->account = account_of(request->op);
	request->completed = 0;
	request->advanced = 0;
	request->stage = 0;
	block_engine_again(engine, request);
}

void block_engine_submit(struct block_engine *engine)
{
	engine->backend->submit(engine->self);
	engine->now_ns = 0;
	if (!engine->backend->completes_in_submit)
		return;
	/* What the page cache could answer is done already: no need to hear of it by way of the loop. */
	engine->backend->reap(engine->self, false);
	if (!list_empty(&engine->waiting)) {
		issue_waiting(engine);
		engine->backend->submit(engine->self);
	}
	engine->now_ns = 0;
}

void block_engine_reap(struct block_engine *engine)
{
	engine->now_ns = 0;
	engine->backend->reap(engine->self, false);
	issue_waiting(engine);
	engine->backend->submit(engine->self);
	engine->now_ns = 0;
	engine->user->batch_done(engine->user);
}

void block_engine_drain(struct block_engine *engine)
{
	give_back_held(engine);
	while (engine->outstanding) {
		list_move_all(&engine->later, &engine->waiting);
		issue_waiting(engine);
		engine->backend->submit(engine->self);
		engine->now_ns = 0;
		engine->backend->reap(engine->self, true);
	}
	engine->now_ns = 0;
	engine->user->batch_done(engine->user);
}

static void later_over(struct loop_timer *timer)
{
	struct block_engine *engine = container_of(timer, struct block_engine, later_timer);

	list_move_all(&engine->later, &engine->waiting);
	block_engine_reap(engine);
}

/* --- Life --- */

int block_engine_new(struct block_drive *drive, struct loop *home, struct loop *main_loop, unsigned int depth,
		     struct block_engine_user *user, struct block_engine **ret, struct error **errp)
{
	struct block_engine *engine = calloc(1, sizeof(*engine));
	int err = -ENOTSUP;

	if (!engine)
		return error_set(errp, -ENOMEM, "drive '%s': out of memory", drive->id);
	engine->drive = drive;
	engine->home = home;
	engine->user = user;
	list_init(&engine->waiting);
	list_init(&engine->later);
	loop_timer_init(&engine->later_timer, home, later_over);
	for (unsigned int i = 0; i < BLOCK_GROUPS_MAX; i++) {
		engine->members[i].engine = engine;
		throttle_member_init(&engine->members[i].member, home, member_ready);
	}
	if (drive->aio == BLOCK_AIO_IO_URING) {
		err = block_uring_new(engine, drive->fd, home, depth, &engine->backend, &engine->self);
		if (err)
			log_warn("drive '%s': io_uring cannot be used (%s): threads do its I/O", drive->id,
				 strerror(-err));
	}
	if (err)
		err = block_threads_new(engine, drive->fd, main_loop, &engine->backend, &engine->self);
	if (err) {
		free(engine);
		return error_set_errno(errp, err, "drive '%s': no I/O engine", drive->id);
	}
	join_groups(engine, NULL);
	*ret = engine;
	return 0;
}

int block_engine_start(struct block_engine *engine, struct error **errp)
{
	int ret = engine->backend->start(engine->self, engine->home);

	return ret ? error_set_errno(errp, ret, "drive '%s': its completions cannot be watched", engine->drive->id) : 0;
}

void block_engine_free(struct block_engine *engine)
{
	if (!engine)
		return;
	loop_timer_cancel(&engine->later_timer);
	for (unsigned int i = 0; i < engine->stages; i++)
		throttle_member_leave(&engine->members[i].member);
	engine->backend->free(engine->self);
	free(engine);
}

const char *block_engine_name(const struct block_engine *engine)
{
	return engine->backend->name;
}
