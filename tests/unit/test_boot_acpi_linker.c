// SPDX-License-Identifier: Apache-2.0
/*
 * ACPI tables that are placed later: directly, and by a firmware that carries out the loader's script. Both ways must end in
 * the same tables. PCI host bridges for iasl.
 */
#include <errno.h>
#include <inttypes.h>

#include "boot/acpi_pci.h"
#include "boot/acpi_table.h"
#include "boot/boot.h"
#include "boot_images.h"
#include "iasl.h"
#include "pci/q35.h"

static const struct acpi_pci_host host = {
	.ecam = 0xb0000000,
	.bus_last = 255,
	.mmio32 = { { .base = 0x80000000, .size = 0x30000000 },
		    { .base = 0xc0000000, .size = 0x3ec00000 } },
	.mmio64 = { .base = 0x800000000, .size = 0x800000000 },
	.io = { { .base = 0, .size = 0xcf8 }, { .base = 0xd00, .size = 0xf300 } },
	.has_config_ports = true,
	.intx_gsi = { 16, 17, 18, 19 },
	.native_hotplug = true,
};

static const struct acpi_pci_host arm_like = {
	.ecam = 0x4010000000,
	.bus_last = 15,
	.mmio32 = { { .base = 0x10000000, .size = 0x2eff0000 } },
	.mmio64 = { .base = 0x8000000000, .size = 0x8000000000 },
	.io = { { .base = 0, .size = 0x10000, .translation = 0x3eff0000 } },
	.intx_gsi = { 35, 36, 37, 38 },
	.coherent = true,
};

/* A DSDT, a FACS, an MCFG and a table that points to both; enough of a machine for the linker. */
static struct acpi_tables *build(const struct acpi_pci_host *pci)
{
	struct acpi_tables *tables = acpi_tables_new("TEST");
	struct error *err = NULL;
	struct aml aml = { 0 };
	size_t start, facs, dsdt = 0;

	aml_scope(&aml, "_SB");
	acpi_pci_add_host(&aml, pci);
	aml_end(&aml);
	facs = acpi_add_facs(tables);
	ck_assert_int_eq(acpi_add_dsdt(tables, &aml, &dsdt, &err), 0);
	start = acpi_table_begin(tables, "TEST", 1);
	acpi_table_pointer(tables, 4, facs);
	acpi_table_pointer(tables, 8, dsdt);
	acpi_table_end(tables, start);
	acpi_pci_add_mcfg(tables, pci);
	acpi_tables_finish(tables);
	return tables;
}

static uint8_t sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t total = 0;

	while (len--)
		total += *p++;
	return total;
}

static uint64_t load(const void *data, size_t at, size_t width)
{
	uint64_t value = 0;

	memcpy(&value, (const uint8_t *)data + at, width);
	return value;
}

/* --- A firmware ------------------------------------------------------------- */

struct firmware {
	uint8_t *file[2]; /* tables, RSDP */
	size_t len[2];
	uint64_t base[2]; /* where they are in the imaginary memory */
	bool allocated[2];
};

static unsigned int firmware_file(const char *name)
{
	ck_assert_ptr_nonnull(memchr(name, '\0', 56));
	if (!strcmp(name, ACPI_FILE_RSDP))
		return 1;
	ck_assert_str_eq(name, ACPI_FILE_TABLES);
	return 0;
}

static void firmware_pointer(struct firmware *fw, const uint8_t *entry)
{
	unsigned int to = firmware_file((const char *)entry + 4);
	unsigned int from = firmware_file((const char *)entry + 60);
	uint64_t at = load(entry, 116, 4), width = load(entry, 120, 1), value;

	ck_assert(fw->allocated[to] && fw->allocated[from]);
	ck_assert(width == 4 || width == 8);
	ck_assert_uint_le(at + width, fw->len[to]);
	value = load(fw->file[to], at, width);
	ck_assert_uint_lt(value, fw->len[from]);
	value += fw->base[from];
	memcpy(fw->file[to] + at, &value, width);
}

static void firmware_run(struct firmware *fw, const struct acpi_file *script)
{
	ck_assert_uint_eq(script->len % 128, 0);
	for (size_t at = 0; at < script->len; at += 128) {
		const uint8_t *entry = (const uint8_t *)script->data + at;
		uint32_t command = (uint32_t)load(entry, 0, 4);
		unsigned int file = firmware_file((const char *)entry + 4);
		uint64_t place = load(entry, 60, 4);
		uint64_t first = load(entry, 64, 4), len = load(entry, 68, 4);

		switch (command) {
		case 1: /* align, zone */
			ck_assert_uint_eq(entry[64], file ? 2 : 1);
			ck_assert_uint_eq(fw->base[file] % place, 0);
			fw->allocated[file] = true;
			break;
		case 2:
			firmware_pointer(fw, entry);
			break;
		case 3:
			ck_assert(fw->allocated[file]);
			ck_assert_uint_lt(place, fw->len[file]);
			ck_assert_uint_le(first + len, fw->len[file]);
			ck_assert_uint_eq(fw->file[file][place], 0); /* it is part of the sum */
			fw->file[file][place] = (uint8_t)-sum(fw->file[file] + first, len);
			break;
		default:
			ck_abort_msg("command %u", command);
		}
	}
}

/* The firmware puts files where the direct way does: the memory then is the same. */
START_TEST(firmware_and_direct_placement_agree)
{
	struct acpi_tables *tables = build(&host);
	struct acpi_file files[ACPI_FILES];
	struct firmware fw = { .base = { BOOT_X86_ACPI + 64, BOOT_X86_ACPI } };
	struct guest guest = guest_new(16);
	struct error *err = NULL;
	gpa_t rsdp = 0;

	acpi_tables_files(tables, files);
	ck_assert_str_eq(files[0].name, ACPI_FILE_TABLES);
	ck_assert_str_eq(files[1].name, ACPI_FILE_RSDP);
	ck_assert_str_eq(files[2].name, ACPI_FILE_LOADER);
	for (unsigned int i = 0; i < 2; i++) {
		fw.len[i] = files[i].len;
		fw.file[i] = malloc(files[i].len);
		ck_assert_ptr_nonnull(fw.file[i]);
		memcpy(fw.file[i], files[i].data, files[i].len);
	}
	firmware_run(&fw, &files[2]);

	for (unsigned int life = 0; life < 2; life++) { /* a reset installs them again */
		ck_assert_int_eq(acpi_tables_install(tables, guest.space, BOOT_X86_ACPI, 0x10000,
						     &rsdp, &err),
				 0);
		ck_assert_uint_eq(rsdp, BOOT_X86_ACPI);
		ck_assert_mem_eq(guest_at(&guest, rsdp, fw.len[1]), fw.file[1], fw.len[1]);
		ck_assert_mem_eq(guest_at(&guest, rsdp + 64, fw.len[0]), fw.file[0], fw.len[0]);
	}
	for (unsigned int i = 0; i < 2; i++)
		free(fw.file[i]);
	acpi_tables_free(tables);
	guest_free(&guest);
}
END_TEST

static const struct acpi_header *table_at(struct guest *guest, uint64_t gpa)
{
	const struct acpi_header *header = (void *)guest_at(guest, gpa, sizeof(*header));

	header = (void *)guest_at(guest, gpa, header->length);
	ck_assert_uint_eq(gpa % 64, 0);
	ck_assert_msg(sum(header, header->length) == 0, "checksum of %.4s", header->signature);
	return header;
}

START_TEST(pointers_lead_to_tables)
{
	const struct acpi_pci_host *const hosts[] = { &host, &arm_like };
	char dir[] = "./unit-acpi-XXXXXX", output[4096], command[64];
	bool judged;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	judged = iasl(dir, "-v", output, sizeof(output)) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct acpi_tables *tables = build(hosts[i]);
		struct guest guest = guest_new(16);
		const struct acpi_header *xsdt, *mcfg, *test, *dsdt;
		struct error *err = NULL;
		gpa_t rsdp = 0;

		ck_assert_int_eq(acpi_tables_install(tables, guest.space, BOOT_X86_ACPI, 0x10000,
						     &rsdp, &err),
				 0);
		xsdt = table_at(&guest, load(guest_at(&guest, rsdp, 36), 24, 8));
		ck_assert_uint_eq(xsdt->length, 36 + 2 * 8); /* neither DSDT nor FACS */
		test = table_at(&guest, load(xsdt, 36, 8));
		ck_assert_mem_eq(test->signature, "TEST", 4);
		ck_assert_mem_eq(guest_at(&guest, load(test, 36, 4), 64), "FACS\x40\0\0", 8);
		dsdt = table_at(&guest, load(test, 40, 8));
		ck_assert_mem_eq(dsdt->signature, "DSDT", 4);
		mcfg = table_at(&guest, load(xsdt, 44, 8));
		ck_assert_mem_eq(mcfg->signature, "MCFG", 4);
		ck_assert_uint_eq(load(mcfg, 44, 8), hosts[i]->ecam);
		ck_assert_uint_eq(load(mcfg, 55, 1), hosts[i]->bus_last);
		if (judged) {
			check_with_iasl(dir, "dsdt", dsdt, "PCI host");
			check_with_iasl(dir, "mcfg", mcfg, "PCI host");
		}
		acpi_tables_free(tables);
		guest_free(&guest);
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

/* --- NUMA ------------------------------------------------------------------------- */

static const struct acpi_numa_memory numa_memory[] = {
	{ 0, 0xa0000, 0 }, { 0x100000, 0x7ff00000, 0 }, { 0x100000000, 0x80000000, 1 }, { 0, 0, 2 },
};
static const uint8_t numa_distances[] = { 10, 15, 20, 15, 10, 30, 20, 30, 10 };

/* Every structure once, of the kind that its id needs, and iasl's opinion; from the table's own bytes. */
static void check_numa(const struct acpi_header *srat, const struct acpi_header *slit,
		       const struct vcpu_topology *topology, const unsigned int *cpu_node)
{
	unsigned int memory = 0, cpus = 0;

	for (size_t at = 48; at < srat->length; at += load(srat, at + 1, 1)) {
		uint64_t kind = load(srat, at, 1);

		if (kind == 1) {
			ck_assert_uint_eq(load(srat, at + 2, 4), numa_memory[memory].node);
			ck_assert_uint_eq(load(srat, at + 8, 8), numa_memory[memory].base);
			ck_assert_uint_eq(load(srat, at + 16, 8), numa_memory[memory].size);
			ck_assert_uint_eq(load(srat, at + 28, 4), 1);
			memory++;
		} else {
			ck_assert(kind == 0 || kind == 2);
			ck_assert_uint_eq(load(srat, at + (kind ? 8 : 3), kind ? 4 : 1),
					  vcpu_arch_id(topology, cpus));
			ck_assert_uint_eq(load(srat, at + (kind ? 4 : 2), kind ? 4 : 1),
					  cpu_node[cpus]);
			cpus++;
		}
	}
	ck_assert_uint_eq(memory, 3); /* a node without memory has no structure */
	ck_assert_uint_eq(cpus, topology->maxcpus);
	ck_assert_uint_eq(load(slit, 36, 8), 3);
	ck_assert_uint_eq(slit->length, 44 + 9);
	ck_assert_mem_eq((const uint8_t *)slit + 44, numa_distances, 9);
}

/* --- q35 ------------------------------------------------------------------------ */

START_TEST(q35_tables)
{
	static const struct vcpu_topology topologies[] = {
		{ 1, 1, 1, 1, 1, 1, 1 }, { 4, 8, 2, 1, 1, 2, 2 }, { 255, 255, 17, 1, 1, 5, 3 },
		{ 1, 254, 254, 1, 1, 1, 1 },
	};
	unsigned int cpu_node[255];
	const struct acpi_numa numa = {
		.nodes = 3,
		.memory = numa_memory,
		.memory_count = ARRAY_SIZE(numa_memory),
		.cpu_node = cpu_node,
		.distances = numa_distances,
	};
	char dir[] = "/tmp/test_acpi_linker.XXXXXX", output[4096], command[64];
	bool judged;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	judged = iasl(dir, "-v", output, sizeof(output)) == 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(cpu_node); i++)
		cpu_node[i] = i % 3;
	for (size_t i = 0; i < ARRAY_SIZE(topologies); i++) {
		const struct acpi_q35 info = {
			.topology = &topologies[i],
			.ioapic = 0xfec00000,
			.lapic = 0xfee00000,
			.pm_base = ICH9_PM_BASE,
			.coms = i ? 0xf : 0x1,
			.pvpanic_port = i ? 0x505 : 0,
			.has_fw_cfg = i > 0,
			.cpu_hotplug = topologies[i].cpus < topologies[i].maxcpus,
			.numa = &numa,
			.pci = &host,
		};
		const struct acpi_header *xsdt, *fadt, *dsdt, *srat, *slit;
		struct acpi_tables *tables = NULL;
		struct guest guest = guest_new(16);
		struct error *err = NULL;
		gpa_t rsdp = 0;

		ck_assert_int_eq(acpi_q35_build(&info, &tables, &err), 0);
		ck_assert_int_eq(acpi_tables_install(tables, guest.space, BOOT_X86_ACPI, 0x10000,
						     &rsdp, &err),
				 0);
		xsdt = table_at(&guest, load(guest_at(&guest, rsdp, 36), 24, 8));
		fadt = table_at(&guest, load(xsdt, 36, 8));
		ck_assert_mem_eq(fadt->signature, "FACP", 4);
		ck_assert_uint_eq(fadt->length, 276);
		ck_assert_mem_eq(guest_at(&guest, load(fadt, 36, 4), 64), "FACS\x40\0\0", 8);
		ck_assert_uint_eq(load(fadt, 46, 2), 9);      /* SCI_INT */
		ck_assert_uint_eq(load(fadt, 48, 4), 0xb2);   /* SMI_CMD */
		ck_assert_uint_eq(load(fadt, 56, 4), 0x600);  /* PM1a_EVT_BLK */
		ck_assert_uint_eq(load(fadt, 64, 4), 0x604);  /* PM1a_CNT_BLK */
		ck_assert_uint_eq(load(fadt, 76, 4), 0x608);  /* PM_TMR_BLK */
		ck_assert_uint_eq(load(fadt, 80, 4), 0x620);  /* GPE0_BLK */
		ck_assert_uint_eq(load(fadt, 92, 1), 16);     /* GPE0_BLK_LEN */
		ck_assert(!(load(fadt, 112, 4) & 1u << 4));   /* the power button is fixed hardware */
		ck_assert_uint_eq(load(fadt, 120, 8), 0xcf9); /* RESET_REG */
		ck_assert_uint_eq(load(fadt, 152, 8), 0x600); /* X_PM1a_EVT_BLK */
		ck_assert_uint_eq(load(fadt, 212, 8), 0x608); /* X_PM_TMR_BLK */
		ck_assert_uint_eq(load(fadt, 224, 8), 0x620); /* X_GPE0_BLK */
		dsdt = table_at(&guest, load(fadt, 140, 8));
		srat = table_at(&guest, load(xsdt, 60, 8));
		ck_assert_mem_eq(srat->signature, "SRAT", 4);
		slit = table_at(&guest, load(xsdt, 68, 8));
		ck_assert_mem_eq(slit->signature, "SLIT", 4);
		check_numa(srat, slit, &topologies[i], cpu_node);
		if (judged) {
			check_with_iasl(dir, "srat", srat, "q35");
			check_with_iasl(dir, "slit", slit, "q35");
			check_with_iasl(dir, "dsdt", dsdt, "q35");
			check_with_iasl(dir, "facp", fadt, "q35");
			check_with_iasl(dir, "apic", table_at(&guest, load(xsdt, 44, 8)), "q35");
		}
		acpi_tables_free(tables);
		guest_free(&guest);
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(tables_need_room)
{
	struct acpi_tables *tables = build(&host);
	struct guest guest = guest_new(16);
	struct error *err = NULL;
	gpa_t rsdp = 42;

	ck_assert_int_eq(acpi_tables_install(tables, guest.space, BOOT_X86_ACPI, 0x200, &rsdp, &err),
			 -E2BIG);
	ck_assert_ptr_nonnull(strstr(error_text(err), "there is room for 512"));
	error_free(err);
	err = NULL;
	ck_assert_int_eq(acpi_tables_install(tables, guest.space, 0x80000000, 0x10000, &rsdp, &err),
			 -EFAULT);
	ck_assert_error(err, "no guest memory for the ACPI tables");
	ck_assert_int_eq(acpi_tables_install(tables, guest.space, 0xffffff00, 0x10000, &rsdp, &err),
			 -E2BIG);
	ck_assert_error(err, "ACPI tables must lie below 4 GiB");
	ck_assert_uint_eq(rsdp, 42);
	acpi_tables_free(tables);
	guest_free(&guest);
}
END_TEST

/* A window that does not fit its descriptor is the builder's mistake, and is found. */
START_TEST(impossible_windows_are_reported)
{
	struct aml aml = { 0 };

	aml_io_window(&aml, 0xff00, 0x200, 0);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
	aml_memory_window(&aml, 0x1000, 0, false);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
	aml_uuid(&aml, "33DB4D5B-1FF7-401C-9657-7441C03DD7");
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
}
END_TEST

UNIT_SUITE(linker_suite, "boot: ACPI linker", firmware_and_direct_placement_agree,
	   pointers_lead_to_tables, q35_tables, tables_need_room, impossible_windows_are_reported)
UNIT_MAIN(linker_suite)
