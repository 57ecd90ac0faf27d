/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal of the process: raw mode, and back on every way out. One a process. Main thread. */
#ifndef CHARDEV_TERMINAL_H
#define CHARDEV_TERMINAL_H

#include <stdbool.h>

/*
 * Puts the terminal @fd into raw mode (@keys_signal: Ctrl-C and the like still raise signals). In
 * the background it waits for SIGCONT. 0 or -errno. @fd stays valid until terminal_leave_raw().
 */
int terminal_enter_raw(int fd, bool keys_signal);
void terminal_leave_raw(void);

/*
 * A descriptor for the same thing as @fd (0 or 1) that does not block and whose flags are nobody
 * else's business. For what cannot be opened again, @fd itself: its flags go back on the way out.
 * -errno on failure.
 */
int terminal_open_nonblocking(int fd);

#endif
