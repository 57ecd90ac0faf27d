// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-mmio discovery, negotiation and the split virtqueue.
 */
#include "virtio.h"

#define DEV_MAX		32
#define VEC_VIRTIO	0x50

static struct virtio_dev devs[DEV_MAX];
static u32 dev_count;

static bool probe_one(u64 base, u32 gsi)
{
	struct virtio_dev *dev = &devs[dev_count];

	if (read32(base + VM_MAGIC) != VM_MAGIC_VALUE)
		return false;
	dev->id = read32(base + VM_DEVICE_ID);
	if (!dev->id || dev_count == DEV_MAX)
		return true;
	dev->base = base;
	dev->gsi = gsi;
	dev->vector = VEC_VIRTIO + dev_count;
	dev_count++;
	return true;
}

/* virtio_mmio.device=<size>[KMG]@<base>:<irq> */
static void probe_word(const char *s)
{
	u64 base;

	parse_u64(s, &s);
	while (*s && *s != '@' && *s != ' ')
		s++;
	if (*s++ != '@')
		return;
	base = parse_u64(s, &s);
	if (*s++ != ':')
		return;
	probe_one(base, parse_u64(s, NULL));
}

void virtio_probe(void)
{
	static const struct { u64 base; u32 gsi; } places[] = { VIRTIO_PLACES };
	const char *pos = NULL, *word;
	u32 i, n;

	while ((word = cmdline_next("virtio_mmio.device", &pos)))
		probe_word(word);
	for (i = 0; !dev_count && i < ARRAY_SIZE(places); i++)
		for (n = 0; n < 32; n++)
			if (!probe_one(places[i].base + n * VM_SIZE, places[i].gsi + n))
				break;
}

struct virtio_dev *virtio_find(u32 id, u32 n)
{
	u32 i;

	if (!dev_count)
		virtio_probe();
	for (i = 0; i < dev_count; i++)
		if (devs[i].id == id && !n--)
			return &devs[i];
	return NULL;
}

struct virtio_dev *virtio_get(u32 id, u32 n)
{
	struct virtio_dev *dev = virtio_find(id, n);

	REQUIRE(dev, "no virtio device of kind %u, number %u, among %u", id, n, dev_count);
	return dev;
}

u32 virtio_status(struct virtio_dev *dev)
{
	return read32(dev->base + VM_STATUS);
}

void virtio_reset(struct virtio_dev *dev)
{
	u64 deadline = deadline_ms(5000);

	write32(dev->base + VM_STATUS, 0);
	while (virtio_status(dev))
		REQUIRE(!deadline_passed(deadline), "device %u does not finish its reset", dev->id);
}

u64 virtio_offered(struct virtio_dev *dev)
{
	u64 low, high;

	write32(dev->base + VM_DEVICE_FEATURES_SEL, 0);
	low = read32(dev->base + VM_DEVICE_FEATURES);
	write32(dev->base + VM_DEVICE_FEATURES_SEL, 1);
	high = read32(dev->base + VM_DEVICE_FEATURES);
	return high << 32 | low;
}

bool virtio_negotiate(struct virtio_dev *dev, u64 wanted)
{
	REQUIRE(read32(dev->base + VM_VERSION) == 2, "virtio-mmio version %u, not 2",
		read32(dev->base + VM_VERSION));
	virtio_reset(dev);
	write32(dev->base + VM_STATUS, STATUS_ACKNOWLEDGE);
	write32(dev->base + VM_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	dev->features = virtio_offered(dev) & (wanted | FEATURE_VERSION_1);
	write32(dev->base + VM_DRIVER_FEATURES_SEL, 0);
	write32(dev->base + VM_DRIVER_FEATURES, dev->features);
	write32(dev->base + VM_DRIVER_FEATURES_SEL, 1);
	write32(dev->base + VM_DRIVER_FEATURES, dev->features >> 32);
	write32(dev->base + VM_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	return virtio_status(dev) & STATUS_FEATURES_OK;
}

void virtio_driver_ok(struct virtio_dev *dev)
{
	write32(dev->base + VM_STATUS, virtio_status(dev) | STATUS_DRIVER_OK);
}

void virtq_alloc(struct virtio_dev *dev, struct virtq *vq, u16 index, u16 size)
{
	u32 i, max;

	memset(vq, 0, sizeof(*vq));
	write32(dev->base + VM_QUEUE_SEL, index);
	max = read32(dev->base + VM_QUEUE_NUM_MAX);
	REQUIRE(max, "queue %u of device %u does not exist", index, dev->id);
	if (size > max)
		size = max;
	if (size > VIRTQ_MAX)
		size = VIRTQ_MAX;
	vq->dev = dev;
	vq->index = index;
	vq->size = size;
	vq->desc = alloc(sizeof(*vq->desc) * size, 4096);
	/* Each ring ends with the event index of EVENT_IDX. */
	vq->avail = alloc(sizeof(*vq->avail) + 2 * size + 2, 64);
	vq->used = alloc(sizeof(*vq->used) + sizeof(vq->used->ring[0]) * size + 2, 4096);
	vq->tables = alloc(sizeof(*vq->tables) * size, 64);
	for (i = 0; i < size; i++)
		vq->desc[i].next = i + 1;
	vq->free_count = size;
}

void virtq_enable(struct virtq *vq)
{
	u64 base = vq->dev->base;

	write32(base + VM_QUEUE_SEL, vq->index);
	write32(base + VM_QUEUE_NUM, vq->size);
	write32(base + VM_QUEUE_DESC, (uintptr_t)vq->desc);
	write32(base + VM_QUEUE_DESC + 4, (uintptr_t)vq->desc >> 32);
	write32(base + VM_QUEUE_DRIVER, (uintptr_t)vq->avail);
	write32(base + VM_QUEUE_DRIVER + 4, (uintptr_t)vq->avail >> 32);
	write32(base + VM_QUEUE_DEVICE, (uintptr_t)vq->used);
	write32(base + VM_QUEUE_DEVICE + 4, (uintptr_t)vq->used >> 32);
	write32(base + VM_QUEUE_READY, 1);
}

void virtq_setup(struct virtio_dev *dev, struct virtq *vq, u16 index, u16 size)
{
	virtq_alloc(dev, vq, index, size);
	virtq_enable(vq);
}

volatile u16 *virtq_used_event(struct virtq *vq)
{
	return &vq->avail->ring[vq->size];
}

volatile u16 *virtq_avail_event(struct virtq *vq)
{
	return (volatile u16 *)&vq->used->ring[vq->size];
}

u16 virtq_add(struct virtq *vq, const struct seg *segs, u32 out, u32 in, u32 flags)
{
	u32 total = out + in, i;
	u16 head = vq->free_head, d = head;
	struct virtq_desc *table = vq->desc;

	REQUIRE(vq->free_count >= ((flags & VIRTQ_ADD_INDIRECT) ? 1 : total),
		"the test has no descriptor left in queue %u", vq->index);
	if (flags & VIRTQ_ADD_INDIRECT) {
		REQUIRE(total <= ARRAY_SIZE(vq->tables[0]), "%u segments are too many", total);
		table = vq->tables[head];
		vq->free_head = vq->desc[head].next;
		vq->desc[head] = (struct virtq_desc){
			.addr = (uintptr_t)table,
			.len = total * sizeof(*table),
			.flags = DESC_INDIRECT,
			/* Keeps the free list; without DESC_NEXT it means nothing to the device. */
			.next = vq->free_head,
		};
		d = 0;
	}
	for (i = 0; i < total; i++) {
		struct virtq_desc *desc = &table[d];

		desc->addr = (uintptr_t)segs[i].addr;
		desc->len = segs[i].len;
		desc->flags = (i >= out ? DESC_WRITE : 0) | (i + 1 < total ? DESC_NEXT : 0);
		if (flags & VIRTQ_ADD_INDIRECT)
			desc->next = d + 1;
		d = desc->next;
	}
	if (flags & VIRTQ_ADD_INDIRECT)
		total = 1;
	else
		vq->free_head = d;
	vq->free_count -= total;
	vq->chain_len[head] = total;
	virtq_publish(vq, head);
	return head;
}

void virtq_publish(struct virtq *vq, u16 head)
{
	u16 idx = vq->avail->idx;

	vq->avail->ring[idx % vq->size] = head;
	barrier();
	vq->avail->idx = idx + 1;
}

void virtq_notify(struct virtio_dev *dev, u32 value)
{
	write32(dev->base + VM_QUEUE_NOTIFY, value);
}

void virtq_kick(struct virtq *vq)
{
	u16 idx = vq->avail->idx, old = vq->kicked;
	bool needed;

	/* The index above has to be visible before the device's wish is read. */
	full_barrier();
	if (vq->dev->features & FEATURE_EVENT_IDX)
		needed = (u16)(idx - *virtq_avail_event(vq) - 1) < (u16)(idx - old);
	else
		needed = !(vq->used->flags & 1);
	vq->kicked = idx;
	if (needed)
		virtq_notify(vq->dev, vq->index);
}

bool virtq_take(struct virtq *vq, struct virtq_used_elem *elem)
{
	u16 d, n;

	if (vq->used->idx == vq->last_used)
		return false;
	barrier();
	elem->id = vq->used->ring[vq->last_used % vq->size].id;
	elem->len = vq->used->ring[vq->last_used % vq->size].len;
	vq->last_used++;
	REQUIRE(elem->id < vq->size && vq->chain_len[elem->id],
		"used element names head %u, which is not in flight", elem->id);
	d = elem->id;
	for (n = vq->chain_len[d]; n > 1; n--)
		d = vq->desc[d].next;
	vq->desc[d].next = vq->free_head;
	vq->free_head = elem->id;
	vq->free_count += vq->chain_len[elem->id];
	vq->chain_len[elem->id] = 0;
	return true;
}

bool virtq_poll(struct virtq *vq, struct virtq_used_elem *elem, u32 timeout_ms)
{
	u64 deadline = deadline_ms(timeout_ms);

	while (!virtq_take(vq, elem)) {
		if (deadline_passed(deadline))
			return false;
		cpu_relax();
	}
	return true;
}

void virtq_want_interrupt(struct virtq *vq, bool want)
{
	if (vq->dev->features & FEATURE_EVENT_IDX)
		*virtq_used_event(vq) = want ? vq->last_used : vq->last_used - 1;
	else
		vq->avail->flags = want ? 0 : AVAIL_NO_INTERRUPT;
	full_barrier();
}
