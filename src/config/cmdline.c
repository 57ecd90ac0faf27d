// SPDX-License-Identifier: Apache-2.0
/*
 * Splits the command line into options and their values by the table and calls each option's
 * handler. Long words with one dash; two dashes are taken as well. "--" alone ends the options.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "config"
#include "cmdline_private.h"
#include "json_config.h"
#include "old_dialect.h"
#include "util/alloc.h"
#include "util/log.h"
#include "util/parse.h"

/* A lone '-' is a file name to many; everything else with a dash is an option. */
static bool is_option(const char *word)
{
	return word[0] == '-' && word[1];
}

static const struct cmdline_option *find_in(const struct cmdline_option *table, const char *name)
{
	for (; table->name || table->help; table++) {
		if (!table->name)
			continue;
		if (strcmp(name, table->name) == 0 ||
		    (table->alias && strcmp(name, table->alias) == 0))
			return table;
	}
	return NULL;
}

static int unknown_option(const char *word, const char *name, struct error **errp)
{
	const struct cmdline_option *option;
	const char **names, *nearest;
	size_t count = 0;

	for (option = cmdline_options; option->name || option->help; option++)
		count += 2;
	names = xcalloc(count + 1, sizeof(*names));
	count = 0;
	for (option = cmdline_options; option->name || option->help; option++) {
		if (option->name)
			names[count++] = option->name;
		if (option->alias)
			names[count++] = option->alias;
	}
	nearest = nearest_name(name, names);
	free(names);
	if (cmdline_instead_of(name))
		return error_set(errp, -ENOTSUP, "there is no option '%s' here: %s", word, cmdline_instead_of(name));
	if (nearest)
		return error_set(errp, -EINVAL, "unknown option '%s'; did you mean '-%s'?", word,
				 nearest);
	return error_set(errp, -EINVAL, "unknown option '%s'; -help lists the options", word);
}

/* Calls the handler for each value in @argv, which begins behind the option; returns how many it
 * took. */
static int take_values(struct cmdline *cmdline, const struct cmdline_option *option, char **argv,
		       struct error **errp)
{
	int taken = 0, ret;

	switch (option->value) {
	case VALUE_NONE:
		return option->handler(cmdline, option, NULL, errp);
	case VALUE_OPTIONAL:
		if (!argv[0] || is_option(argv[0]))
			return option->handler(cmdline, option, NULL, errp);
		break;
	case VALUE_REQUIRED:
		if (!argv[0])
			return error_set(errp, -EINVAL, "-%s: its value is missing: %s",
					 option->name, option->usage);
		if (is_option(argv[0]))
			return error_set(errp, -EINVAL,
					 "-%s: its value is missing: %s; '%s' is an option",
					 option->name, option->usage, argv[0]);
		break;
	case VALUE_WORDS:
		if (!argv[0])
			return error_set(errp, -EINVAL, "-%s: its value is missing: %s",
					 option->name, option->usage);
		do {
			ret = option->handler(cmdline, option, argv[taken], errp);
			if (ret)
				return ret;
			taken++;
		} while (argv[taken] && !is_option(argv[taken]));
		return taken;
	}
	if ((option->flags & CMDLINE_HELP_WORD) && (!strcmp(argv[0], "help") || !strcmp(argv[0], "?"))) {
		cmdline->action = CMDLINE_OPTION_HELP;
		cmdline->help_topic = xstrdup(option->name);
		return 1;
	}
	ret = option->handler(cmdline, option, argv[0], errp);
	return ret ? ret : 1;
}

static int parse_words(struct cmdline *cmdline, char **argv, struct error **errp)
{
	const struct cmdline_option *option = NULL;
	const struct cmdline_option *end = cmdline_options;
	bool *seen;
	int ret = 0;

	while (end->name || end->help)
		end++;
	seen = xcalloc((size_t)(end - cmdline_options), sizeof(*seen));

	while (*argv && cmdline->action == CMDLINE_RUN) {
		const char *word = *argv++, *name;

		if (!is_option(word)) {
			ret = option ? error_set(errp, -EINVAL,
						 "unexpected argument '%s' behind '-%s'", word,
						 option->name)
				     : error_set(errp, -EINVAL,
						 "unexpected argument '%s': options begin with '-'",
						 word);
			break;
		}
		if (strcmp(word, "--") == 0) {
			log_debug("words behind '--' have no effect");
			break;
		}
		name = word + (word[1] == '-' ? 2 : 1);
		option = find_in(cmdline_options, name);
		if (option && seen[option - cmdline_options] && !(option->flags & CMDLINE_REPEAT)) {
			ret = error_set(errp, -EINVAL, "-%s is given twice", option->name);
			break;
		}
		if (option)
			seen[option - cmdline_options] = true;
		else
			option = find_in(cmdline_ignored, name);
		if (!option) {
			ret = unknown_option(word, name, errp);
			break;
		}
		ret = take_values(cmdline, option, argv, errp);
		if (ret < 0)
			break;
		argv += ret;
		ret = 0;
	}
	free(seen);
	return ret;
}

bool cmdline_option_at(unsigned int index, struct cmdline_option_info *ret)
{
	const struct cmdline_option *option;

	for (option = cmdline_options; option->name || option->help; option++) {
		if (!option->name || index--)
			continue;
		*ret = (struct cmdline_option_info){
			.name = option->name,
			.help = option->help,
			.keys = option->keys,
		};
		return true;
	}
	return false;
}

/* The file below the command line, old words into new ones, and the rest worked out. */
static int complete(struct cmdline *cmdline, struct error **errp)
{
	struct vm_config base;
	int ret = 0;

	if (cmdline->config_file) {
		vm_config_init(&base);
		ret = json_config_read(cmdline->config_file, &base, errp);
		if (!ret)
			vm_config_overlay(cmdline->config, &base);
		vm_config_release(&base);
	}
	if (!ret)
		ret = old_dialect_translate(cmdline->config, errp);
	if (!ret)
		ret = vm_config_finish(cmdline->config, errp);
	if (!ret && cmdline->dump)
		cmdline->action = CMDLINE_DUMP_CONFIG;
	return ret;
}

int cmdline_parse(int argc, char **argv, struct vm_config *config, enum cmdline_action *action,
		  char **help_topic, struct error **errp)
{
	struct cmdline cmdline = { .config = config, .action = CMDLINE_RUN };
	int ret;

	ret = parse_words(&cmdline, argv + MIN(argc, 1), errp);
	if (!ret && cmdline.action == CMDLINE_RUN)
		ret = complete(&cmdline, errp);
	if (ret) {
		free(cmdline.help_topic);
		return ret;
	}
	*action = cmdline.action;
	*help_topic = cmdline.help_topic;
	return 0;
}
