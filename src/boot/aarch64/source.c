// SPDX-License-Identifier: Apache-2.0
/* Opening and identifying arm64 images (booting.rst 4, "Call the kernel image"). */
#include "source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gunzip.h"
#include "util/alloc.h"
#include "util/endian.h"

#define GZIP_MAGIC "\x1f\x8b"

struct image_header {
	le32_t code0, code1;
	le64_t text_offset, image_size, flags, reserved[3];
	char magic[4];
	le32_t pe_offset;
} __attribute__((packed));

/* drivers/firmware/efi/libstub/zboot-header.S: a PE program with the packed Image inside. */
struct zboot_header {
	char mz[2];
	uint8_t padding[2];
	char magic[4];
	le32_t payload_offset, payload_size;
	uint8_t reserved[8];
	char compression[32];
} __attribute__((packed));

#define FLAG_BIG_ENDIAN (1u << 0)
#define TEXT_OFFSET_OLD 0x80000 /* of kernels before 3.17, whose image_size is 0 */
#define IMAGE_SIZE_MAX (1 * GIB)

/* Kernels of another kind, and what to do about them. */
static const struct {
	const char *magic;
	unsigned int len;
	const char *what;
} strangers[] = {
	{ "\3757zXZ", 5, "compressed with xz: unpack it first" },
	{ "\x28\xb5\x2f\xfd", 4, "compressed with zstd: unpack it first" },
	{ "\x04\x22\x4d\x18", 4, "compressed with lz4: unpack it first" },
	{ "BZh", 3, "compressed with bzip2: unpack it first" },
	{ "\x7f" "ELF", 4, "an ELF file: take arch/arm64/boot/Image instead" },
	{ "QFI\xfb", 4, "a qcow2 disk image" },
	{ "070701", 6, "a cpio archive (an initrd?)" },
};

static int unpack(struct boot_file *kernel, struct error **errp)
{
	struct zboot_header header = { 0 };
	int ret;

	ret = boot_file_read(kernel, 0, &header, MIN(kernel->size, sizeof(header)), errp);
	if (ret)
		return ret;
	if (!memcmp(&header, GZIP_MAGIC, 2))
		return boot_file_gunzip(kernel, 0, kernel->size, errp);
	if (memcmp(header.mz, "MZ", 2) || memcmp(header.magic, "zimg", 4))
		return 0;
	if (strncmp(header.compression, "gzip", sizeof(header.compression)))
		return error_set(errp, -ENOTSUP, "kernel '%s' is an EFI program packed with %.32s: boot it by firmware, or unpack it",
				 kernel->path, header.compression);
	if (le32_to_cpu(header.payload_offset) > kernel->size ||
	    le32_to_cpu(header.payload_size) > kernel->size - le32_to_cpu(header.payload_offset))
		return error_set(errp, -EINVAL, "kernel '%s' is truncated: its packed image ends behind its %" PRIu64 " bytes",
				 kernel->path, kernel->size);
	return boot_file_gunzip(kernel, le32_to_cpu(header.payload_offset), le32_to_cpu(header.payload_size), errp);
}

static int identify(struct boot_source *source, struct error **errp)
{
	struct boot_file *kernel = &source->kernel;
	struct image_header header = { 0 };
	int ret;

	ret = unpack(kernel, errp);
	if (!ret)
		ret = boot_file_read(kernel, 0, &header, MIN(kernel->size, sizeof(header)), errp);
	if (ret)
		return ret;
	if (memcmp(header.magic, "ARM\x64", 4)) {
		for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
			if (!memcmp(&header, strangers[i].magic, strangers[i].len))
				return error_set(errp, -EINVAL, "kernel '%s' is %s", kernel->path, strangers[i].what);
		return error_set(errp, -EINVAL, "kernel '%s' is no arm64 Image", kernel->path);
	}
	if (le64_to_cpu(header.flags) & FLAG_BIG_ENDIAN)
		return error_set(errp, -ENOTSUP, "kernel '%s' is big-endian, guests are little-endian", kernel->path);
	source->image_size = le64_to_cpu(header.image_size);
	source->text_offset = source->image_size ? le64_to_cpu(header.text_offset) : TEXT_OFFSET_OLD;
	if (source->text_offset >= 2 * MIB || source->image_size > IMAGE_SIZE_MAX)
		return error_set(errp, -EINVAL,
				 "kernel '%s': text_offset 0x%" PRIx64 " or image_size 0x%" PRIx64 " of its header is out of range",
				 kernel->path, source->text_offset, source->image_size);
	source->image_size = MAX(source->image_size, kernel->size);
	return 0;
}

int boot_source_open(const char *kernel, const char *initrd, struct boot_source **ret, struct error **errp)
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
	(void)source;
	return BOOT_ARM64_IMAGE;
}

/* An arm64 kernel that finds an FDT with more than /chosen does not look at ACPI. */
enum boot_acpi_hint boot_source_acpi_hint(const struct boot_source *source)
{
	(void)source;
	return BOOT_ACPI_UNKNOWN;
}
