// SPDX-License-Identifier: Apache-2.0
/* The network cable. */
#include <string.h>

#include "devices/device.h"
#include "internal.h"
#include "net/netdev.h"

struct search {
	struct platform *platform;
	const char *name;
	struct netdev *found;
};

static void look_at(void *opaque, const char *id, void *object)
{
	struct search *search = opaque;
	const struct device *dev = device_find_user(search->platform, object);

	/* As in QEMU a card's name comes before that of a back end. */
	if (dev && !strcmp(device_name(dev), search->name))
		search->found = object;
	else if (!search->found && !strcmp(id, search->name))
		search->found = object;
}

static int set_link_of(struct qmp_call *call, const char *name, bool up, struct error **errp)
{
	struct search search = { machine_platform(call->qmp->machine), name, NULL };
	char quote[QMP_QUOTE_MAX];

	link_scope_each(search.platform->links, LINK_NETDEV, look_at, &search);
	if (!search.found)
		return error_set(errp, QMP_DEVICE_NOT_FOUND, "Device '%s' not found",
				 qmp_quote(name, quote));
	netdev_set_link(search.found, up);
	return 0;
}

QMP_HANDLER(set_link)
{
	(void)ret;
	return set_link_of(call, qmp_arg_str(args, "name"), qmp_arg_bool(args, "up", false), errp);
}

QMP_HANDLER(netlink_set)
{
	(void)ret;
	return set_link_of(call, qmp_arg_str(args, "id"), qmp_arg_bool(args, "up", false), errp);
}

static void announce(void *opaque, const char *id, void *object)
{
	(void)opaque;
	(void)id;
	netdev_announce(object);
}

QMP_HANDLER(announce_self)
{
	(void)args;
	(void)ret;
	(void)errp;
	link_scope_each(machine_platform(call->qmp->machine)->links, LINK_NETDEV, announce, NULL);
	return 0;
}

const struct qmp_command qmp_net_commands[] = {
	{ .name = "set_link",
	  .help = "connects or cuts a network card's cable",
	  .args = QMP_MEMBERS(QMP_MEMBER("name", qmp_str, "id of the card or of its netdev"),
			      QMP_MEMBER("up", qmp_bool, NULL)),
	  .handler = set_link },
	{ .name = "netlink_set",
	  .help = "connects or cuts a network card's cable: StratoVirt's name of set_link",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, "id of the card or of its netdev"),
			      QMP_MEMBER("up", qmp_bool, NULL)),
	  .handler = netlink_set },
	{ .name = "announce-self",
	  .help = "asks guests to tell their networks where they are, once and now",
	  .handler = announce_self },
	{ .name = NULL },
};
