// SPDX-License-Identifier: Apache-2.0
/* Placing kernel, initrd and command line in guest RAM. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "source.h"

#define PAGE 4096

/*
 * Behind a raw image lie its .bss and .brk, whose size nothing tells. Linux' are below 16 MiB in
 * every distribution's configuration; the initrd, which is the only neighbour, stays that far away.
 */
#define RAW_BSS (16 * MIB)

/*
 * Highest address for an initrd when the kernel does not tell: what Linux' bzImages have said
 * since 2.6.
 */
#define INITRD_MAX 0x7fffffffULL

int boot_write_low(struct mem_space *space, gpa_t gpa, const void *data, uint64_t len,
		   struct error **errp)
{
	int ret = guest_write(space, gpa, data, len);

	return ret ? error_set(errp, ret,
			       "no guest memory at 0x%" PRIx64 " for the boot parameters", gpa)
		   : 0;
}

static int too_small(const struct boot_source *source, const struct mem_space *space, uint64_t need,
		     struct error **errp)
{
	return error_set(errp, -ENOMEM,
			 "kernel '%s' needs %" PRIu64 " MiB, the guest has %" PRIu64 " MiB",
			 source->kernel.path, (uint64_t)(ALIGN_UP(need, MIB) / MIB),
			 (uint64_t)(mem_space_ram_total(space) / MIB));
}

/* Is [start, end) RAM that the guest may use? */
static bool is_usable(const struct e820_map *map, gpa_t start, gpa_t end)
{
	for (unsigned int i = 0; i < map->count; i++) {
		const struct e820_entry *entry = &map->entries[i];

		if (entry->type == E820_RAM && start >= entry->base &&
		    end <= entry->base + entry->size)
			return true;
	}
	return false;
}

/* The range the kernel needs, before anything is written. */
static void plan_kernel(const struct boot_source *source, struct boot_layout *layout)
{
	const struct bzimage *bzimage = &source->bzimage;

	switch (source->format) {
	case BOOT_BZIMAGE:
		layout->kernel_start = BZIMAGE_LOAD;
		layout->kernel_end = MAX(BZIMAGE_LOAD + bzimage->code_size,
					 bzimage->runtime_start + bzimage->runtime_size);
		break;
	case BOOT_ELF_PVH:
	case BOOT_ELF64:
		layout->kernel_start = elf_start(&source->elf);
		layout->kernel_end = elf_end(&source->elf);
		break;
	case BOOT_RAW:
		layout->kernel_start = BOOT_RAW_LOAD;
		layout->kernel_end = BOOT_RAW_LOAD + source->kernel.size;
		break;
	}
}

static int load_kernel(const struct boot_source *source, struct mem_space *space,
		       struct error **errp)
{
	const struct boot_file *kernel = &source->kernel;

	switch (source->format) {
	case BOOT_BZIMAGE:
		return boot_file_load(kernel, source->bzimage.code_offset,
				      source->bzimage.code_size, space, BZIMAGE_LOAD, errp);
	case BOOT_ELF_PVH:
	case BOOT_ELF64:
		return elf_load(&source->elf, kernel, space, errp);
	case BOOT_RAW:
		return boot_file_load(kernel, 0, kernel->size, space, BOOT_RAW_LOAD, errp);
	}
	return error_set(errp, -EINVAL, "kernel '%s' has no known format", kernel->path);
}

/* The highest page-aligned place of @size bytes in usable RAM within [bottom, top). 0: none. */
static gpa_t find_place(const struct e820_map *map, uint64_t size, gpa_t bottom, gpa_t top)
{
	for (unsigned int i = map->count; i-- > 0;) {
		const struct e820_entry *entry = &map->entries[i];
		gpa_t low = MAX(entry->base, bottom);
		gpa_t high = MIN(entry->base + entry->size, top);
		gpa_t start;

		if (entry->type != E820_RAM || high < low || size > high - low)
			continue;
		start = ALIGN_DOWN(high - size, PAGE);
		if (start >= low)
			return start;
	}
	return 0;
}

/*
 * boot.rst, "initrd_addr_max"; above 4 GiB only for kernels that say they can (xloadflags bit 1).
 */
static int place_initrd(const struct boot_source *source, struct mem_space *space,
			struct boot_layout *layout, struct error **errp)
{
	uint64_t size = source->initrd.size;
	gpa_t bottom = layout->kernel_end;
	gpa_t top = INITRD_MAX + 1;
	bool high = false;

	if (source->format == BOOT_BZIMAGE) {
		top = (uint64_t)source->bzimage.header.initrd_addr_max + 1;
		high = source->bzimage.header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G;
	} else if (source->format == BOOT_RAW) {
		bottom += RAW_BSS;
	}
	layout->initrd = find_place(&layout->e820, size, bottom, top);
	if (!layout->initrd && high)
		layout->initrd = find_place(&layout->e820, size, 4 * GIB, UINT64_MAX);
	if (!layout->initrd)
		return error_set(errp, -ENOMEM,
				 "initrd '%s' (%" PRIu64
				 " KiB) does not fit: kernel '%s' uses the memory up to %" PRIu64
				 " MiB, an initrd must end below %" PRIu64
				 " MiB, the guest has %" PRIu64 " MiB",
				 source->initrd.path, (uint64_t)(ALIGN_UP(size, KIB) / KIB),
				 source->kernel.path, (uint64_t)(ALIGN_UP(bottom, MIB) / MIB),
				 (uint64_t)(top / MIB),
				 (uint64_t)(mem_space_ram_total(space) / MIB));
	return boot_file_load(&source->initrd, 0, size, space, layout->initrd, errp);
}

static int write_cmdline(const struct boot_source *source, struct mem_space *space,
			 const char *cmdline, struct error **errp)
{
	size_t len = strlen(cmdline);
	size_t max = BOOT_CMDLINE_DEFAULT_MAX;

	if (source->format == BOOT_BZIMAGE)
		max = MIN(source->bzimage.header.cmdline_size, BOOT_X86_CMDLINE_MAX - 1u);
	if (len > max)
		return error_set(
			errp, -E2BIG,
			"the kernel command line has %zu bytes, kernel '%s' takes at most %zu", len,
			source->kernel.path, max);
	return boot_write_low(space, BOOT_X86_CMDLINE, cmdline, len + 1, errp);
}

static int write_reset_vector(struct mem_space *space, struct error **errp)
{
	static const uint8_t code[] = {
		0xb0, 0xfe, /* mov $0xfe, %al: pulse output line 0, the reset line */
		0xe6, 0x64, /* out %al, $0x64 */
		0xf4,       /* hlt */
		0xeb, 0xfd, /* jmp to the hlt */
	};

	return boot_write_low(space, BOOT_X86_RESET_VECTOR, code, sizeof(code), errp);
}

int boot_place_x86(struct boot_source *source, struct mem_space *space,
		   const struct boot_x86_params *params, struct error **errp)
{
	struct boot_layout layout = { 0 };
	int ret;

	ret = e820_build(space, params, &layout.e820, errp);
	if (ret)
		return ret;
	plan_kernel(source, &layout);
	if (!is_usable(&layout.e820, layout.kernel_start, layout.kernel_end))
		return too_small(source, space, layout.kernel_end, errp);
	ret = load_kernel(source, space, errp);
	if (!ret && source->has_initrd)
		ret = place_initrd(source, space, &layout, errp);
	if (!ret)
		source->layout = layout;
	return ret;
}

int boot_enter_x86(struct boot_source *source, struct mem_space *space,
		   const struct boot_x86_params *params, struct vcpu_entry *entry,
		   struct error **errp)
{
	struct boot_layout layout = source->layout;
	int ret;

	layout.params = params;
	ret = write_reset_vector(space, errp);
	if (!ret)
		ret = write_cmdline(source, space, params->cmdline, errp);
	if (ret)
		return ret;

	switch (source->format) {
	case BOOT_BZIMAGE: /* the 64-bit entry: load address + 0x200 (boot.rst, "64-bit Boot
			      Protocol") */
		return boot_enter_long64(source, space, &layout, BZIMAGE_LOAD + 0x200, entry, errp);
	case BOOT_ELF_PVH:
		return boot_enter_pvh(source, space, &layout, entry, errp);
	case BOOT_ELF64:
		return boot_enter_long64(source, space, &layout, source->elf.entry, entry, errp);
	case BOOT_RAW:
		return boot_enter_long64(source, space, &layout, BOOT_RAW_LOAD, entry, errp);
	}
	return error_set(errp, -EINVAL, "kernel '%s' has no known format", source->kernel.path);
}
