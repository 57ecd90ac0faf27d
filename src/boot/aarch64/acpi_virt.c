// SPDX-License-Identifier: Apache-2.0
/*
 * The ACPI tables of virt, for firmware to place. The section numbers are those of ACPI 6.5; the layouts are of 6.3, which is
 * what the revisions say. IORT: Arm DEN 0049; SPCR: Microsoft's "Serial Port Console Redirection Table".
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "../acpi_devices.h"
#include "../acpi_numa.h"
#include "../acpi_pci.h"
#include "../acpi_table.h"
#include "../aml.h"
#include "boot/acpi.h"
#include "boot/arm64.h"
#include "cpu/gic.h"
#include "devices/fw_cfg.h"

#define CPUS_MAX 4096 /* three hexadecimal digits in the name */

/* FADT flags, table 5.10 */
#define FADT_PWR_BUTTON (1u << 4) /* not in fixed hardware */
#define FADT_SLP_BUTTON (1u << 5) /* not in fixed hardware: there is none */
#define FADT_HW_REDUCED (1u << 20)

#define ARM_BOOT_PSCI_HVC 3

#define PL011_SIZE 0x1000

#define ITS_ID 0

/* §5.2.9. Reset and power-off go by PSCI. */
static void add_fadt(struct acpi_tables *tables, size_t dsdt)
{
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "FACP", 6);

	blob_u32(blob, 0); /* FIRMWARE_CTRL: no FACS */
	acpi_table_pointer(tables, 4, dsdt);
	blob_zero(blob, 112 - 44);
	blob_u32(blob, FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_HW_REDUCED);
	blob_zero(blob, 129 - 116); /* reset register */
	blob_u16(blob, ARM_BOOT_PSCI_HVC);
	blob_u8(blob, 3);  /* minor version */
	blob_u64(blob, 0); /* X_FIRMWARE_CTRL */
	acpi_table_pointer(tables, 8, dsdt);
	blob_zero(blob, 268 - 148); /* X_ PM blocks, sleep registers */
	blob_text(blob, ACPI_OEM_ID, 8, '\0');
	acpi_table_end(tables, start);
}

/* --- MADT, §5.2.12 -------------------------------------------------------------------------------- */

/* §5.2.12.14. The redistributor's address is in a GICR entry. */
static void add_gicc(struct blob *blob, const struct acpi_virt *info, uint32_t index)
{
	blob_u8(blob, 11);
	blob_u8(blob, 80);
	blob_u16(blob, 0);
	blob_u32(blob, index); /* interface number: only of a GICv2 */
	blob_u32(blob, index); /* processor UID */
	blob_u32(blob, 1);     /* enabled */
	blob_u32(blob, 0);     /* no parking protocol */
	blob_u32(blob, info->pmu ? GIC_PPI_BASE + GIC_PPI_PMU : 0);
	blob_zero(blob, 8 + 8 + 8 + 8 + 4 + 8); /* parking, GICC, GICV, GICH, its interrupt, GICR */
	blob_u64(blob, vcpu_arch_id(info->topology, index));
	blob_zero(blob, 4); /* efficiency class, SPE */
}

static void add_madt(struct acpi_tables *tables, const struct acpi_virt *info)
{
	struct gic_redist_region regions[2];
	unsigned int count = gic_redist_regions(info->topology->cpus, regions);
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "APIC", 5);

	blob_u32(blob, 0); /* no local APICs, nor PICs */
	blob_u32(blob, 0);
	for (uint32_t i = 0; i < info->topology->cpus; i++)
		add_gicc(blob, info, i);

	blob_u8(blob, 12); /* distributor, §5.2.12.15 */
	blob_u8(blob, 24);
	blob_u16(blob, 0);
	blob_u32(blob, 0);
	blob_u64(blob, GIC_DIST_BASE);
	blob_u32(blob, 0);
	blob_u8(blob, 3); /* GICv3 */
	blob_zero(blob, 3);

	for (unsigned int i = 0; i < count; i++) { /* redistributors, §5.2.12.17 */
		blob_u8(blob, 14);
		blob_u8(blob, 16);
		blob_u16(blob, 0);
		blob_u64(blob, regions[i].base);
		blob_u32(blob, (uint32_t)(regions[i].count * GIC_REDIST_SIZE));
	}

	blob_u8(blob, 15); /* ITS, §5.2.12.18 */
	blob_u8(blob, 20);
	blob_u16(blob, 0);
	blob_u32(blob, ITS_ID);
	blob_u64(blob, GIC_ITS_BASE);
	blob_u32(blob, 0);
	acpi_table_end(tables, start);
}

/* §5.2.25: level-triggered, active high, never lost in a low-power state. */
static void add_gtdt(struct acpi_tables *tables)
{
	static const uint32_t ppis[] = { GIC_PPI_SECURE_TIMER, GIC_PPI_PHYS_TIMER, GIC_PPI_VIRT_TIMER,
					 GIC_PPI_HYP_TIMER };
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "GTDT", 2);

	blob_u64(blob, UINT64_MAX); /* no counter in memory */
	blob_u32(blob, 0);
	for (size_t i = 0; i < ARRAY_SIZE(ppis); i++) {
		blob_u32(blob, GIC_PPI_BASE + ppis[i]);
		blob_u32(blob, 1u << 2); /* always on */
	}
	blob_u64(blob, UINT64_MAX);
	blob_u32(blob, 0); /* platform timers */
	blob_u32(blob, 0);
	acpi_table_end(tables, start);
}

static void add_spcr(struct acpi_tables *tables, const struct acpi_virt *info)
{
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "SPCR", 2);

	blob_u8(blob, 3); /* PL011 */
	blob_zero(blob, 3);
	blob_u8(blob, 0); /* in memory, 32 bits, accessed as such */
	blob_u8(blob, 32);
	blob_u8(blob, 0);
	blob_u8(blob, 3);
	blob_u64(blob, info->serial);
	blob_u8(blob, 1u << 3); /* interrupts by a GIC */
	blob_u8(blob, 0);
	blob_u32(blob, info->serial_gsi);
	blob_u8(blob, 7); /* 115200, 8N1, no flow control */
	blob_u8(blob, 0);
	blob_u8(blob, 1);
	blob_u8(blob, 0);
	blob_u8(blob, 3); /* ANSI */
	blob_u8(blob, 0);
	blob_u16(blob, 0xffff); /* no PCI device */
	blob_u16(blob, 0xffff);
	blob_zero(blob, 3 + 4 + 1 + 4);
	acpi_table_end(tables, start);
}

/* The root complex's requester ids are the ITS' device ids. */
static void add_iort(struct acpi_tables *tables)
{
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "IORT", 0);
	size_t its;

	blob_u32(blob, 2); /* nodes, from byte 48 on */
	blob_u32(blob, 48);
	blob_u32(blob, 0);

	its = blob->len - start;
	blob_u8(blob, 0); /* ITS group */
	blob_u16(blob, 24);
	blob_u8(blob, 0);
	blob_u32(blob, 0);
	blob_u32(blob, 0); /* no mappings */
	blob_u32(blob, 0);
	blob_u32(blob, 1);
	blob_u32(blob, ITS_ID);

	blob_u8(blob, 2); /* root complex */
	blob_u16(blob, 36 + 20);
	blob_u8(blob, 1);
	blob_u32(blob, 0);
	blob_u32(blob, 1); /* one mapping, at byte 36 */
	blob_u32(blob, 36);
	blob_u32(blob, 1); /* memory accesses are coherent, by hardware */
	blob_u8(blob, 0);
	blob_u16(blob, 0);
	blob_u8(blob, 3);
	blob_u32(blob, 0);  /* no ATS */
	blob_u32(blob, 0);  /* segment */
	blob_u8(blob, 64); /* address bits */
	blob_zero(blob, 3);

	blob_u32(blob, 0); /* ids 0 to 0xffff as they are */
	blob_u32(blob, 0xffff);
	blob_u32(blob, 0);
	blob_u32(blob, (uint32_t)its);
	blob_u32(blob, 0);
	acpi_table_end(tables, start);
}

/* --- PPTT, §5.2.30 ---------------------------------------------------------------------------------- */

#define PPTT_PACKAGE (1u << 0)
#define PPTT_ID_VALID (1u << 1)
#define PPTT_THREAD (1u << 2)
#define PPTT_LEAF (1u << 3)

#define CACHE_SIZE_VALID (1u << 0)
#define CACHE_SETS_VALID (1u << 1)
#define CACHE_WAYS_VALID (1u << 2)
#define CACHE_TYPE_VALID (1u << 4)
#define CACHE_LINE_VALID (1u << 6)

/* Where the structures of the caches are: those of a core, those of a socket. */
struct pptt_caches {
	uint32_t at[2][CPU_CACHES_MAX];
	uint32_t count[2];
};

/*
 * One structure for each cache of the host; the nodes that have such a cache all refer to it, and by them it is
 * told how many there are. What is private to a core hangs on its first level.
 */
static void add_caches(struct blob *blob, size_t start, const struct cpu_caches *caches, struct pptt_caches *ret)
{
	static const uint8_t types[] = {
		[CPU_CACHE_DATA] = 0, [CPU_CACHE_INSTRUCTION] = 1u << 2, [CPU_CACHE_UNIFIED] = 3u << 2,
	};
	uint32_t next[2] = { 0, 0 };

	*ret = (struct pptt_caches){ 0 };
	for (unsigned int i = caches ? caches->count : 0; i-- > 0;) { /* the outermost first: it is referred to */
		const struct cpu_cache *cache = &caches->cache[i];
		uint32_t at = (uint32_t)(blob->len - start);
		bool first = cache->level == 1 || (cache->shared && !caches->cache[i - 1].shared);

		blob_u8(blob, 1);
		blob_u8(blob, 24);
		blob_u16(blob, 0);
		blob_u32(blob, CACHE_SIZE_VALID | CACHE_SETS_VALID | CACHE_TYPE_VALID | CACHE_LINE_VALID |
			       (cache->ways ? CACHE_WAYS_VALID : 0));
		blob_u32(blob, next[cache->shared]);
		blob_u32(blob, cache->size);
		blob_u32(blob, cache->sets);
		blob_u8(blob, (uint8_t)cache->ways);
		blob_u8(blob, types[cache->kind]);
		blob_u16(blob, (uint16_t)cache->line);
		if (first)
			ret->at[cache->shared][ret->count[cache->shared]++] = at;
		else
			next[cache->shared] = at;
	}
}

enum { PPTT_OF_CORE, PPTT_OF_SOCKET, PPTT_OF_NONE };

/* Returns the node's offset in the table. */
static uint32_t add_node(struct blob *blob, size_t start, uint32_t flags, uint32_t parent, uint32_t id,
			 const struct pptt_caches *caches, unsigned int whose)
{
	uint32_t at = (uint32_t)(blob->len - start);
	uint32_t count = whose == PPTT_OF_NONE ? 0 : caches->count[whose];

	blob_u8(blob, 0);
	blob_u8(blob, (uint8_t)(20 + count * 4));
	blob_u16(blob, 0);
	blob_u32(blob, flags);
	blob_u32(blob, parent);
	blob_u32(blob, id);
	blob_u32(blob, count); /* private resources */
	for (uint32_t i = 0; i < count; i++)
		blob_u32(blob, caches->at[whose][i]);
	return at;
}

static void add_pptt(struct acpi_tables *tables, const struct acpi_virt *info)
{
	const struct vcpu_topology *topology = info->topology;
	uint32_t threads = MAX(topology->threads, 1u), cores = MAX(topology->cores, 1u);
	uint32_t clusters = MAX(topology->clusters, 1u) * MAX(topology->dies, 1u);
	uint32_t socket = 0, cluster = 0, core = 0;
	struct blob *blob = &tables->data;
	size_t start = acpi_table_begin(tables, "PPTT", 2);
	struct pptt_caches caches;

	add_caches(blob, start, info->caches, &caches);
	for (uint32_t i = 0; i < topology->cpus; i++) {
		uint32_t n = i / threads / cores;

		if (i % (threads * cores * clusters) == 0)
			socket = add_node(blob, start, PPTT_PACKAGE, 0, n / clusters, &caches, PPTT_OF_SOCKET);
		if (i % (threads * cores) == 0)
			cluster = clusters > 1 ?
				add_node(blob, start, 0, socket, n % clusters, &caches, PPTT_OF_NONE) : socket;
		if (threads == 1) {
			add_node(blob, start, PPTT_ID_VALID | PPTT_LEAF, cluster, i, &caches, PPTT_OF_CORE);
			continue;
		}
		if (i % threads == 0)
			core = add_node(blob, start, 0, cluster, i / threads % cores, &caches, PPTT_OF_CORE);
		add_node(blob, start, PPTT_ID_VALID | PPTT_THREAD | PPTT_LEAF, core, i, &caches, PPTT_OF_NONE);
	}
	acpi_table_end(tables, start);
}

/* --- DSDT ------------------------------------------------------------------------------------------------ */

/* §8.4: the _UIDs tie the processor devices to the MADT's entries. */
static void add_cpus(struct aml *aml, const struct vcpu_topology *topology)
{
	for (uint32_t i = 0; i < topology->cpus; i++) {
		char name[8];

		snprintf(name, sizeof(name), "C%03" PRIX32, i % CPUS_MAX);
		aml_device(aml, name);
		aml_name(aml, "_HID");
		aml_string(aml, "ACPI0007");
		aml_name(aml, "_UID");
		aml_integer(aml, i);
		aml_end(aml);
	}
}

static void add_serial(struct aml *aml, const struct acpi_virt *info)
{
	aml_device(aml, "COM0");
	aml_name(aml, "_HID");
	aml_string(aml, "ARMH0011");
	aml_name(aml, "_UID");
	aml_integer(aml, 0);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_memory(aml, info->serial, PL011_SIZE);
	aml_interrupt_level(aml, info->serial_gsi);
	aml_end(aml);
	aml_end(aml);
}

static void add_fw_cfg(struct aml *aml, gpa_t base)
{
	aml_device(aml, "FWCF");
	aml_name(aml, "_HID");
	aml_string(aml, "QEMU0002");
	aml_name(aml, "_STA");
	aml_integer(aml, 0x0b);
	aml_name(aml, "_CCA");
	aml_integer(aml, 1);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_memory(aml, base, FW_CFG_MEM_SIZE);
	aml_end(aml);
	aml_end(aml);
}

static int add_dsdt(struct acpi_tables *tables, const struct acpi_virt *info, size_t *ret, struct error **errp)
{
	struct aml aml = { 0 };

	aml_scope(&aml, "_SB");
	add_cpus(&aml, info->topology);
	if (info->serial)
		add_serial(&aml, info);
	if (info->fw_cfg)
		add_fw_cfg(&aml, info->fw_cfg);
	acpi_add_virtio(&aml, info->virtio, info->virtio_count, true);
	if (info->ged)
		acpi_add_ged(&aml, info->ged, info->ged_gsi, info->vmgenid);
	acpi_pci_add_host(&aml, info->pci);
	aml_end(&aml);
	return acpi_add_dsdt(tables, &aml, ret, errp);
}

/* §5.2.16 and §5.2.17; CPUs are named by their _UID, §5.2.16.4. */
static void add_numa(struct acpi_tables *tables, const struct acpi_virt *info)
{
	size_t start = acpi_numa_begin_srat(tables, info->numa);
	struct blob *blob = &tables->data;

	/*
	 * Debian 12's AAVMF maps the bank with its variables write-combining. Linux takes such a range for memory, and gives up
	 * all nodes where memory is in none.
	 */
	if (info->variables.size)
		acpi_numa_add_memory(tables, &info->variables);
	for (uint32_t i = 0; i < info->topology->cpus; i++) {
		blob_u8(blob, 3);
		blob_u8(blob, 18);
		blob_u32(blob, info->numa->cpu_node[i]);
		blob_u32(blob, i);
		blob_u32(blob, 1); /* enabled */
		blob_u32(blob, 0); /* clock domain */
	}
	acpi_table_end(tables, start);
	acpi_numa_add_slit(tables, info->numa);
}

int acpi_virt_build(const struct acpi_virt *info, struct acpi_tables **ret, struct error **errp)
{
	struct acpi_tables *tables;
	size_t dsdt = 0;
	int err;

	if (info->virtio_count > ACPI_VIRTIO_MAX || info->topology->cpus > CPUS_MAX)
		return error_set(errp, -E2BIG, "too many CPUs or devices for the ACPI tables");
	tables = acpi_tables_new("VIRT");
	err = add_dsdt(tables, info, &dsdt, errp);
	if (err) {
		acpi_tables_free(tables);
		return err;
	}
	add_fadt(tables, dsdt);
	add_madt(tables, info);
	add_gtdt(tables);
	acpi_pci_add_mcfg(tables, info->pci);
	if (info->serial)
		add_spcr(tables, info);
	add_iort(tables);
	add_pptt(tables, info);
	if (info->numa)
		add_numa(tables, info);
	acpi_tables_finish(tables);
	*ret = tables;
	return 0;
}
