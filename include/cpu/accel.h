/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accelerator: what runs the vCPUs and owns the interrupt controller and the guest's memory slots.
 * KVM today; the test accelerator is a second table of the same operations. One a VM; made on the main thread.
 */
#ifndef CPU_ACCEL_H
#define CPU_ACCEL_H

#include "memory/space.h"
#include "util/error.h"

struct accel;

struct accel_ioeventfd {
	enum io_kind kind;
	uint64_t addr;
	uint32_t len;      /* 0 (any), 1, 2, 4, 8 */
	bool datamatch;
	uint64_t data;
	int fd;
};

struct msi_message {
	uint64_t address;
	uint32_t data;
	uint32_t device_id; /* of the sender, as the interrupt controller knows it: PCI bus << 8 | devfn */
};

struct accel_ops {
	const char *name;
	/* Gives the guest every RAM region of its space that it does not have yet. */
	int (*map_ram)(struct accel *accel, struct error **errp);
	/*
	 * Lets the guest read and run @host (page aligned) at @base without an exit, while its writes exit to the space's MMIO
	 * regions; @host NULL: reads do, too. The first call for a base is made on the main thread before the vCPUs run, later
	 * ones by whoever owns that ROM, on any thread. NULL: every access exits anyway.
	 */
	int (*map_rom)(struct accel *accel, gpa_t base, uint64_t size, void *host);
	int (*ioeventfd)(struct accel *accel, const struct accel_ioeventfd *ioevent, bool assign);
	/* Level of an interrupt line. */
	int (*irq_line)(struct accel *accel, uint32_t gsi, bool level);
	/* Writing @fd pulses @gsi; with @resample_fd >= 0 the line is level-triggered and an EOI signals that fd. */
	int (*irqfd)(struct accel *accel, uint32_t gsi, int fd, int resample_fd, bool assign);
	int (*signal_msi)(struct accel *accel, const struct msi_message *msg);
	/* A GSI whose irqfd sends @msg (KVM_SET_GSI_ROUTING). route: GSI >= 0 or -errno. */
	int (*msi_route_add)(struct accel *accel, const struct msi_message *msg);
	int (*msi_route_update)(struct accel *accel, int gsi, const struct msi_message *msg);
	void (*msi_route_del)(struct accel *accel, int gsi);
	void (*free)(struct accel *accel);
};

/* A feature that guests do without if need be; the words of -cpu in their order. */
enum accel_want { ACCEL_WANT_AUTO, ACCEL_WANT_ON, ACCEL_WANT_OFF };

struct accel {
	const struct accel_ops *ops;
	struct mem_space *space; /* not owned */
	int vm_fd;               /* KVM; -1 for others */
	unsigned int max_vcpus;
	enum accel_want want_pmu, want_sve, want_steal_time; /* aarch64; set before vcpus_new() */
	bool pmu;		/* aarch64: vCPUs have a PMU; known when they exist */
	unsigned int phys_bits; /* aarch64: of the guest's physical addresses; 0: not known, enough */
	bool no_guest_code; /* the test accelerator: vCPUs exist and do nothing, so nothing need boot */
};

/*
 * Opens /dev/kvm, creates the VM and the in-kernel interrupt controllers (x86_64: PIC, IOAPIC, PIT, identity map and
 * TSS at 0xFEF0C000; the irqchip is created here, before any vCPU). RAM that is in @space already is mapped
 * here, before all that, which is much faster than map_ram() afterwards. x86_64: GSI n is pin n of the IOAPIC,
 * the PIT's too: it is at GSI and pin 0, and tables for the guest must not move it to 2. The error says what to
 * do when /dev/kvm is missing or not permitted.
 */
int __must_check accel_kvm_new(struct mem_space *space, struct accel **ret, struct error **errp);
void accel_free(struct accel *accel); /* NULL allowed; vCPUs are gone already */

#endif
