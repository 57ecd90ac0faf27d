// SPDX-License-Identifier: Apache-2.0
/* virtio-rng and rng-random: options, data, limits, and sources that have nothing to give or go away. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "virtio/classes.h"
#include "virtio/rng_backend.h"
#include "virtio_rig.h"

static struct rng_backend *backend;
static struct error *err;

static int make_backend(const char *text)
{
	struct opts *opts;
	int ret;

	ck_assert_int_eq(opts_parse("-object", text, "qom-type", &opts, &err), 0);
	ret = rng_backend_new(opts, rig.platform.links, &backend, &err);
	opts_free(opts);
	return ret;
}

static void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_rng_mmio_class, NULL };

	rig_open(classes);
	backend = NULL;
	err = NULL;
}

static void teardown(void)
{
	rig_close();
	rng_backend_free(backend);
}

static void start(const char *object, const char *device)
{
	const char *text;

	ck_assert_msg(!make_backend(object), "%s", err ? error_text(err) : "");
	text = rig_create(device);
	ck_assert_msg(!text, "%s", text);
	ck_assert(negotiate(VIRTIO_F_VERSION_1));
	drvq_open(0, 16);
	driver_ok();
}

static void ask(uint32_t len)
{
	drvq_desc(0, 0x80000, len, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
}

START_TEST(bad_options)
{
	static const struct { const char *device, *part; } bad[] = {
		{ "virtio-rng-device", "rng" },
		{ "virtio-rng-device,rng=nobody", "nobody" },
		{ "virtio-rng-device,rng=r0,max-bytes=100", "given together" },
		{ "virtio-rng-device,rng=r0,period=100", "given together" },
		{ "virtio-rng-device,rng=r0,max-bytes=63,period=1000", "[64, 1000000000]" },
		{ "virtio-rng-device,rng=r0,max-bytes=1000001,period=1", "[64, 1000000000]" },
		{ "virtio-rng-device,rng=r0,max-bytes=0,period=1", "max-bytes=0" },
		{ "virtio-rng-device,rng=r0,bus=pci.0", "bus" },
	};

	ck_assert_int_eq(make_backend("rng-random,id=r0"), 0);
	ck_assert_str_eq(rng_backend_filename(backend), "/dev/urandom");
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *text = rig_create(bad[i].device);

		ck_assert_msg(text && strstr(text, bad[i].part), "%s: %s", bad[i].device, text ? text : "made");
		ck_assert(!rig.slot_taken);
		ck_assert_int_eq(rig.irq_fd, -1);
	}
	ck_assert_ptr_null(rig_create("virtio-rng-device,rng=r0,max-bytes=64,period=1000"));
}
END_TEST

START_TEST(bad_sources)
{
	static const struct { const char *object, *part; } bad[] = {
		{ "rng-random,id=r0,filename=/etc", "is no character device, FIFO or file" },
		{ "rng-builtin,id=r0,filename=/dev/random", "unknown property 'filename'" },
		{ "rng-builtin", "id is required" },
		{ "rng-random,id=r0,filename=/dev/absent", "cannot be opened" },
		{ "rng-random,id=r0,filename=", "filename" },
		{ "rng-random", "id is required" },
		{ "rng-random,id=r0,file=/dev/random", "unknown property 'file'" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_lt(make_backend(bad[i].object), 0);
		ck_assert_ptr_nonnull(err);
		ck_assert_msg(strstr(error_text(err), bad[i].part), "%s", error_text(err));
		error_free(err);
		err = NULL;
	}
}
END_TEST

START_TEST(random_bytes)
{
	uint8_t *data;
	unsigned int zeroes = 0;

	start("rng-random,id=r0", "virtio-rng-device,rng=r0");
	ck_assert_uint_eq(rd(R_DEVICE_ID), 4);
	data = rig.ram->host + 0x80000;
	memset(data, 0, 8192);
	ask(4096);
	ck_assert_uint_eq(drvq_wait(NULL), 4096);
	for (unsigned int i = 0; i < 4096; i++)
		zeroes += !data[i];
	ck_assert_uint_lt(zeroes, 100);
	ck_assert_mem_eq(data + 4096, data + 4097, 4000); /* all zero still */
	/* What is too much for one turn is given in part. */
	ask(MIB);
	ck_assert_uint_eq(drvq_wait(NULL), 64 * 1024);
}
END_TEST

START_TEST(rate_limit)
{
	int64_t begin = clock_now_ns();
	uint64_t bytes = 0;

	start("rng-random,id=r0", "virtio-rng-device,rng=r0,max-bytes=1000,period=100");
	while (bytes < 5000) {
		uint32_t len;

		ask(4096);
		len = drvq_wait(NULL);
		ck_assert_uint_ge(len, 1);
		ck_assert_uint_le(len, 1000);
		bytes += len;
	}
	/* 10000 bytes a second, of which 1000 at once. */
	ck_assert_int_ge(clock_now_ns() - begin, (bytes - 1000) * NSEC_PER_SEC / 10000);
}
END_TEST

/* Linux may hang on a part (see WHOLE_MAX): what it asks for comes in one piece. */
static void expect_whole(const char *device, int requests)
{
	start("rng-random,id=r0", device);
	while (requests--) {
		ask(64);
		ck_assert_uint_eq(drvq_wait(NULL), 64);
	}
}

START_TEST(small_requests_are_not_cut)
{
	expect_whole("virtio-rng-device,rng=r0,max-bytes=1234,period=1000", 6);
}
END_TEST

START_TEST(nor_are_they_at_the_lowest_rate)
{
	expect_whole("virtio-rng-device,rng=r0,max-bytes=64,period=1000", 2);
}
END_TEST

/* Each byte of a file is given once; at its end the guest waits for more. */
START_TEST(bytes_of_a_file)
{
	char path[] = "./unit-rng-XXXXXX", object[64];
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "0123456789", 10), 10);
	snprintf(object, sizeof(object), "rng-random,id=r0,filename=%s", path);
	start(object, "virtio-rng-device,rng=r0");
	ask(4);
	ck_assert_uint_eq(drvq_wait(NULL), 4);
	ck_assert_mem_eq(rig.ram->host + 0x80000, "0123", 4);
	ask(64);
	ck_assert_uint_eq(drvq_wait(NULL), 6);
	ck_assert_mem_eq(rig.ram->host + 0x80000, "456789", 6);
	ask(64);
	ck_assert(!run_until(drvq_used, 50));
	ck_assert(!rig_broken());
	ck_assert_int_eq(write(fd, "more", 4), 4);
	ck_assert_uint_eq(drvq_wait(NULL), 4); /* a second later at most */
	close(fd);
	unlink(path);
}
END_TEST

/* Nobody writes, somebody writes, nobody writes again. */
START_TEST(bytes_of_a_fifo)
{
	char path[] = "./unit-rng-fifo-XXXXXX", object[64];
	int fd = mkstemp(path);

	close(fd);
	unlink(path);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	snprintf(object, sizeof(object), "rng-random,id=r0,filename=%s", path);
	start(object, "virtio-rng-device,rng=r0");
	ask(64);
	ck_assert(!run_until(drvq_used, 20));
	for (unsigned int i = 0; i < 2; i++) {
		fd = open(path, O_WRONLY);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(write(fd, "chaos", 5), 5);
		ck_assert_uint_eq(drvq_wait(NULL), 5);
		close(fd);
		ask(64);
		ck_assert(!run_until(drvq_used, 20));
	}
	ck_assert(!rig_broken());
	unlink(path);
}
END_TEST

START_TEST(bytes_of_the_kernel)
{
	unsigned int zeroes = 0;

	start("rng-builtin,id=r0", "virtio-rng-device,rng=r0");
	ck_assert_str_eq(rng_backend_filename(backend), "getrandom");
	/* In pieces, and in part when it is too much for one turn. */
	memset(rig.ram->host + 0x80000, 0, 8192);
	drvq_desc(0, 0x80000, 3, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 1);
	drvq_desc(1, 0x80003, 4093, VIRTQ_DESC_F_WRITE, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	ck_assert_uint_eq(drvq_wait(NULL), 4096);
	for (unsigned int i = 0; i < 4096; i++)
		zeroes += !rig.ram->host[0x80000 + i];
	ck_assert_uint_lt(zeroes, 100);
	ck_assert_mem_eq(rig.ram->host + 0x80000 + 4096, rig.ram->host + 0x80000 + 4097, 4000);
	ask(MIB);
	ck_assert_uint_eq(drvq_wait(NULL), 64 * 1024);
}
END_TEST

/* A terminal without input is a character device with nothing to give. */
START_TEST(source_that_makes_wait)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	char object[128];

	ck_assert_int_ge(master, 0);
	ck_assert(!grantpt(master) && !unlockpt(master));
	snprintf(object, sizeof(object), "rng-random,id=r0,filename=%s", ptsname(master));
	start(object, "virtio-rng-device,rng=r0");
	ask(64);
	ck_assert(!run_until(drvq_used, 50));
	ck_assert(!rig_broken());
	ck_assert_int_eq(write(master, "entropy\n", 8), 8);
	ck_assert_uint_eq(drvq_wait(NULL), 8);
	ck_assert_mem_eq(rig.ram->host + 0x80000, "entropy\n", 8);
	/* Reset while it waits, then again from the beginning. */
	ask(64);
	ck_assert(!run_until(drvq_used, 20));
	ck_assert(negotiate(VIRTIO_F_VERSION_1));
	drvq_open(0, 16);
	driver_ok();
	ck_assert_int_eq(write(master, "more\n", 5), 5);
	ck_assert(!run_until(drvq_used, 20)); /* nobody has asked */
	ask(64);
	ck_assert_uint_eq(drvq_wait(NULL), 5);
	/* It hangs up: the guest waits, the VMM goes on. */
	close(master);
	ask(64);
	ck_assert(!run_until(drvq_used, 50));
	ck_assert(!rig_broken());
}
END_TEST

START_TEST(chain_error)
{
	start("rng-random,id=r0", "virtio-rng-device,rng=r0");
	drvq_desc(0, 0x80000, 64, 0, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	ck_assert(run_until(rig_broken, 5000));
	ck_assert(negotiate(VIRTIO_F_VERSION_1));
	drvq_open(0, 16);
	driver_ok();
	ask(64);
	ck_assert_uint_eq(drvq_wait(NULL), 64);
}
END_TEST

START_TEST(io_hijack)
{
	/* A full ring in one go: a turn is bounded, yet all is served. */
	start("rng-random,id=r0", "virtio-rng-device,rng=r0");
	ck_assert(negotiate(VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX));
	drvq_open(0, 256);
	driver_ok();
	for (unsigned int i = 0; i < 256; i++) {
		drvq_desc(i, 0x80000 + i * 16, 16, VIRTQ_DESC_F_WRITE, 0);
		drvq_publish(i);
	}
	wr(R_NOTIFY, 0);
	for (unsigned int i = 0; i < 256; i++)
		ck_assert_uint_eq(drvq_wait(NULL), 16);
}
END_TEST

UNIT_SUITE_WITH(rng_suite, "virtio_rng", setup, teardown, bad_options, bad_sources, random_bytes,
		rate_limit, small_requests_are_not_cut, nor_are_they_at_the_lowest_rate, bytes_of_a_file,
		bytes_of_a_fifo, bytes_of_the_kernel, source_that_makes_wait, chain_error, io_hijack)

UNIT_MAIN(rng_suite)
