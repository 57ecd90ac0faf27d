// SPDX-License-Identifier: Apache-2.0
/* Notification suppression in both directions (virtio 1.2 §2.7.7, §2.7.10), with indices that wrap. */
#include <string.h>

#include "unit.h"
#include "virtio/virtqueue.h"

#define SIZE 4
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000

static struct mem_space *space;
static struct ram_backend *ram;
static struct virtqueue vq;
static struct virtq_avail *avail;
static struct virtq_used *used;
static uint16_t available;

static void open_queue(bool event_idx)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = 64 * KIB };
	const char *why = NULL;

	ck_assert_int_eq(ram_backend_new(&config, &ram, NULL), 0);
	space = mem_space_new();
	ck_assert_int_eq(mem_space_add_ram(space, 0, ram, 0, 64 * KIB, NULL), 0);
	virtqueue_init(&vq, space);
	vq.size = SIZE;
	vq.desc_addr = DESC;
	vq.avail_addr = AVAIL;
	vq.used_addr = USED;
	ck_assert_int_eq(virtqueue_map(&vq, SIZE, event_idx, false, &why), 0);
	avail = (void *)(ram->host + AVAIL);
	used = (void *)(ram->host + USED);
	((struct virtq_desc *)(ram->host + DESC))->len = cpu_to_le32(1);
	available = 0;
}

static void close_queue(void)
{
	virtqueue_reset(&vq);
	mem_space_free(space);
	ram_backend_free(ram);
}

static le16_t *used_event(void)
{
	return &avail->ring[SIZE];
}

static uint16_t avail_event(void)
{
	return le16_to_cpu(*(le16_t *)&used->ring[SIZE]);
}

static void give(void)
{
	avail->ring[available % SIZE] = cpu_to_le16(0);
	avail->idx = cpu_to_le16(++available);
}

/* One chain all the way; does the driver want an interrupt? */
static bool round_trip(void)
{
	struct virtq_chain chain;

	give();
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	virtqueue_push(&vq, chain.head, 0);
	return virtqueue_publish(&vq);
}

START_TEST(event_arithmetic)
{
	/* Passed means: event is one of old … new-1, modulo 2^16. */
	for (uint32_t old = 0; old < 0x10000; old += 0x3fff)
		for (uint32_t step = 0; step <= 8; step++)
			for (int d = -3; d <= 11; d++) {
				uint16_t new = (uint16_t)(old + step), event = (uint16_t)(old + d);
				bool passed = d >= 0 && (uint32_t)d < step;

				ck_assert_msg(virtq_event_passed(event, new, (uint16_t)old) == passed,
					      "event %u old %u new %u", event, old, new);
			}
}
END_TEST

START_TEST(interrupts_by_event_index_through_the_wrap)
{
	open_queue(true);
	ck_assert(round_trip()); /* the first decision knows no former one: rather one too many */
	for (uint32_t i = 1; i < 0x10000 + 300; i++) {
		/* The driver asks for the third from here, with every round of three. */
		if (i % 3 == 1)
			*used_event() = cpu_to_le16((uint16_t)(i + 2));
		ck_assert_msg(round_trip() == (i % 3 == 0), "at %u", i);
	}
	close_queue();
}
END_TEST

START_TEST(interrupt_for_a_batch)
{
	struct virtq_chain chain;

	open_queue(true);
	ck_assert(round_trip());
	/* Used index 1 → 4 in one go; the event in the middle is enough. */
	*used_event() = cpu_to_le16(2);
	for (int i = 0; i < 3; i++) {
		give();
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
		virtqueue_push(&vq, chain.head, 0);
	}
	ck_assert(virtqueue_publish(&vq));
	ck_assert_uint_eq(le16_to_cpu(used->idx), 4);
	*used_event() = cpu_to_le16(3); /* passed already */
	ck_assert(!round_trip());
	close_queue();
}
END_TEST

START_TEST(interrupts_by_flag)
{
	open_queue(false);
	ck_assert(round_trip());
	avail->flags = cpu_to_le16(VIRTQ_AVAIL_F_NO_INTERRUPT);
	ck_assert(!round_trip());
	avail->flags = cpu_to_le16(0);
	ck_assert(round_trip());
	close_queue();
}
END_TEST

START_TEST(notifications_by_event_index)
{
	struct virtq_chain chain;

	open_queue(true);
	for (uint32_t i = 0; i < 0x10000 + 20; i++) {
		ck_assert(!virtqueue_notify_on(&vq));
		ck_assert_uint_eq(avail_event(), (uint16_t)i);
		give();
		ck_assert(virtqueue_notify_on(&vq)); /* came before the wish was seen */
		virtqueue_notify_off(&vq);
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
		virtqueue_push(&vq, chain.head, 0);
		(void)!virtqueue_publish(&vq);
		ck_assert_uint_eq(le16_to_cpu(used->flags), 0); /* §2.7.10.1: 0 with EVENT_IDX */
	}
	close_queue();
}
END_TEST

START_TEST(notifications_by_flag)
{
	open_queue(false);
	virtqueue_notify_off(&vq);
	ck_assert_uint_eq(le16_to_cpu(used->flags), VIRTQ_USED_F_NO_NOTIFY);
	ck_assert(!virtqueue_notify_on(&vq));
	ck_assert_uint_eq(le16_to_cpu(used->flags), 0);
	give();
	ck_assert(virtqueue_notify_on(&vq));
	close_queue();
}
END_TEST

START_TEST(a_watched_ring_asks_for_no_notifications)
{
	struct virtq_chain chain;

	open_queue(true);
	for (uint32_t i = 0; i < 0x10000 + 20; i++) {
		ck_assert(!virtqueue_notify_on(&vq));
		virtqueue_watch(&vq, true);
		ck_assert_uint_eq(avail_event(), (uint16_t)(i + 0x8000));
		ck_assert_uint_eq(virtqueue_avail_idx(&vq), (uint16_t)i);
		give();
		ck_assert_uint_eq(virtqueue_avail_idx(&vq), (uint16_t)(i + 1));
		ck_assert(!virtq_event_passed(avail_event(), available, available - 1));
		virtqueue_notify_off(&vq);
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
		virtqueue_push(&vq, chain.head, 0);
		(void)!virtqueue_publish(&vq);
		ck_assert(!virtqueue_notify_on(&vq)); /* nobody asks while somebody looks */
		ck_assert_uint_eq(avail_event(), (uint16_t)(i + 0x8000));
		virtqueue_watch(&vq, false);
		ck_assert_uint_eq(avail_event(), (uint16_t)(i + 1));
		ck_assert_uint_eq(le16_to_cpu(used->flags), 0);
	}
	close_queue();
}
END_TEST

START_TEST(a_watched_ring_by_flag)
{
	open_queue(false);
	ck_assert(!virtqueue_notify_on(&vq));
	virtqueue_watch(&vq, true);
	ck_assert_uint_eq(le16_to_cpu(used->flags), VIRTQ_USED_F_NO_NOTIFY);
	ck_assert(!virtqueue_notify_on(&vq));
	ck_assert_uint_eq(le16_to_cpu(used->flags), VIRTQ_USED_F_NO_NOTIFY);
	virtqueue_watch(&vq, false);
	ck_assert_uint_eq(le16_to_cpu(used->flags), 0);
	close_queue();
}
END_TEST

/* Its device has enough buffers and wants to hear of no more: the end of the watch changes nothing. */
START_TEST(a_watch_leaves_a_silent_ring_silent)
{
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		open_queue(event_idx);
		give();
		virtqueue_notify_off(&vq);
		for (int watched = 1; watched >= 0; watched--) {
			virtqueue_watch(&vq, watched);
			ck_assert_uint_eq(avail_event(), 0); /* passed already */
			ck_assert_uint_eq(le16_to_cpu(used->flags), event_idx ? 0 : VIRTQ_USED_F_NO_NOTIFY);
		}
		close_queue();
	}
}
END_TEST

UNIT_SUITE(event_suite, "virtio_event", event_arithmetic, interrupts_by_event_index_through_the_wrap,
	   interrupt_for_a_batch, interrupts_by_flag, notifications_by_event_index, notifications_by_flag,
	   a_watched_ring_asks_for_no_notifications, a_watched_ring_by_flag, a_watch_leaves_a_silent_ring_silent)
UNIT_MAIN(event_suite)
