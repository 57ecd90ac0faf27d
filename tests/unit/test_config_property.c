// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "config/property.h"
#include "unit.h"

struct disk {
	char *serial;
	char *format;
	bool readonly;
	uint8_t u8;
	uint16_t num_queues;
	uint32_t queue_size;
	uint64_t iops;
	uint64_t cache;
	uint64_t size;
	int aio;
	void *drive;
	void *iothread;
	uint32_t guard; /* nothing may write beyond its field */
};

static const char *const aio_words[] = { "io_uring", "threads", NULL };

static const struct property disk_props[] = {
	PROP_STRING("serial", struct disk, serial, 1, 20, NULL, "serial number"),
	PROP_STRING("format", struct disk, format, 0, 0, "raw", "format of the image"),
	PROP_BOOL("readonly", struct disk, readonly, 0, "refuse writes"),
	PROP_UINT(8, "u8", struct disk, u8, 0, 1000, 7, "a byte"),
	PROP_UINT(16, "num-queues", struct disk, num_queues, 1, 32, 1, "request queues"),
	PROP_POW2(32, "queue-size", struct disk, queue_size, 2, 1024, 256, "descriptors a queue"),
	PROP_UINT(64, "iops", struct disk, iops, 0, UINT64_MAX, 0, "limit"),
	PROP_SIZE("cache", struct disk, cache, 1, 0, 32 * MIB, 4096, "cache"),
	PROP_SIZE("size", struct disk, size, MIB, 128 * MIB, 512 * GIB, 256 * MIB, "size"),
	PROP_ENUM("aio", struct disk, aio, aio_words, 1, "I/O engine"),
	PROP_LINK("drive", struct disk, drive, LINK_DRIVE, PROPERTY_REQUIRED, "back end"),
	PROP_LINK("iothread", struct disk, iothread, LINK_IOTHREAD, 0, "home"),
	PROP_IGNORED("bootindex", "accepted, without effect"),
	PROP_END,
};

static struct link_scope *scope;
static int d0, io0;

static struct disk apply(const char *text, struct error **errp)
{
	static const char *const skip[] = { "driver", "id", NULL };
	struct disk disk = { .guard = 0xdeadbeef };
	struct error *err = NULL;
	struct opts *opts;

	if (!scope) {
		scope = link_scope_new();
		ck_assert_int_eq(link_scope_add(scope, LINK_DRIVE, "d0", &d0, &err), 0);
		ck_assert_int_eq(link_scope_add(scope, LINK_IOTHREAD, "io0", &io0, &err), 0);
	}
	ck_assert_int_eq(opts_parse("-device", text, "driver", &opts, &err), 0);
	if (property_apply(disk_props, &disk, opts, skip, scope, errp)) {
		ck_assert_ptr_null(disk.serial);
		ck_assert_ptr_null(disk.format);
	}
	ck_assert_uint_eq(disk.guard, 0xdeadbeef);
	opts_free(opts);
	return disk;
}

static void release(struct disk *disk)
{
	property_release(disk_props, disk);
	ck_assert_ptr_null(disk->serial);
	link_scope_free(scope);
	scope = NULL;
}

START_TEST(defaults)
{
	struct error *err = NULL;
	struct disk disk = apply("blk,drive=d0", &err);

	ck_assert_no_error(err);
	ck_assert_ptr_null(disk.serial);
	ck_assert_str_eq(disk.format, "raw");
	ck_assert(!disk.readonly);
	ck_assert_uint_eq(disk.u8, 7);
	ck_assert_uint_eq(disk.num_queues, 1);
	ck_assert_uint_eq(disk.queue_size, 256);
	ck_assert_uint_eq(disk.cache, 4096);
	ck_assert_uint_eq(disk.size, 256 * MIB);
	ck_assert_int_eq(disk.aio, 1);
	ck_assert_ptr_eq(disk.drive, &d0);
	ck_assert_ptr_null(disk.iothread);
	release(&disk);
}
END_TEST

START_TEST(all_given)
{
	struct error *err = NULL;
	struct disk disk =
		apply("blk,id=b0,serial=S1,format=,readonly,u8=255,num-queues=32,queue-size=2,"
		      "iops=18446744073709551615,cache=32M,size=512G,aio=io_uring,drive=d0,"
		      "iothread=io0,bootindex=1",
		      &err);

	ck_assert_no_error(err);
	ck_assert_str_eq(disk.serial, "S1");
	ck_assert_str_eq(disk.format, "");
	ck_assert(disk.readonly);
	ck_assert_uint_eq(disk.u8, 255);
	ck_assert_uint_eq(disk.num_queues, 32);
	ck_assert_uint_eq(disk.queue_size, 2);
	ck_assert_uint_eq(disk.iops, UINT64_MAX);
	ck_assert_uint_eq(disk.cache, 32 * MIB);
	ck_assert_uint_eq(disk.size, 512 * GIB);
	ck_assert_int_eq(disk.aio, 0);
	ck_assert_ptr_eq(disk.iothread, &io0);
	release(&disk);
}
END_TEST

START_TEST(messages)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "virtio-blk-pci,id=d0,num-queues=99",
		  "-device virtio-blk-pci,id=d0: num-queues=99 is out of range [1, 32]" },
		{ "virtio-blk-device,id=d0,num-queue=1",
		  "-device virtio-blk-device,id=d0: unknown property "
		  "'num-queue'; did you mean 'num-queues'?" },
		{ "blk,wxyz=1", "-device blk: unknown property 'wxyz'" },
		{ "blk,di=1", "-device blk: unknown property 'di'; did you mean 'id'?" },
		{ "blk", "-device blk: 'drive' is required" },
		{ "blk,id=x,aio=foo", "-device blk,id=x: aio=foo is not one of io_uring, threads" },
		{ "blk,readonly=maybe", "-device blk: readonly=maybe is not one of on, off" },
		{ "blk,num-queues=0", "-device blk: num-queues=0 is out of range [1, 32]" },
		{ "blk,num-queues=x", "-device blk: num-queues=x is not a number" },
		{ "blk,num-queues=-1", "-device blk: num-queues=-1 is not a number" },
		{ "blk,num-queues", "-device blk: num-queues=on is not a number" },
		{ "blk,num-queues=", "-device blk: num-queues= is not a number" },
		{ "blk,num-queues=99999999999999999999",
		  "-device blk: num-queues=99999999999999999999 is out of range [1, 32]" },
		{ "blk,u8=256", "-device blk: u8=256 is out of range [0, 255]" },
		{ "blk,queue-size=100",
		  "-device blk: queue-size=100 is not a power of two in [2, 1024]" },
		{ "blk,size=127", "-device blk: size=127 is out of range [128M, 512G]" },
		{ "blk,size=1T", "-device blk: size=1T is out of range [128M, 512G]" },
		{ "blk,size=1MB",
		  "-device blk: size=1MB is not a size (a number with an optional K, M, G or T)" },
		{ "blk,serial=", "-device blk: serial= has 0 bytes, at least 1 are needed" },
		{ "blk,serial=123456789012345678901", "-device blk: serial=123456789012345678901 "
						      "has 21 bytes, at most 20 are possible" },
		{ "blk,serial=1234567890123456789012345678901234567890x",
		  "-device blk: serial=1234567890123456789012345678901234567890... has 41 bytes, "
		  "at most 20 "
		  "are possible" },
		{ "blk,drive=d1", "-device blk: drive=d1: there is no drive with this id; "
				  "did you mean 'd0'?" },
		{ "blk,drive=io0", "-device blk: drive=io0: there is no drive with this id" },
		{ "blk,serial=x,format=y,drive=",
		  "-device blk: drive=: there is no drive with this id" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error *err = NULL;
		struct disk disk = apply(cases[i].text, &err);

		ck_assert_error(err, cases[i].error);
		release(&disk);
	}
}
END_TEST

/* What property_get() says, property_set() takes and gives the same value. */
START_TEST(get_and_set_again)
{
	struct error *err = NULL;
	struct disk disk =
		apply("blk,drive=d0,serial=a,u8=3,cache=1025,size=134217729B,aio=io_uring,readonly",
		      &err);
	struct disk copy = { 0 };
	static const struct {
		const char *name, *value;
	} expected[] = {
		{ "serial", "a" },     { "format", "raw" },   { "readonly", "on" },
		{ "u8", "3" },	       { "num-queues", "1" }, { "queue-size", "256" },
		{ "iops", "0" },       { "cache", "1025" },   { "size", "134217729B" },
		{ "aio", "io_uring" }, { "drive", NULL },     { "bootindex", NULL },
	};

	ck_assert_no_error(err);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct property *prop = property_find(disk_props, expected[i].name);
		char *value = property_get(prop, &disk), *again;

		if (!expected[i].value) {
			ck_assert_ptr_null(value);
			continue;
		}
		ck_assert_str_eq(value, expected[i].value);
		ck_assert_int_eq(property_set(prop, &copy, value, NULL, &err), 0);
		again = property_get(prop, &copy);
		ck_assert_str_eq(again, value);
		free(again);
		free(value);
	}
	ck_assert_ptr_null(property_find(disk_props, "none"));
	property_release(disk_props, &copy);
	release(&disk);
}
END_TEST

START_TEST(setting_twice_frees_the_first)
{
	const struct property *prop = property_find(disk_props, "format");
	struct disk disk = { 0 };

	property_defaults(disk_props, &disk);
	property_defaults(disk_props, &disk);
	ck_assert_int_eq(property_set(prop, &disk, "qcow2", NULL, NULL), 0);
	ck_assert_str_eq(disk.format, "qcow2");
	property_release(disk_props, &disk);
	ck_assert_ptr_null(disk.format);
}
END_TEST

START_TEST(help)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	property_help(disk_props, out);
	fclose(out);
	ck_assert_str_eq(text, "  serial=<string>         serial number, at most 20 bytes\n"
			       "  format=<string>         format of the image, default raw\n"
			       "  readonly=<on|off>       refuse writes, default off\n"
			       "  u8=<uint8>              a byte [0, 255], default 7\n"
			       "  num-queues=<uint16>     request queues [1, 32], default 1\n"
			       "  queue-size=<uint32>     descriptors a queue [2, 1024], a power "
			       "of two, default 256\n"
			       "  iops=<uint64>           limit, default 0\n"
			       "  cache=<size>            cache [0, 32M], default 4K\n"
			       "  size=<size>             size [128M, 512G], default 256M\n"
			       "  aio=<io_uring|threads>  I/O engine, default threads\n"
			       "  drive=<drive id>        back end, required\n"
			       "  iothread=<iothread id>  home\n"
			       "  bootindex=<string>      accepted, without effect\n");
	free(text);
}
END_TEST

START_TEST(links_by_kind_and_id)
{
	struct link_scope *links = link_scope_new();
	struct error *err = NULL;
	int a, b;

	ck_assert_int_eq(link_scope_add(links, LINK_DRIVE, "x", &a, &err), 0);
	ck_assert_int_eq(link_scope_add(links, LINK_CHARDEV, "x", &b, &err), 0); /* another kind */
	ck_assert_int_eq(link_scope_add(links, LINK_DRIVE, "x", &b, &err), -EEXIST);
	ck_assert_error(err, "drive id 'x' is already used");
	ck_assert_ptr_eq(link_scope_find(links, LINK_DRIVE, "x"), &a);
	ck_assert_ptr_eq(link_scope_find(links, LINK_CHARDEV, "x"), &b);
	ck_assert_ptr_null(link_scope_find(links, LINK_RNG, "x"));
	link_scope_del(links, LINK_DRIVE, "x");
	link_scope_del(links, LINK_DRIVE, "x");
	ck_assert_ptr_null(link_scope_find(links, LINK_DRIVE, "x"));
	ck_assert_int_eq(link_scope_add(links, LINK_DRIVE, "x", &b, &err), 0);
	link_scope_free(links);
	link_scope_free(NULL);
}
END_TEST

UNIT_SUITE(suite, "config property", defaults, all_given, messages, get_and_set_again,
	   setting_twice_frees_the_first, help, links_by_kind_and_id)
UNIT_MAIN(suite)
