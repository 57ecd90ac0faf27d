/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test guests' library: results, console, strings, the command line, memory-mapped registers. x86_64.h and
 * aarch64/aarch64.h hold what the architectures have of their own.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- one test of the table in main.c ---- */

struct guest_test {
	const char *name;
	/* Returns when all it promises has been checked; CHECK() records what did not hold. */
	void (*run)(void);
};

/* ---- results (main.c) ---- */

/* Records and prints a failure; the guest's exit status says whether there was any. */
void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Ends the guest at once with the result so far. */
_Noreturn void test_end(void);
#define CHECK(cond) do { \
	if (!(cond)) \
		test_fail(__FILE__, __LINE__, "%s", #cond); \
} while (0)

#define CHECK_EQ(have, want) do { \
	u64 have_ = (have), want_ = (want); \
	if (have_ != want_) \
		test_fail(__FILE__, __LINE__, "%s is %#lx, not %#lx", #have, have_, want_); \
} while (0)

/* For what the rest of a test cannot go on without. */
#define REQUIRE(cond, ...) do { \
	if (!(cond)) { \
		test_fail(__FILE__, __LINE__, __VA_ARGS__); \
		test_end(); \
	} \
} while (0)

/* ---- console (console.c): first serial port ---- */

void vprint(const char *fmt, va_list ap);
/* %s %c %d %u %x %p with l, 0, width and #. A line is best written by one call. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- strings (string.c) ---- */

void *memset(void *dst, int c, size_t n);
void *memcpy(void *dst, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
/* Decimal or 0x-hexadecimal; *end is where it stopped. */
u64 parse_u64(const char *s, const char **end);

/* ---- what the VMM handed over (boot.c, cmdline.c) ---- */

void boot_init(void);
extern const char *boot_cmdline;
/* Where alloc() begins; the end of the program. */
extern char image_end[];
/* Set it to something before a reset; bss_canary_seen is what the next boot found on entry. */
extern u32 bss_canary, bss_canary_seen;
/* Value of "key=value" on the command line, in a static buffer; NULL when absent. */
const char *cmdline_get(const char *key);
u64 cmdline_get_u64(const char *key, u64 otherwise);
/*
 * Whether what only this project's VMM promises is to be held against it: "strict=0" on the
 * command line is for running the same guest on others.
 */
bool strict(void);
/* Walks occurrences: *pos starts NULL. Returns the text after "key=", not terminated. */
const char *cmdline_next(const char *key, const char **pos);

/* Zeroed memory that is never freed; align is a power of two. */
void *alloc(size_t size, size_t align);
/* Where the next allocations come from: any RAM below 8 GiB. */
void alloc_from(u64 address);

/* ---- memory-mapped registers ---- */

static inline u8 read8(u64 a) { return *(volatile u8 *)a; }
static inline u16 read16(u64 a) { return *(volatile u16 *)a; }
static inline u32 read32(u64 a) { return *(volatile u32 *)a; }
static inline u64 read64(u64 a) { return *(volatile u64 *)a; }
static inline void write8(u64 a, u8 v) { *(volatile u8 *)a = v; }
static inline void write16(u64 a, u16 v) { *(volatile u16 *)a = v; }
static inline void write32(u64 a, u32 v) { *(volatile u32 *)a = v; }
static inline void write64(u64 a, u64 v) { *(volatile u64 *)a = v; }

/* ---- time ---- */

/* A point that many milliseconds from now, for deadline_passed(). */
u64 deadline_ms(u32 ms);

/* Barriers, time, interrupts, CPUs, the ways out: different on each architecture. */
#ifdef __x86_64__
#include "x86_64.h"
#else
#include "../aarch64/aarch64.h"
#endif

#endif
