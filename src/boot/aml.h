/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing AML (ACPI 6.5 §20). Each call appends one term to @aml->code; the terms that are an
 *operand of another follow it in order, as in the byte code:
 *
 *	aml_device(aml, "COM1");
 *		aml_name(aml, "_HID"); aml_eisaid(aml, "PNP0501");
 *		aml_name(aml, "_CRS"); aml_resources(aml);
 *			aml_io(aml, 0x3f8, 8);
 *		aml_end(aml);
 *	aml_end(aml);
 *
 * Mistakes of the caller (unbalanced aml_end(), bad names) are kept and reported by aml_finish().
 *Main thread.
 */
#ifndef BOOT_AML_H
#define BOOT_AML_H

#include "blob.h"

#define AML_DEPTH_MAX 16

struct aml { /* zero-initialised: empty */
	struct blob code;
	struct {
		size_t start; /* where the PkgLength goes */
		bool resources;
	} open[AML_DEPTH_MAX];
	unsigned int depth;
	bool bad;
};

/* 0 when every scope was closed and nothing was wrong, else -EINVAL: a bug of the caller. */
int __must_check aml_finish(struct aml *aml);
void aml_free(struct aml *aml);

/* --- Terms that are closed by aml_end() --- */

void aml_scope(struct aml *aml, const char *path);
void aml_device(struct aml *aml, const char *name);
void aml_method(struct aml *aml, const char *name, unsigned int args, bool serialized);
void aml_package(struct aml *aml, unsigned int elements);
void aml_if(struct aml *aml);	 /* followed by the predicate, then the body */
void aml_else(struct aml *aml);	 /* directly behind the aml_end() of an aml_if() */
void aml_while(struct aml *aml); /* followed by the predicate, then the body */
void aml_end(struct aml *aml);

/* --- Objects --- */

void aml_name(struct aml *aml, const char *path); /* Name(path, …): the value follows */
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_eisaid(struct aml *aml, const char *id); /* "PNP0501" as an integer */
void aml_buffer(struct aml *aml, const void *data, size_t len);
void aml_uuid(struct aml *aml, const char *uuid); /* ToUUID("…"), a buffer of 16 bytes */
/* A reference to a named object; of a method: its call, whose arguments follow. */
void aml_path(struct aml *aml, const char *path);
void aml_mutex(struct aml *aml, const char *name);
void aml_local(struct aml *aml, unsigned int n);  /* Local0 … Local7 */
void aml_arg(struct aml *aml, unsigned int n);	  /* Arg0 … Arg6 */

/*
 * OperationRegion in system memory or ports; a field of it whose units are @access bits (8, 16, 32, 64)
 * wide. Bits of a unit that are not written keep their value, or are written as zeros.
 */
void aml_memory_region(struct aml *aml, const char *name, uint64_t base, uint32_t size);
void aml_port_region(struct aml *aml, const char *name, uint16_t base, uint16_t size);
void aml_field(struct aml *aml, const char *region,
	       unsigned int access); /* … aml_field_unit … aml_end */
void aml_field_zeros(struct aml *aml, const char *region, unsigned int access);
void aml_field_unit(struct aml *aml, const char *name, unsigned int bits);
void aml_field_skip(struct aml *aml, unsigned int bits);

/* --- Statements and expressions: operands follow --- */

void aml_store(struct aml *aml); /* value, target */
/* operand, operand, target or aml_no_target() */
void aml_and(struct aml *aml);
void aml_or(struct aml *aml);
void aml_add(struct aml *aml);
void aml_shift_left(struct aml *aml);
void aml_increment(struct aml *aml); /* target */
void aml_not(struct aml *aml);	     /* logical; operand */
void aml_equal(struct aml *aml);     /* operand, operand */
void aml_less(struct aml *aml);	     /* operand, operand */
void aml_create_dword_field(struct aml *aml); /* buffer, byte offset, then the name by aml_path() */
void aml_acquire(struct aml *aml, const char *mutex); /* waits for ever */
void aml_release(struct aml *aml, const char *mutex);
void aml_no_target(struct aml *aml);
void aml_notify(struct aml *aml); /* object, value */
void aml_return(struct aml *aml); /* value */

/* --- ResourceTemplate (§6.4), closed by aml_end() --- */

void aml_resources(struct aml *aml);
void aml_io(struct aml *aml, uint16_t base, uint8_t size);
/* Read-write registers at any address: Memory32Fixed where that reaches, else QWordMemory. */
void aml_memory(struct aml *aml, uint64_t base, uint64_t size);
/* Interrupt(ResourceConsumer, Edge or Level, ActiveHigh, Exclusive). */
void aml_interrupt_edge(struct aml *aml, uint32_t gsi);
void aml_interrupt_level(struct aml *aml, uint32_t gsi);
/* What a bridge passes on: bus numbers, and address windows of @size > 0 with addresses behind it + @translation. */
void aml_bus_range(struct aml *aml, uint16_t first, uint16_t last);
void aml_io_window(struct aml *aml, uint64_t base, uint64_t size, uint64_t translation);
void aml_memory_window(struct aml *aml, uint64_t base, uint64_t size, bool prefetchable);

#endif
