// SPDX-License-Identifier: Apache-2.0
/* The translation of docs/config.md, "The old dialect". */
#include "old_dialect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/parse.h"

/* Of devices that a VM has once and that had no id: a file's is replaced by the command line's. */
#define BALLOON_ID "balloon0"
#define RNG_ID "rng0"
#define CONSOLE_BUS_ID "virtio-serial0"

/* An error that names the option. */
#define refuse(errp, opts, code, ...)                                                              \
	({                                                                                         \
		char *_name = opts_describe(opts);                                                 \
		int _ret = error_set(errp, code, __VA_ARGS__);                                     \
                                                                                                   \
		error_prefix(errp, "%s: ", _name);                                                 \
		free(_name);                                                                       \
		_ret;                                                                              \
	})

/* --- options that exist no more ------------------------------------------------------------- */

struct old_iothread {
	char *id;
};

struct old_balloon {
	bool deflate_on_oom;
};

struct old_rng {
	char *random_file;
	uint64_t bytes_per_sec;
};

const struct property old_iothread_keys[] = {
	{ .name = "id",
	  .help = "its name",
	  .type = PROPERTY_STRING,
	  .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct old_iothread, id),
	  .min = 1,
	  .max = VM_ID_MAX },
	PROP_END,
};

const struct property old_balloon_keys[] = {
	PROP_BOOL("deflate-on-oom", struct old_balloon, deflate_on_oom, 0,
		  "give memory back when the guest has none left"),
	PROP_END,
};

const struct property old_rng_keys[] = {
	{ .name = "random_file",
	  .help = "where random bytes come from",
	  .type = PROPERTY_STRING,
	  .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct old_rng, random_file),
	  .min = 1,
	  .max = VM_PATH_MAX },
	PROP_UINT(64, "bytes_per_sec", struct old_rng, bytes_per_sec, 64, 1000000000, 0,
		  "at most so many; without it as many as there are"),
	PROP_END,
};

/* What the option @source makes: @key (its kind) and id, at the end of @list. */
static struct opts *add(struct list *list, const struct opts *source, const char *as,
			const char *key, const char *kind, const char *id)
{
	char *origin = xasprintf("%s as %s", source->origin, as);
	struct opts *opts = opts_new(origin);

	free(origin);
	opts_set(opts, key, kind);
	if (id)
		opts_set(opts, "id", id);
	list_add_tail(list, &opts->node);
	return opts;
}

#define AS_DEVICE "-device"

static struct opts *add_device(struct vm_config *config, const struct opts *source,
			       const char *driver, const char *id)
{
	return add(&config->devices, source, AS_DEVICE, "driver", driver, id);
}

/* Moves a key, perhaps under another name. Nothing when @from has none. */
static void move_key(struct opts *from, const char *key, struct opts *to, const char *name)
{
	char *value = opts_take(from, key);

	if (value)
		opts_set(to, name, value);
	free(value);
}

/* StratoVirt's many words for yes and no, of a key that a later table checks. */
static void settle_bool(struct opts *opts, const char *key)
{
	const char *value = opts_get(opts, key);
	bool on;

	if (value && !parse_bool(value, &on))
		opts_set(opts, key, on ? "on" : "off");
}

int old_dialect_add_iothread(struct vm_config *config, const struct opts *opts, struct error **errp)
{
	struct old_iothread keys = { 0 };
	int ret;

	ret = property_apply(old_iothread_keys, &keys, opts, NULL, NULL, errp);
	if (ret)
		return ret;
	add(&config->objects, opts, "-object", "qom-type", "iothread", keys.id);
	property_release(old_iothread_keys, &keys);
	return 0;
}

int old_dialect_add_balloon(struct vm_config *config, const struct opts *opts, struct error **errp)
{
	struct old_balloon keys = { 0 };
	struct opts *device;
	int ret;

	ret = property_apply(old_balloon_keys, &keys, opts, NULL, NULL, errp);
	if (ret)
		return ret;
	device = add_device(config, opts, "virtio-balloon-device", BALLOON_ID);
	if (opts_get(opts, "deflate-on-oom"))
		opts_set(device, "deflate-on-oom", keys.deflate_on_oom ? "on" : "off");
	return 0;
}

int old_dialect_add_rng(struct vm_config *config, const struct opts *opts, struct error **errp)
{
	struct old_rng keys = { 0 };
	struct opts *object, *device;
	char rate[24];
	int ret;

	ret = property_apply(old_rng_keys, &keys, opts, NULL, NULL, errp);
	if (ret)
		return ret;
	object = add(&config->objects, opts, "-object", "qom-type", "rng-random", RNG_ID);
	opts_set(object, "filename", keys.random_file);
	device = add_device(config, opts, "virtio-rng-device", RNG_ID);
	opts_set(device, "rng", RNG_ID);
	if (keys.bytes_per_sec) {
		snprintf(rate, sizeof(rate), "%llu", (unsigned long long)keys.bytes_per_sec);
		opts_set(device, "max-bytes", rate);
		opts_set(device, "period", "1000");
	}
	property_release(old_rng_keys, &keys);
	return 0;
}

/* --- old forms of options that still exist ------------------------------------------------------
 */

/* Whether a device has @key=@id. */
static bool device_names(const struct vm_config *config, const char *key, const char *id)
{
	struct opts *opts;

	list_for_each(opts, &config->devices, node) {
		const char *value = opts_get(opts, key);

		if (value && strcmp(value, id) == 0)
			return true;
	}
	return false;
}

static bool drive_is_named(const struct vm_config *config, const char *id)
{
	static const char *const flash[] = { "pflash0", "pflash1" };

	for (size_t i = 0; i < ARRAY_SIZE(flash); i++) {
		const char *value = opts_get(config->machine, flash[i]);

		if (value && strcmp(value, id) == 0)
			return true;
	}
	return device_names(config, "drive", id);
}

/* Keys that say something about a device, where there is another that should say it. */
static int check_no_device_keys(const struct opts *opts, const char *const *keys,
				struct error **errp)
{
	for (; *keys; keys++) {
		if (opts_get(opts, *keys))
			return refuse(errp, opts, -EINVAL,
				      "'%s' belongs to the -device that uses it", *keys);
	}
	return 0;
}

static int settle_iops(struct opts *drive, struct error **errp)
{
	static const struct property iops = { .name = "iops",
					      .type = PROPERTY_UINT64,
					      .max = 1000000 };
	const char *text = opts_get(drive, "iops");
	uint64_t number;
	char *name;
	int ret;

	if (!text)
		return 0;
	if (opts_get(drive, "throttling.iops-total"))
		return refuse(errp, drive, -EINVAL,
			      "'iops' is the old word for 'throttling.iops-total': give one");
	ret = property_set(&iops, &number, text, NULL, errp);
	if (ret) {
		name = opts_describe(drive);
		error_prefix(errp, "%s: ", name);
		free(name);
		return ret;
	}
	move_key(drive, "iops", drive, "throttling.iops-total");
	return 0;
}

/* QEMU's words of before 2.0, but for "iops". */
static int settle_limits(struct opts *drive, struct error **errp)
{
	static const char *const words[][2] = {
		{ "iops_rd", "throttling.iops-read" },
		{ "iops_wr", "throttling.iops-write" },
		{ "iops_max", "throttling.iops-total-max" },
		{ "iops_rd_max", "throttling.iops-read-max" },
		{ "iops_wr_max", "throttling.iops-write-max" },
		{ "iops_size", "throttling.iops-size" },
		{ "bps", "throttling.bps-total" },
		{ "bps_rd", "throttling.bps-read" },
		{ "bps_wr", "throttling.bps-write" },
		{ "bps_max", "throttling.bps-total-max" },
		{ "bps_rd_max", "throttling.bps-read-max" },
		{ "bps_wr_max", "throttling.bps-write-max" },
		{ "group", "throttling.group" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const char *old = words[i][0], *new = words[i][1];

		if (!opts_get(drive, old))
			continue;
		if (opts_get(drive, new))
			return refuse(errp, drive, -EINVAL, "'%s' is the old word for '%s': give one",
				      old, new);
		move_key(drive, old, drive, new);
	}
	return 0;
}

/* The first of "<stem>0", "<stem>1" … that nothing in @list is called. */
static char *unused_id(const struct list *list, const char *stem)
{
	for (unsigned int i = 0;; i++) {
		char *id = xasprintf("%s%u", stem, i);
		struct opts *opts;
		bool taken = false;

		list_for_each(opts, list, node) {
			const char *other = opts_get(opts, "id");

			taken |= other && !strcmp(other, id);
		}
		if (!taken)
			return id;
		free(id);
	}
}

/* QEMU's "if=virtio" is a disk whoever names the drive; without an id it gets QEMU's. */
static int settle_interface(struct vm_config *config, struct opts *drive, struct error **errp)
{
	const char *id = opts_get(drive, "id"), *interface = opts_get(drive, "if");
	char *name;

	if (!interface || strcmp(interface, "virtio"))
		return 0;
	if (id && drive_is_named(config, id))
		return refuse(errp, drive, -EINVAL, "if=virtio makes a disk of it, and a -device names it: if=none is right");
	if (!id) {
		name = unused_id(&config->drives, "virtio");
		opts_set(drive, "id", name);
		free(name);
	}
	opts_del(drive, "if");
	return 0;
}

static int translate_drive(struct vm_config *config, struct opts *drive, struct error **errp)
{
	static const char *const device_keys[] = { "serial", "iothread", NULL };
	struct opts *device;
	const char *id;
	int ret;

	settle_bool(drive, "readonly");
	settle_bool(drive, "direct");
	ret = settle_iops(drive, errp);
	if (!ret)
		ret = settle_interface(config, drive, errp);
	if (!ret)
		ret = settle_limits(drive, errp);
	if (ret)
		return ret;
	id = opts_get(drive, "id");
	/* Without an id the block room has the better words. */
	if (!id || opts_get(drive, "if") || drive_is_named(config, id))
		return id ? check_no_device_keys(drive, device_keys, errp) : 0;
	device = add_device(config, drive, "virtio-blk-device", id);
	opts_set(device, "drive", id);
	for (size_t i = 0; device_keys[i]; i++)
		move_key(drive, device_keys[i], device, device_keys[i]);
	return 0;
}

/* One descriptor is "fd" today, several are "fds". */
static void settle_fds(struct opts *netdev, const char *fds, const char *fd)
{
	const char *value = opts_get(netdev, fds);

	if (value && !strchr(value, ':') && !opts_get(netdev, fd))
		move_key(netdev, fds, netdev, fd);
}

static int translate_netdev(struct vm_config *config, struct opts *netdev, struct error **errp)
{
	static const char *const device_keys[] = { "mac", "iothread", NULL };
	const char *type = opts_get(netdev, "type"), *id = opts_get(netdev, "id");
	struct opts *device;

	if (!opts_get(netdev, "netdev")) /* today's */
		return 0;
	if (!id)
		return refuse(errp, netdev, -EINVAL, "'id' is required");
	if (type && strcmp(type, "tap"))
		return refuse(errp, netdev, -EINVAL, "'netdev' names a tap, this is a %s", type);
	if (opts_get(netdev, "ifname"))
		return refuse(errp, netdev, -EINVAL,
			      "'netdev' is the old word for 'ifname': give one");
	opts_set(netdev, "type", "tap");
	move_key(netdev, "netdev", netdev, "ifname");
	settle_bool(netdev, "vhost");
	settle_fds(netdev, "fds", "fd");
	settle_fds(netdev, "vhostfds", "vhostfd");
	/* An open descriptor is what counts; its name was asked for all the same. */
	if (opts_get(netdev, "fd") || opts_get(netdev, "fds"))
		opts_del(netdev, "ifname");
	if (device_names(config, "netdev", id))
		return check_no_device_keys(netdev, device_keys, errp);
	device = add_device(config, netdev, "virtio-net-device", id);
	opts_set(device, "netdev", id);
	for (size_t i = 0; device_keys[i]; i++)
		move_key(netdev, device_keys[i], device, device_keys[i]);
	return 0;
}

static bool has_console_bus(const struct vm_config *config)
{
	static const char stem[] = "virtio-serial-";
	struct opts *opts;

	list_for_each(opts, &config->devices, node) {
		const char *driver = opts_get(opts, "driver");

		if (driver && strncmp(driver, stem, strlen(stem)) == 0)
			return true;
	}
	return false;
}

/*
 * "id=,path=" and nothing else: a console on a unix socket. Whatever else lacks a back end is wrong in today's words.
 * *made: the device whose port it becomes, if it was made here: with one port, as it was, unless others follow.
 */
static void translate_chardev(struct vm_config *config, struct opts *chardev, struct opts **made)
{
	const char *id = opts_get(chardev, "id");
	struct opts *device;
	struct opt *opt;

	if (!id || !opts_get(chardev, "path"))
		return;
	list_for_each(opt, &chardev->pairs, node) {
		if (strcmp(opt->key, "id") && strcmp(opt->key, "path"))
			return;
	}
	opts_set(chardev, "backend", "socket");
	opts_set(chardev, "server", "on");
	opts_set(chardev, "wait", "off");
	if (device_names(config, "chardev", id))
		return;
	if (!has_console_bus(config))
		opts_set(*made = add_device(config, chardev, "virtio-serial-device", CONSOLE_BUS_ID), "max_ports", "1");
	else if (*made)
		opts_del(*made, "max_ports");
	device = add_device(config, chardev, "virtconsole", id);
	opts_set(device, "chardev", id);
}

/* StratoVirt's pvpanic is a PCI function, with a word of its own for the events. */
static int translate_pvpanic(struct opts *device, bool on_pci, struct error **errp)
{
	bool on_bus = opts_get(device, "bus") || opts_get(device, "addr");

	if (opts_get(device, "supported-features")) {
		if (opts_get(device, "events"))
			return refuse(errp, device, -EINVAL,
				      "'supported-features' is StratoVirt's word for 'events': give one");
		move_key(device, "supported-features", device, "events");
	}
	if (on_bus && on_pci)
		opts_set(device, "driver", "pvpanic-pci");
	return 0;
}

/* As in QEMU, a generator that names no source has the host's kernel for one. */
static void add_random_source(struct vm_config *config, struct opts *device)
{
	char *id = unused_id(&config->objects, "rng");
	struct opts *global;

	list_for_each(global, &config->globals, node) {
		if (opts_get(global, "property") && !strcmp(opts_get(global, "property"), "rng")) {
			free(id);
			return;
		}
	}
	add(&config->objects, device, "-object", "qom-type", "rng-builtin", id);
	opts_set(device, "rng", id);
	free(id);
}

static int translate_device(struct vm_config *config, struct opts *device, bool on_pci, struct error **errp)
{
	static const char random[] = "virtio-rng";
	const char *driver = opts_get(device, "driver");

	if (driver && !strncmp(driver, random, strlen(random)) && !opts_get(device, "rng"))
		add_random_source(config, device);

	if (driver && strcmp(driver, "vsock") == 0)
		opts_set(device, "driver", on_pci ? "vhost-vsock-pci" : "vhost-vsock-device");
	else if (driver && strcmp(driver, "pvpanic") == 0)
		return translate_pvpanic(device, on_pci, errp);
	return 0;
}

/* What is made here goes to the bus that the machine has: all but microvm have PCI. */
static bool machine_has_pci(const struct vm_config *config)
{
	const char *type = opts_get(config->machine, "type");

	return type && strcasecmp(type, "microvm") != 0 && strcasecmp(type, "none") != 0;
}

/* "virtio-blk-device" becomes "virtio-blk-pci", if it was made here. */
static void move_to_pci(struct opts *device)
{
	static const char suffix[] = "-device", made_here[] = " as " AS_DEVICE;
	const char *driver = opts_get(device, "driver");
	size_t len = driver ? strlen(driver) : 0, stem = len - strlen(suffix);
	size_t origin = device->origin ? strlen(device->origin) : 0, mark = strlen(made_here);
	char *name;

	if (origin < mark || strcmp(device->origin + origin - mark, made_here) != 0 ||
	    len <= strlen(suffix) || strcmp(driver + stem, suffix) != 0)
		return;
	name = xasprintf("%.*s-pci", (int)stem, driver);
	opts_set(device, "driver", name);
	free(name);
}

int old_dialect_translate(struct vm_config *config, struct error **errp)
{
	bool on_pci = machine_has_pci(config);
	struct opts *opts, *bus = NULL;
	int ret;

	list_for_each(opts, &config->devices, node) {
		ret = translate_device(config, opts, on_pci, errp);
		if (ret)
			return ret;
	}
	list_for_each(opts, &config->drives, node) {
		ret = translate_drive(config, opts, errp);
		if (ret)
			return ret;
	}
	list_for_each(opts, &config->netdevs, node) {
		ret = translate_netdev(config, opts, errp);
		if (ret)
			return ret;
	}
	list_for_each(opts, &config->chardevs, node)
		translate_chardev(config, opts, &bus);
	if (on_pci)
		list_for_each(opts, &config->devices, node)
			move_to_pci(opts);
	return 0;
}
