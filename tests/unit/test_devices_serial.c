/* SPDX-License-Identifier: Apache-2.0 */
/* The 16550A, register by register; the other end of its line is a socket pair. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "fake_machine.h"

#define PORT 0x3f8
#define RBR (PORT + 0)
#define THR (PORT + 0)
#define IER (PORT + 1)
#define IIR (PORT + 2)
#define FCR (PORT + 2)
#define LCR (PORT + 3)
#define MCR (PORT + 4)
#define LSR (PORT + 5)
#define MSR (PORT + 6)
#define SCR (PORT + 7)
#define IRQ 4

static const struct device_class *const classes[] = { &serial_class, &boot_timer_class, NULL };

static struct fake_machine m;
static struct chardev *chr;
static int host; /* our end of the line */

static void setup(void)
{
	char text[64];
	int pair[2];

	fake_machine_init(&m, classes);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	host = pair[0];
	snprintf(text, sizeof(text), "socket,id=line,fd=%d", pair[1]);
	chr = make_chardev(&m, text);
	fake_device(&m, "isa-serial", "serial0", "chardev=line");
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
	return inb(&m, LSR) & 0x01;
}

static bool line_is_high(void *opaque)
{
	(void)opaque;
	return m.level[IRQ];
}

#define ck_wait(condition)                                                                         \
	ck_assert_msg(run_until(m.platform.main_loop, condition, NULL),                            \
		      "waited in vain for " #condition)

START_TEST(registers_after_reset)
{
	setup();
	for (int round = 0; round < 2; round++) {
		ck_assert_uint_eq(inb(&m, IER), 0x00);
		ck_assert_uint_eq(inb(&m, IIR), 0x01);
		ck_assert_uint_eq(inb(&m, LCR), 0x00);
		ck_assert_uint_eq(inb(&m, MCR), 0x00);
		ck_assert_uint_eq(inb(&m, LSR), 0x60);
		ck_assert_uint_eq(inb(&m, MSR), 0xb0);
		ck_assert_uint_eq(inb(&m, SCR), 0x00);
		outb(&m, LCR, 0x80);
		ck_assert_uint_eq(inb(&m, PORT), 12);
		ck_assert_uint_eq(inb(&m, PORT + 1), 0);
		/* Dirty everything for the second round. */
		outb(&m, PORT, 0x34);
		outb(&m, PORT + 1, 0x12);
		outb(&m, LCR, 0x1f);
		outb(&m, IER, 0x0f);
		outb(&m, FCR, 0xc1);
		outb(&m, MCR, 0x1f);
		outb(&m, SCR, 0x77);
		outb(&m, THR, 'x'); /* looped back */
		ck_assert(m.level[IRQ]);
		devices_reset(&m.platform);
		ck_assert(!m.level[IRQ]);
	}
	teardown();
}
END_TEST

START_TEST(which_bits_registers_keep)
{
	setup();
	outb(&m, IER, 0xff);
	ck_assert_uint_eq(inb(&m, IER), 0x0f);
	outb(&m, IER, 0x00);
	outb(&m, MCR, 0xff);
	ck_assert_uint_eq(inb(&m, MCR), 0x1f);
	outb(&m, MCR, 0x00);
	outb(&m, LCR, 0x7f);
	ck_assert_uint_eq(inb(&m, LCR), 0x7f);
	outb(&m, SCR, 0xa5);
	ck_assert_uint_eq(inb(&m, SCR), 0xa5);
	inb(&m, MSR); /* the deltas of the loopback above */
	outb(&m, LSR, 0xff);
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	outb(&m, MSR, 0xff);
	ck_assert_uint_eq(inb(&m, MSR), 0xb0);
	/* The divisor latch hides behind DLAB and keeps all 16 bits. */
	outb(&m, LCR, 0x83);
	outb(&m, PORT, 0xcd);
	outb(&m, PORT + 1, 0xab);
	outb(&m, LCR, 0x03);
	ck_assert_uint_eq(inb(&m, IER), 0x00);
	outb(&m, LCR, 0x83);
	ck_assert_uint_eq(inb(&m, PORT), 0xcd);
	ck_assert_uint_eq(inb(&m, PORT + 1), 0xab);
	/* IIR shows the FIFOs; without the enable bit FCR's other bits are not taken. */
	outb(&m, FCR, 0xc0);
	ck_assert_uint_eq(inb(&m, IIR), 0x01);
	outb(&m, FCR, 0x01);
	ck_assert_uint_eq(inb(&m, IIR), 0xc1);
	teardown();
}
END_TEST

START_TEST(output_arrives_and_the_transmitter_stays_empty)
{
	char got[8] = "";

	setup();
	outb(&m, THR, 'o');
	outb(&m, THR, 'k');
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	ck_assert_int_eq(read(host, got, sizeof(got)), 2);
	ck_assert_str_eq(got, "ok");
	ck_assert_uint_eq(m.rises[IRQ], 0);
	teardown();
}
END_TEST

/* In both FIFO modes: enabling raises it, reading IIR or writing THR takes it back, an empty
 * transmitter raises it. */
START_TEST(transmitter_empty_interrupt)
{
	setup();
	for (unsigned int fifo = 0; fifo < 2; fifo++) {
		uint8_t top = fifo ? 0xc0 : 0;

		outb(&m, FCR, (uint8_t)fifo);
		outb(&m, IER, 0x02);
		ck_assert(m.level[IRQ]);
		ck_assert_uint_eq(inb(&m, IIR), top | 0x02);
		ck_assert(!m.level[IRQ]);
		ck_assert_uint_eq(inb(&m, IIR), top | 0x01);
		outb(&m, THR, 'a');
		ck_assert(m.level[IRQ]);
		ck_assert_uint_eq(inb(&m, IIR), top | 0x02);
		/* Already enabled: no new interrupt. */
		outb(&m, IER, 0x02);
		ck_assert(!m.level[IRQ]);
		outb(&m, IER, 0x00);
		outb(&m, IER, 0x02);
		ck_assert(m.level[IRQ]);
		outb(&m, IER, 0x00);
		ck_assert(!m.level[IRQ]);
	}
	/* A driver without FIFOs may write from its handler without a look at IIR: each byte is an
	 * edge. */
	outb(&m, FCR, 0);
	outb(&m, IER, 0x02);
	m.rises[IRQ] = 0;
	for (int i = 0; i < 5; i++)
		outb(&m, THR, 'x');
	ck_assert_uint_eq(m.rises[IRQ], 5);
	ck_assert(m.level[IRQ]);
	teardown();
}
END_TEST

START_TEST(received_data_interrupt)
{
	setup();
	outb(&m, IER, 0x01);
	host_sends("AB");
	ck_wait(line_is_high);
	ck_assert_uint_eq(inb(&m, IIR), 0x04);
	ck_assert_uint_eq(inb(&m, IIR), 0x04); /* reading IIR does not take it back */
	ck_assert_uint_eq(inb(&m, LSR), 0x61);
	ck_assert_uint_eq(inb(&m, RBR), 'A');
	ck_assert(!m.level[IRQ]); /* without FIFO there is room for one */
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	ck_wait(line_is_high);
	ck_assert_uint_eq(inb(&m, RBR), 'B');
	ck_assert_uint_eq(inb(&m, RBR), 'B'); /* an empty receiver repeats itself */
	teardown();
}
END_TEST

START_TEST(trigger_levels)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	setup();
	outb(&m, LCR, 0x80);
	outb(&m, PORT, 0xff); /* the slowest baud rate: no time-out comes in between */
	outb(&m, PORT + 1, 0xff);
	outb(&m, LCR, 0x03);
	for (unsigned int i = 0; i < ARRAY_SIZE(levels); i++) {
		outb(&m, FCR, (uint8_t)(i << 6 | 0x07));
		outb(&m, IER, 0x01);
		for (unsigned int n = 1; n < levels[i]; n++)
			host_sends("x");
		run_rounds(m.platform.main_loop, 3);
		ck_assert_msg(!m.level[IRQ], "interrupt below trigger level %u", levels[i]);
		host_sends("y");
		ck_wait(line_is_high);
		ck_assert_uint_eq(inb(&m, IIR), 0xc4);
		inb(&m, RBR);
		ck_assert_msg(!m.level[IRQ], "interrupt stays below trigger level %u", levels[i]);
		for (unsigned int n = 1; n < levels[i]; n++)
			inb(&m, RBR);
		ck_assert_uint_eq(inb(&m, LSR), 0x60);
		outb(&m, IER, 0x00);
	}
	teardown();
}
END_TEST

START_TEST(character_timeout)
{
	setup();
	outb(&m, LCR, 0x80);
	outb(&m, PORT, 1);
	outb(&m, LCR, 0x03);
	outb(&m, FCR, 0xc1); /* trigger level 14 */
	outb(&m, IER, 0x01);
	host_sends("abc");
	ck_wait(line_is_high);
	ck_assert_uint_eq(inb(&m, IIR), 0xcc);
	/* Reading starts the time again: what is left times out anew. */
	ck_assert_uint_eq(inb(&m, RBR), 'a');
	ck_assert(!m.level[IRQ]);
	ck_wait(line_is_high);
	ck_assert_uint_eq(inb(&m, IIR), 0xcc);
	ck_assert_uint_eq(inb(&m, RBR), 'b');
	ck_assert_uint_eq(inb(&m, RBR), 'c');
	ck_assert(!m.level[IRQ]);
	run_rounds(m.platform.main_loop, 5);
	ck_assert(!m.level[IRQ]); /* an empty FIFO does not time out */
	teardown();
}
END_TEST

START_TEST(loopback)
{
	char got;

	setup();
	inb(&m, MSR);
	outb(&m, MCR, 0x10);
	/* The four outputs come back as the four inputs: RTS→CTS, DTR→DSR, OUT1→RI, OUT2→DCD. */
	ck_assert_uint_eq(inb(&m, MSR), 0x0b); /* they were up before */
	ck_assert_uint_eq(inb(&m, MSR), 0x00);
	outb(&m, MCR, 0x12);
	ck_assert_uint_eq(inb(&m, MSR), 0x11);
	outb(&m, MCR, 0x13);
	ck_assert_uint_eq(inb(&m, MSR), 0x32);
	outb(&m, MCR, 0x17);
	ck_assert_uint_eq(inb(&m, MSR), 0x70); /* the leading edge of RI is no event */
	outb(&m, MCR, 0x13);
	ck_assert_uint_eq(inb(&m, MSR), 0x34);
	outb(&m, MCR, 0x1b);
	ck_assert_uint_eq(inb(&m, MSR), 0xb8);
	/* Data comes back and does not leave; what the host sends waits. */
	host_sends("h");
	outb(&m, THR, 'L');
	run_rounds(m.platform.main_loop, 5);
	ck_assert_uint_eq(inb(&m, LSR), 0x61);
	ck_assert_uint_eq(inb(&m, RBR), 'L');
	run_rounds(m.platform.main_loop, 5);
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	ck_assert_int_eq(read(host, &got, 1), -1);
	outb(&m, MCR, 0x0b);
	ck_wait(has_data);
	ck_assert_uint_eq(inb(&m, RBR), 'h');
	teardown();
}
END_TEST

START_TEST(interrupt_priorities)
{
	setup();
	outb(&m, MCR, 0x10);
	inb(&m, MSR);
	outb(&m, FCR, 0x01);
	outb(&m, IER, 0x0f);
	inb(&m, IIR); /* transmitter empty, from enabling it */
	ck_assert(!m.level[IRQ]);
	outb(&m, MCR, 0x12); /* modem status */
	for (int i = 0; i < 17; i++)
		outb(&m, THR, (uint8_t)i); /* data, transmitter empty, and an overrun */
	ck_assert(m.level[IRQ]);
	ck_assert_uint_eq(inb(&m, IIR), 0xc6);
	ck_assert_uint_eq(inb(&m, LSR), 0x63);
	ck_assert_uint_eq(inb(&m, IIR), 0xc4);
	for (int i = 0; i < 16; i++)
		ck_assert_uint_eq(inb(&m, RBR), i); /* an overrun loses the new one */
	ck_assert_uint_eq(inb(&m, IIR), 0xc2);
	ck_assert_uint_eq(inb(&m, IIR), 0xc0);
	ck_assert(m.level[IRQ]);
	inb(&m, MSR);
	ck_assert_uint_eq(inb(&m, IIR), 0xc1);
	ck_assert(!m.level[IRQ]);
	teardown();
}
END_TEST

START_TEST(overrun_without_fifo_keeps_the_new_byte)
{
	setup();
	outb(&m, MCR, 0x10);
	outb(&m, THR, '1');
	outb(&m, THR, '2');
	ck_assert_uint_eq(inb(&m, LSR), 0x63);
	ck_assert_uint_eq(inb(&m, LSR), 0x61); /* reading clears the error */
	ck_assert_uint_eq(inb(&m, RBR), '2');
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	teardown();
}
END_TEST

START_TEST(fifo_clearing)
{
	setup();
	outb(&m, MCR, 0x10);
	outb(&m, FCR, 0x01);
	outb(&m, THR, 'a');
	outb(&m, THR, 'b');
	outb(&m, FCR, 0x03);
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	outb(&m, THR, 'c');
	outb(&m, FCR, 0x05); /* the transmitter's only */
	ck_assert_uint_eq(inb(&m, RBR), 'c');
	outb(&m, THR, 'd');
	outb(&m, FCR, 0x00); /* a change of mode clears both */
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	teardown();
}
END_TEST

static char received[1 << 20];
static size_t received_len;

static bool host_got_all(void *opaque)
{
	ssize_t n = read(host, received + received_len, sizeof(received) - received_len);

	if (n > 0)
		received_len += (size_t)n;
	return received_len == *(size_t *)opaque && (inb(&m, LSR) & 0x60) == 0x60;
}

/* A host that does not read: the guest sees a full transmitter, nothing is lost or grows, and it
 * goes on later. */
START_TEST(output_back_pressure)
{
	size_t sent = 0, dropped = 0;

	setup();
	outb(&m, FCR, 0x01);
	outb(&m, IER, 0x02);
	inb(&m, IIR);
	while ((inb(&m, LSR) & 0x20) && sent < sizeof(received)) {
		outb(&m, THR, (uint8_t)(sent % 251));
		sent++;
	}
	ck_assert_uint_lt(sent, sizeof(received)); /* the socket's buffer and 64 KiB */
	ck_assert_uint_gt(sent, 64 * KIB);
	/* The transmit FIFO takes 15 more, a guest that goes on regardless loses its bytes. */
	for (int i = 0; i < 15; i++)
		outb(&m, THR, (uint8_t)(sent++ % 251));
	for (int i = 0; i < 100000; i++, dropped++)
		outb(&m, THR, 0xff);
	ck_assert_uint_eq(inb(&m, LSR) & 0x60, 0);
	ck_assert(!m.level[IRQ]);
	ck_assert_msg(run_until(m.platform.main_loop, host_got_all, &sent), "got %zu of %zu bytes",
		      received_len, sent);
	for (size_t i = 0; i < sent; i++)
		ck_assert_uint_eq((uint8_t)received[i], i % 251);
	ck_assert(m.level[IRQ]);
	ck_assert_uint_eq(inb(&m, IIR), 0xc2);
	teardown();
}
END_TEST

static size_t resident_kib(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	ck_assert_int_eq(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	return pages * (size_t)(sysconf(_SC_PAGESIZE) / 1024);
}

/* hostile-guests: serial-growth. A guest that reads nothing while megabytes come in. */
START_TEST(serial_growth)
{
	static char block[65536];
	size_t sent = 0, before, got = 0;
	ssize_t n;

	setup();
	outb(&m, FCR, 0x01);
	before = resident_kib();
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i % 241);
	for (int round = 0; round < 100; round++) {
		while ((n = write(host, block + sent % 241, 241)) > 0) {
			ck_assert_int_eq(n, 241);
			sent += (size_t)n;
			ck_assert_msg(sent < 4 * MIB, "the VMM takes input that nobody reads");
		}
		run_rounds(m.platform.main_loop, 1);
	}
	ck_assert_uint_lt(resident_kib(), before + 1024);
	/* Nothing of it is lost, and it keeps its order. */
	while (got < sent) {
		ck_wait(has_data);
		while (inb(&m, LSR) & 0x01) {
			ck_assert_uint_eq(inb(&m, RBR), got % 241);
			got++;
		}
	}
	teardown();
}
END_TEST

/* hostile-guests: fifo-index. Any sequence of accesses, of any width. */
START_TEST(random_accesses)
{
	uint32_t seed = 12345;
	char sink[4096];

	setup();
	for (unsigned int i = 0; i < 200000; i++) {
		uint64_t value;
		uint16_t port;
		unsigned int len;

		seed = seed * 1664525 + 1013904223;
		port = (uint16_t)(PORT - 2 + (seed >> 8) % 12);
		len = 1u << ((seed >> 16) % 3);
		value = seed >> 3;
		if (seed & 0x80000000)
			mem_space_io_write(m.platform.space, IO_PORT, port, &value, len);
		else
			mem_space_io_read(m.platform.space, IO_PORT, port, &value, len);
		if (i % 64 == 0)
			ck_assert_int_ge(write(host, "input", 5), -1);
		while (i % 16 == 0 && read(host, sink, sizeof(sink)) > 0)
			;
		if (i % 4096 == 0)
			run_rounds(m.platform.main_loop, 2);
		if (i % 8 == 0) { /* the line is what the registers say */
			bool level = m.level[IRQ];

			ck_assert_uint_eq(level, !(inb(&m, IIR) & 0x01));
		}
	}
	devices_reset(&m.platform);
	ck_assert(!m.level[IRQ]);
	ck_assert_uint_eq(inb(&m, IIR), 0x01);
	teardown();
}
END_TEST

/* The boot timer's port is COM1's scratch register: both at once, in the machine's order. */
START_TEST(beside_the_boot_timer)
{
	fake_machine_init(&m, classes);
	fake_device(&m, "boot-timer", "bt", NULL);
	fake_device(&m, "isa-serial", "s0", NULL);
	fake_device(&m, "isa-serial", "s1", "index=1");
	outb(&m, SCR, 0x5a);
	ck_assert_uint_eq(inb(&m, SCR), 0x5a);
	outb(&m, 0x2ff, 0xa5);
	ck_assert_uint_eq(inb(&m, 0x2ff), 0xa5);
	ck_assert_uint_eq(inb(&m, SCR), 0x5a);
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	/* Without a back end output vanishes at full speed. */
	for (int i = 0; i < 1000; i++)
		outb(&m, THR, 'x');
	ck_assert_uint_eq(inb(&m, LSR), 0x60);
	/* Index 1 is on IRQ 3. */
	outb(&m, 0x2f9, 0x02);
	ck_assert(m.level[3]);
	ck_assert(!m.level[4]);
	fake_machine_release(&m);
}
END_TEST

START_TEST(one_user_a_chardev)
{
	struct error *err = NULL;
	struct device *dev = NULL;

	setup();
	ck_assert_int_eq(device_create_internal(&m.platform, "isa-serial", "s1",
						"index=1,chardev=line", &dev, &err),
			 -EBUSY);
	ck_assert_error(err, "device isa-serial,id=s1: chardev 'line' is already in use");
	/* It was undone: the ports are free again. */
	fake_device(&m, "isa-serial", "s1", "index=1");
	ck_assert_int_eq(
		device_create_internal(&m.platform, "isa-serial", "s2", "index=1", &dev, &err),
		-EEXIST);
	ck_assert_ptr_nonnull(err);
	error_free(err);
	teardown();
}
END_TEST

UNIT_SUITE(serial_suite, "serial", registers_after_reset, which_bits_registers_keep,
	   output_arrives_and_the_transmitter_stays_empty, transmitter_empty_interrupt,
	   received_data_interrupt, trigger_levels, character_timeout, loopback,
	   interrupt_priorities, overrun_without_fifo_keeps_the_new_byte, fifo_clearing,
	   output_back_pressure, serial_growth, random_accesses, beside_the_boot_timer,
	   one_user_a_chardev)
UNIT_MAIN(serial_suite)
