/* SPDX-License-Identifier: Apache-2.0 */
/* From -smp to APIC ids and to the CPUID leaves that tell the topology. */
#include <errno.h>
#include <string.h>

#include "cpu/x86_64/kvm_x86.h"
#include "unit.h"

static struct kvm_cpuid2 *table;

static void leaf(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
		 uint32_t edx)
{
	table->entries[table->nent++] = (struct kvm_cpuid_entry2){
		.function = function,
		.index = index,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
		.edx = edx,
		.flags = function == 4 || function == 0xb || function == 0x8000001d
				 ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX
				 : 0,
	};
}

static void leaf_text(uint32_t function, const char *text)
{
	uint32_t r[4];

	memcpy(r, text, sizeof(r));
	leaf(function, 0, r[0], r[1], r[2], r[3]);
}

/* What KVM supports on a host with 8 cores of 2 threads: all of it is the host's topology. */
static void host_table(bool amd)
{
	free(table);
	table = calloc(1, sizeof(*table) + CPUID_ENTRIES_MAX * sizeof(table->entries[0]));
	if (amd)
		leaf(0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65);
	else
		leaf(0, 0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69);
	leaf(1, 0, 0x000806f8, 0x05100800, 0xfffab203, 0x1f8bfbff);
	if (!amd) {
		leaf(4, 0, 0xfc004121, 0x01c0003f, 0x3f, 0);  /* L1D: 2 threads */
		leaf(4, 2, 0xfc01c163, 0x03c0003f, 0x3ff, 4); /* L3: 8 */
		leaf(4, 3, 0, 0, 0, 0);
	}
	leaf(0xa, 0, 0x07300404, 0, 0, 0x603);
	leaf(0xb, 0, 1, 2, 0x100, 5);
	leaf(0xb, 1, 4, 16, 0x201, 5);
	leaf_text(0x80000002, "AMD or Intel CPU");
	leaf(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	leaf(0x80000000, 0, amd ? 0x80000021 : 0x80000008, 0, 0, 0);
	leaf(0x80000001, 0, 0, 0, amd ? 0x01c00003 : 0x121, 0);
	leaf(0x80000008, 0, 0x3030, 0, amd ? 0x400f : 0, 0);
	if (amd) {
		leaf(0x8000001d, 0, 0x4121, 0x01c0003f, 0x3f, 0);
		leaf(0x8000001d, 3, 0x3c163, 0x03c0003f, 0x7fff, 1);
		leaf(0x8000001e, 0, 5, 0x102, 0, 0);
	}
}

static const struct kvm_cpuid_entry2 *get(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *entry = cpuid_find(table, function, index);

	ck_assert_msg(entry, "leaf %x.%x is missing", function, index);
	return entry;
}

static void build(const struct vcpu_topology *topology, uint32_t tsc_khz)
{
	struct cpuid_config config = { topology, tsc_khz, true };

	ck_assert_int_eq(cpuid_build(table, &config), 0);
}

START_TEST(apic_ids_of_powers_of_two)
{
	static const struct vcpu_topology topology = { 16, 16, 2, 1, 1, 4, 2 };

	for (unsigned int i = 0; i < 16; i++)
		ck_assert_uint_eq(vcpu_arch_id(&topology, i), i);
}
END_TEST

START_TEST(apic_ids_have_gaps)
{
	/* 3 cores need 2 bits, 3 dies 2 bits: socket at bit 5. */
	static const struct vcpu_topology topology = { 36, 36, 2, 3, 1, 3, 2 };

	ck_assert_uint_eq(vcpu_arch_id(&topology, 0), 0);
	ck_assert_uint_eq(vcpu_arch_id(&topology, 1), 1);
	ck_assert_uint_eq(vcpu_arch_id(&topology, 5), 2 << 1 | 1); /* core 2, thread 1 */
	ck_assert_uint_eq(vcpu_arch_id(&topology, 6), 1 << 3);	   /* die 1 */
	ck_assert_uint_eq(vcpu_arch_id(&topology, 12), 2 << 3);
	ck_assert_uint_eq(vcpu_arch_id(&topology, 18), 1 << 5); /* socket 1 */
	ck_assert_uint_eq(vcpu_arch_id(&topology, 35), 1 << 5 | 2 << 3 | 2 << 1 | 1);
}
END_TEST

START_TEST(apic_ids_with_clusters_are_unique)
{
	static const struct vcpu_topology topology = { 240, 240, 2, 2, 4, 5, 3 };
	bool seen[4096] = { false };

	for (unsigned int i = 0; i < 240; i++) {
		uint64_t id = vcpu_arch_id(&topology, i);

		ck_assert_uint_lt(id, 4096);
		ck_assert(!seen[id]);
		seen[id] = true;
	}
}
END_TEST

START_TEST(one_cpu)
{
	static const struct vcpu_topology topology = { 1, 1, 1, 1, 1, 1, 1 };

	host_table(false);
	build(&topology, 0);
	cpuid_set_vcpu(table, &topology, 0);
	ck_assert_uint_eq(get(1, 0)->ebx, 0x00000800); /* no id, no count; CLFLUSH size kept */
	ck_assert_uint_eq(get(1, 0)->edx & 1u << 28, 0);
	ck_assert_uint_eq(get(1, 0)->ecx >> 31, 1);
	ck_assert_uint_eq(get(1, 0)->ecx >> 24 & 1, 1); /* TSC deadline timer */
	ck_assert_uint_eq(get(1, 0)->ecx >> 21 & 1, 1); /* x2APIC */
	ck_assert_uint_eq(get(1, 0)->ecx >> 15 & 1, 0); /* no PERF_CAPABILITIES */
	ck_assert_uint_eq(get(0xb, 0)->eax, 0);
	ck_assert_uint_eq(get(0xb, 0)->ebx, 1);
	ck_assert_uint_eq(get(0xb, 1)->ebx, 1);
	ck_assert_uint_eq(get(4, 0)->eax, 0x00000121);
	ck_assert_ptr_null(cpuid_find(table, 0xa, 0));
	ck_assert_ptr_null(cpuid_find(table, 0x1f, 0));
	/* The frequency is not known: no leaf rather than a false one. */
	ck_assert_ptr_null(cpuid_find(table, 0x15, 0));
	ck_assert_uint_eq(get(0x40000000, 0)->eax, 0x40000001);
}
END_TEST

START_TEST(intel_topology)
{
	static const struct vcpu_topology topology = { 12, 12, 2, 1, 1, 3, 2 };

	host_table(false);
	build(&topology, 0);
	cpuid_set_vcpu(table, &topology, 11);
	/* Socket 1, core 2, thread 1: 1 << 3 | 2 << 1 | 1. */
	ck_assert_uint_eq(get(1, 0)->ebx >> 24, 13);
	ck_assert_uint_eq(get(1, 0)->ebx >> 16 & 0xff, 6);
	ck_assert_uint_eq(get(1, 0)->edx >> 28 & 1, 1);
	ck_assert_uint_eq(get(0xb, 0)->eax, 1);
	ck_assert_uint_eq(get(0xb, 0)->ebx, 2);
	ck_assert_uint_eq(get(0xb, 0)->ecx, 0x100);
	ck_assert_uint_eq(get(0xb, 1)->eax, 3);
	ck_assert_uint_eq(get(0xb, 1)->ebx, 6);
	ck_assert_uint_eq(get(0xb, 1)->ecx, 0x201);
	ck_assert_uint_eq(get(0xb, 2)->ecx, 2);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(get(0xb, i)->edx, 13);
	/* L1: the core's 2 ids; L3: the package's 8; 4 core ids in the package. */
	ck_assert_uint_eq(get(4, 0)->eax >> 14 & 0xfff, 1);
	ck_assert_uint_eq(get(4, 2)->eax >> 14 & 0xfff, 7);
	ck_assert_uint_eq(get(4, 0)->eax >> 26, 3);
	ck_assert_uint_eq(get(4, 0)->eax & 0x3fff, 0x121);
}
END_TEST

START_TEST(intel_dies_and_clusters)
{
	static const struct vcpu_topology topology = { 16, 16, 1, 2, 2, 2, 2 };

	host_table(false);
	build(&topology, 0);
	cpuid_set_vcpu(table, &topology, 15);
	ck_assert_uint_ge(get(0, 0)->eax, 0x1f);
	ck_assert_uint_eq(get(0x1f, 0)->ecx, 0x100);
	ck_assert_uint_eq(get(0x1f, 0)->eax, 1);
	ck_assert_uint_eq(get(0x1f, 1)->ecx, 0x201);
	ck_assert_uint_eq(get(0x1f, 1)->eax, 2);
	ck_assert_uint_eq(get(0x1f, 2)->ecx, 0x302); /* module */
	ck_assert_uint_eq(get(0x1f, 2)->eax, 3);
	ck_assert_uint_eq(get(0x1f, 3)->ecx, 0x503); /* die */
	ck_assert_uint_eq(get(0x1f, 3)->eax, 4);
	ck_assert_uint_eq(get(0x1f, 3)->ebx, 16);
	ck_assert_uint_eq(get(0x1f, 4)->ecx, 4);
	ck_assert_uint_eq(get(0x1f, 4)->edx, 15);
	/* To leaf 0xb all that is within the package is cores. */
	ck_assert_uint_eq(get(0xb, 1)->eax, 4);
	ck_assert_uint_eq(get(0xb, 1)->ebx, 16);
	/* L3 belongs to a die. */
	ck_assert_uint_eq(get(4, 2)->eax >> 14 & 0xfff, 7);
}
END_TEST

START_TEST(amd_topology)
{
	static const struct vcpu_topology topology = { 24, 24, 2, 2, 1, 3, 2 };

	host_table(true);
	build(&topology, 0);
	cpuid_set_vcpu(table, &topology, 23);
	ck_assert_ptr_null(cpuid_find(table, 0x1f, 0));
	/* 12 threads a package, ids of 4 bits: thread 1, core 2, die 1. */
	ck_assert_uint_eq(get(0x80000008, 0)->ecx, 0x400b);
	ck_assert_uint_eq(get(0x80000001, 0)->ecx & 2, 2);
	ck_assert_uint_eq(get(0x80000001, 0)->ecx >> 23 & 3, 0); /* no counters */
	ck_assert_uint_eq(get(0x8000001e, 0)->eax, 16 + 8 + 4 + 1);
	ck_assert_uint_eq(get(0x8000001e, 0)->ebx, 0x102);
	ck_assert_uint_eq(get(0x8000001e, 0)->ecx, 0x103); /* node 3, two nodes a package */
	ck_assert_uint_eq(get(0x8000001d, 0)->eax >> 14 & 0xfff, 1);
	ck_assert_uint_eq(get(0x8000001d, 3)->eax >> 14 & 0xfff, 7);
	/* Core of another die and socket. */
	cpuid_set_vcpu(table, &topology, 2);
	ck_assert_uint_eq(get(0x8000001e, 0)->ebx, 0x101);
	ck_assert_uint_eq(get(0x8000001e, 0)->ecx, 0x100);
}
END_TEST

START_TEST(frequencies)
{
	static const struct vcpu_topology topology = { 1, 1, 1, 1, 1, 1, 1 };
	const struct kvm_cpuid_entry2 *entry;

	host_table(false);
	build(&topology, 2596130);
	entry = get(0x15, 0);
	ck_assert_uint_eq((uint64_t)entry->ecx * entry->ebx / entry->eax, 2596130000ULL);
	ck_assert_uint_eq(entry->ecx, 1000000000); /* KVM's APIC timer */
	ck_assert_uint_eq(get(0x40000010, 0)->eax, 2596130);
	ck_assert_uint_eq(get(0x40000010, 0)->ebx, 1000000);
	ck_assert_uint_eq(get(0x40000000, 0)->eax, 0x40000010);

	host_table(true);
	build(&topology, 2596130);
	ck_assert_ptr_null(cpuid_find(table, 0x15, 0)); /* not AMD's */
	ck_assert_uint_eq(get(0x40000010, 0)->eax, 2596130);
}
END_TEST

START_TEST(patching_again_leaves_no_trace)
{
	static const struct vcpu_topology topology = { 8, 8, 1, 1, 1, 4, 2 };
	struct kvm_cpuid2 *first;
	size_t size;

	host_table(true);
	build(&topology, 2000000);
	size = sizeof(*table) + table->nent * sizeof(table->entries[0]);
	first = malloc(size);
	cpuid_set_vcpu(table, &topology, 0);
	memcpy(first, table, size);
	cpuid_set_vcpu(table, &topology, 7);
	ck_assert_mem_ne(first, table, size);
	cpuid_set_vcpu(table, &topology, 0);
	ck_assert_mem_eq(first, table, size);
	free(first);
}
END_TEST

START_TEST(full_table_is_an_error)
{
	static const struct vcpu_topology topology = { 1, 1, 1, 1, 1, 1, 1 };
	struct cpuid_config config = { &topology, 2000000, true };

	host_table(false);
	while (table->nent < CPUID_ENTRIES_MAX)
		leaf(0x12340000 + table->nent, 0, 1, 1, 1, 1);
	ck_assert_int_eq(cpuid_build(table, &config), -ENOSPC);
}
END_TEST

UNIT_SUITE(suite, "cpu x86_64 cpuid", apic_ids_of_powers_of_two, apic_ids_have_gaps,
	   apic_ids_with_clusters_are_unique, one_cpu, intel_topology, intel_dies_and_clusters,
	   amd_topology, frequencies, patching_again_leaves_no_trace, full_table_is_an_error)
UNIT_MAIN(suite)
