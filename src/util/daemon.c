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
	int fd; /* its lock says that the VM lives */
	pid_t pid;
	dev_t dev;
	ino_t ino;
} pidfile = { .fd = -1 };

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

/* What a VM before may have left: nothing else is written over. */
static bool is_pid_file(int fd, const struct stat *st)
{
	char text[16];
	ssize_t n;

	if (!S_ISREG(st->st_mode) || st->st_nlink != 1 || st->st_size >= (off_t)sizeof(text))
		return false;
	n = fd_read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	if (n && text[n - 1] == '\n')
		n--;
	return strspn(text, "0123456789") == (size_t)n;
}

/* A new file or one that was left behind, with its lock. -EAGAIN: it went while it was looked at. */
static int open_locked(const char *path, struct stat *st, struct error **errp)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat now;
	int fd, ret = 0;

	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(errp, -errno, "-pidfile %s", path);
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0 && (errno == EAGAIN || errno == EACCES))
		ret = error_set(errp, -EBUSY, "-pidfile %s: it belongs to a VM that runs", path);
	else if (fd_stat(fd, st) < 0)
		ret = error_set_errno(errp, -errno, "-pidfile %s", path);
	else if (path_lstat(path, &now) < 0 || now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		ret = -EAGAIN;
	else if (st->st_uid != geteuid()) /* who could write another pid into it */
		ret = error_set(errp, -EPERM, "-pidfile %s: there is a file of user %u", path, st->st_uid);
	else if (!is_pid_file(fd, st))
		ret = error_set(errp, -EEXIST, "-pidfile %s: there is a file that is no pid file", path);
	if (ret)
		close(fd);
	return ret ? ret : fd;
}

int pidfile_create(const char *path, struct error **errp)
{
	char text[16];
	struct stat st;
	int fd, ret;

	do {
		fd = open_locked(path, &st, errp);
	} while (fd == -EAGAIN);
	if (fd < 0)
		return fd;
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	ret = ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET) ? -errno : 0;
	if (!ret)
		ret = fd_write_full(fd, text, strlen(text));
	if (!ret) {
		/* Absolute, for the daemon may change its directory before it removes the file. */
		pidfile.path = realpath(path, NULL);
		if (!pidfile.path)
			ret = -errno;
	}
	if (ret) {
		unlink(path);
		close(fd);
		return error_set_errno(errp, ret, "-pidfile %s", path);
	}
	pidfile.fd = fd;
	pidfile.pid = getpid();
	pidfile.dev = st.st_dev;
	pidfile.ino = st.st_ino;
	return 0;
}

static bool unlink_pidfile(void)
{
	struct stat st;

	/* Only if it is still the same file. */
	return path_lstat(pidfile.path, &st) == 0 && st.st_dev == pidfile.dev && st.st_ino == pidfile.ino &&
	       !unlink(pidfile.path);
}

void pidfile_remove(void)
{
	/* Only by the process that made it. From within -chroot, or as a user who may not, it is left, and names nobody. */
	if (pidfile.path && pidfile.pid == thread_pid() && !unlink_pidfile() && ftruncate(pidfile.fd, 0))
		errno = 0;
	fd_close(&pidfile.fd);
	free(pidfile.path);
	pidfile.path = NULL;
}
