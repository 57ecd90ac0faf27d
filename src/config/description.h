/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of struct vm_config the JSON description has, in the order in which -dump-config prints it.
 * Writer, reader and vm_config_overlay() all follow this table, so that a new field is one line
 * here.
 */
#ifndef CONFIG_DESCRIPTION_H
#define CONFIG_DESCRIPTION_H

#include "config/vm_config.h"

enum description_kind {
	DESCRIPTION_TEXT,	/* char *: string */
	DESCRIPTION_FLAG,	/* bool: true or false */
	DESCRIPTION_MEMORY,	/* uint64_t, bytes: integer, or string with a unit */
	DESCRIPTION_SMP,	/* struct cpu_topology: object of integers */
	DESCRIPTION_UUID,	/* has_uuid and uuid: string */
	DESCRIPTION_LOG,	/* log_to_file and log_path: string, or true for stderr */
	DESCRIPTION_OPTS,	/* struct opts *: flat object */
	DESCRIPTION_LIST,	/* struct list of struct opts: list of flat objects */
	DESCRIPTION_WHOLE_LIST, /* the same, whose entries have no ids: the command line's replaces
				   the file's */
};

struct description_field {
	const char *key;
	enum description_kind kind;
	size_t offset;	      /* in struct vm_config */
	const char *kind_key; /* of OPTS and LIST: the member that says what it is, required; NULL =
				 none */
	size_t min;	      /* length of a TEXT */
};

extern const struct description_field description_fields[]; /* ends with key NULL */

extern const struct property description_memory; /* the field's limits; bare numbers are bytes */

#endif
