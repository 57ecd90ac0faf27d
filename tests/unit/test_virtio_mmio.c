// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-mmio registers in every state (virtio 1.2 §4.2), on a device that only counts what reaches it.
 * late-queue-size, notify-index, zero-queue, ring-out-of-ram, config-mask, mmio-straddle, chain-error.
 */
#include "virtio_rig.h"

#define VERSION_1 VIRTIO_F_VERSION_1
#define DEVICE_FEATURE (1ULL << 3)
#define QUEUES 2

static unsigned int started, stopped, handled[QUEUES], popped;

static void echo_handle(struct virtio_queue *queue)
{
	struct virtq_chain chain;

	handled[queue->index]++;
	while (virtio_queue_pop(queue, &chain)) {
		popped++;
		virtqueue_push(&queue->vq, chain.head, chain.in_len);
	}
	virtio_queue_flush(queue);
}

static void echo_start(struct virtio_device *vdev)
{
	(void)vdev;
	started++;
}

static void echo_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	(void)vdev;
	(void)queue;
	stopped++;
}

static int echo_realize(struct virtio_device *vdev, struct error **errp)
{
	static const uint8_t config[] = { 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77 };

	vdev->home = vdev->dev.platform->main_loop;
	vdev->features_offered = DEVICE_FEATURE;
	virtio_device_set_config(vdev, config, sizeof(config));
	return virtio_device_add_queues(vdev, QUEUES, 64, errp);
}

static void echo_unrealize(struct virtio_device *vdev)
{
	(void)vdev;
}

static const struct virtio_device_ops echo_ops = {
	.device_id = 42, .realize = echo_realize, .unrealize = echo_unrealize,
	.start = echo_start, .stop = echo_stop, .handle_queue = echo_handle,
};

struct echo {
	struct virtio_device vdev;
};
static const struct property echo_props[] = { VIRTIO_FEATURE_PROPS(struct echo), PROP_END };

static const struct device_class echo_class = {
	.name = "echo-device", .props = echo_props, .instance_size = sizeof(struct virtio_device), .data = &echo_ops,
	VIRTIO_MMIO_CLASS,
};

static void setup(void)
{
	static const struct device_class *const classes[] = { &echo_class, NULL };

	/* Tests may share a process (CK_FORK=no). */
	started = stopped = popped = 0;
	memset(handled, 0, sizeof(handled));

	rig_open(classes);
	ck_assert_ptr_null(rig_create("echo-device,id=e0"));
}

static bool never(void)
{
	return false;
}

static void run_loop(void)
{
	run_until(never, 20);
}

/* Negotiated, queue 0 with 16 entries, running. */
static void run_device(uint64_t features)
{
	ck_assert(negotiate(features | VERSION_1));
	drvq_open(0, 16);
	driver_ok();
}

static void expect_works(void)
{
	drvq_desc(0, 0x1000, 64, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	ck_assert_uint_eq(drvq_wait(NULL), 64);
	ck_assert(!rig_broken());
}

START_TEST(identity)
{
	ck_assert_uint_eq(rd(R_MAGIC), 0x74726976);
	ck_assert_uint_eq(rd(R_VERSION), 2);
	ck_assert_uint_eq(rd(R_DEVICE_ID), 42);
	ck_assert_uint_eq(rd(R_VENDOR_ID), 0);
	ck_assert_uint_eq(offered(), DEVICE_FEATURE | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VERSION_1 |
				     VIRTIO_F_RING_RESET);
	wr(R_FEATURES_SEL, 2);
	ck_assert_uint_eq(rd(R_FEATURES), 0);
	wr(R_QUEUE_SEL, QUEUES - 1);
	ck_assert_uint_eq(rd(R_NUM_MAX), 64);
	wr(R_QUEUE_SEL, QUEUES);
	ck_assert_uint_eq(rd(R_NUM_MAX), 0);
	ck_assert_uint_eq(rd(R_READY), 0);
	ck_assert_uint_eq(rd(R_SHM_LEN), 0xffffffff);
	ck_assert_uint_eq(rd(R_SHM_LEN + 4), 0xffffffff);
}
END_TEST

START_TEST(features_rules)
{
	ck_assert(!negotiate(0)); /* §6.1 */
	ck_assert(!negotiate(DEVICE_FEATURE));
	ck_assert(!negotiate(VERSION_1 | 1ULL << 4));
	ck_assert(!negotiate(~0ULL));
	ck_assert(negotiate(VERSION_1));
	ck_assert(negotiate(VERSION_1 | DEVICE_FEATURE));
	/* Fixed from FEATURES_OK on. */
	wr(R_DRIVER_SEL, 0);
	wr(R_DRIVER, 0xffffffff);
	drvq_open(0, 16);
	driver_ok();
	ck_assert_uint_eq(((struct virtio_device *)rig.dev)->features, VERSION_1 | DEVICE_FEATURE);
	expect_works();
}
END_TEST

START_TEST(status_rules)
{
	/* Every value at once, from reset: DRIVER_OK needs FEATURES_OK, which needs VERSION_1. */
	for (unsigned int s = 1; s < 256; s++) {
		wr(R_STATUS, 0);
		ck_assert_uint_eq(rd(R_STATUS), 0);
		wr(R_STATUS, s);
		ck_assert_uint_eq(rd(R_STATUS), s & (S_ACK | S_DRIVER | 128));
	}
	ck_assert_uint_eq(started, 0);
	/* Bits are never taken back but by a reset. */
	run_device(0);
	wr(R_STATUS, S_ACK);
	ck_assert_uint_eq(rd(R_STATUS), S_ACK | S_DRIVER | S_FEATURES | S_OK);
	ck_assert_uint_eq(started, 1);
	wr(R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK | 128);
	ck_assert_uint_eq(rd(R_STATUS), S_ACK | S_DRIVER | S_FEATURES | S_OK | 128);
	wr(R_STATUS, 0);
	ck_assert_uint_eq(rd(R_STATUS), 0);
	ck_assert_uint_eq(stopped, 1);
	wr(R_STATUS, 0);
	ck_assert_uint_eq(stopped, 1);
}
END_TEST

START_TEST(late_queue_size)
{
	static const uint32_t registers[] = { R_DRIVER, R_NUM, R_DESC, R_DESC + 4, R_AVAIL, R_AVAIL + 4, R_USED,
					      R_USED + 4, R_READY, R_MAGIC, R_VERSION, R_NUM_MAX, R_ISR, R_GENERATION,
					      R_CONFIG, R_CONFIG + 4, R_FEATURES_SEL, R_DRIVER_SEL, R_SHM_LEN };
	static const uint32_t values[] = { 0, 1, 2, 3, 0x8000, 0xffffffff };

	for (unsigned int i = 0; i < ARRAY_SIZE(registers); i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(values); k++) {
			struct virtqueue before;

			run_device(0);
			before = ((struct virtio_device *)rig.dev)->queues[0].vq;
			wr(R_QUEUE_SEL, 0);
			wr(registers[i], values[k]);
			ck_assert_mem_eq(&((struct virtio_device *)rig.dev)->queues[0].vq, &before,
					 sizeof(before));
			ck_assert_uint_eq(rd(R_STATUS), S_ACK | S_DRIVER | S_FEATURES | S_OK);
			expect_works();
		}
	/* And a queue that was not switched on before DRIVER_OK stays off. */
	run_device(0);
	drvq_open(1, 16);
	ck_assert_uint_eq(rd(R_READY), 0);
}
END_TEST

START_TEST(early_queue_set_up)
{
	/* Nor before the features are agreed upon, which decide what a ring looks like. */
	wr(R_STATUS, 0);
	wr(R_STATUS, S_ACK | S_DRIVER);
	drvq_open(0, 16);
	ck_assert_uint_eq(rd(R_READY), 0);
	ck_assert_uint_eq(((struct virtio_device *)rig.dev)->queues[0].vq.size, 0);
}
END_TEST

START_TEST(queue_ready_off_and_on_before_driver_ok)
{
	ck_assert(negotiate(VERSION_1));
	drvq_open(0, 16);
	ck_assert_uint_eq(rd(R_READY), 1);
	wr(R_READY, 0);
	ck_assert_uint_eq(rd(R_READY), 0);
	wr(R_READY, 1);
	ck_assert_uint_eq(rd(R_READY), 1);
	driver_ok();
	expect_works();
}
END_TEST

START_TEST(notify_index)
{
	static const uint32_t bad[] = { QUEUES, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff };

	run_device(0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		wr(R_NOTIFY, bad[i]);
	wr(R_NOTIFY, 1); /* exists, but is not set up */
	run_loop();
	ck_assert_uint_eq(handled[1], 0);
	expect_works();
	/* In reset. */
	wr(R_STATUS, 0);
	handled[0] = 0;
	wr(R_NOTIFY, 0);
	wr(R_NOTIFY, 0xffffffff);
	run_loop();
	ck_assert_uint_eq(handled[0], 0);
	run_device(0);
	expect_works();
}
END_TEST

START_TEST(zero_queue)
{
	static const uint32_t sizes[] = { 0, 3, 128, 0x8000, 0x10000, 0x10040, 0xffffffff };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert(negotiate(VERSION_1));
		drvq_place(0, 16);
		wr(R_QUEUE_SEL, 0);
		wr(R_NUM, sizes[i]);
		wr(R_DESC, q.base);
		wr(R_AVAIL, q.base + 0x8000);
		wr(R_USED, q.base + 0xa000);
		wr(R_READY, 1);
		ck_assert_uint_eq(rd(R_READY), 0);
		ck_assert(rig_broken());
		/* §2.1.2: no notification before DRIVER_OK, one with it. */
		ck_assert_uint_eq(rd(R_ISR), 0);
		driver_ok();
		ck_assert_uint_eq(rd(R_ISR), VIRTIO_ISR_CONFIG);
		ck_assert_uint_eq(interrupts(), 1);
		wr(R_NOTIFY, 0);
		run_loop();
		ck_assert_uint_eq(handled[0], 0);
	}
	/* Never set up at all: no error, no processing. */
	ck_assert(negotiate(VERSION_1));
	driver_ok();
	wr(R_NOTIFY, 0);
	run_loop();
	ck_assert_uint_eq(handled[0], 0);
	ck_assert(!rig_broken());
}
END_TEST

START_TEST(ring_out_of_ram)
{
	static const uint64_t bad[] = { RIG_RAM, RIG_RAM - 16, RIG_HIGH_BASE - 16, RIG_SLOT, 0xfee00000, UINT64_MAX - 15 };
	static const uint32_t ring[] = { R_DESC, R_AVAIL, R_USED };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned int k = 0; k < 3; k++) {
			ck_assert(negotiate(VERSION_1));
			drvq_place(0, 16);
			wr(R_QUEUE_SEL, 0);
			wr(R_NUM, 16);
			wr(R_DESC, q.base);
			wr(R_AVAIL, q.base + 0x8000);
			wr(R_USED, q.base + 0xa000);
			wr(ring[k], (uint32_t)bad[i]);
			wr(ring[k] + 4, (uint32_t)(bad[i] >> 32));
			wr(R_READY, 1);
			ck_assert_uint_eq(rd(R_READY), 0);
			ck_assert(rig_broken());
		}
	run_device(0);
	expect_works();
}
END_TEST

START_TEST(chain_error)
{
	run_device(0);
	interrupts();
	drvq_desc(0, 0xfee00000, 64, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	ck_assert(run_until(rig_broken, 5000));
	ck_assert_uint_eq(rd(R_ISR), VIRTIO_ISR_CONFIG);
	ck_assert_uint_eq(interrupts(), 1);
	ck_assert_uint_eq(popped, 0);
	/* Silent until it is reset, however often it is asked. */
	handled[0] = 0;
	drvq_desc(0, 0x1000, 64, VIRTQ_DESC_F_WRITE, 0);
	for (int i = 0; i < 100; i++)
		wr(R_NOTIFY, 0);
	run_loop();
	ck_assert_uint_eq(handled[0], 0);
	ck_assert_uint_eq(interrupts(), 0);
	run_device(0);
	expect_works();
}
END_TEST

START_TEST(interrupt_status)
{
	run_device(0);
	expect_works();
	ck_assert_uint_eq(rd(R_ISR), VIRTIO_ISR_QUEUE);
	ck_assert_uint_eq(interrupts(), 1);
	wr(R_ACK, VIRTIO_ISR_CONFIG);
	ck_assert_uint_eq(rd(R_ISR), VIRTIO_ISR_QUEUE);
	wr(R_ACK, 0xffffffff);
	ck_assert_uint_eq(rd(R_ISR), 0);
	wr(R_ISR, 3);
	ck_assert_uint_eq(rd(R_ISR), 0);
	/* Not wanted: not given. */
	q.avail->flags = cpu_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT);
	expect_works();
	ck_assert_uint_eq(rd(R_ISR), 0);
	ck_assert_uint_eq(interrupts(), 0);
}
END_TEST

START_TEST(ring_reset)
{
	struct virtio_queue *queue = &((struct virtio_device *)rig.dev)->queues[0];

	/* Not without the feature. */
	run_device(0);
	wr(R_QUEUE_RESET, 1);
	ck_assert_uint_eq(rd(R_READY), 1);

	run_device(VIRTIO_F_RING_RESET);
	expect_works();
	stopped = 0;
	wr(R_QUEUE_SEL, 0);
	wr(R_QUEUE_RESET, 0);
	ck_assert_uint_eq(rd(R_READY), 1);
	wr(R_QUEUE_RESET, 1);
	ck_assert_uint_eq(rd(R_QUEUE_RESET), 0);
	ck_assert_uint_eq(rd(R_READY), 0);
	ck_assert_uint_eq(stopped, 1);
	ck_assert_uint_eq(queue->vq.desc_addr, 0);
	handled[0] = 0;
	wr(R_NOTIFY, 0);
	run_loop();
	ck_assert_uint_eq(handled[0], 0);
	/* Set up anew, with another size, while the device runs on; from index 0. */
	drvq_open(0, 32);
	ck_assert_uint_eq(rd(R_READY), 1);
	expect_works();
	/* And then its registers are closed again. */
	wr(R_NUM, 64);
	ck_assert_uint_eq(queue->vq.size, 32);
	/* A second set-up that is wrong breaks the device, on its home loop. */
	wr(R_QUEUE_RESET, 1);
	wr(R_NUM, 16);
	wr(R_READY, 1);
	wr(R_DESC, 8);
	wr(R_QUEUE_RESET, 1);
	wr(R_NUM, 3);
	wr(R_READY, 1);
	ck_assert(rig_broken());
	ck_assert_uint_eq(rd(R_READY), 0);
}
END_TEST

START_TEST(config_mask)
{
	uint8_t byte, bytes[8];
	uint16_t half;

	for (unsigned int pass = 0; pass < 2; pass++) {
		ck_assert_uint_eq(rd(R_CONFIG), 0x44332211);
		ck_assert_uint_eq(rd(R_CONFIG + 4), 0x00776655); /* the space ends at 7: zeroes behind */
		ck_assert_uint_eq(rd(R_CONFIG + 8), 0);
		ck_assert_uint_eq(rd(R_CONFIG + 0xfc), 0);
		mem_space_io_read(rig.space, IO_MMIO, RIG_SLOT + R_CONFIG + 6, &byte, 1);
		ck_assert_uint_eq(byte, 0x77);
		mem_space_io_read(rig.space, IO_MMIO, RIG_SLOT + R_CONFIG + 2, &half, 2);
		ck_assert_uint_eq(half, 0x4433);
		mem_space_io_read(rig.space, IO_MMIO, RIG_SLOT + R_CONFIG, bytes, 8);
		ck_assert_mem_eq(bytes, "\x11\x22\x33\x44\x55\x66\x77\0", 8);
		/* All ones over every byte, in every width. */
		memset(bytes, 0xff, sizeof(bytes));
		for (unsigned int width = 1; width <= 8; width *= 2)
			for (unsigned int at = R_CONFIG; at + width <= 0x200; at++)
				mem_space_io_write(rig.space, IO_MMIO, RIG_SLOT + at, bytes, width);
		run_device(0);
	}
	ck_assert_uint_eq(rd(R_GENERATION), rd(R_GENERATION));
	expect_works();
}
END_TEST

START_TEST(mmio_straddle)
{
	uint8_t bytes[8];
	uint32_t generation = rd(R_GENERATION);

	run_device(0);
	/* Every access of every width at every offset, over both ends; in the end the device still works after a
	 * reset, and nothing that it owns was reached. */
	for (unsigned int width = 1; width <= 8; width *= 2)
		for (int64_t at = -8; at <= 0x200; at++) {
			memset(bytes, 0xa5, sizeof(bytes));
			mem_space_io_read(rig.space, IO_MMIO, RIG_SLOT + at, bytes, width);
			mem_space_io_write(rig.space, IO_MMIO, RIG_SLOT + at, bytes, width);
		}
	/* A register takes nothing but aligned words (§4.2.2.2). */
	run_device(0);
	memset(bytes, 0, sizeof(bytes));
	mem_space_io_write(rig.space, IO_MMIO, RIG_SLOT + R_STATUS, bytes, 1);
	mem_space_io_write(rig.space, IO_MMIO, RIG_SLOT + R_STATUS, bytes, 2);
	ck_assert_uint_eq(rd(R_STATUS), S_ACK | S_DRIVER | S_FEATURES | S_OK);
	ck_assert_uint_eq(rd(R_GENERATION), generation);
	expect_works();
}
END_TEST

START_TEST(config_change_is_told)
{
	struct virtio_device *vdev = (struct virtio_device *)rig.dev;
	uint32_t generation;

	run_device(0);
	interrupts();
	generation = rd(R_GENERATION);
	virtio_device_set_config(vdev, "\xaa\xbb\xcc\xdd", 4);
	ck_assert_uint_ne(rd(R_GENERATION), generation);
	ck_assert_uint_eq(rd(R_CONFIG), 0xddccbbaa);
	ck_assert_uint_eq(rd(R_ISR), VIRTIO_ISR_CONFIG);
	ck_assert_uint_eq(interrupts(), 1);
}
END_TEST

START_TEST(quiesce_and_resume)
{
	run_device(0);
	expect_works();
	devices_resume(&rig.platform); /* at start: nothing was quiesced */
	ck_assert_uint_eq(started, 1);
	devices_quiesce(&rig.platform);
	devices_quiesce(&rig.platform);
	ck_assert_uint_eq(stopped, 1);
	/* What comes while it is quiet is found by the resume, without another notification. */
	drvq_desc(0, 0x1000, 64, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	run_loop();
	ck_assert(!drvq_used());
	devices_resume(&rig.platform);
	ck_assert_uint_eq(drvq_wait(NULL), 64);
	/* DRIVER_OK while quiet takes effect later; the ring goes on where it was. */
	devices_quiesce(&rig.platform);
	run_device(0);
	drvq_desc(0, 0x1000, 64, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	run_loop();
	ck_assert(!drvq_used());
	devices_resume(&rig.platform);
	ck_assert_uint_eq(drvq_wait(NULL), 64);
	expect_works();
}
END_TEST

START_TEST(machine_reset)
{
	run_device(0);
	expect_works();
	devices_reset(&rig.platform);
	ck_assert_uint_eq(rd(R_STATUS), 0);
	ck_assert_uint_eq(rd(R_ISR), 0);
	wr(R_QUEUE_SEL, 0);
	ck_assert_uint_eq(rd(R_READY), 0);
	run_device(0);
	expect_works();
}
END_TEST

UNIT_SUITE_WITH(mmio_suite, "virtio_mmio", setup, rig_close, identity, features_rules, status_rules,
		late_queue_size, early_queue_set_up, queue_ready_off_and_on_before_driver_ok,
		notify_index, zero_queue, ring_out_of_ram, chain_error, interrupt_status,
		ring_reset, config_mask, mmio_straddle, config_change_is_told, quiesce_and_resume,
		machine_reset)

UNIT_MAIN(mmio_suite)
