// SPDX-License-Identifier: Apache-2.0
/* The section numbers are those of ACPI 6.5. */
#include "acpi_numa.h"

#define AFFINITY_ENABLED 1u

/* §5.2.16.2 */
void acpi_numa_add_memory(struct acpi_tables *tables, const struct acpi_numa_memory *memory)
{
	struct blob *blob = &tables->data;

	blob_u8(blob, 1);
	blob_u8(blob, 40);
	blob_u32(blob, memory->node);
	blob_u16(blob, 0);
	blob_u64(blob, memory->base);
	blob_u64(blob, memory->size);
	blob_u32(blob, 0);
	blob_u32(blob, AFFINITY_ENABLED);
	blob_u64(blob, 0);
}

size_t acpi_numa_begin_srat(struct acpi_tables *tables, const struct acpi_numa *numa)
{
	size_t start = acpi_table_begin(tables, "SRAT", 3);

	blob_u32(&tables->data, 1); /* reserved, must be 1 */
	blob_zero(&tables->data, 8);
	for (unsigned int i = 0; i < numa->memory_count; i++)
		if (numa->memory[i].size)
			acpi_numa_add_memory(tables, &numa->memory[i]);
	return start;
}

/* §5.2.17 */
void acpi_numa_add_slit(struct acpi_tables *tables, const struct acpi_numa *numa)
{
	size_t start = acpi_table_begin(tables, "SLIT", 1);

	blob_u64(&tables->data, numa->nodes);
	for (unsigned int from = 0; from < numa->nodes; from++)
		for (unsigned int to = 0; to < numa->nodes; to++)
			blob_u8(&tables->data, (uint8_t)acpi_numa_distance(numa, from, to));
	acpi_table_end(tables, start);
}
