/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PL031 real-time clock, after Arm's DDI 0224: seconds since 1970, and an alarm. It shows the host's clock plus what
 * the guest set it off by. The timer runs only while an alarm is awaited.
 */
#define LOG_MODULE "rtc"

#include <pthread.h>

#include "devices/classes.h"
#include "devices/device.h"

#define PL031_SIZE 0x1000

enum {
	REG_DR = 0x00,	 /* data: the time */
	REG_MR = 0x04,	 /* match */
	REG_LR = 0x08,	 /* load: sets the time */
	REG_CR = 0x0c,	 /* control: it runs; a write of 1 to a running clock does nothing */
	REG_IMSC = 0x10, /* interrupt mask */
	REG_RIS = 0x14,
	REG_MIS = 0x18,
	REG_ICR = 0x1c,
	REG_ID = 0xfe0, /* RTCPeriphID0 to RTCPCellID3 */
};

struct pl031 {
	struct device dev;
	uint64_t base; /* properties */
	uint32_t gsi;

	struct io_region region;
	struct irq_line line;
	struct loop_timer timer; /* main loop */
	struct loop_call rearm;

	pthread_mutex_t lock;
	/* lock: */
	uint32_t offset; /* guest seconds = host seconds + offset, modulo 2^32 */
	uint32_t match, load;
	bool masked_in, raised; /* IMSC, RIS */
	bool armed;		/* an alarm is awaited */
	bool level;
};

static uint32_t now_locked(const struct pl031 *rtc)
{
	return (uint32_t)(clock_wall_ns() / NSEC_PER_SEC) + rtc->offset;
}

static void update_irq_locked(struct pl031 *rtc)
{
	bool level = rtc->raised && rtc->masked_in;

	if (level == rtc->level)
		return;
	rtc->level = level;
	irq_set(&rtc->line, level);
}

/* The alarm has come, when it is awaited; else the timer is set to it. Main loop. */
static void pl031_rearm(struct loop_call *call)
{
	struct pl031 *rtc = container_of(call, struct pl031, rearm);
	int64_t wait = 0;
	uint32_t left;

	pthread_mutex_lock(&rtc->lock);
	left = rtc->match - now_locked(rtc);
	if (rtc->armed && !left) {
		rtc->armed = false;
		rtc->raised = true;
		update_irq_locked(rtc);
	}
	if (rtc->armed) /* up to the second's beginning */
		wait = (int64_t)left * NSEC_PER_SEC - clock_wall_ns() % NSEC_PER_SEC;
	pthread_mutex_unlock(&rtc->lock);
	if (wait)
		loop_timer_set(&rtc->timer, clock_now_ns() + wait);
	else
		loop_timer_cancel(&rtc->timer);
}

static void pl031_timer(struct loop_timer *timer)
{
	pl031_rearm(&container_of(timer, struct pl031, timer)->rearm);
}

static uint64_t pl031_read(void *opaque, uint64_t offset, unsigned int size)
{
	/* Part 0x031, designer Arm; PrimeCell. */
	static const uint8_t ids[] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
	struct pl031 *rtc = opaque;
	uint32_t value = 0;

	(void)size;
	if (offset >= REG_ID)
		return ids[(offset - REG_ID) / 4];
	pthread_mutex_lock(&rtc->lock);
	switch (offset) {
	case REG_DR:
		value = now_locked(rtc);
		break;
	case REG_MR:
		value = rtc->match;
		break;
	case REG_LR:
		value = rtc->load;
		break;
	case REG_CR:
		value = 1;
		break;
	case REG_IMSC:
		value = rtc->masked_in;
		break;
	case REG_RIS:
		value = rtc->raised;
		break;
	case REG_MIS:
		value = rtc->raised && rtc->masked_in;
		break;
	}
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

static void pl031_write(void *opaque, uint64_t offset, uint64_t wide, unsigned int size)
{
	struct pl031 *rtc = opaque;
	uint32_t value = (uint32_t)wide;
	bool rearm = false;

	(void)size;
	pthread_mutex_lock(&rtc->lock);
	switch (offset) {
	case REG_MR:
		rtc->match = value;
		rtc->armed = rearm = true;
		break;
	case REG_LR:
		rtc->load = value;
		rtc->offset += value - now_locked(rtc);
		rearm = rtc->armed;
		break;
	case REG_IMSC:
		rtc->masked_in = value & 1;
		update_irq_locked(rtc);
		break;
	case REG_ICR:
		if (value & 1)
			rtc->raised = false;
		update_irq_locked(rtc);
		break;
	}
	pthread_mutex_unlock(&rtc->lock);
	if (rearm)
		loop_call_schedule(&rtc->rearm);
}

static const struct io_ops pl031_ops = {
	.read = pl031_read,
	.write = pl031_write,
	.min_size = 4,
	.max_size = 4,
};

/* The battery keeps the time; the reset line ends interrupts and alarms. */
static void pl031_reset(struct device *dev)
{
	struct pl031 *rtc = container_of(dev, struct pl031, dev);

	pthread_mutex_lock(&rtc->lock);
	rtc->match = rtc->load = 0;
	rtc->masked_in = rtc->raised = rtc->armed = false;
	update_irq_locked(rtc);
	pthread_mutex_unlock(&rtc->lock);
	loop_timer_cancel(&rtc->timer);
}

static int pl031_realize(struct device *dev, struct error **errp)
{
	struct pl031 *rtc = container_of(dev, struct pl031, dev);
	struct platform *platform = dev->platform;
	int ret;

	rtc->region = (struct io_region){
		.name = "pl031",
		.kind = IO_MMIO,
		.base = rtc->base,
		.size = PL031_SIZE,
		.ops = &pl031_ops,
		.opaque = rtc,
	};
	pthread_mutex_init(&rtc->lock, NULL);
	loop_timer_init(&rtc->timer, platform->main_loop, pl031_timer);
	loop_call_init(&rtc->rearm, platform->main_loop, pl031_rearm);
	irq_line_init_level(&rtc->line, platform->accel, rtc->gsi);
	ret = mem_space_add_io(platform->space, &rtc->region, errp);
	if (ret) {
		irq_line_release(&rtc->line);
		pthread_mutex_destroy(&rtc->lock);
	}
	return ret;
}

static void pl031_unrealize(struct device *dev)
{
	struct pl031 *rtc = container_of(dev, struct pl031, dev);

	mem_space_del_io(dev->platform->space, &rtc->region);
	loop_call_cancel(&rtc->rearm);
	loop_timer_cancel(&rtc->timer);
	irq_line_release(&rtc->line);
	pthread_mutex_destroy(&rtc->lock);
}

static const struct property pl031_props[] = {
	PROP_UINT(64, "base", struct pl031, base, 0, UINT64_MAX - PL031_SIZE, 0x9010000, "guest address of the registers"),
	PROP_UINT(32, "gsi", struct pl031, gsi, 0, 1023, 5, "interrupt line"),
	PROP_END,
};

const struct device_class pl031_class = {
	.name = "pl031",
	.summary = "Arm PrimeCell real-time clock",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct pl031),
	.props = pl031_props,
	.realize = pl031_realize,
	.unrealize = pl031_unrealize,
	.reset = pl031_reset,
};
