/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel handed to firmware by fw_cfg, instead of being loaded and entered (boot.h). Main thread. */
#ifndef BOOT_FIRMWARE_H
#define BOOT_FIRMWARE_H

#include "boot/boot.h"
#include "devices/fw_cfg.h"

/*
 * Kernel, initrd and @cmdline as OVMF and AAVMF take them; @source is not needed afterwards. -ENOTSUP for formats that firmware cannot boot.
 */
int __must_check boot_source_to_fw_cfg(const struct boot_source *source, const char *cmdline, struct fw_cfg *cfg,
				       struct error **errp);

#endif
