/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building ACPI tables (ACPI 6.5 §5.2) that can be placed anywhere later. All tables lie in one blob; where a table
 * holds the address of another one, acpi_table_pointer() writes the offset of the target in the blob and takes a note:
 *
 *	struct acpi_tables *tables = acpi_tables_new("STRTVIRT");
 *	size_t dsdt = acpi_table_begin(tables, "DSDT", 2);
 *	blob_bytes(&tables->data, …);
 *	acpi_table_end(tables, dsdt);
 *	…
 *	acpi_tables_finish(tables);	XSDT, RSDP and the loader's script
 *
 * Main thread.
 */
#ifndef BOOT_ACPI_TABLE_H
#define BOOT_ACPI_TABLE_H

#include "blob.h"
#include "boot/acpi_tables.h"

struct aml;

#define ACPI_OEM_ID "STRATO"
#define ACPI_HEADER_SIZE 36
#define ACPI_RSDP_SIZE 36
#define ACPI_TABLE_ALIGN 64
#define ACPI_TABLES_MAX 32
#define ACPI_POINTERS_MAX 64

struct acpi_tables {
	struct blob data;
	struct blob rsdp, loader; /* set by acpi_tables_finish() */
	char oem_table[9];
	struct {
		size_t start, len;
		bool listed; /* in the XSDT */
		bool checksum;
	} tables[ACPI_TABLES_MAX];
	unsigned int count;
	struct {
		size_t at;	    /* in @data */
		unsigned int width; /* 4 or 8 */
	} pointers[ACPI_POINTERS_MAX];
	unsigned int pointer_count;
	size_t xsdt;
};

/* @oem_table: up to 8 characters, in every table. */
struct acpi_tables *acpi_tables_new(const char *oem_table);

/* Appends a table header (§5.2.6) at the next aligned place and returns its offset. */
size_t acpi_table_begin(struct acpi_tables *tables, const char *signature, uint8_t revision);

/* Everything behind @start belongs to the table. The XSDT lists every table but the DSDT. */
void acpi_table_end(struct acpi_tables *tables, size_t start);

/* Firmware ACPI Control Structure (§5.2.10), which has no common header. Returns its offset. */
size_t acpi_add_facs(struct acpi_tables *tables);

/* Appends a field of @width (4 or 8) bytes with the address of what is at @target. */
void acpi_table_pointer(struct acpi_tables *tables, unsigned int width, size_t target);

/*
 * DSDT of the finished @aml, whose code is released. *ret: its offset. -EINVAL when @aml is not
 * well-formed.
 */
int __must_check acpi_add_dsdt(struct acpi_tables *tables, struct aml *aml, size_t *ret,
			       struct error **errp);

/* The last step. */
void acpi_tables_finish(struct acpi_tables *tables);

/* Generic address structures (§5.2.3.2): an 8-bit register in memory; ports, @bits wide. */
void acpi_add_register8(struct blob *blob, uint64_t address);
void acpi_add_port(struct blob *blob, uint16_t port, uint8_t bits);

#endif
