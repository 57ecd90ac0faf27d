/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine around one virtio-mmio device, without a hypervisor: RAM of 2 MiB at 0 and 64 KiB at 16 MiB, an
 * accelerator that has no ioeventfds and counts interrupts, one slot. The test plays driver and vCPU; the loop
 * runs when the test says so. And a driver's half of a split virtqueue.
 */
#ifndef TESTS_VIRTIO_RIG_H
#define TESTS_VIRTIO_RIG_H

#include <string.h>
#include <unistd.h>

#include "../../src/virtio/mmio.h"
#include "unit.h"

#define RIG_RAM (2 * MIB)
#define RIG_HIGH_BASE (16 * MIB)
#define RIG_SLOT 0xf0100000ULL
#define RIG_GSI 5

enum { R_MAGIC = 0, R_VERSION = 4, R_DEVICE_ID = 8, R_VENDOR_ID = 0xc, R_FEATURES = 0x10, R_FEATURES_SEL = 0x14,
       R_DRIVER = 0x20, R_DRIVER_SEL = 0x24, R_QUEUE_SEL = 0x30, R_NUM_MAX = 0x34, R_NUM = 0x38, R_READY = 0x44,
       R_NOTIFY = 0x50, R_ISR = 0x60, R_ACK = 0x64, R_STATUS = 0x70, R_DESC = 0x80, R_AVAIL = 0x90, R_USED = 0xa0,
       R_SHM_LEN = 0xb0, R_QUEUE_RESET = 0xc0, R_GENERATION = 0xfc, R_CONFIG = 0x100 };

#define S_ACK 1
#define S_DRIVER 2
#define S_OK 4
#define S_FEATURES 8
#define S_BROKEN 64

struct rig {
	struct mem_space *space;
	struct ram_backend *ram, *high;
	struct accel accel;
	struct platform platform;
	struct loop *loop;
	struct device *dev;
	struct error *err; /* of the last rig_create() */
	int irq_fd;
	bool slot_taken;
};

static struct rig rig;

static int rig_irqfd(struct accel *accel, uint32_t gsi, int fd, int resample_fd, bool assign)
{
	(void)accel;
	(void)resample_fd;
	ck_assert_uint_eq(gsi, RIG_GSI);
	rig.irq_fd = assign ? fd : -1;
	return 0;
}

static const struct accel_ops rig_accel_ops = { .name = "rig", .irqfd = rig_irqfd };

static int rig_slot_take(struct platform *platform, struct mmio_slot *slot, struct error **errp)
{
	(void)platform;
	(void)errp;
	ck_assert(!rig.slot_taken);
	rig.slot_taken = true;
	*slot = (struct mmio_slot){ RIG_SLOT, 0x200, RIG_GSI };
	return 0;
}

static void rig_slot_release(struct platform *platform, const struct mmio_slot *slot)
{
	(void)platform;
	(void)slot;
	rig.slot_taken = false;
}

static inline void rig_open(const struct device_class *const *classes)
{
	struct ram_config config = { .kind = RAM_ANONYMOUS, .size = RIG_RAM };

	memset(&rig, 0, sizeof(rig));
	rig.irq_fd = -1;
	ck_assert_int_eq(ram_backend_new(&config, &rig.ram, NULL), 0);
	config.size = 64 * KIB;
	ck_assert_int_eq(ram_backend_new(&config, &rig.high, NULL), 0);
	rig.space = mem_space_new();
	ck_assert_int_eq(mem_space_add_ram(rig.space, 0, rig.ram, 0, RIG_RAM, NULL), 0);
	ck_assert_int_eq(mem_space_add_ram(rig.space, RIG_HIGH_BASE, rig.high, 0, 64 * KIB, NULL), 0);
	rig.accel = (struct accel){ .ops = &rig_accel_ops, .space = rig.space, .vm_fd = -1, .max_vcpus = 1 };
	rig.loop = loop_new("rig", NULL);
	rig.platform = (struct platform){
		.space = rig.space, .accel = &rig.accel, .main_loop = rig.loop, .links = link_scope_new(),
		.classes = classes, .mmio_slot_take = rig_slot_take, .mmio_slot_release = rig_slot_release,
	};
	list_init(&rig.platform.devices);
}

/* "virtio-blk-device,drive=d0": NULL when made, else the error's text, valid until the next call. */
static inline const char *rig_create(const char *text)
{
	struct opts *opts;

	error_free(rig.err);
	rig.err = NULL;
	ck_assert_int_eq(opts_parse("-device", text, "driver", &opts, NULL), 0);
	if (device_create(&rig.platform, opts, true, &rig.dev, &rig.err))
		ck_assert_ptr_nonnull(rig.err);
	opts_free(opts);
	return rig.err ? error_text(rig.err) : NULL;
}

/* @free_back_ends: when the devices are gone, and the names of the back ends still there; or NULL. */
static inline void rig_close_with(void (*free_back_ends)(void))
{
	error_free(rig.err);
	devices_destroy(&rig.platform);
	ck_assert(!rig.slot_taken);
	ck_assert_int_eq(rig.irq_fd, -1);
	if (free_back_ends)
		free_back_ends();
	link_scope_free(rig.platform.links);
	loop_free(rig.loop);
	mem_space_free(rig.space);
	ram_backend_free(rig.ram);
	ram_backend_free(rig.high);
}

static inline void rig_close(void)
{
	rig_close_with(NULL);
}

/* --- Registers --- */

static inline uint32_t rd(uint32_t offset)
{
	uint32_t value = 0;

	mem_space_io_read(rig.space, IO_MMIO, RIG_SLOT + offset, &value, 4);
	return value;
}

static inline void wr(uint32_t offset, uint32_t value)
{
	mem_space_io_write(rig.space, IO_MMIO, RIG_SLOT + offset, &value, 4);
}

static inline uint64_t offered(void)
{
	uint64_t low;

	wr(R_FEATURES_SEL, 0);
	low = rd(R_FEATURES);
	wr(R_FEATURES_SEL, 1);
	return low | (uint64_t)rd(R_FEATURES) << 32;
}

static inline bool negotiate(uint64_t features)
{
	wr(R_STATUS, 0);
	wr(R_STATUS, S_ACK);
	wr(R_STATUS, S_ACK | S_DRIVER);
	wr(R_DRIVER_SEL, 0);
	wr(R_DRIVER, (uint32_t)features);
	wr(R_DRIVER_SEL, 1);
	wr(R_DRIVER, (uint32_t)(features >> 32));
	wr(R_STATUS, S_ACK | S_DRIVER | S_FEATURES);
	return rd(R_STATUS) & S_FEATURES;
}

static inline void driver_ok(void)
{
	wr(R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK);
}

/* Interrupts since the last look. */
static inline unsigned int interrupts(void)
{
	uint64_t count = 0;

	return read(rig.irq_fd, &count, sizeof(count)) == sizeof(count) ? (unsigned int)count : 0;
}

/* --- The loop --- */

static bool (*rig_condition)(void);
static int64_t rig_limit_ns;

static void rig_look(struct loop_timer *timer)
{
	if ((rig_condition && rig_condition()) || clock_now_ns() > rig_limit_ns)
		loop_stop(timer->loop);
	else
		loop_timer_set(timer, clock_now_ns() + NSEC_PER_MSEC);
}

/* Runs the loop until the condition holds, at most @ms. Does it hold? */
static inline bool run_until(bool (*condition)(void), unsigned int ms)
{
	static struct loop_timer timer;

	rig_condition = condition;
	rig_limit_ns = clock_now_ns() + ms * NSEC_PER_MSEC;
	loop_timer_init(&timer, rig.loop, rig_look);
	loop_timer_set(&timer, 1);
	loop_run(rig.loop);
	return condition && condition();
}

/* --- A driver's queue --- */

struct drvq {
	uint16_t index, size, seen;
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	uint32_t base;
};

static struct drvq q;

/* Addresses in guest RAM for queue @index. */
static inline void drvq_place(uint16_t index, uint16_t size)
{
	q = (struct drvq){ .index = index, .size = size, .base = 0x10000 * (index + 1) };
	memset(rig.ram->host + q.base, 0, 0x10000);
	q.desc = (void *)(rig.ram->host + q.base);
	q.avail = (void *)(rig.ram->host + q.base + 0x8000);
	q.used = (void *)(rig.ram->host + q.base + 0xa000);
}

static inline void drvq_write_registers(void)
{
	wr(R_QUEUE_SEL, q.index);
	wr(R_NUM, q.size);
	wr(R_DESC, q.base);
	wr(R_DESC + 4, 0);
	wr(R_AVAIL, q.base + 0x8000);
	wr(R_AVAIL + 4, 0);
	wr(R_USED, q.base + 0xa000);
	wr(R_USED + 4, 0);
	wr(R_READY, 1);
}

static inline void drvq_open(uint16_t index, uint16_t size)
{
	drvq_place(index, size);
	drvq_write_registers();
}

static inline void drvq_desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	q.desc[i] = (struct virtq_desc){ cpu_to_le64(addr), cpu_to_le32(len), cpu_to_le16(flags),
					 cpu_to_le16(next) };
}

static inline void drvq_publish(uint16_t head)
{
	uint16_t idx = le16_to_cpu(q.avail->idx);
	void *p = &q.avail->idx;

	q.avail->ring[idx % q.size] = cpu_to_le16(head);
	__atomic_store_n((uint16_t *)p, htole16(idx + 1), __ATOMIC_RELEASE);
}

static inline bool drvq_used(void)
{
	void *p = &q.used->idx;

	return le16toh(__atomic_load_n((uint16_t *)p, __ATOMIC_ACQUIRE)) != q.seen;
}

static inline bool rig_broken(void)
{
	return rd(R_STATUS) & S_BROKEN;
}

/* The next used element's length; fails when none comes. */
static inline uint32_t drvq_wait(uint16_t *head)
{
	struct virtq_used_elem elem;

	ck_assert_msg(run_until(drvq_used, 10000), "nothing used in 10 s, status %#x", rd(R_STATUS));
	elem = q.used->ring[q.seen++ % q.size];
	if (head)
		*head = le32_to_cpu(elem.id);
	return le32_to_cpu(elem.len);
}

#endif
