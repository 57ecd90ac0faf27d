/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: builds a VM from its neutral description and leads it through its life. Everything here is called on
 * the main thread, which runs the main loop; vCPU threads and devices reach the machine by struct platform.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdio.h>

#include "config/vm_config.h"
#include "devices/device.h"
#include "machine/runstate.h"
#include "util/loop.h"

struct address;
struct machine;
struct netdev;
struct platform;
struct vcpus;
struct vcpu_topology;

/* Builds everything up to the point where the first vCPU could run. @config must outlive the machine. */
int __must_check machine_new(const struct vm_config *config, struct loop *main_loop, struct machine **ret,
			     struct error **errp);
void machine_free(struct machine *machine); /* NULL allowed */

/* Lets the vCPUs run, first start or after a stop. -EPERM with the run state when they may not. */
int __must_check machine_cont(struct machine *machine, struct error **errp);

/* Returns when every vCPU is out of the guest and every device is drained. Harmless when not running. */
void machine_stop(struct machine *machine);

/* Back to power-on and boot again; the VM runs afterwards if it ran before. */
int __must_check machine_reset(struct machine *machine, struct error **errp);

/* Presses the power button. -ENODEV when the machine has none that the guest can see. */
int __must_check machine_powerdown(struct machine *machine, struct error **errp);

/*
 * Ends the main loop with this exit status. @reason: one of QEMU's ShutdownCause words ("host-qmp-quit",
 * "host-signal", "host-ui", "host-error"), for the log and for observers.
 */
void machine_quit(struct machine *machine, int exit_status, const char *reason);

/* QEMU's set-action: what -no-reboot, -no-shutdown and -action say. NULL: as it was. */
struct machine_actions {
	const char *reboot;   /* "reset", "shutdown" */
	const char *shutdown; /* "poweroff", "pause" */
	const char *panic;    /* one of vm_panic_words */
};

void machine_set_actions(struct machine *machine, const struct machine_actions *actions);

/* --- what others may watch --- */

enum machine_event {
	MACHINE_EVENT_STOP,     /* the vCPUs and devices came to rest */
	MACHINE_EVENT_RESUME,
	MACHINE_EVENT_RESET,
	MACHINE_EVENT_SHUTDOWN, /* the VM ends, or stays stopped with -no-shutdown */
	MACHINE_EVENT_POWERDOWN, /* the power button was pressed */
	MACHINE_EVENT_PANICKED,
	MACHINE_EVENT_DEVICE, /* a device has something to tell */
	MACHINE_EVENT_NETDEV, /* the other side of a network back end has come or gone */
};

struct machine_event_info {
	bool guest;         /* RESET, SHUTDOWN: the guest asked for it */
	const char *reason; /* RESET, SHUTDOWN: QEMU's ShutdownCause */
	enum device_event device_event; /* DEVICE */
	const struct device_event_info *device; /* DEVICE */
	const struct netdev *netdev; /* NETDEV */
	const struct address *peer;  /* NETDEV: who has come; NULL: it has gone */
	bool stays;         /* SHUTDOWN, PANICKED: the process stays, with the VM stopped (-no-shutdown) */
	bool runs;          /* PANICKED: nothing is done about it */
};

/* Called on the main thread, in the order of the events. Owned by the watcher, who removes it before it goes. */
struct machine_observer {
	struct list node;
	void (*event)(struct machine_observer *observer, enum machine_event event,
		      const struct machine_event_info *info);
};

void machine_add_observer(struct machine *machine, struct machine_observer *observer);
void machine_del_observer(struct machine_observer *observer);

enum run_state machine_run_state(const struct machine *machine);
int machine_exit_status(const struct machine *machine);
const struct vm_config *machine_config(const struct machine *machine);
const char *machine_class_name(const struct machine *machine);
struct platform *machine_platform(struct machine *machine); /* devices, back ends, address space */
struct vcpus *machine_vcpus(struct machine *machine);
const struct vcpu_topology *machine_topology(const struct machine *machine);
/* The id that device_add gave vCPU @index; NULL: none, or it was there at start. */
const char *machine_cpu_id(const struct machine *machine, unsigned int index);
uint64_t machine_ram_size(const struct machine *machine);
/* NUMA nodes of the guest, 0 without -numa; memory of one, in bytes; which one a CPU below maxcpus is in. */
unsigned int machine_numa_nodes(const struct machine *machine);
uint64_t machine_numa_memory(const struct machine *machine, unsigned int node);
unsigned int machine_cpu_node(const struct machine *machine, unsigned int cpu);

/* --- changes of a VM that is there, in any run state; what is refused leaves nothing behind --- */

/* Objects, character devices, drives and network back ends, from the same options as at start. -ENOENT, -EBUSY when in use. */
int __must_check machine_object_add(struct machine *machine, const struct opts *opts, struct error **errp);
int __must_check machine_object_del(struct machine *machine, const char *id, struct error **errp);
int __must_check machine_chardev_add(struct machine *machine, const struct opts *opts, struct error **errp);
int __must_check machine_chardev_del(struct machine *machine, const char *id, struct error **errp);
int __must_check machine_blockdev_add(struct machine *machine, const struct opts *opts, struct error **errp);
int __must_check machine_blockdev_del(struct machine *machine, const char *name, struct error **errp);
int __must_check machine_netdev_add(struct machine *machine, const struct opts *opts, struct error **errp);
int __must_check machine_netdev_del(struct machine *machine, const char *id, struct error **errp);

/*
 * Devices in replaceable slots. The slot: "addr" (0x: hexadecimal), or "lun" plus 1, or the first that is empty.
 * machine_device_del() returns when the device's requests are done; -ENODEV: no such device.
 */
int __must_check machine_device_add(struct machine *machine, const struct opts *opts, struct error **errp);
int __must_check machine_device_del(struct machine *machine, const char *id, struct error **errp);

/* The kinds of machines, and of objects that -object makes. False past the end. */
struct machine_kind {
	const char *name, *summary;
	const struct property *props; /* NULL = none */
	/* Of a machine: a pattern of other names, or NULL; the id of the guest's memory, or NULL; it runs nothing. */
	const char *alias, *ram_id;
	bool bare;
	bool cpus_come; /* of a machine: device_add takes CPUs */
};
bool machine_class_at(unsigned int index, struct machine_kind *ret);
bool machine_object_class_at(unsigned int index, struct machine_kind *ret);

/* A value of an object that can be seen, or changed, while it is there. */
struct json_object;
struct object_value {
	const char *name; /* NULL ends a table */
	const char *type; /* as qom-list shows it */
	struct json_object *(*get)(const void *object); /* a new reference */
	int (*set)(void *object, struct json_object *value, struct error **errp); /* any type of value */
};

/* An object of -object. */
struct machine_object {
	const char *type, *id;
	const struct property *props; /* that it was made with, on @config; NULL: they are not kept */
	const void *config;
	const struct object_value *values; /* NULL: none */
	void *object;
};

/* In order of creation. False past the end. */
bool machine_object_at(const struct machine *machine, unsigned int index, struct machine_object *ret);

/* "-machine help" (name NULL) and "-machine NAME,help" and the like. -ENOENT when there is no such thing. */
int __must_check machine_help(const char *name, FILE *out, struct error **errp);
int __must_check machine_device_help(const char *name, FILE *out, struct error **errp);
int __must_check machine_object_help(const char *name, FILE *out, struct error **errp);

#endif
