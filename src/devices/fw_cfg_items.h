/* SPDX-License-Identifier: Apache-2.0 */
/* The items of a fw_cfg device and its directory, apart from the registers they are read by. */
#ifndef DEVICES_FW_CFG_ITEMS_H
#define DEVICES_FW_CFG_ITEMS_H

#include "devices/fw_cfg.h"

struct fw_cfg_item {
	uint16_t key;
	char name[FW_CFG_NAME_MAX + 1]; /* of a file, else empty */
	uint32_t size;
	uint8_t *data;
	void *map;       /* data is in here, a mapping of a host file; NULL: allocated */
	size_t map_size;
};

struct fw_cfg_items { /* zero-initialised: empty */
	struct fw_cfg_item *items; /* files are sorted by name */
	unsigned int count, files;
};

struct fw_cfg_items *fw_cfg_items_of(struct fw_cfg *cfg);

/* NULL: no such item. The bit that once asked to write is ignored. Any thread while vCPUs run. */
const struct fw_cfg_item *fw_cfg_item_find(const struct fw_cfg_items *items, uint16_t key);

/* New bytes for a file of the same size. -ENOENT, -EINVAL. Under the device's lock. */
int __must_check fw_cfg_items_rewrite(struct fw_cfg_items *items, const char *name, const void *data,
				      uint32_t size);
/* Numbers the files in the order of their names and writes the directory anew. */
void fw_cfg_items_update(struct fw_cfg_items *items);
void fw_cfg_items_release(struct fw_cfg_items *items);

#endif
