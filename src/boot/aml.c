// SPDX-License-Identifier: Apache-2.0
#include "aml.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* §20.3, "AML Byte Stream Byte Values". */
enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXT = 0x5b,
	OP_LOCAL0 = 0x60,
	OP_ARG0 = 0x68,
	OP_STORE = 0x70,
	OP_AND = 0x7b,
	OP_NOTIFY = 0x86,
	OP_IF = 0xa0,
	OP_RETURN = 0xa4,
	EXT_REGION = 0x80,
	EXT_FIELD = 0x81,
	EXT_DEVICE = 0x82,
};

#define NAME_SEG 4
#define NAME_SEGS_MAX 255

int aml_finish(struct aml *aml)
{
	return aml->bad || aml->depth ? -EINVAL : 0;
}

void aml_free(struct aml *aml)
{
	blob_free(&aml->code);
	*aml = (struct aml){ 0 };
}

/*
 * PkgLength, §20.2.4: up to 63 in one byte; else the low nibble, the count of further bytes in bits
 * 6-7, and these. Returns the count of bytes, 0 when the value is too large.
 */
static size_t encode_length(size_t value, uint8_t out[4])
{
	size_t more = value < 1u << 6 ? 0 : value < 1u << 12 ? 1 : value < 1u << 20 ? 2 : 3;

	if (value >= 1u << 28)
		return 0;
	if (!more) {
		out[0] = (uint8_t)value;
		return 1;
	}
	out[0] = (uint8_t)(more << 6 | (value & 0xf));
	for (size_t i = 0; i < more; i++)
		out[i + 1] = (uint8_t)(value >> (4 + 8 * i));
	return more + 1;
}

static void open_package(struct aml *aml, bool resources)
{
	if (aml->depth == AML_DEPTH_MAX) {
		aml->bad = true;
		return;
	}
	aml->open[aml->depth].start = aml->code.len;
	aml->open[aml->depth].resources = resources;
	aml->depth++;
}

/* BufferSize stands in front of a buffer's bytes: it is known only now. */
static void finish_resources(struct aml *aml, size_t start)
{
	struct aml size = { 0 };

	blob_u8(&aml->code, 0x79); /* end tag, §6.4.2.9 */
	blob_u8(&aml->code, 0);	   /* a checksum of zero is taken as right */
	aml_integer(&size, aml->code.len - start);
	blob_insert(&aml->code, start, size.code.data, size.code.len);
	aml_free(&size);
}

void aml_end(struct aml *aml)
{
	uint8_t length[4];
	size_t start, body, n = 1;

	if (!aml->depth) {
		aml->bad = true;
		return;
	}
	aml->depth--;
	start = aml->open[aml->depth].start;
	if (aml->open[aml->depth].resources)
		finish_resources(aml, start);
	/* The length counts its own bytes. */
	body = aml->code.len - start;
	while (n && encode_length(body + n, length) > n)
		n++;
	if (encode_length(body + n, length) != n) {
		aml->bad = true;
		return;
	}
	blob_insert(&aml->code, start, length, n);
}

/* NameString, §20.2.2: "\\_SB.COM1", "^PWRB", "_CRS"; short segments are filled up with '_'. */
static void write_name(struct aml *aml, const char *path)
{
	struct blob segments = { 0 };
	unsigned int count = 0;
	const char *p = path;

	if (*p == '\\')
		blob_u8(&aml->code, (uint8_t)*p++);
	else
		while (*p == '^')
			blob_u8(&aml->code, (uint8_t)*p++);
	while (*p) {
		size_t len = strcspn(p, ".");

		for (size_t i = 0; i < len; i++)
			if (!isupper((unsigned char)p[i]) && p[i] != '_' &&
			    (!i || !isdigit((unsigned char)p[i])))
				aml->bad = true;
		if (!len || len > NAME_SEG)
			aml->bad = true;
		blob_bytes(&segments, p, MIN(len, (size_t)NAME_SEG));
		for (size_t i = len; i < NAME_SEG; i++)
			blob_u8(&segments, '_');
		count++;
		p += len;
		if (*p == '.' && !*++p)
			aml->bad = true;
	}
	if (count > NAME_SEGS_MAX)
		aml->bad = true;
	if (count == 0) {
		blob_u8(&aml->code, OP_ZERO); /* NullName */
	} else if (count == 2) {
		blob_u8(&aml->code, OP_DUAL_NAME);
	} else if (count > 2) {
		blob_u8(&aml->code, OP_MULTI_NAME);
		blob_u8(&aml->code, (uint8_t)count);
	}
	blob_bytes(&aml->code, segments.data, segments.len);
	blob_free(&segments);
}

static void extended(struct aml *aml, uint8_t op)
{
	blob_u8(&aml->code, OP_EXT);
	blob_u8(&aml->code, op);
}

/* --- Terms with a length --------------------------------------------- */

void aml_scope(struct aml *aml, const char *path)
{
	blob_u8(&aml->code, OP_SCOPE);
	open_package(aml, false);
	write_name(aml, path);
}

void aml_device(struct aml *aml, const char *name)
{
	extended(aml, EXT_DEVICE);
	open_package(aml, false);
	write_name(aml, name);
}

void aml_method(struct aml *aml, const char *name, unsigned int args, bool serialized)
{
	if (args > 7)
		aml->bad = true;
	blob_u8(&aml->code, OP_METHOD);
	open_package(aml, false);
	write_name(aml, name);
	blob_u8(&aml->code, (uint8_t)((args & 7) | (serialized ? 8 : 0)));
}

void aml_package(struct aml *aml, unsigned int elements)
{
	if (elements > 255)
		aml->bad = true;
	blob_u8(&aml->code, OP_PACKAGE);
	open_package(aml, false);
	blob_u8(&aml->code, (uint8_t)elements);
}

void aml_if(struct aml *aml)
{
	blob_u8(&aml->code, OP_IF);
	open_package(aml, false);
}

/* --- Objects --------------------------------------------------------- */

void aml_name(struct aml *aml, const char *path)
{
	blob_u8(&aml->code, OP_NAME);
	write_name(aml, path);
}

void aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		blob_u8(&aml->code, value ? OP_ONE : OP_ZERO);
	} else if (value <= UINT8_MAX) {
		blob_u8(&aml->code, OP_BYTE);
		blob_u8(&aml->code, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		blob_u8(&aml->code, OP_WORD);
		blob_u16(&aml->code, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		blob_u8(&aml->code, OP_DWORD);
		blob_u32(&aml->code, (uint32_t)value);
	} else {
		blob_u8(&aml->code, OP_QWORD);
		blob_u64(&aml->code, value);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	blob_u8(&aml->code, OP_STRING);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p > 0x7f) /* AsciiChar, §20.2.3 */
			aml->bad = true;
	blob_bytes(&aml->code, text, strlen(text) + 1);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Three letters of five bits each and four hexadecimal digits, big-endian (§6.1.5, §19.6.36). */
void aml_eisaid(struct aml *aml, const char *id)
{
	uint32_t value = 0;

	if (strlen(id) != 7) {
		aml->bad = true;
		return;
	}
	for (unsigned int i = 0; i < 7; i++) {
		int digit = i < 3 ? id[i] - 'A' + 1 : hex_digit(id[i]);

		if (digit < 0 || (i < 3 && (digit < 1 || digit > 26))) {
			aml->bad = true;
			return;
		}
		value = i < 3 ? value << 5 | (uint32_t)digit : value << 4 | (uint32_t)digit;
	}
	aml_integer(aml, __builtin_bswap32(value));
}

void aml_path(struct aml *aml, const char *path)
{
	write_name(aml, path);
}

void aml_local(struct aml *aml, unsigned int n)
{
	if (n > 7)
		aml->bad = true;
	blob_u8(&aml->code, (uint8_t)(OP_LOCAL0 + (n & 7)));
}

void aml_arg(struct aml *aml, unsigned int n)
{
	if (n > 6)
		aml->bad = true;
	blob_u8(&aml->code, (uint8_t)(OP_ARG0 + (n & 7)));
}

void aml_memory_region(struct aml *aml, const char *name, uint64_t base, uint32_t size)
{
	extended(aml, EXT_REGION);
	write_name(aml, name);
	blob_u8(&aml->code, 0); /* SystemMemory */
	aml_integer(aml, base);
	aml_integer(aml, size);
}

/* FieldFlags, §20.2.5.2: access type 1-4 for 8-64 bits, NoLock, Preserve. */
void aml_field(struct aml *aml, const char *region, unsigned int access)
{
	unsigned int type = access == 8	   ? 1
			    : access == 16 ? 2
			    : access == 32 ? 3
			    : access == 64 ? 4
					   : 0;

	if (!type)
		aml->bad = true;
	extended(aml, EXT_FIELD);
	open_package(aml, false);
	write_name(aml, region);
	blob_u8(&aml->code, (uint8_t)type);
}

void aml_field_unit(struct aml *aml, const char *name, unsigned int bits)
{
	uint8_t length[4];

	write_name(aml, name);
	blob_bytes(&aml->code, length, encode_length(bits, length));
}

/* --- Statements and expressions -------------------------------------- */

void aml_store(struct aml *aml)
{
	blob_u8(&aml->code, OP_STORE);
}

void aml_and(struct aml *aml)
{
	blob_u8(&aml->code, OP_AND);
}

void aml_no_target(struct aml *aml)
{
	blob_u8(&aml->code, OP_ZERO);
}

void aml_notify(struct aml *aml)
{
	blob_u8(&aml->code, OP_NOTIFY);
}

void aml_return(struct aml *aml)
{
	blob_u8(&aml->code, OP_RETURN);
}

/* --- Resources ------------------------------------------------------- */

void aml_resources(struct aml *aml)
{
	blob_u8(&aml->code, OP_BUFFER);
	open_package(aml, true);
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
	blob_u8(&aml->code, 0x8a); /* QWord address space, §6.4.3.5.1 */
	blob_u16(&aml->code, 43);
	blob_u8(&aml->code, 0);	   /* memory */
	blob_u8(&aml->code, 0x0c); /* minimum and maximum are fixed, positive decode */
	blob_u8(&aml->code, 1);	   /* read-write, not cacheable */
	blob_u64(&aml->code, 0);   /* granularity */
	blob_u64(&aml->code, base);
	blob_u64(&aml->code, base + (size - 1));
	blob_u64(&aml->code, 0); /* translation */
	blob_u64(&aml->code, size);
}

/* Extended interrupt descriptor, §6.4.3.6. */
void aml_interrupt_edge(struct aml *aml, uint32_t gsi)
{
	blob_u8(&aml->code, 0x89);
	blob_u16(&aml->code, 6);
	blob_u8(&aml->code, 0x03); /* consumer, edge, active high, exclusive */
	blob_u8(&aml->code, 1);
	blob_u32(&aml->code, gsi);
}
