/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two parsers of struct opts. */
#ifndef CONFIG_OPTS_PRIVATE_H
#define CONFIG_OPTS_PRIVATE_H

#include "config/opts.h"

/* Takes over @key and @value, both from malloc(). Does not look whether the key is there already.
 */
struct opt *opts_append(struct opts *opts, char *key, char *value);

/* Does a list of numbers in JSON become the text of @key? Others take no list. */
bool opts_takes_list(const char *key);

/* What every parser checks at its end: no key empty or given twice, a bounded number of them. */
int __must_check opts_check_keys(const struct opts *opts, struct error **errp);

#endif
