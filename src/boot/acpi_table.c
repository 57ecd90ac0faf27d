// SPDX-License-Identifier: Apache-2.0
#include "acpi_table.h"

#include <string.h>

#define OEM_REVISION 1
#define CREATOR_ID "STRA"
#define CREATOR_REVISION 1

size_t acpi_table_begin(struct blob *blob, const char *signature, uint8_t revision,
			const char *oem_table)
{
	size_t start;

	blob_align(blob, ACPI_TABLE_ALIGN);
	start = blob->len;
	blob_text(blob, signature, 4, ' ');
	blob_u32(blob, 0); /* length */
	blob_u8(blob, revision);
	blob_u8(blob, 0); /* checksum */
	blob_text(blob, ACPI_OEM_ID, 6, ' ');
	blob_text(blob, oem_table, 8, ' ');
	blob_u32(blob, OEM_REVISION);
	blob_text(blob, CREATOR_ID, 4, ' ');
	blob_u32(blob, CREATOR_REVISION);
	return start;
}

void acpi_table_end(struct blob *blob, size_t start)
{
	blob_set_u32(blob, start + 4, (uint32_t)(blob->len - start));
	blob_checksum(blob, start + 9, start, blob->len - start);
}

size_t acpi_add_xsdt(struct blob *blob, const char *oem_table, const uint64_t *addresses,
		     unsigned int count)
{
	size_t start = acpi_table_begin(blob, "XSDT", 1, oem_table);

	for (unsigned int i = 0; i < count; i++)
		blob_u64(blob, addresses[i]);
	acpi_table_end(blob, start);
	return start;
}

void acpi_add_rsdp(struct blob *blob, uint64_t xsdt)
{
	size_t start = blob->len;

	blob_text(blob, "RSD PTR ", 8, ' ');
	blob_u8(blob, 0); /* checksum of the 20 bytes that revision 0 had */
	blob_text(blob, ACPI_OEM_ID, 6, ' ');
	blob_u8(blob, 2);
	blob_u32(blob, 0); /* no RSDT */
	blob_u32(blob, ACPI_RSDP_SIZE);
	blob_u64(blob, xsdt);
	blob_u8(blob, 0); /* checksum of all */
	blob_zero(blob, 3);
	blob_checksum(blob, start + 8, start, 20);
	blob_checksum(blob, start + 32, start, ACPI_RSDP_SIZE);
}

void acpi_add_register8(struct blob *blob, uint64_t address)
{
	blob_u8(blob, 0); /* system memory */
	blob_u8(blob, 8); /* width in bits */
	blob_u8(blob, 0); /* bit offset */
	blob_u8(blob, 1); /* access size: byte */
	blob_u64(blob, address);
}
