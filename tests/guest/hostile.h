/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hostile tests share: a victim device set up anew for each case, a bystander that must
 * not notice, and the verdict on how the victim took it.
 */
#ifndef GUEST_HOSTILE_H
#define GUEST_HOSTILE_H

#include "tests.h"
#include "lib/virtio.h"

enum outcome {
	/* The device says DEVICE_NEEDS_RESET, and announces it by a configuration interrupt. */
	BROKEN,
	/* The device goes on as if nothing had happened. */
	UNHARMED,
	/* Either; what counts is that it works again after a reset. */
	SURVIVES,
};

struct victim {
	struct virtio_dev *dev;
	struct virtq vq;
	/* A well-formed request for this device, already in the table and not yet available. */
	struct virtq_desc *d;
	u16 head;
	u32 descs;
};

/* Finds both devices and starts the bystander. */
void hostile_init(struct victim *v, u32 kind);
/* Resets the victim and brings it up, with a good request in its descriptor table. */
void hostile_prepare(struct victim *v, u64 features);
/* Sends the request (as the case has changed it), and judges. */
void hostile_send(struct victim *v, const char *name, enum outcome want);
/* Judges what the case has already done. */
void hostile_verdict(struct victim *v, const char *name, enum outcome want);
/* An ordinary request, from reset to answer. */
void hostile_works(struct victim *v, const char *name);
/* Cases of the running test, for its last line. */
extern u32 hostile_cases;

#endif
