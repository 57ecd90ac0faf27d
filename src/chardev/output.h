/* SPDX-License-Identifier: Apache-2.0 */
/* The write path of a back end: what the core and output.c share. Main loop's thread, without the
 * lock. */
#ifndef CHARDEV_OUTPUT_H
#define CHARDEV_OUTPUT_H

#include "internal.h"

/* Where output goes from now on; -1: nowhere. Buffered output is dropped, a user that waits is
 * told. */
void chardev_output_set_fd(struct chardev *chr, int fd, bool is_socket);
/* The descriptor takes output again. */
void chardev_output_ready(struct chardev *chr);
/* Is there output that waits for the descriptor? */
bool chardev_output_wanted(struct chardev *chr);
/* Tells a user whose write was cut short when there is room; of a lossy back end it starts the
 * stall timer. */
void chardev_output_relieve(struct chardev *chr);
/* Did output fail since the last call? */
bool chardev_output_failed(struct chardev *chr);
void chardev_output_forget_user(struct chardev *chr);
void chardev_output_stalled(struct loop_timer *timer);

#endif
