/* SPDX-License-Identifier: Apache-2.0 */
/* aarch64: kernels in their packings, where everything goes, the device tree and the ACPI tables. */
#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "boot/acpi.h"
#include "boot/acpi_table.h"
#include "boot/arm64.h"
#include "cpu/gic.h"
#include "unit.h"
#include "util/fd.h"

#define IMAGE_SIZE (300 * KIB)
#define INITRD_SIZE 12345
#define TEXT_OFFSET 0x10000
#define RAM_SIZE (64 * MIB)
#define FLASH_BANK (64 * MIB)

static uint8_t image[IMAGE_SIZE];

/* Its header says 1 MiB in memory. */
static void make_image(void)
{
	static const uint64_t header[] = { TEXT_OFFSET, MIB, 0 };

	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(1 + (i * 7 + i / 4096) % 250);
	memcpy(image + 8, header, sizeof(header));
	memcpy(image + 56, "ARM\x64", 4);
}

static void write_file(const char *name, const void *data, size_t len)
{
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(data, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static size_t gzip(const void *data, size_t len, uint8_t *out, size_t room)
{
	z_stream z = { .next_in = (void *)(uintptr_t)data, .avail_in = (unsigned int)len, .next_out = out,
		       .avail_out = (unsigned int)room };

	ck_assert_int_eq(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static struct mem_space *space;
static struct ram_backend *ram;
static struct vcpu_topology topology;
static struct fdt_machine machine;

static void setup(unsigned int cpus)
{
	const struct ram_config config = { .size = RAM_SIZE };
	struct error *err = NULL;

	make_image();
	write_file("initrd", image, INITRD_SIZE);
	ram = NULL;
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), 0);
	space = mem_space_new();
	ck_assert_int_eq(mem_space_add_ram(space, BOOT_ARM64_RAM_BASE, ram, 0, RAM_SIZE, &err), 0);
	topology = (struct vcpu_topology){ cpus, cpus, 1, 1, 1, cpus, 1 };
	machine = (struct fdt_machine){
		.topology = &topology,
		.space = space,
		.cmdline = "console=ttyAMA0 quiet",
		.serial = { 0x9000000, 0x1000, 7 },
	};
}

static void teardown(void)
{
	mem_space_free(space);
	ram_backend_free(ram);
}

/* The tree in guest memory, checked as a whole. */
static void *tree(void)
{
	void *fdt = guest_slice(space, BOOT_ARM64_FDT, BOOT_ARM64_FDT_MAX);

	ck_assert_ptr_nonnull(fdt);
	ck_assert_int_eq(fdt_check_full(fdt, BOOT_ARM64_FDT_MAX), 0);
	return fdt;
}

static void load(const char *kernel, const char *dtb, struct vcpu_entry *entry)
{
	struct boot_source *source = NULL;
	struct error *err = NULL;
	void *given = NULL;

	if (dtb)
		ck_assert_int_eq(fdt_read(dtb, &given, &err), 0);
	ck_assert_int_eq(boot_source_open(kernel, "initrd", &source, &err), 0);
	for (int round = 0; round < 2; round++) { /* a reset does it again */
		ck_assert_int_eq(boot_load_arm64(source, space, &machine, given, NULL, entry, &err), 0);
		ck_assert_no_error(err);
	}
	boot_source_free(source);
	free(given);
}

static void check_loaded(const struct vcpu_entry *entry)
{
	const void *chosen;
	uint64_t start, end;
	int node, len;

	ck_assert_int_eq(entry->mode, VCPU_ENTRY_ARM64);
	ck_assert_uint_eq(entry->pc, BOOT_ARM64_KERNEL + TEXT_OFFSET);
	ck_assert_uint_eq(entry->arg, BOOT_ARM64_FDT);
	ck_assert_mem_eq(guest_slice(space, entry->pc, IMAGE_SIZE), image, IMAGE_SIZE);
	node = fdt_path_offset(tree(), "/chosen");
	ck_assert_str_eq(fdt_getprop(tree(), node, "bootargs", NULL), "console=ttyAMA0 quiet");
	chosen = fdt_getprop(tree(), node, "linux,initrd-start", &len);
	ck_assert_int_eq(len, 8);
	start = fdt64_ld(chosen);
	end = fdt64_ld(fdt_getprop(tree(), node, "linux,initrd-end", NULL));
	ck_assert_uint_eq(end - start, INITRD_SIZE);
	ck_assert_uint_ge(start, entry->pc + MIB);
	ck_assert_uint_le(end, BOOT_ARM64_RAM_BASE + RAM_SIZE);
	ck_assert_mem_eq(guest_slice(space, start, INITRD_SIZE), image, INITRD_SIZE);
}

START_TEST(packings_of_a_kernel)
{
	static const uint8_t stub[64] = "MZ\0\0zimg";
	static uint8_t packed[64 + IMAGE_SIZE + 1024];
	struct vcpu_entry entry;
	uint32_t fields[2];
	size_t len;

	setup(1);
	write_file("Image", image, IMAGE_SIZE);
	load("Image", NULL, &entry);
	check_loaded(&entry);

	len = gzip(image, IMAGE_SIZE, packed + 64, sizeof(packed) - 64);
	write_file("Image.gz", packed + 64, len);
	load("Image.gz", NULL, &entry);
	check_loaded(&entry);

	memcpy(packed, stub, sizeof(stub));
	fields[0] = 64;
	fields[1] = (uint32_t)len;
	memcpy(packed + 8, fields, sizeof(fields));
	memcpy(packed + 24, "gzip", 4);
	write_file("zboot", packed, 64 + len);
	load("zboot", NULL, &entry);
	check_loaded(&entry);
	teardown();
}
END_TEST

static void refused(const char *what, const void *data, size_t len)
{
	struct boot_source *source = NULL;
	struct error *err = NULL;

	write_file("bad", data, len);
	ck_assert_int_lt(boot_source_open("bad", NULL, &source, &err), 0);
	ck_assert_ptr_null(source);
	ck_assert_msg(err && strstr(error_text(err), what), "'%s' is not in: %s", what, error_text(err));
	error_free(err);
}

START_TEST(bad_kernels_are_refused)
{
	static uint8_t packed[IMAGE_SIZE + 1024], huge[MIB];
	uint8_t head[64];
	uint64_t value;
	size_t len;
	gzFile bomb;

	make_image();
	memcpy(head, image, sizeof(head));
	head[56] = 'X';
	refused("no arm64 Image", head, sizeof(head));
	refused("no arm64 Image", image, 40);
	memcpy(head, image, sizeof(head));
	head[24] = 1;
	refused("big-endian", head, sizeof(head));
	memcpy(head, image, sizeof(head));
	value = 2 * MIB;
	memcpy(head + 8, &value, 8);
	refused("out of range", head, sizeof(head));
	memcpy(head, image, sizeof(head));
	value = UINT64_MAX;
	memcpy(head + 16, &value, 8);
	refused("out of range", head, sizeof(head));
	refused("an ELF file", "\x7f" "ELF this is one", 16);

	len = gzip(image, IMAGE_SIZE, packed, sizeof(packed));
	refused("truncated", packed, len / 2);
	memset(packed + len / 2, 0xff, 64);
	refused("broken", packed, len);
	memset(head, 0, sizeof(head));
	memcpy(head, "MZ\0\0zimg\x40\0\0\0\xff\xff\0\0", 16);
	memcpy(head + 24, "gzip", 4);
	refused("truncated", head, sizeof(head));
	memcpy(head + 24, "zstd22", 6);
	refused("packed with zstd22", head, sizeof(head));

	bomb = gzopen("bad", "w1");
	for (int i = 0; i < 513; i++)
		ck_assert_int_eq(gzwrite(bomb, huge, sizeof(huge)), (int)sizeof(huge));
	gzclose(bomb);
	{
		struct boot_source *source = NULL;
		struct error *err = NULL;

		ck_assert_int_eq(boot_source_open("bad", NULL, &source, &err), -EFBIG);
		ck_assert_error(err, "kernel 'bad' unpacks to more than 512 MiB");
	}
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
	struct boot_source *source = NULL;
	struct vcpu_entry entry = { 0 };
	struct error *err = NULL;
	uint64_t size = RAM_SIZE;

	setup(1);
	memcpy(image + 16, &size, 8);
	write_file("Image", image, IMAGE_SIZE);
	ck_assert_int_eq(boot_source_open("Image", "initrd", &source, &err), 0);
	ck_assert_int_eq(boot_load_arm64(source, space, &machine, NULL, NULL, &entry, &err), -ENOMEM);
	ck_assert_error(err, "kernel 'Image' needs 67 MiB, the guest has 64 MiB");
	boot_source_free(source);

	make_image();
	write_file("Image", image, IMAGE_SIZE);
	ck_assert_int_eq(truncate("initrd", 61 * MIB), 0);
	ck_assert_int_eq(boot_source_open("Image", "initrd", &source, &err), 0);
	err = NULL;
	ck_assert_int_eq(boot_load_arm64(source, space, &machine, NULL, NULL, &entry, &err), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(error_text(err), "initrd 'initrd' (62464 KiB) does not fit"));
	error_free(err);
	boot_source_free(source);
	teardown();
}
END_TEST

/* --- the tree -------------------------------------------------------------------------------------- */

static void check_with_dtc(void)
{
	static char complaints[4096];
	FILE *pipe;
	size_t len;

	write_file("tree.dtb", tree(), fdt_totalsize(tree()));
	pipe = popen("dtc -I dtb -O dts -o /dev/null tree.dtb 2>&1", "r");
	ck_assert_ptr_nonnull(pipe);
	len = fread(complaints, 1, sizeof(complaints) - 1, pipe);
	complaints[len] = '\0';
	ck_assert_int_eq(pclose(pipe), 0);
	ck_assert_str_eq(complaints, "");
}

START_TEST(tree_of_many_cpus)
{
	static const unsigned int counts[] = { 1, 8, 123, 124, 254 };
	static const struct fdt_device virtio[] = { { 0xa000000, 0x200, 32 }, { 0xa000200, 0x200, 33 } };
	static const struct fdt_pci pci = {
		0x7fc0000000, 256 * MIB, 0x3eff0000, 0x10000, 0x10000000, 0x2eff0000, 0x8000000000, 0x8000000000, 16,
	};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct vcpu_entry entry;
		int node, found = 0, len;
		const void *regs;

		setup(counts[i]);
		topology = (struct vcpu_topology){ counts[i], 256, 2, 1, 2, 32, 2 };
		machine.pmu = machine.its = true;
		machine.rtc = (struct fdt_device){ 0x9010000, 0x1000, 5 };
		machine.gpio = (struct fdt_device){ 0x9030000, 0x1000, 8 };
		machine.fw_cfg = (struct fdt_device){ 0x9020000, 24, 0 };
		machine.flash_bank_size = 64 * MIB;
		machine.virtio = virtio;
		machine.virtio_count = 2;
		machine.pci = &pci;
		write_file("Image", image, IMAGE_SIZE);
		load("Image", NULL, &entry);
		check_loaded(&entry);
		for (node = fdt_node_offset_by_prop_value(tree(), -1, "device_type", "cpu", 4); node >= 0;
		     node = fdt_node_offset_by_prop_value(tree(), node, "device_type", "cpu", 4)) {
			ck_assert_uint_eq(fdt32_ld(fdt_getprop(tree(), node, "reg", NULL)),
					  vcpu_arch_id(&topology, (unsigned int)found));
			found++;
		}
		ck_assert_uint_eq((unsigned int)found, counts[i]);
		/* Clusters of 16: what one SGI can address. */
		ck_assert_uint_eq(vcpu_arch_id(&topology, counts[i] - 1), (counts[i] - 1) % 16 | (counts[i] - 1) / 16 << 8);
		node = fdt_path_offset(tree(), "/intc@8000000");
		regs = fdt_getprop(tree(), node, "reg", &len);
		ck_assert_int_eq(len, counts[i] > 123 ? 48 : 32);
		ck_assert_uint_eq(fdt64_ld((const fdt64_t *)regs + 2), GIC_REDIST_BASE);
		ck_assert_uint_eq(fdt64_ld((const fdt64_t *)regs + 3), MIN(counts[i], 123u) * 0x20000ULL);
		if (counts[i] > 123) {
			ck_assert_uint_eq(fdt64_ld((const fdt64_t *)regs + 4), 510 * GIB);
			ck_assert_uint_eq(fdt64_ld((const fdt64_t *)regs + 5), (counts[i] - 123) * 0x20000ULL);
		}
		check_with_dtc();
		teardown();
	}
}
END_TEST

START_TEST(seeds_differ_from_boot_to_boot)
{
	struct boot_initrd none = { 0 };
	struct error *err = NULL;
	uint8_t seeds[2][40];

	setup(1);
	for (int i = 0; i < 2; i++) {
		void *fdt = NULL;
		size_t size;
		int node;

		ck_assert_int_eq(fdt_build(&machine, &none, &fdt, &size, &err), 0);
		node = fdt_path_offset(fdt, "/chosen");
		memcpy(seeds[i], fdt_getprop(fdt, node, "rng-seed", NULL), 32);
		memcpy(seeds[i] + 32, fdt_getprop(fdt, node, "kaslr-seed", NULL), 8);
		ck_assert_ptr_null(fdt_getprop(fdt, node, "linux,initrd-start", NULL));
		free(fdt);
	}
	ck_assert_mem_ne(seeds[0], seeds[1], 32);
	ck_assert_mem_ne(seeds[0] + 32, seeds[1] + 32, 8);
	teardown();
}
END_TEST

static const struct acpi_numa_memory numa_memory[] = {
	{ BOOT_ARM64_RAM_BASE, 48 * MIB, 0 }, { BOOT_ARM64_RAM_BASE + 48 * MIB, 16 * MIB, 1 },
};
static unsigned int cpu_node[256] = { 0, 1, 1, 0 };
static const uint8_t numa_distances[] = { 10, 31, 25, 10 };
static const struct acpi_numa two_nodes = {
	.nodes = 2,
	.memory = numa_memory,
	.memory_count = 2,
	.cpu_node = cpu_node,
	.distances = numa_distances,
};

static uint32_t node_id(const void *fdt, int node)
{
	const void *id = fdt_getprop(fdt, node, "numa-node-id", NULL);

	ck_assert_ptr_nonnull(id);
	return fdt32_ld(id);
}

START_TEST(tree_of_two_nodes)
{
	static const uint32_t matrix[] = { 0, 0, 10, 0, 1, 31, 1, 0, 25, 1, 1, 10 };
	struct boot_initrd none = { 0 };
	struct error *err = NULL;
	const fdt32_t *cells;
	void *fdt = NULL;
	size_t size;
	int len;

	setup(4);
	machine.numa = &two_nodes;
	ck_assert_int_eq(fdt_build(&machine, &none, &fdt, &size, &err), 0);
	ck_assert_int_eq(fdt_check_full(fdt, size), 0);
	for (unsigned int i = 0; i < 4; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/cpus/cpu@%x", i);
		ck_assert_uint_eq(node_id(fdt, fdt_path_offset(fdt, path)), cpu_node[i]);
	}
	ck_assert_uint_eq(node_id(fdt, fdt_path_offset(fdt, "/memory@40000000")), 0);
	ck_assert_uint_eq(node_id(fdt, fdt_path_offset(fdt, "/memory@43000000")), 1);
	cells = fdt_getprop(fdt, fdt_path_offset(fdt, "/distance-map"), "distance-matrix", &len);
	ck_assert_int_eq(len, sizeof(matrix));
	for (unsigned int i = 0; i < ARRAY_SIZE(matrix); i++)
		ck_assert_uint_eq(fdt32_ld(cells + i), matrix[i]);
	free(fdt);
	teardown();
}
END_TEST

START_TEST(tree_of_a_file_gets_command_line_and_initrd)
{
	struct boot_initrd none = { 0 };
	struct error *err = NULL;
	struct vcpu_entry entry;
	void *fdt = NULL;
	size_t size;

	setup(1);
	machine.cmdline = "of the file";
	ck_assert_int_eq(fdt_build(&machine, &none, &fdt, &size, &err), 0);
	write_file("given.dtb", fdt, size);
	machine.cmdline = "console=ttyAMA0 quiet";
	write_file("Image", image, IMAGE_SIZE);
	load("Image", "given.dtb", &entry);
	check_loaded(&entry);

	for (size_t i = 0; i < size; i += 97) { /* whatever is in the file: refused, or a sound tree */
		uint8_t *bytes = fdt, old = bytes[i];
		void *given = NULL;
		int ret;

		bytes[i] ^= 0x41;
		write_file("given.dtb", fdt, size);
		ret = fdt_read("given.dtb", &given, &err);
		if (!ret)
			ret = boot_load_arm64(NULL, space, &machine, given, NULL, &entry, &err);
		if (!ret)
			tree();
		error_free(err);
		err = NULL;
		free(given);
		bytes[i] = old;
	}
	free(fdt);
	teardown();
}
END_TEST

/* --- caches --------------------------------------------------------------------------------------------- */

static void host_cache(unsigned int index, unsigned int level, const char *type, const char *size, unsigned int sets,
		       const char *sharers)
{
	char name[64], text[64];

	snprintf(name, sizeof(name), "mkdir -p cpu0/topology cpu0/cache/index%u", index);
	ck_assert_int_eq(system(name), 0);
	write_file("cpu0/topology/thread_siblings_list", "0-1\n", 4);
#define HOST_FILE(file, ...)                                                           \
	do {                                                                           \
		snprintf(name, sizeof(name), "cpu0/cache/index%u/" file, index);       \
		snprintf(text, sizeof(text), __VA_ARGS__);                             \
		write_file(name, text, strlen(text));                                  \
	} while (0)
	HOST_FILE("level", "%u\n", level);
	HOST_FILE("type", "%s\n", type);
	HOST_FILE("size", "%s\n", size);
	HOST_FILE("coherency_line_size", "64\n");
	HOST_FILE("number_of_sets", "%u\n", sets);
	HOST_FILE("ways_of_associativity", "8\n");
	HOST_FILE("shared_cpu_list", "%s\n", sharers);
}

static void host_caches(void)
{
	host_cache(0, 1, "Data", "32K", 64, "0-1");
	host_cache(1, 1, "Instruction", "48K", 96, "0-1");
	host_cache(2, 2, "Unified", "1024K", 2048, "0-1");
	host_cache(3, 3, "Unified", "8M", 16384, "0-15");
}

START_TEST(caches_of_the_host_are_told)
{
	struct boot_initrd none = { 0 };
	struct cpu_caches caches;
	struct error *err = NULL;
	uint32_t l2 = 0, l3 = 0;
	void *fdt = NULL;
	size_t size;
	int node;

	setup(8);
	host_caches();
	cpu_caches_read("cpu0", &caches);
	ck_assert_uint_eq(caches.count, 4);
	topology = (struct vcpu_topology){ 8, 8, 2, 1, 1, 2, 2 };
	machine.caches = &caches;
	machine.its = true;
	ck_assert_int_eq(fdt_build(&machine, &none, &fdt, &size, &err), 0);
	node = fdt_path_offset(fdt, "/cpus/cpu@5");
	ck_assert_uint_eq(fdt32_ld(fdt_getprop(fdt, node, "d-cache-size", NULL)), 32 * KIB);
	ck_assert_uint_eq(fdt32_ld(fdt_getprop(fdt, node, "d-cache-sets", NULL)), 64);
	ck_assert_uint_eq(fdt32_ld(fdt_getprop(fdt, node, "d-cache-line-size", NULL)), 64);
	ck_assert_uint_eq(fdt32_ld(fdt_getprop(fdt, node, "i-cache-size", NULL)), 48 * KIB);
	for (uint32_t i = 0; i < 8; i++) {
		const void *phandle;
		char path[32];

		snprintf(path, sizeof(path), "/cpus/cpu@%x", i);
		phandle = fdt_getprop(fdt, fdt_path_offset(fdt, path), "next-level-cache", NULL);
		/* Two threads share a core's, four a socket's. */
		ck_assert(!i || (fdt32_ld(phandle) == l2) == (i % 2 == 1));
		l2 = fdt32_ld(phandle);
		node = fdt_node_offset_by_phandle(fdt, l2);
		ck_assert_uint_eq(fdt32_ld(fdt_getprop(fdt, node, "cache-size", NULL)), MIB);
		ck_assert_uint_eq(fdt32_ld(fdt_getprop(fdt, node, "cache-level", NULL)), 2);
		phandle = fdt_getprop(fdt, node, "next-level-cache", NULL);
		ck_assert(!i || (fdt32_ld(phandle) == l3) == (i % 4 != 0));
		l3 = fdt32_ld(phandle);
		node = fdt_node_offset_by_phandle(fdt, l3);
		ck_assert_uint_eq(fdt32_ld(fdt_getprop(fdt, node, "cache-size", NULL)), 8 * MIB);
		ck_assert_ptr_null(fdt_getprop(fdt, node, "next-level-cache", NULL));
	}
	ck_assert_int_eq(guest_write(space, BOOT_ARM64_FDT, fdt, size), 0);
	check_with_dtc();
	free(fdt);
	teardown();
}
END_TEST

START_TEST(caches_that_make_no_sense_are_left_out)
{
	struct cpu_caches caches;

	cpu_caches_read("nowhere", &caches);
	ck_assert_uint_eq(caches.count, 0);
	for (unsigned int how = 0; how < 7; how++) {
		host_caches();
		cpu_caches_read("cpu0", &caches);
		ck_assert_uint_eq(caches.count, 4);
		if (how == 0)
			ck_assert_int_eq(unlink("cpu0/cache/index1/size"), 0); /* as where only CLIDR_EL1 tells */
		else if (how == 1)
			host_cache(2, 2, "Data", "1M", 2048, "0-1");
		else if (how == 2)
			host_cache(2, 8, "Unified", "1M", 2048, "0-1");
		else if (how == 3)
			host_cache(3, 4, "Unified", "8M", 16384, "0-15");
		else if (how == 4)
			host_cache(0, 1, "Data", "0", 64, "0-1");
		else if (how == 5)
			host_cache(2, 2, "Unified", "1M", 2048, "0-3"), host_cache(3, 3, "Unified", "8M", 16384, "0-1");
		else
			host_cache(1, 1, "Instruction", "many", 96, "0-1");
		cpu_caches_read("cpu0", &caches);
		ck_assert_uint_eq(caches.count, 0);
	}
}
END_TEST

/* --- ACPI ------------------------------------------------------------------------------------------- */

static uint64_t field(const uint8_t *at, unsigned int bytes)
{
	uint64_t value = 0;

	memcpy(&value, at, bytes);
	return value;
}

/* §5.2.12: one GICC for each CPU, with its affinity, and the redistributors' regions. */
static void check_madt(const uint8_t *madt, size_t size, unsigned int cpus)
{
	unsigned int gicc = 0, gicr = 0, its = 0;
	uint64_t frames = 0;

	for (size_t at = 44; at < size; at += madt[at + 1]) {
		const uint8_t *entry = madt + at;

		ck_assert_uint_ge(entry[1], 2);
		if (entry[0] == 11) {
			ck_assert_uint_eq(field(entry + 8, 4), gicc);
			ck_assert_uint_eq(field(entry + 68, 8), gicc % 16 | gicc / 16 << 8);
			gicc++;
		} else if (entry[0] == 14) {
			ck_assert_uint_eq(field(entry + 4, 8), gicr++ ? 510 * GIB : GIC_REDIST_BASE);
			frames += field(entry + 12, 4);
		} else if (entry[0] == 15) {
			ck_assert_uint_eq(field(entry + 8, 8), GIC_ITS_BASE);
			its++;
		}
	}
	ck_assert_uint_eq(gicc, cpus);
	ck_assert_uint_eq(gicr, cpus > 123 ? 2 : 1);
	ck_assert_uint_eq(frames, cpus * 0x20000ULL);
	ck_assert_uint_eq(its, 1);
}

/* §5.2.30: every leaf is reached from its package; cores have their caches, packages the shared one. */
static void check_pptt(const uint8_t *pptt, size_t size, unsigned int cpus)
{
	unsigned int leaves = 0, caches = 0;

	for (size_t at = 36; at < size; at += pptt[at + 1]) {
		const uint8_t *entry = pptt + at;
		uint64_t flags = field(entry + 4, 4), parent = field(entry + 8, 4), count = field(entry + 16, 4);
		bool package = flags & 1, leaf = flags & 8, cluster;

		ck_assert_uint_ge(entry[1], 20);
		if (entry[0] == 1) {
			caches++;
			continue;
		}
		ck_assert_uint_lt(parent, at);
		leaves += leaf;
		cluster = !package && field(pptt + parent + 4, 4) & 1;
		ck_assert_uint_eq(count, package ? 1 : leaf || cluster ? 0 : 2);
		for (uint64_t i = 0; i < count; i++) {
			const uint8_t *cache = pptt + field(entry + 20 + i * 4, 4);
			uint64_t next = field(cache + 8, 4);

			ck_assert_uint_eq(cache[0], 1);
			ck_assert_uint_eq(field(cache + 12, 4), package ? 8 * MIB : i ? 32 * KIB : 48 * KIB);
			ck_assert(package ? !next : field(pptt + next + 12, 4) == MIB);
		}
	}
	ck_assert_uint_eq(leaves, cpus);
	ck_assert_uint_eq(caches, 4);
}

/* The ranges of memory, the last of them the flash bank that Linux takes for some. */
static void check_srat(const uint8_t *srat)
{
	const uint8_t *entry = srat + 48;
	unsigned int i;

	for (i = 0; entry[0] == 1; i++, entry += 40) {
		bool flash = i == two_nodes.memory_count;

		ck_assert_uint_eq(entry[1], 40);
		ck_assert_uint_eq(field(entry + 2, 4), flash ? 0 : two_nodes.memory[i].node);
		ck_assert_uint_eq(field(entry + 8, 4), flash ? FLASH_BANK : two_nodes.memory[i].base);
		ck_assert_uint_eq(field(entry + 16, 4), flash ? FLASH_BANK : two_nodes.memory[i].size);
		ck_assert_uint_eq(field(entry + 28, 4), 1); /* enabled */
	}
	ck_assert_uint_eq(i, two_nodes.memory_count + 1);
	ck_assert_uint_eq(entry[0], 3); /* CPUs follow */
}

START_TEST(acpi_tables_please_iasl)
{
	static const struct acpi_virtio_mmio virtio[] = { { 0xa000000, 0x200, 64 } };
	struct acpi_pci_host pci = {
		.ecam = 0x7fc0000000,
		.bus_last = 255,
		.mmio32 = { { .base = 0x10000000, .size = 0x2eff0000 } },
		.mmio64 = { .base = 0x8000000000, .size = 0x8000000000 },
		.io = { { .base = 0, .size = 0x10000, .translation = 0x3eff0000 } },
		.coherent = true,
		.native_hotplug = true,
		.intx_gsi = { 48, 49, 50, 51, 48, 49, 50, 51 },
	};
	struct cpu_caches caches;
	struct acpi_virt info = { &topology, true, 0x9000000, 39, 0x9020000, 0x9080000, 38, 0x90c0000, virtio, 1, &pci,
				  NULL, NULL, { FLASH_BANK, FLASH_BANK, 0 } };
	static char text[65536];

	host_caches();
	cpu_caches_read("cpu0", &caches);
	for (unsigned int cpus = 2; cpus <= 254; cpus += 126) {
		struct acpi_tables *tables = NULL;
		struct error *err = NULL;

		info.numa = cpus == 128 ? &two_nodes : NULL;

		topology = (struct vcpu_topology){ cpus, 256, 2, 1, 2, 32, 2 };
		info.caches = cpus > 2 ? &caches : NULL;
		ck_assert_int_eq(acpi_virt_build(&info, &tables, &err), 0);
		ck_assert_uint_ge(tables->count, 9 + 2 * (info.numa != NULL));
		for (unsigned int i = 0; i < tables->count; i++) {
			const uint8_t *table = tables->data.data + tables->tables[i].start;
			size_t len;
			FILE *pipe;

			if (!memcmp(table, "XSDT", 4))
				continue;
			if (!memcmp(table, "PPTT", 4) && info.caches)
				check_pptt(table, tables->tables[i].len, cpus);
			if (!memcmp(table, "SRAT", 4))
				check_srat(table);
			if (!memcmp(table, "APIC", 4))
				check_madt(table, tables->tables[i].len, cpus);
			write_file("table.dat", table, tables->tables[i].len);
			unlink("table.dsl");
			/* Addresses and checksums come when the tables are placed. */
			pipe = popen("iasl -d table.dat 2>&1 && iasl table.dsl 2>&1", "r");
			ck_assert_ptr_nonnull(pipe);
			len = fread(text, 1, sizeof(text) - 1, pipe);
			text[len] = '\0';
			ck_assert_msg(!pclose(pipe) && strstr(text, " 0 Errors, 0 Warnings") && !strstr(text, "Invalid"),
				      "%.4s: %s", table, text);
		}
		acpi_tables_free(tables);
	}
}
END_TEST

UNIT_SUITE(arm_boot_suite, "arm boot", packings_of_a_kernel, bad_kernels_are_refused, what_does_not_fit_is_refused,
	   tree_of_many_cpus, tree_of_two_nodes, seeds_differ_from_boot_to_boot, tree_of_a_file_gets_command_line_and_initrd,
	   caches_of_the_host_are_told, caches_that_make_no_sense_are_left_out,
	   acpi_tables_please_iasl)
UNIT_MAIN(arm_boot_suite)
