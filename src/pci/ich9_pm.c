// SPDX-License-Identifier: Apache-2.0
#define LOG_MODULE "ich9"

#include "ich9_pm.h"

/* PM1 status and enable, ACPI 6.5 §4.8.3.1 */
#define PM1_TMR (1u << 0)
#define PM1_GBL (1u << 5)
#define PM1_PWRBTN (1u << 8)
#define PM1_RTC (1u << 10)
#define PM1_ENABLE_BITS (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC)

/* PM1 control, §4.8.3.2.1 */
#define PM1_SCI_EN (1u << 0)
#define PM1_SLP_TYP(value) ((value) >> 10 & 7u)
#define PM1_SLP_EN (1u << 13)
#define PM1_CONTROL_BITS 0x1c03u /* SCI_EN, BM_RLD, SLP_TYP; GBL_RLS and SLP_EN read as zero */

/* Further registers, ICH9 §13.8.3 */
#define PM_GPE0_STS 0x20
#define PM_GPE0_EN 0x28
#define PM_SMI_EN 0x30
#define SMI_EN_BITS 0x0000003fu

/* §4.8.3.3: 24 bits at 3.579545 MHz; the status is set whenever the highest bit changes. */
#define TIMER_HZ 3579545
#define TIMER_MASK 0xffffffu
#define TIMER_OVERFLOW_BITS 23

#define APM_PORTS 2

static uint64_t timer_ticks(void)
{
	return (uint64_t)((unsigned __int128)clock_now_ns() * TIMER_HZ / NSEC_PER_SEC);
}

static uint16_t status_locked(const struct ich9_pm *pm)
{
	uint16_t status = pm->status;

	if (timer_ticks() >> TIMER_OVERFLOW_BITS != pm->overflows)
		status |= PM1_TMR;
	return status;
}

static void update_locked(struct ich9_pm *pm)
{
	uint16_t status = status_locked(pm);
	bool level = (status & pm->enable) || (pm->gpe_status & pm->gpe_enable);

	pm->sci(pm, level && (pm->control & PM1_SCI_EN));
	if ((pm->enable & PM1_TMR) && !(status & PM1_TMR))
		loop_call_schedule(&pm->arm);
}

/* --- Timer overflow, for those who enable it ------------------------------------ */

static void arm_timer(struct loop_call *call)
{
	struct ich9_pm *pm = container_of(call, struct ich9_pm, arm);
	uint64_t next = ((timer_ticks() >> TIMER_OVERFLOW_BITS) + 1) << TIMER_OVERFLOW_BITS;

	loop_timer_set(&pm->timer,
		       (int64_t)((unsigned __int128)next * NSEC_PER_SEC / TIMER_HZ) + 1);
}

static void timer_overflows(struct loop_timer *timer)
{
	struct ich9_pm *pm = container_of(timer, struct ich9_pm, timer);

	pthread_mutex_lock(&pm->lock);
	update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}

/* --- Registers, 32 bits at a time ------------------------------------------------- */

static uint32_t read_locked(const struct ich9_pm *pm, unsigned int reg)
{
	switch (reg) {
	case ICH9_PM1_EVT:
		return status_locked(pm) | (uint32_t)pm->enable << 16;
	case ICH9_PM1_CNT:
		return pm->control;
	case ICH9_PM_TMR:
		return timer_ticks() & TIMER_MASK;
	case PM_GPE0_STS:
	case PM_GPE0_STS + 4:
		return (uint32_t)(pm->gpe_status >> (reg - PM_GPE0_STS) * 8);
	case PM_GPE0_EN:
	case PM_GPE0_EN + 4:
		return (uint32_t)(pm->gpe_enable >> (reg - PM_GPE0_EN) * 8);
	case PM_SMI_EN:
		return pm->smi_enable;
	default:
		return 0;
	}
}

static void sleep_locked(struct ich9_pm *pm)
{
	if (PM1_SLP_TYP(pm->control) == ICH9_SLEEP_TYPE_S5)
		pm->platform->request(pm->platform, GUEST_POWEROFF, 0, "guest-shutdown");
	else
		log_warn_limited(&pm->limit, "the guest asks for sleep type %u, there is only %u",
				 PM1_SLP_TYP(pm->control), ICH9_SLEEP_TYPE_S5);
}

/* @mask: the bits of the bytes that are written; @value has no others. */
static void write_locked(struct ich9_pm *pm, unsigned int reg, uint32_t value, uint32_t mask)
{
	uint64_t wide = value, wide_mask = mask;

	switch (reg) {
	case ICH9_PM1_EVT: /* status bits are cleared by ones */
		if (value & PM1_TMR)
			pm->overflows = timer_ticks() >> TIMER_OVERFLOW_BITS;
		pm->status &= (uint16_t)~value;
		pm->enable = (uint16_t)((pm->enable & ~(mask >> 16)) |
					(value >> 16 & PM1_ENABLE_BITS));
		break;
	case ICH9_PM1_CNT:
		pm->control = (uint16_t)((pm->control & ~mask) | (value & PM1_CONTROL_BITS));
		if (value & PM1_SLP_EN)
			sleep_locked(pm);
		break;
	case PM_GPE0_STS:
	case PM_GPE0_STS + 4:
		pm->gpe_status &= ~(wide << (reg - PM_GPE0_STS) * 8);
		break;
	case PM_GPE0_EN:
	case PM_GPE0_EN + 4:
		wide <<= (reg - PM_GPE0_EN) * 8;
		wide_mask <<= (reg - PM_GPE0_EN) * 8;
		pm->gpe_enable = (pm->gpe_enable & ~wide_mask) | wide;
		break;
	case PM_SMI_EN: /* kept for firmware that asks; there is no SMM */
		pm->smi_enable = (pm->smi_enable & ~mask) | (value & SMI_EN_BITS);
		break;
	default:
		return;
	}
	update_locked(pm);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ich9_pm *pm = opaque;
	uint32_t value;

	(void)size; /* the dispatcher takes the bytes it wants */
	pthread_mutex_lock(&pm->lock);
	value = read_locked(pm, (unsigned int)offset & ~3u);
	pthread_mutex_unlock(&pm->lock);
	return value >> (offset & 3) * 8;
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct ich9_pm *pm = opaque;
	unsigned int shift = (unsigned int)(offset & 3) * 8;
	uint32_t mask = (uint32_t)(((1ULL << size * 8) - 1) << shift);

	pthread_mutex_lock(&pm->lock);
	write_locked(pm, (unsigned int)offset & ~3u, (uint32_t)value << shift & mask, mask);
	pthread_mutex_unlock(&pm->lock);
}

static const struct io_ops pm_ops = {
	.read = pm_read,
	.write = pm_write,
	.max_size = 4,
};

/* --- Ports 0xB2 and 0xB3: ACPI on and off ------------------------------------------- */

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ich9_pm *pm = opaque;
	uint8_t value;

	(void)size;
	pthread_mutex_lock(&pm->lock);
	value = offset ? pm->apm_status : pm->apm_control;
	pthread_mutex_unlock(&pm->lock);
	return value;
}

static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct ich9_pm *pm = opaque;

	(void)size;
	pthread_mutex_lock(&pm->lock);
	if (offset) {
		pm->apm_status = (uint8_t)value;
	} else {
		pm->apm_control = (uint8_t)value;
		if (value == ICH9_ACPI_ENABLE)
			pm->control |= PM1_SCI_EN;
		else if (value == ICH9_ACPI_DISABLE)
			pm->control &= (uint16_t)~PM1_SCI_EN;
		update_locked(pm);
	}
	pthread_mutex_unlock(&pm->lock);
}

static const struct io_ops apm_ops = {
	.read = apm_read,
	.write = apm_write,
	.max_size = 1,
};

/* --- Life --------------------------------------------------------------------------------- */

void ich9_pm_map(struct ich9_pm *pm, uint16_t base)
{
	struct error *err = NULL;

	pthread_mutex_lock(&pm->map_lock);
	if (pm->mapped && pm->region.base != base) {
		mem_space_del_io(pm->platform->space, &pm->region);
		pm->mapped = false;
	}
	if (base && !pm->mapped) {
		pm->region.base = base;
		if (mem_space_add_io(pm->platform->space, &pm->region, &err)) {
			log_warn_limited(&pm->limit, "PM registers: %s", error_text(err));
			error_free(err);
		} else {
			pm->mapped = true;
		}
	}
	pthread_mutex_unlock(&pm->map_lock);
}

int ich9_pm_init(struct ich9_pm *pm, struct platform *platform,
		 void (*sci)(struct ich9_pm *pm, bool level), struct error **errp)
{
	int ret;

	pm->platform = platform;
	pm->sci = sci;
	pm->region = (struct io_region){
		.name = "ich9-pm",
		.kind = IO_PORT,
		.size = ICH9_PM_SIZE,
		.ops = &pm_ops,
		.opaque = pm,
	};
	pm->apm = (struct io_region){
		.name = "ich9-apm",
		.kind = IO_PORT,
		.base = ICH9_APM_CNT,
		.size = APM_PORTS,
		.ops = &apm_ops,
		.opaque = pm,
	};
	ret = mem_space_add_io(platform->space, &pm->apm, errp);
	if (ret)
		return ret;
	pthread_mutex_init(&pm->map_lock, NULL);
	pthread_mutex_init(&pm->lock, NULL);
	loop_call_init(&pm->arm, platform->main_loop, arm_timer);
	loop_timer_init(&pm->timer, platform->main_loop, timer_overflows);
	return 0;
}

void ich9_pm_release(struct ich9_pm *pm)
{
	loop_call_cancel(&pm->arm);
	loop_timer_cancel(&pm->timer);
	ich9_pm_map(pm, 0);
	mem_space_del_io(pm->platform->space, &pm->apm);
	pthread_mutex_destroy(&pm->lock);
	pthread_mutex_destroy(&pm->map_lock);
}

void ich9_pm_reset(struct ich9_pm *pm)
{
	ich9_pm_map(pm, 0);
	pthread_mutex_lock(&pm->lock);
	pm->status = pm->enable = pm->control = 0;
	pm->gpe_status = pm->gpe_enable = 0;
	pm->smi_enable = 0;
	pm->apm_control = pm->apm_status = 0;
	pm->overflows = timer_ticks() >> TIMER_OVERFLOW_BITS;
	update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
	loop_call_cancel(&pm->arm);
	loop_timer_cancel(&pm->timer);
}

void ich9_pm_power_button(struct ich9_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->status |= PM1_PWRBTN;
	update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}

void ich9_pm_set_gpe(struct ich9_pm *pm, unsigned int bit)
{
	pthread_mutex_lock(&pm->lock);
	pm->gpe_status |= 1ULL << bit;
	update_locked(pm);
	pthread_mutex_unlock(&pm->lock);
}
