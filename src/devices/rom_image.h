/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes behind a ROM or flash bank, which the guest reads and runs like RAM. Pages come from the file's page cache:
 * virtual machines with the same firmware share them, and what is written is private to this process.
 */
#ifndef DEVICES_ROM_IMAGE_H
#define DEVICES_ROM_IMAGE_H

#include "devices/device.h"

struct rom_image {
	uint8_t *data; /* page aligned */
	uint64_t size; /* whole pages */
	gpa_t base;
	struct accel *accel;
	bool mapped;
};

/* @size bytes of zeros, to be filled by the caller, for guest address @base; not yet the guest's to read. */
int __must_check rom_image_init(struct rom_image *rom, struct accel *accel, gpa_t base, uint64_t size,
				struct error **errp);
void rom_image_release(struct rom_image *rom);

/*
 * On: the guest reads the bytes without an exit and its writes come to the region's handler. Off: reads do, too. The first
 * call is made on the main thread before the vCPUs run, later ones under a lock of the caller. On failure accesses exit.
 */
void rom_image_map(struct rom_image *rom, bool on);

/* For handlers: @size (1 to 8) bytes as a little-endian number. */
uint64_t rom_image_read(const struct rom_image *rom, uint64_t offset, unsigned int size);

#endif
