/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File descriptor helpers. A sandboxed thread may make few different system calls (src/seccomp/rules.c): where the kernel has
 * several for one thing, all of this process use the one that is behind the helpers here.
 */
#ifndef UTIL_FD_H
#define UTIL_FD_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "util/macros.h"

struct pollfd;

/* As read(2), write(2), recv(2) and send(2), with errno; by readv, writev, recvmsg and sendmsg. */
ssize_t fd_read(int fd, void *buf, size_t len);
ssize_t fd_write(int fd, const void *buf, size_t len);
ssize_t fd_recv(int fd, void *buf, size_t len, int flags);
ssize_t fd_send(int fd, const void *buf, size_t len, int flags);

/* As poll(2), of one descriptor or several, by ppoll; @timeout_ms < 0: for ever. */
int fd_poll(int fd, short events, int timeout_ms);
int fds_poll(struct pollfd *fds, unsigned int count, int timeout_ms);

/* As fstat(2), stat(2) and lstat(2), by statx: 0 or -1 with errno. Device numbers, inode, mode, links, owner, size, blocks. */
int fd_stat(int fd, struct stat *ret);
int path_stat(const char *path, struct stat *ret);
int path_lstat(const char *path, struct stat *ret);

/* At most @size - 1 bytes of a small file, and a 0 byte; -errno on failure. */
int __must_check file_read_text(const char *path, char *buf, size_t size);

/* First of all in main(): /dev/null in place of standard streams that are closed, lest a message go into what is opened next. */
void fd_open_standard(void);

/* Here EINTR is retried, and short transfers are continued. */

void fd_close(int *fd); /* closes if >= 0 and stores -1 */
int __must_check fd_set_nonblock(int fd, bool on);

/* Exactly @len bytes or an error; -EIO at a premature end of file. */
int __must_check fd_pread_full(int fd, void *buf, size_t len, off_t offset);
int __must_check fd_pwrite_full(int fd, const void *buf, size_t len, off_t offset);
int __must_check fd_write_full(int fd, const void *buf, size_t len);
/*
 * A client of a listening socket, non-blocking, or -errno: it gave up while it waited; or, with *@exhausted, there are no
 * descriptors or no memory left and it still waits, so that the listener would be ready again at once.
 */
int __must_check fd_accept(int listener, bool *exhausted);

int eventfd_new(void);         /* non-blocking, close-on-exec; -errno on failure */
void eventfd_signal(int fd);   /* adds 1; any thread, async-signal-safe */
bool eventfd_consume(int fd);  /* true when it had been signalled */

#endif
