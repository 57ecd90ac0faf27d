// SPDX-License-Identifier: Apache-2.0
/*
 * The flattened device tree (Devicetree Specification 0.4, bindings of Linux' Documentation/devicetree/bindings).
 *
 * Written in order by libfdt's sequential functions. Each can fail for lack of room only, and a failed one makes all that
 * follow fail; so their results are gathered in one variable and looked at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../file.h"
#include "boot/arm64.h"
#include "cpu/gic.h"
#include "devices/pl061.h"
#include "util/alloc.h"
#include "util/endian.h"

/* phandles; those of the CPUs follow, then as many for each level of caches beyond the first */
enum { PHANDLE_CLOCK = 1, PHANDLE_GIC, PHANDLE_ITS, PHANDLE_GPIO, PHANDLE_CPU };

/* Interrupt specifiers (arm,gic-v3.yaml) */
#define IRQ_SPI 0
#define IRQ_PPI 1
#define IRQ_EDGE_RISING 1
#define IRQ_LEVEL_HIGH 4

/* include/uapi/linux/input-event-codes.h; gpio.txt: high is on */
#define KEY_POWER 116
#define GPIO_ACTIVE_HIGH 0

#define SERIAL_CLOCK_HZ 24000000
#define CELLS_MAX 192 /* an interrupt map of 16 entries has 160 */

/* PCI address space codes (IEEE 1275 PCI binding 2.2.1.1) */
#define PCI_SPACE_IO 0x01000000u
#define PCI_SPACE_MEM32 0x02000000u
#define PCI_SPACE_MEM64 0x03000000u
#define PCI_PINS 4

struct cells {
	be32_t cell[CELLS_MAX];
	unsigned int count;
};

static void add32(struct cells *cells, uint32_t value)
{
	cells->cell[cells->count++] = cpu_to_be32(value);
}

static void add64(struct cells *cells, uint64_t value)
{
	add32(cells, (uint32_t)(value >> 32));
	add32(cells, (uint32_t)value);
}

static int put_cells(void *fdt, const char *name, const struct cells *cells)
{
	return fdt_property(fdt, name, cells->cell, (int)(cells->count * sizeof(cells->cell[0])));
}

static int put_reg(void *fdt, gpa_t base, uint64_t size)
{
	struct cells reg = { .count = 0 };

	add64(&reg, base);
	add64(&reg, size);
	return put_cells(fdt, "reg", &reg);
}

static int put_interrupt(void *fdt, uint32_t kind, uint32_t number, uint32_t trigger)
{
	struct cells irq = { .count = 0 };

	add32(&irq, kind);
	add32(&irq, number);
	add32(&irq, trigger);
	return put_cells(fdt, "interrupts", &irq);
}

static int begin_at(void *fdt, const char *name, uint64_t address)
{
	char node[64];

	snprintf(node, sizeof(node), "%s@%" PRIx64, name, address);
	return fdt_begin_node(fdt, node);
}

#define put_strings(fdt, name, list) fdt_property(fdt, name, list, sizeof(list))
#define put_flag(fdt, name) fdt_property(fdt, name, NULL, 0)

/* --- CPUs ---------------------------------------------------------------------------------------- */

/* cpu-map (cpu-topology.txt): sockets, clusters, cores and, where cores have several, threads. Innermost of @index. */
static int put_cpu_map(void *fdt, const struct vcpu_topology *topology)
{
	uint32_t threads = MAX(topology->threads, 1u), cores = MAX(topology->cores, 1u);
	uint32_t clusters = MAX(topology->clusters, 1u) * MAX(topology->dies, 1u);
	int ret = fdt_begin_node(fdt, "cpu-map");
	char name[32];

	for (uint32_t i = 0; i < topology->cpus; i++) {
		uint32_t thread = i % threads, core = i / threads % cores;
		uint32_t cluster = i / threads / cores % clusters, socket = i / threads / cores / clusters;
		bool last = i + 1 == topology->cpus;

		if (!thread && !core && !cluster) {
			snprintf(name, sizeof(name), "socket%u", socket);
			ret |= fdt_begin_node(fdt, name);
		}
		if (!thread && !core) {
			snprintf(name, sizeof(name), "cluster%u", cluster);
			ret |= fdt_begin_node(fdt, name);
		}
		if (!thread) {
			snprintf(name, sizeof(name), "core%u", core);
			ret |= fdt_begin_node(fdt, name);
		}
		if (threads > 1) {
			snprintf(name, sizeof(name), "thread%u", thread);
			ret |= fdt_begin_node(fdt, name);
		}
		ret |= fdt_property_u32(fdt, "cpu", PHANDLE_CPU + i);
		if (threads > 1)
			ret |= fdt_end_node(fdt);
		if (last || thread == threads - 1)
			ret |= fdt_end_node(fdt);
		if (last || (thread == threads - 1 && core == cores - 1))
			ret |= fdt_end_node(fdt);
		if (last || (thread == threads - 1 && core == cores - 1 && cluster == clusters - 1))
			ret |= fdt_end_node(fdt);
	}
	return ret | fdt_end_node(fdt);
}

/* Of @level, the cache that CPU @index has: by core or by socket; and how that is called in phandles. */
static const struct cpu_cache *find_cache(const struct fdt_machine *machine, unsigned int level)
{
	for (unsigned int i = 0; machine->caches && i < machine->caches->count; i++)
		if (machine->caches->cache[i].level == level)
			return &machine->caches->cache[i];
	return NULL;
}

static uint32_t cache_unit(const struct vcpu_topology *topology, const struct cpu_cache *cache, uint32_t index)
{
	uint32_t core = index / MAX(topology->threads, 1u);

	return cache->shared ? core / MAX(topology->cores, 1u) / MAX(topology->clusters, 1u) / MAX(topology->dies, 1u) :
			       core;
}

static uint32_t cache_phandle(const struct fdt_machine *machine, const struct cpu_cache *cache, uint32_t index)
{
	return PHANDLE_CPU + (cache->level - 1) * machine->topology->cpus +
	       cache_unit(machine->topology, cache, index);
}

/* Devicetree 3.8.1 and 3.9 */
static int put_cache_size(void *fdt, const char *prefix, const struct cpu_cache *cache)
{
	char name[32];
	int ret;

	snprintf(name, sizeof(name), "%scache-size", prefix);
	ret = fdt_property_u32(fdt, name, cache->size);
	snprintf(name, sizeof(name), "%scache-line-size", prefix);
	ret |= fdt_property_u32(fdt, name, cache->line);
	snprintf(name, sizeof(name), "%scache-sets", prefix);
	return ret | fdt_property_u32(fdt, name, cache->sets);
}

static int put_next_cache(void *fdt, const struct fdt_machine *machine, unsigned int level, uint32_t index)
{
	const struct cpu_cache *next = find_cache(machine, level);

	return next ? fdt_property_u32(fdt, "next-level-cache", cache_phandle(machine, next, index)) : 0;
}

static int put_first_caches(void *fdt, const struct fdt_machine *machine, uint32_t index)
{
	int ret = 0;

	for (unsigned int i = 0; machine->caches && i < machine->caches->count; i++) {
		const struct cpu_cache *cache = &machine->caches->cache[i];

		if (cache->level == 1)
			ret |= put_cache_size(fdt, cache->kind == CPU_CACHE_DATA ? "d-" : "i-", cache);
	}
	return ret | put_next_cache(fdt, machine, 2, index);
}

/* One node for each cache beyond the first level. */
static int put_caches(void *fdt, const struct fdt_machine *machine)
{
	const struct cpu_cache *cache;
	char name[40];
	int ret = 0;

	for (unsigned int level = 2; (cache = find_cache(machine, level)); level++) {
		for (uint32_t i = 0; i < machine->topology->cpus; i++) {
			uint32_t unit = cache_unit(machine->topology, cache, i);

			if (i && unit == cache_unit(machine->topology, cache, i - 1))
				continue;
			snprintf(name, sizeof(name), "l%u-cache%u", level, unit);
			ret |= fdt_begin_node(fdt, name);
			ret |= fdt_property_string(fdt, "compatible", "cache");
			ret |= fdt_property_u32(fdt, "cache-level", level);
			ret |= put_flag(fdt, "cache-unified");
			ret |= put_cache_size(fdt, "", cache);
			ret |= put_next_cache(fdt, machine, level + 1, i);
			ret |= fdt_property_u32(fdt, "phandle", cache_phandle(machine, cache, i));
			ret |= fdt_end_node(fdt);
		}
	}
	return ret;
}

static int put_cpus(void *fdt, const struct fdt_machine *machine)
{
	int ret = fdt_begin_node(fdt, "cpus");

	ret |= fdt_property_u32(fdt, "#address-cells", 1);
	ret |= fdt_property_u32(fdt, "#size-cells", 0);
	for (unsigned int i = 0; i < machine->topology->cpus; i++) {
		uint64_t mpidr = vcpu_arch_id(machine->topology, i);

		ret |= begin_at(fdt, "cpu", mpidr);
		ret |= fdt_property_string(fdt, "device_type", "cpu");
		ret |= fdt_property_string(fdt, "compatible", "arm,armv8");
		if (machine->topology->cpus > 1)
			ret |= fdt_property_string(fdt, "enable-method", "psci");
		ret |= fdt_property_u32(fdt, "reg", (uint32_t)mpidr);
		ret |= fdt_property_u32(fdt, "phandle", PHANDLE_CPU + i);
		ret |= put_first_caches(fdt, machine, i);
		if (machine->numa)
			ret |= fdt_property_u32(fdt, "numa-node-id", machine->numa->cpu_node[i]);
		ret |= fdt_end_node(fdt);
	}
	ret |= put_caches(fdt, machine);
	ret |= put_cpu_map(fdt, machine->topology);
	return ret | fdt_end_node(fdt);
}

/* PSCI by HVC (psci.yaml), the timers and the PMU of the CPUs. */
static int put_cpu_features(void *fdt, const struct fdt_machine *machine)
{
	static const char psci[] = "arm,psci-1.0\0arm,psci-0.2";
	static const uint32_t timers[] = { GIC_PPI_SECURE_TIMER, GIC_PPI_PHYS_TIMER, GIC_PPI_VIRT_TIMER,
					   GIC_PPI_HYP_TIMER };
	struct cells irqs = { .count = 0 };
	int ret = fdt_begin_node(fdt, "psci");

	ret |= put_strings(fdt, "compatible", psci);
	ret |= fdt_property_string(fdt, "method", "hvc");
	ret |= fdt_end_node(fdt);

	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		add32(&irqs, IRQ_PPI);
		add32(&irqs, timers[i]);
		add32(&irqs, IRQ_LEVEL_HIGH);
	}
	ret |= fdt_begin_node(fdt, "timer");
	ret |= fdt_property_string(fdt, "compatible", "arm,armv8-timer");
	ret |= put_cells(fdt, "interrupts", &irqs);
	ret |= put_flag(fdt, "always-on");
	ret |= fdt_end_node(fdt);

	if (machine->pmu) {
		ret |= fdt_begin_node(fdt, "pmu");
		ret |= fdt_property_string(fdt, "compatible", "arm,armv8-pmuv3");
		ret |= put_interrupt(fdt, IRQ_PPI, GIC_PPI_PMU, IRQ_LEVEL_HIGH);
		ret |= fdt_end_node(fdt);
	}
	return ret;
}

static int put_gic(void *fdt, const struct fdt_machine *machine)
{
	struct gic_redist_region regions[2];
	unsigned int count = gic_redist_regions(machine->topology->cpus, regions);
	struct cells reg = { .count = 0 };
	int ret = begin_at(fdt, "intc", GIC_DIST_BASE);

	add64(&reg, GIC_DIST_BASE);
	add64(&reg, GIC_DIST_SIZE);
	for (unsigned int i = 0; i < count; i++) {
		add64(&reg, regions[i].base);
		add64(&reg, regions[i].count * GIC_REDIST_SIZE);
	}
	ret |= fdt_property_string(fdt, "compatible", "arm,gic-v3");
	ret |= put_cells(fdt, "reg", &reg);
	ret |= fdt_property_u32(fdt, "#redistributor-regions", count);
	ret |= fdt_property_u32(fdt, "#interrupt-cells", 3);
	ret |= put_flag(fdt, "interrupt-controller");
	ret |= fdt_property_u32(fdt, "#address-cells", 2);
	ret |= fdt_property_u32(fdt, "#size-cells", 2);
	ret |= put_flag(fdt, "ranges");
	ret |= fdt_property_u32(fdt, "phandle", PHANDLE_GIC);
	if (machine->its) {
		ret |= begin_at(fdt, "msi-controller", GIC_ITS_BASE);
		ret |= fdt_property_string(fdt, "compatible", "arm,gic-v3-its");
		ret |= put_reg(fdt, GIC_ITS_BASE, GIC_ITS_SIZE);
		ret |= put_flag(fdt, "msi-controller");
		ret |= fdt_property_u32(fdt, "#msi-cells", 1);
		ret |= fdt_property_u32(fdt, "phandle", PHANDLE_ITS);
		ret |= fdt_end_node(fdt);
	}
	return ret | fdt_end_node(fdt);
}

/* --- devices ---------------------------------------------------------------------------------------- */

static int put_clock(void *fdt)
{
	int ret = fdt_begin_node(fdt, "apb-pclk");

	ret |= fdt_property_string(fdt, "compatible", "fixed-clock");
	ret |= fdt_property_u32(fdt, "#clock-cells", 0);
	ret |= fdt_property_u32(fdt, "clock-frequency", SERIAL_CLOCK_HZ);
	ret |= fdt_property_string(fdt, "clock-output-names", "clk24mhz");
	ret |= fdt_property_u32(fdt, "phandle", PHANDLE_CLOCK);
	return ret | fdt_end_node(fdt);
}

static int put_serial(void *fdt, const struct fdt_device *serial)
{
	static const char compatible[] = "arm,pl011\0arm,primecell";
	static const char clocks[] = "uartclk\0apb_pclk";
	struct cells clock = { .count = 0 };
	int ret = begin_at(fdt, "pl011", serial->base);

	add32(&clock, PHANDLE_CLOCK);
	add32(&clock, PHANDLE_CLOCK);
	ret |= put_strings(fdt, "compatible", compatible);
	ret |= put_reg(fdt, serial->base, serial->size);
	ret |= put_interrupt(fdt, IRQ_SPI, serial->gsi, IRQ_LEVEL_HIGH);
	ret |= put_cells(fdt, "clocks", &clock);
	ret |= put_strings(fdt, "clock-names", clocks);
	return ret | fdt_end_node(fdt);
}

static int put_rtc(void *fdt, const struct fdt_device *rtc)
{
	static const char compatible[] = "arm,pl031\0arm,primecell";
	int ret = begin_at(fdt, "pl031", rtc->base);

	ret |= put_strings(fdt, "compatible", compatible);
	ret |= put_reg(fdt, rtc->base, rtc->size);
	ret |= put_interrupt(fdt, IRQ_SPI, rtc->gsi, IRQ_LEVEL_HIGH);
	ret |= fdt_property_u32(fdt, "clocks", PHANDLE_CLOCK);
	ret |= fdt_property_string(fdt, "clock-names", "apb_pclk");
	return ret | fdt_end_node(fdt);
}

/* pl061-gpio.yaml, gpio-keys.yaml */
static int put_power_button(void *fdt, const struct fdt_device *gpio)
{
	static const char compatible[] = "arm,pl061\0arm,primecell";
	struct cells pin = { .count = 0 };
	int ret = begin_at(fdt, "pl061", gpio->base);

	ret |= put_strings(fdt, "compatible", compatible);
	ret |= put_reg(fdt, gpio->base, gpio->size);
	ret |= put_interrupt(fdt, IRQ_SPI, gpio->gsi, IRQ_LEVEL_HIGH);
	ret |= fdt_property_u32(fdt, "clocks", PHANDLE_CLOCK);
	ret |= fdt_property_string(fdt, "clock-names", "apb_pclk");
	ret |= put_flag(fdt, "gpio-controller");
	ret |= fdt_property_u32(fdt, "#gpio-cells", 2);
	ret |= put_flag(fdt, "interrupt-controller");
	ret |= fdt_property_u32(fdt, "#interrupt-cells", 2);
	ret |= fdt_property_u32(fdt, "#address-cells", 0);
	ret |= fdt_property_u32(fdt, "phandle", PHANDLE_GPIO);
	ret |= fdt_end_node(fdt);

	add32(&pin, PHANDLE_GPIO);
	add32(&pin, PL061_POWER_PIN);
	add32(&pin, GPIO_ACTIVE_HIGH);
	ret |= fdt_begin_node(fdt, "gpio-keys");
	ret |= fdt_property_string(fdt, "compatible", "gpio-keys");
	ret |= fdt_begin_node(fdt, "key-power");
	ret |= fdt_property_string(fdt, "label", "power button");
	ret |= fdt_property_u32(fdt, "linux,code", KEY_POWER);
	ret |= put_cells(fdt, "gpios", &pin);
	ret |= fdt_end_node(fdt);
	return ret | fdt_end_node(fdt);
}

/* microsoft,vmgenid.yaml */
static int put_vmgenid(void *fdt, const struct fdt_device *dev)
{
	int ret = begin_at(fdt, "rng", dev->base);

	ret |= fdt_property_string(fdt, "compatible", "microsoft,vmgenid");
	ret |= put_reg(fdt, dev->base, dev->size);
	ret |= put_interrupt(fdt, IRQ_SPI, dev->gsi, IRQ_EDGE_RISING);
	return ret | fdt_end_node(fdt);
}

static int put_virtio(void *fdt, const struct fdt_device *dev)
{
	int ret = begin_at(fdt, "virtio_mmio", dev->base);

	ret |= fdt_property_string(fdt, "compatible", "virtio,mmio");
	ret |= put_reg(fdt, dev->base, dev->size);
	ret |= put_interrupt(fdt, IRQ_SPI, dev->gsi, IRQ_EDGE_RISING);
	ret |= put_flag(fdt, "dma-coherent");
	return ret | fdt_end_node(fdt);
}

static int put_fw_cfg(void *fdt, const struct fdt_device *dev)
{
	int ret = begin_at(fdt, "fw-cfg", dev->base);

	ret |= fdt_property_string(fdt, "compatible", "qemu,fw-cfg-mmio");
	ret |= put_reg(fdt, dev->base, dev->size);
	ret |= put_flag(fdt, "dma-coherent");
	return ret | fdt_end_node(fdt);
}

static int put_flash(void *fdt, gpa_t base, uint64_t bank_size)
{
	struct cells reg = { .count = 0 };
	int ret = begin_at(fdt, "flash", base);

	for (unsigned int bank = 0; bank < 2; bank++) {
		add64(&reg, base + bank * bank_size);
		add64(&reg, bank_size);
	}
	ret |= fdt_property_string(fdt, "compatible", "cfi-flash");
	ret |= put_cells(fdt, "reg", &reg);
	ret |= fdt_property_u32(fdt, "bank-width", 4);
	return ret | fdt_end_node(fdt);
}

/* One of "ranges": a window of a kind, where it is on the bus and in memory. */
static void add_window(struct cells *ranges, uint32_t space, uint64_t bus, gpa_t base, uint64_t size)
{
	if (!size)
		return;
	add32(ranges, space);
	add64(ranges, bus);
	add64(ranges, base);
	add64(ranges, size);
}

/* pci-host-ecam-generic (host-generic-pci.yaml); INTx is swizzled over four lines. */
static int put_pci(void *fdt, const struct fdt_machine *machine)
{
	const struct fdt_pci *pci = machine->pci;
	struct cells ranges = { .count = 0 }, map = { .count = 0 }, mask = { .count = 0 }, msi = { .count = 0 };
	struct cells buses = { .count = 0 };
	int ret = begin_at(fdt, "pcie", pci->ecam);

	add32(&buses, 0);
	add32(&buses, (uint32_t)(pci->ecam_size / MIB) - 1);
	add_window(&ranges, PCI_SPACE_IO, 0, pci->io_base, pci->io_size);
	add_window(&ranges, PCI_SPACE_MEM32, pci->mem32_base, pci->mem32_base, pci->mem32_size);
	add_window(&ranges, PCI_SPACE_MEM64, pci->mem64_base, pci->mem64_base, pci->mem64_size);
	for (uint32_t slot = 0; slot < PCI_PINS; slot++) {
		for (uint32_t pin = 0; pin < PCI_PINS; pin++) {
			add32(&map, slot << 11); /* unit address: devfn in bits 15:8 */
			add64(&map, 0);
			add32(&map, pin + 1);
			add32(&map, PHANDLE_GIC);
			add64(&map, 0);
			add32(&map, IRQ_SPI);
			add32(&map, pci->intx_gsi + (slot + pin) % PCI_PINS);
			add32(&map, IRQ_LEVEL_HIGH);
		}
	}
	add32(&mask, (PCI_PINS - 1) << 11);
	add64(&mask, 0);
	add32(&mask, 7);
	ret |= fdt_property_string(fdt, "compatible", "pci-host-ecam-generic");
	ret |= fdt_property_string(fdt, "device_type", "pci");
	ret |= fdt_property_u32(fdt, "#address-cells", 3);
	ret |= fdt_property_u32(fdt, "#size-cells", 2);
	ret |= fdt_property_u32(fdt, "#interrupt-cells", 1);
	ret |= fdt_property_u32(fdt, "linux,pci-domain", 0);
	ret |= put_cells(fdt, "bus-range", &buses);
	ret |= put_reg(fdt, pci->ecam, pci->ecam_size);
	ret |= put_cells(fdt, "ranges", &ranges);
	ret |= put_cells(fdt, "interrupt-map", &map);
	ret |= put_cells(fdt, "interrupt-map-mask", &mask);
	if (machine->its) {
		/* Requester ids 0 to 0xffff are the ITS' device ids. */
		add32(&msi, 0);
		add32(&msi, PHANDLE_ITS);
		add32(&msi, 0);
		add32(&msi, 0x10000);
		ret |= put_cells(fdt, "msi-map", &msi);
	}
	ret |= put_flag(fdt, "dma-coherent");
	return ret | fdt_end_node(fdt);
}

static int put_devices(void *fdt, const struct fdt_machine *machine)
{
	int ret = put_clock(fdt);

	if (machine->flash_bank_size)
		ret |= put_flash(fdt, machine->flash, machine->flash_bank_size);
	if (machine->serial.size)
		ret |= put_serial(fdt, &machine->serial);
	if (machine->rtc.size)
		ret |= put_rtc(fdt, &machine->rtc);
	if (machine->gpio.size)
		ret |= put_power_button(fdt, &machine->gpio);
	if (machine->vmgenid.size)
		ret |= put_vmgenid(fdt, &machine->vmgenid);
	if (machine->fw_cfg.size)
		ret |= put_fw_cfg(fdt, &machine->fw_cfg);
	for (unsigned int i = 0; i < machine->virtio_count; i++)
		ret |= put_virtio(fdt, &machine->virtio[i]);
	if (machine->pci)
		ret |= put_pci(fdt, machine);
	return ret;
}

static int put_memory_node(void *fdt, gpa_t base, uint64_t size)
{
	int ret = begin_at(fdt, "memory", base);

	ret |= fdt_property_string(fdt, "device_type", "memory");
	return ret | put_reg(fdt, base, size);
}

/* numa.txt: how far from each node to each. */
static int put_distances(void *fdt, const struct acpi_numa *numa)
{
	size_t size = (size_t)numa->nodes * numa->nodes * 3 * sizeof(be32_t);
	be32_t *cell = NULL;
	int ret = fdt_begin_node(fdt, "distance-map");

	ret |= fdt_property_string(fdt, "compatible", "numa-distance-map-v1");
	ret |= fdt_property_placeholder(fdt, "distance-matrix", (int)size, (void **)&cell);
	for (unsigned int i = 0; !ret && i < numa->nodes * numa->nodes; i++) {
		*cell++ = cpu_to_be32(i / numa->nodes);
		*cell++ = cpu_to_be32(i % numa->nodes);
		*cell++ = cpu_to_be32(acpi_numa_distance(numa, i / numa->nodes, i % numa->nodes));
	}
	return ret | fdt_end_node(fdt);
}

static int put_numa(void *fdt, const struct acpi_numa *numa)
{
	int ret = 0;

	for (unsigned int i = 0; i < numa->memory_count; i++) {
		ret |= put_memory_node(fdt, numa->memory[i].base, numa->memory[i].size);
		ret |= fdt_property_u32(fdt, "numa-node-id", numa->memory[i].node);
		ret |= fdt_end_node(fdt);
	}
	return ret | put_distances(fdt, numa);
}

static int put_memory(void *fdt, const struct mem_space *space)
{
	int ret = 0;

	for (unsigned int i = 0; i < mem_space_ram_count(space); i++) {
		const struct ram_region *ram = mem_space_ram(space, i);

		ret |= put_memory_node(fdt, ram->base, ram->size);
		ret |= fdt_end_node(fdt);
	}
	return ret;
}

static int put_chosen(void *fdt, const struct fdt_machine *machine, const struct boot_initrd *initrd)
{
	uint64_t kaslr_seed = 0;
	uint8_t rng_seed[32];
	char path[32];
	int ret = fdt_begin_node(fdt, "chosen");

	if (machine->cmdline)
		ret |= fdt_property_string(fdt, "bootargs", machine->cmdline);
	if (machine->serial.size) {
		snprintf(path, sizeof(path), "/pl011@%" PRIx64, machine->serial.base);
		ret |= fdt_property_string(fdt, "stdout-path", path);
	}
	if (initrd->size) {
		ret |= fdt_property_u64(fdt, "linux,initrd-start", initrd->start);
		ret |= fdt_property_u64(fdt, "linux,initrd-end", initrd->start + initrd->size);
	}
	/* New at each start and reset. Not there rather than predictable. */
	if (getrandom(&kaslr_seed, sizeof(kaslr_seed), GRND_NONBLOCK) == sizeof(kaslr_seed))
		ret |= fdt_property_u64(fdt, "kaslr-seed", kaslr_seed);
	if (getrandom(rng_seed, sizeof(rng_seed), GRND_NONBLOCK) == sizeof(rng_seed))
		ret |= fdt_property(fdt, "rng-seed", rng_seed, sizeof(rng_seed));
	return ret | fdt_end_node(fdt);
}

int fdt_build(const struct fdt_machine *machine, const struct boot_initrd *initrd, void **ret, size_t *size,
	      struct error **errp)
{
	void *fdt = xcalloc(1, BOOT_ARM64_FDT_MAX);
	int code = fdt_create(fdt, BOOT_ARM64_FDT_MAX);

	code |= fdt_finish_reservemap(fdt);
	code |= fdt_begin_node(fdt, "");
	code |= fdt_property_string(fdt, "compatible", "linux,dummy-virt");
	code |= fdt_property_string(fdt, "model", "linux,dummy-virt");
	code |= fdt_property_u32(fdt, "#address-cells", 2);
	code |= fdt_property_u32(fdt, "#size-cells", 2);
	code |= fdt_property_u32(fdt, "interrupt-parent", PHANDLE_GIC);
	code |= put_chosen(fdt, machine, initrd);
	code |= machine->numa ? put_numa(fdt, machine->numa) : put_memory(fdt, machine->space);
	code |= put_cpus(fdt, machine);
	code |= put_cpu_features(fdt, machine);
	code |= put_gic(fdt, machine);
	code |= put_devices(fdt, machine);
	code |= fdt_end_node(fdt);
	code |= fdt_finish(fdt);
	if (code) {
		free(fdt);
		return error_set(errp, -E2BIG, "the device tree does not fit %d KiB", (int)(BOOT_ARM64_FDT_MAX / KIB));
	}
	*ret = fdt;
	*size = fdt_totalsize(fdt);
	return 0;
}

/* --- of a file ---------------------------------------------------------------------------------------- */

static int change_chosen(void *fdt, const char *cmdline, const struct boot_initrd *initrd)
{
	int node = fdt_path_offset(fdt, "/chosen");
	int ret = 0;

	if (node < 0)
		node = fdt_add_subnode(fdt, 0, "chosen");
	if (node < 0)
		return node;
	if (cmdline && *cmdline)
		ret = fdt_setprop_string(fdt, node, "bootargs", cmdline);
	if (!ret && initrd->size) {
		ret = fdt_setprop_u64(fdt, node, "linux,initrd-start", initrd->start);
		if (!ret)
			ret = fdt_setprop_u64(fdt, node, "linux,initrd-end", initrd->start + initrd->size);
	}
	return ret;
}

int fdt_read(const char *path, void **ret, struct error **errp)
{
	struct boot_file file = { 0 };
	void *fdt;
	int code;

	code = boot_file_open(&file, "device tree", path, errp);
	if (code)
		return code;
	if (file.size > BOOT_ARM64_FDT_MAX / 2) {
		boot_file_close(&file);
		return error_set(errp, -EFBIG, "device tree '%s' is larger than %d KiB", path,
				 (int)(BOOT_ARM64_FDT_MAX / 2 / KIB));
	}
	fdt = xcalloc(1, file.size);
	code = boot_file_read(&file, 0, fdt, file.size, errp);
	if (!code && fdt_check_full(fdt, file.size))
		code = error_set(errp, -EINVAL, "device tree '%s' is not sound: %s", path,
				 fdt_strerror(fdt_check_full(fdt, file.size)));
	boot_file_close(&file);
	if (code)
		free(fdt);
	else
		*ret = fdt;
	return code;
}

int fdt_change(const void *fdt, const char *cmdline, const struct boot_initrd *initrd, void **ret, size_t *size,
	       struct error **errp)
{
	void *changed = xcalloc(1, BOOT_ARM64_FDT_MAX);
	int code = fdt_open_into(fdt, changed, BOOT_ARM64_FDT_MAX);

	if (!code)
		code = change_chosen(changed, cmdline, initrd);
	if (!code)
		code = fdt_pack(changed);
	if (code) {
		free(changed);
		return error_set(errp, -EINVAL, "the device tree cannot be completed: %s", fdt_strerror(code));
	}
	*ret = changed;
	*size = fdt_totalsize(changed);
	return 0;
}
