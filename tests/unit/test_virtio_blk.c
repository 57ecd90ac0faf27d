// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk from its registers to the image: options, configuration, every request type with its used length and status,
 * reset and quiesce with requests in flight (completion-after-free), throttling, both engines.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "../../src/virtio/blk_request.h"
#include "block/drive.h"
#include "virtio/classes.h"
#include "virtio_rig.h"

#define F_RO (1ULL << 5)
#define F_FLUSH (1ULL << 9)
#define F_MQ (1ULL << 12)
#define F_DISCARD (1ULL << 13)
#define F_WRITE_ZEROES (1ULL << 14)

#define DISK (2 * MIB)
#define HEADER 0x80000
#define STATUS 0x81000
#define DATA 0x90000

static char image[64];
static struct block_drive *drive;
static struct iothread *iothread;

static void make_drive(const char *options)
{
	struct error *err = NULL;
	struct opts *opts;
	char text[256];

	snprintf(text, sizeof(text), "id=d0,file=%s%s", image, options);
	ck_assert_int_eq(opts_parse("-drive", text, NULL, &opts, NULL), 0);
	ck_assert_msg(!block_drive_new(opts, rig.platform.links, &drive, &err), "%s",
		      err ? error_text(err) : "");
	opts_free(opts);
}

static void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_blk_mmio_class, NULL };
	static uint8_t sector[512];
	int fd;

	snprintf(image, sizeof(image), "./unit-blk-XXXXXX");
	fd = mkstemp(image);
	ck_assert_int_ge(fd, 0);
	for (unsigned int i = 0; i < DISK / 512; i++) {
		memset(sector, i, sizeof(sector));
		ck_assert_int_eq(write(fd, sector, sizeof(sector)), sizeof(sector));
	}
	close(fd);
	rig_open(classes);
	drive = NULL;
	iothread = NULL;
}

static void free_back_ends(void)
{
	iothread_free(iothread);
	block_drive_free(drive);
}

static void teardown(void)
{
	rig_close_with(free_back_ends);
	unlink(image);
}

static void start(const char *drive_options, const char *device_options, uint64_t features)
{
	const char *text;
	char device[256];

	make_drive(drive_options);
	snprintf(device, sizeof(device), "virtio-blk-device,drive=d0,id=b0%s", device_options);
	text = rig_create(device);
	ck_assert_msg(!text, "%s", text);
	ck_assert(negotiate(features | VIRTIO_F_VERSION_1));
	drvq_open(0, 64);
	driver_ok();
}

static void put_header(uint32_t type, uint64_t sector)
{
	struct blk_header header = { cpu_to_le32(type), { 0 }, cpu_to_le64(sector) };

	memcpy(rig.ram->host + HEADER, &header, sizeof(header));
	rig.ram->host[STATUS] = 0xff;
}

/* One request with @len bytes of data at DATA; its status, and the used length. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t len, uint32_t *used)
{
	bool to_device = type == BLK_T_OUT || type == BLK_T_DISCARD || type == BLK_T_WRITE_ZEROES;
	uint32_t written;

	put_header(type, sector);
	drvq_desc(0, HEADER, 16, VIRTQ_DESC_F_NEXT, len ? 1 : 2);
	if (len)
		drvq_desc(1, DATA, len, VIRTQ_DESC_F_NEXT | (to_device ? 0 : VIRTQ_DESC_F_WRITE), 2);
	drvq_desc(2, STATUS, 1, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	written = drvq_wait(NULL);
	if (used)
		*used = written;
	return rig.ram->host[STATUS];
}

static void expect_sectors(const uint8_t *data, unsigned int first, unsigned int count)
{
	for (unsigned int i = 0; i < count * 512; i++)
		ck_assert_uint_eq(data[i], (uint8_t)(first + i / 512));
}

static void put_range(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct blk_range range = { cpu_to_le64(sector), cpu_to_le32(sectors), cpu_to_le32(flags) };

	memcpy(rig.ram->host + DATA, &range, sizeof(range));
}

START_TEST(bad_options)
{
	static const struct { const char *device, *part; } bad[] = {
		{ "virtio-blk-device", "drive" },
		{ "virtio-blk-device,drive=none", "none" },
		{ "virtio-blk-device,drive=d0,num-queues=33", "num-queues=33 is out of range [1, 32]" },
		{ "virtio-blk-device,drive=d0,num-queues=0", "[1, 32]" },
		{ "virtio-blk-device,drive=d0,queue-size=2", "queue-size=2" },
		{ "virtio-blk-device,drive=d0,queue-size=100", "queue-size=100" },
		{ "virtio-blk-device,drive=d0,queue-size=2048", "queue-size=2048" },
		{ "virtio-blk-device,drive=d0,serial=123456789012345678901", "serial" },
		{ "virtio-blk-device,drive=d0,logical_block_size=1000", "logical_block_size=1000" },
		{ "virtio-blk-device,drive=d0,logical_block_size=4096,physical_block_size=512", "less than" },
		{ "virtio-blk-device,drive=d0,iothread=nobody", "nobody" },
		{ "virtio-blk-device,drive=d0,bootindex=4294967295", "[0, 2147483647]" },
		{ "virtio-blk-device,drive=d0,addr=3", "addr" },
	};

	make_drive("");
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *text = rig_create(bad[i].device);

		ck_assert_msg(text && strstr(text, bad[i].part), "%s: %s", bad[i].device, text ? text : "made");
		ck_assert(!rig.slot_taken);
	}
	ck_assert_ptr_null(rig_create("virtio-blk-device,drive=d0,bootindex=1"));
}
END_TEST

START_TEST(configuration)
{
	start("", ",num-queues=4,queue-size=128,logical_block_size=1024,physical_block_size=4096,serial=S", 0);
	ck_assert_uint_eq(rd(R_DEVICE_ID), 2);
	ck_assert_uint_eq(offered() & (F_RO | F_FLUSH | F_MQ | F_DISCARD | F_WRITE_ZEROES),
			  F_FLUSH | F_MQ | F_WRITE_ZEROES);
	wr(R_QUEUE_SEL, 3);
	ck_assert_uint_eq(rd(R_NUM_MAX), 128);
	wr(R_QUEUE_SEL, 4);
	ck_assert_uint_eq(rd(R_NUM_MAX), 0);
	ck_assert_uint_eq(rd(R_CONFIG), DISK / 512);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 0);
	ck_assert_uint_eq(rd(R_CONFIG + 12), 126);   /* seg_max */
	ck_assert_uint_eq(rd(R_CONFIG + 20), 1024);  /* blk_size */
	ck_assert_uint_eq(rd(R_CONFIG + 24) & 0xff, 2); /* physical_block_exp */
	ck_assert_uint_eq(rd(R_CONFIG + 32) >> 16, 4);  /* num_queues */
	ck_assert_uint_eq(rd(R_CONFIG + 36), 0x7fffff);
	ck_assert_uint_eq(rd(R_CONFIG + 40), 1);
	ck_assert_uint_eq(rd(R_CONFIG + 44), 2); /* discard alignment in sectors */
	/* In pieces smaller than a block nothing is done. */
	ck_assert_uint_eq(request(BLK_T_IN, 0, 512, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_IN, 1, 1024, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_IN, 2, 1024, NULL), BLK_S_OK);
}
END_TEST

static const char *const engines[] = { ",aio=io_uring,discard=unmap", ",aio=threads,discard=unmap",
				       ",aio=io_uring,direct=off,discard=unmap" };

START_TEST(requests_and_used_lengths)
{
	uint8_t *data;
	uint32_t used;

	start(engines[_i], ",serial=SERIAL-1", F_FLUSH | F_DISCARD | F_WRITE_ZEROES);
	data = rig.ram->host + DATA;
	ck_assert_uint_eq(request(BLK_T_IN, 3, 4096, &used), BLK_S_OK);
	ck_assert_uint_eq(used, 4097);
	expect_sectors(data, 3, 8);
	memset(data, 0xab, 1024);
	ck_assert_uint_eq(request(BLK_T_OUT, 7, 1024, &used), BLK_S_OK);
	ck_assert_uint_eq(used, 1);
	ck_assert_uint_eq(request(BLK_T_FLUSH, 0, 0, &used), BLK_S_OK);
	ck_assert_uint_eq(used, 1);
	ck_assert_uint_eq(request(BLK_T_IN, 6, 2048, &used), BLK_S_OK);
	expect_sectors(data, 6, 1);
	ck_assert_uint_eq(data[512], 0xab);
	ck_assert_uint_eq(data[1535], 0xab);
	expect_sectors(data + 1536, 9, 1);

	memset(data, 0xee, 32);
	ck_assert_uint_eq(request(BLK_T_GET_ID, 0, 20, &used), BLK_S_OK);
	ck_assert_uint_eq(used, 21);
	ck_assert_mem_eq(data, "SERIAL-1\0\0\0\0\0\0\0\0\0\0\0\0\xee", 21);
	ck_assert_uint_eq(request(BLK_T_GET_ID, 0, 4, &used), BLK_S_OK);
	ck_assert_uint_eq(used, 5);

	put_range(100, 3, 0);
	ck_assert_uint_eq(request(BLK_T_WRITE_ZEROES, 0, 16, &used), BLK_S_OK);
	ck_assert_uint_eq(used, 1);
	ck_assert_uint_eq(request(BLK_T_IN, 99, 5 * 512, NULL), BLK_S_OK);
	expect_sectors(data, 99, 1);
	for (unsigned int i = 512; i < 4 * 512; i++)
		ck_assert_uint_eq(data[i], 0);
	expect_sectors(data + 4 * 512, 103, 1);
	put_range(200, 8, 0);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 16, &used), BLK_S_OK);
	ck_assert_uint_eq(used, 1);
}
END_TEST

START_TEST(refused_requests)
{
	uint32_t used;

	start(",discard=unmap", "", F_FLUSH | F_DISCARD | F_WRITE_ZEROES);
	ck_assert_uint_eq(request(BLK_T_IN, DISK / 512, 512, &used), BLK_S_IOERR);
	ck_assert_uint_eq(used, 1);
	ck_assert_uint_eq(request(BLK_T_OUT, DISK / 512 - 1, 1024, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_IN, 1ULL << 55, 512, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_IN, 0, 100, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(99, 0, 512, &used), BLK_S_UNSUPP);
	ck_assert_uint_eq(used, 1);
	put_range(0, 8, 1); /* unmap means nothing for a discard: §5.2.6.2 */
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 16, NULL), BLK_S_UNSUPP);
	put_range(0, 8, 2);
	ck_assert_uint_eq(request(BLK_T_WRITE_ZEROES, 0, 16, NULL), BLK_S_UNSUPP);
	put_range(DISK / 512 - 1, 2, 0);
	ck_assert_uint_eq(request(BLK_T_WRITE_ZEROES, 0, 16, NULL), BLK_S_IOERR);
	put_range(0, 0x800000, 0);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 16, NULL), BLK_S_IOERR);
	put_range(0, 1, 0);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 15, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 32, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 0, NULL), BLK_S_IOERR);
	/* Nothing of this was the driver's breaking a rule. */
	ck_assert(!rig_broken());
	/* Not negotiated: not there. */
	ck_assert(negotiate(VIRTIO_F_VERSION_1));
	drvq_open(0, 64);
	driver_ok();
	put_range(0, 8, 0);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 16, NULL), BLK_S_UNSUPP);
	ck_assert_uint_eq(request(BLK_T_IN, 0, 512, NULL), BLK_S_OK);
}
END_TEST

START_TEST(read_only_disk)
{
	start(",readonly=on,discard=unmap", "", F_RO);
	ck_assert_uint_eq(offered() & (F_RO | F_DISCARD | F_WRITE_ZEROES), F_RO);
	ck_assert_uint_eq(request(BLK_T_OUT, 0, 512, NULL), BLK_S_IOERR);
	put_range(0, 8, 0);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, 16, NULL), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_FLUSH, 0, 0, NULL), BLK_S_OK);
	ck_assert_uint_eq(request(BLK_T_IN, 5, 512, NULL), BLK_S_OK);
	expect_sectors(rig.ram->host + DATA, 5, 1);
}
END_TEST

START_TEST(host_errors_go_to_the_guest)
{
	uint32_t used;

	start(engines[_i], "", F_FLUSH);
	ck_assert_int_eq(truncate(image, 65536), 0);
	ck_assert_uint_eq(request(BLK_T_IN, 1024, 4096, &used), BLK_S_IOERR);
	ck_assert_uint_eq(used, 1);
	/* The part that was read is in the used length. */
	ck_assert_uint_eq(request(BLK_T_IN, 127, 1024, &used), BLK_S_IOERR);
	ck_assert_uint_eq(used, 513);
	ck_assert_uint_eq(request(BLK_T_IN, 2, 512, NULL), BLK_S_OK);
	expect_sectors(rig.ram->host + DATA, 2, 1);
	ck_assert(!rig_broken());
}
END_TEST

START_TEST(split_header)
{
	/* At every point of the header and of the data, status byte in the last descriptor of the data. */
	start("", "", F_FLUSH);
	for (unsigned int cut = 1; cut < 16; cut++) {
		uint32_t used;

		put_header(BLK_T_IN, 9);
		drvq_desc(0, HEADER, cut, VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, HEADER + cut, 16 - cut, VIRTQ_DESC_F_NEXT, 2);
		drvq_desc(2, DATA, 37 * cut, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 3);
		drvq_desc(3, DATA + 37 * cut, 1024 - 37 * cut + 1, VIRTQ_DESC_F_WRITE, 0);
		rig.ram->host[DATA + 1024] = 0xff;
		drvq_publish(0);
		wr(R_NOTIFY, 0);
		used = drvq_wait(NULL);
		ck_assert_uint_eq(used, 1025);
		ck_assert_uint_eq(rig.ram->host[DATA + 1024], BLK_S_OK);
		expect_sectors(rig.ram->host + DATA, 9, 2);
	}
}
END_TEST

START_TEST(chain_error)
{
	for (unsigned int i = 0; i < 4; i++) {
		if (!i)
			start("", "", F_FLUSH);
		put_header(BLK_T_IN, 0);
		drvq_desc(0, HEADER, i == 0 ? 15 : 16, i == 1 ? 0 : VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, i == 3 ? RIG_SLOT : DATA, 513, i == 2 ? 0 : VIRTQ_DESC_F_WRITE, 0);
		drvq_publish(0);
		wr(R_NOTIFY, 0);
		ck_assert_msg(run_until(rig_broken, 5000), "case %u", i);
		ck_assert(!drvq_used());
		ck_assert(rd(R_ISR) & VIRTIO_ISR_CONFIG);
		ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_FLUSH));
		drvq_open(0, 64);
		driver_ok();
		ck_assert_uint_eq(request(BLK_T_IN, 1, 512, NULL), BLK_S_OK);
	}
}
END_TEST

/* @count reads of 4 KiB with one notification. */
static void flood(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct blk_header header = { cpu_to_le32(BLK_T_IN), { 0 }, cpu_to_le64(i * 8) };

		memcpy(rig.ram->host + HEADER + 16 * i, &header, sizeof(header));
		drvq_desc(3 * i, HEADER + 16 * i, 16, VIRTQ_DESC_F_NEXT, 3 * i + 1);
		drvq_desc(3 * i + 1, DATA + 4096 * i, 4096, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 3 * i + 2);
		drvq_desc(3 * i + 2, STATUS + i, 1, VIRTQ_DESC_F_WRITE, 0);
		drvq_publish(3 * i);
	}
	wr(R_NOTIFY, 0);
}

static bool handled_some(void)
{
	return ((struct virtio_device *)rig.dev)->queues[0].vq.last_avail != 0;
}

START_TEST(completion_after_free)
{
	/* Reset while requests are on their way: when the register write returns, nothing arrives any more. */
	start(engines[_i], "", F_FLUSH);
	for (unsigned int round = 0; round < 20; round++) {
		flood(21);
		ck_assert(run_until(handled_some, 5000));
		wr(R_STATUS, 0);
		memset(rig.ram->host + DATA, 0xa5, 21 * 4096);
		run_until(NULL, 3);
		for (unsigned int i = 0; i < 21 * 4096; i++)
			ck_assert_uint_eq(rig.ram->host[DATA + i], 0xa5);
		ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_FLUSH));
		drvq_open(0, 64);
		driver_ok();
	}
	/* And the device goes away with requests in flight. */
	flood(21);
	ck_assert(run_until(handled_some, 5000));
}
END_TEST

START_TEST(quiesce_completes_what_was_taken)
{
	start(engines[_i], "", F_FLUSH);
	flood(21);
	ck_assert(run_until(handled_some, 5000));
	devices_quiesce(&rig.platform);
	ck_assert_uint_eq(le16_to_cpu(q.used->idx), 21);
	for (unsigned int i = 0; i < 21; i++)
		ck_assert_uint_eq(rig.ram->host[STATUS + i], BLK_S_OK);
	devices_resume(&rig.platform);
	q.seen = 21;
	ck_assert_uint_eq(request(BLK_T_IN, 0, 512, NULL), BLK_S_OK);
}
END_TEST

START_TEST(one_interrupt_for_a_batch)
{
	start(",direct=off", "", F_FLUSH);
	interrupts();
	flood(21);
	for (unsigned int i = 0; i < 21; i++)
		ck_assert_uint_eq(drvq_wait(NULL), 4097);
	ck_assert_uint_le(interrupts(), 21 / 2);
	expect_sectors(rig.ram->host + DATA + 4096 * 20, 160, 8);
}
END_TEST

START_TEST(throttling)
{
	int64_t begin;

	start(",throttling.iops-total=100", "", F_FLUSH);
	begin = clock_now_ns();
	flood(21);
	for (unsigned int i = 0; i < 21; i++)
		drvq_wait(NULL);
	/* Ten at once, the others a hundredth of a second apart. */
	ck_assert_int_ge(clock_now_ns() - begin, 110 * NSEC_PER_MSEC);
	/* A reset in the middle leaves no timer behind that finds a queue of the past. */
	flood(21);
	ck_assert(run_until(drvq_used, 5000));
	wr(R_STATUS, 0);
	run_until(NULL, 50);
	ck_assert_uint_eq(rd(R_STATUS), 0);
}
END_TEST

START_TEST(throttle_resumes_by_itself)
{
	start(",throttling.iops-total=20", "", F_FLUSH);
	for (unsigned int i = 0; i < 5; i++)
		ck_assert_uint_eq(request(BLK_T_IN, i, 512, NULL), BLK_S_OK);
}
END_TEST

START_TEST(home_is_an_iothread)
{
	iothread = iothread_new("io0", NULL);
	ck_assert_ptr_nonnull(iothread);
	ck_assert_int_eq(link_scope_add(rig.platform.links, LINK_IOTHREAD, "io0", iothread, NULL), 0);
	start(engines[_i], ",iothread=io0,num-queues=2", F_FLUSH | F_MQ);
	for (unsigned int round = 0; round < 50; round++) {
		ck_assert_uint_eq(request(BLK_T_IN, round, 512, NULL), BLK_S_OK);
		flood(21);
		wr(R_STATUS, 0);
		ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_FLUSH));
		drvq_open(0, 64);
		driver_ok();
	}
	flood(21);
	devices_quiesce(&rig.platform);
	devices_resume(&rig.platform);
	devices_reset(&rig.platform);
}
END_TEST

static Suite *blk_suite(void)
{
	const TTest *tests[] = { bad_options, configuration, refused_requests, read_only_disk, split_header,
				 chain_error, one_interrupt_for_a_batch, throttling, throttle_resumes_by_itself };
	const TTest *engine_tests[] = { requests_and_used_lengths, host_errors_go_to_the_guest,
					completion_after_free, quiesce_completes_what_was_taken,
					home_is_an_iothread };
	Suite *suite = suite_create("virtio_blk");
	TCase *tcase = tcase_create("blk");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(tcase, tests[i]);
	for (size_t i = 0; i < ARRAY_SIZE(engine_tests); i++)
		tcase_add_loop_test(tcase, engine_tests[i], 0, ARRAY_SIZE(engines));
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(blk_suite)
