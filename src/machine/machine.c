// SPDX-License-Identifier: Apache-2.0
/* Building a machine from its description, in one fixed order, and taking it down again. */
#define LOG_MODULE "machine"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "config/rtc_base.h"
#include "cpu/accel_test.h"
#include "internal.h"
#include "numa.h"
#include "util/alloc.h"
#include "util/parse.h"

static const char *const class_skip[] = { NULL };

const char *const machine_irqchip_words[] = { "on", "off", "split", NULL };

static bool class_is(const struct machine_class *class, const char *name)
{
	const char *alias = class->alias;

	return !strcasecmp(class->name, name) || (alias && !fnmatch(alias, name, 0));
}

static const struct machine_class *class_find(const char *name)
{
	for (unsigned int i = 0; machine_classes[i]; i++)
		if (class_is(machine_classes[i], name))
			return machine_classes[i];
	return NULL;
}

static int class_unknown(const char *name, struct error **errp)
{
	const char *names[16] = { NULL };
	const char *near;

	for (unsigned int i = 0; machine_classes[i] && i < ARRAY_SIZE(names) - 1; i++)
		names[i] = machine_classes[i]->name;
	near = nearest_name(name, names);
	return error_set(errp, -ENOENT, "-machine %s: unknown machine%s%s%s; -machine help lists them",
			 name, near ? "; did you mean '" : "", near ? near : "", near ? "'" : "");
}

static int create_devices(struct machine *machine, struct error **errp)
{
	struct opts *opts;
	struct device *dev;
	int ret;

	ret = machine->class->init_devices(machine, errp);
	if (!ret)
		ret = hotplug_create_slots(machine, errp);
	if (ret)
		return ret;
	list_for_each(opts, &machine->config->devices, node) {
		if (hotplug_in_slot(machine, opts))
			continue;
		ret = device_create(&machine->platform, opts, true, &dev, errp);
		if (ret)
			return ret;
	}
	return 0;
}

/* By the clock that the accelerator has chosen. */
static int set_rtc_base(const struct vm_config *config, struct error **errp)
{
	int64_t offset = 0;
	int ret = 0;

	clock_set_wall_offset(0);
	if (config->rtc_base)
		ret = rtc_base_offset(config->rtc_base, clock_wall_ns() / NSEC_PER_SEC, &offset, errp);
	if (!ret)
		clock_set_wall_offset(offset * NSEC_PER_SEC);
	return ret;
}

/* The test accelerator, and who drives it. */
static int make_test_accel(struct machine *machine, struct error **errp)
{
	const struct vm_config *config = machine->config;
	const char *path = config->qtest ? opts_get(config->qtest, "path") : NULL;
	bool server = false;
	const char *word;
	int ret;

	ret = accel_test_new(machine->space, machine->loop, &machine->accel, errp);
	if (!ret && config->mod_test) {
		ret = accel_test_serve(machine->accel, config->mod_test, false,
				       TEST_DIALECT_STRATOVIRT, errp);
		if (ret)
			error_prefix(errp, "-mod-test: ");
	}
	if (ret || !config->qtest)
		return ret;
	word = opts_get(config->qtest, "server");
	if (!path || (word && parse_bool(word, &server)))
		return error_set(errp, -EINVAL, "-qtest: unix:PATH[,server=on|off] is needed");
	ret = accel_test_serve(machine->accel, path, server, TEST_DIALECT_QEMU, errp);
	if (ret)
		error_prefix(errp, "-qtest: ");
	return ret;
}

static bool is_test(const struct machine *machine)
{
	return !strcmp(machine->config->accel, "test");
}

/* Without KVM: its vCPUs can be counted, and that is all. */
static bool runs_nothing(const struct machine *machine)
{
	return is_test(machine) || machine->class->bare;
}

static int build(struct machine *machine, struct error **errp)
{
	const struct vcpu_events events = { .stopped = life_vcpu_stopped, .opaque = machine };
	int ret;

	if (runs_nothing(machine))
		clock_step_to(0); /* before anybody sets a timer */
	ret = globals_check(machine, errp);
	if (ret)
		return ret;
	machine->platform.globals = &machine->config->globals;
	ret = backends_create(machine, errp);
	if (ret)
		return ret;
	ret = property_apply(machine->class->props, machine, machine->config->machine, class_skip,
			     machine->platform.links, errp);
	if (ret)
		return ret;
	if (machine->irqchip != MACHINE_IRQCHIP_ON)
		return error_set(errp, -ENOTSUP,
				 "-machine %s: kernel-irqchip=%s: the interrupt controllers are in the kernel "
				 "(kernel-irqchip=on)",
				 machine->class->name, machine_irqchip_words[machine->irqchip]);
	ret = numa_create(machine, errp);
	if (!ret)
		ret = backends_create_ram(machine, errp);
	if (ret)
		return ret;
	machine->space = machine->platform.space = mem_space_new();
	ret = machine->class->init_memory(machine, errp);
	if (ret)
		return ret;
	ret = runs_nothing(machine) ? make_test_accel(machine, errp) :
				 accel_kvm_new(machine->space, &machine->accel, errp);
	if (ret)
		return ret;
	machine->platform.accel = machine->accel;
	ret = set_rtc_base(machine->config, errp);
	if (ret)
		return ret;
	machine->accel->want_pmu = (enum accel_want)machine->config->cpu_pmu;
	machine->accel->want_sve = (enum accel_want)machine->config->cpu_sve;
	machine->accel->want_steal_time = (enum accel_want)machine->config->cpu_steal_time;
	ret = machine->accel->ops->map_ram(machine->accel, errp);
	if (ret)
		return ret;
	ret = vcpus_new(machine->accel, &machine->topology, &events, &machine->vcpus, errp);
	if (ret)
		return ret;
	ret = create_devices(machine, errp);
	if (ret)
		return ret;
	ret = machine->class->prepare_boot(machine, errp);
	if (ret)
		return ret;
	return life_load(machine, errp);
}

int machine_new(const struct vm_config *config, struct loop *main_loop, struct machine **ret,
		struct error **errp)
{
	const char *type = opts_get(config->machine, "type");
	const struct machine_class *class;
	struct machine *machine;
	int err;

	class = class_find(type ? type : "microvm");
	if (!class)
		return class_unknown(type, errp);
	machine = xcalloc(1, class->instance_size);
	machine->class = class;
	machine->config = config;
	machine->loop = main_loop;
	machine->topology = (struct vcpu_topology){
		.cpus = config->smp.cpus,
		.maxcpus = config->smp.maxcpus,
		.sockets = config->smp.sockets,
		.dies = config->smp.dies,
		.clusters = config->smp.clusters,
		.cores = config->smp.cores,
		.threads = config->smp.threads,
	};
	machine->platform.main_loop = main_loop;
	machine->platform.links = link_scope_new();
	machine->platform.classes = machine_device_classes;
	list_init(&machine->platform.devices);
	list_init(&machine->backends);
	life_init(machine);

	err = build(machine, errp);
	if (err) {
		machine_free(machine);
		return err;
	}
	*ret = machine;
	return 0;
}

void machine_free(struct machine *machine)
{
	if (!machine)
		return;
	life_halt(machine, RUN_STATE_PAUSED);
	devices_destroy(&machine->platform);
	vcpus_free(machine->vcpus);
	machine->class->release(machine);
	accel_free(machine->accel);
	if (machine->space)
		mem_space_free(machine->space);
	ram_backend_free(machine->own_ram);
	backends_destroy(machine);
	ram_area_free(machine->ram_area);
	free(machine->rams);
	for (unsigned int i = 0; i < machine->slot_counts[MACHINE_SLOT_DISK]; i++)
		free(machine->slots[MACHINE_SLOT_DISK][i].node);
	numa_free(machine->numa);
	life_release(machine);
	link_scope_free(machine->platform.links);
	cpu_ids_free(machine);
	property_release(machine->class->props, machine);
	free(machine);
}

bool machine_class_at(unsigned int index, struct machine_kind *ret)
{
	for (unsigned int i = 0; machine_classes[i]; i++) {
		if (i < index)
			continue;
		*ret = (struct machine_kind){
			.name = machine_classes[i]->name,
			.summary = machine_classes[i]->summary,
			.props = machine_classes[i]->props,
			.alias = machine_classes[i]->alias,
			.ram_id = machine_classes[i]->ram_id,
			.bare = machine_classes[i]->bare,
			.cpus_come = machine_classes[i]->cpu_event,
		};
		return true;
	}
	return false;
}

/* --- what it was built from ------------------------------------------------------------ */

const struct vm_config *machine_config(const struct machine *machine)
{
	return machine->config;
}

const char *machine_class_name(const struct machine *machine)
{
	return machine->class->name;
}

struct platform *machine_platform(struct machine *machine)
{
	return &machine->platform;
}

struct vcpus *machine_vcpus(struct machine *machine)
{
	return machine->vcpus;
}

const struct vcpu_topology *machine_topology(const struct machine *machine)
{
	return &machine->topology;
}

uint64_t machine_ram_size(const struct machine *machine)
{
	return machine->ram_size;
}

/* --- help -------------------------------------------------------------------------------- */

int machine_help(const char *name, FILE *out, struct error **errp)
{
	const struct machine_class *class;

	if (!name) {
		fprintf(out, "Machines (-machine NAME,help shows the properties of one):\n");
		for (unsigned int i = 0; machine_classes[i]; i++)
			fprintf(out, "  %-12s %s%s\n", machine_classes[i]->name,
				machine_classes[i]->summary, i ? "" : " (default)");
		return 0;
	}
	class = class_find(name);
	if (!class)
		return class_unknown(name, errp);
	fprintf(out, "-machine %s: %s\n", class->name, class->summary);
	property_help(class->props, out);
	return 0;
}

int machine_device_help(const char *name, FILE *out, struct error **errp)
{
	if (name)
		return device_class_help(machine_device_classes, name, out, errp);
	device_help(machine_device_classes, out);
	return 0;
}
