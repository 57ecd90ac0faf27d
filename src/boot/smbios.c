/* SPDX-License-Identifier: Apache-2.0 */
/* The structures of SMBIOS 3.0; the section numbers are those of DSP0134 3.0. Handles are those of QEMU and StratoVirt. */
#include "boot/smbios.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "smbios_options.h"
#include "util/alloc.h"
#include "util/parse.h"

#define MANUFACTURER "StratoVirt"
#define PRODUCT "Virtual Machine"
#define DIMM_MAX (16 * GIB)

enum {
	HANDLE_BIOS = 0x0000,
	HANDLE_SYSTEM = 0x0100,
	HANDLE_BOARD = 0x0200,
	HANDLE_CHASSIS = 0x0300,
	HANDLE_CPU = 0x0400,
	HANDLE_OEM_STRINGS = 0x0e00,
	HANDLE_MEMORY_ARRAY = 0x1000,
	HANDLE_DIMM = 0x1100,
	HANDLE_MEMORY_MAP = 0x1300,
	HANDLE_BOOT = 0x2000,
	HANDLE_END = 0x7f00,
	HANDLE_NONE = 0xffff,
	HANDLE_NOT_PROVIDED = 0xfffe,
};

struct smbios {
	struct blob tables;
	struct blob anchor;
	/* The structure that is being written. */
	struct blob strings;
	uint8_t string_count;
};

/* --- structures: header, formatted area, strings (§6.1) --- */

static void begin(struct smbios *smbios, uint8_t type, uint8_t length, uint16_t handle)
{
	smbios->string_count = 0;
	blob_u8(&smbios->tables, type);
	blob_u8(&smbios->tables, length);
	blob_u16(&smbios->tables, handle);
}

/* A string's number goes where it is referred to; no string is 0. */
static void string(struct smbios *smbios, const char *text)
{
	if (!text || !*text) {
		blob_u8(&smbios->tables, 0);
		return;
	}
	blob_bytes(&smbios->strings, text, strlen(text) + 1);
	blob_u8(&smbios->tables, ++smbios->string_count);
}

static void end(struct smbios *smbios)
{
	if (smbios->string_count)
		blob_bytes(&smbios->tables, smbios->strings.data, smbios->strings.len);
	else
		blob_u8(&smbios->tables, 0);
	blob_u8(&smbios->tables, 0);
	blob_free(&smbios->strings);
}

static const char *or_else(const char *text, const char *other)
{
	return text ? text : other;
}

/* --- the types --- */

/* §7.1. Characteristics: not given, but for the bits of the second extension byte. */
static int add_bios(struct smbios *smbios, const struct smbios_bios *bios, struct error **errp)
{
	struct blob *blob = &smbios->tables;
	unsigned int major = 0, minor = 0;
	char more;

	if (bios->release && (sscanf(bios->release, "%u.%u%c", &major, &minor, &more) != 2 || major > 254 ||
			      minor > 254))
		return error_set(errp, -EINVAL, "-smbios type=0: release=%s is not MAJOR.MINOR, each up to 254",
				 bios->release);
	begin(smbios, 0, 0x18, HANDLE_BIOS);
	string(smbios, or_else(bios->vendor, MANUFACTURER));
	string(smbios, or_else(bios->version, "0"));
	blob_u16(blob, 0xe800);
	string(smbios, or_else(bios->date, "01/01/2020"));
	blob_u8(blob, 0);
	blob_u64(blob, 1 << 3);
	blob_u8(blob, 0);
	blob_u8(blob, 1 << 2 | (bios->uefi ? 1 << 3 : 0) | 1 << 4); /* targeted content, UEFI, virtual machine */
	blob_u8(blob, (uint8_t)major);
	blob_u8(blob, (uint8_t)minor);
	blob_u8(blob, 0xff); /* no embedded controller */
	blob_u8(blob, 0xff);
	end(smbios);
	return 0;
}

/* §7.2. The first three fields of a UUID are little-endian here (§7.2.1). */
static int add_system(struct smbios *smbios, const struct smbios_system *system,
		      const struct smbios_info *info, struct error **errp)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t uuid[16] = { 0 };

	if (system->uuid && parse_uuid(system->uuid, uuid))
		return error_set(errp, -EINVAL, "-smbios type=1: uuid=%s is not a UUID", system->uuid);
	if (!system->uuid && info->uuid)
		memcpy(uuid, info->uuid, sizeof(uuid));
	begin(smbios, 1, 0x1b, HANDLE_SYSTEM);
	string(smbios, or_else(system->manufacturer, MANUFACTURER));
	string(smbios, or_else(system->product, PRODUCT));
	string(smbios, or_else(system->version, info->machine));
	string(smbios, system->serial);
	for (unsigned int i = 0; i < sizeof(uuid); i++)
		blob_u8(&smbios->tables, uuid[order[i]]);
	blob_u8(&smbios->tables, 6); /* woken by the power switch */
	string(smbios, system->sku);
	string(smbios, system->family);
	end(smbios);
	return 0;
}

/* §7.3 */
static void add_board(struct smbios *smbios, const struct smbios_board *board, const struct smbios_info *info)
{
	begin(smbios, 2, 0x0f, HANDLE_BOARD);
	string(smbios, or_else(board->manufacturer, MANUFACTURER));
	string(smbios, or_else(board->product, PRODUCT));
	string(smbios, or_else(board->version, info->machine));
	string(smbios, board->serial);
	string(smbios, board->asset);
	blob_u8(&smbios->tables, 1); /* hosting board */
	string(smbios, board->location);
	blob_u16(&smbios->tables, HANDLE_CHASSIS);
	blob_u8(&smbios->tables, 0x0a); /* motherboard */
	blob_u8(&smbios->tables, 0);
	end(smbios);
}

/* §7.4 */
static void add_chassis(struct smbios *smbios, const struct smbios_chassis *chassis,
			const struct smbios_info *info)
{
	begin(smbios, 3, 0x16, HANDLE_CHASSIS);
	string(smbios, or_else(chassis->manufacturer, MANUFACTURER));
	blob_u8(&smbios->tables, 1); /* "other" */
	string(smbios, or_else(chassis->version, info->machine));
	string(smbios, chassis->serial);
	string(smbios, chassis->asset);
	blob_u8(&smbios->tables, 3); /* boot-up, power and thermal state: safe */
	blob_u8(&smbios->tables, 3);
	blob_u8(&smbios->tables, 3);
	blob_u8(&smbios->tables, 2); /* security status unknown */
	blob_u32(&smbios->tables, 0);
	blob_u8(&smbios->tables, 0); /* height and power cords unspecified, nothing contained */
	blob_u8(&smbios->tables, 0);
	blob_u8(&smbios->tables, 0);
	blob_u8(&smbios->tables, 0);
	string(smbios, chassis->sku);
	end(smbios);
}

static void byte_count(struct blob *blob, uint32_t count)
{
	blob_u8(blob, (uint8_t)MIN(count, 0xffu));
}

/* §7.5, one for each socket */
static void add_cpu(struct smbios *smbios, const struct smbios_cpu *cpu, const struct vcpu_topology *topology,
		    unsigned int socket)
{
	struct blob *blob = &smbios->tables;
	uint32_t cores = topology->dies * topology->clusters * topology->cores;
	uint32_t threads = cores * topology->threads;
	char name[300];

	snprintf(name, sizeof(name), "%s%02x", or_else(cpu->sock_pfx, "CPU"), socket);
	begin(smbios, 4, 0x30, (uint16_t)(HANDLE_CPU + socket));
	string(smbios, name);
	blob_u8(blob, 3);    /* central processor */
	blob_u8(blob, 0xfe); /* family: see below */
	string(smbios, or_else(cpu->manufacturer, MANUFACTURER));
	blob_u64(blob, cpu->processor_id);
	string(smbios, cpu->version);
	blob_u8(blob, 0); /* voltage and clock unknown */
	blob_u16(blob, 0);
	blob_u16(blob, cpu->max_speed);
	blob_u16(blob, cpu->current_speed);
	blob_u8(blob, 0x41); /* populated and enabled */
	blob_u8(blob, 1);    /* "other" socket */
	blob_u16(blob, HANDLE_NONE); /* caches */
	blob_u16(blob, HANDLE_NONE);
	blob_u16(blob, HANDLE_NONE);
	string(smbios, cpu->serial);
	string(smbios, cpu->asset);
	string(smbios, cpu->part);
	byte_count(blob, cores);
	byte_count(blob, cores);
	byte_count(blob, threads);
	blob_u16(blob, 1 << 2); /* 64 bits */
	blob_u16(blob, 1);	/* family "other" */
	blob_u16(blob, (uint16_t)cores);
	blob_u16(blob, (uint16_t)cores);
	blob_u16(blob, (uint16_t)threads);
	end(smbios);
}

/* §7.12 */
static void add_oem_strings(struct smbios *smbios, const struct smbios_options *options)
{
	begin(smbios, 11, 5, HANDLE_OEM_STRINGS);
	blob_u8(&smbios->tables, (uint8_t)options->oem_count);
	for (unsigned int i = 0; i < options->oem_count; i++) {
		blob_bytes(&smbios->strings, options->oem[i], strlen(options->oem[i]) + 1);
		smbios->string_count++;
	}
	end(smbios);
}

/* §7.17 */
static void add_memory_array(struct smbios *smbios, uint64_t size, unsigned int dimms)
{
	struct blob *blob = &smbios->tables;
	bool large = size / KIB >= 0x80000000;

	begin(smbios, 16, 0x17, HANDLE_MEMORY_ARRAY);
	blob_u8(blob, 1); /* "other" location */
	blob_u8(blob, 3); /* system memory */
	blob_u8(blob, 6); /* multi-bit ECC */
	blob_u32(blob, large ? 0x80000000 : (uint32_t)(size / KIB));
	blob_u16(blob, HANDLE_NOT_PROVIDED);
	blob_u16(blob, (uint16_t)dimms);
	blob_u64(blob, large ? size : 0);
	end(smbios);
}

/* §7.18 */
static void add_dimm(struct smbios *smbios, const struct smbios_dimm *dimm, unsigned int index, uint64_t size)
{
	struct blob *blob = &smbios->tables;
	uint64_t mib = size / MIB;
	char name[300];

	snprintf(name, sizeof(name), "%s %u", or_else(dimm->loc_pfx, "DIMM"), index);
	begin(smbios, 17, 0x28, (uint16_t)(HANDLE_DIMM + index));
	blob_u16(blob, HANDLE_MEMORY_ARRAY);
	blob_u16(blob, HANDLE_NOT_PROVIDED);
	blob_u16(blob, 0xffff); /* widths unknown */
	blob_u16(blob, 0xffff);
	blob_u16(blob, mib < 0x7fff ? (uint16_t)mib : 0x7fff);
	blob_u8(blob, 9); /* DIMM */
	blob_u8(blob, 0);
	string(smbios, name);
	string(smbios, dimm->bank);
	blob_u8(blob, 7); /* RAM */
	blob_u16(blob, 1 << 1);
	blob_u16(blob, dimm->speed);
	string(smbios, or_else(dimm->manufacturer, MANUFACTURER));
	string(smbios, dimm->serial);
	string(smbios, dimm->asset);
	string(smbios, dimm->part);
	blob_u8(blob, 0);
	blob_u32(blob, mib < 0x7fff ? 0 : (uint32_t)mib);
	blob_u16(blob, dimm->speed);
	blob_zero(blob, 6); /* voltages unknown */
	end(smbios);
}

/* §7.20: addresses in KiB, or, when those do not fit, in bytes behind */
static void add_memory_map(struct smbios *smbios, const struct ram_region *ram, unsigned int index)
{
	struct blob *blob = &smbios->tables;
	uint64_t last = ram->base + ram->size - 1;
	bool large = last / KIB >= UINT32_MAX;

	begin(smbios, 19, 0x1f, (uint16_t)(HANDLE_MEMORY_MAP + index));
	blob_u32(blob, large ? UINT32_MAX : (uint32_t)(ram->base / KIB));
	blob_u32(blob, large ? UINT32_MAX : (uint32_t)(last / KIB));
	blob_u16(blob, HANDLE_MEMORY_ARRAY);
	blob_u8(blob, 1);
	blob_u64(blob, large ? ram->base : 0);
	blob_u64(blob, large ? last : 0);
	end(smbios);
}

static void add_memory(struct smbios *smbios, const struct smbios_dimm *dimm, const struct smbios_info *info)
{
	uint64_t size = mem_space_ram_total(info->space);
	unsigned int dimms = (unsigned int)((size + DIMM_MAX - 1) / DIMM_MAX);

	add_memory_array(smbios, size, dimms);
	for (unsigned int i = 0; i < dimms; i++)
		add_dimm(smbios, dimm, i, MIN(size - i * DIMM_MAX, DIMM_MAX));
	for (unsigned int i = 0; i < mem_space_ram_count(info->space); i++)
		add_memory_map(smbios, mem_space_ram(info->space, i), i);
}

/* --- the whole --- */

/* §5.2.2, the 64-bit entry point. */
static void write_anchor(struct blob *blob, const struct smbios *smbios, gpa_t tables)
{
	blob_bytes(blob, "_SM3_", 5);
	blob_u8(blob, 0); /* checksum */
	blob_u8(blob, 0x18);
	blob_u8(blob, 3); /* version 3.0.0 */
	blob_u8(blob, 0);
	blob_u8(blob, 0);
	blob_u8(blob, 1); /* revision of the entry point */
	blob_u8(blob, 0);
	blob_u32(blob, (uint32_t)smbios->tables.len);
	blob_u64(blob, tables);
	blob_checksum(blob, 5, 0, blob->len);
}

static int add_all(struct smbios *smbios, const struct smbios_options *options,
		   const struct smbios_info *info, struct error **errp)
{
	int ret = 0;

	if (options->given[0] || !info->has_firmware)
		ret = add_bios(smbios, &options->bios, errp);
	if (!ret)
		ret = add_system(smbios, &options->system, info, errp);
	if (ret)
		return ret;
	if (options->given[2])
		add_board(smbios, &options->board, info);
	add_chassis(smbios, &options->chassis, info);
	for (unsigned int i = 0; i < info->topology->sockets; i++)
		add_cpu(smbios, &options->cpu, info->topology, i);
	if (options->oem_count)
		add_oem_strings(smbios, options);
	add_memory(smbios, &options->dimm, info);
	begin(smbios, 32, 0x0b, HANDLE_BOOT); /* §7.33: no errors detected */
	blob_zero(&smbios->tables, 7);
	end(smbios);
	begin(smbios, 127, 4, HANDLE_END);
	end(smbios);
	return 0;
}

int smbios_build(const struct smbios_info *info, struct smbios **ret, struct error **errp)
{
	struct smbios *smbios = xcalloc(1, sizeof(*smbios));
	struct smbios_options options = { 0 };
	int err;

	err = smbios_options_parse(info->options, &options, errp);
	if (!err)
		err = add_all(smbios, &options, info, errp);
	smbios_options_release(&options);
	if (err) {
		smbios_free(smbios);
		return err;
	}
	write_anchor(&smbios->anchor, smbios, 0);
	*ret = smbios;
	return 0;
}

void smbios_free(struct smbios *smbios)
{
	if (!smbios)
		return;
	blob_free(&smbios->tables);
	blob_free(&smbios->anchor);
	blob_free(&smbios->strings);
	free(smbios);
}

int smbios_install(const struct smbios *smbios, struct mem_space *space, gpa_t base, uint64_t size,
		   struct error **errp)
{
	const size_t tables_at = 32; /* §5.2.2: 24 bytes, rounded up */
	struct blob blob = { 0 };
	int ret;

	if (tables_at + smbios->tables.len > size)
		return error_set(errp, -E2BIG, "the SMBIOS tables have %zu bytes, there is room for %" PRIu64,
				 smbios->tables.len, size - MIN(size, (uint64_t)tables_at));
	write_anchor(&blob, smbios, base + tables_at);
	blob_align(&blob, tables_at);
	blob_bytes(&blob, smbios->tables.data, smbios->tables.len);
	ret = guest_write(space, base, blob.data, blob.len);
	if (ret)
		error_set(errp, ret, "no guest memory for the SMBIOS tables at 0x%" PRIx64, base);
	blob_free(&blob);
	return ret;
}

const void *smbios_anchor(const struct smbios *smbios, size_t *len)
{
	*len = smbios->anchor.len;
	return smbios->anchor.data;
}

const void *smbios_tables(const struct smbios *smbios, size_t *len)
{
	*len = smbios->tables.len;
	return smbios->tables.data;
}
