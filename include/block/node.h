/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's block nodes, "blockdev-add": a drive under one name or several. Main thread.
 *
 *   {"driver": "file", "node-name": "S", "filename": F}                        a drive, id S
 *   {"driver": "raw", "node-name": "T", "file": "S"}                           the same drive, now with id T; S is its file
 *   {"driver": "raw", "node-name": "T", "file": {"driver": "file", …}}         both in one
 *   {"driver": "throttle", "node-name": "L", "throttle-group": G, "file": "T"} the same drive, now with id L, in group G as well
 *
 * The only format is raw, so a format node does nothing to the data: it gives the drive another id and its own say on read-only,
 * discard and detect-zeroes. All names find the drive under LINK_DRIVE.
 */
#ifndef BLOCK_NODE_H
#define BLOCK_NODE_H

#include "block/drive.h"

extern const struct property block_node_props[]; /* nested members as dotted keys */

/* *made: the new drive, or NULL when the node is put above one that is there. Errors name the option. */
int __must_check block_node_add(const struct opts *opts, struct link_scope *scope, struct block_drive **made,
				struct error **errp);

/*
 * Takes the name away, also that of a -drive. *gone: the drive when that was its last node, for the caller to free; else
 * NULL. -ENOENT, -EBUSY.
 */
int __must_check block_node_del(const char *name, struct link_scope *scope, struct block_drive **gone,
				struct error **errp);

/* How the node @name of @drive shows: "raw", "file", "host_device", "throttle". */
const char *block_node_driver(const struct block_drive *drive, const char *name);
/* Is it below another node? */
bool block_node_is_file(const struct block_drive *drive, const char *name);
/* Made by -drive, not as a node. */
bool block_drive_is_legacy(const struct block_drive *drive);

#endif
