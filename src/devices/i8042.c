/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller, for the one thing microvm guests want of it: its reset line. There is no
 * keyboard and no mouse behind it, and drivers should find that out at once.
 *
 * Linux first empties the output buffer, gives up when 16 bytes do not do that ("No controller
 * found"), and that takes a millisecond; anything that looks more alive costs it time-outs of half
 * a second. So after reset the buffer yields more bytes than that. It does end, for those who empty
 * it without counting. The input buffer is always free: Linux waits for that before it asks for a
 * reset.
 */
#define LOG_MODULE "i8042"

#include <pthread.h>

#include "devices/classes.h"
#include "devices/device.h"

#define PORT_DATA 0x60
#define PORT_COMMAND 0x64

#define STATUS_OBF 0x01	    /* a byte to read */
#define STATUS_SYSTEM 0x04  /* the self test has passed */
#define STATUS_COMMAND 0x08 /* the last write was a command */
#define STATUS_UNLOCKED 0x10

#define CMD_READ_CONFIG 0x20
#define CMD_WRITE_CONFIG 0x60
#define CMD_TEST_AUX 0xa9
#define CMD_SELF_TEST 0xaa
#define CMD_TEST_KEYBOARD 0xab
#define CMD_READ_OUTPUT 0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_WRITE_KEYBOARD 0xd2
#define CMD_WRITE_AUX 0xd3
#define CMD_SEND_AUX 0xd4
#define CMD_PULSE 0xf0 /* and up: bits 0-3 cleared are the lines to pulse */

#define OUTPUT_NO_RESET 0x01
#define OUTPUT_A20 0x02

#define CONFIG_SYSTEM 0x04
#define CONFIG_KEYBOARD_OFF 0x10
#define CONFIG_AUX_OFF 0x20

#define TEST_PASSED 0x00
#define TEST_CLOCK_LOW 0x01 /* nothing is plugged in */
#define SELF_TEST_PASSED 0x55

#define STALE_BYTES 32
#define STALE_BYTE 0xff

struct i8042 {
	struct device dev;
	struct io_region data, command;

	pthread_mutex_t lock; /* guards the rest */
	uint8_t config, status;
	uint8_t reply;
	bool has_reply;
	uint8_t awaiting; /* the command whose parameter comes next, or 0 */
	unsigned int stale;
};

static void request_reset(struct i8042 *kbd)
{
	struct platform *platform = kbd->dev.platform;

	platform->request(platform, GUEST_RESET, 0, "guest-reset");
}

static void reply_locked(struct i8042 *kbd, uint8_t byte)
{
	kbd->reply = byte;
	kbd->has_reply = true;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *kbd = opaque;
	uint8_t value = STALE_BYTE;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&kbd->lock);
	if (kbd->has_reply) {
		value = kbd->reply;
		kbd->has_reply = false;
	} else if (kbd->stale) {
		kbd->stale--;
	}
	pthread_mutex_unlock(&kbd->lock);
	return value;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *kbd = opaque;
	bool reset = false;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&kbd->lock);
	kbd->status &= ~STATUS_COMMAND;
	switch (kbd->awaiting) {
	case CMD_WRITE_CONFIG:
		kbd->config = (uint8_t)value;
		break;
	case CMD_WRITE_OUTPUT:
		reset = !(value & OUTPUT_NO_RESET);
		break;
	case CMD_WRITE_KEYBOARD:
		reply_locked(kbd, (uint8_t)value);
		break;
	default: /* to a device that is not there */
		break;
	}
	kbd->awaiting = 0;
	pthread_mutex_unlock(&kbd->lock);
	if (reset)
		request_reset(kbd);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *kbd = opaque;
	uint8_t value;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&kbd->lock);
	value = kbd->status;
	if (kbd->has_reply || kbd->stale)
		value |= STATUS_OBF;
	pthread_mutex_unlock(&kbd->lock);
	return value;
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct i8042 *kbd = opaque;
	bool reset = false;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&kbd->lock);
	kbd->status |= STATUS_COMMAND;
	kbd->awaiting = 0;
	kbd->has_reply = false; /* nobody took the answer to the command before */
	switch (value) {
	case CMD_READ_CONFIG:
		reply_locked(kbd, kbd->config);
		break;
	case CMD_SELF_TEST:
		kbd->status |= STATUS_SYSTEM;
		reply_locked(kbd, SELF_TEST_PASSED);
		break;
	case CMD_TEST_KEYBOARD:
		reply_locked(kbd, TEST_PASSED);
		break;
	case CMD_TEST_AUX:
		reply_locked(kbd, TEST_CLOCK_LOW);
		break;
	case CMD_READ_OUTPUT:
		reply_locked(kbd, OUTPUT_NO_RESET | OUTPUT_A20);
		break;
	case CMD_WRITE_CONFIG:
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_KEYBOARD:
	case CMD_WRITE_AUX:
	case CMD_SEND_AUX:
		kbd->awaiting = (uint8_t)value;
		break;
	default:
		/* Line 0 is the CPU's reset. */
		reset = value >= CMD_PULSE && !(value & 1);
		break;
	}
	pthread_mutex_unlock(&kbd->lock);
	if (reset)
		request_reset(kbd);
}

static const struct io_ops data_ops = {
	.read = data_read,
	.write = data_write,
	.min_size = 1,
	.max_size = 1,
};

static const struct io_ops command_ops = {
	.read = status_read,
	.write = command_write,
	.min_size = 1,
	.max_size = 1,
};

static void i8042_reset(struct device *dev)
{
	struct i8042 *kbd = container_of(dev, struct i8042, dev);

	pthread_mutex_lock(&kbd->lock);
	kbd->config = CONFIG_SYSTEM | CONFIG_KEYBOARD_OFF | CONFIG_AUX_OFF;
	kbd->status = STATUS_UNLOCKED;
	kbd->has_reply = false;
	kbd->awaiting = 0;
	kbd->stale = STALE_BYTES;
	pthread_mutex_unlock(&kbd->lock);
}

static int i8042_realize(struct device *dev, struct error **errp)
{
	struct i8042 *kbd = container_of(dev, struct i8042, dev);
	struct mem_space *space = dev->platform->space;
	int ret;

	/* Port 0x61 between the two belongs to the PIT. */
	kbd->data = (struct io_region){
		.name = "i8042-data",
		.kind = IO_PORT,
		.base = PORT_DATA,
		.size = 1,
		.ops = &data_ops,
		.opaque = kbd,
	};
	kbd->command = (struct io_region){
		.name = "i8042-command",
		.kind = IO_PORT,
		.base = PORT_COMMAND,
		.size = 1,
		.ops = &command_ops,
		.opaque = kbd,
	};
	pthread_mutex_init(&kbd->lock, NULL);
	ret = mem_space_add_io(space, &kbd->data, errp);
	if (ret)
		goto fail;
	ret = mem_space_add_io(space, &kbd->command, errp);
	if (ret)
		goto fail_command;
	return 0;

fail_command:
	mem_space_del_io(space, &kbd->data);
fail:
	pthread_mutex_destroy(&kbd->lock);
	return ret;
}

static void i8042_unrealize(struct device *dev)
{
	struct i8042 *kbd = container_of(dev, struct i8042, dev);

	mem_space_del_io(dev->platform->space, &kbd->command);
	mem_space_del_io(dev->platform->space, &kbd->data);
	pthread_mutex_destroy(&kbd->lock);
}

const struct device_class i8042_class = {
	.name = "i8042",
	.summary = "keyboard controller without a keyboard, for its reset line",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct i8042),
	.realize = i8042_realize,
	.unrealize = i8042_unrealize,
	.reset = i8042_reset,
};
