// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-rng: random bytes, in every shape of buffer, with the right used length.
 */
#include "tests.h"
#include "lib/virtio.h"

static struct virtq vq;
static struct virtio_dev *dev;

/* Asks for bytes into segments of the given lengths, laid out one after the other in buf. */
static void ask(u8 *buf, const u32 *lens, u32 n, u32 flags)
{
	struct seg segs[8];
	struct virtq_used_elem elem;
	u32 total = 0, i;
	u16 head;

	for (i = 0; i < n; i++) {
		segs[i] = (struct seg){ buf + total, lens[i] };
		total += lens[i];
	}
	memset(buf, 0, total + 16);
	head = virtq_add(&vq, segs, 0, n, flags);
	virtq_kick(&vq);
	REQUIRE(virtq_poll(&vq, &elem, 5000), "no answer to a request of %u bytes", total);
	CHECK_EQ(elem.id, head);
	/* The device may give less than asked, but something, and not more. */
	CHECK(elem.len >= 1 && elem.len <= total);
	/* What it did not claim to write it did not write. */
	for (i = elem.len; i < total + 16; i++)
		if (buf[i])
			test_fail(__FILE__, __LINE__, "byte %u changed, used length is %u", i, elem.len);
	/* 16 zero bytes in a row do not come out of a generator. */
	if (elem.len >= 64)
		for (i = 0; i + 16 <= elem.len; i += 16)
			CHECK(memcmp(buf + i, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16));
}

static void shapes(u64 features, u32 flags)
{
	static u8 a[8192], b[8192];
	static const u32 one[] = { 64 }, tiny[] = { 1 }, page[] = { 4096 }, odd[] = { 1, 63, 7, 512, 3 };

	REQUIRE(virtio_negotiate(dev, features), "virtio-rng refuses features %#lx", features);
	virtq_setup(dev, &vq, 0, 16);
	virtio_driver_ok(dev);
	virtq_want_interrupt(&vq, false);
	ask(a, one, 1, flags);
	ask(b, one, 1, flags);
	CHECK(memcmp(a, b, 64));
	ask(a, tiny, 1, flags);
	ask(a, page, 1, flags);
	ask(a, odd, ARRAY_SIZE(odd), flags);
	CHECK(!(virtio_status(dev) & STATUS_NEEDS_RESET));
}

void test_rng(void)
{
	u64 offered;

	dev = virtio_get(VIRTIO_ID_RNG, 0);
	offered = virtio_offered(dev);
	print("features offered: %#lx\n", offered);
	CHECK(offered & FEATURE_INDIRECT_DESC);
	CHECK(offered & FEATURE_EVENT_IDX);
	shapes(0, 0);
	shapes(FEATURE_EVENT_IDX, 0);
	shapes(FEATURE_INDIRECT_DESC, VIRTQ_ADD_INDIRECT);
	shapes(FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX, VIRTQ_ADD_INDIRECT);
}
