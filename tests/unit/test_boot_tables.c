// SPDX-License-Identifier: Apache-2.0
/* AML, ACPI and MP tables: checksums, lengths, contents, and the opinion of ACPICA's compiler. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "boot/acpi.h"
#include "boot/aml.h"
#include "boot_images.h"
#include "devices/ged.h"
#include "iasl.h"

/* --- AML ------------------------------------------------------------- */

static void assert_aml(struct aml *aml, const void *expected, size_t len)
{
	ck_assert_int_eq(aml_finish(aml), 0);
	ck_assert_uint_eq(aml->code.len, len);
	ck_assert_mem_eq(aml->code.data, expected, len);
	aml_free(aml);
}
#define ASSERT_AML(aml, ...)                                                                       \
	assert_aml(aml, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

START_TEST(aml_integers)
{
	struct aml aml = { 0 };

	aml_integer(&aml, 0);
	aml_integer(&aml, 1);
	aml_integer(&aml, 255);
	aml_integer(&aml, 256);
	aml_integer(&aml, 0x10000);
	aml_integer(&aml, 0x100000000);
	ASSERT_AML(&aml, 0x00, 0x01, 0x0a, 0xff, 0x0b, 0x00, 0x01, 0x0c, 0, 0, 1, 0, 0x0e, 0, 0, 0,
		   0, 1, 0, 0, 0);
	aml_eisaid(&aml, "PNP0501");
	ASSERT_AML(&aml, 0x0c, 0x41, 0xd0, 0x05, 0x01);
}
END_TEST

START_TEST(aml_names)
{
	struct aml aml = { 0 };

	aml_path(&aml, "\\_SB.COM1._CRS");
	aml_path(&aml, "^^A");
	aml_path(&aml, "\\");
	aml_path(&aml, "AB.CD");
	ASSERT_AML(&aml, '\\', 0x2f, 3, '_', 'S', 'B', '_', 'C', 'O', 'M', '1', '_', 'C', 'R', 'S',
		   '^', '^', 'A', '_', '_', '_', '\\', 0, 0x2e, 'A', 'B', '_', '_', 'C', 'D', '_',
		   '_');
}
END_TEST

/* PkgLength grows by a byte at 63, 4095 and 1048575 bytes, its own counted. */
START_TEST(aml_package_lengths)
{
	static const struct {
		size_t body, bytes;
	} cases[] = { { 0, 1 },	   { 58, 1 },	   { 59, 2 },	  { 4089, 2 },
		      { 4090, 3 }, { 1048568, 3 }, { 1048569, 4 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct aml aml = { 0 };
		size_t length, more;

		aml_scope(&aml, "ABCD");
		blob_zero(&aml.code, cases[i].body);
		aml_end(&aml);
		ck_assert_int_eq(aml_finish(&aml), 0);
		ck_assert_uint_eq(aml.code.len, 1 + cases[i].bytes + 4 + cases[i].body);
		more = aml.code.data[1] >> 6;
		ck_assert_uint_eq(more + 1, cases[i].bytes);
		length = more ? aml.code.data[1] & 0xf : aml.code.data[1];
		for (size_t j = 0; j < more; j++)
			length |= (size_t)aml.code.data[2 + j] << (4 + 8 * j);
		ck_assert_uint_eq(length, aml.code.len - 1);
		aml_free(&aml);
	}
}
END_TEST

START_TEST(aml_mistakes_are_reported)
{
	static const char *const names[] = { "abc", "TOOLONG", "A..B", "A.", "1ABC", "A B" };
	struct aml aml = { 0 };

	aml_end(&aml);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
	aml_scope(&aml, "_SB");
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
	for (int i = 0; i <= AML_DEPTH_MAX; i++)
		aml_if(&aml);
	for (int i = 0; i <= AML_DEPTH_MAX; i++)
		aml_end(&aml);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		aml_path(&aml, names[i]);
		ck_assert_msg(aml_finish(&aml) == -EINVAL, "'%s' was taken", names[i]);
		aml_free(&aml);
	}
	aml_eisaid(&aml, "PNP050");
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
	aml_eisaid(&aml, "pnp0501");
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
	aml_memory(&aml, UINT64_MAX, 2);
	ck_assert_int_eq(aml_finish(&aml), -EINVAL);
	aml_free(&aml);
}
END_TEST

/* --- ACPI ------------------------------------------------------------ */

#define VIRTIO_BASE 0xf0100000
#define VIRTIO_MAX 19
#define GED_BASE 0xf0000000
#define IOAPIC 0xfec00000
#define LAPIC 0xfee00000

struct machine_case {
	const char *name;
	struct vcpu_topology topology;
	unsigned int virtio;
	bool legacy;
	gpa_t virtio_base;
};

static const struct machine_case machines[] = {
	{ "1 CPU, bare", { 1, 1, 1, 1, 1, 1, 1 }, 0, false, VIRTIO_BASE },
	{ "1 CPU", { 1, 1, 1, 1, 1, 1, 1 }, 1, true, VIRTIO_BASE },
	{ "8 CPUs", { 8, 8, 2, 1, 1, 2, 2 }, 5, true, VIRTIO_BASE },
	{ "254 CPUs", { 254, 254, 254, 1, 1, 1, 1 }, VIRTIO_MAX, true, VIRTIO_BASE },
	{ "254 CPUs, wide ids", { 254, 255, 17, 1, 1, 5, 3 }, VIRTIO_MAX, true, 0x100000000000 },
	{ "256 CPUs",
	  { 256, 256, 256, 1, 1, 1, 1 },
	  0,
	  true,
	  VIRTIO_BASE }, /* id 255 is no 8-bit id */
	{ "virtio across 4 GiB", { 2, 4, 4, 1, 1, 1, 1 }, 2, true, 0xfffffe00 },
};

static uint8_t sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t total = 0;

	while (len--)
		total += *p++;
	return total;
}

static gpa_t install(struct guest *guest, const struct machine_case *m)
{
	struct acpi_virtio_mmio virtio[VIRTIO_MAX];
	struct acpi_microvm info = {
		.topology = &m->topology,
		.ioapic = IOAPIC,
		.lapic = LAPIC,
		.ged_base = GED_BASE,
		.ged_gsi = 16,
		.has_serial = m->legacy,
		.has_rtc = m->legacy,
		.virtio = virtio,
		.virtio_count = m->virtio,
	};
	struct error *err = NULL;
	gpa_t rsdp = 0;
	int ret;

	for (unsigned int i = 0; i < m->virtio; i++)
		virtio[i] = (struct acpi_virtio_mmio){ m->virtio_base + i * 0x200, 0x200, 5 + i };
	ret = acpi_microvm_install(guest->space, &info, &rsdp, &err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	return rsdp;
}

static const struct acpi_header *table_at(const struct guest *guest, gpa_t gpa)
{
	const struct acpi_header *header = (void *)guest_at(guest, gpa, sizeof(*header));

	ck_assert_uint_ge(gpa, BOOT_X86_ACPI);
	ck_assert_uint_le(gpa + header->length, BOOT_X86_ACPI_END);
	ck_assert_uint_ge(header->length, sizeof(*header));
	ck_assert_msg(sum(header, header->length) == 0, "checksum of %.4s", header->signature);
	ck_assert_mem_eq(header->oem_id, "STRATO", 6);
	return header;
}

struct tables {
	const struct acpi_header *fadt, *madt, *dsdt, *xsdt;
};

static uint64_t field(const struct acpi_header *table, size_t at, size_t width)
{
	uint64_t value = 0;

	ck_assert_uint_le(at + width, table->length);
	memcpy(&value, (const uint8_t *)table + at, width);
	return value;
}

/* From the RSDP to every table, as a guest goes. */
static struct tables walk(const struct guest *guest, gpa_t at)
{
	const uint8_t *rsdp = guest_at(guest, at, 36);
	struct tables tables;
	uint64_t xsdt;

	ck_assert_uint_eq(at % 16, 0);
	ck_assert_mem_eq(rsdp, "RSD PTR ", 8);
	ck_assert_uint_eq(sum(rsdp, 20), 0);
	ck_assert_uint_eq(sum(rsdp, 36), 0);
	ck_assert_uint_eq(rsdp[15], 2);
	memcpy(&xsdt, rsdp + 24, sizeof(xsdt));
	tables.xsdt = table_at(guest, xsdt);
	ck_assert_mem_eq(tables.xsdt->signature, "XSDT", 4);
	ck_assert_uint_eq(tables.xsdt->length, 36 + 2 * 8);
	tables.fadt = table_at(guest, field(tables.xsdt, 36, 8));
	tables.madt = table_at(guest, field(tables.xsdt, 44, 8));
	ck_assert_mem_eq(tables.fadt->signature, "FACP", 4);
	ck_assert_mem_eq(tables.madt->signature, "APIC", 4);
	tables.dsdt = table_at(guest, field(tables.fadt, 140, 8));
	ck_assert_mem_eq(tables.dsdt->signature, "DSDT", 4);
	return tables;
}

static void check_fadt(const struct acpi_header *fadt, const struct machine_case *m)
{
	ck_assert_uint_eq(fadt->length, 276);
	ck_assert_uint_eq(fadt->revision, 6);
	ck_assert_uint_eq(field(fadt, 131, 1), 5);
	ck_assert_uint_eq(field(fadt, 40, 4), field(fadt, 140, 8));
	ck_assert(field(fadt, 112, 4) & 1u << 20); /* hardware-reduced */
	ck_assert(field(fadt, 112, 4) & 1u << 10); /* reset register */
	ck_assert_uint_eq(field(fadt, 109, 2), m->legacy ? 0x05 : 0x24);
	ck_assert_uint_eq(field(fadt, 116, 4), 0x01000800); /* memory, 8 bits, offset 0, bytes */
	ck_assert_uint_eq(field(fadt, 120, 8), GED_BASE + GED_REG_RESET);
	ck_assert_uint_eq(field(fadt, 128, 1), GED_RESET_VALUE);
	ck_assert_uint_eq(field(fadt, 248, 8), GED_BASE + GED_REG_SLEEP_CTL);
	ck_assert_uint_eq(field(fadt, 260, 8), GED_BASE + GED_REG_SLEEP_STS);
}

static void check_madt(const struct acpi_header *madt, const struct machine_case *m)
{
	unsigned int cpus = 0, ioapics = 0, nmis = 0, x2apics = 0, x2nmis = 0;
	size_t at = 44;

	ck_assert_uint_eq(field(madt, 36, 4), LAPIC);
	while (at < madt->length) {
		uint64_t length = field(madt, at + 1, 1);
		uint64_t id;

		ck_assert_uint_ge(length, 2);
		switch (field(madt, at, 1)) {
		case 0:
			id = field(madt, at + 3, 1);
			ck_assert_uint_eq(field(madt, at + 2, 1), cpus);
			ck_assert_uint_eq(id, vcpu_arch_id(&m->topology, cpus++));
			ck_assert_uint_ne(id, 255);
			ck_assert_uint_eq(field(madt, at + 4, 4), 1);
			break;
		case 9:
			id = field(madt, at + 4, 4);
			ck_assert_uint_eq(field(madt, at + 12, 4), cpus);
			ck_assert_uint_eq(id, vcpu_arch_id(&m->topology, cpus++));
			ck_assert_uint_ge(id, 255);
			x2apics++;
			break;
		case 1:
			ck_assert_uint_eq(field(madt, at + 4, 4), IOAPIC);
			ioapics++;
			break;
		case 4:
			ck_assert_uint_eq(field(madt, at + 2, 1), 255);
			ck_assert_uint_eq(field(madt, at + 5, 1), 1);
			nmis++;
			break;
		case 10:
			x2nmis++;
			break;
		default:
			ck_abort_msg("unknown MADT entry %" PRIu64, field(madt, at, 1));
		}
		at += length;
	}
	ck_assert_uint_eq(at, madt->length);
	ck_assert_uint_eq(cpus, m->topology.cpus);
	ck_assert_uint_eq(ioapics, 1);
	ck_assert_uint_eq(nmis, 1);
	ck_assert_uint_eq(x2nmis, x2apics ? 1 : 0);
}

static unsigned int count_in(const struct acpi_header *table, const char *text)
{
	const uint8_t *p = (const uint8_t *)table, *end = p + table->length;
	unsigned int count = 0;

	while ((p = memmem(p, (size_t)(end - p), text, strlen(text)))) {
		count++;
		p += strlen(text);
	}
	return count;
}

START_TEST(acpi_tables)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		const struct machine_case *m = &machines[i];
		struct guest guest = guest_new(128);
		struct tables tables = walk(&guest, install(&guest, m));

		check_fadt(tables.fadt, m);
		check_madt(tables.madt, m);
		ck_assert_uint_eq(tables.dsdt->revision, 2);
		ck_assert_uint_eq(count_in(tables.dsdt, "LNRO0005"), m->virtio);
		ck_assert_uint_eq(count_in(tables.dsdt, "ACPI0007"), m->topology.cpus);
		ck_assert_uint_eq(count_in(tables.dsdt, "COM1"), m->legacy ? 1 : 0);
		guest_free(&guest);
	}
}
END_TEST

/* The widest case is there to reach ids that eight bits cannot hold. */
START_TEST(acpi_wide_ids_are_tested)
{
	const struct vcpu_topology *topology = &machines[4].topology;

	ck_assert_uint_ge(vcpu_arch_id(topology, topology->cpus - 1), 255);
}
END_TEST

/* --- ACPICA's compiler ----------------------------------------------- */

START_TEST(acpi_iasl)
{
	char dir[] = "./unit-tables-XXXXXX", output[4096], command[64];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	if (iasl(dir, "-v", output, sizeof(output)) != 0) {
		rmdir(dir);
		printf("SKIP: ACPI tables against iasl: it is not installed (package "
		       "acpica-tools)\n");
		fflush(stdout);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		struct guest guest = guest_new(128);
		struct tables tables = walk(&guest, install(&guest, &machines[i]));

		check_with_iasl(dir, "dsdt", tables.dsdt, machines[i].name);
		check_with_iasl(dir, "facp", tables.fadt, machines[i].name);
		check_with_iasl(dir, "apic", tables.madt, machines[i].name);
		check_with_iasl(dir, "xsdt", tables.xsdt, machines[i].name);
		guest_free(&guest);
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

/* --- MP table -------------------------------------------------------- */

static unsigned int reversed(void *opaque, unsigned int slot, unsigned int pin)
{
	(void)opaque;
	return (slot == 31 ? 3 - pin : slot + pin) % 4;
}

START_TEST(mp_table_routes_pci)
{
	const struct acpi_pci_host pci = { .intx_gsi = { 20, 21, 22, 23 }, .irq_map = reversed };
	const struct machine_case *m = &machines[1];
	struct guest guest = guest_new(128);
	const uint8_t *table, *p, *end;
	unsigned int routes = 0, isa = 256;
	struct error *err = NULL;
	uint32_t at;

	ck_assert_int_eq(mptable_install(guest.space, &m->topology, IOAPIC, LAPIC, &pci, &err), 0);
	memcpy(&at, guest_at(&guest, BOOT_X86_EBDA + 4, 4), 4);
	table = guest_at(&guest, at, 44);
	end = table + *(const uint16_t *)(table + 4);
	for (p = table + 44; p < end; p += *p ? 8 : 20) {
		if (*p == 1 && !memcmp(p + 2, "PCI   ", 6))
			ck_assert_uint_eq(p[1], 0); /* the bus number that Linux compares with */
		if (*p == 1 && !memcmp(p + 2, "ISA   ", 6))
			isa = p[1];
		if (*p != 3 || p[4])
			continue;
		routes++;
		ck_assert_uint_eq(p[7], 20 + reversed(NULL, p[5] >> 2, p[5] & 3));
	}
	ck_assert_uint_eq(isa, 1);
	ck_assert_uint_eq(routes, 32 * 4);
	guest_free(&guest);
}
END_TEST

START_TEST(pir_table)
{
	static const uint8_t links[8] = { 0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b };
	const struct pir_router router = { .devfn = 0xf8, .links = links, .irqs = 0x0c20 };
	const struct acpi_pci_host pci = { .irq_map = reversed };
	struct guest guest = guest_new(128);
	struct error *err = NULL;
	const uint8_t *table = NULL;

	ck_assert_int_eq(pirtable_install(guest.space, &pci, &router, &err), 0);
	for (gpa_t at = 0xf0000; !table && at < 0x100000; at += 16) /* where kernels look */
		if (!memcmp(guest_at(&guest, at, 4), "$PIR", 4))
			table = guest_at(&guest, at, 32 + 32 * 16);
	ck_assert_ptr_nonnull(table);
	ck_assert_uint_eq(table[6] | table[7] << 8, 32 + 32 * 16);
	ck_assert_uint_eq(table[9], 0xf8);
	ck_assert_uint_eq(sum(table, 32 + 32 * 16), 0);
	for (unsigned int slot = 0; slot < 32; slot++) {
		const uint8_t *entry = table + 32 + 16 * slot;

		ck_assert_uint_eq(entry[1], slot << 3);
		for (unsigned int pin = 0; pin < 4; pin++) {
			ck_assert_uint_eq(entry[2 + 3 * pin], links[reversed(NULL, slot, pin)]);
			ck_assert_uint_eq(entry[3 + 3 * pin] | entry[4 + 3 * pin] << 8, 0x0c20);
		}
	}
	guest_free(&guest);
}
END_TEST

static void check_mptable(const struct machine_case *m)
{
	unsigned int counts[5] = { 0 }, fitting = 0, total = 0;
	uint16_t pins = 0;
	struct guest guest = guest_new(128);
	const uint8_t *pointer, *table, *p;
	struct error *err = NULL;
	bool ids[256] = { false };
	uint32_t at;
	int ret;

	for (uint32_t i = 0; i < m->topology.cpus; i++)
		if (vcpu_arch_id(&m->topology, i) < 255) {
			ids[vcpu_arch_id(&m->topology, i)] = true;
			fitting++;
		}
	ret = mptable_install(guest.space, &m->topology, IOAPIC, LAPIC, NULL, &err);
	ck_assert_no_error(err);
	ck_assert_int_eq(ret, 0);
	pointer = guest_at(&guest, BOOT_X86_EBDA, 16);
	ck_assert_mem_eq(pointer, "_MP_", 4);
	ck_assert_uint_eq(sum(pointer, 16), 0);
	memcpy(&at, pointer + 4, 4);
	/* Either behind the pointer, or in the reserved area below 1 MiB. */
	ck_assert(at == BOOT_X86_EBDA + 16 || (at >= BOOT_X86_ACPI && at < BOOT_X86_ACPI_END));
	table = guest_at(&guest, at, 44);
	ck_assert_mem_eq(table, "PCMP", 4);
	table = guest_at(&guest, at, *(const uint16_t *)(table + 4));
	ck_assert_uint_eq(sum(table, *(const uint16_t *)(table + 4)), 0);
	ck_assert_uint_le(at + *(const uint16_t *)(table + 4),
			  at < 0xa0000 ? 0xa0000u : (unsigned int)BOOT_X86_RESET_VECTOR);

	for (p = table + 44; p < table + *(const uint16_t *)(table + 4); p += *p ? 8 : 20) {
		ck_assert_uint_le(*p, 4);
		counts[*p]++;
		total++;
		if (*p == 0) {
			ck_assert_msg(ids[p[1]], "APIC id %u", p[1]);
			ck_assert_uint_eq(p[3], counts[0] == 1 ? 3 : 1);
		} else if (*p == 2) {
			ck_assert(fitting >= 255 || !ids[p[1]]);
		} else if (*p == 3) {
			pins |= (uint16_t)(1u << p[7]);
			ck_assert_uint_eq(p[7], p[5]); /* as KVM routes, the timer too */
		}
	}
	ck_assert_ptr_eq(p, table + *(const uint16_t *)(table + 4));
	ck_assert_uint_eq(total, *(const uint16_t *)(table + 34));
	ck_assert_uint_eq(counts[0], fitting);
	ck_assert_uint_eq(counts[1], 1);
	ck_assert_uint_eq(counts[2], 1);
	ck_assert_uint_eq(counts[3], 15);
	ck_assert_uint_eq(counts[4], 2);
	ck_assert_uint_eq(pins, 0xfffb);
	guest_free(&guest);
}

START_TEST(mp_tables)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
		check_mptable(&machines[i]);
}
END_TEST

/* Both kinds of tables fit side by side at their largest. */
START_TEST(mp_and_acpi_share_the_area)
{
	const struct machine_case *m = &machines[3];
	const struct acpi_pci_host pci = { .intx_gsi = { 16, 17, 18, 19 } };
	struct guest guest = guest_new(128);
	struct error *err = NULL;
	gpa_t rsdp;

	ck_assert_int_eq(mptable_install(guest.space, &m->topology, IOAPIC, LAPIC, NULL, &err), 0);
	rsdp = install(&guest, m);
	walk(&guest, rsdp);
	ck_assert_int_eq(mptable_install(guest.space, &m->topology, IOAPIC, LAPIC, &pci, &err), 0);
	walk(&guest, rsdp);
	guest_free(&guest);
}
END_TEST

START_TEST(no_memory_for_tables)
{
	struct mem_space *space = mem_space_new();
	struct acpi_microvm info = { .topology = &machines[1].topology };
	struct error *err = NULL;
	gpa_t rsdp = 42;

	ck_assert_int_eq(acpi_microvm_install(space, &info, &rsdp, &err), -EFAULT);
	ck_assert_error(err, "no guest memory for the ACPI tables");
	ck_assert_uint_eq(rsdp, 42);
	ck_assert_int_eq(mptable_install(space, info.topology, IOAPIC, LAPIC, NULL, &err), -EFAULT);
	ck_assert_error(err, "no guest memory for the MP table");
	mem_space_free(space);
}
END_TEST

UNIT_SUITE(aml_suite, "boot: AML", aml_integers, aml_names, aml_package_lengths,
	   aml_mistakes_are_reported)
UNIT_SUITE(acpi_suite, "boot: ACPI", acpi_tables, acpi_wide_ids_are_tested, acpi_iasl,
	   no_memory_for_tables)
UNIT_SUITE(mp_suite, "boot: MP table", mp_tables, mp_table_routes_pci, pir_table, mp_and_acpi_share_the_area)
UNIT_MAIN(aml_suite, acpi_suite, mp_suite)
