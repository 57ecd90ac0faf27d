/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-serial and its ports: the control conversation, both directions, back-pressure, resets,
 * removal, hostile drivers. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "chardev/chardev.h"
#include "virtio/classes.h"
#include "virtio_rig.h"

#define F_SIZE 1ULL
#define F_MULTIPORT 2ULL
#define F_ALL (VIRTIO_F_VERSION_1 | F_SIZE | F_MULTIPORT)

enum {
	DEVICE_READY,
	PORT_ADD,
	PORT_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME
};

#define BUF 0x100000 /* guest addresses of buffers */
#define NAME_MAX_TEST 64

struct message {
	uint32_t id;
	uint16_t event, value;
	char rest[NAME_MAX_TEST];
	uint32_t rest_len;
};

static struct chardev *chardevs[4];
static int peers[4]; /* our end of each back end */
static unsigned int events;
static struct device_event_info last_event;

static void on_event(struct platform *platform, enum device_event what,
		     const struct device_event_info *info)
{
	(void)platform;
	ck_assert_int_eq(what, DEVICE_EVENT_PORT);
	events++;
	last_event = *info;
}

static void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_serial_mmio_class,
							      &virtconsole_class,
							      &virtserialport_class, NULL };

	rig_open(classes);
	rig.platform.event = on_event;
	memset(chardevs, 0, sizeof(chardevs));
	for (unsigned int i = 0; i < 4; i++)
		peers[i] = -1;
	events = 0;
}

static void teardown(void)
{
	devices_destroy(&rig.platform);
	for (unsigned int i = 0; i < 4; i++) {
		chardev_free(chardevs[i]);
		if (peers[i] >= 0)
			close(peers[i]);
	}
	rig_close();
}

static void add_chardev(unsigned int i, const char *text)
{
	struct opts *opts;
	struct error *err = NULL;

	ck_assert_int_eq(opts_parse("-chardev", text, "backend", &opts, NULL), 0);
	ck_assert_msg(!chardev_new(opts, rig.loop, rig.platform.links, &chardevs[i], &err), "%s",
		      err ? error_text(err) : "");
	opts_free(opts);
}

/* Back end "c<i>": a pseudo terminal of its own; we hold the other end. */
static void add_pty(unsigned int i)
{
	char text[16];

	snprintf(text, sizeof(text), "pty,id=c%u", i);
	add_chardev(i, text);
	peers[i] = open(chardev_filename(chardevs[i]) + strlen("pty:"),
			O_RDWR | O_NOCTTY | O_NONBLOCK);
	ck_assert_int_ge(peers[i], 0);
}

/* Back end "c<i>": nobody. */
static void add_null(unsigned int i)
{
	char text[16];

	snprintf(text, sizeof(text), "null,id=c%u", i);
	add_chardev(i, text);
}

static void make(const char *text)
{
	const char *why = rig_create(text);

	ck_assert_msg(!why, "%s", why);
}

/* --- a driver with several queues: the rig's helpers work on one at a time --- */

static struct drvq qs[8];

static void use(unsigned int index)
{
	q = qs[index];
}

static void put(void)
{
	qs[q.index] = q;
}

static void open_queues(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		drvq_open((uint16_t)i, 16);
		put();
	}
}

static void post(unsigned int index, unsigned int desc, uint64_t addr, uint32_t len, uint16_t flags)
{
	use(index);
	drvq_desc(desc, addr, len, flags, 0);
	drvq_publish((uint16_t)desc);
	put();
	wr(R_NOTIFY, index);
}

static uint32_t wait_used(unsigned int index, uint16_t *head)
{
	uint32_t len;

	use(index);
	len = drvq_wait(head);
	put();
	return len;
}

static bool idle(unsigned int index, unsigned int ms)
{
	bool used;

	use(index);
	used = run_until(drvq_used, ms);
	put();
	return !used;
}

static void send_control(uint32_t id, uint16_t event, uint16_t value)
{
	uint8_t *p = rig.ram->host + BUF + 0x8000;

	memcpy(p, &(uint32_t){ htole32(id) }, 4);
	memcpy(p + 4, &(uint16_t){ htole16(event) }, 2);
	memcpy(p + 6, &(uint16_t){ htole16(value) }, 2);
	post(3, 0, BUF + 0x8000, 8, 0);
	ck_assert_uint_eq(wait_used(3, NULL), 0);
}

static void post_control_buffers(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		post(2, i, BUF + 0x9000 + i * 256, 256, VIRTQ_DESC_F_WRITE);
}

static struct message next_control(void)
{
	struct message m = { 0 };
	uint16_t head;
	uint32_t len = wait_used(2, &head);
	const uint8_t *p = rig.ram->host + BUF + 0x9000 + head * 256;

	ck_assert_uint_ge(len, 8);
	memcpy(&m.id, p, 4);
	memcpy(&m.event, p + 4, 2);
	memcpy(&m.value, p + 6, 2);
	m.rest_len = len - 8;
	ck_assert_uint_lt(m.rest_len, sizeof(m.rest));
	memcpy(m.rest, p + 8, m.rest_len);
	post(2, head, BUF + 0x9000 + head * 256, 256, VIRTQ_DESC_F_WRITE);
	return m;
}

static void expect(uint32_t id, uint16_t event, uint16_t value)
{
	struct message m = next_control();

	ck_assert_msg(m.id == id && m.event == event && m.value == value, "%u %u %u, not %u %u %u",
		      m.id, m.event, m.value, id, event, value);
}

/* Up to DRIVER_OK with every queue of two ports. */
static void drive(uint64_t features)
{
	ck_assert(negotiate(features));
	open_queues(features & F_MULTIPORT ? 6 : 2);
	driver_ok();
}

/* A console at 0, a port at 1, both open. */
static void start_both(void)
{
	add_pty(0);
	add_pty(1);
	make("virtio-serial-device,id=vs,max_ports=2");
	make("virtconsole,chardev=c0,id=con");
	make("virtserialport,chardev=c1,id=port,name=org.test.0");
	drive(F_ALL);
	post_control_buffers(8);
	send_control(0, DEVICE_READY, 1);
	expect(0, PORT_ADD, 1);
	expect(1, PORT_ADD, 1);
	send_control(0, PORT_READY, 1);
	expect(0, CONSOLE_PORT, 1);
	expect(0, PORT_OPEN, 1);
	send_control(1, PORT_READY, 1);
	expect(1, PORT_NAME, 1);
	expect(1, PORT_OPEN, 1);
	send_control(0, PORT_OPEN, 1);
	send_control(1, PORT_OPEN, 1);
}

/* --- options --- */

START_TEST(bad_options)
{
	static const struct {
		const char *device, *part;
	} bad[] = {
		{ "virtio-serial-device,max_ports=0", "[1, 31]" },
		{ "virtio-serial-device,max_ports=32", "[1, 31]" },
		{ "virtconsole", "chardev" },
		{ "virtconsole,chardev=nobody", "nobody" },
		{ "virtconsole,chardev=c0", "already in use" },
		{ "virtserialport,chardev=c1,nr=0", "nr=0 is reserved for a virtconsole" },
		{ "virtserialport,chardev=c1,nr=4", "out of range [1, 3]" },
		{ "virtserialport,chardev=c1,nr=31", "out of range [0, 30]" },
		{ "virtconsole,chardev=c1,nr=0", "already taken by 'con'" },
		{ "virtserialport,chardev=c1,bus=other.0", "no such virtio-serial device" },
		{ "virtserialport,chardev=c1,bus=vs.1", "no such virtio-serial device" },
		{ "virtserialport,chardev=c1,name=console", "already the name of 'con'" },
		{ "virtserialport,chardev=c1,name=", "name" },
	};

	add_null(0);
	add_null(1);
	add_null(2);
	ck_assert_ptr_nonnull(
		strstr(rig_create("virtconsole,chardev=c0"), "it needs a virtio-serial-device"));
	make("virtio-serial-device,id=vs,max_ports=4");
	make("virtconsole,chardev=c0,id=con,name=console,bus=vs.0");
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *text;

		if (!strncmp(bad[i].device, "virtio-serial", 13)) /* the rig has one slot */
			rig.slot_taken = false;
		text = rig_create(bad[i].device);
		rig.slot_taken = true;
		ck_assert_msg(text && strstr(text, bad[i].part), "%s: %s", bad[i].device,
			      text ? text : "made");
	}
	make("virtserialport,chardev=c1,bus=vs");
	make("virtconsole,chardev=c2,nr=3");
}
END_TEST

START_TEST(number_of_queues)
{
	make("virtio-serial-device,id=vs,max_ports=2");
	ck_assert_uint_eq(rd(R_DEVICE_ID), 3);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 2);
	for (unsigned int i = 0; i < 7; i++) {
		wr(R_QUEUE_SEL, i);
		ck_assert_uint_eq(rd(R_NUM_MAX), i == 6 ? 0 : i == 2 || i == 3 ? 32 : 128);
	}
	ck_assert_uint_eq(offered() & 7, 7);
}
END_TEST

/* --- data --- */

START_TEST(single_port)
{
	char text[8] = "";

	add_pty(0);
	make("virtio-serial-device,max_ports=1");
	make("virtconsole,chardev=c0");
	ck_assert_uint_eq(offered() & F_MULTIPORT, 0);
	drive(VIRTIO_F_VERSION_1);
	memcpy(rig.ram->host + BUF, "hello", 5);
	post(1, 0, BUF, 5, 0);
	ck_assert_uint_eq(wait_used(1, NULL), 0);
	ck_assert_int_eq(read(peers[0], text, sizeof(text)), 5);
	ck_assert_str_eq(text, "hello");
	/* Input that came first waits for the buffer. */
	ck_assert_int_eq(write(peers[0], "typed", 5), 5);
	ck_assert(idle(0, 30));
	post(0, 0, BUF, 64, VIRTQ_DESC_F_WRITE);
	ck_assert_uint_eq(wait_used(0, NULL), 5);
	ck_assert_mem_eq(rig.ram->host + BUF, "typed", 5);
}
END_TEST

START_TEST(both_ports)
{
	char text[8] = "";
	struct message m;

	start_both();
	memcpy(rig.ram->host + BUF, "one", 3);
	memcpy(rig.ram->host + BUF + 16, "two", 3);
	post(1, 0, BUF, 3, 0);
	post(5, 0, BUF + 16, 3, 0);
	wait_used(1, NULL);
	wait_used(5, NULL);
	ck_assert_int_eq(read(peers[0], text, sizeof(text)), 3);
	ck_assert_str_eq(text, "one");
	ck_assert_int_eq(read(peers[1], text, sizeof(text)), 3);
	ck_assert_str_eq(text, "two");
	/* The name. */
	send_control(1, PORT_READY, 1);
	m = next_control();
	ck_assert_int_eq(m.event, PORT_NAME);
	ck_assert_uint_eq(m.rest_len, strlen("org.test.0"));
	ck_assert_mem_eq(m.rest, "org.test.0", m.rest_len);
	/* Input goes to a port while the guest has it open, and only then. */
	expect(1, PORT_OPEN, 1);
	post(4, 0, BUF, 64, VIRTQ_DESC_F_WRITE);
	send_control(1, PORT_OPEN, 0);
	ck_assert_int_eq(write(peers[1], "x", 1), 1);
	ck_assert(idle(4, 30));
	send_control(1, PORT_OPEN, 1);
	ck_assert_uint_eq(wait_used(4, NULL), 1);
}
END_TEST

START_TEST(operator_hears)
{
	start_both();
	ck_assert(!run_until(NULL, 5));
	ck_assert_uint_eq(events, 2);
	ck_assert_str_eq(last_event.dev->id, "port");
	ck_assert(last_event.open);
	send_control(1, PORT_OPEN, 1); /* no change */
	ck_assert(!run_until(NULL, 5));
	ck_assert_uint_eq(events, 2);
	send_control(1, PORT_OPEN, 0);
	ck_assert(!run_until(NULL, 5));
	ck_assert_uint_eq(events, 3);
	ck_assert(!last_event.open);
	/* A reset closes what is open. */
	wr(R_STATUS, 0);
	ck_assert(!run_until(NULL, 5));
	ck_assert_uint_eq(events, 4);
	ck_assert_str_eq(last_event.dev->id, "con");
}
END_TEST

START_TEST(terminal_size)
{
	struct winsize size = { .ws_row = 50, .ws_col = 132 };
	struct message m;

	add_pty(0);
	ck_assert_int_eq(ioctl(peers[0], TIOCSWINSZ, &size), 0);
	make("virtio-serial-device,max_ports=2");
	make("virtconsole,chardev=c0");
	ck_assert_uint_eq(rd(R_CONFIG), 132 | 50 << 16);
	drive(F_ALL);
	post_control_buffers(8);
	send_control(0, DEVICE_READY, 1);
	expect(0, PORT_ADD, 1);
	send_control(0, PORT_READY, 1);
	expect(0, CONSOLE_PORT, 1);
	expect(0, PORT_OPEN, 1);
	m = next_control();
	ck_assert_uint_eq(m.event, RESIZE);
	ck_assert_uint_eq(m.rest_len, 4);
	ck_assert_mem_eq(m.rest, ((uint8_t[]){ 50, 0, 132, 0 }), 4);
}
END_TEST

START_TEST(emergency_write)
{
	char c = 0;

	add_pty(0);
	make("virtio-serial-device");
	wr(R_CONFIG + 8, 'x'); /* nobody there */
	make("virtconsole,chardev=c0");
	wr(R_CONFIG + 8, '!'); /* without a driver, before any status */
	ck_assert_int_eq(read(peers[0], &c, 1), 1);
	ck_assert_int_eq(c, '!');
	wr(R_CONFIG, 0xffffffff); /* the other fields are read only */
	wr(R_CONFIG + 4, 0xffffffff);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 31);
	ck_assert_int_eq(read(peers[0], &c, 1), -1);
}
END_TEST

/* --- back-pressure --- */

static int connect_to(const char *path)
{
	struct sockaddr_un {
		sa_family_t family;
		char path[108];
	} addr = { .family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(addr.path, path);
	ck_assert_int_eq(connect(fd, (void *)&addr, sizeof(addr)), 0);
	return fd;
}

static uint64_t received;
static bool in_order;

/* The guest's stream is the byte's number; reads what is there. */
static void drain(int fd)
{
	uint8_t buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, received++)
			in_order = in_order && buf[i] == (uint8_t)(received * 7 + (received >> 8));
}

START_TEST(slow_reader_loses_nothing)
{
	const uint32_t chunk = 8192;
	char option[128], path[] = "./unit-console-test-XXXXXX";
	uint64_t sent = 0, total = 3 * MIB;
	unsigned int idle_rounds = 0;
	bool waiting = false;

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(option, sizeof(option), "socket,id=c0,path=%s/s,server=on,wait=off", path);
	add_chardev(0, option);
	make("virtio-serial-device,max_ports=1");
	make("virtconsole,chardev=c0");
	drive(VIRTIO_F_VERSION_1);
	snprintf(option, sizeof(option), "%s/s", path);
	peers[0] = connect_to(option);
	ck_assert(!run_until(NULL, 20));
	received = 0;
	in_order = true;
	while (sent < total || waiting) {
		if (!waiting && sent < total) {
			uint8_t *p = rig.ram->host + BUF;

			for (uint32_t i = 0; i < chunk; i++, sent++)
				p[i] = (uint8_t)(sent * 7 + (sent >> 8));
			post(1, 0, BUF, chunk, 0);
			waiting = true;
		}
		use(1);
		if (run_until(drvq_used, 5)) {
			drvq_wait(NULL);
			waiting = false;
		} else {
			/* Full: everything waits for the reader, who comes only now. */
			idle_rounds++;
			drain(peers[0]);
		}
		put();
	}
	for (unsigned int i = 0; i < 200 && received < total; i++) {
		drain(peers[0]);
		run_until(NULL, 2);
	}
	ck_assert_uint_gt(idle_rounds, 0);
	ck_assert_uint_eq(received, total);
	ck_assert(in_order);
	unlink(option);
	rmdir(path);
}
END_TEST

START_TEST(vanished_reader_blocks_nobody)
{
	char option[128], path[] = "./unit-console-test-XXXXXX";
	unsigned int posted = 0;

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(option, sizeof(option), "socket,id=c0,path=%s/s,server=on,wait=off", path);
	add_chardev(0, option);
	make("virtio-serial-device,max_ports=1");
	make("virtconsole,chardev=c0");
	drive(VIRTIO_F_VERSION_1);
	snprintf(option, sizeof(option), "%s/s", path);
	/* Nobody there yet: dropped. */
	post(1, 0, BUF, 64 * KIB, 0);
	wait_used(1, NULL);
	peers[0] = connect_to(option);
	ck_assert(!run_until(NULL, 20));
	do {
		ck_assert_uint_lt(++posted, 100);
		post(1, 0, BUF, 64 * KIB, 0);
	} while (!idle(1, 20) && wait_used(1, NULL) == 0);
	close(peers[0]);
	peers[0] = -1;
	wait_used(1, NULL); /* the one that was stuck */
	post(1, 0, BUF, 64 * KIB, 0);
	wait_used(1, NULL);
	unlink(option);
	rmdir(path);
}
END_TEST

/* A console's peer that is there and reads nothing does not stop the guest, which spins for its
 * buffer. */
START_TEST(idle_reader_of_a_console)
{
	char option[128], path[] = "./unit-console-test-XXXXXX";
	unsigned int posted = 0;
	int64_t begin;

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(option, sizeof(option), "socket,id=c0,path=%s/s,server=on,wait=off", path);
	add_chardev(0, option);
	make("virtio-serial-device,max_ports=1");
	make("virtconsole,chardev=c0");
	drive(VIRTIO_F_VERSION_1);
	snprintf(option, sizeof(option), "%s/s", path);
	peers[0] = connect_to(option);
	ck_assert(!run_until(NULL, 20));
	do {
		ck_assert_uint_lt(++posted, 100);
		post(1, 0, BUF, 64 * KIB, 0);
	} while (!idle(1, 20) && wait_used(1, NULL) == 0);
	begin = clock_now_ns();
	wait_used(1, NULL);
	ck_assert_int_gt(clock_now_ns() - begin, 500 * NSEC_PER_MSEC);
	begin = clock_now_ns();
	for (unsigned int i = 0; i < 20; i++) {
		post(1, 0, BUF, 64 * KIB, 0);
		wait_used(1, NULL);
	}
	ck_assert_int_lt(clock_now_ns() - begin, 900 * NSEC_PER_MSEC); /* no second each */
	/* It reads again, and is sent to again. */
	received = 0;
	for (unsigned int i = 0; i < 50; i++) {
		drain(peers[0]);
		run_until(NULL, 2);
	}
	received = 0;
	post(1, 0, BUF, 1000, 0);
	wait_used(1, NULL);
	ck_assert(!run_until(NULL, 20));
	drain(peers[0]);
	ck_assert_uint_eq(received, 1000);
	unlink(option);
	rmdir(path);
}
END_TEST

START_TEST(host_open_is_told)
{
	char option[128], path[] = "./unit-console-test-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(option, sizeof(option), "socket,id=c0,path=%s/s,server=on,wait=off", path);
	add_chardev(0, option);
	make("virtio-serial-device,max_ports=2");
	make("virtserialport,chardev=c0,nr=1");
	drive(F_ALL);
	post_control_buffers(8);
	send_control(0, DEVICE_READY, 1);
	expect(1, PORT_ADD, 1);
	send_control(1, PORT_READY, 1);
	expect(1, PORT_OPEN, 0);
	snprintf(option, sizeof(option), "%s/s", path);
	peers[0] = connect_to(option);
	expect(1, PORT_OPEN, 1);
	/* Its last words are for the guest before it hears that the peer went. */
	ck_assert_int_eq(write(peers[0], "bye", 3), 3);
	close(peers[0]);
	peers[0] = -1;
	ck_assert(idle(2, 20));
	send_control(1, PORT_OPEN, 1);
	post(4, 0, BUF, 64, VIRTQ_DESC_F_WRITE);
	post(4, 1, BUF + 64, 64, VIRTQ_DESC_F_WRITE);
	ck_assert_uint_eq(wait_used(4, NULL), 3);
	expect(1, PORT_OPEN, 0);
	unlink(option);
	rmdir(path);
}
END_TEST

/* --- life --- */

START_TEST(pause_keeps_everything)
{
	start_both();
	post(4, 0, BUF, 64, VIRTQ_DESC_F_WRITE);
	ck_assert(!run_until(NULL, 20)); /* the buffer is held */
	devices_quiesce(&rig.platform);
	ck_assert_int_eq(write(peers[1], "abc", 3), 3);
	ck_assert(idle(4, 30));
	devices_resume(&rig.platform);
	ck_assert_uint_eq(wait_used(4, NULL), 3);
	ck_assert_mem_eq(rig.ram->host + BUF, "abc", 3);
	/* The conversation goes on where it was. */
	send_control(1, PORT_READY, 1);
	expect(1, PORT_NAME, 1);
	expect(1, PORT_OPEN, 1);
}
END_TEST

START_TEST(reset_begins_anew)
{
	start_both();
	post(4, 0, BUF, 64, VIRTQ_DESC_F_WRITE);
	ck_assert(!run_until(NULL, 20));
	drive(F_ALL);
	post_control_buffers(8);
	ck_assert(idle(2, 30)); /* nothing is said before the driver asks */
	post(4, 0, BUF, 64, VIRTQ_DESC_F_WRITE);
	ck_assert_int_eq(write(peers[1], "x", 1), 1);
	ck_assert(idle(4, 30)); /* nothing is open */
	send_control(0, DEVICE_READY, 1);
	expect(0, PORT_ADD, 1);
	expect(1, PORT_ADD, 1);
	send_control(1, PORT_OPEN, 1);
	ck_assert_uint_eq(wait_used(4, NULL), 1);
}
END_TEST

START_TEST(ports_come_and_go)
{
	start_both();
	post(4, 0, BUF, 64, VIRTQ_DESC_F_WRITE);
	ck_assert(!run_until(NULL, 20));
	device_destroy(device_find(&rig.platform, "port"));
	expect(1, PORT_REMOVE, 1);
	/* Output to where it was goes nowhere, and does not stay. */
	post(5, 0, BUF, 64, 0);
	wait_used(5, NULL);
	send_control(1, PORT_OPEN, 1);
	make("virtserialport,chardev=c1,id=port2,nr=1");
	expect(1, PORT_ADD, 1);
	send_control(1, PORT_READY, 1);
	expect(1, PORT_OPEN, 1);
	send_control(1, PORT_OPEN, 1);
	ck_assert_int_eq(write(peers[1], "y", 1), 1);
	ck_assert_uint_eq(wait_used(4, NULL), 1); /* the buffer that was there before */
}
END_TEST

START_TEST(device_goes_before_its_ports)
{
	start_both();
	device_destroy(device_find(&rig.platform, "vs"));
	ck_assert_int_eq(write(peers[1], "y", 1), 1);
	ck_assert(!run_until(NULL, 20));
	device_destroy(device_find(&rig.platform, "port"));
}
END_TEST

/* --- hostile drivers --- */

/* split-header: a control message over every two descriptors. */
START_TEST(split_header)
{
	start_both();
	for (unsigned int cut = 1; cut < 8; cut++) {
		uint8_t *p = rig.ram->host + BUF + 0x8000;

		memcpy(p, "\1\0\0\0\3\0\1\0", 8); /* port 1: PORT_READY 1 */
		use(3);
		drvq_desc(0, BUF + 0x8000, cut, VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, BUF + 0x8000 + cut, 8 - cut, 0, 0);
		drvq_publish(0);
		put();
		wr(R_NOTIFY, 3);
		wait_used(3, NULL);
		expect(1, PORT_NAME, 1);
		expect(1, PORT_OPEN, 1);
	}
}
END_TEST

START_TEST(chain_error)
{
	/* One wrong chain for each queue of each kind, and life after the reset. */
	static const struct {
		unsigned int queue;
		uint16_t flags;
		uint32_t len;
	} bad[] = {
		{ 0, 0, 8 },
		{ 1, VIRTQ_DESC_F_WRITE, 8 },
		{ 2, 0, 64 },
		{ 2, VIRTQ_DESC_F_WRITE, 7 },
		{ 3, VIRTQ_DESC_F_WRITE, 8 },
		{ 3, 0, 7 },
		{ 4, 0, 8 },
		{ 5, VIRTQ_DESC_F_WRITE, 8 },
		{ 1, 0, 0 },
		{ 4, VIRTQ_DESC_F_WRITE, 0xffffffff },
		{ 5, VIRTQ_DESC_F_INDIRECT, 16 },
	};

	add_pty(0);
	add_pty(1);
	make("virtio-serial-device,id=vs,max_ports=2");
	make("virtconsole,chardev=c0,id=con");
	make("virtserialport,chardev=c1,id=port");
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		drive(F_ALL);
		if (bad[i].queue != 2)
			post_control_buffers(8);
		send_control(0, DEVICE_READY, 1);
		send_control(0, PORT_OPEN, 1);
		send_control(1, PORT_OPEN, 1);
		if (bad[i].queue != 2) {
			send_control(0, PORT_OPEN, 1); /* now that it was added */
			send_control(1, PORT_OPEN, 1);
		}
		post(bad[i].queue, 15, BUF, bad[i].len, bad[i].flags);
		ck_assert_msg(run_until(rig_broken, 5000), "case %u", i);
	}
	drive(F_ALL);
	post(1, 0, BUF, 8, 0);
	wait_used(1, NULL);
}
END_TEST

START_TEST(strange_messages)
{
	start_both();
	send_control(2, PORT_READY, 1); /* no such port */
	send_control(0x80000000, PORT_OPEN, 1);
	send_control(0xffffffff, PORT_READY, 1);
	send_control(0, 99, 1);
	send_control(0, PORT_ADD, 1); /* ours to say */
	send_control(0, PORT_READY, 0);
	ck_assert(idle(2, 20));
	/* Asked a thousand times without a buffer to answer to: nothing grows, one answer is there
	 * in the end. */
	drive(F_ALL);
	send_control(0, DEVICE_READY, 1);
	for (unsigned int i = 0; i < 1000; i++)
		send_control(0, DEVICE_READY, 1);
	post_control_buffers(8);
	expect(0, PORT_ADD, 1);
	expect(1, PORT_ADD, 1);
	ck_assert(idle(2, 20));
	ck_assert(!rig_broken());
}
END_TEST

UNIT_SUITE_WITH(console_suite, "virtio_console", setup, teardown, bad_options, number_of_queues,
		single_port, both_ports, operator_hears, terminal_size, emergency_write,
		slow_reader_loses_nothing, vanished_reader_blocks_nobody, idle_reader_of_a_console,
		host_open_is_told, pause_keeps_everything, reset_begins_anew, ports_come_and_go,
		device_goes_before_its_ports, split_header, chain_error, strange_messages)

UNIT_MAIN(console_suite)
