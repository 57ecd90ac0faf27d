/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bzImage format (Linux Documentation/arch/x86/boot.rst, protocol 2.12 and later). Main thread.
 */
#ifndef BOOT_BZIMAGE_H
#define BOOT_BZIMAGE_H

#include <asm/bootparam.h>

#include "../file.h"
#include "boot/boot.h"

/*
 * The setup header lies at this offset of the file and of the zero page, and may grow up to the
 * second one.
 */
#define BZIMAGE_HEADER offsetof(struct boot_params, hdr)
#define BZIMAGE_HEADER_MAX (offsetof(struct boot_params, edd_mbr_sig_buffer) - BZIMAGE_HEADER)

#define BZIMAGE_LOAD 0x100000ULL /* where the protected-mode part goes */

struct bzimage {
	/*
	 * As in the file, as long as it says it is; zero behind. What this VMM does not know is
	 * handed on.
	 */
	union {
		struct setup_header header;
		uint8_t raw[BZIMAGE_HEADER_MAX];
	};
	uint64_t code_offset, code_size; /* the protected-mode part in the file */
	/* What the kernel uses before it reads the memory map: where it decompresses itself to. */
	gpa_t runtime_start;
	uint64_t runtime_size;
	enum boot_acpi_hint acpi;
};

/*
 * Does the file have the magics of a bzImage? @start: its first 1024 bytes or fewer, @size of
 * them.
 */
bool bzimage_probe(const uint8_t *start, uint64_t size);

int __must_check bzimage_parse(const struct boot_file *file, struct bzimage *ret,
			       struct error **errp);

#endif
