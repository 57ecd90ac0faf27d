/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: builds a VM from its neutral description and leads it through its life. Everything here is called on
 * the main thread, which runs the main loop; vCPU threads and devices reach the machine by struct platform.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdio.h>

#include "config/vm_config.h"
#include "machine/runstate.h"
#include "util/loop.h"

struct machine;

/* Builds everything up to the point where the first vCPU could run. @config must outlive the machine. */
int __must_check machine_new(const struct vm_config *config, struct loop *main_loop, struct machine **ret,
			     struct error **errp);
void machine_free(struct machine *machine); /* NULL allowed */

/* Lets the vCPUs run, first start or after a stop. -EPERM with the run state when they may not. */
int __must_check machine_cont(struct machine *machine, struct error **errp);

/* Returns when every vCPU is out of the guest and every device is drained. Harmless when not running. */
void machine_stop(struct machine *machine);

/* Back to power-on and boot again; the VM runs afterwards if it ran before. */
int __must_check machine_reset(struct machine *machine, struct error **errp);

/* Presses the power button. -ENODEV when the machine has none that the guest can see. */
int __must_check machine_powerdown(struct machine *machine, struct error **errp);

/* Ends the main loop with this exit status. */
void machine_quit(struct machine *machine, int exit_status, const char *reason);

enum run_state machine_run_state(const struct machine *machine);
int machine_exit_status(const struct machine *machine);

/* "-machine help" (name NULL) and "-machine NAME,help" and the like. -ENOENT when there is no such thing. */
int __must_check machine_help(const char *name, FILE *out, struct error **errp);
int __must_check machine_device_help(const char *name, FILE *out, struct error **errp);
int __must_check machine_object_help(const char *name, FILE *out, struct error **errp);

#endif
