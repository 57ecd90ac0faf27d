/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Setting up x86_64 vCPUs: CPUID when they are created, and the state in which a loader's kernel
 * expects to find the machine: Linux boot protocol 1.15 "64-bit boot protocol", Xen's "x86/HVM
 * direct boot ABI" (PVH).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "util/alloc.h"
#include "vcpu_x86.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

/* Selectors of the GDT that struct vcpu_entry describes. */
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_TSS 0x20

/* An xAPIC id has eight bits, and 255 means everyone. */
#define XAPIC_ID_MAX 254

#define MTRR_ENABLE (1u << 11)
#define MTRR_WRITE_BACK 6u

struct vcpus_arch {
	struct kvm_cpuid2 *cpuid; /* CPUID_ENTRIES_MAX entries of room */
	bool cpuid_built;
};

int vcpus_arch_init(struct vcpus *vcpus, struct error **errp)
{
	uint64_t last_id = vcpu_arch_id(&vcpus->topology, MAX(vcpus->topology.maxcpus, vcpus->count) - 1);
	struct vcpus_arch *arch;

	arch = vcpus->arch = xcalloc(1, sizeof(*arch));
	arch->cpuid = xcalloc(1, sizeof(*arch->cpuid) +
					 CPUID_ENTRIES_MAX * sizeof(arch->cpuid->entries[0]));
	arch->cpuid->nent = CPUID_ENTRIES_MAX;
	if (ioctl(vcpus->vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, arch->cpuid))
		return error_set_errno(errp, -errno, "KVM_GET_SUPPORTED_CPUID failed");

	if (last_id > XAPIC_ID_MAX) {
		struct kvm_enable_cap cap = {
			.cap = KVM_CAP_X2APIC_API,
			.args[0] = KVM_X2APIC_API_USE_32BIT_IDS |
				   KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
		};

		if (ioctl(vcpus->vm->accel.vm_fd, KVM_ENABLE_CAP, &cap))
			return error_set_errno(errp, -errno,
					       "-smp: this topology needs APIC id %" PRIu64
					       ", KVM takes no id above %d",
					       last_id, XAPIC_ID_MAX);
	}
	return 0;
}

void vcpus_arch_release(struct vcpus *vcpus)
{
	if (!vcpus->arch)
		return;
	free(vcpus->arch->cpuid);
	free(vcpus->arch);
}

uint64_t vcpu_arch_kvm_id(const struct vcpu *vcpu)
{
	/* KVM makes the vCPU's number its APIC id. */
	return vcpu_arch_id(&vcpu->all->topology, vcpu->index);
}

/* The frequency is that of the first vCPU: they do not differ. Fails where the host's TSC is
 * unusable. */
static uint32_t tsc_khz_of(struct vcpu *vcpu)
{
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 0)
		log_debug("KVM_GET_TSC_KHZ: no frequency for the guest");
	return khz > 0 ? (uint32_t)khz : 0;
}

int vcpu_arch_init(struct vcpu *vcpu, struct error **errp)
{
	struct vcpus *all = vcpu->all;
	struct vcpus_arch *arch = all->arch;
	int ret;

	if (!arch->cpuid_built) {
		struct cpuid_config config = {
			.topology = &all->topology,
			.tsc_khz = tsc_khz_of(vcpu),
			.tsc_deadline = kvm_cap(all->vm, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
		};

		ret = cpuid_build(arch->cpuid, &config);
		if (ret)
			return error_set_errno(errp, ret, "the guest's CPUID table is too large");
		arch->cpuid_built = true;
	}

	cpuid_set_vcpu(arch->cpuid, &all->topology, vcpu->index);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, arch->cpuid))
		return error_set_errno(errp, -errno, "KVM does not take the CPUID of vCPU %u",
				       vcpu->index);
	return 0;
}

bool vcpu_arch_exit(struct vcpu *vcpu)
{
	(void)vcpu;
	return false;
}

/*
 * The guest's clocks went on while it was stopped; what would take the gap for a CPU that hangs is told
 * (PVCLOCK_GUEST_STOPPED). KVM refuses where the guest has no kvm-clock, which is not ours to say anything about.
 */
void vcpu_arch_tell_pause(struct vcpu *vcpu)
{
	if (ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0))
		log_debug("vCPU %u: no kvm-clock to tell of the pause: %s", vcpu->index, strerror(errno));
}

/* --- entry --- */

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = 1,
	};
}

static void entry_segments(struct kvm_sregs *sregs, const struct vcpu_entry *entry)
{
	sregs->cs = flat_segment(SEL_CODE, 0xb); /* execute, read, accessed */
	sregs->ds = flat_segment(SEL_DATA, 0x3); /* read, write, accessed */
	sregs->es = sregs->fs = sregs->gs = sregs->ss = sregs->ds;
	/* Busy TSS, base 0 and the smallest limit, as the PVH ABI asks. */
	sregs->tr = (struct kvm_segment){
		.limit = 0x67,
		.selector = SEL_TSS,
		.type = 0xb,
		.present = 1,
	};
	sregs->ldt = (struct kvm_segment){ .type = 2, .unusable = 1 };
	sregs->gdt.base = entry->gdt_base;
	sregs->gdt.limit = entry->gdt_limit;
	/* No IDT: a fault before the guest has its own is a triple fault, and reported as that. */
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
}

static int entry_registers(struct vcpu *boot, const struct vcpu_entry *entry)
{
	struct kvm_regs regs = { .rip = entry->pc, .rflags = X86_RFLAGS_FIXED };
	struct kvm_sregs sregs;

	x86_reset_sregs(&sregs, true);
	entry_segments(&sregs, entry);
	if (entry->mode == VCPU_ENTRY_LONG64) {
		sregs.cs.l = 1;
		sregs.cs.db = 0;
		sregs.cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_PG;
		sregs.cr3 = entry->page_table;
		sregs.cr4 = X86_CR4_PAE;
		sregs.efer = X86_EFER_LME | X86_EFER_LMA;
		regs.rsi = entry->arg;
		regs.rsp = entry->stack;
		regs.rbp = entry->stack;
	} else {
		sregs.cr0 = X86_CR0_PE | X86_CR0_ET;
		regs.rbx = entry->arg;
	}
	if (ioctl(boot->fd, KVM_SET_SREGS, &sregs) || ioctl(boot->fd, KVM_SET_REGS, &regs))
		return -errno;
	return 0;
}

/* Virtual wire mode: LINT0 takes the PIC's interrupts, LINT1 is NMI (MP specification 3.6.2.2). */
static int entry_lapic(struct vcpu *boot)
{
	struct kvm_lapic_state lapic;

	if (ioctl(boot->fd, KVM_GET_LAPIC, &lapic))
		return -errno;
	lapic_set(&lapic, LAPIC_LVT_LINT0, LAPIC_MODE_EXTINT);
	lapic_set(&lapic, LAPIC_LVT_LINT1, LAPIC_MODE_NMI);
	return ioctl(boot->fd, KVM_SET_LAPIC, &lapic) ? -errno : 0;
}

/*
 * MSRs that firmware leaves set, alike on every CPU or the kernel complains: memory is write-back
 * unless said otherwise, string operations are fast.
 */
static void entry_msrs(struct vcpu *vcpu)
{
	static const struct kvm_msr_entry wanted[] = {
		{ .index = X86_MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK },
		{ .index = X86_MSR_MISC_ENABLE, .data = X86_MISC_ENABLE_DEFAULT },
	};
	union {
		struct kvm_msrs head;
		uint8_t space[sizeof(struct kvm_msrs) + sizeof(wanted)];
	} msrs;
	size_t at = 0;

	/* KVM stops at the first that it does not know; a guest without it runs, and may say so in
	 * its log. */
	while (at < ARRAY_SIZE(wanted)) {
		int done;

		memset(&msrs, 0, sizeof(msrs));
		msrs.head.nmsrs = (uint32_t)(ARRAY_SIZE(wanted) - at);
		memcpy(msrs.head.entries, &wanted[at], msrs.head.nmsrs * sizeof(wanted[0]));
		done = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
		at += done > 0 ? (size_t)done : 0;
		if (at < ARRAY_SIZE(wanted)) {
			log_debug("vCPU %u: KVM does not take MSR 0x%x", vcpu->index,
				  wanted[at].index);
			at++;
		}
	}
}

int vcpus_arch_set_entry(struct vcpus *vcpus, const struct vcpu_entry *entry, struct error **errp)
{
	struct vcpu *boot = &vcpus->vcpu[0];
	int ret;

	switch (entry->mode) {
	case VCPU_ENTRY_RESET:
		return 0; /* how KVM creates vCPUs, and how vcpus_reset() leaves them */
	case VCPU_ENTRY_LONG64:
	case VCPU_ENTRY_PROT32:
		break;
	default:
		return error_set(errp, -EINVAL, "an x86_64 CPU has no such way to enter a guest");
	}

	for (unsigned int i = 0; i < vcpus->count; i++)
		entry_msrs(&vcpus->vcpu[i]);
	ret = entry_registers(boot, entry);
	if (!ret)
		ret = entry_lapic(boot);
	if (ret)
		return error_set_errno(errp, ret, "KVM does not take the boot CPU's registers");
	return 0;
}
