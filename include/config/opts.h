/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct opts: one option string ("virtio-blk-device,drive=d0,id=b0") taken apart into ordered key=value
 * pairs, with the name it came under for error texts. The neutral form between the front ends (command
 * line, old dialect, JSON, QMP) and the property tables. Owned by whoever made it; one thread at a time.
 *
 * Grammar (QEMU's): pairs separated by ','; ",," is a literal comma; a first word without '=' is the value
 * of the implied key; a later word without '=' is a flag and means "=on" ("server", "nowait" = wait=off is
 * the chardev room's own translation).
 */
#ifndef CONFIG_OPTS_H
#define CONFIG_OPTS_H

#include "util/error.h"
#include "util/list.h"

struct opt {
	struct list node;
	char *key;
	char *value;
	bool flag;    /* a bare word: the value is "on" */
	bool implied; /* a first bare word: the value of the implied key */
};

struct opts {
	struct list node; /* for a list in the VM description */
	char *origin;     /* "-device": what messages start with */
	struct list pairs; /* struct opt, in the order given */
};

struct opts *opts_new(const char *origin);
void opts_free(struct opts *opts); /* NULL allowed */
struct opts *opts_clone(const struct opts *opts);

/* @implied: key of a first bare word ("driver", "type"), or NULL when there is none. A key given twice
 * is an error that names it. */
int __must_check opts_parse(const char *origin, const char *text, const char *implied,
			    struct opts **ret, struct error **errp);

/*
 * The same from JSON, as libvirt passes -device and -object: one object; booleans become on and off, numbers
 * their text, members of nested objects dotted keys. Lists, null and nesting deeper than 8 are refused, as
 * is a key given twice.
 */
int __must_check opts_parse_json(const char *origin, const char *text, struct opts **ret,
				 struct error **errp);

/* From a parsed json-c object, for front ends that have one. It cannot tell about keys given twice in the text. */
struct json_object;
int __must_check opts_from_json(const char *origin, struct json_object *object, struct opts **ret,
				struct error **errp);

const char *opts_get(const struct opts *opts, const char *key); /* NULL when absent */
void opts_set(struct opts *opts, const char *key, const char *value); /* replaces or appends */
bool opts_del(struct opts *opts, const char *key); /* true when it was there */
/* Removes @key and returns its value (caller frees), or NULL. */
char *opts_take(struct opts *opts, const char *key);

/* "-device virtio-blk-device,id=d0": how messages name this option. Caller frees. */
char *opts_describe(const struct opts *opts);

/* Back to text, with commas escaped. Caller frees. */
char *opts_to_string(const struct opts *opts);

#endif
