/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aarch64: what is asked of KVM for the GIC and for stolen time, and what becomes of its answers. ioctl() of this program is
 * the one below, a KVM that has what a test says.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cpu/aarch64/kvm_arm.h"
#include "cpu/steal_time.h"
#include "unit.h"

#define GIC_FD 1000
#define VCPU_FD 2000

static struct {
	bool has_gicv2, has_gicv3, has_slots;
	uint64_t distributor;
	struct kvm_userspace_memory_region slot;
	uint64_t stolen_at[4]; /* of each vCPU */
} kvm;

static int refuse(int code)
{
	errno = code;
	return -1;
}

static int create_device(struct kvm_create_device *arg)
{
	bool there = arg->type == KVM_DEV_TYPE_ARM_VGIC_V3 ? kvm.has_gicv3 : kvm.has_gicv2;

	arg->fd = GIC_FD;
	return there ? 0 : refuse(ENODEV);
}

static int set_attr(int fd, const struct kvm_device_attr *arg)
{
	if (fd == GIC_FD && arg->group == KVM_DEV_ARM_VGIC_GRP_ADDR && arg->attr == KVM_VGIC_V3_ADDR_TYPE_DIST)
		memcpy(&kvm.distributor, (const void *)(uintptr_t)arg->addr, sizeof(kvm.distributor));
	if (fd >= VCPU_FD && arg->group == KVM_ARM_VCPU_PVTIME_CTRL && arg->attr == KVM_ARM_VCPU_PVTIME_IPA)
		memcpy(&kvm.stolen_at[fd - VCPU_FD], (const void *)(uintptr_t)arg->addr, sizeof(uint64_t));
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	switch (request) {
	case KVM_CREATE_DEVICE:
		return create_device(arg);
	case KVM_SET_DEVICE_ATTR:
		return set_attr(fd, arg);
	case KVM_SET_USER_MEMORY_REGION:
		if (!kvm.has_slots)
			return refuse(EINVAL);
		kvm.slot = *(const struct kvm_userspace_memory_region *)arg;
		return 0;
	}
	return refuse(ENOTTY);
}

static struct kvm_arch arch;
static struct kvm_vm vm;

static void setup(void)
{
	memset(&kvm, 0, sizeof(kvm));
	kvm.has_slots = true;
	arch = (struct kvm_arch){ .gic_fd = -1, .its_fd = -1 };
	vm = (struct kvm_vm){ .accel.vm_fd = -1, .kvm_fd = -1, .arch = &arch };
}

START_TEST(gicv3_is_placed)
{
	setup();
	kvm.has_gicv3 = true;
	ck_assert_int_eq(gic_create(&vm, NULL), 0);
	ck_assert_int_eq(arch.gic_fd, GIC_FD);
	ck_assert_uint_eq(kvm.distributor, GIC_DIST_BASE);
}
END_TEST

START_TEST(host_with_gicv2_is_refused)
{
	struct error *err = NULL;

	setup();
	kvm.has_gicv2 = true;
	ck_assert_int_eq(gic_create(&vm, &err), -ENOTSUP);
	ck_assert_str_eq(error_text(err), "this host has a GICv2 interrupt controller; guests need a host with GICv3 or later");
	ck_assert_int_eq(arch.gic_fd, -1);
	error_free(err);
	err = NULL;
	kvm.has_gicv2 = false;
	ck_assert_int_eq(gic_create(&vm, &err), -ENODEV);
	ck_assert_ptr_nonnull(strstr(error_text(err), "KVM cannot create a GICv3 interrupt controller"));
	error_free(err);
}
END_TEST

START_TEST(stolen_time_has_a_place_for_each_vcpu)
{
	struct vcpus all = { .vm = &vm };

	setup();
	ck_assert_int_eq(steal_time_create(&vm, NULL), 0);
	ck_assert_uint_eq(kvm.slot.guest_phys_addr, STEAL_TIME_BASE);
	ck_assert_uint_eq(kvm.slot.memory_size, STEAL_TIME_PAGE);
	ck_assert_uint_eq(kvm.slot.flags, 0);
	ck_assert_uint_eq(kvm.slot.userspace_addr, (uintptr_t)arch.steal_time);
	for (unsigned int i = 0; i < ARRAY_SIZE(kvm.stolen_at); i++) {
		const struct vcpu vcpu = { .all = &all, .index = i, .fd = VCPU_FD + (int)i };

		ck_assert_int_eq(steal_time_add_vcpu(&vcpu, NULL), 0);
		ck_assert_uint_eq(kvm.stolen_at[i], STEAL_TIME_BASE + i * 64);
	}
	steal_time_release(&vm);
	ck_assert_ptr_null(arch.steal_time);
	free(vm.slot_bases);
}
END_TEST

START_TEST(without_stolen_time_nothing_is_asked)
{
	struct vcpus all = { .vm = &vm };
	const struct vcpu vcpu = { .all = &all, .fd = VCPU_FD };
	struct error *err = NULL;

	setup();
	kvm.has_slots = false;
	ck_assert_int_eq(steal_time_create(&vm, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error_text(err), "stolen time"));
	error_free(err);
	ck_assert_int_eq(steal_time_add_vcpu(&vcpu, NULL), 0);
	ck_assert_uint_eq(kvm.stolen_at[0], 0);
	steal_time_release(&vm);
	free(vm.slot_bases);
}
END_TEST

UNIT_SUITE(arm_kvm_suite, "arm kvm", gicv3_is_placed, host_with_gicv2_is_refused, stolen_time_has_a_place_for_each_vcpu,
	   without_stolen_time_nothing_is_asked)
UNIT_MAIN(arm_kvm_suite)
