/* SPDX-License-Identifier: Apache-2.0 */
/* What the x86_64 files of this room share. */
#ifndef CPU_X86_64_KVM_X86_H
#define CPU_X86_64_KVM_X86_H

#include "../kvm.h"

#define CPUID_ENTRIES_MAX 256

struct cpuid_config {
	const struct vcpu_topology *topology;
	uint32_t tsc_khz; /* 0: not known */
	bool tsc_deadline;
};

/*
 * CPUID of the guest: made once a VM from the table of KVM_GET_SUPPORTED_CPUID, which is changed in
 * place and has room for CPUID_ENTRIES_MAX entries, then only patched with the ids of the vCPU that
 * is being set up. -ENOSPC when the entries do not fit.
 */
int __must_check cpuid_build(struct kvm_cpuid2 *table, const struct cpuid_config *config);
void cpuid_set_vcpu(struct kvm_cpuid2 *table, const struct vcpu_topology *topology,
		    unsigned int index);
/* The entry of a leaf (and sub-leaf, where the leaf has them), or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *table, uint32_t function, uint32_t index);

/* Where each level's number begins in an APIC id: widths are powers of two (SDM vol. 3, 9.9.1). */
struct apic_layout {
	unsigned int core_shift;    /* thread number below it */
	unsigned int cluster_shift; /* core number below it */
	unsigned int die_shift;
	unsigned int package_shift;
};

struct apic_layout apic_layout_of(const struct vcpu_topology *topology);

/* Each vCPU's place in the topology. */
struct vcpu_place {
	uint32_t thread, core, cluster, die, socket;
};

struct vcpu_place vcpu_place_of(const struct vcpu_topology *topology, unsigned int index);

#endif
