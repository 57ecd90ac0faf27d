/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of the aarch64 guest; those of virtio are the x86_64 guest's. */
#ifndef GUEST_TESTS_AARCH64_H
#define GUEST_TESTS_AARCH64_H

#include "../lib/guest.h"

void test_arm_hello(void);
void test_arm_psci(void);
void test_arm_timer(void);
void test_arm_smp(void);
void test_arm_pmu(void);
void test_arm_steal(void);
void test_arm_irq(void);
void test_arm_mmio(void);
void test_arm_after_reset(void);
void test_arm_reset(void);

#endif
