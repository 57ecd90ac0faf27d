/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of this room, for the registry of the machine room (DESIGN §3). */
#ifndef DEVICES_CLASSES_H
#define DEVICES_CLASSES_H

struct device_class;

/* x86 port I/O devices */
extern const struct device_class serial_class;	   /* "isa-serial": 16550A */
extern const struct device_class debug_exit_class; /* "isa-debug-exit" */
extern const struct device_class pvpanic_class;	   /* "pvpanic" on the ISA port */
extern const struct device_class rtc_class;	   /* "mc146818rtc" */
extern const struct device_class i8042_class;	   /* "i8042" */
extern const struct device_class cpu_hotplug_class; /* "acpi-cpu-hotplug" */

/* aarch64 */
extern const struct device_class pl011_class; /* "pl011": serial port */
extern const struct device_class pl031_class; /* "pl031": real-time clock */
extern const struct device_class pl061_class; /* "pl061": GPIO; devices/pl061.h */

/* any architecture */
extern const struct device_class boot_timer_class; /* "boot-timer"; to be made before the serial port */
extern const struct device_class fw_cfg_io_class;  /* "fw_cfg_io"; devices/fw_cfg.h */
extern const struct device_class fw_cfg_mem_class; /* "fw_cfg_mem" */
extern const struct device_class pflash_class;	   /* "cfi.pflash01" */
extern const struct device_class rom_class;	   /* "rom" */
extern const struct device_class ged_class; /* "acpi-ged" */
extern const struct device_class vmgenid_class; /* "vmgenid" */

#endif
