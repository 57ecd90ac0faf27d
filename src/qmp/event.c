// SPDX-License-Identifier: Apache-2.0
/* Events: what there is, how they are sent, and how the machine's become QMP's. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "block/node.h"
#include "internal.h"
#include "net/netdev.h"
#include "util/address.h"
#include "util/alloc.h"

/* --- the table --- */

static QMP_TYPE_ENUM(shutdown_cause, "ShutdownCause", "host-error", "host-qmp-quit",
		     "host-qmp-system-reset", "host-signal", "host-ui", "guest-shutdown",
		     "guest-reset", "guest-panic");
static QMP_TYPE_ENUM(panic_action, "GuestPanicAction", "pause", "poweroff", "run");

static const struct qmp_member cause_data[] = {
	QMP_MEMBER("guest", qmp_bool, "the guest asked for it"),
	QMP_MEMBER("reason", shutdown_cause, "why"),
	{ .name = NULL },
};

static const struct qmp_event event_stop = { .name = "STOP", .help = "the VM was stopped" };
static const struct qmp_event event_resume = { .name = "RESUME", .help = "the VM runs (again)" };
static const struct qmp_event event_powerdown = {
	.name = "POWERDOWN",
	.help = "the power button was pressed; the guest may heed it",
};
static const struct qmp_event event_reset = {
	.name = "RESET",
	.help = "the VM was reset",
	.data = cause_data,
};
static const struct qmp_event event_shutdown = {
	.name = "SHUTDOWN",
	.help = "the VM ends; with -no-shutdown the process stays and the VM is stopped",
	.data = cause_data,
};
static const struct qmp_event event_panicked = {
	.name = "GUEST_PANICKED",
	.help = "the guest's kernel reported a crash",
	.data = QMP_MEMBERS(QMP_MEMBER("action", panic_action, "what is done about it")),
};
static const struct qmp_event event_port = {
	.name = "VSERPORT_CHANGE",
	.help = "the guest opened or closed a port of a virtio-serial device",
	.data = QMP_MEMBERS(QMP_MEMBER("id", qmp_str, "the port's"),
			    QMP_MEMBER("open", qmp_bool, NULL)),
	.interval_ns = NSEC_PER_SEC,
	.key = "id",
};
static const struct qmp_member balloon_data[] = {
	QMP_MEMBER("actual", qmp_int, "bytes of memory that the guest has now"),
	{ .name = NULL },
};
static const struct qmp_event event_balloon = {
	.name = "BALLOON_CHANGE",
	.help = "the guest's memory has another size",
	.data = balloon_data,
	.interval_ns = NSEC_PER_SEC,
};
static const struct qmp_event event_ballooned = {
	.name = "BALLOON_CHANGED",
	.help = "BALLOON_CHANGE under the name that StratoVirt's clients wait for",
	.data = balloon_data,
	.interval_ns = NSEC_PER_SEC,
};

static const struct qmp_event event_deleted = {
	.name = "DEVICE_DELETED",
	.help = "a device was unplugged, its drive is free again",
	.data = QMP_MEMBERS(QMP_OPTIONAL("device", qmp_str, "its id"),
			    QMP_MEMBER("path", qmp_str, "/machine/peripheral/ID")),
};
static QMP_TYPE_ENUM(io_operation, "IoOperationType", "read", "write");
static QMP_TYPE_ENUM(error_action, "BlockErrorAction", "report", "ignore", "stop");
static const struct qmp_event event_io_error = {
	.name = "BLOCK_IO_ERROR",
	.help = "the host failed a request; action says whether the guest was told, was told that all is "
		"well, or is stopped",
	.data = QMP_MEMBERS(QMP_MEMBER("qom-path", qmp_str, "the disk"),
			    QMP_MEMBER("device", qmp_str, "the -drive, empty for a node"),
			    QMP_OPTIONAL("node-name", qmp_str, NULL),
			    QMP_MEMBER("operation", io_operation, "write stands for all that changes"),
			    QMP_MEMBER("action", error_action, NULL),
			    QMP_OPTIONAL("nospace", qmp_bool, "the host's disk is full"),
			    QMP_MEMBER("reason", qmp_str, "for people")),
	.interval_ns = NSEC_PER_SEC,
	.key = "node-name",
};
/* The one that stops the VM comes at once, and before STOP. */
static const struct qmp_event event_io_stop = { .name = "BLOCK_IO_ERROR" };

static QMP_TYPE_OBJECT(socket_address, "SocketAddress", QMP_MEMBER("type", qmp_address_kind, NULL),
		       QMP_OPTIONAL("path", qmp_str, "unix; empty for a socket that was given open"),
		       QMP_OPTIONAL("host", qmp_str, "inet"), QMP_OPTIONAL("port", qmp_str, "inet"));
static const struct qmp_event event_netdev_connected = {
	.name = "NETDEV_STREAM_CONNECTED",
	.help = "the other side of a -netdev stream has come",
	.data = QMP_MEMBERS(QMP_MEMBER("netdev-id", qmp_str, NULL),
			    QMP_MEMBER("addr", socket_address, "where")),
};
static const struct qmp_event event_netdev_gone = {
	.name = "NETDEV_STREAM_DISCONNECTED",
	.help = "the other side of a -netdev stream has gone; the guest sees a cable that is out",
	.data = QMP_MEMBERS(QMP_MEMBER("netdev-id", qmp_str, NULL)),
};

const struct qmp_event *const qmp_events[] = {
	&event_stop,	 &event_resume, &event_powerdown, &event_reset, &event_shutdown,
	&event_panicked, &event_port,	&event_balloon,	  &event_ballooned,
	&event_deleted,	 &event_io_error, &event_netdev_connected, &event_netdev_gone, NULL,
};

/* --- sending --- */

/* An event that is limited and was sent lately. Freed when its time is over and nothing is held
 * back. */
struct limited {
	struct list node; /* in qmp->limited */
	struct qmp *qmp;
	const struct qmp_event *event;
	struct loop_timer timer;
	bool held;
	char *key;		  /* event->key's value, NULL without one */
	struct json_object *data; /* of the one held back */
};

static void send_now(struct qmp *qmp, const struct qmp_event *event, struct json_object *data)
{
	struct json_object *message = json_object_new_object(), *stamp = json_object_new_object();
	struct qmp_session *session, *next;
	struct timespec now;
	size_t len;
	char *line;

	clock_gettime(CLOCK_REALTIME, &now);
	qmp_add_int(stamp, "seconds", now.tv_sec);
	qmp_add_int(stamp, "microseconds", now.tv_nsec / 1000);
	json_object_object_add(message, "timestamp", stamp);
	qmp_add_str(message, "event", event->name);
	if (data)
		json_object_object_add(message, "data", data);
	line = qmp_to_line(message);
	if (!line)
		return;
	len = strlen(line);
	list_for_each_safe(session, next, &qmp->sessions, node)
		qmp_session_send_event(session, line, len);
	free(line);
}

static void limited_free(struct limited *limited)
{
	list_del(&limited->node);
	loop_timer_cancel(&limited->timer);
	json_object_put(limited->data);
	free(limited->key);
	free(limited);
}

static void limited_over(struct loop_timer *timer)
{
	struct limited *limited = container_of(timer, struct limited, timer);

	if (!limited->held) {
		limited_free(limited);
		return;
	}
	limited->held = false;
	loop_timer_set(timer, clock_now_ns() + limited->event->interval_ns);
	send_now(limited->qmp, limited->event, limited->data);
	limited->data = NULL;
}

void qmp_event_send(struct qmp *qmp, const struct qmp_event *event, struct json_object *data)
{
	const char *key = event->key ? qmp_arg_str(data, event->key) : NULL;
	struct limited *limited;

	if (!event->interval_ns) {
		send_now(qmp, event, data);
		return;
	}
	list_for_each(limited, &qmp->limited, node) {
		if (limited->event != event || (key && strcmp(limited->key, key)))
			continue;
		json_object_put(limited->data); /* the last one counts */
		limited->data = data;
		limited->held = true;
		return;
	}
	limited = xcalloc(1, sizeof(*limited));
	limited->qmp = qmp;
	limited->event = event;
	limited->key = key ? xstrdup(key) : NULL;
	loop_timer_init(&limited->timer, qmp->loop, limited_over);
	loop_timer_set(&limited->timer, clock_now_ns() + event->interval_ns);
	list_add_tail(&qmp->limited, &limited->node);
	send_now(qmp, event, data);
}

/* --- the machine's events --- */

static struct json_object *cause(const struct machine_event_info *info)
{
	struct json_object *data = json_object_new_object();

	qmp_add_bool(data, "guest", info->guest);
	qmp_add_str(data, "reason", info->reason);
	return data;
}

static void add_io_error(struct json_object *data, const struct device_event_info *info)
{
	const char *node = block_drive_id(info->drive);

	qmp_add_path(data, "qom-path", device_name(info->dev));
	qmp_add_str(data, "device", block_drive_is_legacy(info->drive) ? node : "");
	qmp_add_str(data, "node-name", node);
	qmp_add_str(data, "operation", info->operation);
	qmp_add_str(data, "action", info->action);
	qmp_add_bool(data, "nospace", info->error == -ENOSPC);
	qmp_add_str(data, "reason", strerror(-info->error));
}

static void on_device_event(struct qmp *qmp, const struct machine_event_info *info)
{
	const struct device_event_info *device = info->device;
	struct json_object *data = json_object_new_object();

	switch (info->device_event) {
	case DEVICE_EVENT_PORT:
		qmp_add_bool(data, "open", device->open);
		qmp_add_str(data, "id", device->dev->id);
		qmp_event_send(qmp, &event_port, data);
		break;
	case DEVICE_EVENT_BALLOON:
		qmp_add_int(data, "actual", (int64_t)device->actual);
		qmp_event_send(qmp, &event_balloon, json_object_get(data));
		qmp_event_send(qmp, &event_ballooned, data);
		break;
	case DEVICE_EVENT_DELETED:
		qmp_add_str(data, "device", device->id);
		qmp_add_path(data, "path", device->id);
		qmp_event_send(qmp, &event_deleted, data);
		break;
	case DEVICE_EVENT_DRIVE_ERROR:
		add_io_error(data, device);
		qmp_event_send(qmp, strcmp(device->action, "stop") ? &event_io_error : &event_io_stop,
			       data);
		break;
	}
}

static struct json_object *address_of(const struct address *peer)
{
	struct json_object *addr = json_object_new_object();
	const struct sockaddr_un *un = &peer->un;
	char host[INET6_ADDRSTRLEN] = "", port[8], path[sizeof(un->sun_path) + 1] = "";

	if (peer->any.sa_family == AF_UNIX || peer->any.sa_family == AF_UNSPEC) {
		memcpy(path, un->sun_path, sizeof(un->sun_path));
		qmp_add_str(addr, "type", "unix");
		qmp_add_str(addr, "path", path);
		return addr;
	}
	if (peer->any.sa_family == AF_INET)
		inet_ntop(AF_INET, &peer->in4.sin_addr, host, sizeof(host));
	else
		inet_ntop(AF_INET6, &peer->in6.sin6_addr, host, sizeof(host));
	snprintf(port, sizeof(port), "%u",
		 ntohs(peer->any.sa_family == AF_INET ? peer->in4.sin_port : peer->in6.sin6_port));
	qmp_add_str(addr, "type", "inet");
	qmp_add_str(addr, "host", host);
	qmp_add_str(addr, "port", port);
	return addr;
}

static void on_netdev_event(struct qmp *qmp, const struct machine_event_info *info)
{
	struct json_object *data = json_object_new_object();

	qmp_add_str(data, "netdev-id", info->netdev->id);
	if (info->peer)
		json_object_object_add(data, "addr", address_of(info->peer));
	qmp_event_send(qmp, info->peer ? &event_netdev_connected : &event_netdev_gone, data);
}

static void on_machine_event(struct machine_observer *observer, enum machine_event what,
			     const struct machine_event_info *info)
{
	struct qmp *qmp = container_of(observer, struct qmp, observer);
	struct json_object *data;

	switch (what) {
	case MACHINE_EVENT_STOP:
		qmp_event_send(qmp, &event_stop, NULL);
		break;
	case MACHINE_EVENT_RESUME:
		qmp_event_send(qmp, &event_resume, NULL);
		break;
	case MACHINE_EVENT_POWERDOWN:
		qmp_event_send(qmp, &event_powerdown, NULL);
		break;
	case MACHINE_EVENT_RESET:
		qmp_event_send(qmp, &event_reset, cause(info));
		break;
	case MACHINE_EVENT_SHUTDOWN:
		qmp->ending = !info->stays;
		qmp_event_send(qmp, &event_shutdown, cause(info));
		break;
	case MACHINE_EVENT_PANICKED:
		data = json_object_new_object();
		qmp_add_str(data, "action", info->runs ? "run" : info->stays ? "pause" : "poweroff");
		qmp_event_send(qmp, &event_panicked, data);
		break;
	case MACHINE_EVENT_NETDEV:
		on_netdev_event(qmp, info);
		break;
	case MACHINE_EVENT_DEVICE:
		on_device_event(qmp, info);
		break;
	}
}

void qmp_event_watch(struct qmp *qmp)
{
	qmp->observer.event = on_machine_event;
	machine_add_observer(qmp->machine, &qmp->observer);
}

void qmp_event_unwatch(struct qmp *qmp)
{
	struct limited *limited, *next;

	machine_del_observer(&qmp->observer);
	list_for_each_safe(limited, next, &qmp->limited, node)
		limited_free(limited);
}
