/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a loop looks for a source's work before it sleeps. Each source has a window of its own, and the loop looks for as long
 * as the widest: where the host's storage is slow and the guest's next request comes soon after the answer, it is worth looking
 * for the one and not for the other. A window follows what waiting for its source turned out to take: it opens while work came
 * soon enough to be worth looking for, and closes once it did not, so that an idle loop sleeps at once. No lock.
 */
#ifndef UTIL_POLL_WINDOW_H
#define UTIL_POLL_WINDOW_H

#include "util/loop.h"

/* There was something: @waited_ns from when the loop had done all there was, looking and sleeping. */
void poll_window_hit(struct poll_window *window, const struct loop_polling *limits, uint64_t waited_ns);
/* It waited so long, and there was something for others only. */
void poll_window_missed(struct poll_window *window, const struct loop_polling *limits, uint64_t waited_ns);

#endif
