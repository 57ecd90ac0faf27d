/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's RAM: where each region lies, and the guest slice, the only way from a guest address
 * to a pointer (DESIGN §5.1). There are a handful of regions at most and they never change while
 * vCPUs run, so a sorted array searched without a lock is all it takes.
 */
#include "space_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

struct mem_space *mem_space_new(void)
{
	struct mem_space *space = xcalloc(1, sizeof(*space));

	pthread_rwlock_init(&space->io_lock, NULL);
	return space;
}

void mem_space_free(struct mem_space *space)
{
	if (!space)
		return;
	pthread_rwlock_destroy(&space->io_lock);
	for (unsigned int kind = 0; kind < IO_KINDS; kind++)
		free(space->io[kind].regions);
	free(space->ram);
	free(space);
}

/* Index of the first RAM region that ends above @gpa; ram_count when there is none. */
static unsigned int ram_first_above(const struct mem_space *space, gpa_t gpa)
{
	unsigned int lo = 0, hi = space->ram_count;

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;
		const struct ram_region *region = &space->ram[mid];

		/* base + size may be 2^64: compare with the last byte. */
		if (region->base + (region->size - 1) < gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const struct ram_region *ram_find(const struct mem_space *space, gpa_t gpa)
{
	unsigned int index = ram_first_above(space, gpa);

	if (index == space->ram_count || space->ram[index].base > gpa)
		return NULL;
	return &space->ram[index];
}

const struct ram_region *mem_space_ram_overlap(const struct mem_space *space, uint64_t base,
					       uint64_t size)
{
	unsigned int index = ram_first_above(space, base);

	if (index == space->ram_count || space->ram[index].base > base + (size - 1))
		return NULL;
	return &space->ram[index];
}

static int ram_check(struct mem_space *space, gpa_t base, const struct ram_backend *ram,
		     uint64_t offset, uint64_t size, struct error **errp)
{
	const struct ram_region *other;
	const struct io_region *io;

	if (!size || base + (size - 1) < base)
		return error_set(errp, -EINVAL,
				 "RAM of %" PRIu64 " bytes at 0x%" PRIx64
				 " is empty or ends beyond the address space",
				 size, base);
	/* What KVM_SET_USER_MEMORY_REGION asks for; slices of one backing never share a page. */
	if (!IS_ALIGNED(base | offset | size, 4 * KIB))
		return error_set(errp, -EINVAL,
				 "RAM at 0x%" PRIx64 ", size 0x%" PRIx64 ", offset 0x%" PRIx64
				 ": each must be a multiple of 4 KiB",
				 base, size, offset);
	if (offset > ram->size || size > ram->size - offset)
		return error_set(errp, -EINVAL,
				 "RAM at 0x%" PRIx64 " takes bytes 0x%" PRIx64 " to 0x%" PRIx64
				 " of a backing that has only 0x%" PRIx64,
				 base, offset, offset + size, ram->size);

	other = mem_space_ram_overlap(space, base, size);
	if (other)
		return error_set(errp, -EEXIST,
				 "RAM at 0x%" PRIx64 ", size 0x%" PRIx64
				 " overlaps RAM at 0x%" PRIx64 ", size 0x%" PRIx64,
				 base, size, other->base, other->size);

	pthread_rwlock_rdlock(&space->io_lock);
	io = io_table_overlap_locked(&space->io[IO_MMIO], base, size);
	pthread_rwlock_unlock(&space->io_lock);
	if (io)
		return error_set(errp, -EEXIST,
				 "RAM at 0x%" PRIx64 ", size 0x%" PRIx64
				 " overlaps '%s' at 0x%" PRIx64 ", size 0x%" PRIx64,
				 base, size, io->name, io->base, io->size);
	return 0;
}

/* Anonymous memory behind anonymous memory of the same kind is one region: one slot, one entry of the memory map. */
static bool ram_extends(const struct ram_region *before, gpa_t base, const struct ram_backend *ram, uint64_t offset)
{
	return before->base + before->size == base && before->host + before->size == ram->host + offset &&
	       before->fd < 0 && ram->fd < 0 && before->shared == ram->shared && before->dump == ram->dump &&
	       before->page_size == ram->page_size;
}

int mem_space_add_ram(struct mem_space *space, gpa_t base, struct ram_backend *ram, uint64_t offset,
		      uint64_t size, struct error **errp)
{
	unsigned int index;
	int ret;

	ret = ram_check(space, base, ram, offset, size, errp);
	if (ret)
		return ret;

	space->ram_total += size;
	index = ram_first_above(space, base);
	if (index && ram_extends(&space->ram[index - 1], base, ram, offset)) {
		space->ram[index - 1].size += size;
		return 0;
	}
	space->ram = xrealloc(space->ram, (space->ram_count + 1) * sizeof(*space->ram));
	memmove(&space->ram[index + 1], &space->ram[index],
		(space->ram_count - index) * sizeof(*space->ram));
	space->ram[index] = (struct ram_region){
		.base = base,
		.size = size,
		.host = ram->host + offset,
		.fd = ram->fd,
		.fd_offset = offset,
		.page_size = ram->page_size,
		.shared = ram->shared,
		.dump = ram->dump,
	};
	space->ram_count++;
	return 0;
}

unsigned int mem_space_ram_count(const struct mem_space *space)
{
	return space->ram_count;
}

const struct ram_region *mem_space_ram(const struct mem_space *space, unsigned int index)
{
	return index < space->ram_count ? &space->ram[index] : NULL;
}

uint64_t mem_space_ram_total(const struct mem_space *space)
{
	return space->ram_total;
}

/* Does the region behind @region continue it, for the guest and in this process? */
static bool ram_continues(const struct mem_space *space, const struct ram_region *region)
{
	const struct ram_region *next = region + 1;

	return next < space->ram + space->ram_count && next->base == region->base + region->size &&
	       next->host == region->host + region->size;
}

void *guest_slice(const struct mem_space *space, gpa_t gpa, uint64_t len)
{
	const struct ram_region *region = ram_find(space, gpa);
	uint64_t here;
	uint8_t *host;

	if (!region || !len)
		return NULL;
	host = region->host + (gpa - region->base);
	/* Written with the distance to the region's end so that no sum can wrap. */
	for (here = region->size - (gpa - region->base); len > here; here = region->size) {
		if (!ram_continues(space, region))
			return NULL;
		len -= here;
		region++;
	}
	return host;
}

/*
 * Walks [gpa, gpa + len) over adjacent regions. Proves the whole range first, so that a copy is
 * done entirely or not at all; regions do not change meanwhile.
 */
static bool ram_covers(const struct mem_space *space, gpa_t gpa, uint64_t len)
{
	const struct ram_region *region = ram_find(space, gpa);
	const struct ram_region *end = space->ram + space->ram_count;

	while (region) {
		uint64_t here = region->size - (gpa - region->base);

		if (len <= here)
			return true;
		len -= here;
		gpa += here;
		region++;
		if (region == end || region->base != gpa)
			return false;
	}
	return false;
}

/* The body runs once for each piece of a range that ram_covers() has proved. */
#define for_each_piece(space, gpa, len, ptr, piece)                                                \
	for (const struct ram_region *_region = ram_find(space, gpa);                              \
	     (len) && ((ptr) = _region->host + ((gpa)-_region->base),                              \
		      (piece) = MIN((len), _region->size - ((gpa)-_region->base)), true);          \
	     (gpa) += (piece), (len) -= (piece), _region++)

int guest_read(const struct mem_space *space, gpa_t gpa, void *buf, uint64_t len)
{
	uint8_t *to = buf, *from;
	uint64_t piece;

	if (!len)
		return 0;
	if (!ram_covers(space, gpa, len))
		return -EFAULT;
	for_each_piece(space, gpa, len, from, piece)
	{
		memcpy(to, from, piece);
		to += piece;
	}
	return 0;
}

int guest_write(const struct mem_space *space, gpa_t gpa, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;
	uint64_t piece;
	uint8_t *to;

	if (!len)
		return 0;
	if (!ram_covers(space, gpa, len))
		return -EFAULT;
	for_each_piece(space, gpa, len, to, piece)
	{
		memcpy(to, from, piece);
		from += piece;
	}
	return 0;
}

int guest_fill(const struct mem_space *space, gpa_t gpa, uint8_t byte, uint64_t len)
{
	uint64_t piece;
	uint8_t *to;

	if (!len)
		return 0;
	if (!ram_covers(space, gpa, len))
		return -EFAULT;
	for_each_piece(space, gpa, len, to, piece) memset(to, byte, piece);
	return 0;
}
