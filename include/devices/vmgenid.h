/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM generation ID: 16 bytes in guest memory that change when the VM has become another one, so that its random numbers
 * and transactions do not repeat those of its twin (Microsoft, Virtual Machine Generation ID, 2012). The
 * DSDT of the boot room names the place and the notification. Main thread.
 */
#ifndef DEVICES_VMGENID_H
#define DEVICES_VMGENID_H

#include "memory/space.h"

#define VMGENID_SIZE 16

struct platform;

/* Is there one? */
bool vmgenid_present(const struct platform *platform);
/* The machine has loaded its kernel's surroundings anew: puts the id at @gpa, which is reserved there. -EFAULT. */
int __must_check vmgenid_place(struct platform *platform, gpa_t gpa, struct error **errp);

#endif
