/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of this room, for the registry of the machine room (DESIGN §3). */
#ifndef PCI_CLASSES_H
#define PCI_CLASSES_H

struct device_class;

extern const struct device_class pcie_root_port_class; /* "pcie-root-port" */
extern const struct device_class pci_gpex_root_class; /* "gpex-root": 00:00.0 of a generic ECAM host bridge */
extern const struct device_class pvpanic_pci_class; /* "pvpanic-pci" */
extern const struct device_class q35_mch_class;	    /* "mch" */
extern const struct device_class ich9_lpc_class;    /* "ICH9-LPC" */

#endif
