// SPDX-License-Identifier: Apache-2.0
/* Back ends: character devices. */
#include "chardev/chardev.h"
#include "devices/device.h"
#include "internal.h"

static QMP_TYPE_OBJECT(chardev_info, "ChardevInfo", QMP_MEMBER("label", qmp_str, "its id"),
		       QMP_MEMBER("filename", qmp_str, "\"pty:/dev/pts/3\", \"stdio\", …"),
		       QMP_MEMBER("frontend-open", qmp_bool, "something in the VM uses it: a virtserialport when the guest has opened it"));
static QMP_TYPE_ARRAY(chardev_info_array, "ChardevInfo", chardev_info);

static void add_chardev(void *opaque, const char *id, void *object)
{
	struct json_object *info = json_object_new_object();

	qmp_add_bool(info, "frontend-open", chardev_user_is_open(object));
	qmp_add_str(info, "filename", chardev_filename(object));
	qmp_add_str(info, "label", id);
	json_object_array_add(opaque, info);
}

QMP_HANDLER(query_chardev)
{
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	link_scope_each(machine_platform(call->qmp->machine)->links, LINK_CHARDEV, add_chardev,
			*ret);
	return 0;
}

const struct qmp_command qmp_back_end_commands[] = {
	{ .name = "query-chardev",
	  .help = "the character back ends",
	  .returns = &chardev_info_array,
	  .handler = query_chardev },
	{ .name = NULL },
};
