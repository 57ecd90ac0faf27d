/* SPDX-License-Identifier: Apache-2.0 */
/* A user of a character back end that writes down what it gets. */
#ifndef TESTS_FAKE_USER_H
#define TESTS_FAKE_USER_H

#include "fake_machine.h"

struct fake_user {
	struct chardev_user user;
	size_t room; /* what can_receive() says, less what came since */
	uint8_t got[256 * 1024];
	size_t len;
	unsigned int opened, closed, breaks, resized, writable;
	size_t break_at; /* bytes received before the last break */
};

static inline size_t fake_can_receive(struct chardev_user *user)
{
	return container_of(user, struct fake_user, user)->room;
}

static inline void fake_receive(struct chardev_user *user, const uint8_t *data, size_t len)
{
	struct fake_user *u = container_of(user, struct fake_user, user);

	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(len, u->room); /* never more than was offered */
	ck_assert_uint_le(u->len + len, sizeof(u->got));
	memcpy(u->got + u->len, data, len);
	u->len += len;
	u->room -= len;
}

static inline void fake_event(struct chardev_user *user, enum chardev_event event)
{
	struct fake_user *u = container_of(user, struct fake_user, user);

	switch (event) {
	case CHARDEV_OPENED:
		u->opened++;
		break;
	case CHARDEV_CLOSED:
		u->closed++;
		break;
	case CHARDEV_RESIZED:
		u->resized++;
		break;
	case CHARDEV_BREAK:
		u->breaks++;
		u->break_at = u->len;
		break;
	}
}

static inline void fake_writable(struct chardev_user *user)
{
	container_of(user, struct fake_user, user)->writable++;
}

static inline void fake_attach(struct chardev *chr, struct fake_user *u, size_t room)
{
	struct error *err = NULL;

	memset(u, 0, sizeof(*u));
	u->user = (struct chardev_user){
		.can_receive = fake_can_receive,
		.receive = fake_receive,
		.event = fake_event,
		.writable = fake_writable,
	};
	u->room = room;
	ck_assert_int_eq(chardev_attach(chr, &u->user, &err), 0);
	ck_assert_no_error(err);
}

/* What an option is refused with; the caller frees the error. */
static inline struct error *refuse_chardev(struct fake_machine *m, const char *text)
{
	struct opts *opts = NULL;
	struct chardev *chr = NULL;
	struct error *err = NULL;

	ck_assert_int_eq(opts_parse("-chardev", text, "backend", &opts, &err), 0);
	ck_assert_int_lt(chardev_new(opts, m->platform.main_loop, m->platform.links, &chr, &err),
			 0);
	ck_assert_ptr_null(chr);
	ck_assert_ptr_nonnull(err);
	opts_free(opts);
	return err;
}

#define ck_assert_refused(m, text, message)                                                        \
	do {                                                                                       \
		struct error *_err = refuse_chardev((m), (text));                                  \
		ck_assert_error(_err, message);                                                    \
	} while (0)

#define ck_until(m, condition)                                                                     \
	ck_assert_msg(run_until((m)->platform.main_loop, condition, NULL),                         \
		      "waited in vain for " #condition)

#endif
