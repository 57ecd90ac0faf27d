// SPDX-License-Identifier: Apache-2.0
/*
 * Two cards that are each other's cable. Frames of random lengths go both ways at once, while notifications, interrupts, buffers
 * and descriptors are asked for, held back and given at random; each frame must arrive once, whole and in order. Whenever the
 * guest has nothing left to do while frames are on their way, it sleeps until the interrupt that must come: a wake-up that
 * is lost on either side stops the test.
 *
 * On the command line: frames= each way (20000), size= of the longest (1514), events=1 for EVENT_IDX, depth= of the queues (32),
 * window= of frames on their way (64), seed=. progress= prints a line each time so many have come; disk= keeps that many reads of
 * 64 KiB of a disk on their way all the time.
 */
#include "tests.h"
#include "lib/virtio.h"

#define NET_HEADER	12
#define NET_SIZE_MAX	16384
#define NET_DEPTH_MAX	128
#define NET_F_STATUS	(1ull << 16)
#define NET_CONFIG_STATUS 6
#define WAIT_MS		60000
#define DISK_DEPTH_MAX	32
#define DISK_BYTES	65536

struct net_card {
	struct virtio_dev *dev;
	struct virtq rx, tx;
	u8 *rx_mem, *tx_mem;
	u16 rx_slot[VIRTQ_MAX], tx_slot[VIRTQ_MAX]; /* of heads */
	u16 rx_idle[NET_DEPTH_MAX], tx_idle[NET_DEPTH_MAX];
	u32 rx_idle_count, tx_idle_count;
	u32 sent, got; /* frames */
};

static struct net_card cards[2];
static u64 random_state;
static u32 depth, size_max, waits, tx_waits;

static u32 random_below(u32 n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 20) % n;
}

/* Of frame @seq from card @from. */
static u32 frame_size(u32 from, u32 seq)
{
	u64 h = ((u64)seq * 2 + from + 1) * 0x9e3779b97f4a7c15ull;

	return 60 + (h >> 40) % (size_max - 60 + 1);
}

static u8 frame_byte(u32 from, u32 seq, u32 at)
{
	return seq * 31 + at * 7 + from;
}

static void fill(u8 *frame, u32 from, u32 seq)
{
	u32 len = frame_size(from, seq), i;

	memset(frame, 0, NET_HEADER);
	frame += NET_HEADER;
	memset(frame, 0xff, 6);
	memcpy(frame + 6, (u8[]){ 0x52, 0x54, 0, 0, 0, from }, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	memcpy(frame + 14, &seq, 4);
	for (i = 18; i < len; i++)
		frame[i] = frame_byte(from, seq, i);
}

static void check(const u8 *frame, u32 len, u32 from, u32 want)
{
	u32 seq, i;

	REQUIRE(len == NET_HEADER + frame_size(from, want), "frame %u to card %u: %u bytes, not %u", want, 1 - from, len,
		NET_HEADER + frame_size(from, want));
	frame += NET_HEADER;
	memcpy(&seq, frame + 14, 4);
	REQUIRE(seq == want, "card %u got frame %u, not %u", 1 - from, seq, want);
	for (i = 18; i < len - NET_HEADER; i++)
		REQUIRE(frame[i] == frame_byte(from, seq, i), "frame %u to card %u: byte %u", seq, 1 - from, i);
}

/* Gives some or all of the idle buffers to the device. */
static void give_buffers(struct net_card *card, u32 count)
{
	while (count-- && card->rx_idle_count) {
		u16 slot = card->rx_idle[--card->rx_idle_count];
		struct seg seg = { card->rx_mem + (size_t)slot * NET_SIZE_MAX, NET_SIZE_MAX };

		card->rx_slot[virtq_add(&card->rx, &seg, 0, 1, random_below(2) ? VIRTQ_ADD_INDIRECT : 0)] = slot;
		if (!random_below(4))
			virtq_kick(&card->rx);
	}
	virtq_kick(&card->rx);
}

static bool reclaim(struct net_card *card)
{
	struct virtq_used_elem elem;
	bool any = false;

	while (virtq_take(&card->tx, &elem)) {
		card->tx_idle[card->tx_idle_count++] = card->tx_slot[elem.id];
		any = true;
	}
	return any;
}

static void send_frames(struct net_card *card, u32 count)
{
	u32 from = card - cards;

	while (count-- && card->tx_idle_count) {
		u16 slot = card->tx_idle[--card->tx_idle_count];
		u8 *frame = card->tx_mem + (size_t)slot * NET_SIZE_MAX;
		u32 len = NET_HEADER + frame_size(from, card->sent), cut = 1 + random_below(len - 1);
		struct seg segs[] = { { frame, cut }, { frame + cut, len - cut } };

		fill(frame, from, card->sent++);
		card->tx_slot[virtq_add(&card->tx, segs, 2, 0, VIRTQ_ADD_INDIRECT)] = slot;
		if (!random_below(3))
			virtq_kick(&card->tx);
	}
	virtq_kick(&card->tx);
}

static bool receive(struct net_card *card, u32 most)
{
	struct virtq_used_elem elem;
	bool any = false;

	while (most-- && virtq_take(&card->rx, &elem)) {
		u16 slot = card->rx_slot[elem.id];

		check(card->rx_mem + (size_t)slot * NET_SIZE_MAX, elem.len, 1 - (card - cards), card->got++);
		card->rx_idle[card->rx_idle_count++] = slot;
		any = true;
	}
	return any;
}

/* Until the queue has used something, which the device must tell. */
static void sleep_for(struct net_card *card, struct virtq *vq)
{
	volatile u32 *irqs = irq_counter(0, card->dev->vector);

	virtq_want_interrupt(vq, true);
	for (;;) {
		u32 seen = *irqs;

		if (vq->used->idx != vq->last_used)
			break;
		REQUIRE(irq_wait(0, card->dev->vector, seen, WAIT_MS),
			"card %u, queue %u: no interrupt; used %u of %u, seen %u; sent %u and %u, got %u and %u",
			(u32)(card - cards), vq->index, vq->used->idx, vq->avail->idx, vq->last_used, cards[0].sent, cards[1].sent,
			cards[0].got, cards[1].got);
		write32(card->dev->base + VM_INTERRUPT_ACK, 1);
	}
	if (random_below(2))
		virtq_want_interrupt(vq, false);
}

static void start(struct net_card *card, u32 n, u64 features)
{
	u32 i;

	card->dev = virtio_get(VIRTIO_ID_NET, n);
	REQUIRE(virtio_negotiate(card->dev, features), "virtio-net refuses features %#lx", features);
	card->rx_mem = alloc((size_t)depth * NET_SIZE_MAX, 4096);
	card->tx_mem = alloc((size_t)depth * NET_SIZE_MAX, 4096);
	virtq_setup(card->dev, &card->rx, 0, depth);
	virtq_setup(card->dev, &card->tx, 1, depth);
	for (i = 0; i < depth; i++)
		card->rx_idle[card->rx_idle_count++] = card->tx_idle[card->tx_idle_count++] = i;
	virtio_driver_ok(card->dev);
	virtq_want_interrupt(&card->rx, false);
	virtq_want_interrupt(&card->tx, false);
	ioapic_route(card->dev->gsi, card->dev->vector);
}

/* --- The disk beside it --- */

static struct {
	struct virtq vq;
	struct blk_req reqs[DISK_DEPTH_MAX];
	u16 req_of_head[VIRTQ_MAX];
	u8 *data;
	u64 done;
} disk;

static void read_disk(u32 i)
{
	struct blk_req *req = &disk.reqs[i];
	struct seg segs[] = {
		{ &req->header, 16 }, { disk.data + (size_t)i * DISK_BYTES, DISK_BYTES }, { (void *)&req->status, 1 },
	};

	req->header = (struct blk_header){ .type = BLK_T_IN, .sector = random_below(64) * (DISK_BYTES / 512) };
	req->status = BLK_S_NONE;
	disk.req_of_head[virtq_add(&disk.vq, segs, 1, 2, VIRTQ_ADD_INDIRECT)] = i;
}

static void start_disk(u32 reads)
{
	REQUIRE(reads <= DISK_DEPTH_MAX, "bad disk=");
	disk.data = alloc((size_t)reads * DISK_BYTES, 4096);
	blk_start(virtio_get(VIRTIO_ID_BLK, 0), &disk.vq, FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX, 128);
	while (reads--)
		read_disk(reads);
	virtq_kick(&disk.vq);
}

/* What was read is read again. */
static void keep_disk_busy(void)
{
	struct virtq_used_elem elem;
	u64 word;

	while (virtq_take(&disk.vq, &elem)) {
		u32 i = disk.req_of_head[elem.id];

		memcpy(&word, disk.data + (size_t)i * DISK_BYTES, 8);
		REQUIRE(disk.reqs[i].status == BLK_S_OK && word == disk.reqs[i].header.sector, "sector %lu: status %u, %lx",
			disk.reqs[i].header.sector, disk.reqs[i].status, word);
		read_disk(i);
		disk.done++;
	}
	virtq_kick(&disk.vq);
}

/* What is sent before is lost. */
static void wait_for_link(struct net_card *card)
{
	u64 limit = deadline_ms(WAIT_MS);

	while (!(read32(card->dev->base + VM_CONFIG + (NET_CONFIG_STATUS & ~3)) >> 16 & 1))
		REQUIRE(!deadline_passed(limit), "card %u: the link stays down", (u32)(card - cards));
}

/* What the card at this end can do now; false: nothing. */
static bool turn(struct net_card *card, u32 frames, u32 window)
{
	struct net_card *other = &cards[1 - (card - cards)];
	u32 room = window - (card->sent - other->got);
	bool any = false;

	if (room > frames - card->sent)
		room = frames - card->sent;
	if (room && (!card->tx_idle_count || !random_below(4)))
		any |= reclaim(card);
	if (room && card->tx_idle_count) {
		send_frames(card, 1 + random_below(room));
		any = true;
	}
	any |= receive(card, 1 + random_below(depth));
	if (card->rx_idle_count && !random_below(2))
		give_buffers(card, 1 + random_below(card->rx_idle_count));
	if (!random_below(16))
		virtq_want_interrupt(&card->rx, random_below(2));
	if (!random_below(16))
		virtq_want_interrupt(&card->tx, random_below(2));
	return any;
}

void test_net(void)
{
	u32 frames = cmdline_get_u64("frames", 20000), window = cmdline_get_u64("window", 64), i;
	u32 progress = cmdline_get_u64("progress", 0), reads = cmdline_get_u64("disk", 0), said = 0;
	u64 features = NET_F_STATUS | FEATURE_INDIRECT_DESC | (cmdline_get_u64("events", 0) ? FEATURE_EVENT_IDX : 0), begin, us;

	depth = cmdline_get_u64("depth", 32);
	size_max = cmdline_get_u64("size", 1514);
	random_state = cmdline_get_u64("seed", 1) * 88172645463325252ull | 1;
	REQUIRE(depth <= NET_DEPTH_MAX && size_max <= NET_SIZE_MAX - NET_HEADER && size_max >= 60 && window,
		"bad depth=, size= or window=");
	lapic_tick(20000);
	for (i = 0; i < 2; i++)
		start(&cards[i], i, features);
	for (i = 0; i < 2; i++)
		give_buffers(&cards[i], depth);
	for (i = 0; i < 2; i++)
		wait_for_link(&cards[i]);
	if (reads)
		start_disk(reads);
	begin = rdtsc();
	while (cards[0].got < frames || cards[1].got < frames) {
		bool any = turn(&cards[0], frames, window);
		struct net_card *card;

		any |= turn(&cards[1], frames, window);
		if (reads)
			keep_disk_busy();
		if (progress && cards[0].got + cards[1].got - said >= progress) {
			said = cards[0].got + cards[1].got;
			print("PROGRESS frames=%u reads=%lu\n", said, disk.done);
		}
		if (any || reads) /* a disk is not kept busy by one who sleeps */
			continue;
		/* Nothing to do here: whoever has frames coming is told of them, if it has buffers. */
		i = random_below(2);
		card = &cards[cards[1 - i].sent > cards[i].got ? i : 1 - i];
		give_buffers(&cards[0], depth);
		give_buffers(&cards[1], depth);
		if (cards[1 - (card - cards)].sent == card->got) {
			/* All arrived: there are no descriptors to send with. */
			tx_waits++;
			sleep_for(card, &card->tx);
		} else if (cards[i].tx_idle_count < depth && cards[i].sent - cards[1 - i].got <= depth && random_below(2)) {
			/* There are buffers for all that are on their way, so that sending need not wait for us. */
			tx_waits++;
			sleep_for(&cards[i], &cards[i].tx);
		} else {
			waits++;
			sleep_for(card, &card->rx);
		}
	}
	us = tsc_to_us(rdtsc() - begin);
	CHECK_EQ(cards[0].got, frames);
	CHECK_EQ(cards[1].got, frames);
	for (i = 0; i < 2; i++) {
		while (cards[i].tx_idle_count < depth) {
			if (!reclaim(&cards[i]))
				sleep_for(&cards[i], &cards[i].tx);
		}
		CHECK(!(virtio_status(cards[i].dev) & STATUS_NEEDS_RESET));
		virtio_reset(cards[i].dev);
	}
	print("net: %u frames each way, slept %u times for frames and %u times for descriptors\n", frames, waits, tx_waits);
	print("BENCH net size=%u events=%u frames-per-second=%lu\n", size_max, (u32)!!(features & FEATURE_EVENT_IDX),
	      2 * (u64)frames * 1000000 / (us ? us : 1));
}
