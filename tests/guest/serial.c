// SPDX-License-Identifier: Apache-2.0
/*
 * Input on the serial line: by interrupt, without loss, however fast it comes; and a guest that
 * never reads. On the command line: count= bytes to expect.
 */
#include "tests.h"

#define COM1		0x3f8
#define COM1_IER	(COM1 + 1)
#define COM1_FCR	(COM1 + 2)
#define COM1_IIR	(COM1 + 2)
#define COM1_MCR	(COM1 + 4)
#define COM1_LSR	(COM1 + 5)
#define IER_DATA	1
#define FCR_ENABLE	1
#define FCR_CLEAR_RX	2
#define FCR_TRIGGER_8	0x80
#define MCR_RTS_OUT2	0x0a
#define LSR_DATA_READY	1
#define LSR_OVERRUN	2

#define GSI_SERIAL	4
#define VEC_SERIAL	0x41

/* The runner sends bytes that depend on their position. */
void test_serial_input(void)
{
	u32 count = cmdline_get_u64("count", 4096), n = 0, wrong = 0, overruns = 0;
	volatile u32 *irqs = irq_counter(0, VEC_SERIAL);

	lapic_tick(20000);
	ioapic_route(GSI_SERIAL, VEC_SERIAL);
	outb(COM1_FCR, FCR_ENABLE | FCR_CLEAR_RX | FCR_TRIGGER_8);
	outb(COM1_MCR, MCR_RTS_OUT2);
	outb(COM1_IER, IER_DATA);
	print("ready for input\n");
	while (n < count) {
		u32 seen = *irqs;
		u8 lsr = inb(COM1_LSR);

		if (lsr & LSR_OVERRUN)
			overruns++;
		if (!(lsr & LSR_DATA_READY)) {
			/* Edge-triggered: the identification has to be read for the next edge. */
			inb(COM1_IIR);
			if (!(inb(COM1_LSR) & LSR_DATA_READY))
				REQUIRE(irq_wait(0, VEC_SERIAL, seen, 10000),
					"%u of %u bytes, then no interrupt for 10 s", n, count);
			continue;
		}
		wrong += inb(COM1) != (u8)(n * 7 + (n >> 8));
		n++;
	}
	print("%u bytes, %u interrupts\n", n, *irqs);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(overruns, 0);
	CHECK(*irqs > 0);
}
