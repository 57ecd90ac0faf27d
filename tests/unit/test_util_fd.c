// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"
#include "util/fd.h"

static int temp_file(void)
{
	char path[] = "./unit-fd-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	return fd;
}

START_TEST(close_once)
{
	int fd = temp_file(), copy = fd;

	fd_close(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(fcntl(copy, F_GETFD), -1);
	fd_close(&fd);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(whole_transfers)
{
	char data[] = "0123456789", back[11] = "";
	int fd = temp_file();

	ck_assert_int_eq(fd_pwrite_full(fd, data, 10, 5), 0);
	ck_assert_int_eq(fd_pread_full(fd, back, 10, 5), 0);
	ck_assert_str_eq(back, data);
	ck_assert_int_eq(fd_pread_full(fd, back, 10, 6), -EIO); /* the file ends before */
	ck_assert_int_eq(fd_pread_full(fd, back, 0, 100), 0);
	fd_close(&fd);
	ck_assert_int_eq(fd_pread_full(fd, back, 1, 0), -EBADF);
	ck_assert_int_eq(fd_pwrite_full(fd, back, 1, 0), -EBADF);
	ck_assert_int_eq(fd_write_full(fd, back, 1), -EBADF);
}
END_TEST

#define PIPE_BYTES (1 << 20)

static void *drain(void *opaque)
{
	int fd = *(int *)opaque;
	size_t *total = calloc(1, sizeof(*total));
	char buf[3000];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		*total += (size_t)n;
	return total;
}

START_TEST(short_writes_go_on)
{
	char *data = calloc(1, PIPE_BYTES);
	pthread_t thread;
	void *total;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, drain, &fds[0]), 0);
	ck_assert_int_eq(fd_write_full(fds[1], data, PIPE_BYTES), 0);
	close(fds[1]);
	pthread_join(thread, &total);
	ck_assert_uint_eq(*(size_t *)total, PIPE_BYTES);
	free(total);
	free(data);
	close(fds[0]);
}
END_TEST

START_TEST(nonblock)
{
	int fds[2];
	char byte;

	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(fd_set_nonblock(fds[0], true), 0);
	ck_assert_int_eq(read(fds[0], &byte, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(fd_set_nonblock(fds[0], false), 0);
	ck_assert_int_eq(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
	close(fds[0]);
	close(fds[1]);
	ck_assert_int_eq(fd_set_nonblock(fds[0], true), -EBADF);
}
END_TEST

START_TEST(eventfds)
{
	int fd = eventfd_new();

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	ck_assert(!eventfd_consume(fd));
	eventfd_signal(fd);
	eventfd_signal(fd);
	ck_assert(eventfd_consume(fd)); /* both at once */
	ck_assert(!eventfd_consume(fd));

	/* A full counter neither blocks nor loses the signal, and errno survives: signal handlers
	 * call this. */
	ck_assert_int_eq(fd_write_full(fd, &(uint64_t){ UINT64_MAX - 1 }, 8), 0);
	errno = 123;
	eventfd_signal(fd);
	ck_assert_int_eq(errno, 123);
	ck_assert(eventfd_consume(fd));
	fd_close(&fd);
}
END_TEST

START_TEST(clients_are_taken)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX }; /* the kernel finds an abstract name */
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	socklen_t len = sizeof(address);
	struct rlimit before, none;
	bool exhausted = true;

	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(fd_accept(listener, &exhausted), -EAGAIN);
	ck_assert(!exhausted);

	ck_assert_int_eq(connect(client, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 0, before.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	fd = fd_accept(listener, &exhausted);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_eq(fd, -EMFILE);
	ck_assert(exhausted);

	/* It waited. */
	fd = fd_accept(listener, &exhausted);
	ck_assert_int_ge(fd, 0);
	ck_assert(!exhausted);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	close(client);
	close(listener);
}
END_TEST

UNIT_SUITE(suite, "util fd", close_once, whole_transfers, short_writes_go_on, nonblock, eventfds, clients_are_taken)
UNIT_MAIN(suite)
