// SPDX-License-Identifier: Apache-2.0
/* Guest memory: the balloon, and a look at a word. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "internal.h"
#include "memory/ram.h"
#include "memory/space.h"
#include "util/endian.h"
#include "virtio/balloon.h"

static struct device *find_balloon(struct qmp_call *call, struct error **errp)
{
	struct device *dev = balloon_find(machine_platform(call->qmp->machine));

	if (!dev)
		(void)error_set(errp, QMP_DEVICE_NOT_ACTIVE,
				"No balloon device has been activated");
	return dev;
}

QMP_HANDLER(balloon)
{
	struct device *dev = find_balloon(call, errp);
	int64_t value = qmp_arg_int(args, "value", 0);

	(void)ret;
	if (!dev)
		return QMP_DEVICE_NOT_ACTIVE;
	if (value <= 0)
		return error_set(errp, -EINVAL,
				 "Parameter 'value' expects a size in bytes, more than 0");
	return balloon_set_target(dev, (uint64_t)value, errp);
}

static QMP_TYPE_OBJECT(balloon_info, "BalloonInfo",
		       QMP_MEMBER("actual", qmp_int, "bytes of memory that the guest has"));

QMP_HANDLER(query_balloon)
{
	struct device *dev = find_balloon(call, errp);

	(void)args;
	if (!dev)
		return QMP_DEVICE_NOT_ACTIVE;
	*ret = json_object_new_object();
	qmp_add_int(*ret, "actual", (int64_t)balloon_actual(dev));
	return 0;
}

static QMP_TYPE_ENUM(host_mem_policy, "HostMemPolicy", "default", "preferred", "bind", "interleave");
static QMP_TYPE_ARRAY(node_array, "uint16", qmp_int);
static QMP_TYPE_OBJECT(memdev, "Memdev", QMP_OPTIONAL("id", qmp_str, NULL), QMP_MEMBER("size", qmp_size, NULL),
		       QMP_MEMBER("merge", qmp_bool, "always false: the host merges no pages of it"),
		       QMP_MEMBER("dump", qmp_bool, "part of core dumps"),
		       QMP_MEMBER("prealloc", qmp_bool, NULL), QMP_MEMBER("share", qmp_bool, NULL),
		       QMP_OPTIONAL("reserve", qmp_bool, "always true"),
		       QMP_MEMBER("host-nodes", node_array, "of the host; empty without a policy"),
		       QMP_MEMBER("policy", host_mem_policy, NULL));
static QMP_TYPE_ARRAY(memdev_array, "Memdev", memdev);

static void add_memdev(void *opaque, const char *id, void *object)
{
	struct json_object *info = json_object_new_object(), *nodes = json_object_new_array();
	const struct ram_backend *ram = object;

	for (unsigned int i = 0; i < 64 * ARRAY_SIZE(ram->host_nodes); i++)
		if (ram->host_nodes[i / 64] & 1ULL << (i % 64))
			json_object_array_add(nodes, json_object_new_int((int)i));
	qmp_add_str(info, "id", id);
	qmp_add_int(info, "size", (int64_t)ram->size);
	qmp_add_bool(info, "merge", false);
	qmp_add_bool(info, "dump", ram->dump);
	qmp_add_bool(info, "prealloc", ram->prealloc);
	qmp_add_bool(info, "share", ram->shared);
	qmp_add_bool(info, "reserve", true);
	json_object_object_add(info, "host-nodes", nodes);
	qmp_add_str(info, "policy", ram_policy_words[ram->policy]);
	json_object_array_add(opaque, info);
}

QMP_HANDLER(query_memdev)
{
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	link_scope_each(machine_platform(call->qmp->machine)->links, LINK_MEMORY, add_memdev, *ret);
	return 0;
}

/* Hexadecimal digits, as StratoVirt wants them, or with 0x before them. */
static int parse_gpa(const char *text, uint64_t *gpa)
{
	char *end;

	if (!strncmp(text, "0x", 2))
		text += 2;
	if (!*text || strspn(text, "0123456789abcdefABCDEF") != strlen(text))
		return -EINVAL;
	errno = 0;
	*gpa = strtoull(text, &end, 16);
	return errno ? -ERANGE : 0;
}

QMP_HANDLER(query_mem_gpa)
{
	const struct mem_space *space = machine_platform(call->qmp->machine)->space;
	uint64_t gpa = 0;
	char text[16];
	le32_t word;

	if (parse_gpa(qmp_arg_str(args, "gpa"), &gpa))
		return error_set(errp, -EINVAL, "address not in hexadecimal");
	if (guest_read(space, gpa, &word, sizeof(word)))
		return error_set(errp, -EFAULT, "this gpa does not support query");
	snprintf(text, sizeof(text), "%" PRIX32, le32_to_cpu(word));
	*ret = json_object_new_string(text);
	return 0;
}

const struct qmp_command qmp_memory_commands[] = {
	{ .name = "balloon",
	  .help = "asks the guest to change the size of its memory; BALLOON_CHANGE tells what it "
		  "does",
	  .args = QMP_MEMBERS(QMP_MEMBER("value", qmp_size,
					 "bytes it shall have; more than the VM has means all")),
	  .handler = balloon },
	{ .name = "query-balloon",
	  .help = "the size of the guest's memory",
	  .returns = &balloon_info,
	  .handler = query_balloon },
	{ .name = "query-memdev",
	  .help = "the memory-backend objects",
	  .returns = &memdev_array,
	  .handler = query_memdev },
	{ .name = "query-mem-gpa",
	  .help = "32 bits of guest memory, as StratoVirt shows them: hexadecimal, without 0x",
	  .args = QMP_MEMBERS(QMP_MEMBER("gpa", qmp_str, "guest physical address, hexadecimal")),
	  .returns = &qmp_str,
	  .handler = query_mem_gpa },
	{ .name = NULL },
};
