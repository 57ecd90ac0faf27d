/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM VM, and what an architecture adds to it and to its vCPUs. Everything here runs on the
 * main thread while the vCPUs are parked, unless said otherwise.
 */
#ifndef CPU_KVM_H
#define CPU_KVM_H

#include <linux/kvm.h>
#include <pthread.h>

#include "cpu/accel.h"
#include "cpu/vcpu.h"

struct kvm_routes {
	pthread_mutex_t lock; /* guards all below: MSI-X vectors are written on vCPU threads */
	struct kvm_msi_slot *slots; /* index 0 is GSI KVM_ARCH_GSI_MSI_FIRST */
	unsigned int count;
	unsigned int limit; /* entries the kernel's table takes (KVM_CAP_IRQ_ROUTING) */
};

struct kvm_arch; /* per architecture and VM */

struct kvm_vm {
	struct accel accel;
	int kvm_fd;
	size_t run_size; /* of the mapping shared with a vCPU */
	uint64_t vcpu_id_limit;
	bool msi_devid; /* messages carry their sender's id; set by the architecture that needs it (GICv3 ITS) */
	gpa_t *slot_bases; /* RAM regions and ROMs the kernel knows; the index is the slot */
	unsigned int slot_count;
	struct kvm_routes routes;
	struct kvm_arch *arch;
};

static inline struct kvm_vm *to_kvm_vm(struct accel *accel)
{
	return container_of(accel, struct kvm_vm, accel);
}

/* KVM_CHECK_EXTENSION of the VM; 0 when absent. */
int kvm_cap(const struct kvm_vm *vm, int cap);

/*
 * A memory slot beside the space's RAM, known by its base: @flags are KVM_MEM_*. @host NULL empties it; it stays reserved.
 */
int __must_check kvm_set_slot(struct kvm_vm *vm, gpa_t base, uint64_t size, void *host, uint32_t flags);

/* --- MSI routes (gsi_routes.c) --- */

void kvm_routes_init(struct kvm_vm *vm);
void kvm_routes_release(struct kvm_vm *vm);
int kvm_msi_route_add(struct accel *accel, const struct msi_message *msg);
int kvm_msi_route_update(struct accel *accel, int gsi, const struct msi_message *msg);
void kvm_msi_route_del(struct accel *accel, int gsi);

/* --- what the architecture gives (src/cpu/<arch>/) --- */

/* The most default routes of any architecture, and the first GSI behind the lines of this one. */
#define KVM_ARCH_ROUTES_MAX 160
#ifdef __aarch64__
#define KVM_ARCH_GSI_MSI_FIRST 160
#else
#define KVM_ARCH_GSI_MSI_FIRST 24
#endif

struct kvm_needed_cap {
	int cap;
	const char *name;
};

/* Ends with a NULL name. */
extern const struct kvm_needed_cap kvm_arch_needed_caps[];

/* The argument of KVM_CREATE_VM; sets accel.phys_bits. /dev/kvm is open. */
unsigned long kvm_arch_vm_type(struct kvm_vm *vm);
/* What KVM_IRQ_LINE calls the line @gsi. */
uint32_t kvm_arch_irq_number(uint32_t gsi);
/* Interrupt controllers and what must exist before the first vCPU. */
int __must_check kvm_arch_vm_init(struct kvm_vm *vm, struct error **errp);
void kvm_arch_vm_release(struct kvm_vm *vm); /* also after a failed init */
/* Interrupt controllers back to their power-on state; the VM has @cpus vCPUs. */
int __must_check kvm_arch_vm_reset(struct kvm_vm *vm, unsigned int cpus, struct error **errp);
/* The routes the kernel sets up by itself; KVM_SET_GSI_ROUTING replaces them, so they are repeated.
 */
unsigned int kvm_arch_default_routes(struct kvm_irq_routing_entry entries[KVM_ARCH_ROUTES_MAX]);

#endif
