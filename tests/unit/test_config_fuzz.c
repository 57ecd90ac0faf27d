// SPDX-License-Identifier: Apache-2.0
/*
 * Random option strings. What a parser answers must hold together: an error exactly when it fails,
 * nothing stored then, and text that it accepted is accepted again with the same result. Crashes,
 * leaks and reads beyond a string are the sanitizers' part (make SAN=asan,ubsan).
 *
 * UNIT_FUZZ_ROUNDS and UNIT_FUZZ_SEED in the environment make it longer or different; failures show
 * the text.
 */
#include <stdio.h>
#include <string.h>

#include "config/vm_config.h"
#include "unit.h"
#include "util/alloc.h"
#include "util/parse.h"

static uint64_t state;

static uint32_t random_below(uint32_t limit)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((state >> 33) % limit);
}

static uint64_t env_number(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);
	uint64_t value;

	return text && parse_u64(text, &value) == 0 ? value : fallback;
}

static unsigned int start(uint64_t salt)
{
	state = env_number("UNIT_FUZZ_SEED", 1) + (salt << 32);
	return (unsigned int)env_number("UNIT_FUZZ_ROUNDS", 20000);
}

static const char *const pieces[] = {
	",",
	",,",
	"=",
	":",
	"a",
	"id",
	"id=d0",
	"driver",
	"help",
	"?",
	"on",
	"off",
	"4",
	"0",
	"-1",
	"1G",
	"0x10",
	"18446744073709551616",
	"99999999",
	"cpus",
	"sockets=2",
	"threads",
	"maxcpus=",
	"size=",
	"K",
	"T",
	"stdio",
	"tcp:",
	"[::1]",
	"unix:",
	"file:",
	"chardev:",
	"mon:",
	"server",
	"nowait",
	"{",
	"}",
	"\"",
	"'",
	"\\",
	"[",
	"]",
	"null",
	"true",
	"\"a\":1",
	"\"a\"",
	"\xff",
	"\n",
	"\x01",
	" ",
	"",
	"drive=d0",
	"num-queues=",
	"aio=threads",
	"serial=",
	"queue-size=256",
	"readonly",
	"accel=kvm",
	"type=",
	"guest=",
	"-",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

/* On the heap in its exact size, so that ASan sees a read behind the end. */
static char *random_text(unsigned int max_pieces)
{
	char text[2048] = "";
	size_t len = 0;

	for (unsigned int n = random_below(max_pieces + 1); n; n--) {
		if (random_below(8) == 0)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%c",
						1 + (int)random_below(255));
		else
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s",
						pieces[random_below(ARRAY_SIZE(pieces))]);
		ck_assert_uint_lt(len, sizeof(text));
	}
	return xstrdup(text);
}

static void check_outcome(int ret, struct error *err, const char *text)
{
	ck_assert_msg((ret < 0) == (err != NULL), "'%s': %d, %s", text, ret,
		      err ? error_text(err) : "no error");
	if (err) {
		ck_assert_msg(*error_text(err), "'%s': an empty error", text);
		ck_assert_msg(error_code(err) == ret, "'%s': %d is not %d", text, ret,
			      error_code(err));
	}
	error_free(err);
}

/* Text made of accepted options gives the same options. */
static void check_round_trip(const struct opts *opts, const char *implied, const char *from)
{
	char *text = opts_to_string(opts), *text2, *name = opts_describe(opts);
	struct error *err = NULL;
	struct opts *again = NULL;
	int ret = opts_parse("-x", text, implied, &again, &err);

	ck_assert_msg(ret == 0, "'%s' gave '%s': %s", from, text, err ? error_text(err) : "");
	text2 = opts_to_string(again);
	ck_assert_msg(strcmp(text, text2) == 0, "'%s': '%s' is not '%s'", from, text, text2);
	ck_assert_uint_ge(strlen(name), 2);
	opts_free(again);
	free(name);
	free(text);
	free(text2);
}

START_TEST(option_strings)
{
	for (unsigned int rounds = start(1); rounds; rounds--) {
		const char *implied = random_below(2) ? "driver" : NULL;
		char *text = random_text(12);
		struct error *err = NULL;
		struct opts *opts = NULL;
		int ret = opts_parse("-x", text, implied, &opts, &err);

		check_outcome(ret, err, text);
		ck_assert((opts != NULL) == (ret == 0));
		if (opts)
			check_round_trip(opts, implied, text);
		opts_free(opts);
		free(text);
	}
}
END_TEST

/* A JSON object out of the pieces in which most are right, so that more than the first character is
 * tried. */
static char *random_json(unsigned int depth)
{
	static const char *const keys[] = { "a", "b",	    "c.d",  "driver",
					    "",	 "\\u0061", "\\\"", "e\\\\" };
	static const char *const values[] = { "1",
					      "-1",
					      "true",
					      "false",
					      "\"x\"",
					      "\"\"",
					      "null",
					      "1e99",
					      "[1]",
					      "\"\\u0000\"",
					      "\":,'\"",
					      "{}",
					      "18446744073709551615" };
	char *text = xstrdup("{"), *longer, *value;

	for (unsigned int n = random_below(4), i = 0; i < n; i++) {
		value = depth && random_below(3) == 0
				? random_json(depth - 1)
				: xstrdup(values[random_below(ARRAY_SIZE(values))]);
		longer = xasprintf("%s%s\"%s\":%s", text, i ? "," : "",
				   keys[random_below(ARRAY_SIZE(keys))], value);
		free(value);
		free(text);
		text = longer;
	}
	longer = xasprintf("%s%s", text,
			   random_below(20) ? "}" : pieces[random_below(ARRAY_SIZE(pieces))]);
	free(text);
	return longer;
}

START_TEST(json_objects)
{
	unsigned int accepted = 0, tried = 0;

	for (unsigned int rounds = start(2); rounds; rounds--) {
		char *text = random_below(4) ? random_json(10) : random_text(12);
		struct error *err = NULL;
		struct opts *opts = NULL;
		int ret = opts_parse_json("-x", text, &opts, &err);

		check_outcome(ret, err, text);
		ck_assert((opts != NULL) == (ret == 0));
		if (opts)
			check_round_trip(opts, NULL, text);
		accepted += ret == 0;
		tried++;
		opts_free(opts);
		free(text);
	}
	/* The strings are neither all right nor all wrong, or this test tests less than it seems
	 * to. */
	if (tried >= 1000) {
		ck_assert_uint_gt(accepted, tried / 20);
		ck_assert_uint_lt(accepted, tried - tried / 20);
	}
}
END_TEST

struct object {
	char *serial;
	bool readonly;
	uint16_t num_queues;
	uint32_t queue_size;
	uint64_t size;
	int aio;
	void *drive;
	uint64_t guard;
};

static const char *const aio_words[] = { "io_uring", "threads", NULL };

static const struct property object_props[] = {
	PROP_STRING("serial", struct object, serial, 0, 20, "none", "text"),
	PROP_BOOL("readonly", struct object, readonly, 0, "a bool"),
	PROP_UINT(16, "num-queues", struct object, num_queues, 1, 32, 1, "a number"),
	PROP_POW2(32, "queue-size", struct object, queue_size, 2, 1024, 256, "a power of two"),
	PROP_SIZE("size", struct object, size, MIB, MIB, TIB, GIB, "a size"),
	PROP_ENUM("aio", struct object, aio, aio_words, 0, "a word"),
	PROP_LINK("drive", struct object, drive, LINK_DRIVE, 0, "a link"),
	PROP_END,
};

START_TEST(properties)
{
	static const char *const skip[] = { "driver", "id", NULL };
	struct link_scope *scope = link_scope_new();
	int drive;

	ck_assert_int_eq(link_scope_add(scope, LINK_DRIVE, "d0", &drive, NULL), 0);
	for (unsigned int rounds = start(3); rounds; rounds--) {
		struct object object = { .guard = 0x0123456789abcdef };
		struct opts *opts = opts_new("-x");
		struct error *err = NULL;
		char *text, *value;
		int ret;

		for (unsigned int n = random_below(4); n; n--) {
			text = random_text(2);
			value = random_text(2);
			if (random_below(2))
				opts_set(opts, object_props[random_below(7)].name, value);
			else
				opts_set(opts, text, value);
			free(text);
			free(value);
		}
		ret = property_apply(object_props, &object, opts, skip, scope, &err);
		text = opts_to_string(opts);
		check_outcome(ret, err, text);
		ck_assert_uint_eq(object.guard, 0x0123456789abcdef);
		if (ret) {
			ck_assert_ptr_null(object.serial);
		} else {
			ck_assert_ptr_nonnull(object.serial);
			ck_assert_uint_le(strlen(object.serial), 20);
			ck_assert(object.num_queues >= 1 && object.num_queues <= 32);
			ck_assert(object.queue_size >= 2 && object.queue_size <= 1024);
			ck_assert(is_pow2(object.queue_size));
			ck_assert(object.size >= MIB && object.size <= TIB);
			ck_assert(object.aio == 0 || object.aio == 1);
			ck_assert(!object.drive || object.drive == &drive);
		}
		property_release(object_props, &object);
		opts_free(opts);
		free(text);
	}
	link_scope_free(scope);
}
END_TEST

#define WORDS 8

START_TEST(command_lines)
{
	static const char *const options[] = {
		"-machine",   "-M",	     "-accel",	"-cpu",	   "-smp",	"-m",
		"-name",      "-uuid",	     "-drive",	"-device", "--object",	"-chardev",
		"-netdev",    "-serial",     "-append", "-D",	   "-kernel",	"-S",
		"-daemonize", "-nodefaults", "-rtc",	"-h",	   "-mem-path", "--",
	};
	unsigned int accepted = 0;

	for (unsigned int rounds = start(4); rounds; rounds--) {
		char *argv[2 * WORDS + 2] = { xstrdup("stratovirt") }, *topic = NULL;
		enum cmdline_action action = CMDLINE_RUN;
		struct vm_config config;
		struct error *err = NULL;
		int argc = 1, ret;

		for (unsigned int n = random_below(WORDS); n; n--) {
			if (random_below(4))
				argv[argc++] = xstrdup(options[random_below(ARRAY_SIZE(options))]);
			argv[argc++] = random_below(3)
					       ? random_text(4)
					       : xstrdup(pieces[random_below(ARRAY_SIZE(pieces))]);
		}
		vm_config_init(&config);
		ret = cmdline_parse(argc, argv, &config, &action, &topic, &err);
		check_outcome(ret, err, argc > 1 ? argv[1] : "");
		if (ret == 0 && action == CMDLINE_RUN) {
			struct cpu_topology *t = &config.smp;

			accepted++;
			ck_assert(t->cpus >= 1 && t->cpus <= t->maxcpus &&
				  t->maxcpus <= VM_CPUS_MAX);
			ck_assert_uint_eq(t->sockets * t->dies * t->clusters * t->cores *
						  t->threads,
					  t->maxcpus);
			ck_assert(config.memory_size >= VM_MEMORY_MIN);
			ck_assert(config.memory_size <= VM_MEMORY_MAX);
			ck_assert(IS_ALIGNED(config.memory_size, MIB));
			ck_assert_ptr_nonnull(opts_get(config.machine, "type"));
			ck_assert_ptr_nonnull(config.accel);
		} else {
			ck_assert(ret == 0 || !topic);
		}
		vm_config_release(&config);
		free(topic);
		while (argc)
			free(argv[--argc]);
	}
	ck_assert_uint_gt(accepted, 0);
}
END_TEST

/* Numbers go through parse_size() and format_size() unharmed, and no text makes them read too far.
 */
START_TEST(numbers)
{
	for (unsigned int rounds = start(5); rounds; rounds--) {
		uint64_t value =
			((uint64_t)random_below(1u << 31) << 33 ^ random_below(1u << 31)) >>
			random_below(64) << random_below(41);
		uint64_t back = ~value;
		char buf[24], *text = random_text(3);
		uint8_t uuid[16];
		int64_t number;
		bool on;

		ck_assert_int_eq(parse_size(format_size(value, buf), 1, &back), 0);
		ck_assert_uint_eq(back, value);
		back = value;
		if (parse_size(text, MIB, &back) || parse_u64(text, &back))
			back = value;
		if (parse_s64(text, &number) || parse_bool(text, &on) || parse_uuid(text, uuid))
			back = value;
		free(text);
	}
}
END_TEST

UNIT_SUITE(suite, "config fuzz", option_strings, json_objects, properties, command_lines, numbers)
UNIT_MAIN(suite)
