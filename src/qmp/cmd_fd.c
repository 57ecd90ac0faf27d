// SPDX-License-Identifier: Apache-2.0
/* Descriptors that clients pass with SCM_RIGHTS: by name and in sets. */
#include <ctype.h>
#include <unistd.h>

#include "internal.h"
#include "util/fd_store.h"

static int take_fd(struct qmp_call *call, struct error **errp)
{
	int fd = qmp_client_take_fd(call->client);

	if (fd < 0)
		return error_set(errp, -EINVAL, "No file descriptor supplied via SCM_RIGHTS");
	return fd;
}

QMP_HANDLER(getfd)
{
	const char *name = qmp_arg_str(args, "fdname");
	int fd, err;

	(void)ret;
	fd = take_fd(call, errp);
	if (fd < 0)
		return fd;
	/* Where a name is asked for, a number is a descriptor that was inherited. */
	if (isdigit((unsigned char)*name))
		err = error_set(errp, -EINVAL,
				"Parameter 'fdname' expects a name not starting with a digit");
	else
		err = fd_store_put(name, fd, call->client, errp);
	if (err)
		close(fd);
	return err;
}

QMP_HANDLER(closefd)
{
	const char *name = qmp_arg_str(args, "fdname");
	int fd = fd_store_take(name);
	char quote[QMP_QUOTE_MAX];

	(void)call;
	(void)ret;
	if (fd < 0)
		return error_set(errp, -ENOENT, "File descriptor named '%s' not found",
				 qmp_quote(name, quote));
	close(fd);
	return 0;
}

static QMP_TYPE_OBJECT(addfd_info, "AddfdInfo", QMP_MEMBER("fdset-id", qmp_int, "the set it is in"),
		       QMP_MEMBER("fd", qmp_int, "its number in this process, for remove-fd"));

QMP_HANDLER(add_fd)
{
	int64_t set = qmp_arg_int(args, "fdset-id", -1);
	int fd, err;

	if (qmp_arg_has(args, "fdset-id") && set < 0)
		return error_set(errp, -EINVAL,
				 "Parameter 'fdset-id' expects a non-negative value");
	fd = take_fd(call, errp);
	if (fd < 0)
		return fd;
	err = fd_set_add(&set, fd, qmp_arg_str(args, "opaque"), errp);
	if (err) {
		close(fd);
		return err;
	}
	*ret = json_object_new_object();
	qmp_add_int(*ret, "fdset-id", set);
	qmp_add_int(*ret, "fd", fd);
	return 0;
}

QMP_HANDLER(remove_fd)
{
	int64_t set = qmp_arg_int(args, "fdset-id", -1), fd = qmp_arg_int(args, "fd", -1);

	(void)call;
	(void)ret;
	if (fd <= INT32_MAX && (fd >= 0 || !qmp_arg_has(args, "fd")) &&
	    !fd_set_remove(set, (int)fd))
		return 0;
	if (qmp_arg_has(args, "fd"))
		return error_set(errp, -ENOENT,
				 "File descriptor named 'fdset-id:%lld, fd:%lld' not found",
				 (long long)set, (long long)fd);
	return error_set(errp, -ENOENT, "File descriptor named 'fdset-id:%lld' not found",
			 (long long)set);
}

static QMP_TYPE_OBJECT(fdset_fd_info, "FdsetFdInfo", QMP_MEMBER("fd", qmp_int, NULL),
		       QMP_OPTIONAL("opaque", qmp_str, "the client's note"));
static QMP_TYPE_ARRAY(fdset_fd_info_array, "FdsetFdInfo", fdset_fd_info);
static QMP_TYPE_OBJECT(fdset_info, "FdsetInfo", QMP_MEMBER("fdset-id", qmp_int, NULL),
		       QMP_MEMBER("fds", fdset_fd_info_array, NULL));
static QMP_TYPE_ARRAY(fdset_info_array, "FdsetInfo", fdset_info);

/* Members of a set come one after the other. */
static void add_member(void *arg, int64_t set, int fd, const char *opaque)
{
	struct json_object *list = arg, *last = NULL, *info;
	size_t count = json_object_array_length(list);

	if (count)
		last = json_object_array_get_idx(list, count - 1);
	if (!last || qmp_arg_int(last, "fdset-id", -1) != set) {
		last = json_object_new_object();
		json_object_object_add(last, "fds", json_object_new_array());
		qmp_add_int(last, "fdset-id", set);
		json_object_array_add(list, last);
	}
	info = json_object_new_object();
	qmp_add_int(info, "fd", fd);
	if (opaque)
		qmp_add_str(info, "opaque", opaque);
	json_object_array_add(json_object_object_get(last, "fds"), info);
}

QMP_HANDLER(query_fdsets)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	fd_set_each(add_member, *ret);
	return 0;
}

const struct qmp_command qmp_fd_commands[] = {
	{ .name = "getfd",
	  .help = "take the descriptor sent with this message under a name; one of that name "
		  "before is "
		  "closed. It is kept until it is used, closefd, or the client goes",
	  .args = QMP_MEMBERS(QMP_MEMBER("fdname", qmp_str, "does not begin with a digit")),
	  .handler = getfd },
	{ .name = "closefd",
	  .help = "close a descriptor of getfd",
	  .args = QMP_MEMBERS(QMP_MEMBER("fdname", qmp_str, NULL)),
	  .handler = closefd },
	{ .name = "add-fd",
	  .help = "take the descriptor sent with this message into a set, which opens as "
		  "/dev/fdset/ID",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("fdset-id", qmp_int, "absent: a new set"),
			      QMP_OPTIONAL("opaque", qmp_str, "a note that query-fdsets shows")),
	  .returns = &addfd_info,
	  .handler = add_fd },
	{ .name = "remove-fd",
	  .help = "close a descriptor of a set, or the whole set",
	  .args = QMP_MEMBERS(QMP_MEMBER("fdset-id", qmp_int, NULL),
			      QMP_OPTIONAL("fd", qmp_int, "absent: all of the set")),
	  .handler = remove_fd },
	{ .name = "query-fdsets",
	  .help = "the sets of add-fd",
	  .returns = &fdset_info_array,
	  .handler = query_fdsets },
	{ .name = NULL },
};
