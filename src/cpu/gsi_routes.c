/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GSI routes. The kernel starts with routes for the lines of its own interrupt controllers. The
 * table can only be replaced as a whole (KVM_SET_GSI_ROUTING), which makes every CPU wait for a
 * grace period; so it is left alone until the first MSI route is needed, and a VM without MSI never
 * pays for it.
 */
#include "kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define LOG_MODULE "cpu"
#include "util/log.h"

struct kvm_msi_slot {
	bool used;
	struct msi_message msg;
};

void kvm_routes_init(struct kvm_vm *vm)
{
	pthread_mutex_init(&vm->routes.lock, NULL);
}

void kvm_routes_release(struct kvm_vm *vm)
{
	free(vm->routes.slots);
	pthread_mutex_destroy(&vm->routes.lock);
}

static int routes_commit_locked(struct kvm_vm *vm)
{
	struct kvm_routes *routes = &vm->routes;
	struct kvm_irq_routing *table;
	int ret = 0;

	table = calloc(1, sizeof(*table) + (KVM_ARCH_ROUTES_MAX + routes->count) *
						   sizeof(table->entries[0]));
	if (!table)
		return -ENOMEM;
	table->nr = kvm_arch_default_routes(table->entries);
	for (unsigned int i = 0; i < routes->count; i++) {
		const struct kvm_msi_slot *slot = &routes->slots[i];

		if (!slot->used)
			continue;
		table->entries[table->nr++] = (struct kvm_irq_routing_entry){
			.gsi = KVM_ARCH_GSI_MSI_FIRST + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi.address_lo = (uint32_t)slot->msg.address,
			.u.msi.address_hi = (uint32_t)(slot->msg.address >> 32),
			.u.msi.data = slot->msg.data,
			.flags = vm->msi_devid ? KVM_MSI_VALID_DEVID : 0,
			.u.msi.devid = vm->msi_devid ? slot->msg.device_id : 0,
		};
	}
	if (table->nr > routes->limit)
		ret = -ENOSPC;
	else if (ioctl(vm->accel.vm_fd, KVM_SET_GSI_ROUTING, table))
		ret = -errno;
	free(table);
	return ret;
}

/* A free slot's index; grows the array. -ENOSPC at the kernel's limit of GSIs. */
static int routes_find_locked(struct kvm_vm *vm)
{
	struct kvm_routes *routes = &vm->routes;
	struct kvm_msi_slot *slots;
	unsigned int count, i;

	for (i = 0; i < routes->count; i++)
		if (!routes->slots[i].used)
			return (int)i;
	/* GSI numbers have the same limit as the number of entries. */
	if (KVM_ARCH_GSI_MSI_FIRST + i >= routes->limit)
		return -ENOSPC;
	count = MIN(routes->count ? routes->count * 2 : 16, routes->limit - KVM_ARCH_GSI_MSI_FIRST);
	slots = realloc(routes->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + routes->count, 0, (count - routes->count) * sizeof(*slots));
	routes->slots = slots;
	routes->count = count;
	return (int)i;
}

int kvm_msi_route_add(struct accel *accel, const struct msi_message *msg)
{
	struct kvm_vm *vm = to_kvm_vm(accel);
	struct kvm_routes *routes = &vm->routes;
	int index, ret;

	pthread_mutex_lock(&routes->lock);
	index = ret = routes_find_locked(vm);
	if (index >= 0) {
		routes->slots[index].used = true;
		routes->slots[index].msg = *msg;
		ret = routes_commit_locked(vm);
		if (ret)
			routes->slots[index].used = false;
		else
			ret = KVM_ARCH_GSI_MSI_FIRST + index;
	}
	pthread_mutex_unlock(&routes->lock);
	return ret;
}

static struct kvm_msi_slot *routes_slot_locked(struct kvm_routes *routes, int gsi)
{
	unsigned int index = (unsigned int)gsi - KVM_ARCH_GSI_MSI_FIRST;

	if (gsi < KVM_ARCH_GSI_MSI_FIRST || index >= routes->count || !routes->slots[index].used)
		return NULL;
	return &routes->slots[index];
}

int kvm_msi_route_update(struct accel *accel, int gsi, const struct msi_message *msg)
{
	struct kvm_vm *vm = to_kvm_vm(accel);
	struct kvm_routes *routes = &vm->routes;
	struct kvm_msi_slot *slot;
	struct msi_message old;
	int ret = 0;

	pthread_mutex_lock(&routes->lock);
	slot = routes_slot_locked(routes, gsi);
	if (!slot) {
		ret = -ENOENT;
	} else if (slot->msg.address != msg->address || slot->msg.data != msg->data ||
		   slot->msg.device_id != msg->device_id) {
		old = slot->msg;
		slot->msg = *msg;
		ret = routes_commit_locked(vm);
		if (ret)
			slot->msg = old;
	}
	pthread_mutex_unlock(&routes->lock);
	return ret;
}

void kvm_msi_route_del(struct accel *accel, int gsi)
{
	struct kvm_vm *vm = to_kvm_vm(accel);
	struct kvm_routes *routes = &vm->routes;
	struct kvm_msi_slot *slot;

	/*
	 * The kernel's entry stays until the next change of the table: nobody sends to a GSI
	 * without an irqfd, and taking a device with 64 vectors away costs no grace period at all.
	 */
	pthread_mutex_lock(&routes->lock);
	slot = routes_slot_locked(routes, gsi);
	if (slot)
		slot->used = false;
	pthread_mutex_unlock(&routes->lock);
}
