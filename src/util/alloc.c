// SPDX-License-Identifier: Apache-2.0
#include "util/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fd.h"

static void *alloc_check(void *mem)
{
	static const char text[] = "stratovirt: out of memory\n";

	if (!mem) {
		/* stdio may want memory of its own. */
		ssize_t n = fd_write(STDERR_FILENO, text, sizeof(text) - 1);

		(void)n;
		abort();
	}
	return mem;
}

void *xcalloc(size_t count, size_t size)
{
	return alloc_check(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *old, size_t size)
{
	return alloc_check(realloc(old, size ? size : 1));
}

char *xstrdup(const char *text)
{
	return alloc_check(strdup(text));
}

char *xstrndup(const char *text, size_t len)
{
	return alloc_check(strndup(text, len));
}

char *xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	return alloc_check(len < 0 ? NULL : text);
}
