/* SPDX-License-Identifier: Apache-2.0 */
/*
 * -config FILE: JSON into the neutral description. Two forms, told apart by the keys at the top:
 * the description as -dump-config prints it, and StratoVirt's file format before version 2. Main
 * thread, at start.
 *
 * Everything is strict. Errors begin with FILE and the JSON path of what is wrong and say what is
 * allowed there. The option lists that are made have "FILE: path" as origin, so that later errors
 * name it as well.
 */
#ifndef CONFIG_JSON_CONFIG_H
#define CONFIG_JSON_CONFIG_H

#include "config/vm_config.h"

#define JSON_CONFIG_MAX MIB /* bytes of text */

/* Fills @config, which is fresh from vm_config_init(). On failure it holds a part, to be released.
 */
int __must_check json_config_read(const char *file, struct vm_config *config, struct error **errp);
int __must_check json_config_parse(const char *file, const char *text, size_t len,
				   struct vm_config *config, struct error **errp);

/* --- Between the reader and the two forms --- */

struct json_object;

/*
 * Paths are text that messages begin with: "vm.json: " for the whole, "vm.json: drive", "vm.json:
 * drive[0].file". Caller frees.
 */
char *json_path_member(const char *parent, const char *key);
char *json_path_item(const char *parent, size_t index);

/* "PATH: a string is given, a list of objects is allowed". Returns -EINVAL. */
int json_wrong_type(const char *path, struct json_object *value, const char *allowed,
		    struct error **errp);
/* Names the nearest of the NULL-terminated @names and lists them all. Returns -EINVAL. */
int json_unknown_key(const char *parent, const char *key, const char *const *names,
		     struct error **errp);

/*
 * Stores the value of the member that the property is named after, in the JSON type that goes with
 * the property's: strings, true or false, integers; sizes are bytes, or strings with a unit.
 */
int __must_check json_property_set(const char *parent, const struct property *prop, void *object,
				   struct json_object *value, struct error **errp);

/* The members of @top, with @path the path of the whole. */
int __must_check json_description_read(struct json_object *top, const char *path,
				       struct vm_config *config, struct error **errp);
int __must_check json_old_form_read(struct json_object *top, const char *path,
				    struct vm_config *config, struct error **errp);

/* Whether the form has this key at the top; "drive" and "serial" are in both. */
bool json_description_has(const char *key);
bool json_old_form_has(const char *key);

#endif
