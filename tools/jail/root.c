// SPDX-License-Identifier: Apache-2.0
/*
 * The new root directory: the jail's own, with a /dev of few nodes and the sources. By descriptors and the mount API of Linux 5.2, so that no path
 * is looked up twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "jail.h"
#include "util/macros.h"

/* What VMs need; -device adds to it. One that the host does not have is left out. */
static const char *const devices[] = { "kvm", "net/tun", "vhost-net", "vhost-vsock", "null", "urandom" };

static int set_attributes(int tree, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes, .propagation = MS_PRIVATE };

	return mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) ? -errno : 0;
}

/* A mount of what @fd is, attached to nothing yet. */
static int clone_tree(int fd, uint64_t attributes)
{
	int tree = open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), ret;

	if (tree < 0)
		return -errno;
	ret = set_attributes(tree, attributes);
	if (ret) {
		close(tree);
		return ret;
	}
	return tree;
}

/* Shows @fd as @name in @dir, under a file or directory that is made for it. */
static int show(int fd, int dir, const char *name, uint64_t attributes)
{
	struct stat st;
	int tree, made, ret;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		if (mkdirat(dir, name, 0755))
			return -errno;
	} else {
		made = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (made < 0)
			return -errno;
		close(made);
	}
	tree = clone_tree(fd, attributes);
	if (tree < 0)
		return tree;
	ret = move_mount(tree, "", dir, name, MOVE_MOUNT_F_EMPTY_PATH) ? -errno : 0;
	close(tree);
	return ret;
}

/* Root makes a node that is the VMM's; who is not root can only show the host's, with its owner and permissions. */
static int add_device(const struct jail *jail, int dev, const char *name, bool needed, struct error **errp)
{
	char path[256], *slash;
	struct stat st;
	int fd, ret;

	if (snprintf(path, sizeof(path), "/dev/%s", name) >= (int)sizeof(path) || strstr(name, ".."))
		return error_set(errp, -EINVAL, "-device %s: a path below /dev is needed", name);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))) {
		if (needed)
			return error_set_errno(errp, fd < 0 ? -errno : -ENODEV, "-device %s", name);
		jail_say(jail, "no /dev/%s here", name);
		return 0;
	}
	slash = strrchr(path + 5, '/');
	if (slash) {
		*slash = '\0';
		if (mkdirat(dev, path + 5, 0755) && errno != EEXIST)
			return error_set_errno(errp, -errno, "/dev/%s in the jail", path + 5);
		*slash = '/';
	}
	if (jail->own_userns)
		ret = show(fd, dev, path + 5, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	else if (mknodat(dev, path + 5, (st.st_mode & S_IFMT) | 0600, st.st_rdev) ||
		 fchownat(dev, path + 5, jail->uid, jail->gid, AT_SYMLINK_NOFOLLOW))
		ret = -errno;
	else
		ret = 0;
	close(fd);
	if (ret)
		return error_set_errno(errp, ret, "/dev/%s in the jail", name);
	jail_say(jail, "device /dev/%s (%u:%u)", name, major(st.st_rdev), minor(st.st_rdev));
	return 0;
}

static int make_dev(const struct jail *jail, int root, struct error **errp)
{
	int fs, dev, ret = 0;

	fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", "64k", 0) || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0755", 0) ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return error_set_errno(errp, -errno, "the file system of /dev");
	dev = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	close(fs);
	if (dev < 0 || mkdirat(root, "dev", 0755) || move_mount(dev, "", root, "dev", MOVE_MOUNT_F_EMPTY_PATH))
		return error_set_errno(errp, -errno, "/dev in the jail");
	for (size_t i = 0; !ret && i < ARRAY_SIZE(devices); i++)
		ret = add_device(jail, dev, devices[i], false, errp);
	for (unsigned int i = 0; !ret && i < jail->device_count; i++)
		ret = add_device(jail, dev, jail->devices[i], true, errp);
	close(dev);
	return ret;
}

static int show_sources(const struct jail *jail, int root, struct error **errp)
{
	for (unsigned int i = 0; i < jail->source_count; i++) {
		const char *text = jail->sources[i], *name = strrchr(text, '/');
		uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
		int ret;

		if (!strncmp(text, "ro:", 3)) {
			attributes |= MOUNT_ATTR_RDONLY;
			text += 3;
		}
		name = name ? name + 1 : text;
		if (!*name || !strcmp(name, "dev") || name[0] == '.')
			return error_set(errp, -EINVAL, "-source %s: its last name cannot be shown in the jail", text);
		ret = show(jail->source_fds[i], root, name, attributes);
		if (ret)
			return error_set_errno(errp, ret, "-source %s", text);
		jail_say(jail, "source /%s%s", name, attributes & MOUNT_ATTR_RDONLY ? " (read-only)" : "");
	}
	return 0;
}

int root_change(struct jail *jail, struct error **errp)
{
	int root, ret;

	root = clone_tree(jail->dir_fd, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (root < 0)
		return error_set_errno(errp, root, "the root directory of the jail");
	/* On itself: a root directory has to be a mount. */
	if (move_mount(root, "", jail->dir_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
		return error_set_errno(errp, -errno, "the root directory of the jail");
	ret = make_dev(jail, root, errp);
	if (!ret)
		ret = show_sources(jail, root, errp);
	if (ret)
		return ret;
	/* pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, and goes. */
	if (fchdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return error_set_errno(errp, -errno, "changing the root directory");
	close(root);
	jail_say(jail, "root directory");
	return 0;
}
