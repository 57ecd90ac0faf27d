/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine for unit tests of devices: a guest address space, a main loop that runs when the test
 * says so, and an accelerator that writes down what happens to the interrupt lines. One thread; the
 * test plays the guest.
 */
#ifndef TESTS_FAKE_MACHINE_H
#define TESTS_FAKE_MACHINE_H

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "devices/classes.h"
#include "devices/device.h"
#include "unit.h"
#include "util/fd.h"

#define FAKE_GSIS 32

struct fake_machine {
	struct platform platform;
	struct accel accel;
	bool level[FAKE_GSIS];
	unsigned int rises[FAKE_GSIS]; /* of the level */
	int irqfd[FAKE_GSIS];	       /* fd + 1; 0 none */

	unsigned int requests;
	enum guest_request last_request;
	int last_status;
};

static inline int fake_irq_line(struct accel *accel, uint32_t gsi, bool level)
{
	struct fake_machine *m = container_of(accel, struct fake_machine, accel);

	ck_assert_uint_lt(gsi, FAKE_GSIS);
	if (level && !m->level[gsi])
		m->rises[gsi]++;
	m->level[gsi] = level;
	return 0;
}

static inline int fake_irqfd(struct accel *accel, uint32_t gsi, int fd, int resample_fd,
			     bool assign)
{
	struct fake_machine *m = container_of(accel, struct fake_machine, accel);

	(void)resample_fd;
	ck_assert_uint_lt(gsi, FAKE_GSIS);
	m->irqfd[gsi] = assign ? fd + 1 : 0;
	return 0;
}

static inline void fake_request(struct platform *platform, enum guest_request what, int status,
				const char *reason)
{
	struct fake_machine *m = container_of(platform, struct fake_machine, platform);

	ck_assert_ptr_nonnull(reason);
	m->requests++;
	m->last_request = what;
	m->last_status = status;
}

/* @classes: NULL-terminated */
static inline void fake_machine_init(struct fake_machine *m,
				     const struct device_class *const *classes)
{
	static const struct accel_ops ops = {
		.name = "fake",
		.irq_line = fake_irq_line,
		.irqfd = fake_irqfd,
	};
	struct error *err = NULL;

	memset(m, 0, sizeof(*m));
	m->platform.space = mem_space_new();
	m->accel = (struct accel){ .ops = &ops, .space = m->platform.space, .vm_fd = -1 };
	m->platform.accel = &m->accel;
	m->platform.main_loop = loop_new("main", &err);
	ck_assert_no_error(err);
	m->platform.links = link_scope_new();
	m->platform.classes = classes;
	m->platform.request = fake_request;
	list_init(&m->platform.devices);
}

static inline void fake_machine_release(struct fake_machine *m)
{
	devices_destroy(&m->platform);
	link_scope_free(m->platform.links);
	loop_free(m->platform.main_loop);
	mem_space_free(m->platform.space);
}

static inline struct device *fake_device(struct fake_machine *m, const char *name, const char *id,
					 const char *props)
{
	struct error *err = NULL;
	struct device *dev = NULL;
	int ret;

	ret = device_create_internal(&m->platform, name, id, props, &dev, &err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	return dev;
}

/* Interrupts pulsed on @gsi since the last call: some, or none. */
static inline bool fake_pulsed(struct fake_machine *m, uint32_t gsi)
{
	ck_assert_int_ne(m->irqfd[gsi], 0);
	return eventfd_consume(m->irqfd[gsi] - 1);
}

static inline uint8_t inb(struct fake_machine *m, uint16_t port)
{
	uint8_t value = 0;

	mem_space_io_read(m->platform.space, IO_PORT, port, &value, 1);
	return value;
}

static inline void outb(struct fake_machine *m, uint16_t port, uint8_t value)
{
	mem_space_io_write(m->platform.space, IO_PORT, port, &value, 1);
}

/* --- running the loop --- */

struct fake_wait {
	struct loop_timer timer;
	bool (*done)(void *opaque);
	void *opaque;
	int64_t end_ns;
	bool ok;
};

static inline void fake_wait_tick(struct loop_timer *timer)
{
	struct fake_wait *wait = container_of(timer, struct fake_wait, timer);
	int64_t now = clock_now_ns();

	wait->ok = wait->done(wait->opaque);
	if (wait->ok || now >= wait->end_ns)
		loop_stop(timer->loop);
	else
		loop_timer_set(timer, now + NSEC_PER_MSEC / 2);
}

/* Runs @loop until done(opaque); false when that took longer than ten seconds. */
static inline bool run_until(struct loop *loop, bool (*done)(void *opaque), void *opaque)
{
	struct fake_wait wait = {
		.done = done,
		.opaque = opaque,
		.end_ns = clock_now_ns() + 10 * NSEC_PER_SEC,
	};

	loop_timer_init(&wait.timer, loop, fake_wait_tick);
	loop_timer_set(&wait.timer, 1);
	loop_run(loop);
	loop_timer_cancel(&wait.timer);
	return wait.ok;
}

static inline bool after_rounds(void *opaque)
{
	unsigned int *rounds = opaque;

	return (*rounds)-- == 0;
}

/* Lets everything that is ready happen: for asserting that something did not. */
static inline void run_rounds(struct loop *loop, unsigned int rounds)
{
	ck_assert(run_until(loop, after_rounds, &rounds));
}

/* --- character back ends --- */

static inline struct chardev *make_chardev(struct fake_machine *m, const char *text)
{
	struct opts *opts = NULL;
	struct chardev *chr = NULL;
	struct error *err = NULL;
	int ret;

	ret = opts_parse("-chardev", text, "backend", &opts, &err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	ret = chardev_new(opts, m->platform.main_loop, m->platform.links, &chr, &err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	opts_free(opts);
	return chr;
}

#endif
