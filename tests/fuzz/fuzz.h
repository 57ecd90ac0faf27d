/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzz target shares: libFuzzer's entry point, and a check that also holds without assertions. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* A failure has a reason, a success none. */
static inline void fuzz_outcome(int ret, struct error *err)
{
	MUST(ret <= 0 && (ret < 0) == (err != NULL));
	MUST(!err || *error_text(err));
	error_free(err);
}

#endif
