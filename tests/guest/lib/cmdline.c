// SPDX-License-Identifier: Apache-2.0
/*
 * The words of the command line, and memory that is handed out and never comes back.
 */
#include "guest.h"

const char *boot_cmdline = "";
static uintptr_t alloc_next = (uintptr_t)image_end;

const char *cmdline_next(const char *key, const char **pos)
{
	size_t len = strlen(key);
	const char *p = *pos ? *pos : boot_cmdline;

	while (*p) {
		const char *word;

		while (*p == ' ')
			p++;
		word = p;
		while (*p && *p != ' ')
			p++;
		if ((size_t)(p - word) > len && word[len] == '=' && !memcmp(word, key, len)) {
			*pos = p;
			return word + len + 1;
		}
	}
	*pos = p;
	return NULL;
}

const char *cmdline_get(const char *key)
{
	static char value[128];
	const char *pos = NULL, *p = cmdline_next(key, &pos);
	size_t n;

	if (!p)
		return NULL;
	n = pos - p;
	if (n >= sizeof(value))
		n = sizeof(value) - 1;
	memcpy(value, p, n);
	value[n] = 0;
	return value;
}

u64 cmdline_get_u64(const char *key, u64 otherwise)
{
	const char *s = cmdline_get(key);

	return s ? parse_u64(s, NULL) : otherwise;
}

bool strict(void)
{
	return cmdline_get_u64("strict", 1);
}

void *alloc(size_t size, size_t align)
{
	uintptr_t p = (alloc_next + align - 1) & ~(align - 1);

	alloc_next = p + size;
	return memset((void *)p, 0, size);
}

void alloc_from(u64 address)
{
	alloc_next = address;
}
