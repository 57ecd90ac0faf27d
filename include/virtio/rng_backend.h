/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where random bytes come from. Main thread, unless said otherwise.
 *
 *   -object rng-builtin,id=…               the host's kernel: getrandom()
 *   -object rng-random,id=…,filename=…     a character device, a FIFO or a file, whose bytes are given once and not again
 */
#ifndef VIRTIO_RNG_BACKEND_H
#define VIRTIO_RNG_BACKEND_H

#include <sys/types.h>
#include <sys/uio.h>

#include "config/property.h"

struct rng_backend;

extern const struct property rng_random_props[]; /* on struct rng_backend, for help */

/* As @opts' "qom-type" says. Opens the device and adds the back end to @scope under LINK_RNG. Errors name the option. */
int __must_check rng_backend_new(const struct opts *opts, struct link_scope *scope, struct rng_backend **ret,
				 struct error **errp);
void rng_backend_free(struct rng_backend *rng); /* NULL allowed; nobody uses it any more */

/* A descriptor of the caller's own, non-blocking, to read bytes from; *ret is -1 when none is needed. */
int __must_check rng_backend_open(const struct rng_backend *rng, int *ret);
/* Fills @iov in part or in whole: as readv() of that descriptor, but -errno for an error. The caller's thread. */
ssize_t rng_backend_read(const struct rng_backend *rng, int fd, const struct iovec *iov, unsigned int count);
const char *rng_backend_filename(const struct rng_backend *rng); /* for messages */

#endif
