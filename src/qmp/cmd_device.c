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
	struct opts *opts;
	int err;

	(void)ret;
	err = opts_from_json("netdev_add", args, &opts, errp);
	if (err)
		return err;
	err = machine_netdev_add(call->qmp->machine, opts, errp);
	opts_free(opts);
	return qmp_generic_error(err, errp);
}

QMP_HANDLER(netdev_del)
{
	(void)ret;
	return machine_netdev_del(call->qmp->machine, qmp_arg_str(args, "id"), errp);
}

const struct qmp_command qmp_device_commands[] = {
	{ .name = "device_add",
	  .help = "plugs a device into a PCI Express slot (bus: a pcie-root-port), with the keys of -device; or puts a disk "
		  "or a network card into an empty replaceable slot (-machine microvm,replaceable-slots=on)",
	  .args = QMP_MEMBERS(
		  QMP_MEMBER("driver", qmp_str,
			     "any virtio device on PCI; replaceable slots: virtio-blk-mmio, virtio-net-mmio, or the same with "
			     "-device at the end"),
		  QMP_OPTIONAL("id", qmp_str, "one is made up without it"),
		  QMP_OPTIONAL("bus", qmp_str, "PCI: the slot's port"),
		  QMP_OPTIONAL("drive", qmp_str,
			       "disks: the -drive or block node; replaceable slots: that of the name \"id\" without it"),
		  QMP_OPTIONAL("netdev", qmp_str,
			       "cards: the -netdev; replaceable slots: that of the name \"chardev\" or \"id\" without it"),
		  QMP_OPTIONAL("mac", qmp_str,
			       "cards: the address; replaceable slots: it counts once the guest's driver starts anew"),
		  QMP_OPTIONAL("addr", qmp_any,
			       "replaceable slots: the slot, from 0; a string with 0x counts in hexadecimal"),
		  QMP_OPTIONAL("lun", qmp_any, "without addr: the slot less 1"),
		  QMP_OPTIONAL("serial", qmp_str, "as of -device")),
	  .flags = QMP_MORE_ARGS,
	  .handler = device_add },
	{ .name = "device_del",
	  .help = "PCI and CPUs: asks the guest to let go of it; replaceable slots: takes a card out, or a disk when its "
		  "requests are done, and with a disk that has its block node's name the node. DEVICE_DELETED follows",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, NULL)),
	  .handler = device_del },
	{ .name = "netdev_add",
	  .help = "makes what -netdev makes, with the same keys beside these",
	  .args = QMP_MEMBERS(QMP_MEMBER("type", qmp_str, "tap, stream or vhost-user"), QMP_MEMBER("id", qmp_str, NULL)),
	  .flags = QMP_MORE_ARGS,
	  .handler = netdev_add },
	{ .name = "netdev_del",
	  .help = "removes a network back end that nothing uses",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, NULL)),
	  .handler = netdev_del },
	{ .name = NULL },
};
