// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net from registers to the back end, which is a pair of datagram sockets here: one read or write a frame, as a tap
 * has it. What hostile drivers and short frames do has a test of the name that the list of known bugs gives it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../../src/virtio/net.h"
#include "virtio/classes.h"
#include "virtio_rig.h"

#define BASE (VIRTIO_F_VERSION_1)
#define DATA 0x80000U
#define PAIRS 2

static struct netdev netdev;
static int peer[PAIRS];
static unsigned int offloads_set;
static bool queue_on[PAIRS];
static struct drvq rx, tx, ctrl;

static int fake_offloads(struct netdev *dev, unsigned int offloads)
{
	(void)dev;
	offloads_set = offloads;
	return 0;
}

static int fake_queue(struct netdev *dev, unsigned int queue, bool on)
{
	(void)dev;
	queue_on[queue] = on;
	return 0;
}

static const struct netdev_ops fake_ops = { .set_offloads = fake_offloads, .set_queue = fake_queue };

static void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_net_mmio_class, NULL };
	static char id[] = "n0";

	rig_open(classes);
	netdev = (struct netdev){
		.ops = &fake_ops, .id = id, .queue_count = PAIRS, .link_up = true,
		.offloads = NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN | NETDEV_UFO | NETDEV_USO,
	};
	for (unsigned int i = 0; i < PAIRS; i++) {
		int fds[2], size = 1 << 20;

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
		(void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		netdev.fds[i] = fds[0];
		peer[i] = fds[1];
	}
	ck_assert_int_eq(link_scope_add(rig.platform.links, LINK_NETDEV, "n0", &netdev, NULL), 0);
}

static void teardown(void)
{
	rig_close();
	for (unsigned int i = 0; i < PAIRS; i++) {
		close(netdev.fds[i]);
		close(peer[i]);
	}
}

static void restart(uint64_t features, unsigned int rx_size)
{
	ck_assert(negotiate(BASE | features));
	drvq_open(0, rx_size);
	rx = q;
	drvq_open(1, 16);
	tx = q;
	drvq_open(2, 16);
	ctrl = q;
	driver_ok();
}

static void start(const char *device, uint64_t features)
{
	const char *text = rig_create(device);

	ck_assert_msg(!text, "%s", text);
	restart(features, 16);
}

static void settle(void)
{
	ck_assert(!run_until(NULL, 20));
}

static uint8_t *mem(uint32_t addr)
{
	return rig.ram->host + addr;
}

/* --- Driver's side --- */

static void post(unsigned int i, uint64_t addr, uint32_t len)
{
	q = rx;
	drvq_desc(i, addr, len, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(i);
	rx = q;
	wr(R_NOTIFY, 0);
}

static bool rx_used(void)
{
	bool used;

	q = rx;
	used = drvq_used();
	return used;
}

static uint32_t rx_wait(void)
{
	uint32_t len;

	q = rx;
	len = drvq_wait(NULL);
	rx = q;
	return len;
}

/* A frame to send of header and @len bytes of data at DATA; waits until it is given back. */
static void send_one(const void *header, uint32_t header_len, uint32_t len)
{
	memcpy(mem(DATA), header, header_len);
	q = tx;
	if (len) {
		drvq_desc(0, DATA, header_len, VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, DATA + 0x100, len, 0, 0);
	} else {
		drvq_desc(0, DATA, header_len, 0, 0);
	}
	drvq_publish(0);
	wr(R_NOTIFY, 1);
	ck_assert_uint_eq(drvq_wait(NULL), 0);
	tx = q;
}

static ssize_t sent(void *buf, size_t size)
{
	return recv(peer[0], buf, size, 0);
}

static uint8_t command(uint8_t class, uint8_t what, const void *arg, uint32_t len)
{
	uint8_t head[2] = { class, what }, ack;

	memcpy(mem(DATA), head, 2);
	memcpy(mem(DATA + 2), arg, len);
	*mem(DATA + 0x8000) = 0x55;
	q = ctrl;
	drvq_desc(0, DATA, 2 + len, VIRTQ_DESC_F_NEXT, 1);
	drvq_desc(1, DATA + 0x8000, 1, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, q.index);
	ck_assert_uint_eq(drvq_wait(NULL), 1);
	ctrl = q;
	ack = *mem(DATA + 0x8000);
	return ack;
}

/* --- The other side --- */

static void feed(uint32_t frame_len, uint8_t fill)
{
	uint8_t frame[NETDEV_HEADER + 65550] = { 0 };

	memset(frame + NETDEV_HEADER, fill, frame_len);
	frame[10] = frame[11] = 0xee; /* a tap leaves num_buffers alone */
	ck_assert_int_eq(send(peer[0], frame, NETDEV_HEADER + frame_len, 0), NETDEV_HEADER + frame_len);
}

static void check_bytes(uint32_t addr, uint32_t len, uint8_t fill)
{
	for (uint32_t i = 0; i < len; i++)
		ck_assert_uint_eq(*mem(addr + i), fill);
}

static unsigned int count_at(uint32_t addr)
{
	return *mem(addr + 10) | *mem(addr + 11) << 8;
}

START_TEST(bad_options)
{
	static const struct { const char *device, *part; } bad[] = {
		{ "virtio-net-device", "netdev" },
		{ "virtio-net-device,netdev=no", "no" },
		{ "virtio-net-device,netdev=n0,mac=52:54:00:12:34:5", "mac" },
		{ "virtio-net-device,netdev=n0,mac=52:54:00:12:34:5g", "no address" },
		{ "virtio-net-device,netdev=n0,mac=53:54:00:12:34:56", "multicast" },
		{ "virtio-net-device,netdev=n0,mtu=67", "68" },
		{ "virtio-net-device,netdev=n0,queue-size=128", "queue-size=128" },
		{ "virtio-net-device,netdev=n0,queue-size=8192", "queue-size=8192" },
		{ "virtio-net-device,netdev=n0,queue-size=300", "queue-size=300" },
		{ "virtio-net-device,netdev=n0,iothread=x", "iothread" },
		{ "virtio-net-device,netdev=n0,host_mtu=67", "68" },
		{ "virtio-net-device,netdev=n0,mtu=1400,host_mtu=1500", "two words" },
		{ "virtio-net-device,netdev=n0,rx_queue_size=128", "rx_queue_size=128" },
		{ "virtio-net-device,netdev=n0,tx_queue_size=1000", "tx_queue_size=1000" },
		{ "virtio-net-device,netdev=n0,tx_queue_size=8192", "tx_queue_size=8192" },
		{ "virtio-net-device,netdev=n0,tx=timer", "tx=timer" },
		{ "virtio-net-device,netdev=n0,packed=on", "split" },
		{ "virtio-net-device,netdev=n0,iommu_platform=on", "no IOMMU" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *text = rig_create(bad[i].device);

		ck_assert_msg(text && strstr(text, bad[i].part), "%s: %s", bad[i].device, text ? text : "made");
		ck_assert(!rig.slot_taken);
		ck_assert(!netdev_in_use(&netdev));
	}
	ck_assert_ptr_null(rig_create("virtio-net-device,netdev=n0,queue-size=4096,vectors=6"));
	wr(R_QUEUE_SEL, 0);
	ck_assert_uint_eq(rd(R_NUM_MAX), 4096);
	ck_assert(netdev_in_use(&netdev));
}
END_TEST

/* QEMU's names: a size for each direction, what is left out is that of queue-size. */
START_TEST(sizes_of_directions)
{
	start("virtio-net-device,netdev=n0,host_mtu=1400,rx_queue_size=1024,tx_queue_size=512,tx=bh", 0);
	ck_assert_uint_eq(rd(R_CONFIG + 8), 1400U << 16 | 1);
	ck_assert(offered() & NET_F_MTU);
	for (unsigned int i = 0; i < 3; i++) {
		static const unsigned int sizes[] = { 1024, 512, 256 };

		wr(R_QUEUE_SEL, i);
		ck_assert_uint_eq(rd(R_NUM_MAX), sizes[i]);
	}
}
END_TEST

START_TEST(size_of_one_direction)
{
	start("virtio-net-device,netdev=n0,queue-size=512,rx_queue_size=4096", 0);
	for (unsigned int i = 0; i < 3; i++) {
		static const unsigned int sizes[] = { 4096, 512, 512 };

		wr(R_QUEUE_SEL, i);
		ck_assert_uint_eq(rd(R_NUM_MAX), sizes[i]);
	}
}
END_TEST

START_TEST(features_taken_away)
{
	start("virtio-net-device,netdev=n0,event_idx=off,indirect_desc=off,packed=off,iommu_platform=off", 0);
	ck_assert(!(offered() & (VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)));
	ck_assert((offered() & (VIRTIO_F_RING_RESET | VIRTIO_F_VERSION_1)) == (VIRTIO_F_RING_RESET | VIRTIO_F_VERSION_1));
}
END_TEST

START_TEST(registers)
{
	start("virtio-net-device,netdev=n0,mtu=1400,mac=02:00:00:00:00:09", 0);
	ck_assert_uint_eq(rd(R_DEVICE_ID), 1);
	ck_assert_uint_eq(rd(R_CONFIG), 0x02);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 0x00010900); /* mac, status: link up */
	ck_assert_uint_eq(rd(R_CONFIG + 8), 1400U << 16 | 1);
	ck_assert((offered() & (NET_F_MQ | NET_F_MTU)) == NET_F_MTU);
	wr(R_QUEUE_SEL, 3);
	ck_assert_uint_eq(rd(R_NUM_MAX), 0);
}
END_TEST

START_TEST(sends)
{
	uint8_t got[2048];
	struct net_header header = { 0 };

	start("virtio-net-device,netdev=n0", 0);
	header.flags = 0xfe; /* nothing of it is the driver's to set */
	memset(mem(DATA + 0x100), 0x5a, 1500);
	send_one(&header, sizeof(header), 1500);
	ck_assert_int_eq(sent(got, sizeof(got)), NETDEV_HEADER + 1500);
	for (unsigned int i = 0; i < NETDEV_HEADER; i++)
		ck_assert_uint_eq(got[i], 0);
	ck_assert_uint_eq(got[NETDEV_HEADER + 1499], 0x5a);
}
END_TEST

/* Header and frame cut everywhere, into descriptors of any length. */
START_TEST(split_header)
{
	uint8_t got[256];

	start("virtio-net-device,netdev=n0", 0);
	memset(mem(DATA), 0, NETDEV_HEADER);
	for (unsigned int i = 0; i < 60; i++)
		*mem(DATA + NETDEV_HEADER + i) = i;
	for (unsigned int cut = 1; cut < NETDEV_HEADER + 60; cut++) {
		q = tx;
		drvq_desc(0, DATA, cut, VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, DATA + cut, NETDEV_HEADER + 60 - cut, 0, 0);
		drvq_publish(0);
		wr(R_NOTIFY, 1);
		ck_assert_uint_eq(drvq_wait(NULL), 0);
		tx = q;
		ck_assert_int_eq(sent(got, sizeof(got)), NETDEV_HEADER + 60);
		for (unsigned int i = 0; i < 60; i++)
			ck_assert_uint_eq(got[NETDEV_HEADER + i], i);
	}
	/* And to receive. */
	for (unsigned int cut = 1; cut < NETDEV_HEADER + 60; cut++) {
		q = rx;
		drvq_desc(0, DATA, cut, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, DATA + cut, 2000 - cut, VIRTQ_DESC_F_WRITE, 0);
		drvq_publish(0);
		rx = q;
		wr(R_NOTIFY, 0);
		feed(60, cut);
		ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
		ck_assert_uint_eq(count_at(DATA), 1);
		check_bytes(DATA + NETDEV_HEADER, 60, cut);
	}
}
END_TEST

/* The header's length is the same whatever is negotiated beside VERSION_1. */
START_TEST(hdr_size)
{
	static const uint64_t bits[] = { NET_F_MRG_RXBUF, NET_F_CSUM, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4, NET_F_CTRL_VQ,
					 NET_F_CSUM | NET_F_HOST_TSO4, VIRTIO_F_EVENT_IDX };
	struct net_header header = { 0 };
	uint8_t got[256];

	ck_assert_ptr_null(rig_create("virtio-net-device,netdev=n0"));
	for (unsigned int set = 0; set < 1U << ARRAY_SIZE(bits); set++) {
		uint64_t features = 0;

		for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
			features |= set >> i & 1 ? bits[i] : 0;
		restart(features, 16);
		send_one(&header, sizeof(header), 60);
		ck_assert_int_eq(sent(got, sizeof(got)), NETDEV_HEADER + 60);
		post(0, DATA, 2000);
		feed(60, 0x42);
		ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
		check_bytes(DATA + NETDEV_HEADER, 60, 0x42);
		ck_assert_uint_eq(count_at(DATA), 1);
		ck_assert_uint_eq(!!(offloads_set & NETDEV_TSO4), !!(features & NET_F_GUEST_TSO4));
		ck_assert_uint_eq(!!(offloads_set & NETDEV_CSUM), !!(features & NET_F_GUEST_CSUM));
	}
	/* Without VERSION_1, with which it might be shorter, there is no device. */
	ck_assert(!negotiate(NET_F_MRG_RXBUF) || !(rd(R_STATUS) & S_FEATURES));
}
END_TEST

START_TEST(hdr_too_short)
{
	start("virtio-net-device,netdev=n0", 0);
	for (unsigned int len = 1; len < NETDEV_HEADER; len++) {
		q = tx;
		drvq_desc(0, DATA, len, 0, 0);
		drvq_publish(0);
		wr(R_NOTIFY, 1);
		ck_assert(run_until(rig_broken, 5000));
		restart(0, 16);
		post(0, DATA, len);
		ck_assert(run_until(rig_broken, 5000));
		restart(0, 16);
	}
}
END_TEST

/* Every offset that is wrong, and many that are not: what arrives is always well-formed, and the queue goes on. */
START_TEST(csum_offset)
{
	const uint64_t features = NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_USO;
	static const uint16_t values[] = { 0, 1, 13, 14, 34, 58, 59, 60, 61, 0x7fff, 0x8000, 0xfffe, 0xffff };
	uint8_t got[256];
	unsigned int passed = 0;

	start("virtio-net-device,netdev=n0", features);
	for (unsigned int start_i = 0; start_i < ARRAY_SIZE(values); start_i++) {
		for (unsigned int offset_i = 0; offset_i < ARRAY_SIZE(values); offset_i++) {
			uint32_t begin = values[start_i], offset = values[offset_i];
			bool good = begin >= 14 && begin + offset + 2 <= 60;
			struct net_header header = { .flags = NET_HDR_F_NEEDS_CSUM,
						     .csum_start = cpu_to_le16(begin),
						     .csum_offset = cpu_to_le16(offset) };

			send_one(&header, sizeof(header), 60);
			ck_assert_int_eq(sent(got, sizeof(got)), good ? NETDEV_HEADER + 60 : -1);
			passed += good;
		}
	}
	ck_assert_uint_gt(passed, 3);
	for (unsigned int type = 0; type < 256; type++) {
		for (unsigned int bad = 0; bad < 3; bad++) {
			bool known = type == 0 || type == 1 || type == 4 || type == 5;
			struct net_header header = { .flags = NET_HDR_F_NEEDS_CSUM, .gso_type = type,
						     .hdr_len = cpu_to_le16(bad == 1 ? 61 : 54),
						     .gso_size = cpu_to_le16(bad == 2 ? 0 : 1400),
						     .csum_start = cpu_to_le16(34),
						     .csum_offset = cpu_to_le16(16) };

			send_one(&header, sizeof(header), 60);
			ck_assert_int_eq(sent(got, sizeof(got)),
					 known && (!bad || !type) ? NETDEV_HEADER + 60 : -1);
		}
	}
	ck_assert(!rig_broken());
}
END_TEST

START_TEST(offloads_not_negotiated)
{
	struct net_header header = { .flags = NET_HDR_F_NEEDS_CSUM, .csum_start = cpu_to_le16(34) };
	uint8_t got[256];

	start("virtio-net-device,netdev=n0", 0);
	send_one(&header, sizeof(header), 60);
	ck_assert_int_eq(sent(got, sizeof(got)), -1);
	header = (struct net_header){ .gso_type = NET_HDR_GSO_TCPV4, .gso_size = cpu_to_le16(1000) };
	send_one(&header, sizeof(header), 60);
	ck_assert_int_eq(sent(got, sizeof(got)), -1);
}
END_TEST

START_TEST(short_frame)
{
	struct net_header header = { 0 };
	uint8_t got[256];

	start("virtio-net-device,netdev=n0", NET_F_CTRL_VQ | NET_F_CTRL_VLAN | NET_F_CTRL_RX);
	ck_assert_uint_eq(command(0, 0, "\0", 1), 0); /* not promiscuous: the filter reads all of its fields */
	ck_assert_uint_eq(command(0, 2, "\0", 1), 1); /* RX_EXTRA was not negotiated */
	for (unsigned int len = 0; len < 18; len++) {
		send_one(&header, sizeof(header), len);
		ck_assert_int_eq(sent(got, sizeof(got)), len < 14 ? -1 : (int)(NETDEV_HEADER + len));
	}
	post(0, DATA, 2000);
	for (unsigned int len = 0; len < 18; len++)
		feed(len, 0xff); /* a broadcast */
	for (unsigned int len = 14; len < 18; len++) {
		ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + len);
		post(0, DATA, 2000);
	}
	settle();
	ck_assert(!rx_used());
	ck_assert(!rig_broken());
}
END_TEST

/* Frames come while no buffer is there; with both ways of asking for a notification, for many rounds. */
START_TEST(rx_stall)
{
	static const uint64_t sets[] = { 0, VIRTIO_F_EVENT_IDX, NET_F_MRG_RXBUF, NET_F_MRG_RXBUF | VIRTIO_F_EVENT_IDX };

	ck_assert_ptr_null(rig_create("virtio-net-device,netdev=n0"));
	for (unsigned int set = 0; set < ARRAY_SIZE(sets); set++) {
		unsigned int fed = 0;

		restart(sets[set], 16);
		while (fed < 10) /* a flood, as far as the other side takes it */
			feed(100, ++fed);
		settle();
		ck_assert(!rx_used());
		for (unsigned int i = 1; i <= fed; i++) {
			post(i % 16, DATA, 2000);
			ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 100);
			check_bytes(DATA + NETDEV_HEADER, 100, i);
			settle();
		}
		/* Now buffers first. */
		for (unsigned int i = 0; i < 16; i++)
			post(i, DATA + i * 0x1000, 2000);
		for (unsigned int i = 0; i < 8; i++)
			feed(200, i);
		for (unsigned int i = 0; i < 8; i++)
			ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 200);
	}
}
END_TEST

START_TEST(num_buffers_over_many)
{
	start("virtio-net-device,netdev=n0", NET_F_MRG_RXBUF | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
	for (unsigned int i = 0; i < 8; i++)
		post(i, DATA + i * 0x1000, 1000);
	feed(3500, 0x77);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_uint_eq(rx_wait(), 1000);
	ck_assert_uint_eq(rx_wait(), 3512 - 3000);
	ck_assert_uint_eq(count_at(DATA), 4);
	check_bytes(DATA + NETDEV_HEADER, 988, 0x77);
	check_bytes(DATA + 0x3000, 512, 0x77);
	/* The rest of the buffers is for the next one. */
	feed(60, 0x11);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
	check_bytes(DATA + 0x4000 + NETDEV_HEADER, 60, 0x11);
}
END_TEST

/* A frame longer than the buffers at hand waits for more, given one by one; nothing of it is lost or doubled. */
START_TEST(frame_waits_for_buffers)
{
	start("virtio-net-device,netdev=n0", NET_F_MRG_RXBUF | VIRTIO_F_EVENT_IDX);
	post(0, DATA, 500);
	settle();
	feed(3500, 0x33);
	feed(60, 0x44);
	for (unsigned int i = 1; i < 8; i++) {
		settle();
		ck_assert(!rx_used());
		post(i, DATA + i * 0x1000, 500);
	}
	for (unsigned int i = 0; i < 7; i++)
		ck_assert_uint_eq(rx_wait(), 500);
	ck_assert_uint_eq(rx_wait(), 12);
	ck_assert_uint_eq(count_at(DATA), 8);
	check_bytes(DATA + NETDEV_HEADER, 488, 0x33);
	for (unsigned int i = 1; i < 7; i++)
		check_bytes(DATA + i * 0x1000, 500, 0x33);
	check_bytes(DATA + 0x7000, 12, 0x33);
	post(8, DATA + 0x8000, 500);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
	check_bytes(DATA + 0x8000 + NETDEV_HEADER, 60, 0x44);
}
END_TEST

/* A whole ring of tiny buffers does not hold one frame: that one is lost, the queue goes on. */
START_TEST(ring_too_small_for_a_frame)
{
	start("virtio-net-device,netdev=n0", NET_F_MRG_RXBUF);
	for (unsigned int i = 0; i < 16; i++)
		post(i, DATA + i * 64, 12);
	settle();
	feed(1000, 1);
	feed(60, 2);
	for (unsigned int i = 0; i < 6; i++)
		ck_assert_uint_eq(rx_wait(), 12);
	check_bytes(DATA + 64, 12, 2);
	ck_assert_uint_eq(count_at(DATA), 6);
}
END_TEST

/* The header is the last thing in a region of memory. */
START_TEST(num_buffers)
{
	uint8_t *end = rig.high->host + 64 * KIB;

	start("virtio-net-device,netdev=n0", NET_F_MRG_RXBUF);
	post(0, RIG_HIGH_BASE + 64 * KIB - NETDEV_HEADER, NETDEV_HEADER);
	post(1, DATA, 2000);
	feed(100, 0x21);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER);
	ck_assert_uint_eq(rx_wait(), 100);
	ck_assert_uint_eq(end[-2] | end[-1] << 8, 2);
	check_bytes(DATA, 100, 0x21);
	post(2, RIG_HIGH_BASE + 64 * KIB - NETDEV_HEADER + 1, NETDEV_HEADER);
	ck_assert(run_until(rig_broken, 5000));
}
END_TEST

START_TEST(too_short_without_mergeable)
{
	start("virtio-net-device,netdev=n0", 0);
	post(0, DATA, 100);
	feed(1000, 1); /* lost */
	feed(60, 2);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
	check_bytes(DATA + NETDEV_HEADER, 60, 2);
	check_bytes(DATA + 100, 100, 0);
}
END_TEST

START_TEST(chain_error)
{
	start("virtio-net-device,netdev=n0", NET_F_CTRL_VQ);
	q = rx;
	drvq_desc(0, DATA, 2000, 0, 0); /* to read */
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	ck_assert(run_until(rig_broken, 5000));
	for (unsigned int i = 0; i < 3; i++) {
		restart(NET_F_CTRL_VQ, 16);
		q = i == 0 ? rx : i == 1 ? tx : ctrl;
		drvq_desc(0, RIG_SLOT, 64, i ? 0 : VIRTQ_DESC_F_WRITE, 0); /* the device's own registers */
		drvq_publish(0);
		wr(R_NOTIFY, i);
		ck_assert(run_until(rig_broken, 5000));
	}
	restart(NET_F_CTRL_VQ, 16);
	q = ctrl;
	drvq_desc(0, DATA, 2, 0, 0); /* no room for an answer */
	drvq_publish(0);
	wr(R_NOTIFY, 2);
	ck_assert(run_until(rig_broken, 5000));
	/* Frames that come for a broken device do not disturb anybody. */
	feed(60, 1);
	settle();
	restart(0, 16);
	post(0, DATA, 2000);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
}
END_TEST

START_TEST(back_end_is_full)
{
	struct net_header header = { 0 };
	uint8_t got[2048];
	unsigned int queued = 0;

	start("virtio-net-device,netdev=n0", 0);
	while (send(netdev.fds[0], got, 60, 0) == 60)
		queued++;
	memcpy(mem(DATA), &header, sizeof(header));
	q = tx;
	drvq_desc(0, DATA, NETDEV_HEADER + 99, 0, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 1);
	ck_assert(!run_until(drvq_used, 50));
	/* It is watched for both, and sends at once when there is room: long before the retry after an error. */
	while (queued--)
		ck_assert_int_eq(sent(got, sizeof(got)), 60);
	ck_assert(run_until(drvq_used, 500));
	ck_assert_int_eq(sent(got, sizeof(got)), NETDEV_HEADER + 99);
}
END_TEST

START_TEST(filter)
{
	static const uint8_t table[] = { 1, 0, 0, 0, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
					 1, 0, 0, 0, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33 };
	static const uint8_t own[] = { 0x44, 0x44, 0x44, 0x44, 0x44, 0x44 };
	uint8_t many[8 + 65 * 6] = { 65 };

	start("virtio-net-device,netdev=n0", NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA | NET_F_CTRL_MAC_ADDR);
	ck_assert_uint_eq(command(0, 0, "\0", 1), 0);
	ck_assert_uint_eq(command(1, 0, table, sizeof(table)), 0);
	ck_assert_uint_eq(command(1, 1, own, sizeof(own)), 0);
	ck_assert_uint_eq(rd(R_CONFIG), 0x44444444);
	for (unsigned int i = 0; i < 8; i++)
		post(i, DATA + i * 0x1000, 2000);
	feed(60, 0x20); /* somebody else's */
	feed(60, 0x31); /* another group's */
	feed(60, 0x22);
	feed(60, 0x33);
	feed(60, 0x44);
	feed(60, 0xff);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
		check_bytes(DATA + i * 0x1000 + NETDEV_HEADER, 60, (const uint8_t[]){ 0x22, 0x33, 0x44, 0xff }[i]);
	}
	ck_assert_uint_eq(command(0, 3, "\1", 1), 0); /* no groups */
	ck_assert_uint_eq(command(0, 5, "\1", 1), 0); /* no broadcasts */
	ck_assert_uint_eq(command(1, 0, many, sizeof(many)), 0); /* more than the table holds: all of that kind */
	feed(60, 0x33);
	feed(60, 0xff);
	feed(60, 0x20);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
	check_bytes(DATA + 4 * 0x1000 + NETDEV_HEADER, 60, 0x20);
	settle();
	ck_assert(!rx_used());
	/* A reset forgets it all. */
	restart(0, 16);
	ck_assert_uint_eq(rd(R_CONFIG), 0x12005452);
	post(0, DATA, 2000);
	feed(60, 0x21);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
}
END_TEST

START_TEST(bad_commands)
{
	static const struct { uint8_t class, what, len; uint8_t arg[24]; } bad[] = {
		{ 0, 0, 0, { 0 } },	  { 0, 0, 2, { 1, 1 } },      { 0, 6, 1, { 1 } },
		{ 1, 0, 3, { 0 } },	  { 1, 0, 4, { 0 } },	      { 1, 0, 8, { 1 } },
		{ 1, 0, 8, { 0xff, 0xff, 0xff, 0xff } },	      { 1, 0, 9, { 0 } },
		{ 1, 0, 8, { 0, 0, 0, 0, 0xab, 0xaa, 0xaa, 0xaa } }, { 1, 1, 5, { 0 } },
		{ 1, 2, 6, { 0 } },	  { 2, 0, 1, { 0 } },	      { 2, 0, 2, { 0, 0x10 } },
		{ 2, 2, 2, { 0 } },	  { 3, 0, 0, { 0 } },	      { 3, 0, 1, { 0 } },
		{ 4, 0, 2, { 1 } },	  { 5, 0, 8, { 0 } },	      { 255, 255, 2, { 0 } },
	};

	start("virtio-net-device,netdev=n0", NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_VLAN | NET_F_CTRL_MAC_ADDR |
						     NET_F_GUEST_ANNOUNCE);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(command(bad[i].class, bad[i].what, bad[i].arg, bad[i].len) == 1, "number %u", i);
	ck_assert(!rig_broken());
	ck_assert_uint_eq(command(2, 0, "\xff\x0f", 2), 0);
}
END_TEST

START_TEST(vlan_filter)
{
	uint8_t frame[NETDEV_HEADER + 60] = { 0 };

	start("virtio-net-device,netdev=n0", NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_VLAN);
	ck_assert_uint_eq(command(0, 0, "\0", 1), 0);
	ck_assert_uint_eq(command(2, 0, "\x05\x00", 2), 0);
	memset(frame + NETDEV_HEADER, 0xff, 6);
	frame[NETDEV_HEADER + 12] = 0x81;
	post(0, DATA, 2000);
	for (unsigned int vlan = 4; vlan < 7; vlan++) {
		frame[NETDEV_HEADER + 15] = vlan;
		ck_assert_int_eq(send(peer[0], frame, sizeof(frame), 0), sizeof(frame));
	}
	ck_assert_uint_eq(rx_wait(), sizeof(frame));
	ck_assert_uint_eq(*mem(DATA + NETDEV_HEADER + 15), 5);
	post(0, DATA, 2000);
	settle();
	ck_assert(!rx_used());
}
END_TEST

START_TEST(several_pairs)
{
	ck_assert_ptr_null(rig_create("virtio-net-device,netdev=n0,mq=on"));
	ck_assert(offered() & NET_F_MQ);
	ck_assert_uint_eq(rd(R_CONFIG + 8), PAIRS);
	ck_assert(queue_on[0] && !queue_on[1]);
	ck_assert(negotiate(BASE | NET_F_MQ | NET_F_CTRL_VQ));
	drvq_open(4, 16);
	ctrl = q;
	drvq_open(2, 16);
	rx = q;
	driver_ok();
	drvq_desc(0, DATA + 0x2000, 2000, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	rx = q;
	wr(R_NOTIFY, 2);
	ck_assert_uint_eq(command(4, 0, "\0\0", 2), 1);
	ck_assert_uint_eq(command(4, 0, "\3\0", 2), 1);
	ck_assert_uint_eq(command(4, 0, "\2\0", 2), 0);
	ck_assert(queue_on[0] && queue_on[1]);
	ck_assert_int_eq(send(peer[1], (uint8_t[72]){ 0 }, 72, 0), 72);
	ck_assert_uint_eq(rx_wait(), 72);
	ck_assert_uint_eq(command(4, 0, "\1\0", 2), 0);
	ck_assert(queue_on[0] && !queue_on[1]);
	ck_assert_uint_eq(command(4, 0, "\2\0", 2), 0);
	wr(R_STATUS, 0);
	ck_assert(queue_on[0] && !queue_on[1]);
}
END_TEST

/* CTRL_GUEST_OFFLOADS: what was negotiated can be switched off and on, nothing else; a pause does not forget it. */
START_TEST(guest_offloads)
{
	le64_t off = cpu_to_le64(0), tso = cpu_to_le64(NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
	le64_t strange = cpu_to_le64(NET_F_GUEST_CSUM | NET_F_GUEST_TSO6);

	start("virtio-net-device,netdev=n0", NET_F_CTRL_VQ | NET_F_CTRL_GUEST_OFFLOADS | NET_F_GUEST_CSUM |
						     NET_F_GUEST_TSO4);
	ck_assert_uint_eq(offloads_set, NETDEV_CSUM | NETDEV_TSO4);
	ck_assert_uint_eq(command(5, 0, &off, 8), 0);
	ck_assert_uint_eq(offloads_set, 0);
	offloads_set = 99;
	devices_quiesce(&rig.platform);
	devices_resume(&rig.platform);
	ck_assert_uint_eq(offloads_set, 0);
	ck_assert_uint_eq(command(5, 0, &strange, 8), 1);
	ck_assert_uint_eq(command(5, 0, &tso, 7), 1);
	ck_assert_uint_eq(command(5, 1, &tso, 8), 1);
	ck_assert_uint_eq(offloads_set, 0);
	ck_assert_uint_eq(command(5, 0, &tso, 8), 0);
	ck_assert_uint_eq(offloads_set, NETDEV_CSUM | NETDEV_TSO4);
	ck_assert_uint_eq(command(5, 0, &off, 8), 0);
	restart(NET_F_CTRL_VQ | NET_F_GUEST_CSUM, 16); /* a new driver starts with all that it negotiates */
	ck_assert_uint_eq(offloads_set, NETDEV_CSUM);
	ck_assert_uint_eq(command(5, 0, &off, 8), 1); /* not negotiated */
}
END_TEST

START_TEST(link_and_announce)
{
	struct net_header header = { 0 };
	uint8_t got[256];

	start("virtio-net-device,netdev=n0", NET_F_CTRL_VQ | NET_F_STATUS | NET_F_GUEST_ANNOUNCE);
	post(0, DATA + 0x1000, 2000);
	settle();
	wr(R_ACK, 3);
	netdev_set_link(&netdev, false);
	ck_assert_uint_eq(rd(R_ISR) & 2, 2);
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, 0);
	send_one(&header, sizeof(header), 60);
	ck_assert_int_eq(sent(got, sizeof(got)), -1);
	feed(60, 1);
	settle();
	ck_assert(!rx_used());
	netdev_announce(&netdev); /* nobody would hear it */
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, 0);
	netdev_set_link(&netdev, true);
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, 1);
	feed(60, 2);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
	check_bytes(DATA + 0x1000 + NETDEV_HEADER, 60, 2);
	netdev_announce(&netdev);
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, 3);
	ck_assert_uint_eq(command(3, 0, "", 0), 0);
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, 1);
	ck_assert_uint_eq(command(3, 0, "", 0), 1);
}
END_TEST

/* A pause, a reset of one queue and one of the device give buffers back that wait for a frame. */
START_TEST(pause_and_reset)
{
	start("virtio-net-device,netdev=n0", NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_MAC_ADDR);
	ck_assert_uint_eq(command(1, 1, "\2\2\2\2\2\2", 6), 0);
	for (unsigned int i = 0; i < 4; i++)
		post(i, DATA + i * 0x1000, 100);
	settle();
	feed(1000, 9); /* longer than what is there: it waits, and is lost with the pause */
	settle();
	devices_quiesce(&rig.platform);
	feed(60, 5);
	settle();
	ck_assert(!rx_used());
	devices_resume(&rig.platform);
	ck_assert_uint_eq(rd(R_CONFIG), 0x02020202);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
	check_bytes(DATA + NETDEV_HEADER, 60, 5);
	restart(VIRTIO_F_RING_RESET, 16);
	post(0, DATA, 2000);
	settle();
	wr(R_QUEUE_SEL, 0);
	wr(R_QUEUE_RESET, 1);
	feed(60, 6);
	settle();
	drvq_open(0, 16);
	rx = q;
	post(3, DATA, 2000);
	ck_assert_uint_eq(rx_wait(), NETDEV_HEADER + 60);
	check_bytes(DATA + NETDEV_HEADER, 60, 6);
}
END_TEST

/* A tap that is taken away: the guest and the VMM live on, and nobody spins. */
START_TEST(back_end_dies)
{
	struct net_header header = { 0 };
	int fds[2];

	start("virtio-net-device,netdev=n0", 0);
	post(0, DATA + 0x1000, 2000);
	settle();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	close(fds[1]);
	ck_assert_int_ge(dup2(fds[0], netdev.fds[0]), 0); /* says end of file, and EPIPE */
	close(fds[0]);
	signal(SIGPIPE, SIG_IGN);
	wr(R_NOTIFY, 0);
	settle();
	send_one(&header, sizeof(header), 60);
	ck_assert(!rig_broken());
	ck_assert(!rx_used());
}
END_TEST

UNIT_SUITE_WITH(net_suite, "virtio_net", setup, teardown, bad_options, sizes_of_directions,
		size_of_one_direction, features_taken_away, registers, sends,
		split_header, hdr_size, hdr_too_short, csum_offset, offloads_not_negotiated,
		short_frame, rx_stall, num_buffers_over_many, frame_waits_for_buffers,
		ring_too_small_for_a_frame, num_buffers, too_short_without_mergeable, chain_error,
		back_end_is_full, filter, bad_commands, vlan_filter, several_pairs, guest_offloads,
		link_and_announce, pause_and_reset, back_end_dies)

UNIT_MAIN(net_suite)
