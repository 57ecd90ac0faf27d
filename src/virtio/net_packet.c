// SPDX-License-Identifier: Apache-2.0
/* Bytes scattered over a chain, and the header before a frame (virtio 1.2 §5.1.6). */
#include <string.h>

#include "net.h"

static bool copy(const struct iovec *iov, unsigned int count, size_t offset, uint8_t *buf,
		 size_t len, bool out)
{
	unsigned int i = 0;

	while (i < count && offset >= iov[i].iov_len)
		offset -= iov[i++].iov_len;
	for (unsigned int n = i, first = 1; len; n++, first = 0) {
		size_t part;

		if (n == count)
			return false;
		part = MIN(len, iov[n].iov_len - (first ? offset : 0));
		if (buf) {
			uint8_t *host = (uint8_t *)iov[n].iov_base + (first ? offset : 0);

			memcpy(out ? buf : host, out ? host : buf, part);
			buf += part;
		}
		len -= part;
	}
	return true;
}

bool net_gather(const struct iovec *iov, unsigned int count, size_t offset, void *buf, size_t len)
{
	return copy(iov, count, offset, NULL, len, true) &&
	       copy(iov, count, offset, buf, len, true);
}

bool net_scatter(const struct iovec *iov, unsigned int count, size_t offset, const void *buf,
		 size_t len)
{
	uint8_t *bytes = (uint8_t *)(uintptr_t)buf; /* only read in this direction */

	return copy(iov, count, offset, NULL, len, false) &&
	       copy(iov, count, offset, bytes, len, false);
}

unsigned int net_skip(struct iovec **iov, unsigned int count, size_t len)
{
	while (count && len >= (*iov)->iov_len) {
		len -= (*iov)->iov_len;
		(*iov)++;
		count--;
	}
	if (count && len) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
		(*iov)->iov_len -= len;
	}
	return count;
}

static uint64_t gso_feature(uint8_t type)
{
	switch (type & ~NET_HDR_GSO_ECN) {
	case NET_HDR_GSO_TCPV4:
		return NET_F_HOST_TSO4;
	case NET_HDR_GSO_TCPV6:
		return NET_F_HOST_TSO6;
	case NET_HDR_GSO_UDP:
		return NET_F_HOST_UFO;
	case NET_HDR_GSO_UDP_L4:
		return NET_F_HOST_USO;
	default:
		return 0;
	}
}

bool net_header_valid(const struct net_header *header, uint64_t features, uint32_t frame_len)
{
	uint32_t start = le16_to_cpu(header->csum_start), offset = le16_to_cpu(header->csum_offset);

	if (frame_len < ETHER_HEADER || frame_len > NET_FRAME_MAX)
		return false;
	if (header->flags & NET_HDR_F_NEEDS_CSUM) {
		if (!(features & NET_F_CSUM))
			return false;
		/* Two bytes of checksum lie inside the frame, behind its Ethernet header. */
		if (start < ETHER_HEADER || start + offset + 2 > frame_len)
			return false;
	}
	if (!header->gso_type)
		return true;
	if (!(features & gso_feature(header->gso_type)) || !(header->flags & NET_HDR_F_NEEDS_CSUM))
		return false;
	if (header->gso_type & NET_HDR_GSO_ECN &&
	    (!(features & NET_F_HOST_ECN) ||
	     !(gso_feature(header->gso_type) & (NET_F_HOST_TSO4 | NET_F_HOST_TSO6))))
		return false;
	return le16_to_cpu(header->gso_size) && le16_to_cpu(header->hdr_len) <= frame_len;
}
