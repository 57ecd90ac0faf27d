// SPDX-License-Identifier: Apache-2.0
/* The same promises of both engines: data, misaligned memory, zeroes, holes, errors, many at once, drain. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/block/internal.h"
#include "unit.h"

#define SIZE (4 * MIB)

/* Each test runs with each of these. */
static const char *const variants[] = { "aio=io_uring,direct=on", "aio=io_uring,direct=off", "aio=threads,direct=on",
					"aio=threads,direct=off" };

static char image[64];
static struct link_scope *scope;
static struct block_drive *drive;
static struct block_engine *engine;
static struct loop *loop;
static unsigned int done_count, batches;
static int last_result;
static uint8_t *buf;

static void batch_done(struct block_engine_user *user)
{
	(void)user;
	batches++;
	if (done_count)
		loop_stop(loop);
}

static struct block_engine_user user = { .batch_done = batch_done };

static void done(struct block_request *request, int result)
{
	(void)request;
	done_count++;
	last_result = result;
}

static void limits_changed(struct block_drive_user *unused)
{
	(void)unused;
	block_engine_limits_changed(engine);
}

static struct block_drive_user drive_user = { .changed = limits_changed };

static void open_with(const char *options)
{
	char text[256];
	struct opts *opts;
	struct error *err = NULL;

	snprintf(text, sizeof(text), "id=d0,file=%s,%s", image, options);
	ck_assert_int_eq(opts_parse("-drive", text, NULL, &opts, NULL), 0);
	ck_assert_msg(!block_drive_new(opts, scope, &drive, &err), "%s", err ? error_text(err) : "");
	opts_free(opts);
	ck_assert_int_eq(block_drive_attach(drive, 512, &drive_user, &err), 0);
	ck_assert_int_eq(block_engine_new(drive, loop, loop, 64, &user, &engine, &err), 0);
	ck_assert_int_eq(block_engine_start(engine, &err), 0);
	/* The engine that was asked for, where the host has it. */
	if (strstr(options, "threads"))
		ck_assert_str_eq(block_engine_name(engine), "threads");
}

static void close_engine(void)
{
	block_engine_drain(engine);
	block_engine_free(engine);
	block_drive_detach(drive);
	block_drive_free(drive);
	link_scope_del(scope, LINK_DRIVE, "d0");
}

static void setup(void)
{
	int fd;

	snprintf(image, sizeof(image), "./unit-engine-XXXXXX");
	fd = mkstemp(image);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	close(fd);
	scope = link_scope_new();
	loop = loop_new("engine", NULL);
	ck_assert_int_eq(posix_memalign((void **)&buf, 4096, SIZE), 0);
	done_count = batches = 0;
}

static void teardown(void)
{
	free(buf);
	loop_free(loop);
	link_scope_free(scope);
	unlink(image);
}

/* One request by way of the loop; its result. */
static int go(struct block_request *request)
{
	done_count = 0;
	request->done = done;
	block_engine_add(engine, request);
	block_engine_submit(engine);
	while (!done_count) /* a batch may hold steps only */
		loop_run(loop);
	ck_assert_uint_eq(done_count, 1);
	return last_result;
}

static int transfer(enum block_op op, uint64_t offset, void *data, size_t len)
{
	struct iovec iov = { data, len };
	struct block_request request = { .op = op, .offset = offset, .length = len, .iov = &iov, .iov_count = 1 };

	return go(&request);
}

static int range(enum block_op op, uint64_t offset, uint64_t len, bool may_unmap)
{
	struct block_request request = { .op = op, .offset = offset, .length = len, .may_unmap = may_unmap };

	return go(&request);
}

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

static void expect_on_disk(uint64_t offset, const uint8_t *data, size_t len)
{
	uint8_t *have = malloc(len);
	int fd = open(image, O_RDONLY);

	ck_assert_int_eq(pread(fd, have, len, offset), (ssize_t)len);
	ck_assert_mem_eq(have, data, len);
	close(fd);
	free(have);
}

START_TEST(read_back)
{
	uint8_t *other = buf + MIB;

	open_with(variants[_i]);
	fill(buf, 64 * KIB, 1);
	ck_assert_int_eq(transfer(BLOCK_WRITE, 8192, buf, 64 * KIB), 0);
	ck_assert_int_eq(range(BLOCK_FLUSH, 0, 0, false), 0);
	expect_on_disk(8192, buf, 64 * KIB);
	ck_assert_int_eq(transfer(BLOCK_READ, 8192, other, 64 * KIB), 0);
	ck_assert_mem_eq(buf, other, 64 * KIB);
	close_engine();
}
END_TEST

START_TEST(misaligned_memory)
{
	/* Odd addresses, odd lengths, over the size of a bounce buffer; nothing beside them is touched. */
	static const size_t lens[] = { 1, 511, 4096, 7, MIB + 300 * KIB, 100 };
	size_t total = 0, at = 3;
	struct iovec iov[ARRAY_SIZE(lens) + 1], copy[ARRAY_SIZE(lens) + 1];
	struct block_request request;

	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		iov[i] = (struct iovec){ buf + at, lens[i] };
		at += lens[i] + 5;
		total += lens[i];
	}
	iov[ARRAY_SIZE(lens)] = (struct iovec){ buf + at, ALIGN_UP(total, 512UL) - total };
	total = ALIGN_UP(total, 512UL);

	open_with(variants[_i]);
	fill(buf, 2 * MIB, 5);
	memcpy(copy, iov, sizeof(iov));
	request = (struct block_request){ .op = BLOCK_WRITE, .offset = 512, .length = total, .iov = copy,
					  .iov_count = ARRAY_SIZE(iov) };
	ck_assert_int_eq(go(&request), 0);
	ck_assert_uint_eq(request.completed, total);
	for (unsigned int i = 0, off = 512; i < ARRAY_SIZE(iov); off += iov[i++].iov_len)
		expect_on_disk(off, iov[i].iov_base, iov[i].iov_len);

	uint8_t *old = malloc(2 * MIB);

	fill(old, 2 * MIB, 5);
	memset(buf, 0xee, 2 * MIB);
	memcpy(copy, iov, sizeof(iov));
	request = (struct block_request){ .op = BLOCK_READ, .offset = 512, .length = total, .iov = copy,
					  .iov_count = ARRAY_SIZE(iov) };
	ck_assert_int_eq(go(&request), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(iov); i++) {
		uint8_t *base = iov[i].iov_base;

		ck_assert_mem_eq(base, old + (base - buf), iov[i].iov_len);
		ck_assert_uint_eq(base[-1], 0xee);
		ck_assert_uint_eq(base[iov[i].iov_len], 0xee);
	}
	free(old);
	close_engine();
}
END_TEST

/* Addresses may be finer than pieces: NVMe disks take any multiple of 4 for the one, whole blocks for the other. */
START_TEST(pieces_that_are_no_blocks)
{
	static const struct {
		unsigned int at, first; /* of 1024 bytes */
		bool direct;
	} cases[] = { { 0, 512, true }, { 4, 512, true }, { 2, 512, false }, { 0, 4, false }, { 0, 1020, false } };

	open_with(variants[_i]);
	drive->dio_mem_align = 4;
	drive->dio_offset_align = 512;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct iovec iov[2] = { { buf + cases[i].at, cases[i].first },
					{ buf + 8192, 1024 - cases[i].first } };
		struct block_request request = { .op = BLOCK_READ, .length = 1024, .iov = iov, .iov_count = 2 };

		ck_assert_int_eq(go(&request), 0);
		/* What went by way of a bounce buffer leaves the pieces as they were. */
		ck_assert_msg(request.advanced == (cases[i].direct ? 1024 : 0), "case %u", i);
	}
	drive->dio_mem_align = drive->dio_offset_align = 0;
	close_engine();
}
END_TEST

START_TEST(many_at_once)
{
	/* More than the engine was made for: the rest waits its turn. */
	static struct block_request requests[1500];
	static struct iovec iovs[1500];

	open_with(variants[_i]);
	fill(buf, 1500 * 512, 9);
	for (unsigned int i = 0; i < 1500; i++) {
		iovs[i] = (struct iovec){ buf + i * 512, 512 };
		requests[i] = (struct block_request){ .op = BLOCK_WRITE, .offset = (1499 - i) * 512, .length = 512,
						      .iov = &iovs[i], .iov_count = 1, .done = done };
		block_engine_add(engine, &requests[i]);
	}
	block_engine_submit(engine);
	block_engine_drain(engine);
	ck_assert_uint_eq(done_count, 1500);
	for (unsigned int i = 0; i < 1500; i++)
		expect_on_disk((1499 - i) * 512, buf + i * 512, 512);
	close_engine();
}
END_TEST

START_TEST(io_error_is_a_result)
{
	open_with(variants[_i]);
	/* Somebody truncates the image under us: the end comes early. */
	ck_assert_int_eq(truncate(image, 8192), 0);
	ck_assert_int_eq(transfer(BLOCK_READ, 16384, buf, 4096), -EIO);
	ck_assert_int_eq(transfer(BLOCK_READ, 4096, buf, 8192), -EIO);
	ck_assert_int_eq(transfer(BLOCK_READ, 4096, buf, 4096), 0);
	close_engine();
	/* Writing through a descriptor that cannot. */
	open_with(strstr(variants[_i], "threads") ? "aio=threads,readonly=on" : "aio=io_uring,readonly=on");
	ck_assert_int_eq(transfer(BLOCK_WRITE, 0, buf, 4096), -EBADF);
	close_engine();
}
END_TEST

static uint64_t blocks_on_disk(void)
{
	struct stat st;

	sync();
	ck_assert_int_eq(stat(image, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

START_TEST(discard_and_zeroes)
{
	static uint8_t zero[MIB];
	uint64_t before;
	char options[128];

	snprintf(options, sizeof(options), "%s,discard=unmap", variants[_i]);
	open_with(options);
	memset(buf, 0x5a, SIZE);
	ck_assert_int_eq(transfer(BLOCK_WRITE, 0, buf, SIZE), 0);
	before = blocks_on_disk();
	ck_assert_int_eq(range(BLOCK_DISCARD, MIB, MIB, false), 0);
	ck_assert_uint_le(blocks_on_disk(), before - MIB);
	ck_assert_int_eq(range(BLOCK_WRITE_ZEROES, 2 * MIB, MIB, true), 0);
	ck_assert_uint_le(blocks_on_disk(), before - 2 * MIB);
	expect_on_disk(2 * MIB, zero, MIB);
	/* Without leave to unmap the space stays reserved. */
	before = blocks_on_disk();
	ck_assert_int_eq(range(BLOCK_WRITE_ZEROES, 3 * MIB + 512, 64 * KIB, false), 0);
	ck_assert_uint_ge(blocks_on_disk(), before);
	expect_on_disk(3 * MIB + 512, zero, 64 * KIB);
	expect_on_disk(3 * MIB, buf, 512);
	expect_on_disk(3 * MIB + 512 + 64 * KIB, buf, 512);
	close_engine();
}
END_TEST

START_TEST(zeroes_are_detected)
{
	uint64_t before;
	char options[128];

	snprintf(options, sizeof(options), "%s,discard=unmap,detect-zeroes=unmap", variants[_i]);
	open_with(options);
	memset(buf, 0x5a, SIZE);
	ck_assert_int_eq(transfer(BLOCK_WRITE, 0, buf, SIZE), 0);
	before = blocks_on_disk();
	memset(buf, 0, MIB);
	ck_assert_int_eq(transfer(BLOCK_WRITE, 0, buf, MIB), 0);
	ck_assert_uint_le(blocks_on_disk(), before - MIB);
	/* One byte is enough for it to be data. */
	before = blocks_on_disk();
	buf[MIB - 1] = 1;
	ck_assert_int_eq(transfer(BLOCK_WRITE, MIB, buf, MIB), 0);
	expect_on_disk(MIB, buf, MIB);
	ck_assert_uint_ge(blocks_on_disk() + 64 * KIB, before);
	close_engine();
}
END_TEST

START_TEST(zeroes_without_fallocate)
{
	/* tmpfs punches holes but does not zero ranges: the zeroes are written. */
	char shm[64];

	snprintf(shm, sizeof(shm), "/dev/shm/unit-engine-%d", getpid());
	int fd = open(shm, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		return;
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	close(fd);
	unlink(image);
	strcpy(image, shm);
	open_with(variants[_i]);
	memset(buf, 0x5a, SIZE);
	ck_assert_int_eq(transfer(BLOCK_WRITE, 0, buf, SIZE), 0);
	ck_assert_int_eq(range(BLOCK_WRITE_ZEROES, 512, 2 * MIB + 1024, false), 0);
	expect_on_disk(0, buf, 512);
	expect_on_disk(2 * MIB + 1536, buf, 512);
	memset(buf, 0, SIZE);
	expect_on_disk(512, buf, 2 * MIB + 1024);
	close_engine();
}
END_TEST

START_TEST(write_through)
{
	struct iovec iov = { buf, 4096 };
	struct block_request request = { .op = BLOCK_WRITE, .length = 4096, .iov = &iov, .iov_count = 1,
					 .sync = true };

	open_with(variants[_i]);
	fill(buf, 4096, 3);
	ck_assert_int_eq(go(&request), 0);
	/* The last thing that was done for it is the sync. */
	ck_assert_int_eq(request.step, STEP_SYNC);
	expect_on_disk(0, buf, 4096);
	close_engine();
}
END_TEST

START_TEST(nothing_to_do)
{
	open_with(variants[_i]);
	ck_assert_int_eq(range(BLOCK_DISCARD, 0, 0, false), 0);
	ck_assert_int_eq(range(BLOCK_WRITE_ZEROES, 512, 0, false), 0);
	ck_assert_int_eq(transfer(BLOCK_READ, 512, buf, 0), 0);
	close_engine();
}
END_TEST

/* What a failed request had not done is done by the next attempt, into the right places. */
START_TEST(a_failed_request_goes_on_where_it_was)
{
	static uint8_t whole[16384];
	unsigned int off = strstr(variants[_i], "direct=on") ? 512 : 1; /* misaligned: by way of a bounce buffer */
	struct iovec iov[] = { { buf + off, 3072 }, { buf + off + 3072, 5120 } };
	struct block_request request = { .op = BLOCK_READ, .offset = 4096, .length = 8192, .iov = iov,
					 .iov_count = 2 };
	int fd = open(image, O_RDWR);

	open_with(variants[_i]);
	fill(whole, sizeof(whole), 5);
	ck_assert_int_eq(transfer(BLOCK_WRITE, 0, whole, sizeof(whole)), 0);
	ck_assert_int_eq(ftruncate(fd, 8192), 0);
	memset(buf, 0, 16384);
	ck_assert_int_eq(go(&request), -EIO);
	ck_assert_int_eq(pwrite(fd, whole + 8192, 8192, 8192), 8192);
	close(fd);
	done_count = 0;
	block_engine_again(engine, &request);
	block_engine_submit(engine);
	while (!done_count)
		loop_run(loop);
	ck_assert_int_eq(last_result, 0);
	ck_assert_uint_eq(request.completed, 8192);
	ck_assert_mem_eq(buf + off, whole + 4096, 8192);
	close_engine();
}
END_TEST

/* --- Limits --- */

#define HELD 8

static struct block_request held[HELD];
static int results[HELD], order[2 * HELD], done_order;

static void held_done(struct block_request *request, int result)
{
	results[request - held] = result;
	order[done_order++] = request - held;
	done_count++;
}

/* Reads at even places, writes at odd ones. */
static void add_held(void)
{
	static struct iovec iov[HELD];

	done_count = done_order = 0;
	for (unsigned int i = 0; i < HELD; i++) {
		iov[i] = (struct iovec){ buf + 4096 * i, 4096 };
		held[i] = (struct block_request){ .op = i & 1 ? BLOCK_WRITE : BLOCK_READ, .offset = 4096 * i,
						  .length = 4096, .iov = &iov[i], .iov_count = 1,
						  .done = held_done };
		results[i] = 1;
		block_engine_add(engine, &held[i]);
	}
	block_engine_submit(engine);
}

/* One request may pass; the others are a long time away. */
#define ONE_AN_HOUR "throttling.iops-total=1"

static void empty_the_bucket(void)
{
	struct block_limits limits = *block_drive_limits(drive);

	/* A request that counts as 3600 makes the next one wait for an hour. */
	limits.iops_size = 1;
	ck_assert_int_eq(block_drive_set_limits(drive, &limits, NULL, NULL), 0);
	ck_assert_int_eq(transfer(BLOCK_READ, 0, buf, 3600), 0);
}

START_TEST(flushes_pass_what_is_held_back)
{
	open_with("direct=off," ONE_AN_HOUR);
	empty_the_bucket();
	add_held();
	ck_assert_uint_eq(done_count, 0);
	ck_assert_int_eq(range(BLOCK_FLUSH, 0, 0, false), 0);
	ck_assert_uint_eq(done_count, 1);
	done_count = done_order = 0;
	close_engine();
	ck_assert_uint_eq(done_count, HELD);
}
END_TEST

START_TEST(drain_gives_back_in_order)
{
	open_with("direct=off," ONE_AN_HOUR);
	empty_the_bucket();
	add_held();
	block_engine_drain(engine);
	ck_assert_uint_eq(done_count, HELD);
	for (unsigned int i = 0; i < HELD; i++) {
		ck_assert_int_eq(results[i], -ECANCELED);
		/* Among reads, and among writes. */
		ck_assert_int_eq(order[i], i < HELD / 2 ? 2 * i : 2 * (i - HELD / 2) + 1);
	}
	/* Nothing of them is left. */
	block_engine_drain(engine);
	ck_assert_uint_eq(done_count, HELD);
	close_engine();
}
END_TEST

START_TEST(a_new_limit_counts_at_once)
{
	struct block_limits limits;

	open_with("direct=off," ONE_AN_HOUR);
	empty_the_bucket();
	add_held();
	ck_assert_uint_eq(done_count, 0);
	limits = *block_drive_limits(drive);
	limits.iops_size = 0;
	limits.limit[BLOCK_LIMIT_IOPS].average = 0;
	ck_assert_int_eq(block_drive_set_limits(drive, &limits, NULL, NULL), 0);
	while (done_count < HELD)
		loop_run(loop);
	for (unsigned int i = 0; i < HELD; i++)
		ck_assert_int_eq(results[i], 0);
	close_engine();
}
END_TEST

/* Into another group with requests waiting, and by a throttle node's group as well: the slower one counts. */
START_TEST(through_all_groups)
{
	struct block_limits limits = block_no_limits;
	struct throttle_group *slow, *own;

	limits.limit[BLOCK_LIMIT_IOPS].average = 1;
	limits.iops_size = 1;
	ck_assert_int_eq(throttle_group_new("slow", &limits, scope, &slow, NULL), 0);
	open_with("direct=off,throttling.iops-total=1000000");
	drive->top = calloc(1, sizeof(*drive->top));
	drive->top->name = strdup("d0");
	drive->top->group = slow;
	block_engine_limits_changed(engine);
	ck_assert_int_eq(transfer(BLOCK_READ, 0, buf, 3600), 0); /* as empty_the_bucket() */
	add_held();
	ck_assert_uint_eq(done_count, 0);
	ck_assert_int_eq(range(BLOCK_FLUSH, 0, 0, false), 0);
	/* What has passed the first is not asked there again, whatever it says by then. */
	done_count = done_order = 0;
	block_engine_drain(engine);
	ck_assert_uint_eq(done_count, HELD);
	limits.limit[BLOCK_LIMIT_IOPS].average = 1;
	ck_assert_int_eq(block_drive_set_limits(drive, &limits, "other", NULL), 0);
	own = throttle_group_get("other", scope);
	ck_assert_str_eq(block_drive_group(drive), "other");
	ck_assert_int_eq(throttle_group_set_limits(slow, &block_no_limits, NULL), 0);
	done_count = done_order = 0;
	for (unsigned int i = 0; i < HELD; i++)
		block_engine_again(engine, &held[i]);
	block_engine_submit(engine);
	while (done_count < HELD)
		loop_run(loop);
	for (unsigned int i = 0; i < HELD; i++)
		ck_assert_int_eq(results[i], 0);
	throttle_group_put(own);
	close_engine();
	ck_assert_ptr_null(link_scope_find(scope, LINK_THROTTLE_GROUP, "other"));
	ck_assert_ptr_null(link_scope_find(scope, LINK_THROTTLE_GROUP, "slow"));
}
END_TEST

/* The timer alone lets them go. */
START_TEST(held_requests_go_when_it_is_time)
{
	int64_t begin;

	open_with("direct=off,throttling.iops-read=100,throttling.iops-write=50");
	for (unsigned int i = 0; i < 4; i++) { /* both bursts, and reads that have to wait */
		begin = clock_now_ns();
		add_held();
		while (done_count < HELD)
			loop_run(loop);
	}
	/* 16 of each: 5 writes at once, the others a fiftieth of a second apart. */
	ck_assert_int_gt(clock_now_ns() - begin, 40 * NSEC_PER_MSEC);
	for (unsigned int i = 0; i < HELD; i++)
		ck_assert_int_eq(results[i], 0);
	close_engine();
}
END_TEST

static Suite *engine_suite(void)
{
	const TTest *limit_tests[] = { flushes_pass_what_is_held_back, drain_gives_back_in_order,
				       a_new_limit_counts_at_once, held_requests_go_when_it_is_time, through_all_groups };
	const TTest *tests[] = { read_back, misaligned_memory, pieces_that_are_no_blocks, many_at_once, io_error_is_a_result,
				 discard_and_zeroes, zeroes_are_detected, zeroes_without_fallocate,
				 write_through, nothing_to_do, a_failed_request_goes_on_where_it_was };
	Suite *suite = suite_create("block_engine");
	TCase *tcase = tcase_create("engine");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tcase, tests[i], 0, ARRAY_SIZE(variants));
	for (size_t i = 0; i < ARRAY_SIZE(limit_tests); i++)
		tcase_add_test(tcase, limit_tests[i]);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(engine_suite)
