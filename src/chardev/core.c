/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core of the character back ends: the table of kinds, the user, input with its pauses.
 * The write path is in output.c.
 */
#define LOG_MODULE "chardev"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "output.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define INPUT_CHUNK 4096
#define INPUT_FDS 16 /* at once; the kernel closes what is more */

static const struct chardev_kind *const kinds[] = {
	&chardev_stdio, &chardev_file, &chardev_pty, &chardev_socket, &chardev_null,
};

static const char *const core_keys[] = { "backend", "id", NULL };

static void chardev_refresh(struct chardev *chr);

/* --- input --- */

/*
 * Notes a pause before it asks: a user that makes room after the answer sees the note and wakes us
 * (chardev_accept_input()), one that made room before is seen here.
 */
static size_t user_room(struct chardev *chr)
{
	size_t room;

	if (!chr->user || !chr->user->can_receive)
		return 0;
	atomic_store(&chr->in_paused, true);
	room = chr->user->can_receive(chr->user);
	if (room)
		atomic_store(&chr->in_paused, false);
	return room;
}

size_t chardev_deliver(struct chardev *chr, const uint8_t *data, size_t len)
{
	size_t done = 0, n;

	while (done < len) {
		n = MIN(user_room(chr), len - done);
		if (!n)
			break;
		chr->user->receive(chr->user, data + done, n);
		done += n;
	}
	return done;
}

static void input_ended(struct chardev *chr)
{
	if (chr->kind->hangup) {
		chr->kind->hangup(chr);
		return;
	}
	loop_fd_del(&chr->in);
	chr->in.fd = -1;
}

/* read() that also takes descriptors, for a user who wants them. */
static ssize_t read_with_fds(struct chardev *chr, uint8_t *data, size_t len)
{
	union {
		char bytes[CMSG_SPACE(INPUT_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(chr->in.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		int fds[INPUT_FDS];
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds, CMSG_DATA(c), bytes);
		chr->user->receive_fds(chr->user, fds, (unsigned int)(bytes / sizeof(int)));
	}
	return n;
}

void chardev_tell(const struct chardev *chr, const char *what, const char *object)
{
	char *line = xasprintf("stratovirt: chardev '%s' %s %s\n", chr->id, what, object);

	(void)!fd_write_full(STDERR_FILENO, line, strlen(line));
	free(line);
}

static void read_input(struct chardev *chr)
{
	uint8_t data[INPUT_CHUNK];
	size_t room = chr->read_ahead ? sizeof(data) : MIN(user_room(chr), sizeof(data));
	ssize_t n;

	if (!room || chr->in.fd < 0)
		return;
	if (chr->in_socket && chr->user && chr->user->receive_fds && !chr->read_ahead)
		n = read_with_fds(chr, data, room);
	else
		n = fd_read(chr->in.fd, data, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (n < 0)
			log_debug("%s: input ends: %s", chr->id, strerror(errno));
		input_ended(chr);
	} else if (chr->read_ahead) {
		chr->kind->input(chr, data, (size_t)n);
	} else {
		chr->user->receive(chr->user, data, (size_t)n);
	}
}

/* The peer is gone, and left nothing that the user has not had. */
static bool nothing_unread(const struct chardev *chr)
{
	char byte;
	ssize_t n;

	if (!chr->in_socket)
		return false;
	n = fd_recv(chr->in.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void fd_ready(struct chardev *chr, uint32_t events, bool input)
{
	if (events & EPOLLOUT)
		chardev_output_ready(chr);
	if (input && (events & EPOLLIN))
		read_input(chr);
	else if (input && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
		if (chr->in.events & EPOLLIN) {
			read_input(chr); /* which meets the end, or the error */
		} else if (nothing_unread(chr)) {
			input_ended(chr);
		} else {
			chr->in_hung = true;
			if (chr->kind->hung)
				chr->kind->hung(chr);
		}
	} else if (!input && (events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLOUT)) {
		chardev_output_ready(chr); /* a pipe without readers: the write fails and says so */
	}
	chardev_refresh(chr);
}

static void in_ready(struct loop_fd *lfd, uint32_t events)
{
	fd_ready(container_of(lfd, struct chardev, in), events, true);
}

static void out_ready(struct loop_fd *lfd, uint32_t events)
{
	fd_ready(container_of(lfd, struct chardev, out), events, false);
}

static void read_ready_call(struct loop_call *call)
{
	struct chardev *chr = container_of(call, struct chardev, read_ready);

	read_input(chr);
	chardev_refresh(chr);
}

/* --- what to wait for --- */

/* Then what the peer said last does not wait here, and nothing keeps a connection that has ended. */
static bool user_talks_itself(const struct chardev *chr)
{
	return chr->user && !chr->user->can_receive;
}

/* After anything that may have changed what the back end waits for. */
static void chardev_refresh(struct chardev *chr)
{
	uint32_t in_events = 0, out_events;
	bool room;

	if (chardev_output_failed(chr) || (chr->in_hung && user_talks_itself(chr))) {
		if (chr->kind->hangup)
			chr->kind->hangup(chr);
	}
	room = user_room(chr) > 0;
	if (room && chr->kind->room) {
		chr->kind->room(chr);
		room = user_room(chr) > 0;
	}
	out_events = chardev_output_wanted(chr) ? EPOLLOUT : 0;

	if (chr->in.fd >= 0) {
		if (room || chr->read_ahead)
			in_events = EPOLLIN | (chr->in_socket ? EPOLLRDHUP : 0);
		else if (chr->in_socket && !chr->in_hung)
			in_events = EPOLLRDHUP; /* to learn that the peer went, all the same */
		if (!chr->in_polled && in_events)
			loop_call_schedule(&chr->read_ready);
	}
	if (chr->in.loop && chr->in.fd == chr->out.fd) {
		in_events |= out_events;
		out_events = 0;
	}
	if (chr->in_polled && chr->in.loop)
		loop_fd_set_events(&chr->in, in_events);
	if (chr->out.loop)
		loop_fd_set_events(&chr->out, out_events);
}

static void update_call(struct loop_call *call)
{
	struct chardev *chr = container_of(call, struct chardev, update);

	/* A write was cut short, but there is room again or nobody to wait for. */
	chardev_output_relieve(chr);
	chardev_refresh(chr);
}

void chardev_accept_input(struct chardev *chr)
{
	if (atomic_load(&chr->in_paused))
		loop_call_schedule(&chr->update);
}

/* --- descriptors --- */

static bool is_socket(int fd)
{
	struct stat st;

	return fd >= 0 && !fd_stat(fd, &st) && S_ISSOCK(st.st_mode);
}

void chardev_clear_fds(struct chardev *chr)
{
	loop_fd_del(&chr->in);
	loop_fd_del(&chr->out);
	chr->in.fd = chr->out.fd = -1;
	chr->in_hung = false;
	loop_call_cancel(&chr->read_ready);
	loop_timer_cancel(&chr->stall_timer);
	chardev_output_set_fd(chr, -1, false);
}

int chardev_set_fds(struct chardev *chr, int in_fd, int out_fd, struct error **errp)
{
	int ret;

	chardev_clear_fds(chr);
	chr->in.fd = in_fd;
	chr->in.handler = in_ready;
	chr->in.events = EPOLLIN; /* without an event to wait for epoll does not refuse files */
	chr->in_polled = true;
	chr->in_socket = is_socket(in_fd);
	if (in_fd >= 0) {
		ret = loop_fd_add(chr->loop, &chr->in);
		if (ret == -EPERM)
			chr->in_polled = false;
		else if (ret)
			return error_set_errno(errp, ret, "cannot wait for input");
	}
	chr->out.fd = out_fd;
	chr->out.handler = out_ready;
	chr->out.events = 0;
	if (out_fd >= 0 && out_fd != in_fd) {
		ret = loop_fd_add(chr->loop, &chr->out);
		if (ret) {
			loop_fd_del(&chr->in);
			return error_set_errno(errp, ret, "cannot wait for output");
		}
	}
	chardev_output_set_fd(chr, out_fd, is_socket(out_fd));
	chardev_refresh(chr);
	return 0;
}

/* --- the user --- */

void chardev_send_event(struct chardev *chr, enum chardev_event event)
{
	if (chr->user && chr->user->event)
		chr->user->event(chr->user, event);
}

void chardev_set_open(struct chardev *chr, bool open)
{
	if (chr->open == open)
		return;
	chr->open = open;
	chardev_send_event(chr, open ? CHARDEV_OPENED : CHARDEV_CLOSED);
}

int chardev_attach(struct chardev *chr, struct chardev_user *user, struct error **errp)
{
	if (chr->user)
		return error_set(errp, -EBUSY, "chardev '%s' is already in use", chr->id);
	chr->user = user;
	if (chr->open)
		chardev_send_event(chr, CHARDEV_OPENED);
	loop_call_schedule(&chr->update);
	return 0;
}

void chardev_detach(struct chardev *chr)
{
	chr->user = NULL;
	chardev_output_forget_user(chr);
	loop_call_schedule(&chr->update);
}

void chardev_disconnect(struct chardev *chr)
{
	if (!chr->open || chr->kind != &chardev_socket)
		return;
	chr->kind->hangup(chr);
	chardev_refresh(chr);
}

bool chardev_is_unix_socket(const struct chardev *chr)
{
	return chr->kind == &chardev_socket && !strncmp(chr->filename, "unix:", 5);
}

int chardev_copy_connection(struct chardev *chr)
{
	int fd;

	if (chr->kind != &chardev_socket)
		return -ENOTSUP;
	if (!chr->open)
		return -ENOTCONN;
	fd = fcntl(chr->in.fd, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

bool chardev_terminal_size(struct chardev *chr, uint16_t *cols, uint16_t *rows)
{
	struct winsize size;
	bool known;

	pthread_mutex_lock(&chr->lock);
	known = chr->out_fd >= 0 && !ioctl(chr->out_fd, TIOCGWINSZ, &size) && size.ws_col && size.ws_row;
	pthread_mutex_unlock(&chr->lock);
	if (known) {
		*cols = size.ws_col;
		*rows = size.ws_row;
	}
	return known;
}

bool chardev_in_use(const struct chardev *chr)
{
	return chr->user != NULL;
}

bool chardev_user_is_open(const struct chardev *chr)
{
	return chr->user && (!chr->user->is_open || chr->user->is_open(chr->user));
}

const char *chardev_id(const struct chardev *chr)
{
	return chr->id;
}

const char *chardev_filename(const struct chardev *chr)
{
	return chr->filename;
}

/* --- making and freeing --- */

static const struct chardev_kind *kind_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i]->name, name))
			return kinds[i];
	}
	return NULL;
}

static int kind_unknown(const char *name, struct error **errp)
{
	const char *names[ARRAY_SIZE(kinds) + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		names[i] = kinds[i]->name;
	near = nearest_name(name, names);
	if (near)
		return error_set(errp, -ENOENT, "unknown back end '%s'; did you mean '%s'?", name,
				 near);
	return error_set(errp, -ENOENT, "unknown back end '%s'; -chardev help lists them", name);
}

/* The old word: "nowait" is wait=off. */
static int translate_nowait(struct opts *opts, struct error **errp)
{
	char *value = opts_take(opts, "nowait");
	bool on = false;
	int ret = 0;

	if (!value)
		return 0;
	if (parse_bool(value, &on) || !on)
		ret = error_set(errp, -EINVAL, "nowait=%s: write \"nowait\" or \"wait=off\"",
				value);
	else if (opts_get(opts, "wait"))
		ret = error_set(errp, -EINVAL, "wait= and nowait exclude each other");
	else
		opts_set(opts, "wait", "off");
	free(value);
	return ret;
}

static void chardev_init(struct chardev *chr, const struct chardev_kind *kind, const char *id,
			 struct loop *loop, struct link_scope *scope)
{
	chr->kind = kind;
	chr->id = xstrdup(id);
	chr->loop = loop;
	chr->scope = scope;
	chr->in.fd = chr->out.fd = chr->out_fd = -1;
	loop_call_init(&chr->update, loop, update_call);
	loop_call_init(&chr->read_ready, loop, read_ready_call);
	loop_timer_init(&chr->stall_timer, loop, chardev_output_stalled);
	pthread_mutex_init(&chr->lock, NULL);
}

static void chardev_release(struct chardev *chr)
{
	loop_call_cancel(&chr->update);
	loop_call_cancel(&chr->read_ready);
	loop_timer_cancel(&chr->stall_timer);
	pthread_mutex_destroy(&chr->lock);
	property_release(chr->kind->props, chr);
	free(chr->ring.data);
	free(chr->filename);
	free(chr->id);
	free(chr);
}

/* With every step's error not yet naming the option, but for property_apply()'s. */
static int create(const struct chardev_kind *kind, struct opts *opts, struct loop *loop,
		  struct link_scope *scope, struct chardev **ret_chr, bool *named,
		  struct error **errp)
{
	const char *id = opts_get(opts, "id");
	struct chardev *chr;
	int ret;

	if (!id || !*id)
		return error_set(errp, -EINVAL, "id is missing");
	ret = id_check(id, errp);
	if (ret)
		return ret;
	if (link_scope_find(scope, LINK_CHARDEV, id))
		return error_set(errp, -EEXIST, "chardev id '%s' is already used", id);
	if (kind == &chardev_socket) {
		ret = translate_nowait(opts, errp);
		if (ret)
			return ret;
	}
	chr = xcalloc(1, kind->instance_size);
	chardev_init(chr, kind, id, loop, scope);
	ret = property_apply(kind->props, chr, opts, core_keys, scope, errp);
	if (ret) {
		*named = true;
		goto fail;
	}
	ret = kind->open(chr, errp);
	if (ret)
		goto fail;
	ret = link_scope_add(scope, LINK_CHARDEV, id, chr, errp);
	if (ret) {
		kind->close(chr);
		goto fail;
	}
	*ret_chr = chr;
	return 0;

fail:
	chardev_release(chr);
	return ret;
}

int chardev_new(const struct opts *given, struct loop *loop, struct link_scope *scope,
		struct chardev **ret_chr, struct error **errp)
{
	const char *name = opts_get(given, "backend");
	const struct chardev_kind *kind = name ? kind_find(name) : NULL;
	bool named = false;
	struct opts *opts;
	char *what;
	int ret;

	signal(SIGPIPE, SIG_IGN); /* a reader that goes away is an error of write(), not our end */
	opts = opts_clone(given);
	if (!name)
		ret = error_set(errp, -EINVAL,
				"the kind of back end is missing; -chardev help lists them");
	else if (!kind)
		ret = kind_unknown(name, errp);
	else
		ret = create(kind, opts, loop, scope, ret_chr, &named, errp);
	if (ret && !named) {
		what = opts_describe(given);
		error_prefix(errp, "%s: ", what);
		free(what);
	}
	opts_free(opts);
	return ret;
}

void chardev_free(struct chardev *chr)
{
	if (!chr)
		return;
	chr->user = NULL;
	link_scope_del(chr->scope, LINK_CHARDEV, chr->id);
	chardev_finish(&chr, 1);
	chr->kind->close(chr);
	chardev_release(chr);
}

void chardev_help(FILE *out)
{
	fprintf(out, "Character back ends (-chardev KIND,id=ID,...):\n");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		fprintf(out, "%s: %s\n", kinds[i]->name, kinds[i]->summary);
		property_help(kinds[i]->props, out);
	}
}
