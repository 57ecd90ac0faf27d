// SPDX-License-Identifier: Apache-2.0
/*
 * The split virtqueue, virtio 1.2 §2.7. Everything read from the rings is read once, into a local variable, and
 * checked there: another CPU of the guest may change it at any time.
 */
#include "virtio/virtqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A table with more entries than `next` can name is nonsense (§2.7.5.3). */
#define INDIRECT_ENTRIES_MAX 65536

/* --- Single accesses to guest memory; the rings are aligned, which virtqueue_map() has checked. --- */

static uint16_t load16(const void *p, int order)
{
	const uint16_t *raw = p;

	return le16toh(__atomic_load_n(raw, order));
}

static void store16(void *p, uint16_t value, int order)
{
	uint16_t *raw = p;

	__atomic_store_n(raw, htole16(value), order);
}

/* A fence by itself. (Not atomic_thread_fence(), which GCC refuses under ThreadSanitizer.) */
static void full_barrier(void)
{
	__sync_synchronize();
}

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static struct desc load_desc(const struct virtq_desc *table, uint32_t index)
{
	const uint64_t *raw = (const void *)&table[index];
	uint64_t low = le64toh(__atomic_load_n(&raw[0], __ATOMIC_RELAXED));
	uint64_t high = le64toh(__atomic_load_n(&raw[1], __ATOMIC_RELAXED));

	return (struct desc){ low, (uint32_t)high, (uint16_t)(high >> 32), (uint16_t)(high >> 48) };
}

static le16_t *used_event(const struct virtqueue *vq)
{
	return &vq->avail->ring[vq->size];
}

static le16_t *avail_event(const struct virtqueue *vq)
{
	return (le16_t *)(void *)&vq->used->ring[vq->size];
}

/* --- Set-up --- */

void virtqueue_init(struct virtqueue *vq, const struct mem_space *space)
{
	memset(vq, 0, sizeof(*vq));
	vq->space = space;
}

int virtqueue_map(struct virtqueue *vq, uint16_t size_max, bool event_idx, bool indirect,
		  const char **why)
{
	uint64_t size = vq->size;

	if (!is_pow2(size) || size > size_max || size > VIRTQ_SIZE_MAX) {
		*why = "queue size is zero, no power of two, or too large";
		return -EINVAL;
	}
	if (!IS_ALIGNED(vq->desc_addr, 16) || !IS_ALIGNED(vq->avail_addr, 2) ||
	    !IS_ALIGNED(vq->used_addr, 4)) {
		*why = "a ring is not aligned";
		return -EINVAL;
	}
	/* §2.7.6, §2.7.8: flags, idx, ring, event. */
	struct virtq_desc *desc = guest_slice(vq->space, vq->desc_addr, 16 * size);
	struct virtq_avail *avail = guest_slice(vq->space, vq->avail_addr, 6 + 2 * size);
	struct virtq_used *used = guest_slice(vq->space, vq->used_addr, 6 + 8 * size);

	if (!desc || !avail || !used) {
		*why = "a ring lies outside RAM";
		return -EINVAL;
	}
	vq->in_flight = calloc((size + 63) / 64, sizeof(*vq->in_flight));
	vq->iov = calloc(size_max, sizeof(*vq->iov));
	if (!vq->in_flight || !vq->iov) {
		free(vq->in_flight);
		free(vq->iov);
		vq->in_flight = NULL;
		vq->iov = NULL;
		*why = "out of memory";
		return -ENOMEM;
	}
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	vq->chain_max = size_max;
	vq->event_idx = event_idx;
	vq->indirect = indirect;
	return 0;
}

void virtqueue_reset(struct virtqueue *vq)
{
	free(vq->in_flight);
	free(vq->iov);
	virtqueue_init(vq, vq->space);
}

/* --- The walker --- */

static int broken(struct virtqueue *vq, const char *why)
{
	vq->broken = why;
	return -EPROTO;
}

/* One buffer of the chain: the only place where a descriptor's address becomes a pointer. */
static int chain_add(struct virtqueue *vq, struct virtq_chain *chain, const struct desc *desc, unsigned int limit)
{
	unsigned int count = chain->out_count + chain->in_count;
	bool write = desc->flags & VIRTQ_DESC_F_WRITE;
	uint32_t *total = write ? &chain->in_len : &chain->out_len;
	void *host;

	if (count >= limit)
		return broken(vq, "a chain is longer than the queue, or a loop");
	if (!desc->len)
		return broken(vq, "a descriptor has no length");
	/* §2.7.4.2: readable ones first. */
	if (!write && chain->in_count)
		return broken(vq, "a readable descriptor follows a writable one");
	/* §2.7.5.3.1: a chain is at most 2^32 bytes long. */
	if ((uint64_t)chain->in_len + chain->out_len + desc->len > UINT32_MAX)
		return broken(vq, "a chain describes more than 4 GiB");
	host = guest_slice(vq->space, desc->addr, desc->len);
	if (!host)
		return broken(vq, "a descriptor points outside RAM");

	vq->iov[count] = (struct iovec){ host, desc->len };
	*total += desc->len;
	if (write)
		chain->in_count++;
	else
		chain->out_count++;
	return 0;
}

/*
 * §2.7.5.3: a table of its own that ends the chain. Its WRITE flag means nothing; NEXT is forbidden. §2.7.5.3.1: the chain is
 * at most as long as "the Queue Size of the device": a driver whose ring is shorter than that (Linux, by ethtool -G or
 * when memory is short) goes by the limits of the device, such as seg_max, all the same.
 */
static int walk_indirect(struct virtqueue *vq, struct virtq_chain *chain, const struct desc *desc)
{
	uint32_t entries = desc->len / sizeof(struct virtq_desc), index = 0;
	const struct virtq_desc *table;

	if (!vq->indirect)
		return broken(vq, "an indirect descriptor, which was not negotiated");
	if (desc->flags & VIRTQ_DESC_F_NEXT)
		return broken(vq, "an indirect descriptor with a next one");
	if (!entries || desc->len % sizeof(struct virtq_desc) || entries > INDIRECT_ENTRIES_MAX)
		return broken(vq, "an indirect table of an impossible length");
	/* The specification asks for no alignment here, but an unaligned load may tear, and no driver does it. */
	if (!IS_ALIGNED(desc->addr, 8))
		return broken(vq, "an indirect table is not aligned");
	table = guest_slice(vq->space, desc->addr, desc->len);
	if (!table)
		return broken(vq, "an indirect table outside RAM");
	for (;;) {
		struct desc entry = load_desc(table, index);
		int ret;

		if (entry.flags & VIRTQ_DESC_F_INDIRECT)
			return broken(vq, "an indirect table inside another");
		ret = chain_add(vq, chain, &entry, vq->chain_max);
		if (ret)
			return ret;
		if (!(entry.flags & VIRTQ_DESC_F_NEXT))
			return 0;
		if (entry.next >= entries)
			return broken(vq, "a next index past the indirect table");
		index = entry.next;
	}
}

/* Every step either adds a buffer, of which there are at most `chain_max`, or ends the walk: no loop is endless. */
static int walk(struct virtqueue *vq, struct virtq_chain *chain)
{
	uint16_t index = chain->head;

	for (;;) {
		struct desc desc = load_desc(vq->desc, index);
		int ret;

		if (desc.flags & VIRTQ_DESC_F_INDIRECT)
			return walk_indirect(vq, chain, &desc);
		ret = chain_add(vq, chain, &desc, vq->size);
		if (ret)
			return ret;
		if (!(desc.flags & VIRTQ_DESC_F_NEXT))
			return 0;
		if (desc.next >= vq->size)
			return broken(vq, "a next index past the queue");
		index = desc.next;
	}
}

int virtqueue_pop(struct virtqueue *vq, struct virtq_chain *chain)
{
	uint16_t avail_idx, head;
	uint64_t bit;
	int ret;

	if (vq->broken)
		return -EPROTO;
	/* Acquire: the entries and descriptors behind the index are read after it (§2.7.13.3). */
	avail_idx = load16(&vq->avail->idx, __ATOMIC_ACQUIRE);
	if (avail_idx == vq->last_avail)
		return 0;
	/* A driver has at most `size` chains outstanding: what it made available and was not yet given back. */
	if ((uint16_t)(avail_idx - vq->used_idx) > vq->size ||
	    (uint16_t)(avail_idx - vq->last_avail) > vq->size)
		return broken(vq, "more chains are available than the queue holds");
	head = load16(&vq->avail->ring[vq->last_avail & (vq->size - 1)], __ATOMIC_RELAXED);
	if (head >= vq->size)
		return broken(vq, "a head index past the queue");
	bit = 1ULL << (head % 64);
	if (vq->in_flight[head / 64] & bit)
		return broken(vq, "a chain is made available while it is in flight");

	*chain = (struct virtq_chain){ .head = head, .iov = vq->iov };
	ret = walk(vq, chain);
	if (ret)
		return ret;
	vq->in_flight[head / 64] |= bit;
	vq->last_avail++;
	return 1;
}

void virtqueue_unpop(struct virtqueue *vq, uint16_t head)
{
	vq->in_flight[head / 64] &= ~(1ULL << (head % 64));
	vq->last_avail--;
}

bool virtqueue_pending(const struct virtqueue *vq)
{
	return !vq->broken && load16(&vq->avail->idx, __ATOMIC_ACQUIRE) != vq->last_avail;
}

/* --- Giving back --- */

void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t written)
{
	uint16_t slot = (uint16_t)(vq->used_idx + vq->used_filled) & (vq->size - 1);

	vq->used->ring[slot] = (struct virtq_used_elem){ cpu_to_le32(head), cpu_to_le32(written) };
	vq->used_filled++;
	vq->in_flight[head / 64] &= ~(1ULL << (head % 64));
}

bool virtqueue_publish(struct virtqueue *vq)
{
	uint16_t old = vq->signalled;
	bool valid = vq->signalled_valid;

	if (!vq->used_filled)
		return false;
	vq->used_idx += vq->used_filled;
	vq->used_filled = 0;
	/* Release: the elements, and what was written to the buffers, come before the index (§2.7.8.2). */
	store16(&vq->used->idx, vq->used_idx, __ATOMIC_RELEASE);
	/* The index is visible before the driver's wish is read, or both sides could wait (§2.7.7.1). */
	full_barrier();
	if (!vq->event_idx)
		return !(load16(&vq->avail->flags, __ATOMIC_RELAXED) & VIRTQ_AVAIL_F_NO_INTERRUPT);
	vq->signalled = vq->used_idx;
	vq->signalled_valid = true;
	return !valid || virtq_event_passed(load16(used_event(vq), __ATOMIC_RELAXED), vq->used_idx, old);
}

/* --- Notifications of the driver --- */

/* §2.7.10 */
static void ask_for_notification(struct virtqueue *vq, bool on)
{
	if (!vq->event_idx)
		store16(&vq->used->flags, on ? 0 : VIRTQ_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	else if (on)
		store16(avail_event(vq), vq->last_avail, __ATOMIC_RELAXED);
	/* An event index that was passed stays quiet until the index wraps (§2.7.10.1). */
}

void virtqueue_notify_off(struct virtqueue *vq)
{
	vq->wanted = false;
	if (!vq->watched)
		ask_for_notification(vq, false);
}

bool virtqueue_notify_on(struct virtqueue *vq)
{
	vq->wanted = true;
	if (!vq->watched) {
		ask_for_notification(vq, true);
		/* The wish is visible before the index is read again, or a notification could be lost. */
		full_barrier();
	}
	return virtqueue_pending(vq);
}

void virtqueue_watch(struct virtqueue *vq, bool watched)
{
	vq->watched = watched;
	if (!vq->wanted)
		return;
	ask_for_notification(vq, !watched);
	if (watched && vq->event_idx) /* as far from being passed as can be */
		store16(avail_event(vq), vq->last_avail + 0x8000, __ATOMIC_RELAXED);
	full_barrier();
}

uint16_t virtqueue_avail_idx(const struct virtqueue *vq)
{
	return load16(&vq->avail->idx, __ATOMIC_RELAXED);
}
