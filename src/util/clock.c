// SPDX-License-Identifier: Apache-2.0
#include <time.h>

#include "util/loop.h"

int64_t clock_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}
