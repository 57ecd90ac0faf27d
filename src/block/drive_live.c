// SPDX-License-Identifier: Apache-2.0
/* What a drive tells about itself, and what can be changed while a device uses it. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "util/fd.h"

#define SECTOR 512U

const char *block_drive_id(const struct block_drive *drive)
{
	return drive->id;
}

const char *block_drive_file(const struct block_drive *drive)
{
	return drive->file;
}

uint64_t block_drive_size(const struct block_drive *drive)
{
	return drive->size;
}

bool block_drive_readonly(const struct block_drive *drive)
{
	return drive->readonly;
}

bool block_drive_discard(const struct block_drive *drive)
{
	return drive->discard;
}

bool block_drive_direct(const struct block_drive *drive)
{
	return drive->direct;
}

const struct block_limits *block_drive_limits(const struct block_drive *drive)
{
	return drive->group ? throttle_group_limits(drive->group) : &block_no_limits;
}

const char *block_drive_group(const struct block_drive *drive)
{
	return drive->group ? throttle_group_name(drive->group) : NULL;
}

unsigned int block_drive_groups(const struct block_drive *drive, struct throttle_group *groups[BLOCK_GROUPS_MAX])
{
	unsigned int count = 0;

	if (drive->group)
		groups[count++] = drive->group;
	for (const struct block_layer *layer = drive->top; layer; layer = layer->below)
		if (layer->group)
			groups[count++] = layer->group;
	return count;
}

bool block_drive_ignores_flush(const struct block_drive *drive)
{
	return drive->ignore_flush;
}

bool block_drive_writethrough(const struct block_drive *drive)
{
	return drive->writethrough;
}

bool block_drive_in_use(const struct block_drive *drive)
{
	return drive->attached;
}

const char *block_drive_device(const struct block_drive *drive)
{
	return drive->user ? drive->user->device_id(drive->user) : NULL;
}

const char *block_drive_detect_zeroes(const struct block_drive *drive)
{
	static const char *const words[] = {
		[BLOCK_DETECT_ZEROES_OFF] = "off",
		[BLOCK_DETECT_ZEROES_ON] = "on",
		[BLOCK_DETECT_ZEROES_UNMAP] = "unmap",
	};

	return words[drive->detect_zeroes];
}

uint64_t block_drive_allocated(const struct block_drive *drive)
{
	struct stat st;

	return fd_stat(drive->fd, &st) ? 0 : (uint64_t)st.st_blocks * SECTOR;
}

void block_drive_stats(const struct block_drive *drive, struct block_stats *stats)
{
	const struct block_counters *from = &drive->counters;

	for (unsigned int i = 0; i < BLOCK_ACCOUNTS; i++) {
		stats->operations[i] =
			atomic_load_explicit(&from->operations[i], memory_order_relaxed);
		stats->failed[i] = atomic_load_explicit(&from->failed[i], memory_order_relaxed);
		stats->bytes[i] = atomic_load_explicit(&from->bytes[i], memory_order_relaxed);
		stats->time_ns[i] = atomic_load_explicit(&from->time_ns[i], memory_order_relaxed);
	}
	stats->highest_write = atomic_load_explicit(&from->highest_write, memory_order_relaxed);
}

/* --- Errors --- */

const char *const block_on_error_words[] = {
	[BLOCK_ON_ERROR_REPORT] = "report", [BLOCK_ON_ERROR_IGNORE] = "ignore",
	[BLOCK_ON_ERROR_STOP] = "stop",	    [BLOCK_ON_ERROR_ENOSPC] = "enospc",
	[BLOCK_ON_ERROR_AUTO] = "auto",	    NULL,
};

enum block_on_error block_drive_on_error(const struct block_drive *drive,
					 enum block_on_error device, bool write, int error)
{
	enum block_on_error policy = device;

	if (policy == BLOCK_ON_ERROR_AUTO)
		policy = drive->on_error[write];
	if (policy == BLOCK_ON_ERROR_ENOSPC)
		policy = error == -ENOSPC ? BLOCK_ON_ERROR_STOP : BLOCK_ON_ERROR_REPORT;
	return policy;
}

enum block_io_status block_drive_io_status(const struct block_drive *drive)
{
	return atomic_load(&drive->io_status);
}

void block_drive_set_io_status(struct block_drive *drive, enum block_io_status status)
{
	atomic_store(&drive->io_status, status);
}

/* --- Changes --- */

static void tell_user(struct block_drive *drive)
{
	if (drive->user)
		drive->user->changed(drive->user);
}

int block_drive_set_limits(struct block_drive *drive, const struct block_limits *limits, const char *group,
			   struct error **errp)
{
	struct throttle_group *old = drive->group;
	int ret = block_limits_check(limits, errp);

	if (ret)
		return ret;
	if (!block_limits_any(limits)) {
		drive->group = NULL;
	} else {
		if (!group)
			group = old ? throttle_group_name(old) : drive->id;
		drive->group = throttle_group_get(group, drive->scope);
		ret = throttle_group_set_limits(drive->group, limits, errp);
	}
	tell_user(drive);
	throttle_group_put(old);
	return ret;
}

static int resize_device(struct block_drive *drive, uint64_t size, struct error **errp)
{
	int ret = block_drive_read_size(drive, errp);

	if (ret)
		return ret;
	tell_user(drive);
	if (size <= drive->size)
		return 0;
	return error_set(errp, -EINVAL, "block device '%s' has %llu bytes, not the %llu asked for",
			 drive->file, (unsigned long long)drive->size, (unsigned long long)size);
}

int block_drive_resize(struct block_drive *drive, uint64_t size, struct error **errp)
{
	uint64_t old = drive->size;

	if (!size || !IS_ALIGNED(size, SECTOR) || size > INT64_MAX)
		return error_set(errp, -EINVAL, "size %llu is not a multiple of %u above 0",
				 (unsigned long long)size, SECTOR);
	if (drive->attached && !drive->user) /* it would not hear of it, and has the image mapped */
		return error_set(errp, -EBUSY, "drive '%s' holds firmware or its variables, which keep their size",
				 drive->id);
	if (drive->block_device)
		return resize_device(drive, size, errp);
	if (drive->readonly)
		return error_set(errp, -EACCES, "drive '%s' is read-only", drive->id);
	/* The device must not reach for what is about to go, or is not there yet. */
	if (size < old) {
		drive->size = size;
		tell_user(drive);
	}
	if (ftruncate(drive->fd, (off_t)size) < 0) {
		int err = -errno;

		drive->size = old;
		tell_user(drive);
		return error_set_errno(errp, err, "file '%s' cannot be resized", drive->file);
	}
	drive->size = size;
	if (size >= old)
		tell_user(drive);
	return 0;
}
