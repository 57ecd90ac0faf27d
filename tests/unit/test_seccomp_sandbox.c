// SPDX-License-Identifier: Apache-2.0
/* Confined threads: what each kind may not do ends the process with a message, and gives nothing away first. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "seccomp/sandbox.h"
#include "unit.h"
#include "util/fd.h"
#include "util/thread.h"

#define DONE 42 /* the child came to its end */

static void (*deed)(void);

static void *do_the_deed(void *arg)
{
	(void)arg;
	thread_confine();
	deed();
	_exit(DONE);
}

/*
 * In a child that is confined: a thread of @kind does @what. The child's status; @output gets what it said.
 */
static int confined(enum thread_kind kind, void (*what)(void), const struct sandbox *sandbox,
		    char *output, size_t size)
{
	struct error *err = NULL;
	int pipe_fds[2], status;
	pthread_t thread;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		dup2(pipe_fds[1], STDERR_FILENO);
		alarm(20);
		mallopt(M_ARENA_MAX, 1); /* as sandbox_init() */
		deed = what;
		if (sandbox_enter(sandbox, &err)) {
			error_report(err);
			_exit(1);
		}
		if (kind == THREAD_MAIN)
			do_the_deed(NULL);
		if (thread_start(&thread, kind, "test-thread", do_the_deed, NULL, NULL))
			_exit(1);
		pthread_join(thread, NULL);
		_exit(1);
	}
	close(pipe_fds[1]);
	while (len < size - 1 && (n = read(pipe_fds[0], output + len, size - 1 - len)) > 0)
		len += (size_t)n;
	output[len] = '\0';
	close(pipe_fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void try_execve(void)
{
	static const char *const argv[] = { "/bin/true", NULL };

	syscall(SYS_execve, argv[0], argv, NULL);
}

static void try_ptrace(void)
{
	syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
}

static void try_open(void)
{
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static void try_code(void)
{
	syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_mprotect(void)
{
	static char page[8192];

	syscall(SYS_mprotect, (uintptr_t)(page + 4095) & ~UINT64_C(4095), 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void try_fork(void)
{
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* As libc asks for it, and with two flags that exclude each other: where the filter lets it pass nothing begins. */
static void try_thread(void)
{
	syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_PIDFD | CLONE_DETACHED, 0,
		0, 0, 0);
}

static void try_ring(void)
{
	syscall(SYS_io_uring_setup, 0, NULL);
}

static void try_listen(void)
{
	syscall(SYS_listen, -1, 1);
}

static void try_namespace(void)
{
	syscall(SYS_clone, CLONE_NEWUSER | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0,
		0);
}

static void try_netlink(void)
{
	syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0);
}

static void try_kill(void)
{
	syscall(SYS_kill, 1, SIGUSR1);
}

static void try_injecting_keys(void)
{
	syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x");
}

static void try_tracers_back(void)
{
	syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static const struct {
	void (*what)(void);
	long number;
	const char *first; /* the first argument as it is shown; NULL: not compared */
	unsigned int may; /* bits of the kinds of thread that need it */
} deeds[] = {
	{ try_execve, SYS_execve, NULL, 0 },
	{ try_ptrace, SYS_ptrace, "0x0, 0x0", 0 },
	{ try_open, SYS_openat, NULL, 1U << THREAD_MAIN },
	{ try_ring, SYS_io_uring_setup, "0x0, 0x0", 1U << THREAD_SETUP },
	{ try_listen, SYS_listen, NULL, 1U << THREAD_SETUP },
	{ try_code, SYS_mmap, "0x0, 0x1000, 0x5", 0 },
	{ try_mprotect, SYS_mprotect, NULL, 0 },
	{ try_fork, SYS_clone, "0x11, 0x0", 0 },
	{ try_thread, SYS_clone, "0x411f00, 0x0", 1U << THREAD_SETUP },
	{ try_namespace, SYS_clone, NULL, 0 },
	{ try_netlink, SYS_socket, "0x10, 0x3, 0x0", 0 },
	{ try_kill, SYS_kill, "0x1, 0xa", 0 },
	{ try_injecting_keys, SYS_ioctl, "0x0, 0x5412", 0 },
	{ try_tracers_back, SYS_prctl, "0x4, 0x1", 0 },
};

static const char *const kind_names[] = { "main", "vcpu", "iothread", "worker", "setup" };

static void check_forbidden(enum thread_kind kind, size_t i)
{
	const struct sandbox sandbox = { .mode = SANDBOX_ON };
	char output[4096], expected[128];
	int status = confined(kind, deeds[i].what, &sandbox, output, sizeof(output));

	if (deeds[i].may & 1U << kind) {
		ck_assert_msg(status == DONE, "%s: status %d: %s", kind_names[kind], status, output);
		return;
	}
	ck_assert_msg(status == EXIT_FAILURE, "%s: status %d: %s", kind_names[kind], status, output);
	snprintf(expected, sizeof(expected), "(%s): system call %ld(%s", kind_names[kind], deeds[i].number,
		 deeds[i].first ? deeds[i].first : "0x");
	ck_assert_msg(strstr(output, expected), "'%s' is not in: %s", expected, output);
	if (kind != THREAD_MAIN)
		ck_assert_msg(strstr(output, "thread 'test-thread'"), "%s", output);
}

START_TEST(a_forbidden_call_ends_the_process_and_is_named)
{
	for (size_t i = 0; i < ARRAY_SIZE(deeds); i++)
		for (int kind = THREAD_MAIN; kind <= THREAD_SETUP; kind++)
			check_forbidden((enum thread_kind)kind, i);
}
END_TEST

static void do_everyday_work(void)
{
	void *memory = malloc(1 << 20);
	int fds[2];

	memset(memory, 1, 1 << 20);
	memory = realloc(memory, 4 << 20);
	free(memory);
	fds[0] = -1;
	if (fd_write(STDERR_FILENO, "fine\n", 5) != 5 || fd_read(fds[0], fds, 1) != -1)
		_exit(1);
}

START_TEST(everyday_work_goes_on)
{
	const struct sandbox sandbox = { .mode = SANDBOX_ON };
	char output[4096];

	for (int kind = THREAD_MAIN; kind <= THREAD_SETUP; kind++) {
		ck_assert_msg(confined((enum thread_kind)kind, do_everyday_work, &sandbox, output, sizeof(output)) == DONE,
			      "%s: %s", kind_names[kind], output);
		ck_assert_str_eq(output, "fine\n");
	}
}
END_TEST

static void show_privileges(void)
{
	char text[4096];
	int fd = openat(AT_FDCWD, "/proc/thread-self/status", O_RDONLY);
	ssize_t n = fd_read(fd, text, sizeof(text));

	if (n <= 0 || fd_write(STDERR_FILENO, text, (size_t)n) != n)
		_exit(1);
}

START_TEST(nothing_is_left_to_gain)
{
	struct sandbox sandbox = { .mode = SANDBOX_ON };
	bool root = !geteuid();
	char output[4096];

	ck_assert_int_eq(confined(THREAD_MAIN, show_privileges, &sandbox, output, sizeof(output)), DONE);
	ck_assert_ptr_nonnull(strstr(output, "CapEff:\t0000000000000000\n"));
	ck_assert_ptr_nonnull(strstr(output, "CapPrm:\t0000000000000000\n"));
	ck_assert_ptr_nonnull(strstr(output, "NoNewPrivs:\t1\n"));
	ck_assert_ptr_nonnull(strstr(output, "Seccomp:\t2\n"));

	sandbox.hotplug = true; /* taps may be made at run time */
	ck_assert_int_eq(confined(THREAD_MAIN, show_privileges, &sandbox, output, sizeof(output)), DONE);
	ck_assert_ptr_nonnull(strstr(output, root ? "CapEff:\t0000000000001000\n" : "CapEff:\t0000000000000000\n"));
}
END_TEST

START_TEST(off_is_off)
{
	const struct sandbox sandbox = { .mode = SANDBOX_OFF };
	char output[4096];

	ck_assert_int_eq(confined(THREAD_MAIN, show_privileges, &sandbox, output, sizeof(output)), DONE);
	ck_assert_ptr_nonnull(strstr(output, "Seccomp:\t0\n"));
}
END_TEST

static void show_root(void)
{
	char text[64];
	int fd = openat(AT_FDCWD, "/mark", O_RDONLY);
	ssize_t n = fd_read(fd, text, sizeof(text));

	if (n <= 0 || fd_write(STDERR_FILENO, text, (size_t)n) != n)
		_exit(1);
}

static const struct passwd *ordinary_user(void)
{
	const struct passwd *user;
	FILE *file = fopen("/etc/passwd", "re");

	ck_assert_ptr_nonnull(file);
	while ((user = fgetpwent(file)) && !user->pw_uid)
		;
	fclose(file);
	return user;
}

START_TEST(user_and_root_directory_change)
{
	struct sandbox sandbox = { .mode = SANDBOX_ON, .runas = "12345:54321" };
	char output[4096], dir[] = "/tmp/unit-chroot-XXXXXX", mark[64], uids[64], name[64];
	const struct passwd *user;
	int fd;

	if (geteuid()) { /* an ordinary user cannot become another */
		ck_assert_int_eq(confined(THREAD_MAIN, show_privileges, &sandbox, output, sizeof(output)), 1);
		ck_assert_ptr_nonnull(strstr(output, "-runas 12345:54321: Operation not permitted"));
		return;
	}
	ck_assert_int_eq(confined(THREAD_MAIN, show_privileges, &sandbox, output, sizeof(output)), DONE);
	ck_assert_ptr_nonnull(strstr(output, "Uid:\t12345\t12345\t12345\t12345\n"));
	ck_assert_ptr_nonnull(strstr(output, "Gid:\t54321\t54321\t54321\t54321\n"));
	ck_assert_ptr_nonnull(strstr(output, "Groups:\t \n"));

	user = ordinary_user();
	if (user) { /* a machine for tests may know root alone */
		/* The child looks names up, too, and libc has one place for what it finds. */
		snprintf(name, sizeof(name), "%s", user->pw_name);
		sandbox.runas = name;
		ck_assert_int_eq(confined(THREAD_MAIN, show_privileges, &sandbox, output, sizeof(output)), DONE);
		snprintf(uids, sizeof(uids), "Uid:\t%u\t%u\t%u\t%u\n", user->pw_uid, user->pw_uid, user->pw_uid, user->pw_uid);
		ck_assert_ptr_nonnull(strstr(output, uids));
	}

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(mark, sizeof(mark), "%s/mark", dir);
	fd = open(mark, O_CREAT | O_WRONLY, 0644);
	ck_assert_int_eq(write(fd, "inside\n", 7), 7);
	close(fd);
	sandbox = (struct sandbox){ .mode = SANDBOX_ON, .chroot = dir };
	ck_assert_int_eq(confined(THREAD_MAIN, show_root, &sandbox, output, sizeof(output)), DONE);
	ck_assert_str_eq(output, "inside\n");
	unlink(mark);
	rmdir(dir);

	sandbox = (struct sandbox){ .mode = SANDBOX_ON, .chroot = dir };
	ck_assert_int_eq(confined(THREAD_MAIN, show_root, &sandbox, output, sizeof(output)), 1);
	ck_assert_ptr_nonnull(strstr(output, "-chroot /tmp/unit-chroot-"));
	sandbox = (struct sandbox){ .mode = SANDBOX_ON, .runas = "no-such-user" };
	ck_assert_int_eq(confined(THREAD_MAIN, show_root, &sandbox, output, sizeof(output)), 1);
	ck_assert_ptr_nonnull(strstr(output, "-runas no-such-user: no such user in /etc/passwd; USER or UID:GID"));
}
END_TEST

static char own_dir[] = "/tmp/unit-paths-XXXXXX", own_file[64], own_log[64];

static void touch_files(void)
{
	char text[64];
	int secret = open("/etc/passwd", O_RDONLY), made = open("/tmp/unit-paths-new", O_CREAT | O_WRONLY, 0600);
	int log = open(own_log, O_CREAT | O_WRONLY | O_APPEND, 0600), gone = unlink(own_file);

	snprintf(text, sizeof(text), "%d %d %d %d\n", secret >= 0, made >= 0, log >= 0, gone);
	if (fd_write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

START_TEST(without_a_monitor_files_are_out_of_reach)
{
	struct sandbox sandbox;
	struct vm_config config;
	struct error *err = NULL;
	char output[4096];
	int fd;

	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* the version */) < 1) {
		puts("SKIP without_a_monitor_files_are_out_of_reach: this kernel has no Landlock");
		return;
	}
	ck_assert_ptr_nonnull(mkdtemp(own_dir));
	ck_assert_int_eq(mkdir(strcat(strcpy(own_log, own_dir), "/log"), 0700), 0);
	strcat(own_log, "/file");
	strcat(strcpy(own_file, own_dir), "/pid");
	fd = open(own_file, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);

	vm_config_init(&config);
	config.pidfile = strdup(own_file);
	config.log_path = strdup(own_log);
	ck_assert_int_eq(sandbox_init(&config, &sandbox, &err), 0);
	sandbox.mode = SANDBOX_ON; /* with sanitizers, too */
	ck_assert_int_eq(confined(THREAD_MAIN, touch_files, &sandbox, output, sizeof(output)), DONE);
	ck_assert_str_eq(output, "0 0 1 0\n");
	ck_assert_int_eq(access(own_file, F_OK), -1);
	vm_config_release(&config);
	unlink(own_log);
	*strrchr(own_log, '/') = '\0';
	rmdir(own_log);
	rmdir(own_dir);
}
END_TEST

START_TEST(what_the_options_say)
{
	struct error *err = NULL;
	struct vm_config config;
	struct sandbox sandbox;

	vm_config_init(&config);
	config.disable_seccomp = true;
	ck_assert_int_eq(sandbox_init(&config, &sandbox, &err), 0);
	ck_assert_uint_eq(sandbox.mode, SANDBOX_OFF);
	config.disable_seccomp = false;
	ck_assert_int_eq(opts_parse("-sandbox", "log,obsolete=deny,elevateprivileges=deny,spawn=deny,"
				    "resourcecontrol=deny", "mode", &config.sandbox, &err), 0);
	ck_assert_int_eq(sandbox_init(&config, &sandbox, &err), 0);
	opts_free(config.sandbox);
	ck_assert_int_eq(opts_parse("-sandbox", "on,spawn=allow", "mode", &config.sandbox, &err), 0);
	ck_assert_int_eq(sandbox_init(&config, &sandbox, &err), -EINVAL);
	ck_assert_error(err, "-sandbox on: spawn=allow is not one of deny");
	vm_config_release(&config);
}
END_TEST

UNIT_SUITE(suite, "seccomp sandbox", a_forbidden_call_ends_the_process_and_is_named, everyday_work_goes_on,
	   nothing_is_left_to_gain, off_is_off, without_a_monitor_files_are_out_of_reach, user_and_root_directory_change,
	   what_the_options_say)
UNIT_MAIN(suite)
