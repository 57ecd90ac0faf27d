/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of the vsock device on the fake machine, and the host programs around it, all in one thread: waiting for
 * anything runs the loop.
 */
#ifndef TESTS_VSOCK_DRIVER_H
#define TESTS_VSOCK_DRIVER_H

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../../src/virtio/vsock.h"
#include "virtio/classes.h"
#include "virtio_rig.h"

#define CID 52
#define TX_HEADER 0x80000
#define TX_DATA 0x90000 /* 256 KiB and more */
#define RX_BASE 0x100000
#define RX_SIZE 4096
#define RX_BUFFERS 64
#define HEADER_SIZE sizeof(struct vsock_header)
#define GUEST_WINDOW (1u << 20)

static char folder[64], uds_path[96];
static struct drvq queues[3];
static unsigned int current_queue;
static uint32_t window, consumed; /* what the next packets say of the guest's buffers; of the newest connection */

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t host_port, guest_port, len, flags, buf_alloc, fwd_cnt;
	uint16_t type, op;
	uint8_t data[RX_SIZE];
};

static inline void use(unsigned int index)
{
	queues[current_queue] = q;
	q = queues[index];
	current_queue = index;
}

static inline void post(unsigned int buffer)
{
	use(VSOCK_QUEUE_RX);
	drvq_desc(buffer, RX_BASE + buffer * RX_SIZE, RX_SIZE, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(buffer);
	wr(R_NOTIFY, VSOCK_QUEUE_RX);
}

static inline void post_many(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		post(i);
}

static inline void start_driver(uint64_t features)
{
	ck_assert(negotiate(features | VIRTIO_F_VERSION_1 | 1));
	for (unsigned int i = 0; i < 3; i++) {
		use(i);
		drvq_open(i, 64);
	}
	driver_ok();
	window = GUEST_WINDOW;
	consumed = 0;
}

/* --- From the guest --- */

static inline void put_header(uint16_t op, uint32_t guest_port, uint32_t host_port, uint32_t flags, uint32_t len)
{
	struct vsock_header header = {
		cpu_to_le64(CID), cpu_to_le64(2), cpu_to_le32(guest_port), cpu_to_le32(host_port),
		cpu_to_le32(len), cpu_to_le16(1), cpu_to_le16(op), cpu_to_le32(flags),
		cpu_to_le32(window), cpu_to_le32(0),
	};

	if (op == VSOCK_OP_REQUEST || op == VSOCK_OP_RESPONSE)
		consumed = 0;
	header.fwd_cnt = cpu_to_le32(consumed);
	memcpy(rig.ram->host + TX_HEADER, &header, sizeof(header));
}

static inline struct vsock_header *tx_header(void)
{
	return (void *)(rig.ram->host + TX_HEADER);
}

/* The header as it is, with @len bytes behind it; does not wait. */
static inline void push_packet(uint32_t len)
{
	use(VSOCK_QUEUE_TX);
	drvq_desc(0, TX_HEADER, HEADER_SIZE, len ? VIRTQ_DESC_F_NEXT : 0, 1);
	drvq_desc(1, TX_DATA, len, 0, 0);
	drvq_publish(0);
	wr(R_NOTIFY, VSOCK_QUEUE_TX);
}

static inline void push_and_wait(uint32_t len)
{
	push_packet(len);
	ck_assert_uint_eq(drvq_wait(NULL), 0);
}

static inline void guest_says(uint16_t op, uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	put_header(op, guest_port, host_port, flags, 0);
	push_and_wait(0);
}

static inline void guest_sends(uint32_t guest_port, uint32_t host_port, const void *data, uint32_t len)
{
	put_header(VSOCK_OP_RW, guest_port, host_port, 0, len);
	memcpy(rig.ram->host + TX_DATA, data, len);
	push_and_wait(len);
}

/* --- To the guest --- */

static inline void decode(const uint8_t *bytes, uint32_t used, struct packet *packet)
{
	struct vsock_header header;

	memcpy(&header, bytes, sizeof(header));
	packet->src_cid = le64_to_cpu(header.src_cid);
	packet->dst_cid = le64_to_cpu(header.dst_cid);
	packet->host_port = le32_to_cpu(header.src_port);
	packet->guest_port = le32_to_cpu(header.dst_port);
	packet->len = le32_to_cpu(header.len);
	packet->type = le16_to_cpu(header.type);
	packet->op = le16_to_cpu(header.op);
	packet->flags = le32_to_cpu(header.flags);
	packet->buf_alloc = le32_to_cpu(header.buf_alloc);
	packet->fwd_cnt = le32_to_cpu(header.fwd_cnt);
	ck_assert_uint_eq(used, HEADER_SIZE + packet->len);
	ck_assert_uint_le(packet->len, RX_SIZE - HEADER_SIZE);
	memcpy(packet->data, bytes + HEADER_SIZE, packet->len);
}

/* The next packet; its buffer goes back if @again. */
static inline struct packet *next_packet(bool again)
{
	static struct packet packet;
	uint16_t head;
	uint32_t used;

	use(VSOCK_QUEUE_RX);
	used = drvq_wait(&head);
	decode(rig.ram->host + RX_BASE + head * RX_SIZE, used, &packet);
	if (packet.op == VSOCK_OP_RW)
		consumed += packet.len;
	if (again)
		post(head);
	return &packet;
}

static inline struct packet *expect(uint16_t op)
{
	struct packet *packet = next_packet(true);

	ck_assert_msg(packet->op == op, "operation %u instead of %u, flags %u, ports %u-%u", packet->op, op,
		      packet->flags, packet->guest_port, packet->host_port);
	return packet;
}

static inline void expect_nothing(void)
{
	use(VSOCK_QUEUE_RX);
	ck_assert(!run_until(drvq_used, 20));
}

/* --- Host programs --- */

static inline void address_of(const char *path, struct sockaddr_un *address)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	ck_assert_uint_lt(strlen(path), sizeof(address->sun_path));
	memcpy(address->sun_path, path, strlen(path));
}

static inline int host_listen(uint32_t port, int backlog)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	char path[108];

	snprintf(path, sizeof(path), "%s_%u", uds_path, port);
	address_of(path, &address);
	ck_assert_int_eq(bind(fd, (void *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

static inline int host_connect(const char *line)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;

	address_of(uds_path, &address);
	ck_assert_int_eq(connect(fd, (void *)&address, sizeof(address)), 0);
	ck_assert_int_eq(send(fd, line, strlen(line), MSG_NOSIGNAL), strlen(line));
	return fd;
}

/* Reads @len bytes, fewer at the end of the stream or at an error. */
static inline size_t host_read(int fd, void *buffer, size_t len)
{
	int64_t end = clock_now_ns() + 10 * NSEC_PER_SEC;
	size_t have = 0;

	while (have < len && clock_now_ns() < end) {
		ssize_t n = recv(fd, (char *)buffer + have, len - have, MSG_DONTWAIT);

		if (n > 0) {
			have += n;
		} else if (!n || errno != EAGAIN) {
			return have;
		} else {
			run_until(NULL, 1);
		}
	}
	return have;
}

static inline void expect_bytes(int fd, const char *text)
{
	char buffer[256];

	ck_assert_uint_eq(host_read(fd, buffer, strlen(text)), strlen(text));
	ck_assert_mem_eq(buffer, text, strlen(text));
}

/* The stream is over: no byte, no silence either. */
static inline void expect_end(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t end = clock_now_ns() + 10 * NSEC_PER_SEC;
	char byte;

	while (!poll(&p, 1, 0) && clock_now_ns() < end)
		run_until(NULL, 1);
	ck_assert_int_ne(p.revents, 0);
	ck_assert_int_le(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

/* --- Connections --- */

/* From the host to @guest_port of the guest, accepted; *host_port is what the guest was told. */
static inline int open_from_host(uint32_t guest_port, uint32_t *host_port)
{
	struct packet *packet;
	char line[32];
	int fd;

	snprintf(line, sizeof(line), "CONNECT %u\n", guest_port);
	fd = host_connect(line);
	packet = expect(VSOCK_OP_REQUEST);
	ck_assert_uint_eq(packet->guest_port, guest_port);
	*host_port = packet->host_port;
	guest_says(VSOCK_OP_RESPONSE, guest_port, *host_port, 0);
	snprintf(line, sizeof(line), "OK %u\n", *host_port);
	expect_bytes(fd, line);
	return fd;
}

/* From @guest_port of the guest to whoever listens with @listener as @host_port. */
static inline int open_from_guest(int listener, uint32_t guest_port, uint32_t host_port)
{
	struct packet *packet;
	int fd;

	guest_says(VSOCK_OP_REQUEST, guest_port, host_port, 0);
	packet = expect(VSOCK_OP_RESPONSE);
	ck_assert_uint_eq(packet->guest_port, guest_port);
	ck_assert_uint_eq(packet->host_port, host_port);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* --- The device --- */

static inline void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_vsock_mmio_class,
							   &vhost_vsock_mmio_class, NULL };

	snprintf(folder, sizeof(folder), "./unit-vsock-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(uds_path, sizeof(uds_path), "%s/v", folder);
	rig_open(classes);
	memset(queues, 0, sizeof(queues));
}

static inline void teardown(void)
{
	char command[160];

	rig_close();
	ck_assert_int_eq(access(uds_path, F_OK), -1); /* the device removes its socket */
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static inline void create(void)
{
	char text[256];
	const char *error;

	snprintf(text, sizeof(text), "virtio-vsock-device,id=v0,guest-cid=%u,uds-path=%s", CID, uds_path);
	error = rig_create(text);
	ck_assert_msg(!error, "%s", error);
}

static inline void start_with(unsigned int buffers)
{
	create();
	start_driver(0);
	post_many(buffers);
}

static inline void start(void)
{
	start_with(RX_BUFFERS);
}

#endif
