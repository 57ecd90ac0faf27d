// SPDX-License-Identifier: Apache-2.0
/* Network back ends: the table of kinds, their names, and who uses them. */
#include "net/netdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/parse.h"

static const struct netdev_kind *const kinds[] = { &netdev_kind_tap, &netdev_kind_stream, &netdev_kind_vhost_user };

static const struct netdev_kind *find_kind(const char *name, struct error **errp)
{
	const char *names[ARRAY_SIZE(kinds) + 1] = { NULL };
	const char *near;

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (name && !strcmp(name, kinds[i]->name))
			return kinds[i];
		names[i] = kinds[i]->name;
	}
	near = name ? nearest_name(name, names) : NULL;
	error_set(errp, -ENOTSUP,
		  "-netdev %s: unknown type%s%s%s; there are 'tap', 'stream' and 'vhost-user'",
		  name ? name : "", near ? "; did you mean '" : "", near ? near : "",
		  near ? "'" : "");
	return NULL;
}

void netdev_help(FILE *out)
{
	fprintf(out, "Network back ends (-netdev TYPE,id=ID,...):\n");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		fprintf(out, "%s: %s\n", kinds[i]->name, kinds[i]->summary);
		property_help(kinds[i]->props, out);
	}
}

static void release(struct netdev *netdev)
{
	for (unsigned int i = 0; i < NETDEV_QUEUES_MAX; i++) {
		fd_close(&netdev->fds[i]);
		fd_close(&netdev->vhost_fds[i]);
	}
	property_release(netdev->kind->props, netdev);
	free(netdev->id);
	free(netdev);
}

static int make(struct netdev *netdev, const struct opts *opts, struct link_scope *scope,
		struct error **errp)
{
	const char *id = opts_get(opts, "id");
	int ret;

	ret = id_check(id, errp);
	if (ret)
		return ret;
	if (link_scope_find(scope, LINK_NETDEV, id))
		return error_set(errp, -EEXIST, "netdev id '%s' is already used", id);
	netdev->id = xstrdup(id);
	ret = netdev->kind->open(netdev, opts, errp);
	if (ret)
		return ret;
	ret = link_scope_add(scope, LINK_NETDEV, id, netdev, errp);
	if (ret && netdev->kind->close)
		netdev->kind->close(netdev);
	return ret;
}

int netdev_new(const struct opts *opts, struct loop *loop, struct link_scope *scope, struct netdev **ret,
	       struct error **errp)
{
	static const char *const skip[] = { "type", "id", NULL };
	const struct netdev_kind *kind = find_kind(opts_get(opts, "type"), errp);
	struct netdev *netdev;
	char *what;
	int err;

	if (!kind)
		return -ENOTSUP;
	netdev = xcalloc(1, kind->instance_size);
	netdev->kind = kind;
	netdev->ops = kind->ops;
	netdev->scope = scope;
	netdev->loop = loop;
	netdev->link_up = true;
	for (unsigned int i = 0; i < NETDEV_QUEUES_MAX; i++)
		netdev->fds[i] = netdev->vhost_fds[i] = -1;
	err = property_apply(kind->props, netdev, opts, skip, scope, errp);
	if (err) {
		free(netdev);
		return err;
	}
	err = make(netdev, opts, scope, errp);
	if (err) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
		release(netdev);
		return err;
	}
	*ret = netdev;
	return 0;
}

void netdev_free(struct netdev *netdev)
{
	if (!netdev)
		return;
	link_scope_del(netdev->scope, LINK_NETDEV, netdev->id);
	if (netdev->kind->close)
		netdev->kind->close(netdev);
	release(netdev);
}

const char *netdev_kind_name(const struct netdev *netdev)
{
	return netdev->kind->name;
}

bool netdev_in_use(const struct netdev *netdev)
{
	return netdev->user;
}

int netdev_attach(struct netdev *netdev, struct netdev_user *user, struct error **errp)
{
	if (netdev->user)
		return error_set(errp, -EBUSY, "netdev '%s' is in use by another device",
				 netdev->id);
	netdev->user = user;
	return 0;
}

void netdev_detach(struct netdev *netdev)
{
	netdev->user = NULL;
}

void netdev_set_link(struct netdev *netdev, bool up)
{
	netdev->link_up = up;
	if (netdev->user)
		netdev->user->set_link(netdev->user, up);
}

void netdev_announce(struct netdev *netdev)
{
	if (netdev->user && netdev->link_up)
		netdev->user->announce(netdev->user);
}
