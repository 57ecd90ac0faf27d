/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in a stream of bytes, as QEMU and passt exchange them: the length in 32 bits, big-endian, and then the frame. The other
 * side is not trusted; what is kept for it is bounded by these buffers.
 */
#ifndef NET_STREAM_FRAMES_H
#define NET_STREAM_FRAMES_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "net/netdev.h"

#define STREAM_PREFIX 4U
/* One read takes as many frames as there are. */
#define STREAM_IN_SIZE (128 * 1024U)
#define STREAM_OUT_SIZE (STREAM_PREFIX + NETDEV_FRAME_MAX)

/* What was read and not passed on. */
struct stream_in {
	uint8_t *data; /* STREAM_IN_SIZE bytes */
	uint32_t head, len;
};

/* The rest of a frame whose begin was sent. */
struct stream_out {
	uint8_t *data; /* STREAM_OUT_SIZE bytes */
	uint32_t head, len;
};

/*
 * One frame into @iov, behind NETDEV_HEADER bytes of zeroes; it has room for the longest. Returns their bytes together,
 * -EAGAIN: there is no whole frame yet, -EPROTO: a length that is none, -ENOTCONN: the end of the stream, or another -errno.
 */
ssize_t stream_receive(struct stream_in *in, int fd, const struct iovec *iov, unsigned int count);

/* Sends what is kept. -EAGAIN: not all of it. */
int stream_flush(struct stream_out *out, int fd);
/*
 * One frame of at most NETDEV_FRAME_MAX bytes; iov[0] is the header, which is not sent. 0: it is on its way, or what could not
 * be sent is kept. -EAGAIN: nothing of it was taken.
 */
int stream_send(struct stream_out *out, int fd, const struct iovec *iov, unsigned int count);

#endif
