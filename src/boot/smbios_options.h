/* SPDX-License-Identifier: Apache-2.0 */
/* What -smbios says, type by type. Strings that are NULL were not given. */
#ifndef BOOT_SMBIOS_OPTIONS_H
#define BOOT_SMBIOS_OPTIONS_H

#include "config/property.h"

#define SMBIOS_OEM_STRINGS_MAX 64

struct smbios_options {
	bool given[128]; /* by type */
	struct smbios_bios {
		char *vendor, *version, *date, *release;
		bool uefi;
	} bios;
	struct smbios_system {
		char *manufacturer, *product, *version, *serial, *uuid, *sku, *family;
	} system;
	struct smbios_board {
		char *manufacturer, *product, *version, *serial, *asset, *location;
	} board;
	struct smbios_chassis {
		char *manufacturer, *version, *serial, *asset, *sku;
	} chassis;
	struct smbios_cpu {
		char *sock_pfx, *manufacturer, *version, *serial, *asset, *part;
		uint16_t max_speed, current_speed; /* MHz */
		uint64_t processor_id;
	} cpu;
	struct smbios_dimm {
		char *loc_pfx, *bank, *manufacturer, *serial, *asset, *part;
		uint16_t speed; /* MT/s */
	} dimm;
	char *oem[SMBIOS_OEM_STRINGS_MAX];
	unsigned int oem_count;
};

/* @options: zeroed; released by the caller also after a failure. */
int __must_check smbios_options_parse(const struct list *list, struct smbios_options *options, struct error **errp);
void smbios_options_release(struct smbios_options *options);

#endif
