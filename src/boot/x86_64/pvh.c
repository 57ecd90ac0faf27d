// SPDX-License-Identifier: Apache-2.0
/*
 * Entry by the PVH note: Xen docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h, version
 * 1.
 */
#include <errno.h>
#include <string.h>

#include "source.h"
#include "util/endian.h"

#define PVH_MAGIC 0x336ec578
#define PVH_VERSION 1

struct pvh_start_info {
	le32_t magic;
	le32_t version;
	le32_t flags;
	le32_t module_count;
	le64_t modules;
	le64_t cmdline;
	le64_t rsdp;
	le64_t memory_map;
	le32_t memory_map_count;
	le32_t reserved;
};

struct pvh_module {
	le64_t base;
	le64_t size;
	le64_t cmdline;
	le64_t reserved;
};

struct pvh_memory {
	le64_t base;
	le64_t size;
	le32_t type; /* as in e820 */
	le32_t reserved;
};

/* One page at BOOT_X86_PVH_INFO. The first module is the initrd. */
struct pvh_page {
	struct pvh_start_info info;
	uint8_t pad[8];
	struct pvh_module initrd;
	uint8_t pad2[32];
	struct pvh_memory memory[E820_MAX];
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "start_info.h");
_Static_assert(sizeof(struct pvh_memory) == 24, "start_info.h");
_Static_assert(BOOT_X86_PVH_INFO + sizeof(struct pvh_page) <= BOOT_X86_ZERO_PAGE, "one page");

/* 32-bit code and data, flat, and a TSS. */
static const uint64_t gdt[] = {
	0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067,
};

int boot_enter_pvh(const struct boot_source *source, struct mem_space *space,
		   const struct boot_layout *layout, struct vcpu_entry *entry, struct error **errp)
{
	const gpa_t at = BOOT_X86_PVH_INFO;
	struct pvh_page page;
	int ret;

	memset(&page, 0, sizeof(page));
	page.info = (struct pvh_start_info){
		.magic = cpu_to_le32(PVH_MAGIC),
		.version = cpu_to_le32(PVH_VERSION),
		.cmdline = cpu_to_le64(BOOT_X86_CMDLINE),
		.rsdp = cpu_to_le64(layout->params->rsdp),
		.memory_map = cpu_to_le64(at + offsetof(struct pvh_page, memory)),
		.memory_map_count = cpu_to_le32(layout->e820.count),
	};
	if (source->has_initrd) {
		page.info.module_count = cpu_to_le32(1);
		page.info.modules = cpu_to_le64(at + offsetof(struct pvh_page, initrd));
		page.initrd.base = cpu_to_le64(layout->initrd);
		page.initrd.size = cpu_to_le64(source->initrd.size);
	}
	for (unsigned int i = 0; i < layout->e820.count; i++) {
		page.memory[i].base = cpu_to_le64(layout->e820.entries[i].base);
		page.memory[i].size = cpu_to_le64(layout->e820.entries[i].size);
		page.memory[i].type = cpu_to_le32((uint32_t)layout->e820.entries[i].type);
	}
	ret = boot_write_low(space, at, &page, sizeof(page), errp);
	if (!ret)
		ret = boot_write_low(space, BOOT_X86_GDT, gdt, sizeof(gdt), errp);
	if (ret)
		return ret;
	*entry = (struct vcpu_entry){
		.mode = VCPU_ENTRY_PROT32,
		.pc = source->elf.pvh_entry,
		.arg = at,
		.gdt_base = BOOT_X86_GDT,
		.gdt_limit = sizeof(gdt) - 1,
	};
	return 0;
}
