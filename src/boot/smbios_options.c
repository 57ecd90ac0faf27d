/* SPDX-License-Identifier: Apache-2.0 */
/* "-smbios type=N,...": a property table for each type, with QEMU's keys. */
#include "smbios_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/parse.h"

#define TEXT(key, T, field, h) PROP_STRING(key, T, field, 0, 255, NULL, h)

static const struct property bios_props[] = {
	TEXT("vendor", struct smbios_bios, vendor, "who made the firmware"),
	TEXT("version", struct smbios_bios, version, "its version"),
	TEXT("date", struct smbios_bios, date, "of its release, mm/dd/yyyy"),
	TEXT("release", struct smbios_bios, release, "its release, MAJOR.MINOR"),
	PROP_BOOL("uefi", struct smbios_bios, uefi, 0, "it supports UEFI"),
	PROP_END,
};

static const struct property system_props[] = {
	TEXT("manufacturer", struct smbios_system, manufacturer, "who made the machine"),
	TEXT("product", struct smbios_system, product, "its name"),
	TEXT("version", struct smbios_system, version, "its version"),
	TEXT("serial", struct smbios_system, serial, "its serial number"),
	TEXT("uuid", struct smbios_system, uuid, "its UUID, else that of -uuid"),
	TEXT("sku", struct smbios_system, sku, "its SKU number"),
	TEXT("family", struct smbios_system, family, "its family"),
	PROP_END,
};

static const struct property board_props[] = {
	TEXT("manufacturer", struct smbios_board, manufacturer, "who made the board"),
	TEXT("product", struct smbios_board, product, "its name"),
	TEXT("version", struct smbios_board, version, "its version"),
	TEXT("serial", struct smbios_board, serial, "its serial number"),
	TEXT("asset", struct smbios_board, asset, "its asset tag"),
	TEXT("location", struct smbios_board, location, "where in the chassis"),
	PROP_END,
};

static const struct property chassis_props[] = {
	TEXT("manufacturer", struct smbios_chassis, manufacturer, "who made the chassis"),
	TEXT("version", struct smbios_chassis, version, "its version"),
	TEXT("serial", struct smbios_chassis, serial, "its serial number"),
	TEXT("asset", struct smbios_chassis, asset, "its asset tag"),
	TEXT("sku", struct smbios_chassis, sku, "its SKU number"),
	PROP_END,
};

static const struct property cpu_props[] = {
	TEXT("sock_pfx", struct smbios_cpu, sock_pfx, "what the sockets are called, before their number"),
	TEXT("manufacturer", struct smbios_cpu, manufacturer, "who made the processors"),
	TEXT("version", struct smbios_cpu, version, "their version"),
	TEXT("serial", struct smbios_cpu, serial, "their serial number"),
	TEXT("asset", struct smbios_cpu, asset, "their asset tag"),
	TEXT("part", struct smbios_cpu, part, "their part number"),
	PROP_UINT(16, "max-speed", struct smbios_cpu, max_speed, 0, UINT16_MAX, 2000, "MHz"),
	PROP_UINT(16, "current-speed", struct smbios_cpu, current_speed, 0, UINT16_MAX, 2000, "MHz"),
	PROP_UINT(64, "processor-id", struct smbios_cpu, processor_id, 0, UINT64_MAX, 0,
		  "CPUID 1 EAX, and EDX above it"),
	PROP_END,
};

static const struct property dimm_props[] = {
	TEXT("loc_pfx", struct smbios_dimm, loc_pfx, "what the modules are called, before their number"),
	TEXT("bank", struct smbios_dimm, bank, "their bank"),
	TEXT("manufacturer", struct smbios_dimm, manufacturer, "who made them"),
	TEXT("serial", struct smbios_dimm, serial, "their serial number"),
	TEXT("asset", struct smbios_dimm, asset, "their asset tag"),
	TEXT("part", struct smbios_dimm, part, "their part number"),
	PROP_UINT(16, "speed", struct smbios_dimm, speed, 0, UINT16_MAX, 0, "MT/s"),
	PROP_END,
};

struct oem_string {
	char *value;
};

static const struct property oem_props[] = {
	{ .name = "value", .help = "a string, one of several", .type = PROPERTY_STRING,
	  .flags = PROPERTY_REQUIRED, .offset = offsetof(struct oem_string, value), .min = 1, .max = 255 },
	PROP_END,
};

static const struct smbios_type {
	uint8_t type;
	const struct property *props;
	size_t offset; /* in struct smbios_options */
} types[] = {
	{ 0, bios_props, offsetof(struct smbios_options, bios) },
	{ 1, system_props, offsetof(struct smbios_options, system) },
	{ 2, board_props, offsetof(struct smbios_options, board) },
	{ 3, chassis_props, offsetof(struct smbios_options, chassis) },
	{ 4, cpu_props, offsetof(struct smbios_options, cpu) },
	{ 17, dimm_props, offsetof(struct smbios_options, dimm) },
};

#define TYPE_OEM_STRINGS 11

static const char *const type_skip[] = { "type", NULL };

static int parse_oem(const struct opts *opts, struct smbios_options *options, struct error **errp)
{
	struct oem_string oem = { 0 };
	int ret;

	if (options->oem_count == SMBIOS_OEM_STRINGS_MAX)
		return error_set(errp, -ENOSPC, "-smbios type=11: there are %d strings already",
				 SMBIOS_OEM_STRINGS_MAX);
	ret = property_apply(oem_props, &oem, opts, type_skip, NULL, errp);
	if (!ret)
		options->oem[options->oem_count++] = oem.value;
	return ret;
}

static int parse_one(const struct opts *opts, struct smbios_options *options, struct error **errp)
{
	const char *text = opts_get(opts, "type");
	uint64_t number;
	int ret;

	if (!text || parse_u64(text, &number))
		return error_set(errp, -EINVAL, "-smbios: type=N is needed, one of 0, 1, 2, 3, 4, 11, 17");
	if (number == TYPE_OEM_STRINGS)
		return parse_oem(opts, options, errp);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].type != number)
			continue;
		if (options->given[number])
			return error_set(errp, -EEXIST, "-smbios type=%s is given twice", text);
		ret = property_apply(types[i].props, (char *)options + types[i].offset, opts, type_skip, NULL,
				     errp);
		options->given[number] = !ret;
		return ret;
	}
	return error_set(errp, -ENOTSUP, "-smbios type=%s: the types are 0, 1, 2, 3, 4, 11, 17", text);
}

int smbios_options_parse(const struct list *list, struct smbios_options *options, struct error **errp)
{
	struct opts *opts;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		property_defaults(types[i].props, (char *)options + types[i].offset);
	list_for_each(opts, list, node) {
		ret = parse_one(opts, options, errp);
		if (ret)
			return ret;
	}
	return 0;
}

void smbios_options_release(struct smbios_options *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		property_release(types[i].props, (char *)options + types[i].offset);
	while (options->oem_count)
		free(options->oem[--options->oem_count]);
}
