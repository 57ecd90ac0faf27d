/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loader needs of a 64-bit little-endian ELF file (System V gABI, chapters 4 and 5; the PVH
 * note: Xen docs/misc/pvh.pandoc). The parser's work is bounded by the limits below, whatever the
 * file says. Main thread.
 */
#ifndef BOOT_ELF_H
#define BOOT_ELF_H

#include "file.h"

#define ELF_SEGMENTS_MAX 32 /* PT_LOAD; Linux has 4 or 5 */
#define ELF_HEADERS_MAX 128 /* program headers of any type */
#define ELF_NOTES_MAX 8	    /* PT_NOTE segments looked at */
#define ELF_NOTE_SIZE_MAX (64 * KIB)

struct elf_segment {
	uint64_t offset, file_size; /* file_size <= mem_size; inside the file */
	uint64_t paddr, mem_size;   /* mem_size > 0; the end does not wrap */
};

struct elf_image {
	struct elf_segment segments[ELF_SEGMENTS_MAX]; /* ascending by paddr, no overlap */
	unsigned int count;			       /* > 0 */
	uint64_t entry;				       /* e_entry, not checked */
	bool has_pvh;
	uint64_t pvh_entry; /* XEN_ELFNOTE_PHYS32_ENTRY, not checked */
};

/* @machine: EM_X86_64, … Errors name the file and the field. */
int __must_check elf_parse(const struct boot_file *file, uint16_t machine, struct elf_image *ret,
			   struct error **errp);

/* Lies @paddr in the part of a segment that comes from the file? */
bool elf_has_code_at(const struct elf_image *image, uint64_t paddr);

/* First and one past the last address of all segments. */
uint64_t elf_start(const struct elf_image *image);
uint64_t elf_end(const struct elf_image *image);

/* Brings every segment to its physical address and zeroes what the file does not fill. */
int __must_check elf_load(const struct elf_image *image, const struct boot_file *file,
			  struct mem_space *space, struct error **errp);

#endif
