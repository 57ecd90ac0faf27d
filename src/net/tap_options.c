// SPDX-License-Identifier: Apache-2.0
/* -netdev tap: its options, and descriptors that come from outside. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fd_store.h"
#include "util/parse.h"

#define VHOST_DEVICE "/dev/vhost-net"

/* "fd" and "fds", "vhostfd" and "vhostfds" are names for the same. */
static const struct property tap_props[] = {
	PROP_STRING("ifname", struct netdev_tap, ifname, 1, 15, NULL,
		    "interface; created if it does not exist"),
	PROP_STRING("path", struct netdev_tap, path, 1, 4095, NULL,
		    "character device of a macvtap (/dev/tapN)"),
	PROP_STRING("fd", struct netdev_tap, fd, 1, 1024, NULL,
		    "open tap: a descriptor's number, or its name given by getfd"),
	PROP_STRING("fds", struct netdev_tap, fds, 1, 1024, NULL, "one descriptor a queue: A:B:C"),
	PROP_UINT(16, "queues", struct netdev_tap, queues, 1, NETDEV_QUEUES_MAX, 1,
		  "pairs of queues"),
	PROP_BOOL("vhost", struct netdev_tap, netdev.vhost, false,
		  "the kernel moves the frames (vhost-net)"),
	PROP_STRING("vhostfd", struct netdev_tap, vhostfd, 1, 1024, NULL, "open " VHOST_DEVICE),
	PROP_STRING("vhostfds", struct netdev_tap, vhostfds, 1, 1024, NULL, "one a queue: A:B:C"),
	PROP_STRING("script", struct netdev_tap, script, 1, 4095, NULL, "no: scripts are not run"),
	PROP_STRING("downscript", struct netdev_tap, downscript, 1, 4095, NULL,
		    "no: scripts are not run"),
	PROP_END,
};

/* One descriptor by number or name; -errno. *@named: it came out of the store. */
static int find_fd(const char *key, const char *word, bool *named, struct error **errp)
{
	uint64_t number;
	int fd;

	*named = false;
	if (!parse_u64(word, &number)) {
		if (number > INT32_MAX || fcntl((int)number, F_GETFD) < 0)
			return error_set(errp, -EBADF, "%s: descriptor %s is not open", key, word);
		return (int)number;
	}
	fd = fd_store_take(word);
	if (fd < 0)
		return error_set(errp, fd, "%s: no descriptor was given the name '%s'", key, word);
	*named = true;
	return fd;
}

struct fd_list {
	int fds[NETDEV_QUEUES_MAX];
	bool named[NETDEV_QUEUES_MAX];
	unsigned int count;
};

static int add_fd(struct fd_list *list, const char *key, const char *word, struct error **errp)
{
	int fd;

	if (list->count == NETDEV_QUEUES_MAX)
		return error_set(errp, -ERANGE, "%s: more than %d descriptors", key,
				 NETDEV_QUEUES_MAX);
	fd = find_fd(key, word, &list->named[list->count], errp);
	if (fd < 0)
		return fd;
	for (unsigned int i = 0; i < list->count; i++)
		if (list->fds[i] == fd)
			return error_set(errp, -EINVAL, "%s: descriptor %d is given twice", key,
					 fd);
	list->fds[list->count++] = fd;
	return 0;
}

static int parse_fds(struct fd_list *list, const char *key, const char *value, struct error **errp)
{
	char *copy = xstrdup(value), *rest = copy, *word;
	int ret = 0;

	while (!ret && (word = strsep(&rest, ":")))
		ret = add_fd(list, key, word, errp);
	free(copy);
	return ret;
}

/* On failure those named are closed: nobody else knows them any more. */
static void drop_fds(struct fd_list *list)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (list->named[i])
			close(list->fds[i]);
	list->count = 0;
}

static int either(const char *one, const char *many, const char *key, const char **value,
		  struct error **errp)
{
	if (one && many)
		return error_set(errp, -EINVAL, "%s and %ss exclude each other", key, key);
	*value = one ? one : many;
	return 0;
}

static void own_fds(int *to, const struct fd_list *list)
{
	for (unsigned int i = 0; i < list->count; i++) {
		to[i] = list->fds[i];
		(void)fcntl(to[i], F_SETFD, FD_CLOEXEC);
	}
}

static int open_vhost(struct netdev *netdev, struct error **errp)
{
	for (unsigned int i = 0; i < netdev->queue_count; i++) {
		netdev->vhost_fds[i] = open(VHOST_DEVICE, O_RDWR | O_CLOEXEC);
		if (netdev->vhost_fds[i] < 0)
			return error_set_errno(errp, -errno, "vhost=on: %s", VHOST_DEVICE);
	}
	return 0;
}

static int check_scripts(const struct netdev_tap *tap, struct error **errp)
{
	const struct {
		const char *key, *value;
	} given[] = { { "script", tap->script }, { "downscript", tap->downscript } };

	for (unsigned int i = 0; i < ARRAY_SIZE(given); i++)
		if (given[i].value && strcmp(given[i].value, "no"))
			return error_set(errp, -ENOTSUP,
					 "%s=%s: scripts are not run; only 'no' is accepted",
					 given[i].key, given[i].value);
	return 0;
}

/* @fds and @vhost are empty, and stay with the caller until all is well. */
static int open_all(struct netdev_tap *tap, const struct opts *opts, struct fd_list *fds,
		    struct fd_list *vhost, struct error **errp)
{
	struct netdev *netdev = &tap->netdev;
	const char *fd_value = NULL, *vhost_value = NULL;
	int ret;

	ret = either(tap->fd, tap->fds, "fd", &fd_value, errp);
	if (!ret)
		ret = either(tap->vhostfd, tap->vhostfds, "vhostfd", &vhost_value, errp);
	if (!ret)
		ret = check_scripts(tap, errp);
	if (ret)
		return ret;
	if (vhost_value && !netdev->vhost)
		return error_set(errp, -EINVAL, "vhostfd needs vhost=on");
	if (!fd_value && !tap->ifname && !tap->path)
		return error_set(errp, -EINVAL, "one of ifname, path and fd is required");
	if (fd_value) {
		/* Whoever passes descriptors may name the interface as well; they decide. */
		ret = parse_fds(fds, tap->fd ? "fd" : "fds", fd_value, errp);
		if (ret)
			return ret;
		if (opts_get(opts, "queues") && tap->queues != fds->count)
			return error_set(errp, -EINVAL, "queues=%u: %u descriptors are given",
					 tap->queues, fds->count);
		memcpy(netdev->fds, fds->fds, fds->count * sizeof(fds->fds[0]));
		netdev->queue_count = fds->count;
		ret = tap_take(tap, errp);
	} else {
		ret = tap_open(tap, errp);
	}
	if (!ret && vhost_value) {
		ret = parse_fds(vhost, tap->vhostfd ? "vhostfd" : "vhostfds", vhost_value, errp);
		if (!ret && vhost->count != netdev->queue_count)
			ret = error_set(errp, -EINVAL, "%u vhost descriptors for %u queues",
					vhost->count, netdev->queue_count);
	} else if (!ret && netdev->vhost) {
		ret = open_vhost(netdev, errp);
	}
	return ret;
}

static int tap_kind_open(struct netdev *netdev, const struct opts *opts, struct error **errp)
{
	struct netdev_tap *tap = container_of(netdev, struct netdev_tap, netdev);
	struct fd_list fds = { .count = 0 }, vhost = { .count = 0 };
	int ret;

	ret = open_all(tap, opts, &fds, &vhost, errp);
	if (ret) {
		/* What came from outside is not this netdev's to close. */
		if (fds.count)
			for (unsigned int i = 0; i < NETDEV_QUEUES_MAX; i++)
				netdev->fds[i] = -1;
		drop_fds(&fds);
		drop_fds(&vhost);
		return ret;
	}
	if (fds.count)
		own_fds(netdev->fds, &fds);
	own_fds(netdev->vhost_fds, &vhost);
	return 0;
}

const struct netdev_kind netdev_kind_tap = {
	.name = "tap",
	.summary = "a tap or macvtap interface of the host",
	.instance_size = sizeof(struct netdev_tap),
	.props = tap_props,
	.ops = &tap_ops,
	.open = tap_kind_open,
};
