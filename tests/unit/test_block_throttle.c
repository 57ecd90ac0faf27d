// SPDX-License-Identifier: Apache-2.0
/*
 * Limits to the nanosecond, with a clock of the test's own: a host that always has more to do asks for the next request's
 * time as soon as one may begin, as an engine does.
 */
#include "../../src/block/throttle.h"
#include "unit.h"

static struct throttle throttle;
static struct block_limits limits;
static int64_t now;

static void setup(void)
{
	memset(&limits, 0, sizeof(limits));
	for (unsigned int i = 0; i < BLOCK_LIMIT_KINDS; i++)
		limits.limit[i].max_length = 1;
	now = 1000 * NSEC_PER_SEC;
}

static void limit(enum block_limit_kind kind, uint64_t average, uint64_t max, uint64_t length)
{
	limits.limit[kind] = (struct block_limit){ average, max, length };
	ck_assert_int_eq(block_limits_check(&limits, NULL), 0);
	throttle_init(&throttle, &limits);
}

/* How many requests of @bytes begin within @seconds when there are always more; each is late by @late_ns. */
static uint64_t count(bool write, uint64_t bytes, unsigned int seconds, int64_t late_ns)
{
	int64_t end = now + seconds * NSEC_PER_SEC;
	uint64_t n = 0;

	for (;;) {
		int64_t start = throttle_reserve(&throttle, write, bytes, now);

		if (start > now)
			now = start + late_ns;
		if (now >= end)
			break;
		n++;
	}
	now = end;
	throttle_return(&throttle, write, bytes);
	return n;
}

static void expect_within(uint64_t have, uint64_t want, unsigned int percent)
{
	ck_assert_msg(have * 100 >= want * (100 - percent) && have * 100 <= want * (100 + percent),
		      "%llu, not %llu", (unsigned long long)have, (unsigned long long)want);
}

/* The promise: within 2 % over ten seconds, at every rate, also when the host is late each time. */
START_TEST(averages)
{
	static const uint64_t rates[] = { 200, 999, 5000, 50000, 333333 };
	static const int64_t late[] = { 0, 50000, 3 * NSEC_PER_MSEC, 80 * NSEC_PER_MSEC };

	for (unsigned int i = 0; i < ARRAY_SIZE(rates) * ARRAY_SIZE(late); i++) {
		uint64_t rate = rates[i / ARRAY_SIZE(late)];

		limit(BLOCK_LIMIT_IOPS, rate, 0, 1);
		expect_within(count(i & 1, 4096, 10, late[i % ARRAY_SIZE(late)]), rate * 10, 2);
	}
}
END_TEST

START_TEST(bytes)
{
	limit(BLOCK_LIMIT_BPS, 1000000, 0, 1);
	expect_within(count(false, 4096, 10, 0) * 4096, 10000000, 2);
	/* Requests larger than the burst begin when all before them is paid for. */
	limit(BLOCK_LIMIT_BPS, 1000000, 0, 1);
	expect_within(count(true, 3000000, 60, 0), 20, 6);
}
END_TEST

START_TEST(bursts)
{
	/* A second's worth of max at once, then the average. */
	limit(BLOCK_LIMIT_IOPS, 100, 1000, 1);
	expect_within(count(false, 512, 1, 0), 1100, 1);
	expect_within(count(false, 512, 10, 0), 1000, 1);
	/* Rest fills the bucket again. */
	now += 10 * NSEC_PER_SEC;
	expect_within(count(false, 512, 1, 0), 1100, 1);
	/* Ten seconds of max, never faster than that. */
	limit(BLOCK_LIMIT_IOPS, 100, 1000, 10);
	expect_within(count(false, 512, 1, 0), 1100, 1); /* with the tenth of a second that may come at once */
	expect_within(count(false, 512, 9, 0), 9000, 1);
	/* The average has come in all that time: another second or so. */
	expect_within(count(false, 512, 2, 0), 100 * 12 + 10000 - 10100, 2);
	expect_within(count(false, 512, 10, 0), 1000, 2);
}
END_TEST

START_TEST(each_direction_has_its_limit)
{
	limit(BLOCK_LIMIT_IOPS_READ, 100, 0, 1);
	ck_assert_int_le(throttle_reserve(&throttle, true, 1 << 30, now), now);
	expect_within(count(false, 512, 10, 0), 1000, 2);
	limits.limit[BLOCK_LIMIT_IOPS_READ].average = 0;
	limit(BLOCK_LIMIT_BPS_WRITE, 51200, 0, 1);
	ck_assert_int_le(throttle_reserve(&throttle, false, 1 << 30, now), now);
	expect_within(count(true, 512, 10, 0), 1000, 2);
}
END_TEST

/* Both directions wait for one limit: each reserves ahead and gets its turn. */
START_TEST(neither_direction_starves_the_other)
{
	uint64_t n[2] = { 0, 0 };
	int64_t start[2];

	limit(BLOCK_LIMIT_IOPS, 1000, 0, 1);
	for (unsigned int i = 0; i < 2; i++)
		start[i] = throttle_reserve(&throttle, i, 4096, now);
	while (n[0] + n[1] < 10000) {
		unsigned int first = start[1] < start[0];

		now = MAX(now, start[first]);
		n[first]++;
		start[first] = throttle_reserve(&throttle, first, 4096, now);
	}
	expect_within(n[0], 5000, 3);
	expect_within((uint64_t)(now - 1000 * NSEC_PER_SEC), 10 * NSEC_PER_SEC, 2);
}
END_TEST

START_TEST(large_requests_count_more)
{
	limits.iops_size = 4096;
	limit(BLOCK_LIMIT_IOPS, 1000, 0, 1);
	expect_within(count(false, 512, 10, 0), 10000, 2);
	limit(BLOCK_LIMIT_IOPS, 1000, 0, 1);
	expect_within(count(false, 40960, 10, 0), 1000, 2);
}
END_TEST

START_TEST(no_limit)
{
	throttle_init(&throttle, &limits);
	ck_assert(!throttle.limited);
	ck_assert_int_le(throttle_reserve(&throttle, false, UINT32_MAX, now), now);
}
END_TEST

UNIT_SUITE_WITH(throttle_suite, "block_throttle", setup, NULL, averages, bytes, bursts,
		each_direction_has_its_limit, neither_direction_starves_the_other,
		large_requests_count_more, no_limit)

UNIT_MAIN(throttle_suite)
