// SPDX-License-Identifier: Apache-2.0
/*
 * Image locks: open-file-description locks on single bytes of the image, which conflict between processes and between two
 * drives of one process, and vanish with the descriptor. The bytes are the ones that other VMMs know:
 *   101, 102  somebody writes (QEMU: permissions "write" and "write unchanged" in use)
 *   201, 202  somebody minds writers (QEMU: the same permissions not shared)
 * A writer locks all four exclusively; a reader shares the latter two, and looks whether somebody writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "internal.h"

#define LOG_MODULE "block"
#include "util/log.h"

#define BYTE_WRITES 101
#define BYTE_MINDS 201
#define BYTES 2

static int lock_bytes(int fd, int cmd, short type, off_t start, struct flock *lock)
{
	*lock = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = BYTES };
	return fcntl(fd, cmd, lock) < 0 ? -errno : 0;
}

static int lock_all(int fd, bool readonly)
{
	struct flock lock;
	int ret;

	if (!readonly) {
		ret = lock_bytes(fd, F_OFD_SETLK, F_WRLCK, BYTE_WRITES, &lock);
		return ret ? ret : lock_bytes(fd, F_OFD_SETLK, F_WRLCK, BYTE_MINDS, &lock);
	}
	ret = lock_bytes(fd, F_OFD_SETLK, F_RDLCK, BYTE_MINDS, &lock);
	if (ret)
		return ret;
	ret = lock_bytes(fd, F_OFD_GETLK, F_WRLCK, BYTE_WRITES, &lock);
	if (ret)
		return ret;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

int block_lock(int fd, const char *file, bool readonly, struct error **errp)
{
	int ret = lock_all(fd, readonly);

	if (!ret)
		return 0;
	if (ret == -EAGAIN || ret == -EACCES)
		return error_set(errp, -EBUSY, "file '%s' is in use by another drive or program%s", file,
				 readonly ? " that writes to it" : "; only readers can share an image");
	/* Some network and FUSE file systems have no locks. */
	log_warn("file '%s' cannot be locked (%s): nothing keeps others from writing to it", file,
		 strerror(-ret));
	return 0;
}
