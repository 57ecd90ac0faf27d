// SPDX-License-Identifier: Apache-2.0
/*
 * -numa, as QEMU has it: "node" makes a node with CPUs and memory, "cpu" puts CPUs into a node by their place in the topology,
 * "dist" says how far two nodes are apart. What is not said is worked out once everything is read; a description that leaves a
 * question open is refused.
 */
#define LOG_MODULE "machine"

#include "numa.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"

#define NODE_NONE UINT32_MAX
#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20
#define DISTANCE_UNKNOWN 0

static const char *const option_skip[] = { "type", NULL };

struct node_options {
	uint32_t nodeid;
	char *cpus;
	uint64_t mem;
	struct ram_backend *memdev;
};

static const struct property node_props[] = {
	PROP_UINT(32, "nodeid", struct node_options, nodeid, 0, ACPI_NUMA_NODES_MAX - 1, NODE_NONE,
		  "number of the node; left out: the first that is free"),
	PROP_STRING("cpus", struct node_options, cpus, 1, 4095, NULL, "its CPUs, as 0-3:8"),
	PROP_SIZE("mem", struct node_options, mem, MIB, 0, VM_MEMORY_MAX, 0,
		  "how much of the guest's memory is its; 0: none, or that of memdev"),
	PROP_LINK("memdev", struct node_options, memdev, LINK_MEMORY, 0, "its memory, a memory-backend object"),
	PROP_END,
};

struct dist_options {
	uint32_t src, dst, val;
};

static const struct property dist_props[] = {
	PROP_UINT(32, "src", struct dist_options, src, 0, ACPI_NUMA_NODES_MAX - 1, 0, "from this node"),
	PROP_UINT(32, "dst", struct dist_options, dst, 0, ACPI_NUMA_NODES_MAX - 1, 0, "to that one"),
	PROP_UINT(32, "val", struct dist_options, val, DISTANCE_LOCAL, 255, DISTANCE_REMOTE,
		  "10: no way at all; 20: twice as far"),
	PROP_END,
};

struct cpu_options {
	uint32_t node, id[5];
};

/* From the outermost level in. */
#define PROP_LEVEL(name, level) \
	PROP_UINT(32, name, struct cpu_options, id[level], 0, VM_CPUS_MAX, NODE_NONE, "only CPUs of this")
static const struct property cpu_props[] = {
	PROP_UINT(32, "node-id", struct cpu_options, node, 0, ACPI_NUMA_NODES_MAX - 1, 0, "the node"),
	PROP_LEVEL("socket-id", 0), PROP_LEVEL("die-id", 1), PROP_LEVEL("cluster-id", 2),
	PROP_LEVEL("core-id", 3), PROP_LEVEL("thread-id", 4), PROP_END,
};

/* An error about @opts: "-numa node,nodeid=0,cpus=9: " in front. */
static int prefixed(const struct opts *opts, int ret, struct error **errp)
{
	char *name = opts_describe(opts);

	error_prefix(errp, "%s: ", name);
	free(name);
	return ret;
}

/* --- CPUs --- */

static int put_cpu(struct machine *machine, unsigned int cpu, unsigned int node, struct error **errp)
{
	unsigned int *to = &machine->numa->cpu_node[cpu];

	if (*to != NODE_NONE && *to != node)
		return error_set(errp, -EEXIST, "CPU %u is in node %u already, it cannot be in node %u, too", cpu, *to, node);
	*to = node;
	return 0;
}

static int put_cpus(struct machine *machine, const char *cpus, unsigned int node, struct error **errp)
{
	unsigned int max = machine->topology.maxcpus;
	cpu_set_t set;
	int ret;

	if (parse_cpus(cpus, &set))
		return error_set(errp, -EINVAL, "cpus=%s is not of the form 0-3:8", cpus);
	for (unsigned int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		if (i >= max)
			return error_set(errp, -ERANGE, "cpus=%s: CPU %u is out of range [0, %u]", cpus, i, max - 1);
		ret = put_cpu(machine, i, node, errp);
		if (ret)
			return ret;
	}
	return 0;
}

/* The ids of CPU @index, by level. */
static void cpu_place(const struct vcpu_topology *t, unsigned int index, uint32_t id[5])
{
	const uint32_t counts[5] = { t->sockets, t->dies, t->clusters, t->cores, t->threads };

	for (unsigned int i = 5; i--; index /= counts[i])
		id[i] = index % counts[i];
}

static int read_cpu(struct machine *machine, const struct opts *opts, struct error **errp)
{
	struct machine_numa *numa = machine->numa;
	struct cpu_options options = { 0 };
	unsigned int matching = 0;
	int ret;

	ret = property_apply(cpu_props, &options, opts, option_skip, NULL, errp);
	if (ret)
		return ret;
	if (!opts_get(opts, "node-id"))
		return prefixed(opts, error_set(errp, -EINVAL, "'node-id' is required"), errp);
	if (!numa->nodes[options.node].present)
		return prefixed(opts, error_set(errp, -ENOENT, "there is no node %u", options.node), errp);
	for (unsigned int cpu = 0; cpu < machine->topology.maxcpus; cpu++) {
		uint32_t id[5];
		bool match = true;

		cpu_place(&machine->topology, cpu, id);
		for (unsigned int i = 0; i < ARRAY_SIZE(id); i++)
			match &= options.id[i] == NODE_NONE || options.id[i] == id[i];
		if (!match)
			continue;
		matching++;
		ret = put_cpu(machine, cpu, options.node, errp);
		if (ret)
			return prefixed(opts, ret, errp);
	}
	if (!matching)
		return prefixed(opts, error_set(errp, -ENOENT, "no CPU is there; query-hotpluggable-cpus lists the places"), errp);
	return 0;
}

/*
 * As QEMU: when no CPU was put anywhere, sockets go to nodes in turn; what was forgotten goes to node 0.
 */
static void settle_cpus(struct machine *machine)
{
	struct machine_numa *numa = machine->numa;
	unsigned int unset = 0, max = machine->topology.maxcpus;

	for (unsigned int i = 0; i < max; i++)
		unset += numa->cpu_node[i] == NODE_NONE;
	for (unsigned int i = 0; i < max; i++) {
		uint32_t id[5];

		if (numa->cpu_node[i] != NODE_NONE)
			continue;
		cpu_place(&machine->topology, i, id);
		numa->cpu_node[i] = unset == max ? id[0] % numa->count : 0;
	}
	if (unset && unset < max)
		log_warn("-numa: %u CPU%s in no node and belong%s to node 0", unset, unset == 1 ? " is" : "s are",
			 unset == 1 ? "s" : "");
}

/* --- nodes and memory --- */

static const char *memdev_user(const struct machine_numa *numa, const struct ram_backend *memdev)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(numa->nodes); i++)
		if (numa->nodes[i].memdev == memdev)
			return numa->nodes[i].memdev_id;
	return NULL;
}

static int add_node(struct machine *machine, const struct opts *opts, const struct node_options *options,
		    struct error **errp)
{
	struct machine_numa *numa = machine->numa;
	unsigned int id = options->nodeid;
	struct numa_node *node;

	for (unsigned int i = 0; id == NODE_NONE && i < ARRAY_SIZE(numa->nodes); i++)
		if (!numa->nodes[i].present)
			id = i;
	if (id == NODE_NONE)
		return error_set(errp, -E2BIG, "at most %d nodes are possible", ACPI_NUMA_NODES_MAX);
	node = &numa->nodes[id];
	if (node->present)
		return error_set(errp, -EEXIST, "nodeid=%u is given twice", id);
	if (options->memdev && opts_get(opts, "mem"))
		return error_set(errp, -EINVAL, "mem and memdev exclude each other");
	if (options->memdev && memdev_user(numa, options->memdev))
		return error_set(errp, -EBUSY, "memdev=%s is another node's memory already", opts_get(opts, "memdev"));
	if (!IS_ALIGNED(options->mem, MIB))
		return error_set(errp, -EINVAL, "mem=%s is not a multiple of 1M", opts_get(opts, "mem"));
	node->present = true;
	node->memdev = options->memdev;
	node->memdev_id = opts_get(opts, "memdev");
	node->size = options->memdev ? options->memdev->size : options->mem;
	numa->count++;
	numa->memdevs |= options->memdev != NULL;
	return options->cpus ? put_cpus(machine, options->cpus, id, errp) : 0;
}

static int read_node(struct machine *machine, const struct opts *opts, struct error **errp)
{
	struct node_options options = { 0 };
	int ret;

	ret = property_apply(node_props, &options, opts, option_skip, machine->platform.links, errp);
	if (ret)
		return ret;
	ret = add_node(machine, opts, &options, errp);
	property_release(node_props, &options);
	return ret ? prefixed(opts, ret, errp) : 0;
}

static int check_nodes(const struct machine *machine, struct error **errp)
{
	const struct machine_numa *numa = machine->numa;
	char have[24], want[24];
	uint64_t sum = 0;

	for (unsigned int i = 0; i < numa->count; i++) {
		const struct numa_node *node = &numa->nodes[i];

		if (!node->present)
			return error_set(errp, -EINVAL, "-numa: node %u is missing: %u nodes have the numbers 0 to %u", i,
					 numa->count, numa->count - 1);
		if (numa->memdevs && node->size && !node->memdev)
			return error_set(errp, -EINVAL, "-numa node,nodeid=%u: mem= does not go with the memdev= of other nodes", i);
		sum += node->size;
	}
	if (sum != machine->config->memory_size)
		return error_set(errp, -EINVAL, "-numa: the nodes have %s of memory together, -m says %s",
				 format_size(sum, have), format_size(machine->config->memory_size, want));
	if (!numa->memdevs)
		return 0;
	if (machine->memory_backend)
		return error_set(errp, -EINVAL, "-machine memory-backend= and -numa node,memdev= exclude each other");
	if (machine->config->mem_path || machine->config->mem_prealloc || machine->mem_share)
		return error_set(errp, -EINVAL, "%s does not go with -numa node,memdev=: it is a property of the objects",
				 machine->config->mem_path     ? "-mem-path" :
				 machine->config->mem_prealloc ? "-mem-prealloc" :
								 "-machine mem-share=on");
	return 0;
}

/* --- distances --- */

static uint8_t *distance(struct machine_numa *numa, unsigned int from, unsigned int to)
{
	return &numa->distances[from * numa->count + to];
}

static int read_distance(struct machine *machine, const struct opts *opts, struct error **errp)
{
	struct machine_numa *numa = machine->numa;
	struct dist_options options = { 0 };
	int ret;

	ret = property_apply(dist_props, &options, opts, option_skip, NULL, errp);
	if (ret)
		return ret;
	for (const struct property *prop = dist_props; prop->name; prop++)
		if (!opts_get(opts, prop->name))
			return prefixed(opts, error_set(errp, -EINVAL, "'%s' is required", prop->name), errp);
	if (options.src >= numa->count || options.dst >= numa->count)
		return prefixed(opts, error_set(errp, -ENOENT, "there is no node %u", MAX(options.src, options.dst)), errp);
	if ((options.src == options.dst) != (options.val == DISTANCE_LOCAL))
		return prefixed(opts,
				error_set(errp, -ERANGE, "val=%u is out of range: %s", options.val,
					  options.src == options.dst ? "a node is 10 from itself" :
								       "[11, 255] between two nodes"),
				errp);
	if (!numa->distances)
		numa->distances = xcalloc(numa->count, numa->count);
	*distance(numa, options.src, options.dst) = (uint8_t)options.val;
	return 0;
}

/* One direction stands for both; but where any two directions differ, all have to be said. */
static int settle_distances(struct machine_numa *numa, struct error **errp)
{
	bool asymmetric = false;

	if (!numa->distances)
		return 0;
	for (unsigned int i = 0; i < numa->count; i++) {
		*distance(numa, i, i) = DISTANCE_LOCAL;
		for (unsigned int j = 0; j < i; j++) {
			uint8_t to = *distance(numa, i, j), back = *distance(numa, j, i);

			if (to == DISTANCE_UNKNOWN && back == DISTANCE_UNKNOWN)
				return error_set(errp, -EINVAL, "-numa dist,src=%u,dst=%u: missing: with one distance, all are needed",
						 j, i);
			asymmetric |= to != DISTANCE_UNKNOWN && back != DISTANCE_UNKNOWN && to != back;
		}
	}
	for (unsigned int i = 0; i < numa->count; i++) {
		for (unsigned int j = 0; j < numa->count; j++) {
			if (*distance(numa, i, j) != DISTANCE_UNKNOWN)
				continue;
			if (asymmetric)
				return error_set(errp, -EINVAL,
						 "-numa dist,src=%u,dst=%u: missing: two nodes are not as far there as back, so all "
						 "directions are needed",
						 i, j);
			*distance(numa, i, j) = *distance(numa, j, i);
		}
	}
	return 0;
}

/* --- the whole --- */

static const struct {
	const char *name;
	int (*read)(struct machine *machine, const struct opts *opts, struct error **errp);
} kinds[] = { { "node", read_node }, { "cpu", read_cpu }, { "dist", read_distance } };

/* All of one kind: what refers to nodes may stand before them. */
static int read_kind(struct machine *machine, unsigned int kind, struct error **errp)
{
	struct opts *opts;
	int ret;

	list_for_each(opts, &machine->config->numas, node) {
		if (strcmp(opts_get(opts, "type"), kinds[kind].name))
			continue;
		ret = kinds[kind].read(machine, opts, errp);
		if (ret)
			return ret;
	}
	return 0;
}

static int check_kinds(const struct machine *machine, struct error **errp)
{
	struct opts *opts;

	list_for_each(opts, &machine->config->numas, node) {
		const char *type = opts_get(opts, "type");
		unsigned int i = 0;

		while (type && i < ARRAY_SIZE(kinds) && strcmp(type, kinds[i].name))
			i++;
		if (!type || i == ARRAY_SIZE(kinds))
			return prefixed(opts, error_set(errp, -EINVAL, "one of node, cpu, dist has to come first"), errp);
	}
	return 0;
}

int numa_create(struct machine *machine, struct error **errp)
{
	struct machine_numa *numa;
	int ret;

	if (list_empty(&machine->config->numas))
		return 0;
	numa = machine->numa = xcalloc(1, sizeof(*numa));
	numa->cpu_node = xcalloc(machine->topology.maxcpus, sizeof(*numa->cpu_node));
	for (unsigned int i = 0; i < machine->topology.maxcpus; i++)
		numa->cpu_node[i] = NODE_NONE;
	ret = check_kinds(machine, errp);
	if (!ret)
		ret = read_kind(machine, 0, errp);
	if (!ret && !numa->count)
		return error_set(errp, -EINVAL, "-numa: cpu and dist are about nodes, and there is no -numa node");
	if (!ret)
		ret = check_nodes(machine, errp);
	for (unsigned int kind = 1; !ret && kind < ARRAY_SIZE(kinds); kind++)
		ret = read_kind(machine, kind, errp);
	if (!ret)
		ret = settle_distances(numa, errp);
	if (!ret)
		settle_cpus(machine);
	return ret;
}

void numa_free(struct machine_numa *numa)
{
	if (!numa)
		return;
	free(numa->cpu_node);
	free(numa->distances);
	free(numa->memory);
	free(numa);
}

void numa_note_memory(struct machine_numa *numa, gpa_t base, uint64_t offset, uint64_t size)
{
	uint64_t begin = 0;

	for (unsigned int i = 0; i < numa->count; begin += numa->nodes[i++].size) {
		uint64_t from = MAX(begin, offset), to = MIN(begin + numa->nodes[i].size, offset + size);

		if (from >= to)
			continue;
		numa->memory = xrealloc(numa->memory, (numa->memory_count + 1) * sizeof(*numa->memory));
		numa->memory[numa->memory_count++] = (struct acpi_numa_memory){
			.base = base + (from - offset),
			.size = to - from,
			.node = i,
		};
	}
	numa->acpi = (struct acpi_numa){
		.nodes = numa->count,
		.memory = numa->memory,
		.memory_count = numa->memory_count,
		.cpu_node = numa->cpu_node,
		.distances = numa->distances,
	};
}

const struct acpi_numa *numa_tables(const struct machine *machine)
{
	return machine->numa ? &machine->numa->acpi : NULL;
}

unsigned int machine_numa_nodes(const struct machine *machine)
{
	return machine->numa ? machine->numa->count : 0;
}

uint64_t machine_numa_memory(const struct machine *machine, unsigned int node)
{
	return machine->numa->nodes[node].size;
}

unsigned int machine_cpu_node(const struct machine *machine, unsigned int cpu)
{
	return machine->numa ? machine->numa->cpu_node[cpu] : 0;
}
