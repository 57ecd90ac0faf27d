/* SPDX-License-Identifier: Apache-2.0 */
/* SMBIOS: the tables as a reader walks them (DSP0134 §6.1), and what -smbios refuses. */
#include <errno.h>
#include <string.h>

#include "boot/smbios.h"
#include "unit.h"

static struct list options;
static struct mem_space *space;
static struct ram_backend *ram;
static const struct vcpu_topology topology = {
	.cpus = 4, .maxcpus = 8, .sockets = 2, .dies = 1, .clusters = 1, .cores = 2, .threads = 2,
};

static void setup(void)
{
	const struct ram_config config = { .kind = RAM_ANONYMOUS, .size = 2 * MIB };
	struct error *err = NULL;

	list_init(&options);
	space = mem_space_new();
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(space, 0, ram, 0, MIB, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(space, 8192 * GIB, ram, MIB, MIB, &err), 0);
}

static void teardown(void)
{
	struct opts *opts, *next;

	list_for_each_safe(opts, next, &options, node)
		opts_free(opts);
	mem_space_free(space);
	ram_backend_free(ram);
}

static void option(const char *text)
{
	struct error *err = NULL;
	struct opts *opts = NULL;
	int ret = opts_parse("-smbios", text, NULL, &opts, &err);

	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	list_add_tail(&options, &opts->node);
}

static int build(struct smbios **ret, struct error **errp)
{
	static const uint8_t uuid[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	const struct smbios_info info = {
		.options = &options,
		.topology = &topology,
		.space = space,
		.machine = "q35",
		.uuid = uuid,
		.has_firmware = true,
	};

	return smbios_build(&info, ret, errp);
}

static const uint8_t *data;
static size_t len;

static struct smbios *build_ok(void)
{
	struct smbios *smbios = NULL;
	struct error *err = NULL;
	int ret = build(&smbios, &err);

	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	data = smbios_tables(smbios, &len);
	return smbios;
}

static const uint8_t *next_structure(const uint8_t *at)
{
	const uint8_t *p = at + at[1];

	while (p[0] || p[1])
		p++;
	return p + 2;
}

/* The @nth structure of the type, or NULL. Walks all, to the very end. */
static const uint8_t *find(uint8_t type, unsigned int nth)
{
	const uint8_t *found = NULL, *at = data;

	for (;; at = next_structure(at)) {
		ck_assert(at < data + len);
		ck_assert_uint_ge(at[1], 4);
		if (at[0] == type && !nth--)
			found = at;
		if (at[0] == 127)
			break;
	}
	ck_assert_ptr_eq(next_structure(at), data + len);
	return found;
}

/* The string that the field at @offset refers to. */
static const char *text(const uint8_t *structure, unsigned int offset)
{
	const char *p = (const char *)structure + structure[1];

	ck_assert_uint_gt(structure[offset], 0);
	for (unsigned int i = 1; i < structure[offset]; i++)
		p += strlen(p) + 1;
	return p;
}

START_TEST(what_a_machine_has_without_options)
{
	struct smbios *smbios = build_ok();
	const uint8_t *s;

	ck_assert_ptr_null(find(0, 0)); /* the firmware's own */
	s = find(1, 0);
	ck_assert_uint_eq(s[1], 0x1b);
	ck_assert_str_eq(text(s, 4), "StratoVirt");
	ck_assert_str_eq(text(s, 5), "Virtual Machine");
	ck_assert_str_eq(text(s, 6), "q35");
	ck_assert_mem_eq(s + 8, "\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
	ck_assert_ptr_null(find(2, 0));
	ck_assert_ptr_nonnull(find(3, 0));
	ck_assert_str_eq(text(find(4, 1), 4), "CPU01");
	ck_assert_ptr_null(find(4, 2));
	ck_assert_uint_eq(find(4, 0)[0x23], 2); /* cores, threads */
	ck_assert_uint_eq(find(4, 0)[0x25], 4);
	ck_assert_ptr_null(find(11, 0));
	ck_assert_str_eq(text(find(17, 0), 0x10), "DIMM 0");
	ck_assert_ptr_null(find(17, 1));
	s = find(19, 0);
	ck_assert_mem_eq(s + 4, "\0\0\0\0\xff\x03\0\0", 8);
	s = find(19, 1); /* beyond what 32 bits of KiB say */
	ck_assert_mem_eq(s + 4, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	ck_assert_mem_eq(s + 15, "\0\0\0\0\0\x08\0\0\xff\xff\x0f\0\0\x08\0\0", 16);
	ck_assert_ptr_nonnull(find(32, 0));
	smbios_free(smbios);
}
END_TEST

START_TEST(options_are_shown)
{
	struct smbios *smbios;

	option("type=0,vendor=V,version=7,date=02/03/2024,release=4.5,uefi=on");
	option("type=1,manufacturer=M,product=P,version=1,serial=S,sku=K,family=F,"
	       "uuid=ffeeddcc-bbaa-9988-7766-554433221100");
	option("type=2,product=Board,location=here");
	option("type=3,asset=tag");
	option("type=4,sock_pfx=Socket,max-speed=3000,processor-id=0x1122334455667788");
	option("type=11,value=first");
	option("type=11,value=second,, with a comma");
	option("type=17,loc_pfx=Slot,speed=3200,part=X");
	smbios = build_ok();
	ck_assert_str_eq(text(find(0, 0), 4), "V");
	ck_assert_str_eq(text(find(0, 0), 8), "02/03/2024");
	ck_assert_uint_eq(find(0, 0)[0x14], 4);
	ck_assert_uint_eq(find(0, 0)[0x15], 5);
	ck_assert_uint_eq(find(0, 0)[0x13] & 8, 8);
	ck_assert_str_eq(text(find(1, 0), 7), "S");
	ck_assert_str_eq(text(find(1, 0), 0x1a), "F");
	ck_assert_uint_eq(find(1, 0)[8], 0xcc);
	ck_assert_str_eq(text(find(2, 0), 5), "Board");
	ck_assert_str_eq(text(find(2, 0), 10), "here");
	ck_assert_str_eq(text(find(3, 0), 8), "tag");
	ck_assert_str_eq(text(find(4, 0), 4), "Socket00");
	ck_assert_mem_eq(find(4, 0) + 8, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
	ck_assert_mem_eq(find(4, 0) + 0x14, "\xb8\x0b", 2);
	ck_assert_uint_eq(find(11, 0)[4], 2);
	ck_assert_str_eq((const char *)find(11, 0) + 5, "first");
	ck_assert_str_eq((const char *)find(11, 0) + 11, "second, with a comma");
	ck_assert_str_eq(text(find(17, 0), 0x10), "Slot 0");
	ck_assert_mem_eq(find(17, 0) + 0x15, "\x80\x0c", 2);
	smbios_free(smbios);
}
END_TEST

/* §5.2.2: checksum, size and address. */
START_TEST(the_entry_point)
{
	struct smbios *smbios = build_ok();
	struct error *err = NULL;
	const uint8_t *anchor = ram->host + 0xf0000;
	uint8_t sum = 0;
	uint64_t address;
	uint32_t size;

	ck_assert_int_eq(smbios_install(smbios, space, SMBIOS_AREA, len, &err), -E2BIG);
	error_free(err);
	err = NULL;
	ck_assert_uint_eq(anchor[0], 0);
	ck_assert_int_eq(smbios_install(smbios, space, SMBIOS_AREA, 0xe000, &err), 0);
	for (unsigned int i = 0; i < anchor[6]; i++)
		sum += anchor[i];
	ck_assert_uint_eq(sum, 0);
	ck_assert_mem_eq(anchor, "_SM3_", 5);
	memcpy(&size, anchor + 12, 4);
	memcpy(&address, anchor + 16, 8);
	ck_assert_uint_eq(size, len);
	ck_assert_mem_eq(ram->host + address, data, len);
	smbios_free(smbios);
}
END_TEST

START_TEST(options_are_refused)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "vendor=x", "-smbios: type=N is needed, one of 0, 1, 2, 3, 4, 11, 17" },
		{ "type=5", "-smbios type=5: the types are 0, 1, 2, 3, 4, 11, 17" },
		{ "type=1,vendor=x", "-smbios 1: unknown property 'vendor'" },
		{ "type=1,uuid=12", "-smbios type=1: uuid=12 is not a UUID" },
		{ "type=0,release=1", "-smbios type=0: release=1 is not MAJOR.MINOR, each up to 254" },
		{ "type=0,release=1.255", "-smbios type=0: release=1.255 is not MAJOR.MINOR, each up to 254" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct smbios *smbios = NULL;
		struct error *err = NULL;

		teardown();
		setup();
		option(cases[i].text);
		ck_assert_int_lt(build(&smbios, &err), 0);
		ck_assert_ptr_null(smbios);
		ck_assert_msg(!strncmp(error_text(err), cases[i].message, strlen(cases[i].message)), "%s",
			      error_text(err));
		error_free(err);
	}
}
END_TEST

UNIT_SUITE_WITH(suite, "boot: SMBIOS", setup, teardown, what_a_machine_has_without_options,
		options_are_shown, the_entry_point, options_are_refused)
UNIT_MAIN(suite)
