// SPDX-License-Identifier: Apache-2.0
#include "unit.h"
#include "util/bucket.h"

START_TEST(no_limit)
{
	struct bucket b;

	bucket_init(&b, 0);
	ck_assert_uint_eq(bucket_available(&b, 5), UINT64_MAX);
	bucket_take(&b, UINT64_MAX, 5);
	ck_assert_uint_eq(bucket_available(&b, 5), UINT64_MAX);
	ck_assert_int_eq(bucket_ready_ns(&b, 1), 0);
}
END_TEST

START_TEST(burst_and_refill)
{
	struct bucket b;
	int64_t now = 1000 * NSEC_PER_SEC;

	bucket_init(&b, 1000);
	ck_assert_uint_eq(bucket_available(&b, now), 100);
	bucket_take(&b, 100, now);
	ck_assert_uint_eq(bucket_available(&b, now), 0);
	ck_assert_uint_eq(bucket_available(&b, now + NSEC_PER_MSEC - 1), 0);
	ck_assert_uint_eq(bucket_available(&b, now + NSEC_PER_MSEC), 1);
	ck_assert_uint_eq(bucket_available(&b, now + 50 * NSEC_PER_MSEC), 50);
	ck_assert_int_eq(bucket_ready_ns(&b, 1), now + NSEC_PER_MSEC);
	ck_assert_int_eq(bucket_ready_ns(&b, 100), now + 100 * NSEC_PER_MSEC);
	ck_assert_int_eq(bucket_ready_ns(&b, 100000), now + 100 * NSEC_PER_MSEC);
	/* A long rest gives no more than the burst. */
	ck_assert_uint_eq(bucket_available(&b, now + 3600 * NSEC_PER_SEC), 100);
}
END_TEST

/* Whatever the rate: whoever waits as told gets something, and in the long run not more than the rate. */
START_TEST(average_of_every_rate)
{
	static const uint64_t rates[] = { 1, 3, 7, 64, 99, 1000, 12345, 1000000, 999999937, 1000000000 };

	for (unsigned int i = 0; i < ARRAY_SIZE(rates); i++) {
		int64_t start = 77 * NSEC_PER_SEC, now = start, end = start + 20 * NSEC_PER_SEC;
		uint64_t taken = 0, rounds = 0;
		struct bucket b;

		bucket_init(&b, rates[i]);
		while (now < end) {
			uint64_t n = bucket_available(&b, now);

			ck_assert_msg(n > 0 && n <= MAX(rates[i] / 10, (uint64_t)1), "rate %llu",
				      (unsigned long long)rates[i]);
			bucket_take(&b, n, now);
			taken += n;
			now = MAX(bucket_ready_ns(&b, (rounds++ % 5) * (rates[i] / 40) + 1), now);
			ck_assert_msg(rounds < 1000000, "rate %llu: too many small helpings",
				      (unsigned long long)rates[i]);
		}
		ck_assert_uint_le(taken, rates[i] * 20 + MAX(rates[i] / 10, (uint64_t)1));
		ck_assert_uint_ge(taken, rates[i] * 19);
	}
}
END_TEST

START_TEST(burst_of_its_own)
{
	struct bucket b;
	int64_t now = 5 * NSEC_PER_SEC;

	bucket_init_burst(&b, 10, 1000);
	ck_assert_uint_eq(bucket_available(&b, now), 1000);
	bucket_take(&b, 1000, now);
	ck_assert_int_eq(bucket_ready_ns(&b, 1), now + 100 * NSEC_PER_MSEC);
	ck_assert_int_eq(bucket_ready_ns(&b, 1000), now + 100 * NSEC_PER_SEC);
	bucket_init_burst(&b, 10, 0);
	ck_assert_uint_eq(bucket_available(&b, now), 1);
}
END_TEST

/* What was taken beyond the burst is paid for in time; what is given back is not. */
START_TEST(debt)
{
	struct bucket b;
	int64_t now = 9 * NSEC_PER_SEC;

	bucket_init(&b, 100);
	bucket_take(&b, 1010, now);
	ck_assert_uint_eq(bucket_available(&b, now), 0);
	ck_assert_int_eq(bucket_ready_ns(&b, 0), now + 10 * NSEC_PER_SEC);
	ck_assert_int_eq(bucket_ready_ns(&b, 1), now + 10 * NSEC_PER_SEC + 10 * NSEC_PER_MSEC);
	bucket_return(&b, 1000);
	ck_assert_int_eq(bucket_ready_ns(&b, 1), now + 10 * NSEC_PER_MSEC);
}
END_TEST

/* No product overflows, whatever is asked for. */
START_TEST(extremes)
{
	static const uint64_t values[] = { 1, 511, UINT32_MAX, BUCKET_RATE_MAX, UINT64_MAX };
	int64_t now = 1000 * NSEC_PER_SEC;
	struct bucket b;

	for (unsigned int i = 0; i < ARRAY_SIZE(values) * ARRAY_SIZE(values); i++) {
		uint64_t rate = MIN(values[i / ARRAY_SIZE(values)], (uint64_t)BUCKET_RATE_MAX);
		uint64_t units = values[i % ARRAY_SIZE(values)];

		bucket_init_burst(&b, rate, rate);
		for (unsigned int n = 0; n < 100; n++)
			bucket_take(&b, units, now);
		ck_assert_int_ge(bucket_ready_ns(&b, 1), 0);
		ck_assert_uint_le(bucket_available(&b, now), rate);
	}
}
END_TEST

UNIT_SUITE(bucket_suite, "bucket", no_limit, burst_and_refill, average_of_every_rate, burst_of_its_own, debt,
	   extremes)
UNIT_MAIN(bucket_suite)
