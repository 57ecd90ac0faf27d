/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: @rate units a second on average, up to a burst at once: a tenth of a second's worth unless said
 * otherwise. One thread at a time; the caller gives the time (clock_now_ns()), so that a test needs no waiting.
 */
#ifndef UTIL_BUCKET_H
#define UTIL_BUCKET_H

#include "util/macros.h"

struct bucket {
	uint64_t rate;   /* units a second; 0: no limit */
	uint64_t burst;  /* units a full bucket holds */
	int64_t full_ns; /* when it will be full again if nothing is taken */
};

#define BUCKET_RATE_MAX 1000000000000000ULL

/* Full. @rate at most BUCKET_RATE_MAX; above 10^9 a take costs whole nanoseconds, rounded up. */
void bucket_init(struct bucket *bucket, uint64_t rate);
/* The same with a burst of @burst units, at least one. */
void bucket_init_burst(struct bucket *bucket, uint64_t rate, uint64_t burst);
/* How many units can be taken at @now_ns; UINT64_MAX without a limit. */
uint64_t bucket_available(const struct bucket *bucket, int64_t now_ns);
/* Takes @units. What is not available is owed: nothing is until it has come in. */
void bucket_take(struct bucket *bucket, uint64_t units, int64_t now_ns);
/* Gives back what was taken and not used. */
void bucket_return(struct bucket *bucket, uint64_t units);
/* The time at which @units (cut to the burst) will be available; possibly past. */
int64_t bucket_ready_ns(const struct bucket *bucket, uint64_t units);

#endif
