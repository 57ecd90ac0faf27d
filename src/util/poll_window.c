// SPDX-License-Identifier: Apache-2.0
#include "poll_window.h"

/* The first step from a closed window: below it, going to sleep and waking up costs about as much as looking. */
#define OPENING_NS 4000
#define GROW_DEFAULT 2
/* The window of a source that was left out so often lately, in waits too long to be looked through, closes. */
#define MISSES_MAX 16

static uint64_t grown(const struct poll_window *window, const struct loop_polling *limits)
{
	uint64_t factor = limits->grow ? limits->grow : GROW_DEFAULT, ns;

	if (!window->ns)
		return OPENING_NS;
	return __builtin_mul_overflow(window->ns, factor, &ns) ? UINT64_MAX : ns;
}

void poll_window_hit(struct poll_window *window, const struct loop_polling *limits, uint64_t waited_ns)
{
	window->misses = 0;
	if (waited_ns > limits->max_ns)
		window->ns = limits->shrink ? window->ns / limits->shrink : 0;
	else if (waited_ns > window->ns)
		window->ns = grown(window, limits);
	window->ns = MIN(window->ns, limits->max_ns);
}

void poll_window_missed(struct poll_window *window, const struct loop_polling *limits, uint64_t waited_ns)
{
	if (window->ns && waited_ns > limits->max_ns && ++window->misses >= MISSES_MAX)
		*window = (struct poll_window){ .ns = 0 };
}
