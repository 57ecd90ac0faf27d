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
	OP_ADD = 0x72,
	OP_INCREMENT = 0x75,
	OP_SHIFT_LEFT = 0x79,
	OP_AND = 0x7b,
	OP_OR = 0x7d,
	OP_NOTIFY = 0x86,
	OP_CREATE_DWORD_FIELD = 0x8a,
	OP_LNOT = 0x92,
	OP_LEQUAL = 0x93,
	OP_LLESS = 0x95,
	OP_IF = 0xa0,
	OP_ELSE = 0xa1,
	OP_WHILE = 0xa2,
	OP_RETURN = 0xa4,
	EXT_MUTEX = 0x01,
	EXT_ACQUIRE = 0x23,
	EXT_RELEASE = 0x27,
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

void aml_else(struct aml *aml)
{
	blob_u8(&aml->code, OP_ELSE);
	open_package(aml, false);
}

void aml_while(struct aml *aml)
{
	blob_u8(&aml->code, OP_WHILE);
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

void aml_buffer(struct aml *aml, const void *data, size_t len)
{
	blob_u8(&aml->code, OP_BUFFER);
	open_package(aml, false);
	aml_integer(aml, len);
	blob_bytes(&aml->code, data, len);
	aml_end(aml);
}

/* aabbccdd-eeff-gghh-iijj-kkllmmnnoopp: the first three groups little-endian (§19.6.142). */
void aml_uuid(struct aml *aml, const char *uuid)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t bytes[16] = { 0 };
	unsigned int n = 0;

	for (const char *p = uuid; *p; p++) {
		int digit = hex_digit((char)toupper((unsigned char)*p));

		if (*p == '-')
			continue;
		if (digit < 0 || n == 32) {
			aml->bad = true;
			return;
		}
		bytes[order[n / 2]] |= (uint8_t)(n % 2 ? digit : digit << 4);
		n++;
	}
	if (n != 32)
		aml->bad = true;
	aml_buffer(aml, bytes, sizeof(bytes));
}

void aml_mutex(struct aml *aml, const char *name)
{
	extended(aml, EXT_MUTEX);
	write_name(aml, name);
	blob_u8(&aml->code, 0); /* sync level */
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

void aml_port_region(struct aml *aml, const char *name, uint16_t base, uint16_t size)
{
	extended(aml, EXT_REGION);
	write_name(aml, name);
	blob_u8(&aml->code, 1); /* SystemIO */
	aml_integer(aml, base);
	aml_integer(aml, size);
}

/* FieldFlags, §20.2.5.2: access type 1-4 for 8-64 bits, NoLock, update rule. */
static void open_field(struct aml *aml, const char *region, unsigned int access, uint8_t rule)
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
	blob_u8(&aml->code, (uint8_t)(type | rule));
}

void aml_field(struct aml *aml, const char *region, unsigned int access)
{
	open_field(aml, region, access, 0);
}

void aml_field_zeros(struct aml *aml, const char *region, unsigned int access)
{
	open_field(aml, region, access, 2 << 5);
}

void aml_field_skip(struct aml *aml, unsigned int bits)
{
	uint8_t length[4];

	blob_u8(&aml->code, 0);
	blob_bytes(&aml->code, length, encode_length(bits, length));
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

void aml_or(struct aml *aml)
{
	blob_u8(&aml->code, OP_OR);
}

void aml_add(struct aml *aml)
{
	blob_u8(&aml->code, OP_ADD);
}

void aml_shift_left(struct aml *aml)
{
	blob_u8(&aml->code, OP_SHIFT_LEFT);
}

void aml_increment(struct aml *aml)
{
	blob_u8(&aml->code, OP_INCREMENT);
}

void aml_not(struct aml *aml)
{
	blob_u8(&aml->code, OP_LNOT);
}

void aml_equal(struct aml *aml)
{
	blob_u8(&aml->code, OP_LEQUAL);
}

void aml_less(struct aml *aml)
{
	blob_u8(&aml->code, OP_LLESS);
}

void aml_create_dword_field(struct aml *aml)
{
	blob_u8(&aml->code, OP_CREATE_DWORD_FIELD);
}

void aml_acquire(struct aml *aml, const char *mutex)
{
	extended(aml, EXT_ACQUIRE);
	write_name(aml, mutex);
	blob_u16(&aml->code, 0xffff);
}

void aml_release(struct aml *aml, const char *mutex)
{
	extended(aml, EXT_RELEASE);
	write_name(aml, mutex);
}

void aml_resources(struct aml *aml)
{
	blob_u8(&aml->code, OP_BUFFER);
	open_package(aml, true);
}
