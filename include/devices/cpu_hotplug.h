/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI CPU hot-plug registers of QEMU's PCs (docs/specs/acpi_cpu_hotplug, the "modern" interface), 12 ports. Firmware counts
 * CPUs by them; the AML of the boot room finds the CPU that came. Internal device "acpi-cpu-hotplug".
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

enum {
	CPU_HOTPLUG_NEXT_EVENT = 0, /* selects the next CPU with an event, and DATA is its number */
	CPU_HOTPLUG_OST_EVENT = 1,
	CPU_HOTPLUG_OST_STATUS = 2,
	CPU_HOTPLUG_ARCH_ID = 3, /* DATA and command data 2 are the low and high half of the APIC id */
};

/* CPUs [0, present) are there; before vCPUs run. Main thread. */
void cpu_hotplug_init_present(struct device *dev, const uint64_t *arch_ids, unsigned int count,
			      unsigned int present);
/* CPU @index has come: the guest finds an event. It has to be told to look. Main thread. */
void cpu_hotplug_add(struct device *dev, unsigned int index);

#endif
