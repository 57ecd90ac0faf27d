// SPDX-License-Identifier: Apache-2.0
/* -mon chardev=ID,mode=control: one session at a time over a character back end. */
#define LOG_MODULE "qmp"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chardev/chardev.h"
#include "devices/device.h"
#include "internal.h"
#include "util/alloc.h"
#include "util/log.h"

struct chardev_monitor {
	struct qmp_monitor monitor;
	/* properties */
	struct chardev *chr;
	int mode;
	bool pretty, strict;

	struct chardev_user user;
	bool attached;
	struct qmp_session session;
	struct loop_call drop; /* the peer of a session that we ended */
};

static const char *const modes[] = { "readline", "control", NULL };

static const struct property monitor_props[] = {
	PROP_LINK("chardev", struct chardev_monitor, chr, LINK_CHARDEV, PROPERTY_REQUIRED,
		  "the character back end it speaks over"),
	PROP_ENUM("mode", struct chardev_monitor, mode, modes, 0,
		  "control: QMP, the only one there is"),
	PROP_BOOL("pretty", struct chardev_monitor, pretty, 0, "must be off: a message is a line"),
	PROP_BOOL("strict", struct chardev_monitor, strict, 1,
		  "no command before qmp_capabilities"),
	PROP_END,
};

/* --- the session's side --- */

static struct chardev_monitor *of_session(struct qmp_session *session)
{
	return container_of(session, struct chardev_monitor, session);
}

static ssize_t chr_write(struct qmp_session *session, const char *data, size_t len)
{
	return (ssize_t)chardev_write(of_session(session)->chr, data, len);
}

static void chr_accept_input(struct qmp_session *session)
{
	chardev_accept_input(of_session(session)->chr);
}

/* Later: the session may be in the middle of a write, and the back end of a read. */
static void chr_close(struct qmp_session *session)
{
	loop_call_schedule(&of_session(session)->drop);
}

static void drop_call(struct loop_call *call)
{
	chardev_disconnect(container_of(call, struct chardev_monitor, drop)->chr);
}

static const struct qmp_transport chr_transport = {
	.write = chr_write,
	.accept_input = chr_accept_input,
	.close = chr_close,
};

/* --- the back end's side --- */

static struct chardev_monitor *of_user(struct chardev_user *user)
{
	return container_of(user, struct chardev_monitor, user);
}

static size_t can_receive(struct chardev_user *user)
{
	struct chardev_monitor *mon = of_user(user);

	/* A session that we ended may have a peer for a while: what it sends goes nowhere. */
	return mon->session.open ? qmp_session_room(&mon->session) : sizeof(mon->session.input);
}

static void receive(struct chardev_user *user, const uint8_t *data, size_t len)
{
	struct chardev_monitor *mon = of_user(user);

	if (mon->session.open)
		qmp_session_input(&mon->session, (const char *)data, len);
}

static void receive_fds(struct chardev_user *user, const int *fds, unsigned int count)
{
	struct chardev_monitor *mon = of_user(user);

	for (unsigned int i = 0; i < count; i++)
		qmp_client_give_fd(&mon->session.client, fds[i]);
}

static void event(struct chardev_user *user, enum chardev_event what)
{
	struct chardev_monitor *mon = of_user(user);

	if (what != CHARDEV_OPENED && what != CHARDEV_CLOSED)
		return;
	qmp_session_close(&mon->session);
	loop_call_cancel(&mon->drop); /* that peer is gone */
	qmp_client_close_fds(&mon->session.client);
	qmp_session_release(&mon->session);
	if (what == CHARDEV_CLOSED)
		return;
	qmp_session_open(&mon->session);
	qmp_monitor_connected(&mon->monitor);
}

static void writable(struct chardev_user *user)
{
	struct chardev_monitor *mon = of_user(user);

	if (mon->session.open)
		qmp_session_writable(&mon->session);
}

/* --- opening and closing --- */

static void chardev_monitor_free(struct qmp_monitor *monitor)
{
	struct chardev_monitor *mon = container_of(monitor, struct chardev_monitor, monitor);

	if (mon->attached)
		chardev_detach(mon->chr);
	qmp_session_close(&mon->session);
	loop_call_cancel(&mon->drop);
	qmp_session_release(&mon->session);
	property_release(monitor_props, mon);
	free(mon);
}

static int monitor_attach(struct chardev_monitor *mon, struct error **errp)
{
	int ret;

	if (!mon->mode)
		return error_set(errp, -EINVAL,
				 "mode=control is needed: there is no monitor for people");
	if (mon->pretty)
		return error_set(errp, -EINVAL, "pretty=on is not offered");
	ret = chardev_attach(mon->chr, &mon->user, errp);
	mon->attached = !ret;
	return ret;
}

int qmp_chardev_monitor_new(struct qmp *qmp, const struct opts *opts, struct error **errp)
{
	static const char *const skip[] = { "id", NULL };
	struct chardev_monitor *mon = xcalloc(1, sizeof(*mon));
	char *what;
	int ret;

	mon->monitor.qmp = qmp;
	mon->monitor.free = chardev_monitor_free;
	mon->user = (struct chardev_user){
		.can_receive = can_receive,
		.receive = receive,
		.receive_fds = receive_fds,
		.event = event,
		.writable = writable,
	};
	ret = property_apply(monitor_props, mon, opts, skip, machine_platform(qmp->machine)->links,
			     errp);
	if (ret) {
		free(mon);
		return ret;
	}
	qmp_session_init(&mon->session, qmp, &chr_transport, mon->strict);
	loop_call_init(&mon->drop, qmp->loop, drop_call);
	ret = monitor_attach(mon, errp);
	if (ret) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
		chardev_monitor_free(&mon->monitor);
		return ret;
	}
	list_add_tail(&qmp->monitors, &mon->monitor.node);
	return 0;
}
