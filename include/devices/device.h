/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device core (DESIGN §3). A device is one "static const struct device_class" with its property table, in the
 * device's own file, named in the registry of the machine room. "-device", JSON and device_add all come through
 * device_create(), which finds the class, applies the properties and realizes the device.
 *
 * Creation, removal, reset and quiescing happen on the main thread while no vCPU runs, or, for hot-plug, while the
 * guest cannot yet (or no longer) reach the device. Register handlers run on vCPU threads and take the
 * device's own lock.
 *
 * Errors of realize() say what is wrong without naming the option: the core puts that before them.
 */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include "config/property.h"
#include "cpu/accel.h"
#include "interrupt/irq.h"
#include "memory/space.h"
#include "util/loop.h"

struct block_drive;
struct device;
struct json_object;
struct pci_host;
struct platform;

enum device_bus {
	DEVICE_BUS_SYSTEM, /* placed by the machine at an address of its own (ISA ports, RTC, GED) */
	DEVICE_BUS_MMIO,   /* a virtio-mmio slot of the machine */
	DEVICE_BUS_PCI,
	DEVICE_BUS_SERIAL, /* a port of a virtio-serial device */
};

/* A value of a device that is no option: it changes at run time, or is set then. Main thread. */
struct device_value {
	const char *name; /* NULL ends a table */
	const char *type; /* as qom-list shows it: "int", "guest statistics" */
	struct json_object *(*get)(struct device *dev); /* a new reference */
	/* @value may be of any type and remains the caller's. NULL: read only. */
	int (*set)(struct device *dev, struct json_object *value, struct error **errp);
};

struct device_class {
	const char *name;    /* QEMU's and StratoVirt's name: "virtio-blk-device" */
	const char *summary; /* one line for "-device help" */
	enum device_bus bus;
	bool internal;       /* made by the machine only, not by -device */
	size_t instance_size; /* of the struct that begins with struct device; zero-initialised */
	const struct property *props; /* fields of the instance; NULL = none */
	const struct device_value *values; /* for qom-get and qom-set; NULL = none */
	const void *data;    /* for the layer between: the virtio device's operations */

	/* Attaches back ends, maps registers, takes interrupt lines. On failure it undoes what it did. */
	int (*realize)(struct device *dev, struct error **errp);
	/* Undoes realize; outstanding requests are waited for or cancelled. */
	void (*unrealize)(struct device *dev);
	/* Power-on state; outstanding requests are waited for or cancelled. NULL = stateless. Called after realize, too. */
	void (*reset)(struct device *dev);
	/* Stop touching guest memory and back ends, and go on again: "stop" and "cont". NULL = only vCPUs drive it. */
	void (*quiesce)(struct device *dev);
	void (*resume)(struct device *dev);
	/*
	 * Replaceable slots: put into an empty device what @opts describe, and take it out again, while the guest may use the
	 * device. Main thread. unplug() returns when outstanding requests are done. NULL = cannot be in such a slot.
	 */
	int (*plug)(struct device *dev, const struct opts *opts, struct error **errp);
	void (*unplug)(struct device *dev);
	/*
	 * Hot-plug of devices that come and go whole. show(): the device is complete, the guest may see it (until then
	 * platform->hotplugging was set). ask_unplug(): asks the guest to let go; when it has, the bus calls platform->unplugged().
	 * -EBUSY: it was asked already. Main thread. NULL = there from the start to the end.
	 */
	void (*show)(struct device *dev);
	int (*ask_unplug)(struct device *dev, struct error **errp);
	/*
	 * How firmware calls what boots from it, below the host bridge: "pci-bridge@1/scsi@0/disk@0,0", and its bootindex. False:
	 * nothing shall boot from it. Main thread. NULL: never.
	 */
	bool (*boot_option)(struct device *dev, char *path, size_t size, uint32_t *index);
};

struct device {
	const struct device_class *class;
	char *id; /* never NULL: given, or "<class>-<n>"; of a replaceable slot: the slot's. Constant, any thread */
	bool replaceable; /* stays when what is in it goes */
	char *plugged;    /* replaceable: the id of what is in it, or NULL. Main thread */
	struct platform *platform;
	struct list node; /* in platform->devices */
};

/* What the guest asks of the machine. */
enum guest_request {
	GUEST_RESET,
	GUEST_POWEROFF,
	GUEST_PANICKED,
	GUEST_EXIT, /* debug-exit device: end with @status */
	GUEST_IO_ERROR, /* of the host: stop until somebody has seen to it */
};

/* What devices have to tell the operator. */
enum device_event {
	DEVICE_EVENT_PORT,    /* the guest opened or closed a serial port */
	DEVICE_EVENT_BALLOON, /* the guest's memory has another size */
	DEVICE_EVENT_DELETED, /* it was unplugged */
	DEVICE_EVENT_DRIVE_ERROR, /* the host failed a request; once a second and device at most */
};

struct device_event_info {
	const struct device *dev;
	bool open;       /* PORT */
	uint64_t actual; /* BALLOON: bytes the guest has now */
	const char *id;  /* DELETED: what users called it */
	const struct block_drive *drive; /* DRIVE_ERROR */
	const char *operation;           /* DRIVE_ERROR: "read" or "write" */
	const char *action;              /* DRIVE_ERROR: "report", "ignore" or "stop" */
	int error;                       /* DRIVE_ERROR: -errno */
};

struct mmio_slot {
	gpa_t base;
	uint64_t size;
	uint32_t gsi;
};

/* What devices may use of their machine. Owned by the machine. */
struct platform {
	struct mem_space *space;
	struct accel *accel;
	struct loop *main_loop;
	struct link_scope *links;
	const struct list *globals; /* struct opts: "driver", "property", "value". NULL: none */
	const struct device_class *const *classes; /* the registry, NULL-terminated */
	struct list devices;                       /* struct device, in order of creation */

	struct pci_host *pci;   /* where PCI devices go (pci/host.h); NULL: the machine has none */
	bool has_vmgenid;       /* the machine can announce one (devices/vmgenid.h) */
	gpa_t vmgenid_page;     /* that it has for itself; 0: the machine says where in RAM, vmgenid_place() */
	uint32_t vmgenid_gsi;   /* a line that tells the guest of a change, 0: there is none */
	/* Tells the guest that the generation has changed. NULL: by the line and by the GED, as far as there are such. Main thread. */
	int (*vm_generation)(struct platform *platform);
	bool hotplugging;       /* a device is made while the guest may look: it is shown when it is complete. Main thread */

	/* Any thread; returns at once, carried out on the main thread. @reason: static text for the log. */
	void (*request)(struct platform *platform, enum guest_request what, int status, const char *reason);
	/* Main loop, not from realize to reset. NULL: nobody listens. */
	void (*event)(struct platform *platform, enum device_event what, const struct device_event_info *info);
	/* The guest let go of a device that it was asked for, or never had it: it is destroyed before this returns. Main thread. */
	void (*unplugged)(struct platform *platform, struct device *dev);
	/* A virtio-mmio slot with its interrupt. NULL where the machine has none. Main thread. */
	int (*mmio_slot_take)(struct platform *platform, struct mmio_slot *slot, struct error **errp);
	void (*mmio_slot_release)(struct platform *platform, const struct mmio_slot *slot);
};

const struct device_class *device_class_find(const struct platform *platform, const char *name);

/*
 * Makes the device that @opts ("driver", "id", properties) describes. Errors name the option. The id must be unique;
 * one without an id gets one. @by_user: refuse internal classes.
 */
int __must_check device_create(struct platform *platform, const struct opts *opts, bool by_user,
			       struct device **ret, struct error **errp);
/* As device_create() for the machine's own devices: @props = "chardev=serial0,irq=4" or NULL. */
int __must_check device_create_internal(struct platform *platform, const char *name, const char *id,
					const char *props, struct device **ret, struct error **errp);
void device_destroy(struct device *dev);

/*
 * As device_create() by a user, in a replaceable slot. @slot: the lasting id. An "id" in @opts, or one made up, is that of
 * what is in the slot; with @empty nothing is.
 */
int __must_check device_create_replaceable(struct platform *platform, const char *slot, const struct opts *opts,
					   bool empty, struct device **ret, struct error **errp);
/* Fills an empty replaceable slot. On failure it is as before. Errors name the option. */
int __must_check device_plug(struct device *dev, const struct opts *opts, struct error **errp);
void device_unplug(struct device *dev); /* empties a filled one */

/* By what users call it: see device_name(). */
struct device *device_find(const struct platform *platform, const char *id);
/* What users call it: the id of what is in a replaceable slot, else its own. Valid until it is unplugged. Main thread. */
const char *device_name(const struct device *dev);
/* Part of the machine, as empty slots are, rather than made by a user. */
bool device_is_internal(const struct device *dev);
/* The first device with a property that links to @object, or NULL. */
const struct device *device_find_user(const struct platform *platform, const void *object);

/* All devices: reset in order of creation, destroyed in reverse order. */
void devices_reset(struct platform *platform);
void devices_quiesce(struct platform *platform);
void devices_resume(struct platform *platform);
void devices_destroy(struct platform *platform);

/* "-device help" and "-device NAME,help" (-ENOENT with the nearest name). */
void device_help(const struct device_class *const *classes, FILE *out);
int __must_check device_class_help(const struct device_class *const *classes, const char *name, FILE *out,
				   struct error **errp);

#endif
