/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of Intel's Q35 chipset that a guest cannot do without, for the q35 machine: the memory controller hub at
 * 00:00.0 ("mch": PCIEXBAR) and the LPC bridge of the ICH9 at 00:1f.0 ("ICH9-LPC": power management, interrupt
 * routing). Registers as in "Intel 3 Series Express Chipset Family Datasheet" §5 and "Intel I/O Controller Hub 9
 * Family Datasheet" §10, §13. Main thread, unless said otherwise.
 */
#ifndef PCI_Q35_H
#define PCI_Q35_H

#include "devices/device.h"

/* Where our own set-up (without firmware) puts things; firmware may choose otherwise. */
#define Q35_ECAM_BASE 0xb0000000ULL
#define Q35_ECAM_SIZE 0x10000000ULL
#define ICH9_PM_BASE 0x600

/* Offsets from the PM base, ICH9 §13.8.3. */
#define ICH9_PM1_EVT 0x00
#define ICH9_PM1_CNT 0x04
#define ICH9_PM_TMR 0x08
#define ICH9_GPE0 0x20
#define ICH9_GPE0_LEN 16
#define ICH9_PM_SIZE 0x80

#define ICH9_SLEEP_TYPE_S5 0 /* as QEMU's: firmware powers off by it without looking at tables */

/* Advanced power management control port, ICH9 §13.7.1, and what the FADT says to write there. */
#define ICH9_APM_CNT 0xb2
#define ICH9_ACPI_ENABLE 2
#define ICH9_ACPI_DISABLE 3

#define ICH9_SCI_GSI 9
#define ICH9_PIRQ_GSI 16 /* PIRQA; the other seven follow */
#define ICH9_PIRQS 8
#define ICH9_LPC_DEVFN (0x1f << 3)
extern const uint8_t ich9_pirq_registers[ICH9_PIRQS]; /* in configuration space: where a line goes at the PIC */

#define ICH9_RESET_PORT 0xcf9
#define ICH9_RESET_VALUE 0x06 /* full reset */

/* The reset control register (ICH9 §13.7.5), among the bytes of port 0xCF8: struct pci_host_config's cf8_bytes. */
struct ich9_reset_control {
	struct platform *platform;
	_Atomic uint8_t value;
};
extern const struct io_ops ich9_reset_ops; /* opaque: struct ich9_reset_control */

/* Of the device "mch": PCIEXBAR as Q35_ECAM_BASE, as firmware would write it. */
void q35_mch_setup(struct device *mch);
/* Told when the guest has put PCIEXBAR elsewhere (size 0: nowhere). Before vCPUs run; called on theirs, one at a time. */
void q35_mch_watch(struct device *mch, void (*moved)(void *opaque, gpa_t base, uint64_t size), void *opaque);

/* Of the device "ICH9-LPC": PM registers at ICH9_PM_BASE. */
void ich9_lpc_setup(struct device *lpc);
/* Presses the power button. */
void ich9_lpc_power_button(struct device *lpc);
/* A general-purpose event happened. Any thread. */
void ich9_lpc_set_gpe(struct device *lpc, unsigned int bit);
/* struct pci_host_config's irq_map and irq_set. Any thread. */
unsigned int ich9_lpc_irq_map(struct device *lpc, unsigned int slot, unsigned int pin);
void ich9_lpc_set_pirq(struct device *lpc, unsigned int line, bool level);

#endif
