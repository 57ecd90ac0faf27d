// SPDX-License-Identifier: Apache-2.0
/* The VM's life: stop, cont, reset, power button, end. */
#include <stdlib.h>

#include "internal.h"

QMP_HANDLER(stop)
{
	(void)args;
	(void)ret;
	(void)errp;
	machine_stop(call->qmp->machine);
	return 0;
}

QMP_HANDLER(cont)
{
	(void)args;
	(void)ret;
	return machine_cont(call->qmp->machine, errp);
}

QMP_HANDLER(system_reset)
{
	(void)args;
	(void)ret;
	return machine_reset(call->qmp->machine, errp);
}

QMP_HANDLER(system_powerdown)
{
	(void)args;
	(void)ret;
	/* -ENODEV is about the button, not about a device that the client named. */
	return qmp_generic_error(machine_powerdown(call->qmp->machine, errp), errp);
}

static void end(struct qmp *qmp)
{
	machine_quit(qmp->machine, EXIT_SUCCESS, "host-qmp-quit");
}

QMP_HANDLER(quit)
{
	(void)args;
	(void)ret;
	(void)errp;
	call->after = end; /* the reply comes before SHUTDOWN */
	return 0;
}

static QMP_TYPE_ENUM(run_state, "RunState", "prelaunch", "running", "paused", "shutdown",
		     "guest-panicked", "io-error", "internal-error");
static QMP_TYPE_OBJECT(status_info, "StatusInfo", QMP_MEMBER("running", qmp_bool, "the vCPUs run"),
		       QMP_MEMBER("singlestep", qmp_bool, "always false"),
		       QMP_MEMBER("status", run_state, "the run state"));

QMP_HANDLER(query_status)
{
	enum run_state state = machine_run_state(call->qmp->machine);

	(void)args;
	(void)errp;
	*ret = json_object_new_object();
	qmp_add_bool(*ret, "running", state == RUN_STATE_RUNNING);
	qmp_add_bool(*ret, "singlestep", false);
	qmp_add_str(*ret, "status", run_state_name(state));
	return 0;
}

static QMP_TYPE_ENUM(reboot_action, "RebootAction", "reset", "shutdown");
static QMP_TYPE_ENUM(shutdown_action, "ShutdownAction", "poweroff", "pause");
static QMP_TYPE_ENUM(panic_action, "PanicAction", "shutdown", "pause", "exit-failure", "none");
static QMP_TYPE_ENUM(watchdog_action, "WatchdogAction", "reset", "shutdown", "poweroff", "pause", "debug",
		     "none", "inject-nmi");

QMP_HANDLER(set_action)
{
	const struct machine_actions actions = {
		.reboot = qmp_arg_str(args, "reboot"),
		.shutdown = qmp_arg_str(args, "shutdown"),
		.panic = qmp_arg_str(args, "panic"),
	};

	(void)ret;
	(void)errp;
	machine_set_actions(call->qmp->machine, &actions);
	return 0;
}

const struct qmp_command qmp_life_commands[] = {
	{ .name = "query-status",
	  .help = "the run state",
	  .returns = &status_info,
	  .handler = query_status },
	{ .name = "stop",
	  .help = "stop the vCPUs and all I/O; no effect when they do not run",
	  .handler = stop },
	{ .name = "cont", .help = "let the VM run, first start or after a stop", .handler = cont },
	{ .name = "system_reset",
	  .help = "back to power-on and boot again; the VM runs afterwards if it ran before",
	  .handler = system_reset },
	{ .name = "system_powerdown",
	  .help = "press the power button",
	  .handler = system_powerdown },
	{ .name = "set-action",
	  .help = "what to do from now on when the guest reboots, powers off or panics, as -action",
	  .args = QMP_MEMBERS(QMP_OPTIONAL("reboot", reboot_action, NULL), QMP_OPTIONAL("shutdown", shutdown_action, NULL),
			      QMP_OPTIONAL("panic", panic_action, NULL),
			      QMP_OPTIONAL("watchdog", watchdog_action, "without effect: there is no watchdog")),
	  .handler = set_action },
	{ .name = "quit", .help = "end the VM and its process, exit status 0", .handler = quit },
	{ .name = NULL },
};
