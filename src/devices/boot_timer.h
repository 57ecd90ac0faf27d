/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BOOT_TIMER_H
#define BOOT_TIMER_H

#include "devices/device.h"

#define BOOT_TIMER_MEM_SIZE 4

/* Is this port, or guest address, the boot timer's? Main thread. */
bool boot_timer_claims(const struct platform *platform, uint64_t where);

#endif
