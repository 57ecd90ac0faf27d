/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking kernels. Main thread. */
#ifndef BOOT_GUNZIP_H
#define BOOT_GUNZIP_H

#include "../file.h"

/* No kernel is larger, unpacked; what a small file can make of itself stays below it. */
#define GUNZIP_MAX (512 * MIB)

/*
 * Replaces @file by what its gzip stream at [offset, offset + len) unpacks to, in memory. -EINVAL when the stream is broken,
 * -EFBIG beyond GUNZIP_MAX; @file is as before then.
 */
int __must_check boot_file_gunzip(struct boot_file *file, uint64_t offset, uint64_t len, struct error **errp);

#endif
