/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel loading for direct boot. The images are hostile until proven otherwise: every offset and size is
 * checked before use. Main thread.
 *
 * A boot source is opened and identified once; boot_place_x86() and boot_enter_x86() may be called again after a reset and put
 * everything back as at the first boot.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "cpu/vcpu.h"
#include "memory/space.h"

enum boot_format {
	BOOT_BZIMAGE,  /* Linux boot protocol >= 2.12 with a 64-bit entry, else refused */
	BOOT_ELF_PVH,  /* ELF with a XEN_ELFNOTE_PHYS32_ENTRY note */
	BOOT_ELF64,    /* ELF vmlinux entered in 64-bit mode with a zero page */
	BOOT_RAW,      /* flat image, loaded and entered at 16 MiB: StratoVirt's objcopy'd vmlinux.bin */
#ifdef __aarch64__
	BOOT_ARM64_IMAGE, /* Image, as it is, gzipped, or inside an EFI zboot program */
#endif
};

/* Does this kernel use ACPI, as far as the image tells? */
enum boot_acpi_hint { BOOT_ACPI_YES, BOOT_ACPI_NO, BOOT_ACPI_UNKNOWN };

struct boot_source;

/* @initrd may be NULL. Errors name the file and what is wrong with it. */
int __must_check boot_source_open(const char *kernel, const char *initrd, struct boot_source **ret,
				  struct error **errp);
void boot_source_free(struct boot_source *source); /* NULL allowed */
enum boot_format boot_source_format(const struct boot_source *source);
enum boot_acpi_hint boot_source_acpi_hint(const struct boot_source *source);
/* True when @cmdline has acpi=off and no later acpi=force: the kernel will not look at tables. */
bool boot_cmdline_disables_acpi(const char *cmdline);

/* Low memory map of direct boot on x86_64 (StratoVirt's addresses where they matter to anybody). */
#define BOOT_X86_GDT 0x500
#define BOOT_X86_ZERO_PAGE 0x7000
#define BOOT_X86_STACK 0x8ff0
#define BOOT_X86_PML4 0x9000
#define BOOT_X86_CMDLINE 0x20000
#define BOOT_X86_CMDLINE_MAX 0x10000
#define BOOT_X86_PVH_INFO 0x6000
#define BOOT_X86_EBDA 0x9fc00    /* MP table */
#define BOOT_X86_ACPI 0xe0000    /* RSDP and tables, up to 1 MiB; reserved in e820 */
#define BOOT_X86_VMGENID 0xefff0 /* VM generation ID, where the ACPI tables end */
#define BOOT_X86_ACPI_END 0x100000
#define BOOT_X86_SMBIOS_END 0xfe000 /* from boot/smbios.h's SMBIOS_AREA on, which ends the ACPI tables */
/*
 * Where the CPU starts after a reset, below 1 MiB. A kernel on hardware-reduced ACPI that finds no EFI reboots by a
 * jump here in real mode; boot_enter_x86() leaves code that pulls the reset line of the keyboard controller.
 */
#define BOOT_X86_RESET_VECTOR 0xffff0

struct boot_x86_range {
	gpa_t base;
	uint64_t size;
};

struct boot_x86_params {
	const char *cmdline; /* whole command line */
	gpa_t rsdp;          /* 0 = none */
	const struct boot_x86_range *reserved; /* further e820 "reserved" ranges: identity map, TSS, … */
	unsigned int reserved_count;
};

/*
 * Loads kernel and initrd into the space's RAM. Private anonymous RAM gets pages of the images mapped (mmap MAP_FIXED, madvise: at a
 * reset, too); other RAM gets copies. One source for one space.
 *
 * Best before anything else is written to low memory: a kernel that is mapped ends the memory below it within 2 MiB. What is written
 * earlier gets a huge page, which is cleared, then split, and all that is below the kernel stays the VM's own.
 */
int __must_check boot_place_x86(struct boot_source *source, struct mem_space *space,
				const struct boot_x86_params *params, struct error **errp);
/* After that: command line and parameters, with the same @params but for its rsdp, and how to enter. */
int __must_check boot_enter_x86(struct boot_source *source, struct mem_space *space,
				const struct boot_x86_params *params, struct vcpu_entry *entry,
				struct error **errp);

#endif
