// SPDX-License-Identifier: Apache-2.0
/*
 * The chain walker over rings of any content. The input is laid over the rings piece by piece, one before each pop, as
 * another CPU of the guest could do. Every byte that a chain offers must be RAM, and a queue ends by itself.
 */
#include "fuzz.h"
#include "virtio/virtqueue.h"

#include <errno.h>

#define RAM_BYTES 0x10000
#define RINGS 0x1000 /* descriptors, then avail, used and an indirect table */

static struct mem_space *space;
static struct ram_backend *ram;

static void set_up_memory(void)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = RAM_BYTES };

	space = mem_space_new();
	MUST(!ram_backend_new(&config, &ram, NULL));
	MUST(!mem_space_add_ram(space, 0, ram, 0, RAM_BYTES, NULL));
}

static void touch(const struct virtq_chain *chain, uint16_t size)
{
	uint64_t out = 0, in = 0;

	MUST(chain->head < size && chain->out_count + chain->in_count <= size);
	for (unsigned int i = 0; i < chain->out_count + chain->in_count; i++) {
		const uint8_t *base = chain->iov[i].iov_base;
		size_t len = chain->iov[i].iov_len;

		MUST(len && base >= ram->host && len <= RAM_BYTES && base + len <= ram->host + RAM_BYTES);
		if (i < chain->out_count)
			out += len;
		else
			in += len;
	}
	MUST(out == chain->out_len && in == chain->in_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtqueue vq;
	struct virtq_chain chain;
	const char *why = NULL;
	unsigned int pops = 0;
	uint16_t entries;

	if (size < 2)
		return 0;
	if (!space)
		set_up_memory();
	memset(ram->host, 0, RAM_BYTES);
	entries = (uint16_t)(1u << (data[0] & 7));
	virtqueue_init(&vq, space);
	vq.size = entries;
	vq.desc_addr = RINGS;
	vq.avail_addr = RINGS + 16u * entries;
	vq.used_addr = ALIGN_UP(vq.avail_addr + 6 + 2u * entries, 4ULL);
	MUST(!virtqueue_map(&vq, 256, data[0] & 0x10, data[0] & 0x20, &why));
	data++;
	size--;
	while (pops++ < 1000) {
		size_t piece = size > 1 ? MIN((size_t)data[0] * 8, size - 1) : 0;
		int ret;

		if (size) {
			memcpy(ram->host + RINGS, data + 1, piece);
			data += piece + 1;
			size -= piece + 1;
		}
		ret = virtqueue_pop(&vq, &chain);
		MUST(ret == 1 || ret == 0 || (ret == -EPROTO && vq.broken));
		if (ret == 1) {
			touch(&chain, entries);
			if (pops % 3 == 0)
				continue; /* stays in flight */
			virtqueue_push(&vq, chain.head, chain.in_len);
			(void)!virtqueue_publish(&vq);
		} else if (ret < 0 || !size) {
			break;
		}
	}
	MUST(pops < 1000);
	virtqueue_reset(&vq);
	return 0;
}
