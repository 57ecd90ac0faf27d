/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine carries out requests on one drive for one home loop: by io_uring where there is one, else by a few threads.
 * All functions are called, and all callbacks come, on the home loop (before it runs: on the main thread).
 *
 * Requests are gathered by block_engine_add() and handed over together by block_engine_submit(). Either may call done() of
 * requests that are over at once. Later completions come in batches: a done() for each, then one batch_done(). Host errors
 * end in done(), never anything else.
 *
 * Reads and writes beyond the drive's limits are held back inside, in order among themselves; flushes pass them.
 */
#ifndef BLOCK_ENGINE_H
#define BLOCK_ENGINE_H

#include <sys/uio.h>

#include "block/drive.h"
#include "util/loop.h"

struct block_engine;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

/* Embedded in its owner's request, who fills the first part and keeps hands off until done(). */
struct block_request {
	enum block_op op;
	uint64_t offset, length; /* bytes; the caller has checked them against the drive's size */
	struct iovec *iov;       /* READ, WRITE: exactly length bytes; the engine changes it */
	unsigned int iov_count;  /* at most IOV_MAX */
	bool may_unmap;          /* WRITE_ZEROES: the space may be released */
	bool sync;               /* WRITE, WRITE_ZEROES: done when it is on stable storage */
	/* 0 or -errno. -ECANCELED, from block_engine_drain() only: it was held back and nothing of it was done. */
	void (*done)(struct block_request *request, int result);

	/* The engine's. */
	struct list node;
	int64_t start_ns;
	int account;        /* enum block_account */
	uint64_t completed; /* bytes done so far */
	uint64_t advanced;  /* bytes that iov does not have any more */
	unsigned int attempts; /* how often the host had no resources for the step */
	int step;           /* enum block_step */
	unsigned int stage; /* how many of the drive's throttle groups it has passed */
	int result;         /* of the system call */
	uint8_t *bounce;    /* where the caller's memory does not suit direct I/O */
	struct iovec piece; /* the one iovec of a bounced transfer */
	uint32_t piece_len;
};

struct block_engine_user {
	void (*batch_done)(struct block_engine_user *user); /* after the done() calls of a batch */
};

/*
 * @depth: how many requests the user will have outstanding; more of them wait inside. Main thread, which may make rings and
 * start threads; then block_engine_start() on the home loop, where everything else is called.
 */
int __must_check block_engine_new(struct block_drive *drive, struct loop *home, struct loop *main_loop,
				  unsigned int depth, struct block_engine_user *user,
				  struct block_engine **ret, struct error **errp);
int __must_check block_engine_start(struct block_engine *engine, struct error **errp);
void block_engine_free(struct block_engine *engine); /* drained already; NULL allowed */

void block_engine_add(struct block_engine *engine, struct block_request *request);
/* A request that failed, or was given back, and was not touched since goes on where it was. */
void block_engine_again(struct block_engine *engine, struct block_request *request);
void block_engine_submit(struct block_engine *engine);
/*
 * Gives back what the limits hold back, in the order in which it came, and returns when every other request is done; their
 * done() has run, and batch_done().
 */
void block_engine_drain(struct block_engine *engine);
/* The drive's limits are others now. */
void block_engine_limits_changed(struct block_engine *engine);
const char *block_engine_name(const struct block_engine *engine); /* "io_uring" or "threads" */

#endif
