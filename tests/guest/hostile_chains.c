// SPDX-License-Identifier: Apache-2.0
/*
 * Descriptor chains that no driver should build (desc-loop, zero-len, huge-len, nested-indirect,
 * reentrant-dma, chain-error, inflight-cap), on a disk and on a random number generator.
 */
#include "hostile.h"

#define HOLE 0xe0000000ull

static struct victim v;

static void loops(void)
{
	u32 i;

	for (i = 0; i < v.descs; i++) {
		hostile_prepare(&v, 0);
		v.d[i].flags |= DESC_NEXT;
		v.d[i].next = i;
		hostile_send(&v, "descriptor names itself", BROKEN);
	}
	hostile_prepare(&v, 0);
	v.d[2].flags |= DESC_NEXT;
	v.d[2].next = 1;
	hostile_send(&v, "loop of two", BROKEN);
	hostile_prepare(&v, 0);
	v.d[2].flags |= DESC_NEXT;
	v.d[2].next = 0;
	hostile_send(&v, "loop to the head", BROKEN);
	hostile_prepare(&v, 0);
	v.d[1].next = v.vq.size;
	hostile_send(&v, "next is the queue size", BROKEN);
	hostile_prepare(&v, 0);
	v.d[1].next = 0xffff;
	hostile_send(&v, "next is 0xffff", BROKEN);
}

static void lengths(void)
{
	u32 i;

	for (i = 0; i < v.descs; i++) {
		hostile_prepare(&v, 0);
		v.d[i].len = 0;
		hostile_send(&v, "zero length", BROKEN);
		hostile_prepare(&v, 0);
		v.d[i].len = 0xffffffff;
		hostile_send(&v, "length 0xffffffff", BROKEN);
		hostile_prepare(&v, 0);
		v.d[i].len = 0x80000000;
		hostile_send(&v, "length 0x80000000", BROKEN);
	}
}

static void addresses(void)
{
	u64 end = boot_low_ram_end(), bad[] = {
		end, end - 1, HOLE, v.dev->base, v.dev->base + VM_QUEUE_NOTIFY, LAPIC_BASE, IOAPIC_BASE,
		~0ull, ~0ull - 4095, 1ull << 63, 1ull << 52, 0x100000000ull - 1,
	};
	u32 i, k;

	for (k = 0; k < ARRAY_SIZE(bad); k++)
		for (i = 0; i < v.descs; i++) {
			/* One byte is still inside, whatever comes after it. */
			hostile_prepare(&v, 0);
			if (bad[k] == end - 1 && v.d[i].len == 1)
				continue;
			v.d[i].addr = bad[k];
			hostile_send(&v, "address outside RAM", BROKEN);
		}
	/* The last bytes of RAM are RAM. */
	hostile_prepare(&v, 0);
	v.d[1].addr = end - v.d[1].len;
	hostile_send(&v, "the last bytes of RAM", UNHARMED);
}

#define LONGER_THAN_A_QUEUE 600

/* Moves the request into an indirect table. */
static struct virtq_desc *indirect(void)
{
	static struct virtq_desc table[LONGER_THAN_A_QUEUE] __attribute__((aligned(16)));

	hostile_prepare(&v, FEATURE_INDIRECT_DESC);
	memset(table, 0, sizeof(table));
	memcpy(table, v.d, 3 * sizeof(table[0]));
	v.d[0] = (struct virtq_desc){ (uintptr_t)table, 3 * sizeof(table[0]), DESC_INDIRECT, 0 };
	return table;
}

static void indirect_tables(void)
{
	static struct virtq_desc inner[4] __attribute__((aligned(16)));
	struct virtq_desc *t;
	u32 i;

	t = indirect();
	t[1].next = 1;
	hostile_send(&v, "loop in an indirect table", BROKEN);
	t = indirect();
	t[1].next = 3;
	hostile_send(&v, "next past an indirect table", BROKEN);
	for (i = 0; i < 3; i++) {
		t = indirect();
		memcpy(inner, t, sizeof(inner));
		t[i].addr = (uintptr_t)inner;
		t[i].len = 3 * sizeof(inner[0]);
		t[i].flags = DESC_INDIRECT;
		hostile_send(&v, "indirect in indirect", BROKEN);
	}
	indirect();
	v.d[0].len = 0;
	hostile_send(&v, "indirect table of no length", BROKEN);
	indirect();
	v.d[0].len = 40;
	hostile_send(&v, "indirect table of 2.5 descriptors", BROKEN);
	indirect();
	v.d[0].len = 0xfffffff0;
	hostile_send(&v, "indirect table of 4 GiB", BROKEN);
	indirect();
	v.d[0].flags |= DESC_NEXT;
	v.d[0].next = 1;
	hostile_send(&v, "indirect with next", BROKEN);
	indirect();
	v.d[0].addr = HOLE;
	hostile_send(&v, "indirect table outside RAM", BROKEN);
	indirect();
	v.d[0].addr = v.dev->base;
	hostile_send(&v, "indirect table in registers", BROKEN);
	indirect();
	v.d[0].addr = boot_low_ram_end() - 16;
	hostile_send(&v, "indirect table over RAM's end", BROKEN);

	/* A table longer than the queues of the device: 2.7.5.3.1 forbids it to the driver. */
	t = indirect();
	v.d[0].len = LONGER_THAN_A_QUEUE * sizeof(*t);
	for (i = 2; i < LONGER_THAN_A_QUEUE - 1; i++) {
		t[i] = t[1];
		t[i].next = i + 1;
		t[i].len = 1;
	}
	t[i] = t[1];
	t[i].flags = DESC_WRITE;
	hostile_send(&v, "indirect chain longer than the device's queues", BROKEN);

	hostile_prepare(&v, 0);
	memcpy(inner, v.d, sizeof(inner));
	v.d[0] = (struct virtq_desc){ (uintptr_t)inner, 48, DESC_INDIRECT, 0 };
	hostile_send(&v, "indirect without the feature", BROKEN);
}

static void avail_ring(void)
{
	struct virtq_used_elem elem;
	u32 i;

	hostile_prepare(&v, 0);
	v.head = v.vq.size;
	hostile_send(&v, "head is the queue size", BROKEN);
	hostile_prepare(&v, 0);
	v.head = 0xffff;
	hostile_send(&v, "head is 0xffff", BROKEN);
	for (i = 0; i < 3; i++) {
		static const u16 jumps[] = { 17, 0x8000, 0xffff };

		hostile_prepare(&v, 0);
		v.vq.avail->idx = jumps[i];
		virtq_notify(v.dev, 0);
		hostile_verdict(&v, "the available index jumps", BROKEN);
	}
	/* One head several times over: no more than the ring holds, and no harm to the VMM. */
	hostile_prepare(&v, 0);
	for (i = 0; i < v.vq.size; i++)
		virtq_publish(&v.vq, v.head);
	virtq_notify(v.dev, 0);
	hostile_verdict(&v, "one head sixteen times", SURVIVES);
	/* The index goes back. */
	hostile_prepare(&v, 0);
	virtq_publish(&v.vq, v.head);
	virtq_kick(&v.vq);
	virtq_poll(&v.vq, &elem, 2000);
	v.vq.avail->idx = 0;
	virtq_notify(v.dev, 0);
	hostile_verdict(&v, "the available index goes back", BROKEN);
}

static void directions(void)
{
	hostile_prepare(&v, 0);
	if (v.dev->id == VIRTIO_ID_BLK) {
		v.d[2].flags = 0;
		hostile_send(&v, "status byte not writable", BROKEN);
		hostile_prepare(&v, 0);
		v.d[0].flags |= DESC_WRITE;
		hostile_send(&v, "header not readable", BROKEN);
		hostile_prepare(&v, 0);
		v.d[0].flags = 0;
		hostile_send(&v, "nothing but a header", BROKEN);
		hostile_prepare(&v, 0);
		v.head = 2;
		hostile_send(&v, "nothing but a status byte", BROKEN);
		hostile_prepare(&v, 0);
		v.d[0].len = 15;
		hostile_send(&v, "header too short", BROKEN);
		hostile_prepare(&v, 0);
		v.d[1].flags = DESC_NEXT | DESC_WRITE;
		v.d[2] = v.d[0];
		v.d[2].flags = 0;
		v.head = 1;
		hostile_send(&v, "writable before readable", BROKEN);
	} else {
		v.d[0].flags = 0;
		hostile_send(&v, "nothing to write to", BROKEN);
		hostile_prepare(&v, 0);
		v.d[1].flags = DESC_NEXT;
		hostile_send(&v, "readable after writable", BROKEN);
	}
}

void test_hostile_chains(void)
{
	const char *victim = cmdline_get("victim");

	hostile_init(&v, victim && !strcmp(victim, "rng") ? VIRTIO_ID_RNG : VIRTIO_ID_BLK);
	loops();
	lengths();
	addresses();
	indirect_tables();
	avail_ring();
	directions();
	print("%u hostile cases\n", hostile_cases);
}
