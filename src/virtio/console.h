/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtio-serial device and its ports know of each other. Everything runs on the main loop:
 * queues and character back ends both live there.
 */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include "chardev/chardev.h"
#include "virtio/virtio.h"

#define SERIAL_PORTS_MAX 31
#define SERIAL_NR_ANY UINT32_MAX

struct virtio_serial;

/* A device of its own, created after the virtio-serial device that it plugs into. */
struct serial_port {
	struct device dev;
	struct chardev *chr;
	struct chardev_user user;
	char *name, *bus;
	uint32_t nr; /* SERIAL_NR_ANY: the first free one */

	struct virtio_serial *serial; /* NULL: it was removed before its port */
	bool host_open;		      /* the back end has a peer */
	bool guest_open;	      /* the guest wants input */
	bool told_open;		      /* what the operator knows of guest_open */
	/* How much of the transmit queue's next chain the back end has taken; it did not take the
	 * rest yet. */
	uint32_t sent;
	/* A console whose reader takes nothing, see console_port.c. */
	struct loop_timer stall_timer;
	bool moved;   /* something was taken since the timer was set */
	bool stalled; /* what is not taken at once is dropped */
	bool holds;   /* @chain, popped from the receive queue, waits for input */
	struct virtq_chain chain;
};

/* Messages to the driver, in the order in which it is told. */
enum serial_message {
	SERIAL_REMOVE,
	SERIAL_ADD,
	SERIAL_CONSOLE,
	SERIAL_NAME,
	SERIAL_OPEN, /* or closed, as it is when the message goes out */
	SERIAL_RESIZE,
	SERIAL_MESSAGES
};

/* --- console.c, for ports --- */

/* Plugs the port into the device that "bus" names, or the first one, and settles its number. */
int __must_check serial_plug(struct serial_port *port, struct error **errp);
void serial_unplug(struct serial_port *port);
/* NULL while the driver does not use it. */
struct virtio_queue *serial_receive_queue(const struct serial_port *port);
struct virtio_queue *serial_transmit_queue(const struct serial_port *port);
/* Has the driver told when it has room. */
void serial_send(struct serial_port *port, enum serial_message message);
void serial_terminal_changed(struct serial_port *port); /* there may be another one behind it */

/* --- console_port.c --- */

bool serial_port_is_console(const struct serial_port *port);
/* The driver made buffers available, or wants input, or the queues run again. */
void serial_port_input_wanted(struct serial_port *port);
void serial_port_transmit(struct serial_port *port);
/* Gives back what it holds of its receive queue, which has stopped. */
void serial_port_release_buffer(struct serial_port *port, struct virtio_queue *queue);

#endif
