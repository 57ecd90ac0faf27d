// SPDX-License-Identifier: Apache-2.0
/*
 * Paths. Every one is opened once, by openat2(2) without following symbolic links, and only its descriptor is used from then on: whoever can
 * rename things between two steps gains nothing.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail.h"

static int open_plain(int dir, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)flags | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int path_error(struct error **errp, int err, const char *option, const char *path)
{
	if (err == -ELOOP)
		return error_set(errp, err, "-%s %s: there is a symbolic link on the way; name the real path", option, path);
	return error_set_errno(errp, err, "-%s %s", option, path);
}

/* The kernel finds the interpreter of a dynamic program in the new root, where it is not. */
static int check_static(int fd, const char *path, struct error **errp)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(segment))
		return error_set(errp, -ENOEXEC, "-exec-file %s is no program of this machine", path);
	for (unsigned int i = 0; i < header.e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment), (off_t)(header.e_phoff + i * sizeof(segment))) != sizeof(segment))
			return error_set(errp, -ENOEXEC, "-exec-file %s is damaged", path);
		if (segment.p_type == PT_INTERP)
			return error_set(errp, -ENOEXEC, "-exec-file %s needs shared libraries, which the jail does not have: make STATIC=1",
					 path);
	}
	return 0;
}

static const char *source_path(const char *source)
{
	return strncmp(source, "ro:", 3) ? source : source + 3;
}

int paths_open(struct jail *jail, struct error **errp)
{
	struct stat st;
	int ret;

	jail->exec_fd = open_plain(AT_FDCWD, jail->exec_file, O_RDONLY);
	if (jail->exec_fd < 0)
		return path_error(errp, jail->exec_fd, "exec-file", jail->exec_file);
	if (fstat(jail->exec_fd, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return error_set(errp, -EACCES, "-exec-file %s is no executable file", jail->exec_file);
	ret = check_static(jail->exec_fd, jail->exec_file, errp);
	for (unsigned int i = 0; !ret && i < jail->source_count; i++) {
		const char *path = source_path(jail->sources[i]);

		jail->source_fds[i] = open_plain(AT_FDCWD, path, O_PATH);
		if (jail->source_fds[i] < 0)
			ret = path_error(errp, jail->source_fds[i], "source", path);
	}
	return ret;
}

/* Directories that others may write to must not be on the way: what is in them could be exchanged. */
static int check_owner(int fd, const char *path, struct error **errp)
{
	struct stat st;

	if (fstat(fd, &st))
		return error_set_errno(errp, -errno, "-base %s", path);
	if ((st.st_uid && st.st_uid != geteuid()) || (st.st_mode & 022))
		return error_set(errp, -EPERM, "-base %s: it must belong to root or to you, and nobody else may write to it", path);
	return 0;
}

/* The base directory and below it the program's, made when absent. */
static int open_parents(struct jail *jail, bool make, struct error **errp)
{
	int ret;

	if (make && mkdir(jail->base, 0755) && errno != EEXIST)
		return error_set_errno(errp, -errno, "-base %s", jail->base);
	jail->base_fd = open_plain(AT_FDCWD, jail->base, O_RDONLY | O_DIRECTORY);
	if (jail->base_fd < 0)
		return path_error(errp, jail->base_fd, "base", jail->base);
	ret = check_owner(jail->base_fd, jail->base, errp);
	if (ret)
		return ret;
	if (make && mkdirat(jail->base_fd, jail->exec_name, 0755) && errno != EEXIST)
		return error_set_errno(errp, -errno, "%s/%s", jail->base, jail->exec_name);
	jail->exec_dir_fd = open_plain(jail->base_fd, jail->exec_name, O_RDONLY | O_DIRECTORY);
	if (jail->exec_dir_fd < 0)
		return path_error(errp, jail->exec_dir_fd, "base", jail->base);
	return check_owner(jail->exec_dir_fd, jail->exec_name, errp);
}

int paths_create(struct jail *jail, struct error **errp)
{
	int ret;

	ret = open_parents(jail, true, errp);
	if (ret)
		return ret;
	if (mkdirat(jail->exec_dir_fd, jail->name, 0700)) {
		if (errno == EEXIST)
			return error_set(errp, -EEXIST, "-name %s: %s/%s/%s is there already; -clean-resource removes it", jail->name,
					 jail->base, jail->exec_name, jail->name);
		return error_set_errno(errp, -errno, "%s/%s/%s", jail->base, jail->exec_name, jail->name);
	}
	jail->dir_fd = open_plain(jail->exec_dir_fd, jail->name, O_RDONLY | O_DIRECTORY);
	if (jail->dir_fd < 0 || fchown(jail->dir_fd, jail->uid, jail->gid))
		return error_set_errno(errp, -errno, "%s/%s/%s", jail->base, jail->exec_name, jail->name);
	jail_say(jail, "directory %s/%s/%s", jail->base, jail->exec_name, jail->name);
	return 0;
}

#define DEPTH_MAX 8

/* Everything in @dir, which is closed. Symbolic links are removed, not followed; nothing on another file system is touched. */
static int remove_content(int dir, dev_t dev, unsigned int depth)
{
	DIR *stream = fdopendir(dir);
	struct dirent *entry;
	struct stat st;
	int ret = 0;

	if (!stream) {
		ret = -errno;
		close(dir);
		return ret;
	}
	while (!ret && (entry = readdir(stream))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(dirfd(stream), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) {
			ret = -errno;
		} else if (!S_ISDIR(st.st_mode)) {
			ret = unlinkat(dirfd(stream), entry->d_name, 0) ? -errno : 0;
		} else if (st.st_dev != dev || depth == DEPTH_MAX) {
			ret = -EBUSY;
		} else {
			int sub = open_plain(dirfd(stream), entry->d_name, O_RDONLY | O_DIRECTORY);

			ret = sub < 0 ? sub : remove_content(sub, dev, depth + 1);
			if (!ret && unlinkat(dirfd(stream), entry->d_name, AT_REMOVEDIR))
				ret = -errno;
		}
	}
	closedir(stream);
	return ret;
}

int paths_remove(struct jail *jail, struct error **errp)
{
	struct stat st;
	int ret, dir;

	ret = open_parents(jail, false, errp);
	if (!ret) {
		dir = open_plain(jail->exec_dir_fd, jail->name, O_RDONLY | O_DIRECTORY);
		if (dir < 0)
			ret = dir;
		else
			ret = fstat(dir, &st) ? -errno : remove_content(dir, st.st_dev, 0);
		if (!ret && unlinkat(jail->exec_dir_fd, jail->name, AT_REMOVEDIR))
			ret = -errno;
		if (ret)
			error_set_errno(errp, ret, "-clean-resource: %s/%s/%s", jail->base, jail->exec_name, jail->name);
	}
	if (ret == -ENOENT) {
		error_free(*errp);
		*errp = NULL;
		return 0;
	}
	/* The last one of this program takes its directory with it. */
	if (!ret)
		(void)unlinkat(jail->base_fd, jail->exec_name, AT_REMOVEDIR);
	return ret;
}
