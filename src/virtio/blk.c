// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk (virtio 1.2 §5.2): its properties, its configuration space, its life.
 *
 * A disk in a replaceable slot can lose its drive and get another one while the guest runs: then it has no engine and
 * capacity 0, and every request fails. The guest learns of it by a configuration interrupt.
 */
#include "blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mmio.h"
#include "pci.h"
#include "virtio/classes.h"

#define LOG_MODULE "virtio-blk"
#include "util/log.h"

/* §5.2.4 */
struct blk_config {
	le64_t capacity; /* in sectors of 512 bytes, whatever blk_size is */
	le32_t size_max, seg_max;
	le16_t cylinders;
	uint8_t heads, sectors;
	le32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	le16_t min_io_size;
	le32_t opt_io_size;
	uint8_t writeback, unused0;
	le16_t num_queues;
	le32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	le32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
} __packed;

/* Indices of the words of write-cache. */
enum { WRITE_CACHE_AUTO, WRITE_CACHE_ON, WRITE_CACHE_OFF };
static const char *const write_cache_words[] = { "auto", "on", "off", NULL };

#define BLK_PROPS \
	PROP_LINK("drive", struct virtio_blk, drive, LINK_DRIVE, 0, "the disk's back end; required"), \
	PROP_STRING("serial", struct virtio_blk, serial, 0, BLK_ID_SIZE, NULL, "serial number"), \
	PROP_UINT(16, "num-queues", struct virtio_blk, num_queues, 1, 32, 1, "request queues"), \
	PROP_POW2(16, "queue-size", struct virtio_blk, queue_size, 4, 1024, 256, "entries of a queue"), \
	PROP_LINK("iothread", struct virtio_blk, iothread, LINK_IOTHREAD, 0, \
		  "thread that does the I/O; the main thread without it"), \
	PROP_POW2(32, "logical_block_size", struct virtio_blk, logical_block_size, 512, 4096, 512, \
		  "smallest unit of the guest's accesses, in bytes"), \
	PROP_POW2(32, "physical_block_size", struct virtio_blk, physical_block_size, 512, 1048576, 0, \
		  "unit that is fast to write, in bytes; 0: logical_block_size"), \
	PROP_ENUM("rerror", struct virtio_blk, on_error[0], block_on_error_words, BLOCK_ON_ERROR_AUTO, \
		  "when the host cannot read; auto: as the drive says"), \
	PROP_ENUM("werror", struct virtio_blk, on_error[1], block_on_error_words, BLOCK_ON_ERROR_AUTO, \
		  "when the host cannot write; auto: as the drive says"), \
	PROP_ENUM("write-cache", struct virtio_blk, write_cache, write_cache_words, WRITE_CACHE_AUTO, \
		  "off: a write is on stable storage when it is done; auto: as the drive's cache="), \
	PROP_BOOL("config-wce", struct virtio_blk, config_wce, true, \
		  "the guest may switch the write cache"), \
	PROP_BOOL("share-rw", struct virtio_blk, user.share, false, \
		  "others may write to the image, too, that say the same"), \
	VIRTIO_FEATURE_PROPS(struct virtio_blk), \
	VIRTIO_BOOTINDEX_PROP(struct virtio_blk)

static const struct property blk_props[] = { BLK_PROPS, PROP_END };
static const struct property blk_pci_props[] = { BLK_PROPS, VIRTIO_PCI_PROPS(struct virtio_blk), PROP_END };

/* --- Life --- */

static void blk_start(struct virtio_device *vdev)
{
	blk_io_start(to_blk(vdev));
}

static void blk_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_blk *blk = to_blk(vdev);

	/* Requests of other queues are waited for too, which takes no longer than the slowest of them. */
	if (blk->engine)
		block_engine_drain(blk->engine);
	if (queue) {
		blk_io_forget(blk, queue);
		blk_io_kick_queues(blk); /* those that the engine gave back go on */
	}
}

/* §5.2.5 writeback at the start: the host's word, which stands when it is "written through". */
static void set_initial_writeback(struct virtio_blk *blk)
{
	bool may = blk->write_cache != WRITE_CACHE_OFF && !(blk->drive && block_drive_writethrough(blk->drive));

	atomic_store(&blk->may_write_back, may);
	atomic_store(&blk->writeback, may);
}

static void show_writeback(struct virtio_blk *blk)
{
	uint8_t writeback = atomic_load(&blk->writeback);

	virtio_device_update_config(&blk->vdev, offsetof(struct blk_config, writeback), &writeback,
				    sizeof(writeback), false);
}

static void blk_reset(struct virtio_device *vdev)
{
	struct virtio_blk *blk = to_blk(vdev);

	blk_io_forget(blk, NULL);
	set_initial_writeback(blk); /* the driver's word is forgotten */
	show_writeback(blk);
}

/* §5.2.5: writeback is all that a driver may write. A cache that the host has switched off stays off. */
static void blk_write_config(struct virtio_device *vdev, uint32_t offset, uint32_t value, unsigned int size)
{
	struct virtio_blk *blk = to_blk(vdev);

	if (offset != offsetof(struct blk_config, writeback) || size != 1 || value > 1 || !blk->config_wce ||
	    (value && !atomic_load(&blk->may_write_back)))
		return;
	atomic_store(&blk->writeback, (uint8_t)value);
	show_writeback(blk);
}

/* What @drive can, or, without one, what whichever comes might. */
static uint64_t features_for(const struct virtio_blk *blk, const struct block_drive *drive)
{
	uint64_t features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY;

	if (drive && block_drive_readonly(drive))
		features |= BLK_F_RO;
	else
		features |= BLK_F_WRITE_ZEROES | (!drive || block_drive_discard(drive) ? BLK_F_DISCARD : 0);
	if (blk->num_queues > 1)
		features |= BLK_F_MQ;
	if (blk->config_wce)
		features |= BLK_F_CONFIG_WCE;
	return features;
}

static void set_config(struct virtio_blk *blk)
{
	uint32_t block = blk->logical_block_size;
	struct blk_config config = {
		.capacity = cpu_to_le64(blk->capacity / BLK_SECTOR),
		.seg_max = cpu_to_le32(blk->queue_size - 2), /* beside header and status */
		.blk_size = cpu_to_le32(block),
		.physical_block_exp = __builtin_ctz(blk->physical_block_size / block),
		.writeback = atomic_load(&blk->writeback),
		.num_queues = cpu_to_le16(blk->num_queues),
		.max_discard_sectors = cpu_to_le32(BLK_RANGE_SECTORS_MAX),
		.max_discard_seg = cpu_to_le32(1),
		.discard_sector_alignment = cpu_to_le32(block / BLK_SECTOR),
		.max_write_zeroes_sectors = cpu_to_le32(BLK_RANGE_SECTORS_MAX),
		.max_write_zeroes_seg = cpu_to_le32(1),
		.write_zeroes_may_unmap = blk->drive && block_drive_discard(blk->drive),
	};

	virtio_device_set_config(&blk->vdev, &config, sizeof(config));
}

static int check_block_sizes(struct virtio_blk *blk, struct error **errp)
{
	if (!blk->physical_block_size)
		blk->physical_block_size = blk->logical_block_size;
	if (blk->physical_block_size < blk->logical_block_size)
		return error_set(errp, -EINVAL, "physical_block_size=%u is less than logical_block_size=%u",
				 blk->physical_block_size, blk->logical_block_size);
	return 0;
}

/* --- Drives come and go --- */

/* What can be said of a disk that the guest knows already. */
struct plug_config {
	struct block_drive *drive;
	char *serial;
	int on_error[2], write_cache;
	bool share;
};

/* A request to the home loop. */
struct drive_call {
	struct virtio_blk *blk;
	struct block_drive *drive;
	struct block_engine *engine;
	struct plug_config *config; /* its serial changes places with the device's; NULL: that and all else stays */
	uint64_t size;
	struct error **errp;
	int ret;
};

static void home_plug(void *opaque)
{
	struct drive_call *call = opaque;
	struct virtio_blk *blk = call->blk;
	struct plug_config *config = call->config;
	char *serial;

	call->ret = block_engine_start(call->engine, call->errp);
	if (call->ret)
		return;
	blk->engine = call->engine;
	if (config) {
		serial = blk->serial;
		blk->serial = config->serial;
		config->serial = serial;
		memcpy(blk->on_error, config->on_error, sizeof(blk->on_error));
		blk->write_cache = config->write_cache;
	}
	blk->drive = call->drive;
	blk->capacity = call->size;
	set_initial_writeback(blk);
	set_config(blk);
	log_debug("%s: drive '%s' by %s%s", blk->vdev.dev.id, block_drive_id(blk->drive),
		  block_engine_name(blk->engine), block_drive_direct(blk->drive) ? ", direct" : "");
}

static void home_unplug(void *opaque)
{
	struct virtio_blk *blk = opaque;

	block_engine_drain(blk->engine);
	block_engine_free(blk->engine);
	blk->engine = NULL;
	blk->drive = NULL;
	blk->capacity = 0;
	blk->stopping = false; /* nothing to try again */
	set_config(blk);
	blk_io_doom(blk);
	blk_io_kick_queues(blk); /* what was held back fails now */
}

/* Main thread, any time. */
static int plug_drive(struct virtio_blk *blk, struct block_drive *drive, struct plug_config *config,
		      struct error **errp)
{
	struct drive_call call = {
		.blk = blk,
		.drive = drive,
		.config = config,
		.size = ALIGN_DOWN(block_drive_size(drive), blk->logical_block_size),
		.errp = errp,
	};
	int ret;

	if (!call.size)
		return error_set(errp, -EINVAL, "drive '%s' is smaller than one block of %u bytes",
				 block_drive_id(drive), blk->logical_block_size);
	if (config)
		blk->user.share = config->share;
	ret = block_drive_attach(drive, blk->logical_block_size, &blk->user, errp);
	if (ret)
		return ret;
	/* Here, because an iothread may neither make rings nor start threads. */
	call.ret = block_engine_new(drive, blk->vdev.home, blk->vdev.dev.platform->main_loop,
				    blk->num_queues * blk->queue_size, &blk->engine_user, &call.engine, errp);
	if (!call.ret)
		loop_run_sync(blk->vdev.home, home_plug, &call);
	if (call.ret) {
		block_engine_free(call.engine);
		block_drive_detach(drive);
		return call.ret;
	}
	virtio_device_offer(&blk->vdev, features_for(blk, drive));
	return 0;
}

static void unplug_drive(struct virtio_blk *blk)
{
	struct block_drive *drive = blk->drive;

	if (!drive)
		return;
	loop_run_sync(blk->vdev.home, home_unplug, blk);
	loop_call_cancel(&blk->error_call);
	atomic_store(&blk->error, 0); /* the next drive's events are not of this one */
	atomic_store(&blk->stop_error, 0);
	block_drive_set_io_status(drive, BLOCK_IO_OK);
	block_drive_detach(drive);
	virtio_device_offer(&blk->vdev, features_for(blk, NULL));
}

static void home_drive_changed(void *opaque)
{
	struct drive_call *call = opaque;
	struct virtio_blk *blk = call->blk;
	bool resized = blk->capacity != call->size;

	/* What reaches beyond a new end is done before the caller cuts the file. */
	if (resized)
		block_engine_drain(blk->engine);
	blk->capacity = call->size;
	if (resized) {
		set_config(blk);
		blk_io_kick_queues(blk); /* what the engine gave back is checked again */
	}
	block_engine_limits_changed(blk->engine);
}

static void drive_changed(struct block_drive_user *user)
{
	struct virtio_blk *blk = container_of(user, struct virtio_blk, user);
	struct drive_call call = {
		.blk = blk,
		.size = ALIGN_DOWN(block_drive_size(blk->drive), blk->logical_block_size),
	};

	loop_run_sync(blk->vdev.home, home_drive_changed, &call);
}

static const char *user_device_id(const struct block_drive_user *user)
{
	return device_name(&container_of(user, struct virtio_blk, user)->vdev.dev);
}

static const struct property plug_props[] = {
	PROP_LINK("drive", struct plug_config, drive, LINK_DRIVE, PROPERTY_REQUIRED, "the disk's back end"),
	PROP_STRING("serial", struct plug_config, serial, 0, BLK_ID_SIZE, NULL, "serial number"),
	PROP_ENUM("rerror", struct plug_config, on_error[0], block_on_error_words, BLOCK_ON_ERROR_AUTO,
		  "when the host cannot read; auto: as the drive says"),
	PROP_ENUM("werror", struct plug_config, on_error[1], block_on_error_words, BLOCK_ON_ERROR_AUTO,
		  "when the host cannot write; auto: as the drive says"),
	PROP_ENUM("write-cache", struct plug_config, write_cache, write_cache_words, WRITE_CACHE_AUTO,
		  "off: a write is on stable storage when it is done; auto: as the drive's cache="),
	PROP_BOOL("share-rw", struct plug_config, share, false, "others may write to the image, too, that say the same"),
	PROP_IGNORED("bootindex", "a kernel is given"),
	PROP_IGNORED("romfile", "for Kata's runtime, which gives it with every device: there are no option ROMs"),
	PROP_END,
};

static int blk_plug(struct device *dev, const struct opts *opts, struct error **errp)
{
	static const char *const skip[] = { "driver", "id", "addr", "lun", NULL };
	struct virtio_blk *blk = container_of(dev, struct virtio_blk, vdev.dev);
	struct plug_config config = { 0 };
	char *what;
	int ret;

	ret = property_apply(plug_props, &config, opts, skip, dev->platform->links, errp);
	if (ret)
		return ret;
	ret = plug_drive(blk, config.drive, &config, errp);
	if (ret) {
		what = opts_describe(opts);
		error_prefix(errp, "%s: ", what);
		free(what);
	}
	property_release(plug_props, &config); /* the serial number of before, when it went well */
	return ret;
}

static void blk_unplug(struct device *dev)
{
	unplug_drive(container_of(dev, struct virtio_blk, vdev.dev));
}

/* --- Life of the device --- */

static int blk_realize(struct virtio_device *vdev, struct error **errp)
{
	struct virtio_blk *blk = to_blk(vdev);
	struct block_drive *drive = blk->drive;
	int ret;

	if (!drive && !(vdev->dev.replaceable && !vdev->dev.plugged))
		return error_set(errp, -EINVAL, "drive is required");
	vdev->home = blk->iothread ? iothread_loop(blk->iothread) : vdev->dev.platform->main_loop;
	blk->user.changed = drive_changed;
	blk->user.device_id = user_device_id;
	blk_io_init(blk);
	blk->drive = NULL;
	set_initial_writeback(blk);
	ret = check_block_sizes(blk, errp);
	if (!ret)
		ret = virtio_device_add_queues(vdev, blk->num_queues, blk->queue_size, errp);
	if (!ret)
		ret = blk_io_create_slots(blk, errp);
	if (!ret && drive)
		ret = plug_drive(blk, drive, NULL, errp);
	if (ret) {
		blk_io_free_slots(blk);
		return ret;
	}
	if (!drive)
		set_config(blk);
	vdev->features_offered = features_for(blk, drive);
	return 0;
}

static void blk_unrealize(struct virtio_device *vdev)
{
	struct virtio_blk *blk = to_blk(vdev);

	unplug_drive(blk);
	blk_io_free_slots(blk);
}

static const struct virtio_device_ops blk_ops = {
	.device_id = 2,
	.realize = blk_realize,
	.unrealize = blk_unrealize,
	.start = blk_start,
	.stop = blk_stop,
	.handle_queue = blk_io_handle_queue,
	.reset = blk_reset,
	.write_config = blk_write_config,
};

const struct device_class virtio_blk_mmio_class = {
	.name = "virtio-blk-device",
	.summary = "virtio disk",
	.instance_size = sizeof(struct virtio_blk),
	.props = blk_props,
	.data = &blk_ops,
	.plug = blk_plug,
	.unplug = blk_unplug,
	VIRTIO_MMIO_CLASS,
};

const struct device_class virtio_blk_pci_class = {
	.name = "virtio-blk-pci",
	.summary = "virtio disk",
	.instance_size = sizeof(struct virtio_blk),
	.props = blk_pci_props,
	.data = &blk_ops,
	VIRTIO_PCI_CLASS,
};
