/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -daemonize and -pidfile. The process that was started waits until the VM is up and then exits 0, or passes on
 * the failure; the VM goes on in a process of its own session. Called by main only, before any thread exists.
 */
#ifndef UTIL_DAEMON_H
#define UTIL_DAEMON_H

#include "util/error.h"

/*
 * Forks. Returns 0 in the process that goes on. The process that was started does not return: it exits with 0
 * after daemon_ready(), or with the child's status when that ends first (its message is on stderr by then).
 */
int __must_check daemon_begin(struct error **errp);

/* The VM is up: points stdin, stdout and stderr at /dev/null and lets the waiting process exit 0. */
void daemon_ready(void);

/*
 * Creates @path, mode 0600, with our pid and a newline, and keeps a lock on it. One that was left behind, without a lock, is taken
 * over; -EBUSY: another VM has it, -EEXIST: it is no pid file.
 */
int __must_check pidfile_create(const char *path, struct error **errp);
/* If one was made. Where it cannot be unlinked any more it is emptied. */
void pidfile_remove(void);

#endif
