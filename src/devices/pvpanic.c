/* SPDX-License-Identifier: Apache-2.0 */
/* "pvpanic", the ISA form: the register on a port. */
#define LOG_MODULE "pvpanic"

#include "devices/pvpanic.h"

#include "devices/classes.h"

struct pvpanic {
	struct device dev;
	uint16_t ioport;
	struct pvpanic_register reg;
	struct io_region region;
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pvpanic_register *p = opaque;

	(void)size;
	return offset ? 0 : p->events;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pvpanic_register *p = opaque;
	struct platform *platform = p->platform;

	(void)size;
	if (offset)
		return;
	value &= p->events;
	if (value & PVPANIC_PANICKED)
		platform->request(platform, GUEST_PANICKED, 0, "guest panic");
	else if (value & PVPANIC_CRASHLOADED)
		log_warn_limited(&p->limit, "the guest panicked and starts its crash kernel");
}

const struct io_ops pvpanic_ops = {
	.read = pvpanic_read,
	.write = pvpanic_write,
	.min_size = 1,
	.max_size = 1,
};

static int pvpanic_realize(struct device *dev, struct error **errp)
{
	struct pvpanic *p = container_of(dev, struct pvpanic, dev);

	p->reg.platform = dev->platform;
	p->region = (struct io_region){
		.name = "pvpanic",
		.kind = IO_PORT,
		.base = p->ioport,
		.size = 1,
		.ops = &pvpanic_ops,
		.opaque = &p->reg,
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
	PVPANIC_EVENTS_PROP(struct pvpanic, reg),
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
