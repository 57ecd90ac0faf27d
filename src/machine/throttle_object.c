// SPDX-License-Identifier: Apache-2.0
#include "throttle_object.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "util/parse.h"

/* What the names of the table have that those of "limits" have not. */
static const char prefix[] = "limits.";

int throttle_object_new(const struct opts *opts, const char *id, struct link_scope *scope, struct throttle_group **ret,
			struct error **errp)
{
	static const char *const skip[] = { "qom-type", "id", NULL };
	struct throttle_group_config config = { 0 };
	int err;

	err = property_apply(throttle_group_props, &config, opts, skip, NULL, errp);
	if (err)
		return err;
	err = throttle_group_new(id, &config.limits, scope, ret, errp);
	if (err)
		error_prefix(errp, "-object throttle-group,id=%s: ", id);
	return err;
}

/* QEMU's ThrottleLimits. */
static struct json_object *get_limits(const void *object)
{
	const struct throttle_group_config config = { *throttle_group_limits(object) };
	struct json_object *limits = json_object_new_object();

	for (const struct property *prop = throttle_group_props; prop->name; prop++) {
		char *text;

		if (strncmp(prop->name, prefix, strlen(prefix)) != 0)
			continue;
		text = property_get(prop, &config);
		json_object_object_add(limits, prop->name + strlen(prefix),
				       json_object_new_uint64(strtoull(text, NULL, 10)));
		free(text);
	}
	return limits;
}

static int set_member(struct throttle_group_config *config, const char *name, struct json_object *value,
		      struct error **errp)
{
	char full[64];
	const struct property *prop;

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	prop = property_find(throttle_group_props, full);
	if (!prop)
		return error_set(errp, -EINVAL, "Parameter '%s' is unexpected", name);
	if (!json_object_is_type(value, json_type_int))
		return error_set(errp, -EINVAL, "Invalid parameter type for '%s', expected: integer", name);
	return property_set(prop, config, json_object_get_string(value), NULL, errp);
}

/* As in QEMU, what is left out stays as it is. */
static int set_limits(void *object, struct json_object *value, struct error **errp)
{
	struct throttle_group_config config = { *throttle_group_limits(object) };
	int ret = 0;

	if (!json_object_is_type(value, json_type_object))
		return error_set(errp, -EINVAL, "Invalid parameter type for 'limits', expected: object");
	json_object_object_foreach(value, name, member)
	{
		ret = set_member(&config, name, member, errp);
		if (ret)
			return ret;
	}
	return throttle_group_set_limits(object, &config.limits, errp);
}

const struct object_value throttle_object_values[] = {
	{ "limits", "ThrottleLimits", get_limits, set_limits },
	{ .name = NULL },
};
