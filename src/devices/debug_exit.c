/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "isa-debug-exit", as in QEMU: a write of v ends the process with status (v << 1) | 1, so a guest
 * can never end it with 0. For test guests.
 */
#define LOG_MODULE "debug-exit"

#include "devices/classes.h"
#include "devices/device.h"

struct debug_exit {
	struct device dev;
	uint32_t iobase, iosize;
	struct io_region region;
};

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)opaque;
	(void)offset;
	(void)size;
	return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct debug_exit *d = opaque;
	struct platform *platform = d->dev.platform;

	(void)offset;
	(void)size;
	/* The host keeps the low 8 bits of a status. */
	platform->request(platform, GUEST_EXIT, (int)((value << 1 | 1) & 0xff), "guest debug exit");
}

static const struct io_ops debug_exit_ops = {
	.read = debug_exit_read,
	.write = debug_exit_write,
	.min_size = 1,
	.max_size = 4,
};

static int debug_exit_realize(struct device *dev, struct error **errp)
{
	struct debug_exit *d = container_of(dev, struct debug_exit, dev);

	d->region = (struct io_region){
		.name = "debug-exit",
		.kind = IO_PORT,
		.base = d->iobase,
		.size = d->iosize,
		.ops = &debug_exit_ops,
		.opaque = d,
	};
	return mem_space_add_io(dev->platform->space, &d->region, errp);
}

static void debug_exit_unrealize(struct device *dev)
{
	struct debug_exit *d = container_of(dev, struct debug_exit, dev);

	mem_space_del_io(dev->platform->space, &d->region);
}

static const struct property debug_exit_props[] = {
	PROP_UINT(32, "iobase", struct debug_exit, iobase, 0, 0xfffc, 0x501, "first port"),
	PROP_UINT(32, "iosize", struct debug_exit, iosize, 1, 4, 2, "number of ports"),
	PROP_END,
};

const struct device_class debug_exit_class = {
	.name = "isa-debug-exit",
	.summary = "ends the process when the guest writes to a port; for test guests",
	.bus = DEVICE_BUS_SYSTEM,
	.instance_size = sizeof(struct debug_exit),
	.props = debug_exit_props,
	.realize = debug_exit_realize,
	.unrealize = debug_exit_unrealize,
};
