// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk (virtio 1.2 §5.2). All queues of a device live on one home loop and share one engine. What a notification
 * brings is handed to the engine in one go; what the engine completes is published, and interrupted for, in one go.
 *
 * A disk in a replaceable slot can lose its drive and get another one while the guest runs: then it has no engine and
 * capacity 0, and every request fails. The guest learns of it by a configuration interrupt.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blk_request.h"
#include "block/engine.h"
#include "mmio.h"
#include "pci.h"
#include "util/bucket.h"
#include "virtio/classes.h"

#define LOG_MODULE "virtio-blk"
#include "util/log.h"

#define F_SEG_MAX (1ULL << 2)
#define F_RO (1ULL << 5)
#define F_BLK_SIZE (1ULL << 6)
#define F_FLUSH (1ULL << 9)
#define F_TOPOLOGY (1ULL << 10)
#define F_MQ (1ULL << 12)
#define F_DISCARD (1ULL << 13)
#define F_WRITE_ZEROES (1ULL << 14)

/* §5.2.4 */
struct blk_config {
	le64_t capacity; /* in sectors of 512 bytes, whatever blk_size is */
	le32_t size_max, seg_max;
	le16_t cylinders;
	uint8_t heads, sectors;
	le32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	le16_t min_io_size;
	le32_t opt_io_size;
	uint8_t writeback, unused0;
	le16_t num_queues;
	le32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
} __packed;

/* Most requests fit; longer ones get an array of their own, which stays with the slot. */
#define IOV_INLINE 4

struct blk_request {
	struct block_request io;
	struct blk_queue *bq;
	uint16_t head;
	bool reading;
	uint8_t *status;
	struct blk_request *next_free;
	struct iovec *iov_large; /* size_max entries, or NULL */
	struct iovec iov_inline[IOV_INLINE];
};

/* Home loop. The virtqueue lets no more chains in flight than it has entries, so a free slot is always there. */
struct blk_queue {
	struct virtio_blk *blk;
	struct virtio_queue *queue;
	struct blk_request *slots; /* size_max */
	unsigned int used_slots;   /* those never used are behind them, untouched memory */
	struct blk_request *free;
	bool dirty; /* pushed something since the last flush */
};

struct virtio_blk {
	struct virtio_device vdev;
	struct block_drive *drive;
	struct iothread *iothread;
	char *serial;
	uint16_t num_queues, queue_size;
	uint32_t logical_block_size, physical_block_size;

	struct blk_queue *bqs;
	struct block_drive_user user;
	struct loop_call error_call; /* main loop: tells of error */
	_Atomic uint32_t error;      /* of a request: ERROR_WRITE and errno */

	/* home loop; the main thread may read drive */
	uint64_t capacity; /* bytes, whole blocks; 0 without a drive */
	struct block_engine *engine; /* NULL without a drive */
	struct block_engine_user engine_user;
	bool sync_writes; /* the driver did not negotiate FLUSH */
	struct bucket bucket;
	struct loop_timer throttle;
	struct log_limit io_limit, event_limit;
};

#define ERROR_WRITE (1U << 16)

#define BLK_PROPS \
	PROP_LINK("drive", struct virtio_blk, drive, LINK_DRIVE, 0, "the disk's back end; required"), \
	PROP_STRING("serial", struct virtio_blk, serial, 0, BLK_ID_SIZE, NULL, "serial number"), \
	PROP_UINT(16, "num-queues", struct virtio_blk, num_queues, 1, 32, 1, "request queues"), \
	PROP_POW2(16, "queue-size", struct virtio_blk, queue_size, 4, 1024, 256, "entries of a queue"), \
	PROP_LINK("iothread", struct virtio_blk, iothread, LINK_IOTHREAD, 0, \
		  "thread that does the I/O; the main thread without it"), \
	PROP_POW2(32, "logical_block_size", struct virtio_blk, logical_block_size, 512, 4096, 512, \
		  "smallest unit of the guest's accesses, in bytes"), \
	PROP_POW2(32, "physical_block_size", struct virtio_blk, physical_block_size, 512, 1048576, 0, \
		  "unit that is fast to write, in bytes; 0: logical_block_size"), \
	VIRTIO_BOOTINDEX_PROP(struct virtio_blk)

static const struct property blk_props[] = { BLK_PROPS, PROP_END };
static const struct property blk_pci_props[] = { BLK_PROPS, VIRTIO_PCI_PROPS(struct virtio_blk), PROP_END };

static struct virtio_blk *to_blk(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_blk, vdev);
}

/* --- Request slots --- */

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

static void complete(struct blk_request *request, uint8_t status, uint32_t data_written)
{
	struct blk_queue *bq = request->bq;

	*request->status = status;
	virtqueue_push(&bq->queue->vq, request->head, data_written + 1);
	bq->dirty = true;
	request->next_free = bq->free;
	bq->free = request;
}

/* On the main loop, where somebody may be listening; one error a second will do. */
static void report_error(struct virtio_blk *blk, uint32_t write, int result)
{
	unsigned int dropped;

	if (!log_limit_pass(&blk->event_limit, &dropped))
		return;
	atomic_store(&blk->error, write | (uint32_t)-result);
	loop_call_schedule(&blk->error_call);
}

static void main_tell_error(struct loop_call *call)
{
	struct virtio_blk *blk = container_of(call, struct virtio_blk, error_call);
	struct platform *platform = blk->vdev.dev.platform;
	uint32_t error = atomic_load(&blk->error);

	const struct device_event_info info = {
		.dev = &blk->vdev.dev,
		.drive = blk->drive,
		.operation = error & ERROR_WRITE ? "write" : "read",
		.error = -(int)(error & ~ERROR_WRITE),
	};

	if (platform->event && blk->drive)
		platform->event(platform, DEVICE_EVENT_DRIVE_ERROR, &info);
}

static void io_done(struct block_request *io, int result)
{
	struct blk_request *request = container_of(io, struct blk_request, io);
	struct virtio_blk *blk = request->bq->blk;

	if (result) {
		report_error(blk, request->reading ? 0 : ERROR_WRITE, result);
		log_warn_limited(&blk->io_limit, "%s: '%s': %s of %llu bytes at %llu: %s", blk->vdev.dev.id,
				 block_drive_file(blk->drive), request->reading ? "read" : "request",
				 (unsigned long long)io->length, (unsigned long long)io->offset,
				 strerror(-result));
	}
	complete(request, result ? BLK_S_IOERR : BLK_S_OK, request->reading ? io->completed : 0);
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
}

static void batch_done(struct block_engine_user *user)
{
	flush_queues(container_of(user, struct virtio_blk, engine_user));
}

/* --- Requests --- */

static void start_io(struct blk_request *request, enum block_op op, uint64_t sector, uint64_t len)
{
	struct virtio_blk *blk = request->bq->blk;

	request->reading = op == BLOCK_READ;
	request->io.op = op;
	request->io.offset = sector * BLK_SECTOR;
	request->io.length = len;
	request->io.sync = blk->sync_writes;
	request->io.done = io_done;
	block_engine_add(blk->engine, &request->io);
}

static void transfer(struct blk_request *request, const struct blk_parts *parts, enum block_op op)
{
	struct virtio_blk *blk = request->bq->blk;
	const struct iovec *iov = op == BLOCK_READ ? parts->in : parts->out;
	unsigned int count = op == BLOCK_READ ? parts->in_count : parts->out_count;
	uint32_t len = op == BLOCK_READ ? parts->in_len : parts->out_len;
	struct iovec *own = request->iov_inline;

	if (!blk_in_range(parts->sector, len, blk->capacity, blk->logical_block_size) ||
	    (op == BLOCK_WRITE && block_drive_readonly(blk->drive))) {
		complete(request, BLK_S_IOERR, 0);
		return;
	}
	if (count > IOV_INLINE) {
		if (!request->iov_large)
			request->iov_large = malloc(blk->queue_size * sizeof(*own));
		own = request->iov_large;
		if (!own) {
			complete(request, BLK_S_IOERR, 0);
			return;
		}
	}
	/* The chain's array is gone with the next pop. */
	memcpy(own, iov, count * sizeof(*own));
	request->io.iov = own;
	request->io.iov_count = count;
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

	if (!virtio_has_feature(&blk->vdev, op == BLOCK_DISCARD ? F_DISCARD : F_WRITE_ZEROES)) {
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

/* May one more request start now? If not, the timer will look again. */
static bool throttle_pass(struct virtio_blk *blk)
{
	int64_t now;

	if (!blk->bucket.rate)
		return true;
	now = clock_now_ns();
	if (bucket_available(&blk->bucket, now)) {
		bucket_take(&blk->bucket, 1, now);
		return true;
	}
	loop_timer_set(&blk->throttle, bucket_ready_ns(&blk->bucket, 1));
	return false;
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
			if (!throttle_pass(bq->blk) || !virtio_queue_pop(queue, &chain))
				return;
			if (blk_split(&chain, &parts)) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_device_error(queue->vdev, "a request has no header or no status byte");
				return;
			}
			take(bq, chain.head, &parts);
		}
	} while (virtqueue_notify_on(&queue->vq));
}

static void blk_handle_queue(struct virtio_queue *queue)
{
	struct virtio_blk *blk = to_blk(queue->vdev);

	take_available(&blk->bqs[queue->index]);
	if (blk->engine)
		block_engine_submit(blk->engine);
	flush_queues(blk);
}

static void kick_queues(struct virtio_blk *blk)
{
	for (unsigned int i = 0; i < blk->num_queues; i++)
		if (blk->bqs[i].queue->running)
			virtio_queue_kick(blk->bqs[i].queue);
}

static void throttle_over(struct loop_timer *timer)
{
	kick_queues(container_of(timer, struct virtio_blk, throttle));
}

/* --- Life --- */

static void blk_start(struct virtio_device *vdev)
{
	to_blk(vdev)->sync_writes = !virtio_has_feature(vdev, F_FLUSH);
}

static void blk_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_blk *blk = to_blk(vdev);

	if (!queue)
		loop_timer_cancel(&blk->throttle);
	/* Requests of other queues are waited for too, which takes no longer than the slowest of them. */
	if (blk->engine)
		block_engine_drain(blk->engine);
}

/* What @drive can, or, without one, what whichever comes might. */
static uint64_t features_for(const struct virtio_blk *blk, const struct block_drive *drive)
{
	uint64_t features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY;

	if (drive && block_drive_readonly(drive))
		features |= F_RO;
	else
		features |= F_WRITE_ZEROES | (!drive || block_drive_discard(drive) ? F_DISCARD : 0);
	if (blk->num_queues > 1)
		features |= F_MQ;
	return features;
}

static void set_config(struct virtio_blk *blk)
{
	uint32_t block = blk->logical_block_size;
	struct blk_config config = {
		.capacity = cpu_to_le64(blk->capacity / BLK_SECTOR),
		.seg_max = cpu_to_le32(blk->queue_size - 2), /* beside header and status */
		.blk_size = cpu_to_le32(block),
		.physical_block_exp = __builtin_ctz(blk->physical_block_size / block),
		.num_queues = cpu_to_le16(blk->num_queues),
		.max_discard_sectors = cpu_to_le32(BLK_RANGE_SECTORS_MAX),
		.max_discard_seg = cpu_to_le32(1),
		.discard_sector_alignment = cpu_to_le32(block / BLK_SECTOR),
		.max_write_zeroes_sectors = cpu_to_le32(BLK_RANGE_SECTORS_MAX),
		.max_write_zeroes_seg = cpu_to_le32(1),
		.write_zeroes_may_unmap = blk->drive && block_drive_discard(blk->drive),
	};

	virtio_device_set_config(&blk->vdev, &config, sizeof(config));
}

static int check_block_sizes(struct virtio_blk *blk, struct error **errp)
{
	if (!blk->physical_block_size)
		blk->physical_block_size = blk->logical_block_size;
	if (blk->physical_block_size < blk->logical_block_size)
		return error_set(errp, -EINVAL, "physical_block_size=%u is less than logical_block_size=%u",
				 blk->physical_block_size, blk->logical_block_size);
	return 0;
}

static int create_slots(struct virtio_blk *blk, struct error **errp)
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

static void free_slots(struct virtio_blk *blk)
{
	for (unsigned int i = 0; blk->bqs && i < blk->num_queues; i++) {
		struct blk_queue *bq = &blk->bqs[i];

		for (unsigned int n = 0; n < bq->used_slots; n++)
			free(bq->slots[n].iov_large);
		free(bq->slots);
	}
	free(blk->bqs);
	blk->bqs = NULL;
}

/* --- Drives come and go --- */

/* A request to the home loop. */
struct drive_call {
	struct virtio_blk *blk;
	struct block_drive *drive;
	char **serial; /* changes places with the device's; NULL: that stays */
	uint64_t size;
	struct error **errp;
	int ret;
};

static void home_plug(void *opaque)
{
	struct drive_call *call = opaque;
	struct virtio_blk *blk = call->blk;
	char *serial;

	call->ret = block_engine_new(call->drive, blk->vdev.home, blk->num_queues * blk->queue_size,
				     &blk->engine_user, &blk->engine, call->errp);
	if (call->ret)
		return;
	if (call->serial) {
		serial = blk->serial;
		blk->serial = *call->serial;
		*call->serial = serial;
	}
	blk->drive = call->drive;
	blk->capacity = call->size;
	bucket_init(&blk->bucket, block_drive_iops(blk->drive));
	set_config(blk);
	log_debug("%s: drive '%s' by %s%s", blk->vdev.dev.id, block_drive_id(blk->drive),
		  block_engine_name(blk->engine), block_drive_direct(blk->drive) ? ", direct" : "");
}

static void home_unplug(void *opaque)
{
	struct virtio_blk *blk = opaque;

	block_engine_drain(blk->engine);
	block_engine_free(blk->engine);
	blk->engine = NULL;
	blk->drive = NULL;
	blk->capacity = 0;
	bucket_init(&blk->bucket, 0);
	loop_timer_cancel(&blk->throttle);
	set_config(blk);
	kick_queues(blk); /* what the throttle held back fails now */
}

/* Main thread, any time. */
static int plug_drive(struct virtio_blk *blk, struct block_drive *drive, char **serial, struct error **errp)
{
	struct drive_call call = {
		.blk = blk,
		.drive = drive,
		.serial = serial,
		.size = ALIGN_DOWN(block_drive_size(drive), blk->logical_block_size),
		.errp = errp,
	};
	int ret;

	if (!call.size)
		return error_set(errp, -EINVAL, "drive '%s' is smaller than one block of %u bytes",
				 block_drive_id(drive), blk->logical_block_size);
	ret = block_drive_attach(drive, blk->logical_block_size, &blk->user, errp);
	if (ret)
		return ret;
	loop_run_sync(blk->vdev.home, home_plug, &call);
	if (call.ret) {
		block_drive_detach(drive);
		return call.ret;
	}
	virtio_device_offer(&blk->vdev, features_for(blk, drive));
	return 0;
}

static void unplug_drive(struct virtio_blk *blk)
{
	struct block_drive *drive = blk->drive;

	if (!drive)
		return;
	loop_run_sync(blk->vdev.home, home_unplug, blk);
	loop_call_cancel(&blk->error_call);
	block_drive_detach(drive);
	virtio_device_offer(&blk->vdev, features_for(blk, NULL));
}

static void home_drive_changed(void *opaque)
{
	struct drive_call *call = opaque;
	struct virtio_blk *blk = call->blk;
	bool resized = blk->capacity != call->size;

	/* What reaches beyond a new end is done before the caller cuts the file. */
	if (resized)
		block_engine_drain(blk->engine);
	blk->capacity = call->size;
	if (resized)
		set_config(blk);
	if (blk->bucket.rate != block_drive_iops(blk->drive)) {
		bucket_init(&blk->bucket, block_drive_iops(blk->drive));
		loop_timer_cancel(&blk->throttle);
		kick_queues(blk);
	}
}

static void drive_changed(struct block_drive_user *user)
{
	struct virtio_blk *blk = container_of(user, struct virtio_blk, user);
	struct drive_call call = {
		.blk = blk,
		.size = ALIGN_DOWN(block_drive_size(blk->drive), blk->logical_block_size),
	};

	loop_run_sync(blk->vdev.home, home_drive_changed, &call);
}

static const char *user_device_id(const struct block_drive_user *user)
{
	return device_name(&container_of(user, struct virtio_blk, user)->vdev.dev);
}

/* What can be said of a disk that the guest knows already. */
struct plug_config {
	struct block_drive *drive;
	char *serial;
};

static const struct property plug_props[] = {
	PROP_LINK("drive", struct plug_config, drive, LINK_DRIVE, PROPERTY_REQUIRED, "the disk's back end"),
	PROP_STRING("serial", struct plug_config, serial, 0, BLK_ID_SIZE, NULL, "serial number"),
	PROP_IGNORED("bootindex", "a kernel is given"),
	PROP_END,
};

static int blk_plug(struct device *dev, const struct opts *opts, struct error **errp)
{
	static const char *const skip[] = { "driver", "id", "addr", "lun", NULL };
	struct virtio_blk *blk = container_of(dev, struct virtio_blk, vdev.dev);
	struct plug_config config = { 0 };
	char *what;
	int ret;

	ret = property_apply(plug_props, &config, opts, skip, dev->platform->links, errp);
	if (ret)
		return ret;
	ret = plug_drive(blk, config.drive, &config.serial, errp);
	if (ret) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
	}
	property_release(plug_props, &config); /* the serial number of before, when it went well */
	return ret;
}

static void blk_unplug(struct device *dev)
{
	unplug_drive(container_of(dev, struct virtio_blk, vdev.dev));
}

/* --- Life of the device --- */

static int blk_realize(struct virtio_device *vdev, struct error **errp)
{
	struct virtio_blk *blk = to_blk(vdev);
	struct block_drive *drive = blk->drive;
	int ret;

	if (!drive && !(vdev->dev.replaceable && !vdev->dev.plugged))
		return error_set(errp, -EINVAL, "drive is required");
	vdev->home = blk->iothread ? iothread_loop(blk->iothread) : vdev->dev.platform->main_loop;
	blk->engine_user.batch_done = batch_done;
	blk->user.changed = drive_changed;
	blk->user.device_id = user_device_id;
	bucket_init(&blk->bucket, 0);
	loop_timer_init(&blk->throttle, vdev->home, throttle_over);
	loop_call_init(&blk->error_call, vdev->dev.platform->main_loop, main_tell_error);
	blk->drive = NULL;
	ret = check_block_sizes(blk, errp);
	if (!ret)
		ret = virtio_device_add_queues(vdev, blk->num_queues, blk->queue_size, errp);
	if (!ret)
		ret = create_slots(blk, errp);
	if (!ret && drive)
		ret = plug_drive(blk, drive, NULL, errp);
	if (ret) {
		free_slots(blk);
		return ret;
	}
	if (!drive)
		set_config(blk);
	vdev->features_offered = features_for(blk, drive);
	return 0;
}

static void blk_unrealize(struct virtio_device *vdev)
{
	struct virtio_blk *blk = to_blk(vdev);

	unplug_drive(blk);
	free_slots(blk);
}

static const struct virtio_device_ops blk_ops = {
	.device_id = 2,
	.realize = blk_realize,
	.unrealize = blk_unrealize,
	.start = blk_start,
	.stop = blk_stop,
	.handle_queue = blk_handle_queue,
};

const struct device_class virtio_blk_mmio_class = {
	.name = "virtio-blk-device",
	.summary = "virtio disk",
	.instance_size = sizeof(struct virtio_blk),
	.props = blk_props,
	.data = &blk_ops,
	.plug = blk_plug,
	.unplug = blk_unplug,
	VIRTIO_MMIO_CLASS,
};

const struct device_class virtio_blk_pci_class = {
	.name = "virtio-blk-pci",
	.summary = "virtio disk",
	.instance_size = sizeof(struct virtio_blk),
	.props = blk_pci_props,
	.data = &blk_ops,
	VIRTIO_PCI_CLASS,
};
