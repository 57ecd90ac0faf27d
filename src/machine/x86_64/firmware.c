// SPDX-License-Identifier: Apache-2.0
#define LOG_MODULE "machine"

#include "firmware.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "block/drive.h"
#include "boot/firmware.h"
#include "devices/fw_cfg.h"
#include "util/endian.h"
#include "util/fd.h"

/* Below 4 GiB, above the APICs and what KVM has there. */
#define FIRMWARE_END (4 * GIB)
#define FIRMWARE_MAX (16 * MIB)
/* The last 128 KiB are at the end of the first MiB as well, where a PC's firmware has always been. */
#define LEGACY_BASE 0xe0000
#define LEGACY_SIZE 0x20000

#define E820_RAM 1
#define E820_RESERVED 2

static int create_bank(struct machine *machine, unsigned int unit, uint64_t *end, struct error **errp)
{
	struct block_drive *drive = machine->flash[unit];
	uint64_t size = block_drive_size(drive);
	char id[16], props[VM_ID_MAX + 64];
	struct device *dev;

	if (size > FIRMWARE_MAX - (FIRMWARE_END - *end))
		return error_set(errp, -EFBIG, "flash bank %u: drive '%s' has no room, there are %d MiB for firmware",
				 unit, block_drive_id(drive), (int)(FIRMWARE_MAX / MIB));
	*end -= size;
	snprintf(id, sizeof(id), "flash%u", unit);
	snprintf(props, sizeof(props), "drive=%s,base=0x%" PRIx64, block_drive_id(drive), *end);
	return device_create_internal(&machine->platform, "cfi.pflash01", id, props, &dev, errp);
}

static int create_rom(struct machine *machine, struct error **errp)
{
	const char *file = machine->config->bios;
	struct opts *opts;
	struct device *dev;
	struct stat st;
	char base[24];
	int ret;

	if (path_stat(file, &st))
		return error_set_errno(errp, -errno, "-bios %s", file);
	if (st.st_size <= 0 || (uint64_t)st.st_size > FIRMWARE_MAX)
		return error_set(errp, -EINVAL, "-bios %s: the file has %lld bytes, firmware has 4 KiB to %d MiB", file,
				 (long long)st.st_size, (int)(FIRMWARE_MAX / MIB));
	snprintf(base, sizeof(base), "0x%" PRIx64, (uint64_t)(FIRMWARE_END - st.st_size));
	opts = opts_new("-bios");
	opts_set(opts, "driver", "rom");
	opts_set(opts, "id", "bios");
	opts_set(opts, "file", file);
	opts_set(opts, "base", base);
	ret = device_create(&machine->platform, opts, false, &dev, errp);
	opts_free(opts);
	return ret;
}

int x86_firmware_create(struct machine *machine, struct error **errp)
{
	uint64_t end = FIRMWARE_END;
	int ret = 0;

	if (machine->config->bios)
		return create_rom(machine, errp);
	for (unsigned int unit = 0; !ret && unit < MACHINE_FLASH_BANKS; unit++)
		if (machine->flash[unit])
			ret = create_bank(machine, unit, &end, errp);
	return ret;
}

/* --- fw_cfg -------------------------------------------------------------------------------- */

struct e820_file_entry { /* "etc/e820" */
	le64_t base, size;
	le32_t type;
} __attribute__((packed));

static struct e820_file_entry e820_entry(uint64_t base, uint64_t size, uint32_t type)
{
	return (struct e820_file_entry){ cpu_to_le64(base), cpu_to_le64(size), cpu_to_le32(type) };
}

#define E820_ENTRIES_MAX 64

static int add_e820(struct machine *machine, const struct boot_x86_range *reserved, unsigned int count,
		    struct error **errp)
{
	struct e820_file_entry entries[E820_ENTRIES_MAX];
	unsigned int ram = mem_space_ram_count(machine->space), n = 0;

	if (ram + count > E820_ENTRIES_MAX)
		return error_set(errp, -E2BIG, "the memory map has more than %d ranges", E820_ENTRIES_MAX);
	for (unsigned int i = 0; i < ram; i++) {
		const struct ram_region *region = mem_space_ram(machine->space, i);

		entries[n++] = e820_entry(region->base, region->size, E820_RAM);
	}
	for (unsigned int i = 0; i < count; i++)
		entries[n++] = e820_entry(reserved[i].base, reserved[i].size, E820_RESERVED);
	return fw_cfg_set_file(machine->fw_cfg, "etc/e820", entries, n * (uint32_t)sizeof(entries[0]), errp);
}

int x86_firmware_fill_fw_cfg(struct machine *machine, const struct boot_x86_range *reserved,
			     unsigned int reserved_count, const struct boot_source *source,
			     struct error **errp)
{
	/* Sleep states 0 to 5: bit 7 is "supported", the rest is SLP_TYP of _S3 and _S4. There is no sleep here. */
	static const uint8_t states[6] = { 0x80, 0, 0, 1, 2, 0x80 };
	const char *append = machine->config->append ? machine->config->append : "";
	int ret;

	ret = add_e820(machine, reserved, reserved_count, errp);
	if (!ret)
		ret = fw_cfg_set_file(machine->fw_cfg, "etc/system-states", states, sizeof(states), errp);
	if (!ret && source)
		ret = boot_source_to_fw_cfg(source, append, machine->fw_cfg, errp);
	return ret ? ret : machine_fill_fw_cfg(machine, errp);
}

/* --- start ---------------------------------------------------------------------------------- */

int x86_firmware_load(struct machine *machine, struct vcpu_entry *entry, struct error **errp)
{
	uint8_t page[4096];
	int ret = 0;

	for (uint32_t at = 0; !ret && at < LEGACY_SIZE; at += sizeof(page)) {
		for (uint32_t i = 0; i < sizeof(page); i += 8)
			mem_space_io_read(machine->space, IO_MMIO, FIRMWARE_END - LEGACY_SIZE + at + i, &page[i], 8);
		ret = guest_write(machine->space, LEGACY_BASE + at, page, sizeof(page));
	}
	if (ret)
		return error_set(errp, ret, "no guest memory for the firmware below 1 MiB");
	*entry = (struct vcpu_entry){ .mode = VCPU_ENTRY_RESET };
	return 0;
}
