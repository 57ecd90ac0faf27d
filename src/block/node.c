// SPDX-License-Identifier: Apache-2.0
#include "block/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/parse.h"


/* Indices of the words below. */
enum {
	DRIVER_NONE,
	DRIVER_RAW,
	DRIVER_THROTTLE,
	DRIVER_FILE, /* this and what follows: with an image */
	DRIVER_HOST_DEVICE,
	DRIVER_HOST_CDROM,
	DRIVER_QCOW2
};

static const char *const driver_words[] = { "",		   "raw",	 "throttle", "file",
					    "host_device", "host_cdrom", "qcow2",    NULL };
static const char *const aio_words[] = {
	"", "io_uring", "iouring", "threads", "native", "off", NULL
};
static const char *const discard_words[] = { "ignore", "unmap", "off", "on", NULL };
static const char *const detect_zeroes_words[] = { "off", "on", "unmap", NULL };

struct node_config {
	int driver, file_driver, aio, file_aio, discard, detect_zeroes;
	char *name, *filename, *file, *file_filename, *file_name, *group;
	bool read_only, auto_read_only, file_read_only, file_auto_read_only, direct, no_flush;
	struct block_limits limits; /* the drive's own options count */
};

const struct property block_node_props[] = {
	PROP_STRING("node-name", struct node_config, name, 1, ID_MAX, NULL, "the node's id"),
	PROP_ENUM("driver", struct node_config, driver, driver_words, DRIVER_NONE,
		  "raw: a format; throttle: limits; file, host_device: an image file or a block device itself"),
	PROP_STRING("filename", struct node_config, filename, 1, 4095, NULL,
		    "the image, for file and host_device"),
	PROP_STRING("file", struct node_config, file, 1, ID_MAX, NULL,
		    "raw, throttle: the node below"),
	PROP_ENUM("file.driver", struct node_config, file_driver, driver_words, DRIVER_FILE,
		  "file or host_device"),
	PROP_STRING("file.filename", struct node_config, file_filename, 1, 4095, NULL,
		    "raw, throttle: the image"),
	PROP_STRING("throttle-group", struct node_config, group, 1, ID_MAX, NULL,
		    "throttle: the object with the limits"),
	PROP_STRING("file.node-name", struct node_config, file_name, 1, ID_MAX, NULL,
		    "an id for the node below"),
	PROP_ENUM("file.aio", struct node_config, file_aio, aio_words, 0,
		  "I/O engine, as for -drive"),
	PROP_BOOL("file.read-only", struct node_config, file_read_only, 0,
		  "open the image for reading"),
	PROP_BOOL("file.auto-read-only", struct node_config, file_auto_read_only, 0,
		  "as auto-read-only"),
	PROP_ENUM("aio", struct node_config, aio, aio_words, 0, "I/O engine, as for -drive"),
	PROP_BOOL("read-only", struct node_config, read_only, 0, "the guest cannot write"),
	PROP_BOOL("auto-read-only", struct node_config, auto_read_only, 0,
		  "read-only when the image cannot be opened for writing"),
	PROP_BOOL("cache.direct", struct node_config, direct, 1,
		  "bypass the host's page cache; above another node: that node's word counts"),
	PROP_BOOL("cache.no-flush", struct node_config, no_flush, 0, "ignore the guest's flushes"),
	PROP_ENUM("discard", struct node_config, discard, discard_words, 0,
		  "unmap: the guest can release space"),
	PROP_ENUM("detect-zeroes", struct node_config, detect_zeroes, detect_zeroes_words, 0,
		  "store writes of zeroes without data"),
	BLOCK_LIMIT_PROPS(struct node_config, limits),
	PROP_IGNORED("file.discard", "accepted: the node above decides"),
	PROP_IGNORED("file.cache.direct", "accepted: the node above decides"),
	PROP_IGNORED("file.cache.no-flush", "accepted: the node above decides"),
	PROP_IGNORED("id", "accepted for StratoVirt's clients"),
	PROP_IGNORED("media", "accepted for StratoVirt's clients"),
	PROP_END,
};

static int check_driver(const struct node_config *config, struct error **errp)
{
	bool nested = config->file || config->file_filename;

	if (config->driver == DRIVER_QCOW2 || config->file_driver == DRIVER_QCOW2)
		return error_set(errp, -ENOTSUP,
				 "driver qcow2 is not supported; convert the image: "
				 "qemu-img convert -O raw");
	if (!config->name)
		return error_set(errp, -EINVAL, "'node-name' must be specified for the root node");
	if (config->file && config->file_filename)
		return error_set(errp, -EINVAL, "'file' is a node or an object, not both");
	if (nested && config->filename)
		return error_set(errp, -EINVAL, "'filename' and 'file' exclude each other");
	if (!nested && !config->filename)
		return error_set(errp, -EINVAL, "'filename' is missing");
	if (nested && config->driver >= DRIVER_FILE)
		return error_set(errp, -EINVAL, "driver '%s' takes 'filename', not 'file'",
				 driver_words[config->driver]);
	if (config->filename && config->driver < DRIVER_FILE)
		return error_set(errp, -EINVAL, "'filename' needs driver file or host_device");
	if (nested && config->file_driver < DRIVER_FILE)
		return error_set(errp, -EINVAL, "'file.driver' must be file or host_device");
	if ((config->driver == DRIVER_THROTTLE) != (config->group != NULL))
		return error_set(errp, -EINVAL, config->group ? "'throttle-group' needs driver throttle" :
				 "driver throttle needs 'throttle-group'");
	return 0;
}

static const char *on_off(bool on)
{
	return on ? "on" : "off";
}

/* As -drive would be written. */
static struct opts *drive_opts(const struct node_config *config, const struct opts *given,
			       bool readonly)
{
	struct opts *opts = opts_new(given->origin);
	int aio = config->filename ? config->aio : config->file_aio;
	const struct opt *opt;

	if (!aio)
		aio = config->aio;
	if (aio && !strcmp(aio_words[aio], "iouring")) /* StratoVirt's word */
		aio--;
	opts_set(opts, "id", config->name);
	opts_set(opts, "file", config->filename ? config->filename : config->file_filename);
	opts_set(opts, "readonly", on_off(readonly));
	/* Left out when it was: where direct I/O is not possible that is then no reason for a
	 * warning. */
	if (opts_get(given, "cache.direct"))
		opts_set(opts, "direct", on_off(config->direct));
	if (aio)
		opts_set(opts, "aio", aio_words[aio]);
	opts_set(opts, "discard", discard_words[config->discard]);
	opts_set(opts, "detect-zeroes", detect_zeroes_words[config->detect_zeroes]);
	list_for_each(opt, &given->pairs, node)
		if (!strncmp(opt->key, "throttling.", strlen("throttling.")))
			opts_set(opts, opt->key, opt->value);
	return opts;
}

static int open_drive(const struct node_config *config, const struct opts *given,
		      struct link_scope *scope, struct block_drive **ret, struct error **errp)
{
	bool readonly = config->read_only || config->file_read_only;
	struct opts *opts = drive_opts(config, given, readonly);
	struct error *err = NULL;
	int code;

	code = block_drive_new(opts, scope, ret, &err);
	if (code && !readonly && (config->auto_read_only || config->file_auto_read_only) &&
	    (code == -EACCES || code == -EROFS || code == -EPERM)) {
		error_free(err);
		opts_set(opts, "readonly", "on");
		code = block_drive_new(opts, scope, ret, errp);
	} else if (code && errp) {
		*errp = err;
	} else {
		error_free(err);
	}
	opts_free(opts);
	return code;
}

/* --- Layers --- */

static void push(struct block_drive *drive, const char *name, const char *driver)
{
	struct block_layer *layer = xcalloc(1, sizeof(*layer));

	layer->below = drive->top;
	layer->driver = driver;
	layer->name = xstrdup(name);
	layer->readonly = drive->readonly;
	layer->discard = drive->discard;
	layer->detect_zeroes = drive->detect_zeroes;
	layer->ignore_flush = drive->ignore_flush;
	drive->top = layer;
	free(drive->id);
	drive->id = xstrdup(name);
}

/* The node below is what it was; without one the drive keeps the name. */
static void pop(struct block_drive *drive)
{
	struct block_layer *layer = drive->top;

	drive->top = layer->below;
	if (drive->top) {
		free(drive->id);
		drive->id = xstrdup(drive->top->name);
	}
	drive->readonly = layer->readonly;
	drive->discard = layer->discard;
	drive->detect_zeroes = layer->detect_zeroes;
	drive->ignore_flush = layer->ignore_flush;
	throttle_group_put(layer->group);
	free(layer->name);
	free(layer);
}

void block_node_forget(struct block_drive *drive)
{
	while (drive->top)
		pop(drive);
}

static const struct block_layer *layer_named(const struct block_drive *drive, const char *name)
{
	const struct block_layer *layer = drive->top;

	while (layer && strcmp(layer->name, name))
		layer = layer->below;
	return layer;
}

/* The group of a throttle node must be there already. *ret: NULL for other nodes. */
static int find_group(const struct node_config *config, struct link_scope *scope, struct throttle_group **ret,
		      struct error **errp)
{
	*ret = NULL;
	if (!config->group)
		return 0;
	if (!link_scope_find(scope, LINK_THROTTLE_GROUP, config->group))
		return error_set(errp, -ENOENT, "throttle-group '%s' not found", config->group);
	*ret = throttle_group_get(config->group, scope);
	return 0;
}

static int add_drive(const struct node_config *config, const struct opts *given,
		     struct link_scope *scope, struct block_drive **made, struct error **errp)
{
	struct throttle_group *group;
	struct block_drive *drive;
	int ret;

	ret = find_group(config, scope, &group, errp);
	if (!ret)
		ret = open_drive(config, given, scope, &drive, errp);
	if (ret)
		goto fail;
	if (config->file_name) {
		ret = link_scope_add(scope, LINK_DRIVE, config->file_name, drive, errp);
		if (ret) {
			link_scope_del(scope, LINK_DRIVE, config->name);
			block_drive_free(drive);
			goto fail;
		}
		push(drive, config->file_name, driver_words[config->file_driver]);
	}
	drive->ignore_flush |= config->no_flush;
	push(drive, config->name, driver_words[config->filename || group ? config->driver : DRIVER_RAW]);
	drive->top->owns_below = config->file_name;
	drive->top->group = group;
	*made = drive;
	return 0;

fail:
	throttle_group_put(group);
	return ret;
}

static int check_below(const struct node_config *config, const struct block_drive *drive, struct error **errp)
{
	struct throttle_group *groups[BLOCK_GROUPS_MAX];
	unsigned int filters;

	if (!drive)
		return error_set(errp, -ENOENT, "Cannot find device='' nor node-name='%s'",
				 config->file);
	if (!drive->top || drive->attached || strcmp(drive->id, config->file) ||
	    (!config->group && !strcmp(drive->top->driver, "raw")))
		return error_set(errp, -EBUSY, "node '%s' is in use or no file node", config->file);
	if (drive->readonly && !config->read_only && !config->auto_read_only && !config->group)
		return error_set(errp, -EACCES, "node '%s' is read-only, so '%s' must be",
				 config->file, config->name);
	filters = block_drive_groups(drive, groups) - (drive->group != NULL);
	if (config->group && filters == BLOCK_FILTERS_MAX)
		return error_set(errp, -ENOTSUP, "node '%s' is below %d throttle nodes already", config->file,
				 BLOCK_FILTERS_MAX);
	return 0;
}

/* A format or throttle node above a node. */
static int add_above(const struct node_config *config, const struct opts *given,
		     struct link_scope *scope, struct error **errp)
{
	struct block_drive *drive = link_scope_find(scope, LINK_DRIVE, config->file);
	struct throttle_group *group;
	int ret;

	ret = check_below(config, drive, errp);
	if (!ret)
		ret = find_group(config, scope, &group, errp);
	if (ret)
		return ret;
	ret = link_scope_add(scope, LINK_DRIVE, config->name, drive, errp);
	if (ret) {
		throttle_group_put(group);
		return ret;
	}
	push(drive, config->name, driver_words[group ? config->driver : DRIVER_RAW]);
	drive->top->group = group;
	drive->readonly |= config->read_only;
	if (opts_get(given, "discard"))
		drive->discard = config->discard % 2;
	if (opts_get(given, "detect-zeroes"))
		drive->detect_zeroes = config->detect_zeroes;
	drive->ignore_flush |= config->no_flush;
	return 0;
}

/* --- For users --- */

int block_node_add(const struct opts *opts, struct link_scope *scope, struct block_drive **made,
		   struct error **errp)
{
	struct node_config config = { 0 };
	bool prefixed = false;
	char *what;
	int ret;

	ret = property_apply(block_node_props, &config, opts, NULL, NULL, errp);
	if (ret)
		return ret;
	*made = NULL;
	ret = check_driver(&config, errp);
	if (!ret)
		ret = id_check(config.name, errp);
	if (!ret && config.file_name)
		ret = id_check(config.file_name, errp);
	if (!ret && config.file_name && !strcmp(config.file_name, config.name))
		ret = error_set(errp, -EEXIST, "Duplicate nodes with node-name='%s'", config.name);
	if (!ret && link_scope_find(scope, LINK_DRIVE, config.name))
		ret = error_set(errp, -EEXIST, "Duplicate nodes with node-name='%s'", config.name);
	if (!ret && config.file) {
		ret = add_above(&config, opts, scope, errp);
	} else if (!ret) {
		ret = add_drive(&config, opts, scope, made, errp);
		prefixed = true;
	}
	if (ret && !prefixed) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
	}
	property_release(block_node_props, &config);
	return ret;
}

int block_node_del(const char *name, struct link_scope *scope, struct block_drive **gone,
		   struct error **errp)
{
	struct block_drive *drive = link_scope_find(scope, LINK_DRIVE, name);
	const struct block_layer *above;

	if (!drive)
		return error_set(errp, -ENOENT, "Failed to find node with node-name='%s'", name);
	if (block_node_is_file(drive, name)) {
		for (above = drive->top; strcmp(above->below->name, name);)
			above = above->below;
		return error_set(errp, -EBUSY, "Node '%s' is busy: node is used as 'file' of '%s'",
				 name, above->name);
	}
	if (drive->attached)
		return error_set(errp, -EBUSY, "Node '%s' is busy: device '%s' uses it", name,
				 drive->user ? block_drive_device(drive) : "?");
	link_scope_del(scope, LINK_DRIVE, name);
	*gone = drive;
	if (!drive->top || !drive->top->below)
		return 0;
	if (drive->top->owns_below) {
		link_scope_del(scope, LINK_DRIVE, drive->top->below->name);
		return 0;
	}
	pop(drive);
	*gone = NULL;
	return 0;
}

bool block_node_is_file(const struct block_drive *drive, const char *name)
{
	return drive->top && strcmp(drive->top->name, name) != 0;
}

const char *block_node_driver(const struct block_drive *drive, const char *name)
{
	const struct block_layer *layer = layer_named(drive, name);

	return layer ? layer->driver : "raw";
}

bool block_drive_is_legacy(const struct block_drive *drive)
{
	return !drive->top;
}
