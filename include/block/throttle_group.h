/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits that several drives share: QEMU's throttle groups. What one drive uses the others do not get; when more than one
 * has requests waiting they take turns, a request each. The drives' requests may run on different threads.
 *
 * A group exists as an object ("-object throttle-group,id=…"), or because a drive named it, and then as long as a drive is
 * in it. A drive with limits of its own is a group of one. Main thread, unless said otherwise.
 */
#ifndef BLOCK_THROTTLE_GROUP_H
#define BLOCK_THROTTLE_GROUP_H

#include "block/limits.h"

struct throttle_group;

/* "-object throttle-group": the limits, by QEMU's two sets of names. On a struct throttle_group_config. */
extern const struct property throttle_group_props[];

struct throttle_group_config {
	struct block_limits limits;
};

/* A new group under LINK_THROTTLE_GROUP, with one reference. -EEXIST: there is one of that name. */
int __must_check throttle_group_new(const char *name, const struct block_limits *limits, struct link_scope *scope,
				    struct throttle_group **ret, struct error **errp);
/* The group of that name, without limits if it has to be made first; a reference more. */
struct throttle_group *throttle_group_get(const char *name, struct link_scope *scope);
void throttle_group_put(struct throttle_group *group); /* the last one frees it; NULL allowed */
bool throttle_group_is_shared(const struct throttle_group *group); /* there is more than one reference */

const char *throttle_group_name(const struct throttle_group *group);
const struct block_limits *throttle_group_limits(const struct throttle_group *group);
/* Counts at once for all drives in it. -EINVAL, -ERANGE: see block_limits_check(). */
int __must_check throttle_group_set_limits(struct throttle_group *group, const struct block_limits *limits,
					   struct error **errp);

#endif
