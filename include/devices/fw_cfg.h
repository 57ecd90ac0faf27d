/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg, QEMU's firmware configuration device (docs/specs/fw_cfg): numbered items and named files that
 * firmware, and Linux' qemu_fw_cfg driver, read byte by byte or by DMA. Devices "fw_cfg_io" (ports 0x510 to 0x51b)
 * and "fw_cfg_mem" (24 bytes at "base"); a machine makes one and fills it.
 *
 * Items are set on the main thread before the vCPUs run or in a reset, and are fixed while they run: a guest that has
 * read the directory can rely on it. Setting one again replaces it. Numbers are little-endian in the guest's eyes, as all
 * items but the directory are.
 */
#ifndef DEVICES_FW_CFG_H
#define DEVICES_FW_CFG_H

#include "config/opts.h"
#include "devices/device.h"

enum fw_cfg_key {
	FW_CFG_SIGNATURE = 0x00, /* 0x00, 0x01 and the directory are the device's own */
	FW_CFG_ID = 0x01,
	FW_CFG_UUID = 0x02,
	FW_CFG_RAM_SIZE = 0x03,
	FW_CFG_NOGRAPHIC = 0x04,
	FW_CFG_NB_CPUS = 0x05,
	FW_CFG_KERNEL_ADDR = 0x07,
	FW_CFG_KERNEL_SIZE = 0x08,
	FW_CFG_INITRD_ADDR = 0x0a,
	FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_BOOT_MENU = 0x0e,
	FW_CFG_MAX_CPUS = 0x0f,
	FW_CFG_KERNEL_DATA = 0x11,
	FW_CFG_INITRD_DATA = 0x12,
	FW_CFG_CMDLINE_ADDR = 0x13,
	FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15,
	FW_CFG_SETUP_ADDR = 0x16,
	FW_CFG_SETUP_SIZE = 0x17,
	FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_FILE_DIR = 0x19,
	FW_CFG_FILE_FIRST = 0x20, /* files, sorted by name, from here on */
	FW_CFG_IRQ0_OVERRIDE = 0x8002, /* x86: u8 1, the PIT's interrupt comes in at GSI 2 */
};

#define FW_CFG_FILES_MAX 64
#define FW_CFG_NAME_MAX 55 /* bytes, without the NUL */

#define FW_CFG_IO_BASE 0x510
#define FW_CFG_IO_SIZE 12
#define FW_CFG_MEM_SIZE 24

struct fw_cfg;

/* Of a device of one of the two classes. */
struct fw_cfg *fw_cfg_from_device(struct device *dev);

/* @data is copied. */
void fw_cfg_set(struct fw_cfg *cfg, uint16_t key, const void *data, uint32_t size);
void fw_cfg_set_u16(struct fw_cfg *cfg, uint16_t key, uint16_t value);
void fw_cfg_set_u32(struct fw_cfg *cfg, uint16_t key, uint32_t value);
void fw_cfg_set_u64(struct fw_cfg *cfg, uint16_t key, uint64_t value);
/*
 * Bytes of a host file, in the page cache until the guest asks for them: the file must not become shorter. @fd may be closed
 * afterwards. 0 or -errno.
 */
int __must_check fw_cfg_set_fd(struct fw_cfg *cfg, uint16_t key, int fd, uint64_t offset, uint32_t size);

/* A file. -EINVAL: no name, or longer than FW_CFG_NAME_MAX; -ENOSPC: FW_CFG_FILES_MAX are there. @data is copied. */
int __must_check fw_cfg_set_file(struct fw_cfg *cfg, const char *name, const void *data, uint32_t size,
				 struct error **errp);
/*
 * New content for a file that is there, while the guest runs: what firmware does to the machine shows in tables that
 * it reads later. -ENOENT; -EINVAL: @size differs. Any thread.
 */
int __must_check fw_cfg_rewrite_file(struct fw_cfg *cfg, const char *name, const void *data, uint32_t size);
bool fw_cfg_has_file(const struct fw_cfg *cfg, const char *name);

/*
 * "-fw_cfg name=NAME,string=TEXT|file=PATH". -EEXIST when the machine has a file of that name itself, so it comes after the
 * machine's own. A string has no NUL behind it, as QEMU's. Errors name the option.
 */
int __must_check fw_cfg_add_option(struct fw_cfg *cfg, const struct opts *opts, struct error **errp);
extern const struct property fw_cfg_option_props[]; /* for help */

#endif
