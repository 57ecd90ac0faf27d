/* SPDX-License-Identifier: Apache-2.0 */
/* stdio in its disguises. Check runs each test in a process of its own, whose fds 0 and 1 are the
 * test's to replace. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "fake_user.h"

static const struct device_class *const classes[] = { &serial_class, NULL };
static struct fake_machine m;
static struct fake_user user;
static int master, slave; /* a terminal */
static int saved_out;	  /* the real stdout, for Check's own output */

static void setup(void)
{
	fake_machine_init(&m, classes);
	saved_out = fcntl(1, F_DUPFD_CLOEXEC, 10);
}

static void teardown(void)
{
	fflush(stdout);
	dup2(saved_out, 1);
	fake_machine_release(&m);
}

static void use(int in, int out)
{
	ck_assert_int_eq(dup2(in, 0), 0);
	ck_assert_int_eq(dup2(out, 1), 1);
}

static void open_terminal(void)
{
	char name[64];

	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	ck_assert_int_ge(master, 0);
	ck_assert_int_eq(grantpt(master), 0);
	ck_assert_int_eq(unlockpt(master), 0);
	ck_assert_int_eq(ptsname_r(master, name, sizeof(name)), 0);
	slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(slave, 0);
}

static struct termios settings(void)
{
	struct termios tio;

	memset(&tio, 0, sizeof(tio));
	ck_assert_int_eq(tcgetattr(slave, &tio), 0);
	return tio;
}

static size_t want;

static bool got_bytes(void *opaque)
{
	(void)opaque;
	return user.len >= want;
}

#define ck_until_got(n)                                                                            \
	do {                                                                                       \
		want = (n);                                                                        \
		ck_until(&m, got_bytes);                                                           \
	} while (0)

static void type(const char *keys)
{
	ck_assert_int_eq(write(master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

static int quits;

static void quit(void *opaque)
{
	ck_assert_ptr_eq(opaque, &quits);
	quits++;
}

static bool has_quit(void *opaque)
{
	(void)opaque;
	return quits > 0;
}

static char shown[8192];
static size_t shown_len;

static bool shows_end_of_help(void *opaque)
{
	ssize_t n = read(master, shown + shown_len, sizeof(shown) - 1 - shown_len);

	(void)opaque;
	if (n > 0)
		shown_len += (size_t)n;
	return strstr(shown, "this help") != NULL;
}

START_TEST(terminal_is_raw_and_goes_back)
{
	struct termios before, now;
	struct chardev *chr;

	setup();
	open_terminal();
	before = settings();
	ck_assert_uint_ne(before.c_lflag & ECHO, 0);
	use(slave, slave);
	chr = make_chardev(&m, "stdio,id=c");
	ck_assert_str_eq(chardev_filename(chr), "stdio");
	now = settings();
	ck_assert_uint_eq(now.c_lflag & (ECHO | ICANON | ISIG | IEXTEN), 0);
	ck_assert_uint_eq(now.c_iflag & (ICRNL | IXON), 0);
	/* Nobody else's descriptor has become non-blocking. */
	ck_assert_int_eq(fcntl(0, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(fcntl(1, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_refused(&m, "stdio,id=d",
			  "-chardev stdio,id=d: stdio is already used by another chardev");
	fake_attach(chr, &user, 1000);
	ck_assert_uint_eq(user.opened, 1);
	type("a\003\032\r");
	ck_until_got(4);
	ck_assert_mem_eq(user.got, "a\003\032\r", 4);
	ck_assert_uint_eq(chardev_write(chr, "out", 3), 3);
	chardev_free(chr);
	now = settings();
	ck_assert_mem_eq(&now, &before, sizeof(now));
	/* And again, with signals left to the keys; restoring is harmless at any time. */
	chardev_restore_terminal();
	chr = make_chardev(&m, "stdio,id=c,signal=on");
	now = settings();
	ck_assert_uint_ne(now.c_lflag & ISIG, 0);
	chardev_restore_terminal();
	now = settings();
	ck_assert_mem_eq(&now, &before, sizeof(now));
	chardev_restore_terminal();
	chardev_free(chr);
	teardown();
}
END_TEST

START_TEST(escapes)
{
	struct chardev *chr;

	setup();
	open_terminal();
	use(slave, slave);
	chr = make_chardev(&m, "stdio,id=c");
	chardev_set_quit_handler(quit, &quits);
	fake_attach(chr, &user, 1000);
	type("1\001a2\001\0013\001b4\001z5\001");
	ck_until_got(7);
	type("x");
	ck_until(&m, has_quit);
	ck_assert_mem_eq(user.got, "1\0012\001345", 7);
	ck_assert_uint_eq(user.len, 7);
	chardev_terminal_resized();
	ck_assert_uint_eq(user.resized, 1);
	ck_assert_uint_eq(user.breaks, 1);
	ck_assert_uint_eq(user.break_at, 5);
	ck_assert_int_eq(quits, 1);
	type("\001h");
	ck_until(&m, shows_end_of_help);
	ck_assert_ptr_nonnull(strstr(shown, "Ctrl-A X"));
	ck_assert_uint_eq(user.len, 7);
	chardev_free(chr);
	teardown();
}
END_TEST

/* The guest hangs and reads nothing, the operator types and types: he can still leave, and nothing
 * grows. */
START_TEST(quit_works_when_the_guest_does_not_read)
{
	struct chardev *chr;

	setup();
	open_terminal();
	use(slave, slave);
	chr = make_chardev(&m, "stdio,id=c");
	chardev_set_quit_handler(quit, &quits);
	fake_attach(chr, &user, 2);
	type("abcd");
	ck_until_got(2);
	for (int i = 0; i < 100; i++) {
		type("0123456789012345678901234567890123456789012345678901234567890123456789"
		     "012345678901234567890123456789");
		run_rounds(m.platform.main_loop, 2);
	}
	type("\001x");
	ck_until(&m, has_quit);
	ck_assert_uint_eq(user.len, 2);
	/* What fitted the type-ahead comes when there is room, in order. */
	user.room = 100000;
	chardev_accept_input(chr);
	ck_until_got(4098);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(user.len, 4098);
	ck_assert_mem_eq(user.got, "abcd0123456789", 14);
	chardev_free(chr);
	teardown();
}
END_TEST

START_TEST(break_reaches_the_serial_port)
{
	struct chardev *chr;

	setup();
	open_terminal();
	use(slave, slave);
	chr = make_chardev(&m, "stdio,id=c");
	fake_device(&m, "isa-serial", "s", "chardev=c");
	outb(&m, 0x3fa, 0x01);
	outb(&m, 0x3f9, 0x04);
	type("a\001bh");
	/* Data, and further back an error. Check limits the time. */
	while (inb(&m, 0x3fd) != 0xe1)
		run_rounds(m.platform.main_loop, 1);
	/* The break counts when it gets to the head: it reads as zero, with BI. */
	ck_assert(!m.level[4]);
	ck_assert_uint_eq(inb(&m, 0x3f8), 'a');
	ck_assert(m.level[4]);
	ck_assert_uint_eq(inb(&m, 0x3fa), 0xc6);
	ck_assert_uint_eq(inb(&m, 0x3fd) & 0x91, 0x91);
	ck_assert(!m.level[4]);
	ck_assert_uint_eq(inb(&m, 0x3fd) & 0x91, 0x01);
	ck_assert_uint_eq(inb(&m, 0x3f8), 0);
	while (!(inb(&m, 0x3fd) & 0x01))
		run_rounds(m.platform.main_loop, 1);
	ck_assert_uint_eq(inb(&m, 0x3f8), 'h');
	devices_destroy(&m.platform);
	chardev_free(chr);
	teardown();
}
END_TEST

START_TEST(pipes)
{
	int in[2], out[2];
	char got[64] = "";
	struct chardev *chr;

	setup();
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	use(in[0], out[1]);
	close(in[0]);
	close(out[1]);
	chr = make_chardev(&m, "stdio,id=c");
	fake_attach(chr, &user, 4);
	ck_assert_int_eq(fcntl(1, F_GETFL) & O_NONBLOCK, 0);
	/* No terminal: Ctrl-A is a byte as any other. */
	ck_assert_int_eq(write(in[1], "a\001xb-rest", 9), 9);
	ck_until_got(4);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(user.len, 4);
	close(in[1]);
	user.room = 100;
	chardev_accept_input(chr);
	ck_until_got(9);
	ck_assert_mem_eq(user.got, "a\001xb-rest", 9);
	/* The end of input is not the end of output. */
	run_rounds(m.platform.main_loop, 5);
	ck_assert_uint_eq(user.closed, 0);
	ck_assert_uint_eq(chardev_write(chr, "still here", 10), 10);
	ck_assert_int_eq(read(out[0], got, sizeof(got)), 10);
	ck_assert_str_eq(got, "still here");
	/* Nor is a reader that goes the end of us. */
	close(out[0]);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_eq(chardev_write(chr, "gone", 4), 4);
	run_rounds(m.platform.main_loop, 3);
	chardev_free(chr);
	teardown();
}
END_TEST

/* A reader that is slow: what fits our buffer is there after the end, too. */
START_TEST(end_flushes_to_a_slow_reader)
{
	int out[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC), status;
	static char block[100000], got[100000];
	size_t len = 0, taken;
	struct chardev *chr;
	ssize_t n;
	pid_t pid;

	setup();
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		use(null, out[1]);
		chr = make_chardev(&m, "stdio,id=c");
		memset(block, 'b', sizeof(block));
		taken = chardev_write(chr, block, sizeof(block));
		chardev_free(chr);
		_exit(taken == sizeof(block) ? 0 : 1);
	}
	close(out[1]);
	while ((n = read(out[0], got + len, MIN(sizeof(got) - len, (size_t)4096))) > 0) {
		len += (size_t)n;
		usleep(40000); /* 1 s in all */
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(len, sizeof(block));
	teardown();
}
END_TEST

/* epoll refuses these; they work all the same. */
START_TEST(files_and_dev_null)
{
	char in_name[] = "./unit-XXXXXX", out_name[] = "./unit-XXXXXX";
	int in = mkstemp(in_name), out = mkstemp(out_name), null;
	static char text[10000], got[16];
	struct chardev *chr;

	setup();
	unlink(in_name);
	unlink(out_name);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i % 233);
	ck_assert_int_eq(write(in, text, sizeof(text)), (ssize_t)sizeof(text));
	lseek(in, 0, SEEK_SET);
	use(in, out);
	chr = make_chardev(&m, "stdio,id=c");
	fake_attach(chr, &user, 16);
	ck_until_got(16);
	run_rounds(m.platform.main_loop, 3);
	ck_assert_uint_eq(user.len, 16);
	user.room = sizeof(user.got);
	chardev_accept_input(chr);
	ck_until_got(sizeof(text));
	ck_assert_mem_eq(user.got, text, sizeof(text));
	run_rounds(m.platform.main_loop, 5);
	ck_assert_uint_eq(user.len, sizeof(text));
	ck_assert_uint_eq(chardev_write(chr, "to a file", 9), 9);
	ck_assert_int_eq(pread(out, got, sizeof(got), 0), 9);
	ck_assert_mem_eq(got, "to a file", 9);
	chardev_free(chr);

	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	use(null, null);
	chr = make_chardev(&m, "stdio,id=c");
	fake_attach(chr, &user, 16);
	run_rounds(m.platform.main_loop, 5);
	ck_assert_uint_eq(user.len, 0);
	ck_assert_uint_eq(chardev_write(chr, "x", 1), 1);
	chardev_free(chr);

	/* Not even open. */
	close(0);
	close(1);
	chr = make_chardev(&m, "stdio,id=c");
	fake_attach(chr, &user, 16);
	run_rounds(m.platform.main_loop, 5);
	ck_assert_uint_eq(chardev_write(chr, "x", 1), 1);
	chardev_free(chr);
	teardown();
}
END_TEST

/* --- ways out --- */

#define GOT_A_KEY 55 /* exit status */

/* A shell with @slave as its terminal starts us in a foreground job of our own. Returns our pid. */
static void be_the_vm(int report)
{
	struct chardev *chr;
	pid_t self = getpid();

	/* Check's and the sanitizers' handlers are not for us. */
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(slave, self);
	signal(SIGTTOU, SIG_DFL);
	use(slave, slave);
	chr = make_chardev(&m, "stdio,id=c");
	fake_attach(chr, &user, 100);
	want = 1;
	if (write(report, &self, sizeof(self)) == sizeof(self) &&
	    run_until(m.platform.main_loop, got_bytes, NULL)) /* ten seconds */
		_exit(GOT_A_KEY);
	_exit(77);
}

/*
 * Returns the pid of the VM; *@shell waits for it and exits with the signal that ended it. An
 * @orphan has no shell: it is *@shell itself.
 */
static pid_t start_job(pid_t *shell, bool orphan)
{
	pid_t vm = 0, child;
	int report[2], status;

	ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
	*shell = fork();
	ck_assert_int_ge(*shell, 0);
	if (!*shell) {
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		if (orphan)
			be_the_vm(report[1]);
		child = fork();
		if (!child)
			be_the_vm(report[1]);
		signal(SIGHUP, SIG_IGN);
		if (waitpid(child, &status, 0) != child)
			_exit(99);
		_exit(WIFSIGNALED(status) ? WTERMSIG(status) : 98);
	}
	close(report[1]);
	ck_assert_int_eq(read(report[0], &vm, sizeof(vm)), sizeof(vm));
	close(report[0]);
	return vm;
}

static int end_of(pid_t shell)
{
	int status;

	ck_assert_int_eq(waitpid(shell, &status, 0), shell);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static char process_state(pid_t pid)
{
	char path[64], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%*d %*s %c", &state), 1);
	fclose(file);
	return state;
}

static void wait_for_state(pid_t pid, bool stopped)
{
	for (int i = 0; i < 5000; i++) {
		bool raw = !(settings().c_lflag & ICANON);

		if ((process_state(pid) == 'T') == stopped && raw == !stopped)
			return;
		usleep(1000);
	}
	ck_abort_msg("after five seconds: state %c, terminal %s", process_state(pid),
		     settings().c_lflag & ICANON ? "cooked" : "raw");
}

START_TEST(signals_restore_the_terminal)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS };
	struct termios before, now;
	pid_t shell, vm;

	setup();
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		open_terminal();
		before = settings();
		vm = start_job(&shell, false);
		ck_assert_uint_eq(settings().c_lflag & ICANON, 0);
		ck_assert_int_eq(kill(vm, signals[i]), 0);
		ck_assert_int_eq(end_of(shell), signals[i]);
		now = settings();
		ck_assert_msg(!memcmp(&now, &before, sizeof(now)),
			      "signal %d left the terminal raw", signals[i]);
		close(slave);
		close(master);
	}
	teardown();
}
END_TEST

START_TEST(stop_and_continue)
{
	pid_t shell, vm;

	setup();
	open_terminal();
	vm = start_job(&shell, false);
	for (int i = 0; i < 2; i++) {
		wait_for_state(vm, false);
		ck_assert_int_eq(kill(vm, SIGTSTP), 0);
		wait_for_state(vm, true);
		ck_assert_int_eq(kill(vm, SIGCONT), 0);
	}
	wait_for_state(vm, false);
	ck_assert_int_eq(kill(vm, SIGTERM), 0);
	ck_assert_int_eq(end_of(shell), SIGTERM);
	ck_assert_uint_ne(settings().c_lflag & ICANON, 0);
	teardown();
}
END_TEST

/* The kernel does not stop whom no shell could wake; the terminal must not stay as if it had. */
START_TEST(stop_without_a_shell)
{
	pid_t shell, vm;

	setup();
	open_terminal();
	vm = start_job(&shell, true);
	ck_assert_int_eq(kill(vm, SIGTSTP), 0);
	type("k"); /* without a line end: a cooked terminal would keep it */
	ck_assert_int_eq(end_of(shell), GOT_A_KEY);
	teardown();
}
END_TEST

UNIT_SUITE(stdio_suite, "chardev stdio", terminal_is_raw_and_goes_back, escapes,
	   quit_works_when_the_guest_does_not_read, break_reaches_the_serial_port, pipes,
	   end_flushes_to_a_slow_reader, files_and_dev_null, signals_restore_the_terminal,
	   stop_and_continue, stop_without_a_shell)
UNIT_MAIN(stdio_suite)
