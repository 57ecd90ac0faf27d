/* SPDX-License-Identifier: Apache-2.0 */
/* "file": output to a file, a named pipe or a character device; no input. */
#include <fcntl.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fd_store.h"

#define PATH_MAX_BYTES 4095

struct chardev_file {
	struct chardev chr;
	char *path;
	bool append;
	int fd;
};

static int file_open(struct chardev *chr, struct error **errp)
{
	struct chardev_file *f = container_of(chr, struct chardev_file, chr);
	int ret;

	/* O_NONBLOCK: a named pipe without a reader is an error now instead of a wait without end.
	 */
	f->fd = fd_open(f->path,
			O_WRONLY | O_CREAT | O_NOCTTY | O_NONBLOCK |
				(f->append ? O_APPEND : O_TRUNC),
			0640);
	if (f->fd < 0)
		return error_set_errno(errp, f->fd, "cannot open '%s' for writing", f->path);
	ret = chardev_set_fds(chr, -1, f->fd, errp);
	if (ret) {
		fd_close(&f->fd);
		return ret;
	}
	chr->filename = xasprintf("file:%s", f->path);
	chardev_set_open(chr, true);
	return 0;
}

static void file_close(struct chardev *chr)
{
	struct chardev_file *f = container_of(chr, struct chardev_file, chr);

	chardev_clear_fds(chr);
	fd_close(&f->fd);
}

static const struct property file_props[] = {
	{ .name = "path",
	  .help = "file to write; created if it is not there",
	  .type = PROPERTY_STRING,
	  .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct chardev_file, path),
	  .min = 1,
	  .max = PATH_MAX_BYTES },
	PROP_BOOL("append", struct chardev_file, append, 0, "keep what is in the file"),
	PROP_END,
};

const struct chardev_kind chardev_file = {
	.name = "file",
	.summary = "output goes to a file, there is no input",
	.instance_size = sizeof(struct chardev_file),
	.props = file_props,
	.open = file_open,
	.close = file_close,
};
