/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets and bits of configuration space (PCI Local Bus 3.0 §6.1, §6.2; PCI Express Base 5.0 §7.5; bridges: PCI-to-PCI
 * Bridge 1.2 §3.2). Names are those of the specifications.
 */
#ifndef PCI_REGS_H
#define PCI_REGS_H

#define PCI_CONFIG_SIZE 256 /* bytes that a function here implements of the 4096 that ECAM gives it */
#define PCI_ECAM_SIZE 4096

#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_COMMAND_IO 0x0001
#define PCI_COMMAND_MEMORY 0x0002
#define PCI_COMMAND_MASTER 0x0004
#define PCI_COMMAND_PARITY 0x0040
#define PCI_COMMAND_SERR 0x0100
#define PCI_COMMAND_INTX_DISABLE 0x0400
#define PCI_STATUS 0x06
#define PCI_STATUS_INTERRUPT 0x0008
#define PCI_STATUS_CAP_LIST 0x0010
#define PCI_REVISION_ID 0x08
#define PCI_CLASS_PROG 0x09
#define PCI_CLASS_DEVICE 0x0a /* sub-class, then base class: 16 bits */
#define PCI_CACHE_LINE_SIZE 0x0c
#define PCI_LATENCY_TIMER 0x0d
#define PCI_HEADER_TYPE 0x0e
#define PCI_HEADER_TYPE_NORMAL 0x00
#define PCI_HEADER_TYPE_BRIDGE 0x01
#define PCI_HEADER_TYPE_MULTIFUNCTION 0x80
#define PCI_BASE_ADDRESS_0 0x10
#define PCI_BASE_ADDRESS_SPACE_IO 0x01
#define PCI_BASE_ADDRESS_MEM_TYPE_64 0x04
#define PCI_BASE_ADDRESS_MEM_PREFETCH 0x08
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_ROM_ADDRESS 0x30
#define PCI_CAPABILITY_LIST 0x34
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_INTERRUPT_PIN 0x3d

/* Header type 1 */
#define PCI_PRIMARY_BUS 0x18
#define PCI_SECONDARY_BUS 0x19
#define PCI_SUBORDINATE_BUS 0x1a
#define PCI_IO_BASE 0x1c
#define PCI_IO_LIMIT 0x1d
#define PCI_SEC_STATUS 0x1e
#define PCI_MEMORY_BASE 0x20
#define PCI_MEMORY_LIMIT 0x22
#define PCI_PREF_MEMORY_BASE 0x24
#define PCI_PREF_MEMORY_LIMIT 0x26
#define PCI_PREF_BASE_UPPER32 0x28
#define PCI_PREF_LIMIT_UPPER32 0x2c
#define PCI_IO_BASE_UPPER16 0x30
#define PCI_IO_LIMIT_UPPER16 0x32
#define PCI_BRIDGE_CONTROL 0x3e
#define PCI_BRIDGE_CONTROL_SECONDARY_RESET 0x0040

/* Capabilities; of each the first byte is its id, the second the offset of the next */
#define PCI_CAP_ID_PM 0x01
#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_SUBSYSTEM 0x0d
#define PCI_CAP_ID_EXPRESS 0x10
#define PCI_CAP_ID_MSIX 0x11

/* Power management capability (PCI Power Management 1.2 §3.2) */
#define PCI_PM_PMC 2
#define PCI_PM_CTRL 4
#define PCI_PM_CTRL_STATE_MASK 0x0003
#define PCI_PM_D0 0
#define PCI_PM_D3HOT 3
#define PCI_PM_SIZEOF 8

/* MSI-X capability (PCI 3.0 §6.8.2) */
#define PCI_MSIX_FLAGS 2
#define PCI_MSIX_FLAGS_MASKALL 0x4000
#define PCI_MSIX_FLAGS_ENABLE 0x8000
#define PCI_MSIX_TABLE 4
#define PCI_MSIX_PBA 8
#define PCI_CAP_MSIX_SIZEOF 12
#define PCI_MSIX_ENTRY_SIZE 16

/* PCI Express capability (PCIe 5.0 §7.5.3) */
#define PCI_EXP_FLAGS 0x02
#define PCI_EXP_TYPE_ENDPOINT 0x0
#define PCI_EXP_TYPE_ROOT_PORT 0x4
#define PCI_EXP_TYPE_RC_END 0x9
#define PCI_EXP_FLAGS_SLOT 0x0100
#define PCI_EXP_DEVCAP 0x04
#define PCI_EXP_DEVCAP_RBER 0x8000
#define PCI_EXP_DEVCAP_FLR 0x10000000
#define PCI_EXP_DEVCTL 0x08
#define PCI_EXP_DEVCTL_BCR_FLR 0x8000
#define PCI_EXP_DEVSTA 0x0a
#define PCI_EXP_LNKCAP 0x0c
#define PCI_EXP_LNKCAP_DLLLARC 0x00100000
#define PCI_EXP_LNKCTL 0x10
#define PCI_EXP_LNKSTA 0x12
#define PCI_EXP_LNKSTA_DLLLA 0x2000
#define PCI_EXP_SLTCAP 0x14
#define PCI_EXP_SLTCAP_ABP 0x00000001
#define PCI_EXP_SLTCAP_PCP 0x00000002
#define PCI_EXP_SLTCAP_AIP 0x00000008
#define PCI_EXP_SLTCAP_PIP 0x00000010
#define PCI_EXP_SLTCAP_HPS 0x00000020
#define PCI_EXP_SLTCAP_HPC 0x00000040
#define PCI_EXP_SLTCAP_EIP 0x00020000
#define PCI_EXP_SLTCTL 0x18
#define PCI_EXP_SLTCTL_ABPE 0x0001
#define PCI_EXP_SLTCTL_PDCE 0x0008
#define PCI_EXP_SLTCTL_CCIE 0x0010
#define PCI_EXP_SLTCTL_HPIE 0x0020
#define PCI_EXP_SLTCTL_AIC 0x00c0
#define PCI_EXP_SLTCTL_AIC_OFF 0x00c0
#define PCI_EXP_SLTCTL_PIC 0x0300
#define PCI_EXP_SLTCTL_PIC_ON 0x0100
#define PCI_EXP_SLTCTL_PIC_OFF 0x0300
#define PCI_EXP_SLTCTL_PCC 0x0400 /* 1: power off */
#define PCI_EXP_SLTCTL_EIC 0x0800
#define PCI_EXP_SLTCTL_DLLSCE 0x1000
#define PCI_EXP_SLTSTA 0x1a
#define PCI_EXP_SLTSTA_ABP 0x0001
#define PCI_EXP_SLTSTA_PDC 0x0008
#define PCI_EXP_SLTSTA_CC 0x0010
#define PCI_EXP_SLTSTA_PDS 0x0040
#define PCI_EXP_SLTSTA_DLLSC 0x0100
#define PCI_EXP_RTCTL 0x1c
#define PCI_EXP_RTCAP 0x1e
#define PCI_EXP_RTSTA 0x20
#define PCI_EXP_DEVCAP2 0x24
#define PCI_EXP_DEVCTL2 0x28
#define PCI_EXP_LNKCAP2 0x2c
#define PCI_EXP_LNKCTL2 0x30
#define PCI_EXP_LNKSTA2 0x32
#define PCI_EXP_SIZEOF 0x3c

/* Base and sub-class codes (PCI Code and ID Assignment) */
#define PCI_CLASS_STORAGE_SCSI 0x0100
#define PCI_CLASS_NETWORK_ETHERNET 0x0200
#define PCI_CLASS_MEMORY_RAM 0x0500
#define PCI_CLASS_BRIDGE_HOST 0x0600
#define PCI_CLASS_BRIDGE_ISA 0x0601
#define PCI_CLASS_BRIDGE_PCI 0x0604
#define PCI_CLASS_COMMUNICATION_OTHER 0x0780
#define PCI_CLASS_SYSTEM_OTHER 0x0880
#define PCI_CLASS_OTHERS 0x00ff

/* Vendors */
#define PCI_VENDOR_INTEL 0x8086
#define PCI_VENDOR_REDHAT 0x1b36       /* QEMU's own devices */
#define PCI_VENDOR_REDHAT_QUMRANET 0x1af4 /* virtio; subsystem of all others: 0x1100 */
#define PCI_SUBDEVICE_QEMU 0x1100

static inline unsigned int pci_devfn(unsigned int slot, unsigned int function)
{
	return slot << 3 | function;
}

static inline unsigned int pci_slot(unsigned int devfn)
{
	return devfn >> 3;
}

static inline unsigned int pci_function_number(unsigned int devfn)
{
	return devfn & 7;
}

#endif
