/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "pty": a pseudo terminal of its own, for screen, minicom or "virsh console".
 *
 * Our own descriptor of the slave stays open: without any, reads and writes of the master fail, and
 * the raw mode would be lost with the last user. Its price is that nobody tells whether somebody
 * reads. When the kernel's buffer and ours are full and nothing moved for a second, the core takes
 * it that nobody does.
 */
#define LOG_MODULE "chardev"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/log.h"

struct chardev_pty {
	struct chardev chr;
	int master, slave;
};

static int open_pair(struct chardev_pty *pty, char *name, size_t size)
{
	struct termios tio;
	int ret;

	pty->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (pty->master < 0)
		return -errno;
	if (grantpt(pty->master) || unlockpt(pty->master))
		return -errno;
	ret = ptsname_r(pty->master, name, size);
	if (ret)
		return -ret;
	pty->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (pty->slave < 0 || tcgetattr(pty->slave, &tio))
		return -errno;
	cfmakeraw(&tio);
	return tcsetattr(pty->slave, TCSANOW, &tio) ? -errno : 0;
}

static int pty_open(struct chardev *chr, struct error **errp)
{
	struct chardev_pty *pty = container_of(chr, struct chardev_pty, chr);
	char name[64];
	int ret;

	pty->slave = -1;
	ret = open_pair(pty, name, sizeof(name));
	if (ret) {
		error_set_errno(errp, ret, "cannot make a pseudo terminal");
		goto fail;
	}
	chr->lossy = true;
	ret = chardev_set_fds(chr, pty->master, pty->master, errp);
	if (ret)
		goto fail;
	chr->filename = xasprintf("pty:%s", name);
	chardev_tell(chr, "is", name);
	log_info("%s: pty %s", chr->id, name);
	chardev_set_open(chr, true);
	return 0;

fail:
	fd_close(&pty->slave);
	fd_close(&pty->master);
	return ret;
}

static void pty_close(struct chardev *chr)
{
	struct chardev_pty *pty = container_of(chr, struct chardev_pty, chr);

	chardev_clear_fds(chr);
	fd_close(&pty->slave);
	fd_close(&pty->master);
}

static const struct property pty_props[] = { PROP_END };

const struct chardev_kind chardev_pty = {
	.name = "pty",
	.summary = "a pseudo terminal of its own; its name is printed at start",
	.instance_size = sizeof(struct chardev_pty),
	.props = pty_props,
	.open = pty_open,
	.close = pty_close,
};
