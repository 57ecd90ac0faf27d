// SPDX-License-Identifier: Apache-2.0
/* Parse, build, run. */
#define LOG_MODULE "main"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "block/drive.h"
#include "block/node.h"
#include "chardev/chardev.h"
#include "config/vm_config.h"
#include "machine/machine.h"
#include "net/netdev.h"
#include "qmp/qmp.h"
#include "seccomp/sandbox.h"
#include "util/daemon.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/version.h"

struct signals {
	struct loop_fd lfd;
	struct machine *machine;
	bool seen;
	bool nohup; /* whoever started this process wants it to outlive the terminal */
};

/* A log file was moved away. False: there is none. */
static bool reopen_log(void)
{
	struct error *err = NULL;

	if (!log_is_file())
		return false;
	if (log_reopen(&err))
		error_report(err);
	else
		log_info("log opened again");
	return true;
}

/*
 * SIGWINCH is for the guest. SIGTERM, SIGINT and SIGHUP without a log file and without nohup(1) end the VM in order; a second one
 * ends the process at once.
 */
static void on_signal(struct loop_fd *lfd, uint32_t events)
{
	struct signals *signals = container_of(lfd, struct signals, lfd);
	struct signalfd_siginfo info;

	(void)events;
	if (fd_read(lfd->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		chardev_terminal_resized();
		return;
	}
	if (info.ssi_signo == SIGHUP && (reopen_log() || signals->nohup))
		return;
	if (signals->seen) {
		chardev_restore_terminal();
		_exit(EXIT_FAILURE);
	}
	signals->seen = true;
	log_warn("signal %u: ending", info.ssi_signo);
	machine_quit(signals->machine, EXIT_SUCCESS, "host-signal");
}

static bool is_ignored(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN;
}

/*
 * Blocks the signals before any thread exists, so that only signalfd sees them: also those that are ignored. A shell starts what
 * runs in the background without SIGINT, which is meant for others then.
 */
static int signals_block(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	if (!is_ignored(SIGINT))
		sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGWINCH); /* ignored otherwise; the terminal of -chardev stdio has another size */
	signal(SIGPIPE, SIG_IGN);
	return pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void on_terminal_quit(void *opaque)
{
	machine_quit(opaque, EXIT_SUCCESS, "host-ui");
}

static int run(const struct vm_config *config, struct error **errp)
{
	struct signals signals = { .lfd = { .events = EPOLLIN, .handler = on_signal }, .nohup = is_ignored(SIGHUP) };
	struct machine *machine = NULL;
	struct sandbox sandbox;
	struct qmp *qmp = NULL;
	struct loop *loop;
	sigset_t set;
	int status = -1, ret;

	if (sandbox_init(config, &sandbox, errp))
		return -1;
	signals_block(&set);
	/* What comes later counts, too: it fails where the limit is reached. */
	if (config->mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE)) {
		error_set_errno(errp, -errno, "-overcommit mem-lock=on (see RLIMIT_MEMLOCK)");
		return -1;
	}
	loop = loop_new("main", errp);
	if (!loop)
		return -1;
	ret = machine_new(config, loop, &machine, errp);
	if (ret)
		goto out;
	signals.machine = machine;
	signals.lfd.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals.lfd.fd < 0 || loop_fd_add(loop, &signals.lfd)) {
		error_set(errp, -1, "cannot watch for signals");
		goto out;
	}
	chardev_set_quit_handler(on_terminal_quit, machine);
	if (config->pidfile && pidfile_create(config->pidfile, errp))
		goto out;
	if (qmp_start(machine, config, loop, &qmp, errp))
		goto out;
	if (!qmp_wait(qmp)) {
		status = machine_exit_status(machine);
		goto out;
	}
	if (sandbox_enter(&sandbox, errp))
		goto out;
	if (!config->start_paused && machine_cont(machine, errp))
		goto out;
	daemon_ready();
	loop_run(loop);
	status = machine_exit_status(machine);
out:
	qmp_free(qmp);
	machine_free(machine);
	if (signals.lfd.loop)
		loop_fd_del(&signals.lfd);
	fd_close(&signals.lfd.fd);
	loop_free(loop);
	pidfile_remove();
	chardev_restore_terminal();
	return status;
}

/* The answers that need no VM; returns the exit status. */
static int answer(enum cmdline_action action, const char *topic, const struct vm_config *config,
		  struct error **errp)
{
	switch (action) {
	case CMDLINE_HELP:
		cmdline_help(stdout);
		return EXIT_SUCCESS;
	case CMDLINE_OPTION_HELP:
		cmdline_option_help(topic, stdout);
		return EXIT_SUCCESS;
	case CMDLINE_VERSION:
		puts(version_text());
		return EXIT_SUCCESS;
	case CMDLINE_DEVICE_HELP:
		return machine_device_help(topic, stdout, errp) ? EXIT_FAILURE : EXIT_SUCCESS;
	case CMDLINE_MACHINE_HELP:
		return machine_help(topic, stdout, errp) ? EXIT_FAILURE : EXIT_SUCCESS;
	case CMDLINE_OBJECT_HELP:
		return machine_object_help(topic, stdout, errp) ? EXIT_FAILURE : EXIT_SUCCESS;
	case CMDLINE_CHARDEV_HELP:
		chardev_help(stdout);
		return EXIT_SUCCESS;
	case CMDLINE_NETDEV_HELP:
		netdev_help(stdout);
		return EXIT_SUCCESS;
	case CMDLINE_BLOCKDEV_HELP:
		puts("Block nodes (-blockdev DRIVER,node-name=NAME,...):");
		property_help(block_node_props, stdout);
		return EXIT_SUCCESS;
	case CMDLINE_DRIVE_HELP:
		puts("Disk images (-drive id=ID,file=FILE,...):");
		property_help(block_drive_props, stdout);
		return EXIT_SUCCESS;
	case CMDLINE_DUMP_DOCS:
		if (!strcmp(topic, "qmp")) {
			qmp_dump_docs(stdout);
			return EXIT_SUCCESS;
		}
		error_set(errp, -EINVAL, "-dump-docs %s: there is qmp", topic);
		return EXIT_FAILURE;
	case CMDLINE_DUMP_CONFIG:
		return vm_config_dump(config, stdout, errp) ? EXIT_FAILURE : EXIT_SUCCESS;
	case CMDLINE_RUN:
		break;
	}
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	enum cmdline_action action = CMDLINE_RUN;
	struct error *err = NULL;
	struct vm_config config;
	char *topic = NULL;
	int status = EXIT_FAILURE;

	fd_open_standard();
	signal(SIGXFSZ, SIG_IGN); /* RLIMIT_FSIZE is an error of write(): a guest that prints much is not our end */
	log_init();
	vm_config_init(&config);
	if (cmdline_parse(argc, argv, &config, &action, &topic, &err))
		goto out;
	if (action != CMDLINE_RUN) {
		status = answer(action, topic, &config, &err);
		if (!err && (fflush(stdout) || ferror(stdout)))
			error_set_errno(&err, -errno, "standard output");
		goto out;
	}
	if (config.log_to_file && log_open(config.log_path, &err))
		goto out;
	if (config.daemonize && daemon_begin(&err))
		goto out;
	log_info("%s", version_text());
	status = run(&config, &err);
out:
	if (err) {
		error_report(err);
		status = EXIT_FAILURE;
	}
	vm_config_release(&config);
	free(topic);
	return status;
}
