/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/rdma_session.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/store/refusal.h"
#include "common/base/err.h"
#include "common/conn/tcp.h"

#define QUIET_MS 200

static_assert(WIRE_JOIN_BYTES <= VERBS_KNOCK_BYTES, "a JOIN fits the asking for a connection");
static_assert(WIRE_MAX_BYTES <= VERBS_MESSAGE_BYTES, "a message of ours is one of theirs");

/* ---- loss ---- */

int rdma_loss(const struct rdma_session *s, const struct verbs_done *done)
{
	struct wire_msg m;

	if (!done->res && wire_decode(done->words, done->bytes, &m) == 0 && m.type == WIRE_ERROR)
		return err_set(-ECONNABORTED, "%s ended the lease: %s", s->server, m.error.text);
	if (!done->res)
		return err_set(-EPIPE, "%s sent what answers no request: is it an rmemd?",
			       s->server);
	if (done->res == -ETIMEDOUT)
		return err_set(-EPIPE, "%s can't be reached any more, and the pages with it",
			       s->server);
	if (done->res == -EACCES || done->res == -EREMOTEIO)
		return err_set(-EPIPE, "%s has taken the lease back, and the pages with it (%s)",
			       s->server, verbs_why(done->conn));
	if (done->res == -ECANCELED)
		return err_set(-EPIPE, "%s is gone, and the pages with it", s->server);
	return err_set(-EPIPE, "%s: the connection failed: %s", s->server, verbs_why(done->conn));
}

/* ---- messages ---- */

static int send_msg(struct rdma_session *s, enum rdma_lane_name lane, struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	int rc;

	m->request = ++s->next_request;
	rc = verbs_say(s->conn[lane], buf, wire_encode(m, buf));
	return rc ? refusal_of_failure(s->server, rc) : 0;
}

/*
 * Until something may have come on @lane. An iWARP device in software (siw_accept(),
 * drivers/infiniband/sw/siw/siw_cm.c) says yes before it takes over the socket, and what comes
 * in between lies there unseen until more comes: so after some silence more is sent.
 */
static int wait_for_news(struct rdma_session *s, enum rdma_lane_name lane)
{
	struct verbs_domain *d = s->domain;
	struct pollfd p[] = {{.fd = verbs_domain_fd(d), .events = POLLIN},
			     {.fd = verbs_host_fd(s->host), .events = POLLIN}};
	uint64_t now = tcp_deadline_ns(0), ms;
	struct verbs_event ev;
	int nr, rc;

	if (now >= s->deadline_ns)
		return refusal_of_failure(s->server, -ETIMEDOUT);
	ms = (s->deadline_ns - now) / 1000000 + 1;
	nr = poll(p, 2, ms < QUIET_MS ? (int)ms : QUIET_MS);
	if (nr < 0 && errno != EINTR)
		return refusal_of_failure(s->server, -errno);
	rc = nr ? 0 : verbs_probe(s->conn[lane]);
	if (rc && rc != -EAGAIN)
		return refusal_of_failure(s->server, -EPIPE);
	if (p[0].revents)
		verbs_fired(d);
	/* What it said before it left has come before. */
	if (p[1].revents && verbs_next(s->host, &ev) && !p[0].revents)
		return refusal_of_failure(s->server, -EPIPE);
	return 0;
}

static int next_done(struct rdma_session *s, enum rdma_lane_name lane, struct verbs_done *out)
{
	struct verbs_domain *d = s->domain;
	int rc = 0;

	while (!rc && !verbs_poll(d, out, 1)) {
		rc = verbs_arm(d);
		if (rc || verbs_poll(d, out, 1))
			break;
		rc = wait_for_news(s, lane);
	}
	return rc;
}

/* The answer to the last request, which must be of @type. */
static int recv_msg(struct rdma_session *s, enum rdma_lane_name lane, uint16_t type,
		    struct wire_msg *m)
{
	struct verbs_done done;
	int rc = next_done(s, lane, &done);

	if (rc)
		return rc;
	if (done.res)
		return refusal_of_failure(s->server, done.res == -ETIMEDOUT ? done.res : -EPIPE);
	rc = wire_decode(done.words, done.bytes, m);
	if (!rc && m->type == WIRE_ERROR)
		return refusal_take(s->server, s->wanted_bytes, &m->error);
	if (rc || done.conn != s->conn[lane] || m->type != type || m->request != s->next_request)
		return refusal_of_failure(s->server, rc ? rc : -EBADMSG);
	return verbs_heard(done.conn, done.words);
}

/* ---- opening ---- */

bool rdma_session_refused(const struct verbs_conn *c, struct wire_msg *out)
{
	const uint8_t *words;
	size_t bytes = verbs_refusal(c, &words);
	int len = wire_length(words, bytes);

	return len > 0 && (size_t)len <= bytes && wire_decode(words, (size_t)len, out) == 0 &&
	       out->type == WIRE_ERROR;
}

struct verbs_asking rdma_session_asking(const struct rdma_session *s, enum rdma_lane_name lane)
{
	struct wire_msg m = {
		.type = WIRE_JOIN, .request = lane, .join.session = s->welcome.session};
	struct verbs_asking ask = {
		.to = s->addr,
		.in = s->domain,
		.depth = lane == RDMA_URGENT ? RDMA_URGENT_DEPTH : RDMA_BULK_DEPTH,
	};
	uint8_t buf[WIRE_MAX_BYTES];

	memcpy(m.join.token, s->welcome.token, WIRE_TOKEN_BYTES);
	ask.words_bytes = wire_encode(&m, buf);
	memcpy(ask.words, buf, ask.words_bytes);
	return ask;
}

static int connect_lane(struct rdma_session *s, enum rdma_lane_name lane)
{
	struct verbs_asking ask = rdma_session_asking(s, lane);
	int rc = verbs_connect(s->host, &ask, s->deadline_ns, &s->conn[lane]);
	struct wire_msg m;

	if (rc && s->conn[lane] && rdma_session_refused(s->conn[lane], &m))
		return refusal_take(s->server, s->wanted_bytes, &m.error);
	if (!rc && !s->domain)
		s->domain = verbs_domain_get(verbs_domain(s->conn[lane]));
	return rc;
}

static int say_hello(struct rdma_session *s)
{
	struct wire_msg m = {.type = WIRE_HELLO,
			     .hello = {.version_min = WIRE_VERSION_MIN,
				       .version_max = WIRE_VERSION_MAX,
				       .access = WIRE_ACCESS_RDMA,
				       .patience_s = s->patience_s,
				       .wanted_bytes = s->wanted_bytes,
				       .auth_method = WIRE_AUTH_NONE,
				       .name = "rmem"}};
	int rc = send_msg(s, RDMA_URGENT, &m);

	if (!rc)
		rc = recv_msg(s, RDMA_URGENT, WIRE_WELCOME, &m);
	if (!rc)
		s->welcome = m.welcome;
	return rc;
}

static int init(struct rdma_session *s, const struct net_addr *a, uint64_t bytes,
		unsigned int timeout_ms, unsigned int patience_s)
{
	char name[NET_NAME_MAX_BYTES];

	*s = (struct rdma_session){.addr = *a,
				   .timeout_ms = timeout_ms,
				   .wanted_bytes = bytes,
				   .patience_s = patience_s,
				   .deadline_ns = tcp_deadline_ns(timeout_ms)};
	snprintf(s->server, sizeof(s->server), "server %s", net_addr_format(name, sizeof(name), a));
	return verbs_host_open(&s->host);
}

int rdma_session_open(struct rdma_session *s, const struct net_addr *a, uint64_t bytes,
		      unsigned int timeout_ms, unsigned int patience_s)
{
	int rc = init(s, a, bytes, timeout_ms, patience_s);

	if (!rc)
		rc = connect_lane(s, RDMA_URGENT);
	if (!rc)
		rc = say_hello(s);
	if (rc)
		rdma_session_close(s);
	return rc;
}

static int take_leased(struct rdma_session *s, enum rdma_lane_name lane, uint64_t bytes,
		       struct rdma_slab *slab)
{
	struct wire_msg m;
	int rc = recv_msg(s, lane, WIRE_LEASED, &m);

	if (rc)
		return rc;
	if (m.leased.access != WIRE_ACCESS_RDMA || m.leased.bytes != bytes ||
	    (lane != RDMA_URGENT && m.leased.address != slab->address))
		return err_set(-EPROTO,
			       "%s leased something else than it promised: is it an rmemd?",
			       s->server);
	slab->address = m.leased.address;
	slab->key[lane] = m.leased.key;
	return 0;
}

/* On the first it makes the leases, on the second it asks for keys to them. */
static int lease_slabs(struct rdma_session *s, enum rdma_lane_name lane)
{
	uint64_t slab_bytes = s->welcome.slab_bytes, left = s->wanted_bytes;
	struct rdma_slab *slab = s->slab;
	int rc = 0;

	while (left && !rc) {
		uint64_t slabs = (left + slab_bytes - 1) / slab_bytes;
		struct wire_msg m = {.type = WIRE_LEASE};

		m.lease.nr_slabs =
			slabs < WIRE_LEASE_MAX_SLABS ? (uint32_t)slabs : WIRE_LEASE_MAX_SLABS;
		s->deadline_ns = tcp_deadline_ns(s->timeout_ms);
		rc = send_msg(s, lane, &m);
		for (uint32_t i = 0; i < m.lease.nr_slabs && !rc; i++) {
			uint64_t bytes = left < slab_bytes ? left : slab_bytes;

			rc = take_leased(s, lane, bytes, slab++);
			left -= bytes;
		}
	}
	return rc;
}

int rdma_session_lease(struct rdma_session *s)
{
	uint64_t slab_bytes = s->welcome.slab_bytes;
	int rc;

	s->slab = calloc((s->wanted_bytes + slab_bytes - 1) / slab_bytes, sizeof(*s->slab));
	if (!s->slab)
		return err_set(-ENOMEM, "%s: out of memory", s->server);
	rc = lease_slabs(s, RDMA_URGENT);
	s->deadline_ns = tcp_deadline_ns(s->timeout_ms);
	if (!rc)
		rc = connect_lane(s, RDMA_BULK);
	return rc ? rc : lease_slabs(s, RDMA_BULK);
}

int rdma_session_resume(struct rdma_session *s, const struct net_addr *a, uint64_t bytes,
			unsigned int timeout_ms, unsigned int patience_s, const struct handed *old)
{
	int rc = init(s, a, bytes, timeout_ms, patience_s);

	handed_session(old, &s->welcome);
	if (!rc)
		rc = connect_lane(s, RDMA_URGENT);
	if (!rc)
		rc = rdma_session_lease(s);
	if (rc)
		rdma_session_close(s);
	return rc;
}

void rdma_session_close(struct rdma_session *s)
{
	for (unsigned int i = RDMA_NR_LANES; i--;) {
		verbs_close(s->conn[i]);
		s->conn[i] = NULL;
	}
	verbs_domain_put(s->domain);
	s->domain = NULL;
	verbs_host_close(s->host);
	s->host = NULL;
	free(s->slab);
	s->slab = NULL;
}
