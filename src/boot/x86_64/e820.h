/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory map for the guest, in the form that the zero page and PVH both can carry. Main
 * thread.
 */
#ifndef BOOT_E820_H
#define BOOT_E820_H

#include "boot/boot.h"

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };

struct e820_entry {
	gpa_t base;
	uint64_t size;
	enum e820_type type;
};

#define E820_MAX 128 /* E820_MAX_ENTRIES_ZEROPAGE */

struct e820_map {
	struct e820_entry entries[E820_MAX]; /* ascending by base; RAM overlaps nothing */
	unsigned int count;
};

/*
 * RAM of the space less the legacy areas below 1 MiB (boot.h) and the reserved ranges of @params.
 */
int __must_check e820_build(const struct mem_space *space, const struct boot_x86_params *params,
			    struct e820_map *map, struct error **errp);

#endif
