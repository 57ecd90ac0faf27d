/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The neutral description of a VM: what every front end (command line, old dialect, JSON) produces and the
 * machine room builds. Values that only one room understands stay struct opts and are checked against that
 * room's property table when the VM is built. Owned by main; not changed after the front end is done.
 */
#ifndef CONFIG_VM_CONFIG_H
#define CONFIG_VM_CONFIG_H

#include "config/opts.h"
#include "config/property.h"

struct cpu_topology { /* -smp; defaults worked out by vm_config_finish() */
	uint32_t cpus, maxcpus;
	uint32_t sockets, dies, clusters, cores, threads;
};

enum cpu_feature { CPU_FEATURE_AUTO, CPU_FEATURE_ON, CPU_FEATURE_OFF };

struct vm_config {
	struct opts *machine; /* -machine: "type" and the class's own properties; never NULL */
	char *accel;          /* "kvm" (default), "kvm:tcg", "test" */
	struct opts *cpu;     /* -cpu: implied key "model"; NULL = host */
	int cpu_pmu, cpu_sve, cpu_steal_time; /* enum cpu_feature; aarch64 */
	struct cpu_topology smp;
	uint64_t memory_size; /* bytes */
	char *mem_path;       /* -mem-path, or NULL */
	bool mem_prealloc;

	char *kernel, *initrd, *append; /* NULL when not given */
	char *bios; /* -bios FILE, or NULL */
	char *dtb;  /* -dtb FILE, or NULL */

	char *name; /* 1–255 bytes or NULL */
	bool has_uuid;
	uint8_t uuid[16];

	bool log_to_file; /* -D given */
	char *log_path;   /* -D FILE, or NULL = stderr */
	char *pidfile;
	bool daemonize;
	bool start_paused; /* -S */
	bool no_reboot, no_shutdown;
	char *panic_action; /* one of vm_panic_words; NULL = the first */
	char *rtc_base; /* -rtc base= (config/rtc_base.h); NULL = "utc" */
	bool disable_seccomp;
	struct opts *sandbox; /* -sandbox: "mode" and what goes with it; NULL = on */
	char *runas, *chroot; /* -runas, -chroot; NULL = stay */

	struct list fw_cfgs, smbios; /* struct opts: what firmware is told */
	struct list blockdevs; /* struct opts: block nodes, as blockdev-add makes them */
	struct list numas;     /* struct opts: -numa, "type" is node, cpu or dist */
	struct list globals;   /* struct opts: "driver", "property", "value": other defaults of devices */
	struct list drives, devices, netdevs, chardevs, objects, serials; /* struct opts */
	struct list monitors; /* struct opts: -mon, -qmp, -api-channel */

	bool mem_lock; /* -overcommit mem-lock=on; of this process, not of the VM, so not in -dump-config, as what follows */

	/* What drives the test accelerator in the guest's stead. */
	char *mod_test;     /* -mod-test PATH, or NULL */
	struct opts *qtest; /* -qtest: keys of a chardev socket, or NULL */
};

/* When the guest panics: end as after a power-off, stop the VM, end with status 1, do nothing. */
extern const char *const vm_panic_words[]; /* "shutdown", "pause", "exit-failure", "none" */

void vm_config_init(struct vm_config *config);
void vm_config_release(struct vm_config *config);

/*
 * What every front end calls at its end: works out what was left open (machine type, accelerator, topology,
 * memory size) and checks what concerns the description as a whole (limits, one stdio, path lengths).
 */
int __must_check vm_config_finish(struct vm_config *config, struct error **errp);

/*
 * Lays @over, the command line, on @base, a file: what @over has not is moved there from @base, which the caller
 * releases. Where both have it, @over wins: an entry of drives, devices, netdevs, chardevs or objects replaces the one with
 * its id and takes its place; serial ports and monitors, which have none, replace all of the file's. Properties of the
 * machine add up.
 */
void vm_config_overlay(struct vm_config *over, struct vm_config *base);

/* Prints @config, which is finished, as JSON that -config takes back. -EILSEQ: a string is not UTF-8. */
int __must_check vm_config_dump(const struct vm_config *config, FILE *out, struct error **errp);

/* The keys of -smp; 0 = to be worked out. */
extern const struct property cpu_topology_properties[];

/*
 * Works out what is 0 as QEMU does since 6.2 (dies and clusters are 1, cores come before sockets, threads
 * last) and checks that the product is maxcpus. Untouched on failure.
 */
int __must_check cpu_topology_complete(struct cpu_topology *topology, struct error **errp);

/* Limits of the documentation. */
#define VM_CPUS_MAX 254
#define VM_MEMORY_MIN (128 * MIB)
#define VM_MEMORY_MAX (512 * GIB)
#define VM_MEMORY_DEFAULT (256 * MIB)
#define VM_ID_MAX 255
#define VM_PATH_MAX 4095
#define VM_IOTHREADS_MAX 8

/* What the command line asks for besides, or instead of, a VM. */
enum cmdline_action {
	CMDLINE_RUN,
	CMDLINE_HELP,         /* -h: cmdline_help() */
	CMDLINE_OPTION_HELP,  /* -smp help and the like: cmdline_option_help() of help_topic */
	CMDLINE_VERSION,      /* -V */
	CMDLINE_DEVICE_HELP,  /* -device help / -device NAME,help: help_topic is NULL / NAME */
	CMDLINE_MACHINE_HELP, /* -machine help / -machine NAME,help */
	CMDLINE_OBJECT_HELP,
	CMDLINE_CHARDEV_HELP,
	CMDLINE_NETDEV_HELP,
	CMDLINE_DRIVE_HELP, /* -drive help */
	CMDLINE_BLOCKDEV_HELP,
	CMDLINE_DUMP_DOCS,  /* -dump-docs TOPIC: a reference in Markdown */
	CMDLINE_DUMP_CONFIG, /* -dump-config: vm_config_dump(); @config is finished */
};

/*
 * Parses the command line into @config (initialised by the caller). On failure the error names the option.
 * @help_topic: set (caller frees) for the *_HELP actions.
 */
int __must_check cmdline_parse(int argc, char **argv, struct vm_config *config,
			       enum cmdline_action *action, char **help_topic, struct error **errp);
void cmdline_help(FILE *out);
void cmdline_option_help(const char *name, FILE *out); /* what it says of one option */

/* The options, for introspection; those without effect are left out. False past the end. */
struct cmdline_option_info {
	const char *name; /* without dash */
	const char *help;
	const struct property *keys; /* NULL when the option has none of its own */
};
bool cmdline_option_at(unsigned int index, struct cmdline_option_info *ret);

#endif
