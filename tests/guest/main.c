// SPDX-License-Identifier: Apache-2.0
/*
 * The table of tests, the choice among them by "test=NAME" on the command line, or "test=NAME+NAME" for one after the
 * other, and the result: the guest leaves through the debug-exit port, with exit status 33 when all held, 35 when not.
 */
#include "tests.h"

#define EXIT_PASSED	0x10
#define EXIT_FAILED	0x11

static const struct guest_test tests[] = {
	{ "hello", test_hello },
	{ "ports", test_ports },
	{ "rtc", test_rtc },
	{ "mmio", test_mmio },
	{ "fpu", test_fpu },
	{ "irq", test_irq },
	{ "serial-input", test_serial_input },
	{ "timer", test_timer },
	{ "smp", test_smp },
	{ "cpuid", test_cpuid },
	{ "rng", test_rng },
	{ "net", test_net },
	{ "net-bench", test_net_bench },
	{ "blk", test_blk },
	{ "blk-ro", test_blk_ro },
	{ "blk-mq", test_blk_mq },
	{ "blk-high", test_blk_high },
	{ "blk-ring-reset", test_blk_ring_reset },
	{ "blk-bench", test_blk_bench },
	{ "exits-bench", test_exits_bench },
	{ "console-bench", test_console_bench },
	{ "vsock-bench", test_vsock_bench },
	{ "hostile-chains", test_hostile_chains },
	{ "hostile-rings", test_hostile_rings },
	{ "hostile-registers", test_hostile_registers },
	{ "hostile-race", test_hostile_race },
	{ "triple", test_triple },
	{ "reset", test_reset },
	{ "hotplug", test_hotplug },
	{ "panic", test_panic },
	{ "error", test_error },
	{ "spin", test_spin },
};

extern char bss_start[], bss_end[];

static u32 failures;

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	failures++;
	print("FAIL %s:%d: ", file, line);
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
}

_Noreturn void test_exit(u32 value)
{
	u64 deadline;

	outb(DEBUG_EXIT_PORT, value);
	/* Another thread of the VMM may carry it out; the guest may run on for a moment. */
	for (deadline = deadline_ms(10000); !deadline_passed(deadline);)
		cpu_relax();
	print("FAIL the debug-exit device did not end the guest\n");
	kcall(k_halt, 0, 0, 0);
	for (;;)
		cpu_relax();
}

_Noreturn void test_end(void)
{
	print("%s\n", failures ? "RESULT failed" : "RESULT passed");
	test_exit(failures ? EXIT_FAILED : EXIT_PASSED);
}

static void run_test(const char *name)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		if (strcmp(tests[i].name, name))
			continue;
		print("TEST %s\n", name);
		tests[i].run();
		return;
	}
	REQUIRE(false, "no test is called %s", name);
}

static void boot_cpu_main(void)
{
	static char names[128];
	const char *given;
	char *name, *end;

	memset(bss_start, 0, bss_end - bss_start);
	trap_init();
	boot_init();
	/* Nothing is to arrive through the old interrupt controllers. */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	lapic_enable();
	time_init();

	given = cmdline_get("test");
	if (!given)
		given = "hello";
	memcpy(names, given, strlen(given) + 1); /* cmdline_get() gives no more than that */
	for (name = names; *name; name = end) {
		for (end = name; *end && *end != '+';)
			end++;
		if (*end)
			*end++ = 0;
		run_test(name);
	}
	test_end();
}

_Noreturn void guest_entry(u32 cpu)
{
	if (!cpu)
		boot_cpu_main();
	else
		smp_entry(cpu);
	kcall(k_halt, 0, 0, 0);
	for (;;)
		cpu_relax();
}
