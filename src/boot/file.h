/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image files: kernels and initrds. Every read is checked against the size, and file contents come
 * into guest RAM by mapping where that is possible. Main thread.
 */
#ifndef BOOT_FILE_H
#define BOOT_FILE_H

#include "memory/space.h"

struct boot_file {
	char *path; /* for messages */
	int fd;
	uint64_t size;
	bool mappable; /* its file system can mmap() */
};

/*
 * Regular, non-empty files only: a pipe cannot be read again at a reset. @what: "kernel",
 * "initrd".
 */
int __must_check boot_file_open(struct boot_file *file, const char *what, const char *path,
				struct error **errp);
void boot_file_close(struct boot_file *file); /* harmless on a zeroed or closed one */

/* -EINVAL "is truncated" when the file does not hold [offset, offset + len). */
int __must_check boot_file_read(const struct boot_file *file, uint64_t offset, void *buf,
				uint64_t len, struct error **errp);

/*
 * Brings [offset, offset + len) of the file to guest address @gpa.
 *
 * Whole pages are mapped privately from the page cache when the guest page and the file page are
 * congruent and the RAM is private anonymous memory: such pages cost no copy, are shared between
 * VMs, and become private when the guest writes to them. Everything else is copied. Doing it again
 * replaces what the guest made of it by the file's contents. The file must keep its contents as
 * long as the VM runs, as with any program that runs from a file: replace kernels by rename, not by
 * writing into them.
 */
int __must_check boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t len,
				struct mem_space *space, gpa_t gpa, struct error **errp);

/*
 * Zeroes guest RAM; pages are given back to the host where that zeroes them. Not for addresses at
 * which boot_file_load() has put something. @file: for messages.
 */
int __must_check boot_file_zero(const struct boot_file *file, uint64_t len, struct mem_space *space,
				gpa_t gpa, struct error **errp);

#endif
