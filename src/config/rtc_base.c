// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <time.h>

#include "config/rtc_base.h"

/* Only what it would be written as: strptime() takes blanks, signs and days that a month does not have. */
static bool parse_date(const char *text, const char *format, struct tm *tm)
{
	const char *end;
	char again[32];
	struct tm copy;

	memset(tm, 0, sizeof(*tm));
	end = strptime(text, format, tm);
	if (!end || *end)
		return false;
	copy = *tm;
	timegm(&copy); /* 31 April becomes 1 May */
	return strftime(again, sizeof(again), format, &copy) && !strcmp(again, text);
}

int rtc_base_offset(const char *base, int64_t now, int64_t *ret, struct error **errp)
{
	time_t seconds = now;
	struct tm tm;

	if (!strcmp(base, "utc")) {
		*ret = 0;
		return 0;
	}
	if (!strcmp(base, "localtime")) {
		localtime_r(&seconds, &tm);
		*ret = tm.tm_gmtoff;
		return 0;
	}
	if ((!parse_date(base, "%Y-%m-%d", &tm) && !parse_date(base, "%Y-%m-%dT%H:%M:%S", &tm)) || tm.tm_year < 70 ||
	    tm.tm_year > 205)
		return error_set(errp, -EINVAL,
				 "-rtc base=%s: it is utc, localtime, or a date of 1970 to 2105: 2030-12-31 or 2030-12-31T23:59:59",
				 base);
	*ret = timegm(&tm) - now;
	return 0;
}
