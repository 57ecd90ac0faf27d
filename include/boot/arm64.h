/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct boot on aarch64 (Documentation/arch/arm64/booting.rst): an Image, an initrd and a flattened device tree, which is
 * built from a description of the machine here or comes from a file. Main thread.
 */
#ifndef BOOT_ARM64_H
#define BOOT_ARM64_H

#include "boot/acpi.h"
#include "boot/boot.h"

#define BOOT_ARM64_RAM_BASE 0x40000000ULL
#define BOOT_ARM64_FDT BOOT_ARM64_RAM_BASE
#define BOOT_ARM64_FDT_MAX (2 * MIB) /* booting.rst 2 */
#define BOOT_ARM64_KERNEL (BOOT_ARM64_RAM_BASE + BOOT_ARM64_FDT_MAX)

struct fdt_device {
	gpa_t base;
	uint64_t size;
	uint32_t gsi;
};

/* A generic ECAM host bridge; INTx n of the root bus is intx_gsi + n. */
struct fdt_pci {
	gpa_t ecam;
	uint64_t ecam_size;
	gpa_t io_base; /* in memory; ports begin at 0 */
	uint64_t io_size;
	gpa_t mem32_base;
	uint64_t mem32_size;
	gpa_t mem64_base;
	uint64_t mem64_size;
	uint32_t intx_gsi;
};

/* A cache of the host, which the guest has as well: its CPUs show their own registers, which do not tell of sharing. */
struct cpu_cache {
	unsigned int level;
	enum cpu_cache_kind { CPU_CACHE_DATA, CPU_CACHE_INSTRUCTION, CPU_CACHE_UNIFIED } kind;
	uint32_t size, line, sets, ways; /* bytes; ways 0: not known */
	bool shared; /* by all cores of a socket, rather than by the threads of one */
};

#define CPU_CACHES_MAX 8
struct cpu_caches {
	struct cpu_cache cache[CPU_CACHES_MAX];
	unsigned int count;
};

/*
 * Those of the host's CPU at @cpu ("/sys/devices/system/cpu/cpu0", Documentation/ABI); none when the host
 * does not tell their sizes, or tells what cannot be.
 */
void cpu_caches_read(const char *cpu, struct cpu_caches *caches);

/* What the guest is told. Parts of size 0, and pointers that are NULL, are not there. */
struct fdt_machine {
	const struct vcpu_topology *topology;
	const struct cpu_caches *caches;
	const struct mem_space *space; /* its RAM */
	bool pmu, its;
	struct fdt_device serial, rtc, fw_cfg; /* PL011, PL031; fw_cfg has no interrupt */
	struct fdt_device gpio;                /* PL061 with the power button */
	struct fdt_device vmgenid;             /* devices/vmgenid.h */
	gpa_t flash;                           /* two banks, one behind the other */
	uint64_t flash_bank_size;
	const struct fdt_device *virtio;
	unsigned int virtio_count;
	const struct fdt_pci *pci;
	const struct acpi_numa *numa; /* its memory is all RAM */
	const char *cmdline;
};

struct boot_initrd {
	gpa_t start;
	uint64_t size; /* 0: none */
};

/*
 * The tree for @machine, with new random seeds in it; @ret is malloc()ed. -E2BIG when it does not fit BOOT_ARM64_FDT_MAX.
 */
int __must_check fdt_build(const struct fdt_machine *machine, const struct boot_initrd *initrd, void **ret,
			   size_t *size, struct error **errp);
/* The tree of a file (-dtb), which is sound; malloc()ed. */
int __must_check fdt_read(const char *path, void **ret, struct error **errp);
/* @fdt of fdt_read() with the command line and the initrd put into /chosen. @ret is malloc()ed. */
int __must_check fdt_change(const void *fdt, const char *cmdline, const struct boot_initrd *initrd, void **ret,
			    size_t *size, struct error **errp);

/*
 * Puts the tree, and kernel and initrd if @source is not NULL, into RAM. @dtb: a tree of fdt_read() to use instead of
 * @machine; NULL: none. @dump: a file that gets a copy; NULL: none. @entry: at the kernel's; untouched without one.
 */
int __must_check boot_load_arm64(const struct boot_source *source, struct mem_space *space,
				 const struct fdt_machine *machine, const void *dtb, const char *dump,
				 struct vcpu_entry *entry, struct error **errp);

#endif
