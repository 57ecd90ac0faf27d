/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MC146818 real-time clock with 128 bytes of CMOS memory, after Motorola's data sheet and the PC's
 * use of it.
 *
 * The clock shows UTC: the host's clock plus what the guest set it off by. While the guest sets it
 * (register B, SET, or the divider held in reset) the time stands still in the registers. Flags of
 * register C are worked out when somebody looks; a timer runs only while an enabled interrupt has
 * not happened yet, so its cost is bounded by how often the guest acknowledges.
 */
#define LOG_MODULE "rtc"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "devices/classes.h"
#include "devices/device.h"

#define PORT_INDEX 0x70
#define INDEX_MASK 0x7f /* bit 7 masks NMIs, of which there are none */
#define CMOS_SIZE 128

enum {
	REG_SECONDS,
	REG_SECONDS_ALARM,
	REG_MINUTES,
	REG_MINUTES_ALARM,
	REG_HOURS,
	REG_HOURS_ALARM,
	REG_WEEKDAY,
	REG_DAY,
	REG_MONTH,
	REG_YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
};
#define REG_CENTURY 0x32

#define A_UIP 0x80 /* an update is near */
#define A_DIVIDER_RESET 0x60
#define A_DIVIDER_RUN 0x20
#define A_RATE 0x0f

#define B_SET 0x80
#define B_PIE 0x40
#define B_AIE 0x20
#define B_UIE 0x10
#define B_SQWE 0x08
#define B_BINARY 0x04
#define B_24H 0x02

#define C_IRQF 0x80
#define C_PF 0x40 /* the flags have the bits of their enables in register B */
#define C_AF 0x20
#define C_UF 0x10
#define C_FLAGS (C_PF | C_AF | C_UF)

#define D_VALID 0x80 /* the battery is good */

#define ALARM_ANY 0xc0 /* an alarm register with both bits matches always */
#define HOUR_PM 0x80

#define UIP_NS 244000		   /* UIP comes this long before the update */
#define DIVIDER_START_NS 500000000 /* from the divider's start to the first update */
#define TICKS_PER_SEC 32768
#define SECONDS_PER_DAY 86400

struct rtc {
	struct device dev;
	uint64_t low_memory, high_memory;
	uint32_t irq;

	struct io_region region;
	struct irq_line line;
	struct loop_timer timer; /* main loop */
	struct loop_call rearm;

	pthread_mutex_t lock; /* guards the rest */
	uint8_t index;
	uint8_t cmos[CMOS_SIZE]; /* time registers are valid only while frozen */
	int64_t offset_ns;	 /* guest's clock minus the host's */
	int64_t seen_ns;	 /* the guest's clock when the flags were worked out last */
	bool level;
};

/* --- the clock --- */

static int64_t host_now(void)
{
	return clock_wall_ns();
}

static int64_t guest_now_locked(const struct rtc *rtc)
{
	return host_now() + rtc->offset_ns;
}

static bool divider_held(uint8_t reg_a)
{
	return (reg_a & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

static bool frozen_locked(const struct rtc *rtc)
{
	return (rtc->cmos[REG_B] & B_SET) || divider_held(rtc->cmos[REG_A]);
}

static bool is_time(unsigned int reg)
{
	return reg == REG_CENTURY || (reg <= REG_YEAR && reg != REG_SECONDS_ALARM &&
				      reg != REG_MINUTES_ALARM && reg != REG_HOURS_ALARM);
}

static uint8_t encode(const struct rtc *rtc, int value)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)((value / 10) << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return value;
	return (value >> 4) * 10 + (value & 0xf);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, value);
	return decode(rtc, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The time registers as they are at @guest_ns. */
static void load_time_locked(struct rtc *rtc, int64_t guest_ns)
{
	time_t seconds = floor_div(guest_ns, NSEC_PER_SEC);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	rtc->cmos[REG_SECONDS] = encode(rtc, tm.tm_sec);
	rtc->cmos[REG_MINUTES] = encode(rtc, tm.tm_min);
	rtc->cmos[REG_HOURS] = encode_hour(rtc, tm.tm_hour);
	rtc->cmos[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[REG_DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cmos[REG_YEAR] = encode(rtc, tm.tm_year % 100);
	rtc->cmos[REG_CENTURY] = encode(rtc, tm.tm_year / 100 + 19);
}

/* The clock goes on from what the registers say, @fraction_ns into that second. */
static void store_time_locked(struct rtc *rtc, int64_t fraction_ns)
{
	/* Whatever a guest writes here is in the range of a byte; timegm() makes a date of it. */
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[REG_SECONDS]),
		.tm_min = decode(rtc, rtc->cmos[REG_MINUTES]),
		.tm_hour = decode_hour(rtc, rtc->cmos[REG_HOURS]),
		.tm_mday = decode(rtc, rtc->cmos[REG_DAY]),
		.tm_mon = decode(rtc, rtc->cmos[REG_MONTH]) - 1,
		.tm_year = decode(rtc, rtc->cmos[REG_CENTURY]) * 100 +
			   decode(rtc, rtc->cmos[REG_YEAR]) - 1900,
	};
	int64_t target;

	/* Nanoseconds in 64 bits end in 2262, and months and days of up to 165 lead on from the
	 * year. */
	tm.tm_year = MAX(MIN(tm.tm_year, 2240 - 1900), 1901 - 1900);
	target = timegm(&tm) * NSEC_PER_SEC + fraction_ns;
	rtc->offset_ns = target - host_now();
	rtc->seen_ns = target;
}

/* --- flags and interrupts --- */

/* The period that the rate bits select, in ticks of 32768 Hz; 0 none. */
static int64_t period_ticks(const struct rtc *rtc)
{
	unsigned int rate = rtc->cmos[REG_A] & A_RATE;

	if (!rate)
		return 0;
	return 1LL << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static int64_t ns_to_ticks(int64_t ns)
{
	int64_t seconds = floor_div(ns, NSEC_PER_SEC);

	return seconds * TICKS_PER_SEC +
	       (ns - seconds * NSEC_PER_SEC) * TICKS_PER_SEC / NSEC_PER_SEC;
}

/* The first second after @after, within a day, at which the alarm matches; -1 none. */
static int64_t next_alarm_locked(const struct rtc *rtc, int64_t after)
{
	uint8_t s = rtc->cmos[REG_SECONDS_ALARM], m = rtc->cmos[REG_MINUTES_ALARM];
	uint8_t h = rtc->cmos[REG_HOURS_ALARM];
	bool any_s = s >= ALARM_ANY, any_m = m >= ALARM_ANY, any_h = h >= ALARM_ANY;
	int want_s = decode(rtc, s), want_m = decode(rtc, m), want_h = decode_hour(rtc, h);
	int64_t t = after + 1;

	while (t <= after + SECONDS_PER_DAY) {
		int64_t day_s = t - floor_div(t, SECONDS_PER_DAY) * SECONDS_PER_DAY;

		if (!any_h && day_s / 3600 != want_h)
			t += 3600 - day_s % 3600;
		else if (!any_m && day_s / 60 % 60 != want_m)
			t += 60 - day_s % 60;
		else if (!any_s && day_s % 60 != want_s)
			t++;
		else
			return t;
	}
	return -1;
}

static void update_irq_locked(struct rtc *rtc)
{
	bool level = rtc->cmos[REG_C] & rtc->cmos[REG_B] & C_FLAGS;

	rtc->cmos[REG_C] = (rtc->cmos[REG_C] & C_FLAGS) | (level ? C_IRQF : 0);
	if (!rtc->irq || level == rtc->level)
		return;
	rtc->level = level;
	irq_set(&rtc->line, level);
}

/* Sets the flags of everything that happened since the last time. */
static void update_flags_locked(struct rtc *rtc)
{
	int64_t now = guest_now_locked(rtc), period = period_ticks(rtc), before = rtc->seen_ns;
	int64_t now_s, before_s, alarm;

	if (divider_held(rtc->cmos[REG_A]) || now <= before) {
		rtc->seen_ns = now; /* no clock, or the host's went back */
		return;
	}
	rtc->seen_ns = now;
	if (period && ns_to_ticks(now) / period != ns_to_ticks(before) / period)
		rtc->cmos[REG_C] |= C_PF;
	if (!(rtc->cmos[REG_B] & B_SET)) {
		now_s = floor_div(now, NSEC_PER_SEC);
		before_s = floor_div(before, NSEC_PER_SEC);
		if (now_s != before_s) {
			rtc->cmos[REG_C] |= C_UF;
			alarm = next_alarm_locked(rtc, before_s);
			if (alarm >= 0 && alarm <= now_s)
				rtc->cmos[REG_C] |= C_AF;
		}
	}
	update_irq_locked(rtc);
}

/* When the next enabled interrupt is due that is not raised yet, in the guest's clock; 0 never. */
static int64_t next_event_locked(const struct rtc *rtc)
{
	uint8_t open = rtc->cmos[REG_B] & ~rtc->cmos[REG_C];
	int64_t next = INT64_MAX, second = floor_div(rtc->seen_ns, NSEC_PER_SEC), period;

	if (!rtc->irq || divider_held(rtc->cmos[REG_A]))
		return 0;
	period = period_ticks(rtc);
	if ((open & B_PIE) && period) {
		int64_t ticks = (ns_to_ticks(rtc->seen_ns) / period + 1) * period;

		next = ticks / TICKS_PER_SEC * NSEC_PER_SEC +
		       (ticks % TICKS_PER_SEC * NSEC_PER_SEC + TICKS_PER_SEC - 1) / TICKS_PER_SEC;
	}
	if (!(rtc->cmos[REG_B] & B_SET)) {
		if (open & B_UIE)
			next = MIN(next, (second + 1) * NSEC_PER_SEC);
		if (open & B_AIE) {
			int64_t alarm = next_alarm_locked(rtc, second);

			if (alarm >= 0)
				next = MIN(next, alarm * NSEC_PER_SEC);
		}
	}
	return next == INT64_MAX ? 0 : next;
}

static void rtc_rearm(struct loop_call *call)
{
	struct rtc *rtc = container_of(call, struct rtc, rearm);
	int64_t event, now;

	pthread_mutex_lock(&rtc->lock);
	event = next_event_locked(rtc);
	now = guest_now_locked(rtc);
	pthread_mutex_unlock(&rtc->lock);
	if (event)
		loop_timer_set(&rtc->timer, clock_now_ns() + MAX(event - now, (int64_t)0));
	else
		loop_timer_cancel(&rtc->timer);
}

static void rtc_timer(struct loop_timer *timer)
{
	struct rtc *rtc = container_of(timer, struct rtc, timer);

	pthread_mutex_lock(&rtc->lock);
	update_flags_locked(rtc);
	pthread_mutex_unlock(&rtc->lock);
	rtc_rearm(&rtc->rearm);
}

/* --- registers --- */

static uint8_t read_a_locked(struct rtc *rtc)
{
	uint8_t value = rtc->cmos[REG_A] & ~A_UIP;
	int64_t now = guest_now_locked(rtc);

	if (!frozen_locked(rtc) &&
	    now - floor_div(now, NSEC_PER_SEC) * NSEC_PER_SEC >= NSEC_PER_SEC - UIP_NS)
		value |= A_UIP;
	return value;
}

static uint8_t read_c_locked(struct rtc *rtc)
{
	uint8_t value;

	update_flags_locked(rtc);
	value = rtc->cmos[REG_C];
	rtc->cmos[REG_C] = 0;
	update_irq_locked(rtc);
	if (rtc->irq && (rtc->cmos[REG_B] & C_FLAGS))
		loop_call_schedule(&rtc->rearm);
	return value;
}

static uint8_t cmos_read_locked(struct rtc *rtc, unsigned int reg)
{
	switch (reg) {
	case REG_A:
		return read_a_locked(rtc);
	case REG_C:
		return read_c_locked(rtc);
	case REG_D:
		return D_VALID;
	default:
		if (is_time(reg) && !frozen_locked(rtc))
			load_time_locked(rtc, guest_now_locked(rtc));
		return rtc->cmos[reg];
	}
}

/* Registers A and B, which may stop the clock or let it go. */
static void write_control_locked(struct rtc *rtc, unsigned int reg, uint8_t value)
{
	bool was_frozen = frozen_locked(rtc), was_held = divider_held(rtc->cmos[REG_A]);
	int64_t now = guest_now_locked(rtc);

	update_flags_locked(rtc);
	if (!was_frozen)
		load_time_locked(rtc, now);
	if (reg == REG_A) {
		rtc->cmos[REG_A] = value & ~A_UIP;
	} else {
		/* Setting the clock ends update interrupts (data sheet, "SET"). */
		rtc->cmos[REG_B] = value & B_SET ? value & ~B_UIE : value;
		/* A running clock shows the new format; one that stands has what was written. */
		if (!was_frozen)
			load_time_locked(rtc, now);
	}
	if (was_frozen && !frozen_locked(rtc)) {
		int64_t fraction = now - floor_div(now, NSEC_PER_SEC) * NSEC_PER_SEC;

		store_time_locked(rtc, was_held ? DIVIDER_START_NS : fraction);
	}
	update_irq_locked(rtc);
}

static void cmos_write_locked(struct rtc *rtc, unsigned int reg, uint8_t value)
{
	int64_t now;

	switch (reg) {
	case REG_A:
	case REG_B:
		write_control_locked(rtc, reg, value);
		break;
	case REG_C:
	case REG_D:
		return; /* read-only */
	case REG_SECONDS_ALARM:
	case REG_MINUTES_ALARM:
	case REG_HOURS_ALARM:
		update_flags_locked(rtc);
		rtc->cmos[reg] = value;
		break;
	default:
		if (!is_time(reg) || frozen_locked(rtc)) {
			rtc->cmos[reg] = value;
			return;
		}
		now = guest_now_locked(rtc);
		load_time_locked(rtc, now);
		rtc->cmos[reg] = value;
		store_time_locked(rtc, now - floor_div(now, NSEC_PER_SEC) * NSEC_PER_SEC);
		break;
	}
	if (rtc->irq)
		loop_call_schedule(&rtc->rearm);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct rtc *rtc = opaque;
	uint8_t value = 0xff; /* the index cannot be read back */

	(void)size;
	if (offset == 1) {
		pthread_mutex_lock(&rtc->lock);
		value = cmos_read_locked(rtc, rtc->index);
		pthread_mutex_unlock(&rtc->lock);
	}
	return value;
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct rtc *rtc = opaque;

	(void)size;
	pthread_mutex_lock(&rtc->lock);
	if (offset == 0)
		rtc->index = value & INDEX_MASK;
	else
		cmos_write_locked(rtc, rtc->index, (uint8_t)value);
	pthread_mutex_unlock(&rtc->lock);
}

static const struct io_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
	.min_size = 1,
	.max_size = 1,
};

/* --- device --- */

static void put_number(struct rtc *rtc, unsigned int reg, unsigned int bytes, uint64_t value)
{
	value = MIN(value, (1ULL << (8 * bytes)) - 1);
	for (unsigned int i = 0; i < bytes; i++)
		rtc->cmos[reg + i] = (uint8_t)(value >> (8 * i));
}

/* Where PC firmware leaves the size of memory, for those who never learnt a better way. */
static void put_memory_size(struct rtc *rtc)
{
	uint64_t low = rtc->low_memory;

	put_number(rtc, 0x15, 2, 640); /* KiB of base memory */
	put_number(rtc, 0x17, 2, low > MIB ? (low - MIB) / KIB : 0);
	put_number(rtc, 0x30, 2, low > MIB ? (low - MIB) / KIB : 0);
	put_number(rtc, 0x34, 2, low > 16 * MIB ? (low - 16 * MIB) / (64 * KIB) : 0);
	put_number(rtc, 0x5b, 3, rtc->high_memory / (64 * KIB));
}

/* The battery keeps the clock and the memory; the reset line ends interrupts. */
static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	pthread_mutex_lock(&rtc->lock);
	rtc->index = 0;
	rtc->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	rtc->cmos[REG_C] = 0;
	put_memory_size(rtc);
	update_irq_locked(rtc);
	pthread_mutex_unlock(&rtc->lock);
	rtc_rearm(&rtc->rearm);
}

static int rtc_realize(struct device *dev, struct error **errp)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);
	struct platform *platform = dev->platform;
	int ret;

	rtc->cmos[REG_A] = A_DIVIDER_RUN | 6; /* 1024 Hz */
	rtc->cmos[REG_B] = B_24H;
	rtc->seen_ns = guest_now_locked(rtc);
	rtc->region = (struct io_region){
		.name = "rtc",
		.kind = IO_PORT,
		.base = PORT_INDEX,
		.size = 2,
		.ops = &rtc_ops,
		.opaque = rtc,
	};
	pthread_mutex_init(&rtc->lock, NULL);
	loop_timer_init(&rtc->timer, platform->main_loop, rtc_timer);
	loop_call_init(&rtc->rearm, platform->main_loop, rtc_rearm);
	irq_line_init_level(&rtc->line, platform->accel, rtc->irq);
	ret = mem_space_add_io(platform->space, &rtc->region, errp);
	if (ret) {
		irq_line_release(&rtc->line);
		pthread_mutex_destroy(&rtc->lock);
	}
	return ret;
}

static void rtc_unrealize(struct device *dev)
{
	struct rtc *rtc = container_of(dev, struct rtc, dev);

	mem_space_del_io(dev->platform->space, &rtc->region);
	loop_call_cancel(&rtc->rearm);
	loop_timer_cancel(&rtc->timer);
	irq_line_release(&rtc->line);
	pthread_mutex_destroy(&rtc->lock);
}

static const struct property rtc_props[] = {
	PROP_SIZE("low-memory", struct rtc, low_memory, 1, 0, 4 * GIB, 0,
		  "guest memory below 4 GiB, for the CMOS bytes"),
	PROP_SIZE("high-memory", struct rtc, high_memory, 1, 0, UINT64_MAX, 0,
		  "guest memory above 4 GiB"),
	PROP_UINT(32, "irq", struct rtc, irq, 0, 23, 0, "interrupt line; 0: none"),
	PROP_END,
};

const struct device_class rtc_class = {
	.name = "mc146818rtc",
	.summary = "CMOS real-time clock",
	.bus = DEVICE_BUS_SYSTEM,
	.internal = true,
	.instance_size = sizeof(struct rtc),
	.props = rtc_props,
	.realize = rtc_realize,
	.unrealize = rtc_unrealize,
	.reset = rtc_reset,
};
