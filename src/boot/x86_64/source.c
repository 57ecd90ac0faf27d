// SPDX-License-Identifier: Apache-2.0
/* Opening and identifying images. */
#include "source.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

#define PROBE_SIZE 1024

/*
 * A raw image has no magic, so anything might be one: what is surely something else is refused by
 * name.
 */
static const struct {
	unsigned int offset;
	const char *magic;
	unsigned int len;
	const char *what;
} strangers[] = {
	{ 0, "\x1f\x8b", 2, "compressed with gzip: unpack it first" },
	{ 0, "\3757zXZ", 5, "compressed with xz: unpack it first" },
	{ 0, "\x28\xb5\x2f\xfd", 4, "compressed with zstd: unpack it first" },
	{ 0, "\x04\x22\x4d\x18", 4, "compressed with lz4: unpack it first" },
	{ 0, "BZh", 3, "compressed with bzip2: unpack it first" },
	{ 0x38, "ARM\x64", 4, "a kernel for arm64" },
	{ 0, "MZ", 2, "an EFI program without the Linux boot protocol" },
	{ 0, "QFI\xfb", 4, "a qcow2 disk image" },
	{ 0, "070701", 6, "a cpio archive (an initrd?)" },
};

static int refuse_stranger(const struct boot_file *file, const uint8_t *start, uint64_t size,
			   struct error **errp)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(strangers); i++)
		if (strangers[i].offset + strangers[i].len <= size &&
		    !memcmp(start + strangers[i].offset, strangers[i].magic, strangers[i].len))
			return error_set(errp, -EINVAL, "kernel '%s' is %s", file->path,
					 strangers[i].what);
	return 0;
}

static int check_elf(struct boot_source *source, struct error **errp)
{
	const struct elf_image *elf = &source->elf;
	const char *path = source->kernel.path;
	uint64_t entry = elf->has_pvh ? elf->pvh_entry : elf->entry;

	if (elf_start(elf) < BOOT_X86_ACPI_END)
		return error_set(errp, -EINVAL,
				 "ELF image '%s' loads at 0x%" PRIx64
				 ": below 1 MiB is the place of the boot parameters",
				 path, elf_start(elf));
	if (!elf_has_code_at(elf, entry))
		return error_set(errp, -EINVAL,
				 "ELF image '%s': its %s entry 0x%" PRIx64
				 " is not a physical address inside the image",
				 path, elf->has_pvh ? "PVH" : "64-bit", entry);
	if (elf_end(elf) > 4 * GIB)
		return error_set(errp, -EINVAL,
				 "ELF image '%s' ends at 0x%" PRIx64 ", it must end below 4 GiB",
				 path, elf_end(elf));
	return 0;
}

static int identify(struct boot_source *source, struct error **errp)
{
	struct boot_file *kernel = &source->kernel;
	uint8_t start[PROBE_SIZE] = { 0 };
	uint64_t size = MIN(kernel->size, sizeof(start));
	int ret;

	ret = boot_file_read(kernel, 0, start, size, errp);
	if (ret)
		return ret;
	if (!memcmp(start, ELFMAG, SELFMAG)) {
		ret = elf_parse(kernel, EM_X86_64, &source->elf, errp);
		source->format = source->elf.has_pvh ? BOOT_ELF_PVH : BOOT_ELF64;
		return ret ? ret : check_elf(source, errp);
	}
	if (bzimage_probe(start, size)) {
		source->format = BOOT_BZIMAGE;
		return bzimage_parse(kernel, &source->bzimage, errp);
	}
	if (kernel->size < sizeof(start))
		return error_set(errp, -EINVAL,
				 "kernel '%s' has only %" PRIu64 " bytes, it is truncated",
				 kernel->path, kernel->size);
	source->format = BOOT_RAW;
	return refuse_stranger(kernel, start, size, errp);
}

int boot_source_open(const char *kernel, const char *initrd, struct boot_source **ret,
		     struct error **errp)
{
	struct boot_source *source = xcalloc(1, sizeof(*source));
	int code;

	code = boot_file_open(&source->kernel, "kernel", kernel, errp);
	if (!code)
		code = identify(source, errp);
	if (!code && initrd) {
		code = boot_file_open(&source->initrd, "initrd", initrd, errp);
		source->has_initrd = !code;
	}
	if (code) {
		boot_source_free(source);
		return code;
	}
	*ret = source;
	return 0;
}

void boot_source_free(struct boot_source *source)
{
	if (!source)
		return;
	boot_file_close(&source->kernel);
	boot_file_close(&source->initrd);
	free(source);
}

enum boot_format boot_source_format(const struct boot_source *source)
{
	return source->format;
}

enum boot_acpi_hint boot_source_acpi_hint(const struct boot_source *source)
{
	return source->format == BOOT_BZIMAGE ? source->bzimage.acpi : BOOT_ACPI_UNKNOWN;
}
