/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SECCOMP_TRAP_H
#define SECCOMP_TRAP_H

/* From here on a forbidden system call ends the process and says which thread asked for what. Main thread. */
void trap_install(void);

#endif
