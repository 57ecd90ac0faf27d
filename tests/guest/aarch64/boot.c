// SPDX-License-Identifier: Apache-2.0
/*
 * The serial port, what the device tree says, time limits, the end.
 */
#include "../lib/guest.h"

#define PL011_FR	0x18
#define PL011_CR	0x30
#define FR_TX_FULL	(1u << 5)
#define CR_ON		0x301

#define FDT_MAGIC	0xd00dfeed
enum { FDT_BEGIN_NODE = 1, FDT_END_NODE, FDT_PROP, FDT_NOP, FDT_END = 9 };

u64 entry_sctlr, entry_daif, entry_fdt;
static u64 ram_end;
static u32 failures;

void console_write(const char *text, u32 len)
{
	static u32 lock;

	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
	write32(SERIAL_BASE + PL011_CR, CR_ON);
	for (; len; len--) {
		while (read32(SERIAL_BASE + PL011_FR) & FR_TX_FULL)
			cpu_relax();
		write32(SERIAL_BASE, (u8)*text++);
	}
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static u32 be32(u64 at)
{
	return __builtin_bswap32(read32(at));
}

/* The command line and the end of RAM: the only "bootargs", and "reg" of the memory's node. */
void boot_init(void)
{
	u64 at = entry_fdt + be32(entry_fdt + 8), strings = entry_fdt + be32(entry_fdt + 12);
	bool memory = false;

	REQUIRE(be32(entry_fdt) == FDT_MAGIC, "no device tree at %#lx", entry_fdt);
	for (;;) {
		u32 token = be32(at);

		at += 4;
		if (token == FDT_BEGIN_NODE) {
			memory = !memcmp((const char *)at, "memory@", 7);
			at += (strlen((const char *)at) + 4) & ~3ull;
		} else if (token == FDT_PROP) {
			const char *name = (const char *)strings + be32(at + 4);
			u32 len = be32(at);

			at += 8;
			if (!strcmp(name, "bootargs"))
				boot_cmdline = (const char *)at;
			if (memory && !strcmp(name, "reg"))
				ram_end = ((u64)be32(at) << 32 | be32(at + 4)) + ((u64)be32(at + 8) << 32 | be32(at + 12));
			at += (len + 3) & ~3u;
		} else if (token == FDT_END) {
			return;
		} else {
			REQUIRE(token == FDT_END_NODE || token == FDT_NOP, "the device tree holds a token %u", token);
		}
	}
}

u64 boot_low_ram_end(void)
{
	return ram_end;
}

u64 deadline_ms(u32 ms)
{
	/* They bound a hang, in a machine that may itself be emulated: ten times what a test thinks. */
	return ticks() + read_sysreg(cntfrq_el0) / 100 * ms;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	__atomic_add_fetch(&failures, 1, __ATOMIC_SEQ_CST);
	print("FAIL %s:%d: ", file, line);
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
}

_Noreturn void test_end(void)
{
	print("%s\n", failures ? "RESULT failed" : "RESULT passed");
	psci(PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;)
		cpu_relax();
}
