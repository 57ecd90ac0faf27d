/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions, interrupts, and the two calls from ring 3 into ring 0.
 *
 * A call into ring 0 is an instruction that ring 3 may not execute: the general protection fault
 * it raises comes here. (System calls and software interrupts do not reach the guest on every KVM
 * back end; faults do.)
 */
#include "layout.h"

	.section .text, "ax", @progbits
	.code64

	.globl trap_gp
trap_gp:
	testb $3, 16(%rsp)
	jz trap_gp_fatal
	movq 8(%rsp), %r11
	movzbl (%r11), %r11d
	cmpb $INSN_KCALL, %r11b
	jne 1f
	incq 8(%rsp)
	addq $8, %rsp
	call *%rax
	iretq
1:	cmpb $INSN_WAIT, %r11b
	jne trap_gp_fatal
	incq 8(%rsp)
	addq $8, %rsp
	/*
	 * Interrupts are off here, so the counter cannot move between the comparison and the sleep
	 * unnoticed: an interrupt that arrives after sti is either taken by hlt, or, where the
	 * processor loses the shadow of sti, makes its handler step over the hlt.
	 */
	cmpl %esi, (%rdi)
	jne 2f
	sti
trap_hlt:
	hlt
2:	iretq

trap_gp_fatal:
	pushq $13
	jmp trap_common

	/* Exceptions other than #GP end the guest with a report. */
	.macro exception vec, has_error
	.balign 16
	.if \has_error == 0
	pushq $0
	.endif
	pushq $\vec
	jmp trap_common
	.endm

	.balign 16
	.globl exception_stubs
exception_stubs:
	.set vec, 0
	.rept 32
	/* Vectors for which the processor pushes an error code: 8, 10-14, 17, 21, 29, 30. */
	.if (0x60227d00 >> vec) & 1
	exception vec, 1
	.else
	exception vec, 0
	.endif
	.set vec, vec + 1
	.endr

	/* Stack: vector, error code, rip, cs, rflags, rsp, ss. */
trap_common:
	movq %rsp, %rdi
	movq %cr2, %rsi
	andq $-16, %rsp
	call trap_fatal
1:	hlt
	jmp 1b

	/*
	 * One stub a vector: count on this CPU's page, end of interrupt, return. The counters lie at
	 * the low end of the kernel stack, so no per-CPU register is needed.
	 */
	.balign IRQ_STUB_SIZE
	.globl irq_stubs
irq_stubs:
	.set vec, VEC_IRQ0
	.rept 256 - VEC_IRQ0
	.balign IRQ_STUB_SIZE
	pushq %rax
	movq %rsp, %rax
	andq $-KSTACK_SIZE, %rax
	incl (vec * 4)(%rax)
	jmp irq_finish
	.set vec, vec + 1
	.endr

	.balign 16
irq_finish:
	movl $LAPIC_BASE + 0xb0, %eax
	movl $0, (%rax)
	popq %rax
	cmpq $trap_hlt, (%rsp)
	jne 1f
	incq (%rsp)
1:	iretq

/* Ring-0 routines for guest.h's kcall(): arguments in rdi, rsi, rdx; result in rax. */
	.macro kroutine name
	.globl \name
	.balign 16
\name:
	.endm

kroutine k_inb
	movl %edi, %edx
	xorl %eax, %eax
	inb %dx, %al
	ret
kroutine k_inw
	movl %edi, %edx
	xorl %eax, %eax
	inw %dx, %ax
	ret
kroutine k_inl
	movl %edi, %edx
	inl %dx, %eax
	ret
kroutine k_outb
	movl %edi, %edx
	movl %esi, %eax
	outb %al, %dx
	ret
kroutine k_outw
	movl %edi, %edx
	movl %esi, %eax
	outw %ax, %dx
	ret
kroutine k_outl
	movl %edi, %edx
	movl %esi, %eax
	outl %eax, %dx
	ret
	/* k_outsb(port, data, count) */
kroutine k_outsb
	movl %edx, %ecx
	movl %edi, %edx
	rep outsb
	ret
	/* k_insb(port, data, count) */
kroutine k_insb
	movl %edx, %ecx
	movl %edi, %edx
	movq %rsi, %rdi
	rep insb
	ret
kroutine k_rdmsr
	movl %edi, %ecx
	rdmsr
	shlq $32, %rdx
	orq %rdx, %rax
	ret
kroutine k_wrmsr
	movl %edi, %ecx
	movl %esi, %eax
	movq %rsi, %rdx
	shrq $32, %rdx
	wrmsr
	ret
	/* k_cpuid(leaf, subleaf, u32 out[4]): at CPL0 it is KVM that answers, whatever the back end. */
kroutine k_cpuid
	movq %rdx, %r8
	movq %rbx, %r9
	movl %edi, %eax
	movl %esi, %ecx
	cpuid
	movl %eax, (%r8)
	movl %ebx, 4(%r8)
	movl %ecx, 8(%r8)
	movl %edx, 12(%r8)
	movq %r9, %rbx
	ret
	/* k_lidt(pointer to limit and base) */
kroutine k_lidt
	lidt (%rdi)
	ret
	/* k_halt(): interrupts off, for ever */
kroutine k_halt
	cli
1:	hlt
	jmp 1b
kroutine k_int3
	int3
	ret

	.section .note.GNU-stack, "", @progbits
