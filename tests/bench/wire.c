// SPDX-License-Identifier: Apache-2.0
/*
 * The other end of the cable of a guest that runs tests/guest/net_bench.c: wire blast|ping FD
 *
 * FD is a packet socket on the tap. Both wait for the guest to say that it is ready, and of what size the frames shall be. blast sends as many as
 * the guest acknowledges, with WINDOW on their way, until the guest has had enough; what they were is the guest's to tell. ping
 * sends one at a time for a second, then prints the round trips' median and 99th percentile in nanoseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef SOL_PACKET
#define SOL_PACKET 263
#endif

#define WINDOW 128
#define BATCH 32
#define FRAME_MAX 65536
#define ETHER_MAX 1514
#define PINGS_MAX 1000000
#define LIMIT_S 60

/* As in net_bench.c. */
enum { SAY_READY = 'R', SAY_FRAME = 'F', SAY_ACK = 'A', SAY_END = 'E' };
#define SAY_AT 14

/* struct virtio_net_hdr, which a socket with PACKET_VNET_HDR has before each frame. */
struct header {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

static struct header header;
static uint8_t frame[FRAME_MAX];

static int must(ssize_t result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* What the guest says next; 0: nothing now. */
static int hear(int fd, int flags, uint32_t *count)
{
	uint8_t word[sizeof(struct header) + 128];
	ssize_t n = recv(fd, word, sizeof(word), flags);

	if (n < 0 && (flags & MSG_DONTWAIT) && errno == EAGAIN)
		return 0;
	must(n, "recv: nothing comes from the guest");
	memcpy(count, word + sizeof(struct header) + SAY_AT + 1, sizeof(*count));
	return word[sizeof(struct header) + SAY_AT];
}

static void make_frame(uint32_t size)
{
	static const uint8_t addresses[14] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0, 0, 0xfe, 0x88, 0xb5 };

	memcpy(frame, addresses, sizeof(addresses));
	frame[SAY_AT] = SAY_FRAME;
	if (size <= ETHER_MAX)
		return;
	const uint8_t ip[20] = { 0x45, 0, (size - 14) >> 8, size - 14, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2 };
	const uint8_t tcp[20] = { 0, 0x10, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff };

	header = (struct header){ 1, 1, 54, 1448, 34, 16 };
	memcpy(frame + 12, (uint8_t[]){ 8, 0 }, 2);
	memcpy(frame + 14, ip, sizeof(ip));
	memcpy(frame + 34, tcp, sizeof(tcp));
}

static void blast(int fd, uint32_t size)
{
	struct iovec iov[2] = { { &header, sizeof(header) }, { frame, size } };
	struct mmsghdr messages[BATCH];
	uint32_t sent = 0, got = 0;
	int what = SAY_ACK;

	for (int i = 0; i < BATCH; i++)
		messages[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = iov, .msg_iovlen = 2 } };
	for (;;) {
		/* In whole batches, which is what the guest acknowledges. */
		if (sent - got <= WINDOW - BATCH)
			sent += must(sendmmsg(fd, messages, BATCH, 0), "sendmmsg");
		do {
			what = hear(fd, sent - got > WINDOW - BATCH ? 0 : MSG_DONTWAIT, &got);
			if (what == SAY_END)
				return;
		} while (what);
	}
}

static int earlier(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void ping(int fd, uint32_t size)
{
	static uint64_t times[PINGS_MAX];
	struct iovec iov[2] = { { &header, sizeof(header) }, { frame, size } };
	uint64_t begin = now_ns(), before = begin, now = begin;
	unsigned int count = 0;
	uint32_t heard;

	while (now - begin < 1000000000 && count < PINGS_MAX) {
		must(writev(fd, iov, 2), "writev");
		(void)hear(fd, 0, &heard);
		now = now_ns();
		times[count++] = now - before;
		before = now;
	}
	frame[SAY_AT] = SAY_END;
	must(writev(fd, iov, 2), "writev");
	qsort(times, count, sizeof(*times), earlier);
	printf("ping size=%u count=%u p50=%lu p99=%lu\n", size, count, times[count / 2], times[count * 99 / 100]);
}

int main(int argc, char **argv)
{
	struct timeval limit = { .tv_sec = LIMIT_S };
	int fd, one = 1;
	uint32_t size;

	if (argc != 3 || (strcmp(argv[1], "blast") && strcmp(argv[1], "ping"))) {
		fprintf(stderr, "usage: wire blast|ping FD\n");
		return 2;
	}
	fd = atoi(argv[2]);
	must(fcntl(fd, F_SETFL, 0), "fcntl");
	must(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), "PACKET_VNET_HDR");
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), "SO_RCVTIMEO");
	while (hear(fd, 0, &size) != SAY_READY)
		;
	if (size > FRAME_MAX)
		size = FRAME_MAX;
	make_frame(size);
	if (!strcmp(argv[1], "blast"))
		blast(fd, size);
	else
		ping(fd, size);
	return 0;
}
