/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control plane: QMP monitors, their clients and commands (QEMU's protocol: JSON messages, each
 * ended by CR LF). Main thread.
 */
#ifndef QMP_QMP_H
#define QMP_QMP_H

#include <stdio.h>

#include "config/vm_config.h"
#include "util/loop.h"

struct machine;
struct qmp;

/*
 * Opens the monitors of @config->monitors. Clients may connect from now on and are served by @loop.
 * @ret is NULL when the description has none. Errors name the option.
 */
int __must_check qmp_start(struct machine *machine, const struct vm_config *config,
			   struct loop *loop, struct qmp **ret, struct error **errp);

/*
 * Returns when every monitor with "server" and without "nowait" has had a client; runs the loop
 * meanwhile. False when the VM was ended before that. NULL allowed.
 */
bool qmp_wait(struct qmp *qmp);

/* Sends what clients will take at once, and closes everything. Before machine_free(). NULL allowed.
 */
void qmp_free(struct qmp *qmp);

/* docs/qmp.md, generated from the tables. */
void qmp_dump_docs(FILE *out);

#endif
