/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2 §5.2) between its files: blk.c makes the device and changes what it is, blk_io.c carries out
 * requests. All queues of a device live on one home loop and share one engine.
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "blk_request.h"
#include "block/engine.h"
#include "virtio/virtio.h"

#define BLK_F_SEG_MAX (1ULL << 2)
#define BLK_F_RO (1ULL << 5)
#define BLK_F_BLK_SIZE (1ULL << 6)
#define BLK_F_FLUSH (1ULL << 9)
#define BLK_F_TOPOLOGY (1ULL << 10)
#define BLK_F_CONFIG_WCE (1ULL << 11)
#define BLK_F_MQ (1ULL << 12)
#define BLK_F_DISCARD (1ULL << 13)
#define BLK_F_WRITE_ZEROES (1ULL << 14)

/* Most requests fit; longer ones get an array of their own. */
#define BLK_IOV_INLINE 4
/* Entries of such arrays that a disk has at most, 8 MiB: eight queues of 256 requests with 254 segments each. */
#define BLK_IOV_MAX (512 * 1024)

struct blk_request {
	struct block_request io; /* io.node: also the engine's, or parked's */
	struct blk_queue *bq;
	uint16_t head;
	bool reading;
	bool doomed; /* parked: its drive is gone */
	uint8_t *status;
	struct blk_request *next_free;
	struct iovec *iov_large;
	unsigned int iov_large_count;
	struct iovec iov_inline[BLK_IOV_INLINE];
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
	int on_error[2];  /* enum block_on_error of reads, writes */
	int write_cache;  /* word of blk.c */
	bool config_wce;

	struct blk_queue *bqs;
	struct block_drive_user user;
	struct loop_call error_call; /* main loop: tells of the following */
	_Atomic uint32_t error;      /* of a request: errno and flags of blk_io.c, 0: nothing to tell */
	_Atomic uint32_t stop_error; /* the same, of one that stops the VM */
	_Atomic uint8_t writeback;   /* as in the configuration space */
	_Atomic uint8_t may_write_back; /* the host lets the driver switch it on */

	/* home loop; the main thread may read drive */
	uint64_t capacity; /* bytes, whole blocks; 0 without a drive */
	struct block_engine *engine; /* NULL without a drive */
	struct block_engine_user engine_user;
	bool has_flush, has_wce; /* negotiated */
	struct list parked; /* struct blk_request: to be done again; see blk_io.c */
	bool stopping;      /* a request stopped the VM, so nothing is done again until it goes on */
	unsigned int iov_used; /* entries of iov_large */
	bool iov_wait;         /* a queue waits for room there */
	struct log_limit io_limit, event_limit;
};

static inline struct virtio_blk *to_blk(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_blk, vdev);
}

/* --- blk_io.c. Home loop, but for the first three --- */

void blk_io_init(struct virtio_blk *blk);
int __must_check blk_io_create_slots(struct virtio_blk *blk, struct error **errp);
void blk_io_free_slots(struct virtio_blk *blk);

void blk_io_handle_queue(struct virtio_queue *queue);
/* The device goes live, with its requests of before a pause. */
void blk_io_start(struct virtio_blk *blk);
/* What is parked is forgotten: of one queue, or of all (NULL). */
void blk_io_forget(struct virtio_blk *blk, const struct virtio_queue *queue);
/* What is parked fails, now or when the device goes on: the drive is going. */
void blk_io_doom(struct virtio_blk *blk);
/* Has the running queues looked at again. */
void blk_io_kick_queues(struct virtio_blk *blk);

#endif
