// SPDX-License-Identifier: Apache-2.0
#include "blob.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/endian.h"

/* Makes room for @len more bytes and returns the place of the first. */
static uint8_t *blob_grow(struct blob *blob, size_t len)
{
	if (len > blob->capacity - blob->len) {
		size_t capacity = MAX(blob->capacity * 2, blob->len + len);

		if (capacity < blob->len + len || blob->len + len < len)
			abort(); /* more than the address space: cannot come from a table of ours */
		blob->data = xrealloc(blob->data, capacity);
		blob->capacity = capacity;
	}
	blob->len += len;
	return blob->data + blob->len - len;
}

void blob_free(struct blob *blob)
{
	free(blob->data);
	*blob = (struct blob){ 0 };
}

void blob_bytes(struct blob *blob, const void *data, size_t len)
{
	if (len)
		memcpy(blob_grow(blob, len), data, len);
}

void blob_zero(struct blob *blob, size_t len)
{
	if (len)
		memset(blob_grow(blob, len), 0, len);
}

void blob_align(struct blob *blob, size_t align)
{
	blob_zero(blob, ALIGN_UP(blob->len, align) - blob->len);
}

void blob_u8(struct blob *blob, uint8_t value)
{
	blob_bytes(blob, &value, sizeof(value));
}

void blob_u16(struct blob *blob, uint16_t value)
{
	le16_t le = cpu_to_le16(value);

	blob_bytes(blob, &le, sizeof(le));
}

void blob_u32(struct blob *blob, uint32_t value)
{
	le32_t le = cpu_to_le32(value);

	blob_bytes(blob, &le, sizeof(le));
}

void blob_u64(struct blob *blob, uint64_t value)
{
	le64_t le = cpu_to_le64(value);

	blob_bytes(blob, &le, sizeof(le));
}

void blob_text(struct blob *blob, const char *text, size_t width, char fill)
{
	size_t len = strnlen(text, width);

	blob_bytes(blob, text, len);
	for (; len < width; len++)
		blob_u8(blob, (uint8_t)fill);
}

void blob_insert(struct blob *blob, size_t at, const void *data, size_t len)
{
	size_t behind = blob->len - at;

	if (!len)
		return;
	blob_grow(blob, len);
	memmove(blob->data + at + len, blob->data + at, behind);
	memcpy(blob->data + at, data, len);
}

void blob_set_u32(struct blob *blob, size_t at, uint32_t value)
{
	le32_t le = cpu_to_le32(value);

	memcpy(blob->data + at, &le, sizeof(le));
}

void blob_checksum(struct blob *blob, size_t at, size_t start, size_t len)
{
	uint8_t sum = 0;

	blob->data[at] = 0;
	for (size_t i = start; i < start + len; i++)
		sum += blob->data[i];
	blob->data[at] = (uint8_t)-sum;
}
