// SPDX-License-Identifier: Apache-2.0
/* split-header: a virtio-blk request cut at every point gives the same parts (virtio 1.2 §2.7.4.1). */
#include <errno.h>
#include <string.h>

#include "../../src/virtio/blk_request.h"
#include "unit.h"

#define OUT_DATA 24
#define IN_DATA 40

static uint8_t out[sizeof(struct blk_header) + OUT_DATA], in[IN_DATA + 1];
static struct iovec iov[16];

static void fill(void)
{
	struct blk_header header = { cpu_to_le32(BLK_T_OUT), cpu_to_le32(0xdead), cpu_to_le64(0x123456789abULL) };

	memcpy(out, &header, sizeof(header));
	for (unsigned int i = 0; i < OUT_DATA; i++)
		out[sizeof(header) + i] = 0x40 + i;
}

/* @out_len and @in_len bytes, cut at up to two places each (0 and the end cut nothing). */
static struct virtq_chain cut(unsigned int out_len, unsigned int a, unsigned int b, unsigned int in_len,
			      unsigned int c, unsigned int d)
{
	struct virtq_chain chain = { .iov = iov, .out_len = out_len, .in_len = in_len };
	unsigned int out_at[] = { 0, a, b, out_len }, in_at[] = { 0, c, d, in_len }, n = 0;

	for (unsigned int i = 0; i < 3; i++)
		if (out_at[i + 1] > out_at[i])
			iov[n++] = (struct iovec){ out + out_at[i], out_at[i + 1] - out_at[i] };
	chain.out_count = n;
	for (unsigned int i = 0; i < 3; i++)
		if (in_at[i + 1] > in_at[i])
			iov[n++] = (struct iovec){ in + in_at[i], in_at[i + 1] - in_at[i] };
	chain.in_count = n - chain.out_count;
	return chain;
}

static void check_parts(struct virtq_chain chain, unsigned int out_data, unsigned int in_data)
{
	uint8_t buf[64], pattern[64];
	struct blk_parts parts;

	ck_assert_int_eq(blk_split(&chain, &parts), 0);
	ck_assert_uint_eq(parts.type, BLK_T_OUT);
	ck_assert_uint_eq(parts.sector, 0x123456789abULL);
	ck_assert_uint_eq(parts.out_len, out_data);
	ck_assert_uint_eq(parts.in_len, in_data);
	ck_assert_ptr_eq(parts.status, in + in_data);
	/* All of the data and nothing else, whatever it lies in. */
	ck_assert_uint_eq(blk_gather(parts.out, parts.out_count, buf, sizeof(buf)), out_data);
	ck_assert_mem_eq(buf, out + sizeof(struct blk_header), out_data);
	memset(pattern, 0x77, sizeof(pattern));
	memset(in, 0, sizeof(in));
	ck_assert_uint_eq(blk_scatter(parts.in, parts.in_count, pattern, sizeof(pattern)), in_data);
	for (unsigned int i = 0; i < sizeof(in); i++)
		ck_assert_uint_eq(in[i], i < in_data ? 0x77 : 0);
	for (unsigned int i = 0; i < parts.out_count; i++)
		ck_assert_uint_gt(parts.out[i].iov_len, 0);
	for (unsigned int i = 0; i < parts.in_count; i++)
		ck_assert_uint_gt(parts.in[i].iov_len, 0);
}

START_TEST(split_header)
{
	fill();
	for (unsigned int a = 0; a <= sizeof(out); a++)
		for (unsigned int b = a; b <= sizeof(out); b++)
			check_parts(cut(sizeof(out), a, b, sizeof(in), 0, 0), OUT_DATA, IN_DATA);
	for (unsigned int c = 0; c <= sizeof(in); c++)
		for (unsigned int d = c; d <= sizeof(in); d++)
			check_parts(cut(sizeof(out), 0, 0, sizeof(in), c, d), OUT_DATA, IN_DATA);
	/* No data at all. */
	for (unsigned int a = 0; a <= 16; a++)
		check_parts(cut(16, a, a, 1, 0, 0), 0, 0);
}
END_TEST

START_TEST(split_header_of_single_bytes)
{
	struct virtq_chain chain = { .iov = NULL, .out_count = 16, .out_len = 16, .in_count = 3, .in_len = 3 };
	static struct iovec single[19];
	struct blk_parts parts;

	fill();
	for (unsigned int i = 0; i < 19; i++)
		single[i] = (struct iovec){ i < 16 ? out + i : in + (i - 16), 1 };
	chain.iov = single;
	ck_assert_int_eq(blk_split(&chain, &parts), 0);
	ck_assert_uint_eq(parts.sector, 0x123456789abULL);
	ck_assert_uint_eq(parts.out_count, 0);
	ck_assert_uint_eq(parts.in_count, 2);
	ck_assert_ptr_eq(parts.status, in + 2);
}
END_TEST

START_TEST(split_header_too_short)
{
	struct blk_parts parts;

	fill();
	for (unsigned int len = 0; len < 16; len++) {
		struct virtq_chain chain = cut(len, 0, 0, 1, 0, 0);

		ck_assert_int_eq(blk_split(&chain, &parts), -EPROTO);
	}
	struct virtq_chain chain = cut(sizeof(out), 0, 0, 0, 0, 0);

	ck_assert_int_eq(blk_split(&chain, &parts), -EPROTO);
}
END_TEST

START_TEST(ranges)
{
	const uint64_t size = 100 * 512;

	ck_assert(blk_in_range(0, size, size, 512));
	ck_assert(blk_in_range(99, 512, size, 512));
	ck_assert(blk_in_range(100, 0, size, 512));
	ck_assert(!blk_in_range(100, 512, size, 512));
	ck_assert(!blk_in_range(101, 0, size, 512));
	ck_assert(!blk_in_range(99, 1024, size, 512));
	ck_assert(!blk_in_range(0, size + 512, size, 512));
	ck_assert(!blk_in_range(0, 511, size, 512));
	ck_assert(!blk_in_range(0, 513, size, 512));
	/* Times 512 these are small again. */
	ck_assert(!blk_in_range(1ULL << 55, 512, size, 512));
	ck_assert(!blk_in_range(1ULL << 63, 512, size, 512));
	ck_assert(!blk_in_range(UINT64_MAX, 512, size, 512));
	ck_assert(!blk_in_range(UINT64_MAX, 512, UINT64_MAX, 512));
	/* Larger blocks. */
	ck_assert(blk_in_range(8, 4096, size, 4096));
	ck_assert(!blk_in_range(1, 4096, size, 4096));
	ck_assert(!blk_in_range(8, 512, size, 4096));
}
END_TEST

UNIT_SUITE(request_suite, "virtio_blk_request", split_header, split_header_of_single_bytes,
	   split_header_too_short, ranges)
UNIT_MAIN(request_suite)
