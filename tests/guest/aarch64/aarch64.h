/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The aarch64 guest: PSCI, time, GICv3, CPUs. Included by guest.h. Everything runs at EL1, with an identity map: the first
 * GiB and what is from 510 GiB on are devices, the rest is memory. Interrupts are off but in wait_for_interrupt().
 */
#ifndef GUEST_AARCH64_H
#define GUEST_AARCH64_H

#include "layout.h"

/* Where virtio-mmio slots begin, and the SPI of the first. */
#define VIRTIO_PLACES { VIRTIO_BASE, VIRTIO_SPI }

static inline void cpu_relax(void) { asm volatile("yield" ::: "memory"); }
static inline void barrier(void) { asm volatile("dmb ish" ::: "memory"); }
static inline void full_barrier(void) { asm volatile("dsb sy" ::: "memory"); }

#define read_sysreg(name) ({						\
	u64 value_;							\
	asm volatile("mrs %0, " #name : "=r"(value_) :: "memory");	\
	value_;								\
})
#define write_sysreg(name, value) \
	asm volatile("msr " #name ", %0\n\tisb" :: "r"((u64)(value)) : "memory")

/* ---- console, start and end (boot.c) ---- */

void console_write(const char *text, u32 len);
/* First address after the RAM; what is just above it is not RAM. */
u64 boot_low_ram_end(void);
/* SCTLR_EL1 and DAIF as they were when the first CPU was entered, and its x0. */
extern u64 entry_sctlr, entry_daif, entry_fdt;

/* ---- PSCI (Arm DEN 0022), by HVC ---- */

#define PSCI_VERSION		0x84000000
#define PSCI_CPU_OFF		0x84000002
#define PSCI_SYSTEM_OFF		0x84000008
#define PSCI_SYSTEM_RESET	0x84000009
#define PSCI_FEATURES		0x8400000a
#define PSCI_CPU_SUSPEND	0xc4000001
#define PSCI_CPU_ON		0xc4000003
#define PSCI_AFFINITY_INFO	0xc4000004
#define PSCI_SYSTEM_RESET2	0xc4000012

#define PSCI_NOT_SUPPORTED	(-1)
#define PSCI_INVALID_PARAMETERS	(-2)
#define PSCI_ALREADY_ON		(-4)
#define PSCI_AFFINITY_ON	0
#define PSCI_AFFINITY_OFF	1

int64_t psci(u64 function, u64 a, u64 b, u64 c);

/* Other services by the same call: Arm DEN 0028 and DEN 0057A. */
#define SMCCC_ARCH_FEATURES	0x80000001
#define SMCCC_PV_TIME_FEATURES	0xc5000020
#define SMCCC_PV_TIME_ST	0xc5000021

/* ---- time: the virtual counter and its timer ---- */

static inline u64 ticks(void)
{
	asm volatile("isb" ::: "memory");
	return read_sysreg(cntvct_el0);
}

static inline bool deadline_passed(u64 deadline) { return (int64_t)(ticks() - deadline) >= 0; }

/* ---- interrupts (gic.c): INTIDs as of Arm IHI 0069, 2.2 ---- */

#define INTID_PPI_PHYS_TIMER	30
#define INTID_PPI_VIRT_TIMER	27
#define INTID_PPI_PMU		23
#define INTID_SPI(n)		(32 + (n))
#define INTID_MAX		192

void gic_init(void);	 /* the distributor, once */
void gic_cpu_init(void); /* this CPU's redistributor and interface; its SGIs, timers and PMU are on */
/* An SPI to this CPU, edge-triggered or by its level; off. */
void gic_spi(u32 intid, bool edge, bool on);
/* SGI to one CPU, and to all but this one. */
void gic_send(u64 mpidr, u32 sgi);
void gic_send_others(u32 sgi);
/* Interrupts with this number that CPU @cpu took since the start. */
volatile u32 *irq_counter(u32 cpu, u32 intid);
/* Called at an interrupt, before it is ended; silences a level. */
extern void (*irq_hook)(u32 cpu, u32 intid);
/* Sleeps until this CPU's counter differs from @seen. */
void wait_for_interrupt(u32 intid, u32 seen);

/* ---- CPUs (smp.c) ---- */

/* How KVM numbers them. */
static inline u64 cpu_mpidr(u32 cpu)
{
	return (cpu & 0xf) | (u64)(cpu >> 4 & 0xff) << 8 | (u64)(cpu >> 12) << 16;
}

static inline u32 this_cpu(void) { return read_sysreg(tpidr_el1); }
/* Turns a CPU on, which runs fn(cpu) and then turns itself off. PSCI's answer. */
int64_t cpu_start(u32 cpu, void (*fn)(u32 cpu));
/* Waits until PSCI says that it is off. */
void cpu_wait_off(u32 cpu);

/* ---- exceptions (trap.c) ---- */

/* What the last tolerated abort of an access was; see try_access. */
struct abort_info {
	u64 esr, far;
};
/* Runs fn(arg); an abort of an access skips the instruction and is told. False: there was none. */
bool tolerate_abort(void (*fn)(u64 arg), u64 arg, struct abort_info *info);

/* C side of start.S */
_Noreturn void guest_main(u64 fdt);
_Noreturn void cpu_main(u32 cpu);
void trap_irq(void);
u64 trap_sync(u64 elr);

#endif
