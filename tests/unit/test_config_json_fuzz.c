// SPDX-License-Identifier: Apache-2.0
/*
 * Damaged -config files. A file is refused with an error that begins with its name, or it is a VM
 * whose dump is taken back and dumped again byte for byte. Crashes and leaks are the sanitizers'
 * part (make SAN=asan,ubsan).
 *
 * UNIT_FUZZ_ROUNDS and UNIT_FUZZ_SEED in the environment make it longer or different; failures show
 * the text.
 */
#include <stdio.h>
#include <string.h>

#include "config/json_config.h"
#include "config/old_dialect.h"
#include "unit.h"
#include "util/alloc.h"
#include "util/parse.h"

static uint64_t state;

static uint32_t random_below(size_t limit)
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

static const char *const seeds[] = {
	"{\"boot-source\": {\"kernel_image_path\": \"/k\", \"boot_args\": \"a b\", "
	"\"initrd_fs_path\": "
	"\"/i\"}, \"machine-config\": {\"type\": \"MicroVm\", \"vcpu_count\": 4, \"mem_size\": "
	"268435456, \"mem_path\": \"/m\", \"mem_share\": true, \"dump_guest_core\": false}, "
	"\"drive\": "
	"[{\"drive_id\": \"rootfs\", \"path_on_host\": \"/r\", \"read_only\": false, \"direct\": "
	"true, "
	"\"serial_num\": \"1\", \"iothread\": \"io\", \"iops\": 100}], \"net\": [{\"iface_id\": "
	"\"n\", "
	"\"host_dev_name\": \"tap0\", \"mac\": \"12:34:56:78:9A:BC\", \"tap_fd\": 3, "
	"\"vhost_type\": "
	"\"vhost-kernel\", \"vhost_fd\": 4}], \"console\": [{\"console_id\": \"c\", "
	"\"socket_path\": "
	"\"/s\"}], \"vsock\": {\"vsock_id\": \"v\", \"guest_cid\": 3}, \"serial\": {\"stdio\": "
	"true}, "
	"\"iothread\": [{\"id\": \"io\"}], \"balloon\": {\"deflate_on_oom\": true}, \"rng\": "
	"{\"random_file\": \"/dev/urandom\", \"bytes_per_sec\": 64}}",
	"{\"machine\": {\"type\": \"q35\", \"acpi\": \"off\"}, \"accel\": \"kvm\", \"cpu\": "
	"{\"model\": "
	"\"host\"}, \"smp\": {\"cpus\": 2, \"maxcpus\": 4, \"sockets\": 2, \"cores\": 2}, "
	"\"memory\": "
	"\"1G\", \"mem-path\": \"/h\", \"mem-prealloc\": true, \"kernel\": \"k\", \"append\": "
	"\"x\", "
	"\"name\": \"vm\", \"uuid\": \"00112233-4455-6677-8899-aabbccddeeff\", \"object\": "
	"[{\"qom-type\": \"iothread\", \"id\": \"io\"}], \"chardev\": [{\"backend\": \"socket\", "
	"\"id\": "
	"\"c\", \"path\": \"/c\", \"server\": true, \"nowait\": true}], \"serial\": [{\"backend\": "
	"\"stdio\"}], \"drive\": [{\"id\": \"d\", \"file\": \"/d\", \"if\": \"none\"}], "
	"\"netdev\": "
	"[{\"type\": \"tap\", \"id\": \"n\"}], \"device\": [{\"driver\": \"x\", \"a\": {\"b\": "
	"1}}], "
	"\"monitor\": [{\"chardev\": \"c\", \"mode\": \"control\"}], \"start-paused\": true, "
	"\"log\": "
	"\"/l\", \"pidfile\": \"/p\"}",
};

static const char *const tokens[] = {
	"true",
	"false",
	"null",
	"0",
	"1",
	"-1",
	"255",
	"1e9",
	"1.5",
	"\"\"",
	"\"a\"",
	"{}",
	"[]",
	"[{}]",
	"{\"a\": 1}",
	"\"128M\"",
	"\"on\"",
	"\"id\"",
	"\"file\"",
	"\"drive\"",
	"\"type\"",
	"\"\\u00e9\"",
	"\"a,b=c\"",
	"\"netdev\"",
	"4294967295",
	"18446744073709551615",
	"99999999999999999999",
};

static void replace(char **text, size_t at, size_t len, const char *with, size_t with_len)
{
	size_t size = strlen(*text);
	char *made = xcalloc(1, size - len + with_len + 1);

	memcpy(made, *text, at);
	memcpy(made + at, with, with_len);
	memcpy(made + at + with_len, *text + at + len, size - at - len);
	free(*text);
	*text = made;
}

/* The @which-th value or key: a string, number or word. False when there are fewer. */
static bool find_token(const char *text, size_t which, size_t *at, size_t *len)
{
	size_t i = 0;

	while (text[i]) {
		size_t n = 1;

		if (text[i] == '"')
			n += strcspn(text + i + 1, "\"") + 1;
		else if (!strchr(" :,{}[]", text[i]))
			n = strcspn(text + i, " :,{}[]\"");
		else {
			i++;
			continue;
		}
		n = MIN(n, strlen(text + i));
		if (!which--) {
			*at = i;
			*len = n;
			return true;
		}
		i += n;
	}
	return false;
}

static void damage(char **text)
{
	size_t size = strlen(*text), at, len, from;
	const char *token;
	char c;

	if (!size)
		return;
	at = random_below(size);
	len = MIN((size_t)random_below(20) + 1, size - at);
	switch (random_below(8)) {
	case 0: /* one character */
		c = (char)(random_below(4) ? 0x20 + random_below(0x5f) : 1 + random_below(255));
		replace(text, at, 1, &c, 1);
		break;
	case 1: /* something is missing */
		replace(text, at, len, "", 0);
		break;
	case 2: /* something is there twice */
		token = *text + at;
		from = at;
		replace(text, from, 0, token, len);
		break;
	default: /* one value or key is another */
		if (!find_token(*text, random_below(120), &at, &len))
			break;
		token = tokens[random_below(ARRAY_SIZE(tokens))];
		replace(text, at, len, token, strlen(token));
	}
}

static int complete(const char *text, struct vm_config *config, struct error **errp)
{
	int ret = json_config_parse("f", text, strlen(text), config, errp);

	if (ret) {
		ck_assert_msg(*errp && strncmp(error_text(*errp), "f:", 2) == 0, "%s: '%s'",
			      *errp ? error_text(*errp) : "no error", text);
		return ret;
	}
	ret = old_dialect_translate(config, errp);
	return ret ? ret : vm_config_finish(config, errp);
}

/* NULL: refused. */
static char *dump(const char *text)
{
	struct error *err = NULL;
	struct vm_config config;
	char *dumped = NULL;
	size_t size = 0;
	FILE *out;
	int ret;

	vm_config_init(&config);
	ret = complete(text, &config, &err);
	ck_assert_msg((ret < 0) == (err != NULL), "result %d: '%s'", ret, text);
	if (!ret) {
		out = open_memstream(&dumped, &size);
		ret = vm_config_dump(&config, out, &err);
		fclose(out);
		/* What came from JSON can be put into JSON. */
		ck_assert_msg(!ret, "%s: '%s'", err ? error_text(err) : "", text);
	}
	error_free(err);
	vm_config_release(&config);
	return dumped;
}

START_TEST(damaged_files)
{
	unsigned int rounds = (unsigned int)env_number("UNIT_FUZZ_ROUNDS", 6000), accepted = 0;

	state = env_number("UNIT_FUZZ_SEED", 1);
	for (unsigned int round = 0; round < rounds; round++) {
		char *text = xstrdup(seeds[round % ARRAY_SIZE(seeds)]), *once, *twice;

		for (unsigned int n = random_below(3) + 1; n; n--)
			damage(&text);
		once = dump(text);
		if (once) {
			accepted++;
			twice = dump(once);
			ck_assert_msg(twice && strcmp(once, twice) == 0, "'%s'\n%s\n%s", text, once,
				      twice ? twice : "refused");
			free(twice);
		}
		free(once);
		free(text);
	}
	/* Neither all right nor all wrong, or this tests less than it seems to. */
	ck_assert_uint_gt(accepted, rounds / 50);
	ck_assert_uint_lt(accepted, rounds / 2);
}
END_TEST

UNIT_SUITE(suite, "config JSON fuzz", damaged_files)
UNIT_MAIN(suite)
