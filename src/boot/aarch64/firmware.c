/* SPDX-License-Identifier: Apache-2.0 */
/* An Image for AAVMF by fw_cfg, which starts it as the EFI program that it is. */
#include "boot/firmware.h"

#include <errno.h>
#include <string.h>

#include "source.h"

int boot_source_to_fw_cfg(const struct boot_source *source, const char *cmdline, struct fw_cfg *cfg,
			  struct error **errp)
{
	const struct boot_file *kernel = &source->kernel, *initrd = &source->initrd;
	size_t len = strlen(cmdline) + 1; /* with its NUL */
	int ret;

	if (kernel->size > UINT32_MAX || (source->has_initrd && initrd->size > UINT32_MAX))
		return error_set(errp, -EFBIG, "kernel '%s' or its initrd is larger than 4 GiB", kernel->path);
	fw_cfg_set_u32(cfg, FW_CFG_KERNEL_SIZE, (uint32_t)kernel->size);
	ret = fw_cfg_set_fd(cfg, FW_CFG_KERNEL_DATA, kernel->fd, 0, (uint32_t)kernel->size);
	if (ret)
		return error_set_errno(errp, ret, "kernel '%s' cannot be handed to the firmware", kernel->path);
	fw_cfg_set_u32(cfg, FW_CFG_CMDLINE_SIZE, (uint32_t)len);
	fw_cfg_set(cfg, FW_CFG_CMDLINE_DATA, cmdline, (uint32_t)len);
	if (source->has_initrd) {
		fw_cfg_set_u32(cfg, FW_CFG_INITRD_SIZE, (uint32_t)initrd->size);
		ret = fw_cfg_set_fd(cfg, FW_CFG_INITRD_DATA, initrd->fd, 0, (uint32_t)initrd->size);
		if (ret)
			return error_set_errno(errp, ret, "initrd '%s' cannot be handed to the firmware", initrd->path);
	}
	return 0;
}
