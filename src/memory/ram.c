/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM back ends. Every backing becomes one mapping inside a larger reservation without access
 * rights: the reservation gives the alignment that transparent huge pages need, and leaves a guard
 * on both sides.
 *
 * The memory is mapped without MAP_NORESERVE, as QEMU does by default: the host's overcommit policy
 * decides at start, with a message, and huge pages are reserved at once, so that a guest cannot
 * meet a SIGBUS later for want of one. Nothing here touches the pages unless preallocation was
 * asked for.
 */
#include "memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "numa.h"
#include "prealloc.h"
#include "ram_private.h"
#include "util/alloc.h"
#include "util/errand.h"
#include "util/fd.h"
#include "util/parse.h"

#define LOG_MODULE "memory"
#include "util/log.h"

#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif
#ifndef MFD_HUGE_SHIFT
#define MFD_HUGE_SHIFT 26
#endif

#define THP_SIZE (2 * MIB)

/* For messages: "memory-backend-file '/dev/hugepages'". Caller frees. */
static char *ram_describe(const struct ram_config *config)
{
	switch (config->kind) {
	case RAM_FILE:
		return xasprintf("memory file '%s'", config->path);
	case RAM_MEMFD:
		return xasprintf(config->hugetlb ? "huge page memfd" : "memfd");
	default:
		return xasprintf("anonymous memory");
	}
}

/* The default huge page size of the host, 0 when it has none. */
static uint64_t default_hugepage_size(void)
{
	static const char key[] = "\nHugepagesize:";
	char text[8192], *line;
	uint64_t kib = 0;

	if (file_read_text("/proc/meminfo", text, sizeof(text)))
		return 0;
	line = strstr(text, key);
	if (!line || sscanf(line + strlen(key), "%" SCNu64 " kB", &kib) != 1)
		return 0;
	return kib * KIB;
}

static int make_memfd(void *opaque)
{
	const unsigned int *flags = opaque;
	int fd = memfd_create("guest-ram", *flags);

	return fd < 0 ? -errno : fd;
}

static int ram_open_memfd(struct ram_backend *ram, const struct ram_config *config,
			  struct error **errp)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char size[24];
	int fd;

	if (config->hugetlb) {
		ram->page_size =
			config->hugetlbsize ? config->hugetlbsize : default_hugepage_size();
		if (!is_pow2(ram->page_size))
			return error_set(errp, -EINVAL,
					 "hugetlb=on: this host has no huge page of that size");
		flags |= MFD_HUGETLB;
		flags |= (unsigned int)__builtin_ctzll(ram->page_size) << MFD_HUGE_SHIFT;
	} else if (config->hugetlbsize) {
		return error_set(errp, -EINVAL, "hugetlbsize needs hugetlb=on");
	}

	fd = errand_run(make_memfd, &flags);
	if (fd < 0 && config->hugetlb)
		return error_set_errno(errp, fd, "cannot make a memfd of %s pages",
				       format_size(ram->page_size, size));
	if (fd < 0)
		return error_set_errno(errp, fd, "cannot make a memfd");
	ram->fd = fd;
	return 0;
}

/* A nameless file in the directory @path. hugetlbfs knows O_TMPFILE since Linux 5.16 only. */
static int open_unnamed(const char *path)
{
	char *name;
	int fd;

	fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd >= 0 ? fd : -errno;

	name = xasprintf("%s/guest-ram.XXXXXX", path);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	else
		unlink(name);
	free(name);
	return fd;
}

struct statfs_call {
	int fd;
	struct statfs fs;
};

static int ask_file_system(void *opaque)
{
	struct statfs_call *call = opaque;

	return fstatfs(call->fd, &call->fs) ? -errno : 0;
}

/* @created: the file did not exist before; the caller removes it again should anything fail. */
static int ram_open_file(struct ram_backend *ram, const struct ram_config *config, bool *created,
			 struct error **errp)
{
	struct statfs_call call;
	struct stat st;
	int fd, ret;

	if (!config->path)
		return error_set(errp, -EINVAL, "mem-path is missing");
	if (!path_stat(config->path, &st) && S_ISDIR(st.st_mode)) {
		fd = open_unnamed(config->path);
	} else {
		fd = open(config->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		*created = fd >= 0;
		if (fd < 0 && errno == EEXIST)
			fd = open(config->path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	if (fd < 0)
		return error_set_errno(errp, fd, "cannot open memory file '%s'", config->path);
	ram->fd = fd;

	call.fd = fd;
	ret = fd_stat(fd, &st) ? -errno : errand_run(ask_file_system, &call);
	if (ret)
		return error_set_errno(errp, ret, "memory file '%s'", config->path);
	if (!S_ISREG(st.st_mode))
		return error_set(errp, -EINVAL,
				 "memory file '%s' is neither a regular file nor a directory",
				 config->path);
	if ((unsigned long)call.fs.f_type == HUGETLBFS_MAGIC)
		ram->page_size = (uint64_t)call.fs.f_bsize;
	return 0;
}

/*
 * Gives an empty file its size; one that is longer already keeps its length. A shorter one is somebody's, and not what was meant: as
 * QEMU, nothing is done to it.
 */
static int ram_size_file(const struct ram_backend *ram, const struct ram_config *config,
			 const char *what, struct error **errp)
{
	char size[24], have[24];
	struct stat st;

	if (fd_stat(ram->fd, &st))
		return error_set_errno(errp, -errno, "%s", what);
	if (st.st_size && (uint64_t)st.st_size < ram->size)
		return error_set(errp, -EINVAL, "%s holds %s, less than the %s of memory; an empty file would grow", what,
				 format_size((uint64_t)st.st_size, have), format_size(ram->size, size));
	if ((uint64_t)st.st_size < ram->size && ftruncate(ram->fd, (off_t)ram->size))
		return error_set_errno(errp, -errno, "cannot make %s %s long", what,
				       format_size(ram->size, size));
	/* A peer that the descriptor is passed to (vhost-user) must not be able to cut it short:
	 * the next access would be a SIGBUS here. */
	if (config->kind == RAM_MEMFD &&
	    fcntl(ram->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		log_debug("memfd without seals: %s", strerror(errno));
	return 0;
}

static int ram_map(struct ram_mapping *map, const char *what, struct error **errp)
{
	struct ram_backend *ram = &map->ram;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t align = MAX((size_t)ram->page_size, ram->size >= THP_SIZE ? (size_t)THP_SIZE : page);
	int flags = MAP_FIXED | (ram->shared ? MAP_SHARED : MAP_PRIVATE);
	uintptr_t start;
	void *host;

	/* At least a page stays without access on both sides. */
	map->reserved_size = ram->size + align + 2 * page;
	if (map->reserved_size < ram->size)
		return ram_no_room(ram, -ENOMEM, "map", what, errp);
	host = mmap(NULL, map->reserved_size, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (host == MAP_FAILED)
		return ram_no_room(ram, -errno, "map", what, errp);
	map->reserved = host;

	start = ALIGN_UP((uintptr_t)host + page, align);
	if (ram->fd < 0)
		flags |= MAP_ANONYMOUS;
	host = mmap((void *)start, ram->size, PROT_READ | PROT_WRITE, flags, ram->fd, 0);
	if (host == MAP_FAILED)
		return ram_no_room(ram, -errno, "map", what, errp);
	ram->host = host;
	return 0;
}

/* Hints: failure costs speed or a larger core file, not the guest. */
static void ram_advise(const struct ram_backend *ram, bool dump)
{
	if (ram->page_size < THP_SIZE && ram->size >= THP_SIZE &&
	    madvise(ram->host, ram->size, MADV_HUGEPAGE))
		log_debug("no transparent huge pages for guest RAM: %s", strerror(errno));
	if (!dump && madvise(ram->host, ram->size, MADV_DONTDUMP))
		log_warn("guest RAM stays part of core dumps: %s", strerror(errno));
}

static int ram_setup(struct ram_mapping *map, const struct ram_config *config, const char *what,
		     bool *created, struct error **errp)
{
	struct ram_backend *ram = &map->ram;
	char size[24], page[24];
	int ret = 0;

	if (config->kind == RAM_MEMFD)
		ret = ram_open_memfd(ram, config, errp);
	else if (config->kind == RAM_FILE)
		ret = ram_open_file(ram, config, created, errp);
	if (ret)
		return ret;

	if (!ram->size || !IS_ALIGNED(ram->size, ram->page_size))
		return error_set(errp, -EINVAL, "%s: size %s is not a multiple of its page size %s",
				 what, format_size(ram->size, size),
				 format_size(ram->page_size, page));
	if (ram->fd >= 0) {
		ret = ram_size_file(ram, config, what, errp);
		if (ret)
			return ret;
	}
	ret = ram_map(map, what, errp);
	if (ret)
		return ret;
	ram_advise(ram, config->dump);
	ret = ram_bind(ram, config, errp);
	if (ret)
		return ret;
	if (config->prealloc)
		return ram_prealloc(ram, config->prealloc_threads, what, errp);
	return 0;
}

int ram_backend_new(const struct ram_config *config, struct ram_backend **ret, struct error **errp)
{
	struct ram_mapping *map = xcalloc(1, sizeof(*map));
	char *what = ram_describe(config);
	bool created = false;
	int code;

	map->ram.size = config->size;
	map->ram.shared = config->share;
	map->ram.dump = config->dump;
	map->ram.prealloc = config->prealloc;
	map->ram.policy = config->policy;
	map->ram.page_size = (uint64_t)sysconf(_SC_PAGESIZE);
	map->ram.fd = -1;

	code = ram_setup(map, config, what, &created, errp);
	if (code) {
		if (created)
			unlink(config->path);
		ram_backend_free(&map->ram);
	} else {
		*ret = &map->ram;
	}
	free(what);
	return code;
}

void ram_backend_free(struct ram_backend *ram)
{
	struct ram_mapping *map;

	if (!ram)
		return;
	map = container_of(ram, struct ram_mapping, ram);
	if (map->joined)
		ram_leave(map);
	else if (map->reserved)
		munmap(map->reserved, map->reserved_size);
	fd_close(&ram->fd);
	free(map);
}
