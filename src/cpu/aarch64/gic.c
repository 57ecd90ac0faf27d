/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GICv3 and its ITS, as KVM emulates them (Documentation/virt/kvm/devices/arm-vgic-v3.rst and arm-vgic-its.rst; register
 * names and offsets from Arm IHI 0069).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "kvm_arm.h"
#include "util/fd.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

/* Distributor registers */
#define GICD_CTLR 0x0000
#define GICD_IGROUPR 0x0080
#define GICD_ICENABLER 0x0180
#define GICD_ISPENDR 0x0200
#define GICD_ICACTIVER 0x0380
#define GICD_IPRIORITYR 0x0400
#define GICD_ICFGR 0x0c00
#define GICD_IROUTER 0x6000

/* Redistributor registers; those of SGIs and PPIs are in the second frame. */
#define GICR_CTLR 0x0000
#define GICR_PROPBASER 0x0070
#define GICR_PENDBASER 0x0078
#define GICR_SGI_FRAME 0x10000
#define GICR_IGROUPR0 (GICR_SGI_FRAME + 0x0080)
#define GICR_ICENABLER0 (GICR_SGI_FRAME + 0x0180)
#define GICR_ISPENDR0 (GICR_SGI_FRAME + 0x0200)
#define GICR_ICACTIVER0 (GICR_SGI_FRAME + 0x0380)
#define GICR_IPRIORITYR0 (GICR_SGI_FRAME + 0x0400)
#define GICR_ICFGR1 (GICR_SGI_FRAME + 0x0c04)

/* CPU interface: op0, op1, CRn, CRm, op2 as KVM packs them. */
#define ICC(op1, crn, crm, op2)                                                                       \
	((uint64_t)3 << 14 | (uint64_t)(op1) << 11 | (uint64_t)(crn) << 7 | (uint64_t)(crm) << 3 | (op2))
#define ICC_PMR_EL1 ICC(0, 4, 6, 0)
#define ICC_BPR0_EL1 ICC(0, 12, 8, 3)
#define ICC_AP0R_EL1(n) ICC(0, 12, 8, 4 | (n))
#define ICC_AP1R_EL1(n) ICC(0, 12, 9, (n))
#define ICC_BPR1_EL1 ICC(0, 12, 12, 3)
#define ICC_CTLR_EL1 ICC(0, 12, 12, 4)
#define ICC_IGRPEN0_EL1 ICC(0, 12, 12, 6)
#define ICC_IGRPEN1_EL1 ICC(0, 12, 12, 7)

#define ICC_CTLR_CBPR_EOIMODE 0x3u

int kvm_set_attr(int fd, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr arg = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &arg) ? -errno : 0;
}

/* A KVM device's descriptor, or -errno. */
static int device_create_kvm(const struct kvm_vm *vm, uint32_t type)
{
	struct kvm_create_device arg = { .type = type };

	return ioctl(vm->accel.vm_fd, KVM_CREATE_DEVICE, &arg) ? -errno : (int)arg.fd;
}

static bool has_gicv2(const struct kvm_vm *vm)
{
	struct kvm_create_device arg = {
		.type = KVM_DEV_TYPE_ARM_VGIC_V2,
		.flags = KVM_CREATE_DEVICE_TEST,
	};

	return !ioctl(vm->accel.vm_fd, KVM_CREATE_DEVICE, &arg);
}

int gic_create(struct kvm_vm *vm, struct error **errp)
{
	uint32_t lines = GIC_SPI_BASE + GIC_SPI_COUNT;
	uint64_t base = GIC_DIST_BASE;
	int fd, ret;

	fd = device_create_kvm(vm, KVM_DEV_TYPE_ARM_VGIC_V3);
	if (fd < 0 && has_gicv2(vm))
		return error_set(errp, -ENOTSUP,
				 "this host has a GICv2 interrupt controller; guests need a host with GICv3 or later");
	if (fd < 0)
		return error_set_errno(errp, fd, "KVM cannot create a GICv3 interrupt controller");
	vm->arch->gic_fd = fd;
	ret = kvm_set_attr(fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &lines);
	if (!ret)
		ret = kvm_set_attr(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &base);
	return ret ? error_set_errno(errp, ret, "KVM does not take the GIC's distributor") : 0;
}

static int add_redistributors(struct kvm_vm *vm, unsigned int cpus, struct error **errp)
{
	struct gic_redist_region regions[2];
	unsigned int count = gic_redist_regions(cpus, regions);

	for (unsigned int i = 0; i < count; i++) {
		/* Count in bits 63:52, base in 51:16, index in 11:0. */
		uint64_t value = (uint64_t)regions[i].count << 52 | regions[i].base | i;
		int ret = kvm_set_attr(vm->arch->gic_fd, KVM_DEV_ARM_VGIC_GRP_ADDR,
				       KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, &value);

		if (ret)
			return error_set_errno(errp, ret, "KVM does not take %u GIC redistributors at 0x%llx",
					       regions[i].count, (unsigned long long)regions[i].base);
	}
	return 0;
}

static int its_create(struct kvm_vm *vm, struct error **errp)
{
	uint64_t base = GIC_ITS_BASE;
	int fd, ret;

	fd = device_create_kvm(vm, KVM_DEV_TYPE_ARM_VGIC_ITS);
	if (fd < 0)
		return error_set_errno(errp, fd, "KVM cannot create a GIC ITS, which takes MSIs");
	vm->arch->its_fd = fd;
	ret = kvm_set_attr(fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, &base);
	if (!ret)
		ret = kvm_set_attr(fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	if (ret)
		return error_set_errno(errp, ret, "KVM does not take the GIC's ITS");
	vm->msi_devid = true; /* the ITS looks a message up by its sender */
	return 0;
}

int gic_finish(struct kvm_vm *vm, unsigned int cpus, struct error **errp)
{
	int ret;

	ret = add_redistributors(vm, cpus, errp);
	if (ret)
		return ret;
	ret = kvm_set_attr(vm->arch->gic_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	if (ret)
		return error_set_errno(errp, ret, "KVM cannot initialise the GIC");
	return its_create(vm, errp);
}

void gic_release(struct kvm_vm *vm)
{
	fd_close(&vm->arch->its_fd);
	fd_close(&vm->arch->gic_fd);
}

/* --- reset ------------------------------------------------------------------------------------- */

/* Writes @value to every 32-bit register of [offset, offset + bytes). */
static int fill(int fd, uint32_t group, uint64_t target, uint64_t offset, uint64_t bytes, uint32_t value)
{
	int ret = 0;

	for (uint64_t at = 0; !ret && at < bytes; at += 4)
		ret = kvm_set_attr(fd, group, target | (offset + at), &value);
	return ret;
}

/*
 * What userspace writes is not quite what a guest writes: a pending register is set as a whole through the "set" register,
 * whose "clear" twin ignores writes (arm-vgic-v3.rst); enable and active bits go by their "clear" registers.
 */
static int reset_distributor(int fd)
{
	static const struct {
		uint16_t offset;
		uint8_t bits; /* per interrupt */
		uint32_t value;
	} banks[] = {
		{ GICD_ICENABLER, 1, UINT32_MAX }, { GICD_ISPENDR, 1, 0 },   { GICD_ICACTIVER, 1, UINT32_MAX },
		{ GICD_IGROUPR, 1, 0 },		   { GICD_IPRIORITYR, 8, 0 }, { GICD_ICFGR, 2, 0 },
	};
	const uint32_t group = KVM_DEV_ARM_VGIC_GRP_DIST_REGS;
	int ret = fill(fd, group, 0, GICD_CTLR, 4, 0);

	for (size_t i = 0; !ret && i < ARRAY_SIZE(banks); i++)
		ret = fill(fd, group, 0, banks[i].offset + GIC_SPI_BASE * banks[i].bits / 8,
			   GIC_SPI_COUNT * banks[i].bits / 8, banks[i].value);
	if (!ret)
		ret = fill(fd, group, 0, GICD_IROUTER + GIC_SPI_BASE * 8, GIC_SPI_COUNT * 8ULL, 0);
	return ret;
}

static int reset_redistributor(int fd, uint64_t target)
{
	static const struct {
		uint32_t offset, bytes, value;
	} banks[] = {
		/* LPIs are off before their tables go. */
		{ GICR_CTLR, 4, 0 },
		{ GICR_PROPBASER, 8, 0 },
		{ GICR_PENDBASER, 8, 0 },
		{ GICR_ICENABLER0, 4, UINT32_MAX },
		{ GICR_ISPENDR0, 4, 0 },
		{ GICR_ICACTIVER0, 4, UINT32_MAX },
		{ GICR_IGROUPR0, 4, 0 },
		{ GICR_IPRIORITYR0, 32, 0 },
		{ GICR_ICFGR1, 4, 0 },
	};
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(banks); i++)
		ret = fill(fd, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, target, banks[i].offset, banks[i].bytes,
			   banks[i].value);
	return ret;
}

static int reset_interface(int fd, uint64_t target)
{
	static const uint64_t zero[] = { ICC_IGRPEN0_EL1, ICC_IGRPEN1_EL1, ICC_PMR_EL1, ICC_BPR0_EL1, ICC_BPR1_EL1 };
	const uint32_t group = KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
	uint64_t value = 0;
	struct kvm_device_attr arg = {
		.group = group,
		.attr = target | ICC_CTLR_EL1,
		.addr = (uintptr_t)&value,
	};
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(zero); i++)
		ret = kvm_set_attr(fd, group, target | zero[i], &(uint64_t){ 0 });
	if (ret)
		return ret;
	/* Most of ICC_CTLR_EL1 says what the hardware has, and must be written as it is. */
	if (ioctl(fd, KVM_GET_DEVICE_ATTR, &arg))
		return -errno;
	value &= ~(uint64_t)ICC_CTLR_CBPR_EOIMODE;
	ret = kvm_set_attr(fd, group, target | ICC_CTLR_EL1, &value);
	for (unsigned int n = 0; !ret && n < 4; n++) {
		/* How many there are depends on the number of priority bits. */
		if (kvm_set_attr(fd, group, target | ICC_AP0R_EL1(n), &(uint64_t){ 0 }) ||
		    kvm_set_attr(fd, group, target | ICC_AP1R_EL1(n), &(uint64_t){ 0 }))
			break;
	}
	return ret;
}

int gic_reset(struct kvm_vm *vm, unsigned int cpus, struct error **errp)
{
	const struct kvm_arch *arch = vm->arch;
	const char *step = "ITS";
	int ret;

	ret = kvm_set_attr(arch->its_fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_CTRL_RESET, NULL);
	if (!ret) {
		step = "distributor";
		ret = reset_distributor(arch->gic_fd);
	}
	for (unsigned int i = 0; !ret && i < cpus; i++) {
		/* Aff3.Aff2.Aff1.Aff0 in bits 63:32 */
		uint64_t target = mpidr_of(i) << 32;

		step = "redistributors";
		ret = reset_redistributor(arch->gic_fd, target);
		if (!ret) {
			step = "CPU interfaces";
			ret = reset_interface(arch->gic_fd, target);
		}
	}
	return ret ? error_set_errno(errp, ret, "KVM cannot reset the GIC's %s", step) : 0;
}
