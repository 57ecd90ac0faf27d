// SPDX-License-Identifier: Apache-2.0
/*
 * GICv3, as a guest with one security state sees it (Arm IHI 0069).
 */
#include "../lib/guest.h"

#define GICD_CTLR	0x0000
#define GICD_IGROUPR	0x0080
#define GICD_ISENABLER	0x0100
#define GICD_ICENABLER	0x0180
#define GICD_ICPENDR	0x0280
#define GICD_ICFGR	0x0c00
#define GICD_IROUTER	0x6000
#define CTLR_ENABLE_GRP1 (1u << 1)
#define CTLR_ARE	(1u << 4)

#define GICR_TYPER	0x0008
#define GICR_WAKER	0x0014
#define GICR_IGROUPR0	0x10080
#define GICR_ISENABLER0	0x10100
#define GICR_FRAMES	0x20000
#define TYPER_LAST	(1u << 4)
#define WAKER_PROCESSOR_SLEEP (1u << 1)
#define WAKER_CHILDREN_ASLEEP (1u << 2)

#define INTID_SPECIAL	1020
#define SGI_IRM		(1ull << 40)

static volatile u32 counts[CPU_MAX][INTID_MAX];

void (*irq_hook)(u32 cpu, u32 intid);

volatile u32 *irq_counter(u32 cpu, u32 intid)
{
	return &counts[cpu][intid];
}

void gic_init(void)
{
	u32 i;

	for (i = 1; i < INTID_MAX / 32; i++) {
		write32(GICD_BASE + GICD_ICENABLER + i * 4, ~0u);
		write32(GICD_BASE + GICD_IGROUPR + i * 4, ~0u);
	}
	write32(GICD_BASE + GICD_CTLR, CTLR_ARE | CTLR_ENABLE_GRP1);
}

/* The frames of the CPU with this affinity, in either region. */
static u64 find_redistributor(u64 mpidr)
{
	static const u64 regions[] = { GICR_BASE, GICR2_BASE };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		u64 frame = regions[i], typer;

		do {
			typer = read64(frame + GICR_TYPER);
			if (typer == ~0ull) /* no such region */
				break;
			if (typer >> 32 == mpidr)
				return frame;
			frame += GICR_FRAMES;
		} while (!(typer & TYPER_LAST));
	}
	REQUIRE(false, "no redistributor says that it is of CPU %#lx", mpidr);
}

void gic_cpu_init(void)
{
	u64 frame = find_redistributor(read_sysreg(mpidr_el1) & 0xff00ffffffull);

	write32(frame + GICR_WAKER, read32(frame + GICR_WAKER) & ~WAKER_PROCESSOR_SLEEP);
	while (read32(frame + GICR_WAKER) & WAKER_CHILDREN_ASLEEP)
		cpu_relax();
	write32(frame + GICR_IGROUPR0, ~0u);
	write32(frame + GICR_ISENABLER0, 0xffff | 1u << INTID_PPI_VIRT_TIMER | 1u << INTID_PPI_PHYS_TIMER | 1u << INTID_PPI_PMU);
	write_sysreg(S3_0_C12_C12_5, 7);    /* ICC_SRE_EL1 */
	write_sysreg(S3_0_C4_C6_0, 0xff);   /* ICC_PMR_EL1 */
	write_sysreg(S3_0_C12_C12_7, 1);    /* ICC_IGRPEN1_EL1 */
}

void gic_spi(u32 intid, bool edge, bool on)
{
	u64 config = GICD_BASE + GICD_ICFGR + intid / 16 * 4;
	u32 bit = 2u << intid % 16 * 2;

	write32(GICD_BASE + GICD_ICENABLER + intid / 32 * 4, 1u << intid % 32);
	write32(config, edge ? read32(config) | bit : read32(config) & ~bit);
	write64(GICD_BASE + GICD_IROUTER + intid * 8, read_sysreg(mpidr_el1) & 0xff00ffffffull);
	if (on)
		write32(GICD_BASE + GICD_ISENABLER + intid / 32 * 4, 1u << intid % 32);
}

static void send(u64 value)
{
	full_barrier();
	write_sysreg(S3_0_C12_C11_5, value); /* ICC_SGI1R_EL1 */
}

void gic_send(u64 mpidr, u32 sgi)
{
	send((u64)sgi << 24 | (mpidr >> 16 & 0xff) << 32 | (mpidr >> 8 & 0xff) << 16 | 1ull << (mpidr & 0xf));
}

void gic_send_others(u32 sgi)
{
	send(SGI_IRM | (u64)sgi << 24);
}

void trap_irq(void)
{
	u32 intid = (u32)read_sysreg(S3_0_C12_C12_0); /* ICC_IAR1_EL1 */
	u32 cpu = this_cpu();

	if (intid >= INTID_SPECIAL)
		return;
	/* A timer's line is up until the timer is told. */
	if (intid == INTID_PPI_VIRT_TIMER)
		write_sysreg(cntv_ctl_el0, 3);
	if (intid == INTID_PPI_PHYS_TIMER)
		write_sysreg(cntp_ctl_el0, 3);
	if (intid < INTID_MAX)
		counts[cpu][intid]++;
	if (irq_hook)
		irq_hook(cpu, intid);
	full_barrier();
	write_sysreg(S3_0_C12_C12_1, intid); /* ICC_EOIR1_EL1 */
}

void wait_for_interrupt(u32 intid, u32 seen)
{
	volatile u32 *count = irq_counter(this_cpu(), intid);

	while (*count == seen) {
		/* Pending interrupts wake it up although they are masked here. */
		asm volatile("wfi\n\tmsr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
	}
}
