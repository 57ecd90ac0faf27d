// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "util/parse.h"

START_TEST(numbers)
{
	static const struct {
		const char *text;
		uint64_t value;
		int ret;
	} cases[] = {
		{ "0", 0, 0 },
		{ "1", 1, 0 },
		{ "010", 10, 0 },
		{ "18446744073709551615", UINT64_MAX, 0 },
		{ "18446744073709551616", 0, -ERANGE },
		{ "99999999999999999999999", 0, -ERANGE },
		{ "0x0", 0, 0 },
		{ "0xff", 255, 0 },
		{ "0XFF", 255, 0 },
		{ "0xffffffffffffffff", UINT64_MAX, 0 },
		{ "0x10000000000000000", 0, -ERANGE },
		{ "", 0, -EINVAL },
		{ "0x", 0, -EINVAL },
		{ "-1", 0, -EINVAL },
		{ "+1", 0, -EINVAL },
		{ " 1", 0, -EINVAL },
		{ "1 ", 0, -EINVAL },
		{ "1k", 0, -EINVAL },
		{ "ff", 0, -EINVAL },
		{ "99999999999999999999999x", 0, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 42;
		int ret = parse_u64(cases[i].text, &value);

		ck_assert_msg(ret == cases[i].ret, "'%s': %d", cases[i].text, ret);
		ck_assert_msg(value == (ret ? 42 : cases[i].value), "'%s'", cases[i].text);
	}
}
END_TEST

START_TEST(signed_numbers)
{
	int64_t value = 42;

	ck_assert_int_eq(parse_s64("-9223372036854775808", &value), 0);
	ck_assert_int_eq(value, INT64_MIN);
	ck_assert_int_eq(parse_s64("9223372036854775807", &value), 0);
	ck_assert_int_eq(value, INT64_MAX);
	ck_assert_int_eq(parse_s64("-0x10", &value), 0);
	ck_assert_int_eq(value, -16);
	ck_assert_int_eq(parse_s64("9223372036854775808", &value), -ERANGE);
	ck_assert_int_eq(parse_s64("-9223372036854775809", &value), -ERANGE);
	ck_assert_int_eq(parse_s64("--1", &value), -EINVAL);
	ck_assert_int_eq(parse_s64("-", &value), -EINVAL);
	ck_assert_int_eq(value, -16);
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		const char *text;
		uint64_t unit, value;
		int ret;
	} cases[] = {
		{ "4096", 1, 4096, 0 },
		{ "256", MIB, 256 * MIB, 0 },
		{ "256B", MIB, 256, 0 },
		{ "256b", MIB, 256, 0 },
		{ "4k", MIB, 4 * KIB, 0 },
		{ "4K", 1, 4 * KIB, 0 },
		{ "1m", 1, MIB, 0 },
		{ "3G", 1, 3 * GIB, 0 },
		{ "2T", 1, 2 * TIB, 0 },
		{ "0x10", MIB, 16 * MIB, 0 },
		{ "16777215T", 1, 16777215 * TIB, 0 },
		{ "16777216T", 1, 0, -ERANGE },
		{ "18446744073709551615", MIB, 0, -ERANGE },
		{ "99999999999999999999G", 1, 0, -ERANGE },
		{ "1KiB", 1, 0, -EINVAL },
		{ "1MB", 1, 0, -EINVAL },
		{ "1.5G", 1, 0, -EINVAL },
		{ "G", 1, 0, -EINVAL },
		{ "", 1, 0, -EINVAL },
		{ "-1G", 1, 0, -EINVAL },
		{ "1P", 1, 0, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 42;
		int ret = parse_size(cases[i].text, cases[i].unit, &value);

		ck_assert_msg(ret == cases[i].ret, "'%s': %d", cases[i].text, ret);
		ck_assert_msg(value == (ret ? 42 : cases[i].value), "'%s'", cases[i].text);
	}
}
END_TEST

START_TEST(sizes_as_text)
{
	static const struct {
		uint64_t size;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 1000, "1000" },
		{ 1024, "1K" },
		{ 1025, "1025" },
		{ 256 * MIB, "256M" },
		{ 1536 * MIB, "1536M" },
		{ 512 * GIB, "512G" },
		{ 2048 * TIB, "2048T" },
		{ UINT64_MAX, "18446744073709551615" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t back = 0;
		char buf[24];

		ck_assert_str_eq(format_size(cases[i].size, buf), cases[i].text);
		ck_assert_int_eq(parse_size(buf, 1, &back), 0);
		ck_assert_uint_eq(back, cases[i].size);
	}
}
END_TEST

START_TEST(bools)
{
	static const char *const yes[] = { "on", "true", "yes", "y" };
	static const char *const no[] = { "off", "false", "no", "n" };
	static const char *const neither[] = { "", "ON", "1", "0", "onn", "o", "unmap" };
	bool value;

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		value = false;
		ck_assert_int_eq(parse_bool(yes[i], &value), 0);
		ck_assert(value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		value = true;
		ck_assert_int_eq(parse_bool(no[i], &value), 0);
		ck_assert(!value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(neither); i++)
		ck_assert_int_eq(parse_bool(neither[i], &value), -EINVAL);
}
END_TEST

START_TEST(uuids)
{
	static const char good[] = "00112233-4455-6677-8899-aAbBcCdDeEfF";
	static const uint8_t bytes[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	uint8_t out[16];
	char text[48];

	ck_assert_int_eq(parse_uuid(good, out), 0);
	ck_assert_mem_eq(out, bytes, sizeof(out));

	/* Every prefix is refused, and so is what is longer. The copy ends where ASan sees a step
	 * beyond it. */
	for (size_t len = 0; len < strlen(good); len++) {
		char *prefix = strndup(good, len);

		ck_assert_int_eq(parse_uuid(prefix, out), -EINVAL);
		free(prefix);
	}
	snprintf(text, sizeof(text), "%s0", good);
	ck_assert_int_eq(parse_uuid(text, out), -EINVAL);
	/* Every character matters. */
	for (size_t i = 0; i < strlen(good); i++) {
		memcpy(text, good, sizeof(good));
		text[i] = 'g';
		ck_assert_int_eq(parse_uuid(text, out), -EINVAL);
	}
	ck_assert_mem_eq(out, bytes, sizeof(out));
}
END_TEST

START_TEST(nearest)
{
	static const char *const names[] = { "num-queues", "queue-size", "drive",
					     "serial",	   "m",		 NULL };
	char longest[200];

	ck_assert_str_eq(nearest_name("num-queue", names), "num-queues");
	ck_assert_str_eq(nearest_name("numqueues", names), "num-queues");
	ck_assert_str_eq(nearest_name("queue_size", names), "queue-size");
	ck_assert_str_eq(nearest_name("dirve", names),
			 "drive"); /* swapped letters are one mistake */
	ck_assert_str_eq(nearest_name("drive", names), "drive");
	ck_assert_ptr_null(nearest_name("wxyz", names));
	ck_assert_ptr_null(nearest_name("", names));
	ck_assert_ptr_null(nearest_name("q", names));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	ck_assert_ptr_null(nearest_name(longest, names));
}
END_TEST

START_TEST(cpus)
{
	static const char *const bad[] = { "", ":", "0:", ":0", "a", "-", "1-", "-1", "3-2", "0-1-2", "0,1", " 0",
					   "1024", "0-1024", "18446744073709551616" };
	cpu_set_t set, before;

	ck_assert_int_eq(parse_cpus("0", &set), 0);
	ck_assert(CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
	ck_assert_int_eq(parse_cpus("1-3:8:2-4:1023", &set), 0);
	ck_assert_int_eq(CPU_COUNT(&set), 6);
	ck_assert(CPU_ISSET(1, &set) && CPU_ISSET(4, &set) && CPU_ISSET(8, &set) && CPU_ISSET(1023, &set));
	before = set;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_msg(parse_cpus(bad[i], &set) < 0, "'%s'", bad[i]);
		ck_assert(CPU_EQUAL(&set, &before));
	}
}
END_TEST

START_TEST(ids)
{
	static const char *const good[] = { "a", "Z9", "libvirt-1-format", "net_0", "pcie.1", "x-._", "0", "7f3a-disk" };
	static const char *const bad[] = { "-a", "_a", ".a", "#a", "a,b", "a b", "a/b", "a\n", "a:b", "\xc3\xa4", "a=" };
	char longest[ID_MAX + 2];
	struct error *err = NULL;

	for (unsigned int i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_int_eq(id_check(good[i], NULL), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(id_check(bad[i], NULL) == -EINVAL, "'%s'", bad[i]);
	ck_assert_int_eq(id_check("a,b", &err), -EINVAL);
	ck_assert_error(err, "id 'a,b': ids are of letters, digits, '-', '.' and '_', and begin with one of the former two");
	memset(longest, 'x', sizeof(longest));
	longest[ID_MAX + 1] = '\0';
	ck_assert_int_eq(id_check(longest, NULL), -EINVAL);
	ck_assert_int_eq(id_check(longest + 1, NULL), 0);
	ck_assert_int_eq(id_check("", NULL), -EINVAL);
	ck_assert_int_eq(id_check(NULL, &err), -EINVAL);
	ck_assert_error(err, "an id of 1 to 255 characters is required");
}
END_TEST

UNIT_SUITE(suite, "util parse", numbers, signed_numbers, sizes, sizes_as_text, bools, uuids,
	   nearest, cpus, ids)
UNIT_MAIN(suite)
