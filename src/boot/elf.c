// SPDX-License-Identifier: Apache-2.0
#include "elf.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_XEN_PHYS32_ENTRY 18

static int elf_error(const struct boot_file *file, const char *what, struct error **errp)
{
	return error_set(errp, -EINVAL, "ELF image '%s' is damaged: %s", file->path, what);
}

static int parse_header(const struct boot_file *file, uint16_t machine, Elf64_Ehdr *header,
			struct error **errp)
{
	int ret = boot_file_read(file, 0, header, sizeof(*header), errp);

	if (ret)
		return ret;
	if (memcmp(header->e_ident, ELFMAG, SELFMAG))
		return elf_error(file, "no ELF magic", errp);
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
		return error_set(errp, -EINVAL, "ELF image '%s' is not 64-bit little-endian",
				 file->path);
	if (header->e_machine != machine)
		return error_set(
			errp, -EINVAL,
			"ELF image '%s' is for another machine: e_machine is %u, %u is needed",
			file->path, header->e_machine, machine);
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return error_set(errp, -EINVAL, "ELF image '%s' is not an executable: e_type is %u",
				 file->path, header->e_type);
	if (header->e_phentsize != sizeof(Elf64_Phdr))
		return elf_error(file, "program headers of a wrong size", errp);
	if (!header->e_phnum || header->e_phnum > ELF_HEADERS_MAX)
		return error_set(
			errp, -EINVAL,
			"ELF image '%s': number of program headers %u is out of range [1, %d]",
			file->path, header->e_phnum, ELF_HEADERS_MAX);
	return 0;
}

static int add_segment(const struct boot_file *file, const Elf64_Phdr *ph, struct elf_image *image,
		       struct error **errp)
{
	unsigned int at = image->count;
	struct elf_segment *s = image->segments;

	if (ph->p_filesz > ph->p_memsz)
		return elf_error(file, "a segment is larger in the file than in memory", errp);
	if (ph->p_filesz && (ph->p_offset > file->size || ph->p_filesz > file->size - ph->p_offset))
		return error_set(errp, -EINVAL,
				 "ELF image '%s' is truncated: a segment ends beyond the file",
				 file->path);
	if (!ph->p_memsz)
		return 0;
	if (ph->p_paddr + ph->p_memsz < ph->p_paddr)
		return elf_error(file, "a segment wraps around the address space", errp);
	if (image->count == ELF_SEGMENTS_MAX)
		return elf_error(file, "too many segments", errp);

	for (; at && s[at - 1].paddr > ph->p_paddr; at--)
		s[at] = s[at - 1];
	s[at] = (struct elf_segment){ ph->p_offset, ph->p_filesz, ph->p_paddr, ph->p_memsz };
	image->count++;
	if ((at && s[at - 1].paddr + s[at - 1].mem_size > s[at].paddr) ||
	    (at + 1 < image->count && s[at].paddr + s[at].mem_size > s[at + 1].paddr))
		return elf_error(file, "segments overlap", errp);
	return 0;
}

/*
 * Walks the notes of one segment. Names and descriptors are padded to @align (4, or 8 if the
 * header says so).
 */
static int scan_notes(const struct boot_file *file, const uint8_t *notes, uint64_t size,
		      uint64_t align, struct elf_image *image, struct error **errp)
{
	uint64_t at = 0;

	while (size - at >= sizeof(Elf64_Nhdr)) {
		uint64_t name, desc;
		Elf64_Nhdr note;

		memcpy(&note, notes + at, sizeof(note));
		name = at + sizeof(note);
		if (note.n_namesz > size - name)
			return elf_error(file, "a note's name ends beyond its segment", errp);
		desc = ALIGN_UP(name + note.n_namesz, align);
		if (desc > size || note.n_descsz > size - desc)
			return elf_error(file, "a note ends beyond its segment", errp);
		if (note.n_type == NOTE_XEN_PHYS32_ENTRY && note.n_namesz == sizeof("Xen") &&
		    !memcmp(notes + name, "Xen", sizeof("Xen"))) {
			if (note.n_descsz != 4 && note.n_descsz != 8)
				return elf_error(file, "the PVH note has a wrong size", errp);
			image->has_pvh = true;
			image->pvh_entry = 0;
			memcpy(&image->pvh_entry, notes + desc, note.n_descsz);
			return 0;
		}
		at = ALIGN_UP(desc + note.n_descsz, align);
		if (at >= size)
			break;
	}
	return 0;
}

static int read_notes(const struct boot_file *file, const Elf64_Phdr *ph, struct elf_image *image,
		      struct error **errp)
{
	uint8_t *notes;
	int ret;

	if (!ph->p_filesz)
		return 0;
	if (ph->p_filesz > ELF_NOTE_SIZE_MAX)
		return elf_error(file, "a note segment is larger than 64 KiB", errp);
	notes = malloc(ph->p_filesz);
	if (!notes)
		return error_set_errno(errp, -ENOMEM, "cannot read '%s'", file->path);
	ret = boot_file_read(file, ph->p_offset, notes, ph->p_filesz, errp);
	if (!ret)
		ret = scan_notes(file, notes, ph->p_filesz, ph->p_align == 8 ? 8 : 4, image, errp);
	free(notes);
	return ret;
}

int elf_parse(const struct boot_file *file, uint16_t machine, struct elf_image *ret,
	      struct error **errp)
{
	Elf64_Phdr headers[ELF_HEADERS_MAX];
	struct elf_image image = { 0 };
	unsigned int notes = 0;
	Elf64_Ehdr header;
	int code;

	code = parse_header(file, machine, &header, errp);
	if (!code)
		code = boot_file_read(file, header.e_phoff, headers,
				      header.e_phnum * sizeof(headers[0]), errp);
	for (unsigned int i = 0; !code && i < header.e_phnum; i++) {
		if (headers[i].p_type == PT_LOAD)
			code = add_segment(file, &headers[i], &image, errp);
		else if (headers[i].p_type == PT_NOTE && !image.has_pvh && notes++ < ELF_NOTES_MAX)
			code = read_notes(file, &headers[i], &image, errp);
	}
	if (code)
		return code;
	if (!image.count)
		return elf_error(file, "there is nothing to load", errp);
	image.entry = header.e_entry;
	*ret = image;
	return 0;
}

bool elf_has_code_at(const struct elf_image *image, uint64_t paddr)
{
	for (unsigned int i = 0; i < image->count; i++) {
		const struct elf_segment *s = &image->segments[i];

		if (paddr >= s->paddr && paddr - s->paddr < s->file_size)
			return true;
	}
	return false;
}

uint64_t elf_start(const struct elf_image *image)
{
	return image->segments[0].paddr;
}

uint64_t elf_end(const struct elf_image *image)
{
	const struct elf_segment *last = &image->segments[image->count - 1];

	return last->paddr + last->mem_size;
}

int elf_load(const struct elf_image *image, const struct boot_file *file, struct mem_space *space,
	     struct error **errp)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < image->count; i++) {
		const struct elf_segment *s = &image->segments[i];

		ret = boot_file_load(file, s->offset, s->file_size, space, s->paddr, errp);
		if (!ret)
			ret = boot_file_zero(file, s->mem_size - s->file_size, space,
					     s->paddr + s->file_size, errp);
	}
	return ret;
}
