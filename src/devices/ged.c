/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Generic Event Device with the registers of hardware-reduced ACPI beside it; the layout is in
 * devices/ged.h, the AML that uses it is the boot room's.
 */
#define LOG_MODULE "ged"

#include "devices/ged.h"

#include <errno.h>
#include <stdatomic.h>

#include "devices/classes.h"
#include "devices/device.h"
#include "util/log.h"

#define SLP_TYP(value) (((value) >> 2) & 7) /* ACPI 6.5 §4.8.3.7 */
#define SLP_EN 0x20

struct ged {
	struct device dev;
	uint64_t base;
	uint32_t gsi;
	struct io_region region;
	struct irq_line line;
	_Atomic uint32_t pending;
	struct log_limit limit;
};

static uint64_t ged_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ged *ged = opaque;

	/* The AML reads all 32 bits. A narrower look would lose events it does not see. */
	if (offset == GED_REG_EVENTS && size == 4)
		return atomic_exchange(&ged->pending, 0);
	return 0; /* SLP_EN reads as zero, WAK_STS is never set, reset is write-only */
}

static void ged_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct ged *ged = opaque;
	struct platform *platform = ged->dev.platform;

	if (size != 1)
		return;
	if (offset == GED_REG_SLEEP_CTL && (value & SLP_EN)) {
		if (SLP_TYP(value) == GED_SLEEP_TYPE_S5)
			platform->request(platform, GUEST_POWEROFF, 0, "guest-shutdown");
		else
			log_warn_limited(&ged->limit,
					 "the guest asks for sleep type %u, there is only %u",
					 (unsigned int)SLP_TYP(value), GED_SLEEP_TYPE_S5);
	} else if (offset == GED_REG_RESET && value == GED_RESET_VALUE) {
		platform->request(platform, GUEST_RESET, 0, "guest-reset");
	}
}

static const struct io_ops ged_ops = {
	.read = ged_read,
	.write = ged_write,
	.min_size = 1,
	.max_size = 4,
};

static int raise_event(struct platform *platform, uint32_t event)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		struct ged *ged;

		if (dev->class != &ged_class)
			continue;
		ged = container_of(dev, struct ged, dev);
		atomic_fetch_or(&ged->pending, event);
		irq_pulse(&ged->line);
		return 0;
	}
	return -ENODEV;
}

int ged_power_button(struct platform *platform)
{
	return raise_event(platform, GED_EVENT_POWER_BUTTON);
}

int ged_vm_generation(struct platform *platform)
{
	return raise_event(platform, GED_EVENT_VM_GENERATION);
}

static void ged_reset(struct device *dev)
{
	struct ged *ged = container_of(dev, struct ged, dev);

	atomic_store(&ged->pending, 0);
}

static int ged_realize(struct device *dev, struct error **errp)
{
	struct ged *ged = container_of(dev, struct ged, dev);
	struct platform *platform = dev->platform;
	int ret;

	ret = irq_line_init_edge(&ged->line, platform->accel, ged->gsi, errp);
	if (ret)
		return ret;
	ged->region = (struct io_region){
		.name = "acpi-ged",
		.kind = IO_MMIO,
		.base = ged->base,
		.size = GED_MMIO_SIZE,
		.ops = &ged_ops,
		.opaque = ged,
	};
	ret = mem_space_add_io(platform->space, &ged->region, errp);
	if (ret)
		irq_line_release(&ged->line);
	return ret;
}

static void ged_unrealize(struct device *dev)
{
	struct ged *ged = container_of(dev, struct ged, dev);

	mem_space_del_io(dev->platform->space, &ged->region);
	irq_line_release(&ged->line);
}

static const struct property ged_props[] = {
	{ .name = "base",
	  .help = "guest address of the registers",
	  .type = PROPERTY_UINT64,
	  .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct ged, base),
	  .max = UINT64_MAX - GED_MMIO_SIZE },
	{ .name = "gsi",
	  .help = "interrupt line",
	  .type = PROPERTY_UINT32,
	  .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct ged, gsi),
	  .max = 1023 },
	PROP_END,
};

const struct device_class ged_class = {
	.name = "acpi-ged",
	.summary = "ACPI Generic Event Device: power button, power off and reset",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct ged),
	.props = ged_props,
	.realize = ged_realize,
	.unrealize = ged_unrealize,
	.reset = ged_reset,
};
