/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal is shared with the shell that started us: what we change goes back whenever we do
 * not run: at exit, on a signal that ends us, and while we are stopped.
 *
 * Signal handlers are ours only where nobody else has set one; main's own, for an orderly end, come
 * later and replace those of SIGINT, SIGTERM and SIGHUP. All that handlers use is in the one struct
 * below.
 */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "util/fd.h"
#include "util/macros.h"
#include "util/thread.h"

static struct {
	int fd;
	pid_t group; /* ours: after exec nobody else can change it, and whoever has a terminal does not */
	struct termios cooked, raw;
	volatile sig_atomic_t wanted; /* raw mode is to be on while we run in the foreground */
	volatile sig_atomic_t active; /* it is on */
	volatile sig_atomic_t flags_changed[2]; /* of stdin and stdout: O_NONBLOCK was not there before */
} term;

static const int ending_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV,
				      SIGBUS, SIGFPE, SIGILL,  SIGABRT, SIGSYS };

/* Changing the terminal from the background would stop us (SIGTTOU), and disturb whoever has it
 * now. */
static bool in_foreground(void)
{
	pid_t group = tcgetpgrp(term.fd);

	return group < 0 || group == term.group; /* < 0: not our controlling terminal */
}

static void enter(void)
{
	if (term.wanted && in_foreground() && !tcsetattr(term.fd, TCSANOW, &term.raw))
		term.active = 1;
}

void chardev_restore_terminal(void)
{
	int saved_errno = errno;

	if (term.active) {
		term.active = 0;
		if (in_foreground())
			tcsetattr(term.fd, TCSANOW, &term.cooked);
	}
	for (int i = 0; i < 2; i++) {
		if (term.flags_changed[i]) {
			term.flags_changed[i] = 0;
			(void)!fd_set_nonblock(i, false);
		}
	}
	errno = saved_errno;
}

/* SA_RESETHAND: the second delivery, when this returns, has the default effect. */
static void on_ending_signal(int sig)
{
	chardev_restore_terminal();
	raise(sig);
}

static void set_handler(int sig, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigfillset(&action.sa_mask);
	sigaction(sig, &action, NULL);
}

static void on_stop(int sig)
{
	int saved_errno = errno;
	sigset_t set, before;

	if (term.active) {
		term.active = 0;
		if (in_foreground())
			tcsetattr(term.fd, TCSANOW, &term.cooked);
	}
	signal(sig, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	thread_raise(sig);
	sigprocmask(SIG_UNBLOCK, &set, &before); /* stops here */
	sigprocmask(SIG_SETMASK, &before, NULL);
	set_handler(sig, on_stop, SA_RESTART);
	/* Going on, or never stopped: a process group without a shell to wake it ignores the
	 * signal. */
	enter();
	errno = saved_errno;
}

static void on_continue(int sig)
{
	int saved_errno = errno;

	(void)sig;
	enter();
	errno = saved_errno;
}

static void set_handlers(void)
{
	struct sigaction now;
	static bool done;

	if (done)
		return;
	done = true;
	atexit(chardev_restore_terminal);
	for (size_t i = 0; i < ARRAY_SIZE(ending_signals); i++) {
		if (!sigaction(ending_signals[i], NULL, &now) && now.sa_handler == SIG_DFL)
			set_handler(ending_signals[i], on_ending_signal, (int)SA_RESETHAND);
	}
	if (!sigaction(SIGTSTP, NULL, &now) && now.sa_handler == SIG_DFL)
		set_handler(SIGTSTP, on_stop, SA_RESTART);
	set_handler(SIGCONT, on_continue, SA_RESTART);
}

int terminal_enter_raw(int fd, bool keys_signal)
{
	struct termios raw;

	if (tcgetattr(fd, &term.cooked))
		return -errno;
	raw = term.cooked;
	raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	/* Output processing stays on, for lines of our own; the guest's \r\n looks the same. */
	raw.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
	if (!keys_signal)
		raw.c_lflag &= ~ISIG;
	raw.c_cflag &= ~(CSIZE | PARENB);
	raw.c_cflag |= CS8;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	term.raw = raw;
	term.fd = fd;
	term.group = getpgrp();
	set_handlers();
	term.wanted = 1;
	enter();
	return 0;
}

void terminal_leave_raw(void)
{
	chardev_restore_terminal();
	term.wanted = 0;
}

int terminal_open_nonblocking(int fd)
{
	char path[32];
	struct stat st;
	int copy, flags;

	if (fd_stat(fd, &st))
		return -errno;
	/* What never blocks, or is asked with MSG_DONTWAIT, needs no flag. */
	if (S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd))) {
		copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		return copy < 0 ? -errno : copy;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = open(path,
		    (fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (copy >= 0)
		return copy;
	flags = fcntl(fd, F_GETFL);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (flags < 0 || copy < 0)
		return -errno;
	if (!(flags & O_NONBLOCK)) {
		set_handlers();
		if (!fd_set_nonblock(fd, true))
			term.flags_changed[fd] = 1;
	}
	return copy;
}
