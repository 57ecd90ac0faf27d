/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs: one thread each ("CPU n/KVM"), the run loop and its exits, pause and resume of all of them.
 *
 * struct vcpus is made, paused, resumed and freed on the main thread. vCPU threads call the memory space
 * for MMIO and port I/O and report everything else through struct vcpu_events.
 */
#ifndef CPU_VCPU_H
#define CPU_VCPU_H

#include "cpu/accel.h"

struct vcpus;
struct vcpu;

/* Topology as the guest shall see it; the product of the five is maxcpus. */
struct vcpu_topology {
	uint32_t cpus; /* started now */
	uint32_t maxcpus;
	uint32_t sockets, dies, clusters, cores, threads;
};

enum vcpu_stop_reason {
	VCPU_STOP_RESET,    /* triple fault (KVM_EXIT_SHUTDOWN), SYSTEM_EVENT reset */
	VCPU_STOP_SHUTDOWN, /* SYSTEM_EVENT shutdown */
	VCPU_STOP_CRASH,    /* SYSTEM_EVENT crash */
	VCPU_STOP_ERROR,    /* internal error, failed entry, KVM_RUN failed: message with registers was logged */
};

struct vcpu_events {
	/* Called on the vCPU's thread, which parks itself afterwards until vcpus_resume() or vcpus_free().
	 * @text: one line for people, static or valid during the call. */
	void (*stopped)(void *opaque, unsigned int index, enum vcpu_stop_reason reason, const char *text);
	void *opaque;
};

/* Creates the vCPUs (state: reset; CPUID and MSRs set) and their parked threads. */
int __must_check vcpus_new(struct accel *accel, const struct vcpu_topology *topology,
			   const struct vcpu_events *events, struct vcpus **ret, struct error **errp);
/*
 * One more vCPU, the next in order of index, in its power-on state: x86_64: it waits for INIT and SIPI. It runs if the others
 * do. -ENOSPC: maxcpus are there.
 */
int __must_check vcpus_add(struct vcpus *vcpus, struct error **errp);
/*
 * The last vCPU goes, and not the only one; vCPUs paused. KVM cannot destroy one: its thread stays parked, until vcpus_add() takes it
 * back. In any case it is gone; an error means that it kept state, which costs the host what its timers cost.
 */
int __must_check vcpus_remove(struct vcpus *vcpus, struct error **errp);
void vcpus_free(struct vcpus *vcpus); /* stops and joins the threads; NULL allowed */

void vcpus_resume(struct vcpus *vcpus); /* lets every vCPU run */
void vcpus_pause(struct vcpus *vcpus);  /* returns when every vCPU is out of KVM_RUN and parked */
bool vcpus_running(const struct vcpus *vcpus);
unsigned int vcpus_count(const struct vcpus *vcpus);
int vcpu_tid(const struct vcpus *vcpus, unsigned int index);

/* Back to the power-on state (vCPUs paused). Followed by vcpu_set_entry() for the boot CPU. */
int __must_check vcpus_reset(struct vcpus *vcpus, struct error **errp);

/* How the boot CPU enters the guest. */
enum vcpu_entry_mode {
	VCPU_ENTRY_RESET,     /* as the CPU comes out of reset: firmware */
	VCPU_ENTRY_LONG64,    /* x86-64 boot protocol: paging on, flat segments, RSI = zero page */
	VCPU_ENTRY_PROT32,    /* PVH: 32-bit protected mode, paging off, EBX = hvm_start_info */
	VCPU_ENTRY_ARM64,     /* Image: EL1, MMU off, X0 = FDT */
};

struct vcpu_entry {
	enum vcpu_entry_mode mode;
	uint64_t pc;
	uint64_t arg;        /* RSI, EBX or X0 */
	uint64_t stack;      /* LONG64 */
	uint64_t page_table; /* LONG64: CR3 */
	uint64_t gdt_base;   /* LONG64, PROT32: GDT in guest memory: null, null, code (sel 0x10), data (0x18), TSS (0x20) */
	uint16_t gdt_limit;
};

int __must_check vcpu_set_entry(struct vcpus *vcpus, const struct vcpu_entry *entry, struct error **errp);

/* Registers of a paused vCPU as text for people ("RIP=… RSP=…"), caller frees. */
char *vcpu_describe(struct vcpus *vcpus, unsigned int index);

/* The APIC id (x86_64) or MPIDR (aarch64) the guest sees for vCPU @index; for ACPI, MP table and FDT. */
uint64_t vcpu_arch_id(const struct vcpu_topology *topology, unsigned int index);

#endif
