// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-blk reads or writes at a fixed depth, as a Linux driver would lay them out: indirect descriptors,
 * EVENT_IDX. Prints the figures; only wrong data fails.
 *
 * On the command line: depth= of a queue (32), queues= (1), all driven by one CPU unless cpus= says as many: then each
 * drives its own; bs= bytes (4096), ms= (1000), seq=1 for one block after the other instead of random ones, write=1 to
 * write, irq=1 to sleep for completions (of any queue: virtio-mmio has one line for all) instead of polling, spin=1 to
 * stay instead of ending.
 */
#include "tests.h"
#include "lib/virtio.h"

#define DEPTH_MAX 128
#define QUEUES_MAX 8
#define WAIT_MS 60000

/* One queue and what is on its way in it; only the CPU that drives it touches it. */
struct lane {
	struct virtq vq;
	struct blk_req reqs[DEPTH_MAX];
	u16 req_of_head[VIRTQ_MAX];
	u32 idle[DEPTH_MAX], idle_count;
	u64 random_state, next, done, kicks;
	u8 *data;
};

static struct {
	struct virtio_dev *dev;
	u32 depth, bs, sectors, queues, cpus;
	bool irq, seq, write;
	u64 blocks, end;
	volatile u32 finished;	/* CPUs */
} bench;

static struct lane lanes[QUEUES_MAX];
static const u64 none = ~0ull;	/* not the end of any sector */

static u64 random_next(struct lane *lane)
{
	lane->random_state ^= lane->random_state << 13;
	lane->random_state ^= lane->random_state >> 7;
	lane->random_state ^= lane->random_state << 17;
	return lane->random_state;
}

/* As many requests as the depth allows. */
static void lane_submit(struct lane *lane)
{
	u32 bs = bench.bs, kicked = lane->vq.kicked;

	if (!lane->idle_count)
		return;
	while (lane->idle_count) {
		u32 i = lane->idle[--lane->idle_count];
		struct blk_req *req = &lane->reqs[i];
		u8 *data = lane->data + (size_t)i * bs;
		struct seg segs[] = { { &req->header, 16 }, { data, bs }, { (void *)&req->status, 1 } };
		u64 word;

		req->header = (struct blk_header){
			.type = bench.write ? BLK_T_OUT : BLK_T_IN,
			.sector = (bench.seq ? lane->next++ : random_next(lane)) % bench.blocks * bench.sectors,
		};
		word = req->header.sector + bench.sectors - 1;
		memcpy(data + bs - 8, bench.write ? &word : &none, 8);
		req->status = BLK_S_NONE;
		lane->req_of_head[virtq_add(&lane->vq, segs, bench.write ? 2 : 1, bench.write ? 1 : 2, VIRTQ_ADD_INDIRECT)] = i;
	}
	virtq_kick(&lane->vq);
	lane->kicks += kicked != lane->vq.kicked;
}

static void lane_complete(struct lane *lane)
{
	struct virtq_used_elem elem;
	u64 word;

	while (virtq_take(&lane->vq, &elem)) {
		u32 i = lane->req_of_head[elem.id];
		struct blk_req *req = &lane->reqs[i];

		lane->idle[lane->idle_count++] = i;
		lane->done++;
		memcpy(&word, lane->data + (size_t)(i + 1) * bench.bs - 8, 8);
		if (req->status != BLK_S_OK || elem.len != (bench.write ? 1 : bench.bs + 1))
			REQUIRE(false, "sector %lu: status %u, used length %u", req->header.sector, req->status, elem.len);
		REQUIRE(word == req->header.sector + bench.sectors - 1, "sector %lu ends in %#lx", req->header.sector, word);
	}
}

static bool any_used(const struct lane *first, u32 count)
{
	for (u32 i = 0; i < count; i++)
		if (first[i].vq.used->idx != first[i].vq.last_used)
			return true;
	return false;
}

static bool any_in_flight(const struct lane *first, u32 count)
{
	for (u32 i = 0; i < count; i++)
		if (first[i].idle_count < bench.depth)
			return true;
	return false;
}

/* Until something has come back in one of the queues. */
static void wait_for_any(struct lane *first, u32 count, u32 seen)
{
	u64 limit;
	u32 i;

	if (!bench.irq) {
		limit = deadline_ms(WAIT_MS);
		while (!any_used(first, count))
			REQUIRE(!deadline_passed(limit), "no completion");
		return;
	}
	for (i = 0; i < count; i++)
		virtq_want_interrupt(&first[i].vq, true);
	if (!any_used(first, count))
		REQUIRE(irq_wait(0, bench.dev->vector, seen, WAIT_MS) || any_used(first, count), "no interrupt");
	write32(bench.dev->base + VM_INTERRUPT_ACK, 1);
	for (i = 0; i < count; i++)
		virtq_want_interrupt(&first[i].vq, false);
}

static void drive(struct lane *first, u32 count)
{
	bool more = true;

	/* After the time is up, only what is in flight is waited for. */
	while (more || any_in_flight(first, count)) {
		u32 seen = *irq_counter(0, bench.dev->vector), i;

		for (i = 0; more && i < count; i++)
			lane_submit(&first[i]);
		wait_for_any(first, count, seen);
		for (i = 0; i < count; i++)
			lane_complete(&first[i]);
		more = (int64_t)(rdtsc() - bench.end) < 0;
	}
	__atomic_add_fetch(&bench.finished, 1, __ATOMIC_SEQ_CST);
}

static volatile bool go;

static void other_cpu(u32 index)
{
	while (!go)
		cpu_relax();
	if (index < bench.cpus)
		drive(&lanes[index], 1);
}

static void bench_start(void)
{
	/* Without FLUSH each write would be a promise of its own (5.2.6.2). */
	u64 features = FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX | (bench.write ? BLK_F_FLUSH : 0) |
		       (bench.queues > 1 ? BLK_F_MQ : 0);
	u32 n, i;

	REQUIRE(virtio_negotiate(bench.dev, features), "virtio-blk refuses its features");
	REQUIRE(bench.queues == 1 || read16(bench.dev->base + VM_CONFIG + BLK_CONFIG_NUM_QUEUES) >= bench.queues,
		"the disk has fewer than %u queues", bench.queues);
	for (n = 0; n < bench.queues; n++) {
		struct lane *lane = &lanes[n];

		virtq_setup(bench.dev, &lane->vq, n, 128);
		lane->data = alloc((size_t)bench.depth * bench.bs, 4096);
		lane->random_state = 88172645463325252ull + n;
		lane->idle_count = bench.depth;
		for (i = 0; i < bench.depth; i++)
			lane->idle[i] = i;
	}
	virtio_driver_ok(bench.dev);
	bench.blocks = blk_capacity(bench.dev) / bench.sectors;
	for (n = 0; n < bench.queues; n++) {
		virtq_want_interrupt(&lanes[n].vq, false);
		lanes[n].next = bench.blocks / bench.queues * n;
	}
}

void test_blk_bench(void)
{
	u64 begin, limit, us, done = 0, kicks = 0;
	u32 n, first_irqs, interrupts;

	bench.dev = virtio_get(VIRTIO_ID_BLK, 0);
	bench.depth = cmdline_get_u64("depth", 32);
	bench.bs = cmdline_get_u64("bs", 4096);
	bench.sectors = bench.bs / 512;
	bench.queues = cmdline_get_u64("queues", 1);
	bench.cpus = cmdline_get_u64("cpus", 1);
	bench.irq = cmdline_get_u64("irq", 0);
	bench.seq = cmdline_get_u64("seq", 0);
	bench.write = cmdline_get_u64("write", 0);
	REQUIRE(bench.depth && bench.depth <= DEPTH_MAX && bench.bs >= 512 && bench.bs % 512 == 0, "bad depth= or bs=");
	REQUIRE(bench.queues && bench.queues <= QUEUES_MAX, "bad queues=");
	REQUIRE(bench.cpus == 1 || (bench.cpus == bench.queues && !bench.irq), "cpus= is 1, or queues= and without irq=");
	bench_start();
	if (bench.cpus > 1)
		REQUIRE(smp_start(bench.cpus - 1, other_cpu) == bench.cpus - 1, "not all CPUs came up");
	if (bench.irq) {
		lapic_tick(20000);
		ioapic_route(bench.dev->gsi, bench.dev->vector);
	}
	first_irqs = *irq_counter(0, bench.dev->vector);
	begin = rdtsc();
	bench.end = deadline_ms(cmdline_get_u64("ms", 1000));
	full_barrier();
	go = true;
	drive(lanes, bench.cpus > 1 ? 1 : bench.queues);
	limit = deadline_ms(WAIT_MS);
	while (bench.finished < bench.cpus)
		REQUIRE(!deadline_passed(limit), "a CPU does not finish");
	us = tsc_to_us(rdtsc() - begin);
	interrupts = *irq_counter(0, bench.dev->vector) - first_irqs;
	for (n = 0; n < bench.queues; n++) {
		CHECK(lanes[n].done >= bench.depth);
		done += lanes[n].done;
		kicks += lanes[n].kicks;
	}
	print("BENCH blk-%s%s queues=%u cpus=%u depth=%u bs=%u irq=%u iops=%lu MBps=%lu batches=%lu interrupts=%u\n",
	      bench.seq ? "" : "rand", bench.write ? "write" : "read", bench.queues, bench.cpus, bench.depth, bench.bs, bench.irq,
	      done * 1000000 / us, done * bench.bs / us, kicks, interrupts);
	if (cmdline_get_u64("spin", 0))
		test_spin();
}
