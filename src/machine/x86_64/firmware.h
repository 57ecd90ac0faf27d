/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware on x86_64: flash or ROM that ends at 4 GiB, where the CPU starts, and what fw_cfg has beside the common items. */
#ifndef MACHINE_X86_FIRMWARE_H
#define MACHINE_X86_FIRMWARE_H

#include "../internal.h"

/* Flash banks (0 ends at 4 GiB, 1 below it) or the ROM of -bios; machine_settle_flash() is done. Nothing without any. */
int __must_check x86_firmware_create(struct machine *machine, struct error **errp);

/* machine_fill_fw_cfg(), the memory map with the @reserved ranges, and the kernel that the firmware shall boot, or NULL. */
int __must_check x86_firmware_fill_fw_cfg(struct machine *machine, const struct boot_x86_range *reserved,
					  unsigned int reserved_count, const struct boot_source *source,
					  struct error **errp);

/* At start and after a reset: the CPU begins at the reset vector. */
int __must_check x86_firmware_load(struct machine *machine, struct vcpu_entry *entry, struct error **errp);

#endif
