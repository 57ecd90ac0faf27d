/* SPDX-License-Identifier: Apache-2.0 */
/* From the reset vector at 4 GiB less 16 to protected mode with flat segments, all in flash. */
	.code16
	.section .reset16, "ax"
start16:
	cli
	lgdtl	%cs:(gdt_pointer - start16 + RESET16_OFFSET)
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$8, $start32

	.code32
start32:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$0x90000, %esp
	call	firmware_main
halt:
	hlt
	jmp	halt

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	23
	.long	gdt

	.code16
	.section .vector, "ax"
	jmp	start16
	.org	16
