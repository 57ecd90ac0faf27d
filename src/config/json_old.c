// SPDX-License-Identifier: Apache-2.0
/*
 * StratoVirt's file format before version 2. One table a section says which keys it takes and which
 * key of the old command line each stands for; what a section then means is old_dialect.c's
 * business, as for the command line.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "json_config.h"
#include "old_dialect.h"
#include "util/alloc.h"
#include "util/parse.h"

/* Where a value is while it is checked: the tables below have offset 0. */
union scratch {
	char *text;
	bool flag;
	uint64_t number;
	int word;
};

struct old_key {
	struct property prop;
	const char *to; /* in the option list */
};

#define STRING(n, lo, hi, fl, opt)                                                                 \
	{                                                                                          \
		{ .name = n, .type = PROPERTY_STRING, .flags = fl, .min = lo, .max = hi }, opt     \
	}
#define BOOL(n, fl, opt)                                                                           \
	{                                                                                          \
		{ .name = n, .type = PROPERTY_BOOL, .flags = fl, .max = 1 }, opt                   \
	}
#define NUMBER(n, lo, hi, fl, opt)                                                                 \
	{                                                                                          \
		{ .name = n, .type = PROPERTY_UINT64, .flags = fl, .min = lo, .max = hi }, opt     \
	}
#define END                                                                                        \
	{                                                                                          \
		.to = NULL                                                                         \
	}
#define REQUIRED PROPERTY_REQUIRED

static const struct old_key boot_keys[] = {
	STRING("kernel_image_path", 1, VM_PATH_MAX, 0, "kernel"),
	STRING("boot_args", 0, 0, 0, "append"),
	STRING("initrd_fs_path", 1, VM_PATH_MAX, 0, "initrd"),
	END,
};

/* The manual writes some of these with a dash. The first release had a name and omit_vm_memory. */
static const struct old_key machine_keys[] = {
	STRING("type", 1, VM_ID_MAX, 0, "type"),
	STRING("name", 1, 255, 0, "name"),
	NUMBER("vcpu_count", 1, VM_CPUS_MAX, 0, "cpus"),
	{ { .name = "mem_size",
	    .type = PROPERTY_SIZE,
	    .unit = 1,
	    .min = VM_MEMORY_MIN,
	    .max = VM_MEMORY_MAX },
	  "memory" },
	STRING("mem_path", 1, VM_PATH_MAX, 0, "mem-path"),
	STRING("mem-path", 1, VM_PATH_MAX, 0, "mem-path"),
	BOOL("mem_share", 0, "mem-share"),
	BOOL("mem-share", 0, "mem-share"),
	BOOL("dump_guest_core", 0, "dump-guest-core"),
	BOOL("dump-guest-core", 0, "dump-guest-core"),
	BOOL("omit_vm_memory", 0, "omit"),
	END,
};

static const struct old_key drive_keys[] = {
	STRING("drive_id", 1, VM_ID_MAX, REQUIRED, "id"),
	STRING("path_on_host", 1, VM_PATH_MAX, REQUIRED, "file"),
	BOOL("read_only", REQUIRED, "readonly"),
	BOOL("direct", REQUIRED, "direct"),
	STRING("serial_num", 0, 20, 0, "serial"),
	STRING("iothread", 1, VM_ID_MAX, 0, "iothread"),
	NUMBER("iops", 0, 1000000, 0, "iops"),
	END,
};

static const char *const vhost_words[] = { "vhost-kernel", NULL };

static const struct old_key net_keys[] = {
	STRING("iface_id", 1, VM_ID_MAX, REQUIRED, "id"),
	STRING("host_dev_name", 1, VM_ID_MAX, REQUIRED, "netdev"),
	STRING("mac", 17, 17, 0, "mac"),
	NUMBER("tap_fd", 0, INT32_MAX, 0, "fds"),
	{ { .name = "vhost_type", .type = PROPERTY_ENUM, .choices = vhost_words }, "vhost" },
	NUMBER("vhost_fd", 0, INT32_MAX, 0, "vhostfds"),
	STRING("iothread", 1, VM_ID_MAX, 0, "iothread"),
	END,
};

static const struct old_key console_keys[] = {
	STRING("console_id", 1, VM_ID_MAX, REQUIRED, "id"),
	STRING("socket_path", 1, 107, REQUIRED, "path"),
	END,
};

static const struct old_key vsock_keys[] = {
	STRING("vsock_id", 1, VM_ID_MAX, REQUIRED, "id"),
	NUMBER("guest_cid", 3, UINT32_MAX - 1, REQUIRED, "guest-cid"), /* the last means "any" */
	NUMBER("vhost_fd", 0, INT32_MAX, 0, "vhostfd"),
	END,
};

static const struct old_key serial_keys[] = {
	BOOL("stdio", REQUIRED, "stdio"),
	END,
};

static const struct old_key iothread_keys[] = {
	STRING("id", 1, VM_ID_MAX, REQUIRED, "id"),
	END,
};

static const struct old_key balloon_keys[] = {
	BOOL("deflate_on_oom", REQUIRED, "deflate-on-oom"),
	END,
};

static const struct old_key rng_keys[] = {
	STRING("random_file", 1, VM_PATH_MAX, REQUIRED, "random_file"),
	NUMBER("bytes_per_sec", 64, 1000000000, 0, "bytes_per_sec"),
	END,
};

/* --- what a section means; each owns @opts -------------------------------------------------------
 */

static int put(struct list *to, struct opts *opts)
{
	list_add_tail(to, &opts->node);
	return 0;
}

static int add_boot(struct vm_config *config, struct opts *opts, struct error **errp)
{
	(void)errp;
	config->kernel = opts_take(opts, "kernel");
	config->append = opts_take(opts, "append");
	config->initrd = opts_take(opts, "initrd");
	opts_free(opts);
	return 0;
}

/* Values that a table has checked. */
static uint64_t number_of(const struct opts *opts, const char *key)
{
	const char *text = opts_get(opts, key);
	uint64_t number = 0;

	if (text && parse_size(text, 1, &number))
		return 0;
	return number;
}

static int add_machine(struct vm_config *config, struct opts *opts, struct error **errp)
{
	struct cpu_topology topology = { .cpus = (uint32_t)number_of(opts, "cpus") };
	int ret = 0;

	if (topology.cpus)
		ret = cpu_topology_complete(&topology, errp);
	if (ret) {
		opts_free(opts);
		return ret;
	}
	config->smp = topology;
	config->memory_size = number_of(opts, "memory");
	config->mem_path = opts_take(opts, "mem-path");
	config->name = opts_take(opts, "name");
	if (opts_get(opts, "omit") && !opts_get(opts, "dump-guest-core"))
		opts_set(opts, "dump-guest-core",
			 strcmp(opts_get(opts, "omit"), "on") ? "on" : "off");
	opts_del(opts, "omit");
	opts_del(opts, "cpus");
	opts_del(opts, "memory");
	opts_free(config->machine);
	config->machine = opts;
	return 0;
}

static int add_drive(struct vm_config *config, struct opts *opts, struct error **errp)
{
	(void)errp;
	return put(&config->drives, opts);
}

static int add_net(struct vm_config *config, struct opts *opts, struct error **errp)
{
	(void)errp;
	if (opts_get(opts, "vhost"))
		opts_set(opts, "vhost", "on");
	return put(&config->netdevs, opts);
}

static int add_console(struct vm_config *config, struct opts *opts, struct error **errp)
{
	(void)errp;
	return put(&config->chardevs, opts);
}

static int add_vsock(struct vm_config *config, struct opts *opts, struct error **errp)
{
	(void)errp;
	opts_set(opts, "driver", "vsock");
	return put(&config->devices, opts);
}

static int add_serial(struct vm_config *config, struct opts *opts, struct error **errp)
{
	bool stdio = strcmp(opts_get(opts, "stdio"), "on") == 0;

	(void)errp;
	opts_del(opts, "stdio");
	opts_set(opts, "backend", stdio ? "stdio" : "none");
	if (stdio)
		return put(&config->serials, opts);
	opts_free(opts);
	return 0;
}

static int add_iothread(struct vm_config *config, struct opts *opts, struct error **errp)
{
	int ret = old_dialect_add_iothread(config, opts, errp);

	opts_free(opts);
	return ret;
}

static int add_balloon(struct vm_config *config, struct opts *opts, struct error **errp)
{
	int ret = old_dialect_add_balloon(config, opts, errp);

	opts_free(opts);
	return ret;
}

static int add_rng(struct vm_config *config, struct opts *opts, struct error **errp)
{
	int ret = old_dialect_add_rng(config, opts, errp);

	opts_free(opts);
	return ret;
}

static const struct section {
	const char *key;
	const struct old_key *keys;
	bool list;
	int (*add)(struct vm_config *config, struct opts *opts, struct error **errp);
} sections[] = {
	{ "boot-source", boot_keys, false, add_boot },
	{ "machine-config", machine_keys, false, add_machine },
	{ "drive", drive_keys, true, add_drive },
	{ "net", net_keys, true, add_net },
	{ "console", console_keys, true, add_console },
	{ "vsock", vsock_keys, false, add_vsock },
	{ "serial", serial_keys, false, add_serial },
	{ "iothread", iothread_keys, true, add_iothread },
	{ "balloon", balloon_keys, false, add_balloon },
	{ "rng", rng_keys, false, add_rng },
};

static const struct section *find_section(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		if (strcmp(sections[i].key, key) == 0)
			return &sections[i];
	}
	return NULL;
}

bool json_old_form_has(const char *key)
{
	return find_section(key) != NULL;
}

/* --- reading
 * ------------------------------------------------------------------------------------------ */

static const struct old_key *find_key(const struct old_key *keys, const char *name)
{
	for (; keys->to; keys++) {
		if (strcmp(keys->prop.name, name) == 0)
			return keys;
	}
	return NULL;
}

static int unknown_key(const char *path, const char *key, const struct old_key *keys,
		       struct error **errp)
{
	const char *names[ARRAY_SIZE(machine_keys)] = { NULL }; /* the longest table */

	for (size_t i = 0; keys[i].to; i++)
		names[i] = keys[i].prop.name;
	return json_unknown_key(path, key, names, errp);
}

/* One checked value into @opts. */
static int read_value(const char *path, const struct old_key *key, struct json_object *value,
		      struct opts *opts, struct error **errp)
{
	const struct property table[] = { key->prop, PROP_END };
	union scratch scratch = { 0 };
	char *text;
	int ret;

	if (opts_get(opts, key->to))
		return error_set(errp, -EINVAL, "%s.%s: the same key with '-' and with '_'", path,
				 key->prop.name);
	ret = json_property_set(path, &key->prop, &scratch, value, errp);
	if (ret)
		return ret;
	text = property_get(&key->prop, &scratch);
	opts_set(opts, key->to, text);
	free(text);
	if (key->prop.type == PROPERTY_STRING)
		property_release(table, &scratch);
	return 0;
}

static int read_keys(const char *path, const struct old_key *keys, struct json_object *object,
		     struct opts *opts, struct error **errp)
{
	const struct old_key *key;
	int ret;

	json_object_object_foreach(object, name, value)
	{
		key = find_key(keys, name);
		ret = key ? read_value(path, key, value, opts, errp)
			  : unknown_key(path, name, keys, errp);
		if (ret)
			return ret;
	}
	for (key = keys; key->to; key++) {
		if ((key->prop.flags & REQUIRED) && !opts_get(opts, key->to))
			return error_set(errp, -EINVAL, "%s.%s: missing, it is required", path,
					 key->prop.name);
	}
	return 0;
}

static int read_object(const char *path, const struct section *section, struct json_object *value,
		       struct vm_config *config, struct error **errp)
{
	struct opts *opts;
	int ret;

	if (!json_object_is_type(value, json_type_object))
		return json_wrong_type(path, value, "an object", errp);
	opts = opts_new(path);
	ret = read_keys(path, section->keys, value, opts, errp);
	if (!ret)
		return section->add(config, opts, errp);
	opts_free(opts);
	return ret;
}

static int read_section(const char *path, const struct section *section, struct json_object *value,
			struct vm_config *config, struct error **errp)
{
	if (!section->list)
		return read_object(path, section, value, config, errp);
	if (!json_object_is_type(value, json_type_array))
		return json_wrong_type(path, value, "a list of objects", errp);
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		char *item = json_path_item(path, i);
		int ret = read_object(item, section, json_object_array_get_idx(value, i), config,
				      errp);

		free(item);
		if (ret)
			return ret;
	}
	return 0;
}

int json_old_form_read(struct json_object *top, const char *path, struct vm_config *config,
		       struct error **errp)
{
	const char *names[ARRAY_SIZE(sections) + 1] = { NULL };
	const struct section *section;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		names[i] = sections[i].key;
	json_object_object_foreach(top, key, value)
	{
		char *at;

		section = find_section(key);
		if (!section)
			return json_unknown_key(path, key, names, errp);
		at = json_path_member(path, key);
		ret = read_section(at, section, value, config, errp);
		free(at);
		if (ret)
			return ret;
	}
	return 0;
}
