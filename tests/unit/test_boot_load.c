// SPDX-License-Identifier: Apache-2.0
/* Kernels, initrds and boot parameters as boot_place_x86() and boot_enter_x86() leave them in guest memory. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "boot_images.h"

static const struct boot_x86_range reserved[] = { { 0xfef0c000, 0x4000 } };

struct loaded {
	struct image_file kernel, initrd;
	struct boot_source *source;
	struct guest guest;
	struct vcpu_entry entry;
	struct boot_x86_params params;
};

static void loaded_open(struct loaded *l, const struct image *kernel, const struct image *initrd,
			struct guest guest)
{
	struct error *err = NULL;
	int ret;

	memset(l, 0, sizeof(*l));
	l->guest = guest;
	l->params = (struct boot_x86_params){ "console=ttyS0 quiet", 0xe0000, reserved, 1 };
	image_open(kernel, &l->kernel);
	if (initrd)
		image_open(initrd, &l->initrd);
	ret = boot_source_open(l->kernel.path, initrd ? l->initrd.path : NULL, &l->source, &err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
}

static int load(struct loaded *l, struct vcpu_entry *entry, struct error **errp)
{
	int ret = boot_place_x86(l->source, l->guest.space, &l->params, errp);

	return ret ? ret : boot_enter_x86(l->source, l->guest.space, &l->params, entry, errp);
}

static void loaded_load(struct loaded *l)
{
	struct error *err = NULL;
	int ret = load(l, &l->entry, &err);

	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
}

static void loaded_close(struct loaded *l)
{
	boot_source_free(l->source);
	guest_free(&l->guest);
	close(l->kernel.fd);
	if (l->initrd.path[0])
		close(l->initrd.fd);
}

/* [gpa, gpa + len) holds the image's bytes from @offset. */
static void assert_image_at(const struct guest *guest, const struct image *image, size_t offset,
			    gpa_t gpa, size_t len)
{
	ck_assert_msg(!memcmp(guest_at(guest, gpa, len), image->data + offset, len),
		      "guest memory at 0x%" PRIx64 " is not the image at 0x%zx", gpa, offset);
}

static void assert_zero_at(const struct guest *guest, gpa_t gpa, size_t len)
{
	const uint8_t *p = guest_at(guest, gpa, len);

	for (size_t i = 0; i < len; i++)
		ck_assert_msg(!p[i], "guest memory at 0x%" PRIx64 " is not zero", gpa + i);
}

/* The file a host page is mapped from, or 0 for anonymous memory. */
static ino_t mapped_inode(const void *page)
{
	unsigned long start, end, inode = 0;
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &start, &end, &inode) == 3 &&
		    (unsigned long)page >= start && (unsigned long)page < end)
			break;
	fclose(maps);
	return inode;
}

static ino_t file_inode(const struct image_file *file)
{
	struct stat st;

	ck_assert_int_eq(fstat(file->fd, &st), 0);
	return st.st_ino;
}

/* Walks the page tables of the 64-bit entry. */
static uint64_t translate(const struct guest *guest, uint64_t cr3, uint64_t va)
{
	uint64_t entry = cr3;

	for (int shift = 39; shift >= 21; shift -= 9) {
		const uint64_t *table = (void *)guest_at(guest, entry & ~0xfffULL, 4096);

		entry = table[va >> shift & 511];
		ck_assert_msg(entry & 1, "0x%" PRIx64 " is not mapped", va);
		if (entry & 0x80)
			return (entry & ~((1ULL << shift) - 1)) | (va & ((1ULL << shift) - 1));
	}
	ck_abort_msg("no large page for 0x%" PRIx64, va);
}

static void assert_long64(const struct loaded *l, uint64_t pc, gpa_t mapped_end)
{
	const uint64_t *gdt = (void *)guest_at(&l->guest, BOOT_X86_GDT, 48);

	ck_assert_int_eq(l->entry.mode, VCPU_ENTRY_LONG64);
	ck_assert_uint_eq(l->entry.pc, pc);
	ck_assert_uint_eq(l->entry.arg, BOOT_X86_ZERO_PAGE);
	ck_assert_uint_eq(l->entry.stack, BOOT_X86_STACK);
	ck_assert_uint_eq(l->entry.gdt_base, BOOT_X86_GDT);
	ck_assert_uint_eq(l->entry.gdt_limit, 47);
	ck_assert_uint_eq(gdt[2] >> 52 & 0xf, 0xa); /* 64-bit code */
	ck_assert_uint_eq(gdt[3] >> 40 & 0xff, 0x93);
	for (gpa_t at = 0; at < mapped_end; at += 0x1ff000)
		ck_assert_uint_eq(translate(&l->guest, l->entry.page_table, at), at);
	ck_assert_uint_eq(translate(&l->guest, l->entry.page_table, mapped_end - 1),
			  mapped_end - 1);
}

static const struct boot_params *zero_page(const struct loaded *l)
{
	return (const void *)guest_at(&l->guest, BOOT_X86_ZERO_PAGE, 4096);
}

START_TEST(bzimage)
{
	struct image image = image_bzimage();
	const struct boot_params *page;
	struct loaded l;

	loaded_open(&l, &image, NULL, guest_new(128));
	ck_assert_int_eq(boot_source_format(l.source), BOOT_BZIMAGE);
	loaded_load(&l);
	assert_long64(&l, 0x100200, 0x1800000);
	assert_image_at(&l.guest, &image, BZ_CODE_OFFSET, 0x100000, BZ_CODE_SIZE);
	ck_assert_str_eq((char *)guest_at(&l.guest, BOOT_X86_CMDLINE, 20), "console=ttyS0 quiet");

	/* A jump to the reset vector in real mode finds code that resets. */
	ck_assert_mem_eq(guest_at(&l.guest, BOOT_X86_RESET_VECTOR, 4), "\xb0\xfe\xe6\x64", 4);

	page = zero_page(&l);
	ck_assert_uint_eq(page->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(page->hdr.cmd_line_ptr, BOOT_X86_CMDLINE);
	ck_assert_uint_eq(page->hdr.init_size, 0x800000);
	ck_assert_uint_eq(page->hdr.kernel_info_offset, 0x1234);
	ck_assert_uint_eq(page->hdr.ramdisk_size, 0);
	ck_assert_uint_eq(page->hdr.ramdisk_image, 0);
	ck_assert_uint_eq(page->acpi_rsdp_addr, 0xe0000);
	ck_assert_uint_eq(page->sentinel, 0);
	loaded_close(&l);
	free(image.data);
}
END_TEST

/*
 * Only what the header calls its own is handed on (boot.rst: it ends at 0x202 plus the byte at
 * 0x201).
 */
START_TEST(bzimage_header_length)
{
	struct image image = image_bzimage();
	struct loaded l;

	image.data[0x26c] = 0x77; /* the first byte behind a header of today */
	image.data[0x270] = 0x88;
	loaded_open(&l, &image, NULL, guest_new(128));
	loaded_load(&l);
	ck_assert_uint_eq(*guest_at(&l.guest, BOOT_X86_ZERO_PAGE + 0x26c, 1), 0);
	loaded_close(&l);

	bz_header(&image)->jump = 0x6eeb; /* a header of tomorrow, four bytes longer */
	loaded_open(&l, &image, NULL, guest_new(128));
	loaded_load(&l);
	ck_assert_uint_eq(*guest_at(&l.guest, BOOT_X86_ZERO_PAGE + 0x26c, 1), 0x77);
	ck_assert_uint_eq(*guest_at(&l.guest, BOOT_X86_ZERO_PAGE + 0x270, 1), 0);
	loaded_close(&l);
	free(image.data);
}
END_TEST

START_TEST(e820)
{
	static const struct boot_e820_entry expected[] = {
		{ 0, 0x9fc00, 1 },	     { 0x9fc00, 0x400, 2 },
		{ 0xe0000, 0x20000, 2 },     { 0x100000, 0xbff00000, 1 },
		{ 0xfef0c000, 0x4000, 2 },   { 0x100000000, 0x3ff00000, 1 },
		{ 0x13ff00000, 0x10000, 2 }, { 0x13ff10000, 0xf0000, 1 },
	};
	static const struct boot_x86_range more[] = { { 0xfef0c000, 0x4000 },
						      { 0x13ff00000, 0x10000 } };
	struct image image = image_bzimage();
	const struct boot_params *page;
	struct loaded l;

	loaded_open(&l, &image, NULL, guest_new(4096));
	l.params.reserved = more;
	l.params.reserved_count = 2;
	loaded_load(&l);
	page = zero_page(&l);
	ck_assert_uint_eq(page->e820_entries, ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		ck_assert_msg(!memcmp(&page->e820_table[i], &expected[i], sizeof(expected[i])),
			      "entry %zu: %llx %llx %u", i, page->e820_table[i].addr,
			      page->e820_table[i].size, page->e820_table[i].type);
	loaded_close(&l);
	free(image.data);
}
END_TEST

START_TEST(elf_by_64bit_entry)
{
	struct image image = image_elf(false);
	struct loaded l;

	loaded_open(&l, &image, NULL, guest_new(128));
	ck_assert_int_eq(boot_source_format(l.source), BOOT_ELF64);
	ck_assert_int_eq(boot_source_acpi_hint(l.source), BOOT_ACPI_UNKNOWN);
	loaded_load(&l);
	assert_long64(&l, ELF_ENTRY, ELF_DATA_PADDR + ELF_DATA_MEM);
	assert_image_at(&l.guest, &image, ELF_TEXT_OFFSET, ELF_TEXT_PADDR, ELF_TEXT_SIZE);
	assert_image_at(&l.guest, &image, ELF_DATA_OFFSET, ELF_DATA_PADDR, ELF_DATA_SIZE);
	assert_zero_at(&l.guest, ELF_DATA_PADDR + ELF_DATA_SIZE, ELF_DATA_MEM - ELF_DATA_SIZE);
	/* Nothing of the file spills over the end of a segment. */
	assert_zero_at(&l.guest, ELF_TEXT_PADDR + ELF_TEXT_SIZE, 0x1000);
	ck_assert_uint_eq(zero_page(&l)->hdr.header, 0x53726448);
	ck_assert_uint_eq(zero_page(&l)->acpi_rsdp_addr, 0xe0000);
	loaded_close(&l);
	free(image.data);
}
END_TEST

START_TEST(elf_by_pvh_note)
{
	struct image image = image_elf(true), initrd = image_new(0x3001);
	const uint32_t *info;
	const uint64_t *quads, *module, *memory;
	const uint64_t *gdt;
	struct loaded l;

	loaded_open(&l, &image, &initrd, guest_new(128));
	ck_assert_int_eq(boot_source_format(l.source), BOOT_ELF_PVH);
	loaded_load(&l);
	ck_assert_int_eq(l.entry.mode, VCPU_ENTRY_PROT32);
	ck_assert_uint_eq(l.entry.pc, ELF_PVH_ENTRY);
	ck_assert_uint_eq(l.entry.arg, BOOT_X86_PVH_INFO);
	gdt = (void *)guest_at(&l.guest, l.entry.gdt_base, l.entry.gdt_limit + 1u);
	ck_assert_uint_eq(gdt[2] >> 52 & 0xf, 0xc); /* 32-bit code */

	info = (void *)guest_at(&l.guest, BOOT_X86_PVH_INFO, 56);
	quads = (const void *)info;
	ck_assert_uint_eq(info[0], 0x336ec578);
	ck_assert_uint_eq(info[1], 1);
	ck_assert_uint_eq(info[3], 1); /* modules */
	ck_assert_uint_eq(quads[3], BOOT_X86_CMDLINE);
	ck_assert_uint_eq(quads[4], 0xe0000);
	module = (void *)guest_at(&l.guest, quads[2], 32);
	ck_assert_uint_eq(module[1], 0x3001);
	assert_image_at(&l.guest, &initrd, 0, module[0], initrd.size);
	ck_assert_uint_eq(info[12], 5);
	memory = (void *)guest_at(&l.guest, quads[5], 5 * 24);
	ck_assert_uint_eq(memory[9], 0x100000); /* the fourth entry: RAM above 1 MiB */
	ck_assert_uint_eq(memory[10], 127 * MIB);
	ck_assert_uint_eq(memory[11], 1);
	loaded_close(&l);
	free(image.data);
	free(initrd.data);
}
END_TEST

START_TEST(raw_image)
{
	struct image image = image_new(0x30456);
	struct loaded l;

	loaded_open(&l, &image, NULL, guest_new(128));
	ck_assert_int_eq(boot_source_format(l.source), BOOT_RAW);
	loaded_load(&l);
	assert_long64(&l, 0x1000000, 0x1000000 + image.size);
	assert_image_at(&l.guest, &image, 0, 0x1000000, image.size);
	loaded_close(&l);
	free(image.data);
}
END_TEST

/*
 * Whole pages come from the page cache; the rest is copied; other kinds of memory get copies
 * only.
 */
START_TEST(pages_are_mapped)
{
	struct image bz = image_bzimage(), elf = image_elf(false), initrd = image_new(0x20800);
	gpa_t at;
	struct loaded l;

	loaded_open(&l, &bz, &initrd, guest_new(128));
	loaded_load(&l);
	ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, 0x100000, 1)), file_inode(&l.kernel));
	at = zero_page(&l)->hdr.ramdisk_image;
	ck_assert_uint_eq(at, 128 * MIB - 0x21000);
	assert_image_at(&l.guest, &initrd, 0, at, initrd.size);
	ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, at, 1)), file_inode(&l.initrd));
	ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, at + 0x20000, 1)), 0);
	loaded_close(&l);

	loaded_open(&l, &elf, NULL, guest_new(128));
	loaded_load(&l);
	ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, ELF_TEXT_PADDR, 1)),
			  file_inode(&l.kernel));
	ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, ELF_TEXT_PADDR + 0x20000, 1)), 0);
	ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, ELF_DATA_PADDR, 1)), 0);
	loaded_close(&l);

	loaded_open(&l, &elf, NULL, guest_new_kind(128, RAM_MEMFD));
	loaded_load(&l);
	assert_image_at(&l.guest, &elf, ELF_TEXT_OFFSET, ELF_TEXT_PADDR, ELF_TEXT_SIZE);
	ck_assert_uint_ne(mapped_inode(guest_at(&l.guest, ELF_TEXT_PADDR, 1)),
			  file_inode(&l.kernel));
	loaded_close(&l);
	free(bz.data);
	free(elf.data);
	free(initrd.data);
}
END_TEST

/* Is the page left out of core dumps ("dd" among its VmFlags)? */
static bool not_dumped(const void *page)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool inside = false, flag = false;
	char line[512];

	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (unsigned long)page >= start && (unsigned long)page < end;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			flag = strstr(line, " dd");
	}
	fclose(maps);
	return flag;
}

/* dump-guest-core=off holds for pages of the images as well: the guest keeps its secrets there. */
START_TEST(mapped_pages_follow_the_dump_option)
{
	struct image image = image_bzimage();

	for (int dump = 0; dump < 2; dump++) {
		struct ram_config config = { .kind = RAM_ANONYMOUS,
					     .size = 128 * MIB,
					     .dump = dump };
		struct loaded l;

		loaded_open(&l, &image, NULL, guest_new_config(&config));
		loaded_load(&l);
		ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, 0x100000, 1)),
				  file_inode(&l.kernel));
		ck_assert_int_eq(not_dumped(guest_at(&l.guest, 0x100000, 1)), !dump);
		ck_assert_int_eq(not_dumped(guest_at(&l.guest, 0x4000000, 1)), !dump);
		loaded_close(&l);
	}
	free(image.data);
}
END_TEST

/* A file offset that is not congruent to the address: copied. */
START_TEST(odd_offsets_are_copied)
{
	struct image image = image_bzimage();
	struct loaded l;

	bz_header(&image)->setup_sects = BZ_SETUP_SECTS - 1;
	loaded_open(&l, &image, NULL, guest_new(128));
	loaded_load(&l);
	assert_image_at(&l.guest, &image, BZ_CODE_OFFSET - 512, 0x100000, BZ_CODE_SIZE);
	ck_assert_uint_eq(mapped_inode(guest_at(&l.guest, 0x100000, 1)), 0);
	loaded_close(&l);
	free(image.data);
}
END_TEST

static void check_reload(struct image *image, enum ram_kind kind, bool elf)
{
	gpa_t start = elf ? ELF_TEXT_PADDR : 0x100000, end = elf ? 0x1300000 : 0x120000;
	struct image initrd = image_new(0x20800);
	struct loaded l;
	gpa_t at;

	loaded_open(&l, image, &initrd, guest_new_kind(128, kind));
	for (int round = 0; round < 3; round++) {
		loaded_load(&l);
		if (elf) {
			assert_image_at(&l.guest, image, ELF_TEXT_OFFSET, ELF_TEXT_PADDR,
					ELF_TEXT_SIZE);
			assert_image_at(&l.guest, image, ELF_DATA_OFFSET, ELF_DATA_PADDR,
					ELF_DATA_SIZE);
			assert_zero_at(&l.guest, ELF_DATA_PADDR + ELF_DATA_SIZE,
				       ELF_DATA_MEM - ELF_DATA_SIZE);
		} else {
			assert_image_at(&l.guest, image, BZ_CODE_OFFSET, 0x100000, BZ_CODE_SIZE);
		}
		at = zero_page(&l)->hdr.ramdisk_image;
		assert_image_at(&l.guest, &initrd, 0, at, initrd.size);
		ck_assert_str_eq((char *)guest_at(&l.guest, BOOT_X86_CMDLINE, 20),
				 "console=ttyS0 quiet");
		/* What a guest does to its memory. */
		memset(guest_at(&l.guest, 0, 0x9f000), 0xcc, 0x9f000);
		memset(guest_at(&l.guest, start, end - start), 0xcc, end - start);
		memset(guest_at(&l.guest, at, initrd.size), 0xcc, initrd.size);
	}
	/* None of it reached the files. */
	ck_assert_int_eq(fd_pread_full(l.kernel.fd, image->data, 1, 0), 0);
	for (size_t i = 0; i < initrd.size; i += 4096) {
		uint8_t byte;

		ck_assert_int_eq(fd_pread_full(l.initrd.fd, &byte, 1, (off_t)i), 0);
		ck_assert_uint_eq(byte, initrd.data[i]);
	}
	loaded_close(&l);
	free(initrd.data);
}

START_TEST(reload_after_reset)
{
	struct image bz = image_bzimage(), elf = image_elf(false);

	check_reload(&bz, RAM_ANONYMOUS, false);
	check_reload(&elf, RAM_ANONYMOUS, true);
	check_reload(&bz, RAM_MEMFD, false);
	check_reload(&elf, RAM_MEMFD, true);
	free(bz.data);
	free(elf.data);
}
END_TEST

/* Loading must fail, and its text must hold each of these words. */
static void assert_refused(struct loaded *l, int code, const char *word1, const char *word2)
{
	struct vcpu_entry entry = { .pc = 42 };
	struct error *err = NULL;
	int ret = load(l, &entry, &err);

	ck_assert_int_eq(ret, code);
	ck_assert_ptr_nonnull(err);
	ck_assert_msg(strstr(error_text(err), word1) && strstr(error_text(err), word2),
		      "'%s' lacks '%s' or '%s'", error_text(err), word1, word2);
	ck_assert_uint_eq(entry.pc, 42);
	error_free(err);
	loaded_close(l);
}

START_TEST(initrd_placement)
{
	struct image image = image_bzimage(), initrd = image_new(5 * MIB + 1),
		     raw = image_new(0x10000);
	struct loaded l;

	/* initrd_addr_max is the address of the last byte. */
	bz_header(&image)->initrd_addr_max = 0x37fffff;
	loaded_open(&l, &image, &initrd, guest_new(128));
	loaded_load(&l);
	ck_assert_uint_eq(zero_page(&l)->hdr.ramdisk_image, 0x3800000 - 5 * MIB - 0x1000);
	ck_assert_uint_eq(zero_page(&l)->hdr.ramdisk_size, 5 * MIB + 1);
	ck_assert_uint_eq(zero_page(&l)->ext_ramdisk_image, 0);
	loaded_close(&l);

	/* Above 4 GiB when there is no other room and the kernel can. */
	bz_header(&image)->initrd_addr_max = 0x1bfffff;
	loaded_open(&l, &image, &initrd, guest_new(3 * 1024 + 16));
	loaded_load(&l);
	ck_assert_uint_eq(zero_page(&l)->ext_ramdisk_image, 1);
	ck_assert_uint_eq(zero_page(&l)->hdr.ramdisk_image, 16 * MIB - 5 * MIB - 0x1000);
	assert_image_at(&l.guest, &initrd, 0, 4 * GIB + 16 * MIB - 5 * MIB - 0x1000, initrd.size);
	loaded_close(&l);

	/* Behind a raw image may be a .bss of any size: the initrd keeps its distance. */
	loaded_open(&l, &raw, &initrd, guest_new(32 + 6));
	loaded_load(&l);
	ck_assert_uint_ge(zero_page(&l)->hdr.ramdisk_image, 0x1000000 + raw.size + 16 * MIB);
	loaded_close(&l);
	loaded_open(&l, &raw, &initrd, guest_new(32 + 5));
	assert_refused(&l, -ENOMEM, "does not fit", l.initrd.path);
	free(raw.data);
	free(image.data);
	free(initrd.data);
}
END_TEST

START_TEST(no_room)
{
	struct image bz = image_bzimage(), elf = image_elf(true), raw = image_new(0x10000);
	struct image initrd = image_new(8 * MIB);
	struct loaded l;

	loaded_open(&l, &bz, NULL, guest_new(16));
	assert_refused(&l, -ENOMEM, "needs 24 MiB, the guest has 16 MiB", l.kernel.path);
	loaded_open(&l, &elf, NULL, guest_new(18));
	assert_refused(&l, -ENOMEM, "needs 19 MiB, the guest has 18 MiB", l.kernel.path);
	loaded_open(&l, &raw, NULL, guest_new(16));
	assert_refused(&l, -ENOMEM, "needs 17 MiB, the guest has 16 MiB", l.kernel.path);
	loaded_open(&l, &bz, &initrd, guest_new(31));
	assert_refused(&l, -ENOMEM, "(8192 KiB) does not fit", l.initrd.path);
	/* A kernel that cannot have its initrd above 4 GiB does not get it there. */
	bz_header(&bz)->initrd_addr_max = 0x1bfffff;
	bz_header(&bz)->xloadflags = XLF_KERNEL_64;
	loaded_open(&l, &bz, &initrd, guest_new(3 * 1024 + 16));
	assert_refused(&l, -ENOMEM, "must end below 28 MiB", l.initrd.path);
	free(bz.data);
	free(elf.data);
	free(raw.data);
	free(initrd.data);
}
END_TEST

START_TEST(cmdline_length)
{
	struct image bz = image_bzimage(), elf = image_elf(false);
	char text[4096];
	struct loaded l;

	memset(text, 'x', sizeof(text));
	text[2047] = '\0';
	loaded_open(&l, &bz, NULL, guest_new(128));
	l.params.cmdline = text;
	loaded_load(&l);
	ck_assert_str_eq((char *)guest_at(&l.guest, BOOT_X86_CMDLINE, 2048), text);
	text[2047] = 'x';
	text[2048] = '\0';
	assert_refused(&l, -E2BIG, "has 2048 bytes", "at most 2047");
	loaded_open(&l, &elf, NULL, guest_new(128));
	l.params.cmdline = text;
	assert_refused(&l, -E2BIG, "has 2048 bytes", "at most 2047");

	bz_header(&bz)->cmdline_size = 255;
	text[256] = '\0';
	loaded_open(&l, &bz, NULL, guest_new(128));
	l.params.cmdline = text;
	assert_refused(&l, -E2BIG, "has 256 bytes", "at most 255");
	/* A kernel that takes more than there is room for. */
	bz_header(&bz)->cmdline_size = UINT32_MAX;
	loaded_open(&l, &bz, NULL, guest_new(128));
	l.params.cmdline = text;
	loaded_load(&l);
	loaded_close(&l);
	free(bz.data);
	free(elf.data);
}
END_TEST

/* boot_source_open() must fail; the text names the file and has @word. */
static void assert_not_a_kernel(const struct image *image, const char *word)
{
	struct boot_source *source = (void *)8;
	struct error *err = NULL;
	struct image_file file;
	int ret;

	image_open(image, &file);
	ret = boot_source_open(file.path, NULL, &source, &err);
	ck_assert_msg(ret < 0 && err, "accepted, expected '%s'", word);
	ck_assert_msg(strstr(error_text(err), word) && strstr(error_text(err), file.path),
		      "'%s' lacks '%s' or the file's name", error_text(err), word);
	ck_assert_ptr_eq(source, (void *)8);
	error_free(err);
	close(file.fd);
}

#define REFUSE_BZ(change, word)                                                                    \
	do {                                                                                       \
		struct image im = image_bzimage();                                                 \
		struct setup_header *h = bz_header(&im);                                           \
		(void)h;                                                                           \
		change;                                                                            \
		assert_not_a_kernel(&im, word);                                                    \
		free(im.data);                                                                     \
	} while (0)

START_TEST(damaged_bzimage)
{
	REFUSE_BZ(h->version = 0x020b, "protocol 2.11 is too old");
	REFUSE_BZ(h->loadflags = 0, "zImage");
	REFUSE_BZ(h->xloadflags = XLF_CAN_BE_LOADED_ABOVE_4G, "no 64-bit entry");
	REFUSE_BZ(h->jump = 0x40eb, "shorter");
	REFUSE_BZ(h->jump = 0xffeb, "too long");
	REFUSE_BZ(h->syssize = 0, "syssize");
	REFUSE_BZ(h->syssize++, "truncated");
	REFUSE_BZ(h->setup_sects++, "truncated");
	REFUSE_BZ(h->syssize = UINT32_MAX, "truncated");
	REFUSE_BZ(im.size--, "truncated");
	REFUSE_BZ(im.size = 0x240, "truncated");
	REFUSE_BZ(h->payload_offset = BZ_CODE_SIZE, "payload");
	REFUSE_BZ(h->payload_length = UINT32_MAX, "payload");
	REFUSE_BZ(h->kernel_alignment = 0x300000, "kernel_alignment");
	REFUSE_BZ(h->kernel_alignment = 0, "kernel_alignment");
	REFUSE_BZ(h->pref_address = UINT64_MAX, "wants to run at");
	REFUSE_BZ(h->relocatable_kernel = 0; h->pref_address = 0x9000, "wants to run at 0x9000");
	REFUSE_BZ(h->init_size = 0, "init_size");
}
END_TEST

#define REFUSE_ELF(change, word)                                                                   \
	do {                                                                                       \
		struct image im = image_elf(true);                                                 \
		Elf64_Ehdr *h = elf_header(&im);                                                   \
		Elf64_Phdr *text = elf_phdr(&im, 0);                                               \
		Elf64_Phdr *data = elf_phdr(&im, 1);                                               \
		Elf64_Phdr *note = elf_phdr(&im, 2);                                               \
		uint32_t *notes = (void *)(im.data + ELF_NOTE_OFFSET);                             \
		(void)h, (void)text, (void)data, (void)note, (void)notes;                          \
		change;                                                                            \
		assert_not_a_kernel(&im, word);                                                    \
		free(im.data);                                                                     \
	} while (0)

/* hostile-guests: elf-loop. */
START_TEST(elf_loop_damaged_elf)
{
	REFUSE_ELF(h->e_ident[EI_CLASS] = ELFCLASS32, "not 64-bit");
	REFUSE_ELF(h->e_ident[EI_DATA] = ELFDATA2MSB, "not 64-bit");
	REFUSE_ELF(h->e_machine = EM_AARCH64, "another machine");
	REFUSE_ELF(h->e_type = ET_REL, "not an executable");
	REFUSE_ELF(h->e_phentsize = 32, "wrong size");
	REFUSE_ELF(h->e_phnum = 0, "out of range");
	REFUSE_ELF(h->e_phnum = 0xffff, "out of range");
	REFUSE_ELF(h->e_phoff = ELF_FILE_SIZE - 56, "truncated");
	REFUSE_ELF(h->e_phoff = UINT64_MAX - 8, "truncated");
	REFUSE_ELF(text->p_type = data->p_type = PT_NULL, "nothing to load");
	REFUSE_ELF(text->p_filesz = text->p_memsz + 1, "larger in the file");
	REFUSE_ELF(text->p_offset = UINT64_MAX, "truncated");
	REFUSE_ELF(text->p_offset = ELF_FILE_SIZE, "truncated");
	REFUSE_ELF(text->p_paddr = UINT64_MAX - 8, "wraps");
	REFUSE_ELF(data->p_memsz = UINT64_MAX, "wraps");
	REFUSE_ELF(data->p_paddr = ELF_TEXT_PADDR + ELF_TEXT_SIZE - 1, "overlap");
	REFUSE_ELF(data->p_paddr = ELF_TEXT_PADDR - 1, "overlap");
	REFUSE_ELF(*data = *text, "overlap");
	REFUSE_ELF(text->p_paddr = 0x7000, "below 1 MiB");
	REFUSE_ELF(text->p_paddr = 0xff000, "below 1 MiB");
	REFUSE_ELF(data->p_paddr = 4 * GIB - 0x1000, "below 4 GiB");
	REFUSE_ELF(note->p_filesz = ELF_FILE_SIZE, "64 KiB");
	REFUSE_ELF(note->p_offset = UINT64_MAX, "truncated");
	REFUSE_ELF(notes[0] = UINT32_MAX, "note's name");
	REFUSE_ELF(notes[1] = UINT32_MAX - 20, "note ends");
	REFUSE_ELF(notes[6] = 5, "wrong size");
	REFUSE_ELF(notes[9] = 0x7000, "PVH entry");
	REFUSE_ELF(notes[9] = ELF_DATA_PADDR + ELF_DATA_SIZE, "PVH entry");
	REFUSE_ELF(notes[7] = 17; h->e_entry = 0xffffffff81000000, "64-bit entry");
	REFUSE_ELF(im.size = 63, "truncated");
	REFUSE_ELF(im.size = 200, "truncated");
}
END_TEST

START_TEST(strangers)
{
	static const char *const magics[] = { "\x1f\x8b", "\3757zXZ", "\x28\xb5\x2f\xfd", "MZ",
					      "BZh" };
	struct image image = image_new(4096);
	struct boot_source *source = NULL;
	struct error *err = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		memcpy(image.data, magics[i], strlen(magics[i]));
		assert_not_a_kernel(&image, " is ");
	}
	ck_assert_int_eq(boot_source_open("/nonexistent/vmlinuz", NULL, &source, &err), -ENOENT);
	ck_assert_error(err,
			"cannot open kernel '/nonexistent/vmlinuz': No such file or directory");
	ck_assert_int_eq(boot_source_open("/dev/null", NULL, &source, &err), -EINVAL);
	ck_assert_error(err, "kernel '/dev/null' is not a regular file");
	image.size = 0;
	assert_not_a_kernel(&image, "is empty");
	free(image.data);
}
END_TEST

START_TEST(initrd_errors)
{
	struct image image = image_bzimage();
	struct boot_source *source = NULL;
	struct error *err = NULL;
	struct image_file file;

	image_open(&image, &file);
	ck_assert_int_eq(boot_source_open(file.path, "/nonexistent/initrd", &source, &err),
			 -ENOENT);
	ck_assert_error(err, "cannot open initrd '/nonexistent/initrd': No such file or directory");
	ck_assert_ptr_null(source);
	close(file.fd);
	free(image.data);
}
END_TEST

/* A kernel that lost its tail while the VM ran: the reset fails, the process lives. */
START_TEST(truncated_before_reset)
{
	struct image image = image_bzimage();
	struct loaded l;

	loaded_open(&l, &image, NULL, guest_new(128));
	loaded_load(&l);
	ck_assert_int_eq(ftruncate(l.kernel.fd, 0x8000), 0);
	assert_refused(&l, -EINVAL, "truncated", l.kernel.path);
	free(image.data);
}
END_TEST

static enum boot_acpi_hint hint_of(struct image *image)
{
	struct boot_source *source = NULL;
	struct error *err = NULL;
	enum boot_acpi_hint hint;
	struct image_file file;

	image_open(image, &file);
	ck_assert_int_eq(boot_source_open(file.path, NULL, &source, &err), 0);
	hint = boot_source_acpi_hint(source);
	boot_source_free(source);
	close(file.fd);
	return hint;
}

START_TEST(acpi_hint)
{
	struct image image = image_bzimage();
	uint8_t *code = image.data + BZ_CODE_OFFSET;
	char *version = (char *)image.data + BZ_VERSION_TEXT;

	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_NO);
	memcpy(code + BZ_PAYLOAD_OFFSET + 0x5000, "RSD PTR ",
	       8); /* compressed bytes mean nothing */
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_NO);
	strcpy(version, "5.3.18 old");
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_UNKNOWN);
	strcpy(version, "nonsense");
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_UNKNOWN);
	bz_header(&image)->kernel_version = 0xffff;
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_UNKNOWN);
	memcpy(code + 0x100, "RSD PTR ", 8); /* in front of the payload */
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_YES);
	memset(code + 0x100, 0, 8);
	memcpy(code + BZ_CODE_SIZE - 8, "RSD PTR ", 8); /* behind it, the very last bytes */
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_YES);
	memset(code + BZ_CODE_SIZE - 8, 0, 8);
	bz_header(&image)->payload_length = 8;
	memset(code + BZ_PAYLOAD_OFFSET + 0x5000, 0, 8);
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_UNKNOWN);
	memcpy(code + BZ_PAYLOAD_OFFSET + 8 + 64 * KIB - 4, "RSD PTR ", 8); /* across two reads */
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_YES);
	memset(code + BZ_PAYLOAD_OFFSET + 8 + 64 * KIB - 4, 0, 8);
	memcpy(code + BZ_CODE_SIZE - 8, "RSD PTR ", 8); /* the end of the last of several reads */
	ck_assert_int_eq(hint_of(&image), BOOT_ACPI_YES);
	free(image.data);
}
END_TEST

START_TEST(cmdline_acpi_off)
{
	ck_assert(boot_cmdline_disables_acpi("acpi=off"));
	ck_assert(boot_cmdline_disables_acpi("quiet acpi=off console=ttyS0"));
	ck_assert(boot_cmdline_disables_acpi("quiet\tacpi=\"off\""));
	ck_assert(boot_cmdline_disables_acpi("acpi=force acpi=off"));
	ck_assert(!boot_cmdline_disables_acpi("acpi=off acpi=force"));
	ck_assert(!boot_cmdline_disables_acpi(""));
	ck_assert(!boot_cmdline_disables_acpi("acpi=noirq"));
	ck_assert(!boot_cmdline_disables_acpi("xacpi=off acpi=offline"));
	ck_assert(!boot_cmdline_disables_acpi("note=\"with acpi=off inside\" quiet"));
	ck_assert(!boot_cmdline_disables_acpi("quiet -- acpi=off"));
}
END_TEST

UNIT_SUITE(load_suite, "boot: load", bzimage, bzimage_header_length, e820, elf_by_64bit_entry,
	   elf_by_pvh_note, raw_image, pages_are_mapped, mapped_pages_follow_the_dump_option,
	   odd_offsets_are_copied, reload_after_reset, initrd_placement, no_room, cmdline_length,
	   truncated_before_reset)
UNIT_SUITE(image_suite, "boot: images", damaged_bzimage, elf_loop_damaged_elf, strangers,
	   initrd_errors, acpi_hint, cmdline_acpi_off)
UNIT_MAIN(load_suite, image_suite)
