// SPDX-License-Identifier: Apache-2.0
/*
 * The process that was started waits at the read end of a pipe: a byte says that the VM is up, the
 * end of file that the child is gone. The child stays in the middle of its start-up until then, its
 * messages still on the caller's stderr.
 */
#include "util/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/thread.h"

static int ready_fd = -1;
static int null_fd = -1; /* for stdin, stdout and stderr; when they go there the sandbox may keep /dev/null from being opened */

static struct {
	char *path;
	pid_t pid;
	dev_t dev;
	ino_t ino;
} pidfile;

static ssize_t read_byte(int fd)
{
	ssize_t n;
	char byte;

	do {
		n = fd_read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* In the process that was started. _exit(): what stdio has buffered belongs to the child as well.
 */
static void __noreturn wait_for_child(pid_t pid, int fd)
{
	int status;

	if (read_byte(fd) == 1)
		_exit(EXIT_SUCCESS);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			_exit(EXIT_FAILURE);
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int daemon_begin(struct error **errp)
{
	int fds[2];
	pid_t pid;

	fflush(NULL);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return error_set_errno(errp, -errno, "-daemonize: /dev/null");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set_errno(errp, -errno, "-daemonize: pipe");
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return error_set_errno(errp, err, "-daemonize: fork");
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(pid, fds[0]);
	}
	close(fds[0]);
	ready_fd = fds[1];
	/*
	 * A session of its own: no terminal, no job control. As its leader it could get a terminal
	 * again only by opening one without O_NOCTTY, which nothing here does; a second fork would
	 * change the pid that the waiting process knows.
	 */
	setsid();
	return 0;
}

void daemon_ready(void)
{
	if (ready_fd < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup3(null_fd, fd, 0);
	fd_close(&null_fd);
	/* If the waiting process is gone nobody needs the answer. */
	if (fd_write_full(ready_fd, "", 1) < 0)
		errno = 0;
	fd_close(&ready_fd);
}

int pidfile_create(const char *path, struct error **errp)
{
	char text[16];
	struct stat st;
	int fd, ret;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(errp, -errno, "-pidfile %s", path);
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	ret = fd_write_full(fd, text, strlen(text));
	if (!ret && fd_stat(fd, &st) < 0)
		ret = -errno;
	if (!ret) {
		/* Absolute, for the daemon may change its directory before it removes the file. */
		pidfile.path = realpath(path, NULL);
		if (!pidfile.path)
			ret = -errno;
	}
	close(fd);
	if (ret) {
		unlink(path);
		return error_set_errno(errp, ret, "-pidfile %s", path);
	}
	pidfile.pid = getpid();
	pidfile.dev = st.st_dev;
	pidfile.ino = st.st_ino;
	return 0;
}

void pidfile_remove(void)
{
	struct stat st;

	/* Only by the process that made it, and only if it is still the same file. */
	if (pidfile.path && pidfile.pid == thread_pid() && path_lstat(pidfile.path, &st) == 0 &&
	    st.st_dev == pidfile.dev && st.st_ino == pidfile.ino)
		unlink(pidfile.path);
	free(pidfile.path);
	pidfile.path = NULL;
}
