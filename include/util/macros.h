/* SPDX-License-Identifier: Apache-2.0 */
/* Small compile-time helpers that every room uses. No state, any thread. */
#ifndef UTIL_MACROS_H
#define UTIL_MACROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB (1ULL << 10)
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define TIB (1ULL << 40)

#define NSEC_PER_SEC 1000000000LL
#define NSEC_PER_MSEC 1000000LL

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Each argument is evaluated once; the counter keeps nested uses from shadowing each other. */
#define MIN(a, b) MACRO_PICK(a, b, <, __COUNTER__)
#define MAX(a, b) MACRO_PICK(a, b, >, __COUNTER__)
#define MACRO_PICK(a, b, op, n) MACRO_PICK_(a, b, op, n)
#define MACRO_PICK_(a, b, op, n)                        \
	({                                              \
		__typeof__(a) _a##n = (a);              \
		__typeof__(b) _b##n = (b);              \
		_a##n op _b##n ? _a##n : _b##n;         \
	})

/* @align must be a power of two. */
#define ALIGN_DOWN(x, align) ((x) & ~((__typeof__(x))(align)-1))
#define ALIGN_UP(x, align) ALIGN_DOWN((x) + (__typeof__(x))(align)-1, align)
#define IS_ALIGNED(x, align) (((x) & ((__typeof__(x))(align)-1)) == 0)

static inline bool is_pow2(uint64_t x)
{
	return x && !(x & (x - 1));
}

#define __must_check __attribute__((warn_unused_result))
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define __packed __attribute__((packed))
#define __noreturn __attribute__((noreturn))

#endif
