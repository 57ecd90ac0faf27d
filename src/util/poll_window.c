// SPDX-License-Identifier: Apache-2.0
#include "poll_window.h"

/* The first step from a closed window: below it, going to sleep and waking up costs about as much as looking. */
#define OPENING_NS 4000
#define GROW_DEFAULT 2

static uint64_t grown(const struct poll_window *window)
{
	uint64_t factor = window->limits.grow ? window->limits.grow : GROW_DEFAULT, ns;

	if (!window->ns)
		return OPENING_NS;
	return __builtin_mul_overflow(window->ns, factor, &ns) ? UINT64_MAX : ns;
}

void poll_window_adapt(struct poll_window *window, uint64_t waited_ns)
{
	const struct loop_polling *limits = &window->limits;

	if (waited_ns > limits->max_ns)
		window->ns = limits->shrink ? window->ns / limits->shrink : 0;
	else if (waited_ns > window->ns)
		window->ns = grown(window);
	window->ns = MIN(window->ns, limits->max_ns);
}
