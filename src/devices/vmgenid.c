// SPDX-License-Identifier: Apache-2.0
/* The VM generation ID, see devices/vmgenid.h. It stays the same over a reset, a pause and any length of time. */
#define LOG_MODULE "vmgenid"

#include "devices/vmgenid.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "devices/classes.h"
#include "devices/device.h"
#include "devices/ged.h"
#include "interrupt/irq.h"
#include "rom_image.h"
#include "util/log.h"
#include "util/parse.h"

struct vmgenid {
	struct device dev;
	char *guid_text;
	uint8_t guid[VMGENID_SIZE]; /* in text order */
	gpa_t gpa;		    /* in RAM; 0: not placed yet, or never */

	/* Where the machine has a page for it. */
	struct rom_image page;
	struct io_region region;
	struct irq_line line;
	bool has_line;
};

static struct vmgenid *find(const struct platform *platform)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node)
		if (dev->class == &vmgenid_class)
			return container_of(dev, struct vmgenid, dev);
	return NULL;
}

static int parse(const char *text, uint8_t guid[VMGENID_SIZE], struct error **errp)
{
	if (strcmp(text, "auto"))
		return parse_uuid(text, guid) ? error_set(errp, -EINVAL,
							   "guid=%s is neither a UUID nor 'auto'", text)
					      : 0;
	if (getrandom(guid, VMGENID_SIZE, 0) != VMGENID_SIZE)
		return error_set_errno(errp, -EIO, "random bytes for guid=auto");
	guid[6] = (guid[6] & 0x0f) | 0x40; /* RFC 4122 §4.4 */
	guid[8] = (guid[8] & 0x3f) | 0x80;
	return 0;
}

/* The first three fields are little-endian in memory. */
static int write_guid(const struct vmgenid *vmgenid)
{
	static const uint8_t order[VMGENID_SIZE] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t bytes[VMGENID_SIZE];

	for (unsigned int i = 0; i < VMGENID_SIZE; i++)
		bytes[i] = vmgenid->guid[order[i]];
	if (vmgenid->page.data) {
		memcpy(vmgenid->page.data, bytes, sizeof(bytes));
		return 0;
	}
	return guest_write(vmgenid->dev.platform->space, vmgenid->gpa, bytes, sizeof(bytes));
}

bool vmgenid_present(const struct platform *platform)
{
	return find(platform);
}

struct device *vmgenid_find(const struct platform *platform)
{
	struct vmgenid *vmgenid = find(platform);

	return vmgenid ? &vmgenid->dev : NULL;
}

int vmgenid_place(struct platform *platform, gpa_t gpa, struct error **errp)
{
	struct vmgenid *vmgenid = find(platform);

	if (!vmgenid)
		return 0;
	vmgenid->gpa = gpa;
	if (write_guid(vmgenid))
		return error_set(errp, -EFAULT, "no guest memory for the VM generation ID");
	return 0;
}

void vmgenid_text(const struct device *dev, char text[VMGENID_TEXT_SIZE])
{
	const uint8_t *g = container_of(dev, const struct vmgenid, dev)->guid;

	snprintf(text, VMGENID_TEXT_SIZE,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", g[0], g[1],
		 g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12], g[13], g[14],
		 g[15]);
}

static struct json_object *get_guid(struct device *dev)
{
	char text[VMGENID_TEXT_SIZE];

	vmgenid_text(dev, text);
	return json_object_new_string(text);
}

/* Whatever there is: an event of ACPI's, and the line of a device tree. -ENODEV: neither. */
static int tell_guest(struct vmgenid *vmgenid)
{
	struct platform *platform = vmgenid->dev.platform;

	if (platform->vm_generation)
		return platform->vm_generation(platform);
	if (vmgenid->has_line)
		irq_pulse(&vmgenid->line);
	if (ged_vm_generation(platform) == -ENODEV && !vmgenid->has_line)
		return -ENODEV;
	return 0;
}

static int set_guid(struct device *dev, struct json_object *value, struct error **errp)
{
	struct vmgenid *vmgenid = container_of(dev, struct vmgenid, dev);
	uint8_t guid[VMGENID_SIZE];
	int ret;

	if (!json_object_is_type(value, json_type_string))
		return error_set(errp, -EINVAL, "generation takes a UUID or 'auto'");
	ret = parse(json_object_get_string(value), guid, errp);
	if (ret)
		return ret;
	memcpy(vmgenid->guid, guid, sizeof(guid));
	if (!vmgenid->gpa && !vmgenid->page.data)
		return 0;
	if (write_guid(vmgenid))
		return error_set(errp, -EFAULT, "no guest memory for the VM generation ID");
	ret = tell_guest(vmgenid);
	return ret ? error_set_errno(errp, ret, "the guest cannot be told") : 0;
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned int size)
{
	const struct vmgenid *vmgenid = opaque;

	return rom_image_read(&vmgenid->page, offset, size);
}

static const struct io_ops page_ops = {
	.read = page_read,
	.min_size = 1,
	.max_size = 8,
};

static int make_page(struct vmgenid *vmgenid, struct error **errp)
{
	struct platform *platform = vmgenid->dev.platform;
	int ret;

	ret = rom_image_init(&vmgenid->page, platform->accel, platform->vmgenid_page, VMGENID_PAGE_SIZE, errp);
	if (ret)
		return ret;
	vmgenid->region = (struct io_region){
		.name = "vmgenid",
		.kind = IO_MMIO,
		.base = platform->vmgenid_page,
		.size = VMGENID_PAGE_SIZE,
		.ops = &page_ops,
		.opaque = vmgenid,
	};
	ret = mem_space_add_io(platform->space, &vmgenid->region, errp);
	if (!ret && platform->vmgenid_gsi) {
		ret = irq_line_init_edge(&vmgenid->line, platform->accel, platform->vmgenid_gsi, errp);
		vmgenid->has_line = !ret;
		if (ret)
			mem_space_del_io(platform->space, &vmgenid->region);
	}
	if (ret) {
		rom_image_release(&vmgenid->page);
		return ret;
	}
	ret = write_guid(vmgenid); /* to the page: it cannot fail */
	rom_image_map(&vmgenid->page, true);
	return ret;
}

static int vmgenid_realize(struct device *dev, struct error **errp)
{
	struct vmgenid *vmgenid = container_of(dev, struct vmgenid, dev);
	const struct vmgenid *other = find(dev->platform);
	int ret;

	if (!dev->platform->has_vmgenid)
		return error_set(errp, -ENOTSUP,
				 "there is no place for it on this machine: microvm needs ACPI and no firmware, "
				 "q35 ACPI");
	if (other && other != vmgenid)
		return error_set(errp, -EEXIST, "there is one already, '%s'", other->dev.id);
	ret = parse(vmgenid->guid_text, vmgenid->guid, errp);
	if (!ret && dev->platform->vmgenid_page)
		ret = make_page(vmgenid, errp);
	return ret;
}

static void vmgenid_unrealize(struct device *dev)
{
	struct vmgenid *vmgenid = container_of(dev, struct vmgenid, dev);

	if (!vmgenid->page.data)
		return;
	mem_space_del_io(dev->platform->space, &vmgenid->region);
	if (vmgenid->has_line)
		irq_line_release(&vmgenid->line);
	rom_image_release(&vmgenid->page);
}

static const struct property vmgenid_props[] = {
	PROP_STRING("guid", struct vmgenid, guid_text, 1, 36, "auto",
		    "a UUID, or auto: a random one each time this process starts"),
	PROP_END,
};

static const struct device_value vmgenid_values[] = {
	{ .name = "generation", .type = "str", .get = get_guid, .set = set_guid },
	{ .name = NULL },
};

const struct device_class vmgenid_class = {
	.name = "vmgenid",
	.summary = "VM generation ID: tells the guest that it has become another VM",
	.bus = DEVICE_BUS_SYSTEM,
	.instance_size = sizeof(struct vmgenid),
	.props = vmgenid_props,
	.values = vmgenid_values,
	.realize = vmgenid_realize,
	.unrealize = vmgenid_unrealize,
};
