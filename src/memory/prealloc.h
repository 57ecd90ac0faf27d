/* SPDX-License-Identifier: Apache-2.0 */
/* Touching every page of a RAM backing before the guest starts. */
#ifndef MEMORY_PREALLOC_H
#define MEMORY_PREALLOC_H

#include "memory/ram.h"

/*
 * Gives every page of @ram host memory, by @threads threads (0: as many as CPUs, at most 16).
 * Contents stay.
 * @what names the backing in the error.
 */
int __must_check ram_prealloc(const struct ram_backend *ram, uint32_t threads, const char *what,
			      struct error **errp);

/* Sets the error "cannot @verb 4G of @what", with what the pool of huge pages has; returns @code. */
int ram_no_room(const struct ram_backend *ram, int code, const char *verb, const char *what,
		struct error **errp);

/* Pages of @page_size the kernel's pool has free, -1 when there is no such pool. */
int64_t ram_hugepages_free(uint64_t page_size);

#endif
