// SPDX-License-Identifier: Apache-2.0
/*
 * The few string functions that the compiler and the tests need.
 */
#include "guest.h"

void *memset(void *dst, int c, size_t n)
{
#ifdef __x86_64__
	void *d = dst;

	asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
#else
	u8 *d = dst;

	while (n--)
		*d++ = (u8)c;
#endif
	return dst;
}

void *memcpy(void *dst, const void *src, size_t n)
{
#ifdef __x86_64__
	void *d = dst;

	asm volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
#else
	const u8 *s = src;
	u8 *d = dst;

	while (n--)
		*d++ = *s++;
#endif
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}

u64 parse_u64(const char *s, const char **end)
{
	u32 base = 10;
	u64 v = 0;

	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	for (;; s++) {
		u32 digit;

		if (*s >= '0' && *s <= '9')
			digit = *s - '0';
		else if (*s >= 'a' && *s <= 'f')
			digit = *s - 'a' + 10;
		else
			break;
		if (digit >= base)
			break;
		v = v * base + digit;
	}
	if (end)
		*end = s;
	return v;
}
