/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tests; each file says what it promises.
 */
#ifndef GUEST_TESTS_H
#define GUEST_TESTS_H

#include "lib/guest.h"

void test_hello(void);
void test_ports(void);
void test_rtc(void);
void test_mmio(void);
void test_fpu(void);
void test_irq(void);
void test_serial_input(void);
void test_timer(void);
void test_smp(void);
void test_cpuid(void);
void test_rng(void);
void test_net(void);
void test_net_bench(void);
void test_blk(void);
void test_blk_ro(void);
void test_blk_mq(void);
void test_blk_high(void);
void test_blk_ring_reset(void);
void test_blk_bench(void);
void test_exits_bench(void);
void test_console_bench(void);
void test_vsock_bench(void);
void test_hostile_chains(void);
void test_hostile_rings(void);
void test_hostile_registers(void);
void test_hostile_race(void);
void test_triple(void);
void test_reset(void);
void test_hotplug(void);
void test_panic(void);
void test_error(void);
void test_spin(void);

#endif
