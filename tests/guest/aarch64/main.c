// SPDX-License-Identifier: Apache-2.0
/*
 * The table of tests, the choice among them by "test=NAME" on the command line. The result is on the serial line; the guest
 * leaves by PSCI SYSTEM_OFF.
 */
#include "../tests.h"
#include "tests_aarch64.h"

static const struct guest_test tests[] = {
	{ "hello", test_arm_hello },
	{ "psci", test_arm_psci },
	{ "timer", test_arm_timer },
	{ "smp", test_arm_smp },
	{ "pmu", test_arm_pmu },
	{ "steal", test_arm_steal },
	{ "irq", test_arm_irq },
	{ "mmio", test_arm_mmio },
	{ "reset", test_arm_reset },
	{ "rng", test_rng },
	{ "blk", test_blk },
	{ "blk-mq", test_blk_mq },
};

_Noreturn void guest_main(u64 fdt)
{
	const char *name;
	u32 i;

	entry_fdt = fdt;
	boot_init();
	name = cmdline_get("test");
	if (!name)
		name = "hello";
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		if (strcmp(tests[i].name, name))
			continue;
		print("TEST %s\n", name);
		/* Before the GIC is touched it can be looked at. */
		if (tests[i].run == test_arm_reset)
			test_arm_after_reset();
		gic_init();
		gic_cpu_init();
		tests[i].run();
		test_end();
	}
	REQUIRE(false, "no test is called %s", name);
}
