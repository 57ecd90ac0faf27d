/* SPDX-License-Identifier: Apache-2.0 */
/*
 * StratoVirt's command-line dialect before version 2, and the JSON file of its time: one option
 * said what a back end and a device say today. Front ends put what they read into the description
 * as it is, options that exist no more by the functions below; old_dialect_translate() then turns
 * old forms into today's. Main thread, at start.
 */
#ifndef CONFIG_OLD_DIALECT_H
#define CONFIG_OLD_DIALECT_H

#include "config/vm_config.h"

/* The keys of -iothread, -balloon and -rng. No storage that anyone else could use: for help and
 * introspection. */
extern const struct property old_iothread_keys[];
extern const struct property old_balloon_keys[];
extern const struct property old_rng_keys[];

/* Add the objects and devices that @opts, which stays the caller's, stand for. */
int __must_check old_dialect_add_iothread(struct vm_config *config, const struct opts *opts,
					  struct error **errp);
int __must_check old_dialect_add_balloon(struct vm_config *config, const struct opts *opts,
					 struct error **errp);
int __must_check old_dialect_add_rng(struct vm_config *config, const struct opts *opts,
				     struct error **errp);

/*
 * Rewrites old forms in the lists of @config. What today's dialect can say stays as it is, but for
 * a drive without "if" that no device names: as with QEMU, that is a disk. Once, when all front
 * ends have put in what they have.
 */
int __must_check old_dialect_translate(struct vm_config *config, struct error **errp);

#endif
