/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives: "-drive id=…,file=…". A drive is an opened image with the way it shall be accessed; requests go
 * through a struct block_engine (block/engine.h). Made and freed on the main thread; one device uses it.
 */
#ifndef BLOCK_DRIVE_H
#define BLOCK_DRIVE_H

#include "block/limits.h"
#include "config/property.h"

struct block_drive;

extern const struct property block_drive_props[]; /* for help */

/*
 * Opens the image, sees to it that nobody has it for himself, and adds the drive to @scope under LINK_DRIVE. Errors name the option and the file. The
 * image's format is what the option says, never what its bytes look like: they are the guest's.
 */
int __must_check block_drive_new(const struct opts *opts, struct link_scope *scope, struct block_drive **ret,
				 struct error **errp);
void block_drive_free(struct block_drive *drive); /* closes and unlocks; NULL allowed */

/* The one user, as the drive knows it. Main thread. */
struct block_drive_user {
	/* The size or the limits are others now. Returns when requests beyond the size are done and the user goes by it. */
	void (*changed)(struct block_drive_user *user);
	const char *(*device_id)(const struct block_drive_user *user);
	bool share; /* others that say the same may write to the image, too; set before block_drive_attach() */
};

/*
 * The user says how small its accesses are (a power of two of at least 512); where the host cannot do
 * direct I/O in such pieces, the drive falls back to the page cache. -EBUSY with the id when somebody else has it, or with the file
 * when another drive or process does. @user: NULL when it wants to hear nothing.
 */
int __must_check block_drive_attach(struct block_drive *drive, uint32_t block_size, struct block_drive_user *user,
				    struct error **errp);
void block_drive_detach(struct block_drive *drive);
const char *block_drive_device(const struct block_drive *drive); /* id of the device that uses it, or NULL */
bool block_drive_in_use(const struct block_drive *drive);

const char *block_drive_id(const struct block_drive *drive);
const char *block_drive_file(const struct block_drive *drive);
uint64_t block_drive_size(const struct block_drive *drive); /* bytes, a multiple of 512 */
bool block_drive_readonly(const struct block_drive *drive);
bool block_drive_discard(const struct block_drive *drive);      /* discard=unmap */
bool block_drive_direct(const struct block_drive *drive);       /* O_DIRECT in effect */
const struct block_limits *block_drive_limits(const struct block_drive *drive); /* those of its group */
const char *block_drive_group(const struct block_drive *drive); /* name of the throttle group, or NULL: no limits */
bool block_drive_ignores_flush(const struct block_drive *drive); /* cache=unsafe */
bool block_drive_writethrough(const struct block_drive *drive);  /* every write is on stable storage when done */
int block_drive_flash_unit(const struct block_drive *drive); /* -drive if=pflash,unit=N; -1: no flash */
const char *block_drive_detect_zeroes(const struct block_drive *drive); /* the word */
uint64_t block_drive_allocated(const struct block_drive *drive); /* bytes that the image occupies, 0: not known */

/* --- When the host fails a request: QEMU's rerror= and werror= --- */

enum block_on_error {
	BLOCK_ON_ERROR_REPORT, /* the guest is told */
	BLOCK_ON_ERROR_IGNORE, /* the guest is told that all is well */
	BLOCK_ON_ERROR_STOP,   /* the guest is told nothing: the VM stops, and "cont" tries again */
	BLOCK_ON_ERROR_ENOSPC, /* stop when the host's disk is full, else report */
	BLOCK_ON_ERROR_AUTO,   /* of a device: as the drive says */
};
extern const char *const block_on_error_words[]; /* all of them, for a device's properties */

/* What is to be done about @error (-errno) of a read or a write (all but reads): REPORT, IGNORE or STOP. */
enum block_on_error block_drive_on_error(const struct block_drive *drive, enum block_on_error device, bool write,
					 int error);

/* Of the last error that stopped the VM. Any thread. */
enum block_io_status { BLOCK_IO_OK, BLOCK_IO_FAILED, BLOCK_IO_NOSPACE };
enum block_io_status block_drive_io_status(const struct block_drive *drive);
void block_drive_set_io_status(struct block_drive *drive, enum block_io_status status);

/*
 * On a drive that may be in use: the limits of throttle group @group, which the drive is in from now on, and so of all
 * drives in it. NULL: the group that it is in, or one of its own. Without any limit it leaves its group as that is. Main
 * thread. -EINVAL, -ERANGE: see block_limits_check().
 */
int __must_check block_drive_set_limits(struct block_drive *drive, const struct block_limits *limits,
					const char *group, struct error **errp);
/*
 * A file gets @size (a multiple of 512); what is cut off is lost. A block device has the size that it has: it is
 * read again, and -EINVAL when it is smaller than @size. -EBUSY: its user has it mapped (block/buffered.h).
 */
int __must_check block_drive_resize(struct block_drive *drive, uint64_t size, struct error **errp);

/* What was done since the drive was made. Any thread. */
enum block_account { BLOCK_ACCOUNT_READ, BLOCK_ACCOUNT_WRITE, BLOCK_ACCOUNT_FLUSH, BLOCK_ACCOUNT_DISCARD };
#define BLOCK_ACCOUNTS 4

struct block_stats {
	uint64_t operations[BLOCK_ACCOUNTS], failed[BLOCK_ACCOUNTS]; /* the former without the latter */
	uint64_t bytes[BLOCK_ACCOUNTS], time_ns[BLOCK_ACCOUNTS];     /* time: of all requests, added up */
	uint64_t highest_write; /* byte behind the farthest write */
};
void block_drive_stats(const struct block_drive *drive, struct block_stats *stats);

#endif
