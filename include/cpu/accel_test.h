/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test accelerator: real devices, no KVM, no guest code. A client plays the guest over a socket: it reads and writes
 * memory, registers and ports, steps the clock, and asks which interrupts came. The protocol is in docs/testing.md.
 *
 * Requests run on the main loop, the only thread on which register handlers run here. A request that touched registers
 * or the clock is answered after every loop has come to rest; what the host does in its own time (a disk's
 * completion) is not waited for.
 */
#ifndef CPU_ACCEL_TEST_H
#define CPU_ACCEL_TEST_H

#include "cpu/accel.h"

struct loop;

/* The clock must be stepped already (clock_step_to()). Main thread, like all of this. */
int __must_check accel_test_new(struct mem_space *space, struct loop *main_loop, struct accel **ret,
				struct error **errp);

enum test_dialect {
	TEST_DIALECT_QEMU,	 /* lines end in LF, numbers without 0x are decimal */
	TEST_DIALECT_STRATOVIRT, /* CR LF, and addresses, sizes and data are hexadecimal with or without 0x */
};

/*
 * Serves a client of @accel, which is a test accelerator: by connecting to @path, or by listening there for one client
 * after the other. Ends with accel_free().
 */
int __must_check accel_test_serve(struct accel *accel, const char *path, bool listening,
				  enum test_dialect dialect, struct error **errp);

#endif
