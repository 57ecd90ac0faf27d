// SPDX-License-Identifier: Apache-2.0
/* What the test accelerator records that no device of a machine without PCI can bring about: MSI and resampled lines. */
#include <errno.h>

#include "cpu/test_private.h"
#include "unit.h"
#include "util/fd.h"

static struct mem_space *space;
static struct loop *loop;
static struct accel *accel;

static void setup(void)
{
	struct error *err = NULL;

	clock_step_to(0);
	space = mem_space_new();
	loop = loop_new("main", &err);
	ck_assert_int_eq(accel_test_new(space, loop, &accel, &err), 0);
	ck_assert_no_error(err);
}

static void teardown(void)
{
	accel_free(accel);
	loop_free(loop);
	mem_space_free(space);
}

START_TEST(needs_the_stepped_clock)
{
	struct error *err = NULL;

	space = mem_space_new();
	ck_assert_int_eq(accel_test_new(space, NULL, &accel, &err), -EINVAL);
	ck_assert_error(err, "the test accelerator needs the stepped clock");
	mem_space_free(space);
}
END_TEST

START_TEST(messages_are_recorded_once_and_taken_once)
{
	const struct msi_message a = { .address = 0xfee00000, .data = 0x4041 }, b = { .address = 0xfee01000, .data = 0x4041 };

	setup();
	ck_assert_int_eq(accel->ops->signal_msi(accel, &a), 0);
	ck_assert_int_eq(accel->ops->signal_msi(accel, &a), 0);
	ck_assert(!test_msi_take(to_test_accel(accel), &b));
	ck_assert(test_msi_take(to_test_accel(accel), &a));
	ck_assert(!test_msi_take(to_test_accel(accel), &a));
	teardown();
}
END_TEST

START_TEST(routes_send_their_message)
{
	const struct msi_message a = { .address = 0xfee00000, .data = 1 }, b = { .address = 0xfee00000, .data = 2 };
	int fd = eventfd_new(), gsi, other;

	setup();
	gsi = accel->ops->msi_route_add(accel, &a);
	other = accel->ops->msi_route_add(accel, &b);
	ck_assert_int_ge(gsi, 0);
	ck_assert_int_ne(gsi, other);
	ck_assert_int_eq(accel->ops->irqfd(accel, (uint32_t)gsi, fd, -1, true), 0);
	eventfd_signal(fd);
	/* What was sent before a change goes to the old destination. */
	ck_assert_int_eq(accel->ops->msi_route_update(accel, gsi, &b), 0);
	ck_assert(test_msi_take(to_test_accel(accel), &a));
	ck_assert(!test_msi_take(to_test_accel(accel), &b));
	eventfd_signal(fd);
	ck_assert(test_msi_take(to_test_accel(accel), &b));
	ck_assert_int_eq(accel->ops->irqfd(accel, (uint32_t)gsi, fd, -1, false), 0);
	ck_assert_int_eq(accel->ops->irqfd(accel, (uint32_t)gsi, fd, -1, false), -ENOENT);
	eventfd_signal(fd);
	ck_assert(!test_msi_take(to_test_accel(accel), &b));
	accel->ops->msi_route_del(accel, gsi);
	ck_assert_int_eq(accel->ops->msi_route_update(accel, gsi, &a), -ENOENT);
	ck_assert_int_eq(accel->ops->msi_route_update(accel, 3, &a), -ENOENT);
	ck_assert_int_eq(accel->ops->msi_route_add(accel, &a), gsi); /* free again */
	fd_close(&fd);
	teardown();
}
END_TEST

START_TEST(routes_and_messages_are_bounded)
{
	struct msi_message msg = { .address = 0xfee00000, .data = 0 };
	int ret;

	setup();
	do {
		ret = accel->ops->msi_route_add(accel, &msg);
	} while (ret >= 0);
	ck_assert_int_eq(ret, -ENOSPC);
	for (msg.data = 0; msg.data < 5000; msg.data++)
		ck_assert_int_eq(accel->ops->signal_msi(accel, &msg), 0);
	msg.data = 4095;
	ck_assert(test_msi_take(to_test_accel(accel), &msg));
	msg.data = 4999;
	ck_assert(!test_msi_take(to_test_accel(accel), &msg));
	teardown();
}
END_TEST

START_TEST(an_eoi_takes_a_resampled_line_down_and_tells_its_owner)
{
	int fd = eventfd_new(), resample = eventfd_new();

	setup();
	ck_assert_int_eq(accel->ops->irqfd(accel, 20, fd, resample, true), 0);
	ck_assert(!test_irq_pending(to_test_accel(accel), 20));
	eventfd_signal(fd);
	ck_assert(test_irq_pending(to_test_accel(accel), 20));
	ck_assert(!eventfd_consume(resample));
	ck_assert(test_irq_eoi(to_test_accel(accel), 20));
	ck_assert(eventfd_consume(resample));
	ck_assert(!test_irq_eoi(to_test_accel(accel), 20));
	fd_close(&fd);
	fd_close(&resample);
	teardown();
}
END_TEST

START_TEST(levels_stay_and_lines_are_bounded)
{
	setup();
	ck_assert_int_eq(accel->ops->irq_line(accel, 4, true), 0);
	ck_assert(test_irq_eoi(to_test_accel(accel), 4));
	ck_assert(test_irq_pending(to_test_accel(accel), 4));
	ck_assert_int_eq(accel->ops->irq_line(accel, 4, false), 0);
	ck_assert(!test_irq_pending(to_test_accel(accel), 4));
	ck_assert_int_eq(accel->ops->irq_line(accel, 100000, true), -EINVAL);
	ck_assert_int_eq(accel->ops->irqfd(accel, 100000, 0, -1, true), -EINVAL);
	teardown();
}
END_TEST

UNIT_SUITE(suite, "test accelerator", needs_the_stepped_clock, messages_are_recorded_once_and_taken_once,
	   routes_send_their_message, routes_and_messages_are_bounded,
	   an_eoi_takes_a_resampled_line_down_and_tells_its_owner, levels_stay_and_lines_are_bounded)
UNIT_MAIN(suite)
