/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed ACPI hardware of the ICH9 (ACPI 6.5 §4.8; ICH9 §13.8.3) behind the PM base: events, control, timer and GPE0.
 * Initialised, reset and released on the main thread; registers on vCPU threads.
 */
#ifndef PCI_ICH9_PM_H
#define PCI_ICH9_PM_H

#include <pthread.h>

#include "devices/device.h"
#include "pci/q35.h"
#include "util/log.h"

struct ich9_pm {
	struct platform *platform;
	void (*sci)(struct ich9_pm *pm, bool level); /* under @lock; any thread */

	pthread_mutex_t map_lock; /* guards: */
	struct io_region region;
	bool mapped;

	pthread_mutex_t lock; /* guards the registers */
	uint16_t status, enable, control;
	uint64_t gpe_status, gpe_enable;
	uint32_t smi_enable;
	uint64_t overflows; /* of the timer, as many as the guest has acknowledged */
	uint8_t apm_control, apm_status;

	struct io_region apm;
	struct loop_call arm;
	struct loop_timer timer; /* main loop: the next overflow, when the guest wants to know */
	struct log_limit limit;
};

int __must_check ich9_pm_init(struct ich9_pm *pm, struct platform *platform,
			      void (*sci)(struct ich9_pm *pm, bool level), struct error **errp);
void ich9_pm_release(struct ich9_pm *pm);
void ich9_pm_reset(struct ich9_pm *pm);
/* The registers are at ports @base on, or nowhere (0). Any thread. */
void ich9_pm_map(struct ich9_pm *pm, uint16_t base);

void ich9_pm_power_button(struct ich9_pm *pm);
void ich9_pm_set_gpe(struct ich9_pm *pm, unsigned int bit); /* any thread */

#endif
