/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio driver's lower half: virtio-mmio version 2 (virtio 1.2, 4.2) and split virtqueues
 * (2.7), with indirect descriptors and EVENT_IDX. Test code may reach below any of it.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "guest.h"

/* virtio-mmio registers */
#define VM_MAGIC		0x000
#define VM_VERSION		0x004
#define VM_DEVICE_ID		0x008
#define VM_VENDOR_ID		0x00c
#define VM_DEVICE_FEATURES	0x010
#define VM_DEVICE_FEATURES_SEL	0x014
#define VM_DRIVER_FEATURES	0x020
#define VM_DRIVER_FEATURES_SEL	0x024
#define VM_QUEUE_SEL		0x030
#define VM_QUEUE_NUM_MAX	0x034
#define VM_QUEUE_NUM		0x038
#define VM_QUEUE_READY		0x044
#define VM_QUEUE_NOTIFY		0x050
#define VM_INTERRUPT_STATUS	0x060
#define VM_INTERRUPT_ACK	0x064
#define VM_STATUS		0x070
#define VM_QUEUE_DESC		0x080
#define VM_QUEUE_DRIVER		0x090
#define VM_QUEUE_DEVICE		0x0a0
#define VM_QUEUE_RESET		0x0c0
#define VM_CONFIG_GENERATION	0x0fc
#define VM_CONFIG		0x100
#define VM_SIZE			0x200

#define VM_MAGIC_VALUE		0x74726976

#define VIRTIO_ID_NET		1
#define VIRTIO_ID_BLK		2
#define VIRTIO_ID_CONSOLE	3
#define VIRTIO_ID_RNG		4

#define STATUS_ACKNOWLEDGE	1
#define STATUS_DRIVER		2
#define STATUS_DRIVER_OK	4
#define STATUS_FEATURES_OK	8
#define STATUS_NEEDS_RESET	64
#define STATUS_FAILED		128

#define FEATURE_INDIRECT_DESC	(1ull << 28)
#define FEATURE_EVENT_IDX	(1ull << 29)
#define FEATURE_VERSION_1	(1ull << 32)
#define FEATURE_RING_RESET	(1ull << 40)

#define DESC_NEXT		1
#define DESC_WRITE		2
#define DESC_INDIRECT		4

#define AVAIL_NO_INTERRUPT	1

#define VIRTQ_MAX		256

struct virtq_desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

struct virtq_avail {
	u16 flags, idx;
	u16 ring[];
};

struct virtq_used_elem {
	u32 id, len;
};

struct virtq_used {
	u16 flags, idx;
	struct virtq_used_elem ring[];
};

struct virtio_dev {
	u64 base;
	u32 gsi;
	u8 vector;
	u32 id;
	u64 features;		/* negotiated */
};

struct virtq {
	struct virtio_dev *dev;
	u16 index, size;
	struct virtq_desc *desc;
	volatile struct virtq_avail *avail;
	volatile struct virtq_used *used;
	/* Descriptors not in use are chained through next. */
	u16 free_head, free_count;
	u16 last_used;
	u16 kicked;		/* avail->idx at the last kick */
	/* For chains added with VIRTQ_ADD_INDIRECT: one table a head. */
	struct virtq_desc (*tables)[8];
	/* How many descriptors the chain of each head took. */
	u16 chain_len[VIRTQ_MAX];
};

struct seg {
	const void *addr;
	u32 len;
};

/* Finds all devices; the VMM's command line says where, else the usual places are scanned. */
void virtio_probe(void);
/* The n-th device of this kind; ends the test when there is none. */
struct virtio_dev *virtio_get(u32 id, u32 n);
/* NULL when there is none. */
struct virtio_dev *virtio_find(u32 id, u32 n);

u32 virtio_status(struct virtio_dev *dev);
/* Waits until the device says that it has been reset. */
void virtio_reset(struct virtio_dev *dev);
u64 virtio_offered(struct virtio_dev *dev);
/*
 * Reset, then up to FEATURES_OK, with those of the wanted features that are offered and VERSION_1.
 * Returns whether the device kept FEATURES_OK.
 */
bool virtio_negotiate(struct virtio_dev *dev, u64 wanted);
void virtio_driver_ok(struct virtio_dev *dev);

/* Rings with no more than `size` descriptors in fresh memory, not yet shown to the device. */
void virtq_alloc(struct virtio_dev *dev, struct virtq *vq, u16 index, u16 size);
/* Writes size and addresses and sets QueueReady. */
void virtq_enable(struct virtq *vq);
/* Both. */
void virtq_setup(struct virtio_dev *dev, struct virtq *vq, u16 index, u16 size);

#define VIRTQ_ADD_INDIRECT	1
/* Makes a chain of `out` segments to read and `in` to write available; returns its head. */
u16 virtq_add(struct virtq *vq, const struct seg *segs, u32 out, u32 in, u32 flags);
/* Publishes a head in the avail ring; virtq_add() does so itself. */
void virtq_publish(struct virtq *vq, u16 head);
/* Tells the device, unless it asked not to be told. */
void virtq_kick(struct virtq *vq);
void virtq_notify(struct virtio_dev *dev, u32 value);
/* Takes one used element if there is one, and frees its descriptors. */
bool virtq_take(struct virtq *vq, struct virtq_used_elem *elem);
/* The same, spinning up to the limit. */
bool virtq_poll(struct virtq *vq, struct virtq_used_elem *elem, u32 timeout_ms);
/* EVENT_IDX: asks for an interrupt at the next used element, or for none. */
void virtq_want_interrupt(struct virtq *vq, bool want);
volatile u16 *virtq_used_event(struct virtq *vq);
volatile u16 *virtq_avail_event(struct virtq *vq);

/* ---- virtio-blk (5.2) ---- */

#define BLK_T_IN		0
#define BLK_T_OUT		1
#define BLK_T_FLUSH		4
#define BLK_T_GET_ID		8
#define BLK_T_DISCARD		11
#define BLK_T_WRITE_ZEROES	13

#define BLK_S_OK		0
#define BLK_S_IOERR		1
#define BLK_S_UNSUPP		2
#define BLK_S_NONE		0xff	/* what the status byte holds before the device writes it */

#define BLK_F_SEG_MAX		(1ull << 2)
#define BLK_F_RO		(1ull << 5)
#define BLK_F_BLK_SIZE		(1ull << 6)
#define BLK_F_FLUSH		(1ull << 9)
#define BLK_F_MQ		(1ull << 12)
#define BLK_F_DISCARD		(1ull << 13)
#define BLK_F_WRITE_ZEROES	(1ull << 14)

#define BLK_CONFIG_CAPACITY	0x00
#define BLK_CONFIG_SEG_MAX	0x0c
#define BLK_CONFIG_BLK_SIZE	0x14
#define BLK_CONFIG_NUM_QUEUES	0x22
#define BLK_CONFIG_MAX_DISCARD_SECTORS	0x24
#define BLK_CONFIG_MAX_DISCARD_SEG	0x28
#define BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS	0x30

struct blk_header {
	u32 type, reserved;
	u64 sector;
};

struct blk_range {
	u64 sector;
	u32 num_sectors, flags;
};

/* One request in flight: the header, the status byte, and where its chain begins. */
struct blk_req {
	struct blk_header header;
	volatile u8 status;
};

/* Everything a driver would do at start, with queue 0 of the given size. */
void blk_start(struct virtio_dev *dev, struct virtq *vq, u64 features, u16 queue_size);
u64 blk_capacity(struct virtio_dev *dev);
/*
 * One request, waited for by polling. `data` is read by the device for OUT, DISCARD and
 * WRITE_ZEROES, else written. Returns the status byte, BLK_S_NONE when nothing came; *used_len,
 * if given, takes the used length.
 */
u8 blk_do(struct virtq *vq, u32 type, u64 sector, void *data, u32 len, u32 add_flags,
	  u32 *used_len);

#endif
