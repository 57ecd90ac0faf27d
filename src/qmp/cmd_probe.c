// SPDX-License-Identifier: Apache-2.0
/* What management programs, libvirt above all, ask before they start a VM and right after. */
#include <string.h>

#include "internal.h"

#ifdef __x86_64__
#define CPU_TYPE "host-x86_64-cpu"
#else
#define CPU_TYPE "host-arm-cpu"
#endif

/* --- CPU models --- */

static QMP_TYPE_OBJECT(cpu_definition, "CpuDefinitionInfo", QMP_MEMBER("name", qmp_str, "for -cpu"),
		       QMP_OPTIONAL("migration-safe", qmp_bool, "the same on every host"),
		       QMP_MEMBER("static", qmp_bool, "the same in every release"),
		       QMP_OPTIONAL("unavailable-features", qmp_str_array, "what this host lacks"),
		       QMP_MEMBER("typename", qmp_str, "for device-list-properties"),
		       QMP_MEMBER("deprecated", qmp_bool, NULL));
static QMP_TYPE_ARRAY(cpu_definition_array, "CpuDefinitionInfo", cpu_definition);

QMP_HANDLER(query_cpu_definitions)
{
	struct json_object *info = json_object_new_object();

	(void)call;
	(void)args;
	(void)errp;
	qmp_add_str(info, "name", "host");
	qmp_add_bool(info, "migration-safe", false);
	qmp_add_bool(info, "static", false);
	json_object_object_add(info, "unavailable-features", json_object_new_array());
	qmp_add_str(info, "typename", CPU_TYPE);
	qmp_add_bool(info, "deprecated", false);
	*ret = json_object_new_array();
	json_object_array_add(*ret, info);
	return 0;
}

#ifdef __aarch64__
static QMP_TYPE_OBJECT(gic_capability, "GICCapability", QMP_MEMBER("version", qmp_int, NULL),
		       QMP_MEMBER("emulated", qmp_bool, "without the kernel"), QMP_MEMBER("kernel", qmp_bool, "by KVM"));
static QMP_TYPE_ARRAY(gic_capability_array, "GICCapability", gic_capability);

QMP_HANDLER(query_gic_capabilities)
{
	struct json_object *info = json_object_new_object();

	(void)call;
	(void)args;
	(void)errp;
	qmp_add_int(info, "version", 3);
	qmp_add_bool(info, "emulated", false);
	qmp_add_bool(info, "kernel", true);
	*ret = json_object_new_array();
	json_object_array_add(*ret, info);
	return 0;
}
#endif

/* --- migration: none yet, so there is nothing but the events that would tell of it --- */

static QMP_TYPE_ENUM(migration_capability, "MigrationCapability", "events");
static QMP_TYPE_OBJECT(capability_status, "MigrationCapabilityStatus",
		       QMP_MEMBER("capability", migration_capability, NULL), QMP_MEMBER("state", qmp_bool, NULL));
static QMP_TYPE_ARRAY(capability_status_array, "MigrationCapabilityStatus", capability_status);

QMP_HANDLER(query_migrate_capabilities)
{
	struct json_object *events = json_object_new_object();

	(void)args;
	(void)errp;
	qmp_add_str(events, "capability", "events");
	qmp_add_bool(events, "state", call->qmp->migration_events);
	*ret = json_object_new_array();
	json_object_array_add(*ret, events);
	return 0;
}

QMP_HANDLER(migrate_set_capabilities)
{
	struct json_object *list = json_object_object_get(args, "capabilities");

	(void)ret;
	(void)errp;
	for (size_t i = 0; i < json_object_array_length(list); i++)
		call->qmp->migration_events = qmp_arg_bool(json_object_array_get_idx(list, i), "state", false);
	return 0;
}

/* --- jobs --- */

static QMP_TYPE_OBJECT(job_info, "JobInfo", QMP_MEMBER("id", qmp_str, NULL));
static QMP_TYPE_ARRAY(job_info_array, "JobInfo", job_info);

QMP_HANDLER(query_jobs)
{
	(void)call;
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	return 0;
}

const struct qmp_command qmp_probe_commands[] = {
	{ .name = "query-cpu-definitions",
	  .help = "what -cpu can be",
	  .returns = &cpu_definition_array,
	  .handler = query_cpu_definitions },
#ifdef __aarch64__
	{ .name = "query-gic-capabilities",
	  .help = "the interrupt controllers that there can be",
	  .returns = &gic_capability_array,
	  .handler = query_gic_capabilities },
#endif
	{ .name = "query-migrate-capabilities",
	  .help = "what migration could do: there is none yet",
	  .returns = &capability_status_array,
	  .handler = query_migrate_capabilities },
	{ .name = "migrate-set-capabilities",
	  .help = "switches them",
	  .args = QMP_MEMBERS(QMP_MEMBER("capabilities", capability_status_array, NULL)),
	  .handler = migrate_set_capabilities },
	{ .name = "query-jobs",
	  .help = "work in the background: there is none",
	  .returns = &job_info_array,
	  .handler = query_jobs },
	{ .name = NULL },
};
