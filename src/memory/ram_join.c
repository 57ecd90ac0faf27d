/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several RAM back ends side by side in this process, as they are in the guest. What the guest sees as one stretch of
 * memory is one here, too, so that a slice may reach from one node's memory into the next one's.
 */
#include "ram_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/alloc.h"

#define LOG_MODULE "memory"
#include "util/log.h"

struct ram_area {
	void *reserved;
	size_t size;
};

void ram_leave(struct ram_mapping *map)
{
	/* Not unmapped: the hole could become somebody else's before the area goes. */
	if (mmap(map->ram.host, map->ram.size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		log_warn("guest memory stays mapped: %s", strerror(errno));
}

/* What is left of its own reservation goes: the mapping itself has left it. */
static void drop_reservation(struct ram_mapping *map, uint8_t *old)
{
	uint8_t *begin = map->reserved, *end = begin + map->reserved_size;

	munmap(begin, (size_t)(old - begin));
	munmap(old + map->ram.size, (size_t)(end - (old + map->ram.size)));
	map->reserved = NULL;
	map->joined = true;
}

int ram_join(struct ram_backend **rams, unsigned int count, struct ram_area **ret, struct error **errp)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), align = 2 * MIB;
	struct ram_area *area = xcalloc(1, sizeof(*area));
	uintptr_t at;

	area->size = 2 * page;
	for (unsigned int i = 0; i < count; i++) {
		align = MAX(align, (size_t)rams[i]->page_size);
		area->size += rams[i]->size + rams[i]->page_size;
	}
	area->size += align;
	area->reserved = mmap(NULL, area->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area->reserved == MAP_FAILED) {
		free(area);
		return error_set_errno(errp, -ENOMEM, "no address space for guest memory");
	}
	at = ALIGN_UP((uintptr_t)area->reserved + page, align);
	for (unsigned int i = 0; i < count; i++) {
		struct ram_mapping *map = container_of(rams[i], struct ram_mapping, ram);
		uint8_t *old = rams[i]->host;

		at = ALIGN_UP(at, (uintptr_t)rams[i]->page_size);
		/* Pages, their node and what madvise() said move along. Huge pages do since Linux 5.16; else they stay. */
		if (mremap(old, rams[i]->size, rams[i]->size, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)at) ==
		    MAP_FAILED) {
			log_debug("guest memory stays in pieces: %s", strerror(errno));
		} else {
			rams[i]->host = (uint8_t *)at;
			drop_reservation(map, old);
		}
		at += rams[i]->size;
	}
	*ret = area;
	return 0;
}

void ram_area_free(struct ram_area *area)
{
	if (!area)
		return;
	munmap(area->reserved, area->size);
	free(area);
}
