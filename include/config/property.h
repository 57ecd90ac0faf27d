/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The property engine (DESIGN §3): one table says which keys an object takes, where each is stored, its
 * type, range, default and help. Parsing, range checks, error texts, ",help" and introspection come from it.
 *
 * A table ends with PROP_END. An object is zero-initialised by its owner before property_defaults().
 * String properties are owned by the object and freed by property_release().
 */
#ifndef CONFIG_PROPERTY_H
#define CONFIG_PROPERTY_H

#include <stdio.h>

#include "config/opts.h"

enum property_type {
	PROPERTY_STRING, /* char *; min/max: length in bytes */
	PROPERTY_BOOL,   /* bool */
	PROPERTY_UINT8,
	PROPERTY_UINT16,
	PROPERTY_UINT32,
	PROPERTY_UINT64,
	PROPERTY_SIZE, /* uint64_t; unit: what a bare number counts */
	PROPERTY_ENUM, /* int: index in choices */
	PROPERTY_LINK, /* void *: an object of kind @choices[0] found by id in the link scope */
};

#define PROPERTY_REQUIRED (1u << 0)
#define PROPERTY_POW2 (1u << 1)   /* value must be a power of two */
#define PROPERTY_IGNORED (1u << 2) /* accepted for compatibility, without effect; no storage */

struct property {
	const char *name;
	const char *help;
	enum property_type type;
	unsigned int flags;
	size_t offset;            /* of the field in the object */
	uint64_t min, max;        /* inclusive */
	uint64_t def;             /* default of numbers, bools, enums */
	const char *def_str;      /* default of strings */
	uint64_t unit;            /* PROPERTY_SIZE */
	const char *const *choices; /* PROPERTY_ENUM: words, NULL-terminated; PROPERTY_LINK: { kind, NULL } */
};

#define PROP_END { .name = NULL }
#define PROP_STRING(n, T, f, lo, hi, dflt, h) \
	{ .name = n, .help = h, .type = PROPERTY_STRING, .offset = offsetof(T, f), .min = lo, .max = hi, .def_str = dflt }
#define PROP_BOOL(n, T, f, dflt, h) \
	{ .name = n, .help = h, .type = PROPERTY_BOOL, .offset = offsetof(T, f), .max = 1, .def = dflt }
#define PROP_UINT(bits, n, T, f, lo, hi, dflt, h)                                                  \
	{ .name = n, .help = h, .type = PROPERTY_UINT##bits, .offset = offsetof(T, f), .min = lo, \
	  .max = hi, .def = dflt }
#define PROP_POW2(bits, n, T, f, lo, hi, dflt, h)                                                  \
	{ .name = n, .help = h, .type = PROPERTY_UINT##bits, .flags = PROPERTY_POW2,              \
	  .offset = offsetof(T, f), .min = lo, .max = hi, .def = dflt }
#define PROP_SIZE(n, T, f, u, lo, hi, dflt, h)                                                 \
	{ .name = n, .help = h, .type = PROPERTY_SIZE, .offset = offsetof(T, f), .min = lo, \
	  .max = hi, .def = dflt, .unit = u }
#define PROP_ENUM(n, T, f, words, dflt, h)                                                   \
	{ .name = n, .help = h, .type = PROPERTY_ENUM, .offset = offsetof(T, f), .def = dflt, \
	  .choices = words }
/* @kind: one of LINK_* below. A link left out stays NULL unless the flag REQUIRED is set. */
#define PROP_LINK(n, T, f, kind, fl, h)                                                         \
	{ .name = n, .help = h, .type = PROPERTY_LINK, .flags = fl, .offset = offsetof(T, f), \
	  .choices = (const char *const[]){ kind, NULL } }
#define PROP_IGNORED(n, h) { .name = n, .help = h, .type = PROPERTY_STRING, .flags = PROPERTY_IGNORED, .max = 4096 }

/* --- Links: named back ends of one VM --- */

#define LINK_DRIVE "drive"       /* struct block_drive */
#define LINK_CHARDEV "chardev"   /* struct chardev */
#define LINK_IOTHREAD "iothread" /* struct iothread */
#define LINK_RNG "rng"           /* struct rng_backend */
#define LINK_MEMORY "memory-backend" /* struct ram_backend */
#define LINK_NETDEV "netdev"
#define LINK_THROTTLE_GROUP "throttle-group" /* struct throttle_group */

struct link_scope; /* kind + id → object; does not own the objects. Main thread. */
struct link_scope *link_scope_new(void);
void link_scope_free(struct link_scope *scope);
/* Ids are unique within a kind: -EEXIST with the text "<kind> id '<id>' is already used". */
int __must_check link_scope_add(struct link_scope *scope, const char *kind, const char *id, void *object,
				struct error **errp);
void *link_scope_find(const struct link_scope *scope, const char *kind, const char *id);
void link_scope_del(struct link_scope *scope, const char *kind, const char *id);

/* Calls @fn for every object of the kind, in the order they were added. @fn must not change the scope. */
void link_scope_each(const struct link_scope *scope, const char *kind,
		     void (*fn)(void *opaque, const char *id, void *object), void *opaque);

/* --- The engine --- */

/* Stores every default. */
void property_defaults(const struct property *table, void *object);

/* Parses and stores one value. The error text has the form "name=value is out of range [1, 32]". */
int __must_check property_set(const struct property *prop, void *object, const char *value,
			      const struct link_scope *scope, struct error **errp);

/*
 * Defaults, then every pair of @opts, then the required ones. Keys listed in @skip (NULL-terminated, may be
 * NULL: "driver", "id", "bus" …) are left to the caller. An unknown key is an error with the nearest known
 * name; errors are prefixed with opts_describe(). On failure the object is as after property_release().
 */
int __must_check property_apply(const struct property *table, void *object, const struct opts *opts,
				const char *const *skip, const struct link_scope *scope,
				struct error **errp);

/* Frees the strings the engine stored. */
void property_release(const struct property *table, void *object);

/* One line a property: "  num-queues=<uint16>  request queues [1, 32], default 1". */
void property_help(const struct property *table, FILE *out);

const struct property *property_find(const struct property *table, const char *name);

/* The value as text, as property_set() takes it (links: not supported, NULL). Caller frees. */
char *property_get(const struct property *prop, const void *object);

#endif
