// SPDX-License-Identifier: Apache-2.0
/*
 * MMIO exits: every width, addresses nobody owns, virtio-mmio identity registers, straddles.
 */
#include "tests.h"
#include "lib/virtio.h"

/* Below the interrupt controllers and above any RAM a 32-bit machine has here. */
#define HOLE 0xe0000000

static void unassigned(u64 a)
{
	CHECK_EQ(read8(a), 0xff);
	CHECK_EQ(read16(a), 0xffff);
	CHECK_EQ(read32(a), 0xffffffff);
	CHECK_EQ(read64(a), ~0ull);
	write8(a, 1);
	write16(a, 2);
	write32(a, 3);
	write64(a, 4);
	CHECK_EQ(read64(a), ~0ull);
	/* Unaligned, and over a page's end: KVM makes two exits of it. */
	CHECK_EQ(read32(a + 0xffe), 0xffffffff);
	CHECK_EQ(read64(a + 0xffd), ~0ull);
	write64(a + 0xffd, 5);
}

static void identity(void)
{
	u32 kinds[] = { VIRTIO_ID_BLK, VIRTIO_ID_RNG }, i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct virtio_dev *dev = virtio_get(kinds[i], 0);

		print("virtio device %u at %#lx, GSI %u\n", dev->id, dev->base, dev->gsi);
		CHECK_EQ(read32(dev->base + VM_MAGIC), VM_MAGIC_VALUE);
		CHECK_EQ(read32(dev->base + VM_VERSION), 2);
		CHECK_EQ(read32(dev->base + VM_DEVICE_ID), kinds[i]);
		CHECK(virtio_offered(dev) & FEATURE_VERSION_1);
		/* Read-only registers keep their values. */
		write32(dev->base + VM_MAGIC, 0);
		write32(dev->base + VM_DEVICE_ID, 0);
		CHECK_EQ(read32(dev->base + VM_MAGIC), VM_MAGIC_VALUE);
		CHECK_EQ(read32(dev->base + VM_DEVICE_ID), kinds[i]);
		if (!strict())
			continue;
		/* There is nothing past the last pair of feature words. */
		write32(dev->base + VM_DEVICE_FEATURES_SEL, 0xffffffff);
		CHECK_EQ(read32(dev->base + VM_DEVICE_FEATURES), 0);
		write32(dev->base + VM_QUEUE_SEL, 0xffff);
		CHECK_EQ(read32(dev->base + VM_QUEUE_NUM_MAX), 0);
	}
}

/* No promised value; the VMM and the device have to live through it. */
static void straddles(struct virtio_dev *dev)
{
	u64 b = dev->base, off;
	u8 width;

	for (off = 0; off < VM_SIZE; off += 4) {
		if (off == VM_QUEUE_NOTIFY)
			continue;
		for (width = 1; width < 4; width++) {
			read16(b + off + width);
			read32(b + off + width);
			read64(b + off + width);
		}
		read8(b + off);
		read16(b + off);
		read64(b + off);
	}
	read16(b - 1);
	read32(b - 2);
	read64(b - 4);
	read16(b + VM_SIZE - 1);
	read32(b + VM_SIZE - 2);
	read64(b + VM_SIZE - 4);
	write64(b + VM_SIZE - 4, 0);
	write64(b - 4, 0);
	CHECK_EQ(read32(b + VM_MAGIC), VM_MAGIC_VALUE);
	CHECK_EQ(read32(b + VM_DEVICE_ID), dev->id);
}

/* One access, half in RAM, half behind its end. */
static void ram_end(void)
{
	u64 end = boot_low_ram_end();

	write32(end - 4, 0x11223344);
	CHECK_EQ(read64(end - 4), 0xffffffff11223344);
	write64(end - 4, 0x55667788aabbccdd);
	CHECK_EQ(read32(end - 4), 0xaabbccdd);
}

void test_mmio(void)
{
	if (strict()) {
		unassigned(HOLE);
		unassigned(boot_low_ram_end());
	}
	identity();
	straddles(virtio_get(VIRTIO_ID_BLK, 0));
	straddles(virtio_get(VIRTIO_ID_RNG, 0));
	if (strict())
		ram_end();
	print("mmio done\n");
}
