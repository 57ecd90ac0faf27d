// SPDX-License-Identifier: Apache-2.0
/* Who and what this is: negotiation, versions, names, machines. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/vm_config.h"
#include "devices/vmgenid.h"
#include "internal.h"
#include "util/fd.h"
#include "util/version.h"

/* QEMU's version whose commands and events these are: clients decide by it what they may use. */
#define QEMU_MAJOR 7
#define QEMU_MINOR 2
#define QEMU_MICRO 0

#ifdef __x86_64__
#define ARCH "x86_64"
#else
#define ARCH "aarch64"
#endif

/* --- negotiation and version --- */

static QMP_TYPE_ENUM(capability, "QMPCapability", "oob");
static QMP_TYPE_ARRAY(capability_array, "QMPCapability", capability);

QMP_HANDLER(qmp_capabilities)
{
	struct json_object *enable = json_object_object_get(args, "enable");

	(void)ret;
	if (enable && json_object_array_length(enable))
		return error_set(errp, -EINVAL, "QMP capability '%s' is not available",
				 json_object_get_string(json_object_array_get_idx(enable, 0)));
	call->client->negotiated = true;
	return 0;
}

static QMP_TYPE_OBJECT(version_triple, "VersionTriple", QMP_MEMBER("major", qmp_int, NULL),
		       QMP_MEMBER("minor", qmp_int, NULL), QMP_MEMBER("micro", qmp_int, NULL));
QMP_TYPE_OBJECT(qmp_version_info, "VersionInfo",
		QMP_MEMBER("qemu", version_triple, "the QEMU version whose QMP this speaks"),
		QMP_MEMBER("package", qmp_str, "the real name and version"));

struct json_object *qmp_version_object(void)
{
	struct json_object *version = json_object_new_object(), *qemu = json_object_new_object();
	char package[64];

	qmp_add_int(qemu, "micro", QEMU_MICRO);
	qmp_add_int(qemu, "minor", QEMU_MINOR);
	qmp_add_int(qemu, "major", QEMU_MAJOR);
	json_object_object_add(version, "qemu", qemu);
	snprintf(package, sizeof(package), "StratoVirt-%s", version_number());
	qmp_add_str(version, "package", package);
	return version;
}

QMP_HANDLER(query_version)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = qmp_version_object();
	return 0;
}

/* --- the VM --- */

static QMP_TYPE_OBJECT(name_info, "NameInfo", QMP_OPTIONAL("name", qmp_str, "as given to -name"));

QMP_HANDLER(query_name)
{
	const struct vm_config *config = machine_config(call->qmp->machine);

	(void)args;
	(void)errp;
	*ret = json_object_new_object();
	if (config->name)
		qmp_add_str(*ret, "name", config->name);
	return 0;
}

static QMP_TYPE_OBJECT(uuid_info, "UuidInfo",
		       QMP_MEMBER("UUID", qmp_str, "as given to -uuid, else all zero"));

QMP_HANDLER(query_uuid)
{
	const uint8_t *u = machine_config(call->qmp->machine)->uuid;
	char text[37];

	(void)args;
	(void)errp;
	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	*ret = json_object_new_object();
	qmp_add_str(*ret, "UUID", text);
	return 0;
}

static QMP_TYPE_OBJECT(guid_info, "GuidInfo", QMP_MEMBER("guid", qmp_str, "as the guest has it now"));

QMP_HANDLER(query_vm_generation_id)
{
	const struct device *dev = vmgenid_find(machine_platform(call->qmp->machine));
	char text[VMGENID_TEXT_SIZE];

	(void)args;
	if (!dev)
		return error_set(errp, -ENODEV, "VM Generation ID device not found");
	vmgenid_text(dev, text);
	*ret = json_object_new_object();
	qmp_add_str(*ret, "guid", text);
	return 0;
}

QMP_TYPE_ENUM(qmp_sys_emu_target, "SysEmuTarget", "x86_64", "aarch64");
static QMP_TYPE_OBJECT(target_info, "TargetInfo",
		       QMP_MEMBER("arch", qmp_sys_emu_target, "of host and guest"));

QMP_HANDLER(query_target)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = json_object_new_object();
	qmp_add_str(*ret, "arch", ARCH);
	return 0;
}

static QMP_TYPE_OBJECT(kvm_info, "KvmInfo", QMP_MEMBER("enabled", qmp_bool, "the VM runs by KVM"),
		       QMP_MEMBER("present", qmp_bool, "this process could use KVM"));

QMP_HANDLER(query_kvm)
{
	const char *accel = machine_config(call->qmp->machine)->accel;
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bool present = fd >= 0;

	fd_close(&fd);
	(void)args;
	(void)errp;
	*ret = json_object_new_object();
	/* A VM that runs by KVM says so without looking; one that runs nothing would if it could. */
	qmp_add_bool(*ret, "enabled", !strncmp(accel, "kvm", 3) &&
					      (present || !machine_platform(call->qmp->machine)->accel->no_guest_code));
	qmp_add_bool(*ret, "present", present);
	return 0;
}

static QMP_TYPE_OBJECT(memory_summary, "MemoryInfo",
		       QMP_MEMBER("base-memory", qmp_size, "guest memory at start, in bytes"));

QMP_HANDLER(query_memory_size_summary)
{
	(void)args;
	(void)errp;
	*ret = json_object_new_object();
	qmp_add_int(*ret, "base-memory", (int64_t)machine_ram_size(call->qmp->machine));
	return 0;
}

static QMP_TYPE_OBJECT(machine_info, "MachineInfo", QMP_MEMBER("name", qmp_str, "for -machine"),
		       QMP_OPTIONAL("is-default", qmp_bool, "what -machine is when not given"),
		       QMP_OPTIONAL("default-ram-id", qmp_str,
				    "the id that the memory object for memory-backend= has by custom"),
		       QMP_MEMBER("cpu-max", qmp_int, "most vCPUs"),
		       QMP_MEMBER("hotpluggable-cpus", qmp_bool, NULL),
		       QMP_MEMBER("numa-mem-supported", qmp_bool, NULL),
		       QMP_MEMBER("deprecated", qmp_bool, NULL));
static QMP_TYPE_ARRAY(machine_info_array, "MachineInfo", machine_info);

QMP_HANDLER(query_machines)
{
	struct machine_kind kind;

	(void)call;
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	for (unsigned int i = 0; machine_class_at(i, &kind); i++) {
		struct json_object *info = json_object_new_object();

		qmp_add_str(info, "name", kind.name);
		if (!i)
			qmp_add_bool(info, "is-default", true);
		if (kind.ram_id)
			qmp_add_str(info, "default-ram-id", kind.ram_id);
		qmp_add_int(info, "cpu-max", kind.bare ? 1 : VM_CPUS_MAX);
		qmp_add_bool(info, "hotpluggable-cpus", kind.cpus_come);
		qmp_add_bool(info, "numa-mem-supported", false);
		qmp_add_bool(info, "deprecated", false);
		json_object_array_add(*ret, info);
	}
	return 0;
}

/* --- the command line --- */

static QMP_TYPE_ENUM(parameter_type, "CommandLineParameterType", "string", "boolean", "number",
		     "size");
static QMP_TYPE_OBJECT(parameter_info, "CommandLineParameterInfo",
		       QMP_MEMBER("name", qmp_str, "the key"),
		       QMP_MEMBER("type", parameter_type, NULL),
		       QMP_OPTIONAL("help", qmp_str, NULL));
static QMP_TYPE_ARRAY(parameter_info_array, "CommandLineParameterInfo", parameter_info);
static QMP_TYPE_OBJECT(option_info, "CommandLineOptionInfo",
		       QMP_MEMBER("option", qmp_str, "without the dash"),
		       QMP_MEMBER("parameters", parameter_info_array,
				  "its keys; empty when it has none, or when they depend on its "
				  "first word"));
static QMP_TYPE_ARRAY(option_info_array, "CommandLineOptionInfo", option_info);

static const char *parameter_type_of(const struct property *prop)
{
	switch (prop->type) {
	case PROPERTY_BOOL:
		return "boolean";
	case PROPERTY_UINT8:
	case PROPERTY_UINT16:
	case PROPERTY_UINT32:
	case PROPERTY_UINT64:
		return "number";
	case PROPERTY_SIZE:
		return "size";
	case PROPERTY_STRING:
	case PROPERTY_ENUM:
	case PROPERTY_LINK:
		break;
	}
	return "string";
}

QMP_HANDLER(query_command_line_options)
{
	const char *wanted = qmp_arg_str(args, "option");
	struct cmdline_option_info info;

	(void)call;
	*ret = json_object_new_array();
	for (unsigned int i = 0; cmdline_option_at(i, &info); i++) {
		struct json_object *option, *parameters;

		if (wanted && strcmp(wanted, info.name))
			continue;
		option = json_object_new_object();
		parameters = json_object_new_array();
		for (const struct property *p = info.keys; p && p->name; p++) {
			struct json_object *parameter = json_object_new_object();

			qmp_add_str(parameter, "name", p->name);
			if (p->help)
				qmp_add_str(parameter, "help", p->help);
			qmp_add_str(parameter, "type", parameter_type_of(p));
			json_object_array_add(parameters, parameter);
		}
		json_object_object_add(option, "parameters", parameters);
		qmp_add_str(option, "option", info.name);
		json_object_array_add(*ret, option);
	}
	if (wanted && !json_object_array_length(*ret)) {
		char quote[QMP_QUOTE_MAX];

		return error_set(errp, -EINVAL, "invalid option name: %s",
				 qmp_quote(wanted, quote));
	}
	return 0;
}

const struct qmp_command qmp_info_commands[] = {
	{ .name = "qmp_capabilities",
	  .help = "ends the negotiation: the other commands work from here on",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("enable", capability_array, "none can be enabled")),
	  .flags = QMP_BEFORE_NEGOTIATION,
	  .handler = qmp_capabilities },
	{ .name = "query-version",
	  .help = "as in the greeting",
	  .returns = &qmp_version_info,
	  .handler = query_version },
	{ .name = "query-name",
	  .help = "the VM's name",
	  .returns = &name_info,
	  .handler = query_name },
	{ .name = "query-uuid",
	  .help = "the VM's UUID",
	  .returns = &uuid_info,
	  .handler = query_uuid },
	{ .name = "query-vm-generation-id",
	  .help = "the VM generation ID, if there is a vmgenid device",
	  .returns = &guid_info,
	  .handler = query_vm_generation_id },
	{ .name = "query-target",
	  .help = "the architecture",
	  .returns = &target_info,
	  .handler = query_target },
	{ .name = "query-kvm",
	  .help = "whether KVM is in use",
	  .returns = &kvm_info,
	  .handler = query_kvm },
	{ .name = "query-memory-size-summary",
	  .help = "how much memory the guest has",
	  .returns = &memory_summary,
	  .handler = query_memory_size_summary },
	{ .name = "query-machines",
	  .help = "what -machine can be",
	  .returns = &machine_info_array,
	  .handler = query_machines },
	{ .name = "query-command-line-options",
	  .help = "options of the command line and their keys",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("option", qmp_str, "only this one")),
	  .returns = &option_info_array,
	  .handler = query_command_line_options },
	{ .name = NULL },
};
