/* SPDX-License-Identifier: Apache-2.0 */
/* Guest RAM and slices: nothing but bytes of one RAM region becomes a pointer. */
#include <errno.h>
#include <string.h>

#include "memory/space.h"
#include "unit.h"

#define HIGH 0x100000000ULL

/* RAM at 64 KiB..128 KiB and 128..192 KiB (adjacent, host memory apart), a hole, RAM at 4 GiB. */
struct fixture {
	struct mem_space *space;
	struct ram_backend ram;
};

static uint8_t host[0x40000] __attribute__((aligned(4096)));

static void setup(struct fixture *f)
{
	struct error *err = NULL;

	f->ram = (struct ram_backend){ .host = host, .size = sizeof(host), .fd = -1 };
	f->space = mem_space_new();
	/* Not in ascending order, on purpose. */
	ck_assert_int_eq(mem_space_add_ram(f->space, HIGH, &f->ram, 0x20000, 0x10000, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(f->space, 0x10000, &f->ram, 0x10000, 0x10000, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(f->space, 0x20000, &f->ram, 0, 0x10000, &err), 0);
	ck_assert_no_error(err);
}

START_TEST(regions_are_sorted)
{
	struct fixture f;

	setup(&f);
	ck_assert_uint_eq(mem_space_ram_count(f.space), 3);
	ck_assert_uint_eq(mem_space_ram(f.space, 0)->base, 0x10000);
	ck_assert_uint_eq(mem_space_ram(f.space, 1)->base, 0x20000);
	ck_assert_uint_eq(mem_space_ram(f.space, 2)->base, HIGH);
	ck_assert_ptr_eq(mem_space_ram(f.space, 2)->host, host + 0x20000);
	ck_assert_uint_eq(mem_space_ram(f.space, 2)->fd_offset, 0x20000);
	ck_assert_ptr_null(mem_space_ram(f.space, 3));
	ck_assert_uint_eq(mem_space_ram_total(f.space), 0x30000);
	mem_space_free(f.space);
}
END_TEST

START_TEST(overlap_is_refused)
{
	static const struct io_ops ops;
	struct io_region uart = {
		.name = "uart", .kind = IO_MMIO, .base = 0x50000, .size = 0x1000, .ops = &ops
	};
	struct error *err = NULL;
	struct fixture f;

	setup(&f);
	ck_assert_int_eq(mem_space_add_io(f.space, &uart, &err), 0);
	/* The last page of one, the first page of another, around everything, over MMIO. */
	ck_assert_int_eq(mem_space_add_ram(f.space, 0x1f000, &f.ram, 0, 0x1000, &err), -EEXIST);
	ck_assert_error(err, "RAM at 0x1f000, size 0x1000 overlaps RAM at 0x10000, size 0x10000");
	ck_assert_int_eq(mem_space_add_ram(f.space, 0xf000, &f.ram, 0, 0x2000, &err), -EEXIST);
	ck_assert_error(err, "RAM at 0xf000, size 0x2000 overlaps RAM at 0x10000, size 0x10000");
	ck_assert_int_eq(mem_space_add_ram(f.space, 0, &f.ram, 0, 0x40000, NULL), -EEXIST);
	ck_assert_int_eq(mem_space_add_ram(f.space, 0x50000, &f.ram, 0, 0x1000, &err), -EEXIST);
	ck_assert_error(err, "RAM at 0x50000, size 0x1000 overlaps 'uart' at 0x50000, size 0x1000");
	/* Neighbours are fine. */
	ck_assert_int_eq(mem_space_add_ram(f.space, 0xf000, &f.ram, 0, 0x1000, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(f.space, 0x30000, &f.ram, 0, 0x1000, &err), 0);
	ck_assert_uint_eq(mem_space_ram_count(f.space), 5);
	mem_space_free(f.space);
}
END_TEST

START_TEST(impossible_ram_is_refused)
{
	struct error *err = NULL;
	struct fixture f;

	setup(&f);
	ck_assert_int_eq(mem_space_add_ram(f.space, 0x80000, &f.ram, 0, 0, NULL), -EINVAL);
	ck_assert_int_eq(mem_space_add_ram(f.space, 0x80800, &f.ram, 0, 0x1000, NULL), -EINVAL);
	ck_assert_int_eq(mem_space_add_ram(f.space, 0x80000, &f.ram, 0x3f000, 0x2000, &err),
			 -EINVAL);
	ck_assert_error(err, "RAM at 0x80000 takes bytes 0x3f000 to 0x41000 of a backing that has "
			     "only 0x40000");
	/* Offset and size whose sum wraps; an end beyond the address space. */
	ck_assert_int_eq(
		mem_space_add_ram(f.space, 0x80000, &f.ram, UINT64_MAX - 0xfff, 0x2000, NULL),
		-EINVAL);
	ck_assert_int_eq(mem_space_add_ram(f.space, UINT64_MAX - 0xfff, &f.ram, 0, 0x2000, NULL),
			 -EINVAL);
	ck_assert_uint_eq(mem_space_ram_count(f.space), 3);
	mem_space_free(f.space);
}
END_TEST

START_TEST(slices_stay_in_their_region)
{
	struct fixture f;

	setup(&f);
	ck_assert_ptr_eq(guest_slice(f.space, 0x10000, 1), host + 0x10000);
	ck_assert_ptr_eq(guest_slice(f.space, 0x10000, 0x10000), host + 0x10000);
	ck_assert_ptr_eq(guest_slice(f.space, 0x1ffff, 1), host + 0x1ffff);
	ck_assert_ptr_eq(guest_slice(f.space, 0x20000, 1), host);
	ck_assert_ptr_eq(guest_slice(f.space, HIGH + 0xfff8, 8), host + 0x2fff8);

	ck_assert_ptr_null(guest_slice(f.space, 0x10000, 0));
	ck_assert_ptr_null(guest_slice(f.space, 0, 1));
	ck_assert_ptr_null(guest_slice(f.space, 0xffff, 1));
	ck_assert_ptr_null(guest_slice(f.space, 0xffff, 2));
	ck_assert_ptr_null(guest_slice(f.space, 0x1ffff, 2)); /* next region adjacent */
	ck_assert_ptr_null(guest_slice(f.space, 0x10000, 0x10001));
	ck_assert_ptr_null(guest_slice(f.space, 0x30000, 1)); /* hole */
	ck_assert_ptr_null(guest_slice(f.space, 0x2ffff, 2));
	ck_assert_ptr_null(guest_slice(f.space, HIGH - 1, 1));
	ck_assert_ptr_null(guest_slice(f.space, HIGH + 0xffff, 2));
	ck_assert_ptr_null(guest_slice(f.space, HIGH + 0x10000, 1));
	mem_space_free(f.space);
}
END_TEST

START_TEST(slices_do_not_wrap)
{
	struct fixture f;

	setup(&f);
	ck_assert_ptr_null(guest_slice(f.space, UINT64_MAX, 1));
	ck_assert_ptr_null(guest_slice(f.space, UINT64_MAX, UINT64_MAX));
	ck_assert_ptr_null(guest_slice(f.space, 0x10000, UINT64_MAX));
	ck_assert_ptr_null(guest_slice(f.space, 0x18000, UINT64_MAX - 0x17fff));
	ck_assert_ptr_null(guest_slice(f.space, HIGH + 1, UINT64_MAX - HIGH));
	mem_space_free(f.space);
}
END_TEST

START_TEST(ram_at_the_top_of_the_address_space)
{
	struct error *err = NULL;
	struct fixture f;
	gpa_t top = UINT64_MAX - 0xfff;

	setup(&f);
	ck_assert_int_eq(mem_space_add_ram(f.space, top, &f.ram, 0x30000, 0x1000, &err), 0);
	ck_assert_ptr_eq(guest_slice(f.space, UINT64_MAX, 1), host + 0x30fff);
	ck_assert_ptr_eq(guest_slice(f.space, top, 0x1000), host + 0x30000);
	ck_assert_ptr_null(guest_slice(f.space, UINT64_MAX, 2));
	ck_assert_int_eq(guest_read(f.space, UINT64_MAX, (uint8_t[2]){ 0 }, 2), -EFAULT);
	mem_space_free(f.space);
}
END_TEST

START_TEST(copies_cross_adjacent_regions)
{
	uint8_t in[16], out[16];
	struct fixture f;

	setup(&f);
	for (int i = 0; i < 16; i++)
		in[i] = (uint8_t)(i + 1);
	ck_assert_int_eq(guest_write(f.space, 0x1fff8, in, 16), 0);
	ck_assert_mem_eq(host + 0x1fff8, in, 8);
	ck_assert_mem_eq(host, in + 8, 8);
	ck_assert_int_eq(guest_read(f.space, 0x1fff8, out, 16), 0);
	ck_assert_mem_eq(out, in, 16);
	ck_assert_int_eq(guest_fill(f.space, 0x1fffc, 0xaa, 8), 0);
	ck_assert_uint_eq(host[0x1fffb], 4);
	ck_assert_uint_eq(host[0x1fffc], 0xaa);
	ck_assert_uint_eq(host[3], 0xaa);
	ck_assert_uint_eq(host[4], 13);
	/* A copy of nothing touches nothing, wherever it is. */
	ck_assert_int_eq(guest_read(f.space, 0, out, 0), 0);
	mem_space_free(f.space);
}
END_TEST

START_TEST(copies_are_whole_or_not_at_all)
{
	uint8_t buf[16];
	struct fixture f;

	setup(&f);
	memset(host, 0, sizeof(host));
	memset(buf, 0x55, sizeof(buf));
	ck_assert_int_eq(guest_write(f.space, 0x2fff8, buf, 16), -EFAULT);
	ck_assert_uint_eq(host[0xfff8], 0);
	ck_assert_int_eq(guest_fill(f.space, 0x2fff8, 1, 16), -EFAULT);
	ck_assert_uint_eq(host[0xfff8], 0);
	ck_assert_int_eq(guest_read(f.space, 0x2fff8, buf, 16), -EFAULT);
	ck_assert_uint_eq(buf[0], 0x55);
	ck_assert_int_eq(guest_read(f.space, 0xfffe, buf, 16), -EFAULT);
	ck_assert_int_eq(guest_write(f.space, 0x10000, buf, UINT64_MAX), -EFAULT);
	ck_assert_int_eq(guest_fill(f.space, 0x10000, 0, 0x20001), -EFAULT);
	ck_assert_int_eq(guest_fill(f.space, 0x10000, 0, 0x20000), 0);
	mem_space_free(f.space);
}
END_TEST

START_TEST(slices_cross_into_what_continues_them)
{
	struct ram_backend second = { .host = host + 0x10000, .size = 0x10000, .fd = 5 };
	struct ram_backend first = { .host = host, .size = 0x10000, .fd = -1 };
	struct mem_space *space = mem_space_new();
	struct error *err = NULL;

	/* Another back end behind this one, here and in the guest; then one that is elsewhere here. */
	ck_assert_int_eq(mem_space_add_ram(space, 0x10000, &first, 0, 0x10000, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(space, 0x20000, &second, 0, 0x10000, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(space, 0x30000, &first, 0, 0x10000, &err), 0);
	ck_assert_uint_eq(mem_space_ram_count(space), 3);
	ck_assert_ptr_eq(guest_slice(space, 0x1ffff, 2), host + 0xffff);
	ck_assert_ptr_eq(guest_slice(space, 0x10000, 0x20000), host);
	ck_assert_ptr_null(guest_slice(space, 0x10000, 0x20001));
	ck_assert_ptr_null(guest_slice(space, 0x2ffff, 2));
	ck_assert_ptr_null(guest_slice(space, 0x1ffff, UINT64_MAX));
	ck_assert_ptr_null(guest_slice(space, 0x3ffff, 2));
	mem_space_free(space);
}
END_TEST

START_TEST(anonymous_memory_grows)
{
	struct ram_backend ram = { .host = host, .size = 0x30000, .fd = -1 };
	struct mem_space *space = mem_space_new();
	struct error *err = NULL;

	ck_assert_int_eq(mem_space_add_ram(space, 0x10000, &ram, 0, 0x10000, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(space, 0x20000, &ram, 0x10000, 0x10000, &err), 0);
	ck_assert_uint_eq(mem_space_ram_count(space), 1);
	ck_assert_uint_eq(mem_space_ram(space, 0)->size, 0x20000);
	ck_assert_uint_eq(mem_space_ram_total(space), 0x20000);
	/* Not when it would have other properties. */
	ram.dump = true;
	ck_assert_int_eq(mem_space_add_ram(space, 0x30000, &ram, 0x20000, 0x10000, &err), 0);
	ck_assert_uint_eq(mem_space_ram_count(space), 2);
	ck_assert_ptr_eq(guest_slice(space, 0x10000, 0x30000), host);
	mem_space_free(space);
}
END_TEST

UNIT_SUITE(suite, "memory space", regions_are_sorted, overlap_is_refused, impossible_ram_is_refused,
	   slices_stay_in_their_region, slices_do_not_wrap, ram_at_the_top_of_the_address_space,
	   copies_cross_adjacent_regions, copies_are_whole_or_not_at_all,
	   slices_cross_into_what_continues_them, anonymous_memory_grows)
UNIT_MAIN(suite)
