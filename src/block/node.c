// SPDX-License-Identifier: Apache-2.0
#include "block/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/alloc.h"

#define ID_MAX 255

/* Indices of the words below. */
enum { DRIVER_NONE, DRIVER_RAW, DRIVER_FILE, DRIVER_HOST_DEVICE, DRIVER_HOST_CDROM, DRIVER_QCOW2 };

static const char *const driver_words[] = { "",		  "raw",   "file", "host_device",
					    "host_cdrom", "qcow2", NULL };
static const char *const aio_words[] = {
	"", "io_uring", "iouring", "threads", "native", "off", NULL
};
static const char *const discard_words[] = { "ignore", "unmap", "off", "on", NULL };
static const char *const detect_zeroes_words[] = { "off", "on", "unmap", NULL };

struct node_config {
	int driver, file_driver, aio, file_aio, discard, detect_zeroes;
	char *name, *filename, *file, *file_filename, *file_name;
	bool read_only, auto_read_only, file_read_only, file_auto_read_only, direct, no_flush;
	struct block_limits limits; /* the drive's own options count */
};

const struct property block_node_props[] = {
	PROP_STRING("node-name", struct node_config, name, 1, ID_MAX, NULL, "the node's id"),
	PROP_ENUM("driver", struct node_config, driver, driver_words, DRIVER_NONE,
		  "raw: a format; file, host_device: an image file or a block device itself"),
	PROP_STRING("filename", struct node_config, filename, 1, 4095, NULL,
		    "the image, for file and host_device"),
	PROP_STRING("file", struct node_config, file, 1, ID_MAX, NULL,
		    "raw: the node with the image"),
	PROP_ENUM("file.driver", struct node_config, file_driver, driver_words, DRIVER_FILE,
		  "file or host_device"),
	PROP_STRING("file.filename", struct node_config, file_filename, 1, 4095, NULL,
		    "raw: the image"),
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
	if (nested && config->driver > DRIVER_RAW)
		return error_set(errp, -EINVAL, "driver '%s' takes 'filename', not 'file'",
				 driver_words[config->driver]);
	if (config->filename && config->driver <= DRIVER_RAW)
		return error_set(errp, -EINVAL, "'filename' needs driver file or host_device");
	if (nested && config->file_driver <= DRIVER_RAW)
		return error_set(errp, -EINVAL, "'file.driver' must be file or host_device");
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

static int add_drive(const struct node_config *config, const struct opts *given,
		     struct link_scope *scope, struct block_drive **made, struct error **errp)
{
	struct block_drive *drive;
	struct block_node *node;
	int ret;

	ret = open_drive(config, given, scope, &drive, errp);
	if (ret)
		return ret;
	if (config->file_name) {
		ret = link_scope_add(scope, LINK_DRIVE, config->file_name, drive, errp);
		if (ret) {
			link_scope_del(scope, LINK_DRIVE, config->name);
			block_drive_free(drive);
			return ret;
		}
	}
	drive->ignore_flush |= config->no_flush;
	node = &drive->node;
	node->is_node = true;
	node->driver = driver_words[config->filename ? config->driver : DRIVER_RAW];
	node->file_driver = driver_words[config->file_driver];
	node->file_is_own = true;
	node->file = config->file_name ? xstrdup(config->file_name) : NULL;
	*made = drive;
	return 0;
}

/* A format node above a file node. */
static int add_above(const struct node_config *config, const struct opts *given,
		     struct link_scope *scope, struct error **errp)
{
	struct block_drive *drive = link_scope_find(scope, LINK_DRIVE, config->file);
	struct block_node *node;
	int ret;

	if (!drive)
		return error_set(errp, -ENOENT, "Cannot find device='' nor node-name='%s'",
				 config->file);
	node = &drive->node;
	if (!node->is_node || drive->attached || node->file || !strcmp(node->driver, "raw"))
		return error_set(errp, -EBUSY, "node '%s' is in use or no file node", config->file);
	if (drive->readonly && !config->read_only && !config->auto_read_only)
		return error_set(errp, -EACCES, "node '%s' is read-only, so '%s' must be",
				 config->file, config->name);
	ret = link_scope_add(scope, LINK_DRIVE, config->name, drive, errp);
	if (ret)
		return ret;
	node->file = drive->id;
	node->file_is_own = false;
	node->file_driver = node->driver;
	node->driver = driver_words[DRIVER_RAW];
	node->file_readonly = drive->readonly;
	node->file_discard = drive->discard;
	node->file_detect_zeroes = drive->detect_zeroes;
	node->file_ignore_flush = drive->ignore_flush;
	drive->id = xstrdup(config->name);
	drive->readonly |= config->read_only;
	if (opts_get(given, "discard"))
		drive->discard = config->discard % 2;
	if (opts_get(given, "detect-zeroes"))
		drive->detect_zeroes = config->detect_zeroes;
	drive->ignore_flush |= config->no_flush;
	return 0;
}

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
	struct block_node *node;

	if (!drive)
		return error_set(errp, -ENOENT, "Failed to find node with node-name='%s'", name);
	node = &drive->node;
	if (block_node_is_file(drive, name))
		return error_set(errp, -EBUSY, "Node '%s' is busy: node is used as 'file' of '%s'",
				 name, drive->id);
	if (drive->attached)
		return error_set(errp, -EBUSY, "Node '%s' is busy: device '%s' uses it", name,
				 drive->user ? block_drive_device(drive) : "?");
	link_scope_del(scope, LINK_DRIVE, name);
	*gone = NULL;
	if (!node->file || node->file_is_own) {
		if (node->file)
			link_scope_del(scope, LINK_DRIVE, node->file);
		*gone = drive;
		return 0;
	}
	/* The node below is what it was. */
	free(drive->id);
	drive->id = node->file;
	node->file = NULL;
	node->driver = node->file_driver;
	drive->readonly = node->file_readonly;
	drive->discard = node->file_discard;
	drive->detect_zeroes = node->file_detect_zeroes;
	drive->ignore_flush = node->file_ignore_flush;
	return 0;
}

bool block_node_is_file(const struct block_drive *drive, const char *name)
{
	return drive->node.file && !strcmp(drive->node.file, name);
}

const char *block_node_driver(const struct block_drive *drive, const char *name)
{
	if (!drive->node.is_node)
		return "raw";
	return block_node_is_file(drive, name) ? drive->node.file_driver : drive->node.driver;
}

bool block_drive_is_legacy(const struct block_drive *drive)
{
	return !drive->node.is_node;
}
