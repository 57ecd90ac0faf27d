/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of io_uring that can do nothing but a disk's I/O. */
#ifndef BLOCK_RING_H
#define BLOCK_RING_H

#include <liburing.h>
#include <stdbool.h>

#include "util/macros.h"

struct block_ring {
	struct io_uring ring;
	bool fixed; /* the file is number 0 of the ring, and no other can be reached (IOSQE_FIXED_FILE) */
	bool restricted; /* by the kernel, to the operations of ring.c and to that file: Linux 5.10 */
};

/*
 * Main thread: filters of system calls do not see what a ring is asked for (src/seccomp/rules.c), so the ring itself knows. At
 * least @depth entries as far as there are so many; -errno.
 */
int __must_check block_ring_open(struct block_ring *ring, unsigned int depth, int fd);

#endif
