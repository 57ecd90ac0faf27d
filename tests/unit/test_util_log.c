// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_MODULE "unit"
#include "unit.h"
#include "util/log.h"

static char path[64], text[8192];

static void open_log(void)
{
	struct error *err = NULL;
	int fd;

	strcpy(path, "./unit-log-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(unlink(path), 0); /* log_open() makes it with its own mode */
	ck_assert_int_eq(log_open(path, &err), 0);
	ck_assert_no_error(err);
}

/* Reads what is there and goes back to stderr. */
static void close_log(void)
{
	FILE *file = fopen(path, "r");
	size_t len;

	ck_assert_ptr_nonnull(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	unlink(path);
	ck_assert_int_eq(log_open(NULL, NULL), 0);
}

static bool matches(const char *pattern)
{
	regex_t regex;
	bool match;

	ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	match = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return match;
}

START_TEST(line_format)
{
	struct stat st;
	struct tm tm;
	time_t now;
	char day[16];

	open_log();
	umask(0);
	now = time(NULL);
	log_info("%s is %d", "text", 3);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0137, 0); /* 0640 less the umask */
	close_log();
	ck_assert_msg(matches("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9}"
			      ":INFO: unit: text is 3\n$"),
		      "%s", text);
	/* The date is worked out without the C library: compare the two. Midnight in between is
	 * possible. */
	gmtime_r(&now, &tm);
	strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	if (strncmp(text, day, strlen(day))) {
		now++;
		gmtime_r(&now, &tm);
		strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	}
	ck_assert_int_eq(strncmp(text, day, strlen(day)), 0);
}
END_TEST

START_TEST(levels)
{
	unsetenv("STRATOVIRT_LOG_LEVEL");
	log_init();
	ck_assert_int_eq(log_threshold, LOG_WARN); /* stderr may be the guest's console */
	open_log();
	ck_assert_int_eq(log_threshold, LOG_INFO);
	log_debug("hidden");
	log_warn("shown");
	close_log();
	ck_assert(matches("WARN: unit: shown"));
	ck_assert(!matches("hidden"));
}
END_TEST

START_TEST(level_of_environment)
{
	setenv("STRATOVIRT_LOG_LEVEL", "trace", 1);
	log_init();
	ck_assert_int_eq(log_threshold, LOG_TRACE);
	open_log();
	ck_assert_int_eq(log_threshold, LOG_TRACE);
	log_trace("deep");
	close_log();
	ck_assert(matches("TRACE: unit: deep"));
	ck_assert_int_eq(log_threshold, LOG_TRACE);
}
END_TEST

START_TEST(one_line_whatever_the_text)
{
	char longest[5000];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	open_log();
	log_warn("a\nb\r\x1b[2J");
	log_warn("%s", longest);
	close_log();
	ck_assert(matches("WARN: unit: a\\?b\\?\\?\\[2J\n"));
	ck_assert(matches("x\\.\\.\\.\n$"));
	ck_assert_uint_lt(strlen(text), 2200); /* a line has an end */
}
END_TEST

START_TEST(limit)
{
	struct log_limit rate = { 0 };
	unsigned int dropped = 99, passed = 0;

	for (int i = 0; i < 1000; i++)
		passed += log_limit_pass(&rate, &dropped);
	ck_assert_uint_ge(passed, 1);
	ck_assert_uint_le(passed, 31); /* one a second; the test may take 30 */
	atomic_store(&rate.dropped, 7);
	atomic_store(&rate.next_ns, 0); /* as if a second had passed */
	ck_assert(log_limit_pass(&rate, &dropped));
	ck_assert_uint_eq(dropped, 7);

	open_log();
	for (int i = 0; i < 3; i++) {
		atomic_store(&rate.next_ns, 0);
		atomic_store(&rate.dropped, i == 2 ? 5 : 0);
		log_warn_limited(&rate, "queue %d", i);
		atomic_store(&rate.next_ns, INT64_MAX); /* however slow the test is */
		log_warn_limited(&rate, "queue %d", 9);
	}
	close_log();
	ck_assert(matches("queue 0\n.*queue 1\n.*queue 2 \\(5 alike dropped before\\)\n$"));
	ck_assert(!matches("queue 9"));
}
END_TEST

START_TEST(file_cannot_be_opened)
{
	struct error *err = NULL;

	ck_assert_int_eq(log_open("/nonexistent/log", &err), -ENOENT);
	ck_assert_error(err, "log file '/nonexistent/log': No such file or directory");
}
END_TEST

UNIT_SUITE(suite, "util log", line_format, levels, level_of_environment, one_line_whatever_the_text,
	   limit, file_cannot_be_opened)
UNIT_MAIN(suite)
