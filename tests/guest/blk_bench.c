// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk reads or writes at a fixed depth on one queue, as a Linux driver would lay them out:
 * indirect descriptors, EVENT_IDX. Prints the figures; only wrong data fails.
 *
 * On the command line: depth= (32), bs= bytes (4096), ms= (1000), seq=1 for one block after the other
 * instead of random ones, write=1 to write, irq=1 to sleep for completions instead of polling, spin=1 to stay
 * instead of ending.
 */
#include "tests.h"
#include "lib/virtio.h"

#define DEPTH_MAX 128

static u64 random_state = 88172645463325252ull;

static u64 random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

void test_blk_bench(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	u32 depth = cmdline_get_u64("depth", 32), bs = cmdline_get_u64("bs", 4096);
	u32 ms = cmdline_get_u64("ms", 1000), sectors = bs / 512, i;
	bool irq = cmdline_get_u64("irq", 0), seq = cmdline_get_u64("seq", 0);
	bool write = cmdline_get_u64("write", 0);
	/* Without FLUSH each write would be a promise of its own (5.2.6.2). */
	u64 features = FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX | (write ? BLK_F_FLUSH : 0);
	static struct blk_req reqs[DEPTH_MAX];
	static u16 req_of_head[VIRTQ_MAX];
	volatile u32 *irqs = irq_counter(0, dev->vector);
	u64 blocks, next = 0, start, end, now, us, done = 0, kicks = 0;
	const u64 none = ~0ull; /* not the end of any sector */
	struct virtq_used_elem elem;
	static struct virtq vq;
	u64 word;
	u32 idle[DEPTH_MAX], idle_count = depth, first_irqs;
	u8 *data;

	REQUIRE(depth && depth <= DEPTH_MAX && bs >= 512 && bs % 512 == 0, "bad depth= or bs=");
	data = alloc((size_t)depth * bs, 4096);
	blk_start(dev, &vq, features, 128);
	blocks = blk_capacity(dev) / sectors;
	for (i = 0; i < depth; i++)
		idle[i] = i;
	if (irq) {
		lapic_tick(20000);
		ioapic_route(dev->gsi, dev->vector);
	}
	first_irqs = *irqs;
	start = now = rdtsc();
	end = deadline_ms(ms);
	while ((int64_t)(now - end) < 0 || idle_count < depth) {
		u32 added = 0, seen = *irqs, kicked = vq.kicked;

		/* After the time is up, only what is in flight is waited for. */
		while (idle_count && (int64_t)(now - end) < 0) {
			struct blk_req *req = &reqs[i = idle[--idle_count]];
			struct seg segs[] = {
				{ &req->header, 16 }, { data + (size_t)i * bs, bs },
				{ (void *)&req->status, 1 },
			};

			req->header = (struct blk_header){
				.type = write ? BLK_T_OUT : BLK_T_IN,
				.sector = (seq ? next++ : random_next()) % blocks * sectors,
			};
			word = req->header.sector + sectors - 1;
			memcpy(data + (size_t)i * bs + bs - 8, write ? &word : &none, 8);
			req->status = BLK_S_NONE;
			req_of_head[virtq_add(&vq, segs, write ? 2 : 1, write ? 1 : 2,
							VIRTQ_ADD_INDIRECT)] = i;
			added++;
		}
		if (added) {
			virtq_kick(&vq);
			kicks += kicked != vq.kicked;
		}
		if (irq) {
			virtq_want_interrupt(&vq, true);
			if (vq.used->idx == vq.last_used)
				REQUIRE(irq_wait(0, dev->vector, seen, 5000) ||
					vq.used->idx != vq.last_used, "no interrupt in 5 s");
			write32(dev->base + VM_INTERRUPT_ACK, 1);
			virtq_want_interrupt(&vq, false);
		} else {
			u64 limit = deadline_ms(5000);

			while (vq.used->idx == vq.last_used)
				REQUIRE(!deadline_passed(limit), "no completion in 5 s");
		}
		while (virtq_take(&vq, &elem)) {
			i = req_of_head[elem.id];
			idle[idle_count++] = i;
			done++;
			memcpy(&word, data + (size_t)i * bs + bs - 8, 8);
			if (reqs[i].status != BLK_S_OK || elem.len != (write ? 1 : bs + 1))
				REQUIRE(false, "sector %lu: status %u, used length %u",
					reqs[i].header.sector, reqs[i].status, elem.len);
			REQUIRE(word == reqs[i].header.sector + sectors - 1,
				"sector %lu ends in %#lx", reqs[i].header.sector, word);
		}
		now = rdtsc();
	}
	us = tsc_to_us(now - start);
	print("BENCH blk-%s%s depth=%u bs=%u irq=%u iops=%lu MBps=%lu batches=%lu interrupts=%u\n",
	      seq ? "" : "rand", write ? "write" : "read", depth, bs, irq, done * 1000000 / us, done * bs / us, kicks, *irqs - first_irqs);
	CHECK(done >= depth);
	if (cmdline_get_u64("spin", 0))
		test_spin();
}
