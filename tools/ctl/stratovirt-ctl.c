// SPDX-License-Identifier: Apache-2.0
/* The command line of stratovirt-ctl: one command of a monitor, or its events. */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "util/loop.h"
#include "util/parse.h"
#include "util/version.h"

#define TIMEOUT_DEFAULT_S 10
#define TIMEOUT_MAX_S 86400

struct ctl {
	bool json, events;
	bool limited; /* --timeout given */
	uint64_t timeout_s;
	uint64_t count; /* events to see, 0: no end */
	const char *address;
	char **words; /* behind the address, up to NULL */
};

static void usage(FILE *out)
{
	fprintf(out,
		"Usage: stratovirt-ctl [OPTION]... SOCKET COMMAND [KEY=VALUE]...\n"
		"       stratovirt-ctl [OPTION]... --events SOCKET [NAME]...\n"
		"\n"
		"Runs one QMP command of a VM, or watches its events. SOCKET is what -qmp or\n"
		"-api-channel was given: PATH, unix:PATH or tcp:HOST:PORT.\n"
		"\n"
		"KEY=VALUE  true, false, null and integers are what they look like; a value that\n"
		"           begins with {, [ or \" is JSON; the rest are strings. a.b=c nests.\n"
		"           One word that is a JSON object stands for all of its members.\n"
		"\n"
		"      --json         print the result, or each event, as one line of JSON\n"
		"      --events       print events as they come, all or the named ones\n"
		"      --count N      end after so many events\n"
		"      --timeout SEC  wait at most so long for an answer (default %d), or for "
		"events\n"
		"                     (default: no limit); 0: no limit\n"
		"  -h, --help         print this and exit\n"
		"  -V, --version      print the version and exit\n"
		"\n"
		"Exit status: 0, or 1 when the command failed or no event came in time.\n",
		TIMEOUT_DEFAULT_S);
}

/* Returns whether to go on; *@status otherwise. */
static bool parse_words(int argc, char **argv, struct ctl *ctl, int *status)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "events", no_argument, NULL, 'e' },
		{ "count", required_argument, NULL, 'c' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*status = EXIT_FAILURE;
	while ((option = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			ctl->json = true;
			break;
		case 'e':
			ctl->events = true;
			break;
		case 'c':
			if (!parse_u64(optarg, &ctl->count) && ctl->count)
				break;
			fprintf(stderr, "stratovirt-ctl: --count %s: not a number from 1 on\n",
				optarg);
			return false;
		case 't':
			ctl->limited = true;
			if (!parse_u64(optarg, &ctl->timeout_s) && ctl->timeout_s <= TIMEOUT_MAX_S)
				break;
			fprintf(stderr, "stratovirt-ctl: --timeout %s: not in [0, %d] seconds\n",
				optarg, TIMEOUT_MAX_S);
			return false;
		case 'h':
			usage(stdout);
			*status = EXIT_SUCCESS;
			return false;
		case 'V':
			puts(version_text());
			*status = EXIT_SUCCESS;
			return false;
		default: /* getopt has said what is wrong */
			return false;
		}
	}
	if (optind == argc || (!ctl->events && optind + 1 == argc)) {
		usage(stderr);
		return false;
	}
	ctl->address = argv[optind];
	ctl->words = argv + optind + 1;
	return true;
}

static void print_json(struct json_object *value)
{
	puts(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN |
							   JSON_C_TO_STRING_NOSLASHESCAPE));
}

static int run_command(const struct ctl *ctl, struct connection *connection,
		       struct json_object *arguments, struct error **errp)
{
	struct json_object *value;
	int ret;

	ret = connection_execute(connection, ctl->words[0], arguments, &value, errp);
	if (ret)
		return ret;
	if (ctl->json)
		print_json(value);
	else
		print_value(value, stdout);
	json_object_put(value);
	return 0;
}

static bool is_wanted(const struct ctl *ctl, struct json_object *event)
{
	struct json_object *name = NULL;

	if (!ctl->words[0])
		return true;
	json_object_object_get_ex(event, "event", &name);
	for (char **word = ctl->words; *word; word++) {
		if (strcmp(*word, json_object_get_string(name)) == 0)
			return true;
	}
	return false;
}

/* Until the VM ends, enough came, or the time is up. */
static int watch(const struct ctl *ctl, struct connection *connection, struct error **errp)
{
	int64_t until =
		ctl->timeout_s ? clock_now_ns() + (int64_t)ctl->timeout_s * NSEC_PER_SEC : 0;
	struct json_object *event;
	uint64_t seen = 0;
	int ret;

	while ((ret = connection_next_event(connection, until, &event, errp)) == 1) {
		if (is_wanted(ctl, event)) {
			if (ctl->json)
				print_json(event);
			else
				print_event(event, stdout);
			fflush(stdout);
			seen++;
		}
		json_object_put(event);
		if (ctl->count && seen == ctl->count)
			return 0;
	}
	if (ret < 0 && ret != -ETIMEDOUT)
		return ret;
	if (seen && (!ctl->count || seen == ctl->count)) {
		/* Time that is up is no failure when there was something to see. */
		error_free(*errp);
		*errp = NULL;
		return 0;
	}
	if (ret == 0)
		return error_set(errp, -ECONNRESET, "the monitor closed the connection");
	error_free(*errp);
	*errp = NULL;
	return error_set(errp, ret, "%llu events came in %llu s", (unsigned long long)seen,
			 (unsigned long long)ctl->timeout_s);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { 0 };
	struct connection *connection = NULL;
	struct json_object *arguments = NULL;
	struct error *err = NULL;
	uint64_t timeout_s;
	int status, ret;

	if (!parse_words(argc, argv, &ctl, &status))
		return status;
	timeout_s =
		ctl.limited && !(ctl.events && !ctl.timeout_s) ? ctl.timeout_s : TIMEOUT_DEFAULT_S;
	/* What is wrong with the words is said before anything happens. */
	ret = ctl.events ? 0 : arguments_parse(ctl.words + 1, &arguments, &err);
	if (!ret)
		ret = connection_open(ctl.address, (unsigned int)timeout_s * 1000, &connection,
				      &err);
	if (!ret)
		ret = ctl.events ? watch(&ctl, connection, &err)
				 : run_command(&ctl, connection, arguments, &err);
	json_object_put(arguments);
	connection_close(connection);
	if (ret) {
		fputs("stratovirt-ctl: ", stderr);
		print_text(err ? error_text(err) : "failed", false, stderr);
		fputc('\n', stderr);
	}
	error_free(err);
	return ret || fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
