/* SPDX-License-Identifier: Apache-2.0 */
/* SRAT and SLIT for every machine (struct acpi_numa in boot/acpi.h). Main thread. */
#ifndef BOOT_ACPI_NUMA_H
#define BOOT_ACPI_NUMA_H

#include "acpi_table.h"
#include "boot/acpi.h"

/*
 * System Resource Affinity Table with the memory; the machine appends its CPUs' structures, then calls
 * acpi_table_end() with what this returns.
 */
size_t acpi_numa_begin_srat(struct acpi_tables *tables, const struct acpi_numa *numa);

/* One more range, between the two calls of a Resource Affinity Table. */
void acpi_numa_add_memory(struct acpi_tables *tables, const struct acpi_numa_memory *memory);

/* System Locality Information Table. */
void acpi_numa_add_slit(struct acpi_tables *tables, const struct acpi_numa *numa);

#endif
