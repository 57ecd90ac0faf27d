/* SPDX-License-Identifier: Apache-2.0 */
/* The memory balloon as the control plane sees it. Main thread. */
#ifndef VIRTIO_BALLOON_H
#define VIRTIO_BALLOON_H

#include "devices/device.h"

/* A VM has at most one; NULL without it. */
struct device *balloon_find(const struct platform *platform);

/* Asks the guest to get along with so much memory; more than the VM has means all of it. The guest
 * follows in its time. -ENOTSUP for less than all of a memory that is made of huge pages. */
int __must_check balloon_set_target(struct device *dev, uint64_t bytes, struct error **errp);

/* What the guest has now: the VM's memory less what is in the balloon. */
uint64_t balloon_actual(const struct device *dev);

#endif
