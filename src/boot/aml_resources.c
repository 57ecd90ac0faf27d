// SPDX-License-Identifier: Apache-2.0
/* Resource descriptors (ACPI 6.5 §6.4) between aml_resources() and aml_end(). */
#include "aml.h"

/* Resource types of address space descriptors, and the general flags of what a bridge produces:
   minimum and maximum fixed, positive decode. */
enum { SPACE_MEMORY = 0, SPACE_IO = 1, SPACE_BUS = 2 };
#define WINDOW 0x0c

static void address(struct aml *aml, uint64_t value, unsigned int width)
{
	switch (width) {
	case 2:
		blob_u16(&aml->code, (uint16_t)value);
		break;
	case 4:
		blob_u32(&aml->code, (uint32_t)value);
		break;
	default:
		blob_u64(&aml->code, value);
		break;
	}
}

/* Address space descriptor with fields of @width bytes: §6.4.3.5.1 (8), .2 (4), .3 (2). */
static void address_space(struct aml *aml, uint8_t space, uint8_t flags, uint8_t type_flags,
			  uint64_t base, uint64_t size, uint64_t translation, unsigned int width)
{
	uint64_t max = width == 8 ? UINT64_MAX : (1ULL << (8 * width)) - 1;

	if (!size || base + (size - 1) < base || base + (size - 1) > max || size > max ||
	    translation > max) {
		aml->bad = true;
		return;
	}
	blob_u8(&aml->code, width == 8 ? 0x8a : width == 4 ? 0x87 : 0x88);
	blob_u16(&aml->code, (uint16_t)(3 + 5 * width));
	blob_u8(&aml->code, space);
	blob_u8(&aml->code, flags);
	blob_u8(&aml->code, type_flags);
	address(aml, 0, width); /* granularity */
	address(aml, base, width);
	address(aml, base + (size - 1), width);
	address(aml, translation, width);
	address(aml, size, width);
}

/* I/O port descriptor, §6.4.2.5. */
void aml_io(struct aml *aml, uint16_t base, uint8_t size)
{
	blob_u8(&aml->code, 0x47);
	blob_u8(&aml->code, 1); /* all 16 address lines are decoded */
	blob_u16(&aml->code, base);
	blob_u16(&aml->code, base);
	blob_u8(&aml->code, 1); /* alignment */
	blob_u8(&aml->code, size);
}

void aml_memory(struct aml *aml, uint64_t base, uint64_t size)
{
	if (!size || base + (size - 1) < base) {
		aml->bad = true;
		return;
	}
	if (base + (size - 1) <= UINT32_MAX) { /* 32-bit fixed memory range, §6.4.3.4 */
		blob_u8(&aml->code, 0x86);
		blob_u16(&aml->code, 9);
		blob_u8(&aml->code, 1); /* read-write */
		blob_u32(&aml->code, (uint32_t)base);
		blob_u32(&aml->code, (uint32_t)size);
		return;
	}
	address_space(aml, SPACE_MEMORY, 0x0c, 0x01, base, size, 0, 8);
}

/* §6.4.3.5.4.1: read-write, cacheable as far as the bridge's prefetching goes. */
void aml_memory_window(struct aml *aml, uint64_t base, uint64_t size, bool prefetchable)
{
	bool wide = size && base + (size - 1) > UINT32_MAX;

	address_space(aml, SPACE_MEMORY, WINDOW, prefetchable ? 0x07 : 0x01, base, size, 0,
		      wide ? 8 : 4);
}

/* §6.4.3.5.4.2: the entire range; with a translation it is one from memory to ports. */
void aml_io_window(struct aml *aml, uint64_t base, uint64_t size, uint64_t translation)
{
	if (translation)
		address_space(aml, SPACE_IO, WINDOW, 0x13, base, size, translation,
			      translation > UINT32_MAX ? 8 : 4);
	else
		address_space(aml, SPACE_IO, WINDOW, 0x03, base, size, 0, 2);
}

void aml_bus_range(struct aml *aml, uint16_t first, uint16_t last)
{
	address_space(aml, SPACE_BUS, WINDOW, 0, first, (uint64_t)last - first + 1, 0, 2);
}

/* Extended interrupt descriptor, §6.4.3.6: consumer, active high, exclusive. */
static void interrupt(struct aml *aml, bool edge, uint32_t gsi)
{
	blob_u8(&aml->code, 0x89);
	blob_u16(&aml->code, 6);
	blob_u8(&aml->code, edge ? 0x03 : 0x01);
	blob_u8(&aml->code, 1);
	blob_u32(&aml->code, gsi);
}

void aml_interrupt_edge(struct aml *aml, uint32_t gsi)
{
	interrupt(aml, true, gsi);
}

void aml_interrupt_level(struct aml *aml, uint32_t gsi)
{
	interrupt(aml, false, gsi);
}
