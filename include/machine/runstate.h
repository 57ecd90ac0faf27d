/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run states of a VM under QEMU's names (QAPI RunState) and the one table of legal transitions. Main thread.
 */
#ifndef MACHINE_RUNSTATE_H
#define MACHINE_RUNSTATE_H

#include "util/macros.h"

enum run_state {
	RUN_STATE_PRELAUNCH,      /* built, never started */
	RUN_STATE_RUNNING,
	RUN_STATE_PAUSED,         /* stopped by the user */
	RUN_STATE_SHUTDOWN,       /* the guest powered off, -no-shutdown keeps the process */
	RUN_STATE_GUEST_PANICKED,
	RUN_STATE_IO_ERROR,       /* stopped by an error of the host's storage; "cont" tries again */
	RUN_STATE_INTERNAL_ERROR, /* the accelerator cannot go on */
};

const char *run_state_name(enum run_state state);
bool run_state_may_change(enum run_state from, enum run_state to);

#endif
