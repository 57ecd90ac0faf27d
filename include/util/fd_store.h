/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that a management program passed to this process: by name (QMP getfd, used once by
 * netdev_add and the like) and in numbered sets (QMP add-fd; opened as "/dev/fdset/N" any number of
 * times). One store a process. Main thread, but for fd_open().
 */
#ifndef UTIL_FD_STORE_H
#define UTIL_FD_STORE_H

#include <sys/types.h>

#include "util/error.h"

/* Bounds what a client can make this process hold. */
#define FD_STORE_MAX 256

/* --- by name --- */

/*
 * Takes @fd over on success; a descriptor of the same name is closed. @owner: see fd_store_drop().
 * -EMFILE when FD_STORE_MAX are held.
 */
int __must_check fd_store_put(const char *name, int fd, const void *owner, struct error **errp);
/* The descriptor, which is the caller's from now on; -ENOENT. */
int fd_store_take(const char *name);
/* Closes all that @owner put and nobody took. */
void fd_store_drop(const void *owner);

/* --- in sets --- */

/* @set: -1 for a new set, whose number is stored there. Takes @fd over on success. @opaque may be
 * NULL. */
int __must_check fd_set_add(int64_t *set, int fd, const char *opaque, struct error **errp);
/* Closes @fd of the set, or all of it with -1. -ENOENT. */
int fd_set_remove(int64_t set, int fd);
/* Calls @fn for every descriptor, sets in ascending order. */
void fd_set_each(void (*fn)(void *arg, int64_t set, int fd, const char *opaque), void *arg);

/*
 * open(), close-on-exec, that also knows "/dev/fdset/N": a duplicate of a member that has the
 * access mode of @flags. The descriptor or -errno. Any thread.
 */
int fd_open(const char *path, int flags, mode_t mode);

/* Closes everything, at the end. */
void fd_store_clear(void);

#endif
