// SPDX-License-Identifier: Apache-2.0
/*
 * Each limit is a bucket for its average. One with a burst longer than a second has a second bucket, which keeps the
 * burst at its own rate; a burst of a second may come all at once.
 */
#include "throttle.h"

#include <errno.h>

static const char *const kind_names[BLOCK_LIMIT_KINDS] = {
	[BLOCK_LIMIT_IOPS] = "iops-total",	 [BLOCK_LIMIT_IOPS_READ] = "iops-read",
	[BLOCK_LIMIT_IOPS_WRITE] = "iops-write", [BLOCK_LIMIT_BPS] = "bps-total",
	[BLOCK_LIMIT_BPS_READ] = "bps-read",	 [BLOCK_LIMIT_BPS_WRITE] = "bps-write",
};

const struct block_limits block_no_limits = {
	.limit = { { 0, 0, 1 }, { 0, 0, 1 }, { 0, 0, 1 }, { 0, 0, 1 }, { 0, 0, 1 }, { 0, 0, 1 } },
};

bool block_limits_any(const struct block_limits *limits)
{
	for (unsigned int kind = 0; kind < BLOCK_LIMIT_KINDS; kind++)
		if (limits->limit[kind].average)
			return true;
	return false;
}

/* --- What is a sensible limit --- */

static int check_limit(const struct block_limit *limit, const char *name, struct error **errp)
{
	if (limit->average > BUCKET_RATE_MAX || limit->max > BUCKET_RATE_MAX)
		return error_set(errp, -ERANGE, "throttling.%s is out of range [0, %llu]", name,
				 BUCKET_RATE_MAX);
	if (!limit->max_length || limit->max_length > BLOCK_LIMIT_LENGTH_MAX)
		return error_set(errp, -ERANGE, "throttling.%s-max-length is out of range [1, %u]",
				 name, BLOCK_LIMIT_LENGTH_MAX);
	if (limit->max && !limit->average)
		return error_set(errp, -EINVAL, "throttling.%s-max needs throttling.%s", name, name);
	if (limit->max && limit->max < limit->average)
		return error_set(errp, -EINVAL, "throttling.%s-max is less than throttling.%s", name,
				 name);
	if (limit->max_length > 1 && !limit->max)
		return error_set(errp, -EINVAL, "throttling.%s-max-length needs throttling.%s-max",
				 name, name);
	if (limit->max && limit->max_length > BUCKET_RATE_MAX / limit->max)
		return error_set(errp, -ERANGE, "throttling.%s-max for that long is more than %llu",
				 name, BUCKET_RATE_MAX);
	return 0;
}

int block_limits_check(const struct block_limits *limits, struct error **errp)
{
	static const int totals[] = { BLOCK_LIMIT_IOPS, BLOCK_LIMIT_BPS };
	const struct block_limit *limit = limits->limit;

	for (unsigned int i = 0; i < ARRAY_SIZE(totals); i++) {
		int kind = totals[i];

		if (limit[kind].average && (limit[kind + 1].average || limit[kind + 2].average))
			return error_set(errp, -EINVAL,
					 "throttling.%s and throttling.%s or -write exclude each other",
					 kind_names[kind], kind_names[kind + 1]);
	}
	for (unsigned int kind = 0; kind < BLOCK_LIMIT_KINDS; kind++) {
		int ret = check_limit(&limit[kind], kind_names[kind], errp);

		if (ret)
			return ret;
	}
	if (limits->iops_size > BUCKET_RATE_MAX)
		return error_set(errp, -ERANGE, "throttling.iops-size is out of range [0, %llu]",
				 BUCKET_RATE_MAX);
	if (limits->iops_size && !limit[BLOCK_LIMIT_IOPS].average &&
	    !limit[BLOCK_LIMIT_IOPS_READ].average && !limit[BLOCK_LIMIT_IOPS_WRITE].average)
		return error_set(errp, -EINVAL, "throttling.iops-size needs a limit of requests");
	return 0;
}

/* --- Keeping it --- */

void throttle_init(struct throttle *throttle, const struct block_limits *limits)
{
	throttle->iops_size = limits->iops_size;
	throttle->limited = block_limits_any(limits);
	for (unsigned int kind = 0; kind < BLOCK_LIMIT_KINDS; kind++) {
		const struct block_limit *limit = &limits->limit[kind];

		bucket_init(&throttle->average[kind], limit->average);
		bucket_init(&throttle->peak[kind], 0);
		if (limit->max) {
			bucket_init_burst(&throttle->average[kind], limit->average,
					  limit->max * limit->max_length);
			if (limit->max_length > 1)
				bucket_init(&throttle->peak[kind], limit->max);
		}
	}
}

/* The limits that a request goes by, with what it takes of each. */
struct share {
	int kind;
	uint64_t units;
};

#define SHARES 4

static void shares_of(const struct throttle *throttle, bool write, uint64_t bytes,
		      struct share share[SHARES])
{
	uint64_t requests = 1;

	if (throttle->iops_size && bytes > throttle->iops_size)
		requests = (bytes + throttle->iops_size - 1) / throttle->iops_size;
	share[0] = (struct share){ BLOCK_LIMIT_IOPS, requests };
	share[1] = (struct share){ write ? BLOCK_LIMIT_IOPS_WRITE : BLOCK_LIMIT_IOPS_READ, requests };
	share[2] = (struct share){ BLOCK_LIMIT_BPS, bytes };
	share[3] = (struct share){ write ? BLOCK_LIMIT_BPS_WRITE : BLOCK_LIMIT_BPS_READ, bytes };
}

int64_t throttle_reserve(struct throttle *throttle, bool write, uint64_t bytes, int64_t now_ns)
{
	struct share share[SHARES];
	int64_t start_ns = 0;

	shares_of(throttle, write, bytes, share);
	for (unsigned int i = 0; i < SHARES; i++) {
		struct bucket *average = &throttle->average[share[i].kind];
		struct bucket *peak = &throttle->peak[share[i].kind];

		start_ns = MAX(start_ns, bucket_ready_ns(average, share[i].units));
		start_ns = MAX(start_ns, bucket_ready_ns(peak, share[i].units));
		bucket_take(average, share[i].units, now_ns);
		bucket_take(peak, share[i].units, now_ns);
	}
	return start_ns;
}

void throttle_return(struct throttle *throttle, bool write, uint64_t bytes)
{
	struct share share[SHARES];

	shares_of(throttle, write, bytes, share);
	for (unsigned int i = 0; i < SHARES; i++) {
		bucket_return(&throttle->average[share[i].kind], share[i].units);
		bucket_return(&throttle->peak[share[i].kind], share[i].units);
	}
}
