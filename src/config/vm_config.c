// SPDX-License-Identifier: Apache-2.0
#include "config/rtc_base.h"
#include "config/vm_config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmdline_private.h"
#include "util/alloc.h"
#include "util/parse.h"

const char *const vm_accel_words[] = { "kvm", "kvm:tcg", "test", "qtest", NULL };

const char *const vm_panic_words[] = { "shutdown", "pause", "exit-failure", "none", NULL };

void vm_config_init(struct vm_config *config)
{
	memset(config, 0, sizeof(*config));
	config->machine = opts_new("-machine");
	list_init(&config->fw_cfgs);
	list_init(&config->smbios);
	list_init(&config->drives);
	list_init(&config->blockdevs);
	list_init(&config->globals);
	list_init(&config->numas);
	list_init(&config->devices);
	list_init(&config->netdevs);
	list_init(&config->chardevs);
	list_init(&config->objects);
	list_init(&config->serials);
	list_init(&config->monitors);
}

static void release_list(struct list *head)
{
	struct opts *opts, *next;

	list_for_each_safe(opts, next, head, node)
		opts_free(opts);
}

void vm_config_release(struct vm_config *config)
{
	opts_free(config->machine);
	opts_free(config->cpu);
	release_list(&config->fw_cfgs);
	release_list(&config->smbios);
	opts_free(config->sandbox);
	free(config->runas);
	free(config->chroot);
	release_list(&config->drives);
	release_list(&config->blockdevs);
	release_list(&config->globals);
	release_list(&config->numas);
	release_list(&config->devices);
	release_list(&config->netdevs);
	release_list(&config->chardevs);
	release_list(&config->objects);
	release_list(&config->serials);
	release_list(&config->monitors);
	opts_free(config->qtest);
	free(config->mod_test);
	free(config->accel);
	free(config->mem_path);
	free(config->kernel);
	free(config->initrd);
	free(config->append);
	free(config->bios);
	free(config->dtb);
	free(config->name);
	free(config->log_path);
	free(config->panic_action);
	free(config->rtc_base);
	free(config->pidfile);
	memset(config, 0, sizeof(*config));
}

static int check_path(const char *what, const char *path, struct error **errp)
{
	size_t len;

	if (!path)
		return 0;
	len = strlen(path);
	if (!len)
		return error_set(errp, -EINVAL, "%s: the path is empty", what);
	if (len > VM_PATH_MAX)
		return error_set(errp, -ENAMETOOLONG,
				 "%s: the path has %zu bytes, at most %d are possible", what, len,
				 VM_PATH_MAX);
	return 0;
}

static int check_ids(const struct list *head, struct error **errp)
{
	struct opts *opts;

	list_for_each(opts, head, node) {
		const char *id = opts_get(opts, "id");
		size_t len = id ? strlen(id) : 1;
		char *name;
		int ret;

		if (len >= 1 && len <= VM_ID_MAX) {
			ret = id ? id_check(id, errp) : 0;
			if (!ret)
				continue;
		} else {
			ret = error_set(errp, -EINVAL, "the id has %zu bytes, [1, %d] are possible", len, VM_ID_MAX);
		}
		opts_del(opts, "id"); /* the message is readable without 256 bytes and more of it */
		name = opts_describe(opts);
		error_prefix(errp, "%s: ", name);
		free(name);
		return ret;
	}
	return 0;
}

static unsigned int count_with(const struct list *head, const char *key, const char *value)
{
	unsigned int count = 0;
	struct opts *opts;

	list_for_each(opts, head, node) {
		const char *found = opts_get(opts, key);

		count += found && strcmp(found, value) == 0;
	}
	return count;
}

/* The process has one standard input, and none once it is in the background. */
static int check_stdio(const struct vm_config *config, struct error **errp)
{
	unsigned int users = count_with(&config->chardevs, "backend", "stdio") +
			     count_with(&config->serials, "backend", "stdio");

	if (users > 1)
		return error_set(errp, -EINVAL,
				 "%u -chardev and -serial want stdio, which can have one user",
				 users);
	if (users && config->daemonize)
		return error_set(
			errp, -EINVAL,
			"-daemonize leaves no terminal: no -chardev or -serial can be stdio");
	return 0;
}

#ifdef __aarch64__
static const char *const cpu_feature_words[] = { "auto", "on", "off", NULL };
#endif

/* Flags of the CPU model. */
const struct property vm_cpu_keys[] = {
#ifdef __aarch64__
	PROP_ENUM("pmu", struct vm_config, cpu_pmu, cpu_feature_words, CPU_FEATURE_AUTO,
		  "performance counters; auto: if the host has them"),
	PROP_ENUM("sve", struct vm_config, cpu_sve, cpu_feature_words, CPU_FEATURE_AUTO,
		  "scalable vectors; auto: if the host has them"),
	PROP_ENUM("kvm-steal-time", struct vm_config, cpu_steal_time, cpu_feature_words, CPU_FEATURE_AUTO,
		  "the guest can read how long its CPUs had to wait for the host's; auto: if the host's KVM counts it"),
#endif
	PROP_END,
};

static int check_cpu(struct vm_config *config, struct error **errp)
{
	static const char *const skip[] = { "model", NULL };
	const char *model;

	if (!config->cpu)
		return 0;
	model = opts_get(config->cpu, "model");
	if (!model || strcmp(model, "max") == 0) { /* all that the host has, in QEMU's words */
		opts_set(config->cpu, "model", "host");
		model = opts_get(config->cpu, "model");
	}
	if (strcmp(model, "host"))
		return error_set(errp, -EINVAL, "-cpu %s: model=%s is not one of host, max", model,
				 model);
	return property_apply(vm_cpu_keys, config, config->cpu, skip, NULL, errp);
}

/* What a VM has at most once, by the first part of its drivers' names. */
static int check_singles(const struct vm_config *config, struct error **errp)
{
	static const char *const stems[] = { "virtio-balloon-", "vhost-vsock-", "virtio-serial-" };

	for (size_t i = 0; i < ARRAY_SIZE(stems); i++) {
		unsigned int count = 0;
		struct opts *opts;
		char *name;
		int ret;

		list_for_each(opts, &config->devices, node) {
			const char *driver = opts_get(opts, "driver");

			if (!driver || strncmp(driver, stems[i], strlen(stems[i])) || !count++)
				continue;
			name = opts_describe(opts);
			ret = error_set(errp, -EINVAL, "%s: a VM can have one such device", name);
			free(name);
			return ret;
		}
	}
	return 0;
}

static int check_name(const struct vm_config *config, struct error **errp)
{
	size_t len = config->name ? strlen(config->name) : 1;

	if (len >= 1 && len <= VM_ID_MAX)
		return 0;
	return error_set(errp, -EINVAL, "the name of the VM has %zu bytes, [1, %d] are possible",
			 len, VM_ID_MAX);
}

static int finish_accel(struct vm_config *config, struct error **errp)
{
	if (!config->accel)
		config->accel = xstrdup("kvm");
	if (!strcmp(config->accel, "qtest")) { /* QEMU's word for it */
		free(config->accel);
		config->accel = xstrdup("test");
	}
	if ((config->mod_test || config->qtest) && strcmp(config->accel, "test"))
		return error_set(errp, -EINVAL,
				 "-%s: only -accel test is driven from outside, not accel=%s",
				 config->qtest ? "qtest" : "mod-test", config->accel);
	for (size_t i = 0; vm_accel_words[i]; i++) {
		if (strcmp(vm_accel_words[i], config->accel) == 0)
			return 0;
	}
	return error_set(errp, -EINVAL, "accel=%s is not one of kvm, kvm:tcg, test", config->accel);
}

static int finish_memory(struct vm_config *config, struct error **errp)
{
	char size[24], low[24], high[24];

	if (!config->memory_size)
		config->memory_size = VM_MEMORY_DEFAULT;
	format_size(config->memory_size, size);
	if (config->memory_size < VM_MEMORY_MIN || config->memory_size > VM_MEMORY_MAX)
		return error_set(errp, -ERANGE, "memory size %s is out of range [%s, %s]", size,
				 format_size(VM_MEMORY_MIN, low), format_size(VM_MEMORY_MAX, high));
	if (!IS_ALIGNED(config->memory_size, MIB))
		return error_set(errp, -EINVAL, "memory size %s is not a multiple of 1M", size);
	return 0;
}

/* StratoVirt's -global pcie-root-port.fast-unplug=1: the numbers are words here. */
static void finish_globals(struct vm_config *config)
{
	struct opts *opts;

	list_for_each(opts, &config->globals, node) {
		const char *driver = opts_get(opts, "driver"), *property = opts_get(opts, "property");
		const char *value = opts_get(opts, "value");

		if (!driver || !property || !value || strcmp(driver, "pcie-root-port") || strcmp(property, "fast-unplug"))
			continue;
		if (!strcmp(value, "0") || !strcmp(value, "1"))
			opts_set(opts, "value", *value == '1' ? "on" : "off");
	}
}

/* QEMU takes "kernel_irqchip" for "kernel-irqchip", and libvirt writes it so. */
static void settle_underscores(struct opts *machine)
{
	struct opt *opt;

	list_for_each(opt, &machine->pairs, node)
		for (char *p = opt->key; *p; p++)
			*p = *p == '_' ? '-' : *p;
}

static void finish_machine(struct vm_config *config)
{
	const char *type = opts_get(config->machine, "type");
	char *lower = xstrdup(type ? type : "microvm");

	for (char *p = lower; *p; p++) /* StratoVirt's manuals write "MicroVm" too */
		*p = (char)tolower((unsigned char)*p);
	opts_set(config->machine, "type", lower);
	settle_underscores(config->machine);
	free(lower);
}

/* From JSON it can be any text. */
static int check_panic_action(const struct vm_config *config, struct error **errp)
{
	if (!config->panic_action)
		return 0;
	for (size_t i = 0; vm_panic_words[i]; i++) {
		if (!strcmp(config->panic_action, vm_panic_words[i]))
			return 0;
	}
	return error_set(errp, -EINVAL,
			 "panic-action '%s' is not one of shutdown, pause, exit-failure, none",
			 config->panic_action);
}

static int check_rtc_base(const struct vm_config *config, struct error **errp)
{
	int64_t offset;

	return config->rtc_base ? rtc_base_offset(config->rtc_base, 0, &offset, errp) : 0;
}

int vm_config_finish(struct vm_config *config, struct error **errp)
{
	const struct {
		const char *what, *path;
	} paths[] = {
		{ "-kernel", config->kernel },	   { "-initrd", config->initrd },
		{ "-dtb", config->dtb },
		{ "-mem-path", config->mem_path }, { "-pidfile", config->pidfile },
		{ "-D", config->log_path },
	};
	const struct list *const lists[] = { &config->drives, &config->devices, &config->netdevs,
					     &config->chardevs, &config->objects };
	unsigned int iothreads = count_with(&config->objects, "qom-type", "iothread");
	int ret;

	finish_machine(config);
	finish_globals(config);
	ret = finish_accel(config, errp);
	if (!ret)
		ret = check_name(config, errp);
	if (!ret)
		ret = check_cpu(config, errp);
	if (!ret)
		ret = check_panic_action(config, errp);
	if (!ret)
		ret = check_rtc_base(config, errp);
	if (ret)
		return ret;
	ret = cpu_topology_complete(&config->smp, errp);
	if (ret) {
		error_prefix(errp, "-smp: ");
		return ret;
	}
	ret = finish_memory(config, errp);
	if (ret)
		return ret;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		ret = check_path(paths[i].what, paths[i].path, errp);
		if (ret)
			return ret;
	}
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		ret = check_ids(lists[i], errp);
		if (ret)
			return ret;
	}
#ifndef __aarch64__
	if (config->dtb)
		return error_set(errp, -ENOTSUP, "-dtb %s: machines of this architecture have no device tree", config->dtb);
#endif
	if (iothreads > VM_IOTHREADS_MAX)
		return error_set(errp, -E2BIG,
				 "%u -object iothread are given, at most %d are possible",
				 iothreads, VM_IOTHREADS_MAX);
	ret = check_singles(config, errp);
	return ret ? ret : check_stdio(config, errp);
}
