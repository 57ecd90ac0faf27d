// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk: every request type, every way to lay a request out, every way to get it wrong that
 * still is a well-formed chain.
 *
 * The runner fills each sector of the image with the sector's number, as 64 little-endian 64-bit
 * words, and looks at what was written afterwards. On the command line: capacity= (sectors),
 * serial=, blk-size=, queues=, queue-size=; each is checked when given.
 */
#include "tests.h"
#include "lib/virtio.h"

#define SECTOR		512
#define ALL_FEATURES	(BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_MQ | BLK_F_DISCARD | \
			 BLK_F_WRITE_ZEROES | BLK_F_RO)
/* Where the write tests write: 64 sectors for each combination of features. */
#define WRITE_SECTOR(combo) (1024 + 64 * (combo))
#define ZERO_SECTOR	1536
#define DISCARD_SECTOR	2048
#define IN_FLIGHT_SECTOR 4096

static u8 buf[64 * 1024] __attribute__((aligned(4096)));
static struct virtq vq;

static void expect_pattern(const u8 *data, u64 sector, u32 sectors, u64 mask)
{
	u32 i, k;

	for (i = 0; i < sectors; i++) {
		for (k = 0; k < SECTOR / 8; k++) {
			u64 v;

			memcpy(&v, data + i * SECTOR + k * 8, 8);
			if (v == ((sector + i) ^ mask))
				continue;
			test_fail(__FILE__, __LINE__, "sector %lu word %u holds %#lx, not %#lx",
				  sector + i, k, v, (sector + i) ^ mask);
			return;
		}
	}
}

static void fill_pattern(u8 *data, u64 sector, u32 sectors, u64 mask)
{
	u32 i, k;

	for (i = 0; i < sectors; i++)
		for (k = 0; k < SECTOR / 8; k++) {
			u64 v = (sector + i) ^ mask;

			memcpy(data + i * SECTOR + k * 8, &v, 8);
		}
}

/* A request whose layout the caller chooses; returns its status byte. */
static u8 raw(const struct seg *segs, u32 out, u32 in, u32 flags, volatile u8 *status,
	      u32 *used_len)
{
	struct virtq_used_elem elem;

	*status = BLK_S_NONE;
	virtq_add(&vq, segs, out, in, flags);
	virtq_kick(&vq);
	if (!virtq_poll(&vq, &elem, 5000))
		return BLK_S_NONE;
	*used_len = elem.len;
	return *status;
}

static void read_write(u32 combo, u32 flags)
{
	u64 sector = WRITE_SECTOR(combo);
	u32 used = 0;

	memset(buf, 0xee, sizeof(buf));
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 0, buf, 4096, flags, &used), BLK_S_OK);
	CHECK_EQ(used, 4097);
	expect_pattern(buf, 0, 8, 0);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 37, buf, SECTOR, flags, &used), BLK_S_OK);
	CHECK_EQ(used, 513);
	expect_pattern(buf, 37, 1, 0);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 256, buf, sizeof(buf), flags, &used), BLK_S_OK);
	expect_pattern(buf, 256, sizeof(buf) / SECTOR, 0);

	fill_pattern(buf, sector, 64, ~0ull);
	CHECK_EQ(blk_do(&vq, BLK_T_OUT, sector, buf, 64 * SECTOR, flags, &used), BLK_S_OK);
	CHECK_EQ(used, 1);
	memset(buf, 0, sizeof(buf));
	CHECK_EQ(blk_do(&vq, BLK_T_IN, sector, buf, 64 * SECTOR, flags, NULL), BLK_S_OK);
	expect_pattern(buf, sector, 64, ~0ull);
	if (vq.dev->features & BLK_F_FLUSH) {
		CHECK_EQ(blk_do(&vq, BLK_T_FLUSH, 0, NULL, 0, flags, &used), BLK_S_OK);
		CHECK_EQ(used, 1);
	}
	/* The neighbours are as they were. */
	CHECK_EQ(blk_do(&vq, BLK_T_IN, sector - 1, buf, SECTOR, flags, NULL), BLK_S_OK);
	expect_pattern(buf, sector - 1, 1, combo ? ~0ull : 0);
}

/* virtio 1.2, 2.7.4: a device takes a request however it is cut into descriptors. */
static void layouts(u32 flags)
{
	static struct blk_header header;
	static u8 data_status[SECTOR + 1];
	static volatile u8 status;
	u32 cut, used = 0;

	header = (struct blk_header){ .type = BLK_T_IN, .sector = 100 };
	for (cut = 1; cut < sizeof(header); cut++) {
		struct seg segs[] = {
			{ &header, cut }, { (u8 *)&header + cut, sizeof(header) - cut },
			{ buf, 1 + cut }, { buf + 1 + cut, 2 * SECTOR - 1 - cut },
			{ (void *)&status, 1 },
		};

		memset(buf, 0, 2 * SECTOR);
		CHECK_EQ(raw(segs, 2, 3, flags, &status, &used), BLK_S_OK);
		CHECK_EQ(used, 2 * SECTOR + 1);
		expect_pattern(buf, 100, 2, 0);
	}
	/* The status byte at the end of the data's own descriptor. */
	{
		struct seg segs[] = { { &header, sizeof(header) }, { data_status, SECTOR + 1 } };

		CHECK_EQ(raw(segs, 1, 1, flags, &data_status[SECTOR], &used), BLK_S_OK);
		expect_pattern(data_status, 100, 1, 0);
	}
	/* Written data that begins in the header's descriptor. */
	{
		static struct { struct blk_header header; u8 data[SECTOR]; } both;
		struct seg segs[] = { { &both, sizeof(both) }, { (void *)&status, 1 } };

		both.header = (struct blk_header){ .type = BLK_T_OUT, .sector = WRITE_SECTOR(0) };
		fill_pattern(both.data, WRITE_SECTOR(0), 1, ~0ull);
		CHECK_EQ(raw(segs, 1, 1, flags, &status, &used), BLK_S_OK);
	}
}

static void get_id(u32 flags)
{
	const char *serial = cmdline_get("serial");
	u32 used = 0;

	memset(buf, 0xee, 32);
	CHECK_EQ(blk_do(&vq, BLK_T_GET_ID, 0, buf, 20, flags, &used), BLK_S_OK);
	CHECK_EQ(used, 21);
	if (serial) {
		CHECK(!memcmp(buf, serial, strlen(serial)));
		CHECK(strlen(serial) >= 20 || !buf[strlen(serial)]);
	}
	CHECK_EQ(buf[20], 0xee);
}

static void refused(u32 flags)
{
	u64 capacity = blk_capacity(vq.dev);
	u32 used = 0;

	CHECK_EQ(blk_do(&vq, BLK_T_IN, capacity - 1, buf, SECTOR, flags, NULL), BLK_S_OK);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, capacity, buf, SECTOR, flags, &used), BLK_S_IOERR);
	CHECK(used == 1 || !strict());
	CHECK_EQ(blk_do(&vq, BLK_T_IN, capacity - 1, buf, 2 * SECTOR, flags, NULL), BLK_S_IOERR);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, ~0ull, buf, SECTOR, flags, NULL), BLK_S_IOERR);
	/* Times 512 these wrap around to places inside the disk. */
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 1ull << 55, buf, SECTOR, flags, NULL), BLK_S_IOERR);
	CHECK_EQ(blk_do(&vq, BLK_T_OUT, 1ull << 63, buf, SECTOR, flags, NULL), BLK_S_IOERR);
	CHECK_EQ(blk_do(&vq, BLK_T_OUT, capacity, buf, SECTOR, flags, NULL), BLK_S_IOERR);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 0, buf, 100, flags, NULL), BLK_S_IOERR);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 0, buf, SECTOR + 1, flags, NULL), BLK_S_IOERR);
	CHECK_EQ(blk_do(&vq, 0x77, 0, buf, SECTOR, flags, &used), BLK_S_UNSUPP);
	CHECK(used == 1 || !strict());
	CHECK_EQ(blk_do(&vq, 0xffffffff, 0, NULL, 0, flags, NULL), BLK_S_UNSUPP);
	CHECK(!(virtio_status(vq.dev) & STATUS_NEEDS_RESET));
}

static void zeroes_and_discard(u32 flags)
{
	struct blk_range range = { .sector = ZERO_SECTOR + 3, .num_sectors = 17 };
	u64 capacity = blk_capacity(vq.dev);
	u32 i, used = 0;

	if (vq.dev->features & BLK_F_WRITE_ZEROES) {
		CHECK_EQ(blk_do(&vq, BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), flags, &used),
			 BLK_S_OK);
		CHECK_EQ(used, 1);
		CHECK_EQ(blk_do(&vq, BLK_T_IN, ZERO_SECTOR, buf, 32 * SECTOR, flags, NULL), BLK_S_OK);
		expect_pattern(buf, ZERO_SECTOR, 3, 0);
		for (i = 3 * SECTOR; i < 20 * SECTOR && !buf[i]; i++)
			;
		CHECK_EQ(i, 20 * SECTOR);
		expect_pattern(buf + 20 * SECTOR, ZERO_SECTOR + 20, 12, 0);
		range.flags = 1;	/* may unmap */
		CHECK_EQ(blk_do(&vq, BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), flags, NULL),
			 BLK_S_OK);
		range.flags = 2;	/* no such flag */
		CHECK_EQ(blk_do(&vq, BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), flags, NULL),
			 BLK_S_UNSUPP);
		range = (struct blk_range){ .sector = capacity - 1, .num_sectors = 2 };
		CHECK_EQ(blk_do(&vq, BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), flags, NULL),
			 BLK_S_IOERR);
	}
	if (vq.dev->features & BLK_F_DISCARD) {
		range = (struct blk_range){ .sector = DISCARD_SECTOR, .num_sectors = 1024 };
		CHECK_EQ(blk_do(&vq, BLK_T_DISCARD, 0, &range, sizeof(range), flags, &used), BLK_S_OK);
		CHECK_EQ(used, 1);
		CHECK_EQ(blk_do(&vq, BLK_T_IN, DISCARD_SECTOR - 1, buf, SECTOR, flags, NULL), BLK_S_OK);
		expect_pattern(buf, DISCARD_SECTOR - 1, 1, 0);
		range.flags = 1;	/* unmap has no meaning here: virtio 1.2, 5.2.6.2 */
		CHECK_EQ(blk_do(&vq, BLK_T_DISCARD, 0, &range, sizeof(range), flags, NULL),
			 BLK_S_UNSUPP);
		range = (struct blk_range){ .sector = ~0ull - 1, .num_sectors = 4 };
		CHECK_EQ(blk_do(&vq, BLK_T_DISCARD, 0, &range, sizeof(range), flags, NULL),
			 BLK_S_IOERR);
	}
}

static void config(struct virtio_dev *dev)
{
	u64 c = dev->base + VM_CONFIG, capacity = blk_capacity(dev);
	u32 seg_max = read32(c + BLK_CONFIG_SEG_MAX);

	print("features %#lx capacity %lu seg_max %u blk_size %u queues %u\n", virtio_offered(dev),
	      capacity, seg_max, read32(c + BLK_CONFIG_BLK_SIZE), read16(c + BLK_CONFIG_NUM_QUEUES));
	CHECK_EQ(capacity, cmdline_get_u64("capacity", capacity));
	CHECK(virtio_offered(dev) & BLK_F_SEG_MAX);
	CHECK(seg_max >= 1);
	CHECK_EQ(read32(c + BLK_CONFIG_BLK_SIZE), cmdline_get_u64("blk-size", 512));
	if (cmdline_get("queues"))
		CHECK_EQ(read16(c + BLK_CONFIG_NUM_QUEUES), cmdline_get_u64("queues", 1));
	if (cmdline_get("queue-size")) {
		write32(dev->base + VM_QUEUE_SEL, 0);
		CHECK_EQ(read32(dev->base + VM_QUEUE_NUM_MAX), cmdline_get_u64("queue-size", 0));
	}
	/* Byte by byte it is the same. */
	CHECK_EQ(read8(c), capacity & 0xff);
	CHECK_EQ(read8(c + 1), capacity >> 8 & 0xff);
	CHECK_EQ(read16(c + 2), capacity >> 16 & 0xffff);
	/* The capacity is the device's to change. */
	write32(c, 1);
	CHECK_EQ(blk_capacity(dev), capacity);
}

/* virtio 1.2, 3.1.1: requests the device was given before a reset touch nothing after it. */
static void reset_in_flight(struct virtio_dev *dev)
{
	static struct blk_req reqs[32];
	u32 round, i, sum;

	for (round = 0; round < 50; round++) {
		blk_start(dev, &vq, FEATURE_EVENT_IDX, 128);
		for (i = 0; i < ARRAY_SIZE(reqs); i++) {
			struct seg segs[] = {
				{ &reqs[i].header, 16 }, { buf + i * 2048, 2048 },
				{ (void *)&reqs[i].status, 1 },
			};

			reqs[i].header = (struct blk_header){
				.type = BLK_T_IN, .sector = IN_FLIGHT_SECTOR + 8 * i,
			};
			virtq_add(&vq, segs, 1, 2, 0);
		}
		virtq_kick(&vq);
		if (round & 1)
			while (vq.used->idx == vq.last_used && round & 2)
				cpu_relax();
		virtio_reset(dev);
		/* Nothing more may arrive in these buffers. */
		memset(buf, 0xa5, sizeof(buf));
		for (i = 0; i < 2000; i++)
			cpu_relax();
		for (i = sum = 0; i < sizeof(buf); i++)
			sum += buf[i] != 0xa5;
		CHECK_EQ(sum, 0);
	}
}

void test_blk(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	static const u64 combos[] = {
		0, FEATURE_INDIRECT_DESC, FEATURE_EVENT_IDX,
		FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX,
	};
	u32 i;

	config(dev);
	CHECK(virtio_offered(dev) & BLK_F_FLUSH);
	CHECK(virtio_offered(dev) & FEATURE_INDIRECT_DESC);
	CHECK(virtio_offered(dev) & FEATURE_EVENT_IDX);
	CHECK(!(virtio_offered(dev) & BLK_F_RO));
	for (i = 0; i < ARRAY_SIZE(combos); i++) {
		u32 flags = combos[i] & FEATURE_INDIRECT_DESC ? VIRTQ_ADD_INDIRECT : 0;

		print("features %#lx\n", combos[i]);
		/* A small queue wraps soon. */
		blk_start(dev, &vq, ALL_FEATURES | combos[i], i & 1 ? 8 : 128);
		read_write(i, flags);
		layouts(flags);
		get_id(flags);
		refused(flags);
		zeroes_and_discard(flags);
	}
	print("reset with requests in flight\n");
	reset_in_flight(dev);
	blk_start(dev, &vq, ALL_FEATURES, 128);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 0, buf, 4096, 0, NULL), BLK_S_OK);
	expect_pattern(buf, 0, 8, 0);
	CHECK_EQ(blk_do(&vq, BLK_T_FLUSH, 0, NULL, 0, 0, NULL), BLK_S_OK);
}

void test_blk_ro(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	struct blk_range range = { .sector = 0, .num_sectors = 8 };

	CHECK(virtio_offered(dev) & BLK_F_RO);
	blk_start(dev, &vq, ALL_FEATURES, 64);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 0, buf, 4096, 0, NULL), BLK_S_OK);
	expect_pattern(buf, 0, 8, 0);
	memset(buf, 0x55, 4096);
	CHECK_EQ(blk_do(&vq, BLK_T_OUT, 0, buf, 4096, 0, NULL), BLK_S_IOERR);
	if (strict() && dev->features & BLK_F_DISCARD)
		CHECK_EQ(blk_do(&vq, BLK_T_DISCARD, 0, &range, sizeof(range), 0, NULL), BLK_S_IOERR);
	if (strict() && dev->features & BLK_F_WRITE_ZEROES)
		CHECK_EQ(blk_do(&vq, BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), 0, NULL),
			 BLK_S_IOERR);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 0, buf, 4096, 0, NULL), BLK_S_OK);
	expect_pattern(buf, 0, 8, 0);
}

/* Requests on all queues at once; each answer comes back on its own queue. */
void test_blk_mq(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	u32 n = cmdline_get_u64("queues", 2), q, i;
	static struct virtq vqs[16];
	static struct blk_req reqs[16][8];
	static u8 data[16][8][SECTOR];

	REQUIRE(n <= ARRAY_SIZE(vqs), "at most %u queues", (u32)ARRAY_SIZE(vqs));
	REQUIRE(virtio_negotiate(dev, BLK_F_MQ | FEATURE_EVENT_IDX), "features refused");
	if (n > 1) {
		CHECK(dev->features & BLK_F_MQ);
		CHECK_EQ(read16(dev->base + VM_CONFIG + BLK_CONFIG_NUM_QUEUES), n);
	}
	write32(dev->base + VM_QUEUE_SEL, n);
	CHECK_EQ(read32(dev->base + VM_QUEUE_NUM_MAX), 0);
	for (q = 0; q < n; q++)
		virtq_setup(dev, &vqs[q], q, 64);
	virtio_driver_ok(dev);
	for (q = 0; q < n; q++) {
		virtq_want_interrupt(&vqs[q], false);
		for (i = 0; i < 8; i++) {
			struct blk_req *req = &reqs[q][i];
			struct seg segs[] = {
				{ &req->header, 16 }, { data[q][i], SECTOR }, { (void *)&req->status, 1 },
			};

			req->header = (struct blk_header){ .type = BLK_T_IN, .sector = q * 8 + i };
			req->status = BLK_S_NONE;
			virtq_add(&vqs[q], segs, 1, 2, 0);
		}
		virtq_kick(&vqs[q]);
	}
	for (q = 0; q < n; q++) {
		struct virtq_used_elem elem;

		for (i = 0; i < 8; i++)
			REQUIRE(virtq_poll(&vqs[q], &elem, 5000), "queue %u: %u of 8 answers", q, i);
		for (i = 0; i < 8; i++) {
			CHECK_EQ(reqs[q][i].status, BLK_S_OK);
			expect_pattern(data[q][i], q * 8 + i, 1, 0);
		}
	}
}

/* Rings and data above the hole below 4 GiB; the VM has to have that much memory. */
void test_blk_high(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	u8 *data;

	alloc_from(0x100000000);
	data = alloc(sizeof(buf), 4096);
	blk_start(dev, &vq, FEATURE_INDIRECT_DESC, 64);
	CHECK((uintptr_t)vq.desc > 0xffffffff);
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 64, data, sizeof(buf), VIRTQ_ADD_INDIRECT, NULL), BLK_S_OK);
	expect_pattern(data, 64, sizeof(buf) / SECTOR, 0);
	/* And the last page below the hole. */
	data = (u8 *)boot_low_ram_end() - 4096;
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 8, data, 4096, 0, NULL), BLK_S_OK);
	expect_pattern(data, 8, 8, 0);
}

/* virtio 1.2, 2.6.1 and 4.2.2.2: one queue is reset and set up anew while the device goes on. */
void test_blk_ring_reset(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	static struct virtq second;
	u64 base = dev->base;
	u32 round;

	REQUIRE(virtio_negotiate(dev, FEATURE_RING_RESET | BLK_F_MQ), "features refused");
	REQUIRE(dev->features & FEATURE_RING_RESET, "RING_RESET is not offered");
	virtq_setup(dev, &vq, 0, 64);
	virtq_setup(dev, &second, 1, 64);
	virtio_driver_ok(dev);
	for (round = 0; round < 8; round++) {
		u64 deadline = deadline_ms(2000);

		CHECK_EQ(blk_do(&vq, BLK_T_IN, round, buf, SECTOR, 0, NULL), BLK_S_OK);
		expect_pattern(buf, round, 1, 0);
		write32(base + VM_QUEUE_SEL, 0);
		write32(base + VM_QUEUE_RESET, 1);
		while (read32(base + VM_QUEUE_RESET))
			REQUIRE(!deadline_passed(deadline), "the queue does not finish its reset");
		CHECK_EQ(read32(base + VM_QUEUE_READY), 0);
		/* Nobody serves it meanwhile, and nobody minds. */
		virtq_notify(dev, 0);
		CHECK_EQ(blk_do(&second, BLK_T_IN, 9, buf, SECTOR, 0, NULL), BLK_S_OK);
		virtq_setup(dev, &vq, 0, 8 << (round & 3));
		CHECK_EQ(read32(base + VM_QUEUE_READY), 1);
	}
	CHECK_EQ(blk_do(&vq, BLK_T_IN, 5, buf, SECTOR, 0, NULL), BLK_S_OK);
	expect_pattern(buf, 5, 1, 0);
	CHECK(!(virtio_status(dev) & STATUS_NEEDS_RESET));
}
