/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stratovirt-jail: prepares a place in which a VMM can reach nothing but what it was given, and becomes the VMM there. One thread; a step that
 * fails ends the program with a message that names the step and the value. Files here are in the order of the steps.
 */
#ifndef JAIL_H
#define JAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

#define JAIL_LIST_MAX 64

struct jail {
	const char *name;      /* of this VM, 1–255 characters of [A-Za-z0-9_.-] */
	const char *exec_file; /* the VMM, a static program */
	const char *exec_name; /* its last component */
	const char *base;      /* directory of all jails */
	bool has_uid, has_gid;
	uid_t uid; /* whose the VMM is */
	gid_t gid;
	const char *netns; /* a file of a network namespace, "new", or NULL = stay */
	bool new_pid, clean, verbose;
	const char *sources[JAIL_LIST_MAX], *cgroups[JAIL_LIST_MAX], *rlimits[JAIL_LIST_MAX],
		*capabilities[JAIL_LIST_MAX], *devices[JAIL_LIST_MAX];
	unsigned int source_count, cgroup_count, rlimit_count, capability_count, device_count;
	int keep_fds[JAIL_LIST_MAX];
	unsigned int keep_fd_count;
	char *const *vmm_args; /* after "--"; NULL-terminated */

	/* What the steps found out. */
	bool own_userns; /* started by an ordinary user: in a user namespace of its own */
	int base_fd, exec_dir_fd; /* base/ and base/<exec name>/ */
	int dir_fd;	 /* base/<exec name>/<name>/, later the root directory */
	int exec_fd;	 /* the program */
	int source_fds[JAIL_LIST_MAX];
};

/* options.c. -EINVAL with a message; -ECANCELED: help or version was asked for and printed. */
int __must_check options_parse(struct jail *jail, int argc, char **argv, struct error **errp);

/* paths.c: opens what is named on the command line, without following a symbolic link, and makes the jail's directory. */
int __must_check paths_open(struct jail *jail, struct error **errp);
int __must_check paths_create(struct jail *jail, struct error **errp);
/* -clean-resource: what paths_create() and cgroup_enter() left behind. Nothing there is no error. */
int __must_check paths_remove(struct jail *jail, struct error **errp);

/* cgroup.c: a cgroup v2 of its own with the limits asked for; the process is moved into it. */
int __must_check cgroup_enter(const struct jail *jail, struct error **errp);
int __must_check cgroup_remove(const struct jail *jail, struct error **errp);

/* limits.c: resource limits and inherited descriptors. */
int __must_check limits_set(const struct jail *jail, struct error **errp);
int __must_check descriptors_close(const struct jail *jail, struct error **errp);

/* namespaces.c */
int __must_check namespaces_enter(struct jail *jail, struct error **errp);

/* root.c: the jail's directory becomes the root directory, with devices and sources in it and nothing else. */
int __must_check root_change(struct jail *jail, struct error **errp);

/* identity.c: user, group, capabilities. */
int __must_check identity_drop(const struct jail *jail, struct error **errp);

/* Says what was done, with -verbose. */
__printf(2, 3) void jail_say(const struct jail *jail, const char *fmt, ...);

#endif
