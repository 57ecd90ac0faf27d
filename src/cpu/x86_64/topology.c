/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From -smp to APIC ids. An APIC id is a row of fields, one a level, each as wide as a power of two
 * demands (SDM vol. 3, 9.9 "Detecting hardware multi-threading support and topology"); so ids have
 * gaps when a level's count is no power of two.
 */
#include "kvm_x86.h"

/* Bits that number @count things. */
static unsigned int field_width(uint32_t count)
{
	return count > 1 ? 32 - (unsigned int)__builtin_clz(count - 1) : 0;
}

/* A level that the description leaves at 0 has one of its kind. */
static uint32_t at_least_one(uint32_t count)
{
	return count ? count : 1;
}

struct apic_layout apic_layout_of(const struct vcpu_topology *topology)
{
	struct apic_layout layout;

	layout.core_shift = field_width(topology->threads);
	layout.cluster_shift = layout.core_shift + field_width(topology->cores);
	layout.die_shift = layout.cluster_shift + field_width(topology->clusters);
	layout.package_shift = layout.die_shift + field_width(topology->dies);
	return layout;
}

struct vcpu_place vcpu_place_of(const struct vcpu_topology *topology, unsigned int index)
{
	struct vcpu_place place;

	place.thread = index % at_least_one(topology->threads);
	index /= at_least_one(topology->threads);
	place.core = index % at_least_one(topology->cores);
	index /= at_least_one(topology->cores);
	place.cluster = index % at_least_one(topology->clusters);
	index /= at_least_one(topology->clusters);
	place.die = index % at_least_one(topology->dies);
	place.socket = index / at_least_one(topology->dies);
	return place;
}

uint64_t vcpu_arch_id(const struct vcpu_topology *topology, unsigned int index)
{
	struct apic_layout layout = apic_layout_of(topology);
	struct vcpu_place place = vcpu_place_of(topology, index);

	return (uint64_t)place.socket << layout.package_shift | place.die << layout.die_shift |
	       place.cluster << layout.cluster_shift | place.core << layout.core_shift |
	       place.thread;
}
