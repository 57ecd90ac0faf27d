/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the test accelerator share. Everything on the main thread unless it says
 * otherwise. */
#ifndef CPU_TEST_PRIVATE_H
#define CPU_TEST_PRIVATE_H

#include <pthread.h>

#include "cpu/accel_test.h"
#include "util/list.h"
#include "util/loop.h"

/* --- Interrupts (accel_test.c) --- */

struct test_accel {
	struct accel accel;
	struct loop *main_loop;
	struct list servers;   /* struct test_server */
	struct list irqfds;    /* struct test_irqfd */
	struct loop_call tell; /* transitions wait to be told */

	pthread_mutex_t lock; /* guards the rest: devices on iothreads raise interrupts, too */
	struct test_line *lines;
	struct msi_message *messages; /* recorded and not asked for yet */
	unsigned int message_count;
	struct test_route *routes;
	unsigned int route_count;
	bool record; /* somebody wants transitions */
	struct test_transition *transitions;
	unsigned int transition_count;
};

struct test_transition {
	uint32_t gsi;
	bool level;
};

static inline struct test_accel *to_test_accel(struct accel *accel)
{
	return container_of(accel, struct test_accel, accel);
}

/* Is there an interrupt: the line is up, or an edge came that nobody has taken yet? */
bool test_irq_pending(struct test_accel *accel, uint32_t gsi);
/* As above, and takes one edge, or tells the owner of a level line that there was an EOI. */
bool test_irq_eoi(struct test_accel *accel, uint32_t gsi);
/* Was this message sent since the last time? */
bool test_msi_take(struct test_accel *accel, const struct msi_message *msg);
/* From now on transitions of lines reach test_server_tell(). */
void test_irq_record(struct test_accel *accel);
/* Tells what has not been told yet. */
void test_irq_tell(struct test_accel *accel);

/* --- Coming to rest (test_settle.c) --- */

/* Waits, without blocking the main loop, until no loop has anything to do. */
struct test_settle {
	struct loop_call idle;
	void (*done)(struct test_settle *settle);
	uint64_t work;
	unsigned int passes;
};

void test_settle_init(struct test_settle *settle, struct loop *main_loop,
		      void (*done)(struct test_settle *settle));
void test_settle_start(struct test_settle *settle); /* done() comes later, on the main loop */
void test_settle_cancel(struct test_settle *settle);
/* The earliest deadline of any loop's timers; 0: none. Waits for each loop. */
int64_t test_next_deadline(void);

/* --- The protocol (test_engine.c) --- */

enum test_outcome {
	TEST_ANSWERED, /* the reply is complete and nothing has happened */
	TEST_SETTLE,   /* the reply is complete; it is sent when all is at rest */
	TEST_STEP,     /* step the clock to *@target, then reply "OK <now>" */
};

struct test_reply {
	char *text; /* without line end; malloc() */
};

/* Executes one line, which is taken apart. */
enum test_outcome test_execute(struct test_accel *accel, enum test_dialect dialect, char *line,
			       struct test_reply *reply, int64_t *target);

/* --- Clients (test_server.c) --- */

struct test_server;
void test_server_free(struct test_server *server);
void test_server_tell(struct test_accel *accel, uint32_t gsi, bool level);

#endif
