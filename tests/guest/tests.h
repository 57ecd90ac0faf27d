/* SPDX-License-Identifier: MulanPSL-2.0 OR Apache-2.0 */
/*
 * The tests; each file says what it promises.
 */
#ifndef GUEST_TESTS_H
#define GUEST_TESTS_H

#include "lib/guest.h"

void test_hello(void);

#endif
