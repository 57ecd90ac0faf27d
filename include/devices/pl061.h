/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PL061 (Arm DDI 0190), eight pins of general purpose, for the one thing that needs a pin: the power button of a guest
 * that finds its devices by a device tree. Nothing else is wired to it.
 */
#ifndef DEVICES_PL061_H
#define DEVICES_PL061_H

#define PL061_SIZE 0x1000
#define PL061_POWER_PIN 3 /* high while the button is down; QEMU's */

struct platform;

/*
 * Presses the power button: it goes down, and up again when the guest has looked at the pin, or a while later. -ENODEV when
 * the machine has no PL061. Main thread.
 */
int pl061_power_button(struct platform *platform);

#endif
