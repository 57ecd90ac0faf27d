/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that all ACPI tables share (ACPI 6.5 §5.2). Main thread. */
#ifndef BOOT_ACPI_TABLE_H
#define BOOT_ACPI_TABLE_H

#include "blob.h"

#define ACPI_OEM_ID "STRATO"
#define ACPI_HEADER_SIZE 36
#define ACPI_RSDP_SIZE 36
#define ACPI_TABLE_ALIGN 64

/*
 * Appends a table header (§5.2.6) at the next aligned place and returns its offset. @oem_table: 8
 * characters.
 */
size_t acpi_table_begin(struct blob *blob, const char *signature, uint8_t revision,
			const char *oem_table);

/* Everything behind @start belongs to the table: sets its length and checksum. */
void acpi_table_end(struct blob *blob, size_t start);

/* XSDT (§5.2.8) of the tables at @addresses; returns its offset. */
size_t acpi_add_xsdt(struct blob *blob, const char *oem_table, const uint64_t *addresses,
		     unsigned int count);

/* Appends an RSDP of revision 2 (§5.2.5.3) that points to @xsdt. */
void acpi_add_rsdp(struct blob *blob, uint64_t xsdt);

/* Generic address structure (§5.2.3.2) of an 8-bit register in memory, accessed by bytes. */
void acpi_add_register8(struct blob *blob, uint64_t address);

#endif
