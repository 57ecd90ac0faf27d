// SPDX-License-Identifier: Apache-2.0
/*
 * Formatted output to the first serial port.
 */
#include "guest.h"

struct line {
	char text[256];
	u32 len;
};

static void line_flush(struct line *line)
{
	if (line->len)
		console_write(line->text, line->len);
	line->len = 0;
}

static void line_put(struct line *line, char c)
{
	if (line->len == sizeof(line->text))
		line_flush(line);
	line->text[line->len++] = c;
}

static void line_put_number(struct line *line, u64 v, u32 base, bool negative, u32 width, char pad)
{
	char digits[24];
	u32 n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (negative)
		digits[n++] = '-';
	for (; width > n; width--)
		line_put(line, pad);
	while (n)
		line_put(line, digits[--n]);
}

void vprint(const char *fmt, va_list ap)
{
	struct line line;

	line.len = 0;
	for (; *fmt; fmt++) {
		bool is_long = false, hash = false;
		u32 width = 0;
		char pad = ' ';

		if (*fmt != '%') {
			line_put(&line, *fmt);
			continue;
		}
		for (fmt++; *fmt == '#' || *fmt == '0'; fmt++) {
			if (*fmt == '#')
				hash = true;
			else
				pad = '0';
		}
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + *fmt - '0';
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			is_long = true;
		switch (*fmt) {
		case 's': {
			const char *s = va_arg(ap, const char *);

			for (; *s; s++)
				line_put(&line, *s);
			break;
		}
		case 'c':
			line_put(&line, va_arg(ap, int));
			break;
		case 'd': {
			int64_t v = is_long ? va_arg(ap, int64_t) : va_arg(ap, int);

			line_put_number(&line, v < 0 ? -(u64)v : (u64)v, 10, v < 0, width, pad);
			break;
		}
		case 'u':
			line_put_number(&line, is_long ? va_arg(ap, u64) : va_arg(ap, u32), 10, false,
					width, pad);
			break;
		case 'p':
			is_long = hash = true;
			/* fall through */
		case 'x':
			if (hash) {
				line_put(&line, '0');
				line_put(&line, 'x');
			}
			line_put_number(&line, is_long ? va_arg(ap, u64) : va_arg(ap, u32), 16, false,
					width, pad);
			break;
		case '%':
			line_put(&line, '%');
			break;
		default:
			line_put(&line, '?');
			fmt--;
			break;
		}
	}
	line_flush(&line);
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
}
