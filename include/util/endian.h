/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed-endian integer types for everything a guest or a file sees.
 * They are structs so that an unconverted use does not compile.
 */
#ifndef UTIL_ENDIAN_H
#define UTIL_ENDIAN_H

#include <endian.h>
#include <stdint.h>

#define ENDIAN_TYPE(order, bits)                                                    \
	typedef struct {                                                            \
		uint##bits##_t raw;                                                 \
	} __attribute__((packed)) order##bits##_t;                                  \
	static inline uint##bits##_t order##bits##_to_cpu(order##bits##_t v)        \
	{                                                                           \
		return order##bits##toh(v.raw);                                     \
	}                                                                           \
	static inline order##bits##_t cpu_to_##order##bits(uint##bits##_t v)        \
	{                                                                           \
		return (order##bits##_t){ hto##order##bits(v) };                    \
	}

ENDIAN_TYPE(le, 16)
ENDIAN_TYPE(le, 32)
ENDIAN_TYPE(le, 64)
ENDIAN_TYPE(be, 16)
ENDIAN_TYPE(be, 32)
ENDIAN_TYPE(be, 64)

#endif
