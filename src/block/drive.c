// SPDX-License-Identifier: Apache-2.0
/* Opening an image: options, locks, size, and what direct I/O asks for. */
#include "block/drive.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fd_store.h"
#include "util/parse.h"

#define LOG_MODULE "block"
#include "util/log.h"

#define SECTOR 512U

/* Indices in the word lists below. */
enum { CACHE_NONE, CACHE_WRITEBACK, CACHE_WRITETHROUGH, CACHE_DIRECTSYNC, CACHE_UNSAFE };
enum { FORMAT_RAW, FORMAT_QCOW2 };

enum { IF_NONE, IF_PFLASH };

static const char *const if_words[] = { "none", "pflash", "virtio", NULL };
static const char *const media_words[] = { "disk", NULL };
static const char *const format_words[] = { "raw", "qcow2", NULL };
static const char *const aio_words[] = { "io_uring", "threads", "native", "off", NULL };
static const char *const discard_words[] = { "ignore", "unmap", "off", "on", NULL };
static const char *const detect_zeroes_words[] = { "off", "on", "unmap", NULL };
static const char *const rerror_words[] = { "report", "ignore", "stop", NULL };
static const char *const werror_words[] = { "report", "ignore", "stop", "enospc", NULL };
static const char *const cache_words[] = { "none", "writeback", "writethrough", "directsync", "unsafe",
					   NULL };

const struct property block_drive_props[] = {
	{ .name = "file", .help = "image file or block device", .type = PROPERTY_STRING,
	  .flags = PROPERTY_REQUIRED, .offset = offsetof(struct block_drive, file), .min = 1, .max = 4095 },
	PROP_ENUM("if", struct block_drive, iface, if_words, 0, "none: a device names the drive by its id; pflash: a bank of flash, \"unit\"; virtio: a disk of its own"),
	PROP_UINT(8, "unit", struct block_drive, unit, 0, 1, 0, "pflash: 0 the firmware, 1 its variables"),
	PROP_ENUM("media", struct block_drive, media, media_words, 0, "kind of medium"),
	PROP_ENUM("format", struct block_drive, format, format_words, FORMAT_RAW,
		  "image format; only raw is supported"),
	PROP_BOOL("readonly", struct block_drive, readonly, false, "the guest cannot write"),
	PROP_BOOL("direct", struct block_drive, direct, true,
		  "bypass the host's page cache (O_DIRECT) where the file system can"),
	PROP_ENUM("cache", struct block_drive, cache, cache_words, CACHE_NONE,
		  "QEMU's words for direct and write-through"),
	PROP_ENUM("aio", struct block_drive, aio, aio_words, BLOCK_AIO_IO_URING,
		  "I/O engine; native means io_uring, off means threads"),
	PROP_ENUM("discard", struct block_drive, discard, discard_words, 0,
		  "unmap: the guest can release space"),
	PROP_ENUM("detect-zeroes", struct block_drive, detect_zeroes, detect_zeroes_words, 0,
		  "store writes of zeroes without data"),
	PROP_ENUM("rerror", struct block_drive, on_error[0], rerror_words, BLOCK_ON_ERROR_REPORT,
		  "when the host cannot read: tell the guest, say that all is well, or stop the VM"),
	PROP_ENUM("werror", struct block_drive, on_error[1], werror_words, BLOCK_ON_ERROR_ENOSPC,
		  "when the host cannot write; enospc: stop on a full disk, else report"),
	BLOCK_LIMIT_PROPS(struct block_drive, limits),
	PROP_STRING("throttling.group", struct block_drive, group_name, 1, 255, NULL,
		    "drives that name the same group share its limits: those that were set last"),
	PROP_END,
};

/* cache= says in one word what direct= and the engine's flushes do. */
static int apply_cache(struct block_drive *drive, const struct opts *opts, struct error **errp)
{
	drive->direct_asked = opts_get(opts, "direct") || opts_get(opts, "cache");
	if (!opts_get(opts, "cache"))
		return 0;
	if (opts_get(opts, "direct"))
		return error_set(errp, -EINVAL, "cache= and direct= exclude each other");
	drive->direct = drive->cache == CACHE_NONE || drive->cache == CACHE_DIRECTSYNC;
	drive->writethrough = drive->cache == CACHE_WRITETHROUGH || drive->cache == CACHE_DIRECTSYNC;
	drive->ignore_flush = drive->cache == CACHE_UNSAFE;
	return 0;
}

static int check_options(struct block_drive *drive, const struct opts *opts, struct error **errp)
{
	if (drive->format != FORMAT_RAW)
		return error_set(errp, -ENOTSUP, "format=%s is not supported; convert the image: "
				 "qemu-img convert -O raw", format_words[drive->format]);
	if (drive->aio == BLOCK_AIO_NATIVE || drive->aio == BLOCK_AIO_OFF) {
		int aio = drive->aio == BLOCK_AIO_NATIVE ? BLOCK_AIO_IO_URING : BLOCK_AIO_THREADS;

		log_debug("drive '%s': aio=%s is carried out by %s", drive->id, aio_words[drive->aio],
			  aio_words[aio]);
		drive->aio = aio;
	}
	drive->discard %= 2; /* "off" and "on" are the same in StratoVirt's words */
	return block_limits_check(&drive->limits, errp) ?: apply_cache(drive, opts, errp);
}

int block_drive_read_size(struct block_drive *drive, struct error **errp)
{
	struct stat st;
	uint64_t size;

	if (fd_stat(drive->fd, &st) < 0)
		return error_set_errno(errp, -errno, "file '%s'", drive->file);
	drive->block_device = S_ISBLK(st.st_mode);
	if (S_ISREG(st.st_mode)) {
		size = st.st_size;
	} else if (drive->block_device) {
		if (ioctl(drive->fd, BLKGETSIZE64, &size) < 0)
			return error_set_errno(errp, -errno, "file '%s': its size", drive->file);
	} else {
		return error_set(errp, -EINVAL, "file '%s' is neither a regular file nor a block device",
				 drive->file);
	}
	if (size < SECTOR)
		return error_set(errp, -EINVAL, "file '%s' is smaller than one sector", drive->file);
	if (size % SECTOR)
		log_warn("drive '%s': the last %u bytes of '%s' are no whole sector: the guest does not see them",
			 drive->id, (unsigned int)(size % SECTOR), drive->file);
	drive->size = ALIGN_DOWN(size, SECTOR);
	return 0;
}

static void direct_off(struct block_drive *drive, const char *why)
{
	int flags = fcntl(drive->fd, F_GETFL);

	log_at(drive->direct_asked ? LOG_WARN : LOG_INFO, "drive '%s': '%s' goes through the page cache: %s",
	       drive->id, drive->file, why);
	if (flags >= 0)
		(void)fcntl(drive->fd, F_SETFL, flags & ~O_DIRECT);
	drive->direct = false;
	drive->dio_mem_align = 0;
	drive->dio_offset_align = 0;
}

/* Without statx() telling: does a read of @align bytes, so aligned, work? */
static bool probe_align(int fd, size_t align)
{
	void *buf = NULL;
	ssize_t n;

	if (posix_memalign(&buf, MAX(align, (size_t)4096), align))
		return false;
	n = preadv(fd, &(struct iovec){ buf, align }, 1, 0);
	free(buf);
	return n >= 0;
}

static void read_alignment(struct block_drive *drive)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(drive->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) && stx.stx_mask & STATX_DIOALIGN) {
		drive->dio_mem_align = stx.stx_dio_mem_align;
		drive->dio_offset_align = stx.stx_dio_offset_align;
		if (!drive->dio_offset_align)
			direct_off(drive, "the file does not support direct I/O");
		return;
	}
#endif
	if (probe_align(drive->fd, SECTOR))
		drive->dio_offset_align = SECTOR;
	else if (probe_align(drive->fd, 4096))
		drive->dio_offset_align = 4096;
	else
		direct_off(drive, "direct reads fail");
	drive->dio_mem_align = drive->dio_offset_align;
}

/*
 * The locks have a descriptor of their own. io_uring gives up its references to the drive's only some time after the process
 * has ended, and a restart must not find the image locked by the dead.
 */
static int lock_image(struct block_drive *drive, struct error **errp)
{
	struct stat image, lock;

	drive->lock_fd = fd_open(drive->file, drive->readonly ? O_RDONLY : O_RDWR, 0);
	if (drive->lock_fd < 0)
		return error_set_errno(errp, drive->lock_fd, "file '%s' cannot be locked", drive->file);
	if (fd_stat(drive->lock_fd, &lock) < 0 || fd_stat(drive->fd, &image) < 0)
		return error_set_errno(errp, -errno, "file '%s' cannot be locked", drive->file);
	if (image.st_dev != lock.st_dev || image.st_ino != lock.st_ino)
		return error_set(errp, -EAGAIN, "file '%s' was replaced while it was being opened",
				 drive->file);
	/* Only the device will say whether it shares: two that do, and start at the same time, must not be in each other's way. */
	return block_lock(drive, true, errp);
}

/* What comes out of a set was opened by somebody else; as to direct I/O it becomes what is asked for here. */
static int open_file(const struct block_drive *drive, int flags)
{
	int fd = fd_open(drive->file, flags, 0), have, ret;

	have = fd < 0 ? -1 : fcntl(fd, F_GETFL);
	if (have < 0 || !((have ^ flags) & O_DIRECT) || !fcntl(fd, F_SETFL, have ^ O_DIRECT))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static int open_image(struct block_drive *drive, struct error **errp)
{
	int flags = drive->readonly ? O_RDONLY : O_RDWR;
	const char *no_direct = NULL;
	int ret;

	drive->fd = open_file(drive, flags | (drive->direct ? O_DIRECT : 0));
	if (drive->fd == -EINVAL && drive->direct) { /* tmpfs and others */
		no_direct = "its file system has no direct I/O";
		drive->fd = open_file(drive, flags);
	}
	if (drive->fd < 0)
		return error_set_errno(errp, drive->fd, "file '%s' cannot be opened%s", drive->file,
				       drive->readonly ? "" : " for writing");
	ret = block_drive_read_size(drive, errp);
	if (!ret)
		ret = lock_image(drive, errp);
	if (ret)
		return ret;
	if (no_direct)
		direct_off(drive, no_direct);
	else if (drive->direct)
		read_alignment(drive);
	return 0;
}

/* QEMU's rule: the limits of a drive are those of its group, from now on. */
static int join_group(struct block_drive *drive, struct error **errp)
{
	bool limited = block_limits_any(&drive->limits);

	if (!limited && !drive->group_name)
		return 0;
	drive->group = throttle_group_get(drive->group_name ? drive->group_name : drive->id, drive->scope);
	return limited ? throttle_group_set_limits(drive->group, &drive->limits, errp) : 0;
}

int block_drive_new(const struct opts *opts, struct link_scope *scope, struct block_drive **ret,
		    struct error **errp)
{
	static const char *const skip[] = { "id", NULL };
	struct block_drive *drive = xcalloc(1, sizeof(*drive));
	const char *id = opts_get(opts, "id");
	char *what;
	int err;

	drive->fd = -1;
	drive->lock_fd = -1;
	drive->scope = scope;
	err = property_apply(block_drive_props, drive, opts, skip, NULL, errp);
	if (err) {
		free(drive);
		return err;
	}
	if (!id && drive->iface == IF_PFLASH)
		id = drive->unit ? "pflash1" : "pflash0";
	if (id)
		err = id_check(id, errp);
	else
		err = error_set(errp, -EINVAL, "an id of 1 to 255 characters is required; or if=virtio, which makes a disk");
	if (!err) {
		drive->id = xstrdup(id);
		err = check_options(drive, opts, errp);
	}
	if (!err)
		err = open_image(drive, errp);
	if (!err)
		err = link_scope_add(scope, LINK_DRIVE, id, drive, errp);
	if (!err)
		err = join_group(drive, errp); /* cannot fail: the limits were checked */
	if (err) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
		block_drive_free(drive);
		return err;
	}
	*ret = drive;
	return 0;
}

int block_drive_flash_unit(const struct block_drive *drive)
{
	return drive->iface == IF_PFLASH ? drive->unit : -1;
}

void block_drive_free(struct block_drive *drive)
{
	if (!drive)
		return;
	fd_close(&drive->fd);
	block_unlock(drive->lock_fd);
	fd_close(&drive->lock_fd);
	property_release(block_drive_props, drive);
	block_node_forget(drive);
	throttle_group_put(drive->group);
	free(drive->id);
	free(drive);
}

int block_drive_attach(struct block_drive *drive, uint32_t block_size, struct block_drive_user *user,
		       struct error **errp)
{
	int ret;

	if (drive->attached)
		return error_set(errp, -EBUSY, "drive '%s' is in use by another device", drive->id);
	ret = block_lock(drive, user && user->share, errp);
	if (ret)
		return ret;
	drive->attached = true;
	drive->user = user;
	if (drive->dio_offset_align > block_size)
		direct_off(drive, "direct I/O needs larger blocks than the device has (see logical_block_size)");
	return 0;
}

void block_drive_detach(struct block_drive *drive)
{
	drive->attached = false;
	drive->user = NULL;
}
