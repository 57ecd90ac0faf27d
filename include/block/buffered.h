/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A drive for a device that keeps the image in memory and seldom writes: synchronous accesses through the page cache, no
 * engine and no queue. Attaching and detaching on the main thread, accesses on one thread at a time.
 */
#ifndef BLOCK_BUFFERED_H
#define BLOCK_BUFFERED_H

#include "block/drive.h"

/* As block_drive_attach(); also ends direct I/O. */
int __must_check block_buffered_attach(struct block_drive *drive, struct block_drive_user *user, struct error **errp);

/*
 * The first @size bytes of the image, mapped at @at (page aligned, with room for whole pages), private to this process:
 * what is written there does not reach the image. The image must not be made smaller while it is mapped. -ENODEV: it
 * cannot be mapped; read it.
 */
int __must_check block_buffered_map(const struct block_drive *drive, void *at, uint64_t size);
/* The range lies in the drive. 0 or -errno. */
int __must_check block_buffered_read(const struct block_drive *drive, uint64_t offset, void *to, uint64_t len);
int __must_check block_buffered_write(struct block_drive *drive, uint64_t offset, const void *from, uint64_t len);

#endif
