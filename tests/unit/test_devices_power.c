/* SPDX-License-Identifier: Apache-2.0 */
/* The small devices by which a guest ends, resets or reports: i8042, GED, debug exit, pvpanic, boot
 * timer. */
#include <stdio.h>

#include "devices/ged.h"
#include "fake_machine.h"
#include "util/log.h"

static const struct device_class *const classes[] = {
	&i8042_class, &ged_class, &debug_exit_class, &pvpanic_class, &boot_timer_class, NULL,
};
static struct fake_machine m;

#define ck_assert_request(n, what)                                                                 \
	do {                                                                                       \
		ck_assert_uint_eq(m.requests, (n));                                                \
		ck_assert_int_eq((int)m.last_request, (what));                                     \
	} while (0)

/* --- i8042 --- */

static void setup_i8042(void)
{
	fake_machine_init(&m, classes);
	fake_device(&m, "i8042", "kbd", NULL);
}

/* What Linux does first: empty the buffer, at most 16 bytes. It is meant to fail. */
START_TEST(linux_finds_no_keyboard_controller_at_once)
{
	int drained = 0;

	setup_i8042();
	for (int round = 0; round < 2; round++) {
		for (drained = 0; (inb(&m, 0x64) & 0x01) && drained < 17; drained++)
			inb(&m, 0x60);
		ck_assert_int_eq(drained, 17);
		/* Those who count less come to an end. */
		for (drained = 0; (inb(&m, 0x64) & 0x01) && drained < 1000; drained++)
			inb(&m, 0x60);
		ck_assert_int_lt(drained, 1000);
		devices_reset(&m.platform);
	}
	fake_machine_release(&m);
}
END_TEST

START_TEST(i8042_reset)
{
	static const uint8_t harmless[] = { 0xff, 0xf1, 0xef, 0xad, 0xa8, 0x00 };

	setup_i8042();
	for (size_t i = 0; i < sizeof(harmless); i++)
		outb(&m, 0x64, harmless[i]);
	ck_assert_uint_eq(m.requests, 0);
	ck_assert_uint_eq(inb(&m, 0x64) & 0x02, 0); /* Linux waits for this before it asks */
	outb(&m, 0x64, 0xfe);
	ck_assert_request(1, GUEST_RESET);
	outb(&m, 0x64, 0xf0);
	ck_assert_request(2, GUEST_RESET);
	/* By the output port: bit 0 is the reset line. */
	outb(&m, 0x64, 0xd1);
	outb(&m, 0x60, 0x03);
	ck_assert_uint_eq(m.requests, 2);
	outb(&m, 0x60, 0x00); /* the parameter was consumed: this goes to no keyboard */
	ck_assert_uint_eq(m.requests, 2);
	outb(&m, 0x64, 0xd1);
	outb(&m, 0x64, 0xad); /* another command takes the place of the one that waits */
	outb(&m, 0x60, 0x00);
	ck_assert_uint_eq(m.requests, 2);
	outb(&m, 0x64, 0xd1);
	outb(&m, 0x60, 0x02);
	ck_assert_request(3, GUEST_RESET);
	fake_machine_release(&m);
}
END_TEST

START_TEST(i8042_commands)
{
	static const struct {
		uint8_t command, reply;
	} answers[] = {
		{ 0xaa, 0x55 }, { 0xab, 0x00 }, { 0xa9, 0x01 }, { 0xd0, 0x03 }, { 0x20, 0x34 }
	};

	setup_i8042();
	for (int i = 0; i < 64; i++)
		inb(&m, 0x60);
	ck_assert_uint_eq(inb(&m, 0x64), 0x10);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		outb(&m, 0x64, answers[i].command);
		ck_assert_uint_eq(inb(&m, 0x64) & 0x09, 0x09);
		ck_assert_uint_eq(inb(&m, 0x60), answers[i].reply);
		ck_assert_uint_eq(inb(&m, 0x64) & 0x01, 0);
	}
	ck_assert_uint_eq(inb(&m, 0x64) & 0x04, 0x04); /* the self test has passed */
	outb(&m, 0x64, 0x60);
	outb(&m, 0x60, 0x5a);
	ck_assert_uint_eq(inb(&m, 0x64) & 0x08, 0);
	outb(&m, 0x64, 0x20);
	ck_assert_uint_eq(inb(&m, 0x60), 0x5a);
	outb(&m, 0x64, 0xd2);
	outb(&m, 0x60, 0x77);
	ck_assert_uint_eq(inb(&m, 0x60), 0x77);
	/* 0x61 between the two ports is not ours. */
	ck_assert_uint_eq(inb(&m, 0x61), 0xff);
	fake_machine_release(&m);
}
END_TEST

/* hostile-guests: fifo-index. Whatever was written before, a reset is a fresh start. */
START_TEST(i8042_random)
{
	uint32_t seed = 99;

	setup_i8042();
	for (unsigned int i = 0; i < 100000; i++) {
		uint16_t port;

		seed = seed * 1664525 + 1013904223;
		port = 0x5e + (seed >> 8) % 8;
		if (seed & 0x80000000)
			outb(&m, port, (uint8_t)(seed >> 16));
		else
			inb(&m, port);
	}
	devices_reset(&m.platform);
	ck_assert_uint_eq(inb(&m, 0x64), 0x11);
	fake_machine_release(&m);
}
END_TEST

/* --- GED --- */

#define GED_BASE 0xf0000000ULL
#define GED_GSI 16

static uint64_t ged_get(uint64_t offset, unsigned int len)
{
	uint64_t value = 0;

	mem_space_io_read(m.platform.space, IO_MMIO, GED_BASE + offset, &value, len);
	return value;
}

static void ged_set(uint64_t offset, uint64_t value, unsigned int len)
{
	mem_space_io_write(m.platform.space, IO_MMIO, GED_BASE + offset, &value, len);
}

static void setup_ged(void)
{
	fake_machine_init(&m, classes);
	fake_device(&m, "acpi-ged", "ged", "base=0xf0000000,gsi=16");
}

START_TEST(power_button)
{
	setup_ged();
	ck_assert(!fake_pulsed(&m, GED_GSI));
	ck_assert_uint_eq(ged_get(GED_REG_EVENTS, 4), 0);
	ck_assert_int_eq(ged_power_button(&m.platform), 0);
	ck_assert(fake_pulsed(&m, GED_GSI));
	/* A look that does not see all bits takes none of them. */
	ck_assert_uint_eq(ged_get(GED_REG_EVENTS, 1), 0);
	ck_assert_uint_eq(ged_get(GED_REG_EVENTS, 4), GED_EVENT_POWER_BUTTON);
	ck_assert_uint_eq(ged_get(GED_REG_EVENTS, 4), 0);
	/* Pressed again before the first was seen: seen once, and each press is a pulse. */
	ck_assert_int_eq(ged_power_button(&m.platform), 0);
	ck_assert_int_eq(ged_power_button(&m.platform), 0);
	ck_assert(fake_pulsed(&m, GED_GSI));
	ck_assert_uint_eq(ged_get(GED_REG_EVENTS, 4), GED_EVENT_POWER_BUTTON);
	/* A reset forgets a press. */
	ck_assert_int_eq(ged_power_button(&m.platform), 0);
	devices_reset(&m.platform);
	ck_assert_uint_eq(ged_get(GED_REG_EVENTS, 4), 0);
	devices_destroy(&m.platform);
	ck_assert_int_eq(m.irqfd[GED_GSI], 0);
	ck_assert_int_eq(ged_power_button(&m.platform), -ENODEV);
	fake_machine_release(&m);
}
END_TEST

START_TEST(sleep_and_reset_registers)
{
	setup_ged();
	ged_set(GED_REG_SLEEP_CTL, 5 << 2, 1);	      /* a type without SLP_EN */
	ged_set(GED_REG_SLEEP_CTL, 0x20 | 3 << 2, 1); /* S3 is not there */
	ged_set(GED_REG_RESET, 0x41, 1);
	ged_set(GED_REG_RESET, 0x42, 4); /* wider than the register */
	ged_set(GED_REG_SLEEP_STS, 0xff, 1);
	ck_assert_uint_eq(m.requests, 0);
	ged_set(GED_REG_SLEEP_CTL, 0x20 | 5 << 2, 1);
	ck_assert_request(1, GUEST_POWEROFF);
	ged_set(GED_REG_RESET, GED_RESET_VALUE, 1);
	ck_assert_request(2, GUEST_RESET);
	ck_assert_uint_eq(ged_get(GED_REG_SLEEP_CTL, 1), 0);
	ck_assert_uint_eq(ged_get(GED_REG_SLEEP_STS, 1), 0);
	/* hostile-guests: mmio-straddle. */
	for (uint64_t at = 0; at < 16; at++)
		for (unsigned int len = 1; len <= 8; len *= 2)
			ged_get(GED_MMIO_SIZE - 8 + at, len);
	fake_machine_release(&m);
}
END_TEST

START_TEST(ged_properties_are_required)
{
	struct device *dev = NULL;
	struct error *err = NULL;

	fake_machine_init(&m, classes);
	ck_assert_int_ne(device_create_internal(&m.platform, "acpi-ged", "g", "gsi=16", &dev, &err),
			 0);
	ck_assert_ptr_nonnull(strstr(error_text(err), "base"));
	error_free(err);
	fake_machine_release(&m);
	/* Nothing of a failed one stays: the line is given back when the registers overlap. */
	setup_ged();
	err = NULL;
	ck_assert_int_eq(device_create_internal(&m.platform, "acpi-ged", "h",
						"base=0xf0000800,gsi=17", &dev, &err),
			 -EEXIST);
	error_free(err);
	ck_assert_int_eq(m.irqfd[17], 0);
	fake_machine_release(&m);
}
END_TEST

/* --- debug exit, pvpanic, boot timer --- */

START_TEST(debug_exit)
{
	uint16_t wide = 0x1234;

	fake_machine_init(&m, classes);
	fake_device(&m, "isa-debug-exit", NULL, NULL);
	outb(&m, 0x501, 0);
	ck_assert_request(1, GUEST_EXIT);
	ck_assert_int_eq(m.last_status, 1);
	outb(&m, 0x501, 0x10);
	ck_assert_int_eq(m.last_status, 0x21);
	outb(&m, 0x502, 0xff); /* two ports; a status has 8 bits */
	ck_assert_int_eq(m.last_status, 0xff);
	ck_assert_uint_eq(inb(&m, 0x501), 0);
	outb(&m, 0x503, 1);
	ck_assert_uint_eq(m.requests, 3);
	devices_destroy(&m.platform);
	fake_device(&m, "isa-debug-exit", NULL, "iobase=0xf4,iosize=4");
	mem_space_io_write(m.platform.space, IO_PORT, 0xf4, &wide, 2);
	ck_assert_int_eq(m.last_status, 0x69);
	fake_machine_release(&m);
}
END_TEST

START_TEST(pvpanic)
{
	fake_machine_init(&m, classes);
	fake_device(&m, "pvpanic", NULL, NULL);
	ck_assert_uint_eq(inb(&m, 0x505), 3);
	outb(&m, 0x505, 0);
	outb(&m, 0x505, 2);
	outb(&m, 0x505, 4);
	ck_assert_uint_eq(m.requests, 0);
	outb(&m, 0x505, 1);
	ck_assert_request(1, GUEST_PANICKED);
	devices_destroy(&m.platform);
	fake_device(&m, "pvpanic", NULL, "ioport=0x506,events=2");
	ck_assert_uint_eq(inb(&m, 0x506), 2);
	outb(&m, 0x506, 1); /* not announced */
	ck_assert_uint_eq(m.requests, 1);
	fake_machine_release(&m);
}
END_TEST

START_TEST(boot_timer)
{
	char line[512], path[] = "./unit-XXXXXX";
	long long first = -1, ns = 0;
	unsigned int lines = 0;
	struct error *err = NULL;
	FILE *log;

	close(mkstemp(path));
	log_threshold = LOG_INFO;
	ck_assert_int_eq(log_open(path, &err), 0);
	fake_machine_init(&m, classes);
	fake_device(&m, "boot-timer", "bt", NULL);
	outb(&m, 0x3ff, 1);
	outb(&m, 0x3ff, 2);
	ck_assert_uint_eq(inb(&m, 0x3ff), 2);
	for (int i = 0; i < 1000; i++)
		outb(&m, 0x3ff, 0x55);
	log = fopen(path, "re");
	while (fgets(line, sizeof(line), log)) {
		unsigned int value;
		char *mark = strstr(line, "mark "), *at = strstr(line, " at ");

		if (!mark)
			continue;
		ck_assert_int_eq(sscanf(mark, "mark %u", &value), 1);
		ck_assert_int_eq(sscanf(at, " at %lld ns", &ns), 1);
		/* This process is younger than a minute, and time goes on. */
		ck_assert_int_ge(ns, 0);
		ck_assert_int_lt(ns, 60 * NSEC_PER_SEC);
		ck_assert_int_ge(ns, first);
		first = ns;
		if (lines < 2)
			ck_assert_uint_eq(value, lines + 1);
		lines++;
	}
	fclose(log);
	unlink(path);
	ck_assert_uint_eq(lines, 16); /* a guest cannot fill the log */
	fake_machine_release(&m);
}
END_TEST

UNIT_SUITE(power_suite, "power and small devices", linux_finds_no_keyboard_controller_at_once,
	   i8042_reset, i8042_commands, i8042_random, power_button, sleep_and_reset_registers,
	   ged_properties_are_required, debug_exit, pvpanic, boot_timer)
UNIT_MAIN(power_suite)
