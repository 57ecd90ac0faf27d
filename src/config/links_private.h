/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONFIG_LINKS_PRIVATE_H
#define CONFIG_LINKS_PRIVATE_H

#include "config/property.h"

/* The id of this kind that looks most like @id, or NULL; valid while it stays in the scope. */
const char *link_scope_nearest(const struct link_scope *scope, const char *kind, const char *id);

#endif
