/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MMIO and port I/O: which device an access belongs to, and how an access of any width and
 * alignment becomes the naturally aligned ones that a device's handlers see (DESIGN §5.6).
 *
 * The lock covers the look-up only. A handler may therefore add and remove regions itself (a BAR
 * that moves), and two vCPUs may be in one device's handlers at once.
 */
#include "space_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "util/alloc.h"
#include "util/endian.h"

#define LOG_MODULE "memory"
#include "util/log.h"

#define PORT_SPACE 0x10000ULL

/* Index of the first region that ends above @addr; count when there is none. */
static unsigned int io_first_above(const struct io_table *table, uint64_t addr)
{
	unsigned int lo = 0, hi = table->count;

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;
		const struct io_region *region = table->regions[mid];

		if (region->base + (region->size - 1) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct io_region *io_table_overlap_locked(const struct io_table *table, uint64_t base,
						uint64_t size)
{
	unsigned int index = io_first_above(table, base);

	if (index == table->count || table->regions[index]->base > base + (size - 1))
		return NULL;
	return table->regions[index];
}

static const char *kind_name(enum io_kind kind)
{
	return kind == IO_MMIO ? "MMIO" : "port";
}

static int io_check_locked(const struct mem_space *space, const struct io_region *region,
			   struct error **errp)
{
	const struct io_region *other;
	const struct ram_region *ram;

	other = io_table_overlap_locked(&space->io[region->kind], region->base, region->size);
	if (other)
		return error_set(errp, -EEXIST,
				 "%s region '%s' at 0x%" PRIx64 ", size 0x%" PRIx64
				 " overlaps '%s' at 0x%" PRIx64 ", size 0x%" PRIx64,
				 kind_name(region->kind), region->name, region->base, region->size,
				 other->name, other->base, other->size);
	if (region->kind != IO_MMIO)
		return 0;
	ram = mem_space_ram_overlap(space, region->base, region->size);
	if (ram)
		return error_set(errp, -EEXIST,
				 "MMIO region '%s' at 0x%" PRIx64 ", size 0x%" PRIx64
				 " overlaps RAM at 0x%" PRIx64 ", size 0x%" PRIx64,
				 region->name, region->base, region->size, ram->base, ram->size);
	return 0;
}

int mem_space_add_io(struct mem_space *space, struct io_region *region, struct error **errp)
{
	struct io_table *table = &space->io[region->kind];
	uint64_t last = region->base + (region->size - 1);
	unsigned int index;
	int ret;

	if (!region->size || last < region->base || (region->kind == IO_PORT && last >= PORT_SPACE))
		return error_set(errp, -EINVAL,
				 "%s region '%s' at 0x%" PRIx64 ", size 0x%" PRIx64
				 " is empty or ends beyond the address space",
				 kind_name(region->kind), region->name, region->base, region->size);

	pthread_rwlock_wrlock(&space->io_lock);
	ret = io_check_locked(space, region, errp);
	if (!ret) {
		if (table->count == table->capacity) {
			table->capacity = table->capacity ? table->capacity * 2 : 16;
			table->regions = xrealloc(table->regions,
						  table->capacity * sizeof(struct io_region *));
		}
		index = io_first_above(table, region->base);
		memmove(&table->regions[index + 1], &table->regions[index],
			(table->count - index) * sizeof(*table->regions));
		table->regions[index] = region;
		table->count++;
	}
	pthread_rwlock_unlock(&space->io_lock);
	return ret;
}

void mem_space_del_io(struct mem_space *space, struct io_region *region)
{
	struct io_table *table = &space->io[region->kind];

	/* By identity, not by address: a region whose base was changed since is still found. */
	pthread_rwlock_wrlock(&space->io_lock);
	for (unsigned int i = 0; i < table->count; i++) {
		if (table->regions[i] != region)
			continue;
		table->count--;
		memmove(&table->regions[i], &table->regions[i + 1],
			(table->count - i) * sizeof(*table->regions));
		break;
	}
	pthread_rwlock_unlock(&space->io_lock);
}

bool mem_space_io(struct mem_space *space, enum io_kind kind, unsigned int index, struct io_region *ret)
{
	const struct io_table *table = &space->io[kind];
	bool found;

	pthread_rwlock_rdlock(&space->io_lock);
	found = index < table->count;
	if (found)
		*ret = *table->regions[index];
	pthread_rwlock_unlock(&space->io_lock);
	return found;
}

/* --- dispatch --- */

/* What one step of an access touches: at most one register of one device, or a stretch of nothing.
 */
struct io_step {
	struct io_ops ops; /* copies: the lock is not held while the handler runs */
	void *opaque;
	bool assigned;
	unsigned int bytes; /* of the access that this step covers */
	unsigned int size;  /* of the register access */
	uint64_t offset;    /* of the register access in the region */
	unsigned int skip;  /* first byte wanted within the register; > 0 only when narrowed */
	bool narrow;	    /* the access covers a part of the smallest unit only */
};

static unsigned int floor_pow2(unsigned int n)
{
	return 1u << (31 - __builtin_clz(n));
}

/*
 * Decides the step at @addr with @left bytes (1..8) to go. Steps are as wide as the device, the
 * natural alignment and the end of the region allow.
 */
static void io_step_find(struct mem_space *space, enum io_kind kind, uint64_t addr,
			 unsigned int left, struct io_step *step)
{
	const struct io_table *table = &space->io[kind];
	const struct io_region *region = NULL;
	unsigned int index, min, max;
	uint64_t offset, avail;

	memset(step, 0, sizeof(*step));
	step->bytes = left;

	pthread_rwlock_rdlock(&space->io_lock);
	index = io_first_above(table, addr);
	if (index < table->count)
		region = table->regions[index];
	if (!region || region->base > addr) {
		/* A hole, up to the next region if that begins within the access. */
		if (region && region->base - addr < left)
			step->bytes = region->base - addr;
		goto out;
	}

	min = region->ops->min_size ? region->ops->min_size : 1;
	max = region->ops->max_size ? region->ops->max_size : kind == IO_PORT ? 4 : 8;
	offset = addr - region->base;
	avail = MIN((uint64_t)left, region->size - offset);

	step->size = MIN(floor_pow2(avail), max);
	while (!IS_ALIGNED(offset, (uint64_t)step->size))
		step->size /= 2;
	step->offset = offset;
	step->bytes = step->size;
	if (step->size < min) {
		step->narrow = true;
		step->size = min;
		step->offset = ALIGN_DOWN(offset, (uint64_t)min);
		step->skip = offset - step->offset;
		step->bytes = MIN(avail, min - step->skip);
		/* A region that ends inside its last unit has no such register. */
		if (region->size - step->offset < min)
			goto out;
	}
	step->ops = *region->ops;
	step->opaque = region->opaque;
	step->assigned = true;
out:
	pthread_rwlock_unlock(&space->io_lock);
}

/* Bytes of the access that lie inside the address space; the others read as ones. */
static unsigned int io_clip(enum io_kind kind, uint64_t addr, unsigned int len)
{
	uint64_t room = kind == IO_PORT ? PORT_SPACE - MIN(addr, PORT_SPACE) : UINT64_MAX - addr;

	/* room for MMIO is one short of the truth, so that it fits: the top byte is handled here.
	 */
	if (kind == IO_MMIO && room < UINT64_MAX)
		room++;
	return MIN((uint64_t)len, room);
}

void mem_space_io_read(struct mem_space *space, enum io_kind kind, uint64_t addr, void *data,
		       unsigned int len)
{
	uint8_t *to = data;
	unsigned int left;

	memset(data, 0xff, len);
	for (left = io_clip(kind, addr, len); left;) {
		struct io_step step;

		io_step_find(space, kind, addr, left, &step);
		if (step.assigned && step.ops.read) {
			uint64_t value = step.ops.read(step.opaque, step.offset, step.size);
			le64_t bytes = cpu_to_le64(value);

			memcpy(to, (const uint8_t *)&bytes + step.skip, step.bytes);
		} else if (!step.assigned) {
			log_trace("%s read of %u bytes at 0x%" PRIx64 ": no device",
				  kind_name(kind), step.bytes, addr);
		}
		to += step.bytes;
		addr += step.bytes;
		left -= step.bytes;
	}
}

void mem_space_io_write(struct mem_space *space, enum io_kind kind, uint64_t addr, const void *data,
			unsigned int len)
{
	static struct log_limit narrow_limit;
	const uint8_t *from = data;
	unsigned int left;

	for (left = io_clip(kind, addr, len); left;) {
		struct io_step step;

		io_step_find(space, kind, addr, left, &step);
		if (!step.assigned) {
			log_trace("%s write of %u bytes at 0x%" PRIx64 ": no device",
				  kind_name(kind), step.bytes, addr);
		} else if (step.narrow) {
			log_warn_limited(&narrow_limit,
					 "%s write of %u bytes at 0x%" PRIx64
					 " dropped: the register takes %u bytes",
					 kind_name(kind), step.bytes, addr, step.size);
		} else if (step.ops.write) {
			le64_t bytes = cpu_to_le64(0);

			memcpy(&bytes, from, step.bytes);
			step.ops.write(step.opaque, step.offset, le64_to_cpu(bytes), step.size);
		}
		from += step.bytes;
		addr += step.bytes;
		left -= step.bytes;
	}
}
