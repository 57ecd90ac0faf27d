/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86_64 side of the VM: the PIC, IOAPIC and PIT of the kernel, their routes, and their reset.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "kvm_x86.h"
#include "util/alloc.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

/*
 * Four pages below the flash and APIC windows that the firmware tables tell the guest to leave
 * alone. Intel CPUs without "unrestricted guest" keep a one-page identity map and a three-page TSS
 * there for real mode.
 */
#define IDENTITY_MAP_ADDR 0xfef0c000ULL
#define TSS_ADDR (IDENTITY_MAP_ADDR + 0x1000)

#define ISA_IRQS 16

/*
 * The slave comes before its master: what waits in the slave when the master is written reaches the
 * master's new state as an interrupt without a source, vector 7 in a guest that has not set up its PIC.
 */
static const uint32_t chip_ids[] = {
	KVM_IRQCHIP_PIC_SLAVE,
	KVM_IRQCHIP_PIC_MASTER,
	KVM_IRQCHIP_IOAPIC,
};

struct kvm_arch {
	/* As the kernel made them; written back on reset. */
	struct kvm_irqchip chips[ARRAY_SIZE(chip_ids)];
	struct kvm_pit_state2 pit;
};

const struct kvm_needed_cap kvm_arch_needed_caps[] = {
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
	{ 0, NULL },
};

unsigned long kvm_arch_vm_type(struct kvm_vm *vm)
{
	(void)vm;
	return 0;
}

uint32_t kvm_arch_irq_number(uint32_t gsi)
{
	return gsi;
}

int kvm_arch_vm_init(struct kvm_vm *vm, struct error **errp)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = IDENTITY_MAP_ADDR;
	int fd = vm->accel.vm_fd;
	struct kvm_arch *arch;

	arch = vm->arch = xcalloc(1, sizeof(*arch));

	/* The default is below 4 GiB too, but where firmware images lie; kernels without the call
	 * use it. */
	if (ioctl(fd, KVM_SET_IDENTITY_MAP_ADDR, &identity))
		log_debug("KVM_SET_IDENTITY_MAP_ADDR: errno %d", errno);
	if (ioctl(fd, KVM_SET_TSS_ADDR, TSS_ADDR))
		return error_set_errno(errp, -errno, "KVM_SET_TSS_ADDR failed");
	if (ioctl(fd, KVM_CREATE_IRQCHIP, 0))
		return error_set_errno(errp, -errno, "KVM cannot create the interrupt controllers");
	if (ioctl(fd, KVM_CREATE_PIT2, &pit))
		return error_set_errno(errp, -errno, "KVM cannot create the PIT");

	for (size_t i = 0; i < ARRAY_SIZE(chip_ids); i++) {
		arch->chips[i].chip_id = chip_ids[i];
		if (ioctl(fd, KVM_GET_IRQCHIP, &arch->chips[i]))
			return error_set_errno(errp, -errno, "KVM_GET_IRQCHIP failed");
		if (chip_ids[i] == KVM_IRQCHIP_IOAPIC)
			continue;
		/* Masked, as firmware leaves it: Linux never looks at the PIC of a hardware-reduced machine. */
		arch->chips[i].chip.pic.imr = 0xff;
		if (ioctl(fd, KVM_SET_IRQCHIP, &arch->chips[i]))
			return error_set_errno(errp, -errno, "KVM_SET_IRQCHIP failed");
	}
	if (ioctl(fd, KVM_GET_PIT2, &arch->pit))
		return error_set_errno(errp, -errno, "KVM_GET_PIT2 failed");
	return 0;
}

void kvm_arch_vm_release(struct kvm_vm *vm)
{
	free(vm->arch);
	vm->arch = NULL;
}

int kvm_arch_vm_reset(struct kvm_vm *vm, unsigned int cpus, struct error **errp)
{
	int fd = vm->accel.vm_fd;

	(void)cpus;
	for (size_t i = 0; i < ARRAY_SIZE(chip_ids); i++)
		if (ioctl(fd, KVM_SET_IRQCHIP, &vm->arch->chips[i]))
			return error_set_errno(errp, -errno,
					       "KVM cannot reset interrupt controller %u",
					       chip_ids[i]);
	if (ioctl(fd, KVM_SET_PIT2, &vm->arch->pit))
		return error_set_errno(errp, -errno, "KVM cannot reset the PIT");
	return 0;
}

/*
 * Every GSI is the IOAPIC pin of the same number, the first 16 are the PIC's inputs as well. There
 * is no PC-style move of the timer from 0 to 2: the firmware tables must not announce one.
 */
unsigned int kvm_arch_default_routes(struct kvm_irq_routing_entry entries[KVM_ARCH_ROUTES_MAX])
{
	unsigned int count = 0;

	for (uint32_t gsi = 0; gsi < ISA_IRQS; gsi++)
		entries[count++] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip.irqchip =
				gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			.u.irqchip.pin = gsi % 8,
		};
	for (uint32_t gsi = 0; gsi < KVM_IOAPIC_NUM_PINS; gsi++)
		entries[count++] = (struct kvm_irq_routing_entry){
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC,
			.u.irqchip.pin = gsi,
		};
	return count;
}
