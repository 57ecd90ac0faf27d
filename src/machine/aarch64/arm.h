/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two machines of aarch64 share: the memory map (StratoVirt's, which is QEMU virt's in its lower part), the
 * interrupt lines, serial port and clock, virtio-mmio slots, and the description of all that for the guest. Main thread.
 */
#ifndef MACHINE_ARM_H
#define MACHINE_ARM_H

#include "../internal.h"
#include "boot/arm64.h"
#include "cpu/gic.h"

#define ARM_FLASH_BASE 0x0ULL
#define ARM_FLASH_BANK (64 * MIB)
#define ARM_SERIAL_BASE 0x09000000ULL
#define ARM_BOOT_TIMER_BASE 0x09000f00ULL
#define ARM_RTC_BASE 0x09010000ULL
#define ARM_FW_CFG_BASE 0x09020000ULL
#define ARM_GPIO_BASE 0x09030000ULL
#define ARM_GED_BASE 0x09080000ULL
#define ARM_VMGENID_BASE 0x090c0000ULL
#define ARM_PAGE 0x1000ULL
#define ARM_VIRTIO_BASE 0x0a000000ULL
#define ARM_VIRTIO_SIZE 0x200ULL
#define ARM_PCI_MEM32_BASE 0x10000000ULL
#define ARM_PCI_MEM32_SIZE 0x2eff0000ULL
#define ARM_PCI_IO_BASE 0x3eff0000ULL
#define ARM_PCI_IO_SIZE 0x10000ULL
#define ARM_RAM_BASE BOOT_ARM64_RAM_BASE
#define ARM_RAM_END 0x7f80000000ULL /* the redistributors of many vCPUs follow */
#define ARM_PCI_ECAM_BASE 0x7fc0000000ULL /* 511 GiB */
#define ARM_PCI_ECAM_SIZE (256 * MIB)
#define ARM_PCI_MEM64_BASE 0x8000000000ULL /* 512 GiB */
#define ARM_PCI_MEM64_SIZE 0x8000000000ULL

/* Interrupt lines: SPIs. */
#define ARM_GSI_RTC 5
#define ARM_GSI_GED 6
#define ARM_GSI_SERIAL 7
#define ARM_GSI_GPIO 8
#define ARM_GSI_VMGENID 9
#define ARM_GSI_PCI 16 /* INTA to INTD */
#define ARM_GSI_VIRTIO 32
#define ARM_VIRTIO_SLOTS 64

struct arm_vm {
	struct machine machine;
	/* properties */
	char *gic_version;
	char *dumpdtb;
	int replaceable_slots; /* microvm's */

	bool slot_used[ARM_VIRTIO_SLOTS];
	bool has_serial, has_gpio;
	struct cpu_caches caches; /* of the host */
	struct fdt_pci pci; /* ecam_size 0: no PCI */
	struct pci_host *pci_host;
	struct boot_source *source;
	char *cmdline; /* what the guest gets */
	void *dtb;     /* of -dtb; NULL without */
	bool dumped;   /* dumpdtb was done: once, before anything is confined */
};

/* For a class's property table, behind those of every machine. */
extern const char *const arm_slots_words[];
enum { ARM_SLOTS_AUTO, ARM_SLOTS_ON, ARM_SLOTS_OFF };
#define ARM_DISK_SLOTS 4
#define ARM_NET_SLOTS 2
#define ARM_PROPS                                                                                        \
	MACHINE_COMMON_PROPS(struct arm_vm),                                                             \
	PROP_STRING("gic-version", struct arm_vm, gic_version, 1, 8, NULL,                               \
		    "3, max or host: all the same, a GICv3"),                                            \
	PROP_STRING("dumpdtb", struct arm_vm, dumpdtb, 1, 4095, NULL,                                    \
		    "write the device tree to this file, too")

static inline struct arm_vm *to_arm_vm(struct machine *machine)
{
	return container_of(machine, struct arm_vm, machine);
}

/* struct machine_class's operations, and parts of them. */
int __must_check arm_init_memory(struct machine *machine, struct error **errp);
void arm_create_slots(struct arm_vm *vm); /* of virtio-mmio */
void arm_offer_vmgenid(struct arm_vm *vm); /* a place for -device vmgenid */
int __must_check arm_create_rtc(struct arm_vm *vm, struct error **errp);
/* What the power button is wired to where no ACPI announces a GED. */
int __must_check arm_create_gpio(struct arm_vm *vm, struct error **errp);
int __must_check arm_create_serial(struct arm_vm *vm, struct error **errp);
/* Opens the kernel and the device tree, if they are given, and makes the command line. */
int __must_check arm_open_files(struct arm_vm *vm, struct error **errp);
/* The device tree, with kernel and initrd if @direct. @entry is untouched without. */
int __must_check arm_load(struct arm_vm *vm, bool direct, struct vcpu_entry *entry, struct error **errp);
int arm_power_button(struct machine *machine);
void arm_release(struct machine *machine);

#endif
