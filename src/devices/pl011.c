/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PL011 serial port, after Arm's DDI 0183 (r1p4; 16-byte FIFOs). Section names are the manual's.
 *
 * Registers are used by vCPU threads; input and room for output come from the main loop. What is behind "lock:" belongs to
 * the lock, which is held across the calls into the chardev and the interrupt line (neither calls back under it).
 *
 * Nothing here grows: the receive FIFO takes what it has room for and the rest stays in the chardev; when the chardev is
 * full, bytes wait in the transmit FIFO. The line is infinitely fast: what is sent is gone at once, and data below the
 * receive trigger level has timed out as soon as it is there.
 */
#define LOG_MODULE "serial"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "boot_timer.h"
#include "chardev/chardev.h"
#include "devices/classes.h"
#include "devices/device.h"

#define PL011_SIZE 0x1000
#define FIFO_SIZE 16

enum {
	REG_DR = 0x00,
	REG_RSR_ECR = 0x04,
	REG_FR = 0x18,
	REG_ILPR = 0x20,
	REG_IBRD = 0x24,
	REG_FBRD = 0x28,
	REG_LCR_H = 0x2c,
	REG_CR = 0x30,
	REG_IFLS = 0x34,
	REG_IMSC = 0x38,
	REG_RIS = 0x3c,
	REG_MIS = 0x40,
	REG_ICR = 0x44,
	REG_DMACR = 0x48,
	REG_BOOT_TIMER = 0xf00, /* none: StratoVirt's, where the machine has one */
	REG_ID = 0xfe0, /* UARTPeriphID0 to UARTPCellID3 */
};

#define DR_BREAK 0x400
#define DR_OVERRUN 0x800
#define DR_ERRORS 0xf00

#define FR_CTS 0x001
#define FR_DSR 0x002
#define FR_DCD 0x004
#define FR_RXFE 0x010
#define FR_TXFF 0x020
#define FR_RXFF 0x040
#define FR_TXFE 0x080

#define LCR_H_FEN 0x10

#define CR_LBE 0x080
#define CR_DEFAULT 0x300 /* RXE, TXE */

#define IFLS_DEFAULT 0x12 /* both half full */

#define INT_RX 0x010
#define INT_TX 0x020
#define INT_RT 0x040
#define INT_BE 0x200
#define INT_OE 0x400
#define INT_MASK 0x7ff

struct pl011 {
	struct device dev;
	/* properties */
	struct chardev *chardev; /* NULL: output goes nowhere */
	uint64_t base;
	uint32_t gsi;

	struct io_region region, id_region; /* one, or two around the boot timer */
	bool split;
	struct irq_line line;
	struct chardev_user user;

	pthread_mutex_t lock;
	/* lock: */
	uint32_t ilpr, ibrd, fbrd, lcr, cr, ifls, imsc, ris, dmacr;
	uint32_t rsr;		/* errors of the character that was read last, bits 3:0 */
	uint16_t rx[FIFO_SIZE]; /* with its error bits */
	unsigned int rx_head, rx_count;
	bool overrun; /* told with the next character */
	uint8_t tx[FIFO_SIZE];
	unsigned int tx_count; /* only what the chardev did not take */
	bool level;
};

static unsigned int capacity(const struct pl011 *p)
{
	return p->lcr & LCR_H_FEN ? FIFO_SIZE : 1;
}

/* UARTIFLS: 1/8, 1/4, 1/2, 3/4, 7/8; other codes are reserved. */
static unsigned int rx_trigger(const struct pl011 *p)
{
	static const uint8_t levels[8] = { 2, 4, 8, 12, 14, 14, 14, 14 };

	return p->lcr & LCR_H_FEN ? levels[p->ifls >> 3 & 7] : 1;
}

static void update_irq_locked(struct pl011 *p)
{
	bool level = p->ris & p->imsc;

	if (level == p->level)
		return;
	p->level = level;
	irq_set(&p->line, level);
}

/* --- receiver --- */

/* "UARTRXINTR" and "UARTRTINTR": what the number of characters says after one came or went. */
static void rx_changed_locked(struct pl011 *p, bool came)
{
	if (p->rx_count < rx_trigger(p))
		p->ris &= ~(uint32_t)INT_RX;
	else if (came)
		p->ris |= INT_RX;
	if (!p->rx_count)
		p->ris &= ~(uint32_t)INT_RT;
	else
		p->ris |= INT_RT;
	update_irq_locked(p);
}

static void receive_locked(struct pl011 *p, uint16_t value)
{
	if (p->rx_count == capacity(p)) {
		p->overrun = true;
		p->ris |= INT_OE;
		update_irq_locked(p);
		return;
	}
	if (p->overrun)
		value |= DR_OVERRUN;
	p->overrun = false;
	p->rx[(p->rx_head + p->rx_count) % FIFO_SIZE] = value;
	p->rx_count++;
	if (value & DR_BREAK)
		p->ris |= INT_BE;
	rx_changed_locked(p, true);
}

static uint32_t read_dr_locked(struct pl011 *p, bool *accept)
{
	uint32_t value = p->rx[p->rx_head]; /* an empty receiver repeats what was there last */

	if (!p->rx_count)
		return value;
	*accept = true;
	p->rx_count--;
	p->rsr = value >> 8 & 0xf;
	p->rx_head = (p->rx_head + 1) % FIFO_SIZE;
	rx_changed_locked(p, false);
	return value;
}

static size_t pl011_can_receive(struct chardev_user *user)
{
	struct pl011 *p = container_of(user, struct pl011, user);
	size_t room;

	pthread_mutex_lock(&p->lock);
	room = p->cr & CR_LBE ? 0 : capacity(p) - MIN(p->rx_count, capacity(p));
	pthread_mutex_unlock(&p->lock);
	return room;
}

static void pl011_receive(struct chardev_user *user, const uint8_t *data, size_t len)
{
	struct pl011 *p = container_of(user, struct pl011, user);

	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < len; i++)
		receive_locked(p, data[i]);
	pthread_mutex_unlock(&p->lock);
}

static void pl011_event(struct chardev_user *user, enum chardev_event event)
{
	struct pl011 *p = container_of(user, struct pl011, user);

	if (event != CHARDEV_BREAK)
		return;
	pthread_mutex_lock(&p->lock);
	if (!(p->cr & CR_LBE))
		receive_locked(p, DR_BREAK);
	pthread_mutex_unlock(&p->lock);
}

/* --- transmitter --- */

static void write_dr_locked(struct pl011 *p, uint8_t byte)
{
	if (p->cr & CR_LBE) {
		receive_locked(p, byte);
	} else if (p->tx_count || (p->chardev && chardev_write(p->chardev, &byte, 1) != 1)) {
		/* Into a full FIFO: lost, as the manual has it. */
		if (p->tx_count < capacity(p))
			p->tx[p->tx_count++] = byte;
		p->ris &= ~(uint32_t)INT_TX;
		update_irq_locked(p);
		return;
	}
	p->ris |= INT_TX; /* it went through the trigger level and is below it again */
	update_irq_locked(p);
}

static void pl011_writable(struct chardev_user *user)
{
	struct pl011 *p = container_of(user, struct pl011, user);
	size_t taken;

	pthread_mutex_lock(&p->lock);
	if (p->tx_count) {
		taken = chardev_write(p->chardev, p->tx, p->tx_count);
		p->tx_count -= (unsigned int)taken;
		memmove(p->tx, p->tx + taken, p->tx_count);
		if (!p->tx_count) {
			p->ris |= INT_TX;
			update_irq_locked(p);
		}
	}
	pthread_mutex_unlock(&p->lock);
}

/* --- registers --- */

static uint32_t flags_locked(const struct pl011 *p)
{
	uint32_t value = FR_CTS | FR_DSR | FR_DCD;

	if (!p->rx_count)
		value |= FR_RXFE;
	if (p->rx_count >= capacity(p))
		value |= FR_RXFF;
	if (!p->tx_count)
		value |= FR_TXFE;
	if (p->tx_count >= capacity(p))
		value |= FR_TXFF;
	return value;
}

static uint32_t read_id(uint64_t offset)
{
	/* Part 0x011, designer Arm, revision 1 (16-byte FIFOs); PrimeCell. */
	static const uint8_t ids[] = { 0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

	return ids[(offset - REG_ID) / 4];
}

static uint64_t pl011_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pl011 *p = opaque;
	bool accept = false;
	uint32_t value = 0;

	(void)size;
	if (offset & 3)
		return 0; /* registers have up to 16 bits */
	if (offset >= REG_ID)
		return read_id(offset);
	pthread_mutex_lock(&p->lock);
	switch (offset) {
	case REG_DR:
		value = read_dr_locked(p, &accept);
		break;
	case REG_RSR_ECR:
		value = p->rsr;
		break;
	case REG_FR:
		value = flags_locked(p);
		break;
	case REG_ILPR:
		value = p->ilpr;
		break;
	case REG_IBRD:
		value = p->ibrd;
		break;
	case REG_FBRD:
		value = p->fbrd;
		break;
	case REG_LCR_H:
		value = p->lcr;
		break;
	case REG_CR:
		value = p->cr;
		break;
	case REG_IFLS:
		value = p->ifls;
		break;
	case REG_IMSC:
		value = p->imsc;
		break;
	case REG_RIS:
		value = p->ris;
		break;
	case REG_MIS:
		value = p->ris & p->imsc;
		break;
	case REG_DMACR:
		value = p->dmacr;
		break;
	}
	pthread_mutex_unlock(&p->lock);
	if (accept && p->chardev)
		chardev_accept_input(p->chardev);
	return value;
}

static void write_lcr_locked(struct pl011 *p, uint32_t value, bool *accept)
{
	/* FIFOs that are switched on or off are empty. */
	if ((value ^ p->lcr) & LCR_H_FEN) {
		p->rx_head = p->rx_count = p->tx_count = 0;
		*accept = true;
	}
	p->lcr = value & 0xff;
	rx_changed_locked(p, false);
}

static void pl011_write(void *opaque, uint64_t offset, uint64_t wide, unsigned int size)
{
	struct pl011 *p = opaque;
	uint32_t value = (uint32_t)wide;
	bool accept = false;

	(void)size;
	pthread_mutex_lock(&p->lock);
	switch (offset) {
	case REG_DR:
		write_dr_locked(p, (uint8_t)value);
		break;
	case REG_RSR_ECR: /* any value clears the errors */
		p->rsr = 0;
		break;
	case REG_ILPR:
		p->ilpr = value & 0xff;
		break;
	case REG_IBRD:
		p->ibrd = value & 0xffff;
		break;
	case REG_FBRD:
		p->fbrd = value & 0x3f;
		break;
	case REG_LCR_H:
		write_lcr_locked(p, value, &accept);
		break;
	case REG_CR:
		accept = (p->cr & CR_LBE) && !(value & CR_LBE);
		p->cr = value & 0xff87;
		break;
	case REG_IFLS:
		p->ifls = value & 0x3f;
		rx_changed_locked(p, true);
		break;
	case REG_IMSC:
		p->imsc = value & INT_MASK;
		update_irq_locked(p);
		break;
	case REG_ICR:
		p->ris &= ~value;
		update_irq_locked(p);
		break;
	case REG_DMACR: /* there is no DMA */
		p->dmacr = value & 7;
		break;
	}
	pthread_mutex_unlock(&p->lock);
	if (accept && p->chardev)
		chardev_accept_input(p->chardev);
}

static const struct io_ops pl011_ops = {
	.read = pl011_read,
	.write = pl011_write,
	.min_size = 1,
	.max_size = 4,
};

static uint64_t pl011_read_id(void *opaque, uint64_t offset, unsigned int size)
{
	return pl011_read(opaque, REG_ID + offset, size);
}

static void pl011_write_id(void *opaque, uint64_t offset, uint64_t wide, unsigned int size)
{
	pl011_write(opaque, REG_ID + offset, wide, size);
}

static const struct io_ops pl011_id_ops = {
	.read = pl011_read_id,
	.write = pl011_write_id,
	.min_size = 1,
	.max_size = 4,
};

/* --- device --- */

static int add_regions(struct pl011 *p, struct error **errp)
{
	struct platform *platform = p->dev.platform;
	int ret;

	p->region = (struct io_region){
		.name = "pl011",
		.kind = IO_MMIO,
		.base = p->base,
		.size = PL011_SIZE,
		.ops = &pl011_ops,
		.opaque = p,
	};
	p->split = boot_timer_claims(platform, p->base + REG_BOOT_TIMER);
	if (p->split)
		p->region.size = REG_BOOT_TIMER;
	ret = mem_space_add_io(platform->space, &p->region, errp);
	if (ret || !p->split)
		return ret;
	p->id_region = (struct io_region){
		.name = "pl011-id",
		.kind = IO_MMIO,
		.base = p->base + REG_ID,
		.size = PL011_SIZE - REG_ID,
		.ops = &pl011_id_ops,
		.opaque = p,
	};
	ret = mem_space_add_io(platform->space, &p->id_region, errp);
	if (ret)
		mem_space_del_io(platform->space, &p->region);
	return ret;
}

static void del_regions(struct pl011 *p)
{
	mem_space_del_io(p->dev.platform->space, &p->region);
	if (p->split)
		mem_space_del_io(p->dev.platform->space, &p->id_region);
}

static void pl011_reset(struct device *dev)
{
	struct pl011 *p = container_of(dev, struct pl011, dev);

	pthread_mutex_lock(&p->lock);
	p->ilpr = p->ibrd = p->fbrd = p->lcr = p->imsc = p->ris = p->dmacr = p->rsr = 0;
	p->cr = CR_DEFAULT;
	p->ifls = IFLS_DEFAULT;
	p->rx_head = p->rx_count = p->tx_count = 0;
	p->overrun = false;
	update_irq_locked(p);
	pthread_mutex_unlock(&p->lock);
	if (p->chardev)
		chardev_accept_input(p->chardev);
}

static int pl011_realize(struct device *dev, struct error **errp)
{
	struct pl011 *p = container_of(dev, struct pl011, dev);
	struct platform *platform = dev->platform;
	int ret;

	p->user = (struct chardev_user){
		.can_receive = pl011_can_receive,
		.receive = pl011_receive,
		.event = pl011_event,
		.writable = pl011_writable,
	};
	pthread_mutex_init(&p->lock, NULL);
	irq_line_init_level(&p->line, platform->accel, p->gsi);
	ret = add_regions(p, errp);
	if (ret)
		goto fail;
	if (p->chardev)
		ret = chardev_attach(p->chardev, &p->user, errp);
	if (!ret)
		return 0;
	del_regions(p);
fail:
	irq_line_release(&p->line);
	pthread_mutex_destroy(&p->lock);
	return ret;
}

static void pl011_unrealize(struct device *dev)
{
	struct pl011 *p = container_of(dev, struct pl011, dev);

	del_regions(p);
	if (p->chardev)
		chardev_detach(p->chardev);
	irq_line_release(&p->line);
	pthread_mutex_destroy(&p->lock);
}

static const struct property pl011_props[] = {
	PROP_LINK("chardev", struct pl011, chardev, LINK_CHARDEV, 0, "back end; none: output is dropped"),
	PROP_UINT(64, "base", struct pl011, base, 0, UINT64_MAX - PL011_SIZE, 0x9000000, "guest address of the registers"),
	PROP_UINT(32, "gsi", struct pl011, gsi, 0, 1023, 7, "interrupt line"),
	PROP_END,
};

const struct device_class pl011_class = {
	.name = "pl011",
	.summary = "Arm PrimeCell serial port",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct pl011),
	.props = pl011_props,
	.realize = pl011_realize,
	.unrealize = pl011_unrealize,
	.reset = pl011_reset,
};
