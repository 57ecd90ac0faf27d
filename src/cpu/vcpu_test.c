// SPDX-License-Identifier: Apache-2.0
/* The vCPUs of the test accelerator: they can be counted, paused and reset, and never run. They
 * have no threads: theirs is the main thread, which has the process's number. */
#include "util/alloc.h"
#include "util/thread.h"
#include "vcpu_private.h"

static int test_init(struct vcpus *vcpus, struct error **errp)
{
	(void)errp;
	for (unsigned int i = 0; i < vcpus->count; i++) {
		vcpus->vcpu[i].parked = true;
		vcpus->vcpu[i].tid = thread_pid();
	}
	return 0;
}

static int test_add(struct vcpu *vcpu, struct error **errp)
{
	(void)errp;
	vcpu->parked = true;
	vcpu->tid = thread_pid();
	return 0;
}

static int test_remove(struct vcpu *vcpu, struct error **errp)
{
	(void)vcpu;
	(void)errp;
	return 0;
}

static void test_release_one(struct vcpu *vcpu)
{
	(void)vcpu;
}

static void test_release(struct vcpus *vcpus)
{
	(void)vcpus;
}

static int test_reset(struct vcpus *vcpus, struct error **errp)
{
	(void)vcpus;
	(void)errp;
	return 0;
}

static int test_set_entry(struct vcpus *vcpus, const struct vcpu_entry *entry, struct error **errp)
{
	(void)vcpus;
	(void)entry;
	(void)errp;
	return 0;
}

static char *test_describe(struct vcpu *vcpu)
{
	(void)vcpu;
	return xstrdup("no registers: the test accelerator runs no guest code");
}

const struct vcpus_ops vcpus_test_ops = {
	.init = test_init,
	.add = test_add,
	.remove = test_remove,
	.release_one = test_release_one,
	.release = test_release,
	.reset = test_reset,
	.set_entry = test_set_entry,
	.describe = test_describe,
};
