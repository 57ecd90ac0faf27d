// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net at full speed, as a Linux driver would do it: EVENT_IDX, mergeable receive buffers, one descriptor a frame, a
 * notification after each if the device wants one, no interrupt for what was sent but when the ring is full. Prints the
 * figures; the other end of the cable is tests/bench/wire.c, or nobody when the guest only sends.
 *
 * On the command line: how=tx to send for ms= (1000), how=rx to receive for ms= what comes as long as it is acknowledged, how=echo to
 * send back what comes until the other end has had enough. size= of a frame (64); longer than an Ethernet frame: TCP segments for the
 * network to cut (HOST_TSO4), or that it has not cut (GUEST_TSO4). irq=0 to poll instead of sleeping.
 */
#include "tests.h"
#include "lib/virtio.h"

#define RING		256
#define HEADER		12
#define ETHER_MAX	1514
#define FRAME_MAX	65536
#define RX_BUFFER	2048
#define WAIT_MS		60000
/* Of what came, told after so many: the other end has four times as many on their way. See wire.c. */
#define ACK_EVERY	32

#define NET_F_CSUM	(1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_HOST_TSO4	(1ull << 11)
#define NET_F_MRG_RXBUF	(1ull << 15)

struct net_header {
	u8 flags, gso_type;
	u16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

/* What the two ends say to each other: the first bytes behind the addresses, and the EtherType. wire.c has the same. */
enum { SAY_READY = 'R', SAY_FRAME = 'F', SAY_ACK = 'A', SAY_END = 'E' };
#define SAY_AT		14	/* one of the above; then a count of 4 bytes */
#define SAY_LEN		60

static struct {
	struct virtio_dev *dev;
	struct virtq rx, tx;
	u8 *rx_mem, *tx_mem;
	u16 rx_slot[VIRTQ_MAX];	/* of heads */
	u32 tx_next;		/* slot; they are given back in order by no promise, but all look the same */
	u32 tx_stalls;
	bool irq;
} card;

static const u8 addresses[14] = { 0x52, 0x54, 0, 0, 0, 0xfe, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x88, 0xb5 };

static void start(bool large)
{
	u64 features = FEATURE_EVENT_IDX | FEATURE_INDIRECT_DESC | NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MRG_RXBUF;
	u32 i;

	card.dev = virtio_get(VIRTIO_ID_NET, 0);
	if (large)
		features |= NET_F_GUEST_TSO4 | NET_F_HOST_TSO4;
	REQUIRE(virtio_negotiate(card.dev, features), "virtio-net refuses features %#lx", features);
	REQUIRE((card.dev->features & features) == features, "virtio-net lacks some of %#lx", features);
	card.rx_mem = alloc(RING * RX_BUFFER, 4096);
	card.tx_mem = alloc(RING * (large ? FRAME_MAX + 4096 : RX_BUFFER), 4096);
	virtq_setup(card.dev, &card.rx, 0, RING);
	virtq_setup(card.dev, &card.tx, 1, RING);
	virtio_driver_ok(card.dev);
	virtq_want_interrupt(&card.rx, false);
	virtq_want_interrupt(&card.tx, false);
	for (i = 0; i < card.rx.size; i++) {
		struct seg seg = { card.rx_mem + i * RX_BUFFER, RX_BUFFER };

		card.rx_slot[virtq_add(&card.rx, &seg, 0, 1, 0)] = i;
	}
	virtq_kick(&card.rx);
	if (card.irq) {
		lapic_tick(20000);
		ioapic_route(card.dev->gsi, card.dev->vector);
	}
}

/* Sleeps until the queue has used what it was asked to tell of. */
static void wait_for(struct virtq *vq)
{
	volatile u32 *irqs = irq_counter(0, card.dev->vector);
	u64 limit = deadline_ms(WAIT_MS);
	u32 seen = *irqs;

	full_barrier();
	while (vq->used->idx == vq->last_used) {
		if (!card.irq) {
			cpu_relax();
			REQUIRE(!deadline_passed(limit), "queue %u: nothing comes", vq->index);
			continue;
		}
		REQUIRE(irq_wait(0, card.dev->vector, seen, WAIT_MS), "queue %u: no interrupt", vq->index);
		seen = *irqs;
		write32(card.dev->base + VM_INTERRUPT_ACK, 1);
	}
}

/* Room for one more frame, and whatever was sent is taken back. */
static void make_room(void)
{
	struct virtq_used_elem elem;

	while (virtq_take(&card.tx, &elem))
		;
	if (card.tx.free_count)
		return;
	card.tx_stalls++;
	/* As Linux has it: when three quarters are through. */
	if (card.irq) {
		*virtq_used_event(&card.tx) = card.tx.last_used + RING * 3 / 4;
		wait_for(&card.tx);
		virtq_want_interrupt(&card.tx, false);
	} else {
		wait_for(&card.tx);
	}
	while (virtq_take(&card.tx, &elem))
		;
}

/* Until all has gone. */
static void drain(void)
{
	struct virtq_used_elem elem;

	while (card.tx.free_count < card.tx.size) {
		virtq_want_interrupt(&card.tx, true);
		wait_for(&card.tx);
		while (virtq_take(&card.tx, &elem))
			;
	}
}

static void say(u8 what, u32 count)
{
	static u8 words[RING][HEADER + SAY_LEN];
	u8 *frame = words[card.tx_next++ % RING];
	struct seg seg = { frame, HEADER + SAY_LEN };

	make_room();
	memcpy(frame + HEADER, addresses, sizeof(addresses));
	frame[HEADER + SAY_AT] = what;
	memcpy(frame + HEADER + SAY_AT + 1, &count, 4);
	virtq_add(&card.tx, &seg, 1, 0, 0);
	virtq_kick(&card.tx);
}

/* Ethernet, IPv4 and TCP before what the network is to cut. */
static void make_segments(u8 *frame, u32 size)
{
	struct net_header header = {
		.flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16,
	};
	u8 ip[20] = { 0x45, 0, (size - 14) >> 8, size - 14, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1 };
	u8 tcp[20] = { 0x10, 0, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff };

	memcpy(frame, &header, sizeof(header));
	memcpy(frame + HEADER, addresses, 12);
	memcpy(frame + HEADER + 12, (u8[]){ 8, 0 }, 2);
	memcpy(frame + HEADER + 14, ip, sizeof(ip));
	memcpy(frame + HEADER + 34, tcp, sizeof(tcp));
}

static void send_for(u32 ms, u32 size)
{
	bool large = size > ETHER_MAX;
	u32 stride = large ? FRAME_MAX + 4096 : RX_BUFFER, third = (size + HEADER - 66) / 3, i;
	u64 begin, end, now, us, sent = 0;

	for (i = 0; i < RING; i++) {
		u8 *frame = card.tx_mem + (size_t)i * stride;

		if (large) {
			make_segments(frame, size);
		} else {
			memcpy(frame + HEADER, addresses, sizeof(addresses));
			frame[HEADER + SAY_AT] = SAY_FRAME;
		}
	}
	begin = now = rdtsc();
	end = deadline_ms(ms);
	while ((int64_t)(now - end) < 0) {
		u8 *frame = card.tx_mem + (size_t)(sent % RING) * stride;

		make_room();
		if (large) {
			struct seg segs[] = {
				{ frame, 66 }, { frame + 66, third }, { frame + 66 + third, third },
				{ frame + 66 + 2 * third, size + HEADER - 66 - 2 * third },
			};

			virtq_add(&card.tx, segs, 4, 0, VIRTQ_ADD_INDIRECT);
		} else {
			struct seg seg = { frame, HEADER + size };

			virtq_add(&card.tx, &seg, 1, 0, 0);
		}
		virtq_kick(&card.tx);
		sent++;
		now = rdtsc();
	}
	drain(); /* what is on its way counts when it has gone */
	us = tsc_to_us(rdtsc() - begin);
	print("BENCH net-tx size=%u irq=%u frames=%lu pps=%lu MBps=%lu stalls=%u interrupts=%u\n", size, card.irq, sent,
	      sent * 1000000 / us, sent * size / us, card.tx_stalls, *irq_counter(0, card.dev->vector));
	CHECK(sent);
}

static u32 given_back;

static void give_back(u16 slot)
{
	struct seg seg = { card.rx_mem + slot * RX_BUFFER, RX_BUFFER };

	card.rx_slot[virtq_add(&card.rx, &seg, 0, 1, 0)] = slot;
	/* As Linux does: not one by one. */
	if (!(++given_back % 16))
		virtq_kick(&card.rx);
}

/* The next frame; *slot is its first buffer, which the caller gives back. Its length. */
static u32 next_frame(u16 *slot)
{
	struct virtq_used_elem elem;
	u32 len, buffers;
	u16 others;

	if (card.rx.used->idx == card.rx.last_used) {
		virtq_kick(&card.rx);
		virtq_want_interrupt(&card.rx, true);
		wait_for(&card.rx);
		virtq_want_interrupt(&card.rx, false);
	}
	REQUIRE(virtq_take(&card.rx, &elem), "nothing to take");
	*slot = card.rx_slot[elem.id];
	len = elem.len;
	buffers = ((struct net_header *)(card.rx_mem + *slot * RX_BUFFER))->num_buffers;
	while (--buffers) {
		REQUIRE(virtq_take(&card.rx, &elem), "a frame in %u buffers more than there are", buffers);
		others = card.rx_slot[elem.id];
		len += elem.len;
		give_back(others);
	}
	return len - HEADER;
}

static void receive_for(u32 ms, u32 size)
{
	u64 begin = 0, end = 0, now = 0, us, bytes = 0;
	u32 got = 0;

	say(SAY_READY, size);
	while (!got || (int64_t)(now - end) < 0) {
		u16 slot;
		u32 len = next_frame(&slot);

		REQUIRE(len == size, "frame %u has %u bytes, not %u", got, len, size);
		give_back(slot);
		now = rdtsc();
		if (!got++) {
			begin = now;
			end = deadline_ms(ms);
		}
		bytes += len;
		if (!(got % ACK_EVERY))
			say(SAY_ACK, got);
	}
	us = tsc_to_us(now - begin);
	say(SAY_END, got);
	drain();
	print("BENCH net-rx size=%u irq=%u pps=%lu MBps=%lu interrupts=%u\n", size, card.irq, (u64)got * 1000000 / us, bytes / us,
	      *irq_counter(0, card.dev->vector));
}

static void echo(u32 size)
{
	u32 got = 0;
	u8 what;

	say(SAY_READY, size);
	do {
		u16 slot;

		next_frame(&slot);
		what = card.rx_mem[slot * RX_BUFFER + HEADER + SAY_AT];
		got++;
		say(SAY_ACK, got);
		give_back(slot);
	} while (what != SAY_END);
	drain();
	print("BENCH net-echo irq=%u frames=%u interrupts=%u\n", card.irq, got, *irq_counter(0, card.dev->vector));
}

void test_net_bench(void)
{
	u32 ms = cmdline_get_u64("ms", 1000), size = cmdline_get_u64("size", 64);
	const char *how = cmdline_get("how");
	char kind = how ? *how : 't';

	REQUIRE(size >= SAY_LEN && size <= FRAME_MAX, "bad size=");
	card.irq = cmdline_get_u64("irq", 1);
	start(size > ETHER_MAX);
	if (kind == 't')
		send_for(ms, size);
	else if (kind == 'r')
		receive_for(ms, size);
	else
		echo(size);
}
