// SPDX-License-Identifier: Apache-2.0
/* Objects and character devices of a running VM, from the same options as at start. */
#include <stdlib.h>
#include <string.h>

#include "chardev/chardev.h"
#include "config/opts.h"
#include "devices/device.h"
#include "internal.h"

/* --- objects --- */

/* QEMU before 6.0 and StratoVirt have the properties in an object of their own. */
static int lift_props(struct json_object *args, struct error **errp)
{
	struct json_object *props = json_object_object_get(args, "props");
	char quote[QMP_QUOTE_MAX];

	if (!props)
		return 0;
	if (!json_object_is_type(props, json_type_object))
		return error_set(errp, -EINVAL, "Invalid parameter type for 'props', expected: object");
	json_object_object_foreach(props, key, value)
	{
		if (json_object_object_get_ex(args, key, NULL))
			return error_set(errp, -EINVAL, "Parameter '%s' is given twice",
					 qmp_quote(key, quote));
		json_object_object_add(args, key, json_object_get(value));
	}
	json_object_object_del(args, "props");
	return 0;
}

QMP_HANDLER(object_add)
{
	struct opts *opts;
	int err;

	(void)ret;
	err = lift_props(args, errp);
	if (!err)
		err = opts_from_json("object-add", args, &opts, errp);
	if (err)
		return err;
	err = machine_object_add(call->qmp->machine, opts, errp);
	opts_free(opts);
	return qmp_generic_error(err, errp);
}

QMP_HANDLER(object_del)
{
	(void)ret;
	return machine_object_del(call->qmp->machine, qmp_arg_str(args, "id"), errp);
}

/* --- character devices --- */

QMP_TYPE_ENUM(qmp_address_kind, "SocketAddressType", "unix", "inet", "fd");
static QMP_TYPE_OBJECT(address, "SocketAddressLegacy", QMP_MEMBER("type", qmp_address_kind, NULL),
		       QMP_MEMBER("data", qmp_any,
				  "unix: path; inet: host and port; fd: str, a name of getfd"));
static QMP_TYPE_ENUM(backend_kind, "ChardevBackendKind", "socket", "file", "pty", "null");
static QMP_TYPE_OBJECT(backend, "ChardevBackend", QMP_MEMBER("type", backend_kind, NULL),
		       QMP_OPTIONAL("data", qmp_any,
				    "socket: addr, server, nodelay, reconnect; file: out, append"));

static const struct qmp_member no_data[] = { { .name = NULL } };
static const struct qmp_member socket_data[] = {
	QMP_MEMBER("addr", address, NULL),	  QMP_OPTIONAL("server", qmp_bool, NULL),
	QMP_OPTIONAL("wait", qmp_bool, NULL),	  QMP_OPTIONAL("nodelay", qmp_bool, NULL),
	QMP_OPTIONAL("reconnect", qmp_int, NULL), { .name = NULL },
};
static const struct qmp_member unix_data[] = { QMP_MEMBER("path", qmp_str, NULL),
					       { .name = NULL } };
static const struct qmp_member inet_data[] = {
	QMP_MEMBER("host", qmp_str, NULL),
	QMP_MEMBER("port", qmp_str, NULL),
	{ .name = NULL },
};
static const struct qmp_member fd_data[] = { QMP_MEMBER("str", qmp_str, NULL), { .name = NULL } };
static const struct qmp_member file_data[] = {
	QMP_MEMBER("out", qmp_str, NULL),
	QMP_OPTIONAL("append", qmp_bool, NULL),
	{ .name = NULL },
};

static int check_data(const struct qmp_member *members, struct json_object *data,
		      struct error **errp)
{
	if (data && !json_object_is_type(data, json_type_object))
		return error_set(errp, -EINVAL,
				 "Invalid parameter type for 'data', expected: object");
	return qmp_check_members(members, data, errp);
}

static void copy(struct opts *opts, const char *key, struct json_object *data, const char *member)
{
	struct json_object *value;

	if (!json_object_object_get_ex(data, member, &value))
		return;
	if (json_object_is_type(value, json_type_boolean))
		opts_set(opts, key, json_object_get_boolean(value) ? "on" : "off");
	else
		opts_set(opts, key, json_object_get_string(value));
}

static int add_address(struct opts *opts, struct json_object *addr, struct error **errp)
{
	struct json_object *data = json_object_object_get(addr, "data");
	const char *type = qmp_arg_str(addr, "type");
	int ret;

	if (!strcmp(type, "unix")) {
		ret = check_data(unix_data, data, errp);
		copy(opts, "path", data, "path");
	} else if (!strcmp(type, "inet")) {
		ret = check_data(inet_data, data, errp);
		copy(opts, "host", data, "host");
		copy(opts, "port", data, "port");
	} else {
		ret = check_data(fd_data, data, errp);
		copy(opts, "fd", data, "str");
	}
	return ret;
}

static int add_socket(struct opts *opts, struct json_object *data, struct error **errp)
{
	int ret = check_data(socket_data, data, errp);

	if (ret)
		return ret;
	if (qmp_arg_bool(data, "wait", false))
		return error_set(errp, -ENOTSUP,
				 "wait: a running VM does not stand still for a client");
	opts_set(opts, "server", "on");
	copy(opts, "server", data, "server");
	copy(opts, "nodelay", data, "nodelay");
	copy(opts, "reconnect", data, "reconnect");
	if (!strcmp(opts_get(opts, "server"), "on"))
		opts_set(opts, "wait", "off");
	return add_address(opts, json_object_object_get(data, "addr"), errp);
}

/* As -chardev would be written. */
static int chardev_opts(struct opts *opts, struct json_object *from, struct error **errp)
{
	struct json_object *data = json_object_object_get(from, "data");
	const char *type = qmp_arg_str(from, "type");
	int ret;

	opts_set(opts, "backend", type);
	if (!strcmp(type, "socket"))
		return add_socket(opts, data, errp);
	if (strcmp(type, "file"))
		return check_data(no_data, data, errp);
	ret = check_data(file_data, data, errp);
	if (!ret) {
		copy(opts, "path", data, "out");
		copy(opts, "append", data, "append");
	}
	return ret;
}

static QMP_TYPE_OBJECT(chardev_return, "ChardevReturn",
		       QMP_OPTIONAL("pty", qmp_str, "the terminal, when it is a pty"));

QMP_HANDLER(chardev_add)
{
	static const char pty[] = "pty:";
	struct machine *machine = call->qmp->machine;
	struct opts *opts = opts_new("chardev-add");
	const char *id = qmp_arg_str(args, "id"), *name;
	int err;

	opts_set(opts, "id", id);
	err = chardev_opts(opts, json_object_object_get(args, "backend"), errp);
	if (!err)
		err = machine_chardev_add(machine, opts, errp);
	opts_free(opts);
	if (err)
		return qmp_generic_error(err, errp);
	*ret = json_object_new_object();
	name = chardev_filename(
		link_scope_find(machine_platform(machine)->links, LINK_CHARDEV, id));
	if (!strncmp(name, pty, strlen(pty)))
		qmp_add_str(*ret, "pty", name + strlen(pty));
	return 0;
}

QMP_HANDLER(chardev_remove)
{
	(void)ret;
	return machine_chardev_del(call->qmp->machine, qmp_arg_str(args, "id"), errp);
}

const struct qmp_command qmp_object_commands[] = {
	{ .name = "object-add",
	  .help = "makes what -object makes, with the properties of its type beside these",
	  .args = QMP_MEMBERS(QMP_MEMBER("qom-type", qmp_str, "iothread, rng-random, …"),
			      QMP_MEMBER("id", qmp_str, NULL),
			      QMP_OPTIONAL("props", qmp_any, "the properties, in the old form")),
	  .flags = QMP_MORE_ARGS,
	  .handler = object_add },
	{ .name = "object-del",
	  .help = "removes an object that nothing uses",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, NULL)),
	  .handler = object_del },
	{ .name = "chardev-add",
	  .help = "makes a character back end; a socket that is a server waits for nobody",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, NULL),
			      QMP_MEMBER("backend", backend, NULL)),
	  .returns = &chardev_return,
	  .handler = chardev_add },
	{ .name = "chardev-remove",
	  .help = "removes a character back end that nothing uses",
	  .args = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, NULL)),
	  .handler = chardev_remove },
	{ .name = NULL },
};
