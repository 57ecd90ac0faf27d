// SPDX-License-Identifier: Apache-2.0
#include <stdatomic.h>
#include <time.h>

#include "util/loop.h"

/* 2020-09-13 12:26:40 UTC: what the wall clock shows when a stepped clock starts. */
#define STEPPED_EPOCH_NS (1600000000 * NSEC_PER_SEC)

static _Atomic int64_t stepped_ns = -1; /* -1: the host's clocks */
static _Atomic int64_t wall_offset_ns;

int64_t clock_host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

int64_t clock_now_ns(void)
{
	int64_t stepped = atomic_load(&stepped_ns);

	return stepped >= 0 ? stepped : clock_host_ns();
}

int64_t clock_wall_ns(void)
{
	int64_t stepped = atomic_load(&stepped_ns), offset = atomic_load(&wall_offset_ns);
	struct timespec now;

	if (stepped >= 0)
		return STEPPED_EPOCH_NS + stepped + offset;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec + offset;
}

void clock_set_wall_offset(int64_t ns)
{
	atomic_store(&wall_offset_ns, ns);
}

bool clock_is_stepped(void)
{
	return atomic_load(&stepped_ns) >= 0;
}

void clock_step_to(int64_t ns)
{
	atomic_store(&stepped_ns, ns);
}
