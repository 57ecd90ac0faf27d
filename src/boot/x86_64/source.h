/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What boot_source_open() learnt about the images, and the steps of boot_place_x86() and boot_enter_x86(). Main thread.
 */
#ifndef BOOT_SOURCE_H
#define BOOT_SOURCE_H

#include "../elf.h"
#include "../file.h"
#include "boot/boot.h"
#include "bzimage.h"
#include "e820.h"

#define BOOT_RAW_LOAD 0x1000000ULL /* CONFIG_PHYSICAL_START's default */

/*
 * Linux' COMMAND_LINE_SIZE on x86 without the NUL, for kernels whose image does not tell their
 * limit.
 */
#define BOOT_CMDLINE_DEFAULT_MAX 2047

/* Where everything went, for the parameter blocks. */
struct boot_layout {
	const struct boot_x86_params *params;
	struct e820_map e820;
	gpa_t kernel_start,
		kernel_end; /* all that the kernel may use before it reads the memory map */
	gpa_t initrd;	    /* 0 without one */
};

struct boot_source {
	struct boot_file kernel, initrd;
	bool has_initrd;
	enum boot_format format;
	struct bzimage bzimage; /* BOOT_BZIMAGE */
	struct elf_image elf;	/* BOOT_ELF_PVH, BOOT_ELF64 */
	struct boot_layout layout; /* of boot_place_x86() */
};

/* Zero page, page tables and GDT for the 64-bit entry at @pc. */
int __must_check boot_enter_long64(const struct boot_source *source, struct mem_space *space,
				   const struct boot_layout *layout, uint64_t pc,
				   struct vcpu_entry *entry, struct error **errp);

/* hvm_start_info and GDT for the 32-bit entry of the PVH note. */
int __must_check boot_enter_pvh(const struct boot_source *source, struct mem_space *space,
				const struct boot_layout *layout, struct vcpu_entry *entry,
				struct error **errp);

/* guest_write() to the tables below 1 MiB, with a message. */
int __must_check boot_write_low(struct mem_space *space, gpa_t gpa, const void *data, uint64_t len,
				struct error **errp);

#endif
