// SPDX-License-Identifier: Apache-2.0
/*
 * One virtio-blk request at a time.
 */
#include "virtio.h"

void blk_start(struct virtio_dev *dev, struct virtq *vq, u64 features, u16 queue_size)
{
	REQUIRE(virtio_negotiate(dev, features), "virtio-blk refuses features %#lx of %#lx",
		dev->features, virtio_offered(dev));
	virtq_setup(dev, vq, 0, queue_size);
	virtio_driver_ok(dev);
	virtq_want_interrupt(vq, false);
}

u64 blk_capacity(struct virtio_dev *dev)
{
	u64 c = dev->base + VM_CONFIG + BLK_CONFIG_CAPACITY;

	return (u64)read32(c + 4) << 32 | read32(c);
}

u8 blk_do(struct virtq *vq, u32 type, u64 sector, void *data, u32 len, u32 add_flags,
	  u32 *used_len)
{
	/* The device may write into it after a time-out, so it is not on the stack. */
	static struct blk_req reqs[64];
	static u32 next;
	struct blk_req *req = &reqs[next++ % ARRAY_SIZE(reqs)];
	bool to_device = type == BLK_T_OUT || type == BLK_T_DISCARD || type == BLK_T_WRITE_ZEROES;
	struct virtq_used_elem elem;
	struct seg segs[3];
	u32 out = 0, in = 0;
	u16 head;

	req->header = (struct blk_header){ .type = type, .sector = sector };
	req->status = BLK_S_NONE;
	segs[out++] = (struct seg){ &req->header, sizeof(req->header) };
	if (len && to_device)
		segs[out++] = (struct seg){ data, len };
	if (len && !to_device)
		segs[out + in++] = (struct seg){ data, len };
	segs[out + in++] = (struct seg){ (const void *)&req->status, 1 };
	head = virtq_add(vq, segs, out, in, add_flags);
	virtq_kick(vq);
	if (!virtq_poll(vq, &elem, 5000))
		return BLK_S_NONE;
	CHECK_EQ(elem.id, head);
	if (used_len)
		*used_len = elem.len;
	return req->status;
}
