/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptor helpers. EINTR is retried, short transfers are continued. */
#ifndef UTIL_FD_H
#define UTIL_FD_H

#include <sys/types.h>

#include "util/macros.h"

void fd_close(int *fd); /* closes if >= 0 and stores -1 */
int __must_check fd_set_nonblock(int fd, bool on);

/* Exactly @len bytes or an error; -EIO at a premature end of file. */
int __must_check fd_pread_full(int fd, void *buf, size_t len, off_t offset);
int __must_check fd_pwrite_full(int fd, const void *buf, size_t len, off_t offset);
int __must_check fd_write_full(int fd, const void *buf, size_t len);

int eventfd_new(void);         /* non-blocking, close-on-exec; -errno on failure */
void eventfd_signal(int fd);   /* adds 1; any thread, async-signal-safe */
bool eventfd_consume(int fd);  /* true when it had been signalled */

#endif
