/* SPDX-License-Identifier: Apache-2.0 */
/* The mapping of a RAM back end. Main thread. */
#ifndef MEMORY_RAM_PRIVATE_H
#define MEMORY_RAM_PRIVATE_H

#include "memory/ram.h"

struct ram_mapping {
	struct ram_backend ram;
	void *reserved; /* the reservation around ram.host; NULL once it is joined */
	size_t reserved_size;
	bool joined; /* in a struct ram_area, which outlives it */
};

/* Gives the place of a joined back end back to its area: no rights, no memory. */
void ram_leave(struct ram_mapping *map);

#endif
