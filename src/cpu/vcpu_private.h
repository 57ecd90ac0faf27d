/* SPDX-License-Identifier: Apache-2.0 */
/* vCPU objects, as the life cycle (vcpu.c), the run loop (run.c) and the architecture see them. */
#ifndef CPU_VCPU_PRIVATE_H
#define CPU_VCPU_PRIVATE_H

#include <stdatomic.h>

#include "kvm.h"

struct vcpus_arch; /* per architecture and set of vCPUs */

struct vcpu {
	struct vcpus *all;
	unsigned int index;
	int fd;
	struct kvm_run *run; /* shared with the kernel */
	pthread_t thread;
	bool has_thread;
	/* An I/O exit's result waits in @run for the next KVM_RUN. Its thread; others while it is
	 * parked. */
	bool io_pending;

	/* under all->lock */
	int tid;      /* 0 until the thread has begun */
	bool stopped; /* has reported an event; waits for vcpus_resume() */
	bool parked;
};

/* What runs the vCPUs. Main thread, vCPUs parked. */
struct vcpus_ops {
	int (*init)(struct vcpus *vcpus, struct error **errp); /* creates them and their threads */
	int (*add)(struct vcpu *vcpu, struct error **errp); /* one more, or one that was taken out; others may run */
	int (*remove)(struct vcpu *vcpu, struct error **errp); /* makes it forget everything */
	void (*release_one)(struct vcpu *vcpu);		    /* after a failed add */
	void (*release)(struct vcpus *vcpus); /* also after a failed init; the threads have ended */
	int (*reset)(struct vcpus *vcpus, struct error **errp);
	int (*set_entry)(struct vcpus *vcpus, const struct vcpu_entry *entry, struct error **errp);
	char *(*describe)(struct vcpu *vcpu); /* the vCPU's thread, too */
};

extern const struct vcpus_ops vcpus_test_ops;

struct vcpus {
	const struct vcpus_ops *ops;
	struct kvm_vm *vm; /* NULL: the test accelerator */
	struct vcpu_topology topology;
	struct vcpu_events events;
	unsigned int count; /* written under the lock */
	unsigned int made;  /* those from count on were taken out: parked, until they are added again */
	struct vcpu *vcpu;  /* [maxcpus] */
	struct vcpus_arch *arch;

	/*
	 * paused or quit, readable without the lock: what a vCPU looks at between two KVM_RUN.
	 * Written under the lock together with them.
	 */
	_Atomic bool leave;

	pthread_mutex_t lock;
	pthread_cond_t parked_cond; /* a vCPU has parked, or its thread has begun */
	pthread_cond_t resume_cond; /* paused, quit, count or a stopped flag has changed */
	bool paused, quit;
};

/*
 * Runs the guest until all->leave is set or the vCPU stops. Returns true when it stopped; the event
 * has been reported then. The vCPU's thread.
 */
bool vcpu_run(struct vcpu *vcpu);

/* Before an event is reported: resume must find the flag even if it comes at once. The vCPU's
 * thread. */
void vcpu_mark_stopped(struct vcpu *vcpu);

/* --- what the architecture gives; main thread, vCPUs parked --- */

/* Before the first vCPU is created. */
int __must_check vcpus_arch_init(struct vcpus *vcpus, struct error **errp);
void vcpus_arch_release(struct vcpus *vcpus); /* also after a failed init */
/* The number KVM_CREATE_VCPU takes. */
uint64_t vcpu_arch_kvm_id(const struct vcpu *vcpu);
/* After KVM_CREATE_VCPU, in order of index. */
int __must_check vcpu_arch_init(struct vcpu *vcpu, struct error **errp);
int __must_check vcpu_arch_reset(struct vcpu *vcpu, struct error **errp);
int __must_check vcpus_arch_set_entry(struct vcpus *vcpus, const struct vcpu_entry *entry,
				      struct error **errp);
/* An exit that the run loop does not know; false: nor does the architecture. The vCPU's thread. */
bool __must_check vcpu_arch_exit(struct vcpu *vcpu);
/* It was stopped, and is about to run again. The vCPU's thread. */
void vcpu_arch_tell_pause(struct vcpu *vcpu);
/* Also called on the vCPU's own thread. */
char *vcpu_arch_describe(struct vcpu *vcpu);

#endif
