/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a drive may do a second: QEMU's "throttling.*". A request waits until every limit that applies to it has room;
 * flushes never wait. Data only: what carries it out is private to this room.
 */
#ifndef BLOCK_LIMITS_H
#define BLOCK_LIMITS_H

#include "config/property.h"
#include "util/bucket.h"

enum block_limit_kind {
	BLOCK_LIMIT_IOPS, /* reads and writes together */
	BLOCK_LIMIT_IOPS_READ,
	BLOCK_LIMIT_IOPS_WRITE, /* all that changes the disk */
	BLOCK_LIMIT_BPS,
	BLOCK_LIMIT_BPS_READ,
	BLOCK_LIMIT_BPS_WRITE,
};
#define BLOCK_LIMIT_KINDS 6

struct block_limit {
	uint64_t average; /* requests or bytes a second; 0: no limit */
	uint64_t max;     /* the same in a burst; 0: a tenth of a second's worth at once, and no more */
	uint64_t max_length; /* seconds that such a burst lasts at least; 1: all of it may come at once */
};

struct block_limits {
	struct block_limit limit[BLOCK_LIMIT_KINDS];
	uint64_t iops_size; /* bytes that count as one request, begun ones too; 0: all requests count as one */
};

#define BLOCK_LIMIT_LENGTH_MAX UINT32_MAX

/* What the tables cannot say: -EINVAL for limits that contradict each other, -ERANGE for one that is too large. */
int __must_check block_limits_check(const struct block_limits *limits, struct error **errp);

/* No limit at all. */
extern const struct block_limits block_no_limits;
bool block_limits_any(const struct block_limits *limits); /* is there one? */

/* The rows of a property table whose object has a struct block_limits @f; all names begin with @prefix. */
#define BLOCK_LIMIT_PROPS_NAMED(prefix, T, f)                                                      \
	BLOCK_LIMIT_PROP(prefix, T, f.limit[BLOCK_LIMIT_IOPS], "iops-total", "requests"),          \
	BLOCK_LIMIT_PROP(prefix, T, f.limit[BLOCK_LIMIT_IOPS_READ], "iops-read", "reads"),         \
	BLOCK_LIMIT_PROP(prefix, T, f.limit[BLOCK_LIMIT_IOPS_WRITE], "iops-write", "writes"),      \
	BLOCK_LIMIT_PROP(prefix, T, f.limit[BLOCK_LIMIT_BPS], "bps-total", "bytes"),               \
	BLOCK_LIMIT_PROP(prefix, T, f.limit[BLOCK_LIMIT_BPS_READ], "bps-read", "bytes read"),      \
	BLOCK_LIMIT_PROP(prefix, T, f.limit[BLOCK_LIMIT_BPS_WRITE], "bps-write", "bytes written"), \
	PROP_UINT(64, prefix "iops-size", T, f.iops_size, 0, BUCKET_RATE_MAX, 0,                   \
		  "bytes that count as one request; 0: a request counts as one, whatever its size")

#define BLOCK_LIMIT_PROP(prefix, T, f, name, what)                                                 \
	PROP_UINT(64, prefix name, T, f.average, 0, BUCKET_RATE_MAX, 0,                            \
		  what " a second, 0 for no limit"),                                               \
	PROP_UINT(64, prefix name "-max", T, f.max, 0, BUCKET_RATE_MAX, 0,                         \
		  what " a second in a burst"),                                                    \
	PROP_UINT(64, prefix name "-max-length", T, f.max_length, 1,                               \
		  BLOCK_LIMIT_LENGTH_MAX, 1, "seconds that the burst may last")

#define BLOCK_LIMIT_PROPS(T, f) BLOCK_LIMIT_PROPS_NAMED("throttling.", T, f)

#endif
