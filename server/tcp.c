/* SPDX-License-Identifier: Apache-2.0 */
#include "server/tcp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/conn/shm.h"
#include "common/conn/tcp.h"
#include "common/conn/tcp_ring.h"
#include "server/peer.h"

#define RING_ENTRIES   512
#define EVENTS_AT_ONCE 256
#define LAST_WORDS_MS  1000 /* for a refusal to be read */

int tcp_begin(struct server *s)
{
	int rc = tcp_ring_open(RING_ENTRIES, TCP_WAITS_IN_RING, &s->ring);

	if (!rc)
		tcp_watch(s);
	return rc;
}

void tcp_watch(struct server *s)
{
	tcp_ring_poll(s->ring, s->epoll_fd, s);
}

static void turn_away(int fd, const char *who)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = client_refusal(buf, WIRE_ERR_TOO_MANY_CLIENTS,
				      "this server has its 1024 clients already");

	log_warn("refused a client: too many %s", who);
	if (tcp_send_now(fd, buf, bytes) < 0)
		log_debug("a refusal was not read %s", who);
	tcp_finish(fd);
	close(fd);
}

int tcp_admit(struct server *s, int listen_fd)
{
	char from[72], who[80];
	struct client *c;
	int fd = tcp_accept(listen_fd, from, sizeof(from)), rc;

	if (fd < 0)
		return fd;
	snprintf(who, sizeof(who), "from=%s", from);
	if (s->nr_clients >= SERVER_MAX_CLIENTS) {
		turn_away(fd, who);
		s->numbers.refused_clients++;
		return 0;
	}
	rc = client_open(fd, &c);
	if (rc)
		return rc;
	memcpy(c->who, who, sizeof(who));
	c->peer = peer_new(c, s->ring, fd);
	if (!c->peer) {
		client_close(s, c);
		return -ENOMEM;
	}
	server_add(s, c, SERVER_HELLO_TIMEOUT_MS);
	peer_go(c->peer);
	return 0;
}

/* Lets go of what nothing under way needs any more. @c may be gone then. */
static void settle(struct server *s, struct client *c)
{
	if (c->peer->state != PEER_OPEN && peer_is_clear(c->peer)) {
		client_succeed(c);
		session_leave(s, c);
	}
	if (peer_is_over(c->peer))
		server_drop(s, c);
}

void tcp_replace(struct server *s, struct client *old)
{
	peer_cut(old->peer);
	settle(s, old);
}

void tcp_cut_off(struct server *s, struct client *c)
{
	struct client *other = session_other(c);

	peer_cut(c->peer);
	if (other && other->peer->state == PEER_OPEN) {
		peer_cut(other->peer);
		settle(s, other);
	}
	settle(s, c);
}

/* It is told why, before the end of the other connection says it less well. */
static void refused(struct server *s, struct client *c, int rc)
{
	struct client *other = session_other(c);

	log_warn("dropped a client name=%s %s: %s", c->name, c->who, strerror(-rc));
	server_set_deadline(s, c, shm_deadline_ns(LAST_WORDS_MS));
	peer_last_words(c->peer);
	if (!other)
		return;
	peer_go(c->peer);
	if (tcp_ring_flush(s->ring))
		log_debug("a refusal was not sent %s", c->who);
	peer_cut(other->peer);
	settle(s, other);
}

/* Answers what has come; -EPIPE or another -errno when that is the end. */
static int serve(struct server *s, struct client *c)
{
	struct wire_msg in;
	int rc = 0;

	while (!rc) {
		int n = peer_next(c->peer, &in);

		if (!n)
			return 0;
		rc = n < 0 ? client_refuse_undecoded(c, n, in.request) : client_answer(c, s, &in);
		server_count(&s->numbers, (enum wire_type)(n < 0 ? 0 : in.type), rc);
	}
	return rc;
}

static void on_event(struct server *s, const struct tcp_event *ev)
{
	struct peer *p = ev->who;
	struct client *c = p->client;
	int rc = -EPIPE;

	if (peer_event(p, ev))
		rc = p->state == PEER_OPEN && !p->receiving ? serve(s, c) : 0;
	if (rc == -EPIPE) {
		tcp_cut_off(s, c);
		return;
	}
	if (rc)
		refused(s, c, rc);
	peer_go(p);
	settle(s, c);
}

int tcp_run(struct server *s, int timeout_ms, bool *epoll_is_ready)
{
	struct tcp_event ev;
	int rc = tcp_ring_wait(s->ring, timeout_ms);

	for (int i = 0; !rc && i < EVENTS_AT_ONCE && tcp_ring_next(s->ring, &ev); i++) {
		if (ev.what == TCP_READABLE)
			*epoll_is_ready = true;
		else
			on_event(s, &ev);
	}
	return rc;
}
