/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out a struct block_limits: a request reserves its place and is told when it may begin. Reservations are served
 * in the order in which they were asked for, so neither reads nor writes can starve the others. One thread at a time.
 */
#ifndef BLOCK_THROTTLE_H
#define BLOCK_THROTTLE_H

#include "block/limits.h"

struct throttle {
	struct bucket average[BLOCK_LIMIT_KINDS], peak[BLOCK_LIMIT_KINDS];
	uint64_t iops_size;
	bool limited; /* is there any limit at all? */
};

/* All buckets are full. */
void throttle_init(struct throttle *throttle, const struct block_limits *limits);
/* When the request may begin; possibly past, then it may now. */
int64_t throttle_reserve(struct throttle *throttle, bool write, uint64_t bytes, int64_t now_ns);
/* It will not begin after all. */
void throttle_return(struct throttle *throttle, bool write, uint64_t bytes);

#endif
