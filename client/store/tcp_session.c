/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/tcp_session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/store/refusal.h"
#include "common/base/err.h"

#define MAGIC_BYTES 4

static int failed(const struct tcp_session *s, int rc)
{
	return refusal_of_failure(s->server, rc);
}

static int send_msg(struct tcp_session *s, enum tcp_lane_name lane, struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	int rc;

	m->request = ++s->next_request;
	rc = tcp_send_until(s->fd[lane], buf, wire_encode(m, buf), s->deadline_ns);
	/* A server that has refused and left: its words are still there to be read. */
	return rc == -EPIPE || !rc ? 0 : failed(s, rc);
}

/* A whole message. One that does not begin like one is told at once, not after the
 * time-out: other servers greet in fewer bytes than a header has. */
static int recv_whole(int fd, uint8_t *buf, uint64_t deadline_ns)
{
	const uint32_t magic = WIRE_MAGIC;
	int len, rc = tcp_recv_until(fd, buf, MAGIC_BYTES, deadline_ns);

	if (rc)
		return rc;
	if (memcmp(buf, &magic, MAGIC_BYTES) != 0)
		return -EBADMSG;
	rc = tcp_recv_until(fd, buf + MAGIC_BYTES, WIRE_HEADER_BYTES - MAGIC_BYTES, deadline_ns);
	if (rc)
		return rc;
	len = wire_length(buf, WIRE_HEADER_BYTES);
	if (len < 0)
		return len;
	rc = tcp_recv_until(fd, buf + WIRE_HEADER_BYTES, (size_t)len - WIRE_HEADER_BYTES,
			    deadline_ns);
	return rc ? rc : len;
}

/* The answer to the last request, which must be of @type. */
static int recv_msg(struct tcp_session *s, enum tcp_lane_name lane, uint16_t type,
		    struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	int rc = recv_whole(s->fd[lane], buf, s->deadline_ns);

	if (rc < 0)
		return failed(s, rc);
	rc = wire_decode(buf, (size_t)rc, m);
	if (!rc && m->type == WIRE_ERROR)
		return refusal_take(s->server, s->wanted_bytes, &m->error);
	if (rc || m->type != type || m->request != s->next_request)
		return failed(s, rc ? rc : -EBADMSG);
	return 0;
}

static int say_hello(struct tcp_session *s)
{
	struct wire_msg m = {.type = WIRE_HELLO,
			     .hello = {.version_min = WIRE_VERSION_MIN,
				       .version_max = WIRE_VERSION_MAX,
				       .access = WIRE_ACCESS_MESSAGES,
				       .patience_s = s->patience_s,
				       .wanted_bytes = s->wanted_bytes,
				       .auth_method = WIRE_AUTH_NONE,
				       .name = "rmem"}};
	int rc = send_msg(s, TCP_URGENT, &m);

	if (!rc)
		rc = recv_msg(s, TCP_URGENT, WIRE_WELCOME, &m);
	if (!rc)
		s->welcome = m.welcome;
	return rc;
}

static void init(struct tcp_session *s, const struct net_addr *a, uint64_t bytes,
		 unsigned int timeout_ms, unsigned int patience_s)
{
	char name[NET_NAME_MAX_BYTES];

	*s = (struct tcp_session){.addr = *a,
				  .fd = {-1, -1},
				  .timeout_ms = timeout_ms,
				  .wanted_bytes = bytes,
				  .patience_s = patience_s,
				  .deadline_ns = tcp_deadline_ns(timeout_ms)};
	snprintf(s->server, sizeof(s->server), "server %s", net_addr_format(name, sizeof(name), a));
}

static int connect_lane(struct tcp_session *s, enum tcp_lane_name lane)
{
	int fd = tcp_connect(&s->addr, s->deadline_ns);

	if (fd < 0)
		return fd;
	s->fd[lane] = fd;
	tcp_set_patience(fd, s->patience_s);
	return 0;
}

int tcp_session_open(struct tcp_session *s, const struct net_addr *a, uint64_t bytes,
		     unsigned int timeout_ms, unsigned int patience_s)
{
	int rc;

	init(s, a, bytes, timeout_ms, patience_s);
	rc = connect_lane(s, TCP_URGENT);
	if (!rc)
		rc = say_hello(s);
	if (rc)
		tcp_session_close(s);
	return rc;
}

static int take_leased(struct tcp_session *s, uint64_t bytes, uint64_t *slab)
{
	struct wire_msg m;
	int rc = recv_msg(s, TCP_URGENT, WIRE_LEASED, &m);

	if (rc)
		return rc;
	if (m.leased.access != WIRE_ACCESS_MESSAGES || m.leased.bytes != bytes)
		return err_set(-EPROTO,
			       "%s leased something else than it promised: is it an rmemd?",
			       s->server);
	*slab = m.leased.slab;
	return 0;
}

static int lease_slabs(struct tcp_session *s)
{
	uint64_t slab_bytes = s->welcome.slab_bytes, left = s->wanted_bytes;
	uint64_t *slab = s->slab;
	int rc = 0;

	while (left && !rc) {
		uint64_t slabs = (left + slab_bytes - 1) / slab_bytes;
		struct wire_msg m = {.type = WIRE_LEASE};

		m.lease.nr_slabs =
			slabs < WIRE_LEASE_MAX_SLABS ? (uint32_t)slabs : WIRE_LEASE_MAX_SLABS;
		s->deadline_ns = tcp_deadline_ns(s->timeout_ms);
		rc = send_msg(s, TCP_URGENT, &m);
		for (uint32_t i = 0; i < m.lease.nr_slabs && !rc; i++) {
			uint64_t bytes = left < slab_bytes ? left : slab_bytes;

			rc = take_leased(s, bytes, slab++);
			left -= bytes;
		}
	}
	return rc;
}

/* As the one of the session's two connections that @lane says. */
static int join(struct tcp_session *s, enum tcp_lane_name lane)
{
	struct wire_msg m = {.type = WIRE_JOIN, .join.session = s->welcome.session};
	int rc;

	memcpy(m.join.token, s->welcome.token, WIRE_TOKEN_BYTES);
	s->deadline_ns = tcp_deadline_ns(s->timeout_ms);
	rc = connect_lane(s, lane);
	s->next_request = (uint64_t)lane - 1; /* the number says which */
	if (!rc)
		rc = send_msg(s, lane, &m);
	return rc ? rc : recv_msg(s, lane, WIRE_JOINED, &m);
}

int tcp_session_lease(struct tcp_session *s)
{
	uint64_t slab_bytes = s->welcome.slab_bytes;
	int rc;

	s->slab = calloc((s->wanted_bytes + slab_bytes - 1) / slab_bytes, sizeof(*s->slab));
	if (!s->slab)
		return err_set(-ENOMEM, "%s: out of memory", s->server);
	rc = lease_slabs(s);
	return rc ? rc : join(s, TCP_BULK);
}

int tcp_session_resume(struct tcp_session *s, const struct net_addr *a, uint64_t bytes,
		       unsigned int timeout_ms, unsigned int patience_s, const struct handed *old)
{
	int rc;

	init(s, a, bytes, timeout_ms, patience_s);
	handed_session(old, &s->welcome);
	rc = join(s, TCP_URGENT);
	if (!rc)
		rc = tcp_session_lease(s);
	if (rc)
		tcp_session_close(s);
	return rc;
}

void tcp_session_hand_over(const struct tcp_session *s, struct handed *now)
{
	handed_set_session(now, &s->welcome);
	for (unsigned int i = 0; i < TCP_NR_LANES; i++)
		handed_add_fd(now, s->fd[i]);
}

void tcp_session_close(struct tcp_session *s)
{
	for (unsigned int i = 0; i < TCP_NR_LANES; i++) {
		if (s->fd[i] >= 0)
			close(s->fd[i]);
		s->fd[i] = -1;
	}
	free(s->slab);
	s->slab = NULL;
}
