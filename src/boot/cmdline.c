// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "boot/boot.h"

/*
 * The end of the parameter at @p: blanks inside double quotes belong to it (Linux lib/cmdline.c,
 * next_arg()).
 */
static const char *parameter_end(const char *p)
{
	bool quoted = false;

	for (; *p && (quoted || !strchr(" \t\n", *p)); p++)
		if (*p == '"')
			quoted = !quoted;
	return p;
}

static bool parameter_is(const char *p, size_t len, const char *text)
{
	return len == strlen(text) && !memcmp(p, text, len);
}

bool boot_cmdline_disables_acpi(const char *cmdline)
{
	const char *p = cmdline;
	bool off = false;

	while (*p) {
		const char *end = parameter_end(p);
		size_t len = (size_t)(end - p);

		if (parameter_is(p, len, "--")) /* the rest is for init */
			break;
		if (parameter_is(p, len, "acpi=off") || parameter_is(p, len, "acpi=\"off\""))
			off = true;
		else if (parameter_is(p, len, "acpi=force"))
			off = false;
		p = end + strspn(end, " \t\n");
	}
	return off;
}
