// SPDX-License-Identifier: Apache-2.0
/* What a disk's ring refuses: everything but the disk's I/O. Filters of system calls do not see what a ring is asked for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "block/ring.h"
#include "unit.h"

static struct block_ring ring;
static int fd, other;
static char data[512];

static void open_files(void)
{
	char path[] = "/tmp/unit-ring-XXXXXX";

	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	other = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(other, 0);
}

/* False, and said aloud, where there is nothing to test. */
static bool ring_opened(void)
{
	int ret;

	open_files();
	ret = block_ring_open(&ring, 64, fd);
	if (ret)
		printf("SKIP rings: io_uring cannot be used: %s\n", strerror(-ret));
	else if (!ring.restricted)
		puts("SKIP rings: this kernel cannot restrict them");
	else
		return true;
	return false;
}

static void close_all(void)
{
	io_uring_queue_exit(&ring.ring);
	close(fd);
	close(other);
}

/* The next entry's result. */
static int carry_out(void)
{
	struct io_uring_cqe *cqe;
	int ret;

	/* What is refused at submission completes at once, too. */
	(void)io_uring_submit(&ring.ring);
	ck_assert_int_eq(io_uring_wait_cqe(&ring.ring, &cqe), 0);
	ret = cqe->res;
	io_uring_cqe_seen(&ring.ring, cqe);
	return ret;
}

static struct io_uring_sqe *entry(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.ring);

	ck_assert_ptr_nonnull(sqe);
	return sqe;
}

START_TEST(a_disk_is_read_and_written)
{
	struct iovec iov = { data, sizeof(data) };
	struct io_uring_sqe *sqe;

	if (!ring_opened())
		return;
	ck_assert(ring.fixed);
	for (int i = 0; i < 6; i++) {
		sqe = entry();
		switch (i) {
		case 0:
			io_uring_prep_write(sqe, 0, data, sizeof(data), 0);
			break;
		case 1:
			io_uring_prep_writev(sqe, 0, &iov, 1, 512);
			break;
		case 2:
			io_uring_prep_read(sqe, 0, data, sizeof(data), 0);
			break;
		case 3:
			io_uring_prep_readv(sqe, 0, &iov, 1, 512);
			break;
		case 4:
			io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
			break;
		default:
			io_uring_prep_fallocate(sqe, 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
		}
		sqe->flags |= IOSQE_FIXED_FILE;
		ck_assert_int_ge(carry_out(), 0);
	}
	close_all();
}
END_TEST

START_TEST(nothing_else_can_be_asked_for)
{
	struct io_uring_sqe *sqe;

	if (!ring_opened())
		return;
	for (int i = 0; i < 6; i++) {
		sqe = entry();
		switch (i) {
		case 0:
			io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
			break;
		case 1:
			io_uring_prep_socket(sqe, AF_INET, SOCK_STREAM, 0, 0);
			break;
		case 2:
			io_uring_prep_close(sqe, other);
			break;
		case 3:
			io_uring_prep_unlinkat(sqe, AT_FDCWD, "/tmp/unit-ring-none", 0);
			break;
		case 4:
			io_uring_prep_files_update(sqe, &other, 1, 0);
			break;
		default:
			io_uring_prep_nop(sqe);
		}
		ck_assert_int_eq(carry_out(), -EACCES);
		/* Nor with the flag that a disk's requests have. */
		sqe = entry();
		io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
		ck_assert_int_eq(carry_out(), -EACCES);
	}
	close_all();
}
END_TEST

START_TEST(no_other_file_can_be_reached)
{
	if (!ring_opened())
		return;
	io_uring_prep_read(entry(), other, data, sizeof(data), 0);
	ck_assert_int_eq(carry_out(), -EACCES);
	io_uring_prep_read(entry(), fd, data, sizeof(data), 0);
	ck_assert_int_eq(carry_out(), -EACCES);
	ck_assert_int_eq(io_uring_register_files_update(&ring.ring, 0, &other, 1), -EACCES);
	ck_assert_int_eq(io_uring_unregister_files(&ring.ring), -EACCES);
	close_all();
}
END_TEST

UNIT_SUITE(suite, "block ring", a_disk_is_read_and_written, nothing_else_can_be_asked_for, no_other_file_can_be_reached)
UNIT_MAIN(suite)
