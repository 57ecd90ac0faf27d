// SPDX-License-Identifier: Apache-2.0
/* The level is kept as the time at which the bucket is full again: no update as time goes by, no drift. */
#include "util/bucket.h"

#define BURST_PER_SEC 10

/* Rounded up, so that the average never exceeds the rate. */
static int64_t cost_ns(const struct bucket *bucket, uint64_t units)
{
	return (int64_t)((units * (uint64_t)NSEC_PER_SEC + bucket->rate - 1) / bucket->rate);
}

void bucket_init(struct bucket *bucket, uint64_t rate)
{
	bucket->rate = rate;
	bucket->burst = MAX(rate / BURST_PER_SEC, (uint64_t)1);
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
	missing = ((uint64_t)missing_ns * bucket->rate + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
	return missing < bucket->burst ? bucket->burst - missing : 0;
}

void bucket_take(struct bucket *bucket, uint64_t units, int64_t now_ns)
{
	if (bucket->rate)
		bucket->full_ns = MAX(bucket->full_ns, now_ns) + cost_ns(bucket, units);
}

int64_t bucket_ready_ns(const struct bucket *bucket, uint64_t units)
{
	if (!bucket->rate)
		return 0;
	units = MIN(units, bucket->burst);
	/* One more nanosecond than the cost of what may still be missing: available() rounds that up. */
	return bucket->full_ns - (int64_t)((bucket->burst - units) * (uint64_t)NSEC_PER_SEC / bucket->rate);
}
