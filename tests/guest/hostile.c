// SPDX-License-Identifier: Apache-2.0
/*
 * The frame of the hostile tests. Where strict() does not hold, any outcome will do that leaves
 * the device usable after a reset. "verbose=1" on the command line names each case before its
 * verdict.
 */
#include "hostile.h"

u32 hostile_cases;

static struct virtio_dev *bystander;
static struct virtq bystander_vq;
static struct blk_header header;
static u8 data[4096] __attribute__((aligned(4096)));
static volatile u8 status;

static void bystander_start(u32 victim_kind)
{
	u32 kind = victim_kind == VIRTIO_ID_BLK ? VIRTIO_ID_RNG : VIRTIO_ID_BLK;

	bystander = virtio_find(kind, 0);
	if (!bystander)
		bystander = virtio_get(victim_kind, 1);
	REQUIRE(virtio_negotiate(bystander, 0), "device %u refuses its features", kind);
	virtq_setup(bystander, &bystander_vq, 0, 16);
	virtio_driver_ok(bystander);
}

static void bystander_works(const char *name)
{
	static u8 random[16];
	struct seg seg = { random, sizeof(random) };
	struct virtq_used_elem elem;

	if (bystander->id == VIRTIO_ID_BLK) {
		if (blk_do(&bystander_vq, BLK_T_IN, 1, data, 512, 0, NULL) != BLK_S_OK)
			test_fail(__FILE__, __LINE__, "%s: the disk is affected too", name);
		return;
	}
	virtq_add(&bystander_vq, &seg, 0, 1, 0);
	virtq_kick(&bystander_vq);
	REQUIRE(virtq_poll(&bystander_vq, &elem, 5000), "%s: the other device is affected too", name);
}

void hostile_init(struct victim *v, u32 kind)
{
	v->dev = virtio_get(kind, 0);
	bystander_start(kind);
	hostile_works(v, "before all");
}

void hostile_prepare(struct victim *v, u64 features)
{
	struct virtq_desc *d;

	REQUIRE(virtio_negotiate(v->dev, features), "device %u refuses its features", v->dev->id);
	virtq_setup(v->dev, &v->vq, 0, 16);
	virtio_driver_ok(v->dev);
	write32(v->dev->base + VM_INTERRUPT_ACK, 3);

	v->d = d = v->vq.desc;
	v->head = 0;
	if (v->dev->id == VIRTIO_ID_BLK) {
		header = (struct blk_header){ .type = BLK_T_IN, .sector = 0 };
		status = BLK_S_NONE;
		d[0] = (struct virtq_desc){ (uintptr_t)&header, 16, DESC_NEXT, 1 };
		d[1] = (struct virtq_desc){ (uintptr_t)data, 512, DESC_NEXT | DESC_WRITE, 2 };
		d[2] = (struct virtq_desc){ (uintptr_t)&status, 1, DESC_WRITE, 0 };
		v->descs = 3;
	} else {
		d[0] = (struct virtq_desc){ (uintptr_t)data, 64, DESC_NEXT | DESC_WRITE, 1 };
		d[1] = (struct virtq_desc){ (uintptr_t)data + 64, 64, DESC_NEXT | DESC_WRITE, 2 };
		d[2] = (struct virtq_desc){ (uintptr_t)data + 128, 64, DESC_WRITE, 0 };
		v->descs = 3;
	}
	v->vq.free_head = v->descs;
	v->vq.free_count -= v->descs;
	v->vq.chain_len[0] = v->descs;
}

void hostile_works(struct victim *v, const char *name)
{
	struct virtq_used_elem elem;

	hostile_prepare(v, 0);
	memset(data, 0, sizeof(data));
	virtq_publish(&v->vq, v->head);
	virtq_kick(&v->vq);
	REQUIRE(virtq_poll(&v->vq, &elem, 5000), "%s: after a reset device %u does not answer",
		name, v->dev->id);
	if (v->dev->id == VIRTIO_ID_BLK && (status != BLK_S_OK || elem.len != 513))
		test_fail(__FILE__, __LINE__, "%s: after a reset: status %u, used length %u", name,
			  status, elem.len);
	CHECK(!(virtio_status(v->dev) & STATUS_NEEDS_RESET));
}

/* The status comes first, the interrupt after it: 2.1.2. */
static bool config_interrupt(struct virtio_dev *dev)
{
	u64 deadline = deadline_ms(2000);

	while (!(read32(dev->base + VM_INTERRUPT_STATUS) & 2))
		if (deadline_passed(deadline))
			return false;
	return true;
}

static void judge(struct victim *v, const char *name, enum outcome want)
{
	u64 deadline = deadline_ms(strict() && want == BROKEN ? 2000 : 20);
	bool broken, answered;

	/* Something has to come, one way or the other; for how long nothing comes is bounded. */
	do {
		broken = virtio_status(v->dev) & STATUS_NEEDS_RESET;
		answered = v->vq.used->idx != v->vq.last_used;
	} while (!broken && !answered && want != UNHARMED && !deadline_passed(deadline));

	if (!strict())
		return;
	switch (want) {
	case BROKEN:
		if (!broken)
			test_fail(__FILE__, __LINE__, "%s: device %u has status %#x, %s", name,
				  v->dev->id, virtio_status(v->dev), answered ? "answered" : "silent");
		else if (!config_interrupt(v->dev))
			test_fail(__FILE__, __LINE__, "%s: no configuration interrupt", name);
		break;
	case UNHARMED:
		if (broken)
			test_fail(__FILE__, __LINE__, "%s: device %u wants a reset", name, v->dev->id);
		break;
	case SURVIVES:
		break;
	}
}

void hostile_verdict(struct victim *v, const char *name, enum outcome want)
{
	hostile_cases++;
	if (cmdline_get_u64("verbose", 0))
		print("%u: %s\n", hostile_cases, name);
	judge(v, name, want);
	bystander_works(name);
	hostile_works(v, name);
}

void hostile_send(struct victim *v, const char *name, enum outcome want)
{
	virtq_publish(&v->vq, v->head);
	virtq_notify(v->dev, 0);
	hostile_verdict(v, name, want);
}
