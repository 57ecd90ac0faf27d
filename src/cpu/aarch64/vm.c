/* SPDX-License-Identifier: Apache-2.0 */
/* The aarch64 side of the VM: the size of its physical addresses, the GIC, interrupt routes. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "kvm_arm.h"
#include "util/alloc.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

/* What KVM has had from the first day; enough for every address of both machines. */
#define PHYS_BITS_DEFAULT 40

const struct kvm_needed_cap kvm_arch_needed_caps[] = {
	{ KVM_CAP_ONE_REG, "KVM_CAP_ONE_REG" },
	{ KVM_CAP_ARM_PSCI_0_2, "KVM_CAP_ARM_PSCI_0_2" },
	{ KVM_CAP_DEVICE_CTRL, "KVM_CAP_DEVICE_CTRL" },
	{ 0, NULL },
};

unsigned long kvm_arch_vm_type(struct kvm_vm *vm)
{
	int limit = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);

	vm->accel.phys_bits = PHYS_BITS_DEFAULT;
	/* 0: kernel before 4.20, where 40 bits are all there is; 40 also needs no word. */
	if (limit <= 0 || limit >= PHYS_BITS_DEFAULT)
		return 0;
	vm->accel.phys_bits = (unsigned int)limit;
	return KVM_VM_TYPE_ARM_IPA_SIZE((unsigned long)limit);
}

int kvm_arch_vm_init(struct kvm_vm *vm, struct error **errp)
{
	struct kvm_enable_cap nisv = { .cap = KVM_CAP_ARM_NISV_TO_USER };

	vm->arch = xcalloc(1, sizeof(*vm->arch));
	vm->arch->gic_fd = vm->arch->its_fd = -1;
	/* Without it KVM_RUN fails at an access that cannot be decoded; see vcpu_arch_exit(). */
	if (ioctl(vm->accel.vm_fd, KVM_ENABLE_CAP, &nisv))
		log_debug("KVM_CAP_ARM_NISV_TO_USER: errno %d", errno);
	return gic_create(vm, errp);
}

void kvm_arch_vm_release(struct kvm_vm *vm)
{
	if (!vm->arch)
		return;
	gic_release(vm);
	steal_time_release(vm);
	free(vm->arch);
	vm->arch = NULL;
}

int kvm_arch_vm_reset(struct kvm_vm *vm, unsigned int cpus, struct error **errp)
{
	return gic_reset(vm, cpus, errp);
}

uint32_t kvm_arch_irq_number(uint32_t gsi)
{
	return KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (GIC_SPI_BASE + gsi);
}

/* GSI n is pin n of the one interrupt controller, which is SPI n. */
unsigned int kvm_arch_default_routes(struct kvm_irq_routing_entry entries[KVM_ARCH_ROUTES_MAX])
{
	for (uint32_t gsi = 0; gsi < GIC_SPI_COUNT; gsi++)
		entries[gsi] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip.pin = gsi,
		};
	return GIC_SPI_COUNT;
}
