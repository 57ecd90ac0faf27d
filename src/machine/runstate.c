// SPDX-License-Identifier: Apache-2.0
#include "machine/runstate.h"

static const char *const names[] = {
	[RUN_STATE_PRELAUNCH] = "prelaunch",
	[RUN_STATE_RUNNING] = "running",
	[RUN_STATE_PAUSED] = "paused",
	[RUN_STATE_SHUTDOWN] = "shutdown",
	[RUN_STATE_GUEST_PANICKED] = "guest-panicked",
	[RUN_STATE_IO_ERROR] = "io-error",
	[RUN_STATE_INTERNAL_ERROR] = "internal-error",
};

#define TO(state) (1u << RUN_STATE_##state)

#define ENDS (TO(SHUTDOWN) | TO(GUEST_PANICKED) | TO(INTERNAL_ERROR))

/*
 * The states that may follow each state. What the guest asked for may be noticed when it is paused already. From an
 * end only a reset leads on, which goes by way of paused.
 */
static const unsigned int next[] = {
	[RUN_STATE_PRELAUNCH] = TO(RUNNING),
	[RUN_STATE_RUNNING] = TO(PAUSED) | TO(IO_ERROR) | ENDS,
	[RUN_STATE_PAUSED] = TO(RUNNING) | ENDS,
	[RUN_STATE_IO_ERROR] = TO(RUNNING) | TO(PAUSED) | ENDS,
	[RUN_STATE_SHUTDOWN] = TO(PAUSED),
	[RUN_STATE_GUEST_PANICKED] = TO(PAUSED),
	[RUN_STATE_INTERNAL_ERROR] = TO(PAUSED),
};

const char *run_state_name(enum run_state state)
{
	return names[state];
}

bool run_state_may_change(enum run_state from, enum run_state to)
{
	return next[from] & (1u << to);
}
