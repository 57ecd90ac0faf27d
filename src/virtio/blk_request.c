// SPDX-License-Identifier: Apache-2.0
#include "blk_request.h"

#include <errno.h>
#include <string.h>

size_t blk_gather(const struct iovec *iov, unsigned int count, void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count && done < len; i++) {
		size_t n = MIN(iov[i].iov_len, len - done);

		memcpy((uint8_t *)buf + done, iov[i].iov_base, n);
		done += n;
	}
	return done;
}

size_t blk_scatter(const struct iovec *iov, unsigned int count, const void *buf, size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count && done < len; i++) {
		size_t n = MIN(iov[i].iov_len, len - done);

		memcpy(iov[i].iov_base, (const uint8_t *)buf + done, n);
		done += n;
	}
	return done;
}

/* Takes @len bytes, which are there, off the front. */
static void skip(struct blk_parts *parts, size_t len)
{
	parts->out_len -= len;
	while (parts->out_count && len >= parts->out->iov_len) {
		len -= parts->out->iov_len;
		parts->out++;
		parts->out_count--;
	}
	if (len) {
		parts->out->iov_base = (uint8_t *)parts->out->iov_base + len;
		parts->out->iov_len -= len;
	}
}

int blk_split(struct virtq_chain *chain, struct blk_parts *parts)
{
	struct blk_header header;
	struct iovec *last;

	if (chain->out_len < sizeof(header) || !chain->in_len)
		return -EPROTO;
	*parts = (struct blk_parts){
		.out = chain->iov,
		.out_count = chain->out_count,
		.out_len = chain->out_len,
		.in = chain->iov + chain->out_count,
		.in_count = chain->in_count,
		.in_len = chain->in_len,
	};
	/* A copy: the guest may change its own at any time. */
	blk_gather(parts->out, parts->out_count, &header, sizeof(header));
	skip(parts, sizeof(header));
	parts->type = le32_to_cpu(header.type);
	parts->sector = le64_to_cpu(header.sector);

	/* The status is the very last byte (§5.2.6). */
	last = &parts->in[parts->in_count - 1];
	last->iov_len--;
	parts->in_len--;
	parts->status = (uint8_t *)last->iov_base + last->iov_len;
	if (!last->iov_len)
		parts->in_count--;
	return 0;
}

bool blk_in_range(uint64_t sector, uint64_t len, uint64_t capacity, uint32_t block_size)
{
	uint64_t offset = sector * BLK_SECTOR;

	if (sector > capacity / BLK_SECTOR || len > capacity - offset)
		return false;
	return IS_ALIGNED(offset | len, block_size);
}
