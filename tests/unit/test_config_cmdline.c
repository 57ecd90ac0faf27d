// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "config/rtc_base.h"
#include "config/vm_config.h"
#include "unit.h"

static struct vm_config config;
static enum cmdline_action action;
static char *topic;

/* Parses these words; the last is NULL. */
static int parse(struct error **errp, ...)
{
	char *argv[64] = { (char *)(uintptr_t) "stratovirt" };
	int argc = 1;
	va_list ap;

	va_start(ap, errp);
	while ((argv[argc] = va_arg(ap, char *)))
		ck_assert_int_lt(++argc, 63);
	va_end(ap);
	vm_config_init(&config);
	action = CMDLINE_RUN;
	topic = NULL;
	return cmdline_parse(argc, argv, &config, &action, &topic, errp);
}

static void done(void)
{
	vm_config_release(&config);
	free(topic);
}

#define accept(...)                                                                                \
	do {                                                                                       \
		struct error *_err = NULL;                                                         \
		int _ret = parse(&_err, ##__VA_ARGS__, NULL);                                      \
                                                                                                   \
		ck_assert_no_error(_err);                                                          \
		ck_assert_int_eq(_ret, 0);                                                         \
	} while (0)

#define refuse(text, ...)                                                                          \
	do {                                                                                       \
		struct error *_err = NULL;                                                         \
                                                                                                   \
		ck_assert_int_lt(parse(&_err, __VA_ARGS__, NULL), 0);                              \
		ck_assert_error(_err, text);                                                       \
		done();                                                                            \
	} while (0)

static void check_list(const struct list *head, const char *expected)
{
	struct opts *opts;
	char all[1024] = "";

	list_for_each(opts, head, node) {
		char *text = opts_to_string(opts);

		if (*all)
			strcat(all, " | ");
		strcat(all, text);
		free(text);
	}
	ck_assert_str_eq(all, expected);
}

START_TEST(nothing_given)
{
	accept();
	ck_assert_int_eq(action, CMDLINE_RUN);
	ck_assert_str_eq(opts_get(config.machine, "type"), "microvm");
	ck_assert_str_eq(config.accel, "kvm");
	ck_assert_ptr_null(config.cpu);
	ck_assert_uint_eq(config.smp.cpus, 1);
	ck_assert_uint_eq(config.smp.maxcpus, 1);
	ck_assert_uint_eq(config.memory_size, 256 * MIB);
	ck_assert_ptr_null(config.kernel);
	ck_assert_ptr_null(config.append);
	ck_assert_ptr_null(config.name);
	ck_assert(!config.has_uuid && !config.log_to_file && !config.daemonize);
	ck_assert(list_empty(&config.devices));
	done();
}
END_TEST

START_TEST(a_whole_vm)
{
	accept("-machine", "MicroVm,mem-share=on", "-machine", "acpi=off,mem-share=off", "-accel",
	       "kvm", "-cpu", "host", "-smp", "2", "-m", "1G", "-mem-path", "/dev/hugepages",
	       "-mem-prealloc", "-kernel", "k", "-initrd", "i", "-append", "console=ttyS0",
	       "root=/dev/vda", "-drive", "id=d0,file=a", "-drive", "id=d1,file=b,if=none", "-object",
	       "iothread,id=io0", "-device", "virtio-blk-device,drive=d0,id=b0", "-device",
	       "{\"driver\":\"x\",\"ro\":true}", "-chardev", "socket,path=p,id=c0,server,nowait",
	       "-netdev", "tap,id=n0", "-serial", "chardev:c0", "-name",
	       "guest=vm,debug-threads=on", "-D", "log", "-pidfile", "pid", "-daemonize", "-S",
	       "-no-reboot", "-no-shutdown", "-disable-seccomp");
	ck_assert_str_eq(opts_get(config.machine, "type"), "microvm");
	ck_assert_str_eq(opts_get(config.machine, "acpi"), "off");
	ck_assert_str_eq(opts_get(config.machine, "mem-share"), "off");
	ck_assert_str_eq(opts_get(config.cpu, "model"), "host");
	ck_assert_uint_eq(config.smp.cores, 2);
	ck_assert_uint_eq(config.memory_size, GIB);
	ck_assert_str_eq(config.mem_path, "/dev/hugepages");
	ck_assert_str_eq(config.kernel, "k");
	ck_assert_str_eq(config.initrd, "i");
	ck_assert_str_eq(config.append, "console=ttyS0 root=/dev/vda");
	check_list(&config.drives, "id=d0,file=a | id=d1,file=b,if=none");
	check_list(&config.objects, "qom-type=iothread,id=io0");
	check_list(&config.devices, "driver=virtio-blk-device,drive=d0,id=b0 | driver=x,ro=on");
	check_list(&config.chardevs, "backend=socket,path=p,id=c0,server,nowait");
	check_list(&config.netdevs, "type=tap,id=n0");
	check_list(&config.serials, "backend=chardev,chardev=c0");
	ck_assert_str_eq(config.name, "vm");
	ck_assert_str_eq(config.log_path, "log");
	ck_assert_str_eq(config.pidfile, "pid");
	ck_assert(config.mem_prealloc && config.log_to_file && config.daemonize &&
		  config.start_paused);
	ck_assert(config.no_reboot && config.no_shutdown && config.disable_seccomp);
	done();
}
END_TEST

START_TEST(words)
{
	refuse("unknown option '-krnel'; did you mean '-kernel'?", "-krnel", "x");
	refuse("unknown option '--devise'; did you mean '-device'?", "--devise", "x");
	refuse("unknown option '-wxyz'; -help lists the options", "-wxyz");
	refuse("unknown option '-kernel=x'; did you mean '-kernel'?", "-kernel=x");
	/* QEMU's, with what there is instead */
	refuse("there is no option '-hda' here: -drive file=FILE,if=virtio is a disk", "-hda", "x");
	refuse("there is no option '--s' here: there is no debugger's port", "--s");
	refuse("-vga std: there is no display; -vga none is accepted", "-vga", "std");
	refuse("-parallel stdio: there is no parallel port; -parallel none is accepted", "-parallel", "stdio");
	refuse("-vga: its value is missing: none", "-vga");
	refuse("unexpected argument 'x': options begin with '-'", "x");
	refuse("unexpected argument '': options begin with '-'", "");
	refuse("unexpected argument 'b' behind '-kernel'", "-kernel", "a", "b");
	refuse("unexpected argument 'yes' behind '-daemonize'", "-daemonize", "yes");
	refuse("-kernel: its value is missing: FILE", "-kernel");
	refuse("-kernel: its value is missing: FILE; '-initrd' is an option", "-kernel", "-initrd",
	       "i");
	refuse("-kernel is given twice", "-kernel", "a", "-kernel", "a");
	refuse("-S is given twice", "-S", "-freeze");
	refuse("-device: its value is empty", "-device", "");
	refuse("-serial: its value is empty", "-serial", "");
	accept("--kernel", "k", "--S", "--", "-no-such-option", "word");
	ck_assert_str_eq(config.kernel, "k");
	ck_assert(config.start_paused);
	done();
	accept("-kernel", "-"); /* a name like any other */
	done();
}
END_TEST

START_TEST(append)
{
	accept("-append", "-v", "quiet", "a=b c", "-append", "more", "-S");
	ck_assert_str_eq(config.append, "-v quiet a=b c more");
	ck_assert(config.start_paused);
	done();
	accept("-append", "");
	ck_assert_str_eq(config.append, "");
	done();
	refuse("-append: its value is missing: WORD...", "-append");
}
END_TEST

START_TEST(optional_value)
{
	accept("-D", "-S");
	ck_assert(config.log_to_file && config.start_paused);
	ck_assert_ptr_null(config.log_path);
	done();
	accept("-D", "file");
	ck_assert_str_eq(config.log_path, "file");
	done();
	accept("-S", "-D");
	ck_assert(config.log_to_file);
	done();
}
END_TEST

START_TEST(memory)
{
	static const struct {
		const char *text;
		uint64_t size;
	} good[] = {
		{ "128", 128 * MIB },	    { "128M", 128 * MIB },
		{ "size=1g", GIB },	    { "512G", 512 * GIB },
		{ "524288", 512 * GIB },    { "268435456", 256 * MIB },
		{ "134217728", 128 * MIB }, { "549755813888", 512 * GIB },
		{ "0x8000000", 128 * MIB }, { "1048576K", GIB },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		accept("-m", good[i].text);
		ck_assert_uint_eq(config.memory_size, good[i].size);
		done();
	}
	refuse("-m 127: size=127 is out of range [128M, 512G]", "-m", "127");
	refuse("-m 513G: size=513G is out of range [128M, 512G]", "-m", "513G");
	refuse("-m 0: size=0 is out of range [128M, 512G]", "-m", "0");
	refuse("-m x: size=x is not a size (a number with an optional K, M, G or T)", "-m", "x");
	refuse("memory size 134217729 is not a multiple of 1M", "-m", "134217729");
	refuse("-m 1G,maxmem=2G: maxmem is not offered: memory cannot be added to a running VM",
	       "-m", "1G,maxmem=2G");
	refuse("-m 1G,slots=2: slots is not offered: memory cannot be added to a running VM", "-m",
	       "1G,slots=2");
	refuse("-m 1G: unknown property 'sice'; did you mean 'size'?", "-m", "1G,sice=2");
}
END_TEST

START_TEST(cpus)
{
	accept("-smp", "4,sockets=2,threads=2", "-cpu", "max");
	ck_assert_uint_eq(config.smp.cores, 1);
	ck_assert_str_eq(opts_get(config.cpu, "model"), "host");
	done();
	accept("-smp", "cores=4");
	ck_assert_uint_eq(config.smp.cpus, 4);
	done();
	refuse("-smp 255: cpus=255 is out of range [1, 254]", "-smp", "255");
	refuse("-smp 0: cpus=0 is out of range [1, 254]", "-smp", "0");
	refuse("-smp 4,maxcpus=2: cpus=4 is more than maxcpus=2", "-smp", "4,maxcpus=2");
	refuse("-smp 8,sockets=3: sockets=3 * dies=1 * clusters=1 * cores=2 * threads=1 make 6 "
	       "CPUs, "
	       "but maxcpus=8",
	       "-smp", "8,sockets=3");
	refuse("-cpu qemu64: model=qemu64 is not one of host, max", "-cpu", "qemu64");
	refuse("-cpu host: unknown property 'pmu'", "-cpu", "host,pmu=on");
}
END_TEST

START_TEST(accelerators)
{
	accept("-machine", "none,accel=kvm:tcg");
	ck_assert_str_eq(config.accel, "kvm:tcg");
	ck_assert_ptr_null(opts_get(config.machine, "accel"));
	done();
	accept("-enable-kvm", "-accel", "kvm");
	ck_assert_str_eq(config.accel, "kvm");
	done();
	accept("-accel", "test");
	ck_assert_str_eq(config.accel, "test");
	done();
	refuse("-accel tcg: accel=tcg is not one of kvm, kvm:tcg, test, qtest", "-accel", "tcg");
	refuse("-machine: accel=x is not one of kvm, kvm:tcg, test, qtest", "-machine", "microvm,accel=x");
	refuse("-machine: accel=kvm does not go with the accel=test before it", "-accel", "test",
	       "-machine", "accel=kvm");
}
END_TEST

START_TEST(identity)
{
	static const uint8_t uuid[16] = { 0,	0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	char longest[257];

	accept("-name", "a,,b", "-uuid", "00112233-4455-6677-8899-aabbccddeeff");
	ck_assert_str_eq(config.name, "a,b");
	ck_assert(config.has_uuid);
	ck_assert_mem_eq(config.uuid, uuid, 16);
	done();
	memset(longest, 'n', 256);
	longest[256] = '\0';
	accept("-name", longest + 1);
	ck_assert_uint_eq(strlen(config.name), 255);
	done();
	{
		struct error *err = NULL;

		ck_assert_int_eq(parse(&err, "-name", longest, NULL), -ENAMETOOLONG);
		error_free(err);
		done();
	}
	refuse("-name: its value is empty", "-name", "");
	refuse("-name guest=: guest= has 0 bytes, at least 1 are needed", "-name", "guest=");
	refuse("-uuid 1: not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "-uuid", "1");
}
END_TEST

START_TEST(questions)
{
	static const struct {
		const char *option, *value;
		enum cmdline_action action;
		const char *topic;
	} cases[] = {
		{ "-h", NULL, CMDLINE_HELP, NULL },
		{ "-help", NULL, CMDLINE_HELP, NULL },
		{ "--help", NULL, CMDLINE_HELP, NULL },
		{ "-V", NULL, CMDLINE_VERSION, NULL },
		{ "--version", NULL, CMDLINE_VERSION, NULL },
		{ "-cpu", "help", CMDLINE_OPTION_HELP, "cpu" },
		{ "-accel", "help", CMDLINE_OPTION_HELP, "accel" },
		{ "-smp", "?", CMDLINE_OPTION_HELP, "smp" },
		{ "-device", "help", CMDLINE_DEVICE_HELP, NULL },
		{ "-device", "?", CMDLINE_DEVICE_HELP, NULL },
		{ "-device", "virtio-blk-device,help", CMDLINE_DEVICE_HELP, "virtio-blk-device" },
		{ "-device", "virtio-blk-device,id=x,?", CMDLINE_DEVICE_HELP, "virtio-blk-device" },
		{ "-machine", "help", CMDLINE_MACHINE_HELP, NULL },
		{ "-M", "microvm,help", CMDLINE_MACHINE_HELP, "microvm" },
		{ "-object", "help", CMDLINE_OBJECT_HELP, NULL },
		{ "-object", "rng-random,help", CMDLINE_OBJECT_HELP, "rng-random" },
		{ "-chardev", "help", CMDLINE_CHARDEV_HELP, NULL },
		{ "-serial", "help", CMDLINE_CHARDEV_HELP, NULL },
		{ "-netdev", "help", CMDLINE_NETDEV_HELP, NULL },
		{ "-netdev", "tap,help", CMDLINE_NETDEV_HELP, "tap" },
		{ "-drive", "help", CMDLINE_DRIVE_HELP, NULL },
		{ "-blockdev", "help", CMDLINE_BLOCKDEV_HELP, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* What stands behind a question is not looked at. */
		if (cases[i].value)
			accept("-S", cases[i].option, cases[i].value, "-nonsense");
		else
			accept("-S", cases[i].option, "nonsense");
		ck_assert_int_eq(action, cases[i].action);
		if (cases[i].topic)
			ck_assert_str_eq(topic, cases[i].topic);
		else
			ck_assert_ptr_null(topic);
		done();
	}
	/* A value is no question. */
	accept("-device", "x,drive=help");
	ck_assert_int_eq(action, CMDLINE_RUN);
	done();
}
END_TEST

START_TEST(serial_forms)
{
	static const struct {
		const char *text, *opts;
	} good[] = {
		{ "stdio", "backend=stdio" },
		{ "mon:stdio", "backend=stdio" },
		{ "pty", "backend=pty" },
		{ "null", "backend=null" },
		{ "none", "backend=none" },
		{ "file:/a:b,,c=d", "backend=file,path=/a:b,,c=d" },
		{ "unix:/x,server,nowait", "backend=socket,path=/x,server,nowait" },
		{ "tcp:10.0.0.1:4444,server=on",
		  "backend=socket,server=on,host=10.0.0.1,port=4444" },
		{ "tcp::4444", "backend=socket,port=4444" },
		{ "tcp:[::1]:4444", "backend=socket,host=::1,port=4444" },
		{ "chardev:c0", "backend=chardev,chardev=c0" },
		{ "socket,path=/x,server", "backend=socket,path=/x,server" },
		{ "backend=file,path=x", "backend=file,path=x" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		accept("-serial", good[i].text);
		check_list(&config.serials, good[i].opts);
		done();
	}
	accept("-serial", "stdio", "-serial", "null");
	check_list(&config.serials, "backend=stdio | backend=null");
	done();
	refuse("-serial foo:bar: 'foo' is not one of file, unix, tcp, chardev", "-serial",
	       "foo:bar");
	refuse("-serial mon:pty: 'mon' is not one of file, unix, tcp, chardev", "-serial",
	       "mon:pty");
	refuse("-serial tcp:host: HOST:PORT is missing", "-serial", "tcp:host");
	refuse("-qmp tcp::1,,x=y: HOST:PORT is missing", "-qmp", "tcp::1,,x=y");
	refuse("-serial tcp:h:: HOST:PORT is missing", "-serial", "tcp:h:");
	refuse("-serial tcp:[::1]: HOST:PORT is missing", "-serial", "tcp:[::1]");
	refuse("-serial socket: 'port' is given twice", "-serial", "tcp:h:1,port=2");
	refuse("-serial path=x: 'backend' is required", "-serial", "path=x");
}
END_TEST

START_TEST(json_values)
{
	accept("-object", "{\"qom-type\":\"iothread\",\"id\":\"io1\"}", "-netdev",
	       "{\"type\":\"tap\",\"fd\":\"30\",\"id\":\"n0\"}");
	check_list(&config.objects, "qom-type=iothread,id=io1");
	check_list(&config.netdevs, "type=tap,fd=30,id=n0");
	done();
	refuse("-device x: 'a' is a list, not a value", "-device", "{\"driver\":\"x\",\"a\":[]}");
}
END_TEST

START_TEST(the_whole_is_checked)
{
	char id[300] = "iothread,id=", path[5000];

	memset(id + 12, 'i', 256);
	id[12 + 256] = '\0';
	refuse("-object iothread: the id has 256 bytes, [1, 255] are possible", "-object", id);
	refuse("-object iothread: the id has 0 bytes, [1, 255] are possible", "-object",
	       "iothread,id=");
	refuse("-object iothread: id 'a,b': ids are of letters, digits, '-', '.' and '_', and begin with one of the former two",
	       "-object", "iothread,id=a,,b");
	memset(path, 'p', sizeof(path));
	path[4096] = '\0';
	refuse("-kernel: the path has 4096 bytes, at most 4095 are possible", "-kernel", path);
	refuse("-pidfile: the path is empty", "-pidfile", "");
	refuse("2 -chardev and -serial want stdio, which can have one user", "-serial", "stdio",
	       "-chardev", "stdio,id=c0");
	refuse("-daemonize leaves no terminal: no -chardev or -serial can be stdio", "-daemonize",
	       "-serial", "mon:stdio");
	refuse("9 -object iothread are given, at most 8 are possible", "-object", "iothread,id=io1",
	       "-object", "iothread,id=io2", "-object", "iothread,id=io3", "-object", "iothread,id=io4",
	       "-object", "iothread,id=io5", "-object", "iothread,id=io6", "-object", "iothread,id=io7",
	       "-object", "iothread,id=io8", "-object", "iothread,id=io9");
}
END_TEST

/* What libvirt puts on every command line and has no meaning here. */
START_TEST(accepted_without_effect)
{
	accept("-no-user-config", "-nodefaults", "-nographic", "-overcommit", "mem-lock=off",
	       "-display", "none", "-audiodev", "{\"id\":\"audio1\",\"driver\":\"none\"}", "-rtc",
	       "base=utc", "-boot", "strict=on", "-msg", "timestamp=on", "-sandbox",
	       "on,obsolete=deny", "-realtime", "mlock=off", "-usb", "-no-hpet", "-display",
	       "none");
	done();
	accept("-realtime", "mlock=on");
	ck_assert(config.mem_lock);
	done();
	accept("-boot", "c", "-boot", "strict=on,menu=off", "-boot", "order=c,once=c");
	done();
	refuse("-boot order=d: what firmware boots from is said by bootindex=N of a -device; order=c is accepted", "-boot", "d");
	refuse("-boot once=n: what firmware boots from is said by bootindex=N of a -device; once=c is accepted", "-boot", "once=n");
	refuse("-boot menu=on: there is no menu but the firmware's own (OVMF: Esc); menu=off is right", "-boot", "menu=on");
	refuse("-display gtk: there is no display; -display none is accepted", "-display", "gtk");
	accept("-overcommit", "mem-lock=on,cpu-pm=on");
	ck_assert(config.mem_lock);
	done();
	refuse("-overcommit mem-lck=on: unknown property 'mem-lck'; did you mean 'mem-lock'?", "-overcommit", "mem-lck=on");
	refuse("unexpected argument 'x' behind '-nodefaults'", "-nodefaults", "x");
}
END_TEST

START_TEST(rtc)
{
	static const struct {
		const char *base;
		int64_t now, ahead;
	} bases[] = {
		{ "utc", 1000, 0 },
		{ "1970-01-01", 0, 0 },
		{ "1970-01-02T00:00:01", 5, 86396 },
		{ "2001-09-09T01:46:40", 0, 1000000000 },
		{ "2000-02-29", 951782400, 0 },
		{ "localtime", 1600000000, -7 * 3600 },
		{ "localtime", 1580000000, -8 * 3600 },
	};
	static const char *const bad[] = { "", "UTC", "2001-02-29", "2001-9-9", "2001-09-09T1:46:40", "2001-09-09 01:46:40",
					   " 2001-09-09", "2001-09-09T01:46:40Z", "1969-12-31", "2106-01-01", "+2001-09-09" };
	struct error *err = NULL;
	int64_t ahead;

	setenv("TZ", "PST8PDT,M3.2.0,M11.1.0", 1);
	tzset();
	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		ck_assert_int_eq(rtc_base_offset(bases[i].base, bases[i].now, &ahead, &err), 0);
		ck_assert_int_eq(ahead, bases[i].ahead);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(rtc_base_offset(bad[i], 0, &ahead, &err), -EINVAL);
		error_free(err);
		err = NULL;
	}
	accept("-rtc", "base=2001-09-09,clock=host", "-rtc", "driftfix=slew");
	ck_assert_str_eq(config.rtc_base, "2001-09-09");
	done();
	refuse("-rtc base=gmt: it is utc, localtime, or a date of 1970 to 2105: 2030-12-31 or 2030-12-31T23:59:59", "-rtc",
	       "base=gmt");
	refuse("-rtc clock=vm: clock=vm is not one of host", "-rtc", "clock=vm");
}
END_TEST

START_TEST(help_text)
{
	char *text = NULL, *line, *save;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	cmdline_help(out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "StratoVirt "));
	ck_assert_ptr_nonnull(strstr(text, "\n  -smp [cpus=]N"));
	ck_assert_ptr_nonnull(strstr(text, "[128M, 512G], default 256M"));
	ck_assert_ptr_nonnull(strstr(text, "[1, 254]"));
	ck_assert_ptr_nonnull(strstr(text, "-nodefaults"));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		ck_assert_msg(strlen(line) <= 100, "%s", line);
	free(text);
}
END_TEST

UNIT_SUITE(suite, "config command line", nothing_given, a_whole_vm, words, append, optional_value,
	   memory, cpus, accelerators, identity, questions, serial_forms, json_values,
	   the_whole_is_checked, accepted_without_effect, rtc, help_text)
UNIT_MAIN(suite)
