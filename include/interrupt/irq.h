/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupt lines as devices see them. An irq_line belongs to one device and one GSI of the machine.
 * irq_set() and irq_pulse() may be called on any thread; the rest on the main thread.
 */
#ifndef INTERRUPT_IRQ_H
#define INTERRUPT_IRQ_H

#include "cpu/accel.h"

enum irq_trigger { IRQ_EDGE, IRQ_LEVEL };

struct irq_line {
	struct accel *accel;
	uint32_t gsi;
	enum irq_trigger trigger;
	int pulse_fd; /* irqfd of an edge line, -1 until irq_line_init_edge() */
};

/* Allocates GSIs of one machine from a set given at start (virtio-mmio: 5..15 on x86). */
struct irq_pool {
	uint32_t first, last;
	uint64_t used; /* bit n: first + n; last - first < 64 */
};

/* Any free GSI of the pool. -ENOSPC with "all N interrupt lines are in use". */
int __must_check irq_pool_alloc(struct irq_pool *pool, uint32_t *gsi, struct error **errp);
/* This very GSI. -EBUSY when taken. */
int __must_check irq_pool_take(struct irq_pool *pool, uint32_t gsi, struct error **errp);
void irq_pool_free(struct irq_pool *pool, uint32_t gsi);

/* Level line: irq_set() drives it (KVM_IRQ_LINE). */
void irq_line_init_level(struct irq_line *line, struct accel *accel, uint32_t gsi);
/* Edge line: irq_pulse() writes an irqfd. */
int __must_check irq_line_init_edge(struct irq_line *line, struct accel *accel, uint32_t gsi,
				    struct error **errp);
void irq_line_release(struct irq_line *line);

void irq_set(struct irq_line *line, bool level);
void irq_pulse(struct irq_line *line);

#endif
