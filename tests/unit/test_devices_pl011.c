/* SPDX-License-Identifier: Apache-2.0 */
/* The PL011 and the PL031, register by register; the other end of the serial line is a socket pair. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "fake_machine.h"

#define BASE 0x9000000
#define DR 0x00
#define RSR 0x04
#define FR 0x18
#define LCR_H 0x2c
#define CR 0x30
#define IFLS 0x34
#define IMSC 0x38
#define RIS 0x3c
#define MIS 0x40
#define ICR 0x44
#define IRQ 7

#define RX 0x10
#define TX 0x20
#define RT 0x40
#define OE 0x400

#define RTC_BASE 0x9010000
#define RTC_IRQ 5

static const struct device_class *const classes[] = { &pl011_class, &pl031_class, NULL };

static struct fake_machine m;
static struct chardev *chr;
static int host; /* our end of the line */

static uint32_t get(uint32_t reg)
{
	uint32_t value = 0;

	mem_space_io_read(m.platform.space, IO_MMIO, BASE + reg, &value, 4);
	return value;
}

static void put(uint32_t reg, uint32_t value)
{
	mem_space_io_write(m.platform.space, IO_MMIO, BASE + reg, &value, 4);
}

static void setup(void)
{
	char text[64];
	int pair[2];

	fake_machine_init(&m, classes);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	host = pair[0];
	snprintf(text, sizeof(text), "socket,id=line,fd=%d", pair[1]);
	chr = make_chardev(&m, text);
	fake_device(&m, "pl011", "serial0", "chardev=line");
	run_rounds(m.platform.main_loop, 2);
}

static void teardown(void)
{
	devices_destroy(&m.platform);
	chardev_free(chr);
	close(host);
	fake_machine_release(&m);
}

static void host_sends(const char *text)
{
	ck_assert_int_eq(write(host, text, strlen(text)), (ssize_t)strlen(text));
}

static bool has_data(void *opaque)
{
	(void)opaque;
	return !(get(FR) & 0x10);
}

static bool receiver_is_full(void *opaque)
{
	(void)opaque;
	return get(FR) & 0x40;
}

static bool transmitter_is_empty(void *opaque)
{
	char drop[4096];

	(void)opaque;
	while (read(host, drop, sizeof(drop)) > 0)
		;
	return get(FR) & 0x80;
}

#define ck_wait(condition) \
	ck_assert_msg(run_until(m.platform.main_loop, condition, NULL), "waited in vain for " #condition)

START_TEST(registers_after_reset)
{
	setup();
	for (int round = 0; round < 2; round++) {
		ck_assert_uint_eq(get(FR), 0x97);
		ck_assert_uint_eq(get(CR), 0x300);
		ck_assert_uint_eq(get(IFLS), 0x12);
		ck_assert_uint_eq(get(LCR_H) | get(IMSC) | get(RIS) | get(MIS) | get(0x20) | get(0x24) | get(0x28), 0);
		put(CR, 0x381); /* loopback */
		put(LCR_H, 0xff);
		put(IMSC, 0xffff);
		ck_assert_uint_eq(get(IMSC), 0x7ff);
		put(IFLS, 0);
		put(0x24, 0xfffff);
		ck_assert_uint_eq(get(0x24), 0xffff);
		put(DR, 'x');
		ck_assert(m.level[IRQ]);
		devices_reset(&m.platform);
		ck_assert(!m.level[IRQ]);
	}
	teardown();
}
END_TEST

START_TEST(identification)
{
	static const uint8_t ids[] = { 0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	setup();
	for (unsigned int i = 0; i < sizeof(ids); i++)
		ck_assert_uint_eq(get(0xfe0 + 4 * i), ids[i]);
	teardown();
}
END_TEST

START_TEST(output_arrives_and_tells_that_there_is_room)
{
	char text[8] = "";

	setup();
	put(IMSC, TX);
	ck_assert(!m.level[IRQ]);
	put(DR, 'h');
	put(DR, 'i');
	ck_assert(m.level[IRQ]);
	ck_assert_uint_eq(get(MIS), TX);
	put(ICR, TX);
	ck_assert(!m.level[IRQ]);
	ck_assert_uint_eq(get(FR) & 0x80, 0x80);
	run_rounds(m.platform.main_loop, 2);
	ck_assert_int_eq(read(host, text, sizeof(text)), 2);
	ck_assert_str_eq(text, "hi");
	teardown();
}
END_TEST

/* What nobody takes fills the FIFO, and no more; then the guest is told, and told again when there is room. */
START_TEST(output_back_pressure)
{
	unsigned int sent = 0;

	setup();
	put(LCR_H, 0x10);
	put(IMSC, TX);
	while (!(get(FR) & 0x20)) {
		ck_assert_uint_lt(sent++, 64 << 20);
		put(DR, 'x');
	}
	put(DR, 'y'); /* lost */
	ck_assert_uint_eq(get(RIS) & TX, 0);
	ck_assert(!m.level[IRQ]);
	ck_wait(transmitter_is_empty);
	ck_assert(m.level[IRQ]);
	teardown();
}
END_TEST

START_TEST(input_without_fifo_comes_byte_by_byte)
{
	setup();
	put(IMSC, RX | RT);
	host_sends("ab");
	ck_wait(has_data);
	ck_assert(m.level[IRQ]);
	ck_assert_uint_eq(get(FR) & 0x50, 0x40);
	ck_assert_uint_eq(get(DR), 'a');
	ck_assert(!m.level[IRQ]);
	ck_wait(has_data);
	ck_assert_uint_eq(get(DR), 'b');
	teardown();
}
END_TEST

START_TEST(input_below_and_above_the_trigger_level)
{
	setup();
	put(LCR_H, 0x10);
	put(IMSC, RX | RT);
	host_sends("12345");
	ck_wait(has_data);
	run_rounds(m.platform.main_loop, 2);
	ck_assert_uint_eq(get(RIS) & (RX | RT), RT);
	host_sends("67890abcdefghi"); /* three more than there is room for */
	ck_wait(receiver_is_full);
	ck_assert_uint_eq(get(RIS) & (RX | RT), RX | RT);
	for (int i = 0; i < 9; i++)
		get(DR);
	ck_assert_uint_eq(get(RIS) & (RX | RT), RT); /* seven are left, the level is eight */
	for (int i = 0; i < 7; i++)
		get(DR);
	for (const char *c = "ghi"; *c; c++) {
		ck_wait(has_data);
		ck_assert_uint_eq(get(DR), (unsigned char)*c);
	}
	ck_assert(!m.level[IRQ]);
	teardown();
}
END_TEST

START_TEST(an_overrun_is_told_with_the_next_character)
{
	setup();
	put(CR, 0x381);
	put(IMSC, OE);
	put(DR, 'a');
	put(DR, 'b');
	ck_assert(m.level[IRQ]);
	put(ICR, 0x7ff);
	ck_assert(!m.level[IRQ]);
	ck_assert_uint_eq(get(DR), 'a');
	put(DR, 'c');
	ck_assert_uint_eq(get(DR), 0x800 | 'c');
	ck_assert_uint_eq(get(RSR), 8);
	put(RSR, 0);
	ck_assert_uint_eq(get(RSR), 0);
	teardown();
}
END_TEST

START_TEST(random_accesses)
{
	uint32_t seed = 1;

	setup();
	for (int i = 0; i < 200000; i++) {
		uint8_t data[8];
		unsigned int len;

		seed = seed * 1664525 + 1013904223;
		len = 1u << (seed >> 30);
		memset(data, (int)(seed >> 8), sizeof(data));
		if (seed & 1)
			mem_space_io_write(m.platform.space, IO_MMIO, BASE + (seed >> 12 & 0x7f), data, len);
		else
			mem_space_io_read(m.platform.space, IO_MMIO, BASE + (seed >> 12 & 0xfff), data, len);
		if (i % 1000 == 0)
			run_rounds(m.platform.main_loop, 1);
	}
	teardown();
}
END_TEST

/* --- PL031 --- */

static uint32_t rtc_get(uint32_t reg)
{
	uint32_t value = 0;

	mem_space_io_read(m.platform.space, IO_MMIO, RTC_BASE + reg, &value, 4);
	return value;
}

static void rtc_put(uint32_t reg, uint32_t value)
{
	mem_space_io_write(m.platform.space, IO_MMIO, RTC_BASE + reg, &value, 4);
}

static bool alarm_came(void *opaque)
{
	(void)opaque;
	return rtc_get(0x14);
}

START_TEST(clock_shows_and_keeps_the_time)
{
	struct timespec ts;

	setup();
	fake_device(&m, "pl031", "rtc", NULL);
	ck_assert_uint_eq(rtc_get(0xfe0) | rtc_get(0xfe4) << 8, 0x1031);
	ck_assert_uint_eq(rtc_get(0x0c), 1);
	clock_gettime(CLOCK_REALTIME, &ts);
	ck_assert_uint_le(rtc_get(0) - (uint32_t)ts.tv_sec, 30);
	rtc_put(8, 1000);
	ck_assert_uint_eq(rtc_get(8), 1000);
	ck_assert_uint_le(rtc_get(0) - 1000, 30);
	devices_reset(&m.platform); /* the battery keeps it */
	ck_assert_uint_le(rtc_get(0) - 1000, 60);
	teardown();
}
END_TEST

START_TEST(alarm_interrupts_once)
{
	setup();
	fake_device(&m, "pl031", "rtc", NULL);
	rtc_put(0x10, 1);
	rtc_put(4, rtc_get(0) + 1);
	ck_assert(!m.level[RTC_IRQ]);
	ck_wait(alarm_came);
	ck_assert(m.level[RTC_IRQ]);
	ck_assert_uint_eq(rtc_get(0x18), 1);
	rtc_put(0x1c, 1);
	ck_assert(!m.level[RTC_IRQ]);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(rtc_get(0x14), 0);
	/* One in the past waits for the clock to come around. */
	rtc_put(4, rtc_get(0) - 10);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(rtc_get(0x14), 0);
	teardown();
}
END_TEST

UNIT_SUITE(pl011_suite, "pl011, pl031", registers_after_reset, identification,
	   output_arrives_and_tells_that_there_is_room, output_back_pressure, input_without_fifo_comes_byte_by_byte,
	   input_below_and_above_the_trigger_level, an_overrun_is_told_with_the_next_character, random_accesses,
	   clock_shows_and_keeps_the_time, alarm_interrupts_once)
UNIT_MAIN(pl011_suite)
