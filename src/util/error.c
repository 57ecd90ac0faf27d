// SPDX-License-Identifier: Apache-2.0
#include "util/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define LOG_MODULE "error"
#include "util/log.h"

struct error {
	int code;
	char *text;
};

/* Stands in when there is no memory for a real one: an error must never get lost on its way up. */
static char error_no_memory_text[] = "out of memory";
static struct error error_no_memory = { .code = -ENOMEM, .text = error_no_memory_text };

static int error_store(struct error **errp, int code, char *text)
{
	struct error *err;

	if (*errp) { /* the first error is the cause; what came after it only follows from it */
		free(text);
		return code;
	}
	err = text ? malloc(sizeof(*err)) : NULL;
	if (!err) {
		free(text);
		*errp = &error_no_memory;
		return code;
	}
	err->code = code;
	err->text = text;
	*errp = err;
	return code;
}

int error_set(struct error **errp, int code, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	if (!errp)
		return code;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return error_store(errp, code, text);
}

int error_set_errno(struct error **errp, int code, const char *fmt, ...)
{
	char *text = NULL, *full = NULL;
	char buf[128];
	va_list ap;

	if (!errp)
		return code;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	/* The GNU strerror_r(): thread safe, and may answer with a string of its own. */
	if (text && asprintf(&full, "%s: %s", text, strerror_r(-code, buf, sizeof(buf))) < 0)
		full = NULL;
	free(text);
	return error_store(errp, code, full);
}

void error_prefix(struct error **errp, const char *fmt, ...)
{
	char *prefix = NULL, *full = NULL;
	va_list ap;

	if (!errp || !*errp || *errp == &error_no_memory)
		return;
	va_start(ap, fmt);
	if (vasprintf(&prefix, fmt, ap) < 0)
		prefix = NULL;
	va_end(ap);
	if (prefix && asprintf(&full, "%s%s", prefix, (*errp)->text) >= 0) {
		free((*errp)->text);
		(*errp)->text = full;
	}
	free(prefix);
}

const char *error_text(const struct error *err)
{
	return err->text;
}

int error_code(const struct error *err)
{
	return err->code;
}

void error_free(struct error *err)
{
	if (!err || err == &error_no_memory)
		return;
	free(err->text);
	free(err);
}

void error_report(struct error *err)
{
	char prefix[] = "stratovirt: ", newline[] = "\n";
	struct iovec iov[3];
	ssize_t n;

	if (!err)
		return;
	iov[0] = (struct iovec){ prefix, sizeof(prefix) - 1 };
	iov[1] = (struct iovec){ err->text, strlen(err->text) };
	iov[2] = (struct iovec){ newline, 1 };
	n = writev(STDERR_FILENO, iov, ARRAY_SIZE(iov)); /* one call: lines of threads do not mix */
	(void)n;
	if (log_is_file()) /* else the same terminal would show it twice */
		log_error("%s", err->text);
	error_free(err);
}
