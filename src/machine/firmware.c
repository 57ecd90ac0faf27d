// SPDX-License-Identifier: Apache-2.0
/* Flash banks and fw_cfg, as far as they are the same on every machine. */
#define LOG_MODULE "machine"

#include <errno.h>
#include <string.h>

#include "block/drive.h"
#include "boot/acpi_tables.h"
#include "boot/smbios.h"
#include "devices/fw_cfg.h"
#include "internal.h"
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

int machine_fill_fw_cfg(struct machine *machine, struct error **errp)
{
	const struct vm_config *config = machine->config;
	const le32_t boot_fail = cpu_to_le32(BOOT_FAIL_NEVER);
	struct fw_cfg *cfg = machine->fw_cfg;
	struct opts *opts;
	int ret;

	fw_cfg_set(cfg, FW_CFG_UUID, config->uuid, sizeof(config->uuid));
	fw_cfg_set_u64(cfg, FW_CFG_RAM_SIZE, machine->ram->size);
	fw_cfg_set_u16(cfg, FW_CFG_NOGRAPHIC, 1); /* talk on the serial port */
	fw_cfg_set_u16(cfg, FW_CFG_NB_CPUS, (uint16_t)machine->topology.cpus);
	fw_cfg_set_u16(cfg, FW_CFG_MAX_CPUS, (uint16_t)machine->topology.maxcpus);
	fw_cfg_set_u16(cfg, FW_CFG_BOOT_MENU, 0);
	ret = fw_cfg_set_file(cfg, FILE_BOOT_FAIL_WAIT, &boot_fail, sizeof(boot_fail), errp);
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
