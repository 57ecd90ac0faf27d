// SPDX-License-Identifier: Apache-2.0
/* Namespaces: mounts, host name, System V objects always; network and processes when asked for; users for who is not root. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "jail.h"

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* Who is not root is itself in a user namespace of its own, with all rights over the other namespaces made there. */
static int enter_user_namespace(const struct jail *jail, struct error **errp)
{
	char map[64];
	int ret;

	if (unshare(CLONE_NEWUSER))
		return error_set_errno(errp, -errno, "a user namespace (needed when root does not start the jail)");
	snprintf(map, sizeof(map), "%u %u 1\n", jail->uid, jail->uid);
	ret = write_text("/proc/self/uid_map", map);
	if (!ret)
		ret = write_text("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1\n", jail->gid, jail->gid);
	if (!ret)
		ret = write_text("/proc/self/gid_map", map);
	if (ret)
		return error_set_errno(errp, ret, "the maps of the user namespace");
	jail_say(jail, "user namespace of user %u", jail->uid);
	return 0;
}

static int enter_network(const struct jail *jail, struct error **errp)
{
	int fd, ret;

	if (!jail->netns)
		return 0;
	if (!strcmp(jail->netns, "new"))
		return unshare(CLONE_NEWNET) ? error_set_errno(errp, -errno, "-netns new") : 0;
	fd = open(jail->netns, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ret = fd < 0 || setns(fd, CLONE_NEWNET) ? -errno : 0;
	if (ret)
		return error_set_errno(errp, ret, "-netns %s", jail->netns);
	close(fd);
	jail_say(jail, "network namespace %s", jail->netns);
	return 0;
}

int namespaces_enter(struct jail *jail, struct error **errp)
{
	int flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | (jail->new_pid ? CLONE_NEWPID : 0);
	int ret = 0;

	if (jail->own_userns)
		ret = enter_user_namespace(jail, errp);
	if (!ret)
		ret = enter_network(jail, errp);
	if (ret)
		return ret;
	if (unshare(flags))
		return error_set_errno(errp, -errno, "new namespaces");
	if (sethostname("jail", 4))
		return error_set_errno(errp, -errno, "the host name in the jail");
	/* What happens to mounts in here shall not be seen outside. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return error_set_errno(errp, -errno, "making mounts private");
	jail_say(jail, "namespaces: mount, uts, ipc%s", jail->new_pid ? ", pid" : "");
	return 0;
}
