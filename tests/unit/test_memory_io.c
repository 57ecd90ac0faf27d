/* SPDX-License-Identifier: Apache-2.0 */
/* MMIO and port dispatch: a handler sees only aligned accesses of its own widths, whatever the
 * guest does. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/space.h"
#include "unit.h"

/* A device that answers offset-dependent bytes and writes down every access: "r4@8 w2@10=beef ". */
struct device {
	struct io_region region;
	struct io_ops ops;
	char log[512];
};

static uint64_t dev_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct device *dev = opaque;
	uint64_t value = 0;

	sprintf(dev->log + strlen(dev->log), "r%u@%x ", size, (unsigned int)offset);
	for (unsigned int i = 0; i < size; i++)
		value |= (uint64_t)(0x10 + ((offset + i) & 0xff)) << 8 * i;
	return value;
}

static void dev_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct device *dev = opaque;

	sprintf(dev->log + strlen(dev->log), "w%u@%x=%llx ", size, (unsigned int)offset,
		(unsigned long long)value);
}

static void device_add(struct mem_space *space, struct device *dev, enum io_kind kind,
		       uint64_t base, uint64_t size, uint8_t min, uint8_t max)
{
	struct error *err = NULL;

	memset(dev, 0, sizeof(*dev));
	dev->ops = (struct io_ops){ dev_read, dev_write, min, max };
	dev->region = (struct io_region){
		.name = "dev",
		.kind = kind,
		.base = base,
		.size = size,
		.ops = &dev->ops,
		.opaque = dev,
	};
	ck_assert_int_eq(mem_space_add_io(space, &dev->region, &err), 0);
}

static uint64_t io_read(struct mem_space *space, enum io_kind kind, uint64_t addr, unsigned int len)
{
	uint64_t value = 0;

	mem_space_io_read(space, kind, addr, &value, len);
	return value;
}

static void io_write(struct mem_space *space, enum io_kind kind, uint64_t addr, uint64_t value,
		     unsigned int len)
{
	mem_space_io_write(space, kind, addr, &value, len);
}

#define expect_log(dev, text)                                                                      \
	do {                                                                                       \
		ck_assert_str_eq((dev).log, text);                                                 \
		(dev).log[0] = 0;                                                                  \
	} while (0)

START_TEST(plain_accesses)
{
	struct mem_space *space = mem_space_new();
	struct device dev;

	device_add(space, &dev, IO_MMIO, 0x1000, 0x100, 0, 0);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1000, 1), 0x10);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1002, 2), 0x1312);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1004, 4), 0x17161514);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1008, 8), 0x1f1e1d1c1b1a1918);
	io_write(space, IO_MMIO, 0x1008, 0x1122334455667788, 8);
	io_write(space, IO_MMIO, 0x10ff, 0xab, 1);
	expect_log(dev, "r1@0 r2@2 r4@4 r8@8 w8@8=1122334455667788 w1@ff=ab ");
	mem_space_free(space);
}
END_TEST

START_TEST(wide_access_is_split)
{
	struct mem_space *space = mem_space_new();
	struct device dev, port;

	device_add(space, &dev, IO_MMIO, 0x1000, 0x100, 4, 4);
	device_add(space, &port, IO_PORT, 0x3f8, 8, 1, 1);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1008, 8), 0x1f1e1d1c1b1a1918);
	io_write(space, IO_MMIO, 0x1010, 0x1122334455667788, 8);
	expect_log(dev, "r4@8 r4@c w4@10=55667788 w4@14=11223344 ");
	ck_assert_uint_eq(io_read(space, IO_PORT, 0x3f8, 4), 0x13121110);
	io_write(space, IO_PORT, 0x3fe, 0xbbaa, 2);
	expect_log(port, "r1@0 r1@1 r1@2 r1@3 w1@6=aa w1@7=bb ");
	mem_space_free(space);
}
END_TEST

START_TEST(port_default_width_is_four)
{
	struct mem_space *space = mem_space_new();
	struct device dev;

	device_add(space, &dev, IO_PORT, 0x100, 16, 0, 0);
	ck_assert_uint_eq(io_read(space, IO_PORT, 0x100, 8), 0x1716151413121110);
	expect_log(dev, "r4@0 r4@4 ");
	mem_space_free(space);
}
END_TEST

START_TEST(unaligned_access_is_split)
{
	struct mem_space *space = mem_space_new();
	struct device dev;

	device_add(space, &dev, IO_MMIO, 0x1000, 0x100, 1, 8);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1001, 4), 0x14131211);
	io_write(space, IO_MMIO, 0x1003, 0x8877665544332211, 8);
	expect_log(dev, "r1@1 r2@2 r1@4 w1@3=11 w4@4=55443322 w2@8=7766 w1@a=88 ");
	/* KVM hands out odd lengths where an access crosses a page. */
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1000, 3), 0x121110);
	expect_log(dev, "r2@0 r1@2 ");
	mem_space_free(space);
}
END_TEST

START_TEST(narrow_access)
{
	struct mem_space *space = mem_space_new();
	struct device dev;

	device_add(space, &dev, IO_MMIO, 0x1000, 0x100, 4, 4);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1006, 1), 0x16);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1006, 2), 0x1716);
	/* Half of one register, half of the next. */
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1006, 4), 0x19181716);
	expect_log(dev, "r4@4 r4@4 r4@4 r4@8 ");
	/* Writes of a part would have to invent the rest. */
	io_write(space, IO_MMIO, 0x1006, 0xff, 1);
	io_write(space, IO_MMIO, 0x1006, 0xffffffff, 4);
	expect_log(dev, "");
	/* Only the whole register inside an unaligned wide write is written. */
	io_write(space, IO_MMIO, 0x1002, 0x8877665544332211, 8);
	expect_log(dev, "w4@4=66554433 ");
	mem_space_free(space);
}
END_TEST

START_TEST(straddles_read_ones_outside)
{
	struct mem_space *space = mem_space_new();
	struct device dev, next;

	/* mmio-straddle: across both ends of a region, and from one into the next. */
	device_add(space, &dev, IO_MMIO, 0x1000, 0x10, 1, 4);
	device_add(space, &next, IO_MMIO, 0x1014, 4, 1, 4);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0xffe, 4), 0x1110ffff);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x100e, 4), 0xffff1f1e);
	expect_log(dev, "r2@0 r2@e ");
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x100f, 8), 0x121110ffffffff1f);
	expect_log(dev, "r1@f ");
	expect_log(next, "r2@0 r1@2 ");
	io_write(space, IO_MMIO, 0x100e, 0x44332211, 4);
	expect_log(dev, "w2@e=2211 ");
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x5000, 8), UINT64_MAX);
	ck_assert_uint_eq(io_read(space, IO_PORT, 0x80, 1), 0xff);
	io_write(space, IO_PORT, 0x80, 1, 1);
	mem_space_free(space);
}
END_TEST

START_TEST(region_that_ends_within_a_register)
{
	struct mem_space *space = mem_space_new();
	struct device dev;

	device_add(space, &dev, IO_MMIO, 0x1000, 6, 4, 4);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1004, 2), 0xffff);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1000, 8), 0xffffffff13121110);
	io_write(space, IO_MMIO, 0x1004, 0, 4);
	expect_log(dev, "r4@0 ");
	mem_space_free(space);
}
END_TEST

START_TEST(ends_of_the_address_spaces)
{
	struct mem_space *space = mem_space_new();
	struct device top, port;

	device_add(space, &top, IO_MMIO, UINT64_MAX - 3, 4, 1, 4);
	device_add(space, &port, IO_PORT, 0xfffe, 2, 1, 4);
	ck_assert_uint_eq(io_read(space, IO_MMIO, UINT64_MAX - 3, 4), 0x13121110);
	ck_assert_uint_eq(io_read(space, IO_MMIO, UINT64_MAX, 4), 0xffffff13);
	ck_assert_uint_eq(io_read(space, IO_MMIO, UINT64_MAX - 1, 8), 0xffffffffffff1312);
	ck_assert_uint_eq(io_read(space, IO_PORT, 0xfffe, 4), 0xffff1110);
	ck_assert_uint_eq(io_read(space, IO_PORT, 0xffff, 4), 0xffffff11);
	/* 64-bit address arithmetic must not bring a port access back to port 0. */
	ck_assert_uint_eq(io_read(space, IO_PORT, 0x10000, 1), 0xff);
	io_write(space, IO_MMIO, UINT64_MAX, 0x44332211, 4);
	expect_log(top, "r4@0 r1@3 r2@2 w1@3=11 ");
	mem_space_free(space);
}
END_TEST

START_TEST(regions_come_and_go)
{
	struct mem_space *space = mem_space_new();
	struct device a, b;
	struct io_region clash = {
		.name = "clash", .kind = IO_MMIO, .base = 0x10ff, .size = 2, .ops = &a.ops
	};
	struct error *err = NULL;
	struct io_region at;

	device_add(space, &b, IO_MMIO, 0x2000, 0x100, 1, 4);
	device_add(space, &a, IO_MMIO, 0x1000, 0x100, 1, 4);
	ck_assert(mem_space_io(space, IO_MMIO, 0, &at) && at.opaque == &a);
	ck_assert(mem_space_io(space, IO_MMIO, 1, &at) && at.opaque == &b);
	ck_assert(!mem_space_io(space, IO_MMIO, 2, &at));
	ck_assert(!mem_space_io(space, IO_PORT, 0, &at));

	ck_assert_int_eq(mem_space_add_io(space, &clash, &err), -EEXIST);
	ck_assert_error(err, "MMIO region 'clash' at 0x10ff, size 0x2 overlaps 'dev' at 0x1000, "
			     "size 0x100");
	clash.kind = IO_PORT; /* another space */
	ck_assert_int_eq(mem_space_add_io(space, &clash, &err), 0);
	mem_space_del_io(space, &clash);

	mem_space_del_io(space, &a.region);
	mem_space_del_io(space, &a.region); /* harmless */
	ck_assert(mem_space_io(space, IO_MMIO, 0, &at) && at.opaque == &b);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x1000, 1), 0xff);
	ck_assert_uint_eq(io_read(space, IO_MMIO, 0x2000, 1), 0x10);
	mem_space_free(space);
}
END_TEST

/* What a guest does that moves its BARs: more and more regions, then none. */
struct mover {
	struct mem_space *space;
	atomic_bool done;
};

static void *move_regions(void *opaque)
{
	struct mover *mover = opaque;
	struct io_region *regions[64];

	for (unsigned int round = 0; round < 300; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(regions); i++) {
			static const struct io_ops ops;
			uint64_t base = 0x1000 * (i + 1 + round % 7);

			regions[i] = calloc(1, sizeof(*regions[i]));
			*regions[i] = (struct io_region){
				.name = "bar", .kind = IO_MMIO, .base = base, .size = base >> 8, .ops = &ops
			};
			ck_assert_int_eq(mem_space_add_io(mover->space, regions[i], NULL), 0);
		}
		for (unsigned int i = 0; i < ARRAY_SIZE(regions); i++) {
			mem_space_del_io(mover->space, regions[i]);
			memset(regions[i], 0xff, sizeof(*regions[i]));
			free(regions[i]);
		}
	}
	atomic_store(&mover->done, true);
	return NULL;
}

START_TEST(regions_are_looked_at_while_they_move)
{
	struct mover mover = { .space = mem_space_new() };
	struct io_region at;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, move_regions, &mover), 0);
	while (!atomic_load(&mover.done))
		for (unsigned int i = 0; mem_space_io(mover.space, IO_MMIO, i, &at); i++)
			ck_assert(at.base && at.size == at.base >> 8);
	pthread_join(thread, NULL);
	mem_space_free(mover.space);
}
END_TEST

START_TEST(impossible_regions_are_refused)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	struct ram_backend ram = { .host = page, .size = sizeof(page), .fd = -1 };
	struct mem_space *space = mem_space_new();
	static const struct io_ops ops;
	struct io_region region = {
		.name = "odd", .kind = IO_PORT, .base = 0xffff, .size = 2, .ops = &ops
	};
	struct error *err = NULL;

	ck_assert_int_eq(mem_space_add_io(space, &region, &err), -EINVAL);
	ck_assert_error(err, "port region 'odd' at 0xffff, size 0x2 is empty or ends beyond the "
			     "address space");
	region.size = 0;
	ck_assert_int_eq(mem_space_add_io(space, &region, NULL), -EINVAL);
	region = (struct io_region){
		.name = "odd", .kind = IO_MMIO, .base = UINT64_MAX, .size = 2, .ops = &ops
	};
	ck_assert_int_eq(mem_space_add_io(space, &region, NULL), -EINVAL);

	ck_assert_int_eq(mem_space_add_ram(space, 0x1000, &ram, 0, 0x1000, &err), 0);
	region.base = 0x1fff;
	ck_assert_int_eq(mem_space_add_io(space, &region, &err), -EEXIST);
	ck_assert_error(err, "MMIO region 'odd' at 0x1fff, size 0x2 overlaps RAM at 0x1000, size "
			     "0x1000");
	mem_space_free(space);
}
END_TEST

UNIT_SUITE(suite, "memory io", plain_accesses, wide_access_is_split, port_default_width_is_four,
	   unaligned_access_is_split, narrow_access, straddles_read_ones_outside,
	   region_that_ends_within_a_register, ends_of_the_address_spaces, regions_come_and_go,
	   regions_are_looked_at_while_they_move,
	   impossible_regions_are_refused)
UNIT_MAIN(suite)
