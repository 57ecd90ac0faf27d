// SPDX-License-Identifier: Apache-2.0
/*
 * gzip (RFC 1952) by zlib. The result goes to an anonymous file, so that it is mapped into guests, and loaded again at a
 * reset, as any other kernel is.
 */
#include "gunzip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "util/alloc.h"
#include "util/fd.h"

#define CHUNK (256 * KIB)

static int write_full(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t done = fd_write(fd, data, len);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			data += done;
			len -= (size_t)done;
		}
	}
	return 0;
}

/* Size of the unpacked stream, written to @out. */
static int unpack(const struct boot_file *file, uint64_t offset, uint64_t len, z_stream *z, uint8_t *in, uint8_t *out,
		  int out_fd, uint64_t *size, struct error **errp)
{
	int code = Z_OK, ret;

	*size = 0;
	while (code != Z_STREAM_END) {
		size_t got;

		if (!z->avail_in) {
			uint64_t part = MIN(len, (uint64_t)CHUNK);

			if (!part)
				return error_set(errp, -EINVAL, "kernel '%s': its gzip stream is truncated", file->path);
			ret = boot_file_read(file, offset, in, part, errp);
			if (ret)
				return ret;
			offset += part;
			len -= part;
			z->next_in = in;
			z->avail_in = (unsigned int)part;
		}
		z->next_out = out;
		z->avail_out = CHUNK;
		code = inflate(z, Z_NO_FLUSH);
		if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
			return error_set(errp, -EINVAL, "kernel '%s': its gzip stream is broken (%s)", file->path,
					 z->msg ? z->msg : "no message");
		got = CHUNK - z->avail_out;
		*size += got;
		if (*size > GUNZIP_MAX)
			return error_set(errp, -EFBIG, "kernel '%s' unpacks to more than %d MiB", file->path,
					 (int)(GUNZIP_MAX / MIB));
		ret = write_full(out_fd, out, got);
		if (ret)
			return error_set_errno(errp, ret, "kernel '%s' cannot be unpacked", file->path);
	}
	return 0;
}

int boot_file_gunzip(struct boot_file *file, uint64_t offset, uint64_t len, struct error **errp)
{
	z_stream z = { 0 };
	uint8_t *buffers;
	uint64_t size;
	int fd, ret;

	fd = memfd_create("kernel", MFD_CLOEXEC);
	if (fd < 0)
		return error_set_errno(errp, -errno, "kernel '%s' cannot be unpacked: memfd_create", file->path);
	if (inflateInit2(&z, 15 + 16) != Z_OK) { /* the largest window; 16: with a gzip header */
		close(fd);
		return error_set(errp, -ENOMEM, "kernel '%s' cannot be unpacked: no memory", file->path);
	}
	buffers = xcalloc(2, CHUNK);
	ret = unpack(file, offset, len, &z, buffers, buffers + CHUNK, fd, &size, errp);
	free(buffers);
	inflateEnd(&z);
	if (!ret && !size)
		ret = error_set(errp, -EINVAL, "kernel '%s' unpacks to nothing", file->path);
	if (ret) {
		close(fd);
		return ret;
	}
	fd_close(&file->fd);
	file->fd = fd;
	file->size = size;
	file->mappable = true;
	return 0;
}
