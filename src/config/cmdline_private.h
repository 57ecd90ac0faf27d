/* SPDX-License-Identifier: Apache-2.0 */
/* The command line's table of options, between its parser, its handlers and its help. */
#ifndef CONFIG_CMDLINE_PRIVATE_H
#define CONFIG_CMDLINE_PRIVATE_H

#include "config/vm_config.h"

struct cmdline { /* one run of cmdline_parse() */
	struct vm_config *config;
	enum cmdline_action action; /* other than CMDLINE_RUN: nothing behind it is looked at */
	char *help_topic;
	const char *config_file; /* -config, or NULL */
	bool dump;		 /* -dump-config */
};

enum cmdline_value {
	VALUE_NONE,
	VALUE_REQUIRED,
	VALUE_OPTIONAL, /* the next word, unless it begins with '-' */
	VALUE_WORDS,	/* all words up to the next option; the first may begin with '-' */
};

#define CMDLINE_REPEAT (1u << 0) /* may be given more than once */
#define CMDLINE_JSON (1u << 1)	 /* the value may be a JSON object */
#define CMDLINE_HELP_WORD (1u << 2) /* the value "help" asks for what -help says of the option */

struct cmdline_option {
	const char *name;  /* without dash; NULL: a heading of the help, in @help */
	const char *alias; /* a second name, or NULL */
	enum cmdline_value value;
	unsigned int flags;
	/* @value: NULL when none was given; called once a word for VALUE_WORDS. */
	int (*handler)(struct cmdline *cmdline, const struct cmdline_option *option,
		       const char *value, struct error **errp);
	/* for the handlers that many options share */
	size_t offset;		 /* of the field in struct vm_config */
	const char *implied;	 /* key of the first word of an option list */
	enum cmdline_action ask; /* what "help" as a value asks for; CMDLINE_RUN: nothing */
	/* for the help */
	const char *usage; /* what follows the name */
	const char *help;
	const struct property *keys; /* shown below the help, or NULL */
};

/* Words of -accel, which vm_config_finish() checks for every front end. */
extern const char *const vm_accel_words[];

extern const struct cmdline_option cmdline_options[]; /* ends with name and help NULL */

/* Accepted, without effect: what libvirt and StratoVirt's users pass. The same form, without help.
 */
extern const struct cmdline_option cmdline_ignored[];

extern const struct property vm_cpu_keys[]; /* of -cpu, beside the model */

/* What to do instead of QEMU's option @name, which is none of ours, or NULL when it is not QEMU's either. */
const char *cmdline_instead_of(const char *name);

/* The short forms of -serial and -qmp, which @origin names in messages, to back-end options. */
int __must_check serial_text_parse(const char *origin, const char *text, struct opts **ret,
				   struct error **errp);

#endif
