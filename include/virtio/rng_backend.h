/* SPDX-License-Identifier: Apache-2.0 */
/* "-object rng-random,id=…,filename=…": a character device that random bytes are read from. Main thread. */
#ifndef VIRTIO_RNG_BACKEND_H
#define VIRTIO_RNG_BACKEND_H

#include "config/property.h"

struct rng_backend;

extern const struct property rng_random_props[]; /* on struct rng_backend, for help */

/* Opens the device and adds the back end to @scope under LINK_RNG. Errors name the option. */
int __must_check rng_backend_new(const struct opts *opts, struct link_scope *scope, struct rng_backend **ret,
				 struct error **errp);
void rng_backend_free(struct rng_backend *rng); /* NULL allowed; nobody uses it any more */

/* A descriptor of the caller's own, non-blocking, to read bytes from; -errno. */
int rng_backend_open(const struct rng_backend *rng);
const char *rng_backend_filename(const struct rng_backend *rng);

#endif
