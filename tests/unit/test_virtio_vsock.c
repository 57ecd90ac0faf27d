// SPDX-License-Identifier: Apache-2.0
/*
 * The user-space vsock from packets in the guest's queues to unix sockets: connections both ways, credit, half close, and
 * that nothing is lost at the end. Guests and host programs that misbehave are in test_virtio_vsock_hostile.c.
 */
#include <fcntl.h>
#include <time.h>

#include "vsock_driver.h"

/* --- Options --- */

START_TEST(bad_options)
{
	char path[256], text[400];
	static const struct { const char *options, *part; } bad[] = {
		{ "guest-cid=52", "'uds-path' is required" },
		{ "uds-path=/tmp/v", "'guest-cid' is required" },
		{ "uds-path=/tmp/v,guest-cid=2", "guest-cid=2 is out of range [3, 4294967294]" },
		{ "uds-path=/tmp/v,guest-cid=4294967295", "[3, 4294967294]" },
		{ "uds-path=/tmp/v,guest-cid=x", "not a number" },
		{ "uds-path=,guest-cid=3", "uds-path" },
		{ "uds-path=/absent/v,guest-cid=3", "/absent/v" },
		{ "uds-path=/tmp,guest-cid=3", "not a socket" },
		{ "uds-path=/tmp/v,guest-cid=3,iothread=nobody", "nobody" },
		{ "uds-path=/tmp/v,guest-cid=3,addr=1", "addr" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *error;

		snprintf(text, sizeof(text), "virtio-vsock-device,%s", bad[i].options);
		error = rig_create(text);
		ck_assert_msg(error && strstr(error, bad[i].part), "%s: %s", text, error ? error : "made");
		ck_assert(!rig.slot_taken);
	}
	memset(path, 'x', sizeof(path));
	path[97] = '\0';
	snprintf(text, sizeof(text), "virtio-vsock-device,guest-cid=3,uds-path=%s", path);
	ck_assert_ptr_nonnull(rig_create(text));
	ck_assert_ptr_nonnull(strstr(rig_create(text), "96"));
}
END_TEST

START_TEST(socket_file)
{
	struct sockaddr_un address;
	struct stat st;
	char text[256];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* Somebody listens there. */
	address_of(uds_path, &address);
	ck_assert_int_eq(bind(fd, (void *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	snprintf(text, sizeof(text), "virtio-vsock-device,guest-cid=3,uds-path=%s", uds_path);
	ck_assert_ptr_nonnull(rig_create(text));
	ck_assert_ptr_nonnull(strstr(rig_create(text), "somebody listens"));
	/* Nobody does any more. */
	close(fd);
	create();
	ck_assert_int_eq(stat(uds_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

START_TEST(one_a_vm)
{
	const char *error;
	char text[256];

	create();
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text), i ? "vhost-vsock-device,guest-cid=4" :
			 "virtio-vsock-device,guest-cid=4,uds-path=%s2", uds_path);
		rig.slot_taken = false; /* there is a second slot */
		error = rig_create(text);
		ck_assert_msg(error && strstr(error, "'v0' (virtio-vsock-device)"), "%s", error ? error : "made");
		ck_assert_ptr_nonnull(strstr(error, i ? "vhost-vsock-device" : "-device virtio-vsock-device"));
		rig.slot_taken = true;
	}
	snprintf(text, sizeof(text), "%s2", uds_path);
	ck_assert_int_eq(access(text, F_OK), -1);
}
END_TEST

START_TEST(bad_options_of_vhost)
{
	static const struct { const char *options, *part; } bad[] = {
		{ "vhostfd=0", "'guest-cid' is required" },
		{ "guest-cid=2", "guest-cid=2 is out of range [3, 4294967294]" },
		{ "guest-cid=3,vhostfd=999", "vhostfd=999 is neither an open descriptor nor the name of one" },
		{ "guest-cid=3,vhostfd=nobody", "vhostfd=nobody is neither" },
		{ "guest-cid=3,vhostfd=-1", "vhostfd=-1 is neither" },
		{ "guest-cid=3,vhostfd=0", "0 is not usable as vhost-vsock" },
		{ "guest-cid=3,iothread=io0", "iothread" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		char text[128];
		const char *error;

		snprintf(text, sizeof(text), "vhost-vsock-device,%s", bad[i].options);
		error = rig_create(text);
		ck_assert_msg(error && strstr(error, bad[i].part), "%s: %s", text, error ? error : "made");
		ck_assert(!rig.slot_taken);
	}
	/* A descriptor given by its number stays its owner's. */
	ck_assert_int_ge(fcntl(0, F_GETFD), 0);
}
END_TEST

START_TEST(registers)
{
	create();
	ck_assert_uint_eq(rd(R_DEVICE_ID), 19);
	ck_assert_uint_eq(offered() & 0xffffff, 1);
	ck_assert_uint_eq(rd(R_CONFIG), CID);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 0);
}
END_TEST

/* --- Connections --- */

/* Finding a port and all the rest costs no time worth mentioning. */
START_TEST(first_connection_is_quick)
{
	struct timespec begin, end;

	start();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	open_from_host(1, &(uint32_t){ 0 });
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	ck_assert_int_lt((end.tv_sec - begin.tv_sec) * NSEC_PER_SEC + end.tv_nsec - begin.tv_nsec,
			 100 * NSEC_PER_MSEC);
}
END_TEST

START_TEST(from_host)
{
	struct packet *packet;
	uint32_t port;
	int fd;

	start();
	fd = host_connect("CONNECT 1234\n");
	packet = expect(VSOCK_OP_REQUEST);
	ck_assert_uint_eq(packet->src_cid, 2);
	ck_assert_uint_eq(packet->dst_cid, CID);
	ck_assert_uint_eq(packet->guest_port, 1234);
	ck_assert_uint_eq(packet->type, 1);
	ck_assert_uint_eq(packet->buf_alloc, VSOCK_BUFFER_LARGE);
	ck_assert_uint_eq(packet->fwd_cnt, 0);
	close(fd);
	packet = expect(VSOCK_OP_RST);
	fd = open_from_host(1234, &port);
	ck_assert_int_eq(send(fd, "to the guest", 12, 0), 12);
	packet = expect(VSOCK_OP_RW);
	ck_assert_uint_eq(packet->len, 12);
	ck_assert_mem_eq(packet->data, "to the guest", 12);
	guest_sends(1234, port, "to the host", 11);
	expect_bytes(fd, "to the host");
	/* No listener in the guest. */
	fd = host_connect("CONNECT 99\n");
	packet = expect(VSOCK_OP_REQUEST);
	guest_says(VSOCK_OP_RST, 99, packet->host_port, 0);
	expect_end(fd);
}
END_TEST

START_TEST(from_guest)
{
	struct packet *packet;
	int listener, fd;

	start();
	listener = host_listen(5000, 8);
	fd = open_from_guest(listener, 1025, 5000);
	guest_sends(1025, 5000, "hello", 5);
	expect_bytes(fd, "hello");
	ck_assert_int_eq(send(fd, "answer", 6, 0), 6);
	packet = expect(VSOCK_OP_RW);
	ck_assert_mem_eq(packet->data, "answer", 6);
	ck_assert_uint_eq(packet->fwd_cnt, 5);
	/* Nobody listens at 5001. */
	guest_says(VSOCK_OP_REQUEST, 1026, 5001, 0);
	packet = expect(VSOCK_OP_RST);
	ck_assert_uint_eq(packet->guest_port, 1026);
	ck_assert_uint_eq(packet->host_port, 5001);
	/* The port is free again. */
	guest_says(VSOCK_OP_REQUEST, 1026, 5000, 0);
	expect(VSOCK_OP_RESPONSE);
}
END_TEST

START_TEST(first_line)
{
	static const char *const bad[] = { "connect 5\n", "CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT -1\n",
					   "CONNECT 4294967295\n", "CONNECT 99999999999\n", "CONNECT 0x10\n",
					   "CONNECT 1 2\n", "\n", "CONNECT 111111111111111111111111111111",
					   "CONNECT  5\n" };
	struct packet *packet;
	int fd;

	start();
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = host_connect(bad[i]);
		expect_end(fd);
		close(fd);
	}
	expect_nothing();
	/* In pieces, and with bytes of the stream behind it. */
	fd = host_connect("CONN");
	expect_nothing();
	ck_assert_int_eq(send(fd, "ECT 7\r", 6, 0), 6);
	expect_nothing();
	ck_assert_int_eq(send(fd, "\nearly", 6, 0), 6);
	packet = expect(VSOCK_OP_REQUEST);
	ck_assert_uint_eq(packet->guest_port, 7);
	guest_says(VSOCK_OP_RESPONSE, 7, packet->host_port, 0);
	packet = expect(VSOCK_OP_RW);
	ck_assert_uint_eq(packet->len, 5);
	ck_assert_mem_eq(packet->data, "early", 5);
	/* One that says nothing holds up nobody. */
	host_connect("");
	open_from_host(8, &(uint32_t){ 0 });
}
END_TEST

/* --- Credit --- */

START_TEST(credit_is_given_back)
{
	static uint8_t bytes[VSOCK_BUFFER_LARGE / 4];
	struct packet *packet;
	uint32_t port;
	int fd;

	start();
	fd = open_from_host(1, &port);
	for (unsigned int i = 1; i <= 40; i++) {
		guest_sends(1, port, bytes, sizeof(bytes));
		ck_assert_uint_eq(host_read(fd, bytes, sizeof(bytes)), sizeof(bytes));
		packet = expect(VSOCK_OP_CREDIT_UPDATE);
		ck_assert_uint_eq(packet->fwd_cnt, i * sizeof(bytes));
		ck_assert_uint_eq(packet->buf_alloc, VSOCK_BUFFER_LARGE);
	}
	guest_sends(1, port, "x", 1);
	guest_says(VSOCK_OP_CREDIT_REQUEST, 1, port, 0);
	packet = expect(VSOCK_OP_CREDIT_UPDATE);
	ck_assert_uint_eq(packet->fwd_cnt, 40 * sizeof(bytes) + 1);
}
END_TEST

START_TEST(credit_of_the_guest)
{
	uint8_t bytes[1000];
	struct packet *packet;
	uint32_t port;
	int fd;

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = i * 7;
	start();
	window = 100;
	fd = open_from_host(1, &port);
	ck_assert_int_eq(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (unsigned int i = 0; i < 10; i++) {
		packet = expect(VSOCK_OP_RW);
		ck_assert_uint_eq(packet->len, 100);
		ck_assert_mem_eq(packet->data, bytes + i * 100, 100);
		expect(VSOCK_OP_CREDIT_REQUEST);
		expect_nothing();
		/* An answer that gives nothing is not asked about again. */
		consumed -= 100;
		guest_says(VSOCK_OP_CREDIT_UPDATE, 1, port, 0);
		expect_nothing();
		consumed += 100;
		guest_says(VSOCK_OP_CREDIT_UPDATE, 1, port, 0);
	}
	expect_nothing();
}
END_TEST

/* --- The end --- */

START_TEST(guest_half_closes)
{
	struct packet *packet;
	uint32_t port;
	int fd;

	start();
	fd = open_from_host(1, &port);
	guest_sends(1, port, "question", 8);
	guest_says(VSOCK_OP_SHUTDOWN, 1, port, VSOCK_SHUTDOWN_SEND);
	expect_bytes(fd, "question");
	expect_end(fd);
	/* The other way is open. */
	ck_assert_int_eq(send(fd, "answer", 6, MSG_NOSIGNAL), 6);
	packet = expect(VSOCK_OP_RW);
	ck_assert_mem_eq(packet->data, "answer", 6);
	close(fd);
	do
		packet = expect(VSOCK_OP_SHUTDOWN);
	while (packet->flags != VSOCK_SHUTDOWN_BOTH);
	guest_says(VSOCK_OP_RST, 1, port, 0);
	expect_nothing();
}
END_TEST

START_TEST(guest_listens_no_more)
{
	struct packet *packet;
	uint32_t port;
	int fd;

	start();
	fd = open_from_host(1, &port);
	guest_says(VSOCK_OP_SHUTDOWN, 1, port, VSOCK_SHUTDOWN_RCV);
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	guest_sends(1, port, "still", 5);
	expect_bytes(fd, "still");
	guest_says(VSOCK_OP_SHUTDOWN, 1, port, VSOCK_SHUTDOWN_SEND);
	packet = expect(VSOCK_OP_RST);
	ck_assert_uint_eq(packet->host_port, port);
	expect_end(fd);
}
END_TEST

START_TEST(host_half_closes)
{
	struct packet *packet;
	uint32_t port;
	int fd;

	start();
	fd = open_from_host(1, &port);
	ck_assert_int_eq(send(fd, "question", 8, 0), 8);
	shutdown(fd, SHUT_WR);
	packet = expect(VSOCK_OP_RW);
	ck_assert_mem_eq(packet->data, "question", 8);
	packet = expect(VSOCK_OP_SHUTDOWN);
	ck_assert_uint_eq(packet->flags, VSOCK_SHUTDOWN_SEND);
	guest_sends(1, port, "answer", 6);
	expect_bytes(fd, "answer");
	guest_says(VSOCK_OP_SHUTDOWN, 1, port, VSOCK_SHUTDOWN_BOTH);
	expect(VSOCK_OP_RST);
	expect_end(fd);
}
END_TEST

START_TEST(host_closes)
{
	static uint8_t bytes[80000], got[80000];
	struct packet *packet;
	uint32_t port, have = 0;
	int fd;

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = i * 13;
	start();
	fd = open_from_host(1, &port);
	ck_assert_int_eq(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	close(fd);
	/* All bytes come before the word that there will be no more. */
	for (;;) {
		packet = next_packet(true);
		if (packet->op == VSOCK_OP_RW) {
			memcpy(got + have, packet->data, packet->len);
			have += packet->len;
			continue;
		}
		ck_assert_uint_eq(packet->op, VSOCK_OP_SHUTDOWN);
		if (packet->flags & VSOCK_SHUTDOWN_SEND)
			break;
	}
	ck_assert_uint_eq(have, sizeof(bytes));
	ck_assert_mem_eq(got, bytes, sizeof(bytes));
	ck_assert_uint_eq(packet->flags, VSOCK_SHUTDOWN_BOTH);
	/* What the guest sends now is thrown away, with its credit given back. */
	guest_sends(1, port, bytes, VSOCK_BUFFER_LARGE / 4);
	ck_assert_uint_eq(expect(VSOCK_OP_CREDIT_UPDATE)->fwd_cnt, VSOCK_BUFFER_LARGE / 4);
	guest_says(VSOCK_OP_SHUTDOWN, 1, port, VSOCK_SHUTDOWN_BOTH);
	expect(VSOCK_OP_RST);
}
END_TEST

/* Sends until the host's socket and the buffer of the device are full; how much that was. */
static size_t fill_up(uint32_t guest_port, uint32_t host_port)
{
	static uint8_t bytes[4096];
	uint32_t told = 0, sent = 0;

	for (;;) {
		while (sent - told <= VSOCK_BUFFER_LARGE - sizeof(bytes)) {
			for (unsigned int i = 0; i < sizeof(bytes); i++)
				bytes[i] = (sent + i) * 31 >> 3;
			guest_sends(guest_port, host_port, bytes, sizeof(bytes));
			sent += sizeof(bytes);
		}
		use(VSOCK_QUEUE_RX);
		if (!run_until(drvq_used, 30))
			return sent;
		told = expect(VSOCK_OP_CREDIT_UPDATE)->fwd_cnt;
	}
}

static void check_filled(int fd, size_t len)
{
	uint8_t *got = malloc(len);

	ck_assert_uint_eq(host_read(fd, got, len), len);
	for (size_t i = 0; i < len; i++)
		ck_assert_uint_eq(got[i], (uint8_t)((uint32_t)i * 31 >> 3));
	free(got);
	expect_end(fd);
}

START_TEST(slow_reader)
{
	uint32_t slow_port, port;
	int slow, fd;
	size_t len;

	start();
	slow = open_from_host(1, &slow_port);
	len = fill_up(1, slow_port);
	ck_assert_uint_ge(len, VSOCK_BUFFER_LARGE);
	/* Others go on. */
	fd = open_from_host(2, &port);
	guest_sends(2, port, "quick", 5);
	expect_bytes(fd, "quick");
	/* The guest closes: no RST before all has arrived. */
	guest_says(VSOCK_OP_SHUTDOWN, 1, slow_port, VSOCK_SHUTDOWN_BOTH);
	expect_nothing();
	check_filled(slow, len);
	ck_assert_uint_eq(expect(VSOCK_OP_RST)->host_port, slow_port);
}
END_TEST

/* The guest drops the connection, or is reset itself, with bytes under way. */
START_TEST(nothing_is_lost)
{
	uint32_t port;
	size_t len;
	int fd;

	start();
	fd = open_from_host(1, &port);
	len = fill_up(1, port);
	guest_says(VSOCK_OP_RST, 1, port, 0);
	check_filled(fd, len);
	close(fd);
	fd = open_from_host(1, &port);
	len = fill_up(1, port);
	wr(R_STATUS, 0);
	check_filled(fd, len);
	close(fd);
	/* The host gives up first. */
	start_driver(0);
	post_many(RX_BUFFERS);
	fd = open_from_host(1, &port);
	fill_up(1, port);
	guest_says(VSOCK_OP_RST, 1, port, 0);
	close(fd);
	fd = open_from_host(1, &port);
}
END_TEST

/* --- Many --- */

#define MANY 300

START_TEST(hundreds)
{
	static int fds[MANY];
	static uint32_t ports[MANY];
	bool seen[MANY] = { false };
	int listener;

	start();
	listener = host_listen(5000, 8);
	for (unsigned int i = 0; i < MANY; i++)
		fds[i] = i % 2 ? open_from_host(i, &ports[i]) : open_from_guest(listener, i, 5000);
	for (unsigned int i = 0; i < MANY; i++) {
		char text[16];

		snprintf(text, sizeof(text), "number %u", i);
		guest_sends(i, i % 2 ? ports[i] : 5000, text, strlen(text));
		expect_bytes(fds[i], text);
		ck_assert_int_eq(send(fds[i], &i, sizeof(i), 0), sizeof(i));
	}
	for (unsigned int i = 0; i < MANY; i++) {
		struct packet *packet = expect(VSOCK_OP_RW);
		unsigned int n;

		memcpy(&n, packet->data, sizeof(n));
		ck_assert_uint_lt(n, MANY);
		ck_assert_uint_eq(packet->guest_port, n);
		ck_assert(!seen[n]);
		seen[n] = true;
	}
	/* All end at once. */
	for (unsigned int i = 0; i < MANY; i++)
		close(fds[i]);
	for (unsigned int ended = 0; ended < MANY;) {
		struct packet *packet = expect(VSOCK_OP_SHUTDOWN);

		ended += packet->flags == VSOCK_SHUTDOWN_BOTH;
	}
	for (unsigned int i = 0; i < MANY; i++)
		guest_says(VSOCK_OP_RST, i, i % 2 ? ports[i] : 5000, 0);
	expect_nothing();
}
END_TEST

/* --- Reset and pause --- */

START_TEST(reset_with_connections)
{
	int fd, pending, hello;
	uint32_t port;

	start();
	fd = open_from_host(1, &port);
	hello = host_connect("CONN");
	pending = host_connect("CONNECT 2\n");
	expect(VSOCK_OP_REQUEST);
	ck_assert_int_eq(send(fd, "never taken", 11, 0), 11);
	start_driver(0);
	expect_end(fd);
	expect_end(hello);
	expect_end(pending);
	post_many(RX_BUFFERS);
	/* The old ones are unknown now. */
	guest_sends(1, port, "x", 1);
	expect(VSOCK_OP_RST);
	fd = open_from_host(1, &port);
	guest_sends(1, port, "again", 5);
	expect_bytes(fd, "again");
}
END_TEST

START_TEST(stop_and_go_on)
{
	struct packet *packet;
	uint32_t port;
	int fd, other;

	start();
	fd = open_from_host(1, &port);
	devices_quiesce(&rig.platform);
	ck_assert_int_eq(send(fd, "meanwhile", 9, 0), 9);
	other = host_connect("CONNECT 3\n");
	put_header(VSOCK_OP_RW, 1, port, 0, 4);
	memcpy(rig.ram->host + TX_DATA, "late", 4);
	push_packet(4);
	ck_assert(!run_until(drvq_used, 20));
	expect_nothing();
	devices_resume(&rig.platform);
	expect_bytes(fd, "late");
	packet = next_packet(true);
	ck_assert(packet->op == VSOCK_OP_RW || packet->op == VSOCK_OP_REQUEST);
	packet = next_packet(true);
	ck_assert(packet->op == VSOCK_OP_RW || packet->op == VSOCK_OP_REQUEST);
	close(other);
}
END_TEST

START_TEST(transport_reset)
{
	uint32_t port;
	int fd;

	create();
	start_driver(VIRTIO_F_RING_RESET);
	post_many(RX_BUFFERS);
	fd = open_from_host(1, &port);
	/* The driver throws one queue away, and with it nobody knows which bytes. */
	wr(R_QUEUE_SEL, VSOCK_QUEUE_RX);
	wr(R_QUEUE_RESET, 1);
	expect_end(fd);
	use(VSOCK_QUEUE_EVENT);
	memset(rig.ram->host + RX_BASE, 0xff, 8);
	drvq_desc(0, RX_BASE, 3, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, 1);
	drvq_desc(1, RX_BASE + 3, 5, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, VSOCK_QUEUE_EVENT);
	ck_assert_uint_eq(drvq_wait(NULL), 4);
	ck_assert_mem_eq(rig.ram->host + RX_BASE, "\0\0\0\0\377", 5);
	use(VSOCK_QUEUE_RX);
	drvq_open(VSOCK_QUEUE_RX, 64);
	post_many(8);
	open_from_host(1, &port);
}
END_TEST

UNIT_SUITE_WITH(vsock_suite, "virtio_vsock", setup, teardown, bad_options, socket_file, one_a_vm,
		bad_options_of_vhost, registers, first_connection_is_quick, from_host, from_guest,
		first_line, credit_is_given_back, credit_of_the_guest, guest_half_closes,
		guest_listens_no_more, host_half_closes, host_closes, slow_reader, nothing_is_lost,
		hundreds, reset_with_connections, stop_and_go_on, transport_reset)

UNIT_MAIN(vsock_suite)
