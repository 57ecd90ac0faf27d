/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64: where the guest's stolen time lies. QEMU's address; neither device tree nor ACPI tells of it, the guest asks by SMCCC. */
#ifndef CPU_STEAL_TIME_H
#define CPU_STEAL_TIME_H

#include "util/macros.h"

#define STEAL_TIME_BASE 0x090a0000ULL
#define STEAL_TIME_PAGE 0x10000ULL /* one granule of any guest's */
#define STEAL_TIME_SIZE 64U	   /* of a vCPU's structure: DEN0057A 3.2 */

_Static_assert(STEAL_TIME_PAGE / STEAL_TIME_SIZE >= 254, "as many as there may be vCPUs");

#endif
