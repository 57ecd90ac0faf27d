/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test guest's library: console, calls into ring 0, time, interrupts, CPUs.
 *
 * Test code runs in ring 3 with interrupts enabled. It may touch all memory and all memory-mapped
 * registers directly; port I/O, MSRs and CPUID go through kcall().
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

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
#define DEBUG_EXIT_PORT 0x501
/* Ends the guest at once through the debug-exit port; the VMM's exit status is value * 2 + 1. */
_Noreturn void test_exit(u32 value);

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

/* ---- what the VMM handed over (boot.c) ---- */

void boot_init(void);
extern const char *boot_cmdline;
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

struct boot_range {
	u64 start, size;
	u32 type;		/* 1 is RAM */
	u32 reserved;
};
/* Entries of the memory map; 0 when the VMM gave none. */
u32 boot_memmap(const struct boot_range **map);
/* First address after the RAM that begins at 1 MiB; what is just above it is not RAM. */
u64 boot_low_ram_end(void);
u64 boot_rsdp(void);

/* Zeroed memory that is never freed; align is a power of two. */
void *alloc(size_t size, size_t align);
/* Where the next allocations come from: any RAM below 8 GiB. */
void alloc_from(u64 address);

/* ---- ring 0 (trap.S) ---- */

static inline u64 kcall(const void *fn, u64 a, u64 b, u64 c)
{
	u64 ret = (uintptr_t)fn;

	asm volatile(".byte %c[insn]"
		     : "+a"(ret), "+D"(a), "+S"(b), "+d"(c)
		     : [insn] "i"(INSN_KCALL)
		     : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
	return ret;
}

/* Only their addresses are of use. */
extern const char k_inb[], k_inw[], k_inl[], k_outb[], k_outw[], k_outl[], k_outsb[], k_insb[];
extern const char k_rdmsr[], k_wrmsr[], k_cpuid[], k_lidt[], k_halt[], k_int3[];

static inline u8 inb(u16 port) { return kcall(k_inb, port, 0, 0); }
static inline u16 inw(u16 port) { return kcall(k_inw, port, 0, 0); }
static inline u32 inl(u16 port) { return kcall(k_inl, port, 0, 0); }
static inline void outb(u16 port, u8 v) { kcall(k_outb, port, v, 0); }
static inline void outw(u16 port, u16 v) { kcall(k_outw, port, v, 0); }
static inline void outl(u16 port, u32 v) { kcall(k_outl, port, v, 0); }
static inline u64 rdmsr(u32 msr) { return kcall(k_rdmsr, msr, 0, 0); }
static inline void wrmsr(u32 msr, u64 v) { kcall(k_wrmsr, msr, v, 0); }

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid_regs r;

	kcall(k_cpuid, leaf, subleaf, (uintptr_t)&r);
	return r;
}

/* Installs the handlers; called once, before anything can fault. */
void trap_init(void);

/* ---- memory-mapped registers ---- */

static inline u8 read8(u64 a) { return *(volatile u8 *)a; }
static inline u16 read16(u64 a) { return *(volatile u16 *)a; }
static inline u32 read32(u64 a) { return *(volatile u32 *)a; }
static inline u64 read64(u64 a) { return *(volatile u64 *)a; }
static inline void write8(u64 a, u8 v) { *(volatile u8 *)a = v; }
static inline void write16(u64 a, u16 v) { *(volatile u16 *)a = v; }
static inline void write32(u64 a, u32 v) { *(volatile u32 *)a = v; }
static inline void write64(u64 a, u64 v) { *(volatile u64 *)a = v; }

static inline void cpu_relax(void) { asm volatile("pause" ::: "memory"); }
static inline void barrier(void) { asm volatile("" ::: "memory"); }
static inline void full_barrier(void) { asm volatile("mfence" ::: "memory"); }

/* ---- time (time.c) ---- */

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

void time_init(void);
/* Ticks of rdtsc() in a second, and where that number came from. */
u64 tsc_hz(void);
const char *tsc_source(void);
u64 tsc_to_us(u64 ticks);
/* A point that many milliseconds from now, for deadline_passed(). */
u64 deadline_ms(u32 ms);
static inline bool deadline_passed(u64 deadline) { return (int64_t)(rdtsc() - deadline) >= 0; }

/* ---- interrupts (apic.c) ---- */

#define VEC_TICK	0xe0
#define VEC_SPURIOUS	0xff

/* Turns this CPU's local APIC on. */
void lapic_enable(void);
u32 lapic_id(void);
u32 lapic_read(u32 reg);
void lapic_write(u32 reg, u32 value);
/* Fixed-delivery interrupt to the CPU with this APIC id. */
void lapic_send_ipi(u32 apic_id, u8 vector);
/* Periodic interrupt VEC_TICK on this CPU; 0 stops it. */
void lapic_tick(u32 period_us);

/* Routes an IOAPIC input, edge-triggered, active high, to this CPU. */
void ioapic_route(u32 gsi, u8 vector);
void ioapic_mask(u32 gsi);
u32 ioapic_read(u32 reg);

/* Interrupts with this vector that CPU number `cpu` took since the start. */
volatile u32 *irq_counter(u32 cpu, u8 vector);
/*
 * Sleeps in hlt until this CPU's counter of the vector differs from `seen`, or the time is up;
 * returns whether it differs. lapic_tick() must run on it, to notice that the time is up.
 */
bool irq_wait(u32 cpu, u8 vector, u32 seen, u32 timeout_ms);

/* ---- CPUs (smp.c) ---- */

/*
 * Starts the other CPUs: each runs fn(index) in ring 3, index 1 and up in order of arrival, and
 * then sleeps with interrupts off. Returns how many arrived of `expected` within the time limit.
 */
u32 smp_start(u32 expected, void (*fn)(u32 index));
/* How many have arrived so far. */
u32 smp_count(void);

/* C side of start.S and trap.S */
_Noreturn void guest_entry(u32 cpu);
void smp_entry(u32 cpu);
_Noreturn void trap_fatal(const u64 *frame, u64 cr2);

#endif
