// SPDX-License-Identifier: Apache-2.0
/*
 * A guest runs, speaks, knows its command line and its memory, and ends the VMM with a status.
 */
#include "tests.h"

void test_hello(void)
{
	const struct boot_range *map = NULL;
	u32 n, i;

	print("hello from ring 3\n");
	print("cmdline: %s\n", boot_cmdline);
	print("tsc: %lu Hz by %s\n", tsc_hz(), tsc_source());
	n = boot_memmap(&map);
	for (i = 0; i < n; i++)
		print("memmap: %#lx +%#lx type %u\n", map[i].start, map[i].size, map[i].type);
	CHECK(boot_low_ram_end() > 0x100000);
	/* The device owns two ports; a 16-bit write is one write. */
	if (cmdline_get("wide")) {
		outw(DEBUG_EXIT_PORT, cmdline_get_u64("status", 0));
		for (;;)
			cpu_relax();
	}
	if (cmdline_get("status"))
		test_exit(cmdline_get_u64("status", 0));
}
