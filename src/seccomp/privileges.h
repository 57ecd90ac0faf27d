/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SECCOMP_PRIVILEGES_H
#define SECCOMP_PRIVILEGES_H

#include <stdint.h>

#include "seccomp/sandbox.h"

/* Inherited descriptors, root directory, user, groups, core dumps: see sandbox_enter(). Main thread. */
int __must_check privileges_drop(const struct sandbox *sandbox, struct error **errp);

/*
 * The calling thread: no_new_privs, and no capability but those of @keep (bit n: capability n) that it has. 0 or -errno.
 */
int __must_check privileges_drop_thread(uint64_t keep);

#endif
