/* SPDX-License-Identifier: Apache-2.0 */
/* Options common to all back ends, and the kinds null, file and pty. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <termios.h>

#include "fake_user.h"

static const struct device_class *const classes[] = { NULL };
static struct fake_machine m;
static struct fake_user user;
static char dir[] = "./unit-XXXXXX";

static const char *in_dir(const char *fmt, const char *name)
{
	static char text[4][256];
	static unsigned int next;
	char *to = text[next++ % ARRAY_SIZE(text)];
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(to, sizeof(text[0]), fmt, path);
	return to;
}

static void setup(void)
{
	fake_machine_init(&m, classes);
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
	fake_machine_release(&m);
	ck_assert_int_eq(rmdir(dir), 0); /* every test cleans up what it made */
}

START_TEST(options)
{
	struct chardev *chr;
	struct error *err = NULL;
	struct fake_user second;
	struct chardev *other = NULL;

	setup();
	ck_assert_refused(&m, "nul,id=a",
			  "-chardev nul,id=a: unknown back end 'nul'; did you mean 'null'?");
	ck_assert_refused(&m, "null", "-chardev null: id is missing");
	err = refuse_chardev(&m, "null,id=a,path=/x");
	ck_assert_ptr_nonnull(strstr(error_text(err), "path"));
	error_free(err);
	err = refuse_chardev(&m, "file,id=a");
	ck_assert_ptr_nonnull(strstr(error_text(err), "path"));
	error_free(err);
	err = NULL;

	chr = make_chardev(&m, "null,id=a");
	ck_assert_str_eq(chardev_id(chr), "a");
	ck_assert_str_eq(chardev_filename(chr), "null");
	ck_assert_ptr_eq(link_scope_find(m.platform.links, LINK_CHARDEV, "a"), chr);
	ck_assert_refused(&m, "null,id=a", "-chardev null,id=a: chardev id 'a' is already used");
	fake_attach(chr, &user, 16);
	ck_assert_uint_eq(user.opened, 1);
	ck_assert_int_eq(chardev_attach(chr, &second.user, &err), -EBUSY);
	ck_assert_error(err, "chardev 'a' is already in use");
	chardev_detach(chr);
	fake_attach(chr, &user, 16);
	ck_assert_uint_eq(chardev_write(chr, "", 0), 0);
	ck_assert_uint_eq(chardev_write(chr, "abc", 3), 3);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(user.len, 0);
	chardev_free(chr);
	ck_assert_ptr_null(link_scope_find(m.platform.links, LINK_CHARDEV, "a"));
	other = make_chardev(&m, "null,id=a");
	chardev_free(other);
	teardown();
}
END_TEST

static void check_file(const char *name, const char *want)
{
	char got[64] = "";
	int fd = open(in_dir("%s", name), O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(read(fd, got, sizeof(got) - 1), 0);
	close(fd);
	ck_assert_str_eq(got, want);
}

START_TEST(file)
{
	struct chardev *chr;
	struct error *err;
	int fd;

	setup();
	chr = make_chardev(&m, in_dir("file,id=f,path=%s", "log"));
	ck_assert_str_eq(chardev_filename(chr), in_dir("file:%s", "log"));
	fake_attach(chr, &user, 16);
	ck_assert_uint_eq(chardev_write(chr, "one\n", 4), 4);
	check_file("log", "one\n");
	run_rounds(m.platform.main_loop, 3);
	chardev_free(chr);
	chr = make_chardev(&m, in_dir("file,id=f,append=on,path=%s", "log"));
	ck_assert_uint_eq(chardev_write(chr, "two\n", 4), 4);
	chardev_free(chr);
	check_file("log", "one\ntwo\n");
	chr = make_chardev(&m, in_dir("file,id=f,path=%s", "log"));
	chardev_free(chr);
	check_file("log", "");
	unlink(in_dir("%s", "log"));
	err = refuse_chardev(&m, in_dir("file,id=f,path=%s/no", "log"));
	ck_assert_ptr_nonnull(strstr(error_text(err), "No such file or directory"));
	error_free(err);
	/* A full disk loses output and says so; it does not block or end anything. */
	chr = make_chardev(&m, "file,id=f,path=/dev/full");
	fake_attach(chr, &user, 16);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(chardev_write(chr, "lost", 4), 4);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(user.closed, 0);
	chardev_free(chr);
	/* A named pipe without a reader is an error, not a wait without end. */
	ck_assert_int_eq(mkfifo(in_dir("%s", "pipe"), 0600), 0);
	err = refuse_chardev(&m, in_dir("file,id=f,path=%s", "pipe"));
	ck_assert_ptr_nonnull(strstr(error_text(err), "No such device or address"));
	error_free(err);
	fd = open(in_dir("%s", "pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	chr = make_chardev(&m, in_dir("file,id=f,path=%s", "pipe"));
	ck_assert_uint_eq(chardev_write(chr, "x", 1), 1);
	/* Its reader going away kills nobody. */
	close(fd);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(chardev_write(chr, "x", 1), 1);
	run_rounds(m.platform.main_loop, 3);
	chardev_free(chr);
	unlink(in_dir("%s", "pipe"));
	teardown();
}
END_TEST

/* --- pty --- */

static int open_slave(const struct chardev *chr)
{
	const char *name = chardev_filename(chr);
	int fd;

	ck_assert_msg(!strncmp(name, "pty:/dev/pts/", 13), "%s", name);
	fd = open(name + 4, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static bool got_five(void *opaque)
{
	(void)opaque;
	return user.len >= 5;
}

static int slave;
static char slave_got[1 << 20];
static size_t slave_len;

static void read_slave(void)
{
	ssize_t n;

	while ((n = read(slave, slave_got + slave_len, sizeof(slave_got) - slave_len)) > 0)
		slave_len += (size_t)n;
}

static bool slave_has_end_mark(void *opaque)
{
	(void)opaque;
	read_slave();
	return slave_len >= 5 && !memcmp(slave_got + slave_len - 5, "<end>", 5);
}

START_TEST(pty_both_ways)
{
	struct termios tio;
	struct chardev *chr;

	setup();
	chr = make_chardev(&m, "pty,id=p");
	fake_attach(chr, &user, 100);
	ck_assert_uint_eq(user.opened, 1);
	/* It opens and closes again and again, as terminal programs do, and stays raw. */
	for (int i = 0; i < 3; i++) {
		user.len = 0;
		slave_len = 0;
		slave = open_slave(chr);
		ck_assert_int_eq(tcgetattr(slave, &tio), 0);
		ck_assert_uint_eq(tio.c_lflag & (ECHO | ICANON | ISIG), 0);
		ck_assert_uint_eq(tio.c_oflag & OPOST, 0);
		ck_assert_int_eq(write(slave, "in\003\r\n", 5), 5);
		ck_until(&m, got_five);
		ck_assert_mem_eq(user.got, "in\003\r\n", 5);
		ck_assert_uint_eq(chardev_write(chr, "out\n<end>", 9), 9);
		ck_until(&m, slave_has_end_mark);
		ck_assert_mem_eq(slave_got, "out\n<end>", 9);
		close(slave);
		run_rounds(m.platform.main_loop, 2);
	}
	ck_assert_uint_eq(user.closed, 0);
	chardev_free(chr);
	teardown();
}
END_TEST

static bool is_writable(void *opaque)
{
	(void)opaque;
	return user.writable > 0;
}

/* Without a reader the guest waits a second at most, once; then the oldest output goes, and a
 * reader gets the newest. */
START_TEST(pty_without_reader_does_not_block)
{
	struct chardev *chr;
	size_t taken = 0;
	char block[1000];
	unsigned int n;

	setup();
	memset(block, 'o', sizeof(block));
	chr = make_chardev(&m, "pty,id=p");
	fake_attach(chr, &user, 0);
	do {
		n = (unsigned int)chardev_write(chr, block, sizeof(block));
		taken += n;
		ck_assert_uint_lt(taken, 1 << 20);
	} while (n == sizeof(block));
	ck_until(&m, is_writable);
	memset(block, 'n', sizeof(block));
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(chardev_write(chr, block, sizeof(block)), sizeof(block));
	ck_assert_uint_eq(chardev_write(chr, "<end>", 5), 5);
	ck_assert_uint_eq(user.writable, 1);
	slave = open_slave(chr);
	ck_until(&m, slave_has_end_mark);
	ck_assert_uint_gt(slave_len, 64 * KIB - 1000);
	ck_assert_int_eq(slave_got[slave_len - 6], 'n');
	ck_assert_int_eq(slave_got[slave_len - 60000], 'n');
	/* With a reader there, back-pressure is back, and nothing is lost any more. */
	slave_len = 0;
	taken = chardev_write(chr, slave_got, sizeof(slave_got));
	ck_assert_uint_lt(taken, sizeof(slave_got));
	close(slave);
	chardev_free(chr);
	teardown();
}
END_TEST

/* --- the end --- */

#define SLOW 2

static struct slow_reader {
	int fd;
	size_t owed, got;
} slow[SLOW];

/* The second one's output is read to its end before the first one's. */
static void *read_backwards(void *opaque)
{
	static char buf[4096];

	(void)opaque;
	for (unsigned int i = SLOW; i--;) {
		ssize_t n = 1;

		while (slow[i].got < slow[i].owed && n > 0) {
			n = read(slow[i].fd, buf, sizeof(buf));
			slow[i].got += (size_t)(n > 0 ? n : 0);
		}
	}
	return NULL;
}

/* As much as the pipe and the buffer take. */
static struct chardev *fill_pipe(unsigned int i)
{
	char name[] = "pipe0", block[1000], text[300];
	struct chardev *chr;
	size_t n;

	name[4] += (char)i;
	memset(block, 'x', sizeof(block));
	ck_assert_int_eq(mkfifo(in_dir("%s", name), 0600), 0);
	slow[i] = (struct slow_reader){ .fd = open(in_dir("%s", name), O_RDONLY | O_NONBLOCK | O_CLOEXEC) };
	ck_assert_int_ge(slow[i].fd, 0);
	snprintf(text, sizeof(text), "file,id=p%u,path=%s", i, in_dir("%s", name));
	chr = make_chardev(&m, text);
	unlink(in_dir("%s", name));
	fcntl(slow[i].fd, F_SETFL, 0);
	do {
		n = chardev_write(chr, block, sizeof(block));
		slow[i].owed += n;
	} while (n == sizeof(block));
	return chr;
}

/* One reader that is slow takes no time from another: it does not matter in which order they read. */
START_TEST(at_the_end_all_readers_are_served_at_once)
{
	struct chardev *chrs[SLOW];
	pthread_t reader;

	setup();
	for (unsigned int i = 0; i < SLOW; i++)
		chrs[i] = fill_pipe(i);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_backwards, NULL), 0);
	chardev_finish(chrs, SLOW);
	for (unsigned int i = 0; i < SLOW; i++)
		chardev_free(chrs[i]);
	pthread_join(reader, NULL);
	for (unsigned int i = 0; i < SLOW; i++) {
		ck_assert_uint_eq(slow[i].got, slow[i].owed);
		close(slow[i].fd);
	}
	teardown();
}
END_TEST

/* Who never reads is waited for once, and loses what is left: there is nothing to wait for a second time. */
START_TEST(at_the_end_nobody_is_waited_for_twice)
{
	static char buf[4096];
	struct chardev *chr;
	size_t got = 0;
	ssize_t n;

	setup();
	chr = fill_pipe(0);
	chardev_finish(&chr, 1);
	fcntl(slow[0].fd, F_SETFL, O_NONBLOCK);
	while ((n = read(slow[0].fd, buf, sizeof(buf))) > 0)
		got += (size_t)n;
	ck_assert_uint_lt(got, slow[0].owed);
	chardev_free(chr);
	ck_assert_int_eq(read(slow[0].fd, buf, sizeof(buf)), 0);
	close(slow[0].fd);
	teardown();
}
END_TEST

UNIT_SUITE(kinds_suite, "chardev kinds", options, file, pty_both_ways,
	   pty_without_reader_does_not_block, at_the_end_all_readers_are_served_at_once,
	   at_the_end_nobody_is_waited_for_twice)
UNIT_MAIN(kinds_suite)
