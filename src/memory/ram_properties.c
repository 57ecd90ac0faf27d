/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What -object memory-backend-ram, -memfd and -file take: the names that QEMU and libvirt use.
 * Which kind it is the caller knows from the object's type, so that struct ram_config.kind is not
 * among them.
 */
#include "memory/ram.h"

#include "numa.h"

/* 64 TiB: beyond any host, below anything that could wrap. */
#define SIZE_MAX_BYTES (64 * TIB)

#define PROP_RAM_SIZE                                                                              \
	{                                                                                          \
		.name = "size", .help = "bytes of memory, a multiple of the page size",            \
		.type = PROPERTY_SIZE, .flags = PROPERTY_REQUIRED,                                 \
		.offset = offsetof(struct ram_config, size), .min = 4 * KIB,                       \
		.max = SIZE_MAX_BYTES, .unit = 1,                                                  \
	}
#define PROP_RAM_PREALLOC                                                                          \
	PROP_BOOL("prealloc", struct ram_config, prealloc, 0,                                      \
		  "give every page host memory before the guest starts")
#define PROP_RAM_THREADS                                                                           \
	PROP_UINT(32, "prealloc-threads", struct ram_config, prealloc_threads, 0, 16, 0,           \
		  "threads that preallocate; 0: as many as CPUs, at most 16")
#define PROP_RAM_DUMP                                                                              \
	PROP_BOOL("dump", struct ram_config, dump, 1, "make the memory part of core dumps")
#define PROP_RAM_SHARE(dflt)                                                                       \
	PROP_BOOL("share", struct ram_config, share, dflt,                                         \
		  "map it shared, for processes that are given its descriptor")
#define PROP_RAM_NUMA                                                                              \
	PROP_STRING("host-nodes", struct ram_config, host_nodes, 1, 255, NULL,                     \
		    "the host's NUMA nodes that it comes from, as 0-2:5; with policy"),            \
		PROP_ENUM("policy", struct ram_config, policy, ram_policy_words, RAM_POLICY_DEFAULT, \
			  "how the nodes are used; with host-nodes")
/* libvirt sets it so that migration between its versions finds the same block names. */
#define PROP_RAM_CANONICAL                                                                         \
	PROP_IGNORED("x-use-canonical-path-for-ramblock-id", "accepted for libvirt, no effect")

const struct property ram_memory_backend_ram_props[] = {
	PROP_RAM_SIZE, PROP_RAM_SHARE(0),  PROP_RAM_PREALLOC, PROP_RAM_THREADS,
	PROP_RAM_DUMP, PROP_RAM_NUMA, PROP_RAM_CANONICAL, PROP_END,
};

const struct property ram_memory_backend_memfd_props[] = {
	PROP_RAM_SIZE,
	PROP_RAM_SHARE(1),
	PROP_RAM_PREALLOC,
	PROP_RAM_THREADS,
	PROP_RAM_DUMP,
	PROP_BOOL("hugetlb", struct ram_config, hugetlb, 0, "use huge pages"),
	{
		.name = "hugetlbsize",
		.help = "size of the huge pages, 2M or 1G; 0: the host's default",
		.type = PROPERTY_SIZE,
		.offset = offsetof(struct ram_config, hugetlbsize),
		.max = GIB,
		.unit = 1,
	},
	PROP_RAM_NUMA,
	PROP_RAM_CANONICAL,
	PROP_END,
};

const struct property ram_memory_backend_file_props[] = {
	PROP_RAM_SIZE,
	{
		.name = "mem-path",
		.help = "a file (created if absent), or a directory for a nameless file in it",
		.type = PROPERTY_STRING,
		.flags = PROPERTY_REQUIRED,
		.offset = offsetof(struct ram_config, path),
		.min = 1,
		.max = 4095,
	},
	PROP_RAM_SHARE(0),
	PROP_RAM_PREALLOC,
	PROP_RAM_THREADS,
	PROP_RAM_DUMP,
	PROP_RAM_NUMA,
	PROP_RAM_CANONICAL,
	PROP_END,
};
