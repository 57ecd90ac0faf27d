/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers shared by the assembly and the C half of the test guest.
 */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

/* Segment selectors; see the table in start.S. */
#define SEL_KCODE32	0x08
#define SEL_KCODE	0x10
#define SEL_KDATA	0x18
#define SEL_UCODE	0x23
#define SEL_UDATA	0x2b
/* Two descriptors a CPU, from here on. */
#define SEL_TSS0	0x40

#define CPU_MAX		16
/* The lowest 1 KiB of each CPU's kernel stack holds its 256 interrupt counters. */
#define KSTACK_SIZE	8192
#define USTACK_SIZE	16384

/* A start-up IPI names a page below 1 MiB; this one is RAM on every PC. */
#define TRAMPOLINE	0x8000

#define VEC_IRQ0	32
#define IRQ_STUB_SIZE	64

#define LAPIC_BASE	0xfee00000
#define IOAPIC_BASE	0xfec00000

/* Instructions that ring 3 may not execute, used as calls into ring 0; see trap.S. */
#define INSN_KCALL	0xfa	/* cli: call %rax at CPL0 */
#define INSN_WAIT	0xf4	/* hlt: sleep unless *(u32 *)%rdi differs from %esi */

#endif
