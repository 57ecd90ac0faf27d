// SPDX-License-Identifier: Apache-2.0
/* vCPUs and iothreads, with the ids of their host threads. */
#include <stdio.h>
#include <string.h>

#include "cpu/vcpu.h"
#include "devices/device.h"
#include "internal.h"

#ifdef __x86_64__
#define ARCH "x86_64"
#define OLD_ARCH "x86"
#define CPU_TYPE "host-x86_64-cpu"
#else
#define ARCH "aarch64"
#define OLD_ARCH "arm"
#define CPU_TYPE "host-arm-cpu"
#endif

QMP_TYPE_OBJECT(qmp_cpu_properties, "CpuInstanceProperties",
		QMP_OPTIONAL("node-id", qmp_int, "its NUMA node, with -numa"), QMP_OPTIONAL("socket-id", qmp_int, NULL), QMP_OPTIONAL("die-id", qmp_int, "x86_64"),
		QMP_OPTIONAL("cluster-id", qmp_int, "aarch64"),
		QMP_OPTIONAL("core-id", qmp_int, "within its die or cluster"),
		QMP_OPTIONAL("thread-id", qmp_int, "within its core; no host thread"));

static struct json_object *properties(const struct machine *machine, unsigned int index)
{
	const struct vcpu_topology *topology = machine_topology(machine);
	struct json_object *props = json_object_new_object();
	unsigned int n = index;

	qmp_add_int(props, "thread-id", n % topology->threads);
	n /= topology->threads;
	qmp_add_int(props, "core-id", n % topology->cores);
	n /= topology->cores;
#ifdef __x86_64__
	n /= topology->clusters;
	qmp_add_int(props, "die-id", n % topology->dies);
	n /= topology->dies;
#else
	qmp_add_int(props, "cluster-id", n % topology->clusters);
	n /= topology->clusters;
	n /= topology->dies;
#endif
	qmp_add_int(props, "socket-id", n);
	if (machine_numa_nodes(machine))
		qmp_add_int(props, "node-id", machine_cpu_node(machine, index));
	return props;
}

static void add_path(struct json_object *object, const char *name, const struct machine *machine,
		     unsigned int index)
{
	const char *id = machine_cpu_id(machine, index);
	char path[VM_ID_MAX + 48];

	if (id)
		snprintf(path, sizeof(path), "/machine/peripheral/%s", id);
	else
		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", index);
	qmp_add_str(object, name, path);
}

static QMP_TYPE_OBJECT(cpu_fast, "CpuInfoFast", QMP_MEMBER("cpu-index", qmp_int, NULL),
		       QMP_MEMBER("qom-path", qmp_str, NULL),
		       QMP_MEMBER("thread-id", qmp_int, "of the host"),
		       QMP_OPTIONAL("props", qmp_cpu_properties, "where it is in the topology"),
		       QMP_MEMBER("target", qmp_sys_emu_target, NULL));
static QMP_TYPE_ARRAY(cpu_fast_array, "CpuInfoFast", cpu_fast);

QMP_HANDLER(query_cpus_fast)
{
	struct machine *machine = call->qmp->machine;
	const struct vcpus *vcpus = machine_vcpus(machine);

	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	for (unsigned int i = 0; i < vcpus_count(vcpus); i++) {
		struct json_object *info = json_object_new_object();

		qmp_add_int(info, "cpu-index", i);
		add_path(info, "qom-path", machine, i);
		qmp_add_int(info, "thread-id", vcpu_tid(vcpus, i));
		json_object_object_add(info, "props", properties(machine, i));
		qmp_add_str(info, "target", ARCH);
		json_object_array_add(*ret, info);
	}
	return 0;
}

static QMP_TYPE_ENUM(old_arch, "CpuInfoArch", "x86", "arm");
static QMP_TYPE_OBJECT(cpu_info, "CpuInfo", QMP_MEMBER("CPU", qmp_int, "its index"),
		       QMP_MEMBER("current", qmp_bool, "always true, as StratoVirt says it"),
		       QMP_MEMBER("halted", qmp_bool, "always false: only the host's kernel knows"),
		       QMP_MEMBER("qom_path", qmp_str, NULL),
		       QMP_MEMBER("thread_id", qmp_int, "of the host"),
		       QMP_OPTIONAL("props", qmp_cpu_properties, "where it is in the topology"),
		       QMP_MEMBER("arch", old_arch, NULL));
static QMP_TYPE_ARRAY(cpu_info_array, "CpuInfo", cpu_info);

QMP_HANDLER(query_cpus)
{
	struct machine *machine = call->qmp->machine;
	const struct vcpus *vcpus = machine_vcpus(machine);

	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	for (unsigned int i = 0; i < vcpus_count(vcpus); i++) {
		struct json_object *info = json_object_new_object();

		qmp_add_str(info, "arch", OLD_ARCH);
		qmp_add_bool(info, "current", true);
		qmp_add_bool(info, "halted", false);
		add_path(info, "qom_path", machine, i);
		json_object_object_add(info, "props", properties(machine, i));
		qmp_add_int(info, "CPU", i);
		qmp_add_int(info, "thread_id", vcpu_tid(vcpus, i));
		json_object_array_add(*ret, info);
	}
	return 0;
}

static QMP_TYPE_OBJECT(hotpluggable_cpu, "HotpluggableCPU", QMP_MEMBER("type", qmp_str, NULL),
		       QMP_MEMBER("vcpus-count", qmp_int, "vCPUs it adds"),
		       QMP_MEMBER("props", qmp_cpu_properties, "where it is in the topology"),
		       QMP_OPTIONAL("qom-path", qmp_str, "when it is there"));
static QMP_TYPE_ARRAY(hotpluggable_cpu_array, "HotpluggableCPU", hotpluggable_cpu);

QMP_HANDLER(query_hotpluggable_cpus)
{
	struct machine *machine = call->qmp->machine;
	const struct vcpu_topology *topology = machine_topology(machine);

	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	for (unsigned int i = 0; i < topology->maxcpus; i++) {
		struct json_object *info = json_object_new_object();

		qmp_add_str(info, "type", CPU_TYPE);
		qmp_add_int(info, "vcpus-count", 1);
		json_object_object_add(info, "props", properties(machine, i));
		if (i < vcpus_count(machine_vcpus(machine)))
			add_path(info, "qom-path", machine, i);
		json_object_array_add(*ret, info);
	}
	return 0;
}

static QMP_TYPE_OBJECT(iothread_info, "IOThreadInfo", QMP_MEMBER("id", qmp_str, NULL),
		       QMP_MEMBER("thread-id", qmp_int, "of the host"),
		       QMP_MEMBER("poll-max-ns", qmp_int,
				  "for how long it looks for work at most before it sleeps; qom-set changes it"),
		       QMP_MEMBER("poll-grow", qmp_int, NULL),
		       QMP_MEMBER("poll-shrink", qmp_int, NULL),
		       QMP_MEMBER("aio-max-batch", qmp_int, "as it was given, without effect"),
		       QMP_OPTIONAL("cpu-affinity", qmp_str, "as it was given"));
static QMP_TYPE_ARRAY(iothread_info_array, "IOThreadInfo", iothread_info);

static void add_iothread(void *opaque, const char *id, void *object)
{
	const struct iothread_config *config = iothread_config(object);
	struct json_object *info = json_object_new_object();

	qmp_add_int(info, "poll-shrink", (int64_t)config->polling.shrink);
	qmp_add_int(info, "thread-id", iothread_tid(object));
	qmp_add_int(info, "poll-grow", (int64_t)config->polling.grow);
	qmp_add_int(info, "poll-max-ns", (int64_t)config->polling.max_ns);
	qmp_add_int(info, "aio-max-batch", (int64_t)config->aio_max_batch);
	if (config->cpu_affinity)
		qmp_add_str(info, "cpu-affinity", config->cpu_affinity);
	qmp_add_str(info, "id", id);
	json_object_array_add(opaque, info);
}

QMP_HANDLER(query_iothreads)
{
	(void)args;
	(void)errp;
	*ret = json_object_new_array();
	link_scope_each(machine_platform(call->qmp->machine)->links, LINK_IOTHREAD, add_iothread,
			*ret);
	return 0;
}

const struct qmp_command qmp_cpu_commands[] = {
	{ .name = "query-cpus-fast",
	  .help = "the vCPUs; does not disturb them",
	  .returns = &cpu_fast_array,
	  .handler = query_cpus_fast },
	{ .name = "query-cpus",
	  .help = "the same in the form of QEMU before 6.0, as Kata reads it",
	  .returns = &cpu_info_array,
	  .handler = query_cpus },
	{ .name = "query-hotpluggable-cpus",
	  .help = "places for vCPUs, taken and free",
	  .returns = &hotpluggable_cpu_array,
	  .handler = query_hotpluggable_cpus },
	{ .name = "query-iothreads",
	  .help = "the iothreads",
	  .returns = &iothread_info_array,
	  .handler = query_iothreads },
	{ .name = NULL },
};
