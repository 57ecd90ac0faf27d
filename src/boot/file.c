// SPDX-License-Identifier: Apache-2.0
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/fd_store.h"

/* Below this a copy is cheaper than one more mapping. */
#define MAP_MIN_PAGES 16

/*
 * Some file systems have no mmap(); with MAP_FIXED that would be found out only after the RAM is
 * gone.
 */
static bool file_can_map(int fd, size_t page)
{
	void *probe = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (probe == MAP_FAILED)
		return false;
	munmap(probe, page);
	return true;
}

int boot_file_open(struct boot_file *file, const char *what, const char *path, struct error **errp)
{
	struct stat st;
	int fd, ret;

	/* O_NONBLOCK: a FIFO without a writer shall be refused, not waited for. */
	fd = fd_open(path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return error_set_errno(errp, fd, "cannot open %s '%s'", what, path);
	if (fd_stat(fd, &st) < 0) {
		ret = error_set_errno(errp, -errno, "cannot examine %s '%s'", what, path);
	} else if (!S_ISREG(st.st_mode)) {
		ret = error_set(errp, -EINVAL, "%s '%s' is not a regular file", what, path);
	} else if (st.st_size == 0) {
		ret = error_set(errp, -EINVAL, "%s '%s' is empty", what, path);
	} else {
		*file = (struct boot_file){
			.path = xstrdup(path),
			.fd = fd,
			.size = (uint64_t)st.st_size,
			.mappable = file_can_map(fd, (size_t)sysconf(_SC_PAGESIZE)),
		};
		return 0;
	}
	close(fd);
	return ret;
}

void boot_file_close(struct boot_file *file)
{
	if (!file->path)
		return;
	fd_close(&file->fd);
	free(file->path);
	file->path = NULL;
}

static int file_check_range(const struct boot_file *file, uint64_t size, uint64_t offset,
			    uint64_t len, struct error **errp)
{
	if (offset <= size && len <= size - offset)
		return 0;
	return error_set(errp, -EINVAL,
			 "'%s' is truncated: %" PRIu64 " bytes at offset %" PRIu64
			 " are needed, the file has %" PRIu64 " bytes",
			 file->path, len, offset, size);
}

int boot_file_read(const struct boot_file *file, uint64_t offset, void *buf, uint64_t len,
		   struct error **errp)
{
	int ret = file_check_range(file, file->size, offset, len, errp);

	if (ret)
		return ret;
	ret = fd_pread_full(file->fd, buf, len, (off_t)offset);
	return ret ? error_set_errno(errp, ret, "cannot read '%s'", file->path) : 0;
}

/* The RAM region that @gpa lies in, and in @left how much of it is from there on. NULL: none. */
static const struct ram_region *region_at(const struct mem_space *space, gpa_t gpa, uint64_t *left)
{
	for (unsigned int i = 0; i < mem_space_ram_count(space); i++) {
		const struct ram_region *region = mem_space_ram(space, i);

		if (gpa >= region->base && gpa - region->base < region->size) {
			*left = region->size - (gpa - region->base);
			return region;
		}
	}
	return NULL;
}

/* Is all of [gpa, gpa + len), len > 0, RAM? Of one region or of adjacent ones. */
static int check_place(const struct boot_file *file, const struct mem_space *space, gpa_t gpa, uint64_t len,
		       struct error **errp)
{
	uint64_t rest = len, here;

	for (gpa_t at = gpa; region_at(space, at, &here); at += here, rest -= here)
		if (rest <= here)
			return 0;
	return error_set(errp, -ENOMEM,
			 "'%s' needs guest memory at 0x%" PRIx64 "-0x%" PRIx64
			 ", where there is none (the guest has %" PRIu64 " MiB)",
			 file->path, gpa, gpa + (len - 1),
			 (uint64_t)(mem_space_ram_total(space) / MIB));
}

static bool region_is_private(const struct ram_region *region)
{
	return region->fd < 0 && !region->shared;
}

static int copy_in(const struct boot_file *file, uint64_t offset, uint64_t len, uint8_t *host,
		   struct error **errp)
{
	int ret = len ? fd_pread_full(file->fd, host, len, (off_t)offset) : 0;

	return ret ? error_set_errno(errp, ret, "cannot read '%s'", file->path) : 0;
}

static int map_in(const struct boot_file *file, uint64_t offset, uint64_t len, uint8_t *host,
		  const struct ram_region *region, struct error **errp)
{
	if (mmap(host, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file->fd,
		 (off_t)offset) == MAP_FAILED)
		return error_set_errno(errp, -errno, "cannot map '%s'", file->path);
	if (!region->dump && madvise(host, len, MADV_DONTDUMP))
		return error_set_errno(errp, -errno, "cannot keep '%s' out of core dumps",
				       file->path);
	return 0;
}

/* All of it lies in @region. */
static int load_piece(const struct boot_file *file, uint64_t offset, uint64_t len,
		      const struct ram_region *region, gpa_t gpa, struct error **errp)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *host = region->host + (gpa - region->base);
	uint64_t head, middle, tail;
	int ret;

	head = MIN(len, -(uint64_t)(uintptr_t)host & (page - 1));
	middle = ALIGN_DOWN(len - head, page);
	tail = len - head - middle;
	if (!file->mappable || !region_is_private(region) || middle < MAP_MIN_PAGES * page ||
	    !IS_ALIGNED(offset + head, page))
		return copy_in(file, offset, len, host, errp);

	ret = copy_in(file, offset, head, host, errp);
	if (!ret)
		ret = map_in(file, offset + head, middle, host + head, region, errp);
	if (!ret)
		ret = copy_in(file, offset + head + middle, tail, host + head + middle, errp);
	return ret;
}

int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t len,
		   struct mem_space *space, gpa_t gpa, struct error **errp)
{
	uint64_t here = 0;
	struct stat st;
	int ret;

	if (!len)
		return 0;
	/* The size of now: a mapping beyond the end would be a SIGBUS in waiting. */
	if (fd_stat(file->fd, &st) < 0)
		return error_set_errno(errp, -errno, "cannot examine '%s'", file->path);
	ret = file_check_range(file, (uint64_t)st.st_size, offset, len, errp);
	if (!ret)
		ret = check_place(file, space, gpa, len, errp);
	for (; !ret && len; gpa += here, offset += here, len -= here) {
		const struct ram_region *region = region_at(space, gpa, &here);

		here = MIN(here, len);
		ret = load_piece(file, offset, here, region, gpa, errp);
	}
	return ret;
}

static void zero_piece(uint64_t len, const struct ram_region *region, gpa_t gpa)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *host = region->host + (gpa - region->base);
	uint64_t head, middle;

	head = MIN(len, -(uint64_t)(uintptr_t)host & (page - 1));
	middle = ALIGN_DOWN(len - head, page);
	/*
	 * Private anonymous pages read as zero after they are given back, and cost nothing until
	 * used.
	 */
	if (!middle || !region_is_private(region) || madvise(host + head, middle, MADV_DONTNEED)) {
		memset(host, 0, len);
		return;
	}
	memset(host, 0, head);
	memset(host + head + middle, 0, len - head - middle);
}

int boot_file_zero(const struct boot_file *file, uint64_t len, struct mem_space *space, gpa_t gpa,
		   struct error **errp)
{
	uint64_t here = 0;
	int ret;

	if (!len)
		return 0;
	ret = check_place(file, space, gpa, len, errp);
	if (ret)
		return ret;
	for (; len; gpa += here, len -= here) {
		const struct ram_region *region = region_at(space, gpa, &here);

		here = MIN(here, len);
		zero_piece(here, region, gpa);
	}
	return 0;
}
