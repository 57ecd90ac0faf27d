/* SPDX-License-Identifier: Apache-2.0 */
/* What boot_source_open() learnt about the images. Main thread. */
#ifndef BOOT_ARM64_SOURCE_H
#define BOOT_ARM64_SOURCE_H

#include "../file.h"
#include "boot/arm64.h"

struct boot_source {
	struct boot_file kernel, initrd;
	bool has_initrd;
	uint64_t text_offset; /* from a boundary of 2 MiB */
	uint64_t image_size;  /* in memory, with .bss */
};

#endif
