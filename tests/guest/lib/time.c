// SPDX-License-Identifier: Apache-2.0
/*
 * How fast the time-stamp counter runs, by the best of the ways that the VMM offers.
 */
#include "guest.h"

#define CPUID_KVM_BASE		0x40000000
#define CPUID_KVM_FEATURES	0x40000001
#define CPUID_KVM_TIMING	0x40000010
#define KVM_FEATURE_CLOCKSOURCE2 (1u << 3)
#define MSR_KVM_SYSTEM_TIME_NEW	0x4b564d01

struct kvm_clock {
	u32 version, pad;
	u64 tsc_timestamp, system_time;
	u32 tsc_to_system_mul;
	int8_t tsc_shift;
	u8 flags, pad2[2];
} __attribute__((packed, aligned(32)));

static u64 hz;
static const char *source;

static u64 hz_from_kvmclock(void)
{
	static struct kvm_clock clock;
	u64 v;

	if (!(cpuid(CPUID_KVM_FEATURES, 0).eax & KVM_FEATURE_CLOCKSOURCE2))
		return 0;
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (uintptr_t)&clock | 1);
	if (!*(volatile u32 *)&clock.tsc_to_system_mul)
		return 0;
	/* nanoseconds = (ticks << shift) * mul >> 32 */
	v = (1000000000ull << 32) / clock.tsc_to_system_mul;
	v = clock.tsc_shift < 0 ? v << -clock.tsc_shift : v >> clock.tsc_shift;
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
	return v;
}

void time_init(void)
{
	struct cpuid_regs r;
	u32 max = cpuid(0, 0).eax;

	if (max >= 0x15) {
		r = cpuid(0x15, 0);
		if (r.eax && r.ebx && r.ecx) {
			hz = (u64)r.ecx * r.ebx / r.eax;
			source = "leaf 0x15";
			return;
		}
	}
	max = cpuid(CPUID_KVM_BASE, 0).eax;
	if (max >= CPUID_KVM_TIMING) {
		hz = cpuid(CPUID_KVM_TIMING, 0).eax * 1000ull;
		source = "leaf 0x40000010";
		if (hz)
			return;
	}
	hz = hz_from_kvmclock();
	source = "kvmclock";
	if (hz)
		return;
	/* Only time limits depend on it then: err on the long side. */
	hz = 4000000000;
	source = "a guess";
}

u64 tsc_hz(void)
{
	return hz;
}

const char *tsc_source(void)
{
	return source;
}

u64 tsc_to_us(u64 ticks)
{
	return ticks / (hz / 1000000);
}

u64 deadline_ms(u32 ms)
{
	return rdtsc() + hz / 1000 * ms;
}
