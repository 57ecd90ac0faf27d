/* SPDX-License-Identifier: Apache-2.0 */
/* Devices in ACPI that machines of both architectures have, within _SB. Interrupts are ACPI's GSIs. Main thread. */
#ifndef BOOT_ACPI_DEVICES_H
#define BOOT_ACPI_DEVICES_H

#include "aml.h"
#include "boot/acpi.h"

#define ACPI_VIRTIO_MAX 256 /* two hexadecimal digits in the name */

/* @coherent: say so by _CCA (§6.2.17), without which aarch64 kernels let no device reach memory. */
void acpi_add_virtio(struct aml *aml, const struct acpi_virtio_mmio *virtio, unsigned int count, bool coherent);

/*
 * The event device of devices/ged.h and what it tells of: the power button, and the VM generation ID at @vmgenid,
 * unless that is 0.
 */
void acpi_add_ged(struct aml *aml, gpa_t base, uint32_t gsi, gpa_t vmgenid);

/* The VM generation ID at @address by itself; what notifies "VGEN" of a change (0x80) is the caller's. */
void acpi_add_vmgenid(struct aml *aml, gpa_t address);

#endif
