/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives: "-drive id=…,file=…". A drive is an opened and locked image with the way it shall be accessed; requests go
 * through a struct block_engine (block/engine.h). Made and freed on the main thread; one device uses it.
 */
#ifndef BLOCK_DRIVE_H
#define BLOCK_DRIVE_H

#include "config/property.h"

struct block_drive;

extern const struct property block_drive_props[]; /* for help */

/*
 * Opens and locks the image and adds the drive to @scope under LINK_DRIVE. Errors name the option and the file. The
 * image's format is what the option says, never what its bytes look like: they are the guest's.
 */
int __must_check block_drive_new(const struct opts *opts, struct link_scope *scope, struct block_drive **ret,
				 struct error **errp);
void block_drive_free(struct block_drive *drive); /* closes and unlocks; NULL allowed */

/*
 * The one user says how small its accesses are (a power of two of at least 512); where the host cannot do
 * direct I/O in such pieces, the drive falls back to the page cache. -EBUSY with the id when somebody else has it.
 */
int __must_check block_drive_attach(struct block_drive *drive, uint32_t block_size, struct error **errp);
void block_drive_detach(struct block_drive *drive);

const char *block_drive_id(const struct block_drive *drive);
const char *block_drive_file(const struct block_drive *drive);
uint64_t block_drive_size(const struct block_drive *drive); /* bytes, a multiple of 512 */
bool block_drive_readonly(const struct block_drive *drive);
bool block_drive_discard(const struct block_drive *drive);      /* discard=unmap */
bool block_drive_direct(const struct block_drive *drive);       /* O_DIRECT in effect */
uint32_t block_drive_iops(const struct block_drive *drive);     /* throttling.iops-total, 0: no limit */

#endif
