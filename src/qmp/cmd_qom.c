// SPDX-License-Identifier: Apache-2.0
/*
 * What exists, in the form of QEMU's object model: types from the registries, and a tree of paths
 * over the devices and objects of the VM.
 *
 *   /machine/peripheral/ID           devices
 *   /machine/unattached/device[N]    vCPU N
 *   /machine/unattached/ID           parts of the machine itself
 *   /objects/ID                      -object
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/vcpu.h"
#include "devices/device.h"
#include "internal.h"
#include "util/parse.h"

#ifdef __x86_64__
#define CPU_TYPE "host-x86_64-cpu"
#else
#define CPU_TYPE "host-arm-cpu"
#endif

/* --- types --- */

static QMP_TYPE_OBJECT(type_info, "ObjectTypeInfo", QMP_MEMBER("name", qmp_str, NULL),
		       QMP_OPTIONAL("parent", qmp_str, "device, machine or object"));
static QMP_TYPE_ARRAY(type_info_array, "ObjectTypeInfo", type_info);

/* QEMU's name of a machine's type. */
static const char *machine_type(const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s-machine", name);
	return buf;
}

static void add_type(struct json_object *list, const char *wanted, const char *name,
		     const char *parent)
{
	struct json_object *info;

	if (wanted && strcmp(wanted, parent) && strcmp(wanted, "object") && strcmp(wanted, name))
		return;
	info = json_object_new_object();
	qmp_add_str(info, "name", name);
	qmp_add_str(info, "parent", parent);
	json_object_array_add(list, info);
}

static void add_class(struct json_object *list, const char *wanted, const struct device_class *class)
{
	char name[64];

	add_type(list, wanted, class->name, "device");
	if (class->bus != DEVICE_BUS_PCI || (strncmp(class->name, "virtio-", 7) && strncmp(class->name, "vhost-", 6)))
		return;
	/* All of them are; see device_class_find(). */
	snprintf(name, sizeof(name), "%s-non-transitional", class->name);
	add_type(list, wanted, name, "device");
}

QMP_HANDLER(qom_list_types)
{
	const struct device_class *const *class = machine_platform(call->qmp->machine)->classes;
	const char *wanted = qmp_arg_str(args, "implements");
	struct machine_kind kind;
	char name[64];

	(void)errp;
	*ret = json_object_new_array();
	for (; *class; class ++)
		add_class(*ret, wanted, *class);
	for (unsigned int i = 0; machine_object_class_at(i, &kind); i++)
		add_type(*ret, wanted, kind.name, "object");
	for (unsigned int i = 0; machine_class_at(i, &kind); i++)
		add_type(*ret, wanted, machine_type(kind.name, name, sizeof(name)), "machine");
	add_type(*ret, wanted, CPU_TYPE, "device");
#ifdef __aarch64__
	/* virt's host bridge is a part of the machine. libvirt gives virt a PCIe root by this name. */
	add_type(*ret, wanted, "gpex-pcihost", "object");
#endif
	return 0;
}

static const char *property_type_name(const struct property *prop)
{
	static const char *const names[] = {
		[PROPERTY_STRING] = "str",    [PROPERTY_BOOL] = "bool",
		[PROPERTY_UINT8] = "uint8",   [PROPERTY_UINT16] = "uint16",
		[PROPERTY_UINT32] = "uint32", [PROPERTY_UINT64] = "uint64",
		[PROPERTY_SIZE] = "size",     [PROPERTY_ENUM] = "str",
		[PROPERTY_LINK] = "str",
	};

	return names[prop->type];
}

static QMP_TYPE_OBJECT(property_info, "ObjectPropertyInfo", QMP_MEMBER("name", qmp_str, NULL),
		       QMP_MEMBER("type", qmp_str,
				  "str, bool, uint8 to uint64, size; in qom-list also child<TYPE>"),
		       QMP_OPTIONAL("description", qmp_str, NULL),
		       QMP_OPTIONAL("default-value", qmp_any, NULL));
static QMP_TYPE_ARRAY(property_info_array, "ObjectPropertyInfo", property_info);

static struct json_object *default_value(const struct property *prop)
{
	switch (prop->type) {
	case PROPERTY_BOOL:
		return json_object_new_boolean(prop->def != 0);
	case PROPERTY_STRING:
		return prop->def_str ? json_object_new_string(prop->def_str) : NULL;
	case PROPERTY_ENUM:
		return json_object_new_string(prop->choices[prop->def]);
	case PROPERTY_LINK:
		return NULL;
	default:
		return json_object_new_uint64(prop->def);
	}
}

QMP_HANDLER(device_list_properties)
{
	const char *name = qmp_arg_str(args, "typename");
	const struct device_class *class;
	char quote[QMP_QUOTE_MAX];

	class = device_class_find(machine_platform(call->qmp->machine), name);
	if (!class)
		return error_set(errp, QMP_DEVICE_NOT_FOUND, "Device '%s' not found",
				 qmp_quote(name, quote));
	*ret = json_object_new_array();
	for (const struct property *p = class->props; p && p->name; p++) {
		struct json_object *info = json_object_new_object(), *value = default_value(p);

		if (value)
			json_object_object_add(info, "default-value", value);
		qmp_add_str(info, "name", p->name);
		if (p->help)
			qmp_add_str(info, "description", p->help);
		qmp_add_str(info, "type", property_type_name(p));
		json_object_array_add(*ret, info);
	}
	return 0;
}

/* libvirt 9 dies of an error here, even for types it only asks about. */
QMP_HANDLER(qom_list_properties)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	return 0;
}

/* --- the tree --- */

enum node_kind {
	NODE_ROOT,
	NODE_MACHINE,
	NODE_PERIPHERAL,
	NODE_UNATTACHED,
	NODE_OBJECTS,
	NODE_DEVICE,
	NODE_CPU,
	NODE_OBJECT
};

struct node {
	enum node_kind kind;
	struct device *dev;	  /* NODE_DEVICE */
	struct machine_object object; /* NODE_OBJECT */
};

static bool find_cpu(struct machine *machine, const char *name)
{
	char text[32];

	for (unsigned int i = 0; i < vcpus_count(machine_vcpus(machine)); i++) {
		snprintf(text, sizeof(text), "device[%u]", i);
		if (!strcmp(name, text))
			return true;
	}
	return false;
}

static bool find_device(struct machine *machine, const char *id, bool internal, struct node *node)
{
	node->kind = NODE_DEVICE;
	node->dev = device_find(machine_platform(machine), id);
	return node->dev && device_is_internal(node->dev) == internal;
}

static bool find_object(struct machine *machine, const char *id, struct node *node)
{
	node->kind = NODE_OBJECT;
	for (unsigned int i = 0; machine_object_at(machine, i, &node->object); i++) {
		if (!strcmp(id, node->object.id))
			return true;
	}
	return false;
}

/* Is @path, up to its last slash, this? */
static bool is_folder(const char *path, const char *last, const char *folder)
{
	return strlen(folder) == (size_t)(last - path) && !strncmp(path, folder, strlen(folder));
}

static bool find_node(struct machine *machine, const char *path, struct node *node)
{
	static const struct {
		const char *path;
		enum node_kind kind;
	} fixed[] = {
		{ "/", NODE_ROOT },
		{ "/machine", NODE_MACHINE },
		{ "/machine/peripheral", NODE_PERIPHERAL },
		{ "/machine/unattached", NODE_UNATTACHED },
		{ "/objects", NODE_OBJECTS },
	};
	const char *last = strrchr(path, '/');

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		if (strcmp(path, fixed[i].path))
			continue;
		node->kind = fixed[i].kind;
		return true;
	}
	if (!last)
		return false;
	if (is_folder(path, last, "/machine/peripheral"))
		return find_device(machine, last + 1, false, node);
	if (is_folder(path, last, "/objects"))
		return find_object(machine, last + 1, node);
	if (!is_folder(path, last, "/machine/unattached"))
		return false;
	node->kind = NODE_CPU;
	return find_cpu(machine, last + 1) || find_device(machine, last + 1, true, node);
}

static int get_node(struct qmp_call *call, struct json_object *args, struct node *node,
		    struct error **errp)
{
	const char *path = qmp_arg_str(args, "path");
	char quote[QMP_QUOTE_MAX];

	if (find_node(call->qmp->machine, path, node))
		return 0;
	return error_set(errp, QMP_DEVICE_NOT_FOUND, "Device '%s' not found",
			 qmp_quote(path, quote));
}

static void add_entry(struct json_object *list, const char *name, const char *type)
{
	struct json_object *info = json_object_new_object();

	qmp_add_str(info, "name", name);
	qmp_add_str(info, "type", type);
	json_object_array_add(list, info);
}

static void add_child(struct json_object *list, const char *name, const char *type)
{
	char child[80];

	snprintf(child, sizeof(child), "child<%s>", type);
	add_entry(list, name, child);
}

static void add_devices(struct json_object *list, struct machine *machine, bool internal)
{
	const struct device *dev;

	list_for_each(dev, &machine_platform(machine)->devices, node) {
		if (device_is_internal(dev) == internal)
			add_child(list, device_name(dev), dev->class->name);
	}
}

static void list_unattached(struct json_object *list, struct machine *machine)
{
	char name[32];

	for (unsigned int i = 0; i < vcpus_count(machine_vcpus(machine)); i++) {
		snprintf(name, sizeof(name), "device[%u]", i);
		add_child(list, name, CPU_TYPE);
	}
	add_devices(list, machine, true);
}

/* Dotted names are members of a value. */
static bool is_shown(const struct property *prop)
{
	return !(prop->flags & PROPERTY_IGNORED) && !strchr(prop->name, '.');
}

static const struct property *find_property(const struct node *node, const char *name)
{
	const struct property *prop = NULL;

	if (node->kind == NODE_DEVICE && node->dev->class->props)
		prop = property_find(node->dev->class->props, name);
	if (node->kind == NODE_OBJECT && node->object.props)
		prop = property_find(node->object.props, name);
	return prop && is_shown(prop) ? prop : NULL;
}

static void add_properties(struct json_object *list, const struct property *props)
{
	for (const struct property *p = props; p && p->name; p++)
		if (is_shown(p))
			add_entry(list, p->name, property_type_name(p));
}

static void list_node(struct json_object *list, struct machine *machine, const struct node *node)
{
	struct machine_object object;
	char name[64];

	switch (node->kind) {
	case NODE_ROOT:
		machine_type(machine_class_name(machine), name, sizeof(name));
		add_child(list, "machine", name);
		add_child(list, "objects", "container");
		break;
	case NODE_MACHINE:
		add_child(list, "peripheral", "container");
		add_child(list, "unattached", "container");
		break;
	case NODE_PERIPHERAL:
		add_devices(list, machine, false);
		break;
	case NODE_UNATTACHED:
		list_unattached(list, machine);
		break;
	case NODE_OBJECTS:
		for (unsigned int i = 0; machine_object_at(machine, i, &object); i++)
			add_child(list, object.id, object.type);
		break;
	case NODE_DEVICE:
		add_properties(list, node->dev->class->props);
		for (const struct device_value *v = node->dev->class->values; v && v->name; v++)
			if (!find_property(node, v->name)) /* one that -device takes, too */
				add_entry(list, v->name, v->type);
		break;
	case NODE_OBJECT:
		add_properties(list, node->object.props);
		for (const struct object_value *v = node->object.values; v && v->name; v++)
			if (!find_property(node, v->name)) /* one that -object takes, too */
				add_entry(list, v->name, v->type);
		break;
	case NODE_CPU:
		break;
	}
}

/* What every node has. */
static const char *node_type(struct machine *machine, const struct node *node, char *buf,
			     size_t size)
{
	switch (node->kind) {
	case NODE_MACHINE:
		return machine_type(machine_class_name(machine), buf, size);
	case NODE_DEVICE:
		return node->dev->class->name;
	case NODE_CPU:
		return CPU_TYPE;
	case NODE_OBJECT:
		return node->object.type;
	default:
		return "container";
	}
}

QMP_HANDLER(qom_list)
{
	struct node node;
	int err = get_node(call, args, &node, errp);

	if (err)
		return err;
	*ret = json_object_new_array();
	add_entry(*ret, "type", "string");
	list_node(*ret, call->qmp->machine, &node);
	return 0;
}

struct link_search {
	const void *object;
	const char *id;
};

static void match_link(void *opaque, const char *id, void *object)
{
	struct link_search *search = opaque;

	if (search->object == object)
		search->id = id;
}

static struct json_object *link_value(const struct device *dev, const struct property *prop)
{
	struct link_search search = { *(void *const *)((const char *)dev + prop->offset), NULL };

	if (search.object)
		link_scope_each(dev->platform->links, prop->choices[0], match_link, &search);
	return json_object_new_string(search.id ? search.id : "");
}

static struct json_object *property_value(const struct node *node, const struct property *prop)
{
	struct json_object *value;
	uint64_t number = 0;
	char *text;

	if (prop->type == PROPERTY_LINK) /* of objects, none has one */
		return link_value(node->dev, prop);
	text = property_get(prop, node->kind == NODE_DEVICE ? node->dev : node->object.config);
	switch (prop->type) {
	case PROPERTY_BOOL:
		value = json_object_new_boolean(!strcmp(text, "on"));
		break;
	case PROPERTY_STRING:
	case PROPERTY_ENUM:
		value = json_object_new_string(text ? text : "");
		break;
	default: /* numbers, and sizes with their suffix */
		value = parse_size(text, 1, &number) ? NULL : json_object_new_uint64(number);
		break;
	}
	free(text);
	return value;
}

static const struct device_value *find_value(const struct node *node, const char *name)
{
	if (node->kind != NODE_DEVICE)
		return NULL;
	for (const struct device_value *v = node->dev->class->values; v && v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static const struct object_value *find_object_value(const struct node *node, const char *name)
{
	if (node->kind != NODE_OBJECT)
		return NULL;
	for (const struct object_value *v = node->object.values; v && v->name; v++)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static int no_such_property(struct qmp_call *call, const struct node *node, const char *name,
			    struct error **errp)
{
	char quote[QMP_QUOTE_MAX], type[64];

	return error_set(errp, -ENOENT, "Property '%s.%s' not found",
			 node_type(call->qmp->machine, node, type, sizeof(type)),
			 qmp_quote(name, quote));
}

QMP_HANDLER(qom_get)
{
	const char *name = qmp_arg_str(args, "property");
	const struct object_value *object_value;
	const struct device_value *value;
	const struct property *prop;
	struct node node;
	char type[64];
	int err;

	err = get_node(call, args, &node, errp);
	if (err)
		return err;
	if (!strcmp(name, "type")) {
		*ret = json_object_new_string(
			node_type(call->qmp->machine, &node, type, sizeof(type)));
		return 0;
	}
	value = find_value(&node, name);
	if (value) {
		*ret = value->get(node.dev);
		return 0;
	}
	object_value = find_object_value(&node, name);
	if (object_value) {
		*ret = object_value->get(node.object.object);
		return 0;
	}
	prop = find_property(&node, name);
	if (!prop)
		return no_such_property(call, &node, name, errp);
	*ret = property_value(&node, prop);
	return 0;
}

/* What -device and -object take is fixed once the thing is there. */
QMP_HANDLER(qom_set)
{
	const char *name = qmp_arg_str(args, "property");
	const struct object_value *object_value;
	const struct device_value *value;
	char quote[QMP_QUOTE_MAX];
	struct node node;
	int err;

	(void)ret;
	err = get_node(call, args, &node, errp);
	if (err)
		return err;
	value = find_value(&node, name);
	if (value && value->set)
		return value->set(node.dev, json_object_object_get(args, "value"), errp);
	object_value = find_object_value(&node, name);
	if (object_value && object_value->set)
		return qmp_generic_error(
			object_value->set(node.object.object, json_object_object_get(args, "value"), errp), errp);
	if (value || find_property(&node, name) || !strcmp(name, "type"))
		return error_set(errp, -EPERM, "Property '%s' cannot be changed",
				 qmp_quote(name, quote));
	return no_such_property(call, &node, name, errp);
}

#define ARG_PATH QMP_MEMBER("path", qmp_str, "absolute: /machine/peripheral/ID, /objects/ID, …")

const struct qmp_command qmp_qom_commands[] = {
	{ .name = "qom-list-types",
	  .help = "devices, objects and machines there are",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("implements", qmp_str, "only this type or parent"),
			      QMP_OPTIONAL("abstract", qmp_bool, "no effect: none is abstract")),
	  .returns = &type_info_array,
	  .handler = qom_list_types },
	{ .name = "device-list-properties",
	  .help = "what -device TYPE takes",
	  .args = QMP_MEMBERS(QMP_MEMBER("typename", qmp_str, NULL)),
	  .returns = &property_info_array,
	  .handler = device_list_properties },
	{ .name = "qom-list-properties",
	  .help = "always empty; asked for by libvirt",
	  .args = QMP_MEMBERS(QMP_MEMBER("typename", qmp_str, NULL)),
	  .returns = &property_info_array,
	  .handler = qom_list_properties },
	{ .name = "qom-list",
	  .help = "children and properties of a path",
	  .args = QMP_MEMBERS(ARG_PATH),
	  .returns = &property_info_array,
	  .handler = qom_list },
	{ .name = "qom-get",
	  .help = "a property's value",
	  .args = QMP_MEMBERS(ARG_PATH, QMP_MEMBER("property", qmp_str, NULL)),
	  .returns = &qmp_any,
	  .handler = qom_get },
	{ .name = "qom-set",
	  .help = "changes a property's value, where that can be done at run time",
	  .args = QMP_MEMBERS(ARG_PATH, QMP_MEMBER("property", qmp_str, NULL),
			      QMP_MEMBER("value", qmp_any, NULL)),
	  .handler = qom_set },
	{ .name = NULL },
};
