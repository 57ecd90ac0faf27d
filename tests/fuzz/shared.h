/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several fuzz targets need: the input as a stream of choices, random topologies, a folder, a machine under the test
 * accelerator, loops that come to rest, and tools that are run in the slow mode (SLOW in the environment) only.
 */
#ifndef TESTS_FUZZ_SHARED_H
#define TESTS_FUZZ_SHARED_H

#include "config/vm_config.h"
#include "cpu/vcpu.h"
#include "fuzz.h"
#include "machine/machine.h"
#include "util/loop.h"

/* --- The input: any thread, as iothreads are fed from it as well. Behind its end there are zeroes. --- */

void input_begin(const uint8_t *data, size_t size);
size_t input_left(void);
uint8_t byte(void);
uint64_t number(unsigned int bytes); /* little-endian */
size_t bytes(void *to, size_t len);  /* as many as there are; how many */

/* Up to @max CPUs on any number of levels. */
struct vcpu_topology topology(uint32_t max);

/* --- Machines --- */

/* A folder for files, sockets and what a target leaves behind, which is gone when the process ends. */
const char *folder(void);
/* @name in it: a disk of 1 MiB. */
void make_disk(const char *name);

/*
 * What the command line @options describes, words between blanks, in which $DIR is the folder. Not started. Options are the
 * target's own: that a machine cannot be made is an error of the target. @config must live as long as the machine.
 */
struct machine *make_machine(const char *options, struct loop *loop, struct vm_config *config);

/* Runs @loop until no loop of the process has anything to do. */
void run_to_rest(struct loop *loop);

/* --- The slow mode --- */

bool slow(void);
/* Runs a shell command, in which $FILE is a file with @data, and its output goes to $FILE.log; it must succeed. */
void must_run(const char *command, const void *data, size_t len);

#endif
