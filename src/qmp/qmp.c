// SPDX-License-Identifier: Apache-2.0
/* The control plane as a whole: from the description's monitors to their end. */
#define LOG_MODULE "qmp"

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "util/alloc.h"
#include "util/fd_store.h"
#include "util/log.h"

void qmp_monitor_connected(struct qmp_monitor *monitor)
{
	struct qmp *qmp = monitor->qmp;

	monitor->wait = false;
	if (!qmp->waiting)
		return;
	list_for_each(monitor, &qmp->monitors, node) {
		if (monitor->wait)
			return;
	}
	loop_stop(qmp->loop);
}

int qmp_start(struct machine *machine, const struct vm_config *config, struct loop *loop,
	      struct qmp **ret, struct error **errp)
{
	struct opts *opts;
	struct qmp *qmp;
	int err;

	*ret = NULL;
	if (list_empty(&config->monitors))
		return 0;
	qmp = xcalloc(1, sizeof(*qmp));
	qmp->machine = machine;
	qmp->loop = loop;
	list_init(&qmp->monitors);
	list_init(&qmp->sessions);
	list_init(&qmp->limited);
	qmp_event_watch(qmp);
	list_for_each(opts, &config->monitors, node) {
		/* -mon names a back end; -qmp and -api-channel say where to listen. */
		err = strcmp(opts->origin, "-mon") && !opts_get(opts, "chardev")
			      ? qmp_listener_new(qmp, opts, errp)
			      : qmp_chardev_monitor_new(qmp, opts, errp);
		if (err) {
			qmp_free(qmp);
			return err;
		}
	}
	*ret = qmp;
	return 0;
}

bool qmp_wait(struct qmp *qmp)
{
	struct qmp_monitor *monitor;
	unsigned int waiting = 0;

	if (!qmp)
		return true;
	list_for_each(monitor, &qmp->monitors, node)
		waiting += monitor->wait;
	if (waiting) {
		log_info("waiting for a client of each of %u monitors", waiting);
		qmp->waiting = true;
		loop_run(qmp->loop);
		qmp->waiting = false;
	}
	return !qmp->ending;
}

void qmp_free(struct qmp *qmp)
{
	struct qmp_monitor *monitor, *next;

	if (!qmp)
		return;
	list_for_each_safe(monitor, next, &qmp->monitors, node) {
		list_del(&monitor->node);
		monitor->free(monitor);
	}
	qmp_event_unwatch(qmp);
	fd_store_clear();
	free(qmp);
}
