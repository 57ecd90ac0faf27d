// SPDX-License-Identifier: Apache-2.0
/*
 * Interrupts: the serial port through the IOAPIC, virtio through irqfd, the local timer; and the
 * floating-point state a CPU starts with.
 */
#include "tests.h"
#include "lib/virtio.h"

#define COM1_IER	0x3f9
#define COM1_IIR	0x3fa
#define COM1_MCR	0x3fc
#define IER_THR_EMPTY	2
#define IIR_MASK	0x0f
#define IIR_NONE	1
#define IIR_THR_EMPTY	2
#define MCR_OUT2	8

#define GSI_SERIAL	4
#define VEC_SERIAL	0x41

static void serial_irq(void)
{
	volatile u32 *count = irq_counter(0, VEC_SERIAL);
	u32 seen;

	outb(COM1_IER, 0);
	inb(COM1_IIR);
	outb(COM1_MCR, inb(COM1_MCR) | MCR_OUT2);
	ioapic_route(GSI_SERIAL, VEC_SERIAL);
	CHECK_EQ(*count, 0);

	/* The holding register is empty, so enabling the interrupt raises it. */
	outb(COM1_IER, IER_THR_EMPTY);
	CHECK(irq_wait(0, VEC_SERIAL, 0, 2000));
	CHECK_EQ(inb(COM1_IIR) & IIR_MASK, IIR_THR_EMPTY);
	/* Reading the identification took the interrupt back. */
	CHECK_EQ(inb(COM1_IIR) & IIR_MASK, IIR_NONE);

	seen = *count;
	outb(0x3f8, '.');
	CHECK(irq_wait(0, VEC_SERIAL, seen, 2000));
	inb(COM1_IIR);

	/* Masked at the IOAPIC it does not arrive. */
	ioapic_mask(GSI_SERIAL);
	seen = *count;
	outb(COM1_IER, 0);
	outb(COM1_IER, IER_THR_EMPTY);
	CHECK(!irq_wait(0, VEC_SERIAL, seen, 50));
	outb(COM1_IER, 0);
	inb(COM1_IIR);
	print("\nserial interrupts: %u\n", *count);
}

/* A request out by ioeventfd, its completion in by irqfd, the CPU asleep in between. */
static void virtio_irq(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_RNG, 0);
	volatile u32 *count = irq_counter(0, dev->vector);
	static struct virtq vq;
	static u8 buf[32];
	struct seg seg = { buf, sizeof(buf) };
	struct virtq_used_elem elem;
	u32 i, seen;

	ioapic_route(dev->gsi, dev->vector);
	REQUIRE(virtio_negotiate(dev, 0), "virtio-rng refuses its features");
	virtq_setup(dev, &vq, 0, 8);
	virtio_driver_ok(dev);
	for (i = 0; i < 16; i++) {
		u64 start = rdtsc();

		seen = *count;
		virtq_add(&vq, &seg, 0, 1, 0);
		virtq_kick(&vq);
		REQUIRE(irq_wait(0, dev->vector, seen, 2000), "request %u: no interrupt in 2 s", i);
		if (!i)
			print("first completion after %lu us\n", tsc_to_us(rdtsc() - start));
		CHECK_EQ(read32(dev->base + VM_INTERRUPT_STATUS), 1);
		write32(dev->base + VM_INTERRUPT_ACK, 1);
		CHECK_EQ(read32(dev->base + VM_INTERRUPT_STATUS), 0);
		CHECK(virtq_take(&vq, &elem));
	}

	/* And none when the driver asked for none. */
	virtq_want_interrupt(&vq, false);
	seen = *count;
	virtq_add(&vq, &seg, 0, 1, 0);
	virtq_kick(&vq);
	CHECK(virtq_poll(&vq, &elem, 2000));
	CHECK(!irq_wait(0, dev->vector, seen, 50));
	print("virtio interrupts: %u\n", *count);
}

void test_irq(void)
{
	lapic_tick(5000);
	serial_irq();
	virtio_irq();
}

/* The local timer and the announced rate of the time-stamp counter have to agree. */
void test_timer(void)
{
	volatile u32 *ticks = irq_counter(0, VEC_TICK);
	u64 start, us;
	u32 i, seen;

	lapic_tick(10000);
	seen = *ticks;
	REQUIRE(irq_wait(0, VEC_TICK, seen, 2000), "no timer interrupt");
	start = rdtsc();
	seen = *ticks;
	for (i = 0; i < 50; i++)
		REQUIRE(irq_wait(0, VEC_TICK, seen + i, 2000), "no timer interrupt after %u", i);
	us = tsc_to_us(rdtsc() - start);
	print("50 ticks of 10 ms took %lu us by the TSC (%lu Hz, %s)\n", us, tsc_hz(), tsc_source());
	/* Ticks are made up for when the host was late, so there is little to allow for. */
	CHECK(us > 400000 && us < 750000);
}

void test_fpu(void)
{
	double a = 1.5, b = 2.25;
	u32 mxcsr = 0;
	u16 cw = 0;
	u64 sum;

	asm volatile("stmxcsr %0" : "=m"(mxcsr));
	asm volatile("fninit; fnstcw %0" : "=m"(cw));
	CHECK_EQ(mxcsr, 0x1f80);
	CHECK_EQ(cw, 0x37f);
	asm volatile("movsd %1, %%xmm7\n\taddsd %2, %%xmm7\n\tmovq %%xmm7, %0"
		     : "=r"(sum) : "m"(a), "m"(b));
	CHECK_EQ(sum, 0x400e000000000000);	/* 3.75 */
	asm volatile("fldl %1\n\tfaddl %2\n\tfstpl %0" : "=m"(sum) : "m"(a), "m"(b));
	CHECK_EQ(sum, 0x400e000000000000);
	print("fpu done\n");
}
