// SPDX-License-Identifier: Apache-2.0
/*
 * The user-space vsock against those who break its rules: headers split anywhere, lengths and credit that lie, packets out
 * of place, more connections and answers than there may be.
 */
#include "vsock_driver.h"

START_TEST(split_header)
{
	uint32_t port;
	int fd;

	start_with(1);
	fd = open_from_host(70, &port);
	for (unsigned int split = 1; split <= HEADER_SIZE; split++) {
		char text[8];
		unsigned int n = 0;

		/* Header and payload in one descriptor up to @split, the rest in another. */
		snprintf(text, sizeof(text), "%05u", split);
		put_header(VSOCK_OP_RW, 70, port, 0, 5);
		memcpy(rig.ram->host + TX_HEADER + HEADER_SIZE, text, 5);
		use(VSOCK_QUEUE_TX);
		drvq_desc(0, TX_HEADER, split, VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, TX_HEADER + split, HEADER_SIZE + 5 - split, 0, 0);
		drvq_publish(0);
		wr(R_NOTIFY, VSOCK_QUEUE_TX);
		drvq_wait(NULL);
		expect_bytes(fd, text);
		/* A descriptor for each byte up to @split. */
		use(VSOCK_QUEUE_TX);
		for (n = 0; n < split; n++)
			drvq_desc(n, TX_HEADER + n, 1, VIRTQ_DESC_F_NEXT, n + 1);
		drvq_desc(n, TX_HEADER + split, HEADER_SIZE + 5 - split, 0, 0);
		drvq_publish(0);
		wr(R_NOTIFY, VSOCK_QUEUE_TX);
		drvq_wait(NULL);
		expect_bytes(fd, text);
	}
	ck_assert(!rig_broken());
}
END_TEST

START_TEST(split_receive_header)
{
	struct packet packet;
	uint32_t port, used;
	int fd;

	start_with(1);
	fd = open_from_host(70, &port);
	/* The buffer that open_from_host() posted takes the first bytes. */
	ck_assert_int_eq(send(fd, "first", 5, 0), 5);
	ck_assert_uint_eq(next_packet(false)->len, 5);
	for (unsigned int split = 1; split <= HEADER_SIZE; split++) {
		uint8_t *at = rig.ram->host + RX_BASE;
		unsigned int n;

		memset(at, 0xee, 256);
		use(VSOCK_QUEUE_RX);
		for (n = 0; n < split; n++)
			drvq_desc(n, RX_BASE + n, 1, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE, n + 1);
		drvq_desc(n, RX_BASE + split, 8 + HEADER_SIZE - split, VIRTQ_DESC_F_WRITE, 0);
		drvq_publish(0);
		wr(R_NOTIFY, VSOCK_QUEUE_RX);
		ck_assert_int_eq(send(fd, "12345", 5, 0), 5);
		used = drvq_wait(NULL);
		decode(at, used, &packet);
		ck_assert_uint_eq(packet.op, VSOCK_OP_RW);
		ck_assert_uint_eq(packet.host_port, port);
		ck_assert_mem_eq(packet.data, "12345", 5);
		ck_assert_uint_eq(at[HEADER_SIZE + 5], 0xee);
	}
}
END_TEST

START_TEST(chain_error)
{
	static const struct { unsigned int queue; uint32_t len; uint16_t flags; } bad[] = {
		{ VSOCK_QUEUE_TX, HEADER_SIZE - 1, 0 },
		{ VSOCK_QUEUE_TX, 1, 0 },
		{ VSOCK_QUEUE_TX, HEADER_SIZE, VIRTQ_DESC_F_WRITE },
		{ VSOCK_QUEUE_TX, 0, 0 },
		{ VSOCK_QUEUE_RX, HEADER_SIZE, VIRTQ_DESC_F_WRITE },
		{ VSOCK_QUEUE_RX, 1, VIRTQ_DESC_F_WRITE },
		{ VSOCK_QUEUE_RX, RX_SIZE, 0 },
		{ VSOCK_QUEUE_RX, UINT32_MAX, VIRTQ_DESC_F_WRITE },
	};

	create();
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		start_driver(0);
		use(bad[i].queue);
		put_header(VSOCK_OP_RW, 1, 2, 0, 0);
		drvq_desc(0, TX_HEADER, bad[i].len, bad[i].flags, 0);
		drvq_publish(0);
		wr(R_NOTIFY, bad[i].queue);
		if (bad[i].queue == VSOCK_QUEUE_RX) /* looked at when there is something for it */
			host_connect("CONNECT 1\n");
		ck_assert_msg(run_until(rig_broken, 5000), "case %u", i);
	}
	start_driver(0);
	post_many(8);
	open_from_host(1, &(uint32_t){ 0 });
}
END_TEST

START_TEST(packets_without_a_connection)
{
	static const uint16_t ops[] = { 0, VSOCK_OP_RESPONSE, VSOCK_OP_SHUTDOWN, VSOCK_OP_RW,
					VSOCK_OP_CREDIT_UPDATE, VSOCK_OP_CREDIT_REQUEST, 8, 0xffff };
	struct packet *packet;

	start();
	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++) {
		guest_says(ops[i], 10 + i, 20, 0);
		packet = expect(VSOCK_OP_RST);
		ck_assert_uint_eq(packet->guest_port, 10 + i);
		ck_assert_uint_eq(packet->host_port, 20);
		ck_assert_uint_eq(packet->src_cid, 2);
	}
	guest_says(VSOCK_OP_RST, 10, 20, 0);
	expect_nothing();
	/* Another type: answered in kind. */
	put_header(VSOCK_OP_REQUEST, 1, 2, 0, 0);
	tx_header()->type = cpu_to_le16(2);
	push_and_wait(0);
	packet = expect(VSOCK_OP_RST);
	ck_assert_uint_eq(packet->type, 2);
	/* To somebody else: refused in his name. */
	put_header(VSOCK_OP_REQUEST, 1, 2, 0, 0);
	tx_header()->dst_cid = cpu_to_le64(0x100000002);
	push_and_wait(0);
	packet = expect(VSOCK_OP_RST);
	ck_assert_uint_eq(packet->src_cid, 0x100000002);
	/* From somebody else: dropped. */
	put_header(VSOCK_OP_REQUEST, 1, 2, 0, 0);
	tx_header()->src_cid = cpu_to_le64(CID + 0x100000000);
	push_and_wait(0);
	expect_nothing();
	ck_assert(!rig_broken());
}
END_TEST

/* Each lie ends the connection it was told on, and no other. */
START_TEST(lies)
{
	uint32_t good_port, port;
	int good, fd;

	start();
	good = open_from_host(1, &good_port);
	for (unsigned int i = 0; i < 9; i++) {
		struct packet *packet;
		uint32_t len = 0;

		fd = open_from_host(2, &port);
		put_header(VSOCK_OP_RW, 2, port, 0, 0);
		switch (i) {
		case 0: /* longer than its buffers */
			tx_header()->len = cpu_to_le32(9);
			len = 8;
			break;
		case 1:
			tx_header()->len = cpu_to_le32(UINT32_MAX);
			len = 8;
			break;
		case 2: /* longer than the credit */
			len = VSOCK_BUFFER_LARGE + 1;
			tx_header()->len = cpu_to_le32(len);
			break;
		case 3: /* consumed what was not sent */
			tx_header()->op = cpu_to_le16(VSOCK_OP_CREDIT_UPDATE);
			tx_header()->fwd_cnt = cpu_to_le32(1);
			break;
		case 4:
			tx_header()->fwd_cnt = cpu_to_le32(UINT32_MAX);
			break;
		case 5:
			tx_header()->op = cpu_to_le16(VSOCK_OP_REQUEST);
			break;
		case 6:
			tx_header()->op = cpu_to_le16(VSOCK_OP_RESPONSE);
			break;
		case 7:
			tx_header()->op = cpu_to_le16(0);
			break;
		case 8:
			tx_header()->op = cpu_to_le16(8);
			break;
		}
		push_and_wait(len);
		packet = expect(VSOCK_OP_RST);
		ck_assert_uint_eq(packet->guest_port, 2);
		ck_assert_uint_eq(packet->host_port, port);
		expect_end(fd);
		close(fd);
		guest_sends(1, good_port, "fine", 4);
		expect_bytes(good, "fine");
	}
	/* Bytes after the end of the stream. */
	fd = open_from_host(2, &port);
	guest_says(VSOCK_OP_SHUTDOWN, 2, port, VSOCK_SHUTDOWN_SEND);
	guest_sends(2, port, "x", 1);
	expect(VSOCK_OP_RST);
	expect_end(fd);
	ck_assert(!rig_broken());
}
END_TEST

START_TEST(answer_before_the_request)
{
	struct packet *packet;
	int fd;

	start_with(0);
	fd = host_connect("CONNECT 5\n");
	run_until(NULL, 20);
	/* The first port given out, which the guest cannot know yet. */
	guest_says(VSOCK_OP_RESPONSE, 5, 0x40000000, 0);
	post_many(4);
	packet = expect(VSOCK_OP_RST);
	ck_assert_uint_eq(packet->guest_port, 5);
	expect_end(fd);
}
END_TEST

START_TEST(credit_of_the_device)
{
	static uint8_t bytes[VSOCK_BUFFER_LARGE];
	int listener, fd;

	/* One buffer, for the response: the guest hears of no bytes passed on. */
	start_with(1);
	listener = host_listen(5000, 8);
	guest_says(VSOCK_OP_REQUEST, 1025, 5000, 0);
	ck_assert_uint_eq(next_packet(false)->op, VSOCK_OP_RESPONSE);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	memset(bytes, 'a', sizeof(bytes));
	guest_sends(1025, 5000, bytes, sizeof(bytes));
	ck_assert_uint_eq(host_read(fd, bytes, sizeof(bytes)), sizeof(bytes));
	run_until(NULL, 5);
	/* All was passed on, but it does not know that. */
	guest_sends(1025, 5000, "b", 1);
	post(0);
	expect(VSOCK_OP_RST);
	expect_end(fd);
}
END_TEST

/* Few connections have large buffers, and the others small ones. */
START_TEST(credit_of_many)
{
	struct packet *packet = NULL;
	char line[32];
	int fd = -1;

	start();
	for (uint32_t i = 0; i <= VSOCK_LARGE_BUFFERS; i++) {
		snprintf(line, sizeof(line), "CONNECT %u\n", i);
		fd = host_connect(line);
		packet = expect(VSOCK_OP_REQUEST);
		ck_assert_uint_eq(packet->guest_port, i);
		ck_assert_uint_eq(packet->buf_alloc, i < VSOCK_LARGE_BUFFERS ? VSOCK_BUFFER_LARGE : VSOCK_BUFFER_SMALL);
	}
	guest_says(VSOCK_OP_RESPONSE, packet->guest_port, packet->host_port, 0);
	put_header(VSOCK_OP_RW, packet->guest_port, packet->host_port, 0, 0);
	tx_header()->len = cpu_to_le32(VSOCK_BUFFER_SMALL + 1);
	push_and_wait(VSOCK_BUFFER_SMALL + 1);
	ck_assert_uint_eq(expect(VSOCK_OP_RST)->guest_port, VSOCK_LARGE_BUFFERS);
	close(fd);
}
END_TEST

/* From the ports 0 to @count - 1, a multiple of 64, a ring's worth at a time: none has given up when the last one comes. */
static void request_many(unsigned int count, uint32_t host_port)
{
	for (unsigned int i = 0; i < count; i++) {
		unsigned int slot = i % 64;

		put_header(VSOCK_OP_REQUEST, i, host_port, 0, 0);
		memcpy(rig.ram->host + TX_DATA + slot * HEADER_SIZE, tx_header(), HEADER_SIZE);
		use(VSOCK_QUEUE_TX);
		drvq_desc(slot, TX_DATA + slot * HEADER_SIZE, HEADER_SIZE, 0, 0);
		drvq_publish(slot);
		if (slot < 63)
			continue;
		wr(R_NOTIFY, VSOCK_QUEUE_TX);
		for (unsigned int n = 0; n < 64; n++)
			ck_assert_uint_eq(drvq_wait(NULL), 0);
	}
}

START_TEST(limit)
{
	struct sockaddr_un address;
	struct packet *packet;
	char path[108];
	int listener, fd, waiting;

	start();
	/* A backlog that is full: the guest's requests wait, without a descriptor each. */
	listener = host_listen(5000, 0);
	snprintf(path, sizeof(path), "%s_5000", uds_path);
	address_of(path, &address);
	waiting = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(waiting, (void *)&address, sizeof(address)), 0);
	request_many(VSOCK_CONNECTIONS_MAX, 5000);
	guest_says(VSOCK_OP_REQUEST, VSOCK_CONNECTIONS_MAX, 5000, 0);
	packet = expect(VSOCK_OP_RST);
	ck_assert_uint_eq(packet->guest_port, VSOCK_CONNECTIONS_MAX);
	/* The host's programs wait, too, until one has ended. */
	fd = host_connect("CONNECT 5\n");
	expect_nothing();
	guest_says(VSOCK_OP_RST, 17, 5000, 0);
	packet = expect(VSOCK_OP_REQUEST);
	ck_assert_uint_eq(packet->guest_port, 5);
	/* Somebody accepts: one of those that wait gets through. Others may have given up, on a slow machine. */
	ck_assert_int_ge(accept(listener, NULL, NULL), 0);
	guest_says(VSOCK_OP_REQUEST, VSOCK_CONNECTIONS_MAX + 1, 5000, 0);
	do
		packet = next_packet(true);
	while (packet->op == VSOCK_OP_RST);
	ck_assert_uint_eq(packet->op, VSOCK_OP_RESPONSE);
	close(fd);
}
END_TEST

/* Refusals wait for the guest's buffers, in a bounded number; the guest's packets then wait as well. */
START_TEST(no_buffers)
{
	uint32_t used = 0;

	start_with(0);
	use(VSOCK_QUEUE_TX);
	for (unsigned int i = 0; i < 64; i++) {
		put_header(VSOCK_OP_RW, i, 1, 0, 0);
		push_and_wait(0);
	}
	put_header(VSOCK_OP_RW, 64, 1, 0, 0);
	push_packet(0);
	ck_assert(!run_until(drvq_used, 30));
	for (unsigned int i = 0; i <= 64; i++) {
		post(0);
		ck_assert_uint_eq(next_packet(false)->guest_port, i);
	}
	use(VSOCK_QUEUE_TX);
	ck_assert_uint_eq(drvq_wait(NULL), used);
}
END_TEST

/* When the queue with the buffers is reset, nothing waits for them any more. */
START_TEST(no_buffers_and_a_new_queue)
{
	create();
	start_driver(VIRTIO_F_RING_RESET);
	use(VSOCK_QUEUE_TX);
	for (unsigned int i = 0; i < 64; i++) {
		put_header(VSOCK_OP_RW, i, 1, 0, 0);
		push_and_wait(0);
	}
	push_packet(0);
	ck_assert(!run_until(drvq_used, 30));
	wr(R_QUEUE_SEL, VSOCK_QUEUE_RX);
	wr(R_QUEUE_RESET, 1);
	ck_assert_uint_eq(drvq_wait(NULL), 0);
}
END_TEST

/* A host program that goes away with bytes unread. */
START_TEST(host_is_gone)
{
	uint32_t port;
	int fd;

	start();
	fd = open_from_host(1, &port);
	guest_sends(1, port, "unread", 6);
	run_until(NULL, 5);
	close(fd);
	/* Either the stream's end or its reset; never silence. */
	for (;;) {
		struct packet *packet = next_packet(true);

		if (packet->op == VSOCK_OP_RST || packet->flags == VSOCK_SHUTDOWN_BOTH)
			break;
		ck_assert_uint_eq(packet->op, VSOCK_OP_SHUTDOWN);
	}
	ck_assert(!rig_broken());
}
END_TEST

UNIT_SUITE_WITH(hostile_suite, "virtio_vsock_hostile", setup, teardown, split_header,
		split_receive_header, chain_error, packets_without_a_connection, lies,
		answer_before_the_request, credit_of_the_device, credit_of_many, limit, no_buffers, no_buffers_and_a_new_queue, host_is_gone)

UNIT_MAIN(hostile_suite)
