// SPDX-License-Identifier: Apache-2.0
/*
 * A disk in a replaceable slot: what the driver sees when a drive comes, goes and changes, with
 * requests on their way, and what becomes of the features that were negotiated for another drive.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "../../src/virtio/blk_request.h"
#include "block/drive.h"
#include "virtio/classes.h"
#include "virtio_rig.h"

#define F_RO (1ULL << 5)
#define F_FLUSH (1ULL << 9)
#define F_DISCARD (1ULL << 13)
#define F_WRITE_ZEROES (1ULL << 14)

#define DISK (2 * MIB)
#define HEADER 0x80000
#define STATUS 0x81000
#define DATA 0x90000
#define ISR_CONFIG 2

static char image[64];
static struct block_drive *drives[2];
static struct iothread *iothread;
static unsigned int events;

static struct block_drive *make_drive(const char *id, const char *options)
{
	struct error *err = NULL;
	struct block_drive *drive;
	struct opts *opts;
	char text[256];

	snprintf(text, sizeof(text), "id=%s,file=%s%s", id, image, options);
	ck_assert_int_eq(opts_parse("-drive", text, NULL, &opts, NULL), 0);
	ck_assert_msg(!block_drive_new(opts, rig.platform.links, &drive, &err), "%s",
		      err ? error_text(err) : "");
	opts_free(opts);
	return drive;
}

static void platform_event(struct platform *platform, enum device_event what,
			   const struct device_event_info *info)
{
	(void)platform;
	ck_assert_int_eq(what, DEVICE_EVENT_DRIVE_ERROR);
	ck_assert_ptr_eq(info->drive, drives[0]);
	ck_assert_str_eq(info->operation, "read");
	ck_assert_int_eq(info->error, -EIO);
	events++;
}

static void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_blk_mmio_class, NULL };
	int fd;

	snprintf(image, sizeof(image), "./unit-slot-XXXXXX");
	fd = mkstemp(image);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, DISK), 0);
	close(fd);
	rig_open(classes);
	rig.platform.event = platform_event;
	drives[0] = drives[1] = NULL;
	iothread = NULL;
	events = 0;
}

static void free_back_ends(void)
{
	iothread_free(iothread);
	block_drive_free(drives[0]);
	block_drive_free(drives[1]);
}

static void teardown(void)
{
	rig_close_with(free_back_ends);
	unlink(image);
}

/* An empty slot whose driver has taken @features of what it offers. */
static void start_empty(const char *options, uint64_t features)
{
	struct opts *opts;
	char text[128];

	snprintf(text, sizeof(text), "virtio-blk-device%s", options);
	ck_assert_int_eq(opts_parse("-device", text, "driver", &opts, NULL), 0);
	ck_assert_int_eq(
		device_create_replaceable(&rig.platform, "slot0", opts, true, &rig.dev, NULL), 0);
	opts_free(opts);
	ck_assert(negotiate(features | VIRTIO_F_VERSION_1));
	drvq_open(0, 64);
	driver_ok();
}

/* NULL when it went well, else the error's text, valid until the next call. */
static const char *plug(const char *text)
{
	struct opts *opts;

	error_free(rig.err);
	rig.err = NULL;
	ck_assert_int_eq(opts_parse("device_add", text, "driver", &opts, NULL), 0);
	if (device_plug(rig.dev, opts, &rig.err))
		ck_assert_ptr_nonnull(rig.err);
	opts_free(opts);
	return rig.err ? error_text(rig.err) : NULL;
}

static void submit(uint32_t type, uint64_t sector, uint32_t len)
{
	struct blk_header header = { cpu_to_le32(type), { 0 }, cpu_to_le64(sector) };
	bool to_device = type != BLK_T_IN && type != BLK_T_GET_ID;

	memcpy(rig.ram->host + HEADER, &header, sizeof(header));
	rig.ram->host[STATUS] = 0xff;
	drvq_desc(0, HEADER, 16, VIRTQ_DESC_F_NEXT, len ? 1 : 2);
	if (len)
		drvq_desc(1, DATA, len, VIRTQ_DESC_F_NEXT | (to_device ? 0 : VIRTQ_DESC_F_WRITE),
			  2);
	drvq_desc(2, STATUS, 1, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t len)
{
	submit(type, sector, len);
	drvq_wait(NULL);
	return rig.ram->host[STATUS];
}

/* The capacity in sectors; the driver was told of a change since the last call, or not. */
static void expect_capacity(uint32_t sectors, bool told)
{
	ck_assert_uint_eq(rd(R_CONFIG), sectors);
	ck_assert_int_eq(!!(rd(R_ISR) & ISR_CONFIG), told);
	if (told)
		ck_assert_uint_gt(interrupts(), 0);
	wr(R_ACK, 3);
}

START_TEST(empty)
{
	static const uint32_t types[] = { BLK_T_IN, BLK_T_OUT, BLK_T_FLUSH, BLK_T_GET_ID, 77 };

	start_empty("", F_FLUSH);
	expect_capacity(0, false);
	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++)
		ck_assert_uint_eq(request(types[i], 0, types[i] == BLK_T_FLUSH ? 0 : 512),
				  BLK_S_IOERR);
	ck_assert(!rig_broken());
	ck_assert_str_eq(device_name(rig.dev), "slot0");
	ck_assert(device_is_internal(rig.dev));
}
END_TEST

START_TEST(comes_and_goes)
{
	if (_i) {
		iothread = iothread_new("io", NULL);
		ck_assert_int_eq(
			link_scope_add(rig.platform.links, LINK_IOTHREAD, "io", iothread, NULL), 0);
	}
	start_empty(_i ? ",iothread=io" : "", F_FLUSH);
	drives[0] = make_drive("d0", "");
	for (unsigned int round = 0; round < 20; round++) {
		ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0,id=disk,serial=S,addr=0"));
		expect_capacity(DISK / 512, true);
		ck_assert_str_eq(device_name(rig.dev), "disk");
		ck_assert_ptr_eq(device_find(&rig.platform, "disk"), rig.dev);
		ck_assert_ptr_null(device_find(&rig.platform, "slot0"));
		ck_assert_ptr_eq(device_find_user(&rig.platform, drives[0]), rig.dev);
		ck_assert_str_eq(block_drive_device(drives[0]), "disk");
		memset(rig.ram->host + DATA, round + 1, 4096);
		ck_assert_uint_eq(request(BLK_T_OUT, 8, 4096), BLK_S_OK);
		memset(rig.ram->host + DATA, 0, 4096);
		ck_assert_uint_eq(request(BLK_T_IN, 8, 4096), BLK_S_OK);
		ck_assert_uint_eq(rig.ram->host[DATA + 4095], round + 1);
		ck_assert_uint_eq(request(BLK_T_GET_ID, 0, 20), BLK_S_OK);
		ck_assert_str_eq((char *)rig.ram->host + DATA, "S");
		wr(R_ACK, 3);
		device_unplug(rig.dev);
		expect_capacity(0, true);
		ck_assert(!block_drive_in_use(drives[0]));
		ck_assert_uint_eq(request(BLK_T_IN, 8, 4096), BLK_S_IOERR);
		wr(R_ACK, 3);
	}
}
END_TEST

START_TEST(refused)
{
	start_empty("", F_FLUSH);
	drives[0] = make_drive("d0", "");
	ck_assert_ptr_nonnull(strstr(plug("virtio-blk-mmio,id=x"), "drive"));
	ck_assert_ptr_nonnull(strstr(plug("virtio-blk-mmio,drive=none"), "none"));
	ck_assert_ptr_nonnull(strstr(plug("virtio-blk-mmio,drive=d0,num-queues=2"), "num-queues"));
	ck_assert_ptr_nonnull(strstr(plug("virtio-blk-mmio,drive=d0,id=slot0"), "already used"));
	ck_assert_int_eq(block_drive_attach(drives[0], 512, NULL, NULL), 0);
	ck_assert_ptr_nonnull(strstr(plug("virtio-blk-mmio,drive=d0"), "in use by another device"));
	block_drive_detach(drives[0]);
	expect_capacity(0, false);
	ck_assert_str_eq(device_name(rig.dev), "slot0");
	ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0"));
	ck_assert_str_eq(device_name(rig.dev), "virtio-blk-device-0");
}
END_TEST

/* Popped, on its way, and not yet answered: unplug waits for it and the driver gets it as done. */
START_TEST(in_flight)
{
	start_empty("", F_FLUSH);
	drives[0] = make_drive("d0", ",aio=threads");
	for (unsigned int round = 0; round < 50; round++) {
		ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0"));
		submit(BLK_T_OUT, 0, 64 * 1024);
		/* Lets the home loop take it, and no more. */
		ck_assert(!run_until(NULL, round % 3));
		device_unplug(rig.dev);
		drvq_wait(NULL);
		ck_assert(rig.ram->host[STATUS] == BLK_S_OK ||
			  rig.ram->host[STATUS] == BLK_S_IOERR);
		ck_assert(!rig_broken());
	}
}
END_TEST

static void set_iops(struct block_drive *drive, uint64_t iops)
{
	struct block_limits limits = *block_drive_limits(drive);

	limits.limit[BLOCK_LIMIT_IOPS].average = iops;
	ck_assert_int_eq(block_drive_set_limits(drive, &limits, NULL, NULL), 0);
}

/* Held back by the limit of a drive that goes. */
START_TEST(throttled)
{
	start_empty("", F_FLUSH);
	drives[0] = make_drive("d0", ",throttling.iops-total=1");
	ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0"));
	ck_assert_uint_eq(request(BLK_T_OUT, 0, 512), BLK_S_OK);
	submit(BLK_T_OUT, 0, 512);
	ck_assert(!run_until(drvq_used, 100));
	set_iops(drives[0], 0);
	drvq_wait(NULL);
	ck_assert_uint_eq(rig.ram->host[STATUS], BLK_S_OK);
	set_iops(drives[0], 1);
	ck_assert_uint_eq(request(BLK_T_OUT, 0, 512), BLK_S_OK);
	submit(BLK_T_OUT, 0, 512);
	ck_assert(!run_until(drvq_used, 100));
	device_unplug(rig.dev);
	drvq_wait(NULL);
	ck_assert_uint_eq(rig.ram->host[STATUS], BLK_S_IOERR);
}
END_TEST

START_TEST(features_follow)
{
	struct stat before, after;
	struct blk_range range = { cpu_to_le64(0), cpu_to_le32(8), { 0 } };

	start_empty("", F_FLUSH | F_DISCARD | F_WRITE_ZEROES);
	ck_assert_uint_eq(offered() & (F_RO | F_DISCARD | F_WRITE_ZEROES),
			  F_DISCARD | F_WRITE_ZEROES);

	/* Offered by nobody in particular: a drive that does not release space keeps it. */
	drives[0] = make_drive("d0", ",discard=ignore");
	ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0"));
	memset(rig.ram->host + DATA, 7, 4096);
	ck_assert_uint_eq(request(BLK_T_OUT, 0, 4096), BLK_S_OK);
	ck_assert_uint_eq(request(BLK_T_FLUSH, 0, 0), BLK_S_OK);
	ck_assert_int_eq(stat(image, &before), 0);
	memcpy(rig.ram->host + DATA, &range, sizeof(range));
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, sizeof(range)), BLK_S_OK);
	ck_assert_int_eq(stat(image, &after), 0);
	ck_assert_int_eq(after.st_blocks, before.st_blocks);
	device_unplug(rig.dev);
	block_drive_free(drives[0]);
	link_scope_del(rig.platform.links, LINK_DRIVE, "d0");

	drives[0] = make_drive("d0", ",readonly=on");
	ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0"));
	ck_assert_uint_eq(request(BLK_T_OUT, 0, 512), BLK_S_IOERR);
	memcpy(rig.ram->host + DATA, &range, sizeof(range));
	ck_assert_uint_eq(request(BLK_T_WRITE_ZEROES, 0, sizeof(range)), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_DISCARD, 0, sizeof(range)), BLK_S_IOERR);
	ck_assert_uint_eq(request(BLK_T_IN, 0, 512), BLK_S_OK);
	/* What a driver negotiated stays until it resets the device. */
	ck_assert_uint_eq(offered() & F_RO, 0);
	wr(R_STATUS, 0);
	ck_assert_uint_eq(offered() & (F_RO | F_DISCARD | F_WRITE_ZEROES), F_RO);
	device_unplug(rig.dev);
	wr(R_STATUS, 0);
	ck_assert_uint_eq(offered() & (F_RO | F_DISCARD | F_WRITE_ZEROES),
			  F_DISCARD | F_WRITE_ZEROES);
}
END_TEST

START_TEST(sizes)
{
	struct error *err = NULL;

	start_empty("", F_FLUSH);
	drives[0] = make_drive("d0", "");
	ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0"));
	expect_capacity(DISK / 512, true);
	ck_assert_int_eq(block_drive_resize(drives[0], DISK / 2, NULL), 0);
	expect_capacity(DISK / 1024, true);
	ck_assert_uint_eq(request(BLK_T_IN, DISK / 1024, 512), BLK_S_IOERR);
	wr(R_ACK, 3);
	ck_assert_int_eq(block_drive_resize(drives[0], DISK, NULL), 0);
	expect_capacity(DISK / 512, true);
	ck_assert_uint_eq(request(BLK_T_IN, DISK / 1024, 512), BLK_S_OK);
	ck_assert_int_eq(block_drive_resize(drives[0], DISK + 1, &err), -EINVAL);
	ck_assert_error(err, "size 2097153 is not a multiple of 512 above 0");
	ck_assert_uint_eq(block_drive_size(drives[0]), DISK);
}
END_TEST

static bool told(void)
{
	return events;
}

START_TEST(errors_are_told)
{
	struct block_stats stats;

	start_empty("", F_FLUSH);
	drives[0] = make_drive("d0", "");
	ck_assert_ptr_null(plug("virtio-blk-mmio,drive=d0"));
	ck_assert_uint_eq(request(BLK_T_IN, 0, 4096), BLK_S_OK);
	ck_assert_int_eq(truncate(image, 4096), 0);
	for (unsigned int i = 0; i < 10; i++)
		ck_assert_uint_eq(request(BLK_T_IN, 64, 512), BLK_S_IOERR);
	ck_assert(run_until(told, 1000));
	ck_assert_uint_eq(events, 1);
	block_drive_stats(drives[0], &stats);
	ck_assert_uint_eq(stats.operations[BLOCK_ACCOUNT_READ], 1);
	ck_assert_uint_eq(stats.bytes[BLOCK_ACCOUNT_READ], 4096);
	ck_assert_uint_eq(stats.failed[BLOCK_ACCOUNT_READ], 10);
	ck_assert_uint_eq(stats.operations[BLOCK_ACCOUNT_WRITE], 0);
	ck_assert_uint_eq(stats.highest_write, 0);
}
END_TEST

static Suite *slot_suite(void)
{
	const TTest *tests[] = { empty,		  refused, in_flight,	   throttled,
				 features_follow, sizes,   errors_are_told };
	Suite *suite = suite_create("virtio_blk_slot");
	TCase *tcase = tcase_create("slot");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(tcase, tests[i]);
	tcase_add_loop_test(tcase, comes_and_goes, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(slot_suite)
