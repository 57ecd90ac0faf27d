// SPDX-License-Identifier: Apache-2.0
/*
 * The interrupt descriptor table, and the report of an exception nobody expected.
 */
#include "guest.h"

struct idt_gate {
	u16 offset_low, selector;
	u8 ist, type;
	u16 offset_mid;
	u32 offset_high, reserved;
};

struct idt_gate idt[256] __attribute__((aligned(16)));

extern const char trap_gp[], exception_stubs[], irq_stubs[];

static void gate_set(u32 vec, const char *target)
{
	uintptr_t a = (uintptr_t)target;

	idt[vec] = (struct idt_gate){
		.offset_low = a,
		.selector = SEL_KCODE,
		.type = 0x8e,		/* present, interrupt gate: entered with interrupts off */
		.offset_mid = a >> 16,
		.offset_high = a >> 32,
	};
}

void trap_init(void)
{
	u32 vec;

	for (vec = 0; vec < 32; vec++)
		gate_set(vec, exception_stubs + vec * 16);
	gate_set(13, trap_gp);
	for (; vec < 256; vec++)
		gate_set(vec, irq_stubs + (vec - VEC_IRQ0) * IRQ_STUB_SIZE);
}

/*
 * Runs at CPL0, where kcall() has no meaning, so it speaks to the ports itself. The frame holds
 * vector, error code, rip, cs, rflags, rsp, ss.
 */
static void raw_puts(const char *s)
{
	for (; *s; s++)
		asm volatile("outb %b0, %w1" : : "a"(*s), "d"(0x3f8));
}

static void raw_puthex(const char *name, u64 v)
{
	int shift;

	raw_puts(name);
	for (shift = 60; shift >= 0; shift -= 4)
		asm volatile("outb %b0, %w1" : : "a"("0123456789abcdef"[v >> shift & 15]), "d"(0x3f8));
}

_Noreturn void trap_fatal(const u64 *frame, u64 cr2)
{
	raw_puthex("\nFAIL unexpected exception: vector ", frame[0]);
	raw_puthex(" error ", frame[1]);
	raw_puthex(" rip ", frame[2]);
	raw_puthex(" cs ", frame[3]);
	raw_puthex(" cr2 ", cr2);
	raw_puts("\n");
	asm volatile("outb %b0, %w1" : : "a"(0x12), "d"(DEBUG_EXIT_PORT));
	for (;;)
		asm volatile("cli; hlt");
}
