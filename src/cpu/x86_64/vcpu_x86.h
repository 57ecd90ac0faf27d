/* SPDX-License-Identifier: Apache-2.0 */
/* Register sets of an x86_64 vCPU that more than one file needs. */
#ifndef CPU_X86_64_VCPU_X86_H
#define CPU_X86_64_VCPU_X86_H

#include "../vcpu_private.h"
#include "kvm_x86.h"

#define X86_RFLAGS_FIXED 0x2u

#define X86_CR0_PE (1u << 0)
#define X86_CR0_ET (1u << 4)
#define X86_CR0_NE (1u << 5)
#define X86_CR0_NW (1u << 29)
#define X86_CR0_CD (1u << 30)
#define X86_CR0_PG (1u << 31)
#define X86_CR4_PAE (1u << 5)
#define X86_EFER_LME (1u << 8)
#define X86_EFER_LMA (1u << 10)

#define X86_MSR_APICBASE_DEFAULT 0xfee00000u
#define X86_MSR_APICBASE_BSP (1u << 8)
#define X86_MSR_APICBASE_ENABLE (1u << 11)
#define X86_MSR_MISC_ENABLE 0x1a0u
#define X86_MSR_MTRR_DEF_TYPE 0x2ffu

/* Fast string operations; no branch trace store, no PEBS. */
#define X86_MISC_ENABLE_DEFAULT (1u << 0 | 1u << 11 | 1u << 12)

/* Offsets in the LAPIC's page (SDM vol. 3, table 11-1). */
#define LAPIC_ID 0x20
#define LAPIC_VERSION 0x30
#define LAPIC_DFR 0xe0
#define LAPIC_SPIV 0xf0
#define LAPIC_LVT_CMCI 0x2f0
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_THERMAL 0x330
#define LAPIC_LVT_PERF 0x340
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_LVT_ERROR 0x370

#define LAPIC_MASKED 0x10000u
#define LAPIC_MODE_NMI 0x400u
#define LAPIC_MODE_EXTINT 0x700u

static inline uint32_t lapic_get(const struct kvm_lapic_state *lapic, unsigned int reg)
{
	uint32_t value;

	__builtin_memcpy(&value, lapic->regs + reg, sizeof(value));
	return value;
}

static inline void lapic_set(struct kvm_lapic_state *lapic, unsigned int reg, uint32_t value)
{
	__builtin_memcpy(lapic->regs + reg, &value, sizeof(value));
}

/* Segment and control registers of a CPU that comes out of reset (SDM vol. 3, table 10-1). */
void x86_reset_sregs(struct kvm_sregs *sregs, bool boot_cpu);

/* One MSR. -errno, or -EINVAL when KVM does not know it. */
int __must_check x86_set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value);

#endif
