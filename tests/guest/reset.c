// SPDX-License-Identifier: Apache-2.0
/*
 * How a guest ends: triple fault, reset, an error of KVM's own, and not at all.
 */
#include "tests.h"
#include "lib/virtio.h"

#define KBD_COMMAND	0x64
#define KBD_RESET	0xfe

/* An exception that finds no handler, nor one for the fault that makes, nor for that. */
static void triple_fault(void)
{
	static const u8 no_idt[10];

	kcall(k_lidt, (uintptr_t)no_idt, 0, 0);
	asm volatile("ud2");
}

static void reset_by(const char *how)
{
	if (!strcmp(how, "triple"))
		triple_fault();
	else
		outb(KBD_COMMAND, KBD_RESET);
	/* Another thread of the VMM may carry it out; the guest may run on for a moment. */
	for (u64 deadline = deadline_ms(5000); !deadline_passed(deadline);)
		cpu_relax();
	REQUIRE(false, "still here 5 s after a reset by %s", how);
}

/* With -no-reboot the VMM ends here; the runner looks at its message and status. */
void test_triple(void)
{
	print("about to triple-fault\n");
	reset_by("triple");
}

/*
 * Boots `boots` times (3). The count is kept on the disk, in its last sector, which the runner
 * clears. On the command line: how=i8042 or triple.
 */
void test_reset(void)
{
	struct virtio_dev *dev = virtio_get(VIRTIO_ID_BLK, 0);
	u64 boots = cmdline_get_u64("boots", 3), last, count;
	const char *how = cmdline_get("how");
	static u8 sector[512];
	static struct virtq vq;

	/* A reset reaches the devices: nothing of the driver before is left. */
	CHECK_EQ(virtio_status(dev), 0);
	write32(dev->base + VM_QUEUE_SEL, 0);
	CHECK_EQ(read32(dev->base + VM_QUEUE_READY), 0);
	/* The image was loaded anew: what an ELF file says is zero is zero. */
	CHECK_EQ(bss_canary_seen, 0);
	CHECK_EQ(*irq_counter(0, VEC_TICK), 0);

	blk_start(dev, &vq, BLK_F_FLUSH, 16);
	last = blk_capacity(dev) - 1;
	REQUIRE(blk_do(&vq, BLK_T_IN, last, sector, 512, 0, NULL) == BLK_S_OK, "cannot read");
	memcpy(&count, sector, 8);
	count++;
	print("boot number %lu\n", count);
	memcpy(sector, &count, 8);
	REQUIRE(blk_do(&vq, BLK_T_OUT, last, sector, 512, 0, NULL) == BLK_S_OK, "cannot write");
	REQUIRE(blk_do(&vq, BLK_T_FLUSH, 0, NULL, 0, 0, NULL) == BLK_S_OK, "cannot flush");
	if (count >= boots)
		return;
	bss_canary = 0x12345678;
	/* Leave something behind: a running timer and a live queue. */
	lapic_tick(1000);
	irq_wait(0, VEC_TICK, 0, 1000);
	reset_by(how ? how : "i8042");
}

/*
 * Something KVM cannot do, on the command line as how=: "int3" at CPL0 (an error where the back
 * end emulates CPL0, an ordinary exception elsewhere) or "hole", running code where no memory is.
 */
void test_error(void)
{
	const char *how = cmdline_get("how");

	print("about to cause an error inside KVM\n");
	if (how && !strcmp(how, "int3"))
		kcall(k_int3, 0, 0, 0);
	else
		kcall((void *)0xe0000000, 0, 0, 0);
	REQUIRE(false, "KVM had no trouble with it");
}

/* Tells -device pvpanic, and stays. */
void test_panic(void)
{
	print("about to panic\n");
	outb(0x505, 1);
	print("went on\n");
	for (;;)
		cpu_relax();
}

/* Runs until it is ended from outside; how=halt sleeps instead, how=exits leaves the guest all the time. */
void test_spin(void)
{
	const char *how = cmdline_get("how");

	print("spinning\n");
	if (how && !strcmp(how, "halt"))
		kcall(k_halt, 0, 0, 0);
	while (how && !strcmp(how, "exits"))
		read32(0xf0100000);
	for (;;)
		cpu_relax();
}
