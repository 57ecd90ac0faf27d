/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMBIOS 3.0 tables (DMTF DSP0134): what the guest's dmidecode shows of the machine, from "-smbios" and from what the
 * machine is. For firmware by fw_cfg, or placed in memory for a kernel that boots without. Main thread.
 */
#ifndef BOOT_SMBIOS_H
#define BOOT_SMBIOS_H

#include "config/opts.h"
#include "cpu/vcpu.h"
#include "memory/space.h"

struct smbios;

struct smbios_info {
	const struct list *options; /* struct opts of -smbios */
	const struct vcpu_topology *topology;
	const struct mem_space *space; /* its RAM */
	const char *machine; /* the product's version, if the options do not say */
	const uint8_t *uuid; /* 16 bytes in the order of their text, or NULL */
	bool has_firmware;   /* it makes a table of type 0 of its own unless the options do */
};

/* Errors name the option. */
int __must_check smbios_build(const struct smbios_info *info, struct smbios **ret, struct error **errp);
void smbios_free(struct smbios *smbios); /* NULL allowed */

/* Where Linux and others look for the entry point (DSP0134 §5.2.2), on 16-byte boundaries. */
#define SMBIOS_AREA 0xf0000
#define SMBIOS_AREA_SIZE 0x10000

/* Entry point at @base and tables behind it, within @size bytes. -E2BIG, -EFAULT: nothing was written. */
int __must_check smbios_install(const struct smbios *smbios, struct mem_space *space, gpa_t base, uint64_t size,
				struct error **errp);

/* Names and contents in fw_cfg; the contents are @smbios'. */
#define SMBIOS_FILE_ANCHOR "etc/smbios/smbios-anchor"
#define SMBIOS_FILE_TABLES "etc/smbios/smbios-tables"
const void *smbios_anchor(const struct smbios *smbios, size_t *len);
const void *smbios_tables(const struct smbios *smbios, size_t *len);

#endif
