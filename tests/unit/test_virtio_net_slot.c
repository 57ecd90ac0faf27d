// SPDX-License-Identifier: Apache-2.0
/*
 * A network card in a replaceable slot: what the driver sees when a back end comes and goes. The back ends are pairs of
 * datagram sockets: one read or write a frame, as a tap has it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../../src/virtio/net.h"
#include "virtio/classes.h"
#include "virtio_rig.h"

#define FEATURES (VIRTIO_F_VERSION_1 | NET_F_STATUS | NET_F_MAC | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4)
#define HEADER_AT 0x80000U
#define BUFFER_AT 0x90000U
#define FRAME 60U
#define ISR_CONFIG 2

static struct netdev netdevs[2];
static int peers[2];
static unsigned int offloads_set[2];
static struct drvq rx, tx;
static struct iothread *iothread;

static int fake_offloads(struct netdev *netdev, unsigned int offloads)
{
	/* As the kernel refuses what it does not know. */
	if (offloads & ~netdev->offloads)
		return -EINVAL;
	offloads_set[netdev - netdevs] = offloads;
	return 0;
}

static int fake_queue(struct netdev *netdev, unsigned int queue, bool on)
{
	(void)netdev;
	(void)queue;
	(void)on;
	return 0;
}

static const struct netdev_ops fake_ops = { .set_offloads = fake_offloads, .set_queue = fake_queue };

static void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_net_mmio_class, NULL };
	static char ids[2][3] = { "n0", "n1" };

	rig_open(classes);
	iothread = NULL;
	for (unsigned int i = 0; i < 2; i++) {
		int fds[2];

		netdevs[i] = (struct netdev){
			.ops = &fake_ops, .id = ids[i], .queue_count = 1, .link_up = true,
			.offloads = NETDEV_CSUM | (i ? 0 : NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN | NETDEV_UFO),
		};
		offloads_set[i] = ~0U;
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
		netdevs[i].fds[0] = fds[0];
		peers[i] = fds[1];
		ck_assert_int_eq(link_scope_add(rig.platform.links, LINK_NETDEV, ids[i], &netdevs[i], NULL), 0);
	}
}

static void teardown(void)
{
	rig_close();
	iothread_free(iothread);
	for (unsigned int i = 0; i < 2; i++) {
		close(netdevs[i].fds[0]);
		close(peers[i]);
	}
}

static void create(const char *text, bool empty)
{
	struct opts *opts;

	ck_assert_int_eq(opts_parse("-device", text, "driver", &opts, NULL), 0);
	ck_assert_int_eq(device_create_replaceable(&rig.platform, "slot0", opts, empty, &rig.dev, &rig.err), 0);
	opts_free(opts);
}

static void start_driver(void)
{
	ck_assert(negotiate(FEATURES));
	drvq_open(0, 16);
	rx = q;
	drvq_open(1, 16);
	tx = q;
	driver_ok();
}

/* NULL when it went well, else the error's text, valid until the next call. */
static const char *plug(const char *text)
{
	struct opts *opts;

	error_free(rig.err);
	rig.err = NULL;
	ck_assert_int_eq(opts_parse("device_add", text, "driver", &opts, NULL), 0);
	if (device_plug(rig.dev, opts, &rig.err))
		ck_assert_ptr_nonnull(rig.err);
	opts_free(opts);
	return rig.err ? error_text(rig.err) : NULL;
}

/* The link as the driver sees it; it was told of a change since the last call, or not. */
static void expect_link(bool up, bool told)
{
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, up);
	ck_assert_int_eq(!!(rd(R_ISR) & ISR_CONFIG), told);
	wr(R_ACK, 3);
}

static void post(unsigned int i)
{
	q = rx;
	drvq_desc(i, BUFFER_AT + i * 0x1000, 0x1000, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(i);
	rx = q;
	wr(R_NOTIFY, 0);
}

static void receive(unsigned int peer, unsigned int buffer, uint8_t fill)
{
	uint8_t frame[NETDEV_HEADER + FRAME] = { 0 };

	memset(frame + NETDEV_HEADER, fill, FRAME);
	ck_assert_int_eq(send(peers[peer], frame, sizeof(frame), 0), sizeof(frame));
	q = rx;
	ck_assert_uint_eq(drvq_wait(NULL), sizeof(frame));
	rx = q;
	ck_assert_uint_eq(rig.ram->host[BUFFER_AT + buffer * 0x1000 + NETDEV_HEADER], fill);
}

/* A frame leaves, or is lost on the way; the driver has its buffer back in both cases. */
static void transmit_flags(int peer, uint8_t fill, uint8_t flags)
{
	struct net_header header = { .flags = flags };
	uint8_t got[256];

	if (flags)
		header.csum_start = cpu_to_le16(ETHER_HEADER);
	memcpy(rig.ram->host + HEADER_AT, &header, sizeof(header));
	memset(rig.ram->host + HEADER_AT + NETDEV_HEADER, fill, FRAME);
	q = tx;
	drvq_desc(0, HEADER_AT, NETDEV_HEADER + FRAME, 0, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 1);
	ck_assert_uint_eq(drvq_wait(NULL), 0);
	tx = q;
	for (int i = 0; i < 2; i++) {
		ssize_t n = recv(peers[i], got, sizeof(got), 0);

		ck_assert_int_eq(n, i == peer ? (ssize_t)(NETDEV_HEADER + FRAME) : -1);
		if (i == peer)
			ck_assert_uint_eq(got[NETDEV_HEADER], fill);
	}
}

static void transmit(int peer, uint8_t fill)
{
	transmit_flags(peer, fill, 0);
}

START_TEST(empty)
{
	create("virtio-net-device", true);
	start_driver();
	expect_link(false, false);
	post(0);
	transmit(-1, 1);
	ck_assert(!rig_broken());
	ck_assert(device_is_internal(rig.dev));
	ck_assert_uint_eq(rd(R_CONFIG), 0x12005452); /* an address it has all the same */
}
END_TEST

static void come_and_go(void)
{
	start_driver();
	for (unsigned int i = 0; i < 4; i++)
		post(i);
	for (unsigned int round = 0; round < 4; round++) {
		unsigned int which = round % 2;

		expect_link(false, round);
		ck_assert_ptr_null(plug(which ? "virtio-net-mmio,netdev=n1,id=card" :
						"virtio-net-mmio,netdev=n0,id=card,addr=0,vectors=4"));
		expect_link(true, true);
		ck_assert(netdev_in_use(&netdevs[which]));
		/* What it cannot do is not asked of it, whatever the driver took from the slot. */
		ck_assert_uint_eq(offloads_set[which], which ? NETDEV_CSUM : NETDEV_CSUM | NETDEV_TSO4);
		ck_assert_ptr_eq(device_find(&rig.platform, "card"), rig.dev);
		ck_assert_ptr_eq(device_find_user(&rig.platform, &netdevs[which]), rig.dev);
		receive(which, round, 10 + round);
		transmit(which, 20 + round);
		device_unplug(rig.dev);
		ck_assert(!netdev_in_use(&netdevs[which]));
		ck_assert_ptr_null(device_find_user(&rig.platform, &netdevs[which]));
		transmit(-1, 30 + round);
	}
	expect_link(false, true);
	ck_assert(!rig_broken());
}

START_TEST(comes_and_goes)
{
	create("virtio-net-device", true);
	come_and_go();
}
END_TEST

START_TEST(comes_and_goes_on_an_iothread)
{
	iothread = iothread_new("io0", NULL);
	ck_assert_ptr_nonnull(iothread);
	ck_assert_int_eq(link_scope_add(rig.platform.links, LINK_IOTHREAD, "io0", iothread, NULL), 0);
	create("virtio-net-device,iothread=io0", true);
	come_and_go();
}
END_TEST

START_TEST(filled_from_the_start)
{
	create("virtio-net-device,netdev=n0,id=card,mac=02:00:00:00:00:01", false);
	start_driver();
	expect_link(true, false);
	post(0);
	receive(0, 0, 1);
	device_unplug(rig.dev);
	expect_link(false, true);
	ck_assert_str_eq(device_name(rig.dev), "slot0");
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n1"));
	expect_link(true, true);
	post(1);
	receive(1, 1, 2);
}
END_TEST

/* The driver's own address stays the one that it knows until it looks again. */
START_TEST(address)
{
	create("virtio-net-device", true);
	start_driver();
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0,mac=02:00:00:00:00:09"));
	ck_assert_uint_eq(rd(R_CONFIG), 0x12005452);
	wr(R_STATUS, 0);
	ck_assert_uint_eq(rd(R_CONFIG), 0x00000002);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 0x00010900);
	device_unplug(rig.dev);
	/* Without a driver it counts at once; without an address the card keeps what it has. */
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0,mac=02:00:00:00:00:0a"));
	ck_assert_uint_eq(rd(R_CONFIG + 4), 0x00010a00);
	device_unplug(rig.dev);
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0"));
	ck_assert_uint_eq(rd(R_CONFIG + 4), 0x00010a00);
}
END_TEST

START_TEST(features_of_the_next_driver)
{
	create("virtio-net-device", true);
	ck_assert_uint_eq(offered() & (NET_F_HOST_UFO | NET_F_HOST_TSO4), NET_F_HOST_TSO4);
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0"));
	wr(R_STATUS, 0);
	ck_assert_uint_eq(offered() & (NET_F_HOST_UFO | NET_F_HOST_TSO4), NET_F_HOST_UFO | NET_F_HOST_TSO4);
	device_unplug(rig.dev);
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n1"));
	wr(R_STATUS, 0);
	ck_assert_uint_eq(offered() & (NET_F_HOST_UFO | NET_F_HOST_TSO4 | NET_F_CSUM), NET_F_CSUM);
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *text, *part;
	} bad[] = {
		{ "virtio-net-mmio", "netdev" },
		{ "virtio-net-mmio,netdev=none", "none" },
		{ "virtio-net-mmio,netdev=n0,mac=03:00:00:00:00:01", "multicast" },
		{ "virtio-net-mmio,netdev=n0,mac=02:00:00:00:00:xx", "no address" },
		{ "virtio-net-mmio,netdev=n0,mac=02:00:00:00:00:-1", "no address" },
		{ "virtio-net-mmio,netdev=n0,mac=2:00:00:00:00:01a", "no address" },
		{ "virtio-net-mmio,netdev=n0,mac=02:00:00: 0:00:01", "no address" },
		{ "virtio-net-mmio,netdev=n0,id=slot0", "already used" },
		{ "virtio-net-mmio,netdev=n0,queue-size=512", "queue-size" },
		{ "virtio-net-mmio,netdev=n1,mq=on", "one pair of queues" },
		{ "virtio-net-mmio,netdev=n0", "vhost=on is not for replaceable slots" },
	};

	create("virtio-net-device", true);
	start_driver();
	netdevs[1].queue_count = 2;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *text;

		netdevs[0].vhost = i == ARRAY_SIZE(bad) - 1;
		text = plug(bad[i].text);
		ck_assert_msg(text && strstr(text, bad[i].part), "%s: %s", bad[i].text, text ? text : "plugged");
		ck_assert(!netdev_in_use(&netdevs[0]) && !netdev_in_use(&netdevs[1]));
		expect_link(false, false);
	}
	netdevs[0].vhost = false;
	netdevs[1].queue_count = 1;
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0,mq=on"));
	expect_link(true, true);
}
END_TEST

/* A driver that leaves checksums to whoever takes its frames gets no back end that has nobody for that (stream). */
START_TEST(what_the_driver_leaves_to_others)
{
	const char *text;

	create("virtio-net-device", true);
	netdevs[0].offloads = 0;
	ck_assert(negotiate(VIRTIO_F_VERSION_1 | NET_F_STATUS | NET_F_CSUM | NET_F_HOST_TSO4));
	drvq_open(0, 16);
	drvq_open(1, 16);
	tx = q;
	driver_ok();
	for (unsigned int i = 0; i < 2; i++) { /* the other one has checksums, and no segments */
		text = plug(i ? "virtio-net-mmio,netdev=n1" : "virtio-net-mmio,netdev=n0");
		ck_assert_msg(text && strstr(text, "driver"), "%s", text ? text : "plugged");
		ck_assert(!netdev_in_use(&netdevs[i]));
		expect_link(false, false);
	}
	/* The next driver is not offered it. */
	wr(R_STATUS, 0);
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0"));
	wr(R_STATUS, 0);
	ck_assert_uint_eq(offered() & (NET_F_CSUM | NET_F_HOST_TSO4), 0);
	device_unplug(rig.dev);
	/* One that had chosen before and was not ready yet loses such frames. */
	wr(R_STATUS, 0);
	ck_assert(negotiate(VIRTIO_F_VERSION_1 | NET_F_STATUS | NET_F_CSUM));
	drvq_open(0, 16);
	drvq_open(1, 16);
	tx = q;
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0"));
	driver_ok();
	transmit(0, 1);
	transmit_flags(-1, 2, NET_HDR_F_NEEDS_CSUM);
	ck_assert(!rig_broken());
}
END_TEST

static _Atomic bool keeps;

static int fake_flush(struct netdev *netdev, unsigned int queue)
{
	(void)netdev;
	(void)queue;
	return keeps ? -EAGAIN : 0;
}

static int fake_send(struct netdev *netdev, unsigned int queue, const struct iovec *iov, unsigned int count)
{
	(void)netdev;
	(void)queue;
	(void)iov;
	(void)count;
	return 0;
}

/* It leaves while a rest of a frame waits for its descriptor: nobody looks at that any more. */
START_TEST(with_a_frame_half_sent)
{
	static const struct netdev_ops keeping_ops = { .set_offloads = fake_offloads, .set_queue = fake_queue,
						       .flush = fake_flush, .send = fake_send };
	struct loop *loop;
	uint64_t before;

	iothread = iothread_new("io0", NULL);
	ck_assert_ptr_nonnull(iothread);
	loop = iothread_loop(iothread);
	ck_assert_int_eq(link_scope_add(rig.platform.links, LINK_IOTHREAD, "io0", iothread, NULL), 0);
	netdevs[0].ops = &keeping_ops;
	create("virtio-net-device,iothread=io0", true);
	start_driver();
	for (unsigned int round = 0; round < 20; round++) {
		keeps = false;
		ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0"));
		keeps = true;
		wr(R_NOTIFY, 1);
		device_unplug(rig.dev);
		transmit(-1, 1); /* behind all that was to do */
		before = loop_work(loop);
		ck_assert(!run_until(NULL, 5));
		ck_assert_uint_le(loop_work(loop), before + 2); /* the last handler may count itself late */
	}
}
END_TEST

/* Buffers that wait for a frame are the next back end's; the guest is stopped meanwhile. */
START_TEST(over_a_pause)
{
	create("virtio-net-device", true);
	start_driver();
	post(0);
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n0"));
	ck_assert(!run_until(NULL, 20));
	devices_quiesce(&rig.platform);
	device_unplug(rig.dev);
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n1"));
	devices_resume(&rig.platform);
	receive(1, 0, 7);
	netdev_set_link(&netdevs[1], false);
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, 0);
	device_unplug(rig.dev);
	ck_assert_ptr_null(plug("virtio-net-mmio,netdev=n1"));
	ck_assert_uint_eq(rd(R_CONFIG + 4) >> 16, 0); /* the cable is still cut */
}
END_TEST

UNIT_SUITE_WITH(slot_suite, "virtio_net_slot", setup, teardown, empty, comes_and_goes,
		comes_and_goes_on_an_iothread, filled_from_the_start, address,
		features_of_the_next_driver, refused, what_the_driver_leaves_to_others, with_a_frame_half_sent, over_a_pause)

UNIT_MAIN(slot_suite)
