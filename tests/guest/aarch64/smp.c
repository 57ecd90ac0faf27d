// SPDX-License-Identifier: Apache-2.0
/*
 * CPUs that PSCI turns on and off; exceptions that nobody expected, and those that somebody did.
 */
#include "../lib/guest.h"

extern char other_cpu[];

static void (*volatile cpu_fn[CPU_MAX])(u32 cpu);

int64_t cpu_start(u32 cpu, void (*fn)(u32 cpu))
{
	cpu_fn[cpu] = fn;
	full_barrier();
	return psci(PSCI_CPU_ON, cpu_mpidr(cpu), (uintptr_t)other_cpu, cpu);
}

_Noreturn void cpu_main(u32 cpu)
{
	gic_cpu_init();
	cpu_fn[cpu](cpu);
	psci(PSCI_CPU_OFF, 0, 0, 0);
	REQUIRE(false, "CPU %u goes on after CPU_OFF", cpu);
}

void cpu_wait_off(u32 cpu)
{
	u64 deadline = deadline_ms(10000);

	while (psci(PSCI_AFFINITY_INFO, cpu_mpidr(cpu), 0, 0) != PSCI_AFFINITY_OFF)
		REQUIRE(!deadline_passed(deadline), "CPU %u is not off", cpu);
}

/* --- exceptions --- */

#define ESR_CLASS(esr) ((esr) >> 26 & 0x3f)
#define CLASS_DATA_ABORT 0x25 /* of EL1 itself */

static struct abort_info *volatile tolerated;
static volatile bool aborted;

u64 trap_sync(u64 elr)
{
	u64 esr = read_sysreg(esr_el1), far = read_sysreg(far_el1);

	if (elr && tolerated && ESR_CLASS(esr) == CLASS_DATA_ABORT) {
		*tolerated = (struct abort_info){ esr, far };
		aborted = true;
		return elr + 4;
	}
	REQUIRE(false, "CPU %u: unexpected exception, ESR %#lx FAR %#lx ELR %#lx", this_cpu(), esr, far, elr);
}

bool tolerate_abort(void (*fn)(u64 arg), u64 arg, struct abort_info *info)
{
	aborted = false;
	tolerated = info;
	fn(arg);
	full_barrier();
	tolerated = NULL;
	return aborted;
}
