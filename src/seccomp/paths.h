/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SECCOMP_PATHS_H
#define SECCOMP_PATHS_H

#include "config/vm_config.h"

/*
 * A Landlock ruleset (a descriptor, the caller's) that permits what a VM of this description may still do to files: to remove those it made,
 * and to open its log again. -errno; -EOPNOTSUPP: this kernel has none. Main thread, while paths still mean what the description means.
 */
int paths_ruleset(const struct vm_config *config);

/* The calling thread, which has no_new_privs, and threads it creates from now on. 0 or -errno. */
int __must_check paths_restrict(int ruleset);

#endif
