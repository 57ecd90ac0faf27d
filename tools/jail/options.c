// SPDX-License-Identifier: Apache-2.0
/* The command line: a table of options, each with the field that it fills. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jail.h"
#include "util/macros.h"
#include "util/parse.h"
#include "util/version.h"

enum kind { FLAG, TEXT, NUMBER, LIST, DESCRIPTOR, WORDS };

struct option {
	const char *name, *value, *help;
	enum kind kind;
	size_t offset, extra; /* of the field; of its "given" flag or its count */
};

#define AT(field) offsetof(struct jail, field)

static const struct option options[] = {
	{ "name", "NAME", "of this VM: 1-255 letters, digits, '_', '.', '-'", TEXT, AT(name), 0 },
	{ "exec-file", "FILE", "the VMM, a static program (make STATIC=1)", TEXT, AT(exec_file), 0 },
	{ "uid", "N", "the VMM's user; needed when root starts it", NUMBER, AT(uid), AT(has_uid) },
	{ "gid", "N", "its group", NUMBER, AT(gid), AT(has_gid) },
	{ "base", "DIR", "of all jails [/srv/ozone, or $XDG_RUNTIME_DIR/stratovirt-jail]", TEXT, AT(base), 0 },
	{ "source", "FILE", "show this file or directory in the jail, by its last name; read-only with a leading 'ro:'", LIST,
	  AT(sources), AT(source_count) },
	{ "device", "FILE", "a device to have besides kvm, net/tun, vhost-net, vhost-vsock, null and urandom, relative to /dev", LIST,
	  AT(devices), AT(device_count) },
	{ "netns", "FILE|new", "enter this network namespace, or a new one", TEXT, AT(netns), 0 },
	{ "new-pid", NULL, "make the VMM the first process of a new PID namespace", FLAG, AT(new_pid), 0 },
	{ "cgroup", "FILE=VALUE", "a limit of cgroup v2: cpu.max, cpuset.cpus, memory.max, io.max, pids.max ...", LIST, AT(cgroups),
	  AT(cgroup_count) },
	{ "rlimit", "NAME=SOFT[:HARD]", "a resource limit: nofile, memlock, fsize, nproc, core, as, ...", LIST, AT(rlimits),
	  AT(rlimit_count) },
	{ "fd", "N", "pass this open descriptor on; all others above 2 are closed", DESCRIPTOR, 0, 0 },
	{ "capability", "NAME[,NAME...]", "keep these; without it none is kept", WORDS, AT(capabilities), AT(capability_count) },
	{ "clean-resource", NULL, "remove what an earlier run with this -name and -exec-file left", FLAG, AT(clean), 0 },
	{ "verbose", NULL, "say each step", FLAG, AT(verbose), 0 },
};

static void help(void)
{
	printf("%s launcher\nusage: stratovirt-jail -name NAME -exec-file FILE [OPTION...] [-- VMM OPTIONS]\n\n", version_text());
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		char left[48];

		snprintf(left, sizeof(left), "-%s %s", options[i].name, options[i].value ? options[i].value : "");
		printf("  %-28s %s\n", left, options[i].help);
	}
}

static const struct option *find(const char *word)
{
	if (*word++ != '-')
		return NULL;
	word += *word == '-';
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		/* Old documents of StratoVirt write -exec_file. */
		if (!strcmp(word, options[i].name) || (!strcmp(word, "exec_file") && !strcmp(options[i].name, "exec-file")))
			return &options[i];
	}
	return NULL;
}

static int append(struct jail *jail, const struct option *option, const char *value, struct error **errp)
{
	const char **list = (const char **)((char *)jail + option->offset);
	unsigned int *count = (unsigned int *)((char *)jail + option->extra);

	if (*count == JAIL_LIST_MAX)
		return error_set(errp, -E2BIG, "-%s %s: at most %d are possible", option->name, value, JAIL_LIST_MAX);
	list[(*count)++] = value;
	return 0;
}

static int keep_descriptor(struct jail *jail, const char *value, struct error **errp)
{
	uint64_t fd;

	if (parse_u64(value, &fd) || fd < 3 || fd > INT32_MAX || fcntl((int)fd, F_GETFD) < 0)
		return error_set(errp, -EBADF, "-fd %s: an open descriptor from 3 on is needed", value);
	if (jail->keep_fd_count == JAIL_LIST_MAX)
		return error_set(errp, -E2BIG, "-fd %s: at most %d are possible", value, JAIL_LIST_MAX);
	jail->keep_fds[jail->keep_fd_count++] = (int)fd;
	return 0;
}

static int store(struct jail *jail, const struct option *option, char *value, struct error **errp)
{
	char *field = (char *)jail + option->offset, *rest;
	uint64_t number;

	switch (option->kind) {
	case FLAG:
		*(bool *)field = true;
		return 0;
	case TEXT:
		if (*(const char **)field)
			return error_set(errp, -EINVAL, "-%s is given twice", option->name);
		*(const char **)field = value;
		return 0;
	case NUMBER:
		/* uid_t and gid_t are both 32 bits wide; all ones is no id. */
		if (parse_u64(value, &number) || number >= UINT32_MAX)
			return error_set(errp, -ERANGE, "-%s %s is out of range [0, %u]", option->name, value, UINT32_MAX - 1);
		*(uint32_t *)field = (uint32_t)number;
		*((bool *)((char *)jail + option->extra)) = true;
		return 0;
	case LIST:
		return append(jail, option, value, errp);
	case DESCRIPTOR:
		return keep_descriptor(jail, value, errp);
	case WORDS:
		for (char *word = strtok_r(value, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
			int ret = append(jail, option, word, errp);

			if (ret)
				return ret;
		}
		return 0;
	}
	return 0;
}

/* A name becomes part of paths: nothing in it may lead elsewhere. */
static int check_name(const char *name, struct error **errp)
{
	static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t len = strlen(name);

	if (!len || len > 255 || strspn(name, legal) != len || name[0] == '.')
		return error_set(errp, -EINVAL,
				 "-name %s: 1 to 255 letters, digits, '_', '.' or '-' are needed, not beginning with '.'", name);
	return 0;
}

static int check(struct jail *jail, struct error **errp)
{
	static char own_base[4096];
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *slash;
	int ret;

	if (!jail->name || !jail->exec_file)
		return error_set(errp, -EINVAL, "-%s is missing; -help shows all options", jail->name ? "exec-file" : "name");
	ret = check_name(jail->name, errp);
	if (ret)
		return ret;
	slash = strrchr(jail->exec_file, '/');
	jail->exec_name = slash ? slash + 1 : jail->exec_file;
	if (!*jail->exec_name || jail->exec_name[0] == '.')
		return error_set(errp, -EINVAL, "-exec-file %s: this names no file", jail->exec_file);
	jail->own_userns = geteuid() != 0;
	if (!jail->own_userns && !jail->clean && (!jail->has_uid || !jail->has_gid))
		return error_set(errp, -EINVAL, "-%s is missing: root must say whose the VMM shall be",
				 jail->has_uid ? "gid" : "uid");
	if (jail->own_userns && ((jail->has_uid && jail->uid != geteuid()) || (jail->has_gid && jail->gid != getegid())))
		return error_set(errp, -EPERM, "-uid and -gid: only root can make the VMM somebody else's");
	if (jail->own_userns) {
		jail->uid = geteuid();
		jail->gid = getegid();
	}
	if (jail->base)
		return 0;
	if (!jail->own_userns) {
		jail->base = "/srv/ozone";
		return 0;
	}
	if (!runtime || *runtime != '/')
		return error_set(errp, -EINVAL, "-base is missing, and $XDG_RUNTIME_DIR is not set");
	snprintf(own_base, sizeof(own_base), "%s/stratovirt-jail", runtime);
	jail->base = own_base;
	return 0;
}

int options_parse(struct jail *jail, int argc, char **argv, struct error **errp)
{
	static char *const none[] = { NULL };

	jail->vmm_args = none;
	for (int i = 1; i < argc; i++) {
		const struct option *option = find(argv[i]);
		char *value = NULL;
		int ret;

		if (!strcmp(argv[i], "--")) {
			jail->vmm_args = argv + i + 1;
			break;
		}
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "-help") || !strcmp(argv[i], "--help")) {
			help();
			return -ECANCELED;
		}
		if (!strcmp(argv[i], "-V") || !strcmp(argv[i], "-version") || !strcmp(argv[i], "--version")) {
			puts(version_text());
			return -ECANCELED;
		}
		if (!option)
			return error_set(errp, -EINVAL, "%s: unknown option; -help lists them, the VMM's own come after --", argv[i]);
		if (option->kind != FLAG) {
			value = argv[++i];
			if (!value || !*value)
				return error_set(errp, -EINVAL, "-%s: %s is missing", option->name, option->value);
		}
		ret = store(jail, option, value, errp);
		if (ret)
			return ret;
	}
	return check(jail, errp);
}
