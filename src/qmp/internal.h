/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the qmp room share: the tables that commands, types and events are declared in,
 * the state of the control plane, and one client's session. Everything runs on the main thread.
 */
#ifndef QMP_INTERNAL_H
#define QMP_INTERNAL_H

#include <errno.h>
#include <json-c/json.h>

#include "machine/machine.h"
#include "qmp/qmp.h"
#include "util/list.h"

struct qmp;
struct qmp_client;

/* --- types: what arguments are checked against and query-qmp-schema shows (types.c) --- */

enum qmp_meta { QMP_BUILTIN, QMP_OBJECT, QMP_ARRAY, QMP_ENUM };

struct qmp_type;

struct qmp_member {
	const char *name; /* NULL ends a table */
	const struct qmp_type *type;
	bool optional;
	const char *help;
};

struct qmp_type {
	const char *name;
	enum qmp_meta meta;
	const char *json_type;		  /* QMP_BUILTIN */
	const struct qmp_member *members; /* QMP_OBJECT */
	const struct qmp_type *element;	  /* QMP_ARRAY */
	const char *const *values;	  /* QMP_ENUM, NULL-terminated */
};

#define QMP_TYPE_OBJECT(symbol, type_name, ...)                                                    \
	const struct qmp_type symbol = { .name = type_name,                                        \
					 .meta = QMP_OBJECT,                                       \
					 .members = (const struct qmp_member[]){                   \
						 __VA_ARGS__, { .name = NULL } } }
#define QMP_TYPE_ARRAY(symbol, of_name, of)                                                        \
	const struct qmp_type symbol = { .name = "[" of_name "]",                                  \
					 .meta = QMP_ARRAY,                                        \
					 .element = &(of) }
#define QMP_TYPE_ENUM(symbol, type_name, ...)                                                      \
	const struct qmp_type symbol = {                                                           \
		.name = type_name,                                                                 \
		.meta = QMP_ENUM,                                                                  \
		.values = (const char *const[]){ __VA_ARGS__, NULL },                              \
	}
#define QMP_MEMBER(n, t, h)                                                                        \
	{                                                                                          \
		.name = n, .type = &(t), .help = h                                                 \
	}
#define QMP_OPTIONAL(n, t, h)                                                                      \
	{                                                                                          \
		.name = n, .type = &(t), .optional = true, .help = h                               \
	}
#define QMP_MEMBERS(...) ((const struct qmp_member[]){ __VA_ARGS__, { .name = NULL } })

extern const struct qmp_type qmp_str, qmp_int, qmp_size, qmp_number, qmp_bool, qmp_any;
extern const struct qmp_type qmp_int_array, qmp_str_array;

/*
 * Checks @value against @members: unknown, missing and wrong ones get QEMU's error texts. @value
 * may be NULL for an empty object.
 */
int __must_check qmp_check_members(const struct qmp_member *members, struct json_object *value,
				   struct error **errp);
/* The same, but members that @members does not know are let through. */
int __must_check qmp_check_known_members(const struct qmp_member *members,
					 struct json_object *value, struct error **errp);

/* A peer's text, cut to a readable length at a character's border. Returns @buf. */
#define QMP_QUOTE_MAX 128
const char *qmp_quote(const char *text, char buf[QMP_QUOTE_MAX]);

/* --- commands (dispatch.c, cmd_*.c) --- */

/*
 * The class of an error is told by its code; any other code is a GenericError. Handlers that mean
 * one of these use the names.
 */
#define QMP_DEVICE_NOT_FOUND (-ENODEV)
#define QMP_DEVICE_NOT_ACTIVE (-EUNATCH)
#define QMP_COMMAND_NOT_FOUND (-ENOSYS)
#define QMP_KVM_MISSING_CAP (-ENOPKG)

/* One command on its way through. */
struct qmp_call {
	struct qmp *qmp; /* NULL only in tests of the dispatcher */
	struct qmp_client *client;
	/* Set by a handler: runs when the reply has been queued. */
	void (*after)(struct qmp *qmp);
};

#define QMP_BEFORE_NEGOTIATION (1u << 0) /* before qmp_capabilities, and only then */
#define QMP_MORE_ARGS (1u << 1) /* there may be more than @args, which the handler checks */

struct qmp_command {
	const char *name; /* NULL ends a table */
	const char *help;
	const struct qmp_member *args;	/* NULL = none */
	const struct qmp_type *returns; /* NULL = {} */
	unsigned int flags;
	/* @args has been checked and is never NULL. *@ret: a new reference, or left NULL for {}. */
	int (*handler)(struct qmp_call *call, struct json_object *args, struct json_object **ret,
		       struct error **errp);
};

#define QMP_HANDLER(name)                                                                          \
	static int name(struct qmp_call *call, struct json_object *args, struct json_object **ret, \
			struct error **errp)

extern const struct qmp_command *const qmp_command_tables[]; /* NULL-terminated; registry.c */
const struct qmp_command *qmp_command_find(const char *name);
#define qmp_for_each_command(cmd)                                                                  \
	for (const struct qmp_command *const *_table = qmp_command_tables; *_table; _table++)      \
		for (const struct qmp_command *cmd = *_table; cmd->name; cmd++)

extern const struct qmp_command qmp_info_commands[], qmp_cpu_commands[], qmp_life_commands[],
	qmp_back_end_commands[], qmp_block_commands[], qmp_device_commands[],
	qmp_object_commands[], qmp_memory_commands[], qmp_fd_commands[], qmp_qom_commands[], qmp_schema_commands[],
	qmp_hmp_commands[], qmp_net_commands[], qmp_probe_commands[];

/*
 * Runs one message, @text of @len bytes, and returns its reply as text ending in CR LF; caller
 * frees. NULL when memory ran out.
 */
char *qmp_dispatch(struct qmp_call *call, const char *text, size_t len);
/* The same for what was not even a message. */
char *qmp_dispatch_error(const struct error *err);
/* Takes over @object. Caller frees. NULL when memory ran out. */
char *qmp_to_line(struct json_object *object);

/* Arguments that were checked. */
bool qmp_arg_has(struct json_object *args, const char *name);
const char *qmp_arg_str(struct json_object *args, const char *name); /* NULL when absent */
int64_t qmp_arg_int(struct json_object *args, const char *name, int64_t absent);
bool qmp_arg_bool(struct json_object *args, const char *name, bool absent);

/* For errors from below whose code is not about the class: makes it a GenericError. Returns the code. */
int qmp_generic_error(int code, struct error **errp);

/* Replies. */
void qmp_add_str(struct json_object *object, const char *name, const char *value);
void qmp_add_int(struct json_object *object, const char *name, int64_t value);
void qmp_add_bool(struct json_object *object, const char *name, bool value);
void qmp_add_path(struct json_object *object, const char *name, const char *device); /* /machine/peripheral/… */

extern const struct qmp_type qmp_version_info; /* of query-version and the greeting */
struct json_object *qmp_version_object(void);
extern const struct qmp_type qmp_cpu_properties, qmp_sys_emu_target;
extern const struct qmp_type qmp_address_kind; /* of a socket */

/* --- events (event.c) --- */

struct qmp_event {
	const char *name, *help;
	const struct qmp_member *data; /* NULL = none */
	int64_t interval_ns; /* at most one in this time, the last one counts; 0 = every one is sent
			      */
	const char *key; /* member of @data: the limit holds for each of its values. NULL = for all */
};

extern const struct qmp_event *const qmp_events[]; /* NULL-terminated */

/* Takes over @data, which may be NULL. */
void qmp_event_send(struct qmp *qmp, const struct qmp_event *event, struct json_object *data);
void qmp_event_watch(struct qmp *qmp); /* turns the machine's events into QMP's */
void qmp_event_unwatch(struct qmp *qmp);

/* --- schema (schema.c, docs.c) --- */

struct json_object *qmp_schema(void);

/* --- framing (framer.c): a stream of bytes to messages --- */

#define QMP_MESSAGE_MAX MIB

enum qmp_framer_state {
	QMP_FRAMER_IDLE,
	QMP_FRAMER_MESSAGE,
	QMP_FRAMER_SKIP_LINE,	 /* garbage: goes on behind the next newline */
	QMP_FRAMER_SKIP_MESSAGE, /* too large or too deep: goes on behind its end */
};

struct qmp_framer {
	enum qmp_framer_state state;
	unsigned int depth;
	bool string, escape;
	char *text; /* the message so far */
	size_t len, size;
};

/*
 * Takes bytes up to the end of a message or of @data; *@used tells how many. 1: framer->text and
 * len hold a message until the next call. 0: more is needed. -errno: what came was no message;
 * reported once, go on behind *@used.
 */
int __must_check qmp_framer_feed(struct qmp_framer *framer, const char *data, size_t len,
				 size_t *used, struct error **errp);
void qmp_framer_reset(struct qmp_framer *framer); /* frees, too */

/* --- clients (session.c) --- */

/* A client as commands see it. */
#define QMP_CLIENT_FDS_MAX 16

struct qmp_client {
	bool strict; /* nothing but qmp_capabilities before negotiation */
	bool negotiated;
	int fds[QMP_CLIENT_FDS_MAX]; /* received and not yet used, oldest first */
	unsigned int fd_count;
};

int qmp_client_take_fd(struct qmp_client *client);	    /* -ENOENT; the caller owns it */
void qmp_client_give_fd(struct qmp_client *client, int fd); /* closes it when there are too many */
void qmp_client_close_fds(struct qmp_client *client);

/* How a session's bytes travel. */
struct qmp_session;
struct qmp_transport {
	/* Writes what goes without waiting; returns how much, or -errno when the peer is gone. A
	 * short count makes the transport call qmp_session_writable() later. */
	ssize_t (*write)(struct qmp_session *session, const char *data, size_t len);
	void (*accept_input)(struct qmp_session *session); /* there is room for input again */
	void (*close)(
		struct qmp_session *session); /* the session is over and will be freed or reset */
};

struct qmp_session {
	struct list node; /* in qmp->sessions while open */
	struct qmp *qmp;
	const struct qmp_transport *transport;
	struct qmp_client client;
	struct qmp_framer framer;
	struct loop_call work; /* input waits to be worked on */

	char input[4096]; /* received in one go, not yet framed */
	size_t input_pos, input_len;
	bool input_ended; /* the peer sends no more; ends when all is answered */

	char *output; /* not yet taken by the transport */
	size_t output_pos, output_len, output_size;
	unsigned int events_dropped;
	bool open;
};

void qmp_session_init(struct qmp_session *session, struct qmp *qmp,
		      const struct qmp_transport *transport, bool strict);
void qmp_session_open(struct qmp_session *session); /* sends the greeting */
void qmp_session_close(
	struct qmp_session *session); /* calls transport->close; harmless when closed */
void qmp_session_release(struct qmp_session *session); /* frees what it holds, not itself */

size_t qmp_session_room(const struct qmp_session *session);			   /* for input */
void qmp_session_input(struct qmp_session *session, const char *data, size_t len); /* len <= room */
void qmp_session_input_end(struct qmp_session *session);
void qmp_session_writable(struct qmp_session *session);
bool qmp_session_output_pending(const struct qmp_session *session);
void qmp_session_send_event(struct qmp_session *session, const char *line, size_t len);

/* --- monitors (server.c, monitor_chardev.c) --- */

/* One -qmp, -mon or -api-channel. */
struct qmp_monitor {
	struct list node; /* in qmp->monitors */
	struct qmp *qmp;
	bool wait; /* nobody has connected yet, and the VM is to wait */
	void (*free)(struct qmp_monitor *monitor);
};

int __must_check qmp_listener_new(struct qmp *qmp, const struct opts *opts, struct error **errp);
int __must_check qmp_chardev_monitor_new(struct qmp *qmp, const struct opts *opts,
					 struct error **errp);
void qmp_monitor_connected(struct qmp_monitor *monitor);

struct qmp {
	struct machine *machine;
	struct loop *loop;
	struct list monitors; /* struct qmp_monitor */
	struct list sessions; /* struct qmp_session, open */
	struct list limited;  /* event.c: events held back */
	struct machine_observer observer;
	bool ending;  /* SHUTDOWN was sent and the main loop stops: no more commands */
	bool waiting; /* qmp_wait() runs the loop */
	bool migration_events; /* migrate-set-capabilities */
};

#endif
