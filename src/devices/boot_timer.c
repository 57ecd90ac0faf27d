/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot-time port, as of StratoVirt's boot_time feature: the guest writes 1 when its kernel starts
 * and 2 when it has booted, and the log tells how long after the start of this process that was.
 * Other values are logged as they are.
 *
 * The port, 0x3ff, is also the scratch register of COM1. This device keeps the last byte, so the
 * serial port leaves the register to it and drivers that probe for a scratch register find one. On
 * aarch64 it is a word in the page of the PL011, where that has no register.
 */
#define LOG_MODULE "boot-timer"

#include "boot_timer.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devices/classes.h"
#include "util/fd.h"
#include "util/log.h"

#define MARKS_MAX 16 /* lines in the log between two resets */

struct boot_timer {
	struct device dev;
	uint16_t iobase;
	uint64_t base; /* in memory, if not 0 */
	struct io_region region;
	int64_t started_ns; /* CLOCK_BOOTTIME */
	_Atomic uint8_t value;
	_Atomic unsigned int marks;
};

static int64_t boottime_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

/* When this process was started, by field 22 of proc_pid_stat(5); it counts ticks, mostly of 10 ms.
 */
static int64_t process_start_ns(void)
{
	unsigned long long ticks;
	char text[1024], *field;
	ssize_t len;
	int fd;

	fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return boottime_now_ns();
	len = fd_read(fd, text, sizeof(text) - 1);
	close(fd);
	text[MAX(len, (ssize_t)0)] = 0;
	/* The name, field 2, may contain anything; behind its bracket comes " S " and so on. */
	field = strrchr(text, ')');
	for (int n = 2; field && n < 22; n++)
		field = strchr(field + 1, ' ');
	if (!field)
		return boottime_now_ns();
	ticks = strtoull(field, NULL, 10);
	return (int64_t)ticks * (NSEC_PER_SEC / sysconf(_SC_CLK_TCK));
}

static uint64_t boot_timer_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct boot_timer *bt = opaque;

	(void)offset;
	(void)size;
	return atomic_load(&bt->value);
}

static void boot_timer_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct boot_timer *bt = opaque;
	const char *what = "";

	(void)offset;
	(void)size;
	atomic_store(&bt->value, (uint8_t)value);
	if (atomic_load(&bt->marks) >= MARKS_MAX || atomic_fetch_add(&bt->marks, 1) >= MARKS_MAX)
		return;
	if (value == 1)
		what = " (kernel starts)";
	else if (value == 2)
		what = " (guest has booted)";
	log_info("mark %u%s at %" PRId64 " ns since process start", (unsigned int)value, what,
		 boottime_now_ns() - bt->started_ns);
}

static const struct io_ops boot_timer_ops = {
	.read = boot_timer_read,
	.write = boot_timer_write,
	.min_size = 1,
	.max_size = 1,
};

static const struct io_ops boot_timer_mem_ops = {
	.read = boot_timer_read,
	.write = boot_timer_write,
	.min_size = 1,
	.max_size = 4,
};

static void boot_timer_reset(struct device *dev)
{
	struct boot_timer *bt = container_of(dev, struct boot_timer, dev);

	atomic_store(&bt->value, 0);
	atomic_store(&bt->marks, 0);
}

static int boot_timer_realize(struct device *dev, struct error **errp)
{
	struct boot_timer *bt = container_of(dev, struct boot_timer, dev);

	bt->started_ns = process_start_ns();
	bt->region = (struct io_region){
		.name = "boot-timer",
		.kind = IO_PORT,
		.base = bt->iobase,
		.size = 1,
		.ops = &boot_timer_ops,
		.opaque = bt,
	};
	if (bt->base) {
		bt->region.kind = IO_MMIO;
		bt->region.base = bt->base;
		bt->region.size = BOOT_TIMER_MEM_SIZE;
		bt->region.ops = &boot_timer_mem_ops;
	}
	return mem_space_add_io(dev->platform->space, &bt->region, errp);
}

static void boot_timer_unrealize(struct device *dev)
{
	struct boot_timer *bt = container_of(dev, struct boot_timer, dev);

	mem_space_del_io(dev->platform->space, &bt->region);
}

bool boot_timer_claims(const struct platform *platform, uint64_t where)
{
	struct device *dev;

	list_for_each(dev, &platform->devices, node) {
		if (dev->class == &boot_timer_class && container_of(dev, struct boot_timer, dev)->region.base == where)
			return true;
	}
	return false;
}

static const struct property boot_timer_props[] = {
	PROP_UINT(16, "iobase", struct boot_timer, iobase, 1, 0xffff, 0x3ff, "port"),
	PROP_UINT(64, "base", struct boot_timer, base, 0, UINT64_MAX - BOOT_TIMER_MEM_SIZE, 0,
		  "guest address, instead of a port"),
	PROP_END,
};

const struct device_class boot_timer_class = {
	.name = "boot-timer",
	.summary = "logs the times at which the guest writes to a port",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct boot_timer),
	.props = boot_timer_props,
	.realize = boot_timer_realize,
	.unrealize = boot_timer_unrealize,
	.reset = boot_timer_reset,
};
