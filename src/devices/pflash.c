/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "cfi.pflash01": a bank of NOR flash with Intel's command set (JEDEC JESD68.01 "CFI", command set 0x0001 of JEP137),
 * where firmware and its variables are.
 *
 * While the bank shows its array the guest reads and runs it like RAM; any write is a command, comes here, and takes the
 * array out of the guest's sight until it asks for it again. Where the command set leaves room, it is as QEMU's, to which
 * OVMF and AAVMF are written: a cleared status register reads as 0 until the next operation has been done, and
 * programming stores the bytes as they are, also where real flash could not set a bit.
 *
 * What is programmed is in memory at once and goes to the drive from the main loop, block by block: vCPU threads do no
 * I/O. Stopping, resetting and ending the VM wait for it.
 */
#define LOG_MODULE "pflash"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "block/buffered.h"
#include "devices/classes.h"
#include "rom_image.h"
#include "util/alloc.h"
#include "util/log.h"

/* Commands: the low byte of what is written. */
enum {
	CMD_NONE = 0x00, /* the array is shown */
	CMD_PROGRAM_ALT = 0x10,
	CMD_ERASE = 0x20,
	CMD_PROGRAM = 0x40,
	CMD_CLEAR_STATUS = 0x50,
	CMD_LOCK = 0x60,
	CMD_READ_STATUS = 0x70,
	CMD_READ_ID = 0x90,
	CMD_QUERY = 0x98,
	CMD_CONFIRM = 0xd0,
	CMD_BUFFERED = 0xe8,
	CMD_READ_ARRAY = 0xff,
};

/* Status register */
#define SR_READY 0x80
#define SR_ERASE_ERROR 0x20
#define SR_PROGRAM_ERROR 0x10
#define SR_LOCKED 0x02
#define SR_SEQUENCE_ERROR (SR_ERASE_ERROR | SR_PROGRAM_ERROR)

/* Word addresses of CMD_READ_ID, the last one within each block. */
#define ID_MANUFACTURER 0
#define ID_DEVICE 1
#define ID_BLOCK_LOCK 2
#define MANUFACTURER_INTEL 0x89
#define DEVICE_CODE 0x18

#define CFI_SIZE 0x52
#define BUFFER_LOG2 8 /* bytes of the write buffer of a chip of eight bits; the others have 2 KiB */
#define BUFFER_LOG2_WIDE 11
#define BUFFER_MAX 4096

struct pflash {
	struct device dev;
	uint64_t base, size, sector;
	uint8_t width;        /* of the bank, bytes */
	uint8_t device_width; /* of each of the chips side by side in it */
	struct block_drive *drive;

	struct io_region region;
	struct log_limit limit;
	struct loop_call write_back; /* main loop */
	bool readonly;
	uint64_t file_size; /* of the image; the bank is zeros behind it and cannot be programmed there */
	uint32_t buffer_size;
	uint8_t cfi[CFI_SIZE];
	struct rom_image rom; /* data and mapping are under the lock, the rest is constant */

	pthread_mutex_t lock; /* guards the rest */
	uint8_t command;
	uint8_t cycle; /* writes of the command so far */
	uint8_t status;
	bool *dirty; /* blocks that are not in the drive yet */
	uint32_t dirty_count, dirty_next; /* of them; where to look for the next one */
	uint32_t words_left;	   /* BUFFERED */
	bool buffer_used;
	uint64_t buffer_at;
	uint8_t buffer[BUFFER_MAX];
};

/* --- contents --------------------------------------------------------------------------- */

/* A turn of the main loop writes this many blocks, and lets others have theirs. */
#define WRITE_BACK_BLOCKS 16

static void host_failed_locked(struct pflash *flash, uint64_t offset, int error)
{
	log_warn_limited(&flash->limit, "%s: drive '%s' does not take what was written at 0x%" PRIx64 ": %s",
			 flash->dev.id, block_drive_id(flash->drive), offset, strerror(-error));
	flash->status |= SR_PROGRAM_ERROR;
}

static void mark_dirty_locked(struct pflash *flash, uint64_t offset, uint64_t len)
{
	uint64_t first = offset / flash->sector, last = (offset + len - 1) / flash->sector;

	for (uint64_t block = first; block <= last; block++) {
		flash->dirty_count += !flash->dirty[block];
		flash->dirty[block] = true;
	}
	loop_call_schedule(&flash->write_back);
}

/* Main thread. At most @max blocks; those that fail are not tried again: memory and drive differ then, and the guest is told. */
static void write_back_locked(struct pflash *flash, uint32_t max)
{
	uint32_t blocks = (uint32_t)(flash->size / flash->sector);

	while (flash->dirty_count && max--) {
		uint64_t offset, len;
		int ret;

		while (!flash->dirty[flash->dirty_next])
			flash->dirty_next = (flash->dirty_next + 1) % blocks;
		flash->dirty[flash->dirty_next] = false;
		flash->dirty_count--;
		offset = flash->dirty_next * flash->sector;
		len = MIN(flash->sector, flash->file_size - offset);
		ret = block_buffered_write(flash->drive, offset, flash->rom.data + offset, len);
		if (ret)
			host_failed_locked(flash, offset, ret);
	}
}

static void write_back_some(struct loop_call *call)
{
	struct pflash *flash = container_of(call, struct pflash, write_back);

	pthread_mutex_lock(&flash->lock);
	write_back_locked(flash, WRITE_BACK_BLOCKS);
	if (flash->dirty_count)
		loop_call_schedule(&flash->write_back);
	pthread_mutex_unlock(&flash->lock);
}

static bool writable(const struct pflash *flash, uint64_t offset, uint64_t len)
{
	return !flash->readonly && offset <= flash->file_size && len <= flash->file_size - offset;
}

/* [offset, offset + len) lies in the bank. Sets the status. */
static void program_locked(struct pflash *flash, uint64_t offset, const void *data, uint64_t len)
{
	flash->status |= SR_READY;
	if (!writable(flash, offset, len)) {
		flash->status |= SR_PROGRAM_ERROR | SR_LOCKED;
		return;
	}
	memcpy(flash->rom.data + offset, data, len);
	mark_dirty_locked(flash, offset, len);
}

static void erase_locked(struct pflash *flash, uint64_t offset)
{
	offset = ALIGN_DOWN(offset, flash->sector);
	flash->status |= SR_READY;
	if (!writable(flash, offset, flash->sector)) {
		flash->status |= SR_ERASE_ERROR | SR_LOCKED;
		return;
	}
	memset(flash->rom.data + offset, 0xff, flash->sector);
	mark_dirty_locked(flash, offset, flash->sector);
}

/* --- commands ------------------------------------------------------------------------------ */

static void show_array_locked(struct pflash *flash)
{
	flash->command = CMD_NONE;
	flash->cycle = 0;
	rom_image_map(&flash->rom, true);
}

/* The command is over; its status is shown. */
static void show_status_locked(struct pflash *flash)
{
	flash->command = CMD_READ_STATUS;
	flash->cycle = 0;
}

static void sequence_error_locked(struct pflash *flash)
{
	flash->status |= SR_READY | SR_SEQUENCE_ERROR;
	show_status_locked(flash);
}

static void first_cycle_locked(struct pflash *flash, uint8_t command)
{
	switch (command) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
	case CMD_ERASE:
	case CMD_LOCK:
	case CMD_BUFFERED:
		flash->cycle = 1;
		break;
	case CMD_READ_STATUS:
	case CMD_READ_ID:
	case CMD_QUERY:
		break;
	case CMD_CLEAR_STATUS:
		flash->status = 0;
		show_array_locked(flash);
		return;
	default:
		log_debug("%s: command 0x%02x is none of ours", flash->dev.id, command);
		__attribute__((fallthrough));
	case CMD_NONE:
	case CMD_READ_ARRAY:
		show_array_locked(flash);
		return;
	}
	if (command == CMD_BUFFERED)
		flash->status |= SR_READY; /* the buffer is free */
	flash->command = command;
	rom_image_map(&flash->rom, false);
}

/* The number of words less one comes first, then the words, then the confirmation. */
static void buffered_locked(struct pflash *flash, uint64_t offset, uint64_t value, unsigned int size)
{
	unsigned int chip_bits = 8 * flash->device_width;

	if (flash->cycle == 1) {
		flash->words_left = (uint32_t)(value & ((1u << chip_bits) - 1)) + 1;
		flash->buffer_used = false;
		if (flash->words_left > flash->buffer_size / flash->width)
			sequence_error_locked(flash);
		else
			flash->cycle = 2;
		return;
	}
	if (flash->cycle == 3) {
		if ((uint8_t)value == CMD_CONFIRM) {
			program_locked(flash, flash->buffer_at, flash->buffer, flash->buffer_size);
			show_status_locked(flash);
		} else {
			sequence_error_locked(flash);
		}
		return;
	}
	if (!flash->buffer_used) {
		flash->buffer_used = true;
		flash->buffer_at = ALIGN_DOWN(offset, (uint64_t)flash->buffer_size);
		memcpy(flash->buffer, flash->rom.data + flash->buffer_at, flash->buffer_size);
	}
	if (offset - flash->buffer_at >= flash->buffer_size) {
		sequence_error_locked(flash);
		return;
	}
	memcpy(flash->buffer + (offset - flash->buffer_at), &value, size);
	if (!--flash->words_left)
		flash->cycle = 3;
}

static void next_cycle_locked(struct pflash *flash, uint64_t offset, uint64_t value, unsigned int size)
{
	uint8_t byte = (uint8_t)value;

	switch (flash->command) {
	case CMD_PROGRAM:
	case CMD_PROGRAM_ALT:
		program_locked(flash, offset, &value, size);
		show_status_locked(flash);
		break;
	case CMD_ERASE:
		if (byte == CMD_CONFIRM) {
			erase_locked(flash, offset);
			show_status_locked(flash);
		} else {
			sequence_error_locked(flash);
		}
		break;
	case CMD_LOCK: /* blocks are locked as the drive is: these succeed and change nothing */
		if (byte == CMD_CONFIRM || byte == 0x01 || byte == 0x2f) {
			flash->status |= SR_READY;
			show_status_locked(flash);
		} else if (byte == CMD_READ_ARRAY) {
			show_array_locked(flash);
		} else {
			sequence_error_locked(flash);
		}
		break;
	default:
		buffered_locked(flash, offset, value, size);
		break;
	}
}

/* --- registers ------------------------------------------------------------------------------ */

/* What one chip says at the bank's word @word. */
static uint16_t chip_word(const struct pflash *flash, uint64_t word)
{
	switch (flash->command) {
	case CMD_READ_ID:
		if (word == ID_MANUFACTURER)
			return MANUFACTURER_INTEL;
		if (word == ID_DEVICE)
			return DEVICE_CODE;
		return word % (flash->sector / flash->width) == ID_BLOCK_LOCK ? flash->readonly : 0;
	case CMD_QUERY:
		return word < CFI_SIZE ? flash->cfi[word] : 0;
	default:
		return flash->status;
	}
}

static uint64_t pflash_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pflash *flash = opaque;
	uint64_t value = 0;

	pthread_mutex_lock(&flash->lock);
	if (flash->command == CMD_NONE) {
		value = rom_image_read(&flash->rom, offset, size);
	} else {
		for (unsigned int i = 0; i < size; i++) {
			uint16_t word = chip_word(flash, (offset + i) / flash->width);
			unsigned int lane = (offset + i) % flash->device_width;
			uint64_t byte = lane < 2 ? word >> (8 * lane) & 0xff : 0;

			value |= byte << (8 * i);
		}
	}
	pthread_mutex_unlock(&flash->lock);
	return value;
}

static void pflash_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct pflash *flash = opaque;

	pthread_mutex_lock(&flash->lock);
	if (flash->cycle)
		next_cycle_locked(flash, offset, value, size);
	else
		first_cycle_locked(flash, (uint8_t)value);
	pthread_mutex_unlock(&flash->lock);
}

static const struct io_ops pflash_ops = {
	.read = pflash_read,
	.write = pflash_write,
	.min_size = 1,
	.max_size = 8,
};

/* --- device ------------------------------------------------------------------------------------ */

static unsigned int log2_of(uint64_t value)
{
	return 63 - (unsigned int)__builtin_clzll(value);
}

/* The query table of one chip: JESD68.01 tables 1 to 4, then Intel's own. Times are 2^n µs or ms. */
static void fill_cfi(struct pflash *flash)
{
	unsigned int chips = flash->width / flash->device_width;
	uint32_t blocks = (uint32_t)(flash->size / flash->sector) - 1;
	uint32_t block_size = (uint32_t)(flash->sector / chips / 256);
	const uint8_t head[] = {
		'Q', 'R', 'Y',
		0x01, 0x00, /* command set */
		0x31, 0x00, /* its table */
		0x00, 0x00, 0x00, 0x00,
		0x45, 0x55, 0x00, 0x00, /* 4.5 V to 5.5 V, no Vpp */
		0x07, 0x07, 0x0a, 0x00, /* word, buffer, block erase; no chip erase */
		0x04, 0x04, 0x04, 0x00, /* how much longer at most */
		(uint8_t)log2_of(flash->size / chips),
		0x02, 0x00, /* 8 and 16 bits */
		(uint8_t)log2_of(flash->buffer_size / chips), 0x00,
		0x01, /* region of equal blocks: number less one, size in units of 256 bytes */
		(uint8_t)blocks, (uint8_t)(blocks >> 8), (uint8_t)block_size, (uint8_t)(block_size >> 8),
	};
	const uint8_t own[] = { 'P', 'R', 'I', '1', '0' };

	memcpy(&flash->cfi[0x10], head, sizeof(head));
	memcpy(&flash->cfi[0x31], own, sizeof(own));
	flash->cfi[0x3f] = 0x01; /* protection fields */
}

static int check_geometry(struct pflash *flash, struct error **errp)
{
	uint64_t image = block_drive_size(flash->drive);

	if (!flash->size)
		flash->size = image;
	if (image > flash->size)
		return error_set(errp, -EINVAL, "file '%s' has %" PRIu64 " bytes, the bank has room for %" PRIu64,
				 block_drive_file(flash->drive), image, flash->size);
	if (flash->size % flash->sector || flash->size / flash->sector > 0x10000)
		return error_set(errp, -EINVAL,
				 "file '%s': %" PRIu64 " bytes are not a whole number of blocks of %" PRIu64 " bytes",
				 block_drive_file(flash->drive), flash->size, flash->sector);
	if (flash->device_width > flash->width || flash->sector < BUFFER_MAX)
		return error_set(errp, -EINVAL, "this geometry is impossible");
	return 0;
}

static int load_image(struct pflash *flash, struct error **errp)
{
	int ret;

	flash->readonly = block_drive_readonly(flash->drive);
	flash->file_size = block_drive_size(flash->drive);
	ret = block_buffered_map(flash->drive, flash->rom.data, flash->file_size);
	if (ret)
		ret = block_buffered_read(flash->drive, 0, flash->rom.data, flash->file_size);
	return ret ? error_set_errno(errp, ret, "file '%s' cannot be read", block_drive_file(flash->drive)) : 0;
}

/* The reset line: the array is shown. */
static void pflash_reset(struct device *dev)
{
	struct pflash *flash = container_of(dev, struct pflash, dev);

	pthread_mutex_lock(&flash->lock);
	show_array_locked(flash);
	flash->status = SR_READY;
	pthread_mutex_unlock(&flash->lock);
}

/* "stop", and before the end: whoever copies the image then has everything. Main thread. */
static void pflash_quiesce(struct device *dev)
{
	struct pflash *flash = container_of(dev, struct pflash, dev);

	pthread_mutex_lock(&flash->lock);
	write_back_locked(flash, UINT32_MAX);
	pthread_mutex_unlock(&flash->lock);
}

static int pflash_realize(struct device *dev, struct error **errp)
{
	struct pflash *flash = container_of(dev, struct pflash, dev);
	unsigned int chips;
	int ret;

	ret = check_geometry(flash, errp);
	if (ret)
		return ret;
	chips = flash->width / flash->device_width;
	flash->buffer_size = flash->device_width == 1 ? chips << BUFFER_LOG2 : chips << BUFFER_LOG2_WIDE;
	fill_cfi(flash);
	ret = block_buffered_attach(flash->drive, NULL, errp);
	if (ret)
		return ret;
	ret = rom_image_init(&flash->rom, dev->platform->accel, flash->base, flash->size, errp);
	if (!ret)
		ret = load_image(flash, errp);
	flash->region = (struct io_region){
		.name = "pflash",
		.kind = IO_MMIO,
		.base = flash->base,
		.size = flash->size,
		.ops = &pflash_ops,
		.opaque = flash,
	};
	if (!ret)
		ret = mem_space_add_io(dev->platform->space, &flash->region, errp);
	if (ret) {
		rom_image_release(&flash->rom);
		block_drive_detach(flash->drive);
		return ret;
	}
	pthread_mutex_init(&flash->lock, NULL);
	loop_call_init(&flash->write_back, dev->platform->main_loop, write_back_some);
	flash->dirty = xcalloc(flash->size / flash->sector, sizeof(*flash->dirty));
	rom_image_map(&flash->rom, true);
	return 0;
}

static void pflash_unrealize(struct device *dev)
{
	struct pflash *flash = container_of(dev, struct pflash, dev);

	mem_space_del_io(dev->platform->space, &flash->region);
	loop_call_cancel(&flash->write_back);
	pflash_quiesce(dev);
	rom_image_release(&flash->rom);
	block_drive_detach(flash->drive);
	free(flash->dirty);
	pthread_mutex_destroy(&flash->lock);
}

static const struct property pflash_props[] = {
	PROP_LINK("drive", struct pflash, drive, LINK_DRIVE, PROPERTY_REQUIRED, "drive with the contents"),
	PROP_UINT(64, "base", struct pflash, base, 0, UINT64_MAX, 0, "guest address"),
	PROP_SIZE("size", struct pflash, size, 1, 0, GIB, 0, "of the bank; 0: as large as the drive"),
	PROP_SIZE("sector-length", struct pflash, sector, 1, 4 * KIB, MIB, 4 * KIB, "of a block"),
	PROP_POW2(8, "width", struct pflash, width, 1, 4, 1, "of the bank, bytes"),
	PROP_POW2(8, "device-width", struct pflash, device_width, 1, 2, 1, "of each chip in it, bytes"),
	PROP_END,
};

const struct device_class pflash_class = {
	.name = "cfi.pflash01",
	.summary = "NOR flash with firmware or its variables",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct pflash),
	.props = pflash_props,
	.realize = pflash_realize,
	.unrealize = pflash_unrealize,
	.reset = pflash_reset,
	.quiesce = pflash_quiesce,
};
