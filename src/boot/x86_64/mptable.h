/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the MP configuration table goes when it has no room behind its floating pointer at
 * BOOT_X86_EBDA: to the end of the area reserved for tables, below the reset vector; ACPI uses the
 * rest. 254 CPUs need 5.3 KiB, the routes of PCI another.
 */
#ifndef BOOT_MPTABLE_H
#define BOOT_MPTABLE_H

#include "boot/boot.h"

#define MPTABLE_SPILL (BOOT_X86_ACPI_END - 0x2000)
#define MPTABLE_SPILL_SIZE (PIRTABLE_BASE - MPTABLE_SPILL)

/* The PCI IRQ routing table, on a boundary of 16 bytes: a header and all slots of the root bus. */
#define PIRTABLE_SIZE (32 + 32 * 16)
#define PIRTABLE_BASE (BOOT_X86_RESET_VECTOR - PIRTABLE_SIZE)

#endif
