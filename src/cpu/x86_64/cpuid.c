/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What CPUID tells the guest: what KVM supports, with the topology of -smp in place of the host's,
 * the frequencies that a guest would otherwise have to measure, and no performance counters. (SDM
 * vol. 2, CPUID; AMD APM vol. 3, appendix E; Documentation/virt/kvm/x86/cpuid.rst.)
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "kvm_x86.h"

#define LEAF_KVM 0x40000000u
#define LEAF_TIMING 0x40000010u /* first used by VMware: EAX TSC kHz, EBX APIC timer kHz */
#define LEAF_BRAND 0x80000002u	/* and the two after it */

/* KVM's APIC timer counts nanoseconds (KVM_CAP_X86_APIC_BUS_CYCLES_NS, default 1). */
#define APIC_BUS_KHZ 1000000u

/* Leaf 1 */
#define ECX1_PDCM (1u << 15)
#define ECX1_X2APIC (1u << 21)
#define ECX1_TSC_DEADLINE (1u << 24)
#define ECX1_HYPERVISOR (1u << 31)
#define EDX1_HTT (1u << 28)
/* Leaf 0x80000001 (AMD) */
#define ECX81_CMP_LEGACY (1u << 1)
#define ECX81_TOPOEXT (1u << 22)
#define ECX81_PERFCTR_CORE (1u << 23)
#define ECX81_PERFCTR_NB (1u << 24)
#define ECX81_PERFCTR_LLC (1u << 28)

/* Level types of leaves 0xb and 0x1f */
enum { LEVEL_NONE, LEVEL_SMT, LEVEL_CORE, LEVEL_MODULE, LEVEL_TILE, LEVEL_DIE };

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *table, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (entry->function == function &&
		    (!(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || entry->index == index))
			return entry;
	}
	return NULL;
}

static void cpuid_remove(struct kvm_cpuid2 *table, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function != function)
			table->entries[kept++] = table->entries[i];
	table->nent = kept;
}

/* KVM answers zeros for a leaf that is not in the table: fewer entries, shorter searches at each
 * CPUID. */
static void cpuid_remove_empty(struct kvm_cpuid2 *table)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (entry->eax | entry->ebx | entry->ecx | entry->edx)
			table->entries[kept++] = *entry;
	}
	table->nent = kept;
}

/* A new, zeroed entry at the end; NULL when the table is full. */
static struct kvm_cpuid_entry2 *cpuid_append(struct kvm_cpuid2 *table, uint32_t function,
					     uint32_t index, uint32_t flags)
{
	struct kvm_cpuid_entry2 *entry;

	if (table->nent >= CPUID_ENTRIES_MAX)
		return NULL;
	entry = &table->entries[table->nent++];
	*entry = (struct kvm_cpuid_entry2){ .function = function, .index = index, .flags = flags };
	return entry;
}

/* The entry of a leaf without sub-leaves, made when it is missing. */
static struct kvm_cpuid_entry2 *cpuid_obtain(struct kvm_cpuid2 *table, uint32_t function)
{
	struct kvm_cpuid_entry2 *entry = cpuid_find(table, function, 0);

	return entry ? entry : cpuid_append(table, function, 0, 0);
}

/* Leaf @base of a range announces the highest leaf of the range in EAX. */
static void cpuid_raise_max(struct kvm_cpuid2 *table, uint32_t base, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *entry = cpuid_find(table, base, 0);

	if (entry && entry->eax < leaf)
		entry->eax = leaf;
}

static bool vendor_is(struct kvm_cpuid2 *table, const char *name)
{
	const struct kvm_cpuid_entry2 *entry = cpuid_find(table, 0, 0);

	return entry && !memcmp(&entry->ebx, name, 4) && !memcmp(&entry->edx, name + 4, 4) &&
	       !memcmp(&entry->ecx, name + 8, 4);
}

static bool vendor_is_amd(struct kvm_cpuid2 *table)
{
	return vendor_is(table, "AuthenticAMD") || vendor_is(table, "HygonGenuine");
}

static uint32_t threads_per_package(const struct vcpu_topology *topology)
{
	return MAX(topology->threads, 1u) * MAX(topology->cores, 1u) * MAX(topology->clusters, 1u) *
	       MAX(topology->dies, 1u);
}

/* --- the parts that are alike on every vCPU --- */

static void build_features(struct kvm_cpuid2 *table, const struct cpuid_config *config)
{
	uint32_t threads = threads_per_package(config->topology);
	struct kvm_cpuid_entry2 *entry = cpuid_find(table, 1, 0);

	if (entry) {
		entry->ecx |= ECX1_HYPERVISOR | ECX1_X2APIC;
		entry->ecx &= ~(ECX1_PDCM | ECX1_TSC_DEADLINE);
		if (config->tsc_deadline)
			entry->ecx |= ECX1_TSC_DEADLINE;
		/* EBX 23:16: ids reserved for one package; an eight-bit field, the truth is in leaf
		 * 0xb. */
		entry->ebx &= ~0x00ff0000u;
		entry->edx &= ~EDX1_HTT;
		if (threads > 1) {
			entry->edx |= EDX1_HTT;
			entry->ebx |= MIN(threads, 255u) << 16;
		}
	}

	entry = cpuid_find(table, 0x80000001, 0);
	if (entry) {
		entry->ecx &= ~(ECX81_PERFCTR_CORE | ECX81_PERFCTR_NB | ECX81_PERFCTR_LLC);
		if (vendor_is_amd(table)) {
			entry->ecx &= ~ECX81_CMP_LEGACY;
			entry->ecx |= threads > 1 ? ECX81_CMP_LEGACY : 0;
		}
	}

	/* Architectural performance monitoring (0xa), last branch records (0x1c), AMD's PerfMonV2.
	 */
	cpuid_remove(table, 0xa);
	cpuid_remove(table, 0x1c);
	cpuid_remove(table, 0x80000022);
}

/* Leaves 4 (Intel) and 0x8000001d (AMD): EAX 25:14 is the number of ids that share the cache, less
 * one. */
static void build_caches(struct kvm_cpuid2 *table, const struct vcpu_topology *topology)
{
	struct apic_layout layout = apic_layout_of(topology);
	uint32_t cores = 1u << (layout.package_shift - layout.core_shift);

	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];
		uint32_t level = entry->eax >> 5 & 7, sharing;

		if ((entry->function != 4 && entry->function != 0x8000001d) || !(entry->eax & 0x1f))
			continue;
		sharing = level >= 3 ? 1u << layout.die_shift : 1u << layout.core_shift;
		entry->eax &= ~(0xfffu << 14);
		entry->eax |= (MIN(sharing, 0x1000u) - 1) << 14;
		if (entry->function == 4) {
			/* EAX 31:26: ids of cores in the package, less one. */
			entry->eax &= ~(0x3fu << 26);
			entry->eax |= (MIN(cores, 64u) - 1) << 26;
		}
	}
}

static int topology_level(struct kvm_cpuid2 *table, uint32_t leaf, uint32_t *level, uint32_t type,
			  unsigned int shift, uint32_t threads)
{
	struct kvm_cpuid_entry2 *entry =
		cpuid_append(table, leaf, *level, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);

	if (!entry)
		return -ENOSPC;
	entry->eax = shift; /* to the id of the next level up */
	entry->ebx = threads & 0xffff;
	entry->ecx = type << 8 | *level;
	++*level;
	return 0;
}

/*
 * Leaf 0xb knows threads and cores; everything between a core and the package counts as core there.
 * Leaf 0x1f names modules and dies too and is given when there are any. EDX, the x2APIC id, is set
 * per vCPU.
 */
static int build_topology(struct kvm_cpuid2 *table, const struct vcpu_topology *topology)
{
	struct apic_layout layout = apic_layout_of(topology);
	uint32_t per_core = MAX(topology->threads, 1u);
	uint32_t per_cluster = per_core * MAX(topology->cores, 1u);
	uint32_t per_die = per_cluster * MAX(topology->clusters, 1u);
	uint32_t per_package = threads_per_package(topology);
	bool fine = topology->dies > 1 || topology->clusters > 1;
	uint32_t level = 0;

	cpuid_remove(table, 0xb);
	cpuid_remove(table, 0x1f);

	if (topology_level(table, 0xb, &level, LEVEL_SMT, layout.core_shift, per_core) ||
	    topology_level(table, 0xb, &level, LEVEL_CORE, layout.package_shift, per_package) ||
	    topology_level(table, 0xb, &level, LEVEL_NONE, 0, 0))
		return -ENOSPC;
	cpuid_raise_max(table, 0, 0xb);

	if (!fine || vendor_is_amd(table))
		return 0;
	level = 0;
	if (topology_level(table, 0x1f, &level, LEVEL_SMT, layout.core_shift, per_core) ||
	    topology_level(table, 0x1f, &level, LEVEL_CORE, layout.cluster_shift, per_cluster))
		return -ENOSPC;
	if (topology->clusters > 1 &&
	    topology_level(table, 0x1f, &level, LEVEL_MODULE, layout.die_shift, per_die))
		return -ENOSPC;
	if (topology->dies > 1 &&
	    topology_level(table, 0x1f, &level, LEVEL_DIE, layout.package_shift, per_package))
		return -ENOSPC;
	if (topology_level(table, 0x1f, &level, LEVEL_NONE, 0, 0))
		return -ENOSPC;
	cpuid_raise_max(table, 0, 0x1f);
	return 0;
}

static void build_topology_amd(struct kvm_cpuid2 *table, const struct vcpu_topology *topology)
{
	struct kvm_cpuid_entry2 *entry = cpuid_find(table, 0x80000008, 0);

	/* ECX 7:0: threads of the package, less one; ECX 15:12: width of their ids. */
	if (!entry || !vendor_is_amd(table))
		return;
	entry->ecx &= ~0xf0ffu;
	entry->ecx |= MIN(threads_per_package(topology) - 1, 255u);
	entry->ecx |= MIN(apic_layout_of(topology).package_shift, 15u) << 12;
}

/*
 * Leaf 0x15 gives the TSC as a multiple of the crystal; the crystal also drives the APIC timer,
 * which in KVM counts at 1 GHz. The KVM-range leaf tells the same to guests of other vendors' CPUs.
 */
static int build_frequencies(struct kvm_cpuid2 *table, uint32_t tsc_khz)
{
	struct kvm_cpuid_entry2 *entry;

	if (!tsc_khz)
		return 0;
	if (vendor_is(table, "GenuineIntel")) {
		entry = cpuid_obtain(table, 0x15);
		if (!entry)
			return -ENOSPC;
		entry->eax = APIC_BUS_KHZ;
		entry->ebx = tsc_khz;
		entry->ecx = APIC_BUS_KHZ * 1000;
		entry->edx = 0;
		cpuid_raise_max(table, 0, 0x15);
	}
	if (cpuid_find(table, LEAF_KVM, 0)) {
		entry = cpuid_obtain(table, LEAF_TIMING);
		if (!entry)
			return -ENOSPC;
		entry->eax = tsc_khz;
		entry->ebx = APIC_BUS_KHZ;
		cpuid_raise_max(table, LEAF_KVM, LEAF_TIMING);
	}
	return 0;
}

/* A KVM that hides the host's name of the CPU: "unknown CPU" in every guest's log helps nobody. */
static int build_brand(struct kvm_cpuid2 *table)
{
	for (uint32_t leaf = LEAF_BRAND; leaf < LEAF_BRAND + 3; leaf++)
		if (cpuid_find(table, leaf, 0))
			return 0;
	for (uint32_t leaf = LEAF_BRAND; leaf < LEAF_BRAND + 3; leaf++) {
		struct kvm_cpuid_entry2 host = { .function = leaf };
		struct kvm_cpuid_entry2 *entry;

		if (!__get_cpuid(leaf, &host.eax, &host.ebx, &host.ecx, &host.edx))
			return 0;
		entry = cpuid_append(table, leaf, 0, 0);
		if (!entry)
			return -ENOSPC;
		*entry = host;
	}
	cpuid_raise_max(table, 0x80000000, LEAF_BRAND + 2);
	return 0;
}

int cpuid_build(struct kvm_cpuid2 *table, const struct cpuid_config *config)
{
	const struct kvm_cpuid_entry2 *extended;
	struct kvm_cpuid_entry2 *entry;
	int ret;

	build_features(table, config);
	build_caches(table, config->topology);
	build_topology_amd(table, config->topology);
	cpuid_remove_empty(table);

	ret = build_topology(table, config->topology);
	if (!ret)
		ret = build_frequencies(table, config->tsc_khz);
	if (!ret)
		ret = build_brand(table);
	if (ret)
		return ret;

	/* AMD's topology by core: empty in what KVM supports, filled in by cpuid_set_vcpu(). */
	extended = cpuid_find(table, 0x80000001, 0);
	cpuid_remove(table, 0x8000001e);
	if (extended && extended->ecx & ECX81_TOPOEXT) {
		entry = cpuid_append(table, 0x8000001e, 0, 0);
		if (!entry)
			return -ENOSPC;
		cpuid_raise_max(table, 0x80000000, 0x8000001e);
	}
	return 0;
}

/* --- the parts that tell the vCPUs apart --- */

void cpuid_set_vcpu(struct kvm_cpuid2 *table, const struct vcpu_topology *topology,
		    unsigned int index)
{
	struct vcpu_place place = vcpu_place_of(topology, index);
	uint32_t id = (uint32_t)vcpu_arch_id(topology, index);
	uint32_t dies = MAX(topology->dies, 1u);

	for (uint32_t i = 0; i < table->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];

		switch (entry->function) {
		case 1:
			entry->ebx = (entry->ebx & 0x00ffffffu) | id << 24;
			break;
		case 0xb:
		case 0x1f:
			entry->edx = id;
			break;
		case 0x8000001e:
			entry->eax = id;
			/* Core of the die; threads a core, less one. */
			entry->ebx = (place.core + place.cluster * MAX(topology->cores, 1u)) & 0xff;
			entry->ebx |= ((MAX(topology->threads, 1u) - 1) & 0xff) << 8;
			/* A die is a node to AMD: its number; nodes a package, less one. */
			entry->ecx = (place.socket * dies + place.die) & 0xff;
			entry->ecx |= ((dies - 1) & 7) << 8;
			break;
		}
	}
}
