// SPDX-License-Identifier: Apache-2.0
#include "acpi_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aml.h"
#include "util/alloc.h"

#define OEM_REVISION 1
#define CREATOR_ID "STRA"
#define CREATOR_REVISION 1

#define HEADER_CHECKSUM 9
#define RSDP_CHECKSUM 8	 /* of the 20 bytes that revision 0 had */
#define RSDP_OLD_SIZE 20
#define RSDP_XSDT 24
#define RSDP_EXTENDED_CHECKSUM 32

#define FACS_SIZE 64

/* The loader's script: QEMU's docs/specs and hw/acpi/bios-linker-loader, 128 bytes an entry. */
#define LOADER_ENTRY 128
#define LOADER_FILE 56
enum { LOADER_ALLOCATE = 1, LOADER_POINTER = 2, LOADER_CHECKSUM = 3 };
enum { LOADER_ZONE_HIGH = 1, LOADER_ZONE_FSEG = 2 };

/* --- Tables -------------------------------------------------------------- */

struct acpi_tables *acpi_tables_new(const char *oem_table)
{
	struct acpi_tables *tables = xcalloc(1, sizeof(*tables));

	snprintf(tables->oem_table, sizeof(tables->oem_table), "%s", oem_table);
	return tables;
}

void acpi_tables_free(struct acpi_tables *tables)
{
	if (!tables)
		return;
	blob_free(&tables->data);
	blob_free(&tables->rsdp);
	blob_free(&tables->loader);
	free(tables);
}

size_t acpi_table_begin(struct acpi_tables *tables, const char *signature, uint8_t revision)
{
	struct blob *blob = &tables->data;
	size_t start;

	blob_align(blob, ACPI_TABLE_ALIGN);
	start = blob->len;
	blob_text(blob, signature, 4, ' ');
	blob_u32(blob, 0); /* length */
	blob_u8(blob, revision);
	blob_u8(blob, 0); /* checksum */
	blob_text(blob, ACPI_OEM_ID, 6, ' ');
	blob_text(blob, tables->oem_table, 8, ' ');
	blob_u32(blob, OEM_REVISION);
	blob_text(blob, CREATOR_ID, 4, ' ');
	blob_u32(blob, CREATOR_REVISION);
	return start;
}

static void note_table(struct acpi_tables *tables, size_t start, bool listed, bool checksum)
{
	if (tables->count == ACPI_TABLES_MAX)
		abort(); /* a builder with so many tables: a bug that its first run shows */
	tables->tables[tables->count].start = start;
	tables->tables[tables->count].len = tables->data.len - start;
	tables->tables[tables->count].listed = listed;
	tables->tables[tables->count].checksum = checksum;
	tables->count++;
}

void acpi_table_end(struct acpi_tables *tables, size_t start)
{
	const uint8_t *signature = tables->data.data + start;

	blob_set_u32(&tables->data, start + 4, (uint32_t)(tables->data.len - start));
	note_table(tables, start, memcmp(signature, "DSDT", 4) && memcmp(signature, "XSDT", 4),
		   true);
}

size_t acpi_add_facs(struct acpi_tables *tables)
{
	struct blob *blob = &tables->data;
	size_t start;

	blob_align(blob, ACPI_TABLE_ALIGN);
	start = blob->len;
	blob_text(blob, "FACS", 4, ' ');
	blob_u32(blob, FACS_SIZE);
	blob_zero(blob, FACS_SIZE - 8); /* no hardware signature, no waking vectors, version 0 */
	note_table(tables, start, false, false);
	return start;
}

void acpi_table_pointer(struct acpi_tables *tables, unsigned int width, size_t target)
{
	if (tables->pointer_count == ACPI_POINTERS_MAX)
		abort(); /* as in note_table() */
	tables->pointers[tables->pointer_count].at = tables->data.len;
	tables->pointers[tables->pointer_count].width = width;
	tables->pointer_count++;
	if (width == 8)
		blob_u64(&tables->data, target);
	else
		blob_u32(&tables->data, (uint32_t)target);
}

int acpi_add_dsdt(struct acpi_tables *tables, struct aml *aml, size_t *ret, struct error **errp)
{
	size_t start = acpi_table_begin(tables, "DSDT", 2);
	int code = aml_finish(aml);

	if (!code)
		blob_bytes(&tables->data, aml->code.data, aml->code.len);
	aml_free(aml);
	if (code)
		return error_set(errp, code, "internal error: the DSDT is not well-formed");
	acpi_table_end(tables, start);
	*ret = start;
	return 0;
}

void acpi_add_register8(struct blob *blob, uint64_t address)
{
	blob_u8(blob, 0); /* system memory */
	blob_u8(blob, 8); /* width in bits */
	blob_u8(blob, 0); /* bit offset */
	blob_u8(blob, 1); /* access size: byte */
	blob_u64(blob, address);
}

/* Access size 0, "undefined (legacy)": drivers use the natural one. */
void acpi_add_port(struct blob *blob, uint16_t port, uint8_t bits)
{
	blob_u8(blob, 1); /* system I/O */
	blob_u8(blob, bits);
	blob_u8(blob, 0);
	blob_u8(blob, 0);
	blob_u64(blob, port);
}

/* --- The end: XSDT, RSDP, loader's script ---------------------------------- */

/* §5.2.8 */
static void add_xsdt(struct acpi_tables *tables)
{
	unsigned int count = tables->count;

	tables->xsdt = acpi_table_begin(tables, "XSDT", 1);
	for (unsigned int i = 0; i < count; i++)
		if (tables->tables[i].listed)
			acpi_table_pointer(tables, 8, tables->tables[i].start);
	acpi_table_end(tables, tables->xsdt);
}

/* Revision 2, §5.2.5.3, without an RSDT. The address of the XSDT is its offset for now. */
static void add_rsdp(struct acpi_tables *tables)
{
	struct blob *blob = &tables->rsdp;

	blob_text(blob, "RSD PTR ", 8, ' ');
	blob_u8(blob, 0);
	blob_text(blob, ACPI_OEM_ID, 6, ' ');
	blob_u8(blob, 2);
	blob_u32(blob, 0);
	blob_u32(blob, ACPI_RSDP_SIZE);
	blob_u64(blob, tables->xsdt);
	blob_u8(blob, 0);
	blob_zero(blob, 3);
}

static size_t loader_begin(struct blob *loader, uint32_t command, const char *file)
{
	size_t start = loader->len;

	blob_u32(loader, command);
	blob_text(loader, file, LOADER_FILE, '\0');
	return start;
}

static void loader_end(struct blob *loader, size_t start)
{
	blob_zero(loader, start + LOADER_ENTRY - loader->len);
}

static void loader_allocate(struct blob *loader, const char *file, uint32_t align, uint8_t zone)
{
	size_t start = loader_begin(loader, LOADER_ALLOCATE, file);

	blob_u32(loader, align);
	blob_u8(loader, zone);
	loader_end(loader, start);
}

/* The @width bytes at @at of @file get the address of the tables added. */
static void loader_pointer(struct blob *loader, const char *file, size_t at, unsigned int width)
{
	size_t start = loader_begin(loader, LOADER_POINTER, file);

	blob_text(loader, ACPI_FILE_TABLES, LOADER_FILE, '\0');
	blob_u32(loader, (uint32_t)at);
	blob_u8(loader, (uint8_t)width);
	loader_end(loader, start);
}

static void loader_checksum(struct blob *loader, const char *file, size_t at, size_t first,
			    size_t len)
{
	size_t start = loader_begin(loader, LOADER_CHECKSUM, file);

	blob_u32(loader, (uint32_t)at);
	blob_u32(loader, (uint32_t)first);
	blob_u32(loader, (uint32_t)len);
	loader_end(loader, start);
}

static void add_loader(struct acpi_tables *tables)
{
	struct blob *loader = &tables->loader;

	loader_allocate(loader, ACPI_FILE_RSDP, 16, LOADER_ZONE_FSEG);
	loader_allocate(loader, ACPI_FILE_TABLES, ACPI_TABLE_ALIGN, LOADER_ZONE_HIGH);
	for (unsigned int i = 0; i < tables->pointer_count; i++)
		loader_pointer(loader, ACPI_FILE_TABLES, tables->pointers[i].at,
			       tables->pointers[i].width);
	for (unsigned int i = 0; i < tables->count; i++)
		if (tables->tables[i].checksum)
			loader_checksum(loader, ACPI_FILE_TABLES,
					tables->tables[i].start + HEADER_CHECKSUM,
					tables->tables[i].start, tables->tables[i].len);
	loader_pointer(loader, ACPI_FILE_RSDP, RSDP_XSDT, 8);
	loader_checksum(loader, ACPI_FILE_RSDP, RSDP_CHECKSUM, 0, RSDP_OLD_SIZE);
	loader_checksum(loader, ACPI_FILE_RSDP, RSDP_EXTENDED_CHECKSUM, 0, ACPI_RSDP_SIZE);
}

void acpi_tables_finish(struct acpi_tables *tables)
{
	add_xsdt(tables);
	add_rsdp(tables);
	add_loader(tables);
}

/* --- Where the tables go ----------------------------------------------------- */

static void relocate(struct blob *blob, size_t at, unsigned int width, gpa_t base)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < width; i++)
		value |= (uint64_t)blob->data[at + i] << (8 * i);
	value += base;
	for (unsigned int i = 0; i < width; i++)
		blob->data[at + i] = (uint8_t)(value >> (8 * i));
}

int acpi_tables_install(const struct acpi_tables *tables, struct mem_space *space, gpa_t base,
			uint64_t size, gpa_t *rsdp, struct error **errp)
{
	gpa_t at = ALIGN_UP(base + ACPI_RSDP_SIZE, ACPI_TABLE_ALIGN);
	size_t first = at - base;
	uint64_t need = first + tables->data.len;
	struct blob image = { 0 };
	int ret = 0;

	if (need > size)
		return error_set(errp, -E2BIG,
				 "the ACPI tables have %" PRIu64 " bytes, there is room for %" PRIu64,
				 need, size);
	if (base + need > UINT32_MAX)
		return error_set(errp, -E2BIG, "ACPI tables must lie below 4 GiB");

	/* One image with the RSDP in front, so that one write puts all or nothing there. */
	blob_bytes(&image, tables->rsdp.data, tables->rsdp.len);
	relocate(&image, RSDP_XSDT, 8, at);
	blob_checksum(&image, RSDP_CHECKSUM, 0, RSDP_OLD_SIZE);
	blob_checksum(&image, RSDP_EXTENDED_CHECKSUM, 0, ACPI_RSDP_SIZE);
	blob_zero(&image, first - image.len);
	blob_bytes(&image, tables->data.data, tables->data.len);
	for (unsigned int i = 0; i < tables->pointer_count; i++)
		relocate(&image, first + tables->pointers[i].at, tables->pointers[i].width, at);
	for (unsigned int i = 0; i < tables->count; i++) {
		size_t start = first + tables->tables[i].start;

		if (tables->tables[i].checksum)
			blob_checksum(&image, start + HEADER_CHECKSUM, start,
				      tables->tables[i].len);
	}
	if (guest_write(space, base, image.data, image.len))
		ret = error_set(errp, -EFAULT, "no guest memory for the ACPI tables");
	blob_free(&image);
	if (!ret)
		*rsdp = base;
	return ret;
}

void acpi_tables_files(const struct acpi_tables *tables, struct acpi_file files[ACPI_FILES])
{
	files[0] = (struct acpi_file){ ACPI_FILE_TABLES, tables->data.data, tables->data.len };
	files[1] = (struct acpi_file){ ACPI_FILE_RSDP, tables->rsdp.data, tables->rsdp.len };
	files[2] = (struct acpi_file){ ACPI_FILE_LOADER, tables->loader.data, tables->loader.len };
}
