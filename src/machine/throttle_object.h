/* SPDX-License-Identifier: Apache-2.0 */
/* "-object throttle-group": the object around a group of the block room. Main thread. */
#ifndef MACHINE_THROTTLE_OBJECT_H
#define MACHINE_THROTTLE_OBJECT_H

#include "block/throttle_group.h"
#include "machine/machine.h"

extern const struct object_value throttle_object_values[]; /* of a struct throttle_group */

int __must_check throttle_object_new(const struct opts *opts, const char *id, struct link_scope *scope,
				     struct throttle_group **ret, struct error **errp);

#endif
