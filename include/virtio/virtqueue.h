/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split virtqueue (virtio 1.2 §2.7) and the one walker of descriptor chains (DESIGN §5.2).
 *
 * A struct virtqueue knows guest memory and nothing of devices and transports. It has no lock: set-up happens
 * while nobody processes the queue, everything else on the home loop of the device that owns it.
 *
 * Whatever a driver may not do makes virtqueue_pop() return -EPROTO; `broken` then says what it was, and the queue
 * gives nothing more until virtqueue_reset().
 */
#ifndef VIRTIO_VIRTQUEUE_H
#define VIRTIO_VIRTQUEUE_H

#include "memory/space.h"
#include "util/endian.h"
#include "util/macros.h"

#define VIRTQ_SIZE_MAX 4096

#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2
#define VIRTQ_DESC_F_INDIRECT 4
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1
#define VIRTQ_USED_F_NO_NOTIFY 1

struct virtq_desc {
	le64_t addr;
	le32_t len;
	le16_t flags;
	le16_t next;
};

struct virtq_avail {
	le16_t flags;
	le16_t idx;
	le16_t ring[]; /* size entries, then used_event */
};

struct virtq_used_elem {
	le32_t id;
	le32_t len;
};

struct virtq_used {
	le16_t flags;
	le16_t idx;
	struct virtq_used_elem ring[]; /* size entries, then avail_event */
};

struct virtqueue {
	const struct mem_space *space;
	/* Set-up, by the transport. */
	uint16_t size;
	gpa_t desc_addr, avail_addr, used_addr;

	/* From virtqueue_map() on. The rings are guest memory: read each value once. RAM regions do not go away, so
	 * the pointers hold until virtqueue_reset(). */
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	bool event_idx, indirect; /* negotiated */
	uint16_t chain_max; /* size_max of virtqueue_map(): what an indirect chain may have, whatever the ring's size */
	bool wanted;  /* notifications, between virtqueue_notify_on() and virtqueue_notify_off() */
	bool watched; /* but not while somebody looks at the ring all the time */

	uint16_t last_avail;  /* next avail entry to take */
	uint16_t used_idx;    /* as published */
	uint16_t used_filled; /* elements written behind used_idx, not yet published */
	uint16_t signalled;   /* used_idx at the last interrupt decision */
	bool signalled_valid;
	const char *broken; /* static text, or NULL */

	uint64_t *in_flight; /* bit n: head n was popped and not pushed */
	struct iovec *iov;   /* chain_max entries: where the current chain lies */
};

/* A snapshot of one chain: the iovecs point into guest RAM and belong to the queue; they hold until the next pop. */
struct virtq_chain {
	uint16_t head;
	unsigned int out_count; /* device-readable iovecs, at iov[0] */
	unsigned int in_count;  /* device-writable iovecs, behind them */
	uint32_t out_len, in_len; /* their bytes */
	struct iovec *iov;
};

void virtqueue_init(struct virtqueue *vq, const struct mem_space *space);

/*
 * Checks size and ring addresses (§2.7: a power of two, alignments 16, 2 and 4, each ring wholly in one RAM region) and makes
 * the queue ready to be popped. -EINVAL with *why a static text, -ENOMEM. @size_max <= VIRTQ_SIZE_MAX.
 */
int __must_check virtqueue_map(struct virtqueue *vq, uint16_t size_max, bool event_idx, bool indirect,
			       const char **why);
/* Back to the state after virtqueue_init(). No chain is in flight. */
void virtqueue_reset(struct virtqueue *vq);

static inline bool virtqueue_mapped(const struct virtqueue *vq)
{
	return vq->desc != NULL;
}

/* 1: *chain holds the next one. 0: nothing available. -EPROTO: the driver broke a rule, see vq->broken. */
int __must_check virtqueue_pop(struct virtqueue *vq, struct virtq_chain *chain);
/* Takes back the last pop, which nothing was done with: the same chain comes again. */
void virtqueue_unpop(struct virtqueue *vq, uint16_t head);
/* Is there something to pop? A look at the ring only. */
bool virtqueue_pending(const struct virtqueue *vq);

/* The chain is done: @written bytes of its writable part were written. Unseen by the driver until published. */
void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t written);
/* Shows the pushed elements to the driver. True: it wants an interrupt for them (§2.7.7). */
bool __must_check virtqueue_publish(struct virtqueue *vq);

/* Asks the driver not to notify; a hint (§2.7.10). */
void virtqueue_notify_off(struct virtqueue *vq);
/* Asks for a notification of the next chain. True: one came meanwhile, pop again. */
bool __must_check virtqueue_notify_on(struct virtqueue *vq);

/*
 * @watched: the caller looks for himself whether virtqueue_avail_idx() has moved, so that the driver is asked for no
 * notification, whatever virtqueue_notify_on() says; a hint, too. Otherwise the caller looks once more afterwards.
 */
void virtqueue_watch(struct virtqueue *vq, bool watched);
/* Where the driver is. */
uint16_t virtqueue_avail_idx(const struct virtqueue *vq);

/* §2.7.7.2: did the index go past @event on the way from @old to @new? All modulo 2^16. */
static inline bool virtq_event_passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

#endif
