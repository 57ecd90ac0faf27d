// SPDX-License-Identifier: Apache-2.0
/*
 * Back ends of the description: -object, -chardev, -drive and guest memory. Each is made by its own room, noted for
 * destruction in reverse order, and found by devices through the link scope.
 */
#define LOG_MODULE "machine"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/node.h"
#include "chardev/chardev.h"
#include "internal.h"
#include "iothread_object.h"
#include "net/netdev.h"
#include "numa.h"
#include "throttle_object.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"
#include "virtio/rng_backend.h"

static void backend_note(struct machine *machine, const char *kind, void *object, void (*destroy)(void *))
{
	struct backend *backend = xcalloc(1, sizeof(*backend));

	backend->kind = kind;
	backend->object = object;
	backend->destroy = destroy;
	list_add_tail(&machine->backends, &backend->node);
}

static void backend_destroy(struct backend *backend)
{
	list_del(&backend->node);
	backend->destroy(backend->object);
	free(backend->id);
	free(backend);
}

static struct backend *backend_find(struct machine *machine, const void *object)
{
	struct backend *backend;

	list_for_each(backend, &machine->backends, node) {
		if (backend->object == object)
			return backend;
	}
	return NULL;
}

/* All at once, so that readers who take their time are waited for once. */
static void chardevs_finish(struct machine *machine)
{
	struct chardev **chrs;
	struct backend *backend;
	unsigned int count = 0;

	list_for_each(backend, &machine->backends, node)
		count += !strcmp(backend->kind, LINK_CHARDEV);
	chrs = xcalloc(count, sizeof(struct chardev *));
	count = 0;
	list_for_each(backend, &machine->backends, node) {
		if (!strcmp(backend->kind, LINK_CHARDEV))
			chrs[count++] = backend->object;
	}
	chardev_finish(chrs, count);
	free(chrs);
}

void backends_destroy(struct machine *machine)
{
	chardevs_finish(machine);
	while (!list_empty(&machine->backends))
		backend_destroy(list_entry(machine->backends.prev, struct backend, node));
}

/* --- objects -------------------------------------------------------------------------- */

static const char *const object_skip[] = { "qom-type", "id", NULL };

static void iothread_destroy(void *object)
{
	iothread_free(object);
}

static int iothread_create(struct machine *machine, const struct opts *opts, const char *id,
			   struct error **errp)
{
	struct iothread *iothread;
	int ret;

	if (machine->iothreads == VM_IOTHREADS_MAX)
		return error_set(errp, -EINVAL, "-object iothread,id=%s: a VM has at most %d iothreads",
				 id, VM_IOTHREADS_MAX);
	ret = iothread_object_new(opts, id, &iothread, errp);
	if (ret)
		return ret;
	ret = link_scope_add(machine->platform.links, LINK_IOTHREAD, id, iothread, errp);
	if (ret) {
		iothread_free(iothread);
		return ret;
	}
	machine->iothreads++;
	backend_note(machine, LINK_IOTHREAD, iothread, iothread_destroy);
	return 0;
}

static void rng_destroy(void *object)
{
	rng_backend_free(object);
}

static int rng_create(struct machine *machine, const struct opts *opts, const char *id,
		      struct error **errp)
{
	struct rng_backend *rng;
	int ret;

	(void)id;
	ret = rng_backend_new(opts, machine->platform.links, &rng, errp);
	if (!ret)
		backend_note(machine, LINK_RNG, rng, rng_destroy);
	return ret;
}

static void memory_destroy(void *object)
{
	ram_backend_free(object);
}

static int memory_create(struct machine *machine, const struct opts *opts, const char *id,
			 const struct property *props, enum ram_kind kind, struct error **errp)
{
	struct ram_config config = { 0 };
	struct ram_backend *ram;
	int ret;

	ret = property_apply(props, &config, opts, object_skip, NULL, errp);
	if (ret)
		return ret;
	config.kind = kind;
	/* The filters of a process that runs know no mbind. */
	if (config.host_nodes && machine->vcpus)
		ret = error_set(errp, -ENOTSUP, "host-nodes is for memory that is made at start");
	else
		ret = ram_backend_new(&config, &ram, errp);
	property_release(props, &config);
	if (ret) {
		error_prefix(errp, "-object %s,id=%s: ", opts_get(opts, "qom-type"), id);
		return ret;
	}
	ret = link_scope_add(machine->platform.links, LINK_MEMORY, id, ram, errp);
	if (ret) {
		ram_backend_free(ram);
		return ret;
	}
	backend_note(machine, LINK_MEMORY, ram, memory_destroy);
	return 0;
}

static int memory_ram_create(struct machine *machine, const struct opts *opts, const char *id,
			     struct error **errp)
{
	return memory_create(machine, opts, id, ram_memory_backend_ram_props, RAM_ANONYMOUS, errp);
}

static int memory_memfd_create(struct machine *machine, const struct opts *opts, const char *id,
			       struct error **errp)
{
	return memory_create(machine, opts, id, ram_memory_backend_memfd_props, RAM_MEMFD, errp);
}

static int memory_file_create(struct machine *machine, const struct opts *opts, const char *id,
			      struct error **errp)
{
	return memory_create(machine, opts, id, ram_memory_backend_file_props, RAM_FILE, errp);
}

/*
 * libvirt makes one for each VM, for passwords that it might pass later. Nothing here takes passwords, so nothing is read.
 */
static const struct property secret_props[] = {
	PROP_IGNORED("format", "accepted for libvirt"),
	PROP_IGNORED("file", "accepted for libvirt"),
	PROP_IGNORED("data", "accepted for libvirt"),
	PROP_IGNORED("keyid", "accepted for libvirt"),
	PROP_IGNORED("iv", "accepted for libvirt"),
	PROP_END,
};

static int secret_create(struct machine *machine, const struct opts *opts, const char *id, struct error **errp)
{
	int ret;

	(void)id;
	ret = property_apply(secret_props, &(char){ 0 }, opts, object_skip, NULL, errp);
	if (!ret)
		backend_note(machine, "secret", xcalloc(1, 1), free);
	return ret;
}

static void throttle_group_destroy(void *object)
{
	throttle_group_put(object);
}

static int throttle_group_create(struct machine *machine, const struct opts *opts, const char *id,
				 struct error **errp)
{
	struct throttle_group *group;
	int ret;

	ret = throttle_object_new(opts, id, machine->platform.links, &group, errp);
	if (!ret)
		backend_note(machine, LINK_THROTTLE_GROUP, group, throttle_group_destroy);
	return ret;
}

static const void *iothread_kept(const void *object)
{
	return iothread_config(object);
}

static const void *throttle_group_kept(const void *object)
{
	return throttle_group_limits(object); /* all that a struct throttle_group_config is */
}

static const struct object_class {
	const char *name, *summary;
	const struct property *props; /* for help; NULL = only the id */
	int (*create)(struct machine *machine, const struct opts *opts, const char *id,
		      struct error **errp);
	const void *(*config)(const void *object); /* what @props were stored in; NULL: not kept */
	const struct object_value *values;
} object_classes[] = {
	{ "iothread", "a thread for the I/O of devices that name it", iothread_object_props, iothread_create,
	  iothread_kept, iothread_object_values },
	{ "memory-backend-ram", "anonymous memory", ram_memory_backend_ram_props, memory_ram_create,
	  NULL, NULL },
	{ "memory-backend-memfd", "memory in a memfd, huge pages if asked",
	  ram_memory_backend_memfd_props, memory_memfd_create, NULL, NULL },
	{ "memory-backend-file", "memory in a file or on hugetlbfs", ram_memory_backend_file_props,
	  memory_file_create, NULL, NULL },
	{ "secret", "accepted for libvirt, without effect: nothing takes passwords", secret_props, secret_create,
	  NULL, NULL },
	{ "rng-random", "random bytes from a character device, a FIFO or a file", rng_random_props, rng_create, NULL,
	  NULL },
	{ "rng-builtin", "random bytes of the host's kernel, without a file", NULL, rng_create, NULL, NULL },
	{ "throttle-group", "limits that several drives share", throttle_group_props, throttle_group_create,
	  throttle_group_kept, throttle_object_values },
};

static const struct object_class *object_class_find(const char *name, struct error **errp)
{
	const char *names[ARRAY_SIZE(object_classes) + 1] = { NULL };
	const char *near;

	for (unsigned int i = 0; i < ARRAY_SIZE(object_classes); i++) {
		if (!strcmp(object_classes[i].name, name))
			return &object_classes[i];
		names[i] = object_classes[i].name;
	}
	near = nearest_name(name, names);
	error_set(errp, -ENOENT, "-object %s: unknown type%s%s%s; -object help lists them", name,
		  near ? "; did you mean '" : "", near ? near : "", near ? "'" : "");
	return NULL;
}

static struct backend *object_find(struct machine *machine, const char *id)
{
	struct backend *backend;

	list_for_each(backend, &machine->backends, node) {
		if (backend->type && !strcmp(backend->id, id))
			return backend;
	}
	return NULL;
}

int machine_object_add(struct machine *machine, const struct opts *opts, struct error **errp)
{
	const char *type = opts_get(opts, "qom-type");
	const char *id = opts_get(opts, "id");
	const struct object_class *class;
	const struct backend *other;
	int ret;

	if (!type)
		return error_set(errp, -EINVAL, "-object: the type is missing; -object help lists them");
	class = object_class_find(type, errp);
	if (!class)
		return -ENOENT;
	ret = id_check(id, errp);
	if (ret) {
		error_prefix(errp, "-object %s: ", type);
		return ret;
	}
	other = object_find(machine, id);
	if (other)
		return error_set(errp, -EEXIST, "-object %s,id=%s: the id is already used by a %s", type, id,
				 other->type);
	ret = class->create(machine, opts, id, errp);
	if (!ret) {
		struct backend *made = list_entry(machine->backends.prev, struct backend, node);

		made->type = class->name;
		made->id = xstrdup(id);
	}
	return ret;
}

static bool is_guest_memory(const struct machine *machine, const void *object)
{
	for (unsigned int i = 0; i < machine->ram_count; i++)
		if (object == machine->rams[i])
			return true;
	return false;
}

int machine_object_del(struct machine *machine, const char *id, struct error **errp)
{
	struct backend *backend = object_find(machine, id);

	if (!backend)
		return error_set(errp, -ENOENT, "object '%s' not found", id);
	if (device_find_user(&machine->platform, backend->object) || is_guest_memory(machine, backend->object) ||
	    (!strcmp(backend->kind, LINK_THROTTLE_GROUP) && throttle_group_is_shared(backend->object)))
		return error_set(errp, -EBUSY, "object '%s' is in use, can not be deleted", id);
	if (!strcmp(backend->kind, LINK_IOTHREAD))
		machine->iothreads--;
	link_scope_del(machine->platform.links, backend->kind, id);
	backend_destroy(backend);
	return 0;
}

bool machine_object_at(const struct machine *machine, unsigned int index, struct machine_object *ret)
{
	const struct object_class *class;
	struct backend *backend;

	list_for_each(backend, &machine->backends, node) {
		if (!backend->type || index--)
			continue;
		class = object_class_find(backend->type, NULL);
		*ret = (struct machine_object){
			.type = backend->type,
			.id = backend->id,
			.props = class->config ? class->props : NULL,
			.config = class->config ? class->config(backend->object) : NULL,
			.values = class->values,
			.object = backend->object,
		};
		return true;
	}
	return false;
}

bool machine_object_class_at(unsigned int index, struct machine_kind *ret)
{
	if (index >= ARRAY_SIZE(object_classes))
		return false;
	*ret = (struct machine_kind){
		.name = object_classes[index].name,
		.summary = object_classes[index].summary,
		.props = object_classes[index].props,
	};
	return true;
}

int machine_object_help(const char *name, FILE *out, struct error **errp)
{
	const struct object_class *class;

	if (!name) {
		fprintf(out, "Objects (-object TYPE,help shows the properties of one):\n");
		for (unsigned int i = 0; i < ARRAY_SIZE(object_classes); i++)
			fprintf(out, "  %-22s %s\n", object_classes[i].name,
				object_classes[i].summary);
		return 0;
	}
	class = object_class_find(name, errp);
	if (!class)
		return -ENOENT;
	fprintf(out, "-object %s,id=ID: %s\n", class->name, class->summary);
	if (class->props)
		property_help(class->props, out);
	return 0;
}

/* --- character devices and drives ----------------------------------------------------------- */

static void chardev_destroy(void *object)
{
	chardev_free(object);
}

int machine_chardev_add(struct machine *machine, const struct opts *opts, struct error **errp)
{
	struct chardev *chr;
	int ret;

	ret = chardev_new(opts, machine->loop, machine->platform.links, &chr, errp);
	if (!ret)
		backend_note(machine, LINK_CHARDEV, chr, chardev_destroy);
	return ret;
}

int machine_chardev_del(struct machine *machine, const char *id, struct error **errp)
{
	struct chardev *chr = link_scope_find(machine->platform.links, LINK_CHARDEV, id);

	if (!chr)
		return error_set(errp, -ENOENT, "Chardev '%s' not found", id);
	if (chardev_in_use(chr) || device_find_user(&machine->platform, chr))
		return error_set(errp, -EBUSY, "Chardev '%s' is busy", id);
	backend_destroy(backend_find(machine, chr));
	return 0;
}

/* "-serial stdio" is a back end without an id of its own: it becomes chardev "serial<n>". */
static int create_serial_chardevs(struct machine *machine, struct error **errp)
{
	struct opts *serial;
	unsigned int index = 0;
	int ret;

	list_for_each(serial, &machine->config->serials, node) {
		const char *backend = opts_get(serial, "backend");
		struct opts *opts;
		char id[16];

		if (backend && strcmp(backend, "chardev") && strcmp(backend, "none")) {
			snprintf(id, sizeof(id), "serial%u", index);
			opts = opts_clone(serial);
			opts_set(opts, "id", id);
			ret = machine_chardev_add(machine, opts, errp);
			opts_free(opts);
			if (ret)
				return ret;
		} else if (backend && !strcmp(backend, "chardev") && !opts_get(serial, "chardev")) {
			return error_set(errp, -EINVAL, "%s chardev: 'chardev' is required, the id of a -chardev", serial->origin);
		}
		index++;
	}
	return 0;
}

static void drive_destroy(void *object)
{
	block_drive_free(object);
}

int machine_blockdev_add(struct machine *machine, const struct opts *opts, struct error **errp)
{
	struct block_drive *drive;
	int ret;

	ret = block_node_add(opts, machine->platform.links, &drive, errp);
	if (!ret && drive)
		backend_note(machine, LINK_DRIVE, drive, drive_destroy);
	return ret;
}

int machine_blockdev_del(struct machine *machine, const char *name, struct error **errp)
{
	bool went = hotplug_node_went(machine, name);
	struct block_drive *drive = NULL;
	int ret;

	if (went && !link_scope_find(machine->platform.links, LINK_DRIVE, name))
		return 0;
	ret = block_node_del(name, machine->platform.links, &drive, errp);
	if (!ret && drive)
		backend_destroy(backend_find(machine, drive));
	return ret;
}

static void netdev_destroy(void *object)
{
	netdev_free(object);
}

int machine_netdev_add(struct machine *machine, const struct opts *opts, struct error **errp)
{
	struct netdev *netdev;
	int ret;

	ret = netdev_new(opts, machine->platform.main_loop, machine->platform.links, &netdev, errp);
	if (!ret) {
		netdev->listener = &machine->netdev_listener;
		backend_note(machine, LINK_NETDEV, netdev, netdev_destroy);
	}
	return ret;
}

int machine_netdev_del(struct machine *machine, const char *id, struct error **errp)
{
	struct netdev *netdev = link_scope_find(machine->platform.links, LINK_NETDEV, id);

	if (!netdev)
		return error_set(errp, -ENODEV, "Device '%s' not found", id);
	if (netdev_in_use(netdev) || device_find_user(&machine->platform, netdev))
		return error_set(errp, -EBUSY, "netdev '%s' is in use", id);
	backend_destroy(backend_find(machine, netdev));
	return 0;
}

int backends_create(struct machine *machine, struct error **errp)
{
	const struct vm_config *config = machine->config;
	struct block_drive *drive;
	struct opts *opts;
	int ret;

	list_for_each(opts, &config->objects, node) {
		ret = machine_object_add(machine, opts, errp);
		if (ret)
			return ret;
	}
	list_for_each(opts, &config->chardevs, node) {
		ret = machine_chardev_add(machine, opts, errp);
		if (ret)
			return ret;
	}
	ret = create_serial_chardevs(machine, errp);
	if (ret)
		return ret;
	list_for_each(opts, &config->drives, node) {
		ret = block_drive_new(opts, machine->platform.links, &drive, errp);
		if (ret)
			return ret;
		backend_note(machine, LINK_DRIVE, drive, drive_destroy);
	}
	list_for_each(opts, &config->blockdevs, node) {
		ret = machine_blockdev_add(machine, opts, errp);
		if (ret)
			return ret;
	}
	list_for_each(opts, &config->netdevs, node) {
		ret = machine_netdev_add(machine, opts, errp);
		if (ret)
			return ret;
	}
	return 0;
}

/* --- guest memory ---------------------------------------------------------------------------- */

static void take_ram(struct machine *machine, struct ram_backend *ram)
{
	machine->rams = xrealloc(machine->rams, (machine->ram_count + 1) * sizeof(*machine->rams));
	machine->rams[machine->ram_count++] = ram;
	machine->ram_size += ram->size;
}

/* The memory of the nodes in their order, side by side. */
static int take_memdevs(struct machine *machine, struct error **errp)
{
	const struct machine_numa *numa = machine->numa;

	for (unsigned int i = 0; i < numa->count; i++)
		if (numa->nodes[i].memdev)
			take_ram(machine, numa->nodes[i].memdev);
	return ram_join(machine->rams, machine->ram_count, &machine->ram_area, errp);
}

int machine_map_ram(struct machine *machine, gpa_t base, uint64_t offset, uint64_t size, struct error **errp)
{
	uint64_t begin = 0;
	int ret;

	for (unsigned int i = 0; i < machine->ram_count; begin += machine->rams[i++]->size) {
		uint64_t from = MAX(begin, offset), to = MIN(begin + machine->rams[i]->size, offset + size);

		if (from >= to)
			continue;
		ret = mem_space_add_ram(machine->space, base + (from - offset), machine->rams[i], from - begin, to - from,
					errp);
		if (ret)
			return ret;
	}
	if (machine->numa)
		numa_note_memory(machine->numa, base, offset, size);
	return 0;
}

int backends_create_ram(struct machine *machine, struct error **errp)
{
	const struct vm_config *vm = machine->config;
	struct ram_config config = {
		.kind = RAM_ANONYMOUS,
		.size = vm->memory_size,
		.path = vm->mem_path,
		.share = machine->mem_share,
		.prealloc = vm->mem_prealloc,
		.dump = machine->dump_guest_core,
	};
	int ret;

	if (machine->memory_backend) {
		if (vm->mem_path)
			return error_set(errp, -EINVAL,
					 "-mem-path and -machine memory-backend= exclude each other");
		if (machine->memory_backend->size != vm->memory_size) {
			char have[24], want[24];

			return error_set(errp, -EINVAL,
					 "-machine memory-backend=: the object has %s, -m asks for %s",
					 format_size(machine->memory_backend->size, have),
					 format_size(vm->memory_size, want));
		}
		take_ram(machine, machine->memory_backend);
		return 0;
	}
	if (machine->numa && machine->numa->memdevs)
		return take_memdevs(machine, errp);
	if (vm->mem_path)
		config.kind = RAM_FILE;
	else if (machine->mem_share)
		config.kind = RAM_MEMFD;
	ret = ram_backend_new(&config, &machine->own_ram, errp);
	if (ret) {
		error_prefix(errp, vm->mem_path ? "-mem-path: " : "-m: ");
		return ret;
	}
	take_ram(machine, machine->own_ram);
	return 0;
}
