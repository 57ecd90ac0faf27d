/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the MP configuration table goes when it has no room behind its floating pointer at
 * BOOT_X86_EBDA: to the end of the area reserved for tables, below the reset vector; ACPI uses the
 * rest. 254 CPUs need 5.3 KiB.
 */
#ifndef BOOT_MPTABLE_H
#define BOOT_MPTABLE_H

#include "boot/boot.h"

#define MPTABLE_SPILL (BOOT_X86_ACPI_END - 0x2000)
#define MPTABLE_SPILL_SIZE (BOOT_X86_RESET_VECTOR - MPTABLE_SPILL)

#endif
