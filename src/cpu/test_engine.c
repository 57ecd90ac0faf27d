// SPDX-License-Identifier: Apache-2.0
/*
 * The protocol of the test accelerator: one line a request. A request that cannot be understood
 * changes nothing and is answered with a line that says why. An access is done as a vCPU would do
 * it: RAM directly, everything else by the dispatcher of the address space, so what is not there
 * reads as ones.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_private.h"
#include "util/alloc.h"
#include "util/endian.h"

#define WORDS_MAX 5
#define BULK_MAX (16 * MIB) /* bytes of one read, write or memset */
#define PAGE 4096u

struct request {
	struct test_accel *accel;
	enum test_dialect dialect;
	char *words[WORDS_MAX]; /* [0] is the command */
	unsigned int count;
	char *reply;
	int64_t target;
	enum test_outcome result;
	unsigned int width; /* of the command's table entry */
};

__printf(2, 3) static void answer(struct request *request, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = xstrdup("FAIL out of memory");
	va_end(args);
	free(request->reply);
	request->reply = text;
}

static void fail(struct request *request, const char *why, const char *what)
{
	answer(request, "FAIL %s: %s: %.64s", request->words[0], why, what);
}

/* --- Numbers and bytes --- */

static bool number(struct request *request, unsigned int word, bool hex, uint64_t *out)
{
	const char *text = request->words[word];
	uint64_t value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, hex && request->dialect == TEST_DIALECT_STRATOVIRT ? 16 : 0);
	if (errno || end == text || *end || !isxdigit((unsigned char)*text)) {
		fail(request, "not a number", text);
		return false;
	}
	*out = value;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "0x0102" to bytes in memory order; an odd digit count gets a leading 0. NULL: no such text. */
static uint8_t *hex_bytes(const char *text, size_t *len)
{
	size_t digits, at = 0;
	uint8_t *bytes;

	if (!strncmp(text, "0x", 2))
		text += 2;
	digits = strlen(text);
	bytes = calloc(1, digits / 2 + 1);
	if (!bytes)
		return NULL;
	*len = (digits + 1) / 2;
	for (size_t i = digits % 2; *text; text++, i++) {
		int digit = hex_digit(*text);

		if (digit < 0) {
			free(bytes);
			return NULL;
		}
		at = i / 2;
		bytes[at] = (uint8_t)(bytes[at] << 4 | digit);
	}
	return bytes;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *base64_encode(const uint8_t *bytes, size_t len)
{
	char *text = xcalloc(1, (len + 2) / 3 * 4 + 1), *to = text;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t group = (uint32_t)bytes[i] << 16;

		if (i + 1 < len)
			group |= (uint32_t)bytes[i + 1] << 8;
		if (i + 2 < len)
			group |= bytes[i + 2];
		for (unsigned int k = 0; k < 4; k++)
			*to++ = i + k <= len ? base64_digits[group >> (18 - 6 * k) & 63] : '=';
	}
	return text;
}

static uint8_t *base64_bytes(const char *text, size_t *len)
{
	size_t digits = strlen(text);
	uint8_t *bytes;
	uint32_t group = 0;
	unsigned int bits = 0;

	*len = 0;
	if (digits % 4)
		return NULL;
	while (digits && text[digits - 1] == '=')
		digits--;
	if (digits % 4 == 1 || strlen(text) - digits > 2)
		return NULL;
	bytes = calloc(1, digits + 1);
	for (size_t i = 0; bytes && i < digits; i++) {
		const char *digit = strchr(base64_digits, text[i]);

		if (!digit) {
			free(bytes);
			return NULL;
		}
		group = group << 6 | (uint32_t)(digit - base64_digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			bytes[(*len)++] = (uint8_t)(group >> bits);
		}
	}
	return bytes;
}

/* --- Accesses --- */

static bool is_ram(const struct mem_space *space, uint64_t addr)
{
	return guest_slice(space, addr, 1) != NULL;
}

/* One access of 1 to 8 bytes, as a CPU makes it. */
static void access_unit(struct request *request, uint64_t addr, void *data, unsigned int len,
			bool write)
{
	struct mem_space *space = request->accel->accel.space;

	if (!(write ? guest_write(space, addr, data, len) : guest_read(space, addr, data, len)))
		return;
	if (len > 1 && addr + (len - 1) > addr &&
	    (is_ram(space, addr) || is_ram(space, addr + len - 1))) {
		/* Over the end of RAM: as the pieces it consists of. */
		for (unsigned int i = 0; i < len; i++)
			access_unit(request, addr + i, (uint8_t *)data + i, 1, write);
		return;
	}
	request->result = TEST_SETTLE;
	if (write)
		mem_space_io_write(space, IO_MMIO, addr, data, len);
	else
		mem_space_io_read(space, IO_MMIO, addr, data, len);
}

/* RAM in pages; the rest in the widest aligned accesses. */
static void access_bulk(struct request *request, uint64_t addr, uint8_t *data, uint64_t len,
			bool write)
{
	struct mem_space *space = request->accel->accel.space;

	while (len) {
		uint64_t piece = MIN(len, PAGE - addr % PAGE);

		if (write ? guest_write(space, addr, data, piece)
			  : guest_read(space, addr, data, piece)) {
			for (piece = 8; piece > len || addr % piece; piece /= 2)
				;
			access_unit(request, addr, data, (unsigned int)piece, write);
		}
		addr += piece;
		data += piece;
		len -= piece;
	}
}

static void do_read(struct request *request)
{
	le64_t value = cpu_to_le64(0);
	uint64_t addr;

	if (!number(request, 1, true, &addr))
		return;
	access_unit(request, addr, &value, request->width, false);
	answer(request, "OK 0x%016" PRIx64, le64_to_cpu(value));
}

static void do_write(struct request *request)
{
	uint64_t addr, value;
	le64_t bytes;

	if (!number(request, 1, true, &addr) || !number(request, 2, true, &value))
		return;
	bytes = cpu_to_le64(value);
	access_unit(request, addr, &bytes, request->width, true);
	answer(request, "OK");
}

static void do_port(struct request *request)
{
	struct mem_space *space = request->accel->accel.space;
	bool write = request->words[0][0] == 'o';
	uint64_t port, value = 0;
	le64_t bytes;

	if (!number(request, 1, true, &port) || (write && !number(request, 2, true, &value)))
		return;
	if (port > 0xffff) {
		fail(request, "not a port", request->words[1]);
		return;
	}
	request->result = TEST_SETTLE;
	bytes = cpu_to_le64(value);
	if (write) {
		mem_space_io_write(space, IO_PORT, port, &bytes, request->width);
		answer(request, "OK");
		return;
	}
	mem_space_io_read(space, IO_PORT, port, &bytes, request->width);
	value = le64_to_cpu(bytes) & (0xffffffffULL >> (32 - 8 * request->width));
	answer(request, "OK 0x%04" PRIx64, value);
}

static bool range(struct request *request, uint64_t *addr, uint64_t *len)
{
	if (!number(request, 1, true, addr) || !number(request, 2, true, len))
		return false;
	if (*len && *len <= BULK_MAX && *addr + (*len - 1) >= *addr)
		return true;
	fail(request, "a length from 1 to 16 MiB below the end of memory is needed",
	     request->words[2]);
	return false;
}

static void do_bulk_read(struct request *request)
{
	bool base64 = request->words[0][0] == 'b';
	uint64_t addr, len;
	uint8_t *data;
	char *text, *to;

	if (!range(request, &addr, &len))
		return;
	data = xcalloc(1, len);
	access_bulk(request, addr, data, len, false);
	if (base64) {
		text = base64_encode(data, len);
		answer(request, "OK %s", text);
	} else {
		text = to = xcalloc(2, len + 1);
		for (uint64_t i = 0; i < len; i++) {
			*to++ = "0123456789abcdef"[data[i] >> 4];
			*to++ = "0123456789abcdef"[data[i] & 15];
		}
		answer(request, "OK 0x%s", text);
	}
	free(text);
	free(data);
}

static void do_bulk_write(struct request *request)
{
	bool base64 = request->words[0][0] == 'b';
	uint64_t addr, len;
	uint8_t *data;
	size_t have;

	if (!range(request, &addr, &len))
		return;
	data = base64 ? base64_bytes(request->words[3], &have)
		      : hex_bytes(request->words[3], &have);
	if (!data) {
		fail(request, "no such bytes", request->words[3]);
	} else if (have != len) {
		fail(request, "data of another length", request->words[2]);
	} else {
		access_bulk(request, addr, data, len, true);
		answer(request, "OK");
	}
	free(data);
}

static void do_memset(struct request *request)
{
	uint8_t *pattern = NULL, *data;
	uint64_t addr, len, value;
	size_t have = 1;

	if (!range(request, &addr, &len))
		return;
	if (request->dialect == TEST_DIALECT_QEMU) { /* one byte, as a number */
		if (!number(request, 3, true, &value))
			return;
		pattern = xcalloc(1, 1);
		*pattern = (uint8_t)value;
	} else {
		pattern = hex_bytes(request->words[3], &have);
	}
	if (!pattern || !have) {
		fail(request, "no such bytes", request->words[3]);
		free(pattern);
		return;
	}
	data = xcalloc(1, len);
	for (uint64_t i = 0; i < len; i++)
		data[i] = pattern[i % have];
	access_bulk(request, addr, data, len, true);
	answer(request, "OK");
	free(data);
	free(pattern);
}

/* --- Clock --- */

static bool time_word(struct request *request, int64_t *out)
{
	const char *text = request->words[1];
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 0);
	if (!errno && end != text && !*end && !isspace((unsigned char)*text))
		return true;
	fail(request, "not a time in nanoseconds", text);
	return false;
}

static void step_to(struct request *request, int64_t target)
{
	request->target = MAX(target, clock_now_ns());
	request->result = TEST_STEP;
}

static void do_clock_step(struct request *request)
{
	int64_t ns;

	if (request->count == 1) {
		step_to(request, test_next_deadline());
		return;
	}
	if (!time_word(request, &ns))
		return;
	if (ns > INT64_MAX / 2 - clock_now_ns())
		fail(request, "too far in the future", request->words[1]);
	else
		step_to(request, clock_now_ns() + MAX(ns, (int64_t)0));
}

static void do_clock_set(struct request *request)
{
	int64_t ns;

	if (!time_word(request, &ns))
		return;
	if (ns > INT64_MAX / 2)
		fail(request, "too far in the future", request->words[1]);
	else
		step_to(request, ns);
}

/* --- Interrupts --- */

static void do_query_msix(struct request *request)
{
	struct msi_message msg;
	uint64_t data;

	if (!number(request, 1, false, &msg.address) || !number(request, 2, false, &data))
		return;
	msg.data = (uint32_t)data;
	answer(request, "OK %s",
	       data <= UINT32_MAX && test_msi_take(request->accel, &msg) ? "TRUE" : "FALSE");
}

static void do_intx(struct request *request)
{
	bool (*ask)(struct test_accel *, uint32_t) =
		request->words[0][0] == 'q' ? test_irq_pending : test_irq_eoi;
	uint64_t irq;

	if (!number(request, 1, false, &irq))
		return;
	answer(request, "OK %s",
	       irq <= UINT32_MAX && ask(request->accel, (uint32_t)irq) ? "TRUE" : "FALSE");
	request->result = TEST_SETTLE; /* an EOI may wake somebody */
}

/* There is one place to listen at: the lines of the machine. A path is accepted for QEMU's clients.
 */
static void do_intercept(struct request *request)
{
	test_irq_record(request->accel);
	answer(request, "OK");
}

static void do_endianness(struct request *request)
{
	answer(request, "OK little");
}

/* --- The table --- */

static const struct command {
	const char *name;
	uint8_t words_min, words_max; /* the name counts */
	uint8_t width;
	void (*run)(struct request *request);
} commands[] = {
	{ "readb", 2, 2, 1, do_read },
	{ "readw", 2, 2, 2, do_read },
	{ "readl", 2, 2, 4, do_read },
	{ "readq", 2, 2, 8, do_read },
	{ "writeb", 3, 3, 1, do_write },
	{ "writew", 3, 3, 2, do_write },
	{ "writel", 3, 3, 4, do_write },
	{ "writeq", 3, 3, 8, do_write },
	{ "inb", 2, 2, 1, do_port },
	{ "inw", 2, 2, 2, do_port },
	{ "inl", 2, 2, 4, do_port },
	{ "outb", 3, 3, 1, do_port },
	{ "outw", 3, 3, 2, do_port },
	{ "outl", 3, 3, 4, do_port },
	{ "read", 3, 3, 0, do_bulk_read },
	{ "write", 4, 4, 0, do_bulk_write },
	{ "memset", 4, 4, 0, do_memset },
	{ "b64read", 3, 3, 0, do_bulk_read },
	{ "b64write", 4, 4, 0, do_bulk_write },
	{ "clock_step", 1, 2, 0, do_clock_step },
	{ "clock_set", 2, 2, 0, do_clock_set },
	{ "query_msix", 3, 3, 0, do_query_msix },
	{ "query_intx", 2, 2, 0, do_intx },
	{ "eoi_intx", 2, 2, 0, do_intx },
	{ "irq_intercept_in", 1, 2, 0, do_intercept },
	{ "endianness", 1, 1, 0, do_endianness },
};

static void run(struct request *request)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];

		if (strcmp(request->words[0], command->name))
			continue;
		request->width = command->width;
		if (request->count < command->words_min || request->count > command->words_max)
			answer(request, "FAIL %s: %u arguments are wrong", command->name,
			       request->count - 1);
		else
			command->run(request);
		return;
	}
	if (request->dialect == TEST_DIALECT_STRATOVIRT)
		answer(request, "Unsupported command: %.64s", request->words[0]);
	else
		answer(request, "FAIL Unknown command '%.64s'", request->words[0]);
}

enum test_outcome test_execute(struct test_accel *accel, enum test_dialect dialect, char *line,
			       struct test_reply *reply, int64_t *target)
{
	struct request request = { .accel = accel, .dialect = dialect, .result = TEST_ANSWERED };
	char *rest = NULL, *word;

	for (char *c = line; *c; c++)
		if (!isprint((
			    unsigned char)*c)) /* none of our words, and not for the reply either */
			*c = *c == '\t' ? ' ' : '?';
	for (word = strtok_r(line, " ", &rest); word && request.count < WORDS_MAX;
	     word = strtok_r(NULL, " ", &rest))
		request.words[request.count++] = word;
	if (!request.count)
		answer(&request, "FAIL an empty request");
	else
		run(&request);
	reply->text = request.reply;
	*target = request.target;
	return request.result;
}
