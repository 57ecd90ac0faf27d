/* SPDX-License-Identifier: Apache-2.0 */
#include "block/buffered.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "util/fd.h"

int block_buffered_attach(struct block_drive *drive, struct block_drive_user *user, struct error **errp)
{
	int ret = block_drive_attach(drive, 512, user, errp);
	int flags;

	if (ret)
		return ret;
	flags = fcntl(drive->fd, F_GETFL);
	if (flags < 0 || fcntl(drive->fd, F_SETFL, flags & ~O_DIRECT) < 0) {
		ret = error_set_errno(errp, -errno, "drive '%s': direct I/O cannot be ended", drive->id);
		block_drive_detach(drive);
		return ret;
	}
	drive->direct = false;
	drive->dio_mem_align = 0;
	drive->dio_offset_align = 0;
	return 0;
}

int block_buffered_map(const struct block_drive *drive, void *at, uint64_t size)
{
	void *map = mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, drive->fd, 0);

	return map == MAP_FAILED ? -errno : 0;
}

int block_buffered_read(const struct block_drive *drive, uint64_t offset, void *to, uint64_t len)
{
	return fd_pread_full(drive->fd, to, len, (off_t)offset);
}

static void count(struct block_drive *drive, uint64_t offset, uint64_t len, bool ok)
{
	struct block_counters *counters = &drive->counters;

	if (!ok) {
		counters->failed[BLOCK_ACCOUNT_WRITE]++;
		return;
	}
	counters->operations[BLOCK_ACCOUNT_WRITE]++;
	counters->bytes[BLOCK_ACCOUNT_WRITE] += len;
	counters->highest_write = MAX((uint64_t)counters->highest_write, offset + len);
}

int block_buffered_write(struct block_drive *drive, uint64_t offset, const void *from, uint64_t len)
{
	int ret = fd_pwrite_full(drive->fd, from, len, (off_t)offset);

	if (!ret && drive->writethrough && fdatasync(drive->fd))
		ret = -errno;
	count(drive, offset, len, !ret);
	return ret;
}
