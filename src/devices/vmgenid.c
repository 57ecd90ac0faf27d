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
#include "util/log.h"
#include "util/parse.h"

#define TEXT_SIZE 37

struct vmgenid {
	struct device dev;
	char *guid_text;
	uint8_t guid[VMGENID_SIZE]; /* in text order */
	gpa_t gpa;		    /* 0: not placed yet */
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
	return guest_write(vmgenid->dev.platform->space, vmgenid->gpa, bytes, sizeof(bytes));
}

bool vmgenid_present(const struct platform *platform)
{
	return find(platform);
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

static struct json_object *get_guid(struct device *dev)
{
	const uint8_t *g = container_of(dev, struct vmgenid, dev)->guid;
	char text[TEXT_SIZE];

	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", g[0], g[1],
		 g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12], g[13], g[14],
		 g[15]);
	return json_object_new_string(text);
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
	if (!vmgenid->gpa)
		return 0;
	if (write_guid(vmgenid))
		return error_set(errp, -EFAULT, "no guest memory for the VM generation ID");
	ret = ged_vm_generation(dev->platform);
	return ret ? error_set_errno(errp, ret, "the guest cannot be told") : 0;
}

static int vmgenid_realize(struct device *dev, struct error **errp)
{
	struct vmgenid *vmgenid = container_of(dev, struct vmgenid, dev);
	const struct vmgenid *other = find(dev->platform);

	if (!dev->platform->has_vmgenid)
		return error_set(errp, -ENOTSUP,
				 "there is no place for it on this machine: microvm with ACPI and without firmware "
				 "has one");
	if (other && other != vmgenid)
		return error_set(errp, -EEXIST, "there is one already, '%s'", other->dev.id);
	return parse(vmgenid->guid_text, vmgenid->guid, errp);
}

static void vmgenid_unrealize(struct device *dev)
{
	(void)dev;
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
