/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI CPU hot-plug registers of QEMU's PCs (docs/specs/acpi_cpu_hotplug, the "modern" interface), 12 ports. Firmware counts
 * CPUs by them; the AML of the boot room finds the CPU that came or that shall go, and ejects it. CPUs have no gaps: what can
 * be ejected is the last one, if it came by cpu_hotplug_add(). Internal device "acpi-cpu-hotplug". Main thread.
 */
#ifndef DEVICES_CPU_HOTPLUG_H
#define DEVICES_CPU_HOTPLUG_H

#include "devices/device.h"

#define CPU_HOTPLUG_PORT 0xcd8 /* as on QEMU's q35 */
#define CPU_HOTPLUG_PORTS 12

/* Offsets; the first of each line is read, the second written. */
#define CPU_HOTPLUG_SELECTOR 0x0 /* 32 bit: command data 2; CPU selector */
#define CPU_HOTPLUG_FLAGS 0x4	 /* 8 bit: status; acknowledgements */
#define CPU_HOTPLUG_COMMAND 0x5	 /* 8 bit: -; command */
#define CPU_HOTPLUG_DATA 0x8	 /* 32 bit: command data; the same */

#define CPU_HOTPLUG_ENABLED (1u << 0)	/* in FLAGS, read */
#define CPU_HOTPLUG_INSERTING (1u << 1) /* read; writing 1 acknowledges */
#define CPU_HOTPLUG_REMOVING (1u << 2)	/* the same: it shall go */
#define CPU_HOTPLUG_EJECT (1u << 3)	/* written: the guest has let go of it */

enum {
	CPU_HOTPLUG_NEXT_EVENT = 0, /* selects the next CPU with an event, and DATA is its number */
	CPU_HOTPLUG_OST_EVENT = 1,
	CPU_HOTPLUG_OST_STATUS = 2,
	CPU_HOTPLUG_ARCH_ID = 3, /* DATA and command data 2 are the low and high half of the APIC id */
};

/* CPUs [0, present) are there; before vCPUs run. */
void cpu_hotplug_init_present(struct device *dev, const uint64_t *arch_ids, unsigned int count,
			      unsigned int present);
/*
 * Who hears of CPUs that were ejected, the last one first, on the main loop. A guest that was asked and starts anew has let go, too:
 * then that is in the middle of the reset.
 */
void cpu_hotplug_watch(struct device *dev, void (*ejected)(void *opaque, unsigned int index), void *opaque);
/* Tells of what was ejected now, so that what is done next is done to the CPUs that are there. */
void cpu_hotplug_settle(struct device *dev);
/*
 * CPU @index is about to be made: until cpu_hotplug_add() the guest cannot eject the one before it. False when it has done so
 * already, since cpu_hotplug_settle(): settle, and look again at which place is next.
 */
bool __must_check cpu_hotplug_reserve(struct device *dev, unsigned int index);
/* The reserved CPU was @made and has come: the guest finds an event, and has to be told to look. Or it was not, and does not come. */
void cpu_hotplug_add(struct device *dev, unsigned int index, bool made);
/* CPU @index, which came and is the last one, shall go. The same. */
void cpu_hotplug_ask(struct device *dev, unsigned int index);

#endif
