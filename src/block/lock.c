// SPDX-License-Identifier: Apache-2.0
/*
 * Image locks: open-file-description locks on single bytes of the image, which conflict between processes and between two
 * drives of one process, and vanish with the descriptor. The bytes are the ones that other VMMs know:
 *   101, 102  somebody writes (QEMU: permissions "write" and "write unchanged" in use)
 *   201, 202  somebody minds writers (QEMU: the same permissions not shared)
 * A writer locks all four exclusively; a reader shares the latter two, and looks whether somebody writes.
 *
 * A description that came from outside (/dev/fdset/N) is one for all drives that use it: to the kernel they do not conflict, and the
 * locks stay when a drive is gone. So conflicts within the process are found here, and locks are given up by word. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LOG_MODULE "block"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/list.h"
#include "util/log.h"

#define BYTE_WRITES 101
#define BYTE_MINDS 201
#define BYTES 2

static int lock_bytes(int fd, int cmd, short type, off_t start, struct flock *lock)
{
	*lock = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = BYTES };
	return fcntl(fd, cmd, lock) < 0 ? -errno : 0;
}

struct image_lock {
	struct list node;
	int fd;
	dev_t dev;
	ino_t ino;
	bool readonly;
};

static struct list held = LIST_INIT(held);

static bool same_image(const struct image_lock *a, const struct image_lock *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static bool conflicts(const struct image_lock *wanted)
{
	const struct image_lock *other;

	list_for_each(other, &held, node) {
		if (same_image(other, wanted) && !(other->readonly && wanted->readonly))
			return true;
	}
	return false;
}

static int lock_all(const struct image_lock *wanted)
{
	struct flock lock;
	int ret;

	if (!wanted->readonly) {
		ret = lock_bytes(wanted->fd, F_OFD_SETLK, F_WRLCK, BYTE_WRITES, &lock);
		return ret ? ret : lock_bytes(wanted->fd, F_OFD_SETLK, F_WRLCK, BYTE_MINDS, &lock);
	}
	ret = lock_bytes(wanted->fd, F_OFD_SETLK, F_RDLCK, BYTE_MINDS, &lock);
	if (ret)
		return ret;
	ret = lock_bytes(wanted->fd, F_OFD_GETLK, F_WRLCK, BYTE_WRITES, &lock);
	if (ret)
		return ret;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

/* Other readers may have had the same lock: they get it again. Where there are no locks nothing comes of this. */
static void unlock_all(const struct image_lock *gone)
{
	const struct image_lock *other;
	struct flock lock;

	(void)lock_bytes(gone->fd, F_OFD_SETLK, F_UNLCK, BYTE_WRITES, &lock);
	(void)lock_bytes(gone->fd, F_OFD_SETLK, F_UNLCK, BYTE_MINDS, &lock);
	list_for_each(other, &held, node) {
		if (same_image(other, gone))
			(void)lock_bytes(other->fd, F_OFD_SETLK, F_RDLCK, BYTE_MINDS, &lock);
	}
}

int block_lock(int fd, const char *file, bool readonly, struct error **errp)
{
	struct image_lock wanted = { .fd = fd, .readonly = readonly }, *lock;
	struct stat st;
	int ret = 0;

	if (fd_stat(fd, &st) < 0)
		return error_set_errno(errp, -errno, "file '%s' cannot be locked", file);
	wanted.dev = st.st_dev;
	wanted.ino = st.st_ino;
	if (conflicts(&wanted)) {
		ret = -EAGAIN;
	} else {
		ret = lock_all(&wanted);
		if (ret)
			unlock_all(&wanted);
	}
	if (ret == -EAGAIN || ret == -EACCES)
		return error_set(errp, -EBUSY, "file '%s' is in use by another drive or program%s", file,
				 readonly ? " that writes to it" : "; only readers can share an image");
	/* Some network and FUSE file systems have no locks. */
	if (ret)
		log_warn("file '%s' cannot be locked (%s): nothing keeps others from writing to it", file,
			 strerror(-ret));
	lock = xcalloc(1, sizeof(*lock));
	*lock = wanted;
	list_add_tail(&held, &lock->node);
	return 0;
}

void block_unlock(int fd)
{
	struct image_lock *lock;

	list_for_each(lock, &held, node) {
		if (lock->fd == fd)
			break;
	}
	if (&lock->node == &held)
		return;
	list_del(&lock->node);
	unlock_all(lock);
	free(lock);
}
