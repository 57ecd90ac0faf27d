/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each kind of thread may ask of the kernel once the guest runs: one row a permission. tools/seccomp/compile.c makes
 * BPF of these tables at build time, tests/seccomp holds them against what the tests really need.
 *
 * A row without a test permits the call whatever its arguments. CLONE_THREAD_ONLY: clone3 hides its flags from filters, so
 * it is answered with ENOSYS, upon which glibc uses clone(2), whose flags are seen.
 */
#ifndef SECCOMP_RULES_H
#define SECCOMP_RULES_H

#include <stddef.h>
#include <stdint.h>

#define RULE_ZERO (-1)

struct rule {
	const char *call;
	unsigned int arg; /* the argument that is tested */
	uint64_t mask;	  /* 0: none is */
	uint64_t value;	  /* of the argument's masked bits */
	const char *meaning; /* its name, for people and tests */
	int answer;	  /* errno instead of permission, or RULE_ZERO: nothing is done and 0 returned; 0: permitted */
};

struct rule_table {
	const char *kind;
	const struct rule *const *parts; /* NULL-terminated */
};

/* In the order of enum thread_kind: main, vcpu, iothread, worker, setup. */
extern const struct rule_table rule_tables[5];

#endif
