// SPDX-License-Identifier: Apache-2.0
/* -config: what is refused and how it is said, the limits at their edges, and the command line over
 * a file. */
#include "config_text.h"
#include "config/json_config.h"

static char directory[32];

/* The file is called "f". */
static int parse(const char *text, struct vm_config *config, struct error **errp)
{
	vm_config_init(config);
	return json_config_parse("f", text, strlen(text), config, errp);
}

#define refuse(text, message)                                                                      \
	do {                                                                                       \
		struct error *_err = NULL;                                                         \
		struct vm_config _config;                                                          \
                                                                                                   \
		ck_assert_int_lt(parse(text, &_config, &_err), 0);                                 \
		ck_assert_error(_err, message);                                                    \
		vm_config_release(&_config);                                                       \
	} while (0)

#define accept(text)                                                                               \
	do {                                                                                       \
		struct error *_err = NULL;                                                         \
		struct vm_config _config;                                                          \
		int _ret = parse(text, &_config, &_err);                                           \
                                                                                                   \
		ck_assert_no_error(_err);                                                          \
		ck_assert_int_eq(_ret, 0);                                                         \
		vm_config_release(&_config);                                                       \
	} while (0)

START_TEST(syntax)
{
	refuse("", "f: line 1, column 1: a value is missing");
	refuse("{\n  \"drive\": [\n    {]\n",
	       "f: drive[0]: line 3, column 6: the key of an object must be a string");
	refuse("{} {}", "f: line 1, column 4: something follows the value");
	refuse("[]", "f: a list is given, an object is allowed");
	refuse("null", "f: null is given, an object is allowed");
	refuse("{'drive': []}", "f: line 1, column 2: the key of an object must be a string");
}
END_TEST

START_TEST(duplicate_keys)
{
	refuse("{\"drive\": [], \"drive\": []}",
	       "f: drive: line 1, column 22: the key 'drive' is given twice");
	refuse("{\"drive\": [{}, {\"direct\": true,\n\"direct\": true}]}",
	       "f: drive[1].direct: line 2, column 9: the key 'direct' is given twice");
	refuse("{\"machine-config\": {\"mem_path\": \"/a\", \"mem-path\": \"/a\"}}",
	       "f: machine-config.mem-path: the same key with '-' and with '_'");
}
END_TEST

START_TEST(unknown_keys)
{
	refuse("{\"boot-sauce\": {}}",
	       "f: boot-sauce: unknown key, did you mean 'boot-source'?; allowed are boot-source, "
	       "machine-config, drive, net, console, vsock, serial, iothread, balloon, rng");
	refuse("{\"drive\": [{\"drive_idd\": \"a\"}]}",
	       "f: drive[0].drive_idd: unknown key, did you mean 'drive_id'?; allowed are "
	       "drive_id, "
	       "path_on_host, read_only, direct, serial_num, iothread, iops");
	refuse("{\"machine\": {\"type\": \"x\"}, \"smp\": {\"cpu\": 1}}",
	       "f: smp.cpu: unknown key, did you mean 'cpus'?; allowed are cpus, maxcpus, sockets, "
	       "dies, clusters, cores, threads");
	{
		struct error *err = NULL;
		struct vm_config config;

		ck_assert_int_lt(
			parse("{\"machine\": {\"type\": \"x\"}, \"zzzzzzzzz\": 1}", &config, &err),
			0);
		ck_assert_ptr_nonnull(strstr(error_text(err), "f: zzzzzzzzz: unknown key; allowed "
							      "are machine, accel, cpu, smp"));
		error_free(err);
		vm_config_release(&config);
	}
	/* What a terminal would obey is not passed on. */
	refuse("{\"rng\": {\"\\u001b[2J\": 1}}",
	       "f: rng.?[2J: unknown key; allowed are random_file, bytes_per_sec");
}
END_TEST

START_TEST(missing_keys)
{
	static const struct {
		const char *text, *path;
	} cases[] = {
		{ "{\"drive\": [{\"path_on_host\": \"/f\", \"read_only\": true, \"direct\": "
		  "true}]}",
		  "drive[0].drive_id" },
		{ "{\"drive\": [{\"drive_id\": \"a\", \"read_only\": true, \"direct\": true}]}",
		  "drive[0].path_on_host" },
		{ "{\"drive\": [{\"drive_id\": \"a\", \"path_on_host\": \"/f\", \"direct\": "
		  "true}]}",
		  "drive[0].read_only" },
		{ "{\"drive\": [{\"drive_id\": \"a\", \"path_on_host\": \"/f\", \"read_only\": "
		  "true}]}",
		  "drive[0].direct" },
		{ "{\"net\": [{\"iface_id\": \"n\"}]}", "net[0].host_dev_name" },
		{ "{\"net\": [{\"host_dev_name\": \"t\"}]}", "net[0].iface_id" },
		{ "{\"console\": [{\"console_id\": \"c\"}]}", "console[0].socket_path" },
		{ "{\"vsock\": {\"vsock_id\": \"v\"}}", "vsock.guest_cid" },
		{ "{\"serial\": {}}", "serial.stdio" },
		{ "{\"iothread\": [{\"id\": \"a\"}, {}]}", "iothread[1].id" },
		{ "{\"balloon\": {}}", "balloon.deflate_on_oom" },
		{ "{\"rng\": {\"bytes_per_sec\": 64}}", "rng.random_file" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char message[128];

		snprintf(message, sizeof(message), "f: %s: missing, it is required", cases[i].path);
		refuse(cases[i].text, message);
	}
	refuse("{\"kernel\": \"k\"}",
	       "f: machine: missing, an object such as {\"type\": \"microvm\"} is required");
	refuse("{\"machine\": {}}", "f: machine.type: missing, a string is required");
	refuse("{\"machine\": {\"type\": \"x\"}, \"device\": [{\"id\": \"d\"}]}",
	       "f: device[0].driver: missing, a string is required");
}
END_TEST

START_TEST(wrong_types)
{
	refuse("{\"drive\": {}}", "f: drive: an object is given, a list of objects is allowed");
	refuse("{\"drive\": [1]}", "f: drive[0]: an integer is given, an object is allowed");
	refuse("{\"boot-source\": []}", "f: boot-source: a list is given, an object is allowed");
	refuse("{\"drive\": [{\"read_only\": \"true\"}]}",
	       "f: drive[0].read_only: a string is given, true or false is allowed");
	refuse("{\"drive\": [{\"drive_id\": 1}]}",
	       "f: drive[0].drive_id: an integer is given, a string is allowed");
	refuse("{\"drive\": [{\"drive_id\": null}]}",
	       "f: drive[0].drive_id: null is given, a string is allowed");
	refuse("{\"machine-config\": {\"vcpu_count\": \"4\"}}",
	       "f: machine-config.vcpu_count: a string is given, an integer in [1, 254] is "
	       "allowed");
	refuse("{\"machine-config\": {\"vcpu_count\": 1.5}}",
	       "f: machine-config.vcpu_count: a number that is no integer is given, an integer in "
	       "[1, 254] is allowed");
	refuse("{\"machine-config\": {\"vcpu_count\": -1}}",
	       "f: machine-config.vcpu_count: -1 is given, an integer in [1, 254] is allowed");
	refuse("{\"machine-config\": {\"mem_size\": true}}",
	       "f: machine-config.mem_size: true is given, bytes as an integer or \"256M\" as a "
	       "string, in [128M, 512G], is allowed");
	refuse("{\"net\": [{\"vhost_type\": \"vhost-user\"}]}",
	       "f: net[0].vhost_type=vhost-user is not one of vhost-kernel");
	refuse("{\"machine\": \"microvm\"}", "f: machine: a string is given, an object is allowed");
	refuse("{\"machine\": {\"type\": \"x\"}, \"device\": [{\"driver\": \"x\", \"a\": {\"b\": "
	       "[1]}}]}",
	       "f: device[0].a.b: a list is given, a string, an integer, true or false is allowed");
	refuse("{\"machine\": {\"type\": \"x\"}, \"daemonize\": \"on\"}",
	       "f: daemonize: a string is given, true or false is allowed");
	refuse("{\"machine\": {\"type\": \"x\"}, \"log\": false}",
	       "f: log: false is given, a file name, or true for stderr, is allowed");
	refuse("{\"machine\": {\"type\": \"x\"}, \"uuid\": \"1\"}",
	       "f: uuid: not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
	refuse("{\"machine\": {\"type\": \"x\"}, \"kernel\": \"\"}",
	       "f: kernel: the string is empty");
}
END_TEST

START_TEST(one_form_a_file)
{
	refuse("{\"machine\": {\"type\": \"x\"}, \"boot-source\": {}}",
	       "f: boot-source: a key of StratoVirt's old file format, but 'machine' is one of the "
	       "description that -dump-config prints: a file has one of the two forms");
	/* These two keys are in both and decide nothing. */
	accept("{\"serial\": {\"stdio\": false}, \"drive\": []}");
	accept("{\"serial\": [{\"backend\": \"stdio\"}], \"drive\": [], \"machine\": {\"type\": "
	       "\"x\"}}");
	accept("{}");
}
END_TEST

/* One "key": value of a section, at the edges of its range. */
#define edge(section, key, good, bad, message)                                                     \
	do {                                                                                       \
		accept("{\"" section "\": {\"" key "\": " good "}}");                              \
		refuse("{\"" section "\": {\"" key "\": " bad "}}", "f: " message);                \
	} while (0)

START_TEST(limits)
{
	edge("machine-config", "vcpu_count", "1", "0",
	     "machine-config.vcpu_count=0 is out of range [1, 254]");
	edge("machine-config", "vcpu_count", "254", "255",
	     "machine-config.vcpu_count=255 is out of range [1, 254]");
	edge("machine-config", "mem_size", "\"128M\"", "\"127M\"",
	     "machine-config.mem_size=127M is out of range [128M, 512G]");
	edge("machine-config", "mem_size", "134217728", "133169152",
	     "machine-config.mem_size=133169152 is out of range [128M, 512G]");
	edge("machine-config", "mem_size", "\"512G\"", "\"524289M\"",
	     "machine-config.mem_size=524289M is out of range [128M, 512G]");
	edge("machine-config", "mem_size", "549755813888", "549756862464",
	     "machine-config.mem_size=549756862464 is out of range [128M, 512G]");
	refuse("{\"vsock\": {\"guest_cid\": 2}}",
	       "f: vsock.guest_cid=2 is out of range [3, 4294967294]");
	refuse("{\"vsock\": {\"guest_cid\": 4294967295}}",
	       "f: vsock.guest_cid=4294967295 is out of range [3, 4294967294]");
	refuse("{\"drive\": [{\"iops\": 1000001}]}",
	       "f: drive[0].iops=1000001 is out of range [0, 1000000]");
	refuse("{\"drive\": [{\"serial_num\": \"123456789012345678901\"}]}",
	       "f: drive[0].serial_num=123456789012345678901 has 21 bytes, at most 20 are "
	       "possible");
	refuse("{\"rng\": {\"bytes_per_sec\": 63}}",
	       "f: rng.bytes_per_sec=63 is out of range [64, 1000000000]");
	refuse("{\"machine\": {\"type\": \"x\"}, \"smp\": {\"cpus\": 255}}",
	       "f: smp.cpus=255 is out of range [1, 254]");
	refuse("{\"machine\": {\"type\": \"x\"}, \"memory\": \"127M\"}",
	       "f: memory=127M is out of range [128M, 512G]");
}
END_TEST

/* @count iothreads by -object and -iothread in turn. */
static char *iothreads(unsigned int count, struct error **errp)
{
	char *words[18] = { NULL }, texts[9][32], *text;

	for (unsigned int i = 0; i < count; i++) {
		snprintf(texts[i], sizeof(texts[i]), "%sid=io%u", i % 2 ? "iothread," : "", i);
		words[2 * i] = (char *)(uintptr_t)(i % 2 ? "-object" : "-iothread");
		words[2 * i + 1] = texts[i];
	}
	text = config_text_of(errp, words[0], words[1], words[2], words[3], words[4], words[5],
			      words[6], words[7], words[8], words[9], words[10], words[11],
			      words[12], words[13], words[14], words[15], words[16], words[17],
			      NULL);
	return text;
}

START_TEST(limits_of_the_whole)
{
	struct error *err = NULL;
	char name[300], words[320];

	free(config_text("-smp", "254", "-m", "512G"));
	config_refused("-smp 255: cpus=255 is out of range [1, 254]", "-smp", "255");
	config_refused("-smp 0: cpus=0 is out of range [1, 254]", "-smp", "0");
	config_refused("-m 127M: size=127M is out of range [128M, 512G]", "-m", "127M");
	config_refused("-m 524289: size=524289 is out of range [128M, 512G]", "-m", "524289");
	free(iothreads(8, &err));
	ck_assert_no_error(err);
	ck_assert_ptr_null(iothreads(9, &err));
	ck_assert_error(err, "9 -object iothread are given, at most 8 are possible");

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	free(config_text("-name", name));
	snprintf(words, sizeof(words), "id=%s,file=f", name);
	free(config_text("-drive", words));
	snprintf(words, sizeof(words), "x,id=%sn", name);
	config_refused("-device x: the id has 256 bytes, [1, 255] are possible", "-device", words);

	/* The description does not go through the command line's tables. */
	config_enter_directory(directory);
	name[255] = 'n';
	name[256] = '\0';
	{
		char file[400];

		snprintf(file, sizeof(file), "{\"machine\": {\"type\": \"x\"}, \"name\": \"%s\"}",
			 name);
		config_file("f", file);
		config_refused("the name of the VM has 256 bytes, [1, 255] are possible", "-config",
			       "f");
		config_file("f", "{\"machine\": {\"type\": \"x\"}, \"accel\": \"tcg\"}");
		config_refused("accel=tcg is not one of kvm, kvm:tcg, test", "-config", "f");
	}
	unlink("f");
	config_leave_directory(directory);
}
END_TEST

static const char below[] =
	"{\"boot-source\": {\"kernel_image_path\": \"/k\", \"boot_args\": \"a\"},"
	" \"machine-config\": {\"vcpu_count\": 2, \"mem_size\": \"1G\", \"mem_share\": true,"
	"  \"dump_guest_core\": false, \"name\": \"n\"},"
	" \"drive\": [{\"drive_id\": \"a\", \"path_on_host\": \"/a\", \"read_only\": true, "
	"\"direct\": "
	"true},"
	"  {\"drive_id\": \"b\", \"path_on_host\": \"/b\", \"read_only\": true, \"direct\": true}],"
	" \"balloon\": {\"deflate_on_oom\": true},"
	" \"serial\": {\"stdio\": true}}";

#define DRIVE_B "-drive", "id=b,file=/b,readonly=on,direct=on"

START_TEST(command_line_wins)
{
	config_enter_directory(directory);
	config_file("f", below);
	config_same(("-config", "f", "-kernel", "/other", "-append", "b", "-smp", "3", "-m", "2G",
		     "-machine", "mem-share=off", "-name", "m", "-serial", "none"),
		    ("-kernel", "/other", "-append", "b", "-smp", "3", "-m", "2G", "-machine",
		     "mem-share=off,dump-guest-core=off", "-name", "m", "-serial", "none",
		     "-balloon", "deflate-on-oom=on", "-drive",
		     "id=a,file=/a,readonly=on,direct=on", DRIVE_B));
	/* Wherever it stands; the replaced disk stays the first, new ones come behind. */
	config_same(("-drive", "id=c,file=/c", "-drive", "id=a,file=/x,serial=s", "-balloon",
		     "deflate-on-oom=off", "-config", "f"),
		    ("-kernel", "/k", "-append", "a", "-smp", "2", "-m", "1G", "-machine",
		     "mem-share=on,dump-guest-core=off", "-name", "n", "-serial", "stdio",
		     "-balloon", "deflate-on-oom=off", "-drive", "id=a,file=/x,serial=s", DRIVE_B,
		     "-drive", "id=c,file=/c"));
	unlink("f");
	config_leave_directory(directory);
}
END_TEST

START_TEST(command_line_over_a_description)
{
	config_enter_directory(directory);
	config_file("f", "{\"machine\": {\"type\": \"microvm\", \"acpi\": false}, \"accel\": "
			 "\"kvm:tcg\", \"uuid\": \"00112233-4455-6677-8899-aabbccddeeff\", "
			 "\"monitor\": [{\"backend\": \"socket\", \"path\": \"/a\", \"server\": "
			 "true, \"wait\": false}], \"start-paused\": true, \"log\": true}");
	config_same(("-config", "f"), ("-machine", "microvm,acpi=off,accel=kvm:tcg", "-uuid",
				       "00112233-4455-6677-8899-aabbccddeeff", "-qmp",
				       "unix:/a,server,nowait", "-S", "-D"));
	config_same(("-config", "f", "-machine", "acpi=on", "-accel", "kvm", "-uuid",
		     "00112233-4455-6677-8899-aabbccddee00", "-qmp", "unix:/b,server,nowait", "-D",
		     "log", "-cpu", "host"),
		    ("-machine", "microvm,acpi=on,accel=kvm", "-uuid",
		     "00112233-4455-6677-8899-aabbccddee00", "-qmp", "unix:/b,server,nowait", "-D",
		     "log", "-S", "-cpu", "host"));
	unlink("f");
	config_leave_directory(directory);
}
END_TEST

START_TEST(origin)
{
	struct vm_config config;
	char *name;

	ck_assert_int_eq(parse(below, &config, NULL), 0);
	name = opts_describe(list_entry(list_first(&config.drives), struct opts, node));
	ck_assert_str_eq(name, "f: drive[0] id=a");
	free(name);
	vm_config_release(&config);
}
END_TEST

START_TEST(files)
{
	char *big = malloc(JSON_CONFIG_MAX + 2);

	config_enter_directory(directory);
	config_refused("-config none: No such file or directory", "-config", "none");
	config_refused("-config .: Is a directory", "-config", ".");
	config_refused("-config is given twice", "-config", "a", "-config", "b");
	memset(big, ' ', JSON_CONFIG_MAX + 1);
	big[0] = '{';
	big[1] = '}';
	big[JSON_CONFIG_MAX + 1] = '\0';
	config_file("f", big);
	config_refused("f: more than 1048576 bytes", "-config", "f");
	big[JSON_CONFIG_MAX] = '\0';
	config_file("f", big);
	free(config_text("-config", "f"));
	free(big);
	config_file("f", "");
	config_refused("f: line 1, column 1: a value is missing", "-config", "f");
	unlink("f");
	config_leave_directory(directory);
}
END_TEST

START_TEST(depth)
{
	char deep[256] = "{\"drive\": ";

	memset(deep + strlen(deep), '[', 100);
	{
		struct error *err = NULL;
		struct vm_config config;

		ck_assert_int_lt(parse(deep, &config, &err), 0);
		ck_assert_ptr_nonnull(strstr(error_text(err), "nested deeper than 64"));
		error_free(err);
		vm_config_release(&config);
	}
	refuse("{\"machine\": {\"type\": \"x\", \"a\": {\"b\": {\"c\": {\"d\": {\"e\": {\"f\": "
	       "{\"g\": "
	       "{\"h\": {\"i\": 1}}}}}}}}}}",
	       "f: machine x: JSON nested deeper than 8");
}
END_TEST

UNIT_SUITE(suite, "config JSON", syntax, duplicate_keys, unknown_keys, missing_keys, wrong_types,
	   one_form_a_file, limits, limits_of_the_whole, command_line_wins,
	   command_line_over_a_description, origin, files, depth)
UNIT_MAIN(suite)
