// SPDX-License-Identifier: Apache-2.0
#define LOG_MODULE "cpu-hotplug"

#include "devices/cpu_hotplug.h"

#include <pthread.h>
#include <stdlib.h>

#include "devices/classes.h"
#include "util/alloc.h"

struct hotplug_cpu {
	uint64_t arch_id;
	bool enabled, inserting, removing;
	bool came; /* is not of those at start: it may go */
	bool coming; /* is being made: the one before it may not go */
	bool gone; /* was ejected, and the machine does not know yet */
};

struct cpu_hotplug {
	struct device dev;
	struct io_region region;
	struct loop_call tell; /* main loop */
	void (*ejected)(void *opaque, unsigned int index);
	void *opaque;

	pthread_mutex_t lock; /* guards the rest */
	struct hotplug_cpu *cpus;
	uint32_t count;
	uint32_t selector;
	uint8_t command;
};

static struct cpu_hotplug *to_hotplug(struct device *dev)
{
	return container_of(dev, struct cpu_hotplug, dev);
}

/* NULL: the selector is beyond the last CPU. */
static struct hotplug_cpu *selected_locked(struct cpu_hotplug *h)
{
	return h->selector < h->count ? &h->cpus[h->selector] : NULL;
}

static uint8_t flags_locked(struct cpu_hotplug *h)
{
	const struct hotplug_cpu *cpu = selected_locked(h);

	if (!cpu)
		return 0;
	return (cpu->enabled ? CPU_HOTPLUG_ENABLED : 0) | (cpu->inserting ? CPU_HOTPLUG_INSERTING : 0) |
	       (cpu->removing ? CPU_HOTPLUG_REMOVING : 0);
}

static uint32_t data_locked(struct cpu_hotplug *h, bool high)
{
	const struct hotplug_cpu *cpu = selected_locked(h);

	if (!cpu)
		return 0;
	if (h->command == CPU_HOTPLUG_NEXT_EVENT)
		return high ? 0 : h->selector;
	if (h->command == CPU_HOTPLUG_ARCH_ID)
		return (uint32_t)(cpu->arch_id >> (high ? 32 : 0));
	return 0;
}

static uint64_t hotplug_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct cpu_hotplug *h = opaque;
	uint64_t value = 0;

	(void)size; /* narrower ones get their part of the double word */
	pthread_mutex_lock(&h->lock);
	if (offset < CPU_HOTPLUG_FLAGS)
		value = data_locked(h, true) >> offset * 8;
	else if (offset == CPU_HOTPLUG_FLAGS)
		value = flags_locked(h);
	else if (offset >= CPU_HOTPLUG_DATA)
		value = data_locked(h, false) >> (offset - CPU_HOTPLUG_DATA) * 8;
	pthread_mutex_unlock(&h->lock);
	return value;
}

/* From the selected CPU on and around. */
static void next_event_locked(struct cpu_hotplug *h)
{
	for (uint32_t i = 0; i < h->count; i++) {
		uint32_t at = (h->selector % h->count + i) % h->count;

		if (h->cpus[at].inserting || h->cpus[at].removing) {
			h->selector = at;
			return;
		}
	}
}

/* For the guest it is gone at once; what that takes here is done by the main loop. */
static void eject_locked(struct cpu_hotplug *h, uint32_t index)
{
	struct hotplug_cpu *cpu = &h->cpus[index];
	bool last = index + 1 == h->count || !(h->cpus[index + 1].enabled || h->cpus[index + 1].coming);

	if (!cpu->enabled || !cpu->came || !last)
		return;
	*cpu = (struct hotplug_cpu){ .arch_id = cpu->arch_id, .gone = true };
	loop_call_schedule(&h->tell);
}

static void write_flags_locked(struct cpu_hotplug *h, uint64_t value)
{
	struct hotplug_cpu *cpu = selected_locked(h);

	if (!cpu)
		return;
	if (value & CPU_HOTPLUG_INSERTING)
		cpu->inserting = false;
	if (value & CPU_HOTPLUG_REMOVING)
		cpu->removing = false;
	if (value & CPU_HOTPLUG_EJECT)
		eject_locked(h, h->selector);
}

static void hotplug_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct cpu_hotplug *h = opaque;

	pthread_mutex_lock(&h->lock);
	if (offset == CPU_HOTPLUG_SELECTOR && size == 4) {
		h->selector = (uint32_t)value;
	} else if (offset == CPU_HOTPLUG_FLAGS && size == 1) {
		write_flags_locked(h, value);
	} else if (offset == CPU_HOTPLUG_COMMAND && size == 1) {
		h->command = (uint8_t)value;
		if (value == CPU_HOTPLUG_NEXT_EVENT)
			next_event_locked(h);
	}
	pthread_mutex_unlock(&h->lock);
}

static const struct io_ops hotplug_ops = {
	.read = hotplug_read,
	.write = hotplug_write,
	.max_size = 4,
};

void cpu_hotplug_init_present(struct device *dev, const uint64_t *arch_ids, unsigned int count,
			      unsigned int present)
{
	struct cpu_hotplug *h = to_hotplug(dev);

	h->cpus = xcalloc(count, sizeof(*h->cpus));
	h->count = count;
	for (unsigned int i = 0; i < count; i++)
		h->cpus[i] = (struct hotplug_cpu){ .arch_id = arch_ids[i], .enabled = i < present };
}

/* The guest may have let go of one since the machine looked: then what would come leaves a gap. */
static bool reserve_locked(struct cpu_hotplug *h, unsigned int index)
{
	if (index >= h->count || h->cpus[index].enabled || (index && !h->cpus[index - 1].enabled))
		return false;
	h->cpus[index].coming = true;
	return true;
}

bool cpu_hotplug_reserve(struct device *dev, unsigned int index)
{
	struct cpu_hotplug *h = to_hotplug(dev);
	bool reserved;

	pthread_mutex_lock(&h->lock);
	reserved = reserve_locked(h, index);
	pthread_mutex_unlock(&h->lock);
	return reserved;
}

void cpu_hotplug_add(struct device *dev, unsigned int index, bool made)
{
	struct cpu_hotplug *h = to_hotplug(dev);

	pthread_mutex_lock(&h->lock);
	h->cpus[index].coming = false;
	if (made) {
		h->cpus[index].enabled = true;
		h->cpus[index].inserting = true;
		h->cpus[index].came = true;
	}
	pthread_mutex_unlock(&h->lock);
}

void cpu_hotplug_ask(struct device *dev, unsigned int index)
{
	struct cpu_hotplug *h = to_hotplug(dev);

	pthread_mutex_lock(&h->lock);
	if (index < h->count && h->cpus[index].enabled)
		h->cpus[index].removing = true;
	pthread_mutex_unlock(&h->lock);
}

void cpu_hotplug_watch(struct device *dev, void (*ejected)(void *opaque, unsigned int index), void *opaque)
{
	struct cpu_hotplug *h = to_hotplug(dev);

	h->ejected = ejected;
	h->opaque = opaque;
}

void cpu_hotplug_settle(struct device *dev)
{
	struct cpu_hotplug *h = to_hotplug(dev);

	for (uint32_t i = h->count; i--;) {
		bool gone;

		pthread_mutex_lock(&h->lock);
		gone = h->cpus[i].gone;
		h->cpus[i].gone = false;
		pthread_mutex_unlock(&h->lock);
		if (gone)
			h->ejected(h->opaque, i);
	}
}

static void tell(struct loop_call *call)
{
	cpu_hotplug_settle(&container_of(call, struct cpu_hotplug, tell)->dev);
}

/* What came stays, unless it was asked to go; that it came is in the tables of the next boot. */
static void hotplug_reset(struct device *dev)
{
	struct cpu_hotplug *h = to_hotplug(dev);

	pthread_mutex_lock(&h->lock);
	for (uint32_t i = h->count; i--;) {
		if (h->cpus[i].removing)
			eject_locked(h, i);
		h->cpus[i].inserting = h->cpus[i].removing = false;
	}
	h->selector = 0;
	h->command = 0;
	pthread_mutex_unlock(&h->lock);
	cpu_hotplug_settle(dev);
}

static int hotplug_realize(struct device *dev, struct error **errp)
{
	struct cpu_hotplug *h = to_hotplug(dev);
	int ret;

	h->region = (struct io_region){
		.name = "acpi-cpu-hotplug",
		.kind = IO_PORT,
		.base = CPU_HOTPLUG_PORT,
		.size = CPU_HOTPLUG_PORTS,
		.ops = &hotplug_ops,
		.opaque = h,
	};
	pthread_mutex_init(&h->lock, NULL);
	loop_call_init(&h->tell, dev->platform->main_loop, tell);
	ret = mem_space_add_io(dev->platform->space, &h->region, errp);
	if (ret)
		pthread_mutex_destroy(&h->lock);
	return ret;
}

static void hotplug_unrealize(struct device *dev)
{
	struct cpu_hotplug *h = to_hotplug(dev);

	mem_space_del_io(dev->platform->space, &h->region);
	loop_call_cancel(&h->tell);
	pthread_mutex_destroy(&h->lock);
	free(h->cpus);
}

const struct device_class cpu_hotplug_class = {
	.name = "acpi-cpu-hotplug",
	.summary = "ACPI CPU hot-plug registers",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct cpu_hotplug),
	.realize = hotplug_realize,
	.unrealize = hotplug_unrealize,
	.reset = hotplug_reset,
};
