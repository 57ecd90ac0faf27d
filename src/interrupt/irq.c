/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines of devices. Edges go by an eventfd that the accelerator watches, so that any
 * thread can raise one with a write and, in KVM, nobody takes a lock; levels are set by a call.
 */
#include "interrupt/irq.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "util/fd.h"

#define LOG_MODULE "interrupt"
#include "util/log.h"

static uint32_t pool_size(const struct irq_pool *pool)
{
	return pool->last - pool->first + 1;
}

static uint64_t pool_bit(const struct irq_pool *pool, uint32_t gsi)
{
	return 1ULL << (gsi - pool->first);
}

int irq_pool_alloc(struct irq_pool *pool, uint32_t *gsi, struct error **errp)
{
	for (uint32_t i = pool->first; i <= pool->last; i++) {
		if (pool->used & pool_bit(pool, i))
			continue;
		pool->used |= pool_bit(pool, i);
		*gsi = i;
		return 0;
	}
	return error_set(errp, -ENOSPC, "all %u interrupt lines are in use", pool_size(pool));
}

int irq_pool_take(struct irq_pool *pool, uint32_t gsi, struct error **errp)
{
	if (gsi < pool->first || gsi > pool->last)
		return error_set(errp, -ERANGE, "interrupt line %u is out of range [%u, %u]", gsi,
				 pool->first, pool->last);
	if (pool->used & pool_bit(pool, gsi))
		return error_set(errp, -EBUSY, "interrupt line %u is already in use", gsi);
	pool->used |= pool_bit(pool, gsi);
	return 0;
}

void irq_pool_free(struct irq_pool *pool, uint32_t gsi)
{
	if (gsi >= pool->first && gsi <= pool->last)
		pool->used &= ~pool_bit(pool, gsi);
}

void irq_line_init_level(struct irq_line *line, struct accel *accel, uint32_t gsi)
{
	*line = (struct irq_line){
		.accel = accel,
		.gsi = gsi,
		.trigger = IRQ_LEVEL,
		.pulse_fd = -1,
	};
}

int irq_line_init_edge(struct irq_line *line, struct accel *accel, uint32_t gsi,
		       struct error **errp)
{
	int fd, ret;

	fd = eventfd_new();
	if (fd < 0)
		return error_set_errno(errp, fd, "interrupt line %u: no eventfd", gsi);
	ret = accel->ops->irqfd(accel, gsi, fd, -1, true);
	if (ret) {
		fd_close(&fd);
		return error_set_errno(errp, ret, "interrupt line %u takes no irqfd", gsi);
	}
	*line = (struct irq_line){
		.accel = accel,
		.gsi = gsi,
		.trigger = IRQ_EDGE,
		.pulse_fd = fd,
	};
	return 0;
}

void irq_line_release(struct irq_line *line)
{
	int ret;

	if (!line->accel)
		return;
	if (line->trigger == IRQ_EDGE && line->pulse_fd >= 0) {
		ret = line->accel->ops->irqfd(line->accel, line->gsi, line->pulse_fd, -1, false);
		if (ret)
			log_warn("interrupt line %u: irqfd stays: %s", line->gsi, strerror(-ret));
		fd_close(&line->pulse_fd);
	} else if (line->trigger == IRQ_LEVEL) {
		/* A device that goes away holds nothing up. */
		irq_set(line, false);
	}
	line->accel = NULL;
}

void irq_set(struct irq_line *line, bool level)
{
	static struct log_limit limit;
	int ret;

	if (line->trigger == IRQ_EDGE) {
		/* The rising edge is all there is. */
		if (level)
			irq_pulse(line);
		return;
	}
	ret = line->accel->ops->irq_line(line->accel, line->gsi, level);
	if (ret)
		log_warn_limited(&limit, "interrupt line %u cannot be set: %s", line->gsi,
				 strerror(-ret));
}

void irq_pulse(struct irq_line *line)
{
	if (line->trigger == IRQ_EDGE) {
		eventfd_signal(line->pulse_fd);
	} else {
		irq_set(line, true);
		irq_set(line, false);
	}
}
