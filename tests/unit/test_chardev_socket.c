/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "fake_user.h"

static const struct device_class *const classes[] = { NULL };
static struct fake_machine m;
static struct fake_user user;
static char dir[] = "./unit-XXXXXX";
static char path[64];

static void setup(void)
{
	fake_machine_init(&m, classes);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
}

static void teardown(void)
{
	fake_machine_release(&m);
	ck_assert_int_eq(rmdir(dir), 0); /* no socket file stays behind */
}

static const char *with_path(const char *fmt)
{
	static char text[192];

	snprintf(text, sizeof(text), fmt, path);
	return text;
}

static struct sockaddr_un address(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	strcpy(un.sun_path, path);
	return un;
}

static int try_dial(void)
{
	struct sockaddr_un un = address();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&un, sizeof(un))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int dial(void)
{
	int fd = try_dial();

	ck_assert_int_ge(fd, 0);
	return fd;
}

static int listen_here(void)
{
	struct sockaddr_un un = address();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	return fd;
}

/* --- conditions to wait for: how often the peer came and went, how much was received --- */

static unsigned int want;

static bool opened(void *opaque)
{
	(void)opaque;
	return user.opened == want;
}

static bool closed(void *opaque)
{
	(void)opaque;
	return user.closed == want;
}

static bool got_bytes(void *opaque)
{
	(void)opaque;
	return user.len >= want;
}

static bool writable(void *opaque)
{
	(void)opaque;
	return user.writable == want;
}

#define ck_until_is(condition, n)                                                                  \
	do {                                                                                       \
		want = (n);                                                                        \
		ck_until(&m, condition);                                                           \
	} while (0)

static int peer;
static char peer_got[1 << 20];
static size_t peer_len;

static bool peer_has(void *opaque)
{
	ssize_t n;

	(void)opaque;
	while ((n = read(peer, peer_got + peer_len, sizeof(peer_got) - peer_len)) > 0)
		peer_len += (size_t)n;
	return peer_len >= want;
}

/* --- tests --- */

START_TEST(unix_server_serves_one_after_the_other)
{
	struct chardev *chr;
	struct stat st;
	int second;

	setup();
	umask(0); /* the mode does not come from the umask */
	chr = make_chardev(&m, with_path("socket,id=s,path=%s,server,nowait"));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_ptr_nonnull(strstr(chardev_filename(chr), ",server=on"));
	fake_attach(chr, &user, 1000);
	ck_assert_uint_eq(user.opened, 0);
	/* Nobody there: output is taken and dropped. */
	ck_assert_uint_eq(chardev_write(chr, "early", 5), 5);
	peer = dial();
	ck_until_is(opened, 1);
	ck_assert_uint_eq(chardev_write(chr, "hello", 5), 5);
	ck_until_is(peer_has, 5);
	ck_assert_mem_eq(peer_got, "hello", 5);
	ck_assert_int_eq(write(peer, "world", 5), 5);
	ck_until_is(got_bytes, 5);
	ck_assert_mem_eq(user.got, "world", 5);
	/* The second waits until the first has gone. */
	second = dial();
	ck_assert_int_eq(write(second, "2nd", 3), 3);
	run_rounds(m.platform.main_loop, 5);
	ck_assert_uint_eq(user.len, 5);
	close(peer);
	ck_until_is(got_bytes, 8);
	ck_assert_uint_eq(user.closed, 1);
	ck_assert_uint_eq(user.opened, 2);
	ck_assert_mem_eq(user.got, "world2nd", 8);
	close(second);
	ck_until_is(closed, 2);
	ck_assert_uint_eq(chardev_write(chr, "late", 4), 4);
	chardev_free(chr);
	ck_assert_int_eq(stat(path, &st), -1);
	teardown();
}
END_TEST

START_TEST(socket_file_of_others_is_left_alone)
{
	struct chardev *chr;
	unsigned int waiting = 0;
	struct error *err;
	int fd, callers[64];
	struct stat st;

	setup();
	/* Somebody listens there: refused, and he keeps his socket. */
	fd = listen_here();
	err = refuse_chardev(&m, with_path("socket,id=s,path=%s,server=on,wait=off"));
	ck_assert_ptr_nonnull(strstr(error_text(err), "somebody listens on unix:"));
	error_free(err);
	close(dial());
	/* Not even when he is too busy to take our call. */
	while (waiting < ARRAY_SIZE(callers) && (callers[waiting] = try_dial()) >= 0)
		waiting++;
	ck_assert_uint_lt(waiting, ARRAY_SIZE(callers));
	error_free(refuse_chardev(&m, with_path("socket,id=s,path=%s,server=on,wait=off")));
	ck_assert_int_eq(stat(path, &st), 0);
	while (waiting)
		close(callers[--waiting]);
	close(fd);
	/* Nobody listens any more: replaced. */
	chr = make_chardev(&m, with_path("socket,id=s,path=%s,server=on,wait=off"));
	close(dial());
	/* Ours was replaced by another: not removed. */
	unlink(path);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	chardev_free(chr);
	ck_assert_int_eq(stat(path, &st), 0);
	/* Not a socket at all: never touched. */
	err = refuse_chardev(&m, with_path("socket,id=s,path=%s,server=on,wait=off"));
	ck_assert_ptr_nonnull(strstr(error_text(err), "is not a socket"));
	error_free(err);
	ck_assert_int_eq(unlink(path), 0);
	teardown();
}
END_TEST

START_TEST(options_that_exclude_each_other)
{
	setup();
	ck_assert_refused(&m, "socket,id=s",
			  "-chardev socket,id=s: give one of path=, host=/port= and fd=");
	ck_assert_refused(&m, "socket,id=s,path=/x,port=1",
			  "-chardev socket,id=s: give one of path=, host=/port= and fd=");
	ck_assert_refused(&m, "socket,id=s,host=localhost",
			  "-chardev socket,id=s: port= is missing");
	ck_assert_refused(&m, "socket,id=s,host=example.org,port=1",
			  "-chardev socket,id=s: host=example.org is not an IPv4 or IPv6 address "
			  "or localhost");
	ck_assert_refused(&m, "socket,id=s,port=1,server=on,reconnect=1",
			  "-chardev socket,id=s: reconnect= is for clients, not for server=on");
	ck_assert_refused(&m, "socket,id=s,port=1,server,nowait,wait=on",
			  "-chardev socket,id=s: wait= and nowait exclude each other");
	ck_assert_refused(&m, "socket,id=s,fd=x",
			  "-chardev socket,id=s: fd=x is neither a descriptor number nor the name of one");
	ck_assert_refused(
		&m, "socket,id=s,fd=0",
		"-chardev socket,id=s: fd=0 is not an open socket: Socket operation on non-socket");
	teardown();
}
END_TEST

static uint16_t port_of(const struct chardev *chr)
{
	const char *colon = strrchr(chardev_filename(chr), ':');
	unsigned int port = 0;

	ck_assert_int_eq(sscanf(colon, ":%u", &port), 1);
	ck_assert_uint_gt(port, 0);
	return (uint16_t)port;
}

START_TEST(tcp_server_and_client)
{
	struct fake_user client_user;
	struct chardev *server, *client;
	char text[64];

	setup();
	for (int six = 0; six < 2; six++) {
		server = make_chardev(&m, six ? "socket,id=s,host=::1,port=0,server,nowait"
					      : "socket,id=s,host=127.0.0.1,port=0,server,nowait");
		snprintf(text, sizeof(text), "socket,id=c,host=%s,port=%u",
			 six ? "::1" : "localhost", port_of(server));
		fake_attach(server, &user, 100);
		client = make_chardev(&m, text);
		fake_attach(client, &client_user, 100);
		ck_assert_uint_eq(client_user.opened, 1);
		ck_assert_uint_eq(chardev_write(client, "ping", 4), 4);
		ck_until_is(got_bytes, 4);
		ck_assert_mem_eq(user.got, "ping", 4);
		chardev_free(client);
		ck_until_is(closed, 1);
		chardev_free(server);
	}
	teardown();
}
END_TEST

START_TEST(client_reconnects)
{
	struct chardev *chr;
	struct error *err;
	int listener;

	setup();
	/* Without reconnect= nobody there is an error. */
	err = refuse_chardev(&m, with_path("socket,id=s,path=%s"));
	ck_assert_ptr_nonnull(strstr(error_text(err), "cannot connect to unix:"));
	error_free(err);
	chr = make_chardev(&m, with_path("socket,id=s,path=%s,reconnect=1"));
	fake_attach(chr, &user, 100);
	ck_assert_uint_eq(user.opened, 0);
	ck_assert_uint_eq(chardev_write(chr, "dropped", 7), 7);
	listener = listen_here();
	for (unsigned int round = 1; round <= 2; round++) {
		ck_until_is(opened, round);
		peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		ck_assert_int_ge(peer, 0);
		peer_len = 0;
		ck_assert_uint_eq(chardev_write(chr, "again", 5), 5);
		ck_until_is(peer_has, 5);
		close(peer);
		ck_until_is(closed, round);
	}
	close(listener);
	unlink(path);
	chardev_free(chr);
	teardown();
}
END_TEST

static void *dial_later(void *opaque)
{
	usleep(20000); /* the other thread should be waiting by then; nothing depends on it */
	*(int *)opaque = dial();
	return NULL;
}

START_TEST(a_server_waits_for_its_first_client)
{
	struct sockaddr_un un;
	struct chardev *chr;
	pthread_t thread;
	int listener;

	setup();
	/* The thread can connect as soon as the socket is there, so it is handed over already
	 * listening. */
	listener = listen_here();
	ck_assert_int_eq(pthread_create(&thread, NULL, dial_later, &peer), 0);
	{
		char text[64];

		snprintf(text, sizeof(text), "socket,id=s,fd=%d,server=on", listener);
		chr = make_chardev(&m, text);
	}
	fake_attach(chr, &user, 100);
	ck_assert_uint_eq(user.opened, 1);
	pthread_join(thread, NULL);
	ck_assert_int_eq(write(peer, "x", 1), 1);
	ck_until_is(got_bytes, 1);
	close(peer);
	chardev_free(chr);
	un = address();
	ck_assert_int_eq(unlink(un.sun_path), 0); /* made by us, not by it */
	teardown();
}
END_TEST

START_TEST(input_stops_when_the_user_has_no_room)
{
	char block[4096];
	struct chardev *chr;
	size_t sent = 0;
	ssize_t n;

	setup();
	memset(block, 'i', sizeof(block));
	chr = make_chardev(&m, with_path("socket,id=s,path=%s,server,nowait"));
	peer = dial();
	fake_attach(chr, &user, 10);
	for (int i = 0; i < 50; i++) {
		while ((n = write(peer, block, sizeof(block))) > 0)
			sent += (size_t)n;
		run_rounds(m.platform.main_loop, 1);
	}
	ck_assert_uint_eq(user.len, 10);
	ck_assert_uint_lt(sent, 2 * MIB);
	user.room = 5;
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(user.len, 10); /* room alone is not noticed … */
	chardev_accept_input(chr);	 /* … it has to be said */
	ck_until_is(got_bytes, 15);
	/* The client goes; what it sent is still there for a user that makes room, the end comes
	 * after it. */
	close(peer);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(user.closed, 0);
	user.room = 1000;
	chardev_accept_input(chr);
	ck_until_is(got_bytes, 1015);
	/* But the next client is not kept waiting for a guest that never reads. */
	peer = dial();
	ck_until_is(opened, 2);
	ck_assert_uint_eq(user.closed, 1);
	close(peer);
	chardev_free(chr);
	teardown();
}
END_TEST

START_TEST(output_is_bounded_and_complete)
{
	static char block[1000];
	struct chardev *chr;
	size_t total = 0, n;

	setup();
	chr = make_chardev(&m, with_path("socket,id=s,path=%s,server,nowait"));
	peer = dial();
	fake_attach(chr, &user, 0);
	ck_until_is(opened, 1);
	for (unsigned int round = 1; round <= 3; round++) {
		do {
			for (size_t i = 0; i < sizeof(block); i++)
				block[i] = (char)((total + i) % 239);
			n = chardev_write(chr, block, sizeof(block));
			total += n;
			ck_assert_uint_lt(total, sizeof(peer_got));
		} while (n == sizeof(block));
		ck_assert_uint_eq(chardev_write(chr, "no room", 7), 0);
		run_rounds(m.platform.main_loop, 3);
		ck_assert_uint_eq(user.writable, round - 1);
		want = (unsigned int)total;
		ck_until(&m, peer_has);
		ck_until_is(writable, round);
	}
	ck_assert_uint_eq(peer_len, total);
	for (size_t i = 0; i < total; i++)
		ck_assert_uint_eq((uint8_t)peer_got[i], i % 239);
	/* A client that goes with our buffer full: the user goes on at once. */
	do {
		n = chardev_write(chr, block, sizeof(block));
	} while (n == sizeof(block));
	close(peer);
	ck_until_is(writable, 4);
	ck_assert_uint_eq(chardev_write(chr, block, sizeof(block)), sizeof(block));
	ck_until_is(closed, 1);
	chardev_free(chr);
	teardown();
}
END_TEST

/* --- writing from another thread while the peer reads slowly and clients come and go --- */

struct writer {
	struct chardev *chr;
	_Atomic bool stop;
	_Atomic size_t taken;
};

static void *write_all_the_time(void *opaque)
{
	struct writer *w = opaque;
	char block[512];

	memset(block, 'w', sizeof(block));
	while (!w->stop) {
		w->taken += chardev_write(w->chr, block, sizeof(block));
		chardev_accept_input(w->chr);
	}
	return NULL;
}

static bool peer_read_a_bit(void *opaque)
{
	(void)opaque;
	return read(peer, peer_got, 700) > 0;
}

START_TEST(another_thread_writes)
{
	struct writer w = { .stop = false };
	pthread_t thread;

	setup();
	w.chr = make_chardev(&m, with_path("socket,id=s,path=%s,server,nowait"));
	fake_attach(w.chr, &user, 1000000);
	user.room = sizeof(user.got);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_all_the_time, &w), 0);
	for (unsigned int round = 1; round <= 20; round++) {
		peer = dial();
		ck_until_is(opened, round);
		for (int i = 0; i < 10; i++) {
			ck_assert_int_eq(write(peer, "in", 2), 2);
			ck_until(&m, peer_read_a_bit);
		}
		close(peer);
		ck_until_is(closed, round);
	}
	w.stop = true;
	pthread_join(thread, NULL);
	ck_assert_uint_gt(w.taken, 0);
	chardev_free(w.chr);
	teardown();
}
END_TEST

UNIT_SUITE(socket_suite, "chardev socket", unix_server_serves_one_after_the_other,
	   socket_file_of_others_is_left_alone, options_that_exclude_each_other,
	   tcp_server_and_client, client_reconnects, a_server_waits_for_its_first_client,
	   input_stops_when_the_user_has_no_room, output_is_bounded_and_complete,
	   another_thread_writes)
UNIT_MAIN(socket_suite)
