/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvpanic's one register (QEMU's docs/specs/pvpanic): it reads as the events that the device understands, and the guest
 * writes what happened. On a port ("pvpanic") and behind a BAR ("pvpanic-pci").
 */
#ifndef DEVICES_PVPANIC_H
#define DEVICES_PVPANIC_H

#include "devices/device.h"
#include "util/log.h"

#define PVPANIC_PANICKED 0x01
#define PVPANIC_CRASHLOADED 0x02 /* and a crash kernel takes over */
#define PVPANIC_EVENTS (PVPANIC_PANICKED | PVPANIC_CRASHLOADED)

struct pvpanic_register {
	struct platform *platform;
	uint8_t events; /* fixed when the guest runs */
	struct log_limit limit;
};

extern const struct io_ops pvpanic_ops; /* opaque: struct pvpanic_register; vCPU threads */

#define PVPANIC_EVENTS_PROP(T, f)                                         \
	PROP_UINT(8, "events", T, f.events, 0, PVPANIC_EVENTS, PVPANIC_EVENTS, \
		  "what it tells the guest it understands: 1 panicked, 2 crash kernel loaded")

#endif
