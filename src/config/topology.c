// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "config/vm_config.h"

#define TOPOLOGY_PROP(name, help)                                                                  \
	PROP_UINT(32, #name, struct cpu_topology, name, 1, VM_CPUS_MAX, 0, help)

const struct property cpu_topology_properties[] = {
	TOPOLOGY_PROP(cpus, "CPUs that are there at start (maxcpus)"),
	PROP_UINT(32, "maxcpus", struct cpu_topology, maxcpus, 0, VM_CPUS_MAX, 0,
		  "CPUs that can be there; 0: as many as cpus, or the product of the rest"),
	TOPOLOGY_PROP(sockets, "sockets (1, or what the cores leave)"),
	TOPOLOGY_PROP(dies, "dies a socket (1)"),
	TOPOLOGY_PROP(clusters, "clusters a die (1)"),
	TOPOLOGY_PROP(cores, "cores a cluster (what makes maxcpus)"),
	TOPOLOGY_PROP(threads, "threads a core (1)"),
	PROP_END,
};

/* What of @maxcpus is left beside @product others: at least 1, so that a product that is too big
 * shows as such. */
static uint32_t rest(uint64_t maxcpus, uint64_t product)
{
	return (uint32_t)MAX(maxcpus / product, (uint64_t)1);
}

int cpu_topology_complete(struct cpu_topology *topology, struct error **errp)
{
	struct cpu_topology t = *topology;
	uint64_t product;

	t.dies = MAX(t.dies, 1u);
	t.clusters = MAX(t.clusters, 1u);
	if (!t.maxcpus)
		t.maxcpus = t.cpus;
	if (!t.maxcpus) {
		t.sockets = MAX(t.sockets, 1u);
		t.cores = MAX(t.cores, 1u);
		t.threads = MAX(t.threads, 1u);
	} else if (!t.cores) {
		t.sockets = MAX(t.sockets, 1u);
		t.threads = MAX(t.threads, 1u);
		t.cores = rest(t.maxcpus, (uint64_t)t.sockets * t.dies * t.clusters * t.threads);
	} else if (!t.sockets) {
		t.threads = MAX(t.threads, 1u);
		t.sockets = rest(t.maxcpus, (uint64_t)t.dies * t.clusters * t.cores * t.threads);
	}
	if (!t.threads)
		t.threads = rest(t.maxcpus, (uint64_t)t.sockets * t.dies * t.clusters * t.cores);

	/* Each is at most 254: five of them fit 64 bits. */
	product = (uint64_t)t.sockets * t.dies * t.clusters * t.cores * t.threads;
	if (!t.maxcpus && product > VM_CPUS_MAX)
		return error_set(errp, -ERANGE,
				 "sockets=%u * dies=%u * clusters=%u * cores=%u * threads=%u "
				 "make %llu CPUs, at most %d are possible",
				 t.sockets, t.dies, t.clusters, t.cores, t.threads,
				 (unsigned long long)product, VM_CPUS_MAX);
	if (!t.maxcpus)
		t.maxcpus = (uint32_t)product;
	if (!t.cpus)
		t.cpus = t.maxcpus;
	if (t.cpus > t.maxcpus)
		return error_set(errp, -EINVAL, "cpus=%u is more than maxcpus=%u", t.cpus,
				 t.maxcpus);
	if (product != t.maxcpus)
		return error_set(errp, -EINVAL,
				 "sockets=%u * dies=%u * clusters=%u * cores=%u * threads=%u "
				 "make %llu CPUs, but maxcpus=%u",
				 t.sockets, t.dies, t.clusters, t.cores, t.threads,
				 (unsigned long long)product, t.maxcpus);
	*topology = t;
	return 0;
}
