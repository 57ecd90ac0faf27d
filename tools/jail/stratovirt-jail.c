// SPDX-License-Identifier: Apache-2.0
/*
 * The steps, in their order. Paths are opened within the new mount namespace, since mounts of another one cannot be shown, and before the root
 * directory changes; what needs root comes before it is given up.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail.h"
#include "util/macros.h"

void jail_say(const struct jail *jail, const char *fmt, ...)
{
	va_list args;

	if (!jail->verbose)
		return;
	va_start(args, fmt);
	fputs("stratovirt-jail: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
}

static int (*const steps[])(struct jail *jail, struct error **errp) = {
	namespaces_enter, paths_open, paths_create, root_change,
};

static pid_t child;

static void pass_on(int signo)
{
	kill(child, signo);
}

/* The first process of a PID namespace is the VMM; this one waits outside, passes signals on and ends with its status. */
static int wait_outside(void)
{
	static const int passed[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
	struct sigaction action = { .sa_handler = pass_on };
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		sigaction(passed[i], &action, NULL);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILURE;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int clean(struct jail *jail, struct error **errp)
{
	int ret = cgroup_remove(jail, errp);

	return ret ? ret : paths_remove(jail, errp);
}

/* Does not return if all goes well. */
static int become_vmm(struct jail *jail, struct error **errp)
{
	unsigned int count = 0;
	const char **argv;
	int ret;

	while (jail->vmm_args[count])
		count++;
	argv = calloc(count + 2, sizeof(*argv));
	if (!argv)
		return error_set(errp, -ENOMEM, "out of memory");
	argv[0] = jail->exec_name;
	memcpy(argv + 1, jail->vmm_args, count * sizeof(*argv));
	ret = identity_drop(jail, errp);
	if (ret)
		return ret;
	/* Should the outside be killed, the inside goes with it. A change of the user undoes this, so it comes after. */
	if (jail->new_pid && prctl(PR_SET_PDEATHSIG, SIGKILL))
		return error_set_errno(errp, -errno, "-new-pid");
	jail_say(jail, "exec %s", jail->exec_name);
	fexecve(jail->exec_fd, (char *const *)argv, environ);
	return error_set_errno(errp, -errno, "-exec-file %s: exec", jail->exec_file);
}

static int run(struct jail *jail, struct error **errp)
{
	int ret;

	ret = descriptors_close(jail, errp);
	if (!ret)
		ret = limits_set(jail, errp);
	if (!ret)
		ret = cgroup_enter(jail, errp);
	for (size_t i = 0; !ret && i < ARRAY_SIZE(steps); i++)
		ret = steps[i](jail, errp);
	if (ret)
		return ret;
	if (jail->new_pid) {
		child = fork();
		if (child < 0)
			return error_set_errno(errp, -errno, "-new-pid: fork");
		if (child)
			exit(wait_outside());
	}
	return become_vmm(jail, errp);
}

int main(int argc, char **argv)
{
	struct jail jail = { .base_fd = -1, .exec_dir_fd = -1, .dir_fd = -1, .exec_fd = -1 };
	struct error *err = NULL;
	int ret;

	ret = options_parse(&jail, argc, argv, &err);
	if (ret == -ECANCELED)
		return EXIT_SUCCESS;
	if (!ret)
		ret = jail.clean ? clean(&jail, &err) : run(&jail, &err);
	if (ret)
		fprintf(stderr, "stratovirt-jail: %s\n", error_text(err));
	error_free(err);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
