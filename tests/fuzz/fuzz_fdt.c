// SPDX-License-Identifier: Apache-2.0
/*
 * Device trees of random machines of aarch64, microvm's and virt's: topologies, RAM, devices, PCI windows. What is built is
 * sound as a whole, names each thing once, and every phandle in it leads somewhere. Trees of files (-dtb) are refused with a
 * reason or stay sound when they are completed. In the slow mode dtc must read what was built, and have nothing to say.
 *
 * The ids of CPUs are those of the architecture that this is built for; the tree needs of them only that they differ.
 */
#include "shared.h"

#include <errno.h>
#include <libfdt.h>

#include "boot/arm64.h"
#include "cpu/gic.h"

#define CPUS_MAX 512
#define VIRTIO_MAX 64
#define REGIONS_MAX 4
#define NODES_MAX 4096
#define PHANDLES_MAX 1024
#define GIC_PHANDLE 2 /* the interrupt parent of all */

static struct ram_backend *ram;

/* RAM in pieces, as NUMA nodes and DIMMs are, with holes between them. */
static struct mem_space *memory(void)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = REGIONS_MAX * MIB };
	struct mem_space *space = mem_space_new();
	unsigned int count = 1 + byte() % REGIONS_MAX;
	gpa_t at = BOOT_ARM64_RAM_BASE;

	if (!ram)
		MUST(!ram_backend_new(&config, &ram, NULL));
	for (unsigned int i = 0; i < count; i++) {
		MUST(!mem_space_add_ram(space, at, ram, i * MIB, MIB, NULL));
		at += MIB + number(4) * KIB * 4;
	}
	return space;
}

static struct fdt_device device(gpa_t base, uint64_t size)
{
	return byte() & 1 ? (struct fdt_device){ base, size, byte() % GIC_SPI_COUNT } : (struct fdt_device){ 0 };
}

static const char *cmdline(void)
{
	static char text[0x1000];
	size_t len = bytes(text, number(2) % sizeof(text));

	text[len] = '\0';
	return len ? text : NULL;
}

static uint64_t pages(void)
{
	return number(3) << 12;
}

/* --- What was built --- */

static uint32_t u32(const void *fdt, int node, const char *name)
{
	const fdt32_t *value;
	int len;

	value = fdt_getprop(fdt, node, name, &len);
	MUST(value && len == 4);
	return fdt32_ld(value);
}

static bool known[PHANDLES_MAX];

/* Each is given once. */
static void take_phandles(const void *fdt)
{
	memset(known, 0, sizeof(known));
	for (int node = 0; node >= 0; node = fdt_next_node(fdt, node, NULL)) {
		uint32_t phandle = fdt_get_phandle(fdt, node);

		MUST(phandle < PHANDLES_MAX && !known[phandle]);
		known[phandle] = phandle > 0;
	}
}

/* A property of cells, each of which with index % @every == @at is a phandle. */
static void check_phandles(const void *fdt, int node, const char *name, int every, int at)
{
	const fdt32_t *cells;
	int len;

	cells = fdt_getprop(fdt, node, name, &len);
	if (!cells)
		return;
	MUST(len % (4 * every) == 0);
	for (int i = at; i < len / 4; i += every)
		MUST(fdt32_ld(cells + i) < PHANDLES_MAX && known[fdt32_ld(cells + i)]);
}

/* No two of a node's children have one name. */
static void check_names(const void *fdt, int parent)
{
	const char *seen[NODES_MAX];
	unsigned int count = 0;
	int node;

	fdt_for_each_subnode(node, fdt, parent) {
		const char *name = fdt_get_name(fdt, node, NULL);

		for (unsigned int i = 0; i < count; i++)
			MUST(strcmp(seen[i], name));
		MUST(name && count < NODES_MAX);
		seen[count++] = name;
	}
}

/* The cells of "interrupts" are those of the GIC, and its numbers exist. */
static void check_interrupts(const void *fdt, int node)
{
	const fdt32_t *cells;
	int len;

	cells = fdt_getprop(fdt, node, "interrupts", &len);
	if (!cells)
		return;
	MUST(len && len % 12 == 0);
	for (int i = 0; i < len / 4; i += 3) {
		MUST(fdt32_ld(cells + i) <= 1);
		MUST(fdt32_ld(cells + i + 1) < (fdt32_ld(cells + i) ? 16 : GIC_SPI_COUNT));
	}
}

static unsigned int count_of_type(const void *fdt, const char *type)
{
	unsigned int count = 0;
	int node = -1;

	while ((node = fdt_node_offset_by_prop_value(fdt, node, "device_type", type, (int)strlen(type) + 1)) >= 0)
		count++;
	return count;
}

static void check_tree(const void *fdt, size_t size, const struct fdt_machine *machine)
{
	MUST(size <= BOOT_ARM64_FDT_MAX && fdt_totalsize(fdt) == size);
	MUST(!fdt_check_full(fdt, size));
	MUST(u32(fdt, 0, "#address-cells") == 2 && u32(fdt, 0, "#size-cells") == 2);
	MUST(u32(fdt, 0, "interrupt-parent") == GIC_PHANDLE);
	MUST(fdt_node_offset_by_phandle(fdt, GIC_PHANDLE) == fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v3"));
	MUST(fdt_path_offset(fdt, "/chosen") > 0);
	take_phandles(fdt);
	for (int node = 0; node >= 0; node = fdt_next_node(fdt, node, NULL)) {
		check_names(fdt, node);
		check_interrupts(fdt, node);
		check_phandles(fdt, node, "cpu", 1, 0);
		check_phandles(fdt, node, "clocks", 1, 0);
		check_phandles(fdt, node, "msi-map", 4, 1);
		check_phandles(fdt, node, "interrupt-map", 10, 4);
	}
	MUST(count_of_type(fdt, "cpu") == machine->topology->cpus);
	MUST(count_of_type(fdt, "memory") == mem_space_ram_count(machine->space));
	MUST(count_of_type(fdt, "pci") == !!machine->pci);
}

/* --- The targets --- */

static void build(void)
{
	static struct fdt_device virtio[VIRTIO_MAX];
	struct vcpu_topology cpus = topology(CPUS_MAX);
	struct fdt_pci pci = {
		.ecam = 511ULL << 30,
		.ecam_size = (1 + byte()) * MIB,
		.io_base = 0x3eff0000,
		.io_size = byte() & 1 ? 0x10000 : 0,
		.mem32_base = 0x10000000 + pages(),
		.mem32_size = MIB + pages(),
		.mem64_base = (512ULL << 30) + pages(),
		.mem64_size = pages(),
		.intx_gsi = byte() % (GIC_SPI_COUNT - 4),
	};
	struct fdt_machine machine = {
		.topology = &cpus,
		.space = memory(),
		.pmu = byte() & 1,
		.its = byte() & 1,
		.serial = device(0x9000000, 0x1000),
		.rtc = device(0x9010000, 0x1000),
		.fw_cfg = device(0x9020000, 0x18),
		.flash_bank_size = byte() & 1 ? 64 * MIB : 0,
		.virtio = virtio,
		.virtio_count = byte() % (VIRTIO_MAX + 1),
		.pci = byte() & 1 ? &pci : NULL,
		.cmdline = cmdline(),
	};
	struct boot_initrd initrd = { .start = number(5), .size = byte() & 1 ? number(5) : 0 };
	struct error *err = NULL;
	void *fdt = NULL;
	size_t size = 0;
	int ret;

	for (unsigned int i = 0; i < machine.virtio_count; i++)
		virtio[i] = (struct fdt_device){ 0xa000000 + i * 0x200ULL, 0x200, byte() % GIC_SPI_COUNT };
	ret = fdt_build(&machine, &initrd, &fdt, &size, &err);
	fuzz_outcome(ret, err);
	MUST(!ret || ret == -E2BIG);
	if (!ret) {
		check_tree(fdt, size, &machine);
		if (slow())
			must_run("dtc -I dtb -O dts -o /dev/null \"$FILE\" && ! [ -s \"$FILE.log\" ]", fdt, size);
		free(fdt);
	}
	mem_space_free((struct mem_space *)(uintptr_t)machine.space);
}

/* The rest of the input is a file. */
static void complete(void)
{
	static uint8_t file[0x10000];
	const char *text = byte() & 1 ? "console=ttyAMA0" : NULL;
	struct boot_initrd initrd = { .start = 0x48000000, .size = byte() };
	void *fdt = NULL, *changed = NULL;
	struct error *err = NULL;
	size_t size = 0;
	char path[4200];
	FILE *out;
	int ret;

	snprintf(path, sizeof(path), "%s/dtb", folder());
	out = fopen(path, "w");
	size = bytes(file, sizeof(file));
	MUST(out && fwrite(file, 1, size, out) == size && !fclose(out));
	ret = fdt_read(path, &fdt, &err);
	fuzz_outcome(ret, err);
	if (ret)
		return;
	MUST(!fdt_check_full(fdt, size));
	err = NULL;
	ret = fdt_change(fdt, text, &initrd, &changed, &size, &err);
	fuzz_outcome(ret, err);
	if (!ret) {
		int chosen = fdt_path_offset(changed, "/chosen");

		MUST(size <= BOOT_ARM64_FDT_MAX && !fdt_check_full(changed, size) && chosen > 0);
		MUST(!text || !strcmp(fdt_getprop(changed, chosen, "bootargs", NULL), text));
		MUST(!initrd.size || fdt_getprop(changed, chosen, "linux,initrd-end", NULL));
		free(changed);
	}
	free(fdt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input_begin(data, size);
	if (byte() & 3)
		build();
	else
		complete();
	return 0;
}
