/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of struct mem_space, shared by its two halves: RAM and guest slices (space.c), MMIO
 * and port I/O (io.c).
 */
#ifndef MEMORY_SPACE_PRIVATE_H
#define MEMORY_SPACE_PRIVATE_H

#include <pthread.h>

#include "memory/space.h"

#define IO_KINDS 2

struct io_table {
	struct io_region **regions; /* ascending by base, no overlap */
	unsigned int count, capacity;
};

struct mem_space {
	/* Fixed before the first vCPU runs, read without a lock afterwards. */
	struct ram_region *ram; /* ascending by base, no overlap */
	unsigned int ram_count;
	uint64_t ram_total;

	pthread_rwlock_t io_lock;
	struct io_table io[IO_KINDS]; /* under io_lock; index: enum io_kind */
};

/* The RAM region that shares a byte with [base, base + size), or NULL. The range does not wrap. */
const struct ram_region *mem_space_ram_overlap(const struct mem_space *space, uint64_t base,
					       uint64_t size);

/* The MMIO region that shares a byte with [base, base + size), or NULL. Caller holds io_lock. */
const struct io_region *io_table_overlap_locked(const struct io_table *table, uint64_t base,
						uint64_t size);

#endif
