// SPDX-License-Identifier: Apache-2.0
/*
 * Connections of the user-space vsock: the table by ports, the state machine, credit (virtio 1.2 §5.10.6).
 *
 * What the guest is to be told is not queued but noted in the connection (bits of operations, the state of the host's socket),
 * and made into a packet when the guest has a buffer for it: so no guest and no host program makes a queue grow.
 * Connections that have something to tell stand in vsock->ready and take turns packet by packet.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "vsock.h"

#define LOG_MODULE "virtio-vsock"
#include "util/log.h"

#define FIRST_HOST_PORT 0x40000000u
#define HOST_PORTS 0x40000000u

#define HELLO_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define REQUEST_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define DIAL_TIMEOUT_NS (5 * NSEC_PER_SEC) /* Linux guests wait for two, if not told otherwise */
#define DIAL_AGAIN_NS (5 * NSEC_PER_MSEC) /* doubled each time, so that many who wait cost little */
#define DIAL_AGAIN_MAX_NS (160 * NSEC_PER_MSEC)
#define LINGER_NS (30 * NSEC_PER_SEC)

/* A packet that carries nothing but credit is worth sending for such a part of the buffer. */
#define CREDIT_PART 4

#define PENDING(op) (1u << (op))

/* --- The table --- */

static struct vsock_connection **bucket_of(struct vsock *vsock, uint32_t guest_port,
					   uint32_t host_port)
{
	uint32_t hash = (guest_port ^ (host_port << 16 | host_port >> 16)) * 0x9e3779b1u;

	return &vsock->buckets[(hash >> 16) % VSOCK_BUCKETS];
}

static struct vsock_connection *find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_connection *conn = *bucket_of(vsock, guest_port, host_port);

	while (conn && (conn->guest_port != guest_port || conn->host_port != host_port))
		conn = conn->hash_next;
	return conn;
}

static bool has_ports(const struct vsock_connection *conn)
{
	return conn->state != VSOCK_HELLO && conn->state != VSOCK_ORPHAN;
}

static void set_ports(struct vsock_connection *conn, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_connection **bucket = bucket_of(conn->vsock, guest_port, host_port);

	conn->guest_port = guest_port;
	conn->host_port = host_port;
	conn->hash_next = *bucket;
	*bucket = conn;
}

static void forget_ports(struct vsock_connection *conn)
{
	struct vsock_connection **at = bucket_of(conn->vsock, conn->guest_port, conn->host_port);

	while (*at != conn)
		at = &(*at)->hash_next;
	*at = conn->hash_next;
}

static void set_deadline(struct vsock_connection *conn, int64_t delay_ns)
{
	conn->deadline_ns = clock_now_ns() + delay_ns;
	vsock_set_timer(conn->vsock, conn->deadline_ns);
}

struct vsock_connection *vsock_connection_new(struct vsock *vsock, enum vsock_state state, int fd)
{
	struct vsock_connection *conn;

	if (vsock->count >= VSOCK_CONNECTIONS_MAX)
		return NULL;
	conn = calloc(1, sizeof(*conn));
	if (!conn)
		return NULL;
	conn->vsock = vsock;
	conn->state = state;
	conn->buffer_size = vsock->count < VSOCK_LARGE_BUFFERS ? VSOCK_BUFFER_LARGE : VSOCK_BUFFER_SMALL;
	conn->host.fd = -1;
	list_init(&conn->host.node);
	list_init(&conn->ready);
	if (fd >= 0 && vsock_bridge_attach(conn, fd)) {
		free(conn);
		return NULL;
	}
	list_add_tail(&vsock->connections, &conn->node);
	vsock->count++;
	if (state == VSOCK_HELLO)
		set_deadline(conn, HELLO_TIMEOUT_NS);
	return conn;
}

void vsock_connection_free(struct vsock_connection *conn)
{
	struct vsock *vsock = conn->vsock;

	if (has_ports(conn))
		forget_ports(conn);
	vsock_bridge_detach(conn);
	list_del(&conn->node);
	list_del(&conn->ready);
	free(conn->buffer);
	free(conn);
	if (vsock->count-- == VSOCK_CONNECTIONS_MAX)
		vsock_bridge_update(vsock);
}

/* --- What there is to tell the guest --- */

/* §5.10.6.3: how much the guest can take. */
static uint32_t guest_credit(const struct vsock_connection *conn)
{
	uint32_t in_flight = conn->to_guest - conn->guest_fwd_cnt;

	return in_flight < conn->guest_buf_alloc ? conn->guest_buf_alloc - in_flight : 0;
}

static bool wants_to_read(const struct vsock_connection *conn)
{
	return conn->state == VSOCK_OPEN && conn->readable && !conn->eof &&
	       !(conn->guest_shutdown & VSOCK_SHUTDOWN_RCV) &&
	       !(conn->pending & PENDING(VSOCK_OP_RESPONSE));
}

static uint8_t shutdown_flags(const struct vsock_connection *conn)
{
	return (conn->deaf ? VSOCK_SHUTDOWN_RCV : 0) | (conn->eof ? VSOCK_SHUTDOWN_SEND : 0);
}

/* Puts it among the ready ones if it has something to tell. */
static void update_ready(struct vsock_connection *conn)
{
	bool ready = conn->pending || (wants_to_read(conn) && guest_credit(conn));

	if (wants_to_read(conn) && !guest_credit(conn) && !conn->asked_for_credit) {
		conn->pending |= PENDING(VSOCK_OP_CREDIT_REQUEST);
		conn->asked_for_credit = true;
		ready = true;
	}
	if (!ready) {
		list_del(&conn->ready);
	} else if (list_empty(&conn->ready)) {
		list_add_tail(&conn->vsock->ready, &conn->ready);
		vsock_rx_schedule(conn->vsock);
	}
}

static void tell(struct vsock_connection *conn, enum vsock_op op)
{
	conn->pending |= PENDING(op);
}

/* What was passed on since the guest heard of it, if that is worth a packet. */
static void tell_credit(struct vsock_connection *conn)
{
	if (conn->fwd_cnt - conn->told_fwd_cnt >= conn->buffer_size / CREDIT_PART)
		tell(conn, VSOCK_OP_CREDIT_UPDATE);
}

void vsock_connection_reset(struct vsock_connection *conn)
{
	vsock_bridge_detach(conn);
	vsock_bridge_drop(conn);
	conn->state = VSOCK_RESETTING;
	conn->deadline_ns = 0;
	conn->pending = PENDING(VSOCK_OP_RST);
	update_ready(conn);
}

void vsock_connection_orphan(struct vsock_connection *conn)
{
	if (!conn->buffer_fill || conn->host.fd < 0 || conn->deaf) {
		vsock_connection_free(conn);
		return;
	}
	if (conn->state == VSOCK_ORPHAN)
		return;
	forget_ports(conn);
	conn->state = VSOCK_ORPHAN;
	conn->pending = 0;
	list_del(&conn->ready);
	set_deadline(conn, LINGER_NS);
}

/* After whatever changed in an open connection: what follows from it for either side. */
static void settle(struct vsock_connection *conn)
{
	uint8_t flags;

	/* §5.10.6.6: the guest neither sends nor receives any more. RST tells it that all arrived. */
	if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH && !conn->buffer_fill) {
		vsock_connection_reset(conn);
		return;
	}
	if (conn->guest_shutdown & VSOCK_SHUTDOWN_SEND && !conn->buffer_fill && !conn->sent_fin) {
		conn->sent_fin = true;
		shutdown(conn->host.fd, SHUT_WR);
	}
	flags = shutdown_flags(conn);
	if (flags & ~conn->told_shutdown)
		tell(conn, VSOCK_OP_SHUTDOWN);
	if (flags == VSOCK_SHUTDOWN_BOTH) {
		vsock_bridge_detach(conn);
		conn->state = VSOCK_CLOSING;
	}
	tell_credit(conn);
	update_ready(conn);
}

/* --- The host's side --- */

void vsock_connection_request(struct vsock_connection *conn, uint32_t guest_port)
{
	struct vsock *vsock = conn->vsock;
	uint32_t host_port;

	/* There are far more ports than connections. */
	do
		host_port = FIRST_HOST_PORT + vsock->host_ports_given++ % HOST_PORTS;
	while (find(vsock, guest_port, host_port));
	conn->state = VSOCK_REQUESTED;
	set_ports(conn, guest_port, host_port);
	set_deadline(conn, REQUEST_TIMEOUT_NS);
	tell(conn, VSOCK_OP_REQUEST);
	update_ready(conn);
}

void vsock_connection_host_event(struct vsock_connection *conn)
{
	switch (conn->state) {
	case VSOCK_HELLO:
		vsock_bridge_hello(conn);
		break;
	case VSOCK_REQUESTED:
		if (conn->hung_up && conn->pending & PENDING(VSOCK_OP_REQUEST))
			vsock_connection_free(conn); /* the guest never heard of it */
		else if (conn->hung_up)
			vsock_connection_reset(conn);
		break;
	case VSOCK_OPEN:
		if (conn->hung_up) {
			conn->deaf = true;
			conn->eof |= conn->guest_shutdown & VSOCK_SHUTDOWN_RCV;
		}
		vsock_bridge_flush(conn);
		settle(conn);
		break;
	case VSOCK_ORPHAN:
		conn->deaf |= conn->hung_up;
		vsock_bridge_flush(conn);
		if (!conn->buffer_fill)
			vsock_connection_free(conn);
		break;
	case VSOCK_DIALING:
	case VSOCK_CLOSING:
	case VSOCK_RESETTING:
		break; /* there is no socket */
	}
}

/* Connects to the host program, now or a little later. */
static void dial(struct vsock_connection *conn)
{
	int fd = vsock_bridge_dial(conn->vsock, conn->host_port);

	if (fd == -EAGAIN && clock_now_ns() < conn->give_up_ns) {
		set_deadline(conn, conn->dial_again_ns);
		conn->dial_again_ns = MIN(2 * conn->dial_again_ns, DIAL_AGAIN_MAX_NS);
		return;
	}
	if (fd < 0) {
		log_debug("%s: connecting to '%s_%u': %s", conn->vsock->vdev.dev.id,
			  conn->vsock->uds_path, conn->host_port, strerror(-fd));
		vsock_connection_reset(conn);
		return;
	}
	conn->deadline_ns = 0;
	if (vsock_bridge_attach(conn, fd)) {
		conn->host.fd = fd;
		vsock_connection_reset(conn);
		return;
	}
	conn->state = VSOCK_OPEN;
	tell(conn, VSOCK_OP_RESPONSE);
	update_ready(conn);
}

void vsock_connection_expired(struct vsock_connection *conn)
{
	conn->deadline_ns = 0;
	switch (conn->state) {
	case VSOCK_HELLO:
	case VSOCK_ORPHAN:
		vsock_connection_free(conn);
		break;
	case VSOCK_DIALING:
		dial(conn);
		break;
	case VSOCK_REQUESTED:
	case VSOCK_OPEN: /* closed by the guest, and the host takes nothing */
	case VSOCK_CLOSING:
		vsock_connection_reset(conn);
		break;
	case VSOCK_RESETTING:
		break;
	}
}

/* --- The guest's side --- */

static void refuse(struct vsock *vsock, const struct vsock_packet *packet)
{
	unsigned int at = (vsock->refusal_first + vsock->refusal_count) % VSOCK_REFUSALS_MAX;

	if (packet->op == VSOCK_OP_RST)
		return;
	vsock->refusals[at] = (struct vsock_refusal){ packet->dst_cid, packet->guest_port,
						      packet->host_port, packet->type };
	vsock->refusal_count++;
	vsock_rx_schedule(vsock);
}

bool vsock_can_refuse(const struct vsock *vsock)
{
	return vsock->refusal_count < VSOCK_REFUSALS_MAX;
}

static void guest_lies(struct vsock_connection *conn, const char *what)
{
	log_warn_limited(&conn->vsock->guest_limit, "%s: connection %u-%u is reset: %s",
			 conn->vsock->vdev.dev.id, conn->guest_port, conn->host_port, what);
	vsock_connection_reset(conn);
}

/* Every packet carries them. */
static bool take_credit(struct vsock_connection *conn, const struct vsock_packet *packet)
{
	/* It can have consumed no more than what it was sent. */
	if (packet->fwd_cnt - conn->guest_fwd_cnt > conn->to_guest - conn->guest_fwd_cnt)
		return false;
	conn->guest_fwd_cnt = packet->fwd_cnt;
	conn->guest_buf_alloc = packet->buf_alloc;
	if (guest_credit(conn))
		conn->asked_for_credit = false;
	return true;
}

static void guest_requests(struct vsock *vsock, const struct vsock_packet *packet)
{
	struct vsock_connection *conn = vsock_connection_new(vsock, VSOCK_DIALING, -1);

	if (!conn) {
		refuse(vsock, packet);
		return;
	}
	set_ports(conn, packet->guest_port, packet->host_port);
	if (!take_credit(conn, packet)) {
		guest_lies(conn, "it begins with bytes consumed");
		return;
	}
	conn->give_up_ns = clock_now_ns() + DIAL_TIMEOUT_NS;
	conn->dial_again_ns = DIAL_AGAIN_NS;
	dial(conn);
}

static void guest_accepts(struct vsock_connection *conn)
{
	if (conn->state != VSOCK_REQUESTED || conn->pending & PENDING(VSOCK_OP_REQUEST)) {
		guest_lies(conn, "a response without a request");
		return;
	}
	if (vsock_bridge_say_ok(conn)) {
		vsock_connection_reset(conn);
		return;
	}
	conn->state = VSOCK_OPEN;
	conn->deadline_ns = 0;
	conn->readable = true; /* what came behind the first line */
	settle(conn);
}

static void guest_shuts_down(struct vsock_connection *conn, uint32_t flags)
{
	flags &= VSOCK_SHUTDOWN_BOTH;
	if (conn->state == VSOCK_CLOSING) {
		conn->guest_shutdown |= flags;
		if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH)
			vsock_connection_reset(conn);
		return;
	}
	if (flags & VSOCK_SHUTDOWN_RCV && !(conn->guest_shutdown & VSOCK_SHUTDOWN_RCV)) {
		shutdown(conn->host.fd, SHUT_RD);
		conn->eof |= conn->hung_up;
	}
	conn->guest_shutdown |= flags;
	/* What it sent before still gets there, if the host takes it. */
	if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH && !conn->deadline_ns)
		set_deadline(conn, LINGER_NS);
	settle(conn);
}

static void guest_sends(struct vsock_connection *conn, const struct vsock_packet *packet)
{
	/* Against the credit that it knows of: what it may have in flight fits in the buffer for sure. */
	uint32_t used = conn->from_guest - conn->told_fwd_cnt;

	if (packet->len_lies || packet->len > conn->buffer_size - used) {
		guest_lies(conn, packet->len_lies ? "a length beyond its buffers"
						  : "more bytes than it has credit for");
		return;
	}
	if (conn->guest_shutdown & VSOCK_SHUTDOWN_SEND) {
		guest_lies(conn, "bytes after it said that there are none");
		return;
	}
	conn->from_guest += packet->len;
	if (conn->state == VSOCK_CLOSING) {
		conn->fwd_cnt += packet->len;
		tell_credit(conn);
		update_ready(conn);
		return;
	}
	if (packet->len && vsock_bridge_write(conn, packet->iov, packet->iov_count, packet->len)) {
		vsock_connection_reset(conn);
		return;
	}
	settle(conn);
}

/* It ends the connection. What it sent before is delivered all the same. */
static void guest_resets(struct vsock_connection *conn)
{
	vsock_connection_orphan(conn);
}

void vsock_connection_receive(struct vsock *vsock, const struct vsock_packet *packet)
{
	struct vsock_connection *conn = NULL;

	if (packet->type == VSOCK_TYPE_STREAM && packet->dst_cid == VSOCK_CID_HOST)
		conn = find(vsock, packet->guest_port, packet->host_port);
	else
		goto unknown;
	if (conn && conn->state == VSOCK_RESETTING) {
		/* It may not have seen the RST yet. If it knows of the end already, it need not. */
		if (packet->op != VSOCK_OP_RST && packet->op != VSOCK_OP_REQUEST)
			return;
		vsock_connection_free(conn);
		conn = NULL;
	}
	if (!conn && packet->op == VSOCK_OP_REQUEST) {
		guest_requests(vsock, packet);
		return;
	}
	if (!conn)
		goto unknown;
	if (packet->op == VSOCK_OP_RST) {
		guest_resets(conn);
		return;
	}
	if (packet->op == VSOCK_OP_RESPONSE ? conn->state != VSOCK_REQUESTED
					    : conn->state != VSOCK_OPEN && conn->state != VSOCK_CLOSING) {
		guest_lies(conn, "a packet that its state does not allow");
		return;
	}
	if (!take_credit(conn, packet)) {
		guest_lies(conn, "more bytes consumed than it was sent");
		return;
	}
	switch (packet->op) {
	case VSOCK_OP_RESPONSE:
		guest_accepts(conn);
		break;
	case VSOCK_OP_SHUTDOWN:
		guest_shuts_down(conn, packet->flags);
		break;
	case VSOCK_OP_RW:
		guest_sends(conn, packet);
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		tell(conn, VSOCK_OP_CREDIT_UPDATE);
		update_ready(conn);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		update_ready(conn);
		break;
	default:
		guest_lies(conn, "an unknown operation, or one out of place");
	}
	return;

unknown:
	refuse(vsock, packet);
}

/* --- Packets for the guest --- */

static void put_header(const struct vsock *vsock, struct vsock_header *header, uint32_t guest_port,
		       uint32_t host_port, enum vsock_op op)
{
	*header = (struct vsock_header){
		.src_cid = cpu_to_le64(VSOCK_CID_HOST),
		.dst_cid = cpu_to_le64(vsock->guest_cid),
		.src_port = cpu_to_le32(host_port),
		.dst_port = cpu_to_le32(guest_port),
		.type = cpu_to_le16(VSOCK_TYPE_STREAM),
		.op = cpu_to_le16(op),
	};
}

bool vsock_next_refusal(struct vsock *vsock, struct vsock_header *header)
{
	const struct vsock_refusal *refusal = &vsock->refusals[vsock->refusal_first];

	if (!vsock->refusal_count)
		return false;
	put_header(vsock, header, refusal->guest_port, refusal->host_port, VSOCK_OP_RST);
	header->src_cid = cpu_to_le64(refusal->cid);
	header->type = cpu_to_le16(refusal->type);
	vsock->refusal_first = (vsock->refusal_first + 1) % VSOCK_REFUSALS_MAX;
	vsock->refusal_count--;
	return true;
}

static void put_connection(struct vsock_connection *conn, struct vsock_header *header, enum vsock_op op)
{
	put_header(conn->vsock, header, conn->guest_port, conn->host_port, op);
	header->buf_alloc = cpu_to_le32(conn->buffer_size);
	header->fwd_cnt = cpu_to_le32(conn->fwd_cnt);
	conn->told_fwd_cnt = conn->fwd_cnt;
	/* Whatever the packet is, it carries the credit. */
	conn->pending &= ~(PENDING(op) | PENDING(VSOCK_OP_CREDIT_UPDATE));
}

/* Bytes from the host, straight into the guest's buffer. */
static int next_bytes(struct vsock_connection *conn, struct vsock_header *header, struct iovec *iov,
		      unsigned int count, uint32_t room)
{
	uint32_t len = MIN(room, guest_credit(conn));
	ssize_t n;

	if (!len)
		return -EAGAIN;
	n = vsock_bridge_read(conn, iov, vsock_iov_cut(iov, count, len));
	if (n > 0) {
		conn->to_guest += (uint32_t)n;
		put_connection(conn, header, VSOCK_OP_RW);
		header->len = cpu_to_le32((uint32_t)n);
		update_ready(conn);
		return (int)n;
	}
	if (n == -EAGAIN) {
		conn->readable = false;
		update_ready(conn);
	} else if (!n) {
		conn->eof = true;
		settle(conn);
	} else {
		/* The host threw away what the guest had sent. */
		vsock_connection_reset(conn);
	}
	return -EAGAIN;
}

int vsock_connection_next(struct vsock_connection *conn, struct vsock_header *header,
			  struct iovec *iov, unsigned int iov_count, uint32_t room)
{
	static const enum vsock_op first[] = { VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE,
					       VSOCK_OP_CREDIT_REQUEST };

	list_del(&conn->ready); /* who has more to tell goes to the end */
	if (conn->pending & PENDING(VSOCK_OP_RST)) {
		put_connection(conn, header, VSOCK_OP_RST);
		vsock_connection_free(conn);
		return 0;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(first); i++) {
		if (conn->pending & PENDING(first[i])) {
			put_connection(conn, header, first[i]);
			update_ready(conn);
			return 0;
		}
	}
	if (conn->pending & PENDING(VSOCK_OP_SHUTDOWN)) {
		put_connection(conn, header, VSOCK_OP_SHUTDOWN);
		conn->told_shutdown = shutdown_flags(conn);
		header->flags = cpu_to_le32(conn->told_shutdown);
		if (conn->state == VSOCK_CLOSING)
			set_deadline(conn, LINGER_NS);
		update_ready(conn);
		return 0;
	}
	if (wants_to_read(conn)) {
		int ret = next_bytes(conn, header, iov, iov_count, room);

		/* On -EAGAIN the connection may have something else to tell: then it is ready again. */
		if (ret > 0 || !(conn->pending & PENDING(VSOCK_OP_CREDIT_UPDATE)))
			return ret;
	}
	if (!(conn->pending & PENDING(VSOCK_OP_CREDIT_UPDATE)))
		return -EAGAIN;
	put_connection(conn, header, VSOCK_OP_CREDIT_UPDATE);
	update_ready(conn);
	return 0;
}
