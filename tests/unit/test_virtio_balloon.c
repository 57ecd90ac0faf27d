/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon: memory that goes back and what must stay, sizes, statistics, and drivers that
 * lie. */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "virtio/balloon.h"
#include "virtio/classes.h"
#include "virtio_rig.h"

#define F_STATS 2ULL
#define F_OOM 4ULL
#define F_REPORTING 32ULL
#define PAGE 4096
#define LIST 0x100000 /* guest addresses: page lists, ... */
#define DATA 0x180000 /* ... and the pages that are given away */

static unsigned int events;
static uint64_t last_actual;

static void on_event(struct platform *platform, enum device_event what,
		     const struct device_event_info *info)
{
	(void)platform;
	ck_assert_int_eq(what, DEVICE_EVENT_BALLOON);
	events++;
	last_actual = info->actual;
}

static void setup(void)
{
	static const struct device_class *const classes[] = { &virtio_balloon_mmio_class, NULL };

	rig_open(classes);
	rig.platform.event = on_event;
	events = 0;
}

static void make(const char *text)
{
	const char *why = rig_create(text);

	ck_assert_msg(!why, "%s", why);
}

static void drive(uint64_t features, unsigned int queues)
{
	ck_assert(negotiate(VIRTIO_F_VERSION_1 | features));
	for (unsigned int i = queues; i-- > 0;)
		drvq_open((uint16_t)i, 16);
	driver_ok();
}

static bool resident(const void *host)
{
	unsigned char state = 0;

	ck_assert_int_eq(mincore((void *)(uintptr_t)host, PAGE, &state), 0);
	return state & 1;
}

static void list(unsigned int index, uint32_t pfn)
{
	memcpy(rig.ram->host + LIST + index * 4, &(uint32_t){ htole32(pfn) }, 4);
}

static void give(uint32_t bytes)
{
	drvq_desc(0, LIST, bytes, 0, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	ck_assert_uint_eq(drvq_wait(NULL), 0);
}

START_TEST(options)
{
	make("virtio-balloon-device,id=b0");
	ck_assert_uint_eq(rd(R_DEVICE_ID), 5);
	ck_assert_uint_eq(offered() & 0x3f, F_STATS);
	ck_assert_ptr_eq(balloon_find(&rig.platform), rig.dev);
	rig.slot_taken = false;
	ck_assert_ptr_nonnull(
		strstr(rig_create("virtio-balloon-device"), "has a balloon already: 'b0'"));
	rig.slot_taken = true;
	device_destroy(balloon_find(&rig.platform));
	ck_assert_ptr_null(balloon_find(&rig.platform));
	make("virtio-balloon-device,deflate-on-oom=on,free-page-reporting=on");
	ck_assert_uint_eq(offered() & 0x3f, F_STATS | F_OOM | F_REPORTING);
}
END_TEST

START_TEST(huge_pages_are_refused)
{
	struct ram_backend fake = {
		.host = rig.ram->host, .size = 2 * MIB, .page_size = 2 * MIB, .fd = -1
	};
	const char *why;

	ck_assert_int_eq(mem_space_add_ram(rig.space, GIB, &fake, 0, 2 * MIB, NULL), 0);
	why = rig_create("virtio-balloon-device,id=b0");
	ck_assert_ptr_nonnull(why);
	ck_assert_ptr_nonnull(strstr(why, "huge pages of 2M"));
	ck_assert(!rig.slot_taken);
}
END_TEST

/* As where there is a balloon for its statistics. */
START_TEST(huge_pages_stay_with_the_guest)
{
	struct ram_backend fake = {
		.host = rig.ram->host, .size = 2 * MIB, .page_size = 2 * MIB, .fd = -1
	};
	uint8_t *data = rig.ram->host + DATA;
	struct error *err = NULL;
	uint64_t total;

	make("virtio-balloon-device,id=b0");
	ck_assert_int_eq(mem_space_add_ram(rig.space, GIB, &fake, 0, 2 * MIB, NULL), 0);
	total = mem_space_ram_total(rig.space);
	ck_assert_int_eq(balloon_set_target(rig.dev, total - MIB, &err), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(error_text(err), "huge pages of 2M"));
	error_free(err);
	ck_assert_uint_eq(rd(R_CONFIG), 0);
	ck_assert_int_eq(balloon_set_target(rig.dev, total, NULL), 0);
	drive(0, 2);
	memset(data, 1, PAGE);
	list(0, (GIB + DATA) / PAGE);
	give(4);
	ck_assert_uint_eq(data[0], 1);
}
END_TEST

START_TEST(pages_go_back_and_neighbours_stay)
{
	uint8_t *data = rig.ram->host + DATA;
	const uint32_t first = DATA / PAGE;

	make("virtio-balloon-device");
	drive(F_STATS, 1);
	madvise(rig.ram->host, RIG_RAM, MADV_NOHUGEPAGE);
	memset(data, 0x5a, 16 * PAGE);
	/* In descending order, with a gap and a duplicate. */
	list(0, first + 4);
	list(1, first + 3);
	list(2, first + 1);
	list(3, first + 3);
	list(4, first + 2);
	list(5, first + 8);
	give(24);
	for (unsigned int i = 0; i < 16; i++)
		ck_assert_msg(resident(data + i * PAGE) == !((i >= 1 && i <= 4) || i == 8),
			      "page %u", i);
	ck_assert_uint_eq(data[0], 0x5a);
	ck_assert_uint_eq(data[PAGE], 0);
	/* Deflating costs nothing: the page is there when it is touched. */
	ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_STATS));
	drvq_open(1, 16);
	driver_ok();
	drvq_desc(0, LIST, 24, 0, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 1);
	ck_assert_uint_eq(drvq_wait(NULL), 0);
	ck_assert_uint_eq(data[0], 0x5a);
	data[PAGE] = 1;
	ck_assert_uint_eq(data[PAGE], 1);
}
END_TEST

START_TEST(shared_memory_leaves_the_file)
{
	struct ram_config config = { .kind = RAM_MEMFD, .size = MIB, .share = true };
	struct ram_backend *shared;
	const uint32_t first = (uint32_t)(GIB / PAGE);

	ck_assert_int_eq(ram_backend_new(&config, &shared, NULL), 0);
	/* The region begins inside of the back end: offsets must add up. */
	ck_assert_int_eq(mem_space_add_ram(rig.space, GIB, shared, 512 * KIB, 512 * KIB, NULL), 0);
	memset(shared->host, 0x77, MIB);
	make("virtio-balloon-device");
	drive(F_STATS, 1);
	list(0, first + 1);
	list(1, first + 2);
	give(8);
	for (unsigned int i = 0; i < MIB / PAGE; i++) {
		unsigned int inside = 512 * KIB / PAGE;
		bool gone = i == inside + 1 || i == inside + 2;

		ck_assert_msg(resident(shared->host + i * PAGE) == !gone, "page %u", i);
	}
	rig_close();
	ram_backend_free(shared);
	setup();
}
END_TEST

START_TEST(pages_outside_of_memory)
{
	make("virtio-balloon-device");
	drive(F_STATS, 1);
	memset(rig.ram->host + DATA, 0x5a, PAGE);
	list(0, 0xffffffff);
	list(1, 0xfffffffe);
	list(2, RIG_RAM / PAGE); /* right behind */
	list(3, 0x80000000);
	list(4, (uint32_t)(RIG_HIGH_BASE / PAGE) - 1);
	list(5, (uint32_t)(RIG_HIGH_BASE / PAGE) + 16);
	list(6, DATA / PAGE);
	give(28);
	ck_assert(!rig_broken());
	ck_assert_uint_eq(rig.ram->host[DATA], 0); /* the good one went */
	give(7);				   /* a number and a piece */
	ck_assert(!rig_broken());
}
END_TEST

/* split-header: page numbers across descriptors, at every byte. */
START_TEST(split_header)
{
	make("virtio-balloon-device");
	drive(F_STATS, 1);
	madvise(rig.ram->host, RIG_RAM, MADV_NOHUGEPAGE);
	for (unsigned int cut = 1; cut < 12; cut++) {
		memset(rig.ram->host + DATA, 0x5a, 3 * PAGE);
		for (unsigned int i = 0; i < 3; i++)
			list(i, DATA / PAGE + i);
		drvq_desc(0, LIST, cut, VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, LIST + cut, 12 - cut, 0, 0);
		drvq_publish(0);
		wr(R_NOTIFY, 0);
		drvq_wait(NULL);
		for (unsigned int i = 0; i < 3; i++)
			ck_assert_uint_eq(rig.ram->host[DATA + i * PAGE], 0);
	}
}
END_TEST

static unsigned int turns;

static void count_turn(struct loop_timer *timer)
{
	turns++;
	loop_timer_set(timer, 1);
}

/* A list of half a million numbers is worked on in turns, and others have theirs in between. */
START_TEST(io_hijack)
{
	uint32_t *numbers = (uint32_t *)(void *)(rig.ram->host + LIST);
	struct loop_timer other;

	make("virtio-balloon-device");
	drive(F_STATS, 1);
	for (unsigned int i = 0; i < 512 * KIB / 4; i++)
		numbers[i] = htole32(0x1000000 + i * 2); /* no two neighbours */
	numbers[512 * KIB / 4 - 1] = htole32(0x1f0);
	rig.ram->host[0x1f0000] = 1;
	for (unsigned int i = 0; i < 4; i++)
		drvq_desc(i, LIST, 512 * KIB, i < 3 ? VIRTQ_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	drvq_publish(0);
	wr(R_NOTIFY, 0);
	turns = 0;
	loop_timer_init(&other, rig.loop, count_turn);
	loop_timer_set(&other, 1);
	drvq_wait(NULL);
	loop_timer_cancel(&other);
	ck_assert_uint_ge(turns, 500);
	ck_assert_uint_eq(rig.ram->host[0x1f0000], 0);
}
END_TEST

START_TEST(sizes)
{
	const uint64_t total = RIG_RAM + 64 * KIB;

	make("virtio-balloon-device");
	ck_assert_uint_eq(balloon_actual(rig.dev), total);
	ck_assert_int_eq(balloon_set_target(rig.dev, total - MIB, NULL), 0); /* before there is a driver */
	ck_assert_uint_eq(rd(R_CONFIG), 256);
	drive(F_STATS, 1);
	interrupts();
	ck_assert_int_eq(balloon_set_target(rig.dev, total - 2 * MIB, NULL), 0);
	ck_assert_uint_eq(rd(R_CONFIG), 512);
	ck_assert_uint_eq(interrupts(), 1);
	ck_assert_uint_eq(rd(R_ISR) & 2, 2);
	wr(R_CONFIG + 4, 512);
	wr(R_CONFIG, 0); /* not the driver's field */
	ck_assert_uint_eq(rd(R_CONFIG), 512);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 512);
	ck_assert_uint_eq(interrupts(), 0);
	ck_assert_uint_eq(balloon_actual(rig.dev), total - 2 * MIB);
	ck_assert_uint_eq(events, 0);
	ck_assert(!run_until(NULL, 5));
	ck_assert_uint_eq(events, 1);
	ck_assert_uint_eq(last_actual, total - 2 * MIB);
	/* More than there is, in each direction. */
	wr(R_CONFIG + 4, 0xffffffff);
	ck_assert_uint_eq(balloon_actual(rig.dev), 0);
	ck_assert_int_eq(balloon_set_target(rig.dev, UINT64_MAX, NULL), 0);
	ck_assert_uint_eq(rd(R_CONFIG), 0);
	ck_assert_int_eq(balloon_set_target(rig.dev, total - MIB, NULL), 0);
	/* A reset empties the balloon; what is asked for stays. */
	wr(R_STATUS, 0);
	ck_assert_uint_eq(rd(R_CONFIG), 256);
	ck_assert_uint_eq(rd(R_CONFIG + 4), 0);
	ck_assert(!run_until(NULL, 5));
	ck_assert_uint_eq(last_actual, total);
}
END_TEST

static uint64_t stat_of(const char *name)
{
	const struct device_value *value = rig.dev->class->values;
	struct json_object *all, *member;
	uint64_t ret;

	ck_assert_str_eq(value->name, "guest-stats");
	all = value->get(rig.dev);
	if (strcmp(name, "last-update"))
		ck_assert(json_object_object_get_ex(all, "stats", &member) &&
			  json_object_object_get_ex(member, name, &member));
	else
		ck_assert(json_object_object_get_ex(all, name, &member));
	ret = json_object_get_uint64(member);
	json_object_put(all);
	return ret;
}

static int set_interval(struct json_object *value)
{
	const struct device_value *v = &rig.dev->class->values[1];
	struct error *err = NULL;
	int ret;

	ck_assert_str_eq(v->name, "guest-stats-polling-interval");
	ret = v->set(rig.dev, value, &err);
	ck_assert((err != NULL) == (ret != 0));
	error_free(err);
	json_object_put(value);
	return ret;
}

static void post_stats(uint64_t free_memory)
{
	uint8_t *p = rig.ram->host + LIST;

	memcpy(p, "\4\0", 2);
	memcpy(p + 2, &(uint64_t){ htole64(free_memory) }, 8);
	memcpy(p + 10, "\xff\xff", 2); /* a tag of later times */
	memset(p + 12, 0x11, 8);
	drvq_desc(0, LIST, 20, 0, 0);
	drvq_publish(0);
	wr(R_NOTIFY, 2);
}

static bool stats_came(void)
{
	return stat_of("stat-free-memory") != UINT64_MAX;
}

START_TEST(statistics)
{
	make("virtio-balloon-device");
	ck_assert_uint_eq(stat_of("last-update"), 0);
	ck_assert_uint_eq(stat_of("stat-free-memory"), UINT64_MAX);
	ck_assert_int_eq(set_interval(json_object_new_int(-1)), -ERANGE);
	ck_assert_int_eq(set_interval(json_object_new_string("1")), -EINVAL);
	ck_assert_int_eq(set_interval(NULL), -EINVAL);
	ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_STATS));
	drvq_open(2, 16);
	driver_ok();
	post_stats(12345);
	ck_assert(run_until(stats_came, 5000));
	ck_assert_uint_eq(stat_of("stat-free-memory"), 12345);
	ck_assert_uint_eq(stat_of("stat-swap-in"), UINT64_MAX);
	ck_assert_uint_gt(stat_of("last-update"), 0);
	ck_assert(!run_until(drvq_used, 20)); /* the buffer stays until it is asked for */
	/* A pause in between. */
	devices_quiesce(&rig.platform);
	devices_resume(&rig.platform);
	ck_assert(!run_until(drvq_used, 20));
	ck_assert_int_eq(set_interval(json_object_new_int(1)), 0);
	ck_assert(run_until(drvq_used, 100));
	drvq_wait(NULL);
	post_stats(777);
	drvq_wait(NULL); /* the next poll, a second later */
	ck_assert_uint_eq(stat_of("stat-free-memory"), 777);
	ck_assert_int_eq(set_interval(json_object_new_int(0)), 0);
	post_stats(778);
	ck_assert(!run_until(drvq_used, 1200));
	wr(R_STATUS, 0);
	ck_assert_uint_eq(stat_of("stat-free-memory"), UINT64_MAX);
}
END_TEST

START_TEST(reporting)
{
	uint8_t *data = rig.ram->host + DATA;

	for (unsigned int stats = 0; stats < 2; stats++) {
		if (stats)
			device_destroy(rig.dev);
		make("virtio-balloon-device,free-page-reporting=on");
		ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_REPORTING | (stats ? F_STATS : 0)));
		/* Queues that are not there leave no gap. */
		drvq_open(stats ? 3 : 2, 16);
		driver_ok();
		madvise(rig.ram->host, RIG_RAM, MADV_NOHUGEPAGE);
		memset(data, 0x5a, 8 * PAGE);
		drvq_desc(0, DATA + PAGE, 2 * PAGE, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 1);
		drvq_desc(1, DATA + 5 * PAGE - 100, PAGE + 200, VIRTQ_DESC_F_WRITE, 0);
		drvq_publish(0);
		wr(R_NOTIFY, q.index);
		drvq_wait(NULL);
		for (unsigned int i = 0; i < 8; i++)
			ck_assert_msg(resident(data + i * PAGE) == !(i == 1 || i == 2 || i == 5),
				      "page %u", i);
	}
}
END_TEST

START_TEST(chain_error)
{
	static const struct {
		uint16_t queue, flags;
		uint32_t len;
	} bad[] = {
		{ 0, VIRTQ_DESC_F_WRITE, 8 },
		{ 1, VIRTQ_DESC_F_WRITE, 8 },
		{ 2, VIRTQ_DESC_F_WRITE, 10 },
		{ 3, 0, 4096 },
		{ 0, 0, 0 },
		{ 0, 0, 0xffffffff },
		{ 3, VIRTQ_DESC_F_WRITE, 0xffffffff },
		{ 2, VIRTQ_DESC_F_INDIRECT, 16 },
	};

	make("virtio-balloon-device,free-page-reporting=on");
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_STATS | F_REPORTING));
		drvq_open(bad[i].queue, 16);
		driver_ok();
		drvq_desc(0, LIST, bad[i].len, bad[i].flags, 0);
		drvq_publish(0);
		wr(R_NOTIFY, bad[i].queue);
		ck_assert_msg(run_until(rig_broken, 5000), "case %u", i);
	}
	drive(F_STATS, 1);
	list(0, DATA / PAGE);
	give(4);
}
END_TEST

/* More buffers of statistics than one: the last counts, the others come back. */
START_TEST(inflight_cap)
{
	make("virtio-balloon-device");
	ck_assert(negotiate(VIRTIO_F_VERSION_1 | F_STATS));
	drvq_open(2, 16);
	driver_ok();
	for (unsigned int i = 0; i < 16; i++) {
		drvq_desc(i, LIST, 10, 0, 0);
		drvq_publish((uint16_t)i);
	}
	wr(R_NOTIFY, 2);
	for (unsigned int i = 0; i < 15; i++)
		drvq_wait(NULL);
	ck_assert(!run_until(drvq_used, 20));
	ck_assert(!rig_broken());
}
END_TEST

UNIT_SUITE_WITH(balloon_suite, "virtio_balloon", setup, rig_close, options, huge_pages_are_refused,
		huge_pages_stay_with_the_guest, pages_go_back_and_neighbours_stay,
		shared_memory_leaves_the_file, pages_outside_of_memory, split_header, io_hijack,
		sizes, statistics, reporting, chain_error, inflight_cap)

UNIT_MAIN(balloon_suite)
