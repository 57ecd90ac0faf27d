// SPDX-License-Identifier: Apache-2.0
/*
 * Transport registers written when they should not be (late-queue-size, notify-index), features
 * nobody offered, status out of order; and a second CPU that changes descriptors while the device
 * reads them (double-fetch).
 */
#include "hostile.h"

static struct victim v;

/* An ordinary request on the queue as it stands, without any set-up. */
static void still_works(const char *name)
{
	struct virtq_used_elem elem;

	hostile_cases++;
	virtq_publish(&v.vq, v.head);
	virtq_notify(v.dev, 0);
	if (!virtq_poll(&v.vq, &elem, strict() ? 2000 : 20) && strict())
		test_fail(__FILE__, __LINE__, "%s: no answer, status %#x", name, virtio_status(v.dev));
	hostile_works(&v, name);
}

static void late_writes(void)
{
	static const u32 registers[] = {
		VM_DRIVER_FEATURES, VM_QUEUE_NUM, VM_QUEUE_DESC, VM_QUEUE_DESC + 4, VM_QUEUE_DRIVER,
		VM_QUEUE_DRIVER + 4, VM_QUEUE_DEVICE, VM_QUEUE_DEVICE + 4, VM_DEVICE_FEATURES_SEL,
		VM_DRIVER_FEATURES_SEL, VM_MAGIC, VM_VERSION, VM_DEVICE_ID, VM_QUEUE_NUM_MAX,
		VM_INTERRUPT_STATUS, VM_CONFIG_GENERATION, VM_CONFIG, 0x0ac, 0x0b0, 0x0d0, 0x0fc,
	};
	static const u32 values[] = { 0, 1, 3, 0x8000, 0xffffffff };
	u32 i, k;

	for (i = 0; i < ARRAY_SIZE(registers); i++)
		for (k = 0; k < ARRAY_SIZE(values); k++) {
			hostile_prepare(&v, 0);
			write32(v.dev->base + VM_QUEUE_SEL, 0);
			write32(v.dev->base + registers[i], values[k]);
			still_works("register written after DRIVER_OK");
		}
	hostile_prepare(&v, 0);
	write32(v.dev->base + VM_QUEUE_SEL, 0);
	write32(v.dev->base + VM_QUEUE_READY, 1);
	still_works("QueueReady written again");
}

static void notify_index(void)
{
	static const u32 bad[] = { 0xffffffff, 0xffff, 0x80000000, 0x10000, 64, 1u << 31 | 1 };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		hostile_prepare(&v, 0);
		virtq_notify(v.dev, bad[i]);
		still_works("notify of a queue that does not exist");
	}
	hostile_prepare(&v, 0);
	for (i = 0; i < 1000; i++)
		virtq_notify(v.dev, 0);
	still_works("a thousand notifies of nothing");
	/* Before DRIVER_OK, and before any queue. */
	virtio_reset(v.dev);
	virtq_notify(v.dev, 0);
	virtq_notify(v.dev, 0xffff);
	hostile_works(&v, "notify in reset");
}

static bool features_taken(u64 features)
{
	u64 base = v.dev->base;

	virtio_reset(v.dev);
	write32(base + VM_STATUS, STATUS_ACKNOWLEDGE);
	write32(base + VM_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	write32(base + VM_DRIVER_FEATURES_SEL, 0);
	write32(base + VM_DRIVER_FEATURES, features);
	write32(base + VM_DRIVER_FEATURES_SEL, 1);
	write32(base + VM_DRIVER_FEATURES, features >> 32);
	write32(base + VM_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	hostile_cases++;
	return virtio_status(v.dev) & STATUS_FEATURES_OK;
}

static void features_and_status(void)
{
	u64 base = v.dev->base;
	u32 s;

	/* 3.1.1, 6.1: no VERSION_1, and bits that were not offered, are refused. */
	CHECK(!features_taken(0) || !strict());
	hostile_works(&v, "no features");
	CHECK(!features_taken(FEATURE_VERSION_1 | 1ull << 50) || !strict());
	hostile_works(&v, "features not offered");
	CHECK(!features_taken(~0ull) || !strict());
	hostile_works(&v, "all features");
	/* Feature words that do not exist. */
	write32(base + VM_DRIVER_FEATURES_SEL, 0xffffffff);
	write32(base + VM_DRIVER_FEATURES, 0xffffffff);
	write32(base + VM_DRIVER_FEATURES_SEL, 2);
	write32(base + VM_DRIVER_FEATURES, 0xffffffff);
	hostile_works(&v, "feature words that do not exist");

	/* Every status value from reset, with a queue switched on. */
	for (s = 0; s < 256; s++) {
		virtio_reset(v.dev);
		write32(base + VM_STATUS, s);
		virtq_alloc(v.dev, &v.vq, 0, 16);
		virtq_enable(&v.vq);
		write32(base + VM_STATUS, s | STATUS_DRIVER_OK);
		virtq_notify(v.dev, 0);
		if (!(s & 15)) {
			hostile_cases++;
			hostile_works(&v, "status out of order");
		}
	}
	hostile_works(&v, "every status");
	/* FAILED is for ever, until a reset. */
	hostile_prepare(&v, 0);
	write32(base + VM_STATUS, virtio_status(v.dev) | STATUS_FAILED);
	CHECK(virtio_status(v.dev) & STATUS_FAILED);
	hostile_works(&v, "FAILED");
}

void test_hostile_registers(void)
{
	const char *victim = cmdline_get("victim");

	hostile_init(&v, victim && !strcmp(victim, "rng") ? VIRTIO_ID_RNG : VIRTIO_ID_BLK);
	late_writes();
	notify_index();
	features_and_status();
	print("%u hostile cases\n", hostile_cases);
}

static volatile u32 race_stop;
static struct virtq_desc *volatile race_desc;

/* The other CPU: now good, now bad, as fast as it can. */
static void race(u32 index)
{
	u64 good_addr = race_desc->addr;
	volatile struct virtq_desc *d = race_desc;

	(void)index;
	while (!race_stop) {
		d->len = 0xffffffff;
		d->addr = 0xe0000000;
		d->flags = DESC_INDIRECT;
		d->next = 0xffff;
		d->addr = good_addr;
		d->len = 512;
		d->next = 2;
		d->flags = DESC_NEXT | DESC_WRITE;
	}
}

void test_hostile_race(void)
{
	u32 rounds = cmdline_get_u64("rounds", 300), broken = 0, i;
	/* All rounds use this table, which the other CPU keeps changing. */
	static struct virtq_desc table[16] __attribute__((aligned(16)));

	hostile_init(&v, VIRTIO_ID_BLK);
	hostile_prepare(&v, 0);
	memcpy(table, v.vq.desc, sizeof(table));
	race_desc = &table[1];
	REQUIRE(smp_start(1, race) == 1, "the second CPU does not start");
	for (i = 0; i < rounds; i++) {
		u64 deadline = deadline_ms(5);
		u64 base = v.dev->base;

		virtio_reset(v.dev);
		write32(base + VM_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
		write32(base + VM_DRIVER_FEATURES_SEL, 0);
		write32(base + VM_DRIVER_FEATURES, 0);
		write32(base + VM_DRIVER_FEATURES_SEL, 1);
		write32(base + VM_DRIVER_FEATURES, FEATURE_VERSION_1 >> 32);
		write32(base + VM_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
		v.vq.desc = table;
		v.vq.avail->idx = 0;
		v.vq.used->idx = 0;
		virtq_enable(&v.vq);
		virtio_driver_ok(v.dev);
		while (!(virtio_status(v.dev) & STATUS_NEEDS_RESET) && !deadline_passed(deadline)) {
			virtq_publish(&v.vq, 0);
			virtq_notify(v.dev, 0);
		}
		broken += !!(virtio_status(v.dev) & STATUS_NEEDS_RESET);
	}
	race_stop = 1;
	print("%u rounds, %u ended in NEEDS_RESET\n", rounds, broken);
	hostile_works(&v, "after the race");
}
