// SPDX-License-Identifier: Apache-2.0
/*
 * MSI-X: the table, masks and pending bits, and how a message is sent. While a vector is masked, by itself, by the function's
 * mask, or because bus mastering is off and nothing can be sent, what comes is remembered in its pending bit.
 */
#include "pci/msix.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/fd.h"

#define LOG_MODULE "pci"
#include "util/log.h"

#define PBA_OFFSET_MIN 2048u

#define ENTRY_ADDRESS 0
#define ENTRY_DATA 8
#define ENTRY_CONTROL 12
#define ENTRY_MASKED 1u

struct msix_vector {
	uint32_t entry[4]; /* as the guest sees it */
	bool pending;
	int fd;	 /* somebody else sends by it, -1: nobody */
	int gsi; /* route of fd while it is not masked, -1: none */
};

struct pci_msix {
	pthread_mutex_t lock; /* guards all below but what never changes; locks of bridges above are taken inside */
	unsigned int count, cap, pba;	/* never change */
	bool enabled, can_send;		/* enabled: the guest uses MSI-X; can_send: and nothing masks all of it */
	struct log_limit limit;
	struct msix_vector vectors[];
};

/* --- Sending, under the lock --- */

static bool masked_locked(const struct pci_msix *msix, unsigned int vector)
{
	return !msix->can_send || msix->vectors[vector].entry[ENTRY_CONTROL / 4] & ENTRY_MASKED;
}

static struct msi_message message_locked(const struct pci_function *fn, unsigned int vector)
{
	const uint32_t *entry = fn->msix->vectors[vector].entry;
	uint32_t bus = 0;

	/* The requester id, as the guest numbered the bus. Only interrupt controllers that look at it (ITS) need it. */
	if (fn->bus->bridge)
		bus = pci_config_read(fn->bus->bridge, PCI_SECONDARY_BUS, 1);
	return (struct msi_message){
		.address = entry[0] | (uint64_t)entry[1] << 32,
		.data = entry[2],
		.device_id = bus << 8 | fn->devfn,
	};
}

static void send_locked(struct pci_function *fn, unsigned int vector)
{
	struct accel *accel = fn->dev->platform->accel;
	struct msi_message msg = message_locked(fn, vector);
	int ret = accel->ops->signal_msi(accel, &msg);

	if (ret)
		log_warn_limited(&fn->msix->limit, "%s: message of vector %u cannot be sent: %s", fn->dev->id,
				 vector, strerror(-ret));
}

/* --- Eventfds of others --- */

static void route_end_locked(struct pci_function *fn, unsigned int vector)
{
	struct msix_vector *v = &fn->msix->vectors[vector];
	struct accel *accel = fn->dev->platform->accel;

	if (v->gsi < 0)
		return;
	if (accel->ops->irqfd(accel, (uint32_t)v->gsi, v->fd, -1, false))
		log_warn_limited(&fn->msix->limit, "%s: irqfd of vector %u stays", fn->dev->id, vector);
	accel->ops->msi_route_del(accel, v->gsi);
	v->gsi = -1;
}

/* What was written to the descriptor meanwhile is delivered by the accelerator as soon as it watches it. */
static int route_begin_locked(struct pci_function *fn, unsigned int vector)
{
	struct msix_vector *v = &fn->msix->vectors[vector];
	struct accel *accel = fn->dev->platform->accel;
	struct msi_message msg = message_locked(fn, vector);
	int gsi, ret;

	gsi = accel->ops->msi_route_add(accel, &msg);
	ret = gsi < 0 ? gsi : accel->ops->irqfd(accel, (uint32_t)gsi, v->fd, -1, true);
	if (!ret)
		v->gsi = gsi;
	else if (gsi >= 0)
		accel->ops->msi_route_del(accel, gsi);
	if (ret)
		log_warn_limited(&fn->msix->limit, "%s: no route for vector %u: %s", fn->dev->id, vector,
				 strerror(-ret));
	return ret;
}

/* The entry, the masks or the eventfd changed. */
static int vector_settle_locked(struct pci_function *fn, unsigned int vector)
{
	struct msix_vector *v = &fn->msix->vectors[vector];
	struct accel *accel = fn->dev->platform->accel;
	struct msi_message msg;

	if (masked_locked(fn->msix, vector)) {
		route_end_locked(fn, vector);
		return 0;
	}
	if (v->pending) {
		v->pending = false;
		send_locked(fn, vector);
	}
	if (v->fd < 0)
		return 0;
	if (v->gsi < 0)
		return route_begin_locked(fn, vector);
	msg = message_locked(fn, vector);
	return accel->ops->msi_route_update(accel, v->gsi, &msg);
}

/* --- Registers --- */

static uint32_t pba_word_locked(struct pci_msix *msix, unsigned int first)
{
	uint32_t word = 0;

	for (unsigned int i = 0; i < 32 && first + i < msix->count; i++) {
		const struct msix_vector *v = &msix->vectors[first + i];
		/* What others wrote while nobody listens to them. It is only looked at: they may have made a read block. */
		bool written = msix->enabled && v->fd >= 0 && v->gsi < 0 && fd_poll(v->fd, POLLIN, 0) == 1;

		word |= (uint32_t)(v->pending || written) << i;
	}
	return word;
}

static uint32_t register_read(struct pci_function *fn, unsigned int offset)
{
	struct pci_msix *msix = fn->msix;
	uint32_t value = 0;

	pthread_mutex_lock(&msix->lock);
	if (offset < msix->count * PCI_MSIX_ENTRY_SIZE)
		value = msix->vectors[offset / PCI_MSIX_ENTRY_SIZE].entry[offset % PCI_MSIX_ENTRY_SIZE / 4];
	else if (offset >= msix->pba && (offset - msix->pba) * 8 < msix->count)
		value = pba_word_locked(msix, (offset - msix->pba) * 8);
	pthread_mutex_unlock(&msix->lock);
	return value;
}

static void register_write(struct pci_function *fn, unsigned int offset, uint32_t value)
{
	unsigned int vector = offset / PCI_MSIX_ENTRY_SIZE, word = offset % PCI_MSIX_ENTRY_SIZE / 4;
	struct pci_msix *msix = fn->msix;

	/* Pending bits are read only, and so is what lies between and behind. */
	if (vector >= msix->count)
		return;
	if (word == ENTRY_CONTROL / 4)
		value &= ENTRY_MASKED;
	if (word == ENTRY_ADDRESS / 4)
		value &= ~3u;
	pthread_mutex_lock(&msix->lock);
	if (msix->vectors[vector].entry[word] != value) {
		msix->vectors[vector].entry[word] = value;
		(void)vector_settle_locked(fn, vector); /* it has said what was wrong */
	}
	pthread_mutex_unlock(&msix->lock);
}

/*
 * The dispatcher hands out aligned pieces of 4 bytes at most; software shall use 4 or 8 (§6.8.2), and what is narrower is
 * read as a part of its word and not written at all.
 */
static uint64_t bar_read(void *opaque, uint64_t offset, unsigned int size)
{
	(void)size;
	return register_read(opaque, (unsigned int)offset);
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	(void)size;
	register_write(opaque, (unsigned int)offset, (uint32_t)value);
}

static const struct io_ops bar_ops = {
	.read = bar_read,
	.write = bar_write,
	.min_size = 4,
	.max_size = 4,
};

/* --- For the configuration space --- */

void pci_msix_update_locked(struct pci_function *fn)
{
	struct pci_msix *msix = fn->msix;
	uint32_t flags = config_get_locked(fn, msix->cap + PCI_MSIX_FLAGS, 2);
	bool master = pci_command_locked(fn) & PCI_COMMAND_MASTER;
	bool could = msix->can_send;

	pthread_mutex_lock(&msix->lock);
	msix->enabled = flags & PCI_MSIX_FLAGS_ENABLE;
	msix->can_send = msix->enabled && master && !(flags & PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; could != msix->can_send && i < msix->count; i++)
		(void)vector_settle_locked(fn, i);
	pthread_mutex_unlock(&msix->lock);
}

void pci_msix_reset(struct pci_function *fn)
{
	struct pci_msix *msix = fn->msix;

	pthread_mutex_lock(&msix->lock);
	for (unsigned int i = 0; i < msix->count; i++) {
		struct msix_vector *v = &msix->vectors[i];

		route_end_locked(fn, i);
		memset(v->entry, 0, sizeof(v->entry));
		v->entry[ENTRY_CONTROL / 4] = ENTRY_MASKED;
		v->pending = false;
	}
	pthread_mutex_unlock(&msix->lock);
}

/* --- For devices --- */

int pci_msix_init(struct pci_function *fn, unsigned int count, unsigned int bar, struct error **errp)
{
	unsigned int pba = MAX((unsigned int)(count * PCI_MSIX_ENTRY_SIZE), PBA_OFFSET_MIN);
	struct pci_msix *msix;
	uint64_t size = 4096;
	int cap;

	pba = ALIGN_UP(pba, 8u);
	while (size < pba + ALIGN_UP(count, 64u) / 8)
		size *= 2;
	cap = pci_add_capability(fn, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF, errp);
	if (cap < 0)
		return cap;
	msix = calloc(1, sizeof(*msix) + count * sizeof(msix->vectors[0]));
	if (!msix)
		return error_set(errp, -ENOMEM, "out of memory");
	pthread_mutex_init(&msix->lock, NULL);
	msix->count = count;
	msix->cap = (unsigned int)cap;
	msix->pba = pba;
	for (unsigned int i = 0; i < count; i++) {
		msix->vectors[i].entry[ENTRY_CONTROL / 4] = ENTRY_MASKED;
		msix->vectors[i].fd = msix->vectors[i].gsi = -1;
	}
	fn->msix = msix;
	pci_config_set(fn, cap + PCI_MSIX_FLAGS, 2, count - 1);
	pci_config_set_writable(fn, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_config_set(fn, cap + PCI_MSIX_TABLE, 4, bar);
	pci_config_set(fn, cap + PCI_MSIX_PBA, 4, pba | bar);
	pci_add_bar(fn, bar, PCI_BAR_MEM32, size, &bar_ops, fn);
	return 0;
}

void pci_msix_release(struct pci_function *fn)
{
	pthread_mutex_destroy(&fn->msix->lock);
	free(fn->msix);
	fn->msix = NULL;
}

bool pci_msix_enabled(const struct pci_function *fn)
{
	bool enabled;

	if (!fn->msix)
		return false;
	pthread_mutex_lock(&fn->msix->lock);
	enabled = fn->msix->enabled;
	pthread_mutex_unlock(&fn->msix->lock);
	return enabled;
}

unsigned int pci_msix_count(const struct pci_function *fn)
{
	return fn->msix ? fn->msix->count : 0;
}

void pci_msix_notify(struct pci_function *fn, unsigned int vector)
{
	struct pci_msix *msix = fn->msix;

	if (!msix || vector >= msix->count)
		return;
	pthread_mutex_lock(&msix->lock);
	if (msix->enabled && masked_locked(msix, vector))
		msix->vectors[vector].pending = true;
	else if (msix->enabled)
		send_locked(fn, vector);
	pthread_mutex_unlock(&msix->lock);
}

int pci_msix_set_eventfd(struct pci_function *fn, unsigned int vector, int fd)
{
	struct pci_msix *msix = fn->msix;
	int ret = 0;

	if (!msix || vector >= msix->count)
		return -EINVAL;
	pthread_mutex_lock(&msix->lock);
	route_end_locked(fn, vector);
	msix->vectors[vector].fd = fd;
	if (fd >= 0)
		ret = vector_settle_locked(fn, vector);
	if (ret)
		msix->vectors[vector].fd = -1;
	pthread_mutex_unlock(&msix->lock);
	return ret;
}
