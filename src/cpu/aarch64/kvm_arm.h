/* SPDX-License-Identifier: Apache-2.0 */
/* What the aarch64 files of this room share. Main thread, vCPUs parked. */
#ifndef CPU_AARCH64_KVM_ARM_H
#define CPU_AARCH64_KVM_ARM_H

#include "../vcpu_private.h"
#include "cpu/gic.h"

struct kvm_arch {
	int gic_fd, its_fd; /* KVM devices; -1: not there */
	void *steal_time;   /* the guest's page at STEAL_TIME_BASE; NULL: none */
};

/* The distributor; before the first vCPU, because its size cannot change later. */
int __must_check gic_create(struct kvm_vm *vm, struct error **errp);
/* Redistributors and ITS, when every vCPU exists: from now on lines and MSIs can be raised. */
int __must_check gic_finish(struct kvm_vm *vm, unsigned int cpus, struct error **errp);
/* Distributor and ITS, redistributors and CPU interfaces back to the state after power-on. */
int __must_check gic_reset(struct kvm_vm *vm, unsigned int cpus, struct error **errp);
void gic_release(struct kvm_vm *vm);

/*
 * Stolen time (Arm DEN0057A): a structure for each vCPU, which KVM writes and the guest finds by SMCCC PV_TIME_ST. The page lies
 * outside the guest's RAM, so no device reaches it.
 */
int __must_check steal_time_create(struct kvm_vm *vm, struct error **errp); /* before the first vCPU */
int __must_check steal_time_add_vcpu(const struct vcpu *vcpu, struct error **errp); /* NULL page: does nothing */
void steal_time_release(struct kvm_vm *vm);

/* KVM_SET_DEVICE_ATTR of a KVM device or vCPU. */
int __must_check kvm_set_attr(int fd, uint32_t group, uint64_t attr, const void *value);

/* The affinity fields of vCPU @index, as KVM numbers them: MPIDR_EL1 without its flag bits. */
uint64_t mpidr_of(unsigned int index);

#endif
