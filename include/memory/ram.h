/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM back ends: where the guest's bytes live on the host. Anonymous memory, memfd, a file or hugetlbfs;
 * -mem-path, -object memory-backend-{ram,memfd,file}. Made and freed on the main thread.
 */
#ifndef MEMORY_RAM_H
#define MEMORY_RAM_H

#include "config/property.h"
#include "util/error.h"

/* NUMA policies of mbind(2). */
enum ram_policy { RAM_POLICY_DEFAULT, RAM_POLICY_PREFERRED, RAM_POLICY_BIND, RAM_POLICY_INTERLEAVE };

enum ram_kind { RAM_ANONYMOUS, RAM_MEMFD, RAM_FILE };

struct ram_config {
	int kind;          /* enum ram_kind */
	uint64_t size;     /* bytes, a multiple of 4 KiB (of the page size when huge pages are used) */
	char *path;        /* RAM_FILE: a file (created if absent) or a directory (an unlinked file in it) */
	bool share;        /* MAP_SHARED */
	bool prealloc;     /* touch every page before the guest starts */
	uint32_t prealloc_threads; /* 0: as many as CPUs, at most 16 */
	bool dump;         /* false: MADV_DONTDUMP */
	bool hugetlb;         /* memfd: huge pages */
	char *host_nodes;     /* "0-2:5", or NULL; with a policy */
	int policy;           /* enum ram_policy */
	uint64_t hugetlbsize; /* memfd with hugetlb: 2 MiB or 1 GiB; 0: the host's default size */
};

extern const struct property ram_memory_backend_ram_props[];   /* on struct ram_config */
extern const struct property ram_memory_backend_memfd_props[];
extern const struct property ram_memory_backend_file_props[];

struct ram_backend {
	uint8_t *host;      /* mapping of size bytes; page aligned (2 MiB aligned when size ≥ 2 MiB) */
	uint64_t size;
	uint64_t page_size; /* of the backing */
	int fd;             /* -1 for anonymous memory */
	bool shared;
	bool dump;          /* part of core dumps */
	bool prealloc;      /* every page was touched */
	int policy;         /* enum ram_policy */
	uint64_t host_nodes[2]; /* bit n of the whole: host node n; with a policy */
};

/* Errors say which backing, how much was asked for and what is free (huge pages). */
int __must_check ram_backend_new(const struct ram_config *config, struct ram_backend **ret,
				 struct error **errp);
void ram_backend_free(struct ram_backend *ram); /* NULL allowed */

/*
 * Moves the back ends, which nobody has a pointer into yet, side by side in the order given. The area has to outlive them. What
 * cannot be moved (huge pages, on a kernel before 5.16) stays where it is.
 */
struct ram_area;
int __must_check ram_join(struct ram_backend **rams, unsigned int count, struct ram_area **ret, struct error **errp);
void ram_area_free(struct ram_area *area); /* NULL allowed */

/* The words of policy=, by enum ram_policy. */
extern const char *const ram_policy_words[];

#endif
