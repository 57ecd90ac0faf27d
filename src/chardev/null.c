/* SPDX-License-Identifier: Apache-2.0 */
/* "null": output goes nowhere, input never comes. */
#include "internal.h"
#include "util/alloc.h"

static int null_open(struct chardev *chr, struct error **errp)
{
	(void)errp;
	chr->filename = xstrdup("null");
	chardev_set_open(chr, true);
	return 0;
}

static void null_close(struct chardev *chr)
{
	chardev_clear_fds(chr);
}

static const struct property null_props[] = { PROP_END };

const struct chardev_kind chardev_null = {
	.name = "null",
	.summary = "output is dropped, there is no input",
	.instance_size = sizeof(struct chardev),
	.props = null_props,
	.open = null_open,
	.close = null_close,
};
