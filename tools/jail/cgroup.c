// SPDX-License-Identifier: Apache-2.0
/* A control group (version 2) of the VMM's own: <mount>/stratovirt/<exec name>-<name>, with the limits of -cgroup. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "jail.h"
#include "util/macros.h"

#define PARENT "stratovirt"

static int open_mount(struct error **errp)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int fd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return error_set(errp, -ENOTSUP, "-cgroup: cgroup version 2 is mounted neither on %s nor on %s", places[0], places[1]);
}

static int write_file(int dir, const char *name, const char *value)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), ret = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	if (n < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* What ozone's users write for version 1. */
static const char *file_name(const char *key)
{
	static const char *const old[][2] = {
		{ "memory.limit_in_bytes", "memory.max" },
		{ "memory.soft_limit_in_bytes", "memory.high" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(old); i++)
		if (!strcmp(key, old[i][0]))
			return old[i][1];
	return key;
}

struct limit {
	char file[64], controller[32];
	const char *value;
};

/* "cpu.max=50000 100000": the controller is the first word of the file's name. */
static int parse(const char *text, struct limit *ret, struct error **errp)
{
	const char *equals = strchr(text, '='), *file;
	char key[64];
	size_t len;

	if (!equals || equals == text || !equals[1] || (size_t)(equals - text) >= sizeof(key))
		return error_set(errp, -EINVAL, "-cgroup %s: FILE=VALUE is needed, as in memory.max=512M", text);
	memcpy(key, text, (size_t)(equals - text));
	key[equals - text] = '\0';
	file = file_name(key);
	len = strcspn(file, ".");
	if (strchr(file, '/') || !file[len] || !len || len >= sizeof(ret->controller))
		return error_set(errp, -EINVAL, "-cgroup %s: '%s' is no file of a cgroup, as memory.max is", text, key);
	snprintf(ret->file, sizeof(ret->file), "%s", file);
	memcpy(ret->controller, file, len);
	ret->controller[len] = '\0';
	ret->value = equals + 1;
	return 0;
}

static int open_child(int dir, const char *name, bool make)
{
	int fd;

	if (make && mkdirat(dir, name, 0755) && errno != EEXIST)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static void own_name(const struct jail *jail, char *buf, size_t size)
{
	snprintf(buf, size, "%s-%s", jail->exec_name, jail->name);
}

/* A controller works in a group when each of its ancestors passes it on. */
static int enable(int mount, int parent, const struct limit *limit)
{
	char word[40];
	int ret;

	snprintf(word, sizeof(word), "+%s", limit->controller);
	ret = write_file(mount, "cgroup.subtree_control", word);
	return ret ? ret : write_file(parent, "cgroup.subtree_control", word);
}

static int fill(const struct jail *jail, int mount, int parent, int own, struct error **errp)
{
	struct limit limit;
	int ret;

	for (unsigned int i = 0; i < jail->cgroup_count; i++) {
		ret = parse(jail->cgroups[i], &limit, errp);
		if (ret)
			return ret;
		ret = enable(mount, parent, &limit);
		if (ret)
			return error_set_errno(errp, ret, "-cgroup %s: controller '%s' cannot be enabled", jail->cgroups[i],
					       limit.controller);
		ret = write_file(own, limit.file, limit.value);
		if (ret)
			return error_set_errno(errp, ret, "-cgroup %s", jail->cgroups[i]);
		jail_say(jail, "cgroup %s=%s", limit.file, limit.value);
	}
	ret = write_file(own, "cgroup.procs", "0");
	return ret ? error_set_errno(errp, ret, "-cgroup: entering the group") : 0;
}

int cgroup_enter(const struct jail *jail, struct error **errp)
{
	int mount, parent, own, ret;
	char name[520];

	if (!jail->cgroup_count)
		return 0;
	mount = open_mount(errp);
	if (mount < 0)
		return mount;
	own_name(jail, name, sizeof(name));
	parent = open_child(mount, PARENT, true);
	own = parent < 0 ? parent : open_child(parent, name, true);
	if (own < 0)
		ret = error_set_errno(errp, own, "-cgroup: making the group " PARENT "/%s", name);
	else
		ret = fill(jail, mount, parent, own, errp);
	if (own >= 0)
		close(own);
	if (parent >= 0)
		close(parent);
	close(mount);
	return ret;
}

int cgroup_remove(const struct jail *jail, struct error **errp)
{
	struct error *ignored = NULL;
	char name[520];
	int mount, parent, ret = 0;

	mount = open_mount(&ignored);
	error_free(ignored);
	if (mount < 0) /* then there is none of ours */
		return 0;
	own_name(jail, name, sizeof(name));
	parent = open_child(mount, PARENT, false);
	if (parent >= 0 && unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT)
		ret = error_set_errno(errp, -errno, "-clean-resource: cgroup " PARENT "/%s", name);
	if (parent >= 0)
		close(parent);
	close(mount);
	return ret;
}
