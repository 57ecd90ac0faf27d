// SPDX-License-Identifier: Apache-2.0
/*
 * Local APIC and IOAPIC, through their memory-mapped registers.
 */
#include "guest.h"

#define LAPIC_ID	0x20
#define LAPIC_TPR	0x80
#define LAPIC_SVR	0xf0
#define LAPIC_ICR_LOW	0x300
#define LAPIC_ICR_HIGH	0x310
#define LAPIC_LVT_TIMER	0x320
#define LAPIC_LVT_LINT0	0x350
#define LAPIC_TIMER_INIT 0x380
#define LAPIC_TIMER_DIV	0x3e0

#define LVT_MASKED	(1u << 16)
#define LVT_PERIODIC	(1u << 17)
#define ICR_PENDING	(1u << 12)

#define IOAPIC_REDIR(n)	(0x10 + 2 * (n))

extern char kstacks[];

u32 lapic_read(u32 reg)
{
	return read32(LAPIC_BASE + reg);
}

void lapic_write(u32 reg, u32 value)
{
	write32(LAPIC_BASE + reg, value);
}

void lapic_enable(void)
{
	lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
	lapic_write(LAPIC_TPR, 0);
	lapic_write(LAPIC_SVR, 0x100 | VEC_SPURIOUS);
}

u32 lapic_id(void)
{
	return lapic_read(LAPIC_ID) >> 24;
}

void lapic_send_ipi(u32 apic_id, u8 vector)
{
	while (lapic_read(LAPIC_ICR_LOW) & ICR_PENDING)
		cpu_relax();
	lapic_write(LAPIC_ICR_HIGH, apic_id << 24);
	lapic_write(LAPIC_ICR_LOW, vector);
}

void lapic_tick(u32 period_us)
{
	if (!period_us) {
		lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
		lapic_write(LAPIC_TIMER_INIT, 0);
		return;
	}
	lapic_write(LAPIC_TIMER_DIV, 0xb);	/* by 1: KVM's timer bus runs at 1 GHz */
	lapic_write(LAPIC_LVT_TIMER, LVT_PERIODIC | VEC_TICK);
	lapic_write(LAPIC_TIMER_INIT, period_us * 1000);
}

u32 ioapic_read(u32 reg)
{
	write32(IOAPIC_BASE, reg);
	return read32(IOAPIC_BASE + 0x10);
}

static void ioapic_write(u32 reg, u32 value)
{
	write32(IOAPIC_BASE, reg);
	write32(IOAPIC_BASE + 0x10, value);
}

void ioapic_route(u32 gsi, u8 vector)
{
	ioapic_write(IOAPIC_REDIR(gsi), LVT_MASKED);
	ioapic_write(IOAPIC_REDIR(gsi) + 1, lapic_id() << 24);
	ioapic_write(IOAPIC_REDIR(gsi), vector);
}

void ioapic_mask(u32 gsi)
{
	ioapic_write(IOAPIC_REDIR(gsi), LVT_MASKED);
}

volatile u32 *irq_counter(u32 cpu, u8 vector)
{
	return (volatile u32 *)(kstacks + cpu * KSTACK_SIZE) + vector;
}

bool irq_wait(u32 cpu, u8 vector, u32 seen, u32 timeout_ms)
{
	volatile u32 *counter = irq_counter(cpu, vector);
	u64 deadline = deadline_ms(timeout_ms);

	while (*counter == seen) {
		const volatile u32 *p = counter;
		u32 s = seen;

		if (deadline_passed(deadline))
			return false;
		asm volatile(".byte %c[insn]"
			     : "+D"(p), "+S"(s)
			     : [insn] "i"(INSN_WAIT)
			     : "rax", "r11", "memory", "cc");
	}
	return true;
}
