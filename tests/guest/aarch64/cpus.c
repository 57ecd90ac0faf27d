// SPDX-License-Identifier: Apache-2.0
/*
 * CPUs: what the first one starts with, PSCI, software-generated interrupts, timers, what a reset leaves.
 */
#include "../lib/virtio.h"
#include "tests_aarch64.h"

#define SGI_PING 3
#define SGI_PONG 4
#define SGI_ALL 5

/* booting.rst, "Call the kernel image": EL1, caches and translation off, interrupts masked, x0 = the tree. */
void test_arm_hello(void)
{
	print("hello from EL%lu, MPIDR %#lx\ncmdline: %s\n", read_sysreg(CurrentEL) >> 2, read_sysreg(mpidr_el1), boot_cmdline);
	CHECK_EQ(read_sysreg(CurrentEL) >> 2, 1);
	CHECK_EQ(read_sysreg(mpidr_el1) & 0xff00ffffff, 0);
	CHECK_EQ(entry_sctlr & 0x1005, 0);
	CHECK_EQ(entry_daif, 0x3c0);
	CHECK_EQ(entry_fdt % 8, 0);
	if (cmdline_get("memory"))
		CHECK_EQ(boot_low_ram_end(), 0x40000000 + (cmdline_get_u64("memory", 0) << 20));
}

/* --- PSCI --- */

static volatile u32 runs;

static void run_once(u32 cpu)
{
	CHECK_EQ(read_sysreg(mpidr_el1) & 0xff00ffffff, cpu_mpidr(cpu));
	__atomic_add_fetch(&runs, 1, __ATOMIC_SEQ_CST);
	while (*irq_counter(cpu, SGI_PING) < runs)
		wait_for_interrupt(SGI_PING, *irq_counter(cpu, SGI_PING));
}

static void wait_runs(u32 count)
{
	u64 deadline = deadline_ms(10000);

	while (runs != count)
		REQUIRE(!deadline_passed(deadline), "CPU 1 did not come up for the %uth time", count);
}

/* A standby state: the call returns when an interrupt is pending; a host's signal may make it return before, now and then. */
static void suspend(void)
{
	u32 seen = *irq_counter(0, INTID_PPI_VIRT_TIMER);
	u64 due = ticks() + read_sysreg(cntfrq_el0) / 20;
	u32 i;

	write_sysreg(cntv_cval_el0, due);
	write_sysreg(cntv_ctl_el0, 1);
	for (i = 0; i < 3 && ticks() < due; i++)
		CHECK_EQ(psci(PSCI_CPU_SUSPEND, 0, 0, 0), 0);
	CHECK(ticks() >= due);
	CHECK_EQ(*irq_counter(0, INTID_PPI_VIRT_TIMER), seen);
	wait_for_interrupt(INTID_PPI_VIRT_TIMER, seen);
}

void test_arm_psci(void)
{
	int64_t version = psci(PSCI_VERSION, 0, 0, 0);
	u32 round;

	print("PSCI %u.%u\n", (u32)(version >> 16), (u32)(version & 0xffff));
	CHECK(version >= 0x10000);
	CHECK_EQ(psci(PSCI_FEATURES, PSCI_CPU_ON, 0, 0), 0);
	CHECK_EQ(psci(PSCI_FEATURES, PSCI_CPU_SUSPEND, 0, 0), 0);
	CHECK_EQ((int)psci(PSCI_FEATURES, 0x84001234, 0, 0), PSCI_NOT_SUPPORTED);
	CHECK_EQ((int)psci(0x84001234, 0, 0, 0), PSCI_NOT_SUPPORTED);
	CHECK_EQ((int)psci(PSCI_CPU_ON, 0xff00ff, 0x40200000, 0), PSCI_INVALID_PARAMETERS);
	CHECK_EQ((int)psci(PSCI_CPU_ON, cpu_mpidr(0), 0x40200000, 0), PSCI_ALREADY_ON);
	CHECK_EQ(psci(PSCI_AFFINITY_INFO, cpu_mpidr(1), 0, 0), PSCI_AFFINITY_OFF);
	for (round = 1; round <= 3; round++) {
		CHECK_EQ(cpu_start(1, run_once), 0);
		wait_runs(round);
		CHECK_EQ(psci(PSCI_AFFINITY_INFO, cpu_mpidr(1), 0, 0), PSCI_AFFINITY_ON);
		CHECK_EQ((int)cpu_start(1, run_once), PSCI_ALREADY_ON);
		gic_send(cpu_mpidr(1), SGI_PING);
		cpu_wait_off(1);
	}
	suspend();
	suspend();
}

/* --- SGIs --- */

static volatile u32 arrived;

static void other_cpu_main(u32 cpu)
{
	CHECK_EQ(read_sysreg(mpidr_el1) & 0xff00ffffff, cpu_mpidr(cpu));
	__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	wait_for_interrupt(SGI_PING, 0);
	gic_send(cpu_mpidr(0), SGI_PONG);
	/* Awake, with interrupts off: it is taken as soon as they are on. */
	wait_for_interrupt(SGI_ALL, 0);
	__atomic_sub_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
}

void test_arm_smp(void)
{
	u32 n = cmdline_get_u64("cpus", 2), i, j, seen;
	u64 deadline;

	REQUIRE(n <= CPU_MAX, "at most %u CPUs", CPU_MAX);
	for (i = 1; i < n; i++)
		REQUIRE(!cpu_start(i, other_cpu_main), "PSCI does not turn CPU %u on", i);
	CHECK_EQ((int)psci(PSCI_CPU_ON, cpu_mpidr(n), 0x40200000, n), PSCI_INVALID_PARAMETERS);
	deadline = deadline_ms(10000);
	while (arrived < n - 1)
		REQUIRE(!deadline_passed(deadline), "%u of %u other CPUs came up", arrived, n - 1);
	for (i = 1; i < n; i++) {
		seen = *irq_counter(0, SGI_PONG);
		gic_send(cpu_mpidr(i), SGI_PING);
		wait_for_interrupt(SGI_PONG, seen);
		CHECK_EQ(*irq_counter(0, SGI_PONG), i);
		CHECK_EQ(*irq_counter(i, SGI_PING), 1);
		/* And nobody else. */
		for (j = i + 1; j < n; j++)
			CHECK_EQ(*irq_counter(j, SGI_PING), 0);
	}
	gic_send_others(SGI_ALL);
	for (i = 1; i < n; i++) {
		cpu_wait_off(i);
		CHECK_EQ(*irq_counter(i, SGI_ALL), 1);
	}
	CHECK_EQ(arrived, 0);
	CHECK_EQ(*irq_counter(0, SGI_ALL), 0);
	print("%u CPUs, the last one %#lx\n", n, cpu_mpidr(n - 1));
}

/* --- timers --- */

void test_arm_timer(void)
{
	u64 hz = read_sysreg(cntfrq_el0), due;
	u32 i;

	print("counter: %lu Hz\n", hz);
	CHECK(hz >= 1000000);
	for (i = 0; i < 20; i++) {
		due = ticks() + hz / 100;
		write_sysreg(cntv_cval_el0, due);
		write_sysreg(cntv_ctl_el0, 1);
		wait_for_interrupt(INTID_PPI_VIRT_TIMER, i);
		CHECK(ticks() >= due);
		CHECK_EQ(*irq_counter(0, INTID_PPI_VIRT_TIMER), i + 1);
	}
	for (i = 0; i < 5; i++) {
		due = read_sysreg(cntpct_el0) + hz / 100;
		write_sysreg(cntp_cval_el0, due);
		write_sysreg(cntp_ctl_el0, 1);
		wait_for_interrupt(INTID_PPI_PHYS_TIMER, i);
		CHECK(read_sysreg(cntpct_el0) >= due);
	}
	/* Masked at the timer, it does not come; the condition shows. */
	write_sysreg(cntv_ctl_el0, 3);
	write_sysreg(cntv_cval_el0, 0);
	CHECK_EQ(read_sysreg(cntv_ctl_el0), 7);
	asm volatile("msr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
	CHECK_EQ(*irq_counter(0, INTID_PPI_VIRT_TIMER), 20);
}

/* --- what the CPU has --- */

static void clear_overflow(u32 cpu, u32 intid)
{
	(void)cpu;
	if (intid == INTID_PPI_PMU)
		write_sysreg(pmovsclr_el0, 1);
}

/* Events that software makes are counted by KVM itself; the counter overflows twice. */
static void overflow(void)
{
	u32 i;

	write_sysreg(pmcr_el0, read_sysreg(pmcr_el0) | 1);
	write_sysreg(pmevtyper0_el0, 0); /* SW_INCR */
	write_sysreg(pmovsclr_el0, ~0u);
	write_sysreg(pmintenset_el1, 1);
	write_sysreg(pmcntenset_el0, 1);
	irq_hook = clear_overflow;
	for (i = 0; i < 2; i++) {
		write_sysreg(pmevcntr0_el0, 0xfffffffe);
		write_sysreg(pmswinc_el0, 1);
		asm volatile("msr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
		CHECK_EQ(*irq_counter(0, INTID_PPI_PMU), i);
		write_sysreg(pmswinc_el0, 1);
		wait_for_interrupt(INTID_PPI_PMU, i);
		CHECK_EQ(*irq_counter(0, INTID_PPI_PMU), i + 1);
		CHECK_EQ(read_sysreg(pmevcntr0_el0), 0);
	}
	write_sysreg(pmcntenclr_el0, 1);
	irq_hook = NULL;
}

void test_arm_pmu(void)
{
	u64 version = read_sysreg(id_aa64dfr0_el1) >> 8 & 0xf;

	print("PMU version %lu, SVE %lu\n", version, read_sysreg(id_aa64pfr0_el1) >> 32 & 0xf);
	if (version)
		overflow();
}

static void linger(u32 cpu)
{
	(void)cpu;
	__atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
	for (;;)
		cpu_relax();
}

/* --- stolen time (DEN0057A §3.2) --- */

struct stolen_time {
	u32 revision, attributes;
	u64 ns;
};

#define STOLEN_TIME_SIZE 64

static volatile u64 stolen_at[CPU_MAX];

static void find_stolen_time(u32 cpu)
{
	stolen_at[cpu] = psci(SMCCC_PV_TIME_ST, 0, 0, 0);
	linger(cpu);
}

/* More CPUs than the host has, all busy: each has to wait for the others now and then. */
void test_arm_steal(void)
{
	const volatile struct stolen_time *stolen;
	u32 n = cmdline_get_u64("cpus", 2), i;
	u64 deadline = deadline_ms(60000);

	if ((int)psci(SMCCC_ARCH_FEATURES, SMCCC_PV_TIME_FEATURES, 0, 0) == PSCI_NOT_SUPPORTED ||
	    psci(SMCCC_PV_TIME_FEATURES, SMCCC_PV_TIME_ST, 0, 0)) {
		CHECK_EQ(psci(SMCCC_PV_TIME_ST, 0, 0, 0), PSCI_NOT_SUPPORTED);
		print("no stolen time\n");
		return;
	}
	stolen_at[0] = psci(SMCCC_PV_TIME_ST, 0, 0, 0);
	for (i = 1; i < n; i++)
		REQUIRE(!cpu_start(i, find_stolen_time), "PSCI does not turn CPU %u on", i);
	while (arrived < n - 1)
		REQUIRE(!deadline_passed(deadline), "%u of %u other CPUs came up", arrived, n - 1);
	for (i = 0; i < n; i++) {
		stolen = (void *)stolen_at[i];
		CHECK_EQ(stolen_at[i], stolen_at[0] + i * STOLEN_TIME_SIZE);
		CHECK_EQ(stolen->revision, 0);
		CHECK_EQ(stolen->attributes, 0);
		while (!stolen->ns) {
			/* Mapped as a device's here, and in a cache there. */
			asm volatile("dc civac, %0\n\tdsb sy" :: "r"(stolen) : "memory");
			REQUIRE(!deadline_passed(deadline), "CPU %u never had to wait", i);
		}
	}
	print("stolen time at %#lx\n", stolen_at[0]);
}

/* --- reset --- */

/* Nothing is left of what ran before. */
void test_arm_after_reset(void)
{
	u32 i;

	CHECK_EQ(entry_sctlr & 0x1005, 0);
	CHECK_EQ(entry_daif, 0x3c0);
	CHECK_EQ(read_sysreg(cntv_ctl_el0) & 1, 0);
	CHECK_EQ(read32(GICD_BASE) & 3, 0);
	for (i = 1; i < INTID_MAX / 32; i++) {
		CHECK_EQ(read32(GICD_BASE + 0x100 + i * 4), 0);	/* enabled */
		CHECK_EQ(read32(GICD_BASE + 0x200 + i * 4), 0);	/* pending */
		CHECK_EQ(read32(GICD_BASE + 0x300 + i * 4), 0);	/* active */
	}
	for (i = 32; i < INTID_MAX; i += 4)
		CHECK_EQ(read32(GICD_BASE + 0x400 + i), 0);
	CHECK_EQ(read32(GICR_BASE + 0x10100) & 0xffff0000, 0);
	CHECK_EQ(read32(GICR_BASE + 0x10200), 0);
	CHECK_EQ(read_sysreg(S3_0_C12_C12_7), 0);
	CHECK_EQ(read_sysreg(S3_0_C4_C6_0), 0);
	CHECK_EQ(psci(PSCI_AFFINITY_INFO, cpu_mpidr(1), 0, 0), PSCI_AFFINITY_OFF);
}

/*
 * Boots `boots` times (3). The count is kept on the disk, in its last sector, which the runner clears. The last boot but one
 * leaves by SYSTEM_RESET2 where KVM has it, all others by SYSTEM_RESET.
 */
void test_arm_reset(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	u64 boots = cmdline_get_u64("boots", 3), last, count, deadline;
	static u8 sector[512];
	static struct virtq vq;

	CHECK_EQ(virtio_status(dev), 0);
	write32(dev->base + VM_QUEUE_SEL, 0);
	CHECK_EQ(read32(dev->base + VM_QUEUE_READY), 0);
	blk_start(dev, &vq, BLK_F_FLUSH, 16);
	last = blk_capacity(dev) - 1;
	REQUIRE(blk_do(&vq, BLK_T_IN, last, sector, 512, 0, NULL) == BLK_S_OK, "cannot read");
	memcpy(&count, sector, 8);
	count++;
	print("boot number %lu\n", count);
	memcpy(sector, &count, 8);
	REQUIRE(blk_do(&vq, BLK_T_OUT, last, sector, 512, 0, NULL) == BLK_S_OK, "cannot write");
	REQUIRE(blk_do(&vq, BLK_T_FLUSH, 0, NULL, 0, 0, NULL) == BLK_S_OK, "cannot flush");
	if (count >= boots)
		return;
	/* Left behind: a CPU that runs, a timer whose interrupt waits, SPIs that are on, pending and urgent, a live queue. */
	REQUIRE(!cpu_start(1, linger), "PSCI does not turn CPU 1 on");
	deadline = deadline_ms(10000);
	while (!arrived)
		REQUIRE(!deadline_passed(deadline), "CPU 1 did not come up");
	gic_spi(INTID_SPI(100), true, true);
	write32(GICD_BASE + 0x400 + INTID_SPI(100), 0x80808080);
	write32(GICD_BASE + 0x200 + INTID_SPI(100) / 32 * 4, 1u << INTID_SPI(100) % 32);
	write_sysreg(cntv_cval_el0, 0);
	write_sysreg(cntv_ctl_el0, 1);
	if (count + 1 == boots && !psci(PSCI_FEATURES, PSCI_SYSTEM_RESET2, 0, 0))
		psci(PSCI_SYSTEM_RESET2, 0, 0, 0);
	psci(PSCI_SYSTEM_RESET, 0, 0, 0);
	REQUIRE(false, "the machine goes on after a reset");
}
