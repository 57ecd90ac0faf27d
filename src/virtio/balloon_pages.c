// SPDX-License-Identifier: Apache-2.0
/*
 * Giving guest memory back to the host. Private memory, anonymous or of a file, is dropped with
 * MADV_DONTNEED; of shared memory that would drop only this process' view, so a hole is punched
 * into the file.
 *
 * Kernel images may be mapped privately from their files into guest RAM. What is dropped there
 * comes back with the file's bytes, not zeroes. Nobody is harmed: the host gets its memory back,
 * and a guest must not rely on what pages from the balloon hold (§5.5.6.1).
 */
#include "balloon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG_MODULE "virtio-balloon"
#include "util/log.h"

static struct log_limit discard_limit;

static int discard(const struct ram_region *region, uint64_t offset, uint64_t len)
{
	uint8_t *host = region->host + offset;

	if (!region->shared)
		return madvise(host, len, MADV_DONTNEED) ? -errno : 0;
	if (region->fd < 0)
		return madvise(host, len, MADV_REMOVE) ? -errno : 0;
	return fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(region->fd_offset + offset), (off_t)len)
		       ? -errno
		       : 0;
}

/* [offset, offset + len) lies in the region. The host takes whole pages of its own only, which may
 * be larger than 4 KiB. */
static void discard_range(const struct ram_region *region, uint64_t offset, uint64_t len,
			  struct balloon_counts *counts)
{
	uint64_t page = MAX((uint64_t)sysconf(_SC_PAGESIZE), region->page_size);
	uint64_t begin = ALIGN_UP(offset, page), end = ALIGN_DOWN(offset + len, page);
	int ret;

	if (begin >= end)
		return;
	ret = discard(region, begin, end - begin);
	if (ret) {
		log_warn_limited(&discard_limit, "memory stays with the guest: %s", strerror(-ret));
		counts->ignored += (end - begin) >> BALLOON_PAGE_SHIFT;
	} else {
		counts->discarded += (end - begin) >> BALLOON_PAGE_SHIFT;
	}
}

static void discard_run(const struct mem_space *space, gpa_t base, uint64_t len,
			struct balloon_counts *counts)
{
	uint64_t pages = len >> BALLOON_PAGE_SHIFT, inside = 0;

	for (unsigned int i = 0; i < mem_space_ram_count(space); i++) {
		const struct ram_region *region = mem_space_ram(space, i);
		gpa_t begin = MAX(base, region->base);
		gpa_t end = MIN(base + len, region->base + region->size);

		if (begin >= end)
			continue;
		discard_range(region, begin - region->base, end - begin, counts);
		inside += (end - begin) >> BALLOON_PAGE_SHIFT;
	}
	counts->ignored += pages - inside;
}

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

void balloon_discard_pages(const struct mem_space *space, uint32_t *pfns, unsigned int count,
			   struct balloon_counts *counts)
{
	unsigned int first = 0;

	/* Linux hands pages out in no order, and often in descending order. */
	qsort(pfns, count, sizeof(*pfns), compare);
	for (unsigned int i = 0; i < count; i++) {
		if (i + 1 < count && pfns[i + 1] - pfns[i] <= 1)
			continue;
		discard_run(space, (gpa_t)pfns[first] << BALLOON_PAGE_SHIFT,
			    ((uint64_t)pfns[i] - pfns[first] + 1) << BALLOON_PAGE_SHIFT, counts);
		first = i + 1;
	}
}

void balloon_discard_slice(const struct mem_space *space, const void *host, size_t len,
			   struct balloon_counts *counts)
{
	const uint8_t *begin = host;

	for (unsigned int i = 0; i < mem_space_ram_count(space); i++) {
		const struct ram_region *region = mem_space_ram(space, i);

		uint64_t here;

		if (!len || begin < region->host || begin >= region->host + region->size)
			continue;
		/* A slice that reaches beyond its region goes on in the next one. */
		here = MIN((uint64_t)len, region->size - (uint64_t)(begin - region->host));
		discard_range(region, (uint64_t)(begin - region->host), here, counts);
		begin += here;
		len -= here;
	}
}
