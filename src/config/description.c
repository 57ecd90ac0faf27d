// SPDX-License-Identifier: Apache-2.0
/* The description in JSON: its table, and reading it. */
#include "description.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "json_config.h"
#include "opts_private.h"
#include "util/alloc.h"
#include "util/parse.h"

#define AT(field) .offset = offsetof(struct vm_config, field)

const struct description_field description_fields[] = {
	{ "machine", DESCRIPTION_OPTS, AT(machine), .kind_key = "type" },
	{ "accel", DESCRIPTION_TEXT, AT(accel), .min = 1 },
	{ "cpu", DESCRIPTION_OPTS, AT(cpu), .kind_key = "model" },
	{ "smp", DESCRIPTION_SMP, AT(smp) },
	{ "memory", DESCRIPTION_MEMORY, AT(memory_size) },
	{ "mem-path", DESCRIPTION_TEXT, AT(mem_path), .min = 1 },
	{ "numa", DESCRIPTION_WHOLE_LIST, AT(numas), .kind_key = "type" },
	{ "mem-prealloc", DESCRIPTION_FLAG, AT(mem_prealloc) },
	{ "kernel", DESCRIPTION_TEXT, AT(kernel), .min = 1 },
	{ "initrd", DESCRIPTION_TEXT, AT(initrd), .min = 1 },
	{ "append", DESCRIPTION_TEXT, AT(append) },
	{ "bios", DESCRIPTION_TEXT, AT(bios), .min = 1 },
	{ "dtb", DESCRIPTION_TEXT, AT(dtb), .min = 1 },
	{ "fw_cfg", DESCRIPTION_WHOLE_LIST, AT(fw_cfgs) },
	{ "smbios", DESCRIPTION_WHOLE_LIST, AT(smbios) },
	{ "name", DESCRIPTION_TEXT, AT(name), .min = 1 },
	{ "uuid", DESCRIPTION_UUID, AT(uuid) },
	{ "object", DESCRIPTION_LIST, AT(objects), .kind_key = "qom-type" },
	{ "chardev", DESCRIPTION_LIST, AT(chardevs), .kind_key = "backend" },
	{ "serial", DESCRIPTION_WHOLE_LIST, AT(serials), .kind_key = "backend" },
	{ "drive", DESCRIPTION_LIST, AT(drives) },
	{ "blockdev", DESCRIPTION_WHOLE_LIST, AT(blockdevs), .kind_key = "driver" },
	{ "netdev", DESCRIPTION_LIST, AT(netdevs), .kind_key = "type" },
	{ "device", DESCRIPTION_LIST, AT(devices), .kind_key = "driver" },
	{ "global", DESCRIPTION_WHOLE_LIST, AT(globals) },
	{ "monitor", DESCRIPTION_WHOLE_LIST, AT(monitors) },
	{ "start-paused", DESCRIPTION_FLAG, AT(start_paused) },
	{ "no-reboot", DESCRIPTION_FLAG, AT(no_reboot) },
	{ "no-shutdown", DESCRIPTION_FLAG, AT(no_shutdown) },
	{ "panic-action", DESCRIPTION_TEXT, AT(panic_action), .min = 1 },
	{ "rtc-base", DESCRIPTION_TEXT, AT(rtc_base), .min = 1 },
	{ "daemonize", DESCRIPTION_FLAG, AT(daemonize) },
	{ "pidfile", DESCRIPTION_TEXT, AT(pidfile), .min = 1 },
	{ "log", DESCRIPTION_LOG, AT(log_path) },
	{ "disable-seccomp", DESCRIPTION_FLAG, AT(disable_seccomp) },
	{ "sandbox", DESCRIPTION_OPTS, AT(sandbox), .kind_key = "mode" },
	{ "runas", DESCRIPTION_TEXT, AT(runas), .min = 1 },
	{ "chroot", DESCRIPTION_TEXT, AT(chroot), .min = 1 },
	{ .key = NULL },
};

const struct property description_memory =
	PROP_SIZE("memory", struct vm_config, memory_size, 1, VM_MEMORY_MIN, VM_MEMORY_MAX,
		  VM_MEMORY_DEFAULT, "guest memory");

static const struct description_field *find(const char *key)
{
	for (const struct description_field *field = description_fields; field->key; field++) {
		if (strcmp(field->key, key) == 0)
			return field;
	}
	return NULL;
}

bool json_description_has(const char *key)
{
	return find(key) != NULL;
}

static int unknown_key(const char *path, const char *key, struct error **errp)
{
	const char *names[ARRAY_SIZE(description_fields)];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		names[i] = description_fields[i].key;
	return json_unknown_key(path, key, names, errp);
}

/* --- values -------------------------------------------------------------------------------------
 */

static int read_text(const char *path, struct json_object *value, size_t min, char **to,
		     struct error **errp)
{
	const char *text;

	if (!json_object_is_type(value, json_type_string))
		return json_wrong_type(path, value, "a string", errp);
	text = json_object_get_string(value);
	if (strlen(text) < min)
		return error_set(errp, -EINVAL, "%s: the string is empty", path);
	free(*to);
	*to = xstrdup(text);
	return 0;
}

static int read_uuid(const char *path, struct json_object *value, struct vm_config *config,
		     struct error **errp)
{
	if (!json_object_is_type(value, json_type_string))
		return json_wrong_type(path, value, "a string", errp);
	if (parse_uuid(json_object_get_string(value), config->uuid))
		return error_set(errp, -EINVAL,
				 "%s: not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", path);
	config->has_uuid = true;
	return 0;
}

static int read_log(const char *path, struct json_object *value, struct vm_config *config,
		    struct error **errp)
{
	int ret = 0;

	if (json_object_is_type(value, json_type_string))
		ret = read_text(path, value, 1, &config->log_path, errp);
	else if (!json_object_is_type(value, json_type_boolean) || !json_object_get_boolean(value))
		return json_wrong_type(path, value, "a file name, or true for stderr,", errp);
	config->log_to_file = true;
	return ret;
}

static int read_smp(const char *path, struct json_object *value, struct cpu_topology *to,
		    struct error **errp)
{
	struct cpu_topology topology = { 0 };
	const char *names[16] = { NULL };
	int ret;

	if (!json_object_is_type(value, json_type_object))
		return json_wrong_type(path, value, "an object", errp);
	for (size_t i = 0; cpu_topology_properties[i].name; i++)
		names[i] = cpu_topology_properties[i].name;
	json_object_object_foreach(value, key, number)
	{
		const struct property *prop = property_find(cpu_topology_properties, key);

		if (!prop)
			return json_unknown_key(path, key, names, errp);
		ret = json_property_set(path, prop, &topology, number, errp);
		if (ret)
			return ret;
	}
	ret = cpu_topology_complete(&topology, errp);
	if (ret) {
		error_prefix(errp, "%s: ", path);
		return ret;
	}
	*to = topology;
	return 0;
}

/* Lists and null have no text; opts_from_json() refuses them as well, but does not know the path.
 */
static int check_values(const char *path, struct json_object *object, struct error **errp)
{
	json_object_object_foreach(object, key, value)
	{
		char *at = json_path_member(path, key);
		int ret = 0;

		if (json_object_is_type(value, json_type_object))
			ret = check_values(at, value, errp); /* the text has a depth limit */
		else if ((json_object_is_type(value, json_type_array) && !opts_takes_list(key)) ||
			 json_object_is_type(value, json_type_null))
			ret = json_wrong_type(at, value, "a string, an integer, true or false",
					      errp);
		free(at);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_opts(const char *path, struct json_object *value, const char *kind_key,
		     struct opts **ret, struct error **errp)
{
	struct opts *opts;
	int err;

	if (!json_object_is_type(value, json_type_object))
		return json_wrong_type(path, value, "an object", errp);
	err = check_values(path, value, errp);
	if (err)
		return err;
	err = opts_from_json(path, value, &opts, errp);
	if (err)
		return err;
	if (kind_key && !opts_get(opts, kind_key)) {
		opts_free(opts);
		return error_set(errp, -EINVAL, "%s.%s: missing, a string is required", path,
				 kind_key);
	}
	*ret = opts;
	return 0;
}

static int read_list(const char *path, struct json_object *value, const char *kind_key,
		     struct list *to, struct error **errp)
{
	if (!json_object_is_type(value, json_type_array))
		return json_wrong_type(path, value, "a list of objects", errp);
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		char *at = json_path_item(path, i);
		struct opts *opts;
		int ret;

		ret = read_opts(at, json_object_array_get_idx(value, i), kind_key, &opts, errp);
		free(at);
		if (ret)
			return ret;
		list_add_tail(to, &opts->node);
	}
	return 0;
}

/* --- the whole
 * --------------------------------------------------------------------------------------- */

static int read_field(const struct description_field *field, const char *parent,
		      struct json_object *value, struct vm_config *config, struct error **errp)
{
	char *path = json_path_member(parent, field->key);
	void *to = (char *)config + field->offset;
	struct opts *opts;
	int ret = 0;

	switch (field->kind) {
	case DESCRIPTION_TEXT:
		ret = read_text(path, value, field->min, to, errp);
		break;
	case DESCRIPTION_FLAG:
		if (json_object_is_type(value, json_type_boolean))
			*(bool *)to = json_object_get_boolean(value);
		else
			ret = json_wrong_type(path, value, "true or false", errp);
		break;
	case DESCRIPTION_MEMORY:
		ret = json_property_set(parent, &description_memory, config, value, errp);
		break;
	case DESCRIPTION_SMP:
		ret = read_smp(path, value, to, errp);
		break;
	case DESCRIPTION_UUID:
		ret = read_uuid(path, value, config, errp);
		break;
	case DESCRIPTION_LOG:
		ret = read_log(path, value, config, errp);
		break;
	case DESCRIPTION_OPTS:
		ret = read_opts(path, value, field->kind_key, &opts, errp);
		if (ret)
			break;
		opts_free(*(struct opts **)to);
		*(struct opts **)to = opts;
		break;
	case DESCRIPTION_LIST:
	case DESCRIPTION_WHOLE_LIST:
		ret = read_list(path, value, field->kind_key, to, errp);
		break;
	}
	free(path);
	return ret;
}

int json_description_read(struct json_object *top, const char *path, struct vm_config *config,
			  struct error **errp)
{
	const struct description_field *field;
	int ret;

	if (!json_object_object_get_ex(top, "machine", NULL))
		return error_set(errp, -EINVAL,
				 "%smachine: missing, an object such as {\"type\": \"microvm\"} is "
				 "required",
				 path);
	json_object_object_foreach(top, key, value)
	{
		field = find(key);
		ret = field ? read_field(field, path, value, config, errp)
			    : unknown_key(path, key, errp);
		if (ret)
			return ret;
	}
	return 0;
}
