/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A finished set of ACPI tables whose addresses are not decided yet. The machine's builder (boot/acpi.h) makes it; then
 * either acpi_tables_install() puts it into memory for a kernel that boots without firmware, or the three files
 * of acpi_tables_files() go to fw_cfg and the firmware places them (QEMU's table loader, which OVMF and AAVMF
 * know). Main thread.
 */
#ifndef BOOT_ACPI_TABLES_H
#define BOOT_ACPI_TABLES_H

#include "memory/space.h"
#include "util/error.h"

struct acpi_tables;

void acpi_tables_free(struct acpi_tables *tables); /* NULL allowed */

/*
 * Writes the RSDP at @base and the tables behind it, all within [base, base + size), with their addresses and
 * checksums. -E2BIG when they have no room, -EFAULT when that is not RAM; nothing was written then. @tables remains as it
 * was: it can be installed again after a reset.
 */
int __must_check acpi_tables_install(const struct acpi_tables *tables, struct mem_space *space, gpa_t base,
				     uint64_t size, gpa_t *rsdp, struct error **errp);

/* Names in fw_cfg. */
#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_RSDP "etc/acpi/rsdp"
#define ACPI_FILE_LOADER "etc/table-loader"

struct acpi_file {
	const char *name;
	const void *data;
	size_t len;
};

#define ACPI_FILES 3
/* The contents of the three files; they are @tables' and live as long. */
void acpi_tables_files(const struct acpi_tables *tables, struct acpi_file files[ACPI_FILES]);

#endif
