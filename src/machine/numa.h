/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's NUMA nodes (-numa): which CPUs and which memory belong together, and how far apart they are. Main thread. */
#ifndef MACHINE_NUMA_H
#define MACHINE_NUMA_H

#include "internal.h"

struct numa_node {
	bool present;
	uint64_t size;              /* bytes of memory, 0 = none */
	struct ram_backend *memdev; /* NULL: a part of the guest's one back end */
	const char *memdev_id;
};

struct machine_numa {
	unsigned int count; /* nodes 0 … count - 1 are there */
	struct numa_node nodes[ACPI_NUMA_NODES_MAX];
	bool memdevs;           /* memory is made of memdevs, in the order of nodes */
	unsigned int *cpu_node; /* [maxcpus] */
	uint8_t *distances;     /* as struct acpi_numa has them */
	struct acpi_numa_memory *memory;
	unsigned int memory_count;
	struct acpi_numa acpi; /* the above, for the tables */
};

/* Reads -numa. machine->numa stays NULL without nodes. After objects and machine properties, before guest memory. */
int __must_check numa_create(struct machine *machine, struct error **errp);
void numa_free(struct machine_numa *numa); /* NULL allowed */

/* Notes whose memory [offset, offset + size) of the guest's RAM is, which begins at @base. */
void numa_note_memory(struct machine_numa *numa, gpa_t base, uint64_t offset, uint64_t size);

/* For the builders of tables; NULL without nodes. */
const struct acpi_numa *numa_tables(const struct machine *machine);

#endif
