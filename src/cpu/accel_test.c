// SPDX-License-Identifier: Apache-2.0
/*
 * The operations of the test accelerator: interrupts are recorded, notifications come by register
 * access, and memory needs no mapping. There is no interrupt controller: a line is what its device
 * drives.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "test_private.h"
#include "util/alloc.h"
#include "util/fd.h"

#define LOG_MODULE "test"
#include "util/log.h"

#define LINES 1024	     /* GSIs that devices may have */
#define ROUTES_MAX 4096	     /* and behind them those of MSI routes */
#define MESSAGES_MAX 4096    /* different ones that nobody asked for */
#define TRANSITIONS_MAX 4096 /* between two turns of the main loop */
#define VCPUS_MAX 254

struct test_line {
	bool level;
	uint64_t edges; /* that nobody has taken */
	int resample_fd;
};

struct test_route {
	bool used;
	struct msi_message msg;
};

/* The receiving end of an irqfd. */
struct test_irqfd {
	struct list node;
	struct test_accel *accel;
	uint32_t gsi;
	int owner_fd; /* as the owner knows it */
	struct loop_fd lfd;
};

/* --- Recording, under the lock --- */

static void transition_locked(struct test_accel *accel, uint32_t gsi, bool level)
{
	if (!accel->record || accel->transition_count == TRANSITIONS_MAX)
		return;
	accel->transitions[accel->transition_count++] = (struct test_transition){ gsi, level };
	loop_call_schedule(&accel->tell);
}

static void message_locked(struct test_accel *accel, const struct msi_message *msg)
{
	for (unsigned int i = 0; i < accel->message_count; i++)
		if (accel->messages[i].address == msg->address &&
		    accel->messages[i].data == msg->data)
			return;
	if (accel->message_count < MESSAGES_MAX)
		accel->messages[accel->message_count++] = *msg;
}

static void edges_locked(struct test_accel *accel, uint32_t gsi, uint64_t count)
{
	struct test_line *line;

	if (gsi >= LINES) {
		gsi -= LINES;
		if (gsi < accel->route_count && accel->routes[gsi].used)
			message_locked(accel, &accel->routes[gsi].msg);
		return;
	}
	line = &accel->lines[gsi];
	if (line->resample_fd >= 0) {
		if (!line->level)
			transition_locked(accel, gsi, true);
		line->level = true;
		return;
	}
	line->edges += count;
	transition_locked(accel, gsi, true);
	transition_locked(accel, gsi, false);
}

static void irqfd_collect(struct test_irqfd *irqfd)
{
	uint64_t count;

	if (fd_read(irqfd->lfd.fd, &count, sizeof(count)) != sizeof(count))
		return;
	pthread_mutex_lock(&irqfd->accel->lock);
	edges_locked(irqfd->accel, irqfd->gsi, count);
	pthread_mutex_unlock(&irqfd->accel->lock);
}

static void irqfd_ready(struct loop_fd *lfd, uint32_t events)
{
	(void)events;
	irqfd_collect(container_of(lfd, struct test_irqfd, lfd));
}

/* What another thread has signalled this moment counts, too. */
static void collect(struct test_accel *accel)
{
	struct test_irqfd *irqfd;

	list_for_each(irqfd, &accel->irqfds, node)
		irqfd_collect(irqfd);
}

/* --- Operations --- */

static int test_map_ram(struct accel *accel, struct error **errp)
{
	(void)accel;
	(void)errp;
	return 0;
}

/* The access reaches the register's handler, which signals the same eventfd. */
static int test_ioeventfd(struct accel *accel, const struct accel_ioeventfd *ioevent, bool assign)
{
	(void)accel;
	(void)ioevent;
	(void)assign;
	return 0;
}

static int test_irq_line(struct accel *base, uint32_t gsi, bool level)
{
	struct test_accel *accel = to_test_accel(base);

	if (gsi >= LINES)
		return -EINVAL;
	pthread_mutex_lock(&accel->lock);
	if (accel->lines[gsi].level != level) {
		accel->lines[gsi].level = level;
		transition_locked(accel, gsi, level);
	}
	pthread_mutex_unlock(&accel->lock);
	return 0;
}

static int irqfd_remove(struct test_accel *accel, uint32_t gsi, int fd)
{
	struct test_irqfd *irqfd, *next;

	list_for_each_safe(irqfd, next, &accel->irqfds, node) {
		if (irqfd->owner_fd != fd || irqfd->gsi != gsi)
			continue;
		irqfd_collect(irqfd);
		loop_fd_del(&irqfd->lfd);
		fd_close(&irqfd->lfd.fd);
		list_del(&irqfd->node);
		free(irqfd);
		if (gsi < LINES)
			accel->lines[gsi].resample_fd = -1;
		return 0;
	}
	return -ENOENT;
}

static int test_irqfd(struct accel *base, uint32_t gsi, int fd, int resample_fd, bool assign)
{
	struct test_accel *accel = to_test_accel(base);
	struct test_irqfd *irqfd;
	int ret;

	if (gsi >= LINES + ROUTES_MAX)
		return -EINVAL;
	if (!assign)
		return irqfd_remove(accel, gsi, fd);
	irqfd = xcalloc(1, sizeof(*irqfd));
	irqfd->accel = accel;
	irqfd->gsi = gsi;
	irqfd->owner_fd = fd;
	/* A descriptor of our own: the owner may close its one first, as KVM allows. */
	irqfd->lfd.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	irqfd->lfd.events = EPOLLIN;
	irqfd->lfd.handler = irqfd_ready;
	ret = irqfd->lfd.fd < 0 ? -errno : loop_fd_add(accel->main_loop, &irqfd->lfd);
	if (ret) {
		fd_close(&irqfd->lfd.fd);
		free(irqfd);
		return ret;
	}
	list_add_tail(&accel->irqfds, &irqfd->node);
	if (gsi < LINES)
		accel->lines[gsi].resample_fd = resample_fd;
	return 0;
}

static int test_signal_msi(struct accel *base, const struct msi_message *msg)
{
	struct test_accel *accel = to_test_accel(base);

	pthread_mutex_lock(&accel->lock);
	message_locked(accel, msg);
	pthread_mutex_unlock(&accel->lock);
	return 0;
}

static int test_route_add(struct accel *base, const struct msi_message *msg)
{
	struct test_accel *accel = to_test_accel(base);
	unsigned int i;
	int ret = -ENOSPC;

	pthread_mutex_lock(&accel->lock);
	for (i = 0; i < accel->route_count && accel->routes[i].used; i++)
		;
	if (i < ROUTES_MAX) {
		accel->route_count = MAX(accel->route_count, i + 1);
		accel->routes[i] = (struct test_route){ true, *msg };
		ret = (int)(LINES + i);
	}
	pthread_mutex_unlock(&accel->lock);
	return ret;
}

static struct test_route *route_locked(struct test_accel *accel, int gsi)
{
	unsigned int i = (unsigned int)gsi - LINES;

	return gsi >= LINES && i < accel->route_count && accel->routes[i].used ? &accel->routes[i]
									       : NULL;
}

static int test_route_update(struct accel *base, int gsi, const struct msi_message *msg)
{
	struct test_accel *accel = to_test_accel(base);
	struct test_route *route;

	collect(accel); /* what was sent before goes to the old destination */
	pthread_mutex_lock(&accel->lock);
	route = route_locked(accel, gsi);
	if (route)
		route->msg = *msg;
	pthread_mutex_unlock(&accel->lock);
	return route ? 0 : -ENOENT;
}

static void test_route_del(struct accel *base, int gsi)
{
	struct test_accel *accel = to_test_accel(base);
	struct test_route *route;

	collect(accel);
	pthread_mutex_lock(&accel->lock);
	route = route_locked(accel, gsi);
	if (route)
		route->used = false;
	pthread_mutex_unlock(&accel->lock);
}

/* --- What a client asks --- */

bool test_irq_pending(struct test_accel *accel, uint32_t gsi)
{
	bool pending;

	if (gsi >= LINES)
		return false;
	collect(accel);
	pthread_mutex_lock(&accel->lock);
	pending = accel->lines[gsi].level || accel->lines[gsi].edges;
	pthread_mutex_unlock(&accel->lock);
	return pending;
}

bool test_irq_eoi(struct test_accel *accel, uint32_t gsi)
{
	struct test_line *line;
	int resample_fd = -1;
	bool pending;

	if (!test_irq_pending(accel, gsi))
		return false;
	pthread_mutex_lock(&accel->lock);
	line = &accel->lines[gsi];
	pending = line->level || line->edges;
	if (line->edges) {
		line->edges--;
	} else if (line->level && line->resample_fd >= 0) {
		/* As KVM does: the EOI takes the line down, and the owner raises it again if it
		 * still wants. */
		line->level = false;
		transition_locked(accel, gsi, false);
		resample_fd = line->resample_fd;
	}
	pthread_mutex_unlock(&accel->lock);
	if (resample_fd >= 0)
		eventfd_signal(resample_fd);
	return pending;
}

bool test_msi_take(struct test_accel *accel, const struct msi_message *msg)
{
	bool found = false;

	collect(accel);
	pthread_mutex_lock(&accel->lock);
	for (unsigned int i = 0; i < accel->message_count && !found; i++) {
		found = accel->messages[i].address == msg->address &&
			accel->messages[i].data == msg->data;
		if (found)
			accel->messages[i] = accel->messages[--accel->message_count];
	}
	pthread_mutex_unlock(&accel->lock);
	return found;
}

void test_irq_record(struct test_accel *accel)
{
	collect(accel);
	pthread_mutex_lock(&accel->lock);
	if (!accel->transitions)
		accel->transitions = xcalloc(TRANSITIONS_MAX, sizeof(*accel->transitions));
	accel->record = true;
	pthread_mutex_unlock(&accel->lock);
}

void test_irq_tell(struct test_accel *accel)
{
	collect(accel);
	pthread_mutex_lock(&accel->lock);
	for (unsigned int i = 0; i < accel->transition_count; i++)
		test_server_tell(accel, accel->transitions[i].gsi, accel->transitions[i].level);
	accel->transition_count = 0;
	pthread_mutex_unlock(&accel->lock);
}

static void tell(struct loop_call *call)
{
	test_irq_tell(container_of(call, struct test_accel, tell));
}

/* --- Life --- */

static void test_free(struct accel *base)
{
	struct test_accel *accel = to_test_accel(base);
	struct test_irqfd *irqfd, *next;
	struct list *node;

	while ((node = list_first(&accel->servers)))
		test_server_free((struct test_server *)node); /* its first member, see there */
	list_for_each_safe(irqfd, next, &accel->irqfds, node)
		(void)irqfd_remove(accel, irqfd->gsi, irqfd->owner_fd);
	loop_call_cancel(&accel->tell);
	pthread_mutex_destroy(&accel->lock);
	free(accel->lines);
	free(accel->messages);
	free(accel->routes);
	free(accel->transitions);
	free(accel);
}

static const struct accel_ops test_ops = {
	.name = "test",
	.map_ram = test_map_ram,
	.ioeventfd = test_ioeventfd,
	.irq_line = test_irq_line,
	.irqfd = test_irqfd,
	.signal_msi = test_signal_msi,
	.msi_route_add = test_route_add,
	.msi_route_update = test_route_update,
	.msi_route_del = test_route_del,
	.free = test_free,
};

int accel_test_new(struct mem_space *space, struct loop *main_loop, struct accel **ret,
		   struct error **errp)
{
	struct test_accel *accel;

	if (!clock_is_stepped())
		return error_set(errp, -EINVAL, "the test accelerator needs the stepped clock");
	accel = xcalloc(1, sizeof(*accel));
	accel->accel.ops = &test_ops;
	accel->accel.space = space;
	accel->accel.vm_fd = -1;
	accel->accel.max_vcpus = VCPUS_MAX;
	accel->accel.no_guest_code = true;
	accel->main_loop = main_loop;
	list_init(&accel->servers);
	list_init(&accel->irqfds);
	loop_call_init(&accel->tell, main_loop, tell);
	pthread_mutex_init(&accel->lock, NULL);
	accel->lines = xcalloc(LINES, sizeof(*accel->lines));
	for (unsigned int i = 0; i < LINES; i++)
		accel->lines[i].resample_fd = -1;
	accel->messages = xcalloc(MESSAGES_MAX, sizeof(*accel->messages));
	accel->routes = xcalloc(ROUTES_MAX, sizeof(*accel->routes));
	*ret = &accel->accel;
	return 0;
}
