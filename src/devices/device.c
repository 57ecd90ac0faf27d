/* SPDX-License-Identifier: Apache-2.0 */
/* The device core: from an option to a realized device and back, and what is done to all devices
 * together. */
#define LOG_MODULE "devices"

#include "devices/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"


static const char *const core_keys[] = { "driver", "id", NULL };
static const struct property no_props[] = { PROP_END };

static const struct device_class *class_in(const struct device_class *const *classes,
					   const char *name)
{
	for (; *classes; classes++) {
		if (!strcmp((*classes)->name, name))
			return *classes;
	}
	return NULL;
}

/*
 * QEMU's short names mean the device on the machine's own bus: "virtio-blk" is virtio-blk-pci where there is PCI, else
 * virtio-blk-device. And every virtio device on PCI is a "-non-transitional" one.
 */
const struct device_class *device_class_find(const struct platform *platform, const char *name)
{
	static const char modern[] = "-non-transitional";
	const struct device_class *class = class_in(platform->classes, name);
	size_t len = strlen(name), tail = sizeof(modern) - 1;
	char *other;

	if (class || (!strstr(name, "virtio-") && !strstr(name, "vhost-")))
		return class;
	if (len > tail && !strcmp(name + len - tail, modern))
		other = xstrndup(name, len - tail);
	else
		other = xasprintf("%s%s", name, platform->pci ? "-pci" : "-device");
	class = class_in(platform->classes, other);
	free(other);
	return class;
}

/* @by_user: suggest only what a user may create. */
static int class_unknown(const struct device_class *const *classes, const char *name, bool by_user,
			 struct error **errp)
{
	const char *near, **names;
	size_t count = 0;
	int ret;

	while (classes[count])
		count++;
	names = xcalloc(count + 1, sizeof(*names));
	count = 0;
	for (; *classes; classes++) {
		if (!by_user || !(*classes)->internal)
			names[count++] = (*classes)->name;
	}
	near = nearest_name(name, names);
	if (near)
		ret = error_set(errp, -ENOENT, "unknown device '%s'; did you mean '%s'?", name,
				near);
	else
		ret = error_set(errp, -ENOENT, "unknown device '%s'; -device help lists them",
				name);
	free(names);
	return ret;
}

const char *device_name(const struct device *dev)
{
	return dev->plugged ? dev->plugged : dev->id;
}

bool device_is_internal(const struct device *dev)
{
	return dev->class->internal || (dev->replaceable && !dev->plugged);
}

struct device *device_find(const struct platform *platform, const char *id)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		if (!strcmp(device_name(dev), id))
			return dev;
	}
	return NULL;
}

const struct device *device_find_user(const struct platform *platform, const void *object)
{
	const struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		for (const struct property *p = dev->class->props; p && p->name; p++) {
			if (p->type == PROPERTY_LINK && !(p->flags & PROPERTY_IGNORED) &&
			    *(void *const *)((const char *)dev + p->offset) == object)
				return dev;
		}
	}
	return NULL;
}

static int choose_id(const struct platform *platform, const struct device_class *class,
		     const char *given, char **ret_id, struct error **errp)
{
	const struct device *other;
	char *id;

	if (given) {
		if (id_check(given, errp))
			return -EINVAL;
		other = device_find(platform, given);
		if (other)
			return error_set(errp, -EEXIST,
					 "device id '%s' is already used by another %s", given,
					 other->class->name);
		*ret_id = xstrdup(given);
		return 0;
	}
	for (unsigned int n = 0;; n++) {
		id = xasprintf("%s-%u", class->name, n);
		if (!device_find(platform, id))
			break;
		free(id);
	}
	*ret_id = id;
	return 0;
}

static void describe_failure(const struct opts *opts, struct error **errp)
{
	char *what = opts_describe(opts);

	error_prefix(errp, "%s: ", what);
	free(what);
}

static void device_free(struct device *dev)
{
	property_release(dev->class->props ? dev->class->props : no_props, dev);
	free(dev->plugged);
	free(dev->id);
	free(dev);
}

/* Where a new device goes. */
enum place {
	PLACE_OWN,
	PLACE_SLOT,
	PLACE_EMPTY_SLOT,
};

static int set_ids(struct device *dev, const struct opts *opts, enum place place, const char *slot,
		   struct error **errp)
{
	const char *given = opts_get(opts, "id");

	if (place == PLACE_OWN)
		return choose_id(dev->platform, dev->class, given, &dev->id, errp);
	dev->replaceable = true;
	dev->id = xstrdup(slot);
	if (place == PLACE_EMPTY_SLOT)
		return 0;
	return choose_id(dev->platform, dev->class, given, &dev->plugged, errp);
}

/* @given and what -global says of the class, as one. NULL: nothing is said. */
static struct opts *with_globals(const struct platform *platform, const char *driver, const struct opts *given)
{
	struct opts *global, *opts = NULL;

	if (!platform->globals)
		return NULL;
	list_for_each(global, platform->globals, node) {
		const char *property = opts_get(global, "property");

		if (strcmp(opts_get(global, "driver"), driver) || opts_get(given, property))
			continue;
		if (!opts)
			opts = opts_clone(given);
		opts_set(opts, property, opts_get(global, "value")); /* of several the last */
	}
	return opts;
}

static int create(struct platform *platform, const struct opts *opts, bool by_user,
		  enum place place, const char *slot, struct device **ret_dev, struct error **errp)
{
	const char *driver = opts_get(opts, "driver");
	const struct device_class *class;
	struct opts *all;
	struct device *dev;
	int ret;

	class = driver ? device_class_find(platform, driver) : NULL;
	if (!driver)
		ret = error_set(errp, -EINVAL,
				"the name of the device is missing; "
				"-device help lists them");
	else if (!class)
		ret = class_unknown(platform->classes, driver, by_user, errp);
	else if (by_user && class->internal)
		ret = error_set(errp, -EPERM,
				"device '%s' is part of a machine and cannot be added", driver);
	else
		ret = 0;
	if (ret) {
		describe_failure(opts, errp);
		return ret;
	}

	dev = xcalloc(1, class->instance_size);
	dev->class = class;
	dev->platform = platform;
	list_init(&dev->node);
	ret = set_ids(dev, opts, place, slot, errp);
	if (ret) {
		describe_failure(opts, errp);
		free(dev->id);
		free(dev);
		return ret;
	}
	/* The property engine names the option in its errors itself. */
	all = with_globals(platform, class->name, opts);
	ret = property_apply(class->props ? class->props : no_props, dev, all ? all : opts, core_keys,
			     platform->links, errp);
	opts_free(all);
	if (ret)
		goto fail;
	if (class->realize) {
		ret = class->realize(dev, errp);
		if (ret) {
			describe_failure(opts, errp);
			goto fail;
		}
	}
	list_add_tail(&platform->devices, &dev->node);
	if (class->reset)
		class->reset(dev);
	log_debug("device %s (%s) is there", dev->id, class->name);
	*ret_dev = dev;
	return 0;

fail:
	device_free(dev);
	return ret;
}

int device_create(struct platform *platform, const struct opts *opts, bool by_user,
		  struct device **ret_dev, struct error **errp)
{
	return create(platform, opts, by_user, PLACE_OWN, NULL, ret_dev, errp);
}

int device_create_replaceable(struct platform *platform, const char *slot, const struct opts *opts,
			      bool empty, struct device **ret_dev, struct error **errp)
{
	return create(platform, opts, true, empty ? PLACE_EMPTY_SLOT : PLACE_SLOT, slot, ret_dev,
		      errp);
}

int device_plug(struct device *dev, const struct opts *opts, struct error **errp)
{
	char *id;
	int ret;

	ret = choose_id(dev->platform, dev->class, opts_get(opts, "id"), &id, errp);
	if (ret) {
		describe_failure(opts, errp);
		return ret;
	}
	dev->plugged = id;
	/* It names the option itself, as the property engine does. */
	ret = dev->class->plug(dev, opts, errp);
	if (ret) {
		free(dev->plugged);
		dev->plugged = NULL;
		return ret;
	}
	log_info("device %s is in slot %s", dev->plugged, dev->id);
	return 0;
}

void device_unplug(struct device *dev)
{
	dev->class->unplug(dev);
	log_info("device %s left slot %s", dev->plugged, dev->id);
	free(dev->plugged);
	dev->plugged = NULL;
}

int device_create_internal(struct platform *platform, const char *name, const char *id,
			   const char *props, struct device **ret_dev, struct error **errp)
{
	struct opts *opts, *given = NULL;
	struct opt *opt;
	int ret;

	if (props) {
		ret = opts_parse("device", props, NULL, &given, errp);
		if (ret)
			return ret;
	}
	opts = opts_new("device");
	opts_set(opts, "driver", name);
	if (id)
		opts_set(opts, "id", id);
	if (given) {
		list_for_each(opt, &given->pairs, node)
			opts_set(opts, opt->key, opt->value);
		opts_free(given);
	}
	ret = device_create(platform, opts, false, ret_dev, errp);
	opts_free(opts);
	return ret;
}

void device_destroy(struct device *dev)
{
	if (!dev)
		return;
	list_del(&dev->node);
	if (dev->class->unrealize)
		dev->class->unrealize(dev);
	device_free(dev);
}

void devices_reset(struct platform *platform)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		if (dev->class->reset)
			dev->class->reset(dev);
	}
}

void devices_quiesce(struct platform *platform)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		if (dev->class->quiesce)
			dev->class->quiesce(dev);
	}
}

void devices_resume(struct platform *platform)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		if (dev->class->resume)
			dev->class->resume(dev);
	}
}

void devices_destroy(struct platform *platform)
{
	/* A machine that failed early may not have come to initialise its list. */
	if (!platform->devices.next)
		return;
	while (!list_empty(&platform->devices))
		device_destroy(list_entry(platform->devices.prev, struct device, node));
}

void device_help(const struct device_class *const *classes, FILE *out)
{
	static const char *const headings[] = {
		[DEVICE_BUS_SYSTEM] = "System devices",
		[DEVICE_BUS_MMIO] = "virtio-mmio devices",
		[DEVICE_BUS_PCI] = "PCI devices",
		[DEVICE_BUS_SERIAL] = "Ports of virtio-serial devices",
	};

	fprintf(out, "Devices (-device NAME,help shows the properties of one):\n");
	for (unsigned int bus = 0; bus < ARRAY_SIZE(headings); bus++) {
		bool any = false;

		for (unsigned int i = 0; classes[i]; i++) {
			if (classes[i]->internal || classes[i]->bus != (enum device_bus)bus)
				continue;
			if (!any)
				fprintf(out, "%s:\n", headings[bus]);
			any = true;
			fprintf(out, "  %-24s %s\n", classes[i]->name, classes[i]->summary);
		}
	}
}

int device_class_help(const struct device_class *const *classes, const char *name, FILE *out,
		      struct error **errp)
{
	const struct device_class *class = class_in(classes, name);

	if (!class)
		return class_unknown(classes, name, true, errp);
	fprintf(out, "-device %s: %s\n", class->name, class->summary);
	fprintf(out, "  id=<string>  name of the device, default \"%s-<n>\"\n", class->name);
	property_help(class->props ? class->props : no_props, out);
	return 0;
}
