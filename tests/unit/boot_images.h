/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small made-up kernels for the boot tests: each has every part that the loaders look at, and bytes
 * that tell where they came from. Files are memfds, named by /proc/self/fd.
 */
#ifndef TESTS_BOOT_IMAGES_H
#define TESTS_BOOT_IMAGES_H

#include <asm/bootparam.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/boot.h"
#include "memory/space.h"
#include "unit.h"
#include "util/fd.h"

struct image {
	uint8_t *data;
	size_t size;
};

/* Never zero, and different on neighbouring pages. */
static inline uint8_t pattern(size_t at)
{
	return (uint8_t)(1 + (at * 7 + at / 4096) % 250);
}

static inline struct image image_new(size_t size)
{
	struct image image = { calloc(1, size), size };

	ck_assert_ptr_nonnull(image.data);
	for (size_t i = 0; i < size; i++)
		image.data[i] = pattern(i);
	return image;
}

struct image_file {
	int fd;
	char path[40];
};

static inline void image_open(const struct image *image, struct image_file *file)
{
	file->fd = memfd_create("image", MFD_CLOEXEC);
	ck_assert_int_ge(file->fd, 0);
	ck_assert_int_eq(fd_pwrite_full(file->fd, image->data, image->size, 0), 0);
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

#define BZ_SETUP_SECTS 7 /* the protected-mode part begins at a page border */
#define BZ_CODE_OFFSET ((BZ_SETUP_SECTS + 1) * 512)
#define BZ_CODE_SIZE 0x20000
#define BZ_PAYLOAD_OFFSET 0x400
#define BZ_PAYLOAD_SIZE 0x18000
#define BZ_VERSION_TEXT 0x600

static inline struct setup_header *bz_header(struct image *image)
{
	return (struct setup_header *)(image->data + offsetof(struct boot_params, hdr));
}

static inline struct image image_bzimage(void)
{
	struct image image = image_new(BZ_CODE_OFFSET + BZ_CODE_SIZE);

	memset(image.data, 0, BZ_CODE_OFFSET);
	strcpy((char *)image.data + BZ_VERSION_TEXT, "6.1.0-test (nobody) #1");
	*bz_header(&image) = (struct setup_header){
		.setup_sects = BZ_SETUP_SECTS,
		.syssize = BZ_CODE_SIZE / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb, /* the header ends at 0x26c */
		.header = 0x53726448,
		.version = 0x020f,
		.kernel_version = BZ_VERSION_TEXT - 0x200,
		.loadflags = LOADED_HIGH,
		.code32_start = 0x100000,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.min_alignment = 21,
		.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
		.cmdline_size = 2047,
		.payload_offset = BZ_PAYLOAD_OFFSET,
		.payload_length = BZ_PAYLOAD_SIZE,
		.pref_address = 0x1000000,
		.init_size = 0x800000,
		.kernel_info_offset = 0x1234,
	};
	return image;
}

/*
 * An ELF kernel: text mapped at 16 MiB (page-congruent), data at an odd address with .bss behind
 * it, and a note segment, whose first note is a stranger.
 */
#define ELF_TEXT_OFFSET 0x1000
#define ELF_TEXT_SIZE 0x20123
#define ELF_TEXT_PADDR 0x1000000
#define ELF_DATA_OFFSET 0x22000
#define ELF_DATA_SIZE 0x1f00
#define ELF_DATA_PADDR 0x1200010
#define ELF_DATA_MEM 0x9000
#define ELF_NOTE_OFFSET 0x24000
#define ELF_FILE_SIZE 0x25000
#define ELF_PVH_ENTRY (ELF_TEXT_PADDR + 0x150)
#define ELF_ENTRY (ELF_TEXT_PADDR + 0x200)

static inline Elf64_Ehdr *elf_header(struct image *image)
{
	return (Elf64_Ehdr *)image->data;
}

static inline Elf64_Phdr *elf_phdr(struct image *image, unsigned int index)
{
	return (Elf64_Phdr *)(image->data + sizeof(Elf64_Ehdr)) + index;
}

static inline struct image image_elf(bool pvh)
{
	struct image image = image_new(ELF_FILE_SIZE);
	struct {
		Elf64_Nhdr head1;
		char name1[4];
		char desc1[4];
		Elf64_Nhdr head2;
		char name2[4];
		uint64_t desc2;
	} __packed notes = {
		.head1 = { 4, 3, 1 },
		.name1 = "GNU",
		.desc1 = "abc",
		.head2 = { 4, 8, pvh ? 18 : 17 },
		.name2 = "Xen",
		.desc2 = ELF_PVH_ENTRY,
	};

	*elf_header(&image) = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = ELF_ENTRY,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	*elf_phdr(&image, 0) =
		(Elf64_Phdr){ PT_LOAD,	      PF_R | PF_X,   ELF_TEXT_OFFSET, 0xffffffff81000000,
			      ELF_TEXT_PADDR, ELF_TEXT_SIZE, ELF_TEXT_SIZE,   0x1000 };
	*elf_phdr(&image, 1) =
		(Elf64_Phdr){ PT_LOAD,	      PF_R | PF_W,   ELF_DATA_OFFSET, 0xffffffff81200000,
			      ELF_DATA_PADDR, ELF_DATA_SIZE, ELF_DATA_MEM,    0x1000 };
	*elf_phdr(&image, 2) = (Elf64_Phdr){ PT_NOTE, PF_R,	     ELF_NOTE_OFFSET, 0,
					     0,	      sizeof(notes), sizeof(notes),   4 };
	memcpy(image.data + ELF_NOTE_OFFSET, &notes, sizeof(notes));
	return image;
}

/* A guest of @mib MiB: up to 3 GiB at 0, the rest at 4 GiB. */
struct guest {
	struct ram_backend *ram;
	struct mem_space *space;
};

static inline struct guest guest_new_config(const struct ram_config *config)
{
	uint64_t low = MIN(config->size, 3 * GIB);
	struct error *err = NULL;
	struct guest guest;
	int ret;

	ret = ram_backend_new(config, &guest.ram, &err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	guest.space = mem_space_new();
	ret = mem_space_add_ram(guest.space, 0, guest.ram, 0, low, &err);
	if (!ret && config->size > low)
		ret = mem_space_add_ram(guest.space, 4 * GIB, guest.ram, low, config->size - low,
					&err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	return guest;
}

static inline struct guest guest_new_kind(unsigned int mib, enum ram_kind kind)
{
	return guest_new_config(
		&(struct ram_config){ .kind = kind, .size = mib * MIB, .dump = true });
}

static inline struct guest guest_new(unsigned int mib)
{
	return guest_new_kind(mib, RAM_ANONYMOUS);
}

static inline void guest_free(struct guest *guest)
{
	mem_space_free(guest->space);
	ram_backend_free(guest->ram);
}

static inline uint8_t *guest_at(const struct guest *guest, gpa_t gpa, uint64_t len)
{
	uint8_t *p = guest_slice(guest->space, gpa, len);

	ck_assert_ptr_nonnull(p);
	return p;
}

#endif
