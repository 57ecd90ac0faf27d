// SPDX-License-Identifier: Apache-2.0
/* Frames in a stream of bytes. */
#include "stream_frames.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/fd.h"
#include "util/macros.h"

#define IOV_MAX_COUNT 1024 /* of the kernel, UIO_MAXIOV */

/* --- Receiving --- */

/* To the pieces of memory that begin at *iov, @skip bytes of which are filled. */
static void scatter(const struct iovec *iov, unsigned int count, size_t skip, const uint8_t *data, size_t len)
{
	for (unsigned int i = 0; i < count && len; i++) {
		size_t from = MIN(skip, iov[i].iov_len), part = MIN(len, iov[i].iov_len - from);

		memcpy((uint8_t *)iov[i].iov_base + from, data, part);
		skip -= from;
		data += part;
		len -= part;
	}
}

/* -EAGAIN: not all of the next frame is here. */
static ssize_t next_frame(struct stream_in *in, const struct iovec *iov, unsigned int count)
{
	static const uint8_t header[NETDEV_HEADER];
	uint32_t size;

	if (in->len < STREAM_PREFIX)
		return -EAGAIN;
	memcpy(&size, in->data + in->head, sizeof(size));
	size = be32toh(size);
	if (size > NETDEV_FRAME_MAX)
		return -EPROTO;
	if (in->len < STREAM_PREFIX + size)
		return -EAGAIN;
	scatter(iov, count, 0, header, sizeof(header));
	scatter(iov, count, sizeof(header), in->data + in->head + STREAM_PREFIX, size);
	in->head += STREAM_PREFIX + size;
	in->len -= STREAM_PREFIX + size;
	return NETDEV_HEADER + size;
}

static int read_more(struct stream_in *in, int fd)
{
	ssize_t n;

	/* What is left is the begin of one frame, for the whole of which there is room. */
	memmove(in->data, in->data + in->head, in->len);
	in->head = 0;
	do {
		n = fd_read(fd, in->data + in->len, STREAM_IN_SIZE - in->len);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ENOTCONN;
	in->len += n;
	return 0;
}

ssize_t stream_receive(struct stream_in *in, int fd, const struct iovec *iov, unsigned int count)
{
	for (;;) {
		ssize_t ret = next_frame(in, iov, count);

		if (ret != -EAGAIN)
			return ret;
		ret = read_more(in, fd);
		if (ret)
			return ret;
	}
}

/* --- Sending --- */

static ssize_t send_some(int fd, struct iovec *iov, unsigned int count)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t n;

	do {
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int stream_flush(struct stream_out *out, int fd)
{
	while (out->len) {
		struct iovec iov = { out->data + out->head, out->len };
		ssize_t n = send_some(fd, &iov, 1);

		if (n < 0)
			return (int)n;
		out->head += n;
		out->len -= n;
	}
	out->head = 0;
	return 0;
}

/* All but the first @sent bytes. */
static void keep(struct stream_out *out, const struct iovec *iov, unsigned int count, size_t sent)
{
	for (unsigned int i = 0; i < count; i++) {
		size_t gone = MIN(sent, iov[i].iov_len), part = iov[i].iov_len - gone;

		memcpy(out->data + out->len, (const uint8_t *)iov[i].iov_base + gone, part);
		out->len += part;
		sent -= gone;
	}
}

int stream_send(struct stream_out *out, int fd, const struct iovec *iov, unsigned int count)
{
	struct iovec pieces[IOV_MAX_COUNT];
	uint32_t prefix, size = 0;
	ssize_t n;
	int ret;

	if (count > IOV_MAX_COUNT)
		return -EINVAL;
	for (unsigned int i = 1; i < count; i++) {
		if (iov[i].iov_len > NETDEV_FRAME_MAX - size)
			return -EMSGSIZE;
		size += iov[i].iov_len;
		pieces[i] = iov[i];
	}
	ret = stream_flush(out, fd);
	if (ret)
		return ret;
	prefix = htobe32(size);
	pieces[0] = (struct iovec){ &prefix, sizeof(prefix) };
	n = send_some(fd, pieces, count);
	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof(prefix) + size)
		keep(out, pieces, count, n);
	return 0;
}
