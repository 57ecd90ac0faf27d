/* SPDX-License-Identifier: Apache-2.0 */
/* What the util room itself needs to know about the log. */
#ifndef UTIL_LOG_PRIVATE_H
#define UTIL_LOG_PRIVATE_H

#include <stdbool.h>

/* True when lines go to a file and not to stderr. Any thread. */
bool log_is_file(void);

#endif
