// SPDX-License-Identifier: Apache-2.0
/*
 * Requests of virtio-blk (virtio 1.2 §5.2.6). What a notification brings is handed to the engine in one go; what the engine
 * completes is published, and interrupted for, in one go.
 *
 * A request that is neither with the engine nor answered is parked: one whose error stops the VM, and one that the engine
 * gave back because it held it back when the device had to come to rest. Parked requests touch no memory; they go on when
 * the device does, and vanish when the driver resets it.
 */
#include "blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "virtio-blk"
#include "util/log.h"

/* In error and stop_error, above errno. */
#define ERROR_WRITE (1U << 16)
#define ERROR_IGNORED (1U << 17)

/* --- Slots --- */

int blk_io_create_slots(struct virtio_blk *blk, struct error **errp)
{
	blk->bqs = calloc(blk->num_queues, sizeof(*blk->bqs));
	for (unsigned int i = 0; blk->bqs && i < blk->num_queues; i++) {
		struct blk_queue *bq = &blk->bqs[i];

		bq->blk = blk;
		bq->queue = &blk->vdev.queues[i];
		bq->slots = calloc(blk->queue_size, sizeof(*bq->slots));
		if (!bq->slots)
			return error_set(errp, -ENOMEM, "out of memory");
	}
	return blk->bqs ? 0 : error_set(errp, -ENOMEM, "out of memory");
}

void blk_io_free_slots(struct virtio_blk *blk)
{
	for (unsigned int i = 0; blk->bqs && i < blk->num_queues; i++)
		free(blk->bqs[i].slots);
	free(blk->bqs);
	blk->bqs = NULL;
}

static struct blk_request *slot_get(struct blk_queue *bq)
{
	struct blk_request *request = bq->free;

	if (request) {
		bq->free = request->next_free;
		return request;
	}
	request = &bq->slots[bq->used_slots++];
	request->bq = bq;
	return request;
}

static void slot_put(struct blk_request *request)
{
	struct blk_queue *bq = request->bq;

	if (request->iov_large) {
		bq->blk->iov_used -= request->iov_large_count;
		free(request->iov_large);
		request->iov_large = NULL;
	}
	request->next_free = bq->free;
	bq->free = request;
}

static void complete(struct blk_request *request, uint8_t status, uint32_t data_written)
{
	struct blk_queue *bq = request->bq;

	*request->status = status;
	virtqueue_push(&bq->queue->vq, request->head, data_written + 1);
	bq->dirty = true;
	slot_put(request);
}

static void flush_queues(struct virtio_blk *blk)
{
	for (unsigned int i = 0; i < blk->num_queues; i++) {
		struct blk_queue *bq = &blk->bqs[i];

		if (bq->dirty) {
			bq->dirty = false;
			virtio_queue_flush(bq->queue);
		}
	}
	if (blk->iov_wait && blk->iov_used <= BLK_IOV_MAX / 2) {
		blk->iov_wait = false;
		blk_io_kick_queues(blk);
	}
}

static void batch_done(struct block_engine_user *user)
{
	flush_queues(container_of(user, struct virtio_blk, engine_user));
}

void blk_io_kick_queues(struct virtio_blk *blk)
{
	for (unsigned int i = 0; i < blk->num_queues; i++)
		if (blk->bqs[i].queue->running)
			virtio_queue_kick(blk->bqs[i].queue);
}

/* --- Errors of the host --- */

/* On the main loop, where somebody may be listening; one error a second will do, but for the one that stops the VM. */
static void report_error(struct virtio_blk *blk, uint32_t flags, int result, bool stop)
{
	unsigned int dropped;

	if (stop) {
		if (blk->stopping)
			return;
		blk->stopping = true;
		atomic_store(&blk->stop_error, flags | (uint32_t)-result);
	} else if (log_limit_pass(&blk->event_limit, &dropped)) {
		atomic_store(&blk->error, flags | (uint32_t)-result);
	} else {
		return;
	}
	loop_call_schedule(&blk->error_call);
}

static void tell_error(struct virtio_blk *blk, uint32_t error, bool stop)
{
	struct platform *platform = blk->vdev.dev.platform;
	const struct device_event_info info = {
		.dev = &blk->vdev.dev,
		.drive = blk->drive,
		.operation = error & ERROR_WRITE ? "write" : "read",
		.action = stop ? "stop" : error & ERROR_IGNORED ? "ignore" : "report",
		.error = -(int)(error & (ERROR_WRITE - 1)),
	};

	if (platform->event && blk->drive)
		platform->event(platform, DEVICE_EVENT_DRIVE_ERROR, &info);
	if (stop && platform->request)
		platform->request(platform, GUEST_IO_ERROR, 0, "io-error");
}

static void main_tell_error(struct loop_call *call)
{
	struct virtio_blk *blk = container_of(call, struct virtio_blk, error_call);
	uint32_t error = atomic_exchange(&blk->error, 0);

	if (error)
		tell_error(blk, error, false);
	error = atomic_exchange(&blk->stop_error, 0);
	if (error)
		tell_error(blk, error, true);
}

static void park(struct virtio_blk *blk, struct blk_request *request)
{
	list_add_tail(&blk->parked, &request->io.node);
}

static void io_failed(struct virtio_blk *blk, struct blk_request *request, int result)
{
	const struct block_request *io = &request->io;
	uint32_t flags = request->reading ? 0 : ERROR_WRITE;
	bool write = !request->reading;

	log_warn_limited(&blk->io_limit, "%s: '%s': %s of %llu bytes at %llu: %s", blk->vdev.dev.id,
			 block_drive_file(blk->drive), write ? "request" : "read",
			 (unsigned long long)io->length, (unsigned long long)io->offset, strerror(-result));
	switch (block_drive_on_error(blk->drive, blk->on_error[write], write, result)) {
	case BLOCK_ON_ERROR_STOP:
		block_drive_set_io_status(blk->drive,
					  result == -ENOSPC ? BLOCK_IO_NOSPACE : BLOCK_IO_FAILED);
		park(blk, request);
		report_error(blk, flags, result, true);
		return;
	case BLOCK_ON_ERROR_IGNORE:
		report_error(blk, flags | ERROR_IGNORED, result, false);
		complete(request, BLK_S_OK, request->reading ? io->completed : 0);
		return;
	default:
		report_error(blk, flags, result, false);
		complete(request, BLK_S_IOERR, request->reading ? io->completed : 0);
	}
}

static void io_done(struct block_request *io, int result)
{
	struct blk_request *request = container_of(io, struct blk_request, io);
	struct virtio_blk *blk = request->bq->blk;

	if (!result)
		complete(request, BLK_S_OK, request->reading ? io->completed : 0);
	else if (result == -ECANCELED)
		park(blk, request);
	else
		io_failed(blk, request, result);
}

/* --- Parked requests --- */

/* The disk may have become smaller or read-only since they were checked. */
static bool still_valid(const struct blk_request *request)
{
	const struct virtio_blk *blk = request->bq->blk;
	const struct block_request *io = &request->io;

	if (!blk->drive || request->doomed)
		return false;
	if (io->op == BLOCK_FLUSH)
		return true;
	return io->offset <= blk->capacity && io->length <= blk->capacity - io->offset &&
	       (request->reading || !block_drive_readonly(blk->drive));
}

static void do_parked_again(struct virtio_blk *blk)
{
	struct list again, *node;

	if (blk->stopping)
		return;
	list_init(&again);
	list_move_all(&blk->parked, &again); /* some may come to be parked at once */
	while ((node = list_first(&again))) {
		struct blk_request *request = list_entry(node, struct blk_request, io.node);

		list_del(node);
		if (still_valid(request))
			block_engine_again(blk->engine, &request->io);
		else
			complete(request, BLK_S_IOERR, 0);
	}
}

void blk_io_forget(struct virtio_blk *blk, const struct virtio_queue *queue)
{
	struct blk_request *request, *next;

	list_for_each_safe(request, next, &blk->parked, io.node) {
		if (queue && request->bq->queue != queue)
			continue;
		list_del(&request->io.node);
		slot_put(request);
	}
	if (!queue)
		blk->iov_wait = false;
}

void blk_io_doom(struct virtio_blk *blk)
{
	struct blk_request *request;

	list_for_each(request, &blk->parked, io.node)
		request->doomed = true;
}

void blk_io_start(struct virtio_blk *blk)
{
	blk->has_flush = virtio_has_feature(&blk->vdev, BLK_F_FLUSH);
	blk->has_wce = virtio_has_feature(&blk->vdev, BLK_F_CONFIG_WCE);
	blk->stopping = false;
	if (blk->drive)
		block_drive_set_io_status(blk->drive, BLOCK_IO_OK);
}

/* --- Requests --- */

/* §5.2.6.2: without a way to flush, or with the cache switched off, writes are stable when they are done. */
static bool writes_are_synchronous(const struct virtio_blk *blk)
{
	if (!blk->has_wce && !blk->has_flush)
		return true;
	return !atomic_load_explicit(blk->has_wce ? &blk->writeback : &blk->may_write_back,
				     memory_order_relaxed);
}

static void start_io(struct blk_request *request, enum block_op op, uint64_t sector, uint64_t len)
{
	struct virtio_blk *blk = request->bq->blk;

	request->reading = op == BLOCK_READ;
	request->doomed = false;
	request->io.op = op;
	request->io.offset = sector * BLK_SECTOR;
	request->io.length = len;
	request->io.sync = writes_are_synchronous(blk);
	request->io.done = io_done;
	block_engine_add(blk->engine, &request->io);
}

static const struct iovec *data_of(const struct blk_parts *parts, unsigned int *count)
{
	*count = parts->type == BLK_T_IN ? parts->in_count : parts->type == BLK_T_OUT ? parts->out_count : 0;
	return parts->type == BLK_T_IN ? parts->in : parts->out;
}

/* Is there memory for the request's segments? One request always finds some. */
static bool have_room(const struct virtio_blk *blk, const struct blk_parts *parts)
{
	unsigned int count;

	data_of(parts, &count);
	return count <= BLK_IOV_INLINE || blk->iov_used + count <= BLK_IOV_MAX;
}

static struct iovec *copy_segments(struct blk_request *request, const struct blk_parts *parts,
				   unsigned int *ret_count)
{
	unsigned int count;
	const struct iovec *iov = data_of(parts, &count);
	struct iovec *own = request->iov_inline;

	if (count > BLK_IOV_INLINE) {
		own = malloc(count * sizeof(*own));
		if (!own)
			return NULL;
		request->iov_large = own;
		request->iov_large_count = count;
		request->bq->blk->iov_used += count;
	}
	/* The chain's array is gone with the next pop. */
	memcpy(own, iov, count * sizeof(*own));
	*ret_count = count;
	return own;
}

static void transfer(struct blk_request *request, const struct blk_parts *parts, enum block_op op)
{
	struct virtio_blk *blk = request->bq->blk;
	uint32_t len = op == BLOCK_READ ? parts->in_len : parts->out_len;
	struct iovec *iov;

	if (!blk_in_range(parts->sector, len, blk->capacity, blk->logical_block_size) ||
	    (op == BLOCK_WRITE && block_drive_readonly(blk->drive))) {
		complete(request, BLK_S_IOERR, 0);
		return;
	}
	iov = copy_segments(request, parts, &request->io.iov_count);
	if (!iov) {
		complete(request, BLK_S_IOERR, 0);
		return;
	}
	request->io.iov = iov;
	start_io(request, op, parts->sector, len);
}

static void get_id(struct blk_request *request, const struct blk_parts *parts)
{
	struct virtio_blk *blk = request->bq->blk;
	char id[BLK_ID_SIZE] = { 0 };

	if (blk->serial)
		memcpy(id, blk->serial, strnlen(blk->serial, sizeof(id)));
	complete(request, BLK_S_OK, blk_scatter(parts->in, parts->in_count, id, sizeof(id)));
}

/* §5.2.6.2: discard and write-zeroes, one range each. */
static void change_range(struct blk_request *request, const struct blk_parts *parts, enum block_op op)
{
	struct virtio_blk *blk = request->bq->blk;
	uint32_t known_flags = op == BLOCK_WRITE_ZEROES ? BLK_RANGE_F_UNMAP : 0, flags;
	struct blk_range range;
	uint64_t sector, len;
	uint8_t status = BLK_S_OK;

	if (!virtio_has_feature(&blk->vdev, op == BLOCK_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES)) {
		/* Not offered on a read-only disk, where every change is an error. */
		complete(request, block_drive_readonly(blk->drive) ? BLK_S_IOERR : BLK_S_UNSUPP, 0);
		return;
	}
	if (parts->out_len != sizeof(range)) {
		complete(request, BLK_S_IOERR, 0);
		return;
	}
	blk_gather(parts->out, parts->out_count, &range, sizeof(range));
	flags = le32_to_cpu(range.flags);
	sector = le64_to_cpu(range.sector);
	len = (uint64_t)le32_to_cpu(range.sectors) * BLK_SECTOR;
	if (flags & ~known_flags)
		status = BLK_S_UNSUPP;
	else if (block_drive_readonly(blk->drive) ||
		 len > (uint64_t)BLK_RANGE_SECTORS_MAX * BLK_SECTOR ||
		 !blk_in_range(sector, len, blk->capacity, blk->logical_block_size))
		status = BLK_S_IOERR;
	/* The drive may have come after the offer; to follow a discard is up to us. */
	if (status != BLK_S_OK || (op == BLOCK_DISCARD && !block_drive_discard(blk->drive))) {
		complete(request, status, 0);
		return;
	}
	request->io.may_unmap = flags & BLK_RANGE_F_UNMAP;
	start_io(request, op, sector, len);
}

static void take(struct blk_queue *bq, uint16_t head, const struct blk_parts *parts)
{
	struct blk_request *request = slot_get(bq);

	request->head = head;
	request->status = parts->status;
	if (!bq->blk->drive) {
		complete(request, BLK_S_IOERR, 0);
		return;
	}
	switch (parts->type) {
	case BLK_T_IN:
		transfer(request, parts, BLOCK_READ);
		break;
	case BLK_T_OUT:
		transfer(request, parts, BLOCK_WRITE);
		break;
	case BLK_T_FLUSH:
		start_io(request, BLOCK_FLUSH, 0, 0);
		break;
	case BLK_T_GET_ID:
		get_id(request, parts);
		break;
	case BLK_T_DISCARD:
		change_range(request, parts, BLOCK_DISCARD);
		break;
	case BLK_T_WRITE_ZEROES:
		change_range(request, parts, BLOCK_WRITE_ZEROES);
		break;
	default:
		complete(request, BLK_S_UNSUPP, 0);
	}
}

/* Starts what is available, one ring's worth at most: a guest that keeps it coming shares the loop with others. */
static void take_available(struct blk_queue *bq)
{
	struct virtio_queue *queue = bq->queue;
	unsigned int budget = queue->vq.size;
	struct virtq_chain chain;
	struct blk_parts parts;

	virtqueue_notify_off(&queue->vq);
	do {
		while (virtqueue_pending(&queue->vq)) {
			if (!budget--) {
				virtio_queue_kick(queue);
				return;
			}
			if (!virtio_queue_pop(queue, &chain))
				return;
			if (blk_split(&chain, &parts)) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_device_error(queue->vdev, "a request has no header or no status byte");
				return;
			}
			if (!have_room(bq->blk, &parts)) {
				virtqueue_unpop(&queue->vq, chain.head);
				bq->blk->iov_wait = true; /* completions will look again */
				return;
			}
			take(bq, chain.head, &parts);
		}
	} while (virtqueue_notify_on(&queue->vq));
}

void blk_io_handle_queue(struct virtio_queue *queue)
{
	struct virtio_blk *blk = to_blk(queue->vdev);

	if (!list_empty(&blk->parked))
		do_parked_again(blk);
	take_available(&blk->bqs[queue->index]);
	if (blk->engine)
		block_engine_submit(blk->engine);
	flush_queues(blk);
}

void blk_io_init(struct virtio_blk *blk)
{
	blk->engine_user.batch_done = batch_done;
	list_init(&blk->parked);
	loop_call_init(&blk->error_call, blk->vdev.dev.platform->main_loop, main_tell_error);
}
