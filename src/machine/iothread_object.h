/* SPDX-License-Identifier: Apache-2.0 */
/* "-object iothread": the object around a thread of devices. Main thread. */
#ifndef MACHINE_IOTHREAD_OBJECT_H
#define MACHINE_IOTHREAD_OBJECT_H

#include "config/opts.h"
#include "config/property.h"
#include "machine/machine.h"
#include "util/loop.h"

extern const struct property iothread_object_props[];     /* of a struct iothread_config */
extern const struct object_value iothread_object_values[]; /* of a struct iothread */

int __must_check iothread_object_new(const struct opts *opts, const char *id, struct iothread **ret, struct error **errp);

#endif
