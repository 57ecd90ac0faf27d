// SPDX-License-Identifier: Apache-2.0
/*
 * Interrupts of devices, by their level and by an edge; accesses to registers of every kind that a CPU describes to KVM, and
 * of the kind that it does not.
 */
#include "../lib/virtio.h"
#include "tests_aarch64.h"

#define PL011_IMSC	0x38
#define PL011_RIS	0x3c
#define PL011_ICR	0x44
#define INT_TX		(1u << 5)

#define INTID_SERIAL	INTID_SPI(SERIAL_SPI)

/* --- interrupts --- */

static volatile u32 left;

/* Silences the serial port when it has come so often. */
static void count_down(u32 cpu, u32 intid)
{
	(void)cpu;
	if (intid == INTID_SERIAL && !--left)
		write32(SERIAL_BASE + PL011_IMSC, 0);
}

static void by_level(void)
{
	volatile u32 *count = irq_counter(0, INTID_SERIAL);
	u32 seen;

	gic_spi(INTID_SERIAL, false, true);
	CHECK_EQ(*count, 0);
	/* The transmitter has run empty: the line is up until that is cleared, and comes again as long as it is up. */
	print("a line that makes the transmitter's interrupt raise\n");
	CHECK(read32(SERIAL_BASE + PL011_RIS) & INT_TX);
	irq_hook = count_down;
	left = 3;
	write32(SERIAL_BASE + PL011_IMSC, INT_TX);
	wait_for_interrupt(INTID_SERIAL, 0);
	wait_for_interrupt(INTID_SERIAL, 1);
	wait_for_interrupt(INTID_SERIAL, 2);
	CHECK_EQ(*count, 3);
	irq_hook = NULL;
	write32(SERIAL_BASE + PL011_ICR, INT_TX);
	write32(SERIAL_BASE + PL011_IMSC, INT_TX);
	asm volatile("msr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
	CHECK_EQ(*count, 3);
	write32(SERIAL_BASE + PL011_IMSC, 0);

	/* Switched off at the distributor it waits there. */
	gic_spi(INTID_SERIAL, false, false);
	print("once more\n");
	write32(SERIAL_BASE + PL011_IMSC, INT_TX);
	asm volatile("msr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
	CHECK_EQ(*count, 3);
	irq_hook = count_down;
	left = 1;
	seen = *count;
	gic_spi(INTID_SERIAL, false, true);
	wait_for_interrupt(INTID_SERIAL, seen);
	irq_hook = NULL;
}

/* A request out by ioeventfd, its completion in by irqfd, the CPU asleep in between. */
static void by_edge(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_RNG, 0);
	u32 intid = INTID_SPI(dev->gsi), i;
	volatile u32 *count = irq_counter(0, intid);
	static struct virtq vq;
	static u8 buf[32];
	struct seg seg = { buf, sizeof(buf) };
	struct virtq_used_elem elem;

	gic_spi(intid, true, true);
	REQUIRE(virtio_negotiate(dev, 0), "virtio-rng refuses its features");
	virtq_setup(dev, &vq, 0, 8);
	virtio_driver_ok(dev);
	for (i = 0; i < 16; i++) {
		virtq_add(&vq, &seg, 0, 1, 0);
		virtq_kick(&vq);
		wait_for_interrupt(intid, i);
		CHECK_EQ(*count, i + 1);
		CHECK_EQ(read32(dev->base + VM_INTERRUPT_STATUS), 1);
		write32(dev->base + VM_INTERRUPT_ACK, 1);
		CHECK_EQ(read32(dev->base + VM_INTERRUPT_STATUS), 0);
		CHECK(virtq_take(&vq, &elem));
	}
	/* And none when the driver asked for none. */
	virtq_want_interrupt(&vq, false);
	virtq_add(&vq, &seg, 0, 1, 0);
	virtq_kick(&vq);
	CHECK(virtq_poll(&vq, &elem, 5000));
	asm volatile("msr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
	CHECK_EQ(*count, 16);
}

void test_arm_irq(void)
{
	by_level();
	by_edge();
}

/* --- accesses --- */

#define LOAD(instruction, reg, address) ({						\
	u64 value_ = 0x5555555555555555;						\
	asm volatile(instruction " %" reg "0, [%1]" : "+r"(value_) : "r"((u64)(address)) : "memory"); \
	value_;										\
})
#define STORE_ZERO(instruction, reg, address) \
	asm volatile(instruction " " reg ", [%0]" :: "r"((u64)(address)) : "memory")

static void unassigned(u64 a)
{
	CHECK_EQ(LOAD("ldrb", "w", a), 0xff);
	CHECK_EQ(LOAD("ldrh", "w", a), 0xffff);
	CHECK_EQ(LOAD("ldr", "w", a), 0xffffffff);
	CHECK_EQ(LOAD("ldr", "x", a), ~0ull);
	write8(a, 1);
	write16(a, 2);
	write32(a, 3);
	write64(a, 4);
	STORE_ZERO("strb", "wzr", a);
	STORE_ZERO("str", "xzr", a);
	CHECK_EQ(read64(a), ~0ull);
}

/* (Loads that extend a sign are left out: TCG, below KVM in the rig, does not tell KVM of the sign.) */

/* A register that keeps what is written to it: the RTC's match register. */
static void stored(void)
{
	u64 match = RTC_BASE + 4;

	write32(match, 0x80706050);
	CHECK_EQ(LOAD("ldr", "w", match), 0x80706050);
	STORE_ZERO("str", "wzr", match);
	CHECK_EQ(read32(match), 0);
}

static void identity(void)
{
	static const u32 kinds[] = { VIRTIO_ID_BLK, VIRTIO_ID_RNG };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct virtio_dev *dev = virtio_get(kinds[i], 0);
		u64 at;

		CHECK_EQ(read32(dev->base + VM_MAGIC), VM_MAGIC_VALUE);
		CHECK_EQ(read32(dev->base + VM_VERSION), 2);
		CHECK(virtio_offered(dev) & FEATURE_VERSION_1);
		/* No promised value; the VMM and the device have to live through it. */
		for (at = dev->base; at < dev->base + VM_SIZE; at += 8) {
			if (at == dev->base + VM_QUEUE_NOTIFY)
				continue;
			read8(at + 1);
			read16(at + 2);
			read64(at);
		}
		CHECK_EQ(read32(dev->base + VM_MAGIC), VM_MAGIC_VALUE);
		CHECK_EQ(virtio_status(dev) & STATUS_NEEDS_RESET, 0);
	}
}

static void load_pair(u64 address)
{
	u64 a, b;

	asm volatile("ldp %0, %1, [%2]" : "=&r"(a), "=&r"(b) : "r"(address) : "memory");
}

static void store_pair(u64 address)
{
	asm volatile("stp xzr, xzr, [%0]" :: "r"(address) : "memory");
}

static void load_with_write_back(u64 address)
{
	u64 a;

	asm volatile("ldr %0, [%1], #8" : "=&r"(a), "+&r"(address) :: "memory");
}

/* What the CPU does not describe ends in an external abort, where KVM lets user space say so; the VM goes on. */
static void undescribed(u64 address)
{
	static void (*const how[])(u64) = { load_pair, store_pair, load_with_write_back };
	struct abort_info info;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(how); i++) {
		info = (struct abort_info){ 0, 0 };
		CHECK(tolerate_abort(how[i], address, &info));
		/* Data abort; synchronous external abort, not on a walk. KVM of Linux 6.1 sets the upper half, too. */
		CHECK_EQ(info.esr >> 26 & 0x3f, 0x25);
		CHECK_EQ(info.esr & 0x3f, 0x10);
	}
}

void test_arm_mmio(void)
{
	unassigned(HOLE);
	unassigned(boot_low_ram_end());
	stored();
	identity();
	undescribed(HOLE);
	undescribed(VIRTIO_BASE);
	CHECK_EQ(read32(VIRTIO_BASE), VM_MAGIC_VALUE);
	print("mmio done\n");
}
