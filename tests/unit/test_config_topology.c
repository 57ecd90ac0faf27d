// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "config/vm_config.h"
#include "unit.h"

static struct cpu_topology parse(const char *text)
{
	struct cpu_topology topology = { 0 };
	struct error *err = NULL;
	struct opts *opts;

	ck_assert_int_eq(opts_parse("-smp", text, "cpus", &opts, &err), 0);
	ck_assert_int_eq(property_apply(cpu_topology_properties, &topology, opts, NULL, NULL, &err),
			 0);
	opts_free(opts);
	return topology;
}

/* What QEMU 7.2 (q35; virt where there are clusters) makes of the same words. */
static const struct {
	const char *text;
	struct cpu_topology topology;
} worked_out_cases[] = {
	/*    cpus, maxcpus, sockets, dies, clusters, cores, threads */
	{ "", { 1, 1, 1, 1, 1, 1, 1 } },
	{ "8", { 8, 8, 1, 1, 1, 8, 1 } },
	{ "8,maxcpus=16", { 8, 16, 1, 1, 1, 16, 1 } },
	{ "8,maxcpus=0", { 8, 8, 1, 1, 1, 8, 1 } },
	{ "maxcpus=16", { 16, 16, 1, 1, 1, 16, 1 } },
	{ "8,sockets=2", { 8, 8, 2, 1, 1, 4, 1 } },
	{ "8,cores=2", { 8, 8, 4, 1, 1, 2, 1 } },
	{ "8,threads=2", { 8, 8, 1, 1, 1, 4, 2 } },
	{ "8,sockets=2,cores=2", { 8, 8, 2, 1, 1, 2, 2 } },
	{ "8,dies=2", { 8, 8, 1, 2, 1, 4, 1 } },
	{ "8,clusters=4", { 8, 8, 1, 1, 4, 2, 1 } },
	{ "8,dies=2,cores=2", { 8, 8, 2, 2, 1, 2, 1 } },
	{ "cores=4,threads=2", { 8, 8, 1, 1, 1, 4, 2 } },
	{ "sockets=2", { 2, 2, 2, 1, 1, 1, 1 } },
	{ "254", { 254, 254, 1, 1, 1, 254, 1 } },
	{ "4,sockets=4,cores=1,threads=1", { 4, 4, 4, 1, 1, 1, 1 } },
};

START_TEST(worked_out)
{
	for (size_t i = 0; i < ARRAY_SIZE(worked_out_cases); i++) {
		struct cpu_topology got = parse(worked_out_cases[i].text);
		const struct cpu_topology *want = &worked_out_cases[i].topology;
		struct error *err = NULL;

		ck_assert_int_eq(cpu_topology_complete(&got, &err), 0);
		ck_assert_no_error(err);
		ck_assert_msg(memcmp(&got, want, sizeof(got)) == 0, "%s: %u %u %u %u %u %u %u",
			      worked_out_cases[i].text, got.cpus, got.maxcpus, got.sockets,
			      got.dies, got.clusters, got.cores, got.threads);
		/* What is complete stays as it is. */
		ck_assert_int_eq(cpu_topology_complete(&got, &err), 0);
		ck_assert_mem_eq(&got, want, sizeof(got));
	}
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "8,sockets=3",
		  "sockets=3 * dies=1 * clusters=1 * cores=2 * threads=1 make 6 CPUs, "
		  "but maxcpus=8" },
		{ "4,maxcpus=2", "cpus=4 is more than maxcpus=2" },
		{ "1,sockets=2",
		  "sockets=2 * dies=1 * clusters=1 * cores=1 * threads=1 make 2 CPUs, "
		  "but maxcpus=1" },
		{ "2,maxcpus=8,sockets=1,cores=2,threads=2",
		  "sockets=1 * dies=1 * clusters=1 * cores=2 * threads=2 make 4 CPUs, but "
		  "maxcpus=8" },
		{ "sockets=16,cores=16", "sockets=16 * dies=1 * clusters=1 * cores=16 * threads=1 "
					 "make 256 CPUs, at most 254 are possible" },
		{ "254,sockets=254,dies=254,clusters=254,cores=254,threads=254",
		  "sockets=254 * dies=254 * clusters=254 * cores=254 * threads=254 make "
		  "1057227821024 CPUs, "
		  "but maxcpus=254" },
		{ "sockets=254,dies=254,clusters=254,cores=254,threads=254",
		  "sockets=254 * dies=254 * clusters=254 * cores=254 * threads=254 make "
		  "1057227821024 CPUs, "
		  "at most 254 are possible" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_topology topology = parse(cases[i].text), before = topology;
		struct error *err = NULL;

		ck_assert_int_lt(cpu_topology_complete(&topology, &err), 0);
		ck_assert_error(err, cases[i].error);
		ck_assert_mem_eq(&topology, &before, sizeof(before));
	}
}
END_TEST

UNIT_SUITE(suite, "config topology", worked_out, refused)
UNIT_MAIN(suite)
