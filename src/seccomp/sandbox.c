// SPDX-License-Identifier: Apache-2.0
/* Confining the threads: seccomp(2), and what a forbidden call leads to. */
#define LOG_MODULE "seccomp"

#include "seccomp/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "paths.h"
#include "privileges.h"
#include "seccomp_filters.h" /* made by tools/seccomp/compile.c */
#include "trap.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/macros.h"
#include "util/thread.h"

/* Sanitizers make system calls of their own, which the rules do not know. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(COVERAGE)
#define FOREIGN_CALLS true
#else
#define FOREIGN_CALLS false
#endif

/* Set before any thread looks at them. */
static unsigned int mode;
static uint64_t main_capabilities;
static int ruleset = -1; /* of Landlock, for the main thread and the setup thread, whose threads inherit it */

static const struct {
	const struct sock_filter *insns;
	size_t count;
} filters[] = {
	[THREAD_MAIN] = { filter_main, ARRAY_SIZE(filter_main) },
	[THREAD_VCPU] = { filter_vcpu, ARRAY_SIZE(filter_vcpu) },
	[THREAD_IOTHREAD] = { filter_iothread, ARRAY_SIZE(filter_iothread) },
	[THREAD_WORKER] = { filter_worker, ARRAY_SIZE(filter_worker) },
	[THREAD_SETUP] = { filter_setup, ARRAY_SIZE(filter_setup) },
};

static const char *const mode_words[] = { "on", "log", "off", NULL };

/* What QEMU's -sandbox can forbid is always forbidden here. */
static const char *const deny_words[] = { "deny", NULL };
static const char *const deny_all_words[] = { "deny", "children", NULL };

struct sandbox_keys {
	struct sandbox sandbox;
	unsigned int denied;
};

const struct property sandbox_props[] = {
	PROP_ENUM("mode", struct sandbox_keys, sandbox.mode, mode_words, SANDBOX_ON,
		  "what a forbidden system call leads to: the end, a line in the kernel's log, nothing"),
	PROP_BOOL("dumpable", struct sandbox_keys, sandbox.dumpable, 0,
		  "allow core dumps, and debuggers of the same user"),
	PROP_ENUM("obsolete", struct sandbox_keys, denied, deny_words, 0, "always denied"),
	PROP_ENUM("elevateprivileges", struct sandbox_keys, denied, deny_all_words, 0, "always denied"),
	PROP_ENUM("spawn", struct sandbox_keys, denied, deny_words, 0, "always denied"),
	PROP_ENUM("resourcecontrol", struct sandbox_keys, denied, deny_words, 0, "always denied"),
	PROP_END,
};

int sandbox_init(const struct vm_config *config, struct sandbox *ret, struct error **errp)
{
	struct sandbox_keys keys = { 0 };
	int err;

	/* Before the first thread. A second arena would grow by mprotect(), and shrink by way of a file in /proc. */
	mallopt(M_ARENA_MAX, 1);
	if (config->sandbox) {
		err = property_apply(sandbox_props, &keys, config->sandbox, NULL, NULL, errp);
		if (err)
			return err;
	}
	*ret = keys.sandbox;
	if (config->disable_seccomp || FOREIGN_CALLS)
		ret->mode = SANDBOX_OFF;
	ret->runas = config->runas;
	ret->chroot = config->chroot;
	ret->hotplug = !list_empty(&config->monitors);
	ret->config = ret->hotplug ? NULL : config;
	return 0;
}

static int install(const struct sock_filter *insns, size_t count)
{
	struct sock_fprog program = { .len = (unsigned short)count, .filter = (struct sock_filter *)insns };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) ? -errno : 0;
}

/* The same filter, but what it would trap is logged by the kernel. */
static int install_logging(const struct sock_filter *insns, size_t count)
{
	struct sock_filter copy[BPF_MAXINSNS];

	memcpy(copy, insns, count * sizeof(*insns));
	for (size_t i = 0; i < count; i++) {
		if (copy[i].code == (BPF_RET | BPF_K) && copy[i].k == SECCOMP_RET_TRAP)
			copy[i].k = SECCOMP_RET_LOG;
	}
	return install(copy, count);
}

/*
 * On the thread itself. A thread without a filter of its own (memory of a hot-plugged object is touched) has the setup thread's. That
 * a kernel takes one filter and refuses the next does not happen but for want of memory: then the process must not go on.
 */
static void confine(enum thread_kind kind)
{
	int ret;

	if ((size_t)kind >= ARRAY_SIZE(filters))
		return;
	ret = privileges_drop_thread(kind == THREAD_MAIN ? main_capabilities : 0);
	if (!ret && (kind == THREAD_MAIN || kind == THREAD_SETUP) && ruleset >= 0)
		ret = paths_restrict(ruleset);
	if (!ret && mode == SANDBOX_LOG)
		ret = install_logging(filters[kind].insns, filters[kind].count);
	else if (!ret)
		ret = install(filters[kind].insns, filters[kind].count);
	if (ret) {
		log_error("a thread cannot be confined: %s", strerror(-ret));
		chardev_restore_terminal();
		_exit(EXIT_FAILURE);
	}
}

/* Is there seccomp with filters at all? */
static int probe(struct error **errp)
{
	uint32_t action = SECCOMP_RET_TRAP;

	if (syscall(SYS_epoll_pwait2, -1, NULL, 0, NULL, NULL, 0) && errno == ENOSYS)
		return error_set(errp, -ENOSYS,
				 "-sandbox: Linux 5.11 or later is needed (-sandbox off or -disable-seccomp does without)");
	if (!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
		return 0;
	return error_set_errno(errp, -errno,
			       "-sandbox: this kernel has no system call filters (-sandbox off or -disable-seccomp "
			       "does without)");
}

int sandbox_enter(const struct sandbox *sandbox, struct error **errp)
{
	int ret;

	mode = sandbox->mode;
	main_capabilities = sandbox->hotplug ? UINT64_C(1) << CAP_NET_ADMIN : 0;
	if (sandbox->config && mode == SANDBOX_ON) {
		ruleset = paths_ruleset(sandbox->config);
		if (ruleset < 0 && ruleset != -EOPNOTSUPP)
			return error_set_errno(errp, ruleset, "-sandbox: rules for files");
	}
	ret = privileges_drop(sandbox, errp);
	if (ret || mode == SANDBOX_OFF)
		return ret;
	ret = probe(errp);
	if (ret)
		return ret;
	/* What glibc finds out when it is needed first, on whichever thread that is: the time zone (a file) for the RTCs. */
	tzset();
	trap_install();
	ret = thread_confine_all(confine, errp);
	if (ret)
		return ret;
	fd_close(&ruleset);
	log_debug("confined%s", mode == SANDBOX_LOG ? ", forbidden calls are logged only" : "");
	return 0;
}
