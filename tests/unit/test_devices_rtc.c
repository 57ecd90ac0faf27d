/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fake_machine.h"

#define IRQ 8

static const struct device_class *const classes[] = { &rtc_class, NULL };
static struct fake_machine m;

static uint8_t get(uint8_t reg)
{
	outb(&m, 0x70, reg);
	return inb(&m, 0x71);
}

static void set(uint8_t reg, uint8_t value)
{
	outb(&m, 0x70, reg);
	outb(&m, 0x71, value);
}

static int bcd(uint8_t value)
{
	ck_assert_uint_lt(value & 0xf, 10);
	ck_assert_uint_lt(value >> 4, 10);
	return (value >> 4) * 10 + (value & 0xf);
}

static uint8_t to_bcd(int value)
{
	return (uint8_t)(value / 10 << 4 | value % 10);
}

/* Reads the clock as a driver does; registers are in BCD and 24 hours. */
static time_t read_clock(void)
{
	struct tm tm = { .tm_sec = 0 };
	int wday;
	time_t t;

	for (int i = 0; (get(0x0a) & 0x80) && i < 1000000; i++)
		;
	tm.tm_sec = bcd(get(0));
	tm.tm_min = bcd(get(2));
	tm.tm_hour = bcd(get(4));
	tm.tm_mday = bcd(get(7));
	tm.tm_mon = bcd(get(8)) - 1;
	tm.tm_year = bcd(get(0x32)) * 100 + bcd(get(9)) - 1900;
	wday = bcd(get(6)) - 1;
	t = timegm(&tm);
	ck_assert_int_eq(tm.tm_wday, wday);
	return t;
}

static void setup(const char *props)
{
	/* A host that lives by local time shows UTC all the same. */
	setenv("TZ", "EST5", 1);
	tzset();
	fake_machine_init(&m, classes);
	fake_device(&m, "mc146818rtc", "rtc", props);
}

START_TEST(registers_after_reset)
{
	setup(NULL);
	ck_assert_uint_eq(get(0x0a) & 0x7f, 0x26);
	ck_assert_uint_eq(get(0x0b), 0x02);
	ck_assert_uint_eq(get(0x0d), 0x80);
	ck_assert_uint_eq(inb(&m, 0x70), 0xff); /* the index cannot be read */
	/* C and D are read-only, UIP as well. */
	set(0x0c, 0xff);
	ck_assert_uint_eq(get(0x0c) & 0x8f, 0);
	set(0x0d, 0x00);
	ck_assert_uint_eq(get(0x0d), 0x80);
	set(0x0b, 0x82);
	set(0x0a, 0xa6);
	ck_assert_uint_eq(get(0x0a),
			  0x26); /* and while the clock is being set there is no update */
	/* Bit 7 of the index masks NMIs and is no part of it. */
	ck_assert_uint_eq(get(0x8b), 0x82);
	/* The reset line ends interrupts and leaves the rest to the battery. */
	set(0x0b, 0x7e);
	set(0x0f, 0x05);
	set(0x40, 0x5a);
	devices_reset(&m.platform);
	ck_assert_uint_eq(get(0x0b), 0x06);
	ck_assert_uint_eq(get(0x0f), 0x05);
	ck_assert_uint_eq(get(0x40), 0x5a);
	fake_machine_release(&m);
}
END_TEST

START_TEST(memory_size_bytes)
{
	/* 3 GiB below the hole, 5 GiB + 64 KiB above. */
	setup("low-memory=3221225472,high-memory=5368774656");
	for (int round = 0; round < 2; round++) {
		ck_assert_uint_eq(get(0x15) | get(0x16) << 8, 640);
		ck_assert_uint_eq(get(0x17) | get(0x18) << 8, 0xffff);
		ck_assert_uint_eq(get(0x30) | get(0x31) << 8, 0xffff);
		ck_assert_uint_eq(get(0x34) | get(0x35) << 8, (3072 - 16) * 16);
		ck_assert_uint_eq(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 5 * 16384 + 1);
		set(0x5b, 0);
		set(0x15, 0);
		devices_reset(&m.platform);
	}
	fake_machine_release(&m);
	setup("low-memory=33554432"); /* 32 MiB */
	ck_assert_uint_eq(get(0x17) | get(0x18) << 8, 31 * 1024);
	ck_assert_uint_eq(get(0x34) | get(0x35) << 8, 16 * 16);
	ck_assert_uint_eq(get(0x5b), 0);
	fake_machine_release(&m);
}
END_TEST

/* Not time(), which may lag behind the clock that the device reads. */
static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

START_TEST(shows_utc)
{
	time_t before, t, after;

	setup(NULL);
	before = now();
	t = read_clock();
	after = now();
	ck_assert_int_le(before, t);
	ck_assert_int_le(t, after);
	fake_machine_release(&m);
}
END_TEST

/* One hour of the day in each of the four formats. */
static void check_hour(int hour)
{
	static const uint8_t formats[] = { 0x02, 0x06, 0x00, 0x04 };
	int twelve = hour % 12 ? hour % 12 : 12;
	uint8_t pm = hour >= 12 ? 0x80 : 0;
	const uint8_t want[] = { to_bcd(hour), (uint8_t)hour, to_bcd(twelve) | pm,
				 (uint8_t)twelve | pm };

	set(0x0b, 0x82);
	set(0, to_bcd(59));
	set(2, to_bcd(30));
	set(4, to_bcd(hour));
	set(7, to_bcd(28));
	set(8, to_bcd(2));
	set(9, to_bcd(24));
	set(0x32, to_bcd(20));
	for (unsigned int i = 0; i < ARRAY_SIZE(formats); i++) {
		set(0x0b, 0x02); /* runs */
		set(0x0b, formats[i]);
		set(0x0b, 0x80 | formats[i]); /* stands */
		ck_assert_uint_eq(get(4), want[i]);
		/* Set in this format it is the same hour. */
		set(4, want[i]);
		set(0x0b, formats[i]);
		set(0x0b, 0x02);
		set(0x0b, 0x82);
		ck_assert_uint_eq(get(4), to_bcd(hour));
		ck_assert_uint_eq(get(2), to_bcd(30));
		ck_assert_uint_eq(get(7), to_bcd(28));
		ck_assert_uint_eq(get(8), to_bcd(2));
		ck_assert_uint_eq(get(9), to_bcd(24));
	}
}

START_TEST(bcd_binary_12_and_24_hours)
{
	setup(NULL);
	for (int hour = 0; hour < 24; hour++)
		check_hour(hour);
	fake_machine_release(&m);
}
END_TEST

static void set_clock(time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	set(0, to_bcd(tm.tm_sec));
	set(2, to_bcd(tm.tm_min));
	set(4, to_bcd(tm.tm_hour));
	set(6, to_bcd(tm.tm_wday + 1));
	set(7, to_bcd(tm.tm_mday));
	set(8, to_bcd(tm.tm_mon + 1));
	set(9, to_bcd(tm.tm_year % 100));
	set(0x32, to_bcd(tm.tm_year / 100 + 19));
}

START_TEST(goes_on_from_what_was_set)
{
	/* The end of a leap day, a century, the start of the epoch. */
	static const time_t times[] = { 951868799, 4102444799, 0, 1709251199 };

	setup(NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(times); i++) {
		set(0x0b, 0x82);
		set_clock(times[i]);
		ck_assert_int_eq(read_clock(), times[i]); /* stands while SET */
		set(0x0b, 0x02);
		ck_assert_int_ge(read_clock(), times[i]);
		ck_assert_int_le(read_clock(), times[i] + 2);
		devices_reset(&m.platform);
		ck_assert_int_ge(read_clock(), times[i]);
	}
	/* As Linux sets it: with the divider in reset; the first update comes half a second after
	 * it starts. */
	set(0x0b, 0x82);
	set(0x0a, 0x76);
	set_clock(1000000000);
	set(0x0b, 0x02);
	ck_assert_int_eq(read_clock(), 1000000000); /* the divider alone holds it */
	set(0x0a, 0x26);
	ck_assert_int_eq(read_clock(), 1000000000);
	fake_machine_release(&m);
}
END_TEST

static bool second_changed(void *opaque)
{
	return get(0) != *(uint8_t *)opaque;
}

START_TEST(runs_and_flags_updates)
{
	uint8_t second;

	setup(NULL);
	get(0x0c);
	second = get(0);
	ck_assert(run_until(m.platform.main_loop, second_changed, &second));
	/* UF and PF, without enables: no interrupt. */
	ck_assert_uint_eq(get(0x0c), 0x50);
	ck_assert_uint_eq(get(0x0c) & 0x10, 0);
	fake_machine_release(&m);
}
END_TEST

static bool high(void *opaque)
{
	(void)opaque;
	return m.level[IRQ];
}

START_TEST(interrupts)
{
	setup("irq=8");
	/* Periodic, 1024 Hz: one interrupt until it is acknowledged, whatever the rate. */
	set(0x0b, 0x42);
	ck_assert(run_until(m.platform.main_loop, high, NULL));
	run_rounds(m.platform.main_loop, 20);
	ck_assert_uint_eq(m.rises[IRQ], 1);
	ck_assert_uint_eq(get(0x0c) & 0xc0, 0xc0);
	ck_assert(!m.level[IRQ]);
	ck_assert(run_until(m.platform.main_loop, high, NULL));
	set(0x0b, 0x02); /* switched off, it falls */
	ck_assert(!m.level[IRQ]);
	get(0x0c);
	/* The alarm: at second 45 of any minute of any hour. */
	set(0x0b, 0x82);
	set_clock(1000000004);
	set(1, 0x45); /* that was 01:46:44 */
	set(3, 0xff);
	set(5, 0xc0);
	set(0x0b, 0x22);
	get(0x0c);
	ck_assert(!m.level[IRQ]);
	ck_assert(run_until(m.platform.main_loop, high, NULL));
	ck_assert_int_eq(bcd(get(0)), 45);
	ck_assert_uint_eq(get(0x0c) & 0xa0, 0xa0);
	/* The end of an update. Setting the clock switches it off. */
	set(0x0b, 0x12);
	ck_assert(run_until(m.platform.main_loop, high, NULL));
	ck_assert_uint_eq(get(0x0c) & 0x90, 0x90);
	set(0x0b, 0x92);
	ck_assert_uint_eq(get(0x0b), 0x82);
	fake_machine_release(&m);
}
END_TEST

/* hostile-guests: fifo-index. Any index and value, in any order and width. */
START_TEST(random_accesses)
{
	uint32_t seed = 4711;

	setup("irq=8");
	for (unsigned int i = 0; i < 100000; i++) {
		uint64_t value;

		seed = seed * 1664525 + 1013904223;
		value = seed >> 5;
		if (seed & 0x80000000)
			mem_space_io_write(m.platform.space, IO_PORT, 0x6f + (seed >> 8) % 4,
					   &value, 1u << (seed >> 16) % 3);
		else
			mem_space_io_read(m.platform.space, IO_PORT, 0x6f + (seed >> 8) % 4, &value,
					  1u << (seed >> 16) % 3);
		if (i % 8192 == 0)
			run_rounds(m.platform.main_loop, 1);
	}
	/* It can still be set and read. */
	set(0x0a, 0x26);
	set(0x0b, 0x82);
	set_clock(1234567890);
	set(0x0b, 0x02);
	ck_assert_int_ge(read_clock(), 1234567890);
	ck_assert_int_le(read_clock(), 1234567892);
	fake_machine_release(&m);
}
END_TEST

UNIT_SUITE(rtc_suite, "rtc", registers_after_reset, memory_size_bytes, shows_utc,
	   bcd_binary_12_and_24_hours, goes_on_from_what_was_set, runs_and_flags_updates,
	   interrupts, random_accesses)
UNIT_MAIN(rtc_suite)
