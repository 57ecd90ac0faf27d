// SPDX-License-Identifier: Apache-2.0
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

ssize_t fd_read(int fd, void *buf, size_t len)
{
	struct iovec iov = { buf, len };

	return readv(fd, &iov, 1);
}

ssize_t fd_write(int fd, const void *buf, size_t len)
{
	struct iovec iov = { (void *)buf, len };

	return writev(fd, &iov, 1);
}

ssize_t fd_recv(int fd, void *buf, size_t len, int flags)
{
	struct iovec iov = { buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(fd, &msg, flags);
}

ssize_t fd_send(int fd, const void *buf, size_t len, int flags)
{
	struct iovec iov = { (void *)buf, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sendmsg(fd, &msg, flags);
}

int fds_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	return ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

int fd_poll(int fd, short events, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return fds_poll(&pfd, 1, timeout_ms);
}

void fd_open_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(EXIT_FAILURE); /* there is no place to say why */
}

static int stat_by(int dir, const char *path, int flags, struct stat *ret)
{
	struct statx stx;

	if (statx(dir, path, flags, STATX_BASIC_STATS, &stx))
		return -1;
	*ret = (struct stat){
		.st_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor),
		.st_rdev = makedev(stx.stx_rdev_major, stx.stx_rdev_minor),
		.st_ino = stx.stx_ino,
		.st_mode = stx.stx_mode,
		.st_nlink = stx.stx_nlink,
		.st_uid = stx.stx_uid,
		.st_gid = stx.stx_gid,
		.st_size = (off_t)stx.stx_size,
		.st_blocks = (blkcnt_t)stx.stx_blocks,
	};
	return 0;
}

int fd_stat(int fd, struct stat *ret)
{
	return stat_by(fd, "", AT_EMPTY_PATH, ret);
}

int path_stat(const char *path, struct stat *ret)
{
	return stat_by(AT_FDCWD, path, 0, ret);
}

int path_lstat(const char *path, struct stat *ret)
{
	return stat_by(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, ret);
}

int file_read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (len < size - 1 && n) {
		n = fd_read(fd, buf + len, size - 1 - len);
		if (n < 0 && errno != EINTR) {
			ret = -errno;
			break;
		}
		len += (size_t)(n > 0 ? n : 0);
	}
	buf[len] = '\0';
	close(fd);
	return ret;
}

void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd); /* Linux frees the number even on EINTR: no retry */
	*fd = -1;
}

int fd_set_nonblock(int fd, bool on)
{
	int value = on;

	return ioctl(fd, FIONBIO, &value) < 0 ? -errno : 0;
}

typedef ssize_t (*vectored_at)(int fd, const struct iovec *iov, int count, off_t offset);

static int move_full(vectored_at move, int fd, char *p, size_t len, off_t offset)
{
	while (len) {
		ssize_t n = move(fd, &(struct iovec){ p, len }, 1, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

int fd_pread_full(int fd, void *buf, size_t len, off_t offset)
{
	return move_full(preadv, fd, buf, len, offset);
}

int fd_pwrite_full(int fd, const void *buf, size_t len, off_t offset)
{
	return move_full(pwritev, fd, (char *)buf, len, offset);
}

static ssize_t write_where_it_is(int fd, const struct iovec *iov, int count, off_t offset)
{
	(void)count;
	(void)offset;
	return fd_write(fd, iov->iov_base, iov->iov_len);
}

int fd_write_full(int fd, const void *buf, size_t len)
{
	return move_full(write_where_it_is, fd, (char *)buf, len, 0);
}

int fd_accept(int listener, bool *exhausted)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	*exhausted = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
	return fd < 0 ? -errno : fd;
}

int eventfd_new(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

void eventfd_signal(int fd)
{
	const uint64_t one = 1;
	int saved_errno = errno; /* signal handlers call this */
	ssize_t n;

	do {
		n = fd_write(fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	/* EAGAIN: the counter is full, so the reader has been told more than often enough. */
	errno = saved_errno;
}

bool eventfd_consume(int fd)
{
	uint64_t count;
	ssize_t n;

	do {
		n = fd_read(fd, &count, sizeof(count));
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(count);
}
