/* SPDX-License-Identifier: Apache-2.0 */
#include "server/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "common/conn/rdma.h"
#include "common/conn/shm.h"
#include "server/peer.h"
#include "server/rdma.h"
#include "server/tcp.h"

#define MESSAGES_AT_ONCE 16 /* then the others have their turn */

int client_open(int fd, struct client **out)
{
	struct client *c = calloc(1, sizeof(*c));
	pid_t pid = 0;
	uid_t uid;

	if (!c) {
		close(fd);
		return err_set(-ENOMEM, "out of memory for one more client");
	}
	c->fd = fd;
	if (shm_peer(fd, &uid, &pid))
		pid = 0;
	snprintf(c->who, sizeof(c->who), "pid=%d", (int)pid);
	*out = c;
	return 0;
}

/* Nobody is to hear that @c may join. */
static void disinherit(struct server *s, const struct client *c)
{
	for (struct client *old = s->clients; old; old = old->next)
		if (old->heir == c)
			old->heir = NULL;
}

void client_close(struct server *s, struct client *c)
{
	disinherit(s, c);
	/* Nobody reaches a slab any more before it goes. */
	verbs_close(c->verbs);
	session_leave(s, c);
	peer_free(c->peer);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

static int send_msg(struct client *c, const struct wire_msg *m, int pass_fd)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes;

	if (c->peer) {
		peer_say(c->peer, m);
		return 0;
	}
	bytes = wire_encode(m, buf);
	return c->verbs ? verbs_say(c->verbs, buf, bytes) : shm_send(c->fd, buf, bytes, pass_fd);
}

static int refuse(struct client *c, int rc, const struct wire_msg *m)
{
	if (send_msg(c, m, -1))
		log_debug("a refusal was not read text=%s", m->error.text);
	return rc;
}

int client_refuse(struct client *c, int rc, uint64_t request, enum wire_error_code code,
		  const char *text)
{
	struct wire_msg m = {.type = WIRE_ERROR, .request = request, .error.code = code};

	snprintf(m.error.text, sizeof(m.error.text), "%s", text);
	return refuse(c, rc, &m);
}

size_t client_refusal(uint8_t *buf, enum wire_error_code code, const char *text)
{
	struct wire_msg m = {.type = WIRE_ERROR, .error.code = code};

	snprintf(m.error.text, sizeof(m.error.text), "%s", text);
	return wire_encode(&m, buf);
}

static int refuse_capacity(struct client *c, const struct server *s, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_ERROR,
			     .request = in->request,
			     .error = {.code = WIRE_ERR_CAPACITY,
				       .free_bytes = bank_free_bytes(&s->bank),
				       .capacity_bytes = s->bank.capacity_bytes}};

	snprintf(m.error.text, sizeof(m.error.text), "%s", err_text(-ENOSPC));
	log_warn("refused for lack of room name=%s %s: %s", in->hello.name, c->who, m.error.text);
	return refuse(c, -ENOSPC, &m);
}

static uint16_t access_of(const struct client *c)
{
	if (c->verbs)
		return WIRE_ACCESS_RDMA;
	return c->peer ? WIRE_ACCESS_MESSAGES : WIRE_ACCESS_DESCRIPTOR;
}

static const char *other_access(const struct client *c)
{
	if (c->verbs)
		return "only reads and writes by RDMA are served on rdma";
	return c->peer ? "only reads and writes by messages are served on tcp"
		       : "only shared memory is served on this socket";
}

/* May this HELLO become a session at all? */
static int check_hello(struct client *c, const struct server *s, const struct wire_msg *in)
{
	const struct wire_hello *h = &in->hello;
	char text[128];

	if (c->session)
		return client_refuse(c, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
				     "a second HELLO on one connection");
	if (h->version_min > WIRE_VERSION_MAX || h->version_max < WIRE_VERSION_MIN) {
		snprintf(text, sizeof(text),
			 "this server speaks protocol %d to %d, the client %u to %u",
			 WIRE_VERSION_MIN, WIRE_VERSION_MAX, h->version_min, h->version_max);
		return client_refuse(c, -EPROTONOSUPPORT, in->request, WIRE_ERR_VERSION, text);
	}
	if (h->access != access_of(c))
		return client_refuse(c, -EOPNOTSUPP, in->request, WIRE_ERR_ACCESS, other_access(c));
	if (h->auth_method != WIRE_AUTH_NONE)
		return client_refuse(c, -EOPNOTSUPP, in->request, WIRE_ERR_AUTH,
				     "this server knows no authentication: send method 0");
	if (s->drain_deadline_ns)
		return client_refuse(c, -ESHUTDOWN, in->request, WIRE_ERR_DRAINING,
				     "the server is being stopped");
	return 0;
}

static void fill_welcome(const struct client *c, const struct server *s, struct wire_welcome *w)
{
	*w = (struct wire_welcome){.version = WIRE_VERSION_MAX,
				   .session = c->session->id,
				   .slab_bytes = SLAB_BYTES,
				   .capacity_bytes = s->bank.capacity_bytes,
				   .free_bytes = bank_free_bytes(&s->bank)};
	memcpy(w->token, c->session->token, WIRE_TOKEN_BYTES);
}

static int on_hello(struct client *c, struct server *s, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_WELCOME, .request = in->request};
	char size[32];
	int rc = check_hello(c, s, in);

	if (rc)
		return rc;
	rc = session_open(s, c, &in->hello);
	if (rc == -ENOSPC)
		return refuse_capacity(c, s, in);
	if (rc)
		return client_refuse(c, rc, in->request, WIRE_ERR_INTERNAL, err_text(rc));
	c->deadline_ns = 0;
	if (c->peer)
		tcp_set_patience(c->fd, in->hello.patience_s);
	memcpy(c->name, in->hello.name, sizeof(c->name));
	s->had_client = true;
	log_info("client name=%s %s session=%llu reserved=%s", c->name, c->who,
		 (unsigned long long)c->session->id,
		 units_format_size(size, sizeof(size), in->hello.wanted_bytes));
	fill_welcome(c, s, &m.welcome);
	return send_msg(c, &m, -1);
}

static int send_slab(struct client *c, uint64_t request)
{
	struct wire_msg m = {
		.type = WIRE_LEASED, .request = request, .leased.access = access_of(c)};
	const struct slab *slab;
	int rc = tenant_draw(&c->session->tenant, &slab, &m.leased.slab);

	if (!rc && c->verbs)
		rc = nic_lease(c, slab, &m.leased);
	if (rc) {
		log_error("can't lease name=%s %s: %s", c->name, c->who, err_text(rc));
		return client_refuse(c, rc, request, WIRE_ERR_INTERNAL, err_text(rc));
	}
	m.leased.bytes = slab->bytes;
	return send_msg(c, &m, slab->fd);
}

static int on_lease(struct client *c, struct server *s, const struct wire_msg *in)
{
	int rc = 0;

	if (s->drain_deadline_ns)
		return client_refuse(c, -ESHUTDOWN, in->request, WIRE_ERR_DRAINING,
				     "the server is being stopped");
	if (in->lease.nr_slabs > tenant_slabs_left(&c->session->tenant))
		return client_refuse(c, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
				     "more slabs than the HELLO reserved");
	for (uint32_t i = 0; i < in->lease.nr_slabs && !rc; i++)
		rc = send_slab(c, in->request);
	return rc;
}

/*
 * On a socket the process at the other end may be another, since the one before has died and
 * left it the descriptor. It says HELLO as that one did, and gets the same session, and by
 * LEASE the same slabs.
 */
static int on_hello_again(struct client *c, struct server *s, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_WELCOME, .request = in->request};

	if (in->hello.wanted_bytes != c->session->tenant.reserved_bytes)
		return client_refuse(c, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
				     "a second HELLO on one connection, and not the same");
	log_info("client name=%s %s session=%llu goes on in another process", c->name, c->who,
		 (unsigned long long)c->session->id);
	c->has_joined = true;
	c->nr_told = 0;
	fill_welcome(c, s, &m.welcome);
	return send_msg(c, &m, -1);
}

static int tell_slab_again(struct client *c, uint64_t request)
{
	const struct tenant *t = &c->session->tenant;
	struct wire_msg m = {
		.type = WIRE_LEASED, .request = request, .leased.access = access_of(c)};

	if (c->nr_told == t->nr_slabs)
		return -ENOENT;
	m.leased.slab = t->slab[c->nr_told].id;
	m.leased.bytes = t->slab[c->nr_told].bytes;
	return send_msg(c, &m, t->slab[c->nr_told++].fd);
}

/* A connection by RDMA has keys of its own to slabs that were leased before it came. */
static int on_lease_again(struct client *c, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_LEASED, .request = in->request};
	int rc = 0;

	for (uint32_t i = 0; i < in->lease.nr_slabs && !rc; i++) {
		m.leased = (struct wire_leased){.access = WIRE_ACCESS_RDMA};
		rc = c->verbs ? nic_lease_again(c, &m.leased) : tell_slab_again(c, in->request);
		if (rc == -ENOENT)
			return client_refuse(c, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
					     "more slabs than were leased before");
		if (!c->verbs)
			continue;
		rc = rc ? client_refuse(c, rc, in->request, WIRE_ERR_INTERNAL, err_text(rc))
			: send_msg(c, &m, -1);
	}
	return rc;
}

static int on_status(struct client *c, struct server *s, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_STATUS_REPLY,
			     .request = in->request,
			     .status_reply = {.capacity_bytes = s->bank.capacity_bytes,
					      .reserved_bytes = s->bank.reserved_bytes,
					      .leased_bytes = s->bank.leased_bytes,
					      .nr_clients = s->nr_clients}};

	return send_msg(c, &m, -1);
}

static int joined(struct client *c, struct session *at, uint64_t which)
{
	struct wire_msg m = {.type = WIRE_JOINED, .request = which};

	session_join(at, c, (unsigned int)which);
	c->has_joined = which == 0;
	c->deadline_ns = 0;
	tcp_set_patience(c->fd, at->patience_s);
	return send_msg(c, &m, -1);
}

void client_succeed(struct client *c)
{
	struct client *heir = c->heir;
	struct session *at = c->session;

	c->heir = NULL;
	if (!heir || !at || heir->peer->state != PEER_OPEN)
		return;
	session_leave_to(c);
	if (joined(heir, at, heir->joins_as))
		log_debug("a client was not told that it may join %s", heir->who);
	peer_go(heir->peer);
}

/*
 * Where the session has that connection already, the process that had it has died: another
 * comes in its place, and not before all is done that the old one may have sent. A write of
 * it that is done later would undo one of the new one.
 */
static int on_join(struct client *c, struct server *s, const struct wire_msg *in)
{
	struct session *at = session_find(s, &in->join, WIRE_ACCESS_MESSAGES);
	struct client *old;

	if (in->request >= SESSION_MAX_MEMBERS)
		return client_refuse(c, -EPROTO, in->request, WIRE_ERR_MALFORMED,
				     "a session has two connections");
	if (!at) {
		log_warn("refused a connection to a session %s", c->who);
		return client_refuse(c, -ESTALE, in->request, WIRE_ERR_STALE, CLIENT_NO_SESSION);
	}
	old = at->member[in->request];
	if (!old)
		return joined(c, at, in->request);
	log_info("a connection is replaced name=%s %s by %s", old->name, old->who, c->who);
	old->heir = c;
	c->is_heir = true;
	c->joins_as = in->request;
	tcp_replace(s, old);
	return 0;
}

/* Pages: the last word on what may be touched. Decoded, it can't be wrapped. */
static int on_run(struct client *c, const struct wire_msg *in)
{
	const struct wire_run *run = &in->run;
	const struct slab *slab = tenant_find(&c->session->tenant, run->slab);
	uint64_t bytes = run->nr_pages * WIRE_PAGE_BYTES;

	if (!slab)
		return client_refuse(c, -ESTALE, in->request, WIRE_ERR_STALE,
				     "this session has no slab of that number (any more)");
	if (run->off_bytes + bytes > slab->bytes)
		return client_refuse(c, -ERANGE, in->request, WIRE_ERR_RANGE,
				     "beyond the end of that slab");
	if (in->type == WIRE_READ)
		peer_send_pages(c->peer, in->request, slab->map + run->off_bytes, run->nr_pages);
	else
		peer_take_pages(c->peer, in->request, slab->map + run->off_bytes, run->nr_pages);
	return 0;
}

static bool said_hello(const struct client *c)
{
	return c->session && c->session->member[0] == c;
}

int client_answer(struct client *c, struct server *s, const struct wire_msg *in)
{
	switch (in->type) {
	case WIRE_HELLO:
		if (said_hello(c) && access_of(c) == WIRE_ACCESS_DESCRIPTOR)
			return on_hello_again(c, s, in);
		return on_hello(c, s, in);
	case WIRE_BYE:
		return -EPIPE;
	case WIRE_JOIN:
		if (!c->session && c->peer && !c->is_heir)
			return on_join(c, s, in);
		break;
	case WIRE_LEASE:
		if (c->session && c->has_joined)
			return on_lease_again(c, in);
		if (said_hello(c))
			return on_lease(c, s, in);
		break;
	case WIRE_STATUS:
		if (said_hello(c))
			return on_status(c, s, in);
		break;
	case WIRE_READ:
	case WIRE_WRITE:
		if (c->session && c->peer)
			return on_run(c, in);
		break;
	default:
		break;
	}
	return client_refuse(c, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
			     c->session ? "this message is not for this connection"
					: "the first message must be HELLO");
}

int client_refuse_undecoded(struct client *c, int rc, uint64_t request)
{
	switch (rc) {
	case -EPROTONOSUPPORT:
		return client_refuse(c, rc, request, WIRE_ERR_VERSION,
				     "this server speaks protocol 1");
	case -EOPNOTSUPP:
		return client_refuse(c, rc, request, WIRE_ERR_TYPE, "a message of unknown type");
	default:
		return client_refuse(c, rc, request, WIRE_ERR_MALFORMED,
				     "not a message of this protocol");
	}
}

int client_serve(struct client *c, struct server *s)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg in;

	for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
		ssize_t n = shm_recv(c->fd, buf, sizeof(buf), NULL);
		int type, rc;

		if (n == -EAGAIN)
			return 0;
		if (n == -EMSGSIZE || n == -EBADMSG)
			return client_refuse_undecoded(c, (int)n, 0);
		if (n < 0)
			return (int)n;
		rc = wire_decode(buf, (size_t)n, &in);
		type = rc ? 0 : in.type;
		rc = rc ? client_refuse_undecoded(c, rc, in.request) : client_answer(c, s, &in);
		server_count(&s->numbers, (enum wire_type)type, rc);
		if (rc)
			return rc;
	}
	return 0;
}
