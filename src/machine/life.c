// SPDX-License-Identifier: Apache-2.0
/* The life of a machine that is built: run states, reset, power-off, errors, and who watches. */
#define LOG_MODULE "machine"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/ged.h"
#include "internal.h"
#include "util/log.h"

static int __must_check reset(struct machine *machine, bool guest, const char *reason,
			      struct error **errp);

/* --- requests from devices and vCPUs ------------------------------------------------ */

static void post(struct machine *machine, unsigned int what, int status, const char *reason)
{
	pthread_mutex_lock(&machine->request_lock);
	/* The first exit counts, whatever the guest asks for before it is served. */
	if (what == GUEST_EXIT && !(machine->requests & 1u << GUEST_EXIT)) {
		machine->request_status = status;
		machine->request_reason = reason;
	}
	machine->requests |= 1u << what;
	pthread_mutex_unlock(&machine->request_lock);
	loop_call_schedule(&machine->on_request);
}

static void platform_request(struct platform *platform, enum guest_request what, int status,
			     const char *reason)
{
	post(container_of(platform, struct machine, platform), what, status, reason);
}

/* On the vCPU's thread, which parks itself when this returns. */
void life_vcpu_stopped(void *opaque, unsigned int index, enum vcpu_stop_reason why,
			 const char *text)
{
	struct machine *machine = opaque;

	switch (why) {
	case VCPU_STOP_RESET:
		log_info("vCPU %u: %s", index, text);
		post(machine, GUEST_RESET, 0, "guest-reset");
		break;
	case VCPU_STOP_SHUTDOWN:
		post(machine, GUEST_POWEROFF, 0, "guest-shutdown");
		break;
	case VCPU_STOP_CRASH:
		post(machine, GUEST_PANICKED, 0, "guest-panic");
		break;
	case VCPU_STOP_ERROR:
		log_error("vCPU %u stopped: %s", index, text);
		pthread_mutex_lock(&machine->request_lock);
		machine->vcpu_error = true;
		pthread_mutex_unlock(&machine->request_lock);
		loop_call_schedule(&machine->on_request);
		break;
	}
}

static void set_state(struct machine *machine, enum run_state to)
{
	if (machine->run_state == to)
		return;
	if (!run_state_may_change(machine->run_state, to)) {
		log_debug("run state stays %s, not %s", run_state_name(machine->run_state),
			  run_state_name(to));
		return;
	}
	log_debug("run state %s -> %s", run_state_name(machine->run_state), run_state_name(to));
	machine->run_state = to;
}

/* Everything at rest, in a state that says why. */
void life_halt(struct machine *machine, enum run_state state)
{
	if (machine->run_state == RUN_STATE_RUNNING) {
		vcpus_pause(machine->vcpus);
		devices_quiesce(&machine->platform);
	}
	set_state(machine, state);
}

static void go(struct machine *machine)
{
	devices_resume(&machine->platform);
	set_state(machine, RUN_STATE_RUNNING);
	vcpus_resume(machine->vcpus);
}

/* --- observers ------------------------------------------------------------------------ */

static void notify_info(struct machine *machine, enum machine_event event,
			const struct machine_event_info *info)
{
	struct machine_observer *observer, *next;

	list_for_each_safe(observer, next, &machine->observers, node)
		observer->event(observer, event, info);
}

static void notify(struct machine *machine, enum machine_event event, bool guest, const char *reason)
{
	const struct machine_event_info info = {
		.guest = guest,
		.reason = reason,
		.stays = machine->no_shutdown && !machine->ended,
	};

	notify_info(machine, event, &info);
}

static void platform_event(struct platform *platform, enum device_event what,
			   const struct device_event_info *device)
{
	struct machine *machine = container_of(platform, struct machine, platform);
	const struct machine_event_info info = { .device_event = what, .device = device };

	notify_info(machine, MACHINE_EVENT_DEVICE, &info);
}

static void netdev_connected(struct netdev_listener *listener, struct netdev *netdev, const struct address *peer)
{
	struct machine *machine = container_of(listener, struct machine, netdev_listener);
	const struct machine_event_info info = { .netdev = netdev, .peer = peer };

	notify_info(machine, MACHINE_EVENT_NETDEV, &info);
}

void machine_add_observer(struct machine *machine, struct machine_observer *observer)
{
	list_add_tail(&machine->observers, &observer->node);
}

void machine_del_observer(struct machine_observer *observer)
{
	list_del(&observer->node);
}

/* --- what the guest asked for ----------------------------------------------------------- */

static void end_loop(struct machine *machine, int exit_status, const char *reason)
{
	log_info("end: %s, exit status %d", reason, exit_status);
	machine->exit_status = exit_status;
	machine->ended = true;
	loop_stop(machine->loop);
}

/* The guest is done. With -no-shutdown the process stays, its vCPUs stopped. */
static void guest_ended(struct machine *machine, enum run_state state, const char *reason)
{
	bool was_running = machine->run_state == RUN_STATE_RUNNING;

	notify(machine, MACHINE_EVENT_SHUTDOWN, true, reason);
	life_halt(machine, state);
	if (!machine->no_shutdown) {
		end_loop(machine, 0, reason);
		return;
	}
	log_info("guest ended (%s); -no-shutdown keeps the process", reason);
	if (was_running)
		notify(machine, MACHINE_EVENT_STOP, false, NULL);
}

static bool panic_action_is(const struct machine *machine, const char *word)
{
	return !strcmp(machine->panic_action, word);
}

static void notify_panic(struct machine *machine, bool stays, bool runs)
{
	const struct machine_event_info info = { .guest = true, .stays = stays, .runs = runs };

	notify_info(machine, MACHINE_EVENT_PANICKED, &info);
}

static void guest_panicked(struct machine *machine)
{
	bool was_running = machine->run_state == RUN_STATE_RUNNING;

	if (panic_action_is(machine, "none")) {
		notify_panic(machine, true, true);
	} else if (panic_action_is(machine, "pause")) {
		notify_panic(machine, true, false);
		life_halt(machine, RUN_STATE_GUEST_PANICKED);
		if (was_running)
			notify(machine, MACHINE_EVENT_STOP, false, NULL);
	} else if (panic_action_is(machine, "exit-failure")) {
		notify_panic(machine, false, false);
		life_halt(machine, RUN_STATE_GUEST_PANICKED);
		machine->ended = true;
		notify(machine, MACHINE_EVENT_SHUTDOWN, true, "guest-panic");
		end_loop(machine, EXIT_FAILURE, "guest-panic");
	} else {
		notify_panic(machine, machine->no_shutdown, false);
		guest_ended(machine, RUN_STATE_GUEST_PANICKED, "guest-panic");
	}
}

/* The requests that failed wait in their devices. */
static void io_failed(struct machine *machine)
{
	if (machine->run_state != RUN_STATE_RUNNING)
		return;
	log_warn("the VM stops, as the host's storage failed; \"cont\" tries again");
	life_halt(machine, RUN_STATE_IO_ERROR);
	notify(machine, MACHINE_EVENT_STOP, false, NULL);
}

/* Main loop: what devices and vCPUs asked for since the last call. An end outranks a reset. */
static void on_request(struct loop_call *call)
{
	struct machine *machine = container_of(call, struct machine, on_request);
	struct error *err = NULL;
	unsigned int requests;
	const char *reason;
	bool vcpu_error;
	int status;

	pthread_mutex_lock(&machine->request_lock);
	requests = machine->requests;
	status = machine->request_status;
	reason = machine->request_reason;
	vcpu_error = machine->vcpu_error;
	machine->requests = 0;
	machine->vcpu_error = false;
	pthread_mutex_unlock(&machine->request_lock);

	if (vcpu_error) {
		life_halt(machine, RUN_STATE_INTERNAL_ERROR);
		machine_quit(machine, EXIT_FAILURE, "host-error");
	} else if (requests & (1u << GUEST_EXIT)) {
		life_halt(machine, RUN_STATE_SHUTDOWN);
		machine->ended = true;
		notify(machine, MACHINE_EVENT_SHUTDOWN, true, "guest-shutdown");
		end_loop(machine, status, reason);
	} else if (requests & (1u << GUEST_POWEROFF)) {
		guest_ended(machine, RUN_STATE_SHUTDOWN, "guest-shutdown");
	} else if (requests & (1u << GUEST_PANICKED)) {
		guest_panicked(machine);
	} else if (requests & (1u << GUEST_RESET)) {
		if (machine->no_reboot) {
			guest_ended(machine, RUN_STATE_SHUTDOWN, "guest-reset");
		} else if (reset(machine, true, "guest-reset", &err)) {
			error_report(err);
			machine_quit(machine, EXIT_FAILURE, "host-error");
		}
	} else if (requests & (1u << GUEST_IO_ERROR)) {
		io_failed(machine);
	}
}

void machine_set_actions(struct machine *machine, const struct machine_actions *actions)
{
	if (actions->reboot)
		machine->no_reboot = !strcmp(actions->reboot, "shutdown");
	if (actions->shutdown)
		machine->no_shutdown = !strcmp(actions->shutdown, "pause");
	for (unsigned int i = 0; actions->panic && vm_panic_words[i]; i++)
		if (!strcmp(actions->panic, vm_panic_words[i]))
			machine->panic_action = vm_panic_words[i];
}

/* --- life cycle ---------------------------------------------------------------------- */

/* Writes what boots into memory and points the boot CPU at it. */
int life_load(struct machine *machine, struct error **errp)
{
	struct vcpu_entry entry = { .mode = VCPU_ENTRY_RESET };
	int ret;

	ret = machine->class->load(machine, &entry, errp);
	if (ret)
		return ret;
	return vcpu_set_entry(machine->vcpus, &entry, errp);
}

static void forget_requests(struct machine *machine, unsigned int which)
{
	pthread_mutex_lock(&machine->request_lock);
	machine->requests &= ~which;
	pthread_mutex_unlock(&machine->request_lock);
}

int machine_cont(struct machine *machine, struct error **errp)
{
	if (machine->run_state == RUN_STATE_RUNNING)
		return 0;
	if (machine->run_state != RUN_STATE_PRELAUNCH && machine->run_state != RUN_STATE_PAUSED &&
	    machine->run_state != RUN_STATE_IO_ERROR)
		return error_set(errp, -EPERM, "the VM is in state '%s' and needs a reset first",
				 run_state_name(machine->run_state));
	forget_requests(machine, 1u << GUEST_IO_ERROR);
	notify(machine, MACHINE_EVENT_RESUME, false, NULL);
	go(machine);
	return 0;
}

void machine_stop(struct machine *machine)
{
	if (machine->run_state != RUN_STATE_RUNNING)
		return;
	life_halt(machine, RUN_STATE_PAUSED);
	notify(machine, MACHINE_EVENT_STOP, false, NULL);
}

static int reset(struct machine *machine, bool guest, const char *reason, struct error **errp)
{
	bool was_running = machine->run_state == RUN_STATE_RUNNING;
	int ret;

	life_halt(machine, RUN_STATE_PAUSED); /* one that was never started stays in its state */
	/* What a vCPU asked for between the request that is served and its stop belongs to the life that ends. */
	forget_requests(machine, 1u << GUEST_RESET | 1u << GUEST_IO_ERROR);
	devices_reset(&machine->platform);
	ret = vcpus_reset(machine->vcpus, errp);
	if (ret)
		return ret;
	ret = life_load(machine, errp);
	if (ret)
		return ret;
	log_info("reset: %s", reason);
	notify(machine, MACHINE_EVENT_RESET, guest, reason);
	if (was_running)
		go(machine);
	return 0;
}

int machine_reset(struct machine *machine, struct error **errp)
{
	return reset(machine, false, "host-qmp-system-reset", errp);
}

int machine_powerdown(struct machine *machine, struct error **errp)
{
	int ret = machine->class->power_button ? machine->class->power_button(machine) :
						 ged_power_button(&machine->platform);

	if (ret)
		return error_set(errp, -ENODEV,
				 "machine '%s' has no power button that this guest can see (acpi=off)",
				 machine->class->name);
	notify(machine, MACHINE_EVENT_POWERDOWN, false, NULL);
	return 0;
}

void machine_quit(struct machine *machine, int exit_status, const char *reason)
{
	bool first = !machine->ended;

	machine->ended = true;
	if (first)
		notify(machine, MACHINE_EVENT_SHUTDOWN, false, reason);
	end_loop(machine, exit_status, reason);
}

enum run_state machine_run_state(const struct machine *machine)
{
	return machine->run_state;
}

int machine_exit_status(const struct machine *machine)
{
	return machine->exit_status;
}

/* --- its beginning and end ------------------------------------------------------------ */

void life_init(struct machine *machine)
{
	machine->no_reboot = machine->config->no_reboot;
	machine->no_shutdown = machine->config->no_shutdown;
	machine->panic_action = machine->config->panic_action ? machine->config->panic_action : vm_panic_words[0];
	machine->platform.unplugged = hotplug_unplugged;
	machine->platform.request = platform_request;
	machine->platform.event = platform_event;
	machine->netdev_listener.connected = netdev_connected;
	list_init(&machine->observers);
	pthread_mutex_init(&machine->request_lock, NULL);
	loop_call_init(&machine->on_request, machine->loop, on_request);
}

void life_release(struct machine *machine)
{
	loop_call_cancel(&machine->on_request);
	pthread_mutex_destroy(&machine->request_lock);
}
