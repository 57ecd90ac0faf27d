// SPDX-License-Identifier: Apache-2.0
/*
 * Starting the other CPUs: INIT, then start-up IPIs, to all but self.
 */
#include "guest.h"

#define LAPIC_ICR_LOW		0x300
#define ICR_ALL_BUT_SELF	(3u << 18)
#define ICR_ASSERT		(1u << 14)
#define ICR_INIT		(5u << 8)
#define ICR_STARTUP		(6u << 8)

extern char trampoline[], trampoline_end[];
extern u8 tss_table[];
extern u64 gdt[];
extern char kstacks[];

static void (*smp_fn)(u32 index);
static volatile u32 smp_arrived;

static void tss_prepare(u32 cpu)
{
	u8 *tss = tss_table + cpu * 104;
	uintptr_t base = (uintptr_t)tss;
	u64 rsp0 = (uintptr_t)kstacks + (cpu + 1) * KSTACK_SIZE;

	memcpy(tss + 4, &rsp0, sizeof(rsp0));
	gdt[SEL_TSS0 / 8 + cpu * 2] = 0x0000890000000067 | (base & 0xffffff) << 16 |
				      (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS0 / 8 + cpu * 2 + 1] = base >> 32;
}

/* First ring-3 code of every CPU but the first. */
void smp_entry(u32 cpu)
{
	lapic_enable();
	__atomic_add_fetch(&smp_arrived, 1, __ATOMIC_SEQ_CST);
	smp_fn(cpu);
}

static void delay_us(u32 us)
{
	u64 end = rdtsc() + tsc_hz() / 1000000 * us;

	while (!deadline_passed(end))
		cpu_relax();
}

u32 smp_start(u32 expected, void (*fn)(u32 index))
{
	u64 deadline;
	u32 cpu;

	for (cpu = 1; cpu < CPU_MAX; cpu++)
		tss_prepare(cpu);
	memcpy((void *)TRAMPOLINE, trampoline, trampoline_end - trampoline);
	smp_fn = fn;
	full_barrier();

	lapic_write(LAPIC_ICR_LOW, ICR_ALL_BUT_SELF | ICR_ASSERT | ICR_INIT);
	delay_us(10000);
	lapic_write(LAPIC_ICR_LOW, ICR_ALL_BUT_SELF | ICR_ASSERT | ICR_STARTUP | TRAMPOLINE >> 12);
	delay_us(200);
	/* The second one reaches only a CPU that missed the first. */
	lapic_write(LAPIC_ICR_LOW, ICR_ALL_BUT_SELF | ICR_ASSERT | ICR_STARTUP | TRAMPOLINE >> 12);

	deadline = deadline_ms(5000);
	while (smp_arrived < expected && !deadline_passed(deadline))
		cpu_relax();
	return smp_arrived;
}

u32 smp_count(void)
{
	return smp_arrived;
}
