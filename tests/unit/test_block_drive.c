// SPDX-License-Identifier: Apache-2.0
/* -drive: options and their errors, image locks, the format that is never guessed (format-probe). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/drive.h"
#include "unit.h"
#include "util/fd_store.h"

static char dir[64], image[96];
static struct link_scope *scope;
static struct block_drive *drive;
static struct error *err;

static void make_image(const char *path, off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
}

static void setup(void)
{
	snprintf(dir, sizeof(dir), "./unit-drive-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/disk", dir);
	make_image(image, 64 * 1024);
	scope = link_scope_new();
	drive = NULL;
	err = NULL;
}

static void teardown(void)
{
	link_scope_free(scope);
	unlink(image);
	rmdir(dir);
}

/* "%s" in @text is the image. */
static int create(const char *text, struct block_drive **ret)
{
	char full[512];
	struct opts *opts;
	int result;

	snprintf(full, sizeof(full), text, image);
	ck_assert_int_eq(opts_parse("-drive", full, NULL, &opts, &err), 0);
	result = block_drive_new(opts, scope, ret, &err);
	opts_free(opts);
	return result;
}

static void expect_error(const char *text, const char *part)
{
	struct block_drive *none = NULL;

	ck_assert_int_lt(create(text, &none), 0);
	ck_assert_ptr_null(none);
	ck_assert_ptr_nonnull(err);
	ck_assert_msg(strstr(error_text(err), part), "'%s' lacks '%s'", error_text(err), part);
	ck_assert_msg(!strncmp(error_text(err), "-drive", 6), "'%s'", error_text(err));
	error_free(err);
	err = NULL;
}

START_TEST(defaults)
{
	ck_assert_int_eq(create("id=d0,file=%s", &drive), 0);
	ck_assert_str_eq(block_drive_id(drive), "d0");
	ck_assert_str_eq(block_drive_file(drive), image);
	ck_assert_uint_eq(block_drive_size(drive), 64 * 1024);
	ck_assert(!block_drive_readonly(drive));
	ck_assert(!block_drive_discard(drive));
	ck_assert_uint_eq(block_drive_limits(drive)->limit[BLOCK_LIMIT_IOPS].average, 0);
	ck_assert_ptr_eq(link_scope_find(scope, LINK_DRIVE, "d0"), drive);
	block_drive_free(drive);
}
END_TEST

START_TEST(words_of_others)
{
	static const char *const good[] = {
		"id=d0,file=%s,if=none,format=raw,media=disk,aio=native", "id=d0,file=%s,aio=threads,direct=off",
		"id=d0,file=%s,aio=off,direct=off", "id=d0,file=%s,cache=none", "id=d0,file=%s,cache=writeback",
		"id=d0,file=%s,cache=writethrough", "id=d0,file=%s,cache=unsafe,discard=unmap,detect-zeroes=unmap",
		"id=d0,file=%s,readonly=on,throttling.iops-total=1000000",
		"id=d0,file=%s,throttling.iops-read=5,throttling.iops-write=7,throttling.bps-total=1000,"
		"throttling.bps-total-max=2000,throttling.bps-total-max-length=60,throttling.iops-size=4096",
		"id=d0,file=%s,rerror=stop,werror=enospc", "id=d0,file=%s,rerror=ignore,werror=report",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++) {
		int ret = create(good[i], &drive);

		ck_assert_msg(!ret, "%s: %s", good[i], err ? error_text(err) : "");
		block_drive_free(drive);
		link_scope_del(scope, LINK_DRIVE, "d0");
	}
}
END_TEST

START_TEST(refusals)
{
	expect_error("file=%s", "an id of 1 to 255 characters is required");
	expect_error("id=d0", "file");
	expect_error("id=d0,file=%s,format=qcow2", "format=qcow2 is not supported");
	expect_error("id=d0,file=%s,format=vmdk", "format=vmdk");
	expect_error("id=d0,file=%s,if=ide", "if=ide");
	expect_error("id=d0,file=%s,cache=none,direct=on", "exclude each other");
	expect_error("id=d0,file=%s,throttling.iops-total=1000000000000001", "[0, 1000000000000000]");
	expect_error("id=d0,file=%s,throttling.iops-total=1,throttling.iops-write=1", "exclude each other");
	expect_error("id=d0,file=%s,throttling.bps-total=1,throttling.bps-read=1", "exclude each other");
	expect_error("id=d0,file=%s,throttling.bps-total-max=1", "needs throttling.bps-total");
	expect_error("id=d0,file=%s,throttling.bps-total=2,throttling.bps-total-max=1", "is less than");
	expect_error("id=d0,file=%s,throttling.iops-read=2,throttling.iops-read-max-length=2",
		     "needs throttling.iops-read-max");
	expect_error("id=d0,file=%s,throttling.iops-read=2,throttling.iops-read-max-length=0", "[1, 4294967295]");
	expect_error("id=d0,file=%s,throttling.bps-total=2,throttling.bps-total-max=1000000000000,"
		     "throttling.bps-total-max-length=1001", "for that long");
	expect_error("id=d0,file=%s,throttling.bps-total=2,throttling.iops-size=1", "needs a limit of requests");
	expect_error("id=d0,file=%s,rerror=enospc", "rerror=enospc");
	expect_error("id=d0,file=%s,werror=auto", "werror=auto");
	expect_error("id=d0,file=%s,read-only=on", "readonly");
	expect_error("id=d0,file=%s.absent", "cannot be opened");
	expect_error("id=d0,file=/dev/null", "neither a regular file nor a block device");
	expect_error("id=d0,file=/var/tmp", "/var/tmp");
	make_image(image, 511);
	expect_error("id=d0,file=%s", "smaller than one sector");
	make_image(image, 4096);
	ck_assert_int_eq(create("id=d0,file=%s,readonly=on", &drive), 0);
	expect_error("id=d0,file=%s,readonly=on", "'d0'");
	block_drive_free(drive);
}
END_TEST

START_TEST(size_is_whole_sectors)
{
	make_image(image, 3 * 512 + 100);
	ck_assert_int_eq(create("id=d0,file=%s", &drive), 0);
	ck_assert_uint_eq(block_drive_size(drive), 3 * 512);
	block_drive_free(drive);
}
END_TEST

static struct block_drive_user plain, sharing = { .share = true };

static struct block_drive *use(const char *text, struct block_drive_user *user)
{
	struct block_drive *used = NULL;

	ck_assert_int_eq(create(text, &used), 0);
	ck_assert_int_eq(block_drive_attach(used, 512, user, &err), 0);
	return used;
}

/* Either when it is opened or when a device takes it. */
static void expect_busy(const char *text, struct block_drive_user *user, const char *part)
{
	struct block_drive *used = NULL;

	if (!create(text, &used)) {
		ck_assert_int_eq(block_drive_attach(used, 512, user, &err), -EBUSY);
		ck_assert(!block_drive_in_use(used));
		block_drive_free(used);
	}
	ck_assert_msg(err && strstr(error_text(err), part), "'%s' lacks '%s'", err ? error_text(err) : "", part);
	error_free(err);
	err = NULL;
}

START_TEST(two_writers)
{
	struct block_drive *reader, *other;

	drive = use("id=d0,file=%s", &plain);
	expect_error("id=d1,file=%s", image);
	expect_busy("id=d2,file=%s,readonly=on", &plain, "is in use by another drive or program that writes to it");
	block_drive_free(drive);
	/* Readers share, and keep a writer away. */
	reader = use("id=d3,file=%s,readonly=on", &plain);
	other = use("id=d4,file=%s,readonly=on", &plain);
	expect_error("id=d5,file=%s", "only readers can share an image");
	block_drive_free(reader);
	expect_error("id=d5,file=%s", "only readers can share an image");
	block_drive_free(other);
	drive = use("id=d6,file=%s", &plain);
	block_drive_free(drive);
}
END_TEST

/* One that is opened first does not have it yet: the first device that uses it does. */
START_TEST(opened_and_not_used)
{
	struct block_drive *second;

	ck_assert_int_eq(create("id=d0,file=%s", &drive), 0);
	second = use("id=d1,file=%s,readonly=on", &sharing);
	block_drive_free(second);
	expect_busy("id=d2,file=%s", &plain, "is in use by another drive");
	ck_assert_int_eq(block_drive_attach(drive, 512, &plain, &err), 0);
	expect_error("id=d3,file=%s", "is in use by another drive");
	block_drive_free(drive);
}
END_TEST

/* QEMU's share-rw=on: all that write have to say it. */
START_TEST(writers_that_share)
{
	struct block_drive *second;

	drive = use("id=d0,file=%s", &sharing);
	second = use("id=d1,file=%s", &sharing);
	expect_busy("id=d2,file=%s", &plain, "devices that all have share-rw=on");
	expect_busy("id=d3,file=%s,readonly=on", &plain, "another drive or program that writes to it");
	block_drive_free(use("id=d4,file=%s,readonly=on", &sharing));
	/* A device that has it for itself may come when the others are gone; then no other comes. */
	block_drive_free(second);
	block_drive_detach(drive);
	ck_assert_int_eq(block_drive_attach(drive, 512, &plain, &err), 0);
	expect_busy("id=d5,file=%s", &sharing, "another drive");
	block_drive_detach(drive);
	ck_assert_int_eq(block_drive_attach(drive, 512, &sharing, &err), 0);
	block_drive_free(use("id=d6,file=%s", &sharing));
	block_drive_free(drive);
	/* A reader that minds keeps them all away. */
	drive = use("id=d7,file=%s,readonly=on", &plain);
	expect_busy("id=d8,file=%s", &sharing, "another drive");
	block_drive_free(drive);
}
END_TEST

/* What QEMU holds on an image that it writes to, or reads without sharing with writers; and what it looks at. */
START_TEST(locks_of_qemu)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
	int fd = open(image, O_RDWR);

	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	expect_busy("id=d0,file=%s", &plain, image);
	expect_busy("id=d1,file=%s,readonly=on", &plain, image);
	/* It writes and shares; so may we. */
	drive = use("id=d2,file=%s", &sharing);
	lock.l_type = F_WRLCK;
	lock.l_start = 201;
	ck_assert_int_eq(fcntl(fd, F_OFD_GETLK, &lock), 0);
	ck_assert_int_eq(lock.l_type, F_UNLCK);
	block_drive_free(drive);
	lock = (struct flock){ .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	lock.l_type = F_RDLCK;
	lock.l_start = 201;
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0);
	expect_error("id=d3,file=%s", image);
	drive = use("id=d4,file=%s,readonly=on", &plain);
	block_drive_free(drive);
	close(fd);
}
END_TEST

/* A set with a description for writers and one for readers; both stay with whoever passed them, too. */
static void pass_image(int fds[2])
{
	int64_t set = 7;

	fds[0] = open(image, O_RDWR | O_CLOEXEC);
	fds[1] = open(image, O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(fd_set_add(&set, fcntl(fds[i], F_DUPFD_CLOEXEC, 3), NULL, &err), 0);
}

/* Images from a set are locked as those by path, though their drives have one description. */
START_TEST(two_writers_from_a_set)
{
	struct block_drive *reader, *other;
	int fds[2];

	pass_image(fds);
	drive = use("id=d0,file=/dev/fdset/7", &plain);
	expect_error("id=d1,file=/dev/fdset/7", "is in use by another drive");
	expect_busy("id=d2,file=/dev/fdset/7,readonly=on", &plain, "that writes to it");
	expect_error("id=d3,file=%s", "is in use by another drive");
	expect_busy("id=d4,file=%s,readonly=on", &plain, "that writes to it");
	block_drive_free(drive);
	/* The descriptions are still there, but nobody has the image any more. */
	drive = use("id=d5,file=%s", &plain);
	expect_error("id=d6,file=/dev/fdset/7", "is in use by another drive");
	block_drive_free(drive);
	reader = use("id=d7,file=/dev/fdset/7,readonly=on", &plain);
	other = use("id=d8,file=/dev/fdset/7,readonly=on", &plain);
	expect_error("id=d9,file=/dev/fdset/7", "only readers can share an image");
	block_drive_free(reader);
	expect_error("id=d9,file=/dev/fdset/7", "only readers can share an image");
	block_drive_free(other);
	fd_store_clear();
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* One description, and each of its drives says what it minds. */
START_TEST(writers_of_a_set_that_share)
{
	struct block_drive *second;
	struct flock lock;
	int fds[2], other = open(image, O_RDWR | O_CLOEXEC);

	pass_image(fds);
	drive = use("id=d0,file=/dev/fdset/7", &sharing);
	second = use("id=d1,file=/dev/fdset/7", &sharing);
	expect_busy("id=d2,file=/dev/fdset/7", &plain, "devices that all have share-rw=on");
	expect_busy("id=d3,file=/dev/fdset/7,readonly=on", &plain, "that writes to it");
	/* Neither a device that was refused nor one that is gone takes the others' lock along. */
	for (int drives = 2; drives >= 0; drives--) {
		lock = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
		ck_assert_int_eq(fcntl(other, F_OFD_GETLK, &lock), 0);
		ck_assert_int_eq(lock.l_type, drives ? F_RDLCK : F_UNLCK);
		if (drives)
			block_drive_free(drives == 2 ? drive : second);
	}
	fd_store_clear();
	close(fds[0]);
	close(fds[1]);
	close(other);
}
END_TEST

/* What another program sees of the locks on an image from a set: the process that asks is one whose description is its own. */
START_TEST(locks_from_a_set_as_others_see_them)
{
	struct block_drive *reader;
	int fds[2], other = open(image, O_RDWR | O_CLOEXEC);
	struct flock lock;

	pass_image(fds);
	drive = use("id=d0,file=/dev/fdset/7,readonly=on", &plain);
	reader = use("id=d1,file=/dev/fdset/7,readonly=on", &plain);
	for (int drives = 2; drives >= 0; drives--) {
		lock = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1 };
		ck_assert_int_eq(fcntl(other, F_OFD_GETLK, &lock), 0);
		ck_assert_int_eq(lock.l_type, drives ? F_RDLCK : F_UNLCK);
		if (drives)
			block_drive_free(drives == 2 ? drive : reader);
	}
	/* A writer that fails, for somebody reads, leaves nothing locked. */
	lock = (struct flock){ .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1 };
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &lock), 0);
	expect_error("id=d2,file=/dev/fdset/7", "only readers can share an image");
	lock = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
	ck_assert_int_eq(fcntl(other, F_OFD_GETLK, &lock), 0);
	ck_assert_int_eq(lock.l_type, F_UNLCK);
	fd_store_clear();
	close(fds[0]);
	close(fds[1]);
	close(other);
}
END_TEST

START_TEST(format_probe)
{
	/* A guest may write what it likes into its first sector: it stays a raw disk of the same size. */
	int fd = open(image, O_WRONLY);

	ck_assert_int_eq(pwrite(fd, "QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x10", 16, 0), 16);
	close(fd);
	ck_assert_int_eq(create("id=d0,file=%s", &drive), 0);
	ck_assert_uint_eq(block_drive_size(drive), 64 * 1024);
	block_drive_free(drive);
}
END_TEST

START_TEST(one_user)
{
	ck_assert_int_eq(create("id=d0,file=%s", &drive), 0);
	ck_assert_int_eq(block_drive_attach(drive, 512, NULL, &err), 0);
	ck_assert_int_eq(block_drive_attach(drive, 512, NULL, &err), -EBUSY);
	ck_assert_error(err, "drive 'd0' is in use by another device");
	block_drive_detach(drive);
	ck_assert_int_eq(block_drive_attach(drive, 512, NULL, &err), 0);
	block_drive_free(drive);
}
END_TEST

START_TEST(no_direct_io_on_tmpfs)
{
	struct stat st;

	if (stat("/dev/shm", &st))
		return;
	snprintf(image, sizeof(image), "/dev/shm/unit-drive-%d", getpid());
	make_image(image, 8192);
	ck_assert_int_eq(create("id=d0,file=%s,direct=on", &drive), 0);
	ck_assert_uint_eq(block_drive_size(drive), 8192);
	block_drive_free(drive);
	unlink(image);
}
END_TEST

UNIT_SUITE_WITH(drive_suite, "block_drive", setup, teardown, defaults, words_of_others, refusals,
		size_is_whole_sectors, two_writers, opened_and_not_used, writers_that_share, locks_of_qemu,
		two_writers_from_a_set, writers_of_a_set_that_share, locks_from_a_set_as_others_see_them, format_probe, one_user,
		no_direct_io_on_tmpfs)

UNIT_MAIN(drive_suite)
