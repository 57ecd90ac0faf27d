/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM accelerator: the VM object, its memory slots, ioeventfds and interrupt inputs.
 * (Documentation/virt/kvm/api.rst names the sections: 4.1 VM, 4.35 memory, 4.59 ioeventfd, 4.75
 * irqfd.)
 */
#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

#define KVM_DEVICE "/dev/kvm"
#define KVM_API 12

static const struct kvm_needed_cap needed_caps[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },
	{ 0, NULL },
};

int kvm_cap(const struct kvm_vm *vm, int cap)
{
	int value = ioctl(vm->accel.vm_fd, KVM_CHECK_EXTENSION, cap);

	return value < 0 ? 0 : value;
}

static bool ram_is_mapped(const struct kvm_vm *vm, const struct ram_region *ram)
{
	for (unsigned int i = 0; i < vm->slot_count; i++)
		if (vm->slot_bases[i] == ram->base)
			return true;
	return false;
}

static int kvm_map_ram(struct accel *accel, struct error **errp)
{
	struct kvm_vm *vm = to_kvm_vm(accel);
	unsigned int count = mem_space_ram_count(accel->space);

	vm->slot_bases = xrealloc(vm->slot_bases,
				  (vm->slot_count + count + 1) * sizeof(*vm->slot_bases));
	for (unsigned int i = 0; i < count; i++) {
		const struct ram_region *ram = mem_space_ram(accel->space, i);
		struct kvm_userspace_memory_region slot = {
			.slot = vm->slot_count,
			.guest_phys_addr = ram->base,
			.memory_size = ram->size,
			.userspace_addr = (uintptr_t)ram->host,
		};

		if (ram_is_mapped(vm, ram))
			continue;
		if (ioctl(accel->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot))
			return error_set_errno(errp, -errno,
					       "KVM does not take RAM of 0x%" PRIx64
					       " bytes at 0x%" PRIx64,
					       ram->size, ram->base);
		vm->slot_bases[vm->slot_count++] = ram->base;
	}
	return 0;
}

/* A slot is known by its base, as RAM's are. */
int kvm_set_slot(struct kvm_vm *vm, gpa_t base, uint64_t size, void *host, uint32_t flags)
{
	struct kvm_userspace_memory_region arg = {
		.flags = flags,
		.guest_phys_addr = base,
		.memory_size = host ? size : 0,
		.userspace_addr = (uintptr_t)host,
	};
	unsigned int slot = 0;

	while (slot < vm->slot_count && vm->slot_bases[slot] != base)
		slot++;
	if (slot == vm->slot_count) {
		if (!host)
			return 0;
		if (flags & KVM_MEM_READONLY && !kvm_cap(vm, KVM_CAP_READONLY_MEM))
			return -EOPNOTSUPP;
		vm->slot_bases = xrealloc(vm->slot_bases, (slot + 1) * sizeof(*vm->slot_bases));
		vm->slot_bases[slot] = base;
		vm->slot_count++;
	}
	arg.slot = slot;
	return ioctl(vm->accel.vm_fd, KVM_SET_USER_MEMORY_REGION, &arg) ? -errno : 0;
}

/* api.rst 4.35, KVM_MEM_READONLY */
static int kvm_map_rom(struct accel *accel, gpa_t base, uint64_t size, void *host)
{
	return kvm_set_slot(to_kvm_vm(accel), base, size, host, KVM_MEM_READONLY);
}

static int kvm_ioeventfd(struct accel *accel, const struct accel_ioeventfd *ioevent, bool assign)
{
	struct kvm_ioeventfd arg = {
		.addr = ioevent->addr,
		.len = ioevent->len,
		.fd = ioevent->fd,
	};

	if (ioevent->kind == IO_PORT)
		arg.flags |= KVM_IOEVENTFD_FLAG_PIO;
	if (ioevent->datamatch) {
		arg.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
		arg.datamatch = ioevent->data;
	}
	if (!assign)
		arg.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	return ioctl(accel->vm_fd, KVM_IOEVENTFD, &arg) ? -errno : 0;
}

static int kvm_irq_line(struct accel *accel, uint32_t gsi, bool level)
{
	struct kvm_irq_level arg = { .irq = kvm_arch_irq_number(gsi), .level = level };

	return ioctl(accel->vm_fd, KVM_IRQ_LINE, &arg) ? -errno : 0;
}

static int kvm_irqfd(struct accel *accel, uint32_t gsi, int fd, int resample_fd, bool assign)
{
	struct kvm_irqfd arg = { .fd = (uint32_t)fd, .gsi = gsi };

	if (!assign) {
		arg.flags = KVM_IRQFD_FLAG_DEASSIGN;
	} else if (resample_fd >= 0) {
		arg.flags = KVM_IRQFD_FLAG_RESAMPLE;
		arg.resamplefd = (uint32_t)resample_fd;
	}
	return ioctl(accel->vm_fd, KVM_IRQFD, &arg) ? -errno : 0;
}

static int kvm_signal_msi(struct accel *accel, const struct msi_message *msg)
{
	bool devid = to_kvm_vm(accel)->msi_devid;
	struct kvm_msi arg = {
		.address_lo = (uint32_t)msg->address,
		.address_hi = (uint32_t)(msg->address >> 32),
		.data = msg->data,
		.flags = devid ? KVM_MSI_VALID_DEVID : 0,
		.devid = devid ? msg->device_id : 0,
	};

	/* 0: the guest has masked it, which is no error; > 0: delivered. */
	return ioctl(accel->vm_fd, KVM_SIGNAL_MSI, &arg) < 0 ? -errno : 0;
}

static void kvm_free(struct accel *accel)
{
	struct kvm_vm *vm = to_kvm_vm(accel);

	kvm_arch_vm_release(vm);
	kvm_routes_release(vm);
	free(vm->slot_bases);
	fd_close(&vm->accel.vm_fd);
	fd_close(&vm->kvm_fd);
	free(vm);
}

static const struct accel_ops kvm_ops = {
	.name = "kvm",
	.map_ram = kvm_map_ram,
	.map_rom = kvm_map_rom,
	.ioeventfd = kvm_ioeventfd,
	.irq_line = kvm_irq_line,
	.irqfd = kvm_irqfd,
	.signal_msi = kvm_signal_msi,
	.msi_route_add = kvm_msi_route_add,
	.msi_route_update = kvm_msi_route_update,
	.msi_route_del = kvm_msi_route_del,
	.free = kvm_free,
};

static int kvm_open(struct kvm_vm *vm, struct error **errp)
{
	int version;

	vm->kvm_fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0) {
		switch (errno) {
		case ENOENT:
		case ENODEV:
		case ENXIO:
			return error_set_errno(
				errp, -errno,
				"cannot open " KVM_DEVICE
				": load the kvm module of this CPU (kvm_intel, kvm_amd), "
				"enable virtualization in the firmware, "
				"or nested virtualization when this is a guest");
		case EACCES:
		case EPERM:
			return error_set_errno(errp, -errno,
					       "cannot open " KVM_DEVICE
					       ": run as root or as a member of its group "
					       "(usually 'kvm')");
		default:
			return error_set_errno(errp, -errno, "cannot open " KVM_DEVICE);
		}
	}

	version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return error_set_errno(errp, -errno, KVM_DEVICE " is not KVM");
	if (version != KVM_API)
		return error_set(errp, -ENOTSUP, "KVM speaks API version %d, not %d", version,
				 KVM_API);
	return 0;
}

static int kvm_check_caps(const struct kvm_vm *vm, const struct kvm_needed_cap *cap,
			  struct error **errp)
{
	for (; cap->name; cap++)
		if (!kvm_cap(vm, cap->cap))
			return error_set(errp, -ENOTSUP,
					 "the KVM of this host lacks %s; a newer kernel has it",
					 cap->name);
	return 0;
}

static int kvm_create(struct kvm_vm *vm, struct error **errp)
{
	unsigned long type = kvm_arch_vm_type(vm);
	int ret;

	/* A signal during the creation (a timer, a debugger) shows as EINTR; it may be tried again.
	 */
	do {
		vm->accel.vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, type);
	} while (vm->accel.vm_fd < 0 && errno == EINTR);
	if (vm->accel.vm_fd < 0)
		return error_set_errno(errp, -errno, "KVM cannot create a VM");

	ret = kvm_check_caps(vm, needed_caps, errp);
	if (!ret)
		ret = kvm_check_caps(vm, kvm_arch_needed_caps, errp);
	if (ret)
		return ret;

	ret = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < (int)sizeof(struct kvm_run))
		return error_set_errno(errp, ret < 0 ? -errno : -EINVAL,
				       "KVM's vCPU mapping is too small");
	vm->run_size = (size_t)ret;

	/* Documented defaults for kernels that do not know the extension (api.rst 4.7). */
	ret = kvm_cap(vm, KVM_CAP_MAX_VCPUS);
	vm->accel.max_vcpus = ret ? (unsigned int)ret : 4;
	/* Asked for now: the threads that make routes later may not ask. */
	vm->routes.limit = (unsigned int)kvm_cap(vm, KVM_CAP_IRQ_ROUTING);
	ret = kvm_cap(vm, KVM_CAP_MAX_VCPU_ID);
	vm->vcpu_id_limit = ret ? (uint64_t)ret : vm->accel.max_vcpus;
	return 0;
}

int accel_kvm_new(struct mem_space *space, struct accel **ret, struct error **errp)
{
	struct kvm_vm *vm = xcalloc(1, sizeof(*vm));
	int code;

	vm->accel.ops = &kvm_ops;
	vm->accel.space = space;
	vm->accel.vm_fd = -1;
	vm->kvm_fd = -1;
	kvm_routes_init(vm);

	code = kvm_open(vm, errp);
	if (!code)
		code = kvm_create(vm, errp);
	/*
	 * RAM before the interrupt controllers: those register on KVM's I/O bus, after which a
	 * change of memory slots waits for a grace period (measured on Linux 6.18: 5 ms instead of
	 * 0.1).
	 */
	if (!code)
		code = kvm_map_ram(&vm->accel, errp);
	if (!code)
		code = kvm_arch_vm_init(vm, errp);
	if (code) {
		kvm_free(&vm->accel);
		return code;
	}
	*ret = &vm->accel;
	return 0;
}

void accel_free(struct accel *accel)
{
	if (accel)
		accel->ops->free(accel);
}
