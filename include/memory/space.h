/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's address space: RAM regions, MMIO and port I/O regions, and the one way from a guest address
 * to a pointer, the guest slice (DESIGN §5.1).
 *
 * RAM regions are added before the vCPUs start and stay. I/O regions may come and go at run time: look-up
 * takes a read lock, the handler runs without it; whoever removes a region of a running VM first makes sure
 * that no vCPU is inside its handler (vcpus_pause()).
 */
#ifndef MEMORY_SPACE_H
#define MEMORY_SPACE_H

#include <sys/uio.h>

#include "memory/ram.h"
#include "util/error.h"

typedef uint64_t gpa_t; /* guest physical address */

struct mem_space;

struct mem_space *mem_space_new(void);
void mem_space_free(struct mem_space *space);

/* --- RAM --- */

struct ram_region {
	gpa_t base;
	uint64_t size;
	uint8_t *host;
	int fd;             /* -1: anonymous */
	uint64_t fd_offset; /* of @host in fd */
	uint64_t page_size; /* as its back end, like the next ones */
	bool shared, dump;
};

/*
 * Maps [offset, offset + size) of @ram at @base. -EEXIST when it overlaps another region. Anonymous memory right behind a
 * region, here and in the guest, extends that region.
 */
int __must_check mem_space_add_ram(struct mem_space *space, gpa_t base, struct ram_backend *ram,
				   uint64_t offset, uint64_t size, struct error **errp);
/* Regions in ascending order of base. */
unsigned int mem_space_ram_count(const struct mem_space *space);
const struct ram_region *mem_space_ram(const struct mem_space *space, unsigned int index);
uint64_t mem_space_ram_total(const struct mem_space *space);

/*
 * The guest slice. A pointer to @len (> 0) bytes at @gpa if all of them lie in one RAM region, or in regions that are
 * adjacent in the guest and in this process, else NULL: MMIO, holes, wrap-around and other region borders give NULL. The guest may change the bytes at any time: read
 * each value once, into a variable. Any thread.
 */
void *guest_slice(const struct mem_space *space, gpa_t gpa, uint64_t len);

/* Copies that may cross from one RAM region into an adjacent one. -EFAULT when any byte is not RAM; then
 * nothing was copied. Any thread. */
int __must_check guest_read(const struct mem_space *space, gpa_t gpa, void *buf, uint64_t len);
int __must_check guest_write(const struct mem_space *space, gpa_t gpa, const void *buf, uint64_t len);
int __must_check guest_fill(const struct mem_space *space, gpa_t gpa, uint8_t byte, uint64_t len);

/* --- MMIO and port I/O --- */

/*
 * A device's registers. The dispatcher splits and pads: a handler sees only naturally aligned accesses of
 * size 1, 2, 4 or 8 with min_size <= size <= max_size that lie wholly inside the region. An access that is
 * wider than max_size, unaligned, or straddles the end is done in pieces; the part outside any region
 * reads as all ones and its writes are dropped. An access narrower than min_size reads the containing unit
 * and picks the bytes; such a write is dropped (logged, limited).
 */
struct io_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned int size);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned int size);
	uint8_t min_size, max_size; /* 0 = 1 and 8 (MMIO) or 4 (ports) */
};

enum io_kind { IO_MMIO, IO_PORT };

struct io_region { /* embedded in its device */
	const char *name;
	enum io_kind kind;
	uint64_t base, size;
	const struct io_ops *ops;
	void *opaque;
};

/* -EEXIST with both names when regions overlap. */
int __must_check mem_space_add_io(struct mem_space *space, struct io_region *region, struct error **errp);
void mem_space_del_io(struct mem_space *space, struct io_region *region); /* harmless when not added */

/* An access of @len (1, 2, 4 or 8) bytes in guest byte order, as KVM_EXIT_MMIO / KVM_EXIT_IO deliver it. vCPU threads. */
void mem_space_io_read(struct mem_space *space, enum io_kind kind, uint64_t addr, void *data, unsigned int len);
void mem_space_io_write(struct mem_space *space, enum io_kind kind, uint64_t addr, const void *data,
			unsigned int len);

/*
 * A copy of the region that comes @index-th in ascending order; false past the end. Any thread: a guest moves BARs meanwhile, so that
 * between two calls the order may change.
 */
bool mem_space_io(struct mem_space *space, enum io_kind kind, unsigned int index, struct io_region *ret);

#endif
