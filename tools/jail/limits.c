// SPDX-License-Identifier: Apache-2.0
/* Resource limits (setrlimit(2)), and which open descriptors pass to the VMM. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jail.h"
#include "util/macros.h"
#include "util/parse.h"

static const struct {
	const char *name;
	int resource;
} resources[] = {
	{ "as", RLIMIT_AS },	       { "core", RLIMIT_CORE },	    { "cpu", RLIMIT_CPU },
	{ "data", RLIMIT_DATA },       { "fsize", RLIMIT_FSIZE },   { "locks", RLIMIT_LOCKS },
	{ "memlock", RLIMIT_MEMLOCK }, { "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
	{ "nofile", RLIMIT_NOFILE },   { "nproc", RLIMIT_NPROC },   { "rtprio", RLIMIT_RTPRIO },
	{ "rttime", RLIMIT_RTTIME },   { "sigpending", RLIMIT_SIGPENDING }, { "stack", RLIMIT_STACK },
};

static int parse_value(const char *text, rlim_t *ret)
{
	uint64_t number;

	if (!strcmp(text, "unlimited")) {
		*ret = RLIM_INFINITY;
		return 0;
	}
	if (parse_u64(text, &number))
		return -EINVAL;
	*ret = number;
	return 0;
}

static int set_one(const struct jail *jail, const char *text, struct error **errp)
{
	char copy[128], *value, *hard;
	struct rlimit limit;

	snprintf(copy, sizeof(copy), "%s", text);
	value = strchr(copy, '=');
	if (!value || strlen(text) >= sizeof(copy))
		return error_set(errp, -EINVAL, "-rlimit %s: NAME=SOFT[:HARD] is needed", text);
	*value++ = '\0';
	hard = strchr(value, ':');
	if (hard)
		*hard++ = '\0';
	if (parse_value(value, &limit.rlim_cur) || parse_value(hard ? hard : value, &limit.rlim_max))
		return error_set(errp, -EINVAL, "-rlimit %s: a number or 'unlimited' is needed", text);
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		if (strcmp(copy, resources[i].name))
			continue;
		if (setrlimit((__rlimit_resource_t)resources[i].resource, &limit))
			return error_set_errno(errp, -errno, "-rlimit %s", text);
		jail_say(jail, "limit %s", text);
		return 0;
	}
	return error_set(errp, -EINVAL, "-rlimit %s: no such limit; nofile, memlock, fsize, nproc, core, as ... are there", text);
}

int limits_set(const struct jail *jail, struct error **errp)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < jail->rlimit_count; i++)
		ret = set_one(jail, jail->rlimits[i], errp);
	return ret;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int descriptors_close(const struct jail *jail, struct error **errp)
{
	int keep[JAIL_LIST_MAX];
	unsigned int from = 3;

	memcpy(keep, jail->keep_fds, sizeof(keep));
	qsort(keep, jail->keep_fd_count, sizeof(keep[0]), by_number);
	for (unsigned int i = 0; i <= jail->keep_fd_count; i++) {
		unsigned int to = i < jail->keep_fd_count ? (unsigned int)keep[i] - 1 : UINT32_MAX;

		if (from <= to && syscall(SYS_close_range, from, to, 0))
			return error_set_errno(errp, -errno, "closing inherited descriptors");
		from = to + 2;
	}
	return 0;
}
