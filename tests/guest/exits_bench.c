// SPDX-License-Identifier: Apache-2.0
/*
 * What a way out of the guest costs: a register read through the VMM, a port, a notification by ioeventfd that another thread
 * answers, with the completion polled for or come in by irqfd. Prints nanoseconds each; only what does not answer fails.
 *
 * On the command line: n= (3000) of each; the request is GET_ID of a disk, which no storage sees.
 */
#include "tests.h"
#include "lib/virtio.h"

#define READ_PORT 0x3ff /* the boot-time port, or nobody's: a byte through the VMM */

static void told(const char *what, u64 start, u64 n)
{
	print("BENCH exit-%s ns=%lu\n", what, tsc_to_us(rdtsc() - start) * 1000 / n);
}

/* One request after the other on @vq. @irq: the CPU sleeps for each completion. */
static void round_trips(struct virtio_dev *dev, struct virtq *vq, u64 n, bool irq)
{
	static struct blk_req req;
	static u8 id[20];
	struct virtq_used_elem elem;
	u64 i;

	for (i = 0; i < n; i++) {
		struct seg segs[] = { { &req.header, 16 }, { id, sizeof(id) }, { (void *)&req.status, 1 } };
		u64 limit = deadline_ms(5000);
		u32 seen = *irq_counter(0, dev->vector);

		req.header = (struct blk_header){ .type = BLK_T_GET_ID };
		req.status = BLK_S_NONE;
		virtq_want_interrupt(vq, irq);
		virtq_add(vq, segs, 1, 2, VIRTQ_ADD_INDIRECT);
		virtq_kick(vq);
		if (irq && vq->used->idx == vq->last_used)
			REQUIRE(irq_wait(0, dev->vector, seen, 5000) || vq->used->idx != vq->last_used,
				"no interrupt in 5 s");
		if (irq)
			write32(dev->base + VM_INTERRUPT_ACK, 1);
		while (vq->used->idx == vq->last_used)
			REQUIRE(!deadline_passed(limit), "no completion in 5 s");
		REQUIRE(virtq_take(vq, &elem) && req.status == BLK_S_OK, "status %u", req.status);
	}
}

void test_exits_bench(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	u64 n = cmdline_get_u64("n", 3000), start, i;
	static struct virtq vq;

	blk_start(dev, &vq, FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX, 128);
	for (start = rdtsc(), i = 0; i < n; i++)
		read32(dev->base + VM_MAGIC);
	told("mmio", start, n);
	for (start = rdtsc(), i = 0; i < n; i++)
		inb(READ_PORT);
	told("port", start, n);
	start = rdtsc();
	round_trips(dev, &vq, n, false);
	told("notify-polled", start, n);
	lapic_tick(20000);
	ioapic_route(dev->gsi, dev->vector);
	start = rdtsc();
	round_trips(dev, &vq, n, true);
	told("notify-irq", start, n);
}
