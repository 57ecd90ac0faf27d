/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user-space vsock (virtio 1.2 §5.10) between its files: vsock.c takes packets from and gives packets to the guest,
 * vsock_connection.c decides what they mean, vsock_bridge.c moves bytes from and to unix sockets.
 *
 * Everything here belongs to the device's home loop.
 */
#ifndef VIRTIO_VSOCK_H
#define VIRTIO_VSOCK_H

#include "util/address.h"
#include "vsock_common.h"

/*
 * What one guest can make the VMM hold: so many connections of every state, each with so many bytes. The bytes are the credit that
 * the guest has as well, and a stream is the faster the more it has on its way: what Linux grants itself, while connections are few.
 */
#define VSOCK_CONNECTIONS_MAX 1024
#define VSOCK_LARGE_BUFFERS 128 /* connections that were begun while fewer than so many were there have the large buffer */
#define VSOCK_BUFFER_LARGE (256 * 1024)
#define VSOCK_BUFFER_SMALL (64 * 1024)
#define VSOCK_BUCKETS 256
#define VSOCK_REFUSALS_MAX 64
#define VSOCK_HELLO_MAX 32 /* "CONNECT 4294967295\r\n" has 20 */

/* §5.10.6 */
#define VSOCK_TYPE_STREAM 1

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

#define VSOCK_SHUTDOWN_RCV 1
#define VSOCK_SHUTDOWN_SEND 2
#define VSOCK_SHUTDOWN_BOTH 3

struct vsock_header {
	le64_t src_cid, dst_cid;
	le32_t src_port, dst_port;
	le32_t len;
	le16_t type, op;
	le32_t flags;
	le32_t buf_alloc, fwd_cnt;
} __packed;

/* What came from the guest, in the CPU's byte order. The iovecs hold at least @len bytes. */
struct vsock_packet {
	uint64_t dst_cid;
	uint32_t guest_port, host_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
	bool len_lies; /* more than the chain holds */
	struct iovec *iov;
	unsigned int iov_count;
};

enum vsock_state {
	VSOCK_HELLO,     /* a host program has connected; its CONNECT line is awaited. Without ports */
	VSOCK_REQUESTED, /* the guest is asked, or will be */
	VSOCK_DIALING,   /* the guest has asked; the host program's backlog is full, tried again */
	VSOCK_OPEN,
	VSOCK_CLOSING,   /* the host's end is gone and the guest was told, or will be; its RST is awaited */
	VSOCK_RESETTING, /* the guest will be told RST, then it is freed */
	VSOCK_ORPHAN,    /* the guest's end is gone, bytes for the host remain. Without ports */
};

struct vsock_connection {
	struct vsock *vsock;
	enum vsock_state state;
	uint32_t guest_port, host_port;
	struct list node;  /* in vsock->connections */
	struct list ready; /* in vsock->ready, while there is something to tell the guest */
	struct vsock_connection *hash_next;

	struct loop_fd host; /* edge-triggered; what was signalled stays noted here until it is not so any more: */
	bool readable, writable, hung_up;
	char hello[VSOCK_HELLO_MAX + 1]; /* HELLO: what has come of the first line */
	uint8_t hello_len;
	bool eof;        /* the host sends no more, and all that it sent was passed on */
	bool deaf;       /* the host takes no more */
	bool sent_fin;   /* SHUT_WR was done */
	uint8_t pending; /* bit n: operation n is to be sent to the guest */
	uint8_t guest_shutdown, told_shutdown; /* VSOCK_SHUTDOWN_* */

	/* Bytes to the guest, §5.10.6.3. All counters wrap. */
	uint32_t to_guest, guest_fwd_cnt, guest_buf_alloc;
	bool asked_for_credit;
	/* Bytes from the guest: received, passed on (or dropped), and what the guest knows of the latter. */
	uint32_t from_guest, fwd_cnt, told_fwd_cnt;

	uint8_t *buffer; /* a ring of buffer_size, or NULL while empty */
	uint32_t buffer_size, buffer_head, buffer_fill;

	int64_t deadline_ns; /* 0: none */
	int64_t give_up_ns, dial_again_ns; /* DIALING */
};

/* RST for packets that belong to no connection. */
struct vsock_refusal {
	uint64_t cid; /* as which the guest addressed us */
	uint32_t guest_port, host_port;
	uint16_t type;
};

struct vsock {
	struct virtio_device vdev;
	uint32_t guest_cid;
	char *uds_path;
	struct iothread *iothread;

	bool running; /* between start and stop of the device */
	bool filling; /* vsock_rx_schedule() would be in vain */
	struct vsock_events events;
	bool tx_stalled; /* waits for room in refusals[] */
	struct address address;
	struct socket_file file;
	struct loop_fd listener; /* silent while no connection can be taken */
	int64_t listen_again_ns; /* descriptors ran out: not before */

	unsigned int count;
	struct list connections;
	struct list ready;
	struct vsock_connection *buckets[VSOCK_BUCKETS];
	uint32_t host_ports_given;
	struct vsock_refusal refusals[VSOCK_REFUSALS_MAX];
	unsigned int refusal_first, refusal_count;

	struct loop_call rx_call; /* fills the guest's buffers, once a round of the loop */
	struct loop_timer timer;  /* the earliest deadline: */
	int64_t timer_ns;
	struct log_limit guest_limit, host_limit;
};

/* --- vsock.c --- */

/* There is something for the guest. */
void vsock_rx_schedule(struct vsock *vsock);
void vsock_set_timer(struct vsock *vsock, int64_t deadline_ns);

/* --- vsock_connection.c --- */

/* NULL when there are too many, or no memory. @fd stays the caller's then. */
struct vsock_connection *vsock_connection_new(struct vsock *vsock, enum vsock_state state, int fd);
/* Its end, without a word to the guest; bytes that wait for the host are lost. */
void vsock_connection_free(struct vsock_connection *conn);
/* The guest's end is gone: frees it, or lets it live until the host has taken what waits for it. */
void vsock_connection_orphan(struct vsock_connection *conn);
/* The connection ends in error: the guest gets RST. */
void vsock_connection_reset(struct vsock_connection *conn);
/* A host program asks for @guest_port. */
void vsock_connection_request(struct vsock_connection *conn, uint32_t guest_port);
/* A packet from the guest. */
void vsock_connection_receive(struct vsock *vsock, const struct vsock_packet *packet);
/* The host's socket has become readable or writable, or it hangs up. */
void vsock_connection_host_event(struct vsock_connection *conn);
/* Its deadline is over. */
void vsock_connection_expired(struct vsock_connection *conn);
/*
 * Makes the next packet of a connection that is in vsock->ready: fills in *header and at most @room bytes of the iovecs,
 * which are changed. Returns the number of payload bytes, or -EAGAIN: it has nothing to tell after all. The connection may be gone.
 */
int __must_check vsock_connection_next(struct vsock_connection *conn, struct vsock_header *header,
				       struct iovec *iov, unsigned int iov_count, uint32_t room);
/* May the guest be told RST for one more packet without a connection? */
bool vsock_can_refuse(const struct vsock *vsock);
bool vsock_next_refusal(struct vsock *vsock, struct vsock_header *header);

/* --- vsock_bridge.c --- */

int __must_check vsock_bridge_open(struct vsock *vsock, struct error **errp);
void vsock_bridge_close(struct vsock *vsock); /* main thread, when the listener is out of its loop */
/* Listens, or not, as it is possible now. */
void vsock_bridge_update(struct vsock *vsock);
/* Connects to "<uds-path>_<port>": a descriptor, -EAGAIN when its backlog is full, or another -errno. */
int vsock_bridge_dial(struct vsock *vsock, uint32_t port);
/* Takes @fd as the connection's socket and watches it. */
int __must_check vsock_bridge_attach(struct vsock_connection *conn, int fd);
void vsock_bridge_detach(struct vsock_connection *conn);
/* HELLO: reads the CONNECT line as far as it is there. */
void vsock_bridge_hello(struct vsock_connection *conn);
int __must_check vsock_bridge_say_ok(struct vsock_connection *conn);
/* Bytes, 0 at the end, -EAGAIN, -errno. */
ssize_t vsock_bridge_read(struct vsock_connection *conn, struct iovec *iov, unsigned int count);
/* Takes @len bytes: sends them, or keeps them. They fit in the buffer. -ENOMEM. */
int __must_check vsock_bridge_write(struct vsock_connection *conn, struct iovec *iov,
				    unsigned int count, uint32_t len);
/* Sends what is kept, as far as the host takes it. */
void vsock_bridge_flush(struct vsock_connection *conn);
/* Drops what is kept. */
void vsock_bridge_drop(struct vsock_connection *conn);

/* --- iovecs --- */

/* Cuts them to @limit bytes; how many are left. */
unsigned int vsock_iov_cut(struct iovec *iov, unsigned int count, uint64_t limit);

#endif
