/* SPDX-License-Identifier: Apache-2.0 */
/* What the x86_64 machines have in common. Main thread. */
#ifndef MACHINE_PC_H
#define MACHINE_PC_H

#include "../internal.h"

#define PC_RAM_HIGH_BASE (4 * GIB)
#define IOAPIC_BASE 0xfec00000ULL
#define LAPIC_BASE 0xfee00000ULL
/* Identity map page and TSS of the accelerator (cpu room), below the local APIC. */
#define KVM_PAGES_BASE 0xfef0c000ULL
#define KVM_PAGES_SIZE 0x4000ULL

/* RAM from 0 to @low, the rest from 4 GiB on. */
int __must_check pc_add_ram(struct machine *machine, uint64_t low, struct error **errp);

/* COM1 and so on for the options -serial, "none" among them; *count: how many there are. */
int __must_check pc_create_serials(struct machine *machine, unsigned int max, unsigned int *count,
				   struct error **errp);

/* The clock, whose CMOS tells how much memory there is. @irq: 0 without one. */
int __must_check pc_create_rtc(struct machine *machine, uint64_t low, unsigned int irq,
			       struct error **errp);

#endif
