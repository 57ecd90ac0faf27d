/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop of a vCPU and its exits (api.rst 5, "The kvm_run structure"). vCPU threads only.
 *
 * A guest decides which exits happen and how often. Each that can be repeated without the vCPU
 * stopping logs through a limit; each that stops the vCPU logs once, since it does not run again
 * before somebody resumes it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vcpu_private.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

static bool vcpu_stop(struct vcpu *vcpu, enum vcpu_stop_reason reason, const char *text)
{
	const struct vcpu_events *events = &vcpu->all->events;

	vcpu_mark_stopped(vcpu);
	events->stopped(events->opaque, vcpu->index, reason, text);
	return true;
}

/* One line of the log a line of text. */
static void vcpu_log_registers(struct vcpu *vcpu, enum log_level level)
{
	char *registers, *rest, *line;

	if (level > log_threshold)
		return;
	registers = vcpu_arch_describe(vcpu);
	for (line = strtok_r(registers, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log_at(level, "vCPU %u: %s", vcpu->index, line);
	free(registers);
}

/* An end that nobody asked for: says everything known about it, once. */
__printf(2, 3) static bool vcpu_stop_error(struct vcpu *vcpu, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_error("vCPU %u: %s", vcpu->index, text);
	vcpu_log_registers(vcpu, LOG_ERROR);
	return vcpu_stop(vcpu, VCPU_STOP_ERROR, text);
}

/*
 * An end that guests bring about on purpose too (Linux reboots by triple fault when all else
 * fails), and as often as they like: told with the registers, but not more than once a second. On
 * SVM the registers are those of a reset CPU: the processor does not keep them, and KVM clears
 * them.
 */
static bool vcpu_stop_warn(struct vcpu *vcpu, enum vcpu_stop_reason reason, const char *text)
{
	static struct log_limit limit;
	unsigned int dropped;

	if (log_limit_pass(&limit, &dropped)) {
		log_warn("vCPU %u: %s (%u alike dropped before)", vcpu->index, text, dropped);
		vcpu_log_registers(vcpu, LOG_WARN);
	}
	return vcpu_stop(vcpu, reason, text);
}

/* --- I/O --- */

static void vcpu_io(struct vcpu *vcpu)
{
	struct mem_space *space = vcpu->all->vm->accel.space;
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	/* count > 1: a string instruction (rep outsb), whose items all go to the one port. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			mem_space_io_write(space, IO_PORT, run->io.port, data, run->io.size);
		else
			mem_space_io_read(space, IO_PORT, run->io.port, data, run->io.size);
	}
	vcpu->io_pending = true;
}

static void vcpu_mmio(struct vcpu *vcpu)
{
	struct mem_space *space = vcpu->all->vm->accel.space;
	struct kvm_run *run = vcpu->run;

	if (run->mmio.is_write)
		mem_space_io_write(space, IO_MMIO, run->mmio.phys_addr, run->mmio.data,
				   run->mmio.len);
	else
		mem_space_io_read(space, IO_MMIO, run->mmio.phys_addr, run->mmio.data,
				  run->mmio.len);
	vcpu->io_pending = true;
}

/* --- ends --- */

static bool vcpu_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return vcpu_stop(vcpu, VCPU_STOP_SHUTDOWN, "the guest has powered off");
	case KVM_SYSTEM_EVENT_RESET:
		return vcpu_stop(vcpu, VCPU_STOP_RESET, "the guest has asked for a reset");
	case KVM_SYSTEM_EVENT_CRASH:
		return vcpu_stop_warn(vcpu, VCPU_STOP_CRASH, "the guest has reported a crash");
	default:
		return vcpu_stop_error(vcpu, "KVM reports system event %u, which is not known here",
				       vcpu->run->system_event.type);
	}
}

static const char *internal_error_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "an instruction could not be emulated";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "an exception during the delivery of another";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an exit during the delivery of an event";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an exit reason KVM did not expect";
	default:
		return "reason not known here";
	}
}

static bool vcpu_internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	uint32_t count = MIN(run->internal.ndata, (uint32_t)ARRAY_SIZE(run->internal.data));
	char data[ARRAY_SIZE(run->internal.data) * 20 + 8] = "";
	size_t at = 0;

	for (uint32_t i = 0; i < count; i++)
		at += (size_t)snprintf(data + at, sizeof(data) - at, "%s0x%" PRIx64,
				       i ? " " : ", data ", (uint64_t)run->internal.data[i]);
	return vcpu_stop_error(vcpu, "KVM internal error %u: %s%s", run->internal.suberror,
			       internal_error_name(run->internal.suberror), data);
}

/* True: the vCPU has stopped. */
static bool vcpu_exit(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		vcpu_io(vcpu);
		return false;
	case KVM_EXIT_MMIO:
		vcpu_mmio(vcpu);
		return false;
	case KVM_EXIT_INTR:
		return false;
	case KVM_EXIT_SHUTDOWN:
		return vcpu_stop_warn(vcpu, VCPU_STOP_RESET, "triple fault");
	case KVM_EXIT_SYSTEM_EVENT:
		return vcpu_system_event(vcpu);
	case KVM_EXIT_INTERNAL_ERROR:
		return vcpu_internal_error(vcpu);
	case KVM_EXIT_FAIL_ENTRY:
		return vcpu_stop_error(
			vcpu, "the CPU refused to enter the guest, hardware reason 0x%" PRIx64,
			(uint64_t)run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_UNKNOWN:
		return vcpu_stop_error(vcpu, "exit unknown to KVM, hardware reason 0x%" PRIx64,
				       (uint64_t)run->hw.hardware_exit_reason);
	case KVM_EXIT_HLT:
		/* The kernel's interrupt controller waits itself; without one nothing could wake
		 * the vCPU. */
		return vcpu_stop_error(vcpu, "halted although the interrupt controller is KVM's");
	default:
		if (vcpu_arch_exit(vcpu))
			return false;
		return vcpu_stop_error(vcpu, "KVM exit %u, which is not known here",
				       run->exit_reason);
	}
}

bool vcpu_run(struct vcpu *vcpu)
{
	struct vcpus *all = vcpu->all;

	/*
	 * KVM finishes an I/O instruction (stores what was read, steps over it) at the next KVM_RUN
	 * only. Until then the registers are those of an instruction half done: they must not be
	 * looked at, saved, or reset, or the old result would land in the new guest. So a vCPU that
	 * is asked to leave goes in once more; immediate_exit, which is set by then, makes the
	 * kernel finish the instruction and come back with EINTR before any other guest code runs.
	 * An access that KVM splits takes several turns.
	 */
	while (!atomic_load(&all->leave) || vcpu->io_pending) {
		if (!ioctl(vcpu->fd, KVM_RUN, 0)) {
			vcpu->io_pending = false;
			if (vcpu_exit(vcpu))
				return true;
			continue;
		}
		vcpu->io_pending = false;
		switch (errno) {
		case EINTR:
		case EAGAIN: /* a waiting vCPU has got its INIT or SIPI */
			continue;
		case EFAULT:
			return vcpu_stop_error(vcpu,
					       "the host cannot provide memory that the guest uses "
					       "(a memory file cut short, no huge page free)");
		case EHWPOISON:
			return vcpu_stop_error(vcpu, "the guest uses broken host memory");
		default:
			return vcpu_stop_error(vcpu, "KVM_RUN: %s", strerror(errno));
		}
	}
	return false;
}
