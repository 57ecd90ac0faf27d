// SPDX-License-Identifier: Apache-2.0
/*
 * Ports of a virtio-serial device (virtio 1.2 §5.3): "virtconsole", which the guest uses as a
 * terminal (hvc0), and "virtserialport", a pipe with a name.
 *
 * Nothing is buffered here. What the back end does not take stays in the transmit queue until it
 * has room, so that a slow reader slows the guest down and loses nothing; a reader that is gone
 * makes the back end drop what comes. Input stays in the back end until the guest has opened the
 * port and given a buffer for it.
 */
#include <errno.h>
#include <string.h>

#include "console.h"
#include "virtio/classes.h"

#define LOG_MODULE "virtio-serial"
#include "util/log.h"

/* Bounds of one turn on the main loop, so that a guest that prints without end does not hold it up
 * (io-hijack). */
#define BYTES_A_TURN (256 * KIB)
#define CHAINS_A_TURN 128

struct port_kind {
	bool console;
};

bool serial_port_is_console(const struct serial_port *port)
{
	const struct port_kind *kind = port->dev.class->data;

	return kind->console;
}

static struct serial_port *from_user(struct chardev_user *user)
{
	return container_of(user, struct serial_port, user);
}

/* --- guest to host --- */

/*
 * Linux drivers write to a console with a spinlock held and wait, spinning, until the buffer comes
 * back: a peer that is connected and reads nothing would stop the whole guest. For a console one
 * that takes nothing for a second is gone, like one that hung up, until it reads again. Ports wait
 * for ever: only the process that writes is stopped.
 */
#define STALL_NS NSEC_PER_SEC

static void stall_begins(struct serial_port *port)
{
	if (!serial_port_is_console(port) || port->stall_timer.deadline_ns)
		return;
	port->moved = false;
	loop_timer_set(&port->stall_timer, clock_now_ns() + STALL_NS);
}

static void stall_ends(struct serial_port *port)
{
	port->stalled = false;
	loop_timer_cancel(&port->stall_timer);
}

static void stall_expired(struct loop_timer *timer)
{
	struct serial_port *port = container_of(timer, struct serial_port, stall_timer);

	serial_port_transmit(port); /* the back end has room before it says so */
	if (port->moved || !serial_transmit_queue(port))
		return;
	log_info("%s: nobody reads, output is dropped", port->dev.id);
	loop_timer_cancel(timer);
	port->stalled = true;
	serial_port_transmit(port);
}

/* True: the back end has taken the whole chain. */
static bool give(struct serial_port *port, const struct virtq_chain *chain)
{
	size_t skip = port->sent;

	for (unsigned int i = 0; i < chain->out_count; i++) {
		const struct iovec *iov = &chain->iov[i];
		size_t done;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		done = chardev_write(port->chr, (const uint8_t *)iov->iov_base + skip,
				     iov->iov_len - skip);
		port->sent += done;
		port->moved |= done > 0;
		if (done < iov->iov_len - skip) {
			if (port->stalled)
				break;
			stall_begins(port);
			return false;
		}
		skip = 0;
	}
	port->sent = 0;
	return true;
}

void serial_port_transmit(struct serial_port *port)
{
	struct virtio_queue *queue = serial_transmit_queue(port);
	unsigned int chains = CHAINS_A_TURN;
	uint64_t bytes = BYTES_A_TURN;
	struct virtq_chain chain;

	if (!queue)
		return;
	virtqueue_notify_off(&queue->vq);
	do {
		while (virtio_queue_pop(queue, &chain)) {
			if (!chain.out_count || chain.in_count) {
				virtio_device_error(queue->vdev,
						    "a buffer for output is not readable");
				return;
			}
			if (!chains || !bytes) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_queue_kick(queue);
				goto out;
			}
			if (!give(port, &chain)) { /* writable() comes back to it */
				virtqueue_unpop(&queue->vq, chain.head);
				goto out;
			}
			virtqueue_push(&queue->vq, chain.head, 0);
			chains--;
			bytes -= MIN(bytes, (uint64_t)chain.out_len);
		}
	} while (queue->running && virtqueue_notify_on(&queue->vq));
out:
	virtio_queue_flush(queue);
}

static void port_writable(struct chardev_user *user)
{
	stall_ends(from_user(user));
	serial_port_transmit(from_user(user));
}

/* --- host to guest --- */

/*
 * Pops the buffer for the next input and keeps it: between this and receive() nothing else pops
 * from the queue, so its iovecs hold, and the room that was promised is there whatever the guest
 * writes to the ring.
 */
static bool hold_buffer(struct serial_port *port, struct virtio_queue *queue)
{
	do {
		if (virtio_queue_pop(queue, &port->chain)) {
			port->holds = true;
			break;
		}
	} while (queue->running && virtqueue_notify_on(&queue->vq));
	if (port->holds && (!port->chain.in_count || port->chain.out_count)) {
		virtio_device_error(queue->vdev, "a buffer for input is not writable");
		return false;
	}
	return port->holds;
}

static size_t port_can_receive(struct chardev_user *user)
{
	struct serial_port *port = from_user(user);
	struct virtio_queue *queue = serial_receive_queue(port);

	if (!queue || !port->guest_open)
		return 0;
	if (!port->holds && !hold_buffer(port, queue))
		return 0;
	return port->chain.in_len;
}

static void port_receive(struct chardev_user *user, const uint8_t *data, size_t len)
{
	struct serial_port *port = from_user(user);
	struct virtio_queue *queue = serial_receive_queue(port);
	size_t done = 0;

	if (!queue || !port->holds) /* not without can_receive() */
		return;
	for (unsigned int i = 0; i < port->chain.in_count && done < len; i++) {
		size_t n = MIN(len - done, port->chain.iov[i].iov_len);

		memcpy(port->chain.iov[i].iov_base, data + done, n);
		done += n;
	}
	port->holds = false;
	virtqueue_push(&queue->vq, port->chain.head, (uint32_t)done);
	virtio_queue_flush(queue);
}

void serial_port_input_wanted(struct serial_port *port)
{
	chardev_accept_input(port->chr);
}

void serial_port_release_buffer(struct serial_port *port, struct virtio_queue *queue)
{
	if (port->holds)
		virtqueue_unpop(&queue->vq, port->chain.head);
	port->holds = false;
}

/* --- the peer --- */

static void port_event(struct chardev_user *user, enum chardev_event event)
{
	struct serial_port *port = from_user(user);

	switch (event) {
	case CHARDEV_OPENED:
		port->host_open = true;
		serial_terminal_changed(port);
		break;
	case CHARDEV_CLOSED:
		port->host_open = false;
		break;
	case CHARDEV_RESIZED:
		serial_terminal_changed(port);
		return;
	case CHARDEV_BREAK: /* the device has nothing to tell it with */
		return;
	}
	/* A terminal is always there, as a screen is that nobody looks at. */
	if (!serial_port_is_console(port))
		serial_send(port, SERIAL_OPEN);
}

/* As the last VSERPORT_CHANGE has told it. A terminal is not opened, as one looks at it or not. */
static bool port_is_open(struct chardev_user *user)
{
	struct serial_port *port = from_user(user);

	return serial_port_is_console(port) || port->told_open;
}

/* --- life --- */

static int port_realize(struct device *dev, struct error **errp)
{
	struct serial_port *port = container_of(dev, struct serial_port, dev);
	int ret;

	port->user = (struct chardev_user){
		.can_receive = port_can_receive,
		.receive = port_receive,
		.event = port_event,
		.writable = port_writable,
		.is_open = port_is_open,
	};
	loop_timer_init(&port->stall_timer, dev->platform->main_loop, stall_expired);
	ret = serial_plug(port, errp);
	if (ret)
		return ret;
	ret = chardev_attach(port->chr, &port->user, errp);
	if (ret)
		serial_unplug(port);
	return ret;
}

static void port_unrealize(struct device *dev)
{
	struct serial_port *port = container_of(dev, struct serial_port, dev);

	chardev_detach(port->chr);
	stall_ends(port);
	serial_unplug(port);
}

static const struct property port_props[] = {
	PROP_LINK("chardev", struct serial_port, chr, LINK_CHARDEV, PROPERTY_REQUIRED,
		  "back end on the host"),
	PROP_UINT(32, "nr", struct serial_port, nr, 0, SERIAL_PORTS_MAX - 1, SERIAL_NR_ANY,
		  "number of the port; the first free one without it, 0 is for a virtconsole"),
	PROP_STRING("name", struct serial_port, name, 1, 255, NULL,
		    "what the guest finds the port by"),
	PROP_STRING("bus", struct serial_port, bus, 1, 257, NULL,
		    "virtio-serial device it plugs into, as ID.0; the first one without it"),
	PROP_END,
};

const struct device_class virtconsole_class = {
	.name = "virtconsole",
	.summary = "terminal on a virtio-serial device (hvc0)",
	.bus = DEVICE_BUS_SERIAL,
	.instance_size = sizeof(struct serial_port),
	.props = port_props,
	.data = &(const struct port_kind){ .console = true },
	.realize = port_realize,
	.unrealize = port_unrealize,
};

const struct device_class virtserialport_class = {
	.name = "virtserialport",
	.summary = "named pipe on a virtio-serial device",
	.bus = DEVICE_BUS_SERIAL,
	.instance_size = sizeof(struct serial_port),
	.props = port_props,
	.data = &(const struct port_kind){ .console = false },
	.realize = port_realize,
	.unrealize = port_unrealize,
};
