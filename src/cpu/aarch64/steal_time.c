/* SPDX-License-Identifier: Apache-2.0 */
/* Where KVM tells the guest how long its vCPUs waited for a processor of the host (Documentation/virt/kvm/arm/pvtime.rst). */
#include <errno.h>
#include <sys/mman.h>

#include "cpu/steal_time.h"
#include "kvm_arm.h"

int steal_time_create(struct kvm_vm *vm, struct error **errp)
{
	void *page = mmap(NULL, STEAL_TIME_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (page == MAP_FAILED)
		return error_set_errno(errp, -errno, "no memory for the guest's stolen time");
	ret = kvm_set_slot(vm, STEAL_TIME_BASE, STEAL_TIME_PAGE, page, 0);
	if (ret) {
		munmap(page, STEAL_TIME_PAGE);
		return error_set_errno(errp, ret, "KVM does not take the page of the guest's stolen time");
	}
	vm->arch->steal_time = page;
	return 0;
}

/* devices/vcpu.rst, KVM_ARM_VCPU_PVTIME_IPA: 64 bytes, once in a vCPU's life; a reset leaves it. */
int steal_time_add_vcpu(const struct vcpu *vcpu, struct error **errp)
{
	const struct kvm_vm *vm = vcpu->all->vm;
	uint64_t ipa = STEAL_TIME_BASE + (uint64_t)vcpu->index * STEAL_TIME_SIZE;
	int ret;

	if (!vm->arch->steal_time)
		return 0;
	ret = kvm_set_attr(vcpu->fd, KVM_ARM_VCPU_PVTIME_CTRL, KVM_ARM_VCPU_PVTIME_IPA, &ipa);
	return ret ? error_set_errno(errp, ret, "KVM cannot tell of the stolen time of vCPU %u", vcpu->index) : 0;
}

/* The VM may still be there; none of its vCPUs runs any more. */
void steal_time_release(struct kvm_vm *vm)
{
	if (vm->arch->steal_time)
		munmap(vm->arch->steal_time, STEAL_TIME_PAGE);
	vm->arch->steal_time = NULL;
}
