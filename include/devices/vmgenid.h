/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM generation ID: 16 bytes in guest memory that change when the VM has become another one, so that its random numbers
 * and transactions do not repeat those of its twin (Microsoft, Virtual Machine Generation ID, 2012). The
 * DSDT, or the device tree, of the boot room names the place and the notification. Main thread.
 *
 * On machines that have a page for it, the page is no RAM: the guest reads it without an exit and cannot write it, and no
 * firmware needs to know of it.
 */
#ifndef DEVICES_VMGENID_H
#define DEVICES_VMGENID_H

#include "memory/space.h"

#define VMGENID_SIZE 16

#define VMGENID_PAGE_SIZE 0x1000
#define VMGENID_TEXT_SIZE 37

struct device;
struct platform;

/* The device, or NULL. */
struct device *vmgenid_find(const struct platform *platform);
void vmgenid_text(const struct device *dev, char text[VMGENID_TEXT_SIZE]); /* the id as a UUID */
/* Is there one? */
bool vmgenid_present(const struct platform *platform);
/* The machine has loaded its kernel's surroundings anew: puts the id at @gpa, which is reserved there. -EFAULT. */
int __must_check vmgenid_place(struct platform *platform, gpa_t gpa, struct error **errp);

#endif
