// SPDX-License-Identifier: Apache-2.0
/*
 * Rings in the wrong place, of the wrong size, or never set up (ring-out-of-ram, zero-queue).
 */
#include "hostile.h"

static struct victim v;

/* Up to the point where the queue's registers may be written. */
static void begin(void)
{
	REQUIRE(virtio_negotiate(v.dev, 0), "features refused");
	virtq_alloc(v.dev, &v.vq, 0, 16);
}

/* Switches the queue on as it is and knocks. */
static void go(const char *name, enum outcome want)
{
	virtq_enable(&v.vq);
	virtio_driver_ok(v.dev);
	virtq_notify(v.dev, 0);
	hostile_verdict(&v, name, want);
}

static void places(void)
{
	u64 end = boot_low_ram_end(), bad[] = {
		end, end - 16, 0xe0000000, v.dev->base, LAPIC_BASE, ~0ull - 15, ~0ull - 4095, 1ull << 63,
	};
	u32 i, ring;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		for (ring = 0; ring < 3; ring++) {
			volatile struct virtq_used *used;

			begin();
			used = v.vq.used;
			if (ring == 0)
				v.vq.desc = (void *)bad[i];
			else if (ring == 1)
				v.vq.avail = (void *)bad[i];
			else
				v.vq.used = (void *)bad[i];
			virtq_enable(&v.vq);
			/* What is judged must be memory. */
			v.vq.used = used;
			virtio_driver_ok(v.dev);
			virtq_notify(v.dev, 0);
			hostile_verdict(&v, "ring outside RAM", BROKEN);
		}
	begin();
	v.vq.desc = (void *)((uintptr_t)v.vq.desc + 8);
	go("descriptor table not aligned", BROKEN);
	begin();
	v.vq.avail = (void *)((uintptr_t)v.vq.avail + 1);
	go("available ring not aligned", BROKEN);
	begin();
	v.vq.used = (void *)((uintptr_t)v.vq.used + 2);
	go("used ring not aligned", BROKEN);
	/* All three over each other. */
	begin();
	v.vq.avail = (void *)v.vq.desc;
	v.vq.used = (void *)v.vq.desc;
	go("rings over each other", SURVIVES);
}

static void sizes(void)
{
	static const u32 bad[] = { 0, 3, 0x8000, 0xffff, 0x10000, 0xffffffff };
	u32 i, max;

	write32(v.dev->base + VM_QUEUE_SEL, 0);
	max = read32(v.dev->base + VM_QUEUE_NUM_MAX);
	for (i = 0; i <= ARRAY_SIZE(bad); i++) {
		u64 base = v.dev->base;

		begin();
		write32(base + VM_QUEUE_SEL, 0);
		write32(base + VM_QUEUE_NUM, i < ARRAY_SIZE(bad) ? bad[i] : 2 * max);
		write32(base + VM_QUEUE_DESC, (uintptr_t)v.vq.desc);
		write32(base + VM_QUEUE_DRIVER, (uintptr_t)v.vq.avail);
		write32(base + VM_QUEUE_DEVICE, (uintptr_t)v.vq.used);
		write32(base + VM_QUEUE_READY, 1);
		virtio_driver_ok(v.dev);
		virtq_notify(v.dev, 0);
		hostile_verdict(&v, "queue size", BROKEN);
	}
	/* QueueReady, nothing else. */
	begin();
	write32(v.dev->base + VM_QUEUE_SEL, 0);
	write32(v.dev->base + VM_QUEUE_READY, 1);
	virtio_driver_ok(v.dev);
	virtq_notify(v.dev, 0);
	hostile_verdict(&v, "queue without addresses", BROKEN);
	/* Not even that. */
	begin();
	virtio_driver_ok(v.dev);
	virtq_notify(v.dev, 0);
	hostile_verdict(&v, "queue never set up", UNHARMED);
	/* A queue that does not exist. */
	begin();
	write32(v.dev->base + VM_QUEUE_SEL, 0xffff);
	write32(v.dev->base + VM_QUEUE_NUM, 16);
	write32(v.dev->base + VM_QUEUE_READY, 1);
	CHECK(!read32(v.dev->base + VM_QUEUE_READY) || !strict());
	virtio_driver_ok(v.dev);
	virtq_notify(v.dev, 0xffff);
	hostile_verdict(&v, "queue that does not exist", UNHARMED);
}

/* A queue that was reset comes back broken while the device runs. */
static void after_ring_reset(void)
{
	static const u64 bad[] = { 0xe0000000, ~0ull - 15, 8 };
	u32 i;

	if (!strict())
		return;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		hostile_prepare(&v, FEATURE_RING_RESET);
		write32(v.dev->base + VM_QUEUE_SEL, 0);
		write32(v.dev->base + VM_QUEUE_RESET, 1);
		CHECK_EQ(read32(v.dev->base + VM_QUEUE_READY), 0);
		v.vq.desc = (void *)bad[i];
		virtq_enable(&v.vq);
		virtq_notify(v.dev, 0);
		hostile_verdict(&v, "ring outside RAM after a queue reset", BROKEN);
	}
}

void test_hostile_rings(void)
{
	const char *victim = cmdline_get("victim");

	hostile_init(&v, victim && !strcmp(victim, "rng") ? VIRTIO_ID_RNG : VIRTIO_ID_BLK);
	places();
	sizes();
	after_ring_reset();
	print("%u hostile cases\n", hostile_cases);
}
