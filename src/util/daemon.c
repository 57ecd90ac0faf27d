// SPDX-License-Identifier: Apache-2.0
#include "util/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"

static int ready_fd = -1;
static char *pidfile_path;

/* The process that the user started: waits for the byte of daemon_ready() or for the child's end. */
static void __noreturn daemon_wait(pid_t child, int fd)
{
	char byte;
	ssize_t n;
	int status;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	_exit(1);
}

int daemon_begin(struct error **errp)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC))
		return error_set_errno(errp, -errno, "-daemonize: cannot make a pipe");
	child = fork();
	if (child < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return error_set_errno(errp, err, "-daemonize: cannot fork");
	}
	if (child > 0) {
		close(fds[1]);
		daemon_wait(child, fds[0]);
	}
	close(fds[0]);
	ready_fd = fds[1];
	setsid();
	return 0;
}

void daemon_ready(void)
{
	int null;

	if (ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
	/* If the waiting process is gone there is nobody left to tell. */
	if (fd_write_full(ready_fd, "", 1))
		errno = 0;
	fd_close(&ready_fd);
}

int pidfile_create(const char *path, struct error **errp)
{
	char text[24];
	int fd, len, ret;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(errp, -errno, "-pidfile %s: cannot create the file", path);
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	ret = fd_write_full(fd, text, (size_t)len);
	close(fd);
	if (ret) {
		unlink(path);
		return error_set_errno(errp, ret, "-pidfile %s: cannot write the pid", path);
	}
	/* Absolute, because the process may change its directory before it removes the file. */
	pidfile_path = realpath(path, NULL);
	return 0;
}

void pidfile_remove(void)
{
	if (pidfile_path)
		unlink(pidfile_path);
	free(pidfile_path);
	pidfile_path = NULL;
}
