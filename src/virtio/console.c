// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-serial, the console device (virtio 1.2 §5.3): up to 31 ports with a pair of queues each,
 * and a pair of control queues between those of port 0 and port 1. The ports are devices of their
 * own, in console_port.c.
 *
 * What the driver is to be told waits as one bit a port and message, not as a list of messages: a
 * driver that asks without end, or never gives buffers, makes nothing grow.
 */
#include "console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mmio.h"
#include "pci.h"
#include "virtio/classes.h"

#define LOG_MODULE "virtio-serial"
#include "util/log.h"

#define F_SIZE (1ULL << 0)
#define F_MULTIPORT (1ULL << 1)
#define F_EMERG_WRITE (1ULL << 2)

#define DATA_QUEUE_SIZE 128
#define CONTROL_QUEUE_SIZE 32
#define CONTROL_RECEIVE 2 /* queues' indices, §5.3.2 */
#define CONTROL_TRANSMIT 3
#define MESSAGES_A_TURN 64

/* §5.3.4 */
struct console_config {
	le16_t cols, rows;
	le32_t max_nr_ports;
	le32_t emerg_wr;
} __packed;

/* §5.3.6.2 */
struct control {
	le32_t id;
	le16_t event, value;
} __packed;

enum {
	CONTROL_DEVICE_READY,
	CONTROL_PORT_ADD,
	CONTROL_PORT_REMOVE,
	CONTROL_PORT_READY,
	CONTROL_CONSOLE_PORT,
	CONTROL_RESIZE,
	CONTROL_PORT_OPEN,
	CONTROL_PORT_NAME,
};

struct serial_slot {
	struct serial_port *port;
	uint32_t pending; /* bit n: enum serial_message n is to be sent */
	bool added;	  /* the driver knows of it */
};

struct virtio_serial {
	struct virtio_device vdev;
	uint32_t max_ports;

	/* main loop */
	struct serial_slot slots[SERIAL_PORTS_MAX];
	bool driver_ready; /* to hear of ports */
	uint16_t cols, rows;
	struct loop_call tell; /* the operator, of ports that the guest opened or closed */
	struct log_limit message_limit;

	pthread_mutex_t emergency_lock; /* guards: */
	struct chardev *emergency;	/* port 0's, or NULL */
};

static const struct virtio_device_ops serial_ops;

static struct virtio_serial *to_serial(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_serial, vdev);
}

static bool multiport(const struct virtio_serial *serial)
{
	return virtio_has_feature(&serial->vdev, F_MULTIPORT);
}

/* --- queues --- */

static unsigned int receive_index(uint32_t nr)
{
	return nr ? 2 * nr + 2 : 0;
}

/* The port that a queue other than the control queues belongs to. */
static uint32_t queue_port(unsigned int index)
{
	return index < CONTROL_RECEIVE ? 0 : index / 2 - 1;
}

static struct virtio_queue *queue_in_use(const struct serial_port *port, unsigned int offset)
{
	struct virtio_serial *serial = port->serial;
	struct virtio_queue *queue;

	if (!serial || (port->nr && !multiport(serial)))
		return NULL;
	queue = &serial->vdev.queues[receive_index(port->nr) + offset];
	return queue->running ? queue : NULL;
}

struct virtio_queue *serial_receive_queue(const struct serial_port *port)
{
	return queue_in_use(port, 0);
}

struct virtio_queue *serial_transmit_queue(const struct serial_port *port)
{
	return queue_in_use(port, 1);
}

/* --- messages to the driver --- */

/*
 * The fields of RESIZE in the order in which Linux drivers read them, rows first; the text of
 * virtio 1.2 (§5.3.6.2) has them the other way round, which no driver that is in use follows.
 */
struct resize {
	struct control head;
	le16_t rows, cols;
} __packed;

static size_t fill_message(struct virtio_serial *serial, uint32_t nr, enum serial_message message,
			   uint8_t buf[static 264])
{
	const struct serial_port *port = serial->slots[nr].port;
	struct resize resize = { .head.id = cpu_to_le32(nr) };
	uint16_t event = 0, value = 1;
	size_t len = sizeof(resize.head);

	switch (message) {
	case SERIAL_REMOVE:
		event = CONTROL_PORT_REMOVE;
		break;
	case SERIAL_ADD:
		event = CONTROL_PORT_ADD;
		break;
	case SERIAL_CONSOLE:
		event = CONTROL_CONSOLE_PORT;
		break;
	case SERIAL_NAME:
		event = CONTROL_PORT_NAME;
		memcpy(buf + len, port->name, strlen(port->name));
		len += strlen(port->name);
		break;
	case SERIAL_OPEN:
		event = CONTROL_PORT_OPEN;
		value = port->host_open || serial_port_is_console(port);
		break;
	case SERIAL_RESIZE:
		event = CONTROL_RESIZE;
		resize.cols = cpu_to_le16(serial->cols);
		resize.rows = cpu_to_le16(serial->rows);
		len = sizeof(resize);
		break;
	case SERIAL_MESSAGES:
		break;
	}
	resize.head.event = cpu_to_le16(event);
	resize.head.value = cpu_to_le16(value);
	memcpy(buf, &resize, message == SERIAL_RESIZE ? sizeof(resize) : sizeof(resize.head));
	return len;
}

/* False: not now, the driver has no buffer for it. */
static bool send_message(struct virtio_serial *serial, uint32_t nr, enum serial_message message)
{
	struct virtio_queue *queue = &serial->vdev.queues[CONTROL_RECEIVE];
	struct virtq_chain chain;
	uint8_t buf[264];
	size_t len, done = 0;

	while (!virtio_queue_pop(queue, &chain))
		if (!queue->running || !virtqueue_notify_on(&queue->vq))
			return false;
	if (chain.out_count || chain.in_len < sizeof(struct control)) {
		virtio_device_error(&serial->vdev,
				    "a buffer for control messages is not writable or too small");
		return false;
	}
	len = fill_message(serial, nr, message, buf);
	for (unsigned int i = 0; i < chain.in_count && done < len; i++) {
		size_t n = MIN(len - done, chain.iov[i].iov_len);

		memcpy(chain.iov[i].iov_base, buf + done, n);
		done += n;
	}
	virtqueue_push(&queue->vq, chain.head, (uint32_t)done);
	return true;
}

static void send_pending(struct virtio_serial *serial)
{
	struct virtio_queue *queue;

	if (!multiport(serial) || !serial->driver_ready)
		return;
	queue = &serial->vdev.queues[CONTROL_RECEIVE];
	if (!queue->running)
		return;
	for (uint32_t nr = 0; nr < serial->max_ports; nr++) {
		struct serial_slot *slot = &serial->slots[nr];

		for (unsigned int message = 0; slot->pending && message < SERIAL_MESSAGES;
		     message++) {
			if (!(slot->pending & 1u << message))
				continue;
			if (!send_message(serial, nr, message))
				goto out;
			slot->pending &= ~(1u << message);
			if (message == SERIAL_REMOVE)
				slot->added = false;
			if (message == SERIAL_ADD)
				slot->added = true;
		}
	}
out:
	virtio_queue_flush(queue);
}

void serial_send(struct serial_port *port, enum serial_message message)
{
	struct serial_slot *slot;

	if (!port->serial)
		return;
	slot = &port->serial->slots[port->nr];
	/* A driver that hears of the port later is told everything then, when it says that it is
	 * ready for it. */
	if (!slot->added)
		return;
	slot->pending |= 1u << message;
	send_pending(port->serial);
}

/* --- messages from the driver --- */

static void port_ready(struct virtio_serial *serial, struct serial_slot *slot)
{
	slot->pending |= 1u << SERIAL_OPEN;
	if (slot->port->name)
		slot->pending |= 1u << SERIAL_NAME;
	if (!serial_port_is_console(slot->port))
		return;
	slot->pending |= 1u << SERIAL_CONSOLE;
	if (virtio_has_feature(&serial->vdev, F_SIZE) && slot->port->nr == 0 && serial->cols)
		slot->pending |= 1u << SERIAL_RESIZE;
}

static void port_open(struct virtio_serial *serial, struct serial_port *port, bool open)
{
	port->guest_open = open;
	loop_call_schedule(&serial->tell);
	if (open)
		serial_port_input_wanted(port);
}

static void handle_message(struct virtio_serial *serial, const struct control *message)
{
	uint32_t nr = le32_to_cpu(message->id);
	uint16_t event = le16_to_cpu(message->event), value = le16_to_cpu(message->value);
	struct serial_slot *slot;

	if (event == CONTROL_DEVICE_READY) {
		serial->driver_ready = value == 1;
		if (!serial->driver_ready)
			log_warn_limited(&serial->message_limit, "%s: the driver failed to start",
					 serial->vdev.dev.id);
		for (uint32_t i = 0; i < serial->max_ports; i++)
			if (serial->slots[i].port)
				serial->slots[i].pending |= 1u << SERIAL_ADD;
		return;
	}
	slot = nr < serial->max_ports ? &serial->slots[nr] : NULL;
	/* One that was removed may be spoken of until the driver has heard of that. */
	if (!slot || !slot->port || !slot->added || slot->pending & 1u << SERIAL_REMOVE)
		return;
	if (event == CONTROL_PORT_READY && value == 1)
		port_ready(serial, slot);
	else if (event == CONTROL_PORT_READY)
		log_warn_limited(&serial->message_limit, "%s: the driver failed to start port %u",
				 serial->vdev.dev.id, nr);
	else if (event == CONTROL_PORT_OPEN)
		port_open(serial, slot->port, value != 0);
}

static bool read_message(const struct virtq_chain *chain, struct control *message)
{
	size_t done = 0;

	for (unsigned int i = 0; i < chain->out_count && done < sizeof(*message); i++) {
		size_t n = MIN(sizeof(*message) - done, chain->iov[i].iov_len);

		memcpy((uint8_t *)message + done, chain->iov[i].iov_base, n);
		done += n;
	}
	return done == sizeof(*message);
}

static void handle_control(struct virtio_serial *serial, struct virtio_queue *queue)
{
	unsigned int budget = MESSAGES_A_TURN;
	struct virtq_chain chain;
	struct control message;

	virtqueue_notify_off(&queue->vq);
	do {
		while (virtio_queue_pop(queue, &chain)) {
			if (chain.in_count || !read_message(&chain, &message)) {
				virtio_device_error(queue->vdev,
						    "a control message is writable or too short");
				return;
			}
			if (!budget--) {
				virtqueue_unpop(&queue->vq, chain.head);
				virtio_queue_kick(queue);
				goto out;
			}
			handle_message(serial, &message);
			virtqueue_push(&queue->vq, chain.head, 0);
		}
	} while (queue->running && virtqueue_notify_on(&queue->vq));
out:
	virtio_queue_flush(queue);
	send_pending(serial);
}

/* Output on a port that is not there goes nowhere. */
static void discard(struct virtio_queue *queue)
{
	unsigned int budget = DATA_QUEUE_SIZE;
	struct virtq_chain chain;

	do {
		while (budget && virtio_queue_pop(queue, &chain)) {
			if (!chain.out_count || chain.in_count) {
				virtio_device_error(queue->vdev,
						    "a buffer for output is not readable");
				return;
			}
			virtqueue_push(&queue->vq, chain.head, 0);
			budget--;
		}
	} while (budget && queue->running && virtqueue_notify_on(&queue->vq));
	virtio_queue_flush(queue);
	if (!budget)
		virtio_queue_kick(queue);
}

static void serial_handle_queue(struct virtio_queue *queue)
{
	struct virtio_serial *serial = to_serial(queue->vdev);
	struct serial_port *port;

	if (queue->index >= CONTROL_RECEIVE && !multiport(serial))
		return;
	if (queue->index == CONTROL_RECEIVE) {
		send_pending(serial);
		return;
	}
	if (queue->index == CONTROL_TRANSMIT) {
		handle_control(serial, queue);
		return;
	}
	port = serial->slots[queue_port(queue->index)].port;
	if (queue->index % 2 == 0) {
		if (port)
			serial_port_input_wanted(port);
	} else if (port) {
		serial_port_transmit(port);
	} else {
		discard(queue);
	}
}

/* --- the operator --- */

/* By a call of its own: a reset may run on another thread that has borrowed the loop, where nothing
 * may be sent. */
static void tell_operator(struct loop_call *call)
{
	struct virtio_serial *serial = container_of(call, struct virtio_serial, tell);
	struct platform *platform = serial->vdev.dev.platform;

	for (uint32_t nr = 0; nr < serial->max_ports; nr++) {
		struct serial_port *port = serial->slots[nr].port;
		struct device_event_info info;

		if (!port || port->guest_open == port->told_open)
			continue;
		port->told_open = port->guest_open;
		info = (struct device_event_info){ .dev = &port->dev, .open = port->guest_open };
		if (platform->event)
			platform->event(platform, DEVICE_EVENT_PORT, &info);
	}
}

/* --- configuration space --- */

static void set_config(struct virtio_serial *serial)
{
	struct console_config config = {
		.cols = cpu_to_le16(serial->cols),
		.rows = cpu_to_le16(serial->rows),
		.max_nr_ports = cpu_to_le32(serial->max_ports),
	};

	virtio_device_set_config(&serial->vdev, &config, sizeof(config));
}

void serial_terminal_changed(struct serial_port *port)
{
	struct virtio_serial *serial = port->serial;
	uint16_t cols = 0, rows = 0;

	if (!serial || port->nr || !serial_port_is_console(port))
		return;
	if (!chardev_terminal_size(port->chr, &cols, &rows))
		cols = rows = 0;
	if (cols == serial->cols && rows == serial->rows)
		return;
	serial->cols = cols;
	serial->rows = rows;
	set_config(serial);
	if (virtio_has_feature(&serial->vdev, F_SIZE))
		serial_send(port, SERIAL_RESIZE);
}

/* Emergency write (§5.3.4): a character at a time, without queues, before the driver is there or
 * after it is gone. */
static void serial_write_config(struct virtio_device *vdev, uint32_t offset, uint32_t value,
				unsigned int size)
{
	struct virtio_serial *serial = to_serial(vdev);
	uint8_t character = (uint8_t)value;

	(void)size;
	if (offset != offsetof(struct console_config, emerg_wr))
		return;
	pthread_mutex_lock(&serial->emergency_lock);
	/* What does not fit is lost: there is nothing to wait with. */
	if (serial->emergency && !chardev_write(serial->emergency, &character, 1))
		log_debug("%s: a character of an emergency is lost", vdev->dev.id);
	pthread_mutex_unlock(&serial->emergency_lock);
}

static void set_emergency(struct virtio_serial *serial, struct chardev *chr)
{
	pthread_mutex_lock(&serial->emergency_lock);
	serial->emergency = chr;
	pthread_mutex_unlock(&serial->emergency_lock);
}

/* --- ports come and go --- */

static struct virtio_serial *find_serial(const struct serial_port *port, struct error **errp)
{
	struct device *dev;
	size_t len;

	list_for_each(dev, &port->dev.platform->devices, node) {
		if (dev->class->data != &serial_ops)
			continue;
		if (!port->bus)
			return container_of(dev, struct virtio_serial, vdev.dev);
		len = strlen(dev->id);
		if (!strncmp(port->bus, dev->id, len) &&
		    (!port->bus[len] || !strcmp(port->bus + len, ".0")))
			return container_of(dev, struct virtio_serial, vdev.dev);
	}
	if (port->bus)
		error_set(errp, -ENOENT,
			  "bus=%s: there is no such virtio-serial device; it must come before its "
			  "ports",
			  port->bus);
	else
		error_set(errp, -ENOENT,
			  "it needs a virtio-serial-device, which must come before it");
	return NULL;
}

static int choose_nr(struct virtio_serial *serial, struct serial_port *port, struct error **errp)
{
	uint32_t first = serial_port_is_console(port) ? 0 : 1;

	if (port->nr == SERIAL_NR_ANY) {
		for (uint32_t nr = first; nr < serial->max_ports; nr++) {
			if (!serial->slots[nr].port) {
				port->nr = nr;
				return 0;
			}
		}
		return error_set(errp, -ENOSPC, "all %u ports of '%s' are taken%s",
				 serial->max_ports, serial->vdev.dev.id,
				 first ? " (port 0 is for a virtconsole)" : "");
	}
	if (port->nr >= serial->max_ports)
		return error_set(errp, -ERANGE, "nr=%u is out of range [%u, %u] of '%s'", port->nr,
				 first, serial->max_ports - 1, serial->vdev.dev.id);
	if (port->nr < first)
		return error_set(errp, -EINVAL, "nr=0 is reserved for a virtconsole");
	if (serial->slots[port->nr].port)
		return error_set(errp, -EEXIST, "nr=%u is already taken by '%s'", port->nr,
				 serial->slots[port->nr].port->dev.id);
	return 0;
}

static int check_name(const struct virtio_serial *serial, const struct serial_port *port,
		      struct error **errp)
{
	for (uint32_t nr = 0; port->name && nr < serial->max_ports; nr++) {
		const struct serial_port *other = serial->slots[nr].port;

		if (other && other->name && !strcmp(other->name, port->name))
			return error_set(errp, -EEXIST, "name=%s is already the name of '%s'",
					 port->name, other->dev.id);
	}
	return 0;
}

int serial_plug(struct serial_port *port, struct error **errp)
{
	struct virtio_serial *serial = find_serial(port, errp);
	int ret;

	if (!serial)
		return -ENOENT;
	ret = choose_nr(serial, port, errp);
	if (!ret)
		ret = check_name(serial, port, errp);
	if (ret)
		return ret;
	port->serial = serial;
	serial->slots[port->nr].port = port;
	serial->slots[port->nr].pending |= 1u << SERIAL_ADD;
	if (!port->nr) {
		set_emergency(serial, port->chr);
		/* Without MULTIPORT the driver has the port open while it runs. */
		port->guest_open = serial->vdev.queues[0].running && !multiport(serial);
	}
	send_pending(serial);
	return 0;
}

void serial_unplug(struct serial_port *port)
{
	struct virtio_serial *serial = port->serial;
	struct serial_slot *slot;

	if (!serial)
		return;
	slot = &serial->slots[port->nr];
	serial_port_release_buffer(port, &serial->vdev.queues[receive_index(port->nr)]);
	slot->port = NULL;
	slot->pending = slot->added ? 1u << SERIAL_REMOVE : 0;
	port->serial = NULL;
	if (!port->nr)
		set_emergency(serial, NULL);
	send_pending(serial);
	if (serial->vdev.queues[receive_index(port->nr) + 1].running)
		virtio_queue_kick(&serial->vdev.queues[receive_index(port->nr) + 1]);
}

/* --- life --- */

static void serial_start(struct virtio_device *vdev)
{
	struct virtio_serial *serial = to_serial(vdev);

	if (!multiport(serial) && serial->slots[0].port)
		port_open(serial, serial->slots[0].port, true);
}

static void serial_stop(struct virtio_device *vdev, struct virtio_queue *queue)
{
	struct virtio_serial *serial = to_serial(vdev);

	for (uint32_t nr = 0; nr < serial->max_ports; nr++) {
		struct serial_port *port = serial->slots[nr].port;
		struct virtio_queue *receive = &vdev->queues[receive_index(nr)];

		if (!port)
			continue;
		if (!queue || queue == receive)
			serial_port_release_buffer(port, receive);
		if (queue == receive + 1) /* what comes next is another chain */
			port->sent = 0;
	}
}

static void serial_reset(struct virtio_device *vdev)
{
	struct virtio_serial *serial = to_serial(vdev);

	serial->driver_ready = false;
	for (uint32_t nr = 0; nr < serial->max_ports; nr++) {
		struct serial_slot *slot = &serial->slots[nr];

		slot->pending = 0;
		slot->added = false;
		if (!slot->port)
			continue;
		slot->port->guest_open = false;
		slot->port->sent = 0;
	}
	loop_call_schedule(&serial->tell);
}

static int serial_realize(struct virtio_device *vdev, struct error **errp)
{
	struct virtio_serial *serial = to_serial(vdev);
	bool many = serial->max_ports > 1;
	int ret;

	vdev->home = vdev->dev.platform->main_loop;
	vdev->features_offered = F_SIZE | F_EMERG_WRITE | (many ? F_MULTIPORT : 0);
	/* The control queues are there for more than one port only (§5.3.2). */
	ret = virtio_device_add_queues(vdev, many ? 2 * serial->max_ports + 2 : 2, DATA_QUEUE_SIZE,
				       errp);
	if (ret)
		return ret;
	if (many) {
		vdev->queues[CONTROL_RECEIVE].size_max = CONTROL_QUEUE_SIZE;
		vdev->queues[CONTROL_TRANSMIT].size_max = CONTROL_QUEUE_SIZE;
	}
	pthread_mutex_init(&serial->emergency_lock, NULL);
	loop_call_init(&serial->tell, vdev->home, tell_operator);
	set_config(serial);
	return 0;
}

static void serial_unrealize(struct virtio_device *vdev)
{
	struct virtio_serial *serial = to_serial(vdev);

	for (uint32_t nr = 0; nr < serial->max_ports; nr++)
		if (serial->slots[nr].port)
			serial->slots[nr].port->serial = NULL;
	loop_call_cancel(&serial->tell);
	pthread_mutex_destroy(&serial->emergency_lock);
}

#define SERIAL_PROPS \
	PROP_UINT(32, "max_ports", struct virtio_serial, max_ports, 1, SERIAL_PORTS_MAX, \
		  SERIAL_PORTS_MAX, \
		  "ports it has room for; 1: a single console without control queues"), \
	PROP_UINT(32, "max-ports", struct virtio_serial, max_ports, 1, SERIAL_PORTS_MAX, \
		  SERIAL_PORTS_MAX, "the same"), \
	VIRTIO_FEATURE_PROPS(struct virtio_serial)

static const struct property serial_props[] = { SERIAL_PROPS, PROP_END };
static const struct property serial_pci_props[] = { SERIAL_PROPS, VIRTIO_PCI_PROPS(struct virtio_serial), PROP_END };

static const struct virtio_device_ops serial_ops = {
	.device_id = 3,
	.realize = serial_realize,
	.unrealize = serial_unrealize,
	.start = serial_start,
	.stop = serial_stop,
	.reset = serial_reset,
	.handle_queue = serial_handle_queue,
	.write_config = serial_write_config,
};

const struct device_class virtio_serial_mmio_class = {
	.name = "virtio-serial-device",
	.summary = "virtio console: carries virtconsole and virtserialport devices",
	.instance_size = sizeof(struct virtio_serial),
	.props = serial_props,
	.data = &serial_ops,
	VIRTIO_MMIO_CLASS,
};

const struct device_class virtio_serial_pci_class = {
	.name = "virtio-serial-pci",
	.summary = "virtio console: carries virtconsole and virtserialport devices",
	.instance_size = sizeof(struct virtio_serial),
	.props = serial_pci_props,
	.data = &serial_ops,
	VIRTIO_PCI_CLASS,
};
