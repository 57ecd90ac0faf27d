// SPDX-License-Identifier: Apache-2.0
#include "bzimage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512
#define BOOT_FLAG 0xaa55
#define MAGIC 0x53726448 /* "HdrS" */
#define VERSION_MIN 0x020c
/*
 * Offset 0x201 holds the operand of the jump over the header: the header ends at 0x202 plus that
 * byte.
 */
#define JUMP_END (offsetof(struct boot_params, hdr.header))
#define ENTRY64 0x200 /* the 64-bit entry, relative to the load address */

#define VERSION_TEXT_MAX 32 /* "5.10.0-…": the number stands at the beginning */
#define SCAN_MAX (32 * MIB) /* boot code around the payload; a fraction of a MiB in practice */
#define SCAN_CHUNK (64 * KIB)

bool bzimage_probe(const uint8_t *start, uint64_t size)
{
	const struct boot_params *page = (const void *)start;

	return size >= offsetof(struct boot_params, hdr.realmode_swtch) &&
	       page->hdr.header == MAGIC && page->hdr.boot_flag == BOOT_FLAG;
}

static int damaged(const struct boot_file *file, const char *what, struct error **errp)
{
	return error_set(errp, -EINVAL, "bzImage '%s' is damaged: %s", file->path, what);
}

static int read_header(const struct boot_file *file, struct bzimage *image, struct error **errp)
{
	uint64_t end;
	int ret;

	ret = boot_file_read(file, BZIMAGE_HEADER, &image->header, sizeof(image->header), errp);
	if (ret)
		return ret;
	if (image->header.version < VERSION_MIN)
		return error_set(errp, -EINVAL,
				 "bzImage '%s': boot protocol %u.%02u is too old, 2.12 (Linux 3.8) "
				 "is needed",
				 file->path, image->header.version >> 8,
				 image->header.version & 0xff);
	end = JUMP_END + (image->header.jump >> 8) - BZIMAGE_HEADER;
	if (end < offsetof(struct setup_header, kernel_info_offset))
		return damaged(file, "the setup header is shorter than its protocol version asks",
			       errp);
	if (end > BZIMAGE_HEADER_MAX)
		return damaged(file, "the setup header is too long", errp);
	memset(image->raw, 0, sizeof(image->raw));
	return boot_file_read(file, BZIMAGE_HEADER, image->raw, end, errp);
}

static int check_code(const struct boot_file *file, struct bzimage *image, struct error **errp)
{
	const struct setup_header *header = &image->header;
	/* A count of zero means four, for ancient reasons. */
	unsigned int sectors = header->setup_sects ? header->setup_sects : 4;

	if (!(header->loadflags & LOADED_HIGH))
		return error_set(errp, -EINVAL,
				 "bzImage '%s' is a zImage, which loads low: not supported",
				 file->path);
	if (!(header->xloadflags & XLF_KERNEL_64))
		return error_set(errp, -EINVAL,
				 "bzImage '%s' has no 64-bit entry: a kernel for x86_64 is needed",
				 file->path);

	image->code_offset = (sectors + 1) * SECTOR;
	image->code_size = (uint64_t)header->syssize * 16;
	if (image->code_size <= ENTRY64)
		return damaged(file, "syssize is too small", errp);
	if (image->code_offset > file->size || image->code_size > file->size - image->code_offset)
		return error_set(errp, -EINVAL,
				 "bzImage '%s' is truncated: its header speaks of %" PRIu64
				 " bytes, the file has %" PRIu64,
				 file->path, image->code_offset + image->code_size, file->size);
	if (header->payload_offset > image->code_size ||
	    header->payload_length > image->code_size - header->payload_offset)
		return damaged(file, "the payload ends beyond the image", errp);
	return 0;
}

/* boot.rst, "pref_address" and "init_size". */
static int check_runtime(const struct boot_file *file, struct bzimage *image, struct error **errp)
{
	const struct setup_header *header = &image->header;
	uint64_t start = header->pref_address;

	if (header->relocatable_kernel) {
		if (!is_pow2(header->kernel_alignment) || header->kernel_alignment > GIB)
			return damaged(file, "kernel_alignment is not a sensible power of two",
				       errp);
		start = MAX(start, BZIMAGE_LOAD);
		if (start <= 4 * GIB)
			start = ALIGN_UP(start, header->kernel_alignment);
	}
	if (start < BZIMAGE_LOAD || start > 4 * GIB)
		return error_set(errp, -EINVAL,
				 "bzImage '%s' wants to run at 0x%" PRIx64
				 ", which is not between 1 MiB and 4 GiB",
				 file->path, start);
	if (!header->init_size)
		return damaged(file, "init_size is zero", errp);
	image->runtime_start = start;
	image->runtime_size = header->init_size;
	return 0;
}

/* Does @needle (NUL-terminated) occur in [offset, offset + len) of the file? */
static int scan(const struct boot_file *file, uint64_t offset, uint64_t len, const char *needle,
		bool *found, struct error **errp)
{
	size_t overlap = strlen(needle) - 1;
	uint8_t *buf = malloc(SCAN_CHUNK);
	int ret = 0;

	if (!buf)
		return error_set_errno(errp, -ENOMEM, "cannot read '%s'", file->path);
	while (!ret && !*found && len > overlap) {
		uint64_t part = MIN(len, SCAN_CHUNK);

		ret = boot_file_read(file, offset, buf, part, errp);
		*found = !ret && memmem(buf, part, needle, overlap + 1);
		offset += part - overlap;
		len -= part - overlap;
	}
	free(buf);
	return ret;
}

/* The kernel's version as major * 1000 + minor, 0 when the image does not tell. */
static unsigned int kernel_version(const struct boot_file *file, const struct bzimage *image)
{
	unsigned int major, minor;
	char text[VERSION_TEXT_MAX + 1] = "";
	uint64_t offset = image->header.kernel_version + (uint64_t)SECTOR;

	if (!image->header.kernel_version || offset + VERSION_TEXT_MAX > image->code_offset ||
	    boot_file_read(file, offset, text, VERSION_TEXT_MAX, NULL))
		return 0;
	if (sscanf(text, "%3u.%3u", &major, &minor) != 2)
		return 0;
	return major * 1000 + minor;
}

/*
 * Since Linux 5.0 the uncompressed boot code of a kernel with CONFIG_ACPI looks for the tables
 * itself (arch/x86/boot/compressed/acpi.c), so it holds the RSDP's signature. Before and behind the
 * compressed payload is code; in the payload the bytes would mean nothing.
 */
static int guess_acpi(const struct boot_file *file, struct bzimage *image, struct error **errp)
{
	const struct setup_header *header = &image->header;
	uint64_t payload_end = (uint64_t)header->payload_offset + header->payload_length;
	bool found = false;
	int ret;

	image->acpi = BOOT_ACPI_UNKNOWN;
	if (!header->payload_length ||
	    header->payload_offset + (image->code_size - payload_end) > SCAN_MAX)
		return 0;
	ret = scan(file, image->code_offset + payload_end, image->code_size - payload_end,
		   "RSD PTR ", &found, errp);
	if (!ret && !found)
		ret = scan(file, image->code_offset, header->payload_offset, "RSD PTR ", &found,
			   errp);
	if (ret)
		return ret;
	if (found)
		image->acpi = BOOT_ACPI_YES;
	else if (kernel_version(file, image) >= 5004)
		image->acpi = BOOT_ACPI_NO;
	return 0;
}

int bzimage_parse(const struct boot_file *file, struct bzimage *ret, struct error **errp)
{
	struct bzimage image;
	int code;

	memset(&image, 0, sizeof(image));
	code = read_header(file, &image, errp);
	if (!code)
		code = check_code(file, &image, errp);
	if (!code)
		code = check_runtime(file, &image, errp);
	if (!code)
		code = guess_acpi(file, &image, errp);
	if (!code)
		*ret = image;
	return code;
}
