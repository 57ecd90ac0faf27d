/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Least privilege: what the process and each of its threads may still ask of the kernel once the guest runs.
 *
 * Filters (seccomp(2)) are made at build time, one for each kind of thread, from src/seccomp/rules.c. Everything that needs
 * more is done before: files and devices of the description are open, rings are set up, memory is mapped.
 */
#ifndef SECCOMP_SANDBOX_H
#define SECCOMP_SANDBOX_H

#include <stdbool.h>

#include "config/property.h"
#include "config/vm_config.h"
#include "util/error.h"

enum sandbox_mode {
	SANDBOX_ON,  /* a forbidden call ends the process with a message */
	SANDBOX_LOG, /* it is carried out and written to the kernel's audit log (SECCOMP_RET_LOG) */
	SANDBOX_OFF, /* no filters, and capabilities stay; -runas and -chroot hold */
};

struct sandbox {
	unsigned int mode; /* enum sandbox_mode */
	bool dumpable;	   /* core dumps, and debuggers of the same user */
	const char *runas, *chroot; /* of the description; NULL = stay */
	bool hotplug; /* a monitor can ask for taps: the main thread keeps CAP_NET_ADMIN if it has it */
	const struct vm_config *config; /* whose files are all that may be touched (Landlock); NULL = any */
};

/* The keys of -sandbox, on struct sandbox. */
extern const struct property sandbox_props[];

/* What the description asks for; it must outlive @ret. */
int __must_check sandbox_init(const struct vm_config *config, struct sandbox *ret, struct error **errp);

/*
 * Gives up what is not needed any more: inherited descriptors that no option named, root directory, user and groups, and on each thread capabilities and the right to get
 * any of it back (no_new_privs); then confines every thread of the process, now or before its next piece of work. Main
 * thread, once, after everything is built and before the first guest instruction.
 */
int __must_check sandbox_enter(const struct sandbox *sandbox, struct error **errp);

#endif
