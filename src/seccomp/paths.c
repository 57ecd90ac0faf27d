// SPDX-License-Identifier: Apache-2.0
/*
 * Files, by Landlock (Documentation/userspace-api/landlock.rst). A VM that nobody can plug anything into has opened all its files before its guest
 * runs. What is left is small: a log that moves, files of its own that go with it. With a monitor any path may be named later, and
 * there are no rules.
 */
#include "paths.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/macros.h"

#define LOG_RIGHTS (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG)
#define OWN_RIGHTS LANDLOCK_ACCESS_FS_REMOVE_FILE

/* All rights on files that a version of the interface knows: one more bit each, but for the fourth, which is about networks. */
static uint64_t rights_of_version(long version)
{
	static const unsigned int bits[] = { 0, 13, 14, 15, 15, 16 };

	return (UINT64_C(1) << bits[MIN((size_t)version, ARRAY_SIZE(bits) - 1)]) - 1;
}

/* @rights on what lies in the directory of @path. A directory that is gone needs no rule. */
static int allow_beside(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = rights };
	char dir[VM_PATH_MAX + 1] = ".";
	const char *slash = strrchr(path, '/');
	long ret;

	if (slash && (size_t)(slash - path) >= sizeof(dir))
		return -ENAMETOOLONG;
	if (slash) {
		size_t len = MAX((size_t)(slash - path), (size_t)1); /* "/file" lies in "/" */

		memcpy(dir, path, len);
		dir[len] = '\0';
	}
	rule.parent_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	ret = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ? -errno : 0;
	close(rule.parent_fd);
	return (int)ret;
}

/* Sockets of back ends and devices are removed with them. */
static int allow_sockets(int ruleset, const struct list *all)
{
	static const char *const keys[] = { "path", "uds-path" };
	const struct opts *opts;
	int ret = 0;

	list_for_each(opts, all, node) {
		for (size_t i = 0; !ret && i < ARRAY_SIZE(keys); i++) {
			const char *path = opts_get(opts, keys[i]);

			if (path)
				ret = allow_beside(ruleset, path, OWN_RIGHTS);
		}
	}
	return ret;
}

int paths_ruleset(const struct vm_config *config)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { 0 };
	int ruleset, ret = 0;

	if (version < 1)
		return -EOPNOTSUPP;
	attr.handled_access_fs = rights_of_version(version);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	if (ruleset < 0)
		return -errno;
	if (config->log_path)
		ret = allow_beside(ruleset, config->log_path, LOG_RIGHTS);
	if (!ret && config->pidfile)
		ret = allow_beside(ruleset, config->pidfile, OWN_RIGHTS);
	if (!ret)
		ret = allow_sockets(ruleset, &config->chardevs);
	if (!ret)
		ret = allow_sockets(ruleset, &config->serials);
	if (!ret)
		ret = allow_sockets(ruleset, &config->devices);
	if (!ret && config->mod_test)
		ret = allow_beside(ruleset, config->mod_test, OWN_RIGHTS);
	if (!ret && config->qtest && opts_get(config->qtest, "path"))
		ret = allow_beside(ruleset, opts_get(config->qtest, "path"), OWN_RIGHTS);
	if (ret)
		fd_close(&ruleset);
	return ret ? ret : ruleset;
}

int paths_restrict(int ruleset)
{
	return syscall(SYS_landlock_restrict_self, ruleset, 0) ? -errno : 0;
}
