/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PL061 general purpose I/O, after Arm's DDI 0190; register names are its. What the guest drives goes nowhere; of the
 * inputs one has a wire, the power button.
 *
 * A driver waits for the button to settle before it looks whether it is down (Linux: 5 ms after the interrupt), and a busy
 * host can make that long. So the button stays down until the guest has looked, within limits on both sides.
 */
#include "devices/pl061.h"

#include <errno.h>
#include <pthread.h>

#include "devices/classes.h"
#include "devices/device.h"

#define HOLD_NS (100 * NSEC_PER_MSEC) /* between two looks, so at the least */
#define HOLD_ROUNDS 100		      /* at the most: nobody looks */

enum {
	REG_DATA_END = 0x400, /* GPIODATA: bits 9:2 of the address are the mask of the pins meant */
	REG_DIR = 0x400,      /* 1: output */
	REG_IS = 0x404,	      /* 1: level, 0: edge */
	REG_IBE = 0x408,      /* both edges */
	REG_IEV = 0x40c,      /* 1: rising or high, 0: falling or low */
	REG_IE = 0x410,
	REG_RIS = 0x414,
	REG_MIS = 0x418,
	REG_IC = 0x41c,
	REG_AFSEL = 0x420,
	REG_ID = 0xfe0, /* GPIOPeriphID0 to GPIOPCellID3 */
};

struct pl061 {
	struct device dev;
	uint64_t base; /* properties */
	uint32_t gsi;

	struct io_region region;
	struct irq_line line;
	struct loop_timer timer; /* main loop: the button is down */
	unsigned int rounds;	 /* main loop */
	bool stopped;		 /* main loop: the guest cannot look */

	pthread_mutex_t lock;
	/* lock: */
	uint8_t out, in;
	uint8_t dir, is, ibe, iev, ie, afsel;
	uint8_t edges; /* seen and not cleared */
	bool looked;   /* at the button while it was down */
	bool level;
};

static uint8_t raw_locked(const struct pl061 *p)
{
	uint8_t active = (uint8_t)~(p->in ^ p->iev) & p->is & (uint8_t)~p->dir;

	return active | p->edges;
}

static void update_irq_locked(struct pl061 *p)
{
	bool level = raw_locked(p) & p->ie;

	if (level == p->level)
		return;
	p->level = level;
	irq_set(&p->line, level);
}

static void set_pin_locked(struct pl061 *p, unsigned int pin, bool high)
{
	uint8_t bit = (uint8_t)(1u << pin);

	if (!(p->in & bit) == !high)
		return;
	p->in ^= bit;
	/* An edge counts where the pin is an input that waits for edges of this kind. */
	p->edges |= bit & (uint8_t)~(p->is | p->dir) & (p->ibe | (high ? p->iev : (uint8_t)~p->iev));
	update_irq_locked(p);
}

static void button_timer(struct loop_timer *timer)
{
	struct pl061 *p = container_of(timer, struct pl061, timer);
	bool up;

	pthread_mutex_lock(&p->lock);
	p->rounds += !p->stopped;
	up = p->looked || p->rounds >= HOLD_ROUNDS;
	if (up)
		set_pin_locked(p, PL061_POWER_PIN, false);
	pthread_mutex_unlock(&p->lock);
	if (!up)
		loop_timer_set(&p->timer, clock_now_ns() + HOLD_NS);
}

int pl061_power_button(struct platform *platform)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		struct pl061 *p;

		if (dev->class != &pl061_class)
			continue;
		p = container_of(dev, struct pl061, dev);
		pthread_mutex_lock(&p->lock);
		/* Pressed once more while it is down: up in between, else nobody would notice. */
		set_pin_locked(p, PL061_POWER_PIN, false);
		p->looked = false;
		p->rounds = 0;
		set_pin_locked(p, PL061_POWER_PIN, true);
		pthread_mutex_unlock(&p->lock);
		loop_timer_set(&p->timer, clock_now_ns() + HOLD_NS);
		return 0;
	}
	return -ENODEV;
}

/* --- registers --- */

/* Those that are stored as they are written. */
static uint8_t *stored(struct pl061 *p, uint64_t offset)
{
	switch (offset) {
	case REG_DIR:
		return &p->dir;
	case REG_IS:
		return &p->is;
	case REG_IBE:
		return &p->ibe;
	case REG_IEV:
		return &p->iev;
	case REG_IE:
		return &p->ie;
	case REG_AFSEL:
		return &p->afsel;
	}
	return NULL;
}

static uint64_t pl061_read(void *opaque, uint64_t offset, unsigned int size)
{
	/* Part 0x061, designer Arm, revision 0; PrimeCell. */
	static const uint8_t ids[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
	struct pl061 *p = opaque;
	const uint8_t *reg;
	uint8_t value = 0;

	(void)size;
	offset &= ~(uint64_t)3;
	if (offset >= REG_ID)
		return ids[(offset - REG_ID) / 4];
	pthread_mutex_lock(&p->lock);
	reg = stored(p, offset);
	if (reg) {
		value = *reg;
	} else if (offset < REG_DATA_END) {
		uint8_t mask = (uint8_t)(offset >> 2);

		value = ((p->out & p->dir) | (p->in & (uint8_t)~p->dir)) & mask;
		p->looked |= value & (1u << PL061_POWER_PIN) & (uint8_t)~p->dir;
	} else if (offset == REG_RIS) {
		value = raw_locked(p);
	} else if (offset == REG_MIS) {
		value = raw_locked(p) & p->ie;
	}
	pthread_mutex_unlock(&p->lock);
	return value;
}

static void pl061_write(void *opaque, uint64_t offset, uint64_t wide, unsigned int size)
{
	struct pl061 *p = opaque;
	uint8_t value = (uint8_t)wide;
	uint8_t *reg;

	(void)size;
	if (offset & 3) /* a byte of a register beyond its first, which holds all there is */
		return;
	pthread_mutex_lock(&p->lock);
	reg = stored(p, offset);
	if (reg) {
		*reg = value;
	} else if (offset < REG_DATA_END) {
		uint8_t mask = (uint8_t)(offset >> 2) & p->dir;

		p->out = (p->out & (uint8_t)~mask) | (value & mask);
	} else if (offset == REG_IC) {
		p->edges &= (uint8_t)~value;
	}
	update_irq_locked(p);
	pthread_mutex_unlock(&p->lock);
}

static const struct io_ops pl061_ops = {
	.read = pl061_read,
	.write = pl061_write,
	.min_size = 1,
	.max_size = 4,
};

/* --- device --- */

static void pl061_reset(struct device *dev)
{
	struct pl061 *p = container_of(dev, struct pl061, dev);

	loop_timer_cancel(&p->timer);
	pthread_mutex_lock(&p->lock);
	p->out = p->in = p->dir = p->is = p->ibe = p->iev = p->ie = p->afsel = p->edges = 0;
	p->looked = false;
	update_irq_locked(p);
	pthread_mutex_unlock(&p->lock);
}

static void pl061_quiesce(struct device *dev)
{
	container_of(dev, struct pl061, dev)->stopped = true;
}

static void pl061_resume(struct device *dev)
{
	container_of(dev, struct pl061, dev)->stopped = false;
}

static int pl061_realize(struct device *dev, struct error **errp)
{
	struct pl061 *p = container_of(dev, struct pl061, dev);
	struct platform *platform = dev->platform;
	int ret;

	p->region = (struct io_region){
		.name = "pl061",
		.kind = IO_MMIO,
		.base = p->base,
		.size = PL061_SIZE,
		.ops = &pl061_ops,
		.opaque = p,
	};
	pthread_mutex_init(&p->lock, NULL);
	loop_timer_init(&p->timer, platform->main_loop, button_timer);
	irq_line_init_level(&p->line, platform->accel, p->gsi);
	ret = mem_space_add_io(platform->space, &p->region, errp);
	if (ret) {
		irq_line_release(&p->line);
		pthread_mutex_destroy(&p->lock);
	}
	return ret;
}

static void pl061_unrealize(struct device *dev)
{
	struct pl061 *p = container_of(dev, struct pl061, dev);

	mem_space_del_io(dev->platform->space, &p->region);
	loop_timer_cancel(&p->timer);
	irq_line_release(&p->line);
	pthread_mutex_destroy(&p->lock);
}

static const struct property pl061_props[] = {
	PROP_UINT(64, "base", struct pl061, base, 0, UINT64_MAX - PL061_SIZE, 0x9030000, "guest address of the registers"),
	PROP_UINT(32, "gsi", struct pl061, gsi, 0, 1023, 8, "interrupt line"),
	PROP_END,
};

const struct device_class pl061_class = {
	.name = "pl061",
	.summary = "Arm PrimeCell GPIO, with the power button",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct pl061),
	.props = pl061_props,
	.realize = pl061_realize,
	.unrealize = pl061_unrealize,
	.reset = pl061_reset,
	.quiesce = pl061_quiesce,
	.resume = pl061_resume,
};
