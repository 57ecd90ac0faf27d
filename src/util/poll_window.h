/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a loop looks for work before it sleeps. The window follows what waiting turned out to take: it opens while
 * work came soon enough to be worth looking for, and closes once it did not, so that an idle loop sleeps at once. No lock.
 */
#ifndef UTIL_POLL_WINDOW_H
#define UTIL_POLL_WINDOW_H

#include "util/loop.h"

struct poll_window {
	struct loop_polling limits;
	uint64_t ns; /* how long to look the next time, at most limits.max_ns */
};

/* @waited_ns: from when there was nothing to do until there was something, looking and sleeping. */
void poll_window_adapt(struct poll_window *window, uint64_t waited_ns);

#endif
