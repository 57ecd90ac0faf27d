/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aarch64 vCPUs: features, power-on state and the state in which a loader's kernel expects to find the CPU
 * (Documentation/arch/arm64/booting.rst). CPUs but the first are off until the guest turns them on by PSCI CPU_ON, which
 * KVM serves itself, as it does CPU_OFF and CPU_SUSPEND; SYSTEM_OFF and SYSTEM_RESET come as system events.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm_arm.h"
#include "util/alloc.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

#define PSTATE_EL1H_MASKED (0x5u | 0xfu << 6) /* EL1, SP_EL1; D, A, I, F masked */

struct vcpus_arch {
	struct kvm_vcpu_init init;
	bool pmu;
};

static uint64_t core_reg(size_t offset)
{
	return KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | offset / sizeof(uint32_t);
}

#define CORE_REG(field) core_reg(offsetof(struct kvm_regs, field))
#define CORE_REG_X(n) core_reg(offsetof(struct kvm_regs, regs.regs) + (n) * sizeof(uint64_t))

static int set_reg(const struct vcpu *vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) ? -errno : 0;
}

static int get_reg(const struct vcpu *vcpu, uint64_t id, uint64_t *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };

	return ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg) ? -errno : 0;
}

/* KVM's own numbering: clusters of 16, which is what one SGI of a GICv3 can address. */
uint64_t mpidr_of(unsigned int index)
{
	return (index & 0xf) | (uint64_t)(index >> 4 & 0xff) << 8 | (uint64_t)(index >> 12 & 0xff) << 16;
}

uint64_t vcpu_arch_id(const struct vcpu_topology *topology, unsigned int index)
{
	(void)topology;
	return mpidr_of(index);
}

uint64_t vcpu_arch_kvm_id(const struct vcpu *vcpu)
{
	return vcpu->index;
}

static void want_feature(struct vcpus_arch *arch, unsigned int feature)
{
	arch->init.features[feature / 32] |= 1u << feature % 32;
}

/* Is a feature that the host has, or has not, the guest's? */
static int decide(enum accel_want want, bool host, const char *name, bool *ret, struct error **errp)
{
	if (want == ACCEL_WANT_ON && !host)
		return error_set(errp, -ENOTSUP, "-cpu host: %s=on: the CPUs of this host, or its KVM, have none", name);
	*ret = host && want != ACCEL_WANT_OFF;
	return 0;
}

int vcpus_arch_init(struct vcpus *vcpus, struct error **errp)
{
	struct kvm_vm *vm = vcpus->vm;
	struct vcpus_arch *arch;
	bool sve = false, steal_time = false;
	int ret;

	arch = vcpus->arch = xcalloc(1, sizeof(*arch));
	if (ioctl(vm->accel.vm_fd, KVM_ARM_PREFERRED_TARGET, &arch->init))
		return error_set_errno(errp, -errno, "KVM_ARM_PREFERRED_TARGET failed");
	memset(arch->init.features, 0, sizeof(arch->init.features));
	want_feature(arch, KVM_ARM_VCPU_PSCI_0_2);
	ret = decide(vm->accel.want_pmu, kvm_cap(vm, KVM_CAP_ARM_PMU_V3), "pmu", &arch->pmu, errp);
	if (!ret)
		ret = decide(vm->accel.want_sve, kvm_cap(vm, KVM_CAP_ARM_SVE), "sve", &sve, errp);
	if (!ret)
		ret = decide(vm->accel.want_steal_time, kvm_cap(vm, KVM_CAP_STEAL_TIME), "kvm-steal-time", &steal_time, errp);
	if (!ret && steal_time)
		ret = steal_time_create(vm, errp);
	if (ret)
		return ret;
	vm->accel.pmu = arch->pmu;
	if (arch->pmu)
		want_feature(arch, KVM_ARM_VCPU_PMU_V3);
	if (sve)
		want_feature(arch, KVM_ARM_VCPU_SVE);
	if (kvm_cap(vm, KVM_CAP_ARM_PTRAUTH_ADDRESS) && kvm_cap(vm, KVM_CAP_ARM_PTRAUTH_GENERIC)) {
		want_feature(arch, KVM_ARM_VCPU_PTRAUTH_ADDRESS);
		want_feature(arch, KVM_ARM_VCPU_PTRAUTH_GENERIC);
	}
	return 0;
}

void vcpus_arch_release(struct vcpus *vcpus)
{
	free(vcpus->arch);
	vcpus->arch = NULL;
}

/* Registers as after power-on; the first time it also fixes what the CPU can do. */
static int power_on(struct vcpu *vcpu)
{
	struct kvm_vcpu_init init = vcpu->all->arch->init;

	if (vcpu->index)
		init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
	return ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init) ? -errno : 0;
}

/* The PMU's interrupt; the GIC is complete. */
static int pmu_init(const struct vcpu *vcpu)
{
	int intid = GIC_PPI_BASE + GIC_PPI_PMU;
	int ret;

	ret = kvm_set_attr(vcpu->fd, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &intid);
	return ret ? ret : kvm_set_attr(vcpu->fd, KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_INIT, NULL);
}

/* What needs all vCPUs. */
static int finish(struct vcpus *vcpus, struct error **errp)
{
	int ret = gic_finish(vcpus->vm, vcpus->count, errp);

	for (unsigned int i = 0; !ret && vcpus->arch->pmu && i < vcpus->count; i++) {
		ret = pmu_init(&vcpus->vcpu[i]);
		if (ret)
			return error_set_errno(errp, ret, "KVM cannot initialise the PMU of vCPU %u", i);
	}
	return ret;
}

int vcpu_arch_init(struct vcpu *vcpu, struct error **errp)
{
	struct vcpus *all = vcpu->all;
	const unsigned int sve = 1u << KVM_ARM_VCPU_SVE;
	int feature = KVM_ARM_VCPU_SVE;
	int ret;

	ret = power_on(vcpu);
	if (ret)
		return error_set_errno(errp, ret, "KVM_ARM_VCPU_INIT of vCPU %u failed", vcpu->index);
	if ((all->arch->init.features[0] & sve) && ioctl(vcpu->fd, KVM_ARM_VCPU_FINALIZE, &feature))
		return error_set_errno(errp, -errno, "KVM cannot complete SVE of vCPU %u", vcpu->index);
	ret = steal_time_add_vcpu(vcpu, errp);
	if (ret)
		return ret;
	return vcpu->index == all->count - 1 ? finish(all, errp) : 0;
}

int vcpu_arch_reset(struct vcpu *vcpu, struct error **errp)
{
	int ret = power_on(vcpu);

	if (ret)
		return error_set_errno(errp, ret, "KVM cannot reset vCPU %u", vcpu->index);
	return 0;
}

int vcpus_arch_set_entry(struct vcpus *vcpus, const struct vcpu_entry *entry, struct error **errp)
{
	struct vcpu *boot = &vcpus->vcpu[0];
	int ret = 0;

	switch (entry->mode) {
	case VCPU_ENTRY_RESET:
		/* Firmware lies at 0, and finds the FDT by itself. */
		break;
	case VCPU_ENTRY_ARM64:
		ret = set_reg(boot, CORE_REG_X(0), entry->arg);
		if (!ret)
			ret = set_reg(boot, CORE_REG(regs.pc), entry->pc);
		if (!ret)
			ret = set_reg(boot, CORE_REG(regs.pstate), PSTATE_EL1H_MASKED);
		break;
	default:
		return error_set(errp, -EINVAL, "an aarch64 CPU has no such way to enter a guest");
	}
	return ret ? error_set_errno(errp, ret, "KVM does not take the boot CPU's registers") : 0;
}

/*
 * An access outside RAM by an instruction that the CPU does not describe (a pair, write-back): real hardware without
 * a device there answers with an external abort, and so does this.
 */
bool vcpu_arch_exit(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events;

	if (vcpu->run->exit_reason != KVM_EXIT_ARM_NISV || !kvm_cap(vcpu->all->vm, KVM_CAP_ARM_INJECT_EXT_DABT))
		return false;
	memset(&events, 0, sizeof(events));
	events.exception.ext_dabt_pending = 1;
	return !ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
}

/* The guest's counter goes on; its kernel has no word for a pause. */
void vcpu_arch_tell_pause(struct vcpu *vcpu)
{
	(void)vcpu;
}

/* --- registers as text ----------------------------------------------------------------------------- */

#define SYS_REG(op0, op1, crn, crm, op2) ARM64_SYS_REG(op0, op1, crn, crm, op2)

char *vcpu_arch_describe(struct vcpu *vcpu)
{
	static const struct {
		const char *name;
		uint64_t id;
	} system[] = {
		{ "SCTLR", SYS_REG(3, 0, 1, 0, 0) },  { "TTBR0", SYS_REG(3, 0, 2, 0, 0) },
		{ "TTBR1", SYS_REG(3, 0, 2, 0, 1) },  { "ESR", SYS_REG(3, 0, 5, 2, 0) },
		{ "FAR", SYS_REG(3, 0, 6, 0, 0) },    { "VBAR", SYS_REG(3, 0, 12, 0, 0) },
		{ "MPIDR", SYS_REG(3, 0, 0, 0, 5) },
	};
	uint64_t value = 0;
	char *text, *more;

	if (get_reg(vcpu, CORE_REG(regs.pc), &value))
		return xasprintf("registers cannot be read: %s", strerror(errno));
	text = xasprintf("PC=%016" PRIx64, value);
	if (!get_reg(vcpu, CORE_REG(regs.pstate), &value)) {
		more = xasprintf("%s PSTATE=%08" PRIx64, text, value);
		free(text);
		text = more;
	}
	if (!get_reg(vcpu, CORE_REG(sp_el1), &value)) {
		more = xasprintf("%s SP_EL1=%016" PRIx64, text, value);
		free(text);
		text = more;
	}
	for (unsigned int n = 0; n < 31; n++) {
		if (get_reg(vcpu, CORE_REG_X(n), &value))
			break;
		more = xasprintf("%s%cX%02u=%016" PRIx64, text, n % 4 ? ' ' : '\n', n, value);
		free(text);
		text = more;
	}
	for (size_t i = 0; i < ARRAY_SIZE(system); i++) {
		if (get_reg(vcpu, system[i].id, &value))
			continue;
		more = xasprintf("%s%c%s=%016" PRIx64, text, i % 4 ? ' ' : '\n', system[i].name, value);
		free(text);
		text = more;
	}
	return text;
}
