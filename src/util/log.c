// SPDX-License-Identifier: Apache-2.0
/*
 * The log's descriptor and level are set while the process has one thread; afterwards everything
 * here is lock-free: a line is formatted on the caller's stack and leaves in one write(2) to a
 * descriptor opened with O_APPEND.
 */
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/loop.h"

#define LOG_LINE_MAX 2048
/* A pipe that nobody reads loses lines; it holds no thread up, nor does one that nobody has opened. */
#define LOG_FLAGS (O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)

enum log_level log_threshold = LOG_WARN;

static const char *const level_names[] = { "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };
static bool level_from_environment;
static int log_fd =
	-1;	       /* a file; -1 is stderr. What is behind it may change, the number does not */
static char *log_path; /* absolute; main thread */

bool log_is_file(void)
{
	return log_fd >= 0;
}

void log_init(void)
{
	static const char *const words[] = { "error", "warn", "info", "debug", "trace" };
	const char *text = getenv("STRATOVIRT_LOG_LEVEL");

	if (!text || !*text)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(text, words[i]))
			continue;
		log_threshold = (enum log_level)i;
		level_from_environment = true;
		return;
	}
	log_write(LOG_WARN, "log",
		  "STRATOVIRT_LOG_LEVEL=%s is not one of error, warn, info, debug, trace", text);
}

int log_open(const char *path, struct error **errp)
{
	int fd = -1;

	if (path && *path) {
		fd = open(path, LOG_FLAGS, 0640);
		if (fd < 0)
			return error_set_errno(errp, -errno, "log file '%s'", path);
	}
	fd_close(&log_fd);
	log_fd = fd;
	/* -daemonize leaves the directory that a relative name counts from. */
	free(log_path);
	log_path = fd >= 0 ? realpath(path, NULL) : NULL;
	if (!level_from_environment)
		log_threshold = fd < 0 ? LOG_WARN : LOG_INFO;
	return 0;
}

int log_reopen(struct error **errp)
{
	int fd;

	if (log_fd < 0 || !log_path)
		return error_set(errp, -ENXIO, "the log goes to no file");
	fd = open(log_path, LOG_FLAGS, 0640);
	/* Other threads write all the time: each line goes into the old file or the new one. */
	if (fd < 0 || dup3(fd, log_fd, O_CLOEXEC) < 0) {
		int err = -errno;

		fd_close(&fd);
		return error_set_errno(errp, err, "log file '%s'", log_path);
	}
	fd_close(&fd);
	return 0;
}

/*
 * Date and time in UTC. Not gmtime_r(): glibc's opens /etc/localtime on first use and takes a lock,
 * neither of which suits a sandboxed thread.
 */
static int format_time(char *buf, size_t size)
{
	struct timespec now;
	int64_t days, era, doe, yoe, doy, mp, year, month, day, sec;

	clock_gettime(CLOCK_REALTIME, &now);
	days = now.tv_sec / 86400;
	sec = now.tv_sec % 86400;
	/* Count in 400-year eras of years that begin in March, so that leap days come last. */
	days += 719468;
	era = days / 146097;
	doe = days % 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	day = doy - (153 * mp + 2) / 5 + 1;
	month = mp < 10 ? mp + 3 : mp - 9;
	year = yoe + era * 400 + (month <= 2);
	return snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02d.%09ld", (int)year, (int)month,
			(int)day, (int)(sec / 3600), (int)(sec / 60 % 60), (int)(sec % 60),
			now.tv_nsec);
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	int saved_errno = errno;
	size_t head, len;
	va_list ap;
	ssize_t n;
	int text;

	len = (size_t)format_time(line, sizeof(line));
	len += (size_t)snprintf(line + len, sizeof(line) - len, ":%s: %.64s: ", level_names[level],
				module);
	head = len;
	va_start(ap, fmt);
	text = vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	if (text < 0)
		text = 0;
	if ((size_t)text >= sizeof(line) - len) {
		memcpy(line + sizeof(line) - 5, "...", 3);
		len = sizeof(line) - 2;
	} else {
		len += (size_t)text;
	}
	/* Names and strings of a guest may be part of the text: they must not forge lines or move
	 * cursors. */
	for (size_t i = head; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	do {
		n = fd_write(log_fd >= 0 ? log_fd : STDERR_FILENO, line, len);
	} while (n < 0 && errno == EINTR);
	errno = saved_errno;
}

bool log_limit_pass(struct log_limit *limit, unsigned int *dropped)
{
	int64_t now = clock_host_ns(); /* the log is for people */
	int64_t next = atomic_load_explicit(&limit->next_ns, memory_order_relaxed);

	if (now < next ||
	    !atomic_compare_exchange_strong(&limit->next_ns, &next, now + NSEC_PER_SEC)) {
		atomic_fetch_add_explicit(&limit->dropped, 1, memory_order_relaxed);
		return false;
	}
	*dropped = atomic_exchange_explicit(&limit->dropped, 0, memory_order_relaxed);
	return true;
}
