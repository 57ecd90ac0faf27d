/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the vCPUs: creation, threads, pause and resume, reset.
 *
 * How a vCPU is taken out of the guest. vcpus_pause() sets the flag "leave", then
 * kvm_run.immediate_exit, then sends a signal whose handler does nothing. Wherever the vCPU's
 * thread is, it notices:
 *  - before it reads "leave": it sees the flag;
 *  - after that, before the kernel looks at immediate_exit: KVM_RUN returns EINTR at once;
 *  - after that, until the CPU is in guest mode: KVM checks for pending signals with interrupts
 * off;
 *  - in the guest, or halted in the kernel: the signal's wake-up ends it.
 * immediate_exit stays set until the thread itself clears it, under the lock, on its way out of the
 * parking place; so one signal is enough and none can be lost. (KVM_SET_SIGNAL_MASK would do the
 * same with two more signal mask changes in each KVM_RUN.)
 */
#include "vcpu_private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/loop.h"
#include "util/thread.h"

#define LOG_MODULE "cpu"
#include "util/log.h"

/* SIGRTMIN is a function call in glibc: two real-time signals belong to the thread library. */
#define KICK_SIGNAL (SIGRTMIN)

static void kick_handler(int signo)
{
	(void)signo;
}

static int kick_install(struct error **errp)
{
	/* SA_RESTART for the system calls of device handlers; KVM_RUN returns EINTR regardless. */
	struct sigaction action = { .sa_handler = kick_handler, .sa_flags = SA_RESTART };

	sigfillset(&action.sa_mask);
	if (sigaction(KICK_SIGNAL, &action, NULL))
		return error_set_errno(errp, -errno, "cannot install the vCPU kick signal");
	return 0;
}

/* vcpus->lock is held. */
static void vcpu_kick(struct vcpu *vcpu)
{
	*(volatile uint8_t *)&vcpu->run->immediate_exit = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (vcpu->tid) /* else it looks whether it may run before it does */
		thread_signal(vcpu->tid, KICK_SIGNAL);
}

/* --- the thread --- */

void vcpu_mark_stopped(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->all->lock);
	vcpu->stopped = true;
	pthread_mutex_unlock(&vcpu->all->lock);
}

/* Waits until the vCPU may run. False: the thread shall end. */
static bool vcpu_park(struct vcpu *vcpu)
{
	struct vcpus *all = vcpu->all;
	bool run;

	pthread_mutex_lock(&all->lock);
	vcpu->parked = true;
	pthread_cond_broadcast(&all->parked_cond);
	while (!all->quit && (all->paused || vcpu->stopped || vcpu->index >= all->count))
		pthread_cond_wait(&all->resume_cond, &all->lock);
	vcpu->parked = false;
	run = !all->quit;
	vcpu->run->immediate_exit = 0;
	pthread_mutex_unlock(&all->lock);
	return run;
}

static void *vcpu_thread(void *opaque)
{
	struct vcpu *vcpu = opaque;
	bool ran = false;
	sigset_t kick;

	pthread_mutex_lock(&vcpu->all->lock);
	vcpu->tid = thread_tid();
	pthread_mutex_unlock(&vcpu->all->lock);

	/* thread_start() has blocked every signal. */
	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);

	while (vcpu_park(vcpu)) {
		thread_confine();
		if (ran)
			vcpu_arch_tell_pause(vcpu);
		ran = true;
		vcpu_run(vcpu);
	}
	return NULL;
}

/* --- creation --- */

static int vcpu_create(struct vcpu *vcpu, struct error **errp)
{
	struct kvm_vm *vm = vcpu->all->vm;
	uint64_t id = vcpu_arch_kvm_id(vcpu);
	void *run;

	if (id >= vm->vcpu_id_limit)
		return error_set(errp, -ERANGE,
				 "-smp: CPU %u gets id %u in this topology, KVM's limit is %u",
				 vcpu->index, (unsigned int)id,
				 (unsigned int)vm->vcpu_id_limit - 1);

	vcpu->fd = ioctl(vm->accel.vm_fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (vcpu->fd < 0)
		return error_set_errno(errp, -errno, "KVM cannot create vCPU %u", vcpu->index);

	run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return error_set_errno(errp, -errno, "cannot map the state of vCPU %u",
				       vcpu->index);
	vcpu->run = run;
	return vcpu_arch_init(vcpu, errp);
}

static int vcpu_start_thread(struct vcpu *vcpu, struct error **errp)
{
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "CPU %u/KVM", vcpu->index);
	ret = thread_start(&vcpu->thread, THREAD_VCPU, name, vcpu_thread, vcpu, errp);
	vcpu->has_thread = !ret;
	return ret;
}

static int kvm_vcpus_init(struct vcpus *vcpus, struct error **errp)
{
	int ret;

	ret = kick_install(errp);
	if (!ret)
		ret = vcpus_arch_init(vcpus, errp);
	for (unsigned int i = 0; !ret && i < vcpus->count; i++)
		ret = vcpu_create(&vcpus->vcpu[i], errp);
	for (unsigned int i = 0; !ret && i < vcpus->count; i++)
		ret = vcpu_start_thread(&vcpus->vcpu[i], errp);
	return ret;
}

static int kvm_vcpu_add(struct vcpu *vcpu, struct error **errp)
{
	int ret = vcpu->run ? 0 : vcpu_create(vcpu, errp);

	/*
	 * Its state is that of a reset already. But x86's KVM looks for the addressees of interrupts in a
	 * map, which it makes anew when an APIC changes that is known: this one is known from here on.
	 */
	if (!ret)
		ret = vcpu_arch_reset(vcpu, errp);
	return ret || vcpu->has_thread ? ret : vcpu_start_thread(vcpu, errp);
}

static void kvm_vcpu_release(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->all->vm->run_size);
	vcpu->run = NULL;
	fd_close(&vcpu->fd);
}

static void kvm_vcpus_release(struct vcpus *vcpus)
{
	for (unsigned int i = 0; i < vcpus->made; i++)
		kvm_vcpu_release(&vcpus->vcpu[i]);
	vcpus_arch_release(vcpus);
}

static int kvm_vcpus_reset(struct vcpus *vcpus, struct error **errp)
{
	int ret;

	ret = kvm_arch_vm_reset(vcpus->vm, vcpus->count, errp);
	for (unsigned int i = 0; !ret && i < vcpus->count; i++)
		ret = vcpu_arch_reset(&vcpus->vcpu[i], errp);
	return ret;
}

static const struct vcpus_ops kvm_vcpus_ops = {
	.init = kvm_vcpus_init,
	.add = kvm_vcpu_add,
	.remove = vcpu_arch_reset,
	.release_one = kvm_vcpu_release,
	.release = kvm_vcpus_release,
	.reset = kvm_vcpus_reset,
	.set_entry = vcpus_arch_set_entry,
	.describe = vcpu_arch_describe,
};

static void place_vcpu(struct vcpus *vcpus, unsigned int index)
{
	vcpus->vcpu[index] = (struct vcpu){ .all = vcpus, .index = index, .fd = -1 };
}

int vcpus_new(struct accel *accel, const struct vcpu_topology *topology,
	      const struct vcpu_events *events, struct vcpus **ret, struct error **errp)
{
	struct vcpus *vcpus;
	int code;

	if (!topology->cpus || topology->cpus > accel->max_vcpus)
		return error_set(errp, -ERANGE, "-smp: cpus=%u is out of %s's range [1, %u]",
				 topology->cpus, accel->no_guest_code ? "the accelerator" : "KVM",
				 accel->max_vcpus);

	vcpus = xcalloc(1, sizeof(*vcpus));
	vcpus->ops = accel->no_guest_code ? &vcpus_test_ops : &kvm_vcpus_ops;
	vcpus->vm = accel->no_guest_code ? NULL : to_kvm_vm(accel);
	vcpus->topology = *topology;
	vcpus->events = *events;
	vcpus->paused = true;
	atomic_init(&vcpus->leave, true);
	pthread_mutex_init(&vcpus->lock, NULL);
	pthread_cond_init(&vcpus->parked_cond, NULL);
	pthread_cond_init(&vcpus->resume_cond, NULL);
	vcpus->vcpu = xcalloc(MAX(topology->maxcpus, topology->cpus), sizeof(*vcpus->vcpu));
	while (vcpus->count < topology->cpus)
		place_vcpu(vcpus, vcpus->count++);
	vcpus->made = vcpus->count;

	code = vcpus->ops->init(vcpus, errp);
	if (code) {
		vcpus_free(vcpus);
		return code;
	}
	*ret = vcpus;
	return 0;
}

int vcpus_add(struct vcpus *vcpus, struct error **errp)
{
	unsigned int index = vcpus->count;
	struct vcpu *vcpu = &vcpus->vcpu[index];
	bool new = index == vcpus->made;
	int ret;

	if (index >= vcpus->topology.maxcpus)
		return error_set(errp, -ENOSPC, "all %u CPUs are there", index);
	if (new)
		place_vcpu(vcpus, index);
	ret = vcpus->ops->add(vcpu, errp);
	if (ret) {
		if (new)
			vcpus->ops->release_one(vcpu);
		return ret;
	}
	if (new)
		vcpus->made++;
	/* Its thread is on its way to its parking place, and goes past it when the others run. */
	pthread_mutex_lock(&vcpus->lock);
	vcpu->stopped = false;
	vcpus->count++;
	pthread_cond_broadcast(&vcpus->resume_cond);
	pthread_mutex_unlock(&vcpus->lock);
	return 0;
}

int vcpus_remove(struct vcpus *vcpus, struct error **errp)
{
	pthread_mutex_lock(&vcpus->lock);
	vcpus->count--;
	pthread_mutex_unlock(&vcpus->lock);
	return vcpus->ops->remove(&vcpus->vcpu[vcpus->count], errp);
}

void vcpus_free(struct vcpus *vcpus)
{
	if (!vcpus)
		return;

	pthread_mutex_lock(&vcpus->lock);
	vcpus->quit = true;
	atomic_store(&vcpus->leave, true);
	pthread_cond_broadcast(&vcpus->resume_cond);
	for (unsigned int i = 0; i < vcpus->made; i++)
		if (vcpus->vcpu[i].has_thread)
			vcpu_kick(&vcpus->vcpu[i]);
	pthread_mutex_unlock(&vcpus->lock);

	for (unsigned int i = 0; i < vcpus->made; i++)
		if (vcpus->vcpu[i].has_thread)
			pthread_join(vcpus->vcpu[i].thread, NULL);
	vcpus->ops->release(vcpus);
	pthread_cond_destroy(&vcpus->resume_cond);
	pthread_cond_destroy(&vcpus->parked_cond);
	pthread_mutex_destroy(&vcpus->lock);
	free(vcpus->vcpu);
	free(vcpus);
}

/* --- pause and resume --- */

void vcpus_resume(struct vcpus *vcpus)
{
	pthread_mutex_lock(&vcpus->lock);
	vcpus->paused = false;
	atomic_store(&vcpus->leave, vcpus->quit);
	for (unsigned int i = 0; i < vcpus->count; i++)
		vcpus->vcpu[i].stopped = false;
	pthread_cond_broadcast(&vcpus->resume_cond);
	pthread_mutex_unlock(&vcpus->lock);
}

void vcpus_pause(struct vcpus *vcpus)
{
	/* A vCPU's register handler may be waiting for a function that this thread's loop shall
	 * run. */
	loop_lend_begin();
	pthread_mutex_lock(&vcpus->lock);
	vcpus->paused = true;
	atomic_store(&vcpus->leave, true);
	for (unsigned int i = 0; i < vcpus->count; i++)
		if (!vcpus->vcpu[i].parked)
			vcpu_kick(&vcpus->vcpu[i]);
	for (unsigned int i = 0; i < vcpus->count; i++)
		while (!vcpus->vcpu[i].parked)
			pthread_cond_wait(&vcpus->parked_cond, &vcpus->lock);
	pthread_mutex_unlock(&vcpus->lock);
	loop_lend_end();
}

bool vcpus_running(const struct vcpus *vcpus)
{
	return !atomic_load(&vcpus->leave);
}

unsigned int vcpus_count(const struct vcpus *vcpus)
{
	return vcpus->count;
}

int vcpu_tid(const struct vcpus *vcpus, unsigned int index)
{
	struct vcpu *vcpu = &vcpus->vcpu[index];
	int tid;

	/* Threads are not waited for at start; whoever asks this early is. */
	pthread_mutex_lock(&vcpu->all->lock);
	while (!vcpu->tid)
		pthread_cond_wait(&vcpu->all->parked_cond, &vcpu->all->lock);
	tid = vcpu->tid;
	pthread_mutex_unlock(&vcpu->all->lock);
	return tid;
}

/* --- state --- */

int vcpus_reset(struct vcpus *vcpus, struct error **errp)
{
	return vcpus->ops->reset(vcpus, errp);
}

int vcpu_set_entry(struct vcpus *vcpus, const struct vcpu_entry *entry, struct error **errp)
{
	return vcpus->ops->set_entry(vcpus, entry, errp);
}

char *vcpu_describe(struct vcpus *vcpus, unsigned int index)
{
	if (index >= vcpus->count)
		return xasprintf("there is no vCPU %u", index);
	return vcpus->ops->describe(&vcpus->vcpu[index]);
}
