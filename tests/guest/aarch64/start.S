/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Image header (Documentation/arch/arm64/booting.rst 4), the way into C for the first CPU and for those that PSCI turns
 * on, the exception vectors.
 */
#include "layout.h"

#define MAIR 0xff00		/* 0: device, nGnRnE; 1: memory, write-back */
#define TCR (25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32) /* 39 bits from TTBR0, write-back, inner shareable; 40 out */
#define SCTLR_MCI (1 << 0 | 1 << 2 | 1 << 12)
#define BLOCK 0x401		/* valid, accessed */
#define DEVICE (BLOCK | 3 << 53)	/* never executed */
#define MEMORY (BLOCK | 1 << 2 | 3 << 8)

	.section .text.entry, "ax"
	b	first_cpu
	.long	0
	.quad	0			/* text_offset */
	.quad	image_size
	.quad	0xa			/* little-endian, 4 KiB pages, anywhere */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

first_cpu:
	mrs	x20, sctlr_el1
	mrs	x21, daif
	mov	x22, x0
	mov	x19, #0
	bl	map
	adrp	x0, bss_start
	add	x0, x0, :lo12:bss_start
	adrp	x1, bss_end
	add	x1, x1, :lo12:bss_end
1:	cmp	x0, x1
	b.hs	2f
	stp	xzr, xzr, [x0], #16
	b	1b
2:	ldr	x0, =entry_sctlr
	str	x20, [x0]
	ldr	x0, =entry_daif
	str	x21, [x0]
	bl	stack
	mov	x0, x22
	b	guest_main

	/* x0: the context that CPU_ON was given, which is this CPU's number */
	.global other_cpu
other_cpu:
	mov	x19, x0
	bl	map
	bl	stack
	mov	x0, x19
	b	cpu_main

/* Address translation and caches on, vectors set. x19: the CPU's number. */
map:
	msr	daifset, #0xf
	ldr	x0, =vectors
	msr	vbar_el1, x0
	msr	tpidr_el1, x19
	mov	x0, #MAIR
	msr	mair_el1, x0
	ldr	x0, =TCR
	msr	tcr_el1, x0
	ldr	x0, =page_table
	msr	ttbr0_el1, x0
	dsb	sy
	tlbi	vmalle1
	dsb	sy
	isb
	mrs	x0, sctlr_el1
	ldr	x1, =SCTLR_MCI
	orr	x0, x0, x1
	msr	sctlr_el1, x0
	isb
	ret

stack:
	ldr	x0, =stacks
	add	x1, x19, #1
	mov	x2, #STACK_SIZE
	madd	x0, x1, x2, x0
	mov	sp, x0
	ret

/* --- exceptions --- */

	.macro	save
	sub	sp, sp, #176
	stp	x0, x1, [sp, #0]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x30, [sp, #144]
	.endm

	.macro	restore
	ldp	x0, x1, [sp, #0]
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x30, [sp, #144]
	add	sp, sp, #176
	.endm

	.macro	vector target
	.balign	128
	b	\target
	.endm

	.text
	.balign	2048
vectors:
	.rept	4			/* with SP_EL0: never */
	vector	strange
	.endr
	vector	sync
	vector	irq
	vector	strange
	vector	strange
	.rept	8			/* from EL0: never */
	vector	strange
	.endr

irq:
	save
	bl	trap_irq
	restore
	eret

sync:
	save
	mrs	x0, elr_el1
	bl	trap_sync
	msr	elr_el1, x0
	restore
	eret

strange:
	mov	x0, #0
	bl	trap_sync
1:	wfi
	b	1b

/* --- what C cannot say --- */

	.global psci
psci:
	hvc	#0
	ret

/* One block of 1 GiB an entry. */
	.section .data.pages, "aw"
	.balign	4096
page_table:
	.quad	DEVICE
	.set	gib, 1
	.rept	509
	.quad	gib << 30 | MEMORY
	.set	gib, gib + 1
	.endr
	.rept	2
	.quad	gib << 30 | DEVICE
	.set	gib, gib + 1
	.endr

	.section .stacks, "aw", @nobits
	.balign	16
stacks:
	.skip	CPU_MAX * STACK_SIZE

	.section .note.GNU-stack, "", @progbits
