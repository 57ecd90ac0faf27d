// SPDX-License-Identifier: Apache-2.0
/* The 64-bit entry of the Linux boot protocol (boot.rst, "64-bit Boot Protocol"; zero-page.rst). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "source.h"

/*
 * Code 64-bit, data flat, a busy 64-bit TSS: VM entry asks for one (Intel SDM 3A §3.4.5, 3C
 * §26.3.1.2).
 */
static const uint64_t gdt[] = {
	0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067, 0,
};

#define PTE_PRESENT_WRITE 0x3ULL
#define PTE_LARGE 0x80ULL
#define PAGE 4096
#define TABLE_ENTRIES 512

/* PML4, PDPT, then one page directory a GiB: they end below 0x10000. */
#define PDPT (BOOT_X86_PML4 + PAGE)
#define PD (BOOT_X86_PML4 + 2 * PAGE)
#define PD_MAX 4

/*
 * The protocol asks for an identity map of the kernel's init_size, the zero page and the command
 * line. Whole GiBs by 2 MiB pages; one page directory does unless the kernel runs at unusual
 * heights.
 */
static int write_page_tables(struct mem_space *space, gpa_t end, struct error **errp)
{
	uint64_t count = MAX((end + GIB - 1) / GIB, 1ULL);
	uint64_t table[TABLE_ENTRIES] = { PDPT | PTE_PRESENT_WRITE };
	int ret;

	if (count > PD_MAX)
		return error_set(errp, -EINVAL,
				 "the kernel ends at 0x%" PRIx64 ", it must end below 4 GiB", end);
	ret = boot_write_low(space, BOOT_X86_PML4, table, sizeof(table), errp);
	for (unsigned int i = 0; i < count; i++)
		table[i] = (PD + i * PAGE) | PTE_PRESENT_WRITE;
	if (!ret)
		ret = boot_write_low(space, PDPT, table, sizeof(table), errp);
	for (unsigned int i = 0; !ret && i < count; i++) {
		for (unsigned int j = 0; j < TABLE_ENTRIES; j++)
			table[j] = (i * GIB + j * 2 * MIB) | PTE_LARGE | PTE_PRESENT_WRITE;
		ret = boot_write_low(space, PD + i * PAGE, table, sizeof(table), errp);
	}
	return ret;
}

/* The header of a bzImage is handed back to it; kernels without one get what they look at. */
static void fill_header(const struct boot_source *source, struct boot_params *page)
{
	if (source->format == BOOT_BZIMAGE) {
		memcpy((uint8_t *)page + BZIMAGE_HEADER, source->bzimage.raw, BZIMAGE_HEADER_MAX);
	} else {
		page->hdr.boot_flag = 0xaa55;
		page->hdr.header = 0x53726448;
		page->hdr.version = 0x020c;
		page->hdr.loadflags = LOADED_HIGH;
		page->hdr.kernel_alignment = 2 * MIB;
		page->hdr.cmdline_size = BOOT_CMDLINE_DEFAULT_MAX;
	}
	page->hdr.type_of_loader = 0xff; /* none of the registered ones */
	page->hdr.cmd_line_ptr = BOOT_X86_CMDLINE;
}

static void fill_initrd(const struct boot_source *source, const struct boot_layout *layout,
			struct boot_params *page)
{
	page->hdr.ramdisk_image = (uint32_t)layout->initrd;
	page->ext_ramdisk_image = (uint32_t)(layout->initrd >> 32);
	page->hdr.ramdisk_size = source->has_initrd ? (uint32_t)source->initrd.size : 0;
	page->ext_ramdisk_size = source->has_initrd ? (uint32_t)(source->initrd.size >> 32) : 0;
}

static int write_zero_page(const struct boot_source *source, struct mem_space *space,
			   const struct boot_layout *layout, struct error **errp)
{
	struct boot_params page;

	_Static_assert(sizeof(page) == PAGE, "struct boot_params is the zero page");
	_Static_assert(E820_MAX == E820_MAX_ENTRIES_ZEROPAGE, "e820_map fits the zero page");
	memset(&page, 0, sizeof(page));
	fill_header(source, &page);
	fill_initrd(source, layout, &page);
	/* Kernels older than protocol 2.14 take no notice and find the RSDP by its signature. */
	page.acpi_rsdp_addr = layout->params->rsdp;
	page.e820_entries = (uint8_t)layout->e820.count;
	for (unsigned int i = 0; i < layout->e820.count; i++) {
		const struct e820_entry *entry = &layout->e820.entries[i];

		page.e820_table[i] =
			(struct boot_e820_entry){ entry->base, entry->size, entry->type };
	}
	return boot_write_low(space, BOOT_X86_ZERO_PAGE, &page, sizeof(page), errp);
}

int boot_enter_long64(const struct boot_source *source, struct mem_space *space,
		      const struct boot_layout *layout, uint64_t pc, struct vcpu_entry *entry,
		      struct error **errp)
{
	int ret = write_zero_page(source, space, layout, errp);

	if (!ret)
		ret = write_page_tables(space, layout->kernel_end, errp);
	if (!ret)
		ret = boot_write_low(space, BOOT_X86_GDT, gdt, sizeof(gdt), errp);
	if (ret)
		return ret;
	*entry = (struct vcpu_entry){
		.mode = VCPU_ENTRY_LONG64,
		.pc = pc,
		.arg = BOOT_X86_ZERO_PAGE,
		.stack = BOOT_X86_STACK,
		.page_table = BOOT_X86_PML4,
		.gdt_base = BOOT_X86_GDT,
		.gdt_limit = sizeof(gdt) - 1,
	};
	return 0;
}
