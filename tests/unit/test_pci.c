/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI room without a machine: ports 0xCF8 and 0xCFC, lines and their routing, routes of eventfds, BARs that move
 * while others use them. What a guest can do to a whole device is in tests/device.
 */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "pci/host.h"
#include "pci/msix.h"
#include "util/fd.h"

#define ECAM 0xe0000000ULL
#define MEM32 0xc0000000ULL
#define GSI_FIRST 24

static struct {
	struct mem_space *space;
	struct accel accel;
	struct platform platform;
	struct pci_host *host;
	bool lines[PCI_HOST_IRQS];
	unsigned int line_changes, irq_offset;
	struct msi_message sent[8], route;
	unsigned int sent_count;
	int route_gsi, irqfd; /* -1: none */
	unsigned int updates;
} t;

static int fake_signal_msi(struct accel *accel, const struct msi_message *msg)
{
	(void)accel;
	ck_assert_uint_lt(t.sent_count, 8);
	t.sent[t.sent_count++] = *msg;
	return 0;
}

static int fake_route_add(struct accel *accel, const struct msi_message *msg)
{
	(void)accel;
	ck_assert_int_eq(t.route_gsi, -1);
	t.route = *msg;
	return t.route_gsi = GSI_FIRST;
}

static int fake_route_update(struct accel *accel, int gsi, const struct msi_message *msg)
{
	(void)accel;
	ck_assert_int_eq(gsi, t.route_gsi);
	t.route = *msg;
	t.updates++;
	return 0;
}

static void fake_route_del(struct accel *accel, int gsi)
{
	(void)accel;
	ck_assert_int_eq(gsi, t.route_gsi);
	ck_assert_int_eq(t.irqfd, -1);
	t.route_gsi = -1;
}

static int fake_irqfd(struct accel *accel, uint32_t gsi, int fd, int resample_fd, bool assign)
{
	(void)accel;
	(void)resample_fd;
	ck_assert_int_eq((int)gsi, t.route_gsi);
	ck_assert_int_eq(t.irqfd, assign ? -1 : fd);
	t.irqfd = assign ? fd : -1;
	return 0;
}

static const struct accel_ops fake_ops = {
	.name = "fake",
	.signal_msi = fake_signal_msi,
	.msi_route_add = fake_route_add,
	.msi_route_update = fake_route_update,
	.msi_route_del = fake_route_del,
	.irqfd = fake_irqfd,
};

static void set_line(void *opaque, unsigned int line, bool level)
{
	(void)opaque;
	ck_assert(t.lines[line] != level);
	t.lines[line] = level;
	t.line_changes++;
}

static unsigned int map_line(void *opaque, unsigned int slot, unsigned int pin)
{
	(void)opaque;
	return (slot + pin + t.irq_offset) % PCI_HOST_IRQS;
}

#define IO_WINDOW 0x3eff0000ULL

static void setup_with(bool ports, bool map)
{
	const struct pci_host_config config = {
		.platform = &t.platform,
		.root_bus = "pcie.0",
		.ecam = { ECAM, 256 * MIB },
		.config_ports = ports,
		.io = { 0x1000, 0xf000 },
		.mem32 = { MEM32, 512 * MIB },
		.mem64 = { 64 * GIB, 64 * GIB },
		.irq_set = set_line,
		.irq_map = map ? map_line : NULL,
		.io_is_memory = !ports, /* a PC has both, other machines neither */
		.io_memory_base = IO_WINDOW,
	};

	memset(&t, 0, sizeof(t));
	t.route_gsi = t.irqfd = -1;
	t.space = mem_space_new();
	t.accel = (struct accel){ .ops = &fake_ops, .space = t.space, .vm_fd = -1 };
	t.platform = (struct platform){ .space = t.space, .accel = &t.accel };
	list_init(&t.platform.devices);
	ck_assert_int_eq(pci_host_new(&config, &t.host, NULL), 0);
	ck_assert_ptr_eq(t.platform.pci, t.host);
}

static void setup(void)
{
	setup_with(true, false);
}

static void teardown(void)
{
	struct io_region none;

	pci_host_free(t.host);
	ck_assert_ptr_null(t.platform.pci);
	ck_assert(!mem_space_io(t.space, IO_MMIO, 0, &none));
	ck_assert(!mem_space_io(t.space, IO_PORT, 0, &none));
	mem_space_free(t.space);
}

/* --- A function with a BAR of each kind --- */

struct thing {
	struct pci_device pci;
	uint8_t registers[4096];
};

static uint64_t thing_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct thing *thing = opaque;

	(void)size;
	return thing->registers[offset];
}

static void thing_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct thing *thing = opaque;

	(void)size;
	thing->registers[offset] = (uint8_t)value;
}

static const struct io_ops thing_ops = { .read = thing_read, .write = thing_write, .max_size = 1 };
static const struct device_class thing_class = { .name = "thing" };

static struct thing *thing_new(const char *addr, unsigned int vectors)
{
	const struct pci_ids ids = { .vendor = 0x1234, .device = 0x5678, .class = PCI_CLASS_SYSTEM_OTHER };
	struct thing *thing = calloc(1, sizeof(*thing));

	thing->pci.dev.class = &thing_class;
	thing->pci.dev.id = strdup(addr);
	thing->pci.dev.platform = &t.platform;
	thing->pci.place.addr = thing->pci.dev.id;
	pci_function_init(&thing->pci.fn, &thing->pci.dev, &ids, NULL);
	pci_add_bar(&thing->pci.fn, 0, PCI_BAR_IO, 16, &thing_ops, thing);
	pci_add_bar(&thing->pci.fn, 2, PCI_BAR_MEM64 | PCI_BAR_PREFETCH, 4096, &thing_ops, thing);
	pci_set_interrupt_pin(&thing->pci.fn, 1);
	if (vectors)
		ck_assert_int_eq(pci_msix_init(&thing->pci.fn, vectors, 1, NULL), 0);
	ck_assert_int_eq(pci_function_attach(&thing->pci.fn, &thing->pci.place, NULL), 0);
	return thing;
}

static void thing_free(struct thing *thing)
{
	pci_device_unrealize(&thing->pci.dev);
	free(thing->pci.dev.id);
	free(thing);
}

static uint32_t io(enum io_kind kind, uint64_t addr, unsigned int size)
{
	uint32_t value = 0;

	mem_space_io_read(t.space, kind, addr, &value, size);
	return value;
}

static void io_set(enum io_kind kind, uint64_t addr, unsigned int size, uint32_t value)
{
	mem_space_io_write(t.space, kind, addr, &value, size);
}

static void config_set(const struct thing *thing, unsigned int offset, unsigned int size, uint32_t value)
{
	io_set(IO_MMIO, ECAM + thing->pci.fn.devfn * 4096ULL + offset, size, value);
}

/* --- Ports --- */

START_TEST(config_ports_reach_the_same_registers)
{
	struct thing *thing = thing_new("3", 0);

	ck_assert_uint_eq(io(IO_PORT, 0xcf8, 4), 0);
	ck_assert_uint_eq(io(IO_PORT, 0xcfc, 4), 0xffffffff);
	io_set(IO_PORT, 0xcf8, 4, 0x80001800);
	ck_assert_uint_eq(io(IO_PORT, 0xcfc, 4), 0x56781234);
	ck_assert_uint_eq(io(IO_PORT, 0xcfe, 2), 0x5678);
	ck_assert_uint_eq(io(IO_PORT, 0xcfd, 1), 0x12);
	/* Over the end of the data register: two accesses, of which one reaches nothing. */
	ck_assert_uint_eq(io(IO_PORT, 0xcfe, 4), 0xffff5678);
	io_set(IO_PORT, 0xcf8, 4, 0x8000183c);
	io_set(IO_PORT, 0xcfc, 1, 0x5a);
	ck_assert_uint_eq(io(IO_MMIO, ECAM + 0x18000 + 0x3c, 2), 0x015a);
	/* Reserved bits are not there; without the enable bit, nothing is. */
	io_set(IO_PORT, 0xcf8, 4, 0xffffffff);
	ck_assert_uint_eq(io(IO_PORT, 0xcf8, 4), 0x80fffffc);
	io_set(IO_PORT, 0xcf8, 4, 0x00001800);
	ck_assert_uint_eq(io(IO_PORT, 0xcfc, 4), 0xffffffff);
	/* Bytes and words at 0xcf8 are no address. */
	io_set(IO_PORT, 0xcf8, 1, 0x55);
	io_set(IO_PORT, 0xcfa, 2, 0x5555);
	ck_assert_uint_eq(io(IO_PORT, 0xcf8, 4), 0x00001800);
	ck_assert_uint_eq(io(IO_PORT, 0xcf9, 1), 0xff);
	thing_free(thing);
}
END_TEST

START_TEST(the_ecam_window_moves_and_yields)
{
	struct thing *thing = thing_new("1", 0);

	ck_assert_int_eq(pci_host_set_ecam(t.host, 0xd0000000, 64 * MIB), 0);
	ck_assert_uint_eq(io(IO_MMIO, ECAM + 0x8000, 4), 0xffffffff);
	ck_assert_uint_eq(io(IO_MMIO, 0xd0008000, 4), 0x56781234);
	ck_assert_int_eq(pci_host_set_ecam(t.host, 0, 0), 0);
	ck_assert_uint_eq(io(IO_MMIO, 0xd0008000, 4), 0xffffffff);
	pci_host_reset(t.host);
	ck_assert_uint_eq(io(IO_MMIO, ECAM + 0x8000, 4), 0x56781234);
	thing_free(thing);
}
END_TEST

/* --- BARs --- */

START_TEST(bars_are_where_the_registers_say)
{
	struct thing *thing = thing_new("2", 0);

	thing->registers[3] = 0x77;
	config_set(thing, PCI_BASE_ADDRESS_0, 4, 0x2000);
	config_set(thing, PCI_BASE_ADDRESS_0 + 8, 4, 0x40000000);
	config_set(thing, PCI_BASE_ADDRESS_0 + 12, 4, 16);
	ck_assert_uint_eq(io(IO_PORT, 0x2003, 1), 0xff);
	config_set(thing, PCI_COMMAND, 2, PCI_COMMAND_IO);
	ck_assert_uint_eq(io(IO_PORT, 0x2003, 1), 0x77);
	ck_assert_uint_eq(io(IO_MMIO, 65 * GIB + 3, 1), 0xff);
	config_set(thing, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(io(IO_MMIO, 65 * GIB + 3, 1), 0x77);
	/* Below the window of ports, and on one of another device. */
	config_set(thing, PCI_BASE_ADDRESS_0, 4, 0x0cf0);
	ck_assert_uint_eq(io(IO_PORT, 0x2003, 1), 0xff);
	ck_assert_uint_eq(io(IO_PORT, 0xcf3, 1), 0xff);
	pci_device_reset(&thing->pci.dev);
	ck_assert_uint_eq(io(IO_MMIO, 65 * GIB + 3, 1), 0xff);
	thing_free(thing);
}
END_TEST

START_TEST(ports_may_lie_in_memory)
{
	struct thing *thing;

	teardown();
	setup_with(false, false);
	thing = thing_new("2", 0);
	thing->registers[3] = 0x77;
	config_set(thing, PCI_BASE_ADDRESS_0, 4, 0x2000);
	config_set(thing, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(io(IO_MMIO, IO_WINDOW + 0x1003, 1), 0xff);
	config_set(thing, PCI_COMMAND, 2, PCI_COMMAND_IO);
	ck_assert_uint_eq(io(IO_MMIO, IO_WINDOW + 0x1003, 1), 0x77);
	ck_assert_uint_eq(io(IO_PORT, 0x2003, 1), 0xff);
	config_set(thing, PCI_INTERRUPT_LINE, 1, 5); /* changes nothing about it */
	ck_assert_uint_eq(io(IO_MMIO, IO_WINDOW + 0x1003, 1), 0x77);
	config_set(thing, PCI_BASE_ADDRESS_0, 4, 0x3000);
	ck_assert_uint_eq(io(IO_MMIO, IO_WINDOW + 0x1003, 1), 0xff);
	ck_assert_uint_eq(io(IO_MMIO, IO_WINDOW + 0x2003, 1), 0x77);
	thing_free(thing);
}
END_TEST

static _Atomic bool moving;

static void *reader(void *opaque)
{
	struct thing *thing = opaque;

	while (atomic_load(&moving)) {
		uint32_t value = io(IO_MMIO, MEM32 + 0x100000 + 5, 1);

		ck_assert(value == 0x42 || value == 0xff);
		value = io(IO_MMIO, ECAM + thing->pci.fn.devfn * 4096ULL, 4);
		ck_assert_uint_eq(value, 0x56781234);
	}
	return NULL;
}

START_TEST(bars_move_while_others_look)
{
	struct thing *thing = thing_new("2", 0);
	pthread_t threads[2];

	thing->registers[5] = 0x42;
	config_set(thing, PCI_BASE_ADDRESS_0 + 8, 4, MEM32 + 0x100000);
	config_set(thing, PCI_BASE_ADDRESS_0 + 12, 4, 0);
	atomic_store(&moving, true);
	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, reader, thing);
	for (unsigned int i = 0; i < 2000; i++) {
		config_set(thing, PCI_COMMAND, 2, i % 2 ? PCI_COMMAND_MEMORY : 0);
		if (i % 16 == 0)
			config_set(thing, PCI_BASE_ADDRESS_0 + 8, 4, i % 32 ? MEM32 : MEM32 + 0x100000);
	}
	atomic_store(&moving, false);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	thing_free(thing);
}
END_TEST

/* --- Lines --- */

START_TEST(lines_are_shared_and_rerouted)
{
	struct thing *a, *b;

	teardown();
	setup_with(false, true);
	a = thing_new("1", 0);
	b = thing_new("9", 0);
	pci_intx_set(&a->pci.fn, true);
	ck_assert(t.lines[1]);
	pci_intx_set(&b->pci.fn, true);
	pci_intx_set(&a->pci.fn, false);
	ck_assert(t.lines[1]);
	ck_assert_uint_eq(t.line_changes, 1);
	config_set(b, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	ck_assert(!t.lines[1]);
	config_set(b, PCI_COMMAND, 2, 0);
	ck_assert(t.lines[1]);
	thing_free(b);
	ck_assert(!t.lines[1]);
	pci_intx_set(&a->pci.fn, true);
	thing_free(a);
	ck_assert(!t.lines[1]);
}
END_TEST

static void turn(void *opaque)
{
	(void)opaque;
	t.irq_offset = 3;
}

START_TEST(a_held_line_follows_the_routing)
{
	struct thing *a;

	teardown();
	setup_with(false, true);
	a = thing_new("1", 0);
	pci_intx_set(&a->pci.fn, true);
	pci_host_reroute(t.host, turn, NULL);
	ck_assert(!t.lines[1] && t.lines[4]);
	thing_free(a);
	ck_assert(!t.lines[4]);
}
END_TEST

/* --- MSI-X --- */

static void vector_set(const struct thing *thing, unsigned int vector, uint32_t data, bool masked)
{
	uint64_t entry = MEM32 + 16 * vector;

	(void)thing;
	io_set(IO_MMIO, entry, 4, 0xfee00000);
	io_set(IO_MMIO, entry + 8, 4, data);
	io_set(IO_MMIO, entry + 12, 4, masked);
}

static struct thing *thing_with_vectors(unsigned int vectors)
{
	struct thing *thing = thing_new("2.0", vectors);

	config_set(thing, PCI_BASE_ADDRESS_0 + 4, 4, MEM32);
	config_set(thing, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	config_set(thing, 0x42, 2, PCI_MSIX_FLAGS_ENABLE);
	return thing;
}

START_TEST(messages_need_no_route)
{
	struct thing *thing = thing_with_vectors(2048);

	vector_set(thing, 2047, 0x99, false);
	pci_msix_notify(&thing->pci.fn, 2047);
	ck_assert_uint_eq(t.sent_count, 1);
	ck_assert_uint_eq(t.sent[0].address, 0xfee00000);
	ck_assert_uint_eq(t.sent[0].data, 0x99);
	ck_assert_uint_eq(t.sent[0].device_id, 0x10);
	ck_assert_int_eq(t.route_gsi, -1);
	pci_msix_notify(&thing->pci.fn, 2048);
	pci_msix_notify(&thing->pci.fn, PCI_MSIX_NO_VECTOR);
	config_set(thing, 0x42, 2, 0);
	pci_msix_notify(&thing->pci.fn, 2047);
	ck_assert_uint_eq(t.sent_count, 1);
	thing_free(thing);
}
END_TEST

START_TEST(an_eventfd_has_a_route_while_it_is_not_masked)
{
	struct thing *thing = thing_with_vectors(4);
	struct pci_function *fn = &thing->pci.fn;
	int fd = eventfd_new();

	vector_set(thing, 1, 0x41, true);
	ck_assert_int_eq(pci_msix_set_eventfd(fn, 1, fd), 0);
	ck_assert_int_eq(t.route_gsi, -1);
	/* Masked: what is written shows as pending, and goes out by itself when that ends. */
	ck_assert_uint_eq(io(IO_MMIO, MEM32 + 2048, 4), 0);
	eventfd_signal(fd);
	ck_assert_uint_eq(io(IO_MMIO, MEM32 + 2048, 4), 2);
	io_set(IO_MMIO, MEM32 + 16 + 12, 4, 0);
	ck_assert_int_eq(t.irqfd, fd);
	ck_assert(eventfd_consume(fd)); /* which the accelerator finds there */
	ck_assert_uint_eq(t.sent_count, 0);
	ck_assert_uint_eq(t.route.data, 0x41);
	/* A new message, as an interrupt moves to another CPU. */
	io_set(IO_MMIO, MEM32 + 16 + 8, 4, 0x55);
	ck_assert_uint_eq(t.route.data, 0x55);
	ck_assert_uint_eq(t.updates, 1);
	config_set(thing, 0x42, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	ck_assert_int_eq(t.irqfd, -1);
	config_set(thing, 0x42, 2, PCI_MSIX_FLAGS_ENABLE);
	ck_assert_int_eq(t.irqfd, fd);
	ck_assert_int_eq(pci_msix_set_eventfd(fn, 1, -1), 0);
	ck_assert_int_eq(t.irqfd, -1);
	ck_assert_int_eq(t.route_gsi, -1);
	/* A reset ends it, too; and what goes takes it along. */
	ck_assert_int_eq(pci_msix_set_eventfd(fn, 1, fd), 0);
	pci_device_reset(&thing->pci.dev);
	ck_assert_int_eq(t.irqfd, -1);
	ck_assert_int_eq(pci_msix_set_eventfd(fn, 1, -1), 0);
	ck_assert_int_eq(pci_msix_set_eventfd(fn, 4, fd), -EINVAL);
	config_set(thing, PCI_BASE_ADDRESS_0 + 4, 4, MEM32);
	config_set(thing, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	config_set(thing, 0x42, 2, PCI_MSIX_FLAGS_ENABLE);
	vector_set(thing, 3, 1, false);
	ck_assert_int_eq(pci_msix_set_eventfd(fn, 3, fd), 0);
	ck_assert_int_eq(t.irqfd, fd);
	thing_free(thing);
	ck_assert_int_eq(t.irqfd, -1);
	ck_assert_int_eq(t.route_gsi, -1);
	close(fd);
}
END_TEST

/* Whoever else has the eventfd, another process perhaps, can make it one that blocks. */
START_TEST(pending_bits_wait_for_nobody)
{
	struct thing *thing = thing_with_vectors(4);
	int fd = eventfd_new();

	vector_set(thing, 1, 0x41, true);
	ck_assert_int_eq(pci_msix_set_eventfd(&thing->pci.fn, 1, fd), 0);
	ck_assert_int_eq(fd_set_nonblock(fd, false), 0);
	ck_assert_uint_eq(io(IO_MMIO, MEM32 + 2048, 4), 0);
	eventfd_signal(fd);
	ck_assert_uint_eq(io(IO_MMIO, MEM32 + 2048, 4), 2);
	thing_free(thing);
	close(fd);
}
END_TEST

START_TEST(capabilities_have_an_end)
{
	struct thing *thing = thing_new("2", 0);
	struct error *err = NULL;
	int last = 0, cap;

	while ((cap = pci_add_capability(&thing->pci.fn, PCI_CAP_ID_VENDOR, 60, &err)) >= 0)
		last = cap;
	ck_assert_int_eq(cap, -ENOSPC);
	ck_assert_int_eq(last, 0x40 + 2 * 60);
	ck_assert_error(err, "there is no room for PCI capability 9 of 60 bytes");
	thing_free(thing);
}
END_TEST

static Suite *suite(void)
{
	const TTest *tests[] = {
		config_ports_reach_the_same_registers, the_ecam_window_moves_and_yields, bars_are_where_the_registers_say,
		ports_may_lie_in_memory, bars_move_while_others_look, lines_are_shared_and_rerouted, a_held_line_follows_the_routing,
		messages_need_no_route, an_eventfd_has_a_route_while_it_is_not_masked, pending_bits_wait_for_nobody,
		capabilities_have_an_end,
	};
	Suite *s = suite_create("pci");
	TCase *tcase = tcase_create("pci");

	tcase_set_timeout(tcase, 30);
	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(s, tcase);
	return s;
}

UNIT_MAIN(suite)
