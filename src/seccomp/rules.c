// SPDX-License-Identifier: Apache-2.0
/* The tables of rules.h: what each kind of thread needs once the guest runs, and why. */
#include "rules.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* KVM_ARM_VCPU_INIT; its struct is known to the headers of that architecture only. */
#define RULE_KVM_ARM_VCPU_INIT _IOC(_IOC_WRITE, KVMIO, 0xae, 32)
#ifdef __aarch64__
_Static_assert(RULE_KVM_ARM_VCPU_INIT == KVM_ARM_VCPU_INIT, "struct kvm_vcpu_init");
#endif

/* As above; its struct has another size here. */
#define RULE_KVM_SET_VCPU_EVENTS _IOC(_IOC_WRITE, KVMIO, 0xa0, 64)
#ifdef __aarch64__
_Static_assert(RULE_KVM_SET_VCPU_EVENTS == KVM_SET_VCPU_EVENTS, "struct kvm_vcpu_events");
#endif

/* asm-generic/ioctls.h; the terminal's headers of libc and kernel exclude each other. */
#ifndef FIONBIO
#define FIONBIO 0x5421
#endif

#define CALL(name) { .call = #name }
#define CALL_IF(name, argument, bits, is) { .call = #name, .arg = argument, .mask = bits, .value = is, .meaning = #is }
#define IOCTL(request)                                                                             \
	{ .call = "ioctl", .arg = 1, .mask = UINT32_MAX, .value = (uint32_t)(request), .meaning = #request }
#define END { .call = NULL }

/* Threads, and nothing that is more than a thread: no process, no namespace. */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define PROCESS_FLAGS                                                                              \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET)

/* Memory, locks, time, messages, and the way out. Descriptors are read and written by the helpers of util/fd.h. */
static const struct rule every_thread[] = {
	CALL(readv),
	CALL(writev),
	CALL(futex),
	CALL(clock_gettime), /* where the vDSO cannot tell */
	CALL_IF(mmap, 2, PROT_EXEC, 0),
	CALL(munmap),
	CALL(exit_group),
	/* A thread that is ended by the sandbox gives the terminal back first. */
	IOCTL(TIOCGPGRP),
	IOCTL(TCSETS),
	IOCTL(FIONBIO),
	END,
};

/* What libc tries, and does without: malloc has mmap(), and only one arena, which needs no mprotect(). */
static const struct rule plain_libc[] = {
	{ .call = "brk", .answer = RULE_ZERO }, /* it fails by an address below the one asked for; an errno is none */
	{ .call = "mremap", .answer = ENOMEM },
	END,
};

/* A thread that ends blocks signals, which all are blocked, and gives up its stack, which goes with the thread. */
static const struct rule thread_ends[] = {
	CALL(exit),
	{ .call = "rt_sigprocmask", .answer = EPERM },
	{ .call = "madvise", .answer = ENOMEM },
	END,
};

/* Of a signal that takes it out of the guest; a vCPU that is plugged in lets it in. */
static const struct rule vcpu_signals[] = {
	CALL(exit),
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	{ .call = "madvise", .answer = ENOMEM },
	END,
};

/* A thread that begins after the others were confined has the setup thread's filter before it gets its own. */
static const struct rule thread_starts[] = {
	{ .call = "clone3", .answer = ENOSYS }, /* its flags are behind a pointer: clone() it is */
	CALL_IF(clone, 0, PROCESS_FLAGS | THREAD_FLAGS, THREAD_FLAGS),
	{ .call = "set_robust_list", .answer = ENOSYS }, /* nobody has a robust mutex */
	CALL(rseq),
	CALL_IF(mprotect, 2, PROT_EXEC, 0), /* the guard of its stack */
	CALL_IF(prctl, 0, UINT32_MAX, PR_SET_NAME),
	CALL_IF(prctl, 0, UINT32_MAX, PR_SET_NO_NEW_PRIVS),
	CALL(gettid),
	CALL(capset), /* which can only give up */
	CALL_IF(seccomp, 0, UINT32_MAX, SECCOMP_SET_MODE_FILTER),
	CALL(madvise), /* of memory that is preallocated */
	CALL(sched_setaffinity), /* of an iothread */
	END,
};

/* What changes when a driver turns a device on and off, and when interrupts find another way. */
static const struct rule device_changes[] = {
	CALL(epoll_ctl),
	CALL(eventfd2),
	CALL(close),
	IOCTL(KVM_IOEVENTFD),
	IOCTL(KVM_IRQFD),
	IOCTL(KVM_IRQ_LINE),
	IOCTL(KVM_SET_GSI_ROUTING),
	IOCTL(KVM_SIGNAL_MSI),
	IOCTL(KVM_SET_USER_MEMORY_REGION), /* firmware flash between its modes */
	IOCTL(TUNSETOFFLOAD),
	IOCTL(TUNSETQUEUE),
	IOCTL(TUNSETVNETHDRSZ),
	IOCTL(VHOST_SET_OWNER),
	IOCTL(VHOST_RESET_OWNER),
	IOCTL(VHOST_GET_FEATURES),
	IOCTL(VHOST_SET_FEATURES),
	IOCTL(VHOST_SET_MEM_TABLE),
	IOCTL(VHOST_SET_VRING_NUM),
	IOCTL(VHOST_SET_VRING_BASE),
	IOCTL(VHOST_GET_VRING_BASE),
	IOCTL(VHOST_SET_VRING_ADDR),
	IOCTL(VHOST_SET_VRING_KICK),
	IOCTL(VHOST_SET_VRING_CALL),
	IOCTL(VHOST_NET_SET_BACKEND),
	IOCTL(VHOST_VSOCK_SET_RUNNING),
	/* Would a kick block that another process has, too; and that process's answers. */
	CALL(ppoll),
	END,
};

/* The data path: queues, packets, streams; images by io_uring, or by workers, whose filter comes on top of this. */
static const struct rule device_io[] = {
	CALL(epoll_pwait2),
	CALL(io_uring_enter),
	CALL(sendmsg),
	/* The user-space vsock makes and takes connections of unix sockets. */
	CALL(accept4),
	CALL_IF(socket, 0, UINT32_MAX, AF_UNIX),
	CALL(connect),
	CALL(shutdown),
	END,
};

/* Of images, by workers: they come from the main thread. */
static const struct rule file_io[] = {
	CALL(preadv),
	CALL(pwritev),
	CALL(fdatasync),
	CALL(fallocate), /* discard, write zeroes; the balloon in shared memory */
	END,
};

/* Its registers are for the message when a guest dies. */
static const struct rule vcpu_registers[] = {
#ifndef RULES_aarch64
	IOCTL(KVM_GET_REGS),
	IOCTL(KVM_GET_SREGS),
	IOCTL(KVM_KVMCLOCK_CTRL), /* the guest's watchdogs learn of a pause */
#else
	IOCTL(KVM_GET_ONE_REG),
	IOCTL(RULE_KVM_SET_VCPU_EVENTS), /* an access that cannot be decoded ends in an abort */
	IOCTL(KVM_CHECK_EXTENSION),
#endif
	END,
};

static const struct rule vcpu_only[] = {
	CALL(sendmsg), /* what a serial port writes, to a chardev that is a socket */
	IOCTL(KVM_RUN),
	END,
};

/* What else hot-plug needs and no guest has a part in. */
static const struct rule setup_only[] = {
	CALL(epoll_create1), /* of an iothread */
	CALL(io_uring_setup), /* of a disk */
	CALL(io_uring_register),
	CALL(memfd_create),
	CALL(fstatfs), /* of a memory file: has it huge pages? */
	CALL_IF(socket, 0, UINT32_MAX, AF_INET), /* that listen */
	CALL_IF(socket, 0, UINT32_MAX, AF_INET6),
	CALL(bind),
	CALL(listen),
	CALL(getsockname),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(fchmod), /* of a socket's file */
	CALL_IF(prlimit64, 0, UINT32_MAX, 0), /* a vsock device has many connections */
	CALL(statx),
#ifdef RULES_aarch64
	CALL(unlinkat),
#else
	CALL(unlink),
#endif
	END,
};

/* The control plane: clients come and go, devices and their back ends too; and life cycle. */
static const struct rule main_only[] = {
	CALL(madvise), /* the balloon */
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(rt_sigaction), /* job control of a terminal */
	CALL(tgkill), /* vCPUs are taken out of the guest */
	CALL(recvmsg),
	CALL(getrandom),
	CALL(openat),
	CALL(statx),
	CALL(ftruncate), /* an image, or a memory file, of another size */
	CALL_IF(socket, 0, UINT32_MAX, AF_INET), /* that connect */
	CALL_IF(socket, 0, UINT32_MAX, AF_INET6),
	CALL(setsockopt),
	CALL(fcntl),
	CALL(dup3), /* the log's next file */
#ifdef RULES_aarch64
	CALL(unlinkat),
#else
	CALL(unlink),
#endif
	{ .call = "sysinfo", .answer = EPERM }, /* qsort() would like to know how much memory there is */
	{ .call = "sched_getaffinity", .answer = EPERM }, /* memory that comes is preallocated by one thread */
	IOCTL(TIOCGWINSZ),
	IOCTL(TCGETS),
	IOCTL(TUNSETIFF),
	IOCTL(TUNGETIFF),
	IOCTL(BLKGETSIZE64),
	IOCTL(TIOCGPTN), /* pseudo-terminals */
	IOCTL(TIOCSPTLCK),
	IOCTL(KVM_CHECK_EXTENSION),
	IOCTL(VHOST_VSOCK_SET_GUEST_CID),
	IOCTL(KVM_CREATE_VCPU),
	IOCTL(KVM_SET_MP_STATE),
	IOCTL(KVM_GET_MP_STATE),
#ifdef RULES_aarch64
	IOCTL(KVM_SET_ONE_REG),
	IOCTL(KVM_GET_REG_LIST),
	IOCTL(KVM_GET_DEVICE_ATTR),
	IOCTL(KVM_SET_DEVICE_ATTR),
	IOCTL(RULE_KVM_ARM_VCPU_INIT),
	IOCTL(KVM_ARM_VCPU_FINALIZE),
#else
	IOCTL(KVM_SET_REGS),
	IOCTL(KVM_SET_SREGS),
	IOCTL(KVM_SET_MSRS),
	IOCTL(KVM_SET_FPU),
	IOCTL(KVM_SET_XSAVE),
	IOCTL(KVM_SET_XCRS),
	IOCTL(KVM_SET_DEBUGREGS),
	IOCTL(KVM_SET_VCPU_EVENTS),
	IOCTL(KVM_SET_NESTED_STATE),
	IOCTL(KVM_GET_NESTED_STATE),
	IOCTL(KVM_GET_LAPIC),
	IOCTL(KVM_SET_LAPIC),
	IOCTL(KVM_SET_IRQCHIP),
	IOCTL(KVM_SET_PIT2),
	IOCTL(KVM_SET_CPUID2),
	IOCTL(KVM_GET_CPUID2),
#endif
	END,
};

static const struct rule *const main_parts[] = {
	every_thread, plain_libc, device_changes, device_io, file_io, vcpu_registers, main_only, NULL,
};
static const struct rule *const vcpu_parts[] = {
	every_thread, plain_libc, vcpu_signals, device_changes, vcpu_registers, vcpu_only, NULL,
};
static const struct rule *const iothread_parts[] = {
	every_thread, plain_libc, thread_ends, device_changes, device_io, NULL,
};
static const struct rule *const worker_parts[] = { every_thread, plain_libc, thread_ends, file_io, NULL };

/* Threads that it starts have its filter besides their own. */
static const struct rule *const setup_parts[] = {
	every_thread, plain_libc, thread_starts, vcpu_signals, device_changes, device_io, file_io, vcpu_registers, vcpu_only,
	setup_only, NULL,
};

const struct rule_table rule_tables[5] = {
	{ "main", main_parts },
	{ "vcpu", vcpu_parts },
	{ "iothread", iothread_parts },
	{ "worker", worker_parts },
	{ "setup", setup_parts },
};
