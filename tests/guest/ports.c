// SPDX-License-Identifier: Apache-2.0
/*
 * Port exits: every width, ports nobody owns, the 16550's registers, the real-time clock.
 */
#include "tests.h"

#define COM1		0x3f8
#define COM1_LCR	(COM1 + 3)
#define COM1_MCR	(COM1 + 4)
#define COM1_LSR	(COM1 + 5)
#define LCR_DLAB	0x80
#define MCR_LOOP	0x10
#define LSR_DATA_READY	0x01
#define LSR_THR_EMPTY	0x20

#define BOOT_TIME_PORT	0x3ff
#define PORT_UNASSIGNED	0x1230

static void unassigned(void)
{
	u8 bytes[16];
	u32 i;

	CHECK_EQ(inb(PORT_UNASSIGNED), 0xff);
	CHECK_EQ(inw(PORT_UNASSIGNED), 0xffff);
	CHECK_EQ(inl(PORT_UNASSIGNED), 0xffffffff);
	outb(PORT_UNASSIGNED, 1);
	outw(PORT_UNASSIGNED, 2);
	outl(PORT_UNASSIGNED, 3);
	CHECK_EQ(inl(PORT_UNASSIGNED), 0xffffffff);
	/* The last ports there are; the second access would reach past them. */
	CHECK_EQ(inb(0xffff), 0xff);
	CHECK_EQ(inw(0xfffe), 0xffff);
	outw(0xfffe, 0);
	/* String input: KVM hands several items over in one exit. */
	memset(bytes, 0, sizeof(bytes));
	kcall(k_insb, PORT_UNASSIGNED, (uintptr_t)bytes, sizeof(bytes));
	for (i = 0; i < sizeof(bytes); i++)
		CHECK_EQ(bytes[i], 0xff);
}

static void serial_registers(void)
{
	u8 lcr = inb(COM1_LCR), low, high, mcr = inb(COM1_MCR);

	/* The divisor hides behind DLAB, and comes back as written. */
	outb(COM1_LCR, LCR_DLAB | 3);
	low = inb(COM1);
	high = inb(COM1 + 1);
	outb(COM1, 0x12);
	outb(COM1 + 1, 0x34);
	CHECK_EQ(inb(COM1), 0x12);
	CHECK_EQ(inb(COM1 + 1), 0x34);
	outb(COM1, low);
	outb(COM1 + 1, high);
	outb(COM1_LCR, 3);
	CHECK_EQ(inb(COM1_LCR), 3);
	CHECK(inb(COM1_LSR) & LSR_THR_EMPTY);

	/* In loop-back mode what is sent comes in, and does not go out. */
	outb(COM1_MCR, MCR_LOOP);
	outb(COM1, 0x5a);
	CHECK(inb(COM1_LSR) & LSR_DATA_READY);
	CHECK_EQ(inb(COM1), 0x5a);
	CHECK(!(inb(COM1_LSR) & LSR_DATA_READY));
	outb(COM1_MCR, mcr);
	outb(COM1_LCR, lcr);
}

static void odd_widths(void)
{
	/* A wide access to byte-wide registers has no promised value, but must not end the guest. */
	inw(COM1_LCR);
	inl(COM1_LCR);
	inl(COM1 - 2);
	outw(0x70, 0x000d);
	inw(0x71);
	inl(0x60);
	inl(0x62);
	inl(0x500);
	outb(BOOT_TIME_PORT, 1);
	outw(BOOT_TIME_PORT, 2);
	inb(BOOT_TIME_PORT);
}

void test_ports(void)
{
	unassigned();
	serial_registers();
	odd_widths();
	print("ports done\n");
}

static u8 cmos(u8 reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static u32 cmos_number(u8 reg, bool binary)
{
	u8 v = cmos(reg);

	return binary ? v : (v >> 4) * 10 + (v & 15);
}

/* The runner compares what is printed here with the host's clock. */
void test_rtc(void)
{
	u32 sec, min, hour, day, month, year;
	u8 format = cmos(0x0b);
	bool binary = format & 4;

	CHECK(cmos(0x0d) & 0x80);
	CHECK(format & 2);	/* 24 hours */
	do {
		sec = cmos_number(0, binary);
		min = cmos_number(2, binary);
		hour = cmos_number(4, binary);
		day = cmos_number(7, binary);
		month = cmos_number(8, binary);
		year = cmos_number(9, binary) + 100 * cmos_number(0x32, binary);
	} while (sec != cmos_number(0, binary));
	print("rtc %04u-%02u-%02u %02u:%02u:%02u\n", year, month, day, hour, min, sec);
}
