// SPDX-License-Identifier: Apache-2.0
/*
 * SIGSYS: a thread asked the kernel for something outside its rules (seccomp(2), SECCOMP_RET_TRAP). Either the rules lack a row
 * or somebody else is in control of the thread: both end the process at once, on that thread, with what is
 * known. Nothing here allocates or takes a lock.
 */
#define LOG_MODULE "seccomp"

#include "trap.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "util/log.h"
#include "util/macros.h"
#include "util/thread.h"

/* How a system call finds its arguments. */
static void arguments(const ucontext_t *context, uint64_t args[6])
{
#if defined(__x86_64__)
	static const int where[6] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };

	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		args[i] = (uint64_t)context->uc_mcontext.gregs[where[i]];
#elif defined(__aarch64__)
	for (size_t i = 0; i < 6; i++)
		args[i] = context->uc_mcontext.regs[i];
#else
#error "which registers carry the arguments of a system call?"
#endif
}

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	uint64_t args[6];

	(void)signo;
	arguments(context, args);
	log_error("thread '%s' (%s): system call %d(0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx) is not allowed; "
		  "-sandbox log shows all such calls, -disable-seccomp allows them",
		  thread_name(), thread_kind_name(), info->si_syscall, (unsigned long long)args[0],
		  (unsigned long long)args[1], (unsigned long long)args[2], (unsigned long long)args[3],
		  (unsigned long long)args[4], (unsigned long long)args[5]);
	chardev_restore_terminal();
	_exit(EXIT_FAILURE);
}

void trap_install(void)
{
	struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };

	sigfillset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
}
