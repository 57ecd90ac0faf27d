// SPDX-License-Identifier: Apache-2.0
/* "-help", from the table of options: at most 100 columns, ranges and defaults from the property
 * tables. */
#include <stdlib.h>
#include <string.h>

#include "cmdline_private.h"
#include "util/alloc.h"
#include "util/version.h"

#define COLUMNS 100
#define LEFT 34 /* where help text begins */

/* Continues at @column, goes on at @indent in the next lines, ends the last one. */
static void print_wrapped(FILE *out, const char *text, size_t column, size_t indent)
{
	bool fresh = true; /* no word in this line yet */

	while (*text) {
		size_t len = strcspn(text, " ");

		if (!fresh && column + 1 + len > COLUMNS) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
			fresh = true;
		}
		column += (size_t)fprintf(out, "%s%.*s", fresh ? "" : " ", (int)len, text);
		fresh = false;
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

/* The lines of property_help(), further in. */
static void print_keys(FILE *out, const struct property *keys)
{
	char *text = NULL, *line, *save;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return;
	property_help(keys, memory);
	fclose(memory);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *right = strstr(line + 2, "  ");
		size_t indent = 4 + (right ? (size_t)(right - line) + strspn(right, " ") : 2);

		fprintf(out, "    %.*s", (int)(indent - 4), line);
		print_wrapped(out, line + indent - 4, indent, indent);
	}
	free(text);
}

static void print_option(FILE *out, const struct cmdline_option *option)
{
	char *left = xasprintf("  -%s%s%s%s%s", option->name, option->alias ? ", -" : "",
			       option->alias ? option->alias : "", *option->usage ? " " : "",
			       option->usage);

	if (strlen(left) + 2 <= LEFT)
		fprintf(out, "%-*s", LEFT, left);
	else
		fprintf(out, "%s\n%*s", left, LEFT, "");
	print_wrapped(out, option->help, LEFT, LEFT);
	free(left);
	if (option->keys)
		print_keys(out, option->keys);
}

void cmdline_option_help(const char *name, FILE *out)
{
	const struct cmdline_option *option;

	for (option = cmdline_options; option->name || option->help; option++)
		if (option->name && !strcmp(option->name, name))
			print_option(out, option);
}

void cmdline_help(FILE *out)
{
	const struct cmdline_option *option;
	char *names = xstrdup("  "), *longer;

	fprintf(out, "%s\n", version_text());
	fprintf(out, "A virtual machine monitor for KVM\n\n");
	fprintf(out, "Usage: stratovirt [OPTION]...\n");
	for (option = cmdline_options; option->name || option->help; option++) {
		if (option->name)
			print_option(out, option);
		else
			fprintf(out, "\n%s:\n", option->help);
	}
	fprintf(out, "\nAccepted without effect:\n");
	for (option = cmdline_ignored; option->name; option++) {
		longer = xasprintf("%s-%s%s%s", names, option->name, option->usage ? " none" : "",
				   option[1].name ? ", " : "");
		free(names);
		names = longer;
	}
	fprintf(out, "  ");
	print_wrapped(out, names + 2, 2, 2);
	free(names);
	fprintf(out, "\nIn an option list ',,' stands for a comma. Options may begin with two "
		     "dashes.\n");
}
