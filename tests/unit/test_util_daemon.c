// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"
#include "util/daemon.h"

static char path[64];

static void fresh_path(void)
{
	int fd;

	strcpy(path, "./unit-pid-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	unlink(path);
}

START_TEST(pid_file)
{
	struct error *err = NULL;
	char text[32] = "", expected[160];
	struct stat st;
	FILE *file;

	fresh_path();
	umask(0);
	ck_assert_int_eq(pidfile_create(path, &err), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	fclose(file);
	snprintf(expected, sizeof(expected), "%d\n", (int)getpid());
	ck_assert_str_eq(text, expected);

	ck_assert_int_eq(pidfile_create(path, &err), -EBUSY);
	snprintf(expected, sizeof(expected), "-pidfile %s: it belongs to a VM that runs", path);
	ck_assert_error(err, expected);

	pidfile_remove();
	ck_assert_int_eq(access(path, F_OK), -1);
	pidfile_remove(); /* harmless */
}
END_TEST

START_TEST(pid_file_of_somebody_else_stays)
{
	struct error *err = NULL;
	FILE *file;
	char other[80];

	fresh_path();
	ck_assert_int_eq(pidfile_create(path, &err), 0);
	/* Renamed into place, so that it surely is another inode. */
	snprintf(other, sizeof(other), "%s.new", path);
	file = fopen(other, "w");
	fputs("1\n", file);
	fclose(file);
	ck_assert_int_eq(rename(other, path), 0);
	pidfile_remove();
	ck_assert_int_eq(access(path, F_OK), 0);
	unlink(path);
}
END_TEST

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	fputs(text, file);
	fclose(file);
}

static void check_file(const char *text)
{
	char got[64] = "";
	FILE *file = fopen(path, "r");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fread(got, 1, sizeof(got) - 1, file), strlen(text));
	ck_assert_str_eq(got, text);
	fclose(file);
}

/* A VM that was killed, or one that could not remove its file, keeps no other from starting. */
START_TEST(pid_file_that_was_left_is_taken_over)
{
	static const char *const left[] = { "", "123\n", "4194304" };
	struct error *err = NULL;
	char own[32];

	fresh_path();
	snprintf(own, sizeof(own), "%d\n", (int)getpid());
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		write_file(left[i]);
		ck_assert_int_eq(pidfile_create(path, &err), 0);
		check_file(own);
		pidfile_remove();
		ck_assert_int_eq(access(path, F_OK), -1);
	}
}
END_TEST

START_TEST(file_that_is_no_pid_file_stays)
{
	static const char *const texts[] = { "root:x:0:0\n", "12 ", "1\n2\n", "\n\n", "1234567890123456789\n" };
	struct error *err = NULL;
	char other[80];

	fresh_path();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		write_file(texts[i]);
		ck_assert_int_eq(pidfile_create(path, &err), -EEXIST);
		check_file(texts[i]);
		ck_assert_ptr_nonnull(strstr(error_text(err), "no pid file"));
		error_free(err);
		err = NULL;
	}
	/* Nor what its owner could change under a VM, or what has another name, too, or is behind one. */
	write_file("1\n");
	if (!geteuid()) {
		ck_assert_int_eq(chown(path, 1, 1), 0);
		ck_assert_int_eq(pidfile_create(path, &err), -EPERM);
		check_file("1\n");
		ck_assert_ptr_nonnull(strstr(error_text(err), "a file of user 1"));
		error_free(err);
		err = NULL;
		unlink(path);
	}
	write_file("1\n");
	snprintf(other, sizeof(other), "%s.2", path);
	ck_assert_int_eq(link(path, other), 0);
	ck_assert_int_eq(pidfile_create(path, &err), -EEXIST);
	error_free(err);
	err = NULL;
	unlink(path);
	ck_assert_int_eq(symlink(other, path), 0);
	ck_assert_int_eq(pidfile_create(path, &err), -ELOOP);
	error_free(err);
	unlink(other);
	unlink(path);
}
END_TEST

/* As from within a root directory of its own: the name leads nowhere. */
START_TEST(pid_file_that_cannot_be_removed_names_nobody)
{
	struct error *err = NULL;
	char moved[80];

	fresh_path();
	ck_assert_int_eq(pidfile_create(path, &err), 0);
	snprintf(moved, sizeof(moved), "%s.moved", path);
	ck_assert_int_eq(rename(path, moved), 0);
	pidfile_remove();
	ck_assert_int_eq(rename(moved, path), 0);
	check_file("");
	ck_assert_int_eq(pidfile_create(path, &err), 0);
	pidfile_remove();
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* Forks a process that daemonizes and then does @then in the daemon; returns the first one's
 * status. */
static int daemonize(void (*then)(int fd), int fd)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct error *err = NULL;

		if (daemon_begin(&err))
			_exit(99);
		then(fd);
		_exit(77);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

struct daemon_facts {
	pid_t pid, session;
	struct stat out;
};

static void come_up(int fd)
{
	struct daemon_facts facts = { .pid = getpid(), .session = getsid(0) };

	daemon_ready();
	fstat(STDOUT_FILENO, &facts.out);
	if (write(fd, &facts, sizeof(facts)) != sizeof(facts))
		_exit(1);
	_exit(0);
}

START_TEST(daemon_comes_up)
{
	struct daemon_facts facts;
	struct stat null;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(daemonize(come_up, fds[1]), 0);
	ck_assert_int_eq(read(fds[0], &facts, sizeof(facts)), sizeof(facts));
	ck_assert_int_eq(facts.session, facts.pid);
	ck_assert_int_eq(stat("/dev/null", &null), 0);
	ck_assert_uint_eq(facts.out.st_rdev, null.st_rdev);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static void fail_with_three(int fd)
{
	(void)fd;
	_exit(3);
}

static void die_by_signal(int fd)
{
	(void)fd;
	raise(SIGKILL);
}

START_TEST(daemon_that_fails_passes_its_status_on)
{
	ck_assert_int_eq(daemonize(fail_with_three, -1), 3);
	ck_assert_int_eq(daemonize(die_by_signal, -1), 1);
}
END_TEST

START_TEST(ready_without_a_daemon)
{
	struct stat before, after;

	fstat(STDERR_FILENO, &before);
	daemon_ready();
	fstat(STDERR_FILENO, &after);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

UNIT_SUITE(suite, "util daemon", pid_file, pid_file_of_somebody_else_stays, pid_file_that_was_left_is_taken_over,
	   file_that_is_no_pid_file_stays, pid_file_that_cannot_be_removed_names_nobody, daemon_comes_up,
	   daemon_that_fails_passes_its_status_on, ready_without_a_daemon)
UNIT_MAIN(suite)
