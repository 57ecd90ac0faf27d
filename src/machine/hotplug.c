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

#include "internal.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"

#define DISK_CLASS "virtio-blk-device"

/* What device_add calls them. */
static const char *const disk_names[] = { DISK_CLASS, "virtio-blk-mmio" };

static bool is_disk(const struct opts *opts)
{
	const char *driver = opts_get(opts, "driver");

	return driver && !strcmp(driver, DISK_CLASS);
}

bool hotplug_in_slot(const struct machine *machine, const struct opts *opts, unsigned int *nth)
{
	return is_disk(opts) && (*nth)++ < machine->slot_count;
}

static int create_slot(struct machine *machine, unsigned int index, const struct opts *opts,
		       struct error **errp)
{
	struct opts *none = NULL;
	char name[24];
	int ret;

	snprintf(name, sizeof(name), "blk-slot%u", index);
	if (!opts) {
		none = opts_new("device");
		opts_set(none, "driver", DISK_CLASS);
	}
	ret = device_create_replaceable(&machine->platform, name, opts ? opts : none, !opts,
					&machine->slots[index], errp);
	opts_free(none);
	return ret;
}

int hotplug_create_slots(struct machine *machine, struct error **errp)
{
	unsigned int count = 0;
	struct opts *opts;
	int ret = 0;

	list_for_each(opts, &machine->config->devices, node) {
		if (count == machine->slot_count)
			return 0;
		if (is_disk(opts))
			ret = create_slot(machine, count++, opts, errp);
		if (ret)
			return ret;
	}
	while (!ret && count < machine->slot_count)
		ret = create_slot(machine, count++, NULL, errp);
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
static int choose_slot(struct machine *machine, const struct opts *opts, struct device **ret,
		       struct error **errp)
{
	uint64_t number = 0;
	int err = 0;

	if (opts_get(opts, "addr")) {
		err = slot_number(opts, "addr", &number, errp);
	} else if (opts_get(opts, "lun")) {
		err = slot_number(opts, "lun", &number, errp);
		number++;
	} else {
		while (number < machine->slot_count && machine->slots[number]->plugged)
			number++;
		if (number == machine->slot_count)
			return error_set(errp, -ENOSPC, "all %u replaceable slots are occupied",
					 machine->slot_count);
	}
	if (err)
		return err;
	if (number >= machine->slot_count)
		return error_set(errp, -ERANGE, "slot %llu is out of range [0, %u]",
				 (unsigned long long)number, machine->slot_count - 1);
	if (machine->slots[number]->plugged)
		return error_set(errp, -EBUSY, "The slot %llu is occupied already.",
				 (unsigned long long)number);
	*ret = machine->slots[number];
	return 0;
}

static int check_driver(struct machine *machine, const char *driver, struct error **errp)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(disk_names); i++) {
		if (strcmp(driver, disk_names[i]))
			continue;
		if (machine->slot_count)
			return 0;
		return error_set(errp, -ENOTSUP,
				 "this VM has no replaceable slots: see -machine %s,help for "
				 "replaceable-slots",
				 machine->class->name);
	}
	if (!device_class_find(&machine->platform, driver))
		return error_set(errp, -EINVAL, "'%s' is not a valid device model name", driver);
	return error_set(
		errp, -ENOTSUP,
		"Device '%s' does not support hotplugging: on machine %s only virtio-blk-mmio does",
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

int machine_device_add(struct machine *machine, const struct opts *opts, struct error **errp)
{
	const struct device_class *class = device_class_find(&machine->platform, opts_get(opts, "driver"));
	struct device *slot = NULL;
	int ret;

	if (class && class->show)
		return add_whole(machine, opts, errp);
	ret = check_driver(machine, opts_get(opts, "driver"), errp);
	if (!ret)
		ret = choose_slot(machine, opts, &slot, errp);
	return ret ? ret : device_plug(slot, opts, errp);
}

int machine_device_del(struct machine *machine, const char *id, struct error **errp)
{
	struct device *dev = device_find(&machine->platform, id);
	struct device_event_info info = { .dev = dev, .id = id };

	if (!dev || device_is_internal(dev))
		return error_set(errp, -ENODEV, "Device '%s' not found", id);
	if (dev->class->ask_unplug)
		return dev->class->ask_unplug(dev, errp);
	if (!dev->replaceable)
		return error_set(errp, -ENOTSUP,
				 "Device '%s' cannot be unplugged: it is not in a replaceable slot",
				 id);
	device_unplug(dev);
	machine->platform.event(&machine->platform, DEVICE_EVENT_DELETED, &info);
	return 0;
}
