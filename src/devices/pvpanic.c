/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "pvpanic", the ISA form (QEMU's docs/specs/pvpanic): a port that reads as the events the device
 * understands, and to which the guest writes what happened: bit 0 it panicked, bit 1 it panicked
 * and a crash kernel takes over.
 */
#define LOG_MODULE "pvpanic"

#include "devices/classes.h"
#include "devices/device.h"
#include "util/log.h"

#define PVPANIC_PANICKED 0x01
#define PVPANIC_CRASHLOADED 0x02

struct pvpanic {
	struct device dev;
	uint16_t ioport;
	uint8_t events;
	struct io_region region;
	struct log_limit limit;
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pvpanic *p = opaque;

	(void)offset;
	(void)size;
	return p->events;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pvpanic *p = opaque;
	struct platform *platform = p->dev.platform;

	(void)offset;
	(void)size;
	value &= p->events;
	if (value & PVPANIC_PANICKED)
		platform->request(platform, GUEST_PANICKED, 0, "guest panic");
	else if (value & PVPANIC_CRASHLOADED)
		log_warn_limited(&p->limit, "the guest panicked and starts its crash kernel");
}

static const struct io_ops pvpanic_ops = {
	.read = pvpanic_read,
	.write = pvpanic_write,
	.min_size = 1,
	.max_size = 1,
};

static int pvpanic_realize(struct device *dev, struct error **errp)
{
	struct pvpanic *p = container_of(dev, struct pvpanic, dev);

	p->region = (struct io_region){
		.name = "pvpanic",
		.kind = IO_PORT,
		.base = p->ioport,
		.size = 1,
		.ops = &pvpanic_ops,
		.opaque = p,
	};
	return mem_space_add_io(dev->platform->space, &p->region, errp);
}

static void pvpanic_unrealize(struct device *dev)
{
	struct pvpanic *p = container_of(dev, struct pvpanic, dev);

	mem_space_del_io(dev->platform->space, &p->region);
}

static const struct property pvpanic_props[] = {
	PROP_UINT(16, "ioport", struct pvpanic, ioport, 0, 0xffff, 0x505, "port"),
	PROP_UINT(8, "events", struct pvpanic, events, 0, 3, 3,
		  "what it tells the guest it understands: 1 panicked, 2 crash kernel loaded"),
	PROP_END,
};

const struct device_class pvpanic_class = {
	.name = "pvpanic",
	.summary = "lets the guest say that it panicked",
	.bus = DEVICE_BUS_SYSTEM,
	.instance_size = sizeof(struct pvpanic),
	.props = pvpanic_props,
	.realize = pvpanic_realize,
	.unrealize = pvpanic_unrealize,
};
