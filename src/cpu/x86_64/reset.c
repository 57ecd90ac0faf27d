/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power-on state of an x86_64 vCPU, for a reset within the process, and its registers as text.
 *
 * KVM creates vCPUs in this state but has no call to bring one back, so it is written out here in
 * full: architectural values from SDM vol. 3, 10.1.1 and table 10-1, and off for everything of
 * KVM's own. Nothing is recorded at start; a VM that is never reset pays nothing.
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

#define FCW_DEFAULT 0x037f
#define MXCSR_DEFAULT 0x1f80
#define XSTATE_X87_SSE 3

/* In XSAVE format (SDM vol. 1, 13.4), as 32-bit words. */
#define XSAVE_WORD_FCW 0
#define XSAVE_WORD_MXCSR 6
#define XSAVE_WORD_XSTATE_BV 128

struct msr_value {
	uint32_t index;
	uint64_t value;
};

/*
 * In this order. The kernel may lack any of them (a feature the CPU or the kernel does not have),
 * hence one call each: the first unknown one ends KVM_SET_MSRS.
 */
static const struct msr_value reset_msrs[] = {
	/* KVM's own: each holds a guest address it writes to, so they come first. */
	{ 0x4b564d00, 0 }, /* wall clock */
	{ 0x4b564d01, 0 }, /* system time */
	{ 0x11, 0 },	   /* wall clock, old number */
	{ 0x12, 0 },	   /* system time, old number */
	{ 0x4b564d02, 0 }, /* asynchronous page faults */
	{ 0x4b564d06, 0 }, /* their interrupt */
	{ 0x4b564d03, 0 }, /* steal time */
	{ 0x4b564d04, 0 }, /* paravirtual EOI */
	{ 0x4b564d05, 1 }, /* host-side polling on halt: on is the default */
	{ 0x4b564d08, 0 }, /* migration control */

	{ 0x3b, 0 }, /* TSC_ADJUST */
	{ 0x10,
	  0 }, /* TSC: KVM keeps vCPUs in step that are written the same value within a second */
	{ 0xc0000103, 0 }, /* TSC_AUX */
	{ 0x6e0, 0 },	   /* TSC_DEADLINE */

	{ 0xc0000081, 0 }, /* STAR */
	{ 0xc0000082, 0 }, /* LSTAR */
	{ 0xc0000083, 0 }, /* CSTAR */
	{ 0xc0000084, 0 }, /* SFMASK */
	{ 0xc0000102, 0 }, /* KERNEL_GS_BASE */
	{ 0x174, 0 },	   /* SYSENTER_CS */
	{ 0x175, 0 },	   /* SYSENTER_ESP */
	{ 0x176, 0 },	   /* SYSENTER_EIP */

	{ 0x3a, 0 },  /* FEATURE_CONTROL: unlocked */
	{ 0x48, 0 },  /* SPEC_CTRL */
	{ 0xe1, 0 },  /* UMWAIT_CONTROL */
	{ 0x122, 0 }, /* TSX_CTRL */
	{ 0x17a, 0 }, /* MCG_STATUS */
	{ X86_MSR_MISC_ENABLE, X86_MISC_ENABLE_DEFAULT },
	{ 0x1c4, 0 },		       /* XFD */
	{ 0x1c5, 0 },		       /* XFD_ERR */
	{ 0x1d9, 0 },		       /* DEBUGCTL */
	{ 0xd90, 0 },		       /* BNDCFGS */
	{ 0xda0, 0 },		       /* XSS */
	{ 0xc001011f, 0 },	       /* VIRT_SPEC_CTRL */
	{ 0xc0010117, 0 },	       /* VM_HSAVE_PA */
	{ 0x277, 0x0007040600070406 }, /* PAT */

	{ X86_MSR_MTRR_DEF_TYPE, 0 },
	{ 0x250, 0 },
	{ 0x258, 0 },
	{ 0x259, 0 },
	{ 0x268, 0 },
	{ 0x269, 0 },
	{ 0x26a, 0 },
	{ 0x26b, 0 },
	{ 0x26c, 0 },
	{ 0x26d, 0 },
	{ 0x26e, 0 },
	{ 0x26f, 0 },
	{ 0x200, 0 },
	{ 0x201, 0 },
	{ 0x202, 0 },
	{ 0x203, 0 },
	{ 0x204, 0 },
	{ 0x205, 0 },
	{ 0x206, 0 },
	{ 0x207, 0 },
	{ 0x208, 0 },
	{ 0x209, 0 },
	{ 0x20a, 0 },
	{ 0x20b, 0 },
	{ 0x20c, 0 },
	{ 0x20d, 0 },
	{ 0x20e, 0 },
	{ 0x20f, 0 },
};

int x86_set_msr(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	union {
		struct kvm_msrs head;
		uint8_t space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msrs;
	int done;

	memset(&msrs, 0, sizeof(msrs));
	msrs.head.nmsrs = 1;
	msrs.head.entries[0].index = index;
	msrs.head.entries[0].data = value;
	done = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
	if (done < 0)
		return -errno;
	return done == 1 ? 0 : -EINVAL;
}

void x86_reset_sregs(struct kvm_sregs *sregs, bool boot_cpu)
{
	/* Real mode: data segments are writable, the code segment is readable; 64 KiB each. */
	struct kvm_segment data = { .limit = 0xffff, .type = 3, .present = 1, .s = 1 };

	memset(sregs, 0, sizeof(*sregs));
	sregs->cs = (struct kvm_segment){
		.base = 0xffff0000,
		.limit = 0xffff,
		.selector = 0xf000,
		.type = 0xb,
		.present = 1,
		.s = 1,
	};
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->ldt = (struct kvm_segment){ .limit = 0xffff, .type = 2, .present = 1 };
	sregs->tr = (struct kvm_segment){ .limit = 0xffff, .type = 0xb, .present = 1 };
	sregs->gdt.limit = sregs->idt.limit = 0xffff;
	sregs->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
	sregs->apic_base = X86_MSR_APICBASE_DEFAULT | X86_MSR_APICBASE_ENABLE |
			   (boot_cpu ? X86_MSR_APICBASE_BSP : 0);
}

/* EDX holds the CPU's signature after reset, as leaf 1 of its CPUID tells it. */
static uint32_t vcpu_signature(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *table;
	uint32_t signature = 0x600;

	table = xcalloc(1, sizeof(*table) + CPUID_ENTRIES_MAX * sizeof(table->entries[0]));
	table->nent = CPUID_ENTRIES_MAX;
	if (!ioctl(vcpu->fd, KVM_GET_CPUID2, table) && cpuid_find(table, 1, 0))
		signature = cpuid_find(table, 1, 0)->eax;
	free(table);
	return signature;
}

static int reset_lapic(struct vcpu *vcpu)
{
	static const unsigned int masked[] = {
		LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF,
		LAPIC_LVT_LINT0, LAPIC_LVT_LINT1,   LAPIC_LVT_ERROR
	};
	struct kvm_lapic_state old, lapic;
	uint32_t version;

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &old))
		return -errno;
	version = lapic_get(&old, LAPIC_VERSION);

	memset(&lapic, 0, sizeof(lapic));
	/* The APIC is in xAPIC mode (special registers are set first): an id of eight bits. */
	lapic_set(&lapic, LAPIC_ID, (uint32_t)vcpu_arch_kvm_id(vcpu) << 24);
	lapic_set(&lapic, LAPIC_VERSION, version);
	lapic_set(&lapic, LAPIC_DFR, 0xffffffff);
	lapic_set(&lapic, LAPIC_SPIV, 0xff);
	for (size_t i = 0; i < ARRAY_SIZE(masked); i++)
		lapic_set(&lapic, masked[i], LAPIC_MASKED);
	/* Version 23:16 is the highest entry of the local vector table; the seventh is CMCI. */
	if ((version >> 16 & 0xff) >= 6)
		lapic_set(&lapic, LAPIC_LVT_CMCI, LAPIC_MASKED);
	/* As KVM creates the boot CPU: the PIC's interrupts pass. */
	if (!vcpu->index)
		lapic_set(&lapic, LAPIC_LVT_LINT0, LAPIC_MODE_EXTINT);
	return ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic) ? -errno : 0;
}

static int reset_fpu(struct vcpu *vcpu)
{
	struct kvm_xsave xsave;
	struct kvm_fpu fpu = { .fcw = FCW_DEFAULT, .mxcsr = MXCSR_DEFAULT };

	/*
	 * Components that XSTATE_BV leaves out get their initial values, AVX and beyond included.
	 * FCW is what FNINIT leaves and KVM starts with, not the 0x40 of a real reset.
	 */
	memset(&xsave, 0, sizeof(xsave));
	xsave.region[XSAVE_WORD_FCW] = FCW_DEFAULT;
	xsave.region[XSAVE_WORD_MXCSR] = MXCSR_DEFAULT;
	xsave.region[XSAVE_WORD_XSTATE_BV] = XSTATE_X87_SSE;
	if (!ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave))
		return 0;
	return ioctl(vcpu->fd, KVM_SET_FPU, &fpu) ? -errno : 0;
}

/* Events on their way, NMI blocking, interrupt shadow, SMM. */
static int reset_events(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	memset(&events, 0, sizeof(events));
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
		       KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;
	return ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) ? -errno : 0;
}

/* A guest that was a hypervisor leaves its own guest. Before CR4.VMXE and EFER.SVME are cleared. */
static void reset_nested(struct vcpu *vcpu)
{
	union {
		struct kvm_nested_state state;
		uint8_t space[sizeof(struct kvm_nested_state)];
	} nested;

	if (kvm_cap(vcpu->all->vm, KVM_CAP_NESTED_STATE) <= 0)
		return;
	memset(&nested, 0, sizeof(nested));
	nested.state.size = sizeof(nested.state);
	if (ioctl(vcpu->fd, KVM_GET_NESTED_STATE, &nested.state) && errno != E2BIG)
		return;
	if (nested.state.format == KVM_STATE_NESTED_FORMAT_VMX) {
		nested.state.hdr.vmx.vmxon_pa = UINT64_MAX;
		nested.state.hdr.vmx.vmcs12_pa = UINT64_MAX;
		nested.state.hdr.vmx.smm.flags = 0;
		nested.state.flags = 0;
	} else {
		nested.state.flags = KVM_STATE_NESTED_GIF_SET;
	}
	nested.state.size = sizeof(nested.state);
	if (ioctl(vcpu->fd, KVM_SET_NESTED_STATE, &nested.state))
		log_debug("vCPU %u: KVM_SET_NESTED_STATE: errno %d", vcpu->index, errno);
}

static int reset_mp_state(struct vcpu *vcpu)
{
	struct kvm_mp_state state;

	/* Reading makes KVM take INIT and SIPI that are on their way, or they would act after the
	 * reset. */
	if (ioctl(vcpu->fd, KVM_GET_MP_STATE, &state))
		return -errno;
	state.mp_state = vcpu->index ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE;
	return ioctl(vcpu->fd, KVM_SET_MP_STATE, &state) ? -errno : 0;
}

static void reset_optional(struct vcpu *vcpu)
{
	struct kvm_debugregs debug = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = 1 } };

	if (ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug))
		log_debug("vCPU %u: KVM_SET_DEBUGREGS: errno %d", vcpu->index, errno);
	if (ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs))
		log_debug("vCPU %u: KVM_SET_XCRS: errno %d", vcpu->index, errno);
	for (size_t i = 0; i < ARRAY_SIZE(reset_msrs); i++) {
		int ret = x86_set_msr(vcpu, reset_msrs[i].index, reset_msrs[i].value);

		if (ret)
			log_debug("vCPU %u: MSR 0x%x is not reset: errno %d", vcpu->index,
				  reset_msrs[i].index, -ret);
	}
}

int vcpu_arch_reset(struct vcpu *vcpu, struct error **errp)
{
	struct kvm_regs regs = { .rip = 0xfff0, .rflags = X86_RFLAGS_FIXED };
	struct kvm_sregs sregs;
	const char *step;
	int ret;

	reset_nested(vcpu);

	/* INIT that is on its way changes registers when it is taken: first of all. */
	step = "run state";
	ret = reset_mp_state(vcpu);
	if (!ret) {
		step = "special registers";
		x86_reset_sregs(&sregs, !vcpu->index);
		ret = ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) ? -errno : 0;
	}
	if (!ret) {
		step = "registers";
		regs.rdx = vcpu_signature(vcpu);
		ret = ioctl(vcpu->fd, KVM_SET_REGS, &regs) ? -errno : 0;
	}
	if (!ret) {
		step = "floating point registers";
		ret = reset_fpu(vcpu);
	}
	if (!ret) {
		reset_optional(vcpu);
		step = "local APIC";
		ret = reset_lapic(vcpu);
	}
	if (!ret) {
		step = "events";
		ret = reset_events(vcpu);
	}
	if (ret)
		return error_set_errno(errp, ret, "KVM cannot reset the %s of vCPU %u", step,
				       vcpu->index);
	return 0;
}

/* --- registers as text --- */

static char *describe_segment(const char *name, const struct kvm_segment *seg)
{
	return xasprintf("%s=%04x base=%016" PRIx64 " limit=%08x type=%x dpl=%u%s%s%s", name,
			 seg->selector, (uint64_t)seg->base, seg->limit, seg->type, seg->dpl,
			 seg->present ? "" : " absent", seg->db ? " 32-bit" : "",
			 seg->l ? " 64-bit" : "");
}

char *vcpu_arch_describe(struct vcpu *vcpu)
{
	char *cs, *ss, *text;
	struct kvm_sregs sregs;
	struct kvm_regs r;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &r) || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		return xasprintf("registers cannot be read: %s", strerror(errno));

	cs = describe_segment("CS", &sregs.cs);
	ss = describe_segment("SS", &sregs.ss);
#define X PRIx64
	text = xasprintf("RIP=%016" X " RSP=%016" X " RFLAGS=%08" X "\n"
			 "RAX=%016" X " RBX=%016" X " RCX=%016" X " RDX=%016" X "\n"
			 "RSI=%016" X " RDI=%016" X " RBP=%016" X " R8 =%016" X "\n"
			 "R9 =%016" X " R10=%016" X " R11=%016" X " R12=%016" X "\n"
			 "R13=%016" X " R14=%016" X " R15=%016" X "\n"
			 "CR0=%08" X " CR2=%016" X " CR3=%016" X " CR4=%08" X " EFER=%08" X "\n"
			 "%s\n%s\n"
			 "GDT=%016" X " limit=%04x IDT=%016" X " limit=%04x APICBASE=%08" X,
			 (uint64_t)r.rip, (uint64_t)r.rsp, (uint64_t)r.rflags, (uint64_t)r.rax,
			 (uint64_t)r.rbx, (uint64_t)r.rcx, (uint64_t)r.rdx, (uint64_t)r.rsi,
			 (uint64_t)r.rdi, (uint64_t)r.rbp, (uint64_t)r.r8, (uint64_t)r.r9,
			 (uint64_t)r.r10, (uint64_t)r.r11, (uint64_t)r.r12, (uint64_t)r.r13,
			 (uint64_t)r.r14, (uint64_t)r.r15, (uint64_t)sregs.cr0, (uint64_t)sregs.cr2,
			 (uint64_t)sregs.cr3, (uint64_t)sregs.cr4, (uint64_t)sregs.efer, cs, ss,
			 (uint64_t)sregs.gdt.base, sregs.gdt.limit, (uint64_t)sregs.idt.base,
			 sregs.idt.limit, (uint64_t)sregs.apic_base);
#undef X
	free(cs);
	free(ss);
	return text;
}
