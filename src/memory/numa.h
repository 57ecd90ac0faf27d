/* SPDX-License-Identifier: Apache-2.0 */
/* Where on the host guest memory comes from. */
#ifndef MEMORY_NUMA_H
#define MEMORY_NUMA_H

#include "memory/ram.h"

#define RAM_HOST_NODES_MAX 128U


/* Before a page is touched. Harmless when the configuration says nothing about nodes. Main thread. */
int __must_check ram_bind(struct ram_backend *ram, const struct ram_config *config, struct error **errp);

#endif
