// SPDX-License-Identifier: Apache-2.0
/*
 * The least that a process can do to have a vCPU write one character: what "make bench" calls the floor.
 *
 * floor MIB KERNEL: anonymous guest memory, the text of KERNEL (tests/bench/mark.py: page 1 of the file) mapped at 1 MiB, the
 * in-kernel interrupt controllers, CPUID as KVM offers it, a vCPU in flat 32-bit mode. The character goes to standard output; then
 * the vCPU halts until somebody ends the process. No option, no device, no check that a VMM has to make.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BASE 0x100000ul
#define CPUIDS 128

static int must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static void *map(size_t size, int prot, int flags, int fd, off_t at, void *where)
{
	void *memory = mmap(where, size, prot, flags, fd, at);

	if (memory == MAP_FAILED)
		must(-1, "mmap");
	return memory;
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region slot = { .slot = 0 };
	struct kvm_pit_config pit = { .flags = 0 };
	struct kvm_segment flat = { .limit = ~0u, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_regs regs = { .rip = BASE, .rflags = 2 };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUIDS * sizeof(cpuid->entries[0]));
	struct kvm_sregs sregs;
	struct kvm_run *run;
	struct stat st;
	int kvm, vm, vcpu, kernel, size;
	char *ram;

	if (argc != 3 || !cpuid)
		return 2;
	kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	must(ioctl(vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");

	slot.memory_size = (size_t)atoi(argv[1]) << 20;
	ram = map(slot.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, NULL);
	kernel = must(open(argv[2], O_RDONLY | O_CLOEXEC), argv[2]);
	must(fstat(kernel, &st), argv[2]);
	map(st.st_size - 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, kernel, 4096, ram + BASE);
	slot.userspace_addr = (uintptr_t)ram;
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");

	size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = map(size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0, NULL);
	cpuid->nent = CPUIDS;
	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = flat;
	flat.type = 3;
	flat.selector = 16;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.cr0 = 0x11;
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	for (;;) {
		must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason != KVM_EXIT_IO)
			must(-1, "an exit that is not KVM_EXIT_IO");
		must(write(STDOUT_FILENO, (char *)run + run->io.data_offset, 1), "write");
	}
}
