/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of this room: the drive, and what an engine's back half has to offer. */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include <stdatomic.h>

#include "block/engine.h"
#include "block/throttle_group.h"

/* Indices of the words of drive.c's lists. */
enum block_aio { BLOCK_AIO_IO_URING, BLOCK_AIO_THREADS, BLOCK_AIO_NATIVE, BLOCK_AIO_OFF };
enum block_detect_zeroes {
	BLOCK_DETECT_ZEROES_OFF,
	BLOCK_DETECT_ZEROES_ON,	  /* a write of zeroes becomes write-zeroes */
	BLOCK_DETECT_ZEROES_UNMAP /* which may release the space if discard=unmap */
};

/* One writer, the home loop, so that no locked addition is needed; read by anybody. */
struct block_counters {
	_Atomic uint64_t operations[BLOCK_ACCOUNTS], failed[BLOCK_ACCOUNTS];
	_Atomic uint64_t bytes[BLOCK_ACCOUNTS], time_ns[BLOCK_ACCOUNTS];
	_Atomic uint64_t highest_write;
};

/*
 * A node that names the drive (node.c). What it says replaces what the nodes below said, which comes back when it goes.
 */
struct block_layer {
	struct block_layer *below; /* NULL: this one has the image */
	bool owns_below;           /* that one was made together with it and goes with it */
	const char *driver;        /* a static word */
	char *name;
	struct throttle_group *group; /* of a throttle node, else NULL; a reference */
	bool readonly, ignore_flush;  /* the drive's before this one came */
	int detect_zeroes, discard;
};

#define BLOCK_FILTERS_MAX 4
/* How many groups a request passes at most: the drive's own, and those of throttle nodes. */
#define BLOCK_GROUPS_MAX (1 + BLOCK_FILTERS_MAX)

struct block_drive {
	/* Properties. */
	char *file;
	int iface, media, format, aio, cache, discard, detect_zeroes; /* words; aio: one of the first two */
	bool readonly, direct;
	uint8_t unit; /* of if=pflash */
	struct block_limits limits; /* of the options: how the group is to begin */
	char *group_name;           /* likewise */
	int on_error[2];            /* enum block_on_error of reads, writes */

	char *id; /* changes only while nobody uses the drive */
	struct block_layer *top; /* has the drive's id; NULL: made by -drive */
	struct link_scope *scope;
	struct throttle_group *group; /* what limits the drive itself, or NULL; a reference */
	int fd; /* read by I/O threads; the flags change only while there is no engine */
	int lock_fd;
	uint64_t size; /* main thread */
	bool block_device;
	uint32_t dio_mem_align, dio_offset_align; /* of O_DIRECT; 0 when not in use */
	bool direct_asked; /* not the default's wish but the user's */
	bool writethrough, ignore_flush;
	int sync_error; /* -errno of the first flush that failed; home loop */
	_Atomic int io_status; /* enum block_io_status */
	bool attached;
	struct block_drive_user *user;
	struct block_counters counters;
};

/* Sets size and block_device from what the file is. */
int __must_check block_drive_read_size(struct block_drive *drive, struct error **errp);

/* The groups that a request passes, in this order; how many. Main thread, or while it waits. */
unsigned int block_drive_groups(const struct block_drive *drive, struct throttle_group *groups[BLOCK_GROUPS_MAX]);
/* Takes all names off that were put above the drive's; it is about to be freed. */
void block_node_forget(struct block_drive *drive);

/*
 * Takes the locks of the image, in the place of those that the drive has. @share: others may write to it, too, who say the same. -EBUSY
 * names the file; the locks are those of before then. Main thread.
 */
int __must_check block_lock(struct block_drive *drive, bool share, struct error **errp);
/* Gives them up, before @fd, the drive's lock_fd, is closed; harmless when there are none. */
void block_unlock(int fd);

/* What a request's current step asks of the host: one system call. */
enum block_step {
	STEP_READV,
	STEP_WRITEV,
	STEP_SYNC,  /* fdatasync */
	STEP_PUNCH, /* fallocate */
	STEP_ZERO,  /* fallocate */
};

struct block_call {
	enum block_step step;
	const struct iovec *iov;
	unsigned int iov_count;
	uint64_t offset, length;
	int mode; /* of fallocate */
};

/* The system call of the request's current step. Home loop and I/O threads. */
void block_request_call(const struct block_request *request, struct block_call *call);

/* A back half: carries out steps. Made on the main thread, then called by engine.c on the home loop. */
struct block_backend {
	const char *name;
	/* Watches the completions on the home loop, which the caller runs on. */
	int (*start)(void *self, struct loop *home);
	bool completes_in_submit; /* sometimes; worth a look at once */
	/* Queues the request's step; false when it is full, then one is outstanding at least. */
	bool (*add)(void *self, struct block_request *request);
	void (*submit)(void *self);
	/* Calls block_engine_step_done() for what is finished; with @wait for at least one. */
	void (*reap)(void *self, bool wait);
	void (*free)(void *self);
};

/* request->result is set; the back half is done with it. */
void block_engine_step_done(struct block_engine *engine, struct block_request *request);
/* For the handler of a back half's completion source: reap, go on, batch_done. */
void block_engine_reap(struct block_engine *engine);

int __must_check block_uring_new(struct block_engine *engine, int fd, struct loop *home, unsigned int depth,
				 const struct block_backend **backend, void **self);
int __must_check block_threads_new(struct block_engine *engine, int fd, struct loop *main_loop,
				   const struct block_backend **backend, void **self);

#endif
