/* SPDX-License-Identifier: Apache-2.0 */
/* The registers by which CPUs come and go, between the steps of the machine that adds one. */
#include "devices/cpu_hotplug.h"
#include "fake_machine.h"

#define PLACES 4

static const struct device_class *const classes[] = { &cpu_hotplug_class, NULL };
static struct fake_machine m;
static struct device *registers;
static unsigned int ejected[8], ejects;

static void note(void *opaque, unsigned int index)
{
	(void)opaque;
	ck_assert_uint_lt(ejects, ARRAY_SIZE(ejected));
	ejected[ejects++] = index;
}

/* CPU 0 is there from the start, CPU 1 came. */
static void setup(void)
{
	static const uint64_t arch_ids[PLACES] = { 0, 1, 2, 3 };

	fake_machine_init(&m, classes);
	registers = fake_device(&m, "acpi-cpu-hotplug", "cpus", NULL);
	cpu_hotplug_init_present(registers, arch_ids, PLACES, 1);
	cpu_hotplug_watch(registers, note, NULL);
	ejects = 0;
	ck_assert(cpu_hotplug_reserve(registers, 1));
	cpu_hotplug_add(registers, 1, true);
}

static void select_cpu(uint32_t cpu)
{
	mem_space_io_write(m.platform.space, IO_PORT, CPU_HOTPLUG_PORT + CPU_HOTPLUG_SELECTOR, &cpu, 4);
}

static uint8_t guest_flags(uint32_t cpu)
{
	select_cpu(cpu);
	return inb(&m, CPU_HOTPLUG_PORT + CPU_HOTPLUG_FLAGS);
}

static void guest_ejects(uint32_t cpu)
{
	select_cpu(cpu);
	outb(&m, CPU_HOTPLUG_PORT + CPU_HOTPLUG_FLAGS, CPU_HOTPLUG_EJECT);
}

/* The machine has looked and wants CPU 2; then the guest lets go of CPU 1. */
START_TEST(an_eject_before_the_reservation_is_seen)
{
	setup();
	cpu_hotplug_settle(registers);
	guest_ejects(1);
	ck_assert(!cpu_hotplug_reserve(registers, 2));
	ck_assert_uint_eq(ejects, 0);
	cpu_hotplug_settle(registers);
	ck_assert_uint_eq(ejects, 1);
	ck_assert_uint_eq(ejected[0], 1);
	ck_assert(cpu_hotplug_reserve(registers, 1));
	cpu_hotplug_add(registers, 1, true);
	ck_assert_uint_eq(guest_flags(1), CPU_HOTPLUG_ENABLED | CPU_HOTPLUG_INSERTING);
	fake_machine_release(&m);
}
END_TEST

/* While CPU 2 is being made CPU 1 stays; the guest sees nothing of CPU 2 yet, and cannot eject that either. */
START_TEST(an_eject_after_the_reservation_has_no_effect)
{
	setup();
	cpu_hotplug_ask(registers, 1);
	ck_assert(cpu_hotplug_reserve(registers, 2));
	guest_ejects(1);
	guest_ejects(2);
	cpu_hotplug_settle(registers);
	ck_assert_uint_eq(ejects, 0);
	ck_assert_uint_eq(guest_flags(1) & CPU_HOTPLUG_ENABLED, CPU_HOTPLUG_ENABLED);
	ck_assert_uint_eq(guest_flags(2), 0);
	cpu_hotplug_add(registers, 2, true);
	ck_assert_uint_eq(guest_flags(2), CPU_HOTPLUG_ENABLED | CPU_HOTPLUG_INSERTING);
	guest_ejects(1); /* is not the last one */
	guest_ejects(2);
	guest_ejects(1);
	cpu_hotplug_settle(registers);
	ck_assert_uint_eq(ejects, 2);
	ck_assert_uint_eq(ejected[0], 2);
	ck_assert_uint_eq(ejected[1], 1);
	fake_machine_release(&m);
}
END_TEST

START_TEST(one_that_could_not_be_made_holds_nothing_back)
{
	setup();
	ck_assert(cpu_hotplug_reserve(registers, 2));
	cpu_hotplug_add(registers, 2, false);
	ck_assert_uint_eq(guest_flags(2), 0);
	guest_ejects(1);
	cpu_hotplug_settle(registers);
	ck_assert_uint_eq(ejects, 1);
	fake_machine_release(&m);
}
END_TEST

START_TEST(places_without_a_neighbour_or_with_a_cpu_are_not_reserved)
{
	setup();
	ck_assert(!cpu_hotplug_reserve(registers, 1));
	ck_assert(!cpu_hotplug_reserve(registers, 3));
	ck_assert(!cpu_hotplug_reserve(registers, PLACES));
	ck_assert(cpu_hotplug_reserve(registers, 2));
	fake_machine_release(&m);
}
END_TEST

UNIT_SUITE(suite, "cpu hotplug registers", an_eject_before_the_reservation_is_seen,
	   an_eject_after_the_reservation_has_no_effect, one_that_could_not_be_made_holds_nothing_back,
	   places_without_a_neighbour_or_with_a_cpu_are_not_reserved)
UNIT_MAIN(suite)
