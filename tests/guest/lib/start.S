/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the PVH entry point, or from a start-up IPI, to ring 3 of long mode.
 *
 * Everything that runs at CPL0 is kept to the fewest instructions: on some KVM back ends each of
 * them is emulated. Tables are therefore laid out by the assembler where that is possible, and the
 * interrupt table is filled in by ring 3.
 */
#include "layout.h"

	/* The note by which a VMM finds the 32-bit entry point (XEN_ELFNOTE_PHYS32_ENTRY). */
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, 18
	.asciz "Xen"
	.long pvh_entry

	.section .text.entry, "ax", @progbits
	.code32
	.globl pvh_entry
pvh_entry:
	cli
	cld
	movl %ebx, pvh_start_info
	/* What .bss held on entry: a loader has to clear it, on the first boot and on each later one. */
	movl bss_canary, %eax
	movl %eax, bss_canary_seen
	xorl %edi, %edi
	/* The base of the first TSS goes into its descriptor in three pieces. */
	movl $tss_table, %eax
	movw %ax, gdt + SEL_TSS0 + 2
	shrl $16, %eax
	movb %al, gdt + SEL_TSS0 + 4
	movb %ah, gdt + SEL_TSS0 + 7
	movl $kstacks + KSTACK_SIZE, tss_table + 4

	/* From here on both kinds of CPU; %edi is the CPU's index. */
enter_long_mode:
	lgdt gdt_pointer
	movl %cr4, %eax
	orl $0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $page_pml4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx		/* EFER */
	rdmsr
	orl $0x100, %eax		/* LME */
	wrmsr
	movl %cr0, %eax
	andl $0x9ffffffb, %eax		/* caches on, no FPU emulation */
	orl $0x80000003, %eax		/* PG, MP, PE */
	movl %eax, %cr0
	ljmp $SEL_KCODE, $enter64

	.code64
enter64:
	movl $SEL_UDATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl $SEL_KDATA, %eax
	movl %eax, %ss
	lidt idt_pointer
	movl %edi, %eax
	shll $4, %eax
	addl $SEL_TSS0, %eax
	ltr %ax
	/* rsp = kstacks + (index + 1) * KSTACK_SIZE; rcx = the same for the user stacks */
	leal 1(%rdi), %eax
	imull $USTACK_SIZE, %eax, %ecx
	imull $KSTACK_SIZE, %eax, %eax
	addl $ustacks, %ecx
	leal kstacks(%rax), %esp
	pushq $SEL_UDATA
	subl $8, %ecx			/* as if called: the ABI wants rsp + 8 divisible by 16 */
	pushq %rcx
	pushq $0x202			/* IF */
	pushq $SEL_UCODE
	pushq $guest_entry
	iretq

/*
 * Start-up IPI target, copied to TRAMPOLINE. Real mode, CS = TRAMPOLINE >> 4, so only addresses
 * relative to the copy are of use until the far jump.
 */
	.code16
	.globl trampoline, trampoline_end
trampoline:
	cli
	movw %cs, %ax
	movw %ax, %ds
	lgdtl trampoline_gdt - trampoline
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpl $SEL_KCODE32, $trampoline32
	.balign 4
trampoline_gdt:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:

	.code32
trampoline32:
	movl $SEL_KDATA, %eax
	movl %eax, %ds
	movl %eax, %ss
	movl $1, %edi
	lock xaddl %edi, cpu_next
	jmp enter_long_mode

	.section .data
	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff	/* 08 code, 32-bit, DPL 0 */
	.quad 0x00af9b000000ffff	/* 10 code, 64-bit, DPL 0 */
	.quad 0x00cf93000000ffff	/* 18 data, DPL 0 */
	.quad 0x00affb000000ffff	/* 20 code, 64-bit, DPL 3 */
	.quad 0x00cff3000000ffff	/* 28 data, DPL 3 */
	.quad 0
	.quad 0
	.rept CPU_MAX
	.quad 0x0000890000000067	/* 40 ... available 64-bit TSS; the base is filled in */
	.quad 0
	.endr
gdt_end:

	.balign 16
	.globl tss_table
tss_table:
	.rept CPU_MAX
	.skip 102
	.word 104			/* no I/O permission bitmap */
	.endr

	.balign 8
	.word 0
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt
	.balign 8
idt_pointer:
	.word 256 * 16 - 1
	.quad idt

	.globl pvh_start_info, cpu_next, bss_canary_seen
pvh_start_info:
	.long 0
cpu_next:
	.long 1
bss_canary_seen:
	.long 0

	/* Identity map of the first 8 GiB in 2 MiB pages: present, writable, user. */
	.section .data.pages, "aw", @progbits
	.balign 4096
	.globl page_pml4
page_pml4:
	.quad page_pdpt + 7
	.fill 511, 8, 0
page_pdpt:
	.set i, 0
	.rept 8
	.quad page_pd + 7 + i * 4096
	.set i, i + 1
	.endr
	.fill 504, 8, 0
page_pd:
	.set i, 0
	.rept 8 * 512
	.quad (i << 21) + 0x87
	.set i, i + 1
	.endr

	.section .stacks, "aw", @nobits
	.balign KSTACK_SIZE
	.globl kstacks, ustacks
kstacks:
	.skip KSTACK_SIZE * CPU_MAX
ustacks:
	.skip USTACK_SIZE * CPU_MAX

	.section .note.GNU-stack, "", @progbits
