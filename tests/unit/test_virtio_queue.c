// SPDX-License-Identifier: Apache-2.0
/*
 * The chain walker against drivers that break the rules of virtio 1.2 §2.7; names carry the keys of the list of
 * other VMMs' bugs. RAM is 1 MiB at 0 and 64 KiB at 16 MiB, nothing between and behind.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "unit.h"
#include "virtio/virtqueue.h"

#define RAM_SIZE MIB
#define HIGH_BASE (16 * MIB)
#define HIGH_SIZE (64 * KIB)
#define SIZE 8
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000
#define TABLE 0x4000
#define DATA 0x8000

static struct mem_space *space;
static struct ram_backend *ram, *high;
static struct virtqueue vq;
static struct virtq_chain chain;
static struct virtq_desc *desc;
static struct virtq_avail *avail;
static struct virtq_used *used;

static void map_ring(uint16_t size, bool event_idx, bool indirect)
{
	const char *why = NULL;

	virtqueue_reset(&vq);
	vq.size = size;
	vq.desc_addr = DESC;
	vq.avail_addr = AVAIL;
	vq.used_addr = USED;
	ck_assert_msg(!virtqueue_map(&vq, SIZE, event_idx, indirect, &why), "%s", why);
	memset(ram->host, 0, RAM_SIZE);
}

static void map(bool event_idx, bool indirect)
{
	map_ring(SIZE, event_idx, indirect);
}

static void setup(void)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = RAM_SIZE };

	ck_assert_int_eq(ram_backend_new(&config, &ram, NULL), 0);
	config.size = HIGH_SIZE;
	ck_assert_int_eq(ram_backend_new(&config, &high, NULL), 0);
	space = mem_space_new();
	ck_assert_int_eq(mem_space_add_ram(space, 0, ram, 0, RAM_SIZE, NULL), 0);
	ck_assert_int_eq(mem_space_add_ram(space, HIGH_BASE, high, 0, HIGH_SIZE, NULL), 0);
	virtqueue_init(&vq, space);
	desc = (void *)(ram->host + DESC);
	avail = (void *)(ram->host + AVAIL);
	used = (void *)(ram->host + USED);
	map(false, true);
}

static void teardown(void)
{
	virtqueue_reset(&vq);
	mem_space_free(space);
	ram_backend_free(ram);
	ram_backend_free(high);
}

static void put(struct virtq_desc *table, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
		uint16_t next)
{
	table[i] = (struct virtq_desc){ cpu_to_le64(addr), cpu_to_le32(len), cpu_to_le16(flags),
					cpu_to_le16(next) };
}

static void publish(uint16_t head)
{
	uint16_t idx = le16_to_cpu(avail->idx);

	avail->ring[idx % SIZE] = cpu_to_le16(head);
	avail->idx = cpu_to_le16(idx + 1);
}

/* The canonical good chain 0 → 1 → 2: 16 bytes to read, 512 and 1 to write. */
static void good_chain(struct virtq_desc *table)
{
	put(table, 0, DATA, 16, VIRTQ_DESC_F_NEXT, 1);
	put(table, 1, DATA + 0x1000, 512, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 2);
	put(table, 2, DATA + 0x2000, 1, VIRTQ_DESC_F_WRITE, 0);
}

static void expect_good(void)
{
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	ck_assert_uint_eq(chain.out_count, 1);
	ck_assert_uint_eq(chain.in_count, 2);
	ck_assert_uint_eq(chain.out_len, 16);
	ck_assert_uint_eq(chain.in_len, 513);
	ck_assert_ptr_eq(chain.iov[0].iov_base, ram->host + DATA);
	ck_assert_ptr_eq(chain.iov[1].iov_base, ram->host + DATA + 0x1000);
	ck_assert_uint_eq(chain.iov[2].iov_len, 1);
}

/* What is in the ring now is refused with this reason, and the queue is dead until it is set up again. */
static void expect_broken(const char *why)
{
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), -EPROTO);
	ck_assert_str_eq(vq.broken, why);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), -EPROTO);
	ck_assert(!virtqueue_pending(&vq));
	ck_assert_uint_eq(le16_to_cpu(used->idx), 0);
}

START_TEST(good_chains)
{
	good_chain(desc);
	publish(0);
	expect_good();
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 0);
	virtqueue_push(&vq, 0, 513);
	ck_assert_uint_eq(le16_to_cpu(used->idx), 0);
	ck_assert(virtqueue_publish(&vq));
	ck_assert_uint_eq(le16_to_cpu(used->idx), 1);
	ck_assert_uint_eq(le32_to_cpu(used->ring[0].id), 0);
	ck_assert_uint_eq(le32_to_cpu(used->ring[0].len), 513);
	ck_assert(!virtqueue_publish(&vq)); /* nothing new: no interrupt */

	/* The same by an indirect table, whose WRITE flag means nothing (§2.7.5.3.2), behind a direct one. */
	good_chain((void *)(ram->host + TABLE));
	put(desc, 3, TABLE, 48, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE, 0);
	publish(3);
	expect_good();
	put(desc, 4, DATA + 0x3000, 4, VIRTQ_DESC_F_NEXT, 5);
	put(desc, 5, TABLE, 48, VIRTQ_DESC_F_INDIRECT, 0);
	publish(4);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	ck_assert_uint_eq(chain.out_len, 20);
	ck_assert_uint_eq(chain.out_count, 2);
}
END_TEST

START_TEST(unpop_gives_the_same_chain_again)
{
	good_chain(desc);
	publish(0);
	expect_good();
	virtqueue_unpop(&vq, chain.head);
	ck_assert(virtqueue_pending(&vq));
	expect_good();
}
END_TEST

START_TEST(desc_loop)
{
	static const struct { int at, next; } loops[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { 2, 1 }, { 2, 0 } };

	for (unsigned int i = 0; i < ARRAY_SIZE(loops); i++) {
		map(false, true);
		good_chain(desc);
		/* All writable, so that only the length of the chain can end it. */
		for (int k = 0; k < 3; k++)
			desc[k].flags = cpu_to_le16(VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT);
		desc[2].flags = cpu_to_le16(VIRTQ_DESC_F_WRITE);
		desc[loops[i].at].flags = cpu_to_le16(VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT);
		desc[loops[i].at].next = cpu_to_le16(loops[i].next);
		publish(0);
		expect_broken("a chain is longer than the queue, or a loop");
	}
	/* Inside an indirect table. */
	struct virtq_desc *table = (void *)(ram->host + TABLE);

	map(false, true);
	put(table, 0, DATA, 1, VIRTQ_DESC_F_NEXT, 1);
	put(table, 1, DATA, 1, VIRTQ_DESC_F_NEXT, 0);
	put(desc, 0, TABLE, 32, VIRTQ_DESC_F_INDIRECT, 0);
	publish(0);
	expect_broken("a chain is longer than the queue, or a loop");
}
END_TEST

START_TEST(next_past_the_table)
{
	static const uint16_t bad[] = { SIZE, SIZE + 1, 0x7fff, 0x8000, 0xffff };
	struct virtq_desc *table = (void *)(ram->host + TABLE);

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		map(false, true);
		good_chain(desc);
		desc[0].next = cpu_to_le16(bad[i]);
		publish(0);
		expect_broken("a next index past the queue");

		map(false, true);
		good_chain(table);
		table[1].next = cpu_to_le16(i ? bad[i] : 3);
		put(desc, 0, TABLE, 48, VIRTQ_DESC_F_INDIRECT, 0);
		publish(0);
		expect_broken("a next index past the indirect table");
	}
}
END_TEST

START_TEST(zero_len)
{
	for (unsigned int i = 0; i < 3; i++) {
		map(false, true);
		good_chain(desc);
		desc[i].len = cpu_to_le32(0);
		publish(0);
		expect_broken("a descriptor has no length");
	}
}
END_TEST

START_TEST(huge_len)
{
	/* Anywhere in RAM, more than is left of the region. */
	static const struct { uint64_t addr; uint32_t len; } bad[] = {
		{ DATA, 0xffffffff }, { DATA, 0x80000000 }, { 0, RAM_SIZE + 1 }, { RAM_SIZE - 1, 2 },
		{ RAM_SIZE - 16, 17 }, { HIGH_BASE, HIGH_SIZE + 1 }, { HIGH_BASE + HIGH_SIZE - 1, 0xffffffff },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned int k = 0; k < 3; k++) {
			map(false, true);
			good_chain(desc);
			desc[k].addr = cpu_to_le64(bad[i].addr);
			desc[k].len = cpu_to_le32(bad[i].len);
			publish(0);
			ck_assert_int_eq(virtqueue_pop(&vq, &chain), -EPROTO);
		}
	/* The very last bytes are fine. */
	map(false, true);
	good_chain(desc);
	desc[1].addr = cpu_to_le64(RAM_SIZE - 512);
	desc[2].addr = cpu_to_le64(HIGH_BASE + HIGH_SIZE - 1);
	publish(0);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
}
END_TEST

START_TEST(huge_len_in_sum)
{
	/* Each range is RAM, together they are more than 4 GiB: needs a region of more than half a GiB, shared. */
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = GIB };
	struct ram_backend *big;

	ck_assert_int_eq(ram_backend_new(&config, &big, NULL), 0);
	ck_assert_int_eq(mem_space_add_ram(space, 4 * GIB, big, 0, GIB, NULL), 0);
	for (unsigned int i = 0; i < 4; i++)
		put(desc, i, 4 * GIB, GIB, VIRTQ_DESC_F_WRITE | (i < 3 ? VIRTQ_DESC_F_NEXT : 0), i + 1);
	publish(0);
	expect_broken("a chain describes more than 4 GiB");
	ram_backend_free(big);
}
END_TEST

START_TEST(reentrant_dma_and_other_places_outside_ram)
{
	static const uint64_t bad[] = {
		RAM_SIZE, HIGH_BASE - 1, HIGH_BASE + HIGH_SIZE, 0xd0000000, 0xfee00000, 1ULL << 63, UINT64_MAX,
		UINT64_MAX - 511, UINT64_MAX - 15,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned int k = 0; k < 3; k++) {
			map(false, true);
			good_chain(desc);
			desc[k].addr = cpu_to_le64(bad[i]);
			publish(0);
			expect_broken("a descriptor points outside RAM");
		}
}
END_TEST

START_TEST(nested_indirect)
{
	struct virtq_desc *table = (void *)(ram->host + TABLE);

	for (unsigned int i = 0; i < 3; i++) {
		map(false, true);
		good_chain(table);
		table[i].flags = cpu_to_le16(VIRTQ_DESC_F_INDIRECT);
		table[i].addr = cpu_to_le64(TABLE + 0x800);
		table[i].len = cpu_to_le32(48);
		put(desc, 0, TABLE, 48, VIRTQ_DESC_F_INDIRECT, 0);
		publish(0);
		expect_broken("an indirect table inside another");
	}
}
END_TEST

START_TEST(nested_indirect_table_lengths)
{
	static const uint32_t bad[] = { 0, 1, 15, 17, 40, 47, 0xffffffff, 0xfffffff0, 16 * 65537 };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		map(false, true);
		good_chain((void *)(ram->host + TABLE));
		put(desc, 0, TABLE, bad[i], VIRTQ_DESC_F_INDIRECT, 0);
		publish(0);
		expect_broken("an indirect table of an impossible length");
	}
	map(false, true);
	put(desc, 0, RAM_SIZE - 16, 32, VIRTQ_DESC_F_INDIRECT, 0);
	publish(0);
	expect_broken("an indirect table outside RAM");
	map(false, true);
	put(desc, 0, TABLE + 4, 48, VIRTQ_DESC_F_INDIRECT, 0);
	publish(0);
	expect_broken("an indirect table is not aligned");
	map(false, true);
	put(desc, 0, TABLE, 48, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT, 1);
	publish(0);
	expect_broken("an indirect descriptor with a next one");
	map(false, false);
	put(desc, 0, TABLE, 48, VIRTQ_DESC_F_INDIRECT, 0);
	publish(0);
	expect_broken("an indirect descriptor, which was not negotiated");
}
END_TEST

START_TEST(chain_as_long_as_the_queue)
{
	struct virtq_desc *table = (void *)(ram->host + TABLE);

	/* What the device offers counts, not how much of it the driver took for its ring. */
	for (unsigned int k = 0; k < 4; k++) {
		unsigned int extra = k % 2, count = SIZE + extra;

		map_ring(k < 2 ? SIZE : SIZE / 2, false, true);
		for (unsigned int i = 0; i < count; i++)
			put(table, i, DATA + i, 1, i + 1 < count ? VIRTQ_DESC_F_NEXT : 0, i + 1);
		put(desc, 0, TABLE, 16 * count, VIRTQ_DESC_F_INDIRECT, 0);
		publish(0);
		if (extra) {
			expect_broken("a chain is longer than the queue, or a loop");
		} else {
			ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
			ck_assert_uint_eq(chain.out_count, SIZE);
		}
	}
}
END_TEST

START_TEST(readable_behind_writable)
{
	good_chain(desc);
	desc[0].flags = cpu_to_le16(VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
	desc[1].flags = cpu_to_le16(VIRTQ_DESC_F_NEXT);
	publish(0);
	expect_broken("a readable descriptor follows a writable one");
}
END_TEST

START_TEST(head_past_the_queue)
{
	static const uint16_t bad[] = { SIZE, 0x8000, 0xffff };

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		map(false, true);
		publish(bad[i]);
		expect_broken("a head index past the queue");
	}
}
END_TEST

START_TEST(inflight_cap)
{
	static const uint16_t jumps[] = { SIZE + 1, 0x7fff, 0x8000, 0xffff };

	for (unsigned int i = 0; i < ARRAY_SIZE(jumps); i++) {
		map(false, true);
		avail->idx = cpu_to_le16(jumps[i]);
		expect_broken("more chains are available than the queue holds");
	}
	/* A ring full of chains, taken; then more, while none was given back. */
	map(false, true);
	for (unsigned int i = 0; i < SIZE; i++) {
		put(desc, i, DATA, 16, 0, 0);
		publish(i);
	}
	for (unsigned int i = 0; i < SIZE; i++)
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	publish(0);
	expect_broken("more chains are available than the queue holds");
	/* One head twice. */
	map(false, true);
	put(desc, 3, DATA, 16, 0, 0);
	publish(3);
	publish(3);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
	expect_broken("a chain is made available while it is in flight");
	/* Given back, it may come again. */
	map(false, true);
	put(desc, 3, DATA, 16, 0, 0);
	for (unsigned int i = 0; i < 100; i++) {
		publish(3);
		ck_assert_int_eq(virtqueue_pop(&vq, &chain), 1);
		virtqueue_push(&vq, 3, 0);
		ck_assert(virtqueue_publish(&vq));
	}
	/* The index goes back. */
	avail->idx = cpu_to_le16(99);
	ck_assert_int_eq(virtqueue_pop(&vq, &chain), -EPROTO);
}
END_TEST

START_TEST(double_fetch)
{
	/* The snapshot is what was checked: later changes of descriptors and table are without effect. */
	struct virtq_desc *table = (void *)(ram->host + TABLE);

	good_chain(table);
	put(desc, 0, TABLE, 48, VIRTQ_DESC_F_INDIRECT, 0);
	publish(0);
	expect_good();
	memset(table, 0xff, 48);
	memset(desc, 0xff, 16 * SIZE);
	ck_assert_uint_eq(chain.in_len, 513);
	ck_assert_ptr_eq(chain.iov[1].iov_base, ram->host + DATA + 0x1000);
	ck_assert_uint_eq(chain.iov[1].iov_len, 512);
}
END_TEST

/* --- Another CPU of the guest. Its stores are atomic, so that TSan reports any load of the walker's that is not. --- */

static _Atomic bool writer_ends;

static void store_desc(uint64_t base, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	uint64_t *words = (uint64_t *)(ram->host + base + 16 * i);

	__atomic_store_n(&words[0], addr, __ATOMIC_RELAXED);
	__atomic_store_n(&words[1], len | (uint64_t)flags << 32 | (uint64_t)next << 48, __ATOMIC_RELAXED);
}

static void *rewrite_descriptors(void *opaque)
{
	static const uint64_t addrs[] = { DATA, RAM_SIZE - 8, RAM_SIZE, HIGH_BASE, UINT64_MAX - 7, 0xfee00000 };
	static const uint32_t lens[] = { 1, 16, 512, 0, 0x7fffffff, 0xffffffff };
	static const uint16_t flags[] = { 0, 1, 2, 3, 4, 5, 7, 0xffff }, next[] = { 0, 1, 2, 3, 7, 8, 0xffff };
	uint64_t random = 0x9e3779b97f4a7c15;

	(void)opaque;
	while (!atomic_load(&writer_ends)) {
		unsigned int i;

		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		i = random >> 33;
		store_desc(i & 1 ? DESC : TABLE, i >> 1 & 3, addrs[(i >> 3) % ARRAY_SIZE(addrs)],
			   lens[(i >> 7) % ARRAY_SIZE(lens)], flags[(i >> 11) % ARRAY_SIZE(flags)],
			   next[(i >> 15) % ARRAY_SIZE(next)]);
		store_desc(DESC, 0, i & 1 << 20 ? TABLE : DATA, 48, i & 1 << 20 ? 4 : 1, 1);
	}
	return NULL;
}

/* A ring of its own making, again; descriptors stay as the other CPU leaves them. */
static void map_again(void)
{
	const char *why = NULL;

	virtqueue_reset(&vq);
	vq.size = SIZE;
	vq.desc_addr = DESC;
	vq.avail_addr = AVAIL;
	vq.used_addr = USED;
	ck_assert_msg(!virtqueue_map(&vq, SIZE, false, true, &why), "%s", why);
	memset(ram->host + AVAIL, 0, 64);
	memset(ram->host + USED, 0, 128);
}

static bool inside(const struct iovec *iov)
{
	const uint8_t *base = iov->iov_base;

	if (base >= ram->host && base < ram->host + RAM_SIZE)
		return iov->iov_len && iov->iov_len <= (size_t)(ram->host + RAM_SIZE - base);
	return base >= high->host && base < high->host + HIGH_SIZE && iov->iov_len &&
	       iov->iov_len <= (size_t)(high->host + HIGH_SIZE - base);
}

START_TEST(double_fetch_while_another_cpu_writes)
{
	unsigned int good = 0, bad = 0;
	uint16_t idx = 0;
	pthread_t writer;

	ck_assert_int_eq(pthread_create(&writer, NULL, rewrite_descriptors, NULL), 0);
	for (unsigned int round = 0; round < 20000 || ((!good || !bad) && round < 100000000); round++) {
		uint64_t in = 0, out = 0;
		int ret;

		avail->ring[idx % SIZE] = cpu_to_le16(round & 3);
		idx++;
		__atomic_store_n((uint16_t *)&avail->idx, idx, __ATOMIC_RELEASE);
		ret = virtqueue_pop(&vq, &chain);
		if (ret < 0) {
			bad++;
			idx = 0;
			map_again();
			continue;
		}
		ck_assert_int_eq(ret, 1);
		good++;
		ck_assert_uint_le(chain.out_count + chain.in_count, SIZE);
		for (unsigned int i = 0; i < chain.out_count + chain.in_count; i++) {
			ck_assert(inside(&chain.iov[i]));
			if (i < chain.out_count)
				out += chain.iov[i].iov_len;
			else
				in += chain.iov[i].iov_len;
		}
		ck_assert(out == chain.out_len && in == chain.in_len);
		virtqueue_push(&vq, chain.head, chain.in_len);
		(void)!virtqueue_publish(&vq);
	}
	atomic_store(&writer_ends, true);
	ck_assert_int_eq(pthread_join(writer, NULL), 0);
	ck_assert_msg(good && bad, "the race was never run: %u good, %u bad", good, bad);
}
END_TEST

START_TEST(zero_queue_and_other_sizes)
{
	static const uint16_t bad[] = { 0, 3, 7, SIZE * 2, 0x8000, 0xffff };
	const char *why = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		virtqueue_reset(&vq);
		vq.size = bad[i];
		vq.desc_addr = DESC;
		vq.avail_addr = AVAIL;
		vq.used_addr = USED;
		ck_assert_int_eq(virtqueue_map(&vq, SIZE, false, false, &why), -EINVAL);
		ck_assert_str_eq(why, "queue size is zero, no power of two, or too large");
		ck_assert(!virtqueue_mapped(&vq));
	}
}
END_TEST

START_TEST(ring_out_of_ram)
{
	static const uint64_t bad[] = { RAM_SIZE, RAM_SIZE - 16, HIGH_BASE - 16, HIGH_BASE + HIGH_SIZE - 16,
					0xfee00000, UINT64_MAX - 15, UINT64_MAX - 4095, 1ULL << 63 };
	static const struct { uint64_t desc, avail, used; const char *why; } unaligned[] = {
		{ DESC + 8, AVAIL, USED, "a ring is not aligned" },
		{ DESC, AVAIL + 1, USED, "a ring is not aligned" },
		{ DESC, AVAIL, USED + 2, "a ring is not aligned" },
	};
	const char *why = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned int ring = 0; ring < 3; ring++) {
			virtqueue_reset(&vq);
			vq.size = SIZE;
			vq.desc_addr = ring == 0 ? bad[i] : DESC;
			vq.avail_addr = ring == 1 ? bad[i] : AVAIL;
			vq.used_addr = ring == 2 ? bad[i] : USED;
			ck_assert_int_eq(virtqueue_map(&vq, SIZE, false, false, &why), -EINVAL);
			ck_assert_str_eq(why, "a ring lies outside RAM");
		}
	for (unsigned int i = 0; i < ARRAY_SIZE(unaligned); i++) {
		vq.size = SIZE;
		vq.desc_addr = unaligned[i].desc;
		vq.avail_addr = unaligned[i].avail;
		vq.used_addr = unaligned[i].used;
		ck_assert_int_eq(virtqueue_map(&vq, SIZE, false, false, &why), -EINVAL);
		ck_assert_str_eq(why, unaligned[i].why);
	}
	/* A ring may end where RAM ends, with its event index, and not two bytes later. */
	vq.desc_addr = DESC;
	vq.avail_addr = AVAIL;
	vq.used_addr = RAM_SIZE - (6 + 8 * SIZE) - 2;
	ck_assert_int_eq(virtqueue_map(&vq, SIZE, true, false, &why), 0);
	virtqueue_reset(&vq);
	vq.size = SIZE;
	vq.desc_addr = DESC;
	vq.used_addr = USED;
	vq.avail_addr = RAM_SIZE - (6 + 2 * SIZE) + 2;
	ck_assert_int_eq(virtqueue_map(&vq, SIZE, true, false, &why), -EINVAL);
}
END_TEST

static Suite *queue_suite(void)
{
	Suite *suite = suite_create("virtqueue");
	TCase *tcase = tcase_create("walker");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, good_chains);
	tcase_add_test(tcase, unpop_gives_the_same_chain_again);
	tcase_add_test(tcase, desc_loop);
	tcase_add_test(tcase, next_past_the_table);
	tcase_add_test(tcase, zero_len);
	tcase_add_test(tcase, huge_len);
	tcase_add_test(tcase, huge_len_in_sum);
	tcase_add_test(tcase, reentrant_dma_and_other_places_outside_ram);
	tcase_add_test(tcase, nested_indirect);
	tcase_add_test(tcase, nested_indirect_table_lengths);
	tcase_add_test(tcase, chain_as_long_as_the_queue);
	tcase_add_test(tcase, readable_behind_writable);
	tcase_add_test(tcase, head_past_the_queue);
	tcase_add_test(tcase, inflight_cap);
	tcase_add_test(tcase, double_fetch);
	tcase_add_test(tcase, double_fetch_while_another_cpu_writes);
	tcase_add_test(tcase, zero_queue_and_other_sizes);
	tcase_add_test(tcase, ring_out_of_ram);
	suite_add_tcase(suite, tcase);
	return suite;
}

UNIT_MAIN(queue_suite)
