/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bzImage for OVMF by fw_cfg. Setup and kernel together are the file as it is, which OVMF starts as the EFI
 * program that it is; the addresses are for firmware that loads it by the boot protocol, and where QEMU suggests them.
 */
#include "boot/firmware.h"

#include <errno.h>
#include <string.h>

#include "source.h"

#define SETUP_ADDR 0x10000
#define CMDLINE_ADDR 0x20000

int boot_source_to_fw_cfg(const struct boot_source *source, const char *cmdline, struct fw_cfg *cfg,
			  struct error **errp)
{
	const struct boot_file *kernel = &source->kernel, *initrd = &source->initrd;
	uint64_t setup = source->bzimage.code_offset;
	int ret;
	size_t len = strlen(cmdline) + 1; /* with its NUL */

	if (source->format != BOOT_BZIMAGE)
		return error_set(errp, -ENOTSUP,
				 "-kernel %s: firmware boots EFI programs, and of kernel images only a bzImage is one; "
				 "without flash or -bios this one is entered directly",
				 kernel->path);
	if (kernel->size > UINT32_MAX || (source->has_initrd && initrd->size > UINT32_MAX))
		return error_set(errp, -EFBIG, "kernel '%s' or its initrd is larger than 4 GiB", kernel->path);
	fw_cfg_set_u32(cfg, FW_CFG_SETUP_ADDR, SETUP_ADDR);
	fw_cfg_set_u32(cfg, FW_CFG_SETUP_SIZE, (uint32_t)setup);
	fw_cfg_set_u32(cfg, FW_CFG_KERNEL_ADDR, BZIMAGE_LOAD);
	fw_cfg_set_u32(cfg, FW_CFG_KERNEL_SIZE, (uint32_t)(kernel->size - setup));
	fw_cfg_set_u32(cfg, FW_CFG_CMDLINE_ADDR, CMDLINE_ADDR);
	fw_cfg_set_u32(cfg, FW_CFG_CMDLINE_SIZE, (uint32_t)len);
	fw_cfg_set(cfg, FW_CFG_CMDLINE_DATA, cmdline, (uint32_t)len);
	ret = fw_cfg_set_fd(cfg, FW_CFG_SETUP_DATA, kernel->fd, 0, (uint32_t)setup);
	if (!ret)
		ret = fw_cfg_set_fd(cfg, FW_CFG_KERNEL_DATA, kernel->fd, setup, (uint32_t)(kernel->size - setup));
	if (ret)
		return error_set_errno(errp, ret, "kernel '%s' cannot be read", kernel->path);
	if (!source->has_initrd)
		return 0;
	fw_cfg_set_u32(cfg, FW_CFG_INITRD_SIZE, (uint32_t)initrd->size);
	ret = fw_cfg_set_fd(cfg, FW_CFG_INITRD_DATA, initrd->fd, 0, (uint32_t)initrd->size);
	return ret ? error_set_errno(errp, ret, "initrd '%s' cannot be read", initrd->path) : 0;
}
