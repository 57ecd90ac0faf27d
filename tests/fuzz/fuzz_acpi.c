// SPDX-License-Identifier: Apache-2.0
/*
 * ACPI tables of random machines: topologies, NUMA nodes, devices, PCI windows. A refusal has a reason; what is built is a
 * tree of tables with right lengths and checksums inside the room it was given. In the slow mode ACPICA's compiler must be
 * able to take each DSDT apart and put it together again.
 */
#include "shared.h"

#include "boot/acpi.h"
#include "util/endian.h"
#include "util/macros.h"

#define RAM_SIZE (2 * MIB)
#define BASE 0x100000
#define ROOM 0x40000
#define TABLES_MAX 64
#define VIRTIO_MAX 32
#define NODES_MAX 8
#define CPUS_MAX 254
#define VIRT_CPUS_MAX 512

static struct mem_space *space;
static struct ram_backend *ram;

/* Where a machine has them: page by page, not beyond 46 bits. */
static struct acpi_pci_window window(unsigned int pages)
{
	uint64_t size = number(2) % pages << 12;

	return (struct acpi_pci_window){ number(4) << 12, size, 0 };
}

static unsigned int irq_map(void *opaque, unsigned int slot, unsigned int pin)
{
	return (slot + pin + *(unsigned int *)opaque) % 8;
}

static unsigned int swizzle;

static struct acpi_pci_host pci_host(void)
{
	struct acpi_pci_host host = {
		.ecam = number(2) << 28,
		.bus_last = byte(),
		.mmio32 = { { (16 + number(1)) << 20, (1 + number(1)) << 20, 0 } },
		.mmio64 = window(0x8000),
		.io = { { 0x1000, 0x1000, 0 } },
		.has_config_ports = byte() & 1,
		.native_hotplug = byte() & 1,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(host.intx_gsi); i++)
		host.intx_gsi[i] = byte() % 24;
	if (byte() & 1) {
		swizzle = byte();
		host.irq_map = irq_map;
		host.irq_opaque = &swizzle;
	}
	return host;
}

static int build_microvm(struct acpi_tables **ret, struct error **errp)
{
	struct vcpu_topology cpus = topology(CPUS_MAX);
	struct acpi_virtio_mmio virtio[VIRTIO_MAX];
	struct acpi_pci_host pci = pci_host();
	struct acpi_microvm info = {
		.topology = &cpus,
		.ioapic = 0xfec00000,
		.lapic = 0xfee00000,
		.ged_base = number(4) & ~0xfffULL,
		.ged_gsi = byte() % 24,
		.has_serial = byte() & 1,
		.has_rtc = byte() & 1,
		.has_fw_cfg = byte() & 1,
		.virtio = virtio,
		.virtio_count = byte() % (VIRTIO_MAX + 1),
		.pci = byte() & 1 ? &pci : NULL,
	};

	for (unsigned int i = 0; i < info.virtio_count; i++)
		virtio[i] = (struct acpi_virtio_mmio){ number(6), 0x200, byte() };
	return acpi_microvm_build(&info, ret, errp);
}

static int build_q35(struct acpi_tables **ret, struct error **errp)
{
	static unsigned int cpu_node[CPUS_MAX];
	static uint8_t distances[NODES_MAX * NODES_MAX];
	struct vcpu_topology cpus = topology(CPUS_MAX);
	struct acpi_numa_memory memory[NODES_MAX];
	struct acpi_pci_host pci = pci_host();
	struct acpi_numa numa = {
		.nodes = 1 + byte() % NODES_MAX,
		.memory = memory,
		.memory_count = byte() % (NODES_MAX + 1),
		.cpu_node = cpu_node,
		.distances = byte() & 1 ? distances : NULL,
	};
	struct acpi_q35 info = {
		.topology = &cpus,
		.ioapic = 0xfec00000,
		.lapic = 0xfee00000,
		.pm_base = 0x600,
		.coms = byte() & 15,
		.pvpanic_port = byte() & 1 ? 0x505 : 0,
		.has_fw_cfg = byte() & 1,
		.cpu_hotplug = byte() & 1,
		.numa = byte() & 1 ? &numa : NULL,
		.pci = &pci,
	};

	for (unsigned int i = 0; i < cpus.maxcpus; i++)
		cpu_node[i] = byte() % numa.nodes;
	for (unsigned int i = 0; i < ARRAY_SIZE(distances); i++)
		distances[i] = MAX(byte(), (uint8_t)10);
	for (unsigned int i = 0; i < numa.memory_count; i++)
		memory[i] = (struct acpi_numa_memory){ number(4) << 12, number(4) << 12, byte() % numa.nodes };
	return acpi_q35_build(&info, ret, errp);
}

/* Of aarch64. Its host bridge has no configuration ports. */
static int build_virt(struct acpi_tables **ret, struct error **errp)
{
	struct vcpu_topology cpus = topology(VIRT_CPUS_MAX);
	struct acpi_virtio_mmio virtio[VIRTIO_MAX];
	struct acpi_pci_host pci = pci_host();
	struct acpi_virt info = {
		.topology = &cpus,
		.pmu = byte() & 1,
		.serial = byte() & 1 ? number(4) & ~0xfffULL : 0,
		.serial_gsi = byte(),
		.fw_cfg = byte() & 1 ? number(4) & ~0xfffULL : 0,
		.ged = byte() & 1 ? number(4) & ~0xfffULL : 0,
		.ged_gsi = byte(),
		.virtio = virtio,
		.virtio_count = byte() % (VIRTIO_MAX + 1),
		.pci = &pci,
	};

	pci.has_config_ports = false;
	for (unsigned int i = 0; i < info.virtio_count; i++)
		virtio[i] = (struct acpi_virtio_mmio){ number(6), 0x200, byte() };
	return acpi_virt_build(&info, ret, errp);
}

/* --- What was built --- */

static uint64_t load(gpa_t at, unsigned int len)
{
	le64_t value = cpu_to_le64(0);

	MUST(at >= BASE && at + len <= BASE + ROOM);
	MUST(!guest_read(space, at, &value, len));
	return le64_to_cpu(value);
}

static void check_sum(gpa_t at, uint64_t len)
{
	uint8_t sum = 0;

	MUST(at >= BASE && len <= ROOM && at + len <= BASE + ROOM);
	for (uint64_t i = 0; i < len; i++)
		sum += ram->host[at + i];
	MUST(!sum);
}

static uint32_t check_table(gpa_t at)
{
	uint32_t len = (uint32_t)load(at + 4, 4);

	MUST(len >= 36);
	check_sum(at, len);
	return len;
}

static void check_tables(gpa_t rsdp)
{
	gpa_t xsdt = load(rsdp + 24, 8);
	uint32_t count = (check_table(xsdt) - 36) / 8;

	check_sum(rsdp, 20);
	check_sum(rsdp, 36);
	MUST(count && count <= TABLES_MAX);
	for (uint32_t i = 0; i < count; i++) {
		gpa_t table = load(xsdt + 36 + 8 * i, 8), dsdt;

		(void)check_table(table);
		if (memcmp(ram->host + table, "FACP", 4))
			continue;
		dsdt = load(table + 140, 8);
		if (!dsdt)
			dsdt = load(table + 40, 4);
		MUST(!memcmp(ram->host + dsdt, "DSDT", 4));
		(void)check_table(dsdt);
		if (slow())
			must_run("cd \"${FILE%/*}\" && cp data dsdt.aml && iasl -d dsdt.aml && iasl dsdt.dsl",
				 ram->host + dsdt, check_table(dsdt));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const builds[])(struct acpi_tables **, struct error **) = { build_microvm, build_q35, build_virt };
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = RAM_SIZE };
	struct acpi_tables *tables = NULL;
	struct error *err = NULL;
	gpa_t rsdp = 0;
	int ret;

	if (!space) {
		space = mem_space_new();
		MUST(!ram_backend_new(&config, &ram, NULL));
		MUST(!mem_space_add_ram(space, 0, ram, 0, RAM_SIZE, NULL));
	}
	input_begin(data, size);
	ret = builds[byte() % ARRAY_SIZE(builds)](&tables, &err);
	fuzz_outcome(ret, err);
	if (ret)
		return 0;
	MUST(!acpi_tables_install(tables, space, BASE, ROOM, &rsdp, &err));
	check_tables(rsdp);
	acpi_tables_free(tables);
	return 0;
}
