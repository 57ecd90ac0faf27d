/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing little-endian byte buffer, in which firmware tables are built. It never refuses: growth
 * is checked (util/alloc.h), and its owner looks at the size before the bytes go to the guest. Main
 * thread.
 */
#ifndef BOOT_BLOB_H
#define BOOT_BLOB_H

#include "util/macros.h"

struct blob { /* zero-initialised: empty */
	uint8_t *data;
	size_t len, capacity;
};

void blob_free(struct blob *blob);

void blob_bytes(struct blob *blob, const void *data, size_t len);
void blob_zero(struct blob *blob, size_t len);
void blob_align(struct blob *blob, size_t align); /* pads with zeros */
void blob_u8(struct blob *blob, uint8_t value);
void blob_u16(struct blob *blob, uint16_t value);
void blob_u32(struct blob *blob, uint32_t value);
void blob_u64(struct blob *blob, uint64_t value);

/* @text in a field of @width bytes, filled up with @fill, cut off if longer. */
void blob_text(struct blob *blob, const char *text, size_t width, char fill);

/* Puts bytes at @at (<= len) and moves what was there behind them. */
void blob_insert(struct blob *blob, size_t at, const void *data, size_t len);

/* Overwrites; the four bytes exist already. */
void blob_set_u32(struct blob *blob, size_t at, uint32_t value);

/* Sets the existing byte @at so that all bytes of [start, start + len) add up to zero. */
void blob_checksum(struct blob *blob, size_t at, size_t start, size_t len);

#endif
