// SPDX-License-Identifier: Apache-2.0
/*
 * What the VMM handed over: the PVH start info, its command line and its memory map.
 */
#include "guest.h"

#define HVM_START_MAGIC 0x336ec578

/* Layout of the PVH boot protocol, version 1. */
struct hvm_start_info {
	u32 magic, version, flags, nr_modules;
	u64 modlist, cmdline, rsdp;
	u64 memmap;
	u32 memmap_entries, reserved;
};

extern u32 pvh_start_info;

/* Zero on entry, if the loader cleared .bss; start.S remembers what it found. */
u32 bss_canary;

static const struct hvm_start_info *start_info(void)
{
	const struct hvm_start_info *info = (const void *)(uintptr_t)pvh_start_info;

	return info && info->magic == HVM_START_MAGIC ? info : NULL;
}

void boot_init(void)
{
	const struct hvm_start_info *info = start_info();

	REQUIRE(info, "no PVH start info at %#x", pvh_start_info);
	if (info->cmdline)
		boot_cmdline = (const char *)(uintptr_t)info->cmdline;
}

u32 boot_memmap(const struct boot_range **map)
{
	const struct hvm_start_info *info = start_info();

	if (info->version < 1 || !info->memmap)
		return 0;
	*map = (const void *)(uintptr_t)info->memmap;
	return info->memmap_entries;
}

u64 boot_low_ram_end(void)
{
	const struct boot_range *map;
	u32 n = boot_memmap(&map), i;

	for (i = 0; i < n; i++)
		if (map[i].type == 1 && map[i].start <= 0x100000 &&
		    map[i].start + map[i].size > 0x100000)
			return map[i].start + map[i].size;
	REQUIRE(false, "the memory map of %u entries has no RAM at 1 MiB", n);
}

u64 boot_rsdp(void)
{
	return start_info()->rsdp;
}
