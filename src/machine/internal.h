/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the machine room share. Main thread, unless a field says otherwise. */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include <pthread.h>

#include "boot/acpi.h"
#include "boot/boot.h"
#include "cpu/vcpu.h"
#include "devices/device.h"
#include "machine/machine.h"
#include "net/netdev.h"

struct acpi_tables;
struct block_drive;
struct fw_cfg;
struct machine_numa;

struct machine_class {
	const char *firmware_bus; /* OpenFirmware name of its PCI bus, for the boot order; NULL = none */
	const char *name;
	const char *alias; /* another name; "pc-q35-*": every one that begins so. NULL: none */
	const char *summary;
	const char *ram_id; /* the id libvirt gives the guest's memory object; NULL: -m is all */
	bool bare;          /* nothing runs: no KVM is needed */
	size_t instance_size;         /* of the struct that begins with struct machine */
	const struct property *props; /* on that struct */
	/* Lays out guest memory for @ram. */
	int (*init_memory)(struct machine *machine, struct error **errp);
	/* The machine's own devices; called before those of -device. */
	int (*init_devices)(struct machine *machine, struct error **errp);
	/* Opens and checks what boots, once, after all devices exist. */
	int (*prepare_boot)(struct machine *machine, struct error **errp);
	/* Writes firmware, kernel and tables to memory; at start and after each reset. */
	int (*load)(struct machine *machine, struct vcpu_entry *entry, struct error **errp);
	/* Presses the power button. -ENODEV when the guest sees none. NULL: the one of the GED. */
	int (*power_button)(struct machine *machine);
	/* Tells the guest to look at the CPU hot-plug registers. NULL: this machine's CPUs are fixed. */
	void (*cpu_event)(struct machine *machine);
	void (*release)(struct machine *machine);
};

/* Where the interrupt controllers are, in QEMU's words. There is one place. */
enum { MACHINE_IRQCHIP_ON, MACHINE_IRQCHIP_OFF, MACHINE_IRQCHIP_SPLIT };
extern const char *const machine_irqchip_words[];

/* The properties every machine takes; each class's table begins with them. */
#define MACHINE_COMMON_PROPS(T)                                                                        \
	PROP_IGNORED("type", "the machine; also the first word of -machine"),                          \
	PROP_BOOL("mem-share", T, machine.mem_share, 0, "map guest memory shared, for other processes"), \
	PROP_BOOL("dump-guest-core", T, machine.dump_guest_core, 1, "guest memory is part of a core dump"), \
	PROP_LINK("memory-backend", T, machine.memory_backend, LINK_MEMORY, 0,                           \
		  "use this memory-backend object as guest memory"),                                   \
	PROP_LINK("pflash0", T, machine.flash[0], LINK_DRIVE, 0, "block node with the firmware"),      \
	PROP_LINK("pflash1", T, machine.flash[1], LINK_DRIVE, 0, "block node with its variables"),     \
	PROP_ENUM("kernel-irqchip", T, machine.irqchip, machine_irqchip_words, MACHINE_IRQCHIP_ON,       \
		  "interrupt controllers are in the kernel"),                                          \
	PROP_IGNORED("accel", "as -accel"),                                                            \
	PROP_IGNORED("usb", "accepted for libvirt: there is no USB")

/* A back end made from the description; destroyed in reverse order of creation. */
struct backend {
	struct list node;
	void *object;
	void (*destroy)(void *object);
	const char *kind; /* LINK_* */
	const char *type; /* of -object, else NULL */
	char *id;         /* of -object */
};

/* Slots for devices that come and go while the guest runs (hotplug.c). */
#define MACHINE_SLOTS_MAX 4
#define MACHINE_FLASH_BANKS 2

enum machine_slot_kind { MACHINE_SLOT_DISK, MACHINE_SLOT_NET, MACHINE_SLOT_KINDS };

struct machine_slot {
	struct device *dev;
	const struct opts *opts; /* of the description that is in it from the start, or NULL */
	char *node; /* the block node that went with its disk and that nobody has deleted since, or NULL */
};

struct machine {
	const struct machine_class *class;
	const struct vm_config *config;
	struct platform platform;
	struct loop *loop; /* main */

	bool mem_share, dump_guest_core;
	int irqchip; /* MACHINE_IRQCHIP_ON once it is built */
	struct ram_backend *memory_backend; /* -machine memory-backend=, owned by its object */
	struct block_drive *flash[MACHINE_FLASH_BANKS]; /* complete after machine_settle_flash(); NULL = empty bank */
	struct fw_cfg *fw_cfg; /* NULL = none; its device owns it */

	struct list backends;    /* struct backend */
	unsigned int iothreads;
	/* What the guest's memory is made of, in its order: memory_backend, or own_ram, or the memdevs of -numa. */
	struct ram_backend **rams;
	unsigned int ram_count;
	uint64_t ram_size; /* of all */
	struct ram_backend *own_ram;
	struct ram_area *ram_area; /* the memdevs side by side; NULL: there is one back end */
	struct machine_numa *numa; /* NULL without -numa */
	struct mem_space *space;
	struct accel *accel;
	struct vcpus *vcpus;
	struct vcpu_topology topology; /* cpus: those that are there now */
	struct device *cpu_registers; /* "acpi-cpu-hotplug"; NULL: the guest cannot be told of CPUs that come */
	char **cpu_ids; /* [maxcpus]: ids of those that device_add made, else NULL; NULL before the first */

	/* What the guest's own doings lead to: the description's, until set-action. */
	bool no_reboot, no_shutdown;
	const char *panic_action; /* one of vm_panic_words */

	enum run_state run_state;
	int exit_status;
	bool ended; /* the main loop was told to stop */
	struct list observers; /* struct machine_observer */
	struct netdev_listener netdev_listener;
	unsigned int slot_counts[MACHINE_SLOT_KINDS]; /* replaceable slots; set by the class's init_devices */
	struct machine_slot slots[MACHINE_SLOT_KINDS][MACHINE_SLOTS_MAX];

	/* Requests of devices and vCPUs, taken up by on_request on the main loop. */
	struct loop_call on_request;
	pthread_mutex_t request_lock; /* guards the fields below */
	unsigned int requests;        /* bit n: enum guest_request n */
	int request_status; /* this and the reason are of GUEST_EXIT */
	const char *request_reason;
	bool vcpu_error;
};

/* registry.c */
extern const struct machine_class *const machine_classes[]; /* NULL-terminated */
extern const struct device_class *const machine_device_classes[];

/* backends.c: memory, objects, chardevs and drives of the description. */
int __must_check backends_create(struct machine *machine, struct error **errp);
int __must_check backends_create_ram(struct machine *machine, struct error **errp);
void backends_destroy(struct machine *machine);
/* Maps [offset, offset + size) of all of guest memory at @base. For init_memory. */
int __must_check machine_map_ram(struct machine *machine, gpa_t base, uint64_t offset, uint64_t size,
				 struct error **errp);

/* life.c. What vCPUs and devices ask for arrives there from any thread; the rest is for the main thread. */
void life_init(struct machine *machine);
void life_release(struct machine *machine);
void life_vcpu_stopped(void *opaque, unsigned int index, enum vcpu_stop_reason why, const char *text);
/* Brings everything to rest, in a state that says why. */
void life_halt(struct machine *machine, enum run_state state);
/* Writes what boots into memory and points the boot CPU at it. */
int __must_check life_load(struct machine *machine, struct error **errp);

/*
 * firmware.c: flash banks and fw_cfg, for machines that have them. In this order: settle in init_devices, before the
 * machine's own devices; create fw_cfg; fill it in prepare_boot, when all devices are there.
 */
int __must_check machine_settle_flash(struct machine *machine, struct error **errp);
bool machine_has_firmware(const struct machine *machine); /* flash bank 0 or -bios */
/* @props of class "fw_cfg_io" or "fw_cfg_mem", or NULL. */
int __must_check machine_create_fw_cfg(struct machine *machine, const char *class, const char *props,
				       struct error **errp);
/* What every firmware asks for, SMBIOS tables among it, then the files of -fw_cfg. */
int __must_check machine_fill_fw_cfg(struct machine *machine, struct error **errp);
/* The SMBIOS tables at SMBIOS_AREA, up to @end, for a kernel that boots without firmware; at each start. */
int __must_check machine_install_smbios(struct machine *machine, gpa_t end, struct error **errp);
/* The tables and the table loader's script; again in a reset if they changed. */
int __must_check machine_fw_cfg_acpi(struct machine *machine, const struct acpi_tables *tables,
				     struct error **errp);

/* globals.c: are there such devices and properties? */
int __must_check globals_check(const struct machine *machine, struct error **errp);

/* hotplug.c: a device for each replaceable slot; the first ones of the description are in the first slots of their kind. */
int __must_check hotplug_create_slots(struct machine *machine, struct error **errp);
/* Is the description's @opts in a slot already? */
bool hotplug_in_slot(const struct machine *machine, const struct opts *opts);
/* A disk has taken the node @name with it when it left its slot, and this is the first to ask since. */
bool hotplug_node_went(struct machine *machine, const char *name);
/* struct platform's unplugged. */
void hotplug_unplugged(struct platform *platform, struct device *dev);

extern const struct machine_class none_class;
/* cpu_hotplug.c: device_add of a class that cpu_is_class() names. */
bool cpu_is_class(const char *name);
int __must_check cpu_add(struct machine *machine, const struct opts *opts, struct error **errp);
/* device_del: the guest is asked; cpu_ejected() when it has let go. */
bool cpu_has_id(const struct machine *machine, const char *id, unsigned int *index);
int __must_check cpu_ask_unplug(struct machine *machine, const char *id, struct error **errp);
/* The machine's CPU hot-plug registers say that the last CPU is gone. @opaque: the machine. Main loop. */
void cpu_ejected(void *opaque, unsigned int index);
void cpu_ids_free(struct machine *machine);

#ifdef __x86_64__
extern const struct machine_class microvm_x86_class;
extern const struct machine_class q35_class;
#endif
#ifdef __aarch64__
extern const struct machine_class microvm_arm_class;
extern const struct machine_class virt_class;
#endif

#endif
