/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg's registers and DMA (QEMU's docs/specs/fw_cfg). What there is to read is fw_cfg_items.c's.
 *
 * The guest chooses selectors, widths, addresses and lengths: a selector without item reads as zeros, as does what is
 * behind an item's end; nothing can be written; DMA goes to RAM alone.
 */
#define LOG_MODULE "fw-cfg"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "devices/classes.h"
#include "fw_cfg_items.h"
#include "util/endian.h"
#include "util/log.h"

/* FW_CFG_ID */
#define ID_TRADITIONAL 0x01
#define ID_DMA 0x02

#define DMA_SIGNATURE 0x51454d5520434647ULL /* "QEMU CFG": what the DMA register reads as */

/* struct fw_cfg_dma.control; the upper 16 bits are the selector */
#define DMA_ERROR 0x01u
#define DMA_READ 0x02u
#define DMA_SKIP 0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE 0x10u

struct fw_cfg_dma { /* in guest memory */
	be32_t control;
	be32_t length;
	be64_t address;
};

/* Offsets in the register block of fw_cfg_mem; the ports have a place of their own for DMA. */
#define MEM_DATA 0
#define MEM_SELECTOR 8
#define MEM_DMA 16
#define IO_DMA 4

struct fw_cfg {
	struct device dev;
	uint64_t base; /* fw_cfg_mem */
	uint16_t iobase;

	struct io_region region, dma_region;
	struct fw_cfg_items items; /* fixed while vCPUs run, but for the bytes of files (under lock) */
	struct log_limit limit;

	pthread_mutex_t lock; /* guards the rest */
	uint16_t key;
	uint32_t offset;   /* in the selected item, never beyond its size */
	uint32_t dma_high; /* of the next transfer's address */
};

struct fw_cfg *fw_cfg_from_device(struct device *dev)
{
	return container_of(dev, struct fw_cfg, dev);
}

struct fw_cfg_items *fw_cfg_items_of(struct fw_cfg *cfg)
{
	return &cfg->items;
}

int fw_cfg_rewrite_file(struct fw_cfg *cfg, const char *name, const void *data, uint32_t size)
{
	int ret;

	pthread_mutex_lock(&cfg->lock);
	ret = fw_cfg_items_rewrite(&cfg->items, name, data, size);
	pthread_mutex_unlock(&cfg->lock);
	return ret;
}

/* --- data ------------------------------------------------------------------------------ */

static void select_locked(struct fw_cfg *cfg, uint16_t key)
{
	cfg->key = key;
	cfg->offset = 0;
}

/* The next @count (<= 8) bytes, the first one in the lowest byte; zeros behind the item's end. */
static uint64_t read_data_locked(struct fw_cfg *cfg, unsigned int count)
{
	const struct fw_cfg_item *item = fw_cfg_item_find(&cfg->items, cfg->key);
	le64_t bytes = { 0 };
	unsigned int here;

	if (!item)
		return 0;
	here = MIN(count, item->size - cfg->offset);
	memcpy(&bytes, item->data + cfg->offset, here);
	cfg->offset += here;
	return le64_to_cpu(bytes);
}

static int dma_read_locked(struct fw_cfg *cfg, gpa_t to, uint32_t len)
{
	const struct fw_cfg_item *item = fw_cfg_item_find(&cfg->items, cfg->key);
	const struct mem_space *space = cfg->dev.platform->space;
	uint32_t here = 0;
	int ret = 0;

	if (item) {
		here = MIN(len, item->size - cfg->offset);
		ret = guest_write(space, to, item->data + cfg->offset, here);
	}
	if (!ret && len > here)
		ret = guest_fill(space, to + here, 0, len - here);
	if (!ret)
		cfg->offset += here;
	return ret;
}

static void dma_skip_locked(struct fw_cfg *cfg, uint32_t len)
{
	const struct fw_cfg_item *item = fw_cfg_item_find(&cfg->items, cfg->key);

	if (item)
		cfg->offset += MIN(len, item->size - cfg->offset);
}

/* One transfer, described in guest memory at @gpa. Its control word says how it went. */
static void dma_locked(struct fw_cfg *cfg, gpa_t gpa)
{
	struct mem_space *space = cfg->dev.platform->space;
	struct fw_cfg_dma dma;
	uint32_t control, len;
	int ret = 0;

	if (guest_read(space, gpa, &dma, sizeof(dma))) {
		log_warn_limited(&cfg->limit, "%s: no DMA descriptor in RAM at 0x%llx", cfg->dev.id,
				 (unsigned long long)gpa);
		return;
	}
	control = be32_to_cpu(dma.control);
	len = be32_to_cpu(dma.length);
	if (control & DMA_SELECT)
		select_locked(cfg, control >> 16);
	if (control & DMA_READ)
		ret = dma_read_locked(cfg, be64_to_cpu(dma.address), len);
	else if (control & DMA_WRITE)
		ret = len ? -EPERM : 0;
	else if (control & DMA_SKIP)
		dma_skip_locked(cfg, len);
	dma.control = cpu_to_be32(ret ? DMA_ERROR : 0);
	ret = guest_write(space, gpa, &dma.control, sizeof(dma.control));
	if (ret)
		log_warn_limited(&cfg->limit, "%s: the DMA descriptor is gone", cfg->dev.id);
}

/* --- registers --------------------------------------------------------------------------- */

/* Accesses are little-endian numbers here, and these registers are big-endian. */
static uint64_t swap(uint64_t value, unsigned int size)
{
	return __builtin_bswap64(value) >> (64 - 8 * size);
}

static uint64_t dma_register_read(uint64_t offset, unsigned int size)
{
	return swap(DMA_SIGNATURE >> (8 * (8 - offset - size)), size);
}

/* The address of a transfer, in one piece or the upper half first; the lower half starts it. */
static void dma_register_write(struct fw_cfg *cfg, uint64_t offset, uint64_t value,
			       unsigned int size)
{
	gpa_t gpa;

	if (size < 4)
		return;
	value = swap(value, size);
	pthread_mutex_lock(&cfg->lock);
	if (size == 4 && offset == 0) {
		cfg->dma_high = (uint32_t)value;
	} else {
		gpa = size == 8 ? value : (gpa_t)cfg->dma_high << 32 | value;
		cfg->dma_high = 0;
		dma_locked(cfg, gpa);
	}
	pthread_mutex_unlock(&cfg->lock);
}

static uint64_t data_register_read(struct fw_cfg *cfg, unsigned int size)
{
	uint64_t value;

	pthread_mutex_lock(&cfg->lock);
	value = read_data_locked(cfg, size);
	pthread_mutex_unlock(&cfg->lock);
	return value;
}

static void selector_write(struct fw_cfg *cfg, uint16_t key)
{
	pthread_mutex_lock(&cfg->lock);
	select_locked(cfg, key);
	pthread_mutex_unlock(&cfg->lock);
}

/* The selector is written with 16 bits at the first port, data is read at either. */
static uint64_t fw_cfg_io_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)offset;
	return data_register_read(opaque, size);
}

static void fw_cfg_io_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	(void)offset;
	if (size == 2)
		selector_write(opaque, (uint16_t)value);
}

static const struct io_ops fw_cfg_io_ops = {
	.read = fw_cfg_io_read,
	.write = fw_cfg_io_write,
	.min_size = 1,
	.max_size = 2,
};

static uint64_t fw_cfg_io_dma_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)opaque;
	return dma_register_read(offset, size);
}

static void fw_cfg_io_dma_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	dma_register_write(opaque, offset, value, size);
}

static const struct io_ops fw_cfg_io_dma_ops = {
	.read = fw_cfg_io_dma_read,
	.write = fw_cfg_io_dma_write,
	.min_size = 1,
	.max_size = 4,
};

static uint64_t fw_cfg_mem_read(void *opaque, uint64_t offset, unsigned int size)
{
	if (offset >= MEM_DMA)
		return dma_register_read(offset - MEM_DMA, size);
	return offset < MEM_SELECTOR ? data_register_read(opaque, size) : 0;
}

static void fw_cfg_mem_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	if (offset >= MEM_DMA)
		dma_register_write(opaque, offset - MEM_DMA, value, size);
	else if (offset == MEM_SELECTOR && size == 2)
		selector_write(opaque, (uint16_t)swap(value, 2));
}

static const struct io_ops fw_cfg_mem_ops = {
	.read = fw_cfg_mem_read,
	.write = fw_cfg_mem_write,
	.min_size = 1,
	.max_size = 8,
};

/* --- device --------------------------------------------------------------------------------- */

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *cfg = fw_cfg_from_device(dev);

	pthread_mutex_lock(&cfg->lock);
	select_locked(cfg, FW_CFG_SIGNATURE);
	cfg->dma_high = 0;
	pthread_mutex_unlock(&cfg->lock);
}

static void init(struct fw_cfg *cfg)
{
	pthread_mutex_init(&cfg->lock, NULL);
	fw_cfg_set(cfg, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_set_u32(cfg, FW_CFG_ID, ID_TRADITIONAL | ID_DMA);
	fw_cfg_items_update(&cfg->items);
}

static void release(struct fw_cfg *cfg)
{
	fw_cfg_items_release(&cfg->items);
	pthread_mutex_destroy(&cfg->lock);
}

static int add_regions(struct fw_cfg *cfg, struct error **errp)
{
	struct mem_space *space = cfg->dev.platform->space;
	int ret;

	init(cfg);
	ret = mem_space_add_io(space, &cfg->region, errp);
	if (!ret && cfg->dma_region.size) {
		ret = mem_space_add_io(space, &cfg->dma_region, errp);
		if (ret)
			mem_space_del_io(space, &cfg->region);
	}
	if (ret)
		release(cfg);
	return ret;
}

static int fw_cfg_io_realize(struct device *dev, struct error **errp)
{
	struct fw_cfg *cfg = fw_cfg_from_device(dev);

	cfg->region = (struct io_region){
		.name = "fw_cfg",
		.kind = IO_PORT,
		.base = cfg->iobase,
		.size = 2,
		.ops = &fw_cfg_io_ops,
		.opaque = cfg,
	};
	cfg->dma_region = (struct io_region){
		.name = "fw_cfg DMA",
		.kind = IO_PORT,
		.base = cfg->iobase + IO_DMA,
		.size = 8,
		.ops = &fw_cfg_io_dma_ops,
		.opaque = cfg,
	};
	return add_regions(cfg, errp);
}

static int fw_cfg_mem_realize(struct device *dev, struct error **errp)
{
	struct fw_cfg *cfg = fw_cfg_from_device(dev);

	cfg->region = (struct io_region){
		.name = "fw_cfg",
		.kind = IO_MMIO,
		.base = cfg->base,
		.size = FW_CFG_MEM_SIZE,
		.ops = &fw_cfg_mem_ops,
		.opaque = cfg,
	};
	return add_regions(cfg, errp);
}

static void fw_cfg_unrealize(struct device *dev)
{
	struct fw_cfg *cfg = fw_cfg_from_device(dev);

	mem_space_del_io(dev->platform->space, &cfg->region);
	if (cfg->dma_region.size)
		mem_space_del_io(dev->platform->space, &cfg->dma_region);
	release(cfg);
}

static const struct property fw_cfg_io_props[] = {
	PROP_UINT(16, "iobase", struct fw_cfg, iobase, 0, 0xfff0, FW_CFG_IO_BASE, "first port"),
	PROP_END,
};

static const struct property fw_cfg_mem_props[] = {
	PROP_UINT(64, "base", struct fw_cfg, base, 0, UINT64_MAX, 0, "guest address"),
	PROP_END,
};

const struct device_class fw_cfg_io_class = {
	.name = "fw_cfg_io",
	.summary = "what the machine tells its firmware, on ports",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct fw_cfg),
	.props = fw_cfg_io_props,
	.realize = fw_cfg_io_realize,
	.unrealize = fw_cfg_unrealize,
	.reset = fw_cfg_reset,
};

const struct device_class fw_cfg_mem_class = {
	.name = "fw_cfg_mem",
	.summary = "what the machine tells its firmware, in memory",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct fw_cfg),
	.props = fw_cfg_mem_props,
	.realize = fw_cfg_mem_realize,
	.unrealize = fw_cfg_unrealize,
	.reset = fw_cfg_reset,
};
