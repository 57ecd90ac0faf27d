/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the host's NUMA nodes guest memory comes from (mbind(2), without libnuma). */
#include "numa.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/parse.h"

#define WORD_BITS (8 * sizeof(unsigned long))

const char *const ram_policy_words[] = { "default", "preferred", "bind", "interleave", NULL };

static const int modes[] = {
	[RAM_POLICY_DEFAULT] = MPOL_DEFAULT,
	[RAM_POLICY_PREFERRED] = MPOL_PREFERRED,
	[RAM_POLICY_BIND] = MPOL_BIND,
	[RAM_POLICY_INTERLEAVE] = MPOL_INTERLEAVE,
};

static int read_nodes(const char *text, unsigned long *mask, struct error **errp)
{
	cpu_set_t set; /* numbers in the same form */
	int ret;

	ret = parse_cpus(text, &set);
	if (ret)
		return error_set(errp, -EINVAL, "host-nodes=%s is not of the form 0-2:5", text);
	for (unsigned int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		if (i >= RAM_HOST_NODES_MAX)
			return error_set(errp, -ERANGE, "host-nodes=%s: node %u is out of range [0, %u]", text, i,
					 RAM_HOST_NODES_MAX - 1);
		mask[i / WORD_BITS] |= 1UL << (i % WORD_BITS);
	}
	return 0;
}

int ram_bind(struct ram_backend *ram, const struct ram_config *config, struct error **errp)
{
	unsigned long mask[RAM_HOST_NODES_MAX / WORD_BITS] = { 0 };
	const char *policy = ram_policy_words[config->policy];
	int ret;

	if (!config->host_nodes && config->policy == RAM_POLICY_DEFAULT)
		return 0;
	if (!config->host_nodes)
		return error_set(errp, -EINVAL, "policy=%s needs host-nodes", policy);
	if (config->policy == RAM_POLICY_DEFAULT)
		return error_set(errp, -EINVAL, "host-nodes needs a policy: preferred, bind or interleave");
	ret = read_nodes(config->host_nodes, mask, errp);
	if (ret)
		return ret;
	/* The kernel reads one bit less than it is told. Pages that a file has already are moved. */
	if (syscall(SYS_mbind, ram->host, ram->size, modes[config->policy], mask, (unsigned long)RAM_HOST_NODES_MAX + 1,
		    MPOL_MF_STRICT | MPOL_MF_MOVE))
		return error_set_errno(errp, -errno, "host-nodes=%s,policy=%s", config->host_nodes, policy);
	for (unsigned int i = 0; i < RAM_HOST_NODES_MAX; i++)
		if (mask[i / WORD_BITS] & 1UL << (i % WORD_BITS))
			ram->host_nodes[i / 64] |= 1ULL << (i % 64);
	return 0;
}
