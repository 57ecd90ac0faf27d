// SPDX-License-Identifier: Apache-2.0
/*
 * What a process gives up for good before its guest runs. Each thread has its own capabilities and its own no_new_privs, so that part
 * is done by every thread on itself (privileges_drop_thread()); directory, user and groups are the process's.
 */
#define LOG_MODULE "seccomp"

#include "privileges.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/log.h"
#include "util/macros.h"
#include "util/parse.h"

#define GROUPS_MAX 64

struct identity {
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MAX]; /* further ones */
	size_t group_count;
};

/* "UID:GID" */
static bool parse_numbers(const char *text, struct identity *ret)
{
	const char *colon = strchr(text, ':');
	char number[24];
	uint64_t uid, gid;

	if (!colon || (size_t)(colon - text) >= sizeof(number))
		return false;
	memcpy(number, text, (size_t)(colon - text));
	number[colon - text] = '\0';
	if (parse_u64(number, &uid) || parse_u64(colon + 1, &gid) || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return false;
	*ret = (struct identity){ .uid = (uid_t)uid, .gid = (gid_t)gid };
	return true;
}

/* The host's own files only: name services bring libraries into the process, and a static program cannot ask them. */
static bool find_user(const char *name, struct identity *ret)
{
	const struct passwd *passwd = NULL;
	FILE *file = fopen("/etc/passwd", "re");

	while (file && (passwd = fgetpwent(file)) && strcmp(passwd->pw_name, name))
		;
	if (passwd)
		*ret = (struct identity){ .uid = passwd->pw_uid, .gid = passwd->pw_gid };
	if (file)
		fclose(file);
	return passwd;
}

static void find_groups(const char *name, struct identity *identity)
{
	const struct group *group;
	FILE *file = fopen("/etc/group", "re");

	while (file && (group = fgetgrent(file)))
		for (char **member = group->gr_mem; *member; member++)
			if (!strcmp(*member, name) && identity->group_count < GROUPS_MAX)
				identity->groups[identity->group_count++] = group->gr_gid;
	if (file)
		fclose(file);
}

/* "USER" or "UID:GID". Names are looked up before the root directory changes. */
static int identity_parse(const char *text, struct identity *ret, struct error **errp)
{
	if (parse_numbers(text, ret))
		return 0;
	if (!find_user(text, ret))
		return error_set(errp, -ENOENT,
				 "-runas %s: no such user in /etc/passwd; USER or UID:GID with numbers is needed", text);
	find_groups(text, ret);
	return 0;
}

static int become(const struct identity *identity, const char *text, struct error **errp)
{
	if (setgroups(identity->group_count, identity->groups) ||
	    setresgid(identity->gid, identity->gid, identity->gid) ||
	    setresuid(identity->uid, identity->uid, identity->uid))
		return error_set_errno(errp, -errno, "-runas %s", text);
	/* The way back must be gone: a kernel or a security module might have kept it. */
	if (identity->uid && !setuid(0))
		return error_set(errp, -EPERM, "-runas %s: the process could become root again", text);
	return 0;
}

static int change_root(const char *dir, struct error **errp)
{
	if (chdir(dir) || chroot(".") || chdir("/"))
		return error_set_errno(errp, -errno, "-chroot %s", dir);
	return 0;
}

#define FDS_WITHOUT_PROC 1024

/*
 * What was opened here, or taken over because an option names it, has FD_CLOEXEC set. What has not merely came along with the
 * process.
 */
static void close_unnamed(int fd)
{
	int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : -1;

	if (flags >= 0 && !(flags & FD_CLOEXEC)) {
		log_info("descriptor %d, which no option names, is closed", fd);
		close(fd);
	}
}

static void close_inherited(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	if (!dir) {
		for (int fd = 0; fd < FDS_WITHOUT_PROC; fd++)
			close_unnamed(fd);
		return;
	}
	while ((entry = readdir(dir)))
		close_unnamed(atoi(entry->d_name)); /* 0 for "." and ".." */
	closedir(dir);
}

int privileges_drop(const struct sandbox *sandbox, struct error **errp)
{
	struct identity identity = { 0 };
	int ret = 0;

	close_inherited();
	if (sandbox->runas)
		ret = identity_parse(sandbox->runas, &identity, errp);
	if (!ret && sandbox->chroot)
		ret = change_root(sandbox->chroot, errp);
	if (!ret && sandbox->runas)
		ret = become(&identity, sandbox->runas, errp);
	/* setresuid() leaves the process undumpable; a process that did not change must ask for it. */
	if (!ret && prctl(PR_SET_DUMPABLE, sandbox->dumpable ? 1 : 0))
		ret = error_set_errno(errp, -errno, "PR_SET_DUMPABLE");
	return ret;
}

int privileges_drop_thread(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[2] = { { 0 } }, data[2] = { { 0 } };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* A new thread keeps none, and its parent's filter need not allow it to look. */
	if (keep && syscall(SYS_capget, &header, have))
		return -errno;
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = have[i].permitted & (uint32_t)(keep >> (32 * i));
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}
