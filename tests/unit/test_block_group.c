// SPDX-License-Identifier: Apache-2.0
/*
 * Throttle groups in stepped time: members on two loops that always have more to do, up to a depth, as disks under load. A
 * request takes no time once it may begin.
 */
#include <errno.h>

#include "../../src/block/throttle_member.h"
#include "unit.h"

#define MEMBERS 3
#define DEPTH_MAX 64

struct disk {
	struct throttle_member member;
	struct block_request requests[DEPTH_MAX];
	unsigned int depth;  /* requests that wait or are about to */
	unsigned int writes; /* so many of each ten */
	uint64_t begun[2];
	unsigned int turn;
};

static struct link_scope *scope;
static struct loop *loops[2];
static struct throttle_group *group;
static struct disk disks[MEMBERS];
static struct block_limits limits;
static uint64_t wakes; /* how often a member looked */

static void add(struct disk *disk, struct block_request *request)
{
	unsigned int turns = 0;

	for (;;) {
		request->op = disk->turn++ % 10 < disk->writes ? BLOCK_WRITE : BLOCK_READ;
		request->length = 4096;
		list_init(&request->node);
		if (throttle_member_hold(&disk->member, request, clock_now_ns()))
			return;
		disk->begun[request->op == BLOCK_WRITE]++;
		ck_assert_uint_lt(++turns, 1000000); /* there is a limit */
	}
}

static void ready(struct throttle_member *member)
{
	struct disk *disk = container_of(member, struct disk, member);
	struct list due, *node;

	wakes++;
	list_init(&due);
	throttle_member_due(member, clock_now_ns(), &due);
	while ((node = list_first(&due))) {
		struct block_request *request = list_entry(node, struct block_request, node);

		list_del(node);
		disk->begun[request->op == BLOCK_WRITE]++;
		add(disk, request);
	}
}

static void setup(void)
{
	clock_step_to(1);
	scope = link_scope_new();
	for (unsigned int i = 0; i < 2; i++)
		loops[i] = loop_new("loop", NULL);
	limits = block_no_limits;
	group = throttle_group_get("g", scope);
	for (unsigned int i = 0; i < MEMBERS; i++) {
		disks[i] = (struct disk){ .depth = 8 };
		throttle_member_init(&disks[i].member, loops[i & 1], ready);
	}
	wakes = 0;
}

static void stop_disk(struct disk *disk, bool leave)
{
	struct list held, *node;
	unsigned int count = 0;

	list_init(&held);
	throttle_member_take_back(&disk->member, &held);
	while ((node = list_first(&held))) {
		list_del(node);
		count++;
	}
	ck_assert_uint_eq(count, disk->member.group ? disk->depth : 0);
	if (leave)
		throttle_member_leave(&disk->member);
}

static void teardown(void)
{
	for (unsigned int i = 0; i < MEMBERS; i++)
		stop_disk(&disks[i], true);
	throttle_group_put(group);
	ck_assert_ptr_null(link_scope_find(scope, LINK_THROTTLE_GROUP, "g"));
	for (unsigned int i = 0; i < 2; i++)
		loop_free(loops[i]);
	link_scope_free(scope);
}

static void set_limit(enum block_limit_kind kind, uint64_t average)
{
	limits.limit[kind].average = average;
	ck_assert_int_eq(throttle_group_set_limits(group, &limits, NULL), 0);
}

static void start_disk(struct disk *disk)
{
	if (!disk->member.group)
		throttle_member_join(&disk->member, group);
	for (unsigned int i = 0; i < disk->depth; i++)
		add(disk, &disk->requests[i]);
}


static void stop_loop(struct loop_call *call)
{
	loop_stop(call->loop);
}

/* Both loops, until neither has anything to do at this time. */
static void settle(void)
{
	uint64_t before;

	do {
		before = loop_work(loops[0]) + loop_work(loops[1]);
		for (unsigned int i = 0; i < 2; i++) {
			struct loop_call call;

			loop_call_init(&call, loops[i], stop_loop);
			loop_call_schedule_idle(&call);
			loop_run(loops[i]);
		}
	} while (loop_work(loops[0]) + loop_work(loops[1]) != before);
}

static void run_for(int64_t ns)
{
	int64_t end = clock_now_ns() + ns;

	for (;;) {
		int64_t next = end;

		settle();
		for (unsigned int i = 0; i < 2; i++) {
			int64_t deadline = loop_first_deadline(loops[i]);

			if (deadline)
				next = MIN(next, deadline);
		}
		if (next == clock_now_ns())
			return;
		clock_step_to(next);
	}
}

static uint64_t begun(const struct disk *disk)
{
	return disk->begun[0] + disk->begun[1];
}

static void forget(void)
{
	for (unsigned int i = 0; i < MEMBERS; i++)
		disks[i].begun[0] = disks[i].begun[1] = 0;
}

static void expect_near(uint64_t have, uint64_t want, unsigned int percent)
{
	ck_assert_msg(have * 100 >= want * (100 - percent) && have * 100 <= want * (100 + percent),
		      "%llu, not %llu", (unsigned long long)have, (unsigned long long)want);
}

/* The sum is what the group may, within 2 %, and each gets as much of it: on one loop or on two. */
START_TEST(shared_evenly)
{
	static const uint64_t rates[] = { 200, 50000 };
	static const unsigned int seconds[] = { 10, 1 }, depth[] = { 1, 8 };
	unsigned int other = 1 + (_i & 1); /* its loop is another one, or the same */
	uint64_t rate = rates[_i / 2], want = rate * seconds[_i / 2];

	set_limit(BLOCK_LIMIT_IOPS, rate);
	disks[0].depth = depth[_i / 2];
	disks[other].depth = 32;
	start_disk(&disks[0]);
	start_disk(&disks[other]);
	run_for(NSEC_PER_SEC); /* the burst at the begin is the first one's */
	forget();
	wakes = 0;
	run_for(seconds[_i / 2] * NSEC_PER_SEC);
	expect_near(begun(&disks[0]) + begun(&disks[other]), want, 2);
	expect_near(begun(&disks[0]), want / 2, 3);
	expect_near(begun(&disks[other]), want / 2, 3);
	/* Nobody looks all the time: some times for each request, and for many together when there are many. */
	ck_assert_uint_le(wakes, 4 * MIN(want, 10000 * (uint64_t)seconds[_i / 2]));
}
END_TEST

/* The promise for a disk: within 2 % of its limit over ten seconds, whichever it is, by timers that look seldom. */
START_TEST(average_of_one)
{
	static const struct {
		enum block_limit_kind kind;
		uint64_t average, requests; /* requests: in ten seconds */
	} rows[] = {
		{ BLOCK_LIMIT_IOPS, 200, 2000 },
		{ BLOCK_LIMIT_IOPS, 50000, 500000 },
		{ BLOCK_LIMIT_IOPS_READ, 999, 9990 },
		{ BLOCK_LIMIT_BPS, 1000000, 2441 },
		{ BLOCK_LIMIT_BPS_READ, 100 * MIB, 256000 },
	};

	disks[0].depth = 32;
	set_limit(rows[_i].kind, rows[_i].average);
	start_disk(&disks[0]);
	/* With the tenth of a second's worth that may come at once. */
	run_for(10 * NSEC_PER_SEC);
	expect_near(begun(&disks[0]), rows[_i].requests, 2);
	ck_assert_uint_le(wakes, MIN(rows[_i].requests, (uint64_t)100000) + 100);
}
END_TEST

/* A burst at its own rate for as long as it may last, then the average, and again after a rest. */
START_TEST(burst_of_one)
{
	uint64_t first;

	disks[0].depth = 32;
	limits.limit[BLOCK_LIMIT_IOPS] = (struct block_limit){ .average = 100, .max = 1000, .max_length = 5 };
	ck_assert_int_eq(throttle_group_set_limits(group, &limits, NULL), 0);
	for (unsigned int i = 0; i < 2; i++) {
		forget();
		start_disk(&disks[0]);
		run_for(NSEC_PER_SEC);
		first = begun(&disks[0]);
		expect_near(first, 1100, 2);
		run_for(4 * NSEC_PER_SEC);
		expect_near(begun(&disks[0]) - first, 4000, 2);
		run_for(5 * NSEC_PER_SEC);
		forget();
		run_for(10 * NSEC_PER_SEC);
		expect_near(begun(&disks[0]), 1000, 2);
		stop_disk(&disks[0], false);
		run_for(60 * NSEC_PER_SEC);
	}
	disks[0].depth = 0; /* nothing waits */
}
END_TEST

START_TEST(three_of_them)
{
	set_limit(BLOCK_LIMIT_BPS, 4096 * 300);
	for (unsigned int i = 0; i < MEMBERS; i++)
		start_disk(&disks[i]);
	run_for(NSEC_PER_SEC);
	forget();
	run_for(10 * NSEC_PER_SEC);
	for (unsigned int i = 0; i < MEMBERS; i++)
		expect_near(begun(&disks[i]), 1000, 2);
}
END_TEST

/* What one does not use the others get. */
START_TEST(one_rests)
{
	set_limit(BLOCK_LIMIT_IOPS, 1000);
	start_disk(&disks[0]);
	start_disk(&disks[1]);
	run_for(NSEC_PER_SEC);
	forget();
	stop_disk(&disks[_i], _i);
	run_for(10 * NSEC_PER_SEC);
	ck_assert_uint_eq(begun(&disks[_i]), 0);
	expect_near(begun(&disks[!_i]), 10000, 2);
	forget();
	start_disk(&disks[_i]);
	run_for(10 * NSEC_PER_SEC);
	expect_near(begun(&disks[0]), 5000, 2);
	expect_near(begun(&disks[1]), 5000, 2);
}
END_TEST

/* Reads of one and writes of the other have limits of their own, and none waits for the other's turn. */
START_TEST(reads_and_writes)
{
	limits.limit[BLOCK_LIMIT_IOPS_WRITE].average = 100;
	set_limit(BLOCK_LIMIT_IOPS_READ, 3000);
	disks[1].writes = 10;
	start_disk(&disks[0]);
	start_disk(&disks[1]);
	run_for(NSEC_PER_SEC);
	forget();
	wakes = 0;
	run_for(10 * NSEC_PER_SEC);
	expect_near(disks[0].begun[0], 30000, 2);
	expect_near(disks[1].begun[1], 1000, 2);
	ck_assert_uint_lt(wakes, 60000);
}
END_TEST

/* Both directions under one limit, from both. */
START_TEST(mixed)
{
	set_limit(BLOCK_LIMIT_IOPS, 2000);
	disks[0].writes = disks[1].writes = 5;
	start_disk(&disks[0]);
	start_disk(&disks[1]);
	run_for(NSEC_PER_SEC);
	forget();
	run_for(10 * NSEC_PER_SEC);
	expect_near(begun(&disks[0]) + begun(&disks[1]), 20000, 2);
	for (unsigned int i = 0; i < 4; i++)
		expect_near(disks[i / 2].begun[i & 1], 5000, 5);
}
END_TEST

START_TEST(new_limits_count_at_once)
{
	set_limit(BLOCK_LIMIT_IOPS, 1);
	start_disk(&disks[0]);
	start_disk(&disks[1]);
	run_for(NSEC_PER_SEC / 2);
	forget();
	set_limit(BLOCK_LIMIT_IOPS, 1000);
	run_for(10 * NSEC_PER_SEC);
	expect_near(begun(&disks[0]), 5050, 2); /* with a tenth of a second's worth at once */
	expect_near(begun(&disks[1]), 5050, 2);
	/* Nothing waits any more. Those who ask for more get it, so nobody does. */
	forget();
	disks[0].member.ready = disks[1].member.ready = NULL;
	for (unsigned int i = 0; i < 2; i++) {
		stop_disk(&disks[i], true);
		disks[i].depth = 0;
	}
	ck_assert(!throttle_group_is_shared(group));
}
END_TEST

/* By name, and as long as somebody wants it. */
START_TEST(names)
{
	struct throttle_group *same = throttle_group_get("g", scope), *other;
	struct error *err = NULL;

	ck_assert_ptr_eq(same, group);
	ck_assert(throttle_group_is_shared(group));
	throttle_group_put(same);
	ck_assert(!throttle_group_is_shared(group));
	ck_assert_int_eq(throttle_group_new("g", &limits, scope, &other, &err), -EEXIST);
	ck_assert_str_eq(error_text(err), "throttle-group id 'g' is already used");
	error_free(err);
	limits.limit[BLOCK_LIMIT_BPS] = (struct block_limit){ 5, 4, 1 };
	err = NULL;
	ck_assert_int_eq(throttle_group_set_limits(group, &limits, &err), -EINVAL);
	error_free(err);
	ck_assert(!block_limits_any(throttle_group_limits(group)));
	limits.limit[BLOCK_LIMIT_BPS].max = 6;
	ck_assert_int_eq(throttle_group_new("h", &limits, scope, &other, NULL), 0);
	ck_assert_uint_eq(throttle_group_limits(other)->limit[BLOCK_LIMIT_BPS].max, 6);
	ck_assert_str_eq(throttle_group_name(other), "h");
	throttle_group_put(other);
	ck_assert_ptr_null(link_scope_find(scope, LINK_THROTTLE_GROUP, "h"));
}
END_TEST

static Suite *group_suite(void)
{
	const TTest *tests[] = { burst_of_one, three_of_them, reads_and_writes, mixed, new_limits_count_at_once, names };
	Suite *suite = suite_create("block_group");
	TCase *tcase = tcase_create("group");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, average_of_one, 0, 5);
	tcase_add_loop_test(tcase, shared_evenly, 0, 4);
	tcase_add_loop_test(tcase, one_rests, 0, 2);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(group_suite)
