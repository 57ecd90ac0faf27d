/* SPDX-License-Identifier: Apache-2.0 */
/* fw_cfg: items, directory, data register and DMA as firmware uses them, and -fw_cfg. */
#include <stdio.h>

#include "devices/fw_cfg.h"
#include "fake_machine.h"
#include "util/endian.h"

#define RAM_SIZE 0x100000
#define DESCRIPTOR 0x1000
#define MEM_BASE 0x9020000

static const struct device_class *const classes[] = { &fw_cfg_io_class, &fw_cfg_mem_class, NULL };
static struct fake_machine m;
static struct ram_backend *ram;
static struct fw_cfg *cfg;

static void setup(const char *name, const char *props)
{
	const struct ram_config config = { .kind = RAM_ANONYMOUS, .size = RAM_SIZE };
	struct error *err = NULL;

	fake_machine_init(&m, classes);
	ck_assert_int_eq(ram_backend_new(&config, &ram, &err), 0);
	ck_assert_int_eq(mem_space_add_ram(m.platform.space, 0, ram, 0, RAM_SIZE, &err), 0);
	cfg = fw_cfg_from_device(fake_device(&m, name, "fw_cfg", props));
}

static void teardown(void)
{
	fake_machine_release(&m);
	ram_backend_free(ram);
}

static void select_item(uint16_t key)
{
	le16_t value = cpu_to_le16(key);

	mem_space_io_write(m.platform.space, IO_PORT, FW_CFG_IO_BASE, &value, 2);
}

static void read_item(uint16_t key, void *to, size_t len)
{
	uint8_t *bytes = to;

	select_item(key);
	while (len--)
		*bytes++ = inb(&m, FW_CFG_IO_BASE + 1);
}

static void add_file(const char *name, const char *text)
{
	struct error *err = NULL;
	int ret = fw_cfg_set_file(cfg, name, text, (uint32_t)strlen(text), &err);

	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
}

struct entry {
	be32_t size;
	be16_t key, reserved;
	char name[56];
};

static unsigned int read_directory(struct entry *entries, unsigned int max)
{
	struct {
		be32_t count;
		struct entry entries[FW_CFG_FILES_MAX + 1];
	} directory;
	unsigned int count;

	read_item(FW_CFG_FILE_DIR, &directory, sizeof(directory));
	count = be32_to_cpu(directory.count);
	ck_assert_uint_le(count, max);
	memcpy(entries, directory.entries, count * sizeof(*entries));
	return count;
}

/* One transfer by the ports, as OVMF starts it; what the control word says then. */
static uint32_t dma(uint32_t control, uint32_t len, uint64_t to)
{
	struct {
		be32_t control, length;
		be64_t address;
	} descriptor = { cpu_to_be32(control), cpu_to_be32(len), cpu_to_be64(to) };
	be32_t high = cpu_to_be32(0), low = cpu_to_be32(DESCRIPTOR);

	memcpy(ram->host + DESCRIPTOR, &descriptor, sizeof(descriptor));
	mem_space_io_write(m.platform.space, IO_PORT, FW_CFG_IO_BASE + 4, &high, 4);
	mem_space_io_write(m.platform.space, IO_PORT, FW_CFG_IO_BASE + 8, &low, 4);
	memcpy(&descriptor, ram->host + DESCRIPTOR, sizeof(descriptor));
	return be32_to_cpu(descriptor.control);
}

START_TEST(signature_and_id)
{
	char signature[4];
	le32_t id;

	setup("fw_cfg_io", NULL);
	read_item(FW_CFG_SIGNATURE, signature, 4);
	ck_assert_mem_eq(signature, "QEMU", 4);
	read_item(FW_CFG_ID, &id, 4);
	ck_assert_uint_eq(le32_to_cpu(id), 3);
	select_item(FW_CFG_ID);
	devices_reset(&m.platform);
	ck_assert_uint_eq(inb(&m, FW_CFG_IO_BASE + 1), 'Q');
	teardown();
}
END_TEST

START_TEST(files_are_numbered_in_the_order_of_their_names)
{
	struct entry entries[8];
	char text[8];

	setup("fw_cfg_io", NULL);
	ck_assert_uint_eq(read_directory(entries, 8), 0);
	add_file("etc/e820", "map");
	add_file("bootorder", "first");
	add_file("opt/z", "zz");
	add_file("etc/acpi/rsdp", "");
	ck_assert_uint_eq(read_directory(entries, 8), 4);
	ck_assert_str_eq(entries[0].name, "bootorder");
	ck_assert_str_eq(entries[1].name, "etc/acpi/rsdp");
	ck_assert_str_eq(entries[2].name, "etc/e820");
	ck_assert_str_eq(entries[3].name, "opt/z");
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_uint_eq(be16_to_cpu(entries[i].key), 0x20 + i);
	ck_assert_uint_eq(be32_to_cpu(entries[1].size), 0);
	ck_assert_uint_eq(be32_to_cpu(entries[2].size), 3);
	read_item(0x22, text, 5);
	ck_assert_mem_eq(text, "map\0\0", 5);

	add_file("etc/e820", "longer"); /* in its place */
	ck_assert_uint_eq(read_directory(entries, 8), 4);
	ck_assert_uint_eq(be32_to_cpu(entries[2].size), 6);
	read_item(0x22, text, 6);
	ck_assert_mem_eq(text, "longer", 6);
	teardown();
}
END_TEST

START_TEST(numbers_are_little_endian)
{
	uint8_t bytes[9];

	setup("fw_cfg_io", NULL);
	fw_cfg_set_u16(cfg, FW_CFG_NB_CPUS, 0x0102);
	fw_cfg_set_u32(cfg, FW_CFG_KERNEL_SIZE, 0x01020304);
	fw_cfg_set_u64(cfg, FW_CFG_RAM_SIZE, 0x0102030405060708);
	read_item(FW_CFG_NB_CPUS, bytes, 3);
	ck_assert_mem_eq(bytes, "\2\1\0", 3);
	read_item(FW_CFG_KERNEL_SIZE, bytes, 5);
	ck_assert_mem_eq(bytes, "\4\3\2\1\0", 5);
	read_item(FW_CFG_RAM_SIZE, bytes, 9);
	ck_assert_mem_eq(bytes, "\10\7\6\5\4\3\2\1\0", 9);
	teardown();
}
END_TEST

START_TEST(dma_reads_skips_and_fills_with_zeros)
{
	setup("fw_cfg_io", NULL);
	add_file("opt/a", "0123456789");
	memset(ram->host + 0x2000, 0xff, 64);
	ck_assert_uint_eq(dma(0x20 << 16 | 8 | 2, 4, 0x2000), 0);
	ck_assert_uint_eq(dma(4, 2, 0), 0); /* skip */
	ck_assert_uint_eq(dma(2, 8, 0x2004), 0);
	ck_assert_mem_eq(ram->host + 0x2000, "01236789\0\0\0\0\xff", 13);
	ck_assert_uint_eq(dma(4, UINT32_MAX, 0), 0);
	ck_assert_uint_eq(dma(2, 1, 0x2000), 0);
	ck_assert_uint_eq(ram->host[0x2000], 0);
	ck_assert_uint_eq(dma(0x20 << 16 | 8, 0, 0), 0); /* select alone */
	ck_assert_uint_eq(inb(&m, FW_CFG_IO_BASE + 1), '0');
	teardown();
}
END_TEST

/* A host file is read at its offset, by register and by DMA, and never beyond the item. */
START_TEST(items_in_host_files)
{
	char path[] = "./unit-fw-cfg-XXXXXX", text[8];
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(write(fd, "....kernel....", 14), 14);
	setup("fw_cfg_io", NULL);
	ck_assert_int_eq(fw_cfg_set_fd(cfg, FW_CFG_KERNEL_DATA, fd, 4, 6), 0);
	close(fd);
	read_item(FW_CFG_KERNEL_DATA, text, 8);
	ck_assert_mem_eq(text, "kernel\0\0", 8);
	ck_assert_uint_eq(dma(FW_CFG_KERNEL_DATA << 16 | 8 | 2, 8, 0x2000), 0);
	ck_assert_mem_eq(ram->host + 0x2000, "kernel\0\0", 8);
	teardown();
}
END_TEST

/* fwcfg-entry (CVE-2016-1714): any selector, any length, reading and writing, at the end of items and behind it. */
START_TEST(fwcfg_entry)
{
	uint8_t before[64];

	setup("fw_cfg_io", NULL);
	add_file("opt/a", "abc");
	for (uint32_t key = 0; key <= 0xffff; key++) {
		select_item((uint16_t)key);
		for (int i = 0; i < 3; i++) {
			inb(&m, FW_CFG_IO_BASE + 1);
			outb(&m, FW_CFG_IO_BASE + 1, 0x5a);
		}
		ck_assert_uint_eq(dma(4, UINT32_MAX, 0), 0);
		ck_assert_uint_eq(inb(&m, FW_CFG_IO_BASE + 1), 0);
		ck_assert_uint_eq(dma(0x10, 1, 0x2000), 1); /* nothing can be written */
	}
	/* The whole item, or nothing at all, where RAM ends. */
	memset(ram->host + RAM_SIZE - 64, 0x77, 64);
	memcpy(before, ram->host + RAM_SIZE - 64, 64);
	ck_assert_uint_eq(dma(0x20 << 16 | 8 | 2, 3, RAM_SIZE - 2), 1);
	ck_assert_uint_eq(dma(0x20 << 16 | 8 | 2, 3, RAM_SIZE), 1);
	ck_assert_uint_eq(dma(0x20 << 16 | 8 | 2, 3, UINT64_MAX - 1), 1);
	ck_assert_mem_eq(ram->host + RAM_SIZE - 64, before, 64);
	ck_assert_uint_eq(dma(0x20 << 16 | 8 | 2, UINT32_MAX, 0x2000), 1);
	teardown();
}
END_TEST

/* In memory the selector is big-endian, data keeps the order of its bytes in any width, and DMA takes 64 bits at once. */
START_TEST(registers_in_memory)
{
	be16_t key = cpu_to_be16(FW_CFG_SIGNATURE);
	be64_t at = cpu_to_be64(DESCRIPTOR);
	char text[8];

	setup("fw_cfg_mem", "base=0x9020000");
	add_file("opt/a", "0123456789abcdef");
	mem_space_io_write(m.platform.space, IO_MMIO, MEM_BASE + 8, &key, 2);
	mem_space_io_read(m.platform.space, IO_MMIO, MEM_BASE, text, 4);
	ck_assert_mem_eq(text, "QEMU", 4);
	key = cpu_to_be16(0x20);
	mem_space_io_write(m.platform.space, IO_MMIO, MEM_BASE + 8, &key, 2);
	mem_space_io_read(m.platform.space, IO_MMIO, MEM_BASE, text, 8);
	ck_assert_mem_eq(text, "01234567", 8);
	mem_space_io_read(m.platform.space, IO_MMIO, MEM_BASE, text, 2);
	ck_assert_mem_eq(text, "89", 2);
	mem_space_io_read(m.platform.space, IO_MMIO, MEM_BASE + 16, text, 8);
	ck_assert_mem_eq(text, "QEMU CFG", 8);
	mem_space_io_read(m.platform.space, IO_MMIO, MEM_BASE + 20, text, 4);
	ck_assert_mem_eq(text, " CFG", 4);

	memcpy(ram->host + DESCRIPTOR, "\0\x20\0\x0a\0\0\0\4\0\0\0\0\0\0\x20\0", 16);
	mem_space_io_write(m.platform.space, IO_MMIO, MEM_BASE + 16, &at, 8);
	ck_assert_mem_eq(ram->host + 0x2000, "0123", 4);
	ck_assert_mem_eq(ram->host + DESCRIPTOR, "\0\0\0\0", 4);
	teardown();
}
END_TEST

static int option(const char *text, struct error **errp)
{
	struct opts *opts = NULL;
	int ret = opts_parse("-fw_cfg", text, "name", &opts, errp);

	if (ret)
		return ret;
	ret = fw_cfg_add_option(cfg, opts, errp);
	opts_free(opts);
	return ret;
}

static void refuse(const char *text, int expected, const char *message)
{
	struct error *err = NULL;

	ck_assert_int_eq(option(text, &err), expected);
	ck_assert_error(err, message);
}

START_TEST(options)
{
	char path[] = "./unit-fw-cfg-XXXXXX", text[96], data[8];
	struct error *err = NULL;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "filed", 5), 5);
	close(fd);
	setup("fw_cfg_io", NULL);
	ck_assert_int_eq(option("name=opt/a,string=hello", &err), 0);
	snprintf(text, sizeof(text), "opt/b,file=%s", path);
	ck_assert_int_eq(option(text, &err), 0);
	ck_assert_no_error(err);
	unlink(path);
	read_item(0x20, data, 6);
	ck_assert_mem_eq(data, "hello", 6);
	read_item(0x21, data, 6);
	ck_assert_mem_eq(data, "filed", 6);

	refuse("name=opt/a,string=x", -EEXIST,
	       "-fw_cfg name=opt/a: there is a file of that name already");
	refuse("name=opt/c", -EINVAL, "-fw_cfg name=opt/c: either string= or file= is needed");
	refuse("name=opt/c,string=a,file=b", -EINVAL,
	       "-fw_cfg name=opt/c: either string= or file= is needed");
	refuse("name=opt/c,file=no/such/file", -ENOENT,
	       "-fw_cfg name=opt/c: cannot open file 'no/such/file': No such file or directory");
	refuse("name=opt/c,file=/dev/null", -EINVAL,
	       "-fw_cfg name=opt/c: '/dev/null' is not a regular file");
	for (int i = 2; i < FW_CFG_FILES_MAX; i++) {
		snprintf(text, sizeof(text), "opt/many/%d,string=%d", i, i);
		ck_assert_int_eq(option(text, &err), 0);
	}
	refuse("name=opt/c,string=x", -ENOSPC,
	       "-fw_cfg name=opt/c: no room for file opt/c: there are 64 already");
	teardown();
}
END_TEST

UNIT_SUITE(suite, "devices/fw_cfg", signature_and_id, files_are_numbered_in_the_order_of_their_names,
	   numbers_are_little_endian, dma_reads_skips_and_fills_with_zeros, items_in_host_files,
	   fwcfg_entry, registers_in_memory, options)
UNIT_MAIN(suite)
