/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the balloon share: giving guest memory back to the host. */
#ifndef VIRTIO_BALLOON_PAGES_H
#define VIRTIO_BALLOON_PAGES_H

#include "memory/space.h"

#define BALLOON_PAGE_SHIFT 12 /* of page numbers, §5.5.6, whatever pages the host or guest have */
#define BALLOON_PAGE_SIZE (1ULL << BALLOON_PAGE_SHIFT)
#define BALLOON_BATCH 1024 /* page numbers at a time */

struct balloon_counts {
	uint64_t discarded; /* pages whose memory went back */
	uint64_t ignored;   /* page numbers outside of RAM, or memory that the host did not take */
};

/*
 * Gives the memory of @count <= BALLOON_BATCH pages back; their content is undefined afterwards.
 * @pfns is sorted in place, so that neighbours go together. Duplicates and numbers outside of RAM
 * do no harm.
 */
void balloon_discard_pages(const struct mem_space *space, uint32_t *pfns, unsigned int count,
			   struct balloon_counts *counts);

/* The same for @len bytes of guest RAM that a slice gave at @host. Pages that are covered in part
 * are kept. */
void balloon_discard_slice(const struct mem_space *space, const void *host, size_t len,
			   struct balloon_counts *counts);

#endif
