/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware for one test: it runs in flash from the reset vector on, reads fw_cfg by register and by DMA, counts its starts in
 * the variables' bank, and shows that the bank with the code cannot be written. Debug exit 0x10: all is well.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COM1 0x3f8
#define DEBUG_EXIT 0x501
#define PASSED 0x10
#define FAILED 0x11

#define FW_CFG_SELECTOR 0x510
#define FW_CFG_DATA 0x511
#define FW_CFG_DMA 0x514
#define KEY_DIRECTORY 0x19
#define DMA_READ 2
#define DMA_SELECT 8

#define CODE_BASE 0xffff0000u
#define VARS_BASE 0xfffe0000u /* 64 KiB, below the code */
#define SECTOR 4096u
#define RAM_SCRATCH 0x20000u
#define RAM_DMA 0x1000u

void firmware_main(void);

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static volatile uint8_t *at(uint32_t address)
{
	return (volatile uint8_t *)address;
}

static void say(const char *text)
{
	for (; *text; text++)
		out8(COM1, (uint8_t)*text);
}

static void say_number(uint32_t value)
{
	static const char digits[] = "0123456789abcdef";

	for (int shift = 28; shift >= 0; shift -= 4)
		out8(COM1, (uint8_t)digits[value >> shift & 0xf]);
}

static void expect(bool ok, const char *what)
{
	if (ok)
		return;
	say("FAILED ");
	say(what);
	say("\n");
	out8(DEBUG_EXIT, FAILED);
	for (;;)
		__asm__ volatile("hlt");
}

/* --- fw_cfg --- */

static void read_item(uint16_t key, uint8_t *to, uint32_t len)
{
	out16(FW_CFG_SELECTOR, key);
	while (len--)
		*to++ = in8(FW_CFG_DATA);
}

static uint32_t big(const volatile uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void dma_read(uint16_t key, uint32_t to, uint32_t len)
{
	volatile uint32_t *dma = (volatile uint32_t *)RAM_DMA;

	dma[0] = __builtin_bswap32((uint32_t)key << 16 | DMA_SELECT | DMA_READ);
	dma[1] = __builtin_bswap32(len);
	dma[2] = 0;
	dma[3] = __builtin_bswap32(to);
	out32(FW_CFG_DMA, 0);
	out32(FW_CFG_DMA + 4, __builtin_bswap32(RAM_DMA));
	expect(dma[0] == 0, "DMA");
}

static bool same(const volatile uint8_t *name, const char *text)
{
	while (*text && *name == (uint8_t)*text)
		name++, text++;
	return *name == (uint8_t)*text;
}

/* Prints the file. */
static void show_file(const char *name)
{
	const volatile uint8_t *entry = at(RAM_SCRATCH + 4);
	uint32_t count;

	dma_read(KEY_DIRECTORY, RAM_SCRATCH, 4 + 64 * 64);
	count = big(at(RAM_SCRATCH));
	for (; count && !same(entry + 8, name); count--)
		entry += 64;
	expect(count, "file is missing");
	dma_read((uint16_t)(entry[4] << 8 | entry[5]), RAM_SCRATCH + 0x4000, big(entry) + 1);
	say("file: ");
	say((const char *)RAM_SCRATCH + 0x4000);
	say("\n");
}

/* --- flash --- */

static void program(uint32_t address, uint8_t value)
{
	*at(address) = 0x40;
	*at(address) = value;
	while (!(*at(address) & 0x80))
		;
	expect(*at(address) == 0x80, "programming");
	*at(address) = 0xff;
	expect(*at(address) == value, "what was programmed");
}

static void erase(uint32_t address)
{
	*at(address) = 0x20;
	*at(address) = 0xd0;
	while (!(*at(address) & 0x80))
		;
	*at(address) = 0xff;
	expect(*at(address) == 0xff && *at(address + SECTOR - 1) == 0xff, "erasing");
}

void firmware_main(void)
{
	uint8_t signature[4];
	uint32_t starts = 0;

	say("firmware runs\n");
	read_item(0, signature, 4);
	expect(signature[0] == 'Q' && signature[3] == 'U', "signature");
	show_file("opt/greeting");

	/* Each start takes one byte of the first sector. */
	while (starts < SECTOR && *at(VARS_BASE + starts) != 0xff)
		starts++;
	program(VARS_BASE + starts, (uint8_t)starts);
	say("start ");
	say_number(starts);
	say("\n");
	program(VARS_BASE + SECTOR + 1, 0x5a);
	erase(VARS_BASE + SECTOR + 2);
	expect(*at(VARS_BASE + starts) == (uint8_t)starts, "the neighbour");

	/* The code's own bank: a command of one instruction, from RAM's point of view in between, would take the code away. */
	expect(*at(CODE_BASE + 0xfff0) == 0xe9 || *at(CODE_BASE + 0xfff0) == 0xeb, "reset vector");
	*at(CODE_BASE) = 0xff;
	out8(DEBUG_EXIT, PASSED);
}
