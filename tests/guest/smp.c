// SPDX-License-Identifier: Apache-2.0
/*
 * CPUs: INIT and start-up IPIs, APIC ids, interrupts between them; and what CPUID says.
 * On the command line: cpus=N, and for cpuid also sockets=, cores=, threads=.
 */
#include "tests.h"

#define VEC_PING	0x61
#define VEC_PONG	0x62

static struct {
	u32 apic_id, leaf1, leafb;
	volatile u32 ready;
} cpus[CPU_MAX];

static volatile u32 boot_apic_id;

static void cpu_look(u32 index)
{
	cpus[index].apic_id = lapic_id();
	cpus[index].leaf1 = cpuid(1, 0).ebx >> 24;
	cpus[index].leafb = cpuid(0xb, 0).edx;
	full_barrier();
	cpus[index].ready = 1;
}

static void other_cpu(u32 index)
{
	cpu_look(index);
	/* Twice: once asleep in hlt, once running. */
	irq_wait(index, VEC_PING, 0, 10000);
	lapic_send_ipi(boot_apic_id, VEC_PONG);
	while (*irq_counter(index, VEC_PING) < 2)
		cpu_relax();
	lapic_send_ipi(boot_apic_id, VEC_PONG);
}

void test_smp(void)
{
	u32 n = cmdline_get_u64("cpus", 2), arrived, i, j;
	volatile u32 *pongs = irq_counter(0, VEC_PONG);

	REQUIRE(n <= CPU_MAX, "at most %u CPUs", CPU_MAX);
	lapic_tick(5000);
	boot_apic_id = lapic_id();
	cpu_look(0);
	arrived = smp_start(n - 1, other_cpu);
	REQUIRE(arrived == n - 1, "%u of %u other CPUs came up", arrived, n - 1);

	for (i = 0; i < n; i++) {
		u64 deadline = deadline_ms(5000);

		while (!cpus[i].ready)
			REQUIRE(!deadline_passed(deadline), "CPU %u is stuck", i);
		print("cpu %u: APIC id %u, leaf 1 %u, leaf 0xb %u\n", i, cpus[i].apic_id,
		      cpus[i].leaf1, cpus[i].leafb);
		CHECK_EQ(cpus[i].leaf1, cpus[i].apic_id);
		CHECK_EQ(cpus[i].leafb, cpus[i].apic_id);
		for (j = 0; j < i; j++)
			CHECK(cpus[i].apic_id != cpus[j].apic_id);
	}
	for (i = 1; i < n; i++) {
		u32 round, seen;

		for (round = 1; round <= 2; round++) {
			u64 start = rdtsc();

			seen = *pongs;
			lapic_send_ipi(cpus[i].apic_id, VEC_PING);
			REQUIRE(irq_wait(0, VEC_PONG, seen, 5000),
				"CPU %u does not answer interrupt %u", i, round);
			print("cpu %u answers in %lu us\n", i, tsc_to_us(rdtsc() - start));
			CHECK_EQ(*irq_counter(i, VEC_PING), round);
		}
	}
	CHECK_EQ(*irq_counter(0, VEC_PING), 0);
	CHECK_EQ(*pongs, 2 * (n - 1));
	/* Nobody but those asked for. */
	CHECK_EQ(smp_count(), n - 1);
}

static u32 bits_for(u32 n)
{
	u32 bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

void test_cpuid(void)
{
	u32 threads = cmdline_get_u64("threads", 1), cores = cmdline_get_u64("cores", 1);
	u32 max = cpuid(0, 0).eax, level;
	struct cpuid_regs r;
	char sig[13] = "";

	r = cpuid(1, 0);
	CHECK(r.ecx & 1u << 31);	/* hypervisor */
	CHECK(r.ecx & 1u << 21);	/* x2APIC */
	CHECK(r.edx & 1u << 9);		/* local APIC */
	if (threads * cores > 1) {
		CHECK(r.edx & 1u << 28);	/* more than one logical CPU in the package */
		CHECK((r.ebx >> 16 & 0xff) >= threads * cores);
	}

	r = cpuid(0x40000000, 0);
	memcpy(sig, &r.ebx, 12);
	print("hypervisor leaf: max %#x, \"%s\"\n", r.eax, sig);
	CHECK(!memcmp(sig, "KVMKVMKVM\0\0\0", 12));
	CHECK(r.eax >= 0x40000001);
	r = cpuid(0x40000001, 0);
	CHECK(r.eax & 1u << 3);		/* kvmclock with the new MSRs */

	print("tsc: %lu Hz by %s\n", tsc_hz(), tsc_source());
	if (cmdline_get("tsc-leaf"))
		CHECK(!strcmp(tsc_source(), "leaf 0x15") || !strcmp(tsc_source(), "leaf 0x40000010"));
	CHECK(tsc_hz() > 100000000 && tsc_hz() < 10000000000);

	REQUIRE(max >= 0xb, "the highest leaf is %#x", max);
	r = cpuid(0xb, 0);
	print("leaf 0xb.0: shift %u, %u CPUs, type %u\n", r.eax, r.ebx & 0xffff, r.ecx >> 8 & 0xff);
	CHECK_EQ(r.ecx & 0xffff, 0x100);	/* level 0 is the threads' */
	CHECK_EQ(r.ebx & 0xffff, threads);
	CHECK_EQ(r.eax & 0x1f, bits_for(threads));
	r = cpuid(0xb, 1);
	print("leaf 0xb.1: shift %u, %u CPUs, type %u\n", r.eax, r.ebx & 0xffff, r.ecx >> 8 & 0xff);
	CHECK_EQ(r.ecx & 0xffff, 0x201);	/* level 1 is the cores' */
	CHECK_EQ(r.ebx & 0xffff, threads * cores);
	CHECK_EQ(r.eax & 0x1f, bits_for(threads) + bits_for(cores));
	/* The end is a level of type 0 that counts nobody. */
	for (level = 2; level < 8; level++)
		if (!(cpuid(0xb, level).ecx & 0xff00))
			break;
	CHECK(level < 8);
	CHECK_EQ(cpuid(0xb, level).ebx & 0xffff, 0);
}
