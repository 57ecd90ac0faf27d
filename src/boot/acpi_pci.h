/* SPDX-License-Identifier: Apache-2.0 */
/* A PCI Express host bridge in ACPI, for every machine that has one (boot/acpi.h). Main thread. */
#ifndef BOOT_ACPI_PCI_H
#define BOOT_ACPI_PCI_H

#include "acpi_table.h"
#include "aml.h"
#include "boot/acpi.h"

/*
 * Device PCI0 and, for its ECAM, a system resource device; within _SB. The second form leaves PCI0 open for
 * devices below it; acpi_pci_end_host() closes it.
 */
void acpi_pci_add_host(struct aml *aml, const struct acpi_pci_host *host);
void acpi_pci_begin_host(struct aml *aml, const struct acpi_pci_host *host);
void acpi_pci_end_host(struct aml *aml, const struct acpi_pci_host *host);

/* MCFG: where the ECAM is (PCI Firmware 3.3 §4.1.2). */
void acpi_pci_add_mcfg(struct acpi_tables *tables, const struct acpi_pci_host *host);

#endif
