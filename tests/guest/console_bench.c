// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes out of the guest by virtio-console, without MULTIPORT: port 0 is queues 0 and 1. As many buffers on their way as depth= (64)
 * says, of bs= bytes (4096), for ms= (1000); the guest sleeps when all are. Prints the figure; somebody has to read at the other end.
 */
#include "tests.h"
#include "lib/virtio.h"

#define DEPTH_MAX	128
#define WAIT_MS		60000

/* Takes back what was sent; @all: waits until nothing is on its way, else until something has gone. */
static void take_back(struct virtio_dev *dev, struct virtq *vq, bool all)
{
	volatile u32 *irqs = irq_counter(0, dev->vector);
	struct virtq_used_elem elem;

	do {
		u32 seen = *irqs;

		virtq_want_interrupt(vq, true);
		while (vq->used->idx == vq->last_used) {
			REQUIRE(irq_wait(0, dev->vector, seen, WAIT_MS), "no interrupt");
			seen = *irqs;
			write32(dev->base + VM_INTERRUPT_ACK, 1);
		}
		while (virtq_take(vq, &elem))
			;
	} while (all && vq->free_count < vq->size);
	virtq_want_interrupt(vq, false);
}

void test_console_bench(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_CONSOLE, 0);
	u32 depth = cmdline_get_u64("depth", 64), bs = cmdline_get_u64("bs", 4096), ms = cmdline_get_u64("ms", 1000);
	u64 begin, end, us, sent = 0;
	static struct virtq rx, tx;
	u8 *data;

	REQUIRE(depth && depth <= DEPTH_MAX && bs, "bad depth= or bs=");
	REQUIRE(virtio_negotiate(dev, FEATURE_EVENT_IDX), "virtio-console refuses its features");
	data = alloc(bs, 4096);
	memset(data, '.', bs);
	virtq_setup(dev, &rx, 0, depth);
	virtq_setup(dev, &tx, 1, depth);
	virtio_driver_ok(dev);
	virtq_want_interrupt(&rx, false);
	virtq_want_interrupt(&tx, false);
	lapic_tick(20000);
	ioapic_route(dev->gsi, dev->vector);
	begin = rdtsc();
	end = deadline_ms(ms);
	while (!deadline_passed(end)) {
		struct seg seg = { data, bs };

		if (!tx.free_count)
			take_back(dev, &tx, false);
		virtq_add(&tx, &seg, 1, 0, 0);
		virtq_kick(&tx);
		sent++;
	}
	take_back(dev, &tx, true);
	us = tsc_to_us(rdtsc() - begin);
	print("BENCH console bs=%u MBps=%lu buffers=%lu\n", bs, sent * bs / us, sent);
}
