/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of a virtio-blk request (virtio 1.2 §5.2.6), taken out of a chain that may be cut anywhere (§2.7.4.1). */
#ifndef VIRTIO_BLK_REQUEST_H
#define VIRTIO_BLK_REQUEST_H

#include "virtio/virtqueue.h"

#define BLK_SECTOR 512U
#define BLK_ID_SIZE 20U
#define BLK_RANGE_SECTORS_MAX 0x7fffffU /* of one discard or write-zeroes */

enum { BLK_T_IN = 0, BLK_T_OUT = 1, BLK_T_FLUSH = 4, BLK_T_GET_ID = 8, BLK_T_DISCARD = 11, BLK_T_WRITE_ZEROES = 13 };
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };

#define BLK_RANGE_F_UNMAP 1U

struct blk_header {
	le32_t type;
	le32_t reserved;
	le64_t sector;
};

struct blk_range {
	le64_t sector;
	le32_t sectors;
	le32_t flags;
};

/* What is between header and status. The iovecs are the chain's, cut to the data. */
struct blk_parts {
	uint32_t type;
	uint64_t sector;
	uint8_t *status;
	struct iovec *out, *in;
	unsigned int out_count, in_count;
	uint32_t out_len, in_len;
};

/* -EPROTO: no room for a header to read or a status byte to write. Changes chain->iov. */
int __must_check blk_split(struct virtq_chain *chain, struct blk_parts *parts);

/* Do @len bytes from @sector lie on a disk of @capacity bytes, in whole blocks of @block_size bytes? */
bool blk_in_range(uint64_t sector, uint64_t len, uint64_t capacity, uint32_t block_size);

/* Copies up to @len bytes out of, or into, the iovecs' beginning; how many. */
size_t blk_gather(const struct iovec *iov, unsigned int count, void *buf, size_t len);
size_t blk_scatter(const struct iovec *iov, unsigned int count, const void *buf, size_t len);

#endif
