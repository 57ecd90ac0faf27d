/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "stdio": standard input and output, whatever they are: a terminal, pipes, files, /dev/null.
 *
 * A terminal is read all the time, even when the guest takes nothing, so that Ctrl-A X always
 * works. What the guest has no room for waits in a type-ahead buffer; beyond that keystrokes are
 * lost, as on a real line. Pipes and files are read only as far as the guest takes their bytes.
 */
#define LOG_MODULE "chardev"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "terminal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/log.h"

#define TYPE_AHEAD 4096
#define ESCAPE_KEY 0x01 /* Ctrl-A */

static const char help_text[] = "\r\n"
				"Ctrl-A X  end the VM at once\r\n"
				"Ctrl-A A  send Ctrl-A\r\n"
				"Ctrl-A B  send a break (in Linux the magic SysRq key)\r\n"
				"Ctrl-A H  this help\r\n";

struct chardev_stdio {
	struct chardev chr;
	bool signal;
	int in_fd, out_fd;
	bool escaped; /* the last key was Ctrl-A */
	size_t waiting;
	uint8_t type_ahead[TYPE_AHEAD];
};

static struct chardev_stdio *in_use; /* main thread */
static void (*quit_handler)(void *opaque);
static void *quit_opaque;

void chardev_set_quit_handler(void (*quit)(void *opaque), void *opaque)
{
	quit_handler = quit;
	quit_opaque = opaque;
}

void chardev_terminal_resized(void)
{
	if (in_use)
		chardev_send_event(&in_use->chr, CHARDEV_RESIZED);
}

static void stdio_room(struct chardev *chr)
{
	struct chardev_stdio *s = container_of(chr, struct chardev_stdio, chr);
	size_t done = chardev_deliver(chr, s->type_ahead, s->waiting);

	s->waiting -= done;
	memmove(s->type_ahead, s->type_ahead + done, s->waiting);
}

static void put_key(struct chardev_stdio *s, uint8_t key)
{
	if (s->waiting < TYPE_AHEAD)
		s->type_ahead[s->waiting++] = key;
}

static void escape(struct chardev_stdio *s, uint8_t key)
{
	switch (key) {
	case 'x':
	case 'X':
		if (quit_handler)
			quit_handler(quit_opaque);
		break;
	case 'h':
	case 'H':
	case '?':
		chardev_write(&s->chr, help_text, sizeof(help_text) - 1);
		break;
	case 'b':
	case 'B':
		chardev_send_event(&s->chr, CHARDEV_BREAK);
		break;
	case 'a':
	case 'A':
	case ESCAPE_KEY:
		put_key(s, ESCAPE_KEY);
		break;
	default: /* not an escape: dropped, as a typing error */
		break;
	}
}

/* From a terminal only. */
static void stdio_input(struct chardev *chr, const uint8_t *data, size_t len)
{
	struct chardev_stdio *s = container_of(chr, struct chardev_stdio, chr);

	for (size_t i = 0; i < len; i++) {
		if (s->escaped) {
			s->escaped = false;
			/* What was typed before a break comes before it as far as there is room. */
			stdio_room(chr);
			escape(s, data[i]);
		} else if (data[i] == ESCAPE_KEY) {
			s->escaped = true;
		} else {
			put_key(s, data[i]);
		}
	}
	stdio_room(chr);
}

static void stdio_release(struct chardev_stdio *s)
{
	terminal_leave_raw();
	fd_close(&s->in_fd);
	fd_close(&s->out_fd);
	in_use = NULL;
}

static int stdio_open(struct chardev *chr, struct error **errp)
{
	struct chardev_stdio *s = container_of(chr, struct chardev_stdio, chr);
	int ret;

	if (in_use)
		return error_set(errp, -EBUSY, "stdio is already used by another chardev");
	in_use = s;
	s->out_fd = -1;
	s->in_fd = terminal_open_nonblocking(STDIN_FILENO);
	if (s->in_fd == -EBADF)
		s->in_fd = -1; /* started without stdin: there is no input */
	else if (s->in_fd < 0) {
		ret = error_set_errno(errp, s->in_fd, "stdin");
		goto fail;
	}
	s->out_fd = terminal_open_nonblocking(STDOUT_FILENO);
	if (s->out_fd == -EBADF)
		s->out_fd = -1;
	else if (s->out_fd < 0) {
		ret = error_set_errno(errp, s->out_fd, "stdout");
		goto fail;
	}
	if (s->in_fd >= 0 && isatty(s->in_fd)) {
		chr->read_ahead = true;
		ret = terminal_enter_raw(s->in_fd, s->signal);
		if (ret) {
			error_set_errno(errp, ret, "cannot put the terminal into raw mode");
			goto fail;
		}
	}
	ret = chardev_set_fds(chr, s->in_fd, s->out_fd, errp);
	if (ret)
		goto fail;
	chr->filename = xstrdup("stdio");
	chardev_set_open(chr, true);
	return 0;

fail:
	stdio_release(s);
	return ret;
}

static void stdio_close(struct chardev *chr)
{
	struct chardev_stdio *s = container_of(chr, struct chardev_stdio, chr);

	chardev_clear_fds(chr);
	stdio_release(s);
}

static const struct property stdio_props[] = {
	PROP_BOOL("signal", struct chardev_stdio, signal, 0,
		  "on: Ctrl-C and Ctrl-Z of a terminal act on this process, off: they go to the "
		  "guest"),
	PROP_END,
};

const struct chardev_kind chardev_stdio = {
	.name = "stdio",
	.summary = "standard input and output; on a terminal Ctrl-A H shows the escape keys",
	.instance_size = sizeof(struct chardev_stdio),
	.props = stdio_props,
	.open = stdio_open,
	.close = stdio_close,
	.input = stdio_input,
	.room = stdio_room,
};
