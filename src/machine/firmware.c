// SPDX-License-Identifier: Apache-2.0
/* Flash banks and fw_cfg, as far as they are the same on every machine. */
#define LOG_MODULE "machine"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/drive.h"
#include "boot/acpi_tables.h"
#include "boot/smbios.h"
#include "devices/fw_cfg.h"
#include "internal.h"
#include "util/alloc.h"
#include "util/endian.h"

#define FILE_BOOT_FAIL_WAIT "etc/boot-fail-wait"
#define BOOT_FAIL_NEVER UINT32_MAX /* do not reboot when nothing boots */

/* --- flash ------------------------------------------------------------------------------- */

struct settle {
	struct machine *machine;
	struct error **errp;
	int ret;
};

static void settle_one(void *opaque, const char *id, void *object)
{
	struct settle *settle = opaque;
	struct block_drive *drive = object, **bank;
	int unit = block_drive_flash_unit(drive);

	if (settle->ret || unit < 0)
		return;
	bank = &settle->machine->flash[unit];
	if (*bank && *bank != drive)
		settle->ret = error_set(settle->errp, -EEXIST,
					"-drive if=pflash,id=%s: unit %d is drive '%s' already", id, unit,
					block_drive_id(*bank));
	*bank = drive;
}

int machine_settle_flash(struct machine *machine, struct error **errp)
{
	struct settle settle = { .machine = machine, .errp = errp };

	link_scope_each(machine->platform.links, LINK_DRIVE, settle_one, &settle);
	if (settle.ret)
		return settle.ret;
	if (machine->flash[1] && !machine->flash[0])
		return error_set(errp, -EINVAL, "flash bank 1 has a drive, bank 0, the firmware's, has none");
	if (machine->flash[0] && machine->config->bios)
		return error_set(errp, -EINVAL, "-bios and flash bank 0 exclude each other");
	return 0;
}

bool machine_has_firmware(const struct machine *machine)
{
	return machine->flash[0] || machine->config->bios;
}

/* --- fw_cfg -------------------------------------------------------------------------------- */

int machine_create_fw_cfg(struct machine *machine, const char *class, const char *props,
			  struct error **errp)
{
	struct device *dev;
	int ret;

	ret = device_create_internal(&machine->platform, class, "fw_cfg", props, &dev, errp);
	if (!ret)
		machine->fw_cfg = fw_cfg_from_device(dev);
	return ret;
}

static int build_smbios(struct machine *machine, struct smbios **ret, struct error **errp)
{
	const struct vm_config *config = machine->config;
	const struct smbios_info info = {
		.options = &config->smbios,
		.topology = &machine->topology,
		.space = machine->space,
		.machine = machine->class->name,
		.uuid = config->has_uuid ? config->uuid : NULL,
		.has_firmware = machine_has_firmware(machine),
	};

	return smbios_build(&info, ret, errp);
}

int machine_install_smbios(struct machine *machine, gpa_t end, struct error **errp)
{
	struct smbios *smbios;
	int ret = build_smbios(machine, &smbios, errp);

	if (ret)
		return ret;
	ret = smbios_install(smbios, machine->space, SMBIOS_AREA, end - SMBIOS_AREA, errp);
	smbios_free(smbios);
	return ret;
}

static int add_smbios(struct machine *machine, struct error **errp)
{
	struct smbios *smbios;
	const void *data;
	size_t len;
	int ret = build_smbios(machine, &smbios, errp);

	if (ret)
		return ret;
	data = smbios_anchor(smbios, &len);
	ret = fw_cfg_set_file(machine->fw_cfg, SMBIOS_FILE_ANCHOR, data, (uint32_t)len, errp);
	data = smbios_tables(smbios, &len);
	if (!ret)
		ret = fw_cfg_set_file(machine->fw_cfg, SMBIOS_FILE_TABLES, data, (uint32_t)len, errp);
	smbios_free(smbios);
	return ret;
}

/* --- boot order ------------------------------------------------------------------------------ */

#define BOOT_OPTIONS_MAX 64
#define BOOT_PATH_MAX 256

struct boot_option {
	const struct device *dev;
	uint32_t index;
	char path[BOOT_PATH_MAX];
};

static int by_index(const void *a, const void *b)
{
	const struct boot_option *left = a, *right = b;

	return left->index < right->index ? -1 : left->index > right->index;
}

static unsigned int find_boot_options(struct machine *machine, struct boot_option *options)
{
	unsigned int count = 0;
	struct device *dev;

	list_for_each(dev, &machine->platform.devices, node) {
		struct boot_option *option = &options[count];

		if (count == BOOT_OPTIONS_MAX || !dev->class->boot_option ||
		    !dev->class->boot_option(dev, option->path, sizeof(option->path), &option->index))
			continue;
		option->dev = dev;
		count++;
	}
	qsort(options, count, sizeof(*options), by_index);
	return count;
}

/* "bootorder": the paths in their order, one a line, a NUL behind the last one instead of a line's end. */
static int add_boot_order(struct machine *machine, struct error **errp)
{
	struct boot_option *options = xcalloc(BOOT_OPTIONS_MAX, sizeof(*options));
	unsigned int count = find_boot_options(machine, options);
	char *text = xstrdup("");
	int ret = 0;

	for (unsigned int i = 0; i < count; i++) {
		char *longer = xasprintf("%s%s%s%s", text, i ? "\n" : "", machine->class->firmware_bus,
					 options[i].path);

		free(text);
		text = longer;
		if (i && options[i].index == options[i - 1].index)
			ret = error_set(errp, -EEXIST, "-device %s,id=%s: bootindex=%u is device '%s' already",
					options[i].dev->class->name, options[i].dev->id, options[i].index,
					options[i - 1].dev->id);
	}
	if (!ret && count)
		ret = fw_cfg_set_file(machine->fw_cfg, "bootorder", text, (uint32_t)strlen(text) + 1, errp);
	free(options);
	free(text);
	return ret;
}

int machine_fill_fw_cfg(struct machine *machine, struct error **errp)
{
	const struct vm_config *config = machine->config;
	const le32_t boot_fail = cpu_to_le32(BOOT_FAIL_NEVER);
	struct fw_cfg *cfg = machine->fw_cfg;
	struct opts *opts;
	int ret;

	fw_cfg_set(cfg, FW_CFG_UUID, config->uuid, sizeof(config->uuid));
	fw_cfg_set_u64(cfg, FW_CFG_RAM_SIZE, machine->ram_size);
	fw_cfg_set_u16(cfg, FW_CFG_NOGRAPHIC, 1); /* talk on the serial port */
	fw_cfg_set_u16(cfg, FW_CFG_NB_CPUS, (uint16_t)machine->topology.cpus);
	fw_cfg_set_u16(cfg, FW_CFG_MAX_CPUS, (uint16_t)machine->topology.maxcpus);
	fw_cfg_set_u16(cfg, FW_CFG_BOOT_MENU, 0);
	ret = fw_cfg_set_file(cfg, FILE_BOOT_FAIL_WAIT, &boot_fail, sizeof(boot_fail), errp);
	if (!ret && machine->class->firmware_bus)
		ret = add_boot_order(machine, errp);
	if (!ret && machine_has_firmware(machine))
		ret = add_smbios(machine, errp);
	if (ret)
		return ret;
	list_for_each(opts, &config->fw_cfgs, node) {
		ret = fw_cfg_add_option(cfg, opts, errp);
		if (ret)
			return ret;
	}
	return 0;
}

int machine_fw_cfg_acpi(struct machine *machine, const struct acpi_tables *tables, struct error **errp)
{
	struct acpi_file files[ACPI_FILES];
	int ret = 0;

	acpi_tables_files(tables, files);
	for (unsigned int i = 0; !ret && i < ACPI_FILES; i++)
		ret = fw_cfg_set_file(machine->fw_cfg, files[i].name, files[i].data,
				      (uint32_t)files[i].len, errp);
	return ret;
}
