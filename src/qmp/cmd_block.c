// SPDX-License-Identifier: Apache-2.0
/* Drives and block nodes: what there is, what it does, and changing it. */
#include <stdlib.h>
#include <string.h>

#include "block/node.h"
#include "config/opts.h"
#include "devices/device.h"
#include "internal.h"
#include "util/alloc.h"

static struct link_scope *links(struct qmp_call *call)
{
	return machine_platform(call->qmp->machine)->links;
}

/* --- what there is --- */

static QMP_TYPE_OBJECT(image_info, "ImageInfo", QMP_MEMBER("filename", qmp_str, NULL),
		       QMP_MEMBER("format", qmp_str, NULL),
		       QMP_MEMBER("virtual-size", qmp_int, "bytes that the guest sees"),
		       QMP_OPTIONAL("actual-size", qmp_int, "bytes that the image occupies"));
static QMP_TYPE_OBJECT(cache_info, "BlockdevCacheInfo", QMP_MEMBER("writeback", qmp_bool, NULL),
		       QMP_MEMBER("direct", qmp_bool, "the host's page cache is bypassed"),
		       QMP_MEMBER("no-flush", qmp_bool, "flushes are ignored"));
static QMP_TYPE_ENUM(detect_zeroes, "BlockdevDetectZeroesOptions", "off", "on", "unmap");
/* The limits of a drive, as they are set and as they are shown. */
#define LIMIT_MEMBERS                                                                              \
	QMP_MEMBER("bps", qmp_int, "bytes a second, 0: no limit"),                                 \
	QMP_MEMBER("bps_rd", qmp_int, "of reads; not together with bps"),                          \
	QMP_MEMBER("bps_wr", qmp_int, NULL),                                                       \
	QMP_MEMBER("iops", qmp_int, "requests a second, 0: no limit"),                             \
	QMP_MEMBER("iops_rd", qmp_int, NULL), QMP_MEMBER("iops_wr", qmp_int, NULL),                \
	QMP_OPTIONAL("bps_max", qmp_int, "in a burst"),                                            \
	QMP_OPTIONAL("bps_rd_max", qmp_int, NULL), QMP_OPTIONAL("bps_wr_max", qmp_int, NULL),      \
	QMP_OPTIONAL("iops_max", qmp_int, NULL), QMP_OPTIONAL("iops_rd_max", qmp_int, NULL),       \
	QMP_OPTIONAL("iops_wr_max", qmp_int, NULL),                                                \
	QMP_OPTIONAL("bps_max_length", qmp_int, "seconds that the burst may last"),                \
	QMP_OPTIONAL("bps_rd_max_length", qmp_int, NULL),                                          \
	QMP_OPTIONAL("bps_wr_max_length", qmp_int, NULL),                                          \
	QMP_OPTIONAL("iops_max_length", qmp_int, NULL),                                            \
	QMP_OPTIONAL("iops_rd_max_length", qmp_int, NULL),                                         \
	QMP_OPTIONAL("iops_wr_max_length", qmp_int, NULL),                                         \
	QMP_OPTIONAL("iops_size", qmp_int, "bytes that count as one request"),                     \
	QMP_OPTIONAL("group", qmp_str, "the drives in this group share the limits")

static QMP_TYPE_OBJECT(device_info, "BlockDeviceInfo", QMP_MEMBER("file", qmp_str, "the image"),
		       QMP_OPTIONAL("node-name", qmp_str, NULL), QMP_MEMBER("ro", qmp_bool, NULL),
		       QMP_MEMBER("drv", qmp_str, "raw, throttle, file, host_device"),
		       QMP_MEMBER("backing_file_depth", qmp_int, "always 0"),
		       QMP_MEMBER("encrypted", qmp_bool, "always false"),
		       QMP_MEMBER("detect_zeroes", detect_zeroes, NULL),
		       LIMIT_MEMBERS,
		       QMP_MEMBER("image", image_info, NULL),
		       QMP_MEMBER("cache", cache_info, NULL),
		       QMP_MEMBER("write_threshold", qmp_int, "always 0"));
static QMP_TYPE_ARRAY(device_info_array, "BlockDeviceInfo", device_info);
static QMP_TYPE_ENUM(io_status, "BlockDeviceIoStatus", "ok", "failed", "nospace");
static QMP_TYPE_OBJECT(block_info, "BlockInfo",
		       QMP_MEMBER("device", qmp_str, "the -drive, empty for a node"),
		       QMP_OPTIONAL("qdev", qmp_str, "the disk's path"),
		       QMP_MEMBER("type", qmp_str, "always unknown"),
		       QMP_MEMBER("removable", qmp_bool, "always false"),
		       QMP_MEMBER("locked", qmp_bool, "always false"),
		       QMP_OPTIONAL("io-status", io_status, "of a disk; not ok: its error stopped the VM"),
		       QMP_OPTIONAL("inserted", device_info, NULL));
static QMP_TYPE_ARRAY(block_info_array, "BlockInfo", block_info);

/* QMP's words for the limits: "iops", "iops_max", "iops_max_length". */
static const char *const limit_words[BLOCK_LIMIT_KINDS] = {
	[BLOCK_LIMIT_IOPS] = "iops",	       [BLOCK_LIMIT_IOPS_READ] = "iops_rd",
	[BLOCK_LIMIT_IOPS_WRITE] = "iops_wr", [BLOCK_LIMIT_BPS] = "bps",
	[BLOCK_LIMIT_BPS_READ] = "bps_rd",    [BLOCK_LIMIT_BPS_WRITE] = "bps_wr",
};
#define LIMIT_WORD_MAX 32

/* As QEMU: what is not in use is left out, but for the averages. */
static void add_limits(struct json_object *info, const struct block_limits *limits, const char *group)
{
	char word[LIMIT_WORD_MAX];

	for (unsigned int kind = 0; kind < BLOCK_LIMIT_KINDS; kind++) {
		const struct block_limit *limit = &limits->limit[kind];

		qmp_add_int(info, limit_words[kind], (int64_t)limit->average);
		if (!limit->max)
			continue;
		snprintf(word, sizeof(word), "%s_max", limit_words[kind]);
		qmp_add_int(info, word, (int64_t)limit->max);
		snprintf(word, sizeof(word), "%s_max_length", limit_words[kind]);
		qmp_add_int(info, word, (int64_t)limit->max_length);
	}
	if (limits->iops_size)
		qmp_add_int(info, "iops_size", (int64_t)limits->iops_size);
	if (group)
		qmp_add_str(info, "group", group);
}

static struct json_object *node_info(const struct block_drive *drive, const char *name)
{
	struct json_object *info = json_object_new_object(), *image = json_object_new_object(),
			   *cache = json_object_new_object();

	add_limits(info, block_drive_limits(drive), block_drive_group(drive));
	qmp_add_str(info, "detect_zeroes", block_drive_detect_zeroes(drive));
	qmp_add_int(image, "virtual-size", (int64_t)block_drive_size(drive));
	qmp_add_str(image, "filename", block_drive_file(drive));
	qmp_add_str(image, "format", block_node_driver(drive, name));
	qmp_add_int(image, "actual-size", (int64_t)block_drive_allocated(drive));
	json_object_object_add(info, "image", image);
	qmp_add_bool(info, "ro", block_drive_readonly(drive));
	qmp_add_str(info, "node-name", name);
	qmp_add_int(info, "backing_file_depth", 0);
	qmp_add_str(info, "drv", block_node_driver(drive, name));
	qmp_add_bool(info, "encrypted", false);
	qmp_add_bool(cache, "no-flush", block_drive_ignores_flush(drive));
	qmp_add_bool(cache, "direct", block_drive_direct(drive));
	qmp_add_bool(cache, "writeback", !block_drive_writethrough(drive));
	json_object_object_add(info, "cache", cache);
	qmp_add_int(info, "write_threshold", 0);
	qmp_add_str(info, "file", block_drive_file(drive));
	return info;
}

/* A -drive, or what a device uses: what QEMU calls a block back end. */
static bool is_back_end(const struct block_drive *drive, const char *name)
{
	return !block_node_is_file(drive, name) &&
	       (block_drive_is_legacy(drive) || block_drive_in_use(drive));
}

/* What a walk over the drives makes. */
struct listing {
	const struct platform *platform;
	struct json_object *list;
};

static void add_names(const struct listing *listing, struct json_object *info, const struct block_drive *drive)
{
	const struct device *dev = device_find_user(listing->platform, drive);
	char *path;

	qmp_add_str(info, "device", block_drive_is_legacy(drive) ? block_drive_id(drive) : "");
	if (!dev)
		return;
	/* In QEMU the disk is a part of its PCI device, and clients look it up by that path. */
	path = xasprintf("/machine/%s/%s%s", device_is_internal(dev) ? "unattached" : "peripheral", device_name(dev),
			 dev->class->bus == DEVICE_BUS_PCI ? "/virtio-backend" : "");
	qmp_add_str(info, "qdev", path);
	free(path);
}

static const char *const io_status_words[] = {
	[BLOCK_IO_OK] = "ok",
	[BLOCK_IO_FAILED] = "failed",
	[BLOCK_IO_NOSPACE] = "nospace",
};

static void add_block(void *opaque, const char *id, void *object)
{
	const struct listing *listing = opaque;
	struct json_object *info;

	if (!is_back_end(object, id))
		return;
	info = json_object_new_object();
	add_names(listing, info, object);
	if (block_drive_in_use(object))
		qmp_add_str(info, "io-status", io_status_words[block_drive_io_status(object)]);
	qmp_add_bool(info, "locked", false);
	qmp_add_bool(info, "removable", false);
	json_object_object_add(info, "inserted", node_info(object, id));
	qmp_add_str(info, "type", "unknown");
	json_object_array_add(listing->list, info);
}

/* @fn: gets a struct listing. */
static void list_drives(struct qmp_call *call, void (*fn)(void *opaque, const char *id, void *object),
			struct json_object **ret)
{
	struct listing listing = { machine_platform(call->qmp->machine), json_object_new_array() };

	link_scope_each(links(call), LINK_DRIVE, fn, &listing);
	*ret = listing.list;
}

QMP_HANDLER(query_block)
{
	(void)args;
	(void)errp;
	list_drives(call, add_block, ret);
	return 0;
}

static void add_node(void *opaque, const char *id, void *object)
{
	json_object_array_add(opaque, node_info(object, id));
}

QMP_HANDLER(query_named_block_nodes)
{
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	link_scope_each(links(call), LINK_DRIVE, add_node, *ret);
	return 0;
}

/* --- what they do --- */

static QMP_TYPE_OBJECT(
	device_stats, "BlockDeviceStats", QMP_MEMBER("rd_bytes", qmp_int, NULL),
	QMP_MEMBER("wr_bytes", qmp_int, NULL), QMP_MEMBER("unmap_bytes", qmp_int, NULL),
	QMP_MEMBER("rd_operations", qmp_int, NULL), QMP_MEMBER("wr_operations", qmp_int, NULL),
	QMP_MEMBER("flush_operations", qmp_int, NULL),
	QMP_MEMBER("unmap_operations", qmp_int, NULL),
	QMP_MEMBER("rd_total_time_ns", qmp_int, "of all requests, added up"),
	QMP_MEMBER("wr_total_time_ns", qmp_int, NULL),
	QMP_MEMBER("flush_total_time_ns", qmp_int, NULL),
	QMP_MEMBER("unmap_total_time_ns", qmp_int, NULL),
	QMP_MEMBER("wr_highest_offset", qmp_int, "byte behind the farthest write"),
	QMP_MEMBER("rd_merged", qmp_int, "always 0: requests are not merged"),
	QMP_MEMBER("wr_merged", qmp_int, NULL), QMP_MEMBER("unmap_merged", qmp_int, NULL),
	QMP_MEMBER("failed_rd_operations", qmp_int, "not counted above"),
	QMP_MEMBER("failed_wr_operations", qmp_int, NULL),
	QMP_MEMBER("failed_flush_operations", qmp_int, NULL),
	QMP_MEMBER("failed_unmap_operations", qmp_int, NULL),
	QMP_MEMBER("account_failed", qmp_bool, "always true: the time counts failed ones"));
static QMP_TYPE_OBJECT(stats_info, "BlockStats",
		       QMP_OPTIONAL("device", qmp_str, "the -drive, empty for a node"),
		       QMP_OPTIONAL("qdev", qmp_str, "the disk's path"),
		       QMP_OPTIONAL("node-name", qmp_str, NULL),
		       QMP_MEMBER("stats", device_stats, NULL));
static QMP_TYPE_ARRAY(stats_info_array, "BlockStats", stats_info);

static void add_stat(struct json_object *object, const char *before, const char *kind,
		     const char *behind, uint64_t value)
{
	char name[40];

	snprintf(name, sizeof(name), "%s%s%s", before, kind, behind);
	qmp_add_int(object, name, (int64_t)value);
}

static struct json_object *stats_object(const struct block_drive *drive)
{
	static const char *const kinds[] = {
		[BLOCK_ACCOUNT_READ] = "rd",
		[BLOCK_ACCOUNT_WRITE] = "wr",
		[BLOCK_ACCOUNT_FLUSH] = "flush",
		[BLOCK_ACCOUNT_DISCARD] = "unmap",
	};
	struct json_object *object = json_object_new_object();
	struct block_stats stats;

	block_drive_stats(drive, &stats);
	for (unsigned int i = 0; i < BLOCK_ACCOUNTS; i++) {
		add_stat(object, "", kinds[i], "_operations", stats.operations[i]);
		add_stat(object, "failed_", kinds[i], "_operations", stats.failed[i]);
		add_stat(object, "", kinds[i], "_total_time_ns", stats.time_ns[i]);
		if (i == BLOCK_ACCOUNT_FLUSH)
			continue;
		add_stat(object, "", kinds[i], "_bytes", stats.bytes[i]);
		add_stat(object, "", kinds[i], "_merged", 0);
	}
	qmp_add_int(object, "wr_highest_offset", (int64_t)stats.highest_write);
	qmp_add_bool(object, "account_failed", true);
	return object;
}

static void add_back_end_stats(void *opaque, const char *id, void *object)
{
	const struct listing *listing = opaque;
	struct json_object *info;

	if (!is_back_end(object, id))
		return;
	info = json_object_new_object();
	add_names(listing, info, object);
	qmp_add_str(info, "node-name", id);
	json_object_object_add(info, "stats", stats_object(object));
	json_object_array_add(listing->list, info);
}

static void add_node_stats(void *opaque, const char *id, void *object)
{
	const struct listing *listing = opaque;
	struct json_object *info = json_object_new_object();

	qmp_add_str(info, "node-name", id);
	json_object_object_add(info, "stats", stats_object(object));
	json_object_array_add(listing->list, info);
}

QMP_HANDLER(query_blockstats)
{
	(void)errp;
	list_drives(call, qmp_arg_bool(args, "query-nodes", false) ? add_node_stats : add_back_end_stats, ret);
	return 0;
}

/* --- nodes come and go --- */

QMP_HANDLER(blockdev_add)
{
	struct opts *opts;
	int err;

	(void)ret;
	err = opts_from_json("blockdev-add", args, &opts, errp);
	if (err)
		return err;
	err = machine_blockdev_add(call->qmp->machine, opts, errp);
	opts_free(opts);
	return qmp_generic_error(err, errp);
}

QMP_HANDLER(blockdev_del)
{
	(void)ret;
	return machine_blockdev_del(call->qmp->machine, qmp_arg_str(args, "node-name"), errp);
}

/* --- changes --- */

struct drive_search {
	const char *device; /* id of the device that uses it */
	struct block_drive *drive;
};

static void match_device(void *opaque, const char *id, void *object)
{
	struct drive_search *search = opaque;
	const char *device = block_drive_device(object);

	(void)id;
	if (device && !strcmp(device, search->device))
		search->drive = object;
}

/* @name: a disk's id or path, with or without the part that QEMU's virtio transports have behind
 * it. */
static struct block_drive *find_by_disk(struct qmp_call *call, const char *name)
{
	static const char folder[] = "/machine/peripheral/", inner[] = "/virtio-backend";
	struct drive_search search = { NULL, NULL };
	size_t len;
	char *id;

	if (!strncmp(name, folder, strlen(folder)))
		name += strlen(folder);
	id = strdup(name);
	if (!id)
		return NULL;
	len = strlen(id);
	if (len > strlen(inner) && !strcmp(id + len - strlen(inner), inner))
		id[len - strlen(inner)] = '\0';
	search.device = id;
	link_scope_each(links(call), LINK_DRIVE, match_device, &search);
	free(id);
	return search.drive;
}

static int read_limit(struct json_object *args, const char *word, const char *behind, uint64_t def,
		      uint64_t *ret, struct error **errp)
{
	char name[LIMIT_WORD_MAX];
	int64_t value;

	snprintf(name, sizeof(name), "%s%s", word, behind);
	value = qmp_arg_int(args, name, (int64_t)def);
	if (value < 0)
		return error_set(errp, -ERANGE, "%s is out of range: less than 0", name);
	*ret = (uint64_t)value;
	return 0;
}

/* All of them: what is left out is no limit. */
static int read_limits(struct json_object *args, struct block_limits *limits, struct error **errp)
{
	int ret = read_limit(args, "iops_size", "", 0, &limits->iops_size, errp);

	for (unsigned int kind = 0; !ret && kind < BLOCK_LIMIT_KINDS; kind++) {
		struct block_limit *limit = &limits->limit[kind];
		const char *word = limit_words[kind];

		ret = read_limit(args, word, "", 0, &limit->average, errp);
		if (!ret)
			ret = read_limit(args, word, "_max", 0, &limit->max, errp);
		if (!ret)
			ret = read_limit(args, word, "_max_length", 1, &limit->max_length, errp);
	}
	return ret;
}

QMP_HANDLER(block_set_io_throttle)
{
	const char *disk = qmp_arg_str(args, "id"), *name = qmp_arg_str(args, "device");
	const char *group = qmp_arg_str(args, "group");
	struct block_limits limits;
	struct block_drive *drive;
	char quote[QMP_QUOTE_MAX];
	int err;

	(void)ret;
	if (!disk == !name)
		return error_set(errp, -EINVAL, "Need exactly one of 'device' and 'id'");
	drive = disk ? find_by_disk(call, disk) : link_scope_find(links(call), LINK_DRIVE, name);
	if (!drive)
		return error_set(errp, QMP_DEVICE_NOT_FOUND, "Device '%s' not found",
				 qmp_quote(disk ? disk : name, quote));
	err = read_limits(args, &limits, errp);
	if (!group && !err && !block_drive_group(drive)) /* QEMU's name for one of its own */
		group = name ? name : disk;
	if (!err)
		err = block_drive_set_limits(drive, &limits, group, errp);
	return qmp_generic_error(err, errp);
}

QMP_HANDLER(block_resize)
{
	const char *name = qmp_arg_str(args, "node-name"), *device = qmp_arg_str(args, "device");
	char quote[QMP_QUOTE_MAX];
	struct block_drive *drive;

	(void)ret;
	if (!name == !device)
		return error_set(errp, -EINVAL, "Need exactly one of 'device' and 'node-name'");
	if (device)
		name = device;
	drive = link_scope_find(links(call), LINK_DRIVE, name);
	if (!drive && device)
		return error_set(errp, QMP_DEVICE_NOT_FOUND, "Device '%s' not found",
				 qmp_quote(name, quote));
	if (!drive)
		return error_set(errp, -ENOENT, "Cannot find device='' nor node-name='%s'",
				 qmp_quote(name, quote));
	return qmp_generic_error(
		block_drive_resize(
			drive, json_object_get_uint64(json_object_object_get(args, "size")), errp),
		errp);
}

const struct qmp_command qmp_block_commands[] = {
	{ .name = "query-block",
	  .help = "the drives: those of -drive and those that a disk uses",
	  .returns = &block_info_array,
	  .handler = query_block },
	{ .name = "query-named-block-nodes",
	  .help = "all block nodes",
	  .args = QMP_MEMBERS(
		  QMP_OPTIONAL("flat", qmp_bool, "no effect: there are no backing files")),
	  .returns = &device_info_array,
	  .handler = query_named_block_nodes },
	{ .name = "query-blockstats",
	  .help = "what drives have done",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("query-nodes", qmp_bool, "all block nodes instead")),
	  .returns = &stats_info_array,
	  .handler = query_blockstats },
	{ .name = "blockdev-add",
	  .help = "opens an image as a node, or puts a raw or throttle node above a node; more members as "
		  "for "
		  "-blockdev of QEMU: cache.direct, cache.no-flush, discard, detect-zeroes, aio, throttle-group",
	  .args = QMP_MEMBERS(
		  QMP_OPTIONAL("driver", qmp_str, "raw, throttle, file, host_device or host_cdrom"),
		  QMP_OPTIONAL("node-name", qmp_str, "required"),
		  QMP_OPTIONAL("read-only", qmp_bool, NULL),
		  QMP_OPTIONAL("auto-read-only", qmp_bool, NULL),
		  QMP_OPTIONAL("filename", qmp_str, "for all drivers but raw and throttle"),
		  QMP_OPTIONAL("file", qmp_any, "raw, throttle: a node's name, or a file node's members")),
	  .flags = QMP_MORE_ARGS,
	  .handler = blockdev_add },
	{ .name = "blockdev-del",
	  .help = "closes a node that nothing uses",
	  .args = QMP_MEMBERS(QMP_MEMBER("node-name", qmp_str, "or a -drive's id")),
	  .handler = blockdev_del },
	{ .name = "block_set_io_throttle",
	  .help = "limits the requests of a drive, in use or not, and of all in its group; without any "
		  "limit it leaves the group",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("device", qmp_str, "the -drive or node, or"),
			      QMP_OPTIONAL("id", qmp_str, "the disk's id or path"),
			      LIMIT_MEMBERS),
	  .handler = block_set_io_throttle },
	{ .name = "block_resize",
	  .help = "gives an image another size, or reads that of a block device again; the guest "
		  "is told",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("device", qmp_str, "the -drive, or"),
			      QMP_OPTIONAL("node-name", qmp_str, "the node"),
			      QMP_MEMBER("size", qmp_size, "bytes, a multiple of 512")),
	  .handler = block_resize },
	{ .name = NULL },
};
