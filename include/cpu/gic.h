/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aarch64: where the GICv3 that KVM emulates lies, its interrupts, and the private interrupts of each vCPU. The accelerator
 * creates it, the FDT and the ACPI tables of the machines announce it. Both machines use the same addresses.
 *
 * GSI n of struct accel_ops is SPI n, which is INTID 32 + n (Arm IHI 0069, 2.2).
 */
#ifndef CPU_GIC_H
#define CPU_GIC_H

#include "util/macros.h"

#define GIC_DIST_BASE 0x08000000ULL
#define GIC_DIST_SIZE 0x10000ULL
#define GIC_ITS_BASE 0x08080000ULL
#define GIC_ITS_SIZE 0x20000ULL
/* A redistributor is two frames of 64 KiB. The first region holds 123 of them, the second all others. */
#define GIC_REDIST_SIZE 0x20000ULL
#define GIC_REDIST_BASE 0x080a0000ULL
#define GIC_REDIST_MAX 123U
#define GIC_REDIST2_BASE 0x7f80000000ULL /* 510 GiB */

#define GIC_SPI_BASE 32U
#define GIC_SPI_COUNT 160U

/* PPI numbers: INTID - 16. Both timers and the PMU are level-triggered. */
#define GIC_PPI_BASE 16U
#define GIC_PPI_PMU 7U
#define GIC_PPI_HYP_TIMER 10U
#define GIC_PPI_VIRT_TIMER 11U
#define GIC_PPI_PHYS_TIMER 14U
#define GIC_PPI_SECURE_TIMER 13U

struct gic_redist_region {
	uint64_t base;
	unsigned int count; /* of redistributors */
};

/* The regions for @cpus vCPUs; their number, 1 or 2. */
static inline unsigned int gic_redist_regions(unsigned int cpus, struct gic_redist_region regions[2])
{
	regions[0] = (struct gic_redist_region){ GIC_REDIST_BASE, MIN(cpus, GIC_REDIST_MAX) };
	if (cpus <= GIC_REDIST_MAX)
		return 1;
	regions[1] = (struct gic_redist_region){ GIC_REDIST2_BASE, cpus - GIC_REDIST_MAX };
	return 2;
}

#endif
