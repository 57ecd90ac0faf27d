// SPDX-License-Identifier: Apache-2.0
/*
 * Both ends of vsock streams in the guest, static so that it runs in the initramfs:
 *
 *   vsock_tool serve PORT COUNT           serves so many connections, then ends
 *   vsock_tool send CID PORT BYTES        one connection
 *   vsock_tool many CID PORT COUNT        so many connections, open all at once
 *
 * Who connects sends bytes and closes that direction; who is connected to answers "<bytes> <CRC-32>\n" and closes. send and many
 * print "ok" when the answer is the right one.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#define MANY_MAX 1024

struct sum {
	uint64_t bytes;
	uint32_t crc;
};

static uint32_t crc_table[256];

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t value = i;

		for (int bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
		crc_table[i] = value;
	}
}

static void add(struct sum *sum, const uint8_t *data, size_t len)
{
	uint32_t crc = ~sum->crc;

	for (size_t i = 0; i < len; i++)
		crc = crc_table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
	sum->crc = ~crc;
	sum->bytes += len;
}

static size_t answer_text(const struct sum *sum, char text[64])
{
	return (size_t)snprintf(text, 64, "%llu %08x\n", (unsigned long long)sum->bytes, sum->crc);
}

static int dial(unsigned int cid, unsigned int port)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die("connect");
	return fd;
}

static void send_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0)
			die("send");
		data += n;
		len -= n;
	}
}

/* The answer, to the end of the stream, is the one that belongs to @sum. */
static void check_answer(int fd, const struct sum *sum)
{
	char expected[64], got[64];
	size_t len = answer_text(sum, expected), have = 0;

	for (;;) {
		ssize_t n = recv(fd, got + have, sizeof(got) - have, 0);

		if (n < 0)
			die("recv");
		if (!n)
			break;
		have += n;
		if (have == sizeof(got))
			break;
	}
	if (have != len || memcmp(got, expected, len)) {
		printf("wrong answer '%.*s' instead of '%s'\n", (int)have, got, expected);
		exit(1);
	}
}

static void do_send(unsigned int cid, unsigned int port, uint64_t bytes)
{
	static uint8_t block[50000]; /* no multiple of anything */
	struct sum sum = { 0, 0 };
	uint64_t state = 88172645463325252ULL;
	int fd = dial(cid, port);

	while (bytes) {
		size_t len = bytes < sizeof(block) ? bytes : sizeof(block);

		for (size_t i = 0; i < len; i++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			block[i] = state >> 32;
		}
		add(&sum, block, len);
		send_all(fd, block, len);
		bytes -= len;
	}
	shutdown(fd, SHUT_WR);
	check_answer(fd, &sum);
	close(fd);
	printf("ok %llu\n", (unsigned long long)sum.bytes);
}

static void do_many(unsigned int cid, unsigned int port, unsigned int count)
{
	static int fds[MANY_MAX];
	static struct sum sums[MANY_MAX];
	char text[32];

	for (unsigned int i = 0; i < count; i++)
		fds[i] = dial(cid, port);
	for (unsigned int i = 0; i < count; i++) {
		int len = snprintf(text, sizeof(text), "connection %u", i);

		add(&sums[i], (uint8_t *)text, len);
		send_all(fds[i], (uint8_t *)text, len);
	}
	for (unsigned int i = 0; i < count; i++)
		shutdown(fds[i], SHUT_WR);
	for (unsigned int i = 0; i < count; i++) {
		check_answer(fds[i], &sums[i]);
		close(fds[i]);
	}
	printf("ok %u\n", count);
}

static void serve(unsigned int port, unsigned int count)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
	static struct pollfd fds[MANY_MAX + 1];
	static struct sum sums[MANY_MAX + 1];
	static uint8_t block[65536];
	unsigned int used = 1, done = 0;

	fds[0].fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	fds[0].events = POLLIN;
	if (fds[0].fd < 0 || bind(fds[0].fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(fds[0].fd, 512))
		die("listen");
	while (done < count) {
		if (poll(fds, used, 60000) <= 0)
			die("nobody comes");
		for (unsigned int i = used - 1; i > 0; i--) {
			char text[64];
			ssize_t n;

			if (!fds[i].revents)
				continue;
			n = recv(fds[i].fd, block, sizeof(block), MSG_DONTWAIT);
			if (n < 0 && errno == EAGAIN)
				continue;
			if (n < 0)
				die("recv");
			if (n) {
				add(&sums[i], block, n);
				continue;
			}
			send_all(fds[i].fd, (uint8_t *)text, answer_text(&sums[i], text));
			close(fds[i].fd);
			used--;
			fds[i] = fds[used];
			sums[i] = sums[used];
			done++;
		}
		if (fds[0].revents && used <= MANY_MAX) {
			fds[used].fd = accept(fds[0].fd, NULL, NULL);
			if (fds[used].fd < 0)
				die("accept");
			fds[used].events = POLLIN;
			fds[used].revents = 0;
			memset(&sums[used], 0, sizeof(sums[used]));
			used++;
		}
	}
	printf("served %u\n", done);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_table();
	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]), atoi(argv[3]));
	else if (argc == 5 && !strcmp(argv[1], "send"))
		do_send(atoi(argv[2]), atoi(argv[3]), strtoull(argv[4], NULL, 10));
	else if (argc == 5 && !strcmp(argv[1], "many"))
		do_many(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
	else
		return 2;
	return 0;
}
