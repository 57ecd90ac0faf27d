/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Generic Event Device's registers (ACPI 6.5 §5.6.9) and the hardware-reduced sleep and reset registers
 * (§4.8.3.7, §4.8.3.6), one 4 KiB MMIO page. The DSDT of the boot room and the device share these constants.
 *
 * The interrupt is a pulse: the DSDT announces it as Edge, ActiveHigh. Every event sets its bit before the pulse, and
 * reading GED_REG_EVENTS takes all bits at once, so no event is lost between two pulses.
 */
#ifndef DEVICES_GED_H
#define DEVICES_GED_H

#define GED_MMIO_SIZE 0x1000
#define GED_REG_EVENTS 0x00     /* 32 bit, read: pending events, and clears them */
#define GED_REG_SLEEP_CTL 0x10  /* 8 bit: SLP_TYP in bits 2-4, SLP_EN bit 5 */
#define GED_REG_SLEEP_STS 0x11  /* 8 bit: WAK_STS bit 7 */
#define GED_REG_RESET 0x12      /* 8 bit: GED_RESET_VALUE resets */
#define GED_RESET_VALUE 0x42
#define GED_SLEEP_TYPE_S5 5

#define GED_EVENT_POWER_BUTTON (1u << 0)
#define GED_EVENT_VM_GENERATION (1u << 1)

struct platform;

/* Presses the power button: sets the event and raises the line. -ENODEV when the machine has no GED. Main thread. */
int ged_power_button(struct platform *platform);
/* The VM generation ID has changed. -ENODEV likewise. Main thread. */
int ged_vm_generation(struct platform *platform);

#endif
