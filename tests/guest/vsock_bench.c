// SPDX-License-Identifier: Apache-2.0
/*
 * A vsock stream (virtio 1.2 §5.10) to port= (5000) of the host at full speed, as a Linux driver would do it: EVENT_IDX, indirect
 * descriptors, receive buffers of one page, the guest asleep while it has nothing to do. Prints the figures.
 *
 * On the command line: how=tx to send packets of bs= bytes (65536) for ms= (1000); how=rx to receive what comes for ms=; how=ping to
 * send bs= bytes and wait for as many, again and again. cid= is the guest's context id (3).
 */
#include "tests.h"
#include "lib/virtio.h"

#define VIRTIO_ID_VSOCK	19
#define RING		128
#define RX_BUFFER	4096
#define PACKET_MAX	65536
#define BUF_ALLOC	(256 * 1024)	/* what Linux grants a stream */
#define CREDIT_STEP	(64 * 1024)
#define WAIT_MS		60000

#define CID_HOST	2
#define GUEST_PORT	1024
#define TYPE_STREAM	1
enum { OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST };
#define SHUTDOWN_BOTH	3

struct vsock_header {
	u64 src_cid, dst_cid;
	u32 src_port, dst_port, len;
	u16 type, op;
	u32 flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static struct {
	struct virtio_dev *dev;
	struct virtq rx, tx, event;
	struct vsock_header headers[VIRTQ_MAX];	/* by head */
	u8 *rx_mem;
	u16 rx_slot[VIRTQ_MAX];			/* of heads */
	u64 cid;
	u32 port;
	bool open;
	u32 sent, peer_fwd_cnt, peer_buf_alloc;
	u32 received, told;			/* §5.10.6.3; all that comes is consumed at once */
} vs;

static void give_back(u32 slot)
{
	struct seg seg = { vs.rx_mem + (size_t)slot * RX_BUFFER, RX_BUFFER };

	vs.rx_slot[virtq_add(&vs.rx, &seg, 0, 1, 0)] = slot;
}

/* Sleeps until the device has used a buffer of the queue. */
static void wait_for(struct virtq *vq)
{
	volatile u32 *irqs = irq_counter(0, vs.dev->vector);
	u32 seen = *irqs;

	virtq_want_interrupt(vq, true);
	while (vq->used->idx == vq->last_used) {
		REQUIRE(irq_wait(0, vs.dev->vector, seen, WAIT_MS), "queue %u: no interrupt", vq->index);
		seen = *irqs;
		write32(vs.dev->base + VM_INTERRUPT_ACK, 1);
	}
	virtq_want_interrupt(vq, false);
}

static void send(u16 op, const void *data, u32 len, u32 flags)
{
	struct vsock_header *header;
	struct virtq_used_elem elem;

	while (virtq_take(&vs.tx, &elem) || !vs.tx.free_count)
		if (!vs.tx.free_count)
			wait_for(&vs.tx);
	header = &vs.headers[vs.tx.free_head];
	*header = (struct vsock_header){
		.src_cid = vs.cid, .dst_cid = CID_HOST, .src_port = GUEST_PORT, .dst_port = vs.port, .len = len,
		.type = TYPE_STREAM, .op = op, .flags = flags, .buf_alloc = BUF_ALLOC, .fwd_cnt = vs.received,
	};
	struct seg segs[] = { { header, sizeof(*header) }, { data, len } };

	virtq_add(&vs.tx, segs, len ? 2 : 1, 0, VIRTQ_ADD_INDIRECT);
	virtq_kick(&vs.tx);
	vs.told = vs.received;
	vs.sent += len;
}

/* Takes what has come; sleeps before it if there is nothing. */
static void receive(void)
{
	struct virtq_used_elem elem;
	bool asked = false;

	if (vs.rx.used->idx == vs.rx.last_used)
		wait_for(&vs.rx);
	while (virtq_take(&vs.rx, &elem)) {
		u16 slot = vs.rx_slot[elem.id];
		struct vsock_header header;

		memcpy(&header, vs.rx_mem + (size_t)slot * RX_BUFFER, sizeof(header));
		REQUIRE(elem.len == sizeof(header) + header.len, "%u bytes for a packet of %u", elem.len, header.len);
		REQUIRE(header.src_port == vs.port && header.dst_port == GUEST_PORT, "a packet to port %u", header.dst_port);
		REQUIRE(header.op != OP_RST && header.op != OP_SHUTDOWN, "the host ends the connection (operation %u)", header.op);
		vs.peer_fwd_cnt = header.fwd_cnt;
		vs.peer_buf_alloc = header.buf_alloc;
		vs.open |= header.op == OP_RESPONSE;
		vs.received += header.len;
		asked |= header.op == OP_CREDIT_REQUEST;
		give_back(slot);
	}
	virtq_kick(&vs.rx);
	if (asked || vs.received - vs.told >= CREDIT_STEP)
		send(OP_CREDIT_UPDATE, NULL, 0, 0);
}

static u32 credit(void)
{
	return vs.peer_buf_alloc - (vs.sent - vs.peer_fwd_cnt);
}

static void send_all(const u8 *data, u32 len)
{
	while (len) {
		u32 n = credit() < len ? credit() : len;

		if (n)
			send(OP_RW, data, n, 0);
		else
			receive();
		data += n;
		len -= n;
	}
}

static void start(void)
{
	u32 i;

	vs.dev = virtio_get(VIRTIO_ID_VSOCK, 0);
	REQUIRE(virtio_negotiate(vs.dev, FEATURE_EVENT_IDX | FEATURE_INDIRECT_DESC), "virtio-vsock refuses its features");
	vs.rx_mem = alloc(RING * RX_BUFFER, 4096);
	virtq_setup(vs.dev, &vs.rx, 0, RING);
	virtq_setup(vs.dev, &vs.tx, 1, RING);
	virtq_setup(vs.dev, &vs.event, 2, 16);
	virtio_driver_ok(vs.dev);
	virtq_want_interrupt(&vs.rx, false);
	virtq_want_interrupt(&vs.tx, false);
	virtq_want_interrupt(&vs.event, false);
	for (i = 0; i < vs.rx.size; i++)
		give_back(i);
	virtq_kick(&vs.rx);
	lapic_tick(20000);
	ioapic_route(vs.dev->gsi, vs.dev->vector);
	send(OP_REQUEST, NULL, 0, 0);
	while (!vs.open)
		receive();
}

void test_vsock_bench(void)
{
	u32 bs = cmdline_get_u64("bs", PACKET_MAX), ms = cmdline_get_u64("ms", 1000), before;
	const char *how = cmdline_get("how");
	bool pings = how && !strcmp(how, "ping"), receives = how && !strcmp(how, "rx");
	u64 begin, end, us, bytes = 0, rounds = 0;
	u8 *data;

	REQUIRE(how && (pings || receives || !strcmp(how, "tx")), "how=tx, how=rx or how=ping");
	REQUIRE(bs && bs <= PACKET_MAX, "bs= is 1 to %u", PACKET_MAX);
	vs.cid = cmdline_get_u64("cid", 3);
	vs.port = cmdline_get_u64("port", 5000);
	data = alloc(PACKET_MAX, 4096);
	memset(data, '.', bs);
	start();
	begin = rdtsc();
	end = deadline_ms(ms);
	for (; !deadline_passed(end); rounds++) {
		before = vs.received;
		if (!receives)
			send_all(data, bs);
		while (receives ? vs.received == before : pings && vs.received - before < bs)
			receive();
		bytes += receives ? vs.received - before : bs;
	}
	/* What was sent counts when the host has it. */
	while (!receives && vs.peer_fwd_cnt != vs.sent) {
		send(OP_CREDIT_REQUEST, NULL, 0, 0);
		receive();
	}
	us = tsc_to_us(rdtsc() - begin);
	print("BENCH vsock-%s bs=%u MBps=%lu bytes=%lu round-ns=%lu interrupts=%u\n", pings ? "ping" : receives ? "rx" : "tx", bs,
	      bytes / us, bytes, us * 1000 / rounds, *irq_counter(0, vs.dev->vector));
	CHECK(rounds);
	send(OP_SHUTDOWN, NULL, 0, SHUTDOWN_BOTH);
}
