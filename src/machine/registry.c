// SPDX-License-Identifier: Apache-2.0
/* Every machine and every device there is. What is not named here does not exist (DESIGN §3). */
#include "devices/classes.h"
#include "internal.h"
#include "pci/classes.h"
#include "virtio/classes.h"

const struct machine_class *const machine_classes[] = {
#ifdef __x86_64__
	&microvm_x86_class,
	&q35_class,
#endif
#ifdef __aarch64__
	&microvm_arm_class,
	&virt_class,
#endif
	&none_class,
	NULL,
};

const struct device_class *const machine_device_classes[] = {
#ifdef __x86_64__
	&serial_class,
	&debug_exit_class,
	&pvpanic_class,
	&rtc_class,
	&i8042_class,
	&q35_mch_class,
	&ich9_lpc_class,
	&cpu_hotplug_class,
#endif
#ifdef __aarch64__
	&pl011_class,
	&pl031_class,
	&pl061_class,
#endif
	&boot_timer_class,
	&fw_cfg_io_class,
	&fw_cfg_mem_class,
	&pflash_class,
	&rom_class,
	&ged_class,
	&vmgenid_class,
	&pci_gpex_root_class,
	&pvpanic_pci_class,
	&pcie_root_port_class,
	&virtio_blk_mmio_class,
	&virtio_rng_mmio_class,
	&virtio_net_mmio_class,
	&virtio_vsock_mmio_class,
	&vhost_vsock_mmio_class,
	&virtio_balloon_mmio_class,
	&virtio_serial_mmio_class,
	&virtio_blk_pci_class,
	&virtio_rng_pci_class,
	&virtio_net_pci_class,
	&virtio_vsock_pci_class,
	&vhost_vsock_pci_class,
	&virtio_balloon_pci_class,
	&virtio_serial_pci_class,
	&virtconsole_class,
	&virtserialport_class,
	NULL,
};
