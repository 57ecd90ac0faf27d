/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of interrupt lines, and lines over an accelerator that writes down what it is asked. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "interrupt/irq.h"
#include "unit.h"
#include "util/fd.h"

static char calls[256];
static int watched_fd = -1;
static int irqfd_result;

static int fake_line(struct accel *accel, uint32_t gsi, bool level)
{
	(void)accel;
	sprintf(calls + strlen(calls), "line %u=%d ", gsi, level);
	return 0;
}

static int fake_irqfd(struct accel *accel, uint32_t gsi, int fd, int resample_fd, bool assign)
{
	(void)accel;
	sprintf(calls + strlen(calls), "irqfd %u %s%s ", gsi, assign ? "on" : "off",
		resample_fd < 0 ? "" : " resample");
	watched_fd = fd;
	return irqfd_result;
}

static const struct accel_ops ops = { .name = "fake", .irq_line = fake_line, .irqfd = fake_irqfd };
static struct accel accel = { .ops = &ops, .vm_fd = -1 };

START_TEST(pool_gives_each_line_once)
{
	struct irq_pool pool = { .first = 5, .last = 7 };
	struct error *err = NULL;
	uint32_t gsi = 99;

	ck_assert_int_eq(irq_pool_take(&pool, 6, &err), 0);
	ck_assert_int_eq(irq_pool_alloc(&pool, &gsi, &err), 0);
	ck_assert_uint_eq(gsi, 5);
	ck_assert_int_eq(irq_pool_alloc(&pool, &gsi, &err), 0);
	ck_assert_uint_eq(gsi, 7);
	ck_assert_int_eq(irq_pool_alloc(&pool, &gsi, &err), -ENOSPC);
	ck_assert_error(err, "all 3 interrupt lines are in use");
	ck_assert_uint_eq(gsi, 7); /* untouched on failure */
	irq_pool_free(&pool, 6);
	irq_pool_free(&pool, 200); /* not of this pool */
	ck_assert_int_eq(irq_pool_alloc(&pool, &gsi, &err), 0);
	ck_assert_uint_eq(gsi, 6);
}
END_TEST

START_TEST(pool_take_says_why_not)
{
	struct irq_pool pool = { .first = 5, .last = 15 };
	struct error *err = NULL;

	ck_assert_int_eq(irq_pool_take(&pool, 5, &err), 0);
	ck_assert_int_eq(irq_pool_take(&pool, 5, &err), -EBUSY);
	ck_assert_error(err, "interrupt line 5 is already in use");
	ck_assert_int_eq(irq_pool_take(&pool, 4, &err), -ERANGE);
	ck_assert_error(err, "interrupt line 4 is out of range [5, 15]");
	ck_assert_int_eq(irq_pool_take(&pool, 16, NULL), -ERANGE);
}
END_TEST

START_TEST(pool_of_64_lines)
{
	struct irq_pool pool = { .first = 24, .last = 24 + 63 };
	uint32_t gsi = 0;

	for (uint32_t i = 0; i < 64; i++) {
		ck_assert_int_eq(irq_pool_alloc(&pool, &gsi, NULL), 0);
		ck_assert_uint_eq(gsi, 24 + i);
	}
	ck_assert_int_eq(irq_pool_alloc(&pool, &gsi, NULL), -ENOSPC);
}
END_TEST

START_TEST(level_line)
{
	struct irq_line line;

	irq_line_init_level(&line, &accel, 9);
	irq_set(&line, true);
	irq_set(&line, false);
	irq_pulse(&line);
	ck_assert_str_eq(calls, "line 9=1 line 9=0 line 9=1 line 9=0 ");
	calls[0] = 0;
	irq_line_release(&line); /* lets go of the line */
	ck_assert_str_eq(calls, "line 9=0 ");
	irq_line_release(&line);
	ck_assert_str_eq(calls, "line 9=0 ");
}
END_TEST

START_TEST(edge_line)
{
	struct error *err = NULL;
	struct irq_line line;
	int copy;

	ck_assert_int_eq(irq_line_init_edge(&line, &accel, 4, &err), 0);
	ck_assert_int_eq(watched_fd, line.pulse_fd);
	irq_pulse(&line);
	ck_assert(eventfd_consume(line.pulse_fd));
	irq_set(&line, true);
	ck_assert(eventfd_consume(line.pulse_fd));
	irq_set(&line, false);
	ck_assert(!eventfd_consume(line.pulse_fd));
	copy = line.pulse_fd;
	irq_line_release(&line);
	ck_assert_str_eq(calls, "irqfd 4 on irqfd 4 off ");
	ck_assert_int_eq(line.pulse_fd, -1);
	ck_assert_int_lt(fd_set_nonblock(copy, true), 0); /* closed */
}
END_TEST

START_TEST(edge_line_without_irqfd)
{
	struct irq_line line = { .pulse_fd = 77 };
	struct error *err = NULL;

	irqfd_result = -EINVAL;
	ck_assert_int_eq(irq_line_init_edge(&line, &accel, 4, &err), -EINVAL);
	ck_assert_error(err, "interrupt line 4 takes no irqfd: Invalid argument");
	ck_assert_int_eq(line.pulse_fd, 77); /* untouched on failure */
	ck_assert_int_lt(fd_set_nonblock(watched_fd, true), 0);
}
END_TEST

UNIT_SUITE(suite, "interrupt irq", pool_gives_each_line_once, pool_take_says_why_not,
	   pool_of_64_lines, level_line, edge_line, edge_line_without_irqfd)
UNIT_MAIN(suite)
