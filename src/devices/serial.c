/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 16550A serial port ("isa-serial"), after the PC16550D data sheet; section names below are its
 * own.
 *
 * Registers are used by vCPU threads; input, room for output and the character timeout come from
 * the main loop. Everything between "lock:" and the end of the struct belongs to the lock, which is
 * held across the calls into the chardev and the interrupt line (neither calls back under it).
 *
 * Nothing here grows: the receive FIFO takes what it has room for and the rest stays in the
 * chardev; when the chardev is full, bytes wait in the 16-byte transmit FIFO and LSR.THRE stays
 * clear.
 */
#define LOG_MODULE "serial"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "chardev/chardev.h"
#include "boot_timer.h"
#include "devices/classes.h"
#include "devices/device.h"
#include "util/log.h"

#define FIFO_SIZE 16
#define BASE_BAUD 115200 /* 1.8432 MHz / 16 */

/* Offsets; with LCR.DLAB set the first two are the divisor latch. */
enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, REG_COUNT };

#define IER_RDI 0x01  /* received data */
#define IER_THRI 0x02 /* transmitter empty */
#define IER_RLSI 0x04 /* line status */
#define IER_MSI 0x08  /* modem status */
#define IER_MASK 0x0f

#define IIR_NONE 0x01
#define IIR_MODEM 0x00
#define IIR_THRE 0x02
#define IIR_RX 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO 0xc0 /* FIFOs are on */

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_KEPT 0xc9 /* enable, DMA mode, trigger level */

#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_BI 0x10
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define LSR_FIFO_ERROR 0x80
#define LSR_ERRORS 0x1e

#define MSR_DCTS 0x01
#define MSR_DDSR 0x02
#define MSR_TERI 0x04
#define MSR_DDCD 0x08
#define MSR_DELTAS 0x0f
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80
#define MSR_CONNECTED (MSR_CTS | MSR_DSR | MSR_DCD)

struct serial {
	struct device dev;
	/* properties */
	struct chardev *chardev; /* NULL: output goes nowhere */
	uint8_t index;
	uint16_t iobase; /* 0: by index */
	uint8_t irq;	 /* 0: by index */

	struct io_region region;
	struct irq_line line;
	struct chardev_user user;
	struct loop_timer timeout_timer; /* main loop */
	struct loop_call arm_timeout;

	pthread_mutex_t lock;
	/* lock: */
	uint8_t ier, fcr, lcr, mcr, msr, scr;
	uint8_t lsr_errors; /* OE and BI, until LSR is read */
	uint16_t divisor;

	uint8_t rx[FIFO_SIZE];
	uint16_t rx_break; /* bit n: rx[n] is a break */
	unsigned int rx_head, rx_count;
	uint8_t tx[FIFO_SIZE]; /* only what the chardev did not take */
	unsigned int tx_count;

	bool thre_pending; /* the transmitter ran empty and nobody was told yet */
	bool rx_timeout;   /* data below the trigger level lay around for four characters */
	bool timer_armed;  /* or about to be */
	int64_t rx_deadline_ns;
	bool level; /* of the interrupt line */
};

static bool fifo_on(const struct serial *s)
{
	return s->fcr & FCR_ENABLE;
}

static unsigned int rx_capacity(const struct serial *s)
{
	return fifo_on(s) ? FIFO_SIZE : 1;
}

static unsigned int rx_trigger(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return fifo_on(s) ? levels[s->fcr >> 6] : 1;
}

/* --- interrupts ("Interrupt Identification Register", table of priorities) --- */

static uint8_t interrupt_id_locked(const struct serial *s)
{
	if ((s->ier & IER_RLSI) && (s->lsr_errors & LSR_ERRORS))
		return IIR_LINE;
	if (s->ier & IER_RDI) {
		if (s->rx_count >= rx_trigger(s))
			return IIR_RX;
		if (s->rx_timeout)
			return IIR_TIMEOUT;
	}
	if ((s->ier & IER_THRI) && s->thre_pending)
		return IIR_THRE;
	if ((s->ier & IER_MSI) && (s->msr & MSR_DELTAS))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq_locked(struct serial *s)
{
	bool level = interrupt_id_locked(s) != IIR_NONE;

	if (level == s->level)
		return;
	s->level = level;
	irq_set(&s->line, level);
}

/* --- receiver --- */

/* Four characters of the frame that LCR describes, at the guest's baud rate. */
static int64_t timeout_ns_locked(const struct serial *s)
{
	unsigned int bits = 1 + 5 + (s->lcr & 3) + ((s->lcr & 8) ? 1 : 0) + ((s->lcr & 4) ? 2 : 1);
	unsigned int divisor = s->divisor ? s->divisor : 1;

	return 4 * (int64_t)bits * divisor * NSEC_PER_SEC / BASE_BAUD;
}

/*
 * Starts the character timeout anew when there is data below the trigger level ("FIFO Interrupt
 * Mode Operation"). The timer itself belongs to the main loop; while it is armed only the deadline
 * moves.
 */
static void restart_timeout_locked(struct serial *s)
{
	s->rx_timeout = false;
	if (!fifo_on(s) || !s->rx_count || s->rx_count >= rx_trigger(s) || !(s->ier & IER_RDI))
		return;
	s->rx_deadline_ns = clock_now_ns() + timeout_ns_locked(s);
	if (s->timer_armed)
		return;
	s->timer_armed = true;
	loop_call_schedule(&s->arm_timeout);
}

static void serial_arm_timeout(struct loop_call *call)
{
	struct serial *s = container_of(call, struct serial, arm_timeout);
	int64_t deadline;

	pthread_mutex_lock(&s->lock);
	deadline = s->rx_deadline_ns;
	pthread_mutex_unlock(&s->lock);
	loop_timer_set(&s->timeout_timer, deadline);
}

static void serial_timeout(struct loop_timer *timer)
{
	struct serial *s = container_of(timer, struct serial, timeout_timer);
	int64_t again = 0;

	pthread_mutex_lock(&s->lock);
	if (!fifo_on(s) || !s->rx_count || s->rx_timeout) {
		s->timer_armed = false;
	} else if (clock_now_ns() < s->rx_deadline_ns) {
		again = s->rx_deadline_ns;
	} else {
		s->timer_armed = false;
		s->rx_timeout = true;
		update_irq_locked(s);
	}
	pthread_mutex_unlock(&s->lock);
	if (again)
		loop_timer_set(timer, again);
}

/* A break or error bit shows in LSR when its character gets to the head of the FIFO. */
static void head_changed_locked(struct serial *s)
{
	if (s->rx_count && (s->rx_break & (1u << s->rx_head)))
		s->lsr_errors |= LSR_BI;
}

static void receive_byte_locked(struct serial *s, uint8_t byte, bool is_break)
{
	unsigned int slot;

	if (s->rx_count == rx_capacity(s)) {
		s->lsr_errors |= LSR_OE;
		if (fifo_on(s))
			return;	 /* the new character is lost */
		s->rx_count = 0; /* the old one is overwritten */
	}
	slot = (s->rx_head + s->rx_count) % FIFO_SIZE;
	s->rx[slot] = byte;
	s->rx_break &= ~(1u << slot);
	if (is_break)
		s->rx_break |= 1u << slot;
	s->rx_count++;
	if (s->rx_count == 1)
		head_changed_locked(s);
}

static void clear_rx_locked(struct serial *s)
{
	s->rx_head = s->rx_count = 0;
	s->rx_break = 0;
	s->rx_timeout = false;
}

static size_t serial_can_receive(struct chardev_user *user)
{
	struct serial *s = container_of(user, struct serial, user);
	size_t room;

	pthread_mutex_lock(&s->lock);
	/* In loopback the input pin is cut off from the receiver. */
	room = s->mcr & MCR_LOOP ? 0 : rx_capacity(s) - s->rx_count;
	pthread_mutex_unlock(&s->lock);
	return room;
}

static void serial_receive(struct chardev_user *user, const uint8_t *data, size_t len)
{
	struct serial *s = container_of(user, struct serial, user);

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < len; i++)
		receive_byte_locked(s, data[i], false);
	restart_timeout_locked(s);
	update_irq_locked(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_event(struct chardev_user *user, enum chardev_event event)
{
	struct serial *s = container_of(user, struct serial, user);

	/* The modem lines stay up whoever is at the other end: a console must not hang up its
	 * login. */
	if (event != CHARDEV_BREAK)
		return;
	pthread_mutex_lock(&s->lock);
	if (!(s->mcr & MCR_LOOP)) {
		receive_byte_locked(s, 0, true);
		restart_timeout_locked(s);
		update_irq_locked(s);
	}
	pthread_mutex_unlock(&s->lock);
}

/* @accept: set when the chardev should be told of the room. */
static uint8_t read_data_locked(struct serial *s, bool *accept)
{
	uint8_t byte = s->rx[s->rx_head]; /* an empty receiver repeats what was there last */

	if (!s->rx_count)
		return byte;
	*accept = true;
	s->rx_count--;
	if (s->rx_count) {
		s->rx_head = (s->rx_head + 1) % FIFO_SIZE;
		head_changed_locked(s);
	}
	restart_timeout_locked(s);
	update_irq_locked(s);
	return byte;
}

/* --- transmitter --- */

static void clear_tx_locked(struct serial *s)
{
	s->tx_count = 0;
}

static bool transmit_locked(struct serial *s, uint8_t byte)
{
	return !s->chardev || chardev_write(s->chardev, &byte, 1) == 1;
}

static void write_data_locked(struct serial *s, uint8_t byte)
{
	unsigned int capacity = fifo_on(s) ? FIFO_SIZE : 1;

	if (s->mcr & MCR_LOOP) {
		receive_byte_locked(s, byte, false);
		restart_timeout_locked(s);
	} else if (s->tx_count || !transmit_locked(s, byte)) {
		/* A guest that writes without THRE loses the byte, as it would on the wire. */
		if (s->tx_count < capacity)
			s->tx[s->tx_count++] = byte;
		s->thre_pending = false;
		update_irq_locked(s);
		return;
	}
	/*
	 * Sent at once: the transmitter was full and is empty again, for the interrupt a falling
	 * and a rising edge. Drivers fill the FIFO in one go, so with FIFOs on an interrupt that
	 * nobody has identified yet is left standing: that saves two ioctls a byte.
	 */
	if (!fifo_on(s) && s->thre_pending) {
		s->thre_pending = false;
		update_irq_locked(s);
	}
	s->thre_pending = true;
	update_irq_locked(s);
}

static void serial_writable(struct chardev_user *user)
{
	struct serial *s = container_of(user, struct serial, user);
	size_t taken;

	pthread_mutex_lock(&s->lock);
	if (s->tx_count) {
		taken = chardev_write(s->chardev, s->tx, s->tx_count);
		s->tx_count -= taken;
		memmove(s->tx, s->tx + taken, s->tx_count);
		if (!s->tx_count) {
			s->thre_pending = true;
			update_irq_locked(s);
		}
	}
	pthread_mutex_unlock(&s->lock);
}

/* --- modem lines --- */

static void write_mcr_locked(struct serial *s, uint8_t value, bool *accept)
{
	uint8_t lines = MSR_CONNECTED, old = s->msr & ~MSR_DELTAS, changed;

	if ((s->mcr & MCR_LOOP) && !(value & MCR_LOOP))
		*accept = true;
	s->mcr = value & MCR_MASK;
	if (s->mcr & MCR_LOOP) {
		lines = (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
			(s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
	}
	changed = lines ^ old;
	s->msr = lines | (s->msr & MSR_DELTAS);
	if (changed & MSR_CTS)
		s->msr |= MSR_DCTS;
	if (changed & MSR_DSR)
		s->msr |= MSR_DDSR;
	if ((changed & MSR_RI) && !(lines & MSR_RI))
		s->msr |= MSR_TERI; /* the trailing edge only */
	if (changed & MSR_DCD)
		s->msr |= MSR_DDCD;
	update_irq_locked(s);
}

/* --- registers --- */

static uint8_t read_lsr_locked(struct serial *s)
{
	uint8_t value = s->lsr_errors;

	if (s->rx_count)
		value |= LSR_DR;
	if (!s->tx_count)
		value |= LSR_THRE | LSR_TEMT;
	if (fifo_on(s) && s->rx_break)
		for (unsigned int i = 0; i < s->rx_count; i++)
			if (s->rx_break & (1u << ((s->rx_head + i) % FIFO_SIZE)))
				value |= LSR_FIFO_ERROR;
	if (s->lsr_errors) {
		s->lsr_errors = 0;
		if (s->rx_count)
			s->rx_break &= ~(1u << s->rx_head);
		update_irq_locked(s);
	}
	return value;
}

static uint8_t read_iir_locked(struct serial *s)
{
	uint8_t id = interrupt_id_locked(s);

	if (id == IIR_THRE) {
		s->thre_pending = false;
		update_irq_locked(s);
	}
	return id | (fifo_on(s) ? IIR_FIFO : 0);
}

static void write_ier_locked(struct serial *s, uint8_t value)
{
	uint8_t enabled = value & ~s->ier;

	s->ier = value & IER_MASK;
	/* Enabling the interrupt while the transmitter is empty raises it. */
	if ((enabled & IER_THRI) && !s->tx_count)
		s->thre_pending = true;
	if (enabled & IER_RDI)
		restart_timeout_locked(s);
	update_irq_locked(s);
}

static void write_fcr_locked(struct serial *s, uint8_t value, bool *accept)
{
	bool toggled = (value ^ s->fcr) & FCR_ENABLE;

	if (toggled || (value & FCR_CLEAR_RX)) {
		clear_rx_locked(s);
		*accept = true;
	}
	if ((toggled || (value & FCR_CLEAR_TX)) && s->tx_count) {
		clear_tx_locked(s);
		s->thre_pending = true;
	}
	/* The other bits are taken only along with the enable bit. */
	s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	restart_timeout_locked(s);
	update_irq_locked(s);
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct serial *s = opaque;
	bool accept = false;
	uint8_t value = 0xff;

	(void)size;
	pthread_mutex_lock(&s->lock);
	switch (offset) {
	case REG_DATA:
		value = s->lcr & LCR_DLAB ? s->divisor & 0xff : read_data_locked(s, &accept);
		break;
	case REG_IER:
		value = s->lcr & LCR_DLAB ? s->divisor >> 8 : s->ier;
		break;
	case REG_IIR_FCR:
		value = read_iir_locked(s);
		break;
	case REG_LCR:
		value = s->lcr;
		break;
	case REG_MCR:
		value = s->mcr;
		break;
	case REG_LSR:
		value = read_lsr_locked(s);
		break;
	case REG_MSR:
		value = s->msr;
		s->msr &= ~MSR_DELTAS;
		update_irq_locked(s);
		break;
	case REG_SCR:
		value = s->scr;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	if (accept && s->chardev)
		chardev_accept_input(s->chardev);
	return value;
}

static void serial_write(void *opaque, uint64_t offset, uint64_t wide, unsigned int size)
{
	struct serial *s = opaque;
	uint8_t value = (uint8_t)wide;
	bool accept = false;

	(void)size;
	pthread_mutex_lock(&s->lock);
	switch (offset) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->divisor = (s->divisor & 0xff00) | value;
		else
			write_data_locked(s, value);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB)
			s->divisor = (uint16_t)(value << 8) | (s->divisor & 0xff);
		else
			write_ier_locked(s, value);
		break;
	case REG_IIR_FCR:
		write_fcr_locked(s, value, &accept);
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		write_mcr_locked(s, value, &accept);
		break;
	case REG_SCR:
		s->scr = value;
		break;
	default: /* LSR and MSR: written in factory tests only */
		break;
	}
	pthread_mutex_unlock(&s->lock);
	if (accept && s->chardev)
		chardev_accept_input(s->chardev);
}

static const struct io_ops serial_ops = {
	.read = serial_read,
	.write = serial_write,
	.min_size = 1,
	.max_size = 1,
};

/* --- device --- */

static void serial_reset(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->lsr_errors = 0;
	s->msr = MSR_CONNECTED;
	s->divisor = 12; /* 9600 baud */
	clear_rx_locked(s);
	clear_tx_locked(s);
	s->thre_pending = false;
	update_irq_locked(s);
	pthread_mutex_unlock(&s->lock);
	if (s->chardev)
		chardev_accept_input(s->chardev);
}

static int serial_realize(struct device *dev, struct error **errp)
{
	static const struct {
		uint16_t iobase;
		uint8_t irq;
	} ports[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };
	struct serial *s = container_of(dev, struct serial, dev);
	struct platform *platform = dev->platform;
	uint16_t iobase = s->iobase ? s->iobase : ports[s->index].iobase;
	uint8_t irq = s->irq ? s->irq : ports[s->index].irq;
	int ret;

	s->region = (struct io_region){
		.name = "serial",
		.kind = IO_PORT,
		.base = iobase,
		/* COM1's scratch register may be the boot timer's port, which keeps the value. */
		.size = boot_timer_claims(platform, iobase + REG_SCR) ? REG_SCR : REG_COUNT,
		.ops = &serial_ops,
		.opaque = s,
	};
	pthread_mutex_init(&s->lock, NULL);
	loop_timer_init(&s->timeout_timer, platform->main_loop, serial_timeout);
	loop_call_init(&s->arm_timeout, platform->main_loop, serial_arm_timeout);
	irq_line_init_level(&s->line, platform->accel, irq);
	ret = mem_space_add_io(platform->space, &s->region, errp);
	if (ret)
		goto fail;
	s->user = (struct chardev_user){
		.can_receive = serial_can_receive,
		.receive = serial_receive,
		.event = serial_event,
		.writable = serial_writable,
	};
	if (s->chardev) {
		ret = chardev_attach(s->chardev, &s->user, errp);
		if (ret)
			goto fail_attach;
	}
	return 0;

fail_attach:
	mem_space_del_io(platform->space, &s->region);
fail:
	irq_line_release(&s->line);
	pthread_mutex_destroy(&s->lock);
	return ret;
}

static void serial_unrealize(struct device *dev)
{
	struct serial *s = container_of(dev, struct serial, dev);

	mem_space_del_io(dev->platform->space, &s->region);
	if (s->chardev)
		chardev_detach(s->chardev);
	loop_call_cancel(&s->arm_timeout);
	loop_timer_cancel(&s->timeout_timer);
	irq_line_release(&s->line);
	pthread_mutex_destroy(&s->lock);
}

static const struct property serial_props[] = {
	PROP_LINK("chardev", struct serial, chardev, LINK_CHARDEV, 0,
		  "back end; none: output is dropped"),
	PROP_UINT(8, "index", struct serial, index, 0, 3, 0, "COM port, gives iobase and irq"),
	PROP_UINT(16, "iobase", struct serial, iobase, 0, 0xfff8, 0, "first port; 0: by index"),
	PROP_UINT(8, "irq", struct serial, irq, 0, 23, 0, "interrupt line; 0: by index"),
	PROP_END,
};

const struct device_class serial_class = {
	.name = "isa-serial",
	.summary = "16550A serial port",
	.bus = DEVICE_BUS_SYSTEM,
	.instance_size = sizeof(struct serial),
	.props = serial_props,
	.realize = serial_realize,
	.unrealize = serial_unrealize,
	.reset = serial_reset,
};
