// SPDX-License-Identifier: Apache-2.0
/* The level is kept as the time at which the bucket is full again: no update as time goes by, no drift. */
#include "util/bucket.h"

#define BURST_PER_SEC 10
/* Centuries: sums of many such times do not overflow. */
#define COST_MAX_NS ((int64_t)1 << 60)

/* Rounded up, so that the average never exceeds the rate. */
static int64_t cost_ns(const struct bucket *bucket, uint64_t units)
{
	unsigned __int128 ns = (unsigned __int128)units * NSEC_PER_SEC + bucket->rate - 1;

	ns /= bucket->rate;
	return ns > COST_MAX_NS ? COST_MAX_NS : (int64_t)ns;
}

void bucket_init(struct bucket *bucket, uint64_t rate)
{
	bucket_init_burst(bucket, rate, rate / BURST_PER_SEC);
}

void bucket_init_burst(struct bucket *bucket, uint64_t rate, uint64_t burst)
{
	bucket->rate = rate;
	bucket->burst = MAX(burst, (uint64_t)1);
	bucket->full_ns = 0;
}

uint64_t bucket_available(const struct bucket *bucket, int64_t now_ns)
{
	int64_t missing_ns;
	uint64_t missing;

	if (!bucket->rate)
		return UINT64_MAX;
	missing_ns = bucket->full_ns - now_ns;
	if (missing_ns <= 0)
		return bucket->burst;
	if (missing_ns >= cost_ns(bucket, bucket->burst))
		return 0;
	missing = (uint64_t)(((unsigned __int128)missing_ns * bucket->rate + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
	return missing < bucket->burst ? bucket->burst - missing : 0;
}

void bucket_take(struct bucket *bucket, uint64_t units, int64_t now_ns)
{
	if (bucket->rate)
		bucket->full_ns = MIN(MAX(bucket->full_ns, now_ns) + cost_ns(bucket, units),
				      now_ns + 2 * COST_MAX_NS);
}

void bucket_return(struct bucket *bucket, uint64_t units)
{
	if (bucket->rate)
		bucket->full_ns -= cost_ns(bucket, units);
}

int64_t bucket_ready_ns(const struct bucket *bucket, uint64_t units)
{
	unsigned __int128 rest;

	if (!bucket->rate)
		return 0;
	/* Rounded down: available() rounds up what is missing. */
	rest = (unsigned __int128)(bucket->burst - MIN(units, bucket->burst)) * NSEC_PER_SEC / bucket->rate;
	return bucket->full_ns - (rest > COST_MAX_NS ? COST_MAX_NS : (int64_t)rest);
}
