// SPDX-License-Identifier: Apache-2.0
#include "pc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int pc_add_ram(struct machine *machine, uint64_t low, struct error **errp)
{
	uint64_t size = machine->ram_size;
	int ret;

	low = MIN(size, low);
	ret = machine_map_ram(machine, 0, 0, low, errp);
	if (!ret && size > low)
		ret = machine_map_ram(machine, PC_RAM_HIGH_BASE, low, size - low, errp);
	return ret;
}

/* Each -serial is a back end of its own, "chardev:ID" or "none"; the nth one is COM<n>. */
static int create_serial(struct machine *machine, const struct opts *opts, unsigned int index,
			 struct error **errp)
{
	const char *backend = opts_get(opts, "backend");
	char chardev[VM_ID_MAX + 1], id[16], props[VM_ID_MAX + 64];
	struct device *dev;

	snprintf(id, sizeof(id), "serial%u", index);
	snprintf(chardev, sizeof(chardev), "%s",
		 backend && !strcmp(backend, "chardev") ? opts_get(opts, "chardev") : id);
	snprintf(props, sizeof(props), "chardev=%s,index=%u", chardev, index);
	return device_create_internal(&machine->platform, "isa-serial", id, props, &dev, errp);
}

int pc_create_serials(struct machine *machine, unsigned int max, unsigned int *count,
		      struct error **errp)
{
	unsigned int index = 0;
	struct opts *opts;
	int ret;

	*count = 0;
	list_for_each(opts, &machine->config->serials, node) {
		const char *backend = opts_get(opts, "backend");

		if (!backend || strcmp(backend, "none")) {
			if (index >= max)
				return error_set(errp, -EINVAL,
						 "-serial: machine %s has %u serial port%s",
						 machine->class->name, max, max == 1 ? "" : "s");
			ret = create_serial(machine, opts, index, errp);
			if (ret)
				return ret;
			++*count;
		}
		index++;
	}
	return 0;
}

int pc_create_rtc(struct machine *machine, uint64_t low, unsigned int irq, struct error **errp)
{
	struct device *dev;
	char props[128];

	low = MIN(machine->ram_size, low);
	snprintf(props, sizeof(props), "low-memory=%" PRIu64 ",high-memory=%" PRIu64 ",irq=%u", low,
		 machine->ram_size - low, irq);
	return device_create_internal(&machine->platform, "mc146818rtc", "rtc", props, &dev, errp);
}
