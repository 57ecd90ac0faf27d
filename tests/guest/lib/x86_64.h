/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86_64 guest: calls into ring 0, time, interrupts, CPUs. Included by guest.h.
 *
 * Test code runs in ring 3 with interrupts enabled. It may touch all memory and all memory-mapped
 * registers directly; port I/O, MSRs and CPUID go through kcall().
 */
#ifndef GUEST_X86_64_H
#define GUEST_X86_64_H

#include "layout.h"

/* Where virtio-mmio slots begin, and the interrupt of the first; looked at when the command line names none. */
#define VIRTIO_PLACES { 0xf0100000, 5 }, { 0xfeb00000, 16 }

#define DEBUG_EXIT_PORT 0x501
/* Ends the guest at once through the debug-exit port; the VMM's exit status is value * 2 + 1. */
_Noreturn void test_exit(u32 value);

/* ---- the machine (boot.c) ---- */

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

static inline void console_write(const char *text, u32 len)
{
	kcall(k_outsb, 0x3f8, (uintptr_t)text, len);
}

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
