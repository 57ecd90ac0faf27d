// SPDX-License-Identifier: Apache-2.0
/* Devices of a running VM: adding and removing them, and the network's back ends. */
#include "config/opts.h"
#include "internal.h"

QMP_HANDLER(device_add)
{
	struct opts *opts;
	int err;

	(void)ret;
	err = opts_from_json("device_add", args, &opts, errp);
	if (err)
		return err;
	err = machine_device_add(call->qmp->machine, opts, errp);
	opts_free(opts);
	return qmp_generic_error(err, errp);
}

QMP_HANDLER(device_del)
{
	(void)ret;
	return machine_device_del(call->qmp->machine, qmp_arg_str(args, "id"), errp);
}

QMP_HANDLER(netdev_add)
{
	(void)call;
	(void)args;
	(void)ret;
	return error_set(errp, -ENOTSUP, "network devices are not part of this version");
}

QMP_HANDLER(netdev_del)
{
	char quote[QMP_QUOTE_MAX];

	(void)call;
	(void)ret;
	return error_set(errp, QMP_DEVICE_NOT_FOUND, "Device '%s' not found",
			 qmp_quote(qmp_arg_str(args, "id"), quote));
}

const struct qmp_command qmp_device_commands[] = {
	{ .name = "device_add",
	  .help = "puts a disk into an empty replaceable slot (-machine "
		  "microvm,replaceable-slots=on)",
	  .args = QMP_MEMBERS(
		  QMP_MEMBER("driver", qmp_str, "virtio-blk-mmio or virtio-blk-device"),
		  QMP_OPTIONAL("id", qmp_str, "one is made up without it"),
		  QMP_OPTIONAL("drive", qmp_str, "the -drive or block node; required"),
		  QMP_OPTIONAL("addr", qmp_any,
			       "the slot, from 0; a string with 0x counts in hexadecimal"),
		  QMP_OPTIONAL("lun", qmp_any, "without addr: the slot less 1"),
		  QMP_OPTIONAL("serial", qmp_str, "as of -device")),
	  .flags = QMP_MORE_ARGS,
	  .handler = device_add },
	{ .name = "device_del",
	  .help = "takes a disk out of its slot when its requests are done; DEVICE_DELETED follows",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, NULL)),
	  .handler = device_del },
	{ .name = "netdev_add",
	  .help = "always an error: there are no network devices",
	  .args = QMP_MEMBERS(QMP_MEMBER("type", qmp_str, NULL), QMP_MEMBER("id", qmp_str, NULL)),
	  .flags = QMP_MORE_ARGS,
	  .handler = netdev_add },
	{ .name = "netdev_del",
	  .help = "always an error: there are no network devices",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, NULL)),
	  .handler = netdev_del },
	{ .name = NULL },
};
