// SPDX-License-Identifier: Apache-2.0
/* The options of the command line: one table, and the handlers that its entries name. */
#include <errno.h>
#include <unistd.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "config"
#include "cmdline_private.h"
#include "old_dialect.h"
#include "util/alloc.h"
#include "util/fd_store.h"
#include "util/log.h"
#include "util/parse.h"

#define HANDLER(name)                                                                              \
	static int name(struct cmdline *cmdline, const struct cmdline_option *option,              \
			const char *value, struct error **errp)

static void *config_field(struct cmdline *cmdline, const struct cmdline_option *option)
{
	return (char *)cmdline->config + option->offset;
}

/* --- Handlers that many options share --- */

HANDLER(set_flag)
{
	(void)value;
	(void)errp;
	*(bool *)config_field(cmdline, option) = true;
	return 0;
}

HANDLER(set_text)
{
	(void)errp;
	*(char **)config_field(cmdline, option) = xstrdup(value);
	return 0;
}

HANDLER(ask)
{
	(void)errp;
	cmdline->action = option->ask;
	cmdline->help_topic = value ? xstrdup(value) : NULL;
	return 0;
}

HANDLER(ignore)
{
	(void)cmdline;
	(void)errp;
	log_debug("-%s%s%s has no effect", option->name, value ? " " : "", value ? value : "");
	return 0;
}

static bool is_help(const char *word)
{
	return strcmp(word, "help") == 0 || strcmp(word, "?") == 0;
}

/* "help", or "NAME,help": sets what is asked for. */
static bool asks_for_help(struct cmdline *cmdline, const struct cmdline_option *option,
			  const struct opts *opts)
{
	const char *topic = NULL;
	struct opt *opt;
	bool help = false;

	if (option->ask == CMDLINE_RUN)
		return false;
	list_for_each(opt, &opts->pairs, node) {
		if (opt->implied && !is_help(opt->value))
			topic = opt->value;
		help |= opt->implied ? is_help(opt->value) : opt->flag && is_help(opt->key);
	}
	if (!help)
		return false;
	cmdline->action = option->ask;
	cmdline->help_topic = topic ? xstrdup(topic) : NULL;
	return true;
}

/* An option list of @option's form. *@ret is NULL when it asks for help instead. */
static int parse_opts(struct cmdline *cmdline, const struct cmdline_option *option,
		      const char *value, struct opts **ret, struct error **errp)
{
	char origin[32];
	int err;

	snprintf(origin, sizeof(origin), "-%s", option->name);
	if (!*value)
		return error_set(errp, -EINVAL, "%s: its value is empty", origin);
	if ((option->flags & CMDLINE_JSON) && *value == '{')
		err = opts_parse_json(origin, value, ret, errp);
	else
		err = opts_parse(origin, value, option->implied, ret, errp);
	if (!err && asks_for_help(cmdline, option, *ret)) {
		opts_free(*ret);
		*ret = NULL;
	}
	return err;
}

HANDLER(add_opts)
{
	struct list *head = config_field(cmdline, option);
	struct opts *opts;
	int ret;

	ret = parse_opts(cmdline, option, value, &opts, errp);
	if (!ret && opts)
		list_add_tail(head, &opts->node);
	return ret;
}

/* Where the pair that begins at @p ends: at a comma that is not doubled, or at the end. */
static const char *pair_end(const char *p)
{
	for (; *p; p++) {
		if (*p != ',')
			continue;
		if (p[1] != ',')
			break;
		p++;
	}
	return p;
}

/* As QEMU's, "type=11,value=A,value=B": one list for each value, with what else there is. */
HANDLER(add_smbios)
{
	static const char key[] = "value=";
	char *rest = xstrdup(""), *one;
	unsigned int values = 0;
	const char *p, *end;
	int ret = 0;

	for (p = value; *p; p = *end ? end + 1 : end) {
		end = pair_end(p);
		if (!strncmp(p, key, strlen(key))) {
			values++;
			continue;
		}
		one = xasprintf("%s%s%.*s", rest, *rest ? "," : "", (int)(end - p), p);
		free(rest);
		rest = one;
	}
	for (p = value; values > 1 && !ret && *p; p = *end ? end + 1 : end) {
		end = pair_end(p);
		if (strncmp(p, key, strlen(key)))
			continue;
		one = xasprintf("%s,%.*s", rest, (int)(end - p), p);
		ret = add_opts(cmdline, option, one, errp);
		free(one);
	}
	free(rest);
	return values > 1 ? ret : add_opts(cmdline, option, value, errp);
}

/* As QEMU's "cpus=0,cpus=2-3": the values of a key that may be given again, as one with ':' between them. */
static int add_joined(struct cmdline *cmdline, const struct cmdline_option *option, const char *value, const char *key,
		      struct error **errp)
{
	char *rest = xstrdup(""), *joined = NULL, *one;
	size_t len = strlen(key);
	const char *p, *end;
	int ret;

	for (p = value; *p; p = *end ? end + 1 : end) {
		bool is_key = !strncmp(p, key, len) && p[len] == '=';
		char **to = is_key ? &joined : &rest;

		end = pair_end(p);
		p += is_key ? len + 1 : 0;
		one = xasprintf("%s%s%.*s", *to ? *to : "", !*to || !**to ? "" : is_key ? ":" : ",", (int)(end - p), p);
		free(*to);
		*to = one;
	}
	one = joined ? xasprintf("%s,%s=%s", rest, key, joined) : NULL;
	ret = add_opts(cmdline, option, one ? one : value, errp);
	free(one);
	free(joined);
	free(rest);
	return ret;
}

HANDLER(add_numa)
{
	return add_joined(cmdline, option, value, "cpus", errp);
}

HANDLER(add_object)
{
	return *value == '{' ? add_opts(cmdline, option, value, errp) :
			       add_joined(cmdline, option, value, "host-nodes", errp);
}

/* An option list that one property table takes whole. @object is zero-initialised. */
static int apply_keys(struct cmdline *cmdline, const struct cmdline_option *option,
		      const char *value, void *object, struct error **errp)
{
	struct opts *opts;
	int ret;

	ret = parse_opts(cmdline, option, value, &opts, errp);
	if (ret)
		return ret;
	ret = property_apply(option->keys, object, opts, NULL, NULL, errp);
	opts_free(opts);
	return ret;
}

/* --- Machine --- */

struct accel_keys {
	int accel;
};

static const struct property accel_keys[] = {
	PROP_ENUM("accel", struct accel_keys, accel, vm_accel_words, 0,
		  "kvm:tcg, which libvirt's probe asks for, is kvm; test runs no guest code"),
	PROP_END,
};

static int set_accel_word(struct cmdline *cmdline, const char *origin, int accel,
			  struct error **errp)
{
	char **to = &cmdline->config->accel;

	if (*to && strcmp(*to, vm_accel_words[accel]))
		return error_set(errp, -EINVAL,
				 "%s: accel=%s does not go with the accel=%s before it", origin,
				 vm_accel_words[accel], *to);
	if (!*to)
		*to = xstrdup(vm_accel_words[accel]);
	return 0;
}

HANDLER(set_accel)
{
	struct accel_keys keys = { 0 };
	int ret = apply_keys(cmdline, option, value, &keys, errp);

	return ret ? ret : set_accel_word(cmdline, "-accel", keys.accel, errp);
}

HANDLER(enable_kvm)
{
	(void)option;
	(void)value;
	return set_accel_word(cmdline, "-enable-kvm", 0, errp);
}

/* Several -machine make one: a later value replaces an earlier one. */
HANDLER(merge_machine)
{
	struct accel_keys keys = { 0 };
	struct opts *opts;
	struct opt *opt;
	char *accel;
	int ret;

	ret = parse_opts(cmdline, option, value, &opts, errp);
	if (ret || !opts)
		return ret;
	accel = opts_take(opts, "accel");
	if (accel) {
		ret = property_set(accel_keys, &keys, accel, NULL, errp);
		if (ret)
			error_prefix(errp, "-machine: ");
		else
			ret = set_accel_word(cmdline, "-machine", keys.accel, errp);
		free(accel);
	}
	list_for_each(opt, &opts->pairs, node)
		opts_set(cmdline->config->machine, opt->key, opt->value);
	opts_free(opts);
	return ret;
}

/* QEMU's older word for a property of the machine. */
HANDLER(no_acpi)
{
	(void)option;
	(void)value;
	(void)errp;
	opts_set(cmdline->config->machine, "acpi", "off");
	return 0;
}

HANDLER(set_cpu)
{
	return parse_opts(cmdline, option, value, &cmdline->config->cpu, errp);
}

HANDLER(set_sandbox)
{
	return parse_opts(cmdline, option, value, &cmdline->config->sandbox, errp);
}

HANDLER(set_smp)
{
	struct cpu_topology topology = { 0 };
	int ret;

	ret = apply_keys(cmdline, option, value, &topology, errp);
	if (ret)
		return ret;
	ret = cpu_topology_complete(&topology, errp);
	if (ret) {
		error_prefix(errp, "-smp %s: ", value);
		return ret;
	}
	cmdline->config->smp = topology;
	return 0;
}

static const struct property name_keys[] = {
	PROP_STRING("guest", struct vm_config, name, 1, 255, NULL, "the name of the VM"),
	PROP_IGNORED("process", "accepted, without effect"),
	PROP_IGNORED("debug-threads", "accepted, without effect: threads always have names"),
	PROP_END,
};

HANDLER(set_name)
{
	return apply_keys(cmdline, option, value, cmdline->config, errp);
}

HANDLER(set_uuid)
{
	(void)option;
	if (parse_uuid(value, cmdline->config->uuid))
		return error_set(errp, -EINVAL,
				 "-uuid %s: not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
				 value);
	cmdline->config->has_uuid = true;
	return 0;
}

/* --- Memory --- */

static const struct property memory_keys[] = {
	PROP_SIZE("size", struct vm_config, memory_size, MIB, VM_MEMORY_MIN, VM_MEMORY_MAX,
		  VM_MEMORY_DEFAULT, "guest memory; a number without K, M, G or T counts MiB"),
	PROP_END,
};

/*
 * StratoVirt's old manual counts bytes, today's command line MiB. The smallest memory in bytes,
 * read as MiB, is far above the largest possible, so there is no number that could be both.
 */
static void old_bytes(struct opts *opts)
{
	const char *size = opts_get(opts, "size");
	uint64_t number;
	char *bytes;

	if (!size || parse_u64(size, &number) || number < VM_MEMORY_MIN)
		return;
	bytes = xasprintf("%lluB", (unsigned long long)number);
	opts_set(opts, "size", bytes);
	free(bytes);
}

HANDLER(set_memory)
{
	static const char *const absent[] = { "maxmem", "slots" };
	struct opts *opts;
	int ret = 0;

	ret = parse_opts(cmdline, option, value, &opts, errp);
	if (ret)
		return ret;
	for (size_t i = 0; i < ARRAY_SIZE(absent) && !ret; i++) {
		if (opts_get(opts, absent[i]))
			ret = error_set(
				errp, -ENOTSUP,
				"-m %s: %s is not offered: memory cannot be added to a running VM",
				value, absent[i]);
	}
	old_bytes(opts);
	if (!ret)
		ret = property_apply(option->keys, cmdline->config, opts, NULL, NULL, errp);
	opts_free(opts);
	return ret;
}

/* --- Boot --- */

HANDLER(add_append)
{
	char **to = config_field(cmdline, option);
	char *longer;

	(void)errp;
	longer = *to ? xasprintf("%s %s", *to, value) : xstrdup(value);
	free(*to);
	*to = longer;
	return 0;
}

/* --- Back ends --- */

HANDLER(add_serial)
{
	struct opts *opts;
	int ret;

	if (is_help(value)) {
		cmdline->action = option->ask;
		return 0;
	}
	if (!*value)
		return error_set(errp, -EINVAL, "-serial: its value is empty");
	ret = serial_text_parse("-serial", value, &opts, errp);
	if (!ret)
		list_add_tail(config_field(cmdline, option), &opts->node);
	return ret;
}

/* --- Monitors --- */

/* A socket to listen on, in the short form of -serial. */
static int parse_monitor(const struct cmdline_option *option, const char *value, struct opts **ret,
			 struct error **errp)
{
	const char *backend;
	struct opts *opts;
	char origin[32];
	int err;

	snprintf(origin, sizeof(origin), "-%s", option->name);
	err = serial_text_parse(origin, value, &opts, errp);
	if (err)
		return err;
	backend = opts_get(opts, "backend");
	if (!strcmp(backend, "socket")) {
		*ret = opts;
		return 0;
	}
	err = error_set(errp, -EINVAL,
			"%s %s: a monitor is unix:PATH or tcp:HOST:PORT; for other back ends use "
			"-chardev and -mon",
			origin, value);
	opts_free(opts);
	return err;
}

HANDLER(add_qmp)
{
	struct opts *opts;
	int ret;

	if (!strcmp(value, "none"))
		return 0;
	ret = parse_monitor(option, value, &opts, errp);
	if (!ret)
		list_add_tail(config_field(cmdline, option), &opts->node);
	return ret;
}

/* StratoVirt's old option: always a server that waits for nobody, and clients need not negotiate. */
HANDLER(add_api_channel)
{
	static const char *const fixed[][2] = { { "server", "on" }, { "wait", "off" }, { "strict", "off" } };
	struct opts *opts;
	int ret;

	ret = parse_monitor(option, value, &opts, errp);
	if (ret)
		return ret;
	opts_del(opts, "nowait");
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		opts_set(opts, fixed[i][0], fixed[i][1]);
	list_add_tail(config_field(cmdline, option), &opts->node);
	return 0;
}

/* QEMU's test protocol. "wait" and "nowait" mean nothing: without a client the guest does nothing. */
HANDLER(set_qtest)
{
	struct opts *opts;
	int ret;

	ret = parse_monitor(option, value, &opts, errp);
	if (ret)
		return ret;
	opts_del(opts, "wait");
	opts_del(opts, "nowait");
	cmdline->config->qtest = opts;
	return 0;
}

HANDLER(no_human_monitor)
{
	(void)cmdline;
	if (!strcmp(value, "none") || !strcmp(value, "null"))
		return 0;
	return error_set(errp, -ENOTSUP,
			 "-%s %s: there is no monitor for people; -qmp opens one for programs",
			 option->name, value);
}

/* An option whose value can say only that something is not there; @help says what. */
HANDLER(only_none)
{
	(void)cmdline;
	if (!strcmp(value, "none"))
		return 0;
	return error_set(errp, -ENOTSUP, "-%s %s: %s; -%s none is accepted", option->name, value, option->help, option->name);
}

/* --- Defaults of devices --- */

/* "DRIVER.PROPERTY=VALUE", or the three by their names. */
HANDLER(add_global)
{
	const char *equals = strchr(value, '='), *dot = memchr(value, '.', equals ? equals - value : 0);
	struct opts *opts;
	char *text;
	int ret;

	if (!dot)
		return add_opts(cmdline, option, value, errp);
	ret = *value == '.' || dot + 1 == equals ? -EINVAL : 0;
	if (ret)
		return error_set(errp, ret, "-global %s: DRIVER.PROPERTY=VALUE is needed", value);
	opts = opts_new("-global");
	text = xstrdup(value);
	text[dot - value] = text[equals - value] = '\0';
	opts_set(opts, "driver", text);
	opts_set(opts, "property", text + (dot - value) + 1);
	opts_set(opts, "value", text + (equals - value) + 1);
	free(text);
	list_add_tail(&cmdline->config->globals, &opts->node);
	return 0;
}

/* --- Inherited descriptors --- */

struct fd_keys {
	uint64_t set;
	uint32_t fd;
	char *opaque;
};

static const struct property fd_keys[] = {
	{ .name = "set", .help = "the set, which opens as /dev/fdset/SET", .type = PROPERTY_UINT64, .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct fd_keys, set), .max = INT64_MAX },
	{ .name = "fd", .help = "the descriptor, which this process inherited", .type = PROPERTY_UINT32, .flags = PROPERTY_REQUIRED,
	  .offset = offsetof(struct fd_keys, fd), .max = INT32_MAX },
	PROP_STRING("opaque", struct fd_keys, opaque, 0, 255, NULL, "a note that query-fdsets shows"),
	PROP_END,
};

/* Of this process, as -pidfile's lock is, and not of the VM: it is not part of the description. */
HANDLER(add_fd)
{
	struct fd_keys keys = { 0 };
	int64_t set;
	int fd, ret;

	ret = apply_keys(cmdline, option, value, &keys, errp);
	if (ret)
		return ret;
	set = (int64_t)keys.set;
	/* The number may be in use elsewhere on the command line; QEMU takes a copy, too. */
	fd = keys.fd > 2 ? fcntl((int)keys.fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (fd < 0)
		ret = error_set(errp, -EBADF, "-add-fd %s: descriptor %u %s", value, keys.fd,
				keys.fd > 2 ? "is not open" : "is standard input or output");
	else
		ret = fd_set_add(&set, fd, keys.opaque, errp);
	if (ret && fd >= 0)
		close(fd);
	if (!ret)
		(void)fcntl((int)keys.fd, F_SETFD, FD_CLOEXEC);
	property_release(option->keys, &keys);
	return ret;
}

/* --- Options that StratoVirt has no more --- */

static int add_old(struct cmdline *cmdline, const struct cmdline_option *option, const char *value,
		   int (*add)(struct vm_config *config, const struct opts *opts,
			      struct error **errp),
		   struct error **errp)
{
	char origin[32];
	struct opts *opts;
	int ret;

	if (value) {
		ret = parse_opts(cmdline, option, value, &opts, errp);
		if (ret)
			return ret;
	} else {
		snprintf(origin, sizeof(origin), "-%s", option->name);
		opts = opts_new(origin);
	}
	ret = add(cmdline->config, opts, errp);
	opts_free(opts);
	return ret;
}

HANDLER(add_iothread)
{
	return add_old(cmdline, option, value, old_dialect_add_iothread, errp);
}

HANDLER(add_balloon)
{
	return add_old(cmdline, option, value, old_dialect_add_balloon, errp);
}

HANDLER(add_rng)
{
	return add_old(cmdline, option, value, old_dialect_add_rng, errp);
}

/* --- The description as a file --- */

HANDLER(set_config_file)
{
	(void)option;
	(void)errp;
	cmdline->config_file = value;
	return 0;
}

HANDLER(ask_dump)
{
	(void)option;
	(void)value;
	(void)errp;
	cmdline->dump = true;
	return 0;
}

/* --- Running --- */

struct action_keys {
	int reboot, shutdown, panic;
};

static const char *const reboot_words[] = { "reset", "shutdown", NULL };
static const char *const shutdown_words[] = { "poweroff", "pause", NULL };

static const struct property action_keys[] = {
	PROP_ENUM("reboot", struct action_keys, reboot, reboot_words, 0,
		  "when the guest reboots; shutdown is -no-reboot"),
	PROP_ENUM("shutdown", struct action_keys, shutdown, shutdown_words, 0,
		  "when the guest powers off; pause is -no-shutdown"),
	PROP_ENUM("panic", struct action_keys, panic, vm_panic_words, 0,
		  "when the guest's kernel panics (-device pvpanic)"),
	PROP_IGNORED("watchdog", "accepted, without effect: there is no watchdog"),
	PROP_END,
};

/* Several add up; what one does not name stays as it was. */
HANDLER(set_action)
{
	struct vm_config *config = cmdline->config;
	struct action_keys keys = { 0 };
	struct opts *opts;
	int ret;

	ret = parse_opts(cmdline, option, value, &opts, errp);
	if (ret)
		return ret;
	ret = property_apply(action_keys, &keys, opts, NULL, NULL, errp);
	if (!ret && opts_get(opts, "reboot"))
		config->no_reboot = keys.reboot;
	if (!ret && opts_get(opts, "shutdown"))
		config->no_shutdown = keys.shutdown;
	if (!ret && opts_get(opts, "panic")) {
		free(config->panic_action);
		config->panic_action = xstrdup(vm_panic_words[keys.panic]);
	}
	opts_free(opts);
	return ret;
}

static const char *const rtc_clock_words[] = { "host", NULL };

struct rtc_keys {
	char *base;
	int clock;
};

static const struct property rtc_keys[] = {
	PROP_STRING("base", struct rtc_keys, base, 1, 32, NULL,
		    "what the guest's real-time clocks show at start: utc, localtime, or a date such as 2030-12-31T23:59:59"),
	PROP_ENUM("clock", struct rtc_keys, clock, rtc_clock_words, 0, "what they follow"),
	PROP_IGNORED("driftfix", "accepted, without effect: ticks that a guest misses are not made up for"),
	PROP_END,
};

HANDLER(set_rtc)
{
	struct rtc_keys keys = { 0 };
	int ret = apply_keys(cmdline, option, value, &keys, errp);

	if (!ret && keys.base) {
		free(cmdline->config->rtc_base);
		cmdline->config->rtc_base = keys.base;
		keys.base = NULL;
	}
	property_release(rtc_keys, &keys);
	return ret;
}

struct boot_keys {
	char *order, *once;
	bool menu;
};

static const struct property boot_keys[] = {
	PROP_STRING("order", struct boot_keys, order, 1, 16, NULL, "c: from disks; devices have bootindex= for more"),
	PROP_STRING("once", struct boot_keys, once, 1, 16, NULL, "the same"),
	PROP_BOOL("menu", struct boot_keys, menu, false, "on is refused: only the firmware's own is there"),
	PROP_IGNORED("strict", "accepted, without effect: firmware goes on behind the last bootindex="),
	PROP_END,
};

static int check_order(const char *key, const char *order, struct error **errp)
{
	if (!order || !strcmp(order, "c"))
		return 0;
	return error_set(errp, -ENOTSUP, "-boot %s=%s: what firmware boots from is said by bootindex=N of a -device; %s=c is accepted", key,
			 order, key);
}

/* What a kernel or firmware boots from is elsewhere; so that nobody takes these for it. */
HANDLER(check_boot)
{
	struct boot_keys keys = { 0 };
	int ret = apply_keys(cmdline, option, value, &keys, errp);

	if (!ret)
		ret = check_order("order", keys.order, errp);
	if (!ret)
		ret = check_order("once", keys.once, errp);
	if (!ret && keys.menu)
		ret = error_set(errp, -ENOTSUP, "-boot menu=on: there is no menu but the firmware's own (OVMF: Esc); menu=off is right");
	property_release(boot_keys, &keys);
	return ret;
}

/* --- Process --- */

static const struct property overcommit_keys[] = {
	PROP_BOOL("mem-lock", struct vm_config, mem_lock, false, "no memory of the process is swapped out"),
	PROP_IGNORED("cpu-pm", "accepted, without effect"),
	PROP_END,
};

HANDLER(set_overcommit)
{
	return apply_keys(cmdline, option, value, cmdline->config, errp);
}

static const struct property realtime_keys[] = {
	PROP_BOOL("mlock", struct vm_config, mem_lock, false, "as -overcommit mem-lock="),
	PROP_END,
};

HANDLER(set_log)
{
	(void)option;
	(void)errp;
	cmdline->config->log_to_file = true;
	if (value && *value)
		cmdline->config->log_path = xstrdup(value);
	return 0;
}

/* --- The tables --- */

#define AT(field) .offset = offsetof(struct vm_config, field)
#define HEADING(text)                                                                              \
	{                                                                                          \
		.help = text                                                                       \
	}

const struct cmdline_option cmdline_options[] = {
	HEADING("Description"),
	{ "config", NULL, VALUE_REQUIRED, 0, set_config_file, .usage = "FILE",
	  .help = "describe the VM by this JSON file, in the form of -dump-config or in that of "
		  "StratoVirt's older releases; the other options add to it and win over it" },
	{ "dump-config", NULL, VALUE_NONE, 0, ask_dump, .usage = "",
	  .help = "print the description that the other options make as JSON and exit" },

	HEADING("Machine"),
	{ "machine", "M", VALUE_REQUIRED, CMDLINE_REPEAT, merge_machine, .implied = "type",
	  .ask = CMDLINE_MACHINE_HELP, .usage = "[type=]NAME[,KEY=VALUE...]",
	  .help = "type of the machine, default microvm, and its properties; several -machine add "
		  "up. "
		  "\"-machine help\" lists the machines, \"-machine NAME,help\" their properties" },
	{ "accel", NULL, VALUE_REQUIRED, CMDLINE_HELP_WORD, set_accel, .implied = "accel", .usage = "[accel=]NAME",
	  .help = "what runs the guest; -machine accel=NAME does the same", .keys = accel_keys },
	{ "no-acpi", NULL, VALUE_NONE, 0, no_acpi, .usage = "",
	  .help = "the same as -machine acpi=off" },
	{ "enable-kvm", NULL, VALUE_NONE, 0, enable_kvm, .usage = "",
	  .help = "the same as -accel kvm" },
	{ "cpu", NULL, VALUE_REQUIRED, CMDLINE_HELP_WORD, set_cpu, .implied = "model", .usage = "[model=]host|max[,KEY=VALUE...]",
	  .help = "the CPU the guest sees: all of the host's, which is the default", .keys = vm_cpu_keys },
	{ "smp", NULL, VALUE_REQUIRED, CMDLINE_HELP_WORD, set_smp, .implied = "cpus",
	  .usage = "[cpus=]N[,KEY=VALUE...]",
	  .help = "CPUs of the guest, default 1, and their topology. What is left out is worked "
		  "out so that "
		  "sockets * dies * clusters * cores * threads = maxcpus",
	  .keys = cpu_topology_properties },
	{ "name", NULL, VALUE_REQUIRED, 0, set_name, .implied = "guest", .usage = "[guest=]NAME",
	  .help = "name of the VM", .keys = name_keys },
	{ "uuid", NULL, VALUE_REQUIRED, 0, set_uuid, .usage = "UUID",
	  .help = "identity of the VM" },

	HEADING("Memory"),
	{ "m", NULL, VALUE_REQUIRED, CMDLINE_HELP_WORD, set_memory, .implied = "size", .usage = "[size=]SIZE",
	  .help = "size of guest memory. A number from 134217728 on counts bytes",
	  .keys = memory_keys },
	{ "numa", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, add_numa, AT(numas), .implied = "type",
	  .usage = "node|cpu|dist,KEY=VALUE...",
	  .help = "NUMA nodes: node[,nodeid=N][,cpus=0-3:8][,memdev=ID|mem=SIZE] makes one, "
		  "cpu,node-id=N[,socket-id=N][,die-id=N][,core-id=N][,thread-id=N] puts the CPUs of that "
		  "place into it, dist,src=N,dst=N,val=N says how far two are apart, 10 to 255" },
	{ "mem-path", NULL, VALUE_REQUIRED, 0, set_text, AT(mem_path), .usage = "PATH",
	  .help = "back guest memory by this file, or by a file in this directory (hugetlbfs: huge "
		  "pages)" },
	{ "mem-prealloc", NULL, VALUE_NONE, 0, set_flag, AT(mem_prealloc), .usage = "",
	  .help = "touch all of guest memory before the guest starts" },

	HEADING("Boot"),
	{ "kernel", NULL, VALUE_REQUIRED, 0, set_text, AT(kernel), .usage = "FILE",
	  .help = "kernel to boot: bzImage, ELF vmlinux or raw vmlinux.bin; aarch64: Image, as it is or packed" },
	{ "initrd", NULL, VALUE_REQUIRED, 0, set_text, AT(initrd), .usage = "FILE",
	  .help = "initial RAM disk" },
	{ "append", NULL, VALUE_WORDS, CMDLINE_REPEAT, add_append, AT(append), .usage = "WORD...",
	  .help = "kernel command line: the words up to the next option, joined by blanks" },
	{ "dtb", NULL, VALUE_REQUIRED, 0, set_text, AT(dtb), .usage = "FILE",
	  .help = "aarch64: device tree for the guest, instead of the machine's own" },
	{ "bios", NULL, VALUE_REQUIRED, 0, set_text, AT(bios), .usage = "FILE",
	  .help = "firmware in read-only memory that ends at 4 GiB, instead of a kernel; firmware "
		  "with variables is two -drive if=pflash" },
	{ "fw_cfg", NULL, VALUE_REQUIRED, CMDLINE_REPEAT, add_opts, AT(fw_cfgs),
	  .implied = "name", .usage = "[name=]opt/NAME,string=TEXT|file=FILE",
	  .help = "a file for the guest's firmware, and for its /sys/firmware/qemu_fw_cfg" },
	{ "smbios", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, add_smbios, AT(smbios),
	  .usage = "type=N[,KEY=VALUE...]",
	  .help = "strings of the guest's SMBIOS tables: type 0 firmware, 1 system, 2 board, 3 "
		  "chassis, 4 processors, 11 strings of your own, 17 memory" },

	HEADING("Devices and back ends"),
	{ "drive", NULL, VALUE_REQUIRED, CMDLINE_REPEAT, add_opts, AT(drives),
	  .ask = CMDLINE_DRIVE_HELP, .usage = "id=ID,file=FILE[,KEY=VALUE...]",
	  .help = "image or block device for a disk; \"-drive help\" lists the keys" },
	{ "blockdev", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_JSON, add_opts, AT(blockdevs),
	  .implied = "driver", .ask = CMDLINE_BLOCKDEV_HELP, .usage = "DRIVER,node-name=NAME[,KEY=VALUE...]",
	  .help = "block node, as QMP's blockdev-add makes it, also as JSON; \"-blockdev help\" lists the keys" },
	{ "netdev", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_JSON, add_opts, AT(netdevs),
	  .implied = "type", .ask = CMDLINE_NETDEV_HELP, .usage = "TYPE,id=ID[,KEY=VALUE...]",
	  .help = "host side of a network card, also as JSON; \"-netdev help\" lists the types" },
	{ "chardev", NULL, VALUE_REQUIRED, CMDLINE_REPEAT, add_opts, AT(chardevs),
	  .implied = "backend", .ask = CMDLINE_CHARDEV_HELP,
	  .usage = "BACKEND,id=ID[,KEY=VALUE...]",
	  .help = "character back end; \"-chardev help\" lists them" },
	{ "object", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_JSON, add_object, AT(objects),
	  .implied = "qom-type", .ask = CMDLINE_OBJECT_HELP, .usage = "TYPE,id=ID[,KEY=VALUE...]",
	  .help = "iothread (at most 8), memory or random back end, also as JSON; \"-object help\" "
		  "lists the types" },
	{ "device", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_JSON, add_opts, AT(devices),
	  .implied = "driver", .ask = CMDLINE_DEVICE_HELP, .usage = "DRIVER[,KEY=VALUE...]",
	  .help = "device, also as JSON; \"-device help\" lists the drivers, \"-device "
		  "DRIVER,help\" their "
		  "properties" },
	{ "global", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, add_global, AT(globals),
	  .usage = "DRIVER.PROPERTY=VALUE",
	  .help = "what a property of every -device DRIVER is that does not set it" },
	{ "add-fd", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, add_fd,
	  .usage = "set=SET,fd=FD[,opaque=TEXT]",
	  .help = "put an inherited descriptor into a set, which opens as /dev/fdset/SET",
	  .keys = fd_keys },
	{ "serial", NULL, VALUE_REQUIRED, CMDLINE_REPEAT, add_serial, AT(serials),
	  .ask = CMDLINE_CHARDEV_HELP, .usage = "BACKEND",
	  .help = "serial port: stdio, pty, null, none, file:PATH, unix:PATH[,server][,nowait], "
		  "tcp:HOST:PORT[,server][,nowait], chardev:ID, or what -chardev takes without "
		  "id" },

	HEADING("Monitors"),
	{ "qmp", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, add_qmp, AT(monitors),
	  .usage = "unix:PATH,server[,nowait]",
	  .help = "QMP for any number of clients, also tcp:HOST:PORT,server; without nowait the VM "
		  "waits for the first client" },
	{ "mon", NULL, VALUE_REQUIRED, CMDLINE_REPEAT, add_opts, AT(monitors),
	  .implied = "chardev", .usage = "[chardev=]ID,mode=control",
	  .help = "QMP for one client at a time over this -chardev" },
	{ "monitor", NULL, VALUE_REQUIRED, CMDLINE_REPEAT, no_human_monitor, .usage = "none",
	  .help = "accepted for QEMU's sake: there is no monitor for people" },

	HEADING("StratoVirt's older command lines"),
	{ "api-channel", NULL, VALUE_REQUIRED, CMDLINE_REPEAT, add_api_channel, AT(monitors),
	  .usage = "unix:PATH",
	  .help = "QMP for clients that do not negotiate: -qmp with server,nowait,strict=off" },
	{ "iothread", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, add_iothread, .usage = "id=ID",
	  .help = "the same as -object iothread,id=ID" },
	{ "balloon", NULL, VALUE_OPTIONAL, 0, add_balloon, .usage = "[deflate-on-oom=BOOL]",
	  .help = "a virtio-balloon-device", .keys = old_balloon_keys },
	{ "rng", NULL, VALUE_REQUIRED, CMDLINE_HELP_WORD, add_rng, .usage = "random_file=FILE[,KEY=VALUE]",
	  .help = "an rng-random object and a virtio-rng-device", .keys = old_rng_keys },

	HEADING("Running"),
	{ "S", "freeze", VALUE_NONE, 0, set_flag, AT(start_paused), .usage = "",
	  .help = "do not start the CPUs" },
	{ "no-reboot", NULL, VALUE_NONE, 0, set_flag, AT(no_reboot), .usage = "",
	  .help = "end when the guest reboots" },
	{ "no-shutdown", NULL, VALUE_NONE, 0, set_flag, AT(no_shutdown), .usage = "",
	  .help = "stay, with the CPUs stopped, when the guest powers off" },
	{ "action", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, set_action, .usage = "EVENT=ACTION[,...]",
	  .help = "what to do when the guest reboots, powers off or panics", .keys = action_keys },
	{ "overcommit", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, set_overcommit, .usage = "mem-lock=on|off",
	  .help = "keep all memory out of swap; RLIMIT_MEMLOCK must allow it", .keys = overcommit_keys },
	{ "boot", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, check_boot, .implied = "order", .usage = "[order=]c",
	  .help = "accepted for QEMU's sake: bootindex=N of a -device says what firmware boots from", .keys = boot_keys },
	{ "rtc", NULL, VALUE_REQUIRED, CMDLINE_REPEAT | CMDLINE_HELP_WORD, set_rtc, .usage = "base=utc|localtime|DATE",
	  .help = "what the guest's real-time clocks show at start; they follow the host's", .keys = rtc_keys },
	{ "daemonize", NULL, VALUE_NONE, 0, set_flag, AT(daemonize), .usage = "",
	  .help = "go into the background once the VM is up" },
	{ "pidfile", NULL, VALUE_REQUIRED, 0, set_text, AT(pidfile), .usage = "FILE",
	  .help = "write the process id to this file, and lock it; one that was left behind is taken over" },
	{ "D", NULL, VALUE_OPTIONAL, 0, set_log, .usage = "[FILE]",
	  .help = "append the log to this file, default stderr. STRATOVIRT_LOG_LEVEL in the "
		  "environment is "
		  "error, warn, info, debug or trace" },
	{ "disable-seccomp", NULL, VALUE_NONE, 0, set_flag, AT(disable_seccomp), .usage = "",
	  .help = "do not limit the system calls of this process; as -sandbox off" },
	{ "sandbox", NULL, VALUE_REQUIRED, CMDLINE_HELP_WORD, set_sandbox, .implied = "mode",
	  .usage = "on|log|off[,KEY=VALUE...]",
	  .help = "what a forbidden system call leads to: the end with a message (default), a line in the "
		  "kernel's log; dumpable=on lets debuggers of the same user in" },
	{ "runas", NULL, VALUE_REQUIRED, 0, set_text, AT(runas), .usage = "USER|UID:GID",
	  .help = "become this user before the guest runs" },
	{ "chroot", NULL, VALUE_REQUIRED, 0, set_text, AT(chroot), .usage = "DIR",
	  .help = "make this the root directory before the guest runs" },

	HEADING("Tests of devices, with -accel test"),
	{ "qtest", NULL, VALUE_REQUIRED, 0, set_qtest, .usage = "unix:PATH[,server]",
	  .help = "a client plays the guest, in QEMU's test protocol; without server it listens "
		  "and we connect" },
	{ "mod-test", NULL, VALUE_REQUIRED, 0, set_text, AT(mod_test), .usage = "PATH",
	  .help = "the same in StratoVirt's form: connect to this unix socket" },

	HEADING("Information"),
	{ "h", "help", VALUE_NONE, 0, ask, .ask = CMDLINE_HELP, .usage = "",
	  .help = "print this and exit" },
	{ "V", "version", VALUE_NONE, 0, ask, .ask = CMDLINE_VERSION, .usage = "",
	  .help = "print the version and exit" },
	{ "dump-docs", NULL, VALUE_REQUIRED, 0, ask, .ask = CMDLINE_DUMP_DOCS, .usage = "qmp",
	  .help = "print the reference of QMP in Markdown and exit" },
	{ .name = NULL },
};

#define IGNORED(word, values)                                                                      \
	{                                                                                          \
		.name = word, .value = values, .flags = CMDLINE_REPEAT, .handler = ignore          \
	}

#define ONLY_NONE(word, why)                                                                       \
	{                                                                                          \
		.name = word, .value = VALUE_REQUIRED, .flags = CMDLINE_REPEAT, .handler = only_none, \
		.usage = "none", .help = why                                                       \
	}

const struct cmdline_option cmdline_ignored[] = {
	IGNORED("audiodev", VALUE_OPTIONAL),
	ONLY_NONE("display", "there is no display"),
	IGNORED("msg", VALUE_OPTIONAL),
	IGNORED("no-hpet", VALUE_NONE),
	IGNORED("no-user-config", VALUE_NONE),
	IGNORED("nodefaults", VALUE_NONE),
	IGNORED("nographic", VALUE_NONE),
	ONLY_NONE("parallel", "there is no parallel port"),
	IGNORED("qtest-log", VALUE_OPTIONAL),
	{ .name = "realtime", .value = VALUE_REQUIRED, .flags = CMDLINE_REPEAT, .handler = set_overcommit, .keys = realtime_keys },
	IGNORED("usb", VALUE_NONE),
	ONLY_NONE("vga", "there is no display"),
	{ .name = NULL },
};
