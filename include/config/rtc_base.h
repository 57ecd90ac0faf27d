/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest's real-time clocks show at start: -rtc base=. */
#ifndef CONFIG_RTC_BASE_H
#define CONFIG_RTC_BASE_H

#include <stdint.h>

#include "util/error.h"
#include "util/macros.h"

/*
 * Seconds that the guest's clocks are ahead of UTC: @base is "utc", "localtime", or a date, "2030-12-31" or "2030-12-31T23:59:59" of
 * 1970 to 2105 (what 32 bits of seconds hold, PL031). @now: seconds since 1970, UTC. -EINVAL. Reads the host's time zone.
 */
int __must_check rtc_base_offset(const char *base, int64_t now, int64_t *ret, struct error **errp);

#endif
