// SPDX-License-Identifier: Apache-2.0
#include "e820.h"

#include <errno.h>

/*
 * The video memory and option ROM addresses of a PC: backed by RAM here, but no guest looks for
 * RAM there.
 */
#define LEGACY_HOLE 0xa0000

static int add(struct e820_map *map, gpa_t base, uint64_t size, enum e820_type type,
	       struct error **errp)
{
	unsigned int at = map->count;

	if (!size)
		return 0;
	if (map->count == E820_MAX)
		return error_set(errp, -E2BIG, "the memory map has more than %d entries", E820_MAX);
	for (; at && map->entries[at - 1].base > base; at--)
		map->entries[at] = map->entries[at - 1];
	map->entries[at] = (struct e820_entry){ base, size, type };
	map->count++;
	return 0;
}

/* Cuts [base, base + size) out of the RAM entries. */
static int cut(struct e820_map *map, gpa_t base, uint64_t size, struct error **errp)
{
	gpa_t end = base + size;

	for (unsigned int i = 0; i < map->count; i++) {
		struct e820_entry *entry = &map->entries[i];
		gpa_t entry_end = entry->base + entry->size;

		if (entry->type != E820_RAM || entry_end <= base || entry->base >= end)
			continue;
		/*
		 * What is left in front stays in place (it may be nothing); what is left behind
		 * is added.
		 */
		entry->size = base > entry->base ? base - entry->base : 0;
		if (entry_end > end) {
			int ret = add(map, end, entry_end - end, E820_RAM, errp);

			if (ret)
				return ret;
		}
	}
	return 0;
}

static int reserve(struct e820_map *map, gpa_t base, uint64_t size, struct error **errp)
{
	int ret = cut(map, base, size, errp);

	return ret ? ret : add(map, base, size, E820_RESERVED, errp);
}

int e820_build(const struct mem_space *space, const struct boot_x86_params *params,
	       struct e820_map *map, struct error **errp)
{
	unsigned int kept = 0;
	int ret = 0;

	map->count = 0;
	for (unsigned int i = 0; !ret && i < mem_space_ram_count(space); i++) {
		const struct ram_region *region = mem_space_ram(space, i);

		ret = add(map, region->base, region->size, E820_RAM, errp);
	}
	if (!ret)
		ret = cut(map, LEGACY_HOLE, BOOT_X86_ACPI - LEGACY_HOLE, errp);
	if (!ret)
		ret = reserve(map, BOOT_X86_EBDA, LEGACY_HOLE - BOOT_X86_EBDA, errp);
	if (!ret)
		ret = reserve(map, BOOT_X86_ACPI, BOOT_X86_ACPI_END - BOOT_X86_ACPI, errp);
	for (unsigned int i = 0; !ret && i < params->reserved_count; i++)
		ret = reserve(map, params->reserved[i].base, params->reserved[i].size, errp);
	if (ret)
		return ret;

	for (unsigned int i = 0; i < map->count; i++)
		if (map->entries[i].size)
			map->entries[kept++] = map->entries[i];
	map->count = kept;
	return 0;
}
