// SPDX-License-Identifier: Apache-2.0
/* From a message's text to its reply's: parsing, the protocol's rules, finding and checking the
 * command. */
#define LOG_MODULE "qmp"

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/json.h"
#include "util/log.h"

static const char *error_class(const struct error *err)
{
	static const struct {
		int code;
		const char *name;
	} classes[] = {
		{ QMP_DEVICE_NOT_FOUND, "DeviceNotFound" },
		{ QMP_DEVICE_NOT_ACTIVE, "DeviceNotActive" },
		{ QMP_COMMAND_NOT_FOUND, "CommandNotFound" },
		{ QMP_KVM_MISSING_CAP, "KVMMissingCap" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (classes[i].code == error_code(err))
			return classes[i].name;
	}
	return "GenericError";
}

const struct qmp_command *qmp_command_find(const char *name)
{
	qmp_for_each_command(cmd)
	{
		if (!strcmp(cmd->name, name))
			return cmd;
	}
	return NULL;
}

char *qmp_to_line(struct json_object *object)
{
	static const char end[] = "\r\n";
	const char *text;
	char *line = NULL;
	size_t len;

	text = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (text)
		line = malloc(len + sizeof(end));
	if (line) {
		memcpy(line, text, len);
		/* Names of the command line, which messages repeat, can be any bytes. */
		json_utf8_repair(line, len);
		memcpy(line + len, end, sizeof(end));
	}
	json_object_put(object);
	return line;
}

static struct json_object *error_reply(const struct error *err)
{
	struct json_object *reply = json_object_new_object(), *inner = json_object_new_object();

	qmp_add_str(inner, "class", error_class(err));
	qmp_add_str(inner, "desc", error_text(err));
	json_object_object_add(reply, "error", inner);
	return reply;
}

char *qmp_dispatch_error(const struct error *err)
{
	return qmp_to_line(error_reply(err));
}

/* --- the outer object --- */

struct request {
	const char *execute;
	struct json_object *arguments; /* may be NULL */
};

static int check_request(struct json_object *message, struct request *request, struct error **errp)
{
	char quote[QMP_QUOTE_MAX];

	if (!json_object_is_type(message, json_type_object))
		return error_set(errp, -EINVAL, "QMP input must be a JSON object");
	json_object_object_foreach(message, key, value)
	{
		if (!strcmp(key, "execute")) {
			if (!json_object_is_type(value, json_type_string))
				return error_set(errp, -EINVAL,
						 "QMP input member 'execute' must be a string");
			request->execute = json_object_get_string(value);
		} else if (!strcmp(key, "arguments")) {
			if (!json_object_is_type(value, json_type_object))
				return error_set(errp, -EINVAL,
						 "QMP input member 'arguments' must be an object");
			request->arguments = value;
		} else if (strcmp(key, "id")) {
			return error_set(errp, -EINVAL, "QMP input member '%s' is unexpected",
					 qmp_quote(key, quote));
		}
	}
	if (!request->execute)
		return error_set(errp, -EINVAL, "QMP input lacks member 'execute'");
	return 0;
}

/* @cmd is NULL for a command that does not exist. */
static int check_negotiation(const struct qmp_client *client, const struct qmp_command *cmd,
			     struct error **errp)
{
	bool negotiates = cmd && (cmd->flags & QMP_BEFORE_NEGOTIATION);

	if (!client->strict)
		return 0;
	if (!client->negotiated && !negotiates)
		return error_set(errp, QMP_COMMAND_NOT_FOUND,
				 "Expecting capabilities negotiation with 'qmp_capabilities'");
	if (client->negotiated && negotiates)
		return error_set(errp, QMP_COMMAND_NOT_FOUND,
				 "Capabilities negotiation is already complete, command ignored");
	return 0;
}

static int run(struct qmp_call *call, struct json_object *message, struct json_object **ret,
	       struct error **errp)
{
	struct request request = { NULL, NULL };
	const struct qmp_command *cmd;
	struct json_object *args;
	char quote[QMP_QUOTE_MAX];
	int err;

	err = check_request(message, &request, errp);
	if (err)
		return err;
	cmd = qmp_command_find(request.execute);
	err = check_negotiation(call->client, cmd, errp);
	if (err)
		return err;
	if (!cmd)
		return error_set(errp, QMP_COMMAND_NOT_FOUND, "The command %s has not been found",
				 qmp_quote(request.execute, quote));
	if (cmd->flags & QMP_MORE_ARGS)
		err = qmp_check_known_members(cmd->args, request.arguments, errp);
	else
		err = qmp_check_members(cmd->args, request.arguments, errp);
	if (err)
		return err;
	log_debug("%s", cmd->name);
	args = request.arguments ? json_object_get(request.arguments) : json_object_new_object();
	err = cmd->handler(call, args, ret, errp);
	json_object_put(args);
	return err;
}

char *qmp_dispatch(struct qmp_call *call, const char *text, size_t len)
{
	struct json_object *message = NULL, *result = NULL, *reply, *id;
	struct error *err = NULL;
	int ret;

	ret = json_text_parse(text, len, &message, &err);
	if (ret)
		error_prefix(&err, "JSON parse error, ");
	else
		ret = run(call, message, &result, &err);
	if (ret) {
		json_object_put(result);
		call->after = NULL;
		log_debug("error: %s", error_text(err));
		reply = error_reply(err);
		error_free(err);
	} else {
		reply = json_object_new_object();
		json_object_object_add(reply, "return", result ? result : json_object_new_object());
	}
	/* Any value is an id, null too; it comes back as it was. */
	if (json_object_is_type(message, json_type_object) &&
	    json_object_object_get_ex(message, "id", &id))
		json_object_object_add(reply, "id", json_object_get(id));
	json_object_put(message);
	return qmp_to_line(reply);
}
