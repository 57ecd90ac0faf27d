// SPDX-License-Identifier: Apache-2.0
/*
 * Devices that come and go while the guest runs. Where the bus has hot-plug (PCI Express slots), the device as a whole; the
 * bus tells the guest, and when the guest has let go. Else in the way that needs nothing of the guest but a
 * driver: a few slots hold a device from the start on, with nothing in it, so that a driver is
 * bound. What is put into one later shows as a change of that device's configuration.
 */
#define LOG_MODULE "machine"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/node.h"
#include "internal.h"
#include "net/netdev.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"

/* What can be in a slot. */
static const struct slot_kind {
	const char *class;
	const char *also;    /* what device_add calls it besides */
	const char *prefix;  /* of the slots' ids */
	const char *link;    /* the property that names the back end */
	const char *link_kind;
} slot_kinds[MACHINE_SLOT_KINDS] = {
	[MACHINE_SLOT_DISK] = { "virtio-blk-device", "virtio-blk-mmio", "blk-slot", "drive", LINK_DRIVE },
	[MACHINE_SLOT_NET] = { "virtio-net-device", "virtio-net-mmio", "net-slot", "netdev", LINK_NETDEV },
};

/* A card with several pairs of queues, or one whose frames somebody else moves, is what it is for life. */
static bool fits_slot(const struct machine *machine, const struct opts *opts)
{
	const char *id = opts_get(opts, "netdev"), *mq = opts_get(opts, "mq");
	const struct netdev *netdev;
	bool on = false;

	if (!id)
		return true;
	netdev = link_scope_find(machine->platform.links, LINK_NETDEV, id);
	return !(netdev && netdev_moved_by_others(netdev)) && !(mq && !parse_bool(mq, &on) && on);
}

bool hotplug_in_slot(const struct machine *machine, const struct opts *opts)
{
	for (unsigned int kind = 0; kind < MACHINE_SLOT_KINDS; kind++)
		for (unsigned int i = 0; i < machine->slot_counts[kind]; i++)
			if (machine->slots[kind][i].opts == opts)
				return true;
	return false;
}

static int create_slot(struct machine *machine, unsigned int kind, unsigned int index,
		       const struct opts *opts, struct error **errp)
{
	struct machine_slot *slot = &machine->slots[kind][index];
	struct opts *none = NULL;
	char name[24];
	int ret;

	snprintf(name, sizeof(name), "%s%u", slot_kinds[kind].prefix, index);
	if (!opts) {
		none = opts_new("device");
		opts_set(none, "driver", slot_kinds[kind].class);
	}
	ret = device_create_replaceable(&machine->platform, name, opts ? opts : none, !opts,
					&slot->dev, errp);
	slot->opts = opts;
	opts_free(none);
	return ret;
}

static int create_slots_of(struct machine *machine, unsigned int kind, struct error **errp)
{
	unsigned int count = 0;
	struct opts *opts;
	int ret = 0;

	list_for_each(opts, &machine->config->devices, node) {
		const char *driver = opts_get(opts, "driver");

		if (count == machine->slot_counts[kind])
			return 0;
		if (driver && !strcmp(driver, slot_kinds[kind].class) && fits_slot(machine, opts))
			ret = create_slot(machine, kind, count++, opts, errp);
		if (ret)
			return ret;
	}
	while (!ret && count < machine->slot_counts[kind])
		ret = create_slot(machine, kind, count++, NULL, errp);
	return ret;
}

int hotplug_create_slots(struct machine *machine, struct error **errp)
{
	int ret = 0;

	for (unsigned int kind = 0; !ret && kind < MACHINE_SLOT_KINDS; kind++)
		ret = create_slots_of(machine, kind, errp);
	return ret;
}

/* --- device_add and device_del --- */

static int slot_number(const struct opts *opts, const char *key, uint64_t *number,
		       struct error **errp)
{
	if (parse_u64(opts_get(opts, key), number))
		return error_set(errp, -EINVAL, "%s=%s is not a number", key, opts_get(opts, key));
	return 0;
}

/* StratoVirt's rule: "addr", else "lun" and 1. */
static int choose_slot(struct machine *machine, unsigned int kind, const struct opts *opts,
		       struct device **ret, struct error **errp)
{
	const struct machine_slot *slots = machine->slots[kind];
	unsigned int count = machine->slot_counts[kind];
	uint64_t number = 0;
	int err = 0;

	if (opts_get(opts, "addr")) {
		err = slot_number(opts, "addr", &number, errp);
	} else if (opts_get(opts, "lun")) {
		err = slot_number(opts, "lun", &number, errp);
		number += number < count; /* the largest number stays out of range */
	} else {
		while (number < count && slots[number].dev->plugged)
			number++;
		if (number == count)
			return error_set(errp, -ENOSPC, "all %u replaceable slots are occupied",
					 count);
	}
	if (err)
		return err;
	if (number >= count)
		return error_set(errp, -ERANGE, "slot %llu is out of range [0, %u]",
				 (unsigned long long)number, count - 1);
	if (slots[number].dev->plugged)
		return error_set(errp, -EBUSY, "The slot %llu is occupied already.",
				 (unsigned long long)number);
	*ret = slots[number].dev;
	return 0;
}

static int find_kind(struct machine *machine, const char *driver, unsigned int *ret,
		     struct error **errp)
{
	for (unsigned int kind = 0; kind < MACHINE_SLOT_KINDS; kind++) {
		if (strcmp(driver, slot_kinds[kind].class) && strcmp(driver, slot_kinds[kind].also))
			continue;
		if (!machine->slot_counts[kind])
			return error_set(errp, -ENOTSUP,
					 "this VM has no replaceable slots: see -machine %s,help for "
					 "replaceable-slots",
					 machine->class->name);
		*ret = kind;
		return 0;
	}
	if (!device_class_find(&machine->platform, driver))
		return error_set(errp, -EINVAL, "'%s' is not a valid device model name", driver);
	return error_set(errp, -ENOTSUP,
			 "Device '%s' does not support hotplugging: on machine %s only "
			 "virtio-blk-mmio and virtio-net-mmio do",
			 driver, machine->class->name);
}

/* Devices that come and go whole: the guest sees it when it is complete. */
static int add_whole(struct machine *machine, const struct opts *opts, struct error **errp)
{
	struct platform *platform = &machine->platform;
	struct device *dev;
	int ret;

	platform->hotplugging = true;
	ret = device_create(platform, opts, true, &dev, errp);
	platform->hotplugging = false;
	if (ret)
		return ret;
	dev->class->show(dev);
	log_info("device %s was plugged in", dev->id);
	return 0;
}

void hotplug_unplugged(struct platform *platform, struct device *dev)
{
	struct machine *machine = container_of(platform, struct machine, platform);
	struct device_event_info info = { .dev = NULL };
	bool running = vcpus_running(machine->vcpus);
	char *id = xstrdup(dev->id);

	/* No vCPU is in one of its handlers, and none comes back to them. */
	if (running)
		vcpus_pause(machine->vcpus);
	device_destroy(dev);
	if (running)
		vcpus_resume(machine->vcpus);
	log_info("device %s was unplugged", id);
	info.id = id;
	platform->event(platform, DEVICE_EVENT_DELETED, &info);
	free(id);
}

/*
 * StratoVirt's clients name the back end in ways of their own: by the id of the device itself or, that of a
 * card, as "chardev".
 */
static void name_back_end(struct machine *machine, const struct slot_kind *kind, struct opts *opts)
{
	const char *id = opts_get(opts, "id");
	const char *chardev = opts_get(opts, "chardev");

	if (opts_get(opts, kind->link))
		return;
	if (chardev && link_scope_find(machine->platform.links, kind->link_kind, chardev)) {
		opts_set(opts, kind->link, chardev);
		opts_del(opts, "chardev");
	} else if (id && link_scope_find(machine->platform.links, kind->link_kind, id)) {
		opts_set(opts, kind->link, id);
	}
}

int machine_device_add(struct machine *machine, const struct opts *given, struct error **errp)
{
	const struct device_class *class = device_class_find(&machine->platform, opts_get(given, "driver"));
	const char *id = opts_get(given, "id");
	struct device *slot = NULL;
	unsigned int kind = 0, cpu;
	struct opts *opts;
	int ret;

	if (cpu_is_class(opts_get(given, "driver")))
		return cpu_add(machine, given, errp);
	if (id && cpu_has_id(machine, id, &cpu)) /* device_del would not know which is meant */
		return error_set(errp, -EEXIST, "Duplicate device ID '%s'", id);
	if (class && class->show)
		return add_whole(machine, given, errp);
	ret = find_kind(machine, opts_get(given, "driver"), &kind, errp);
	if (!ret)
		ret = choose_slot(machine, kind, given, &slot, errp);
	if (ret)
		return ret;
	opts = opts_clone(given);
	name_back_end(machine, &slot_kinds[kind], opts);
	ret = device_plug(slot, opts, errp);
	opts_free(opts);
	return ret;
}

/*
 * As in StratoVirt, a disk of the same name as its block node takes the node with it when it leaves a slot: clients that name
 * them so (Kata's runtime) delete no node, and give the image to somebody else then. For those that do delete it the name is kept.
 */
static void drop_node(struct machine *machine, struct machine_slot *slot, struct block_drive *drive)
{
	char *name = xstrdup(block_drive_id(drive));
	struct error *err = NULL;

	if (machine_blockdev_del(machine, name, &err)) {
		log_warn("%s", error_text(err));
		error_free(err);
		free(name);
		return;
	}
	free(slot->node);
	slot->node = name;
}

bool hotplug_node_went(struct machine *machine, const char *name)
{
	for (unsigned int i = 0; i < machine->slot_counts[MACHINE_SLOT_DISK]; i++) {
		struct machine_slot *slot = &machine->slots[MACHINE_SLOT_DISK][i];

		if (!slot->node || strcmp(slot->node, name))
			continue;
		free(slot->node);
		slot->node = NULL;
		return true;
	}
	return false;
}

/* The slot of the disk @dev and its drive, if that is a block node and both are called @id. */
static struct machine_slot *slot_with_node(struct machine *machine, const struct device *dev, const char *id,
					   struct block_drive **ret)
{
	struct block_drive *drive = link_scope_find(machine->platform.links, LINK_DRIVE, id);
	const char *user = drive ? block_drive_device(drive) : NULL;

	if (!user || strcmp(user, id) || block_drive_is_legacy(drive))
		return NULL;
	for (unsigned int i = 0; i < machine->slot_counts[MACHINE_SLOT_DISK]; i++) {
		if (machine->slots[MACHINE_SLOT_DISK][i].dev != dev)
			continue;
		*ret = drive;
		return &machine->slots[MACHINE_SLOT_DISK][i];
	}
	return NULL;
}

int machine_device_del(struct machine *machine, const char *id, struct error **errp)
{
	struct device *dev = device_find(&machine->platform, id);
	struct device_event_info info = { .dev = dev, .id = id };
	struct block_drive *drive = NULL;
	struct machine_slot *slot;
	unsigned int cpu;

	if (cpu_has_id(machine, id, &cpu))
		return cpu_ask_unplug(machine, id, errp);
	if (!dev || device_is_internal(dev))
		return error_set(errp, -ENODEV, "Device '%s' not found", id);
	if (dev->class->ask_unplug)
		return dev->class->ask_unplug(dev, errp);
	if (!dev->replaceable)
		return error_set(errp, -ENOTSUP,
				 "Device '%s' cannot be unplugged: it is not in a replaceable slot",
				 id);
	slot = slot_with_node(machine, dev, id, &drive);
	device_unplug(dev);
	if (slot)
		drop_node(machine, slot, drive);
	machine->platform.event(&machine->platform, DEVICE_EVENT_DELETED, &info);
	return 0;
}
