// SPDX-License-Identifier: Apache-2.0
/*
 * Image locks: open-file-description locks on single bytes of the image, which conflict between processes and between two
 * drives of one process, and vanish with the descriptor. The bytes are the ones that other VMMs know:
 *   101, 102  somebody writes (QEMU: permissions "write" and "write unchanged" in use)
 *   201, 202  somebody minds writers (QEMU: the same permissions not shared)
 * A writer locks all four exclusively; a reader shares the latter two, and looks whether somebody writes. Who does not mind
 * writers (QEMU's share-rw=on) leaves the latter two alone: if it writes, it shares the first two, and looks whether somebody minds.
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
	bool writes, minds; /* other writers */
	bool none;	    /* the file system has no locks: conflicts within the process are all there are */
};

static struct list held = LIST_INIT(held);

static bool same_image(const struct image_lock *a, const struct image_lock *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/* @itself: what @wanted is to replace. */
static bool conflicts(const struct image_lock *wanted, const struct image_lock *itself)
{
	const struct image_lock *other;

	list_for_each(other, &held, node) {
		if (other != itself && same_image(other, wanted) &&
		    ((other->writes && wanted->minds) || (other->minds && wanted->writes)))
			return true;
	}
	return false;
}

/* Has another description locked the bytes in any way? */
static int look(int fd, off_t start)
{
	struct flock lock;
	int ret = lock_bytes(fd, F_OFD_GETLK, F_WRLCK, start, &lock);

	if (ret)
		return ret;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

static int take(const struct image_lock *wanted)
{
	short type = wanted->writes && wanted->minds ? F_WRLCK : F_RDLCK;
	struct flock lock;
	int ret = 0;

	if (wanted->none)
		return 0;
	if (wanted->writes)
		ret = lock_bytes(wanted->fd, F_OFD_SETLK, type, BYTE_WRITES, &lock);
	if (!ret && wanted->minds)
		ret = lock_bytes(wanted->fd, F_OFD_SETLK, type, BYTE_MINDS, &lock);
	if (!ret && wanted->writes != wanted->minds)
		ret = look(wanted->fd, wanted->writes ? BYTE_MINDS : BYTE_WRITES);
	return ret;
}

/* Gives up what @lock does not need. Others may have had it by the same description: they get it again. */
static void give_up(const struct image_lock *lock)
{
	const struct image_lock *other;
	struct flock unused;

	if (!lock->writes)
		(void)lock_bytes(lock->fd, F_OFD_SETLK, F_UNLCK, BYTE_WRITES, &unused);
	if (!lock->minds)
		(void)lock_bytes(lock->fd, F_OFD_SETLK, F_UNLCK, BYTE_MINDS, &unused);
	list_for_each(other, &held, node) {
		if (same_image(other, lock))
			(void)take(other);
	}
}

static struct image_lock *find(int fd)
{
	struct image_lock *lock;

	list_for_each(lock, &held, node) {
		if (lock->fd == fd)
			return lock;
	}
	return NULL;
}

/* An entry for a drive that has no locks yet. */
static int add(const struct block_drive *drive, struct image_lock **ret, struct error **errp)
{
	struct image_lock *lock;
	struct stat st;

	if (fd_stat(drive->lock_fd, &st) < 0)
		return error_set_errno(errp, -errno, "file '%s' cannot be locked", drive->file);
	lock = xcalloc(1, sizeof(*lock));
	lock->fd = drive->lock_fd;
	lock->dev = st.st_dev;
	lock->ino = st.st_ino;
	list_add_tail(&held, &lock->node);
	*ret = lock;
	return 0;
}

int block_lock(struct block_drive *drive, bool share, struct error **errp)
{
	struct image_lock *lock = find(drive->lock_fd), wanted;
	bool fresh = !lock;
	int ret = fresh ? add(drive, &lock, errp) : 0;

	if (ret)
		return ret;
	wanted = *lock;
	wanted.writes = !drive->readonly;
	wanted.minds = !share;
	ret = conflicts(&wanted, lock) ? -EAGAIN : take(&wanted);
	if (ret == -EAGAIN || ret == -EACCES) {
		if (fresh)
			block_unlock(drive->lock_fd);
		else
			give_up(lock); /* back to what it was: itself is one that gets it again */
		return error_set(errp, -EBUSY, "file '%s' is in use by another drive or program%s", drive->file,
				 drive->readonly ? " that writes to it" :
						   "; only readers can share an image, or devices that all have share-rw=on");
	}
	/* Some network and FUSE file systems have no locks. */
	if (ret)
		log_warn("file '%s' cannot be locked (%s): nothing keeps others from writing to it", drive->file,
			 strerror(-ret));
	lock->none |= ret != 0;
	lock->writes = wanted.writes;
	lock->minds = wanted.minds;
	give_up(lock);
	return 0;
}

void block_unlock(int fd)
{
	struct image_lock *lock = find(fd);

	if (!lock)
		return;
	list_del(&lock->node);
	lock->writes = false;
	lock->minds = false;
	give_up(lock);
	free(lock);
}
