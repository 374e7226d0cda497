/* SPDX-License-Identifier: Apache-2.0 */
#include "server/rdma.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/conn/rdma.h"
#include "common/conn/shm.h"

#define LAST_WORDS_MS 1000	     /* for a refusal to be read */
#define PROBE_S	      5		     /* clients are asked for a sign of life ... */
#define SILENT_NS     30000000000ULL /* ... and this is the limit, should the device know none */
#define RETURN_MS     30000U /* for a client to come back after its connection broke, at least */
#define EVENTS	      64     /* then the server's other clients have their turn */

struct nic {
	struct verbs_host *host;
	struct verbs_listener *listener[OPTIONS_MAX_LISTEN];
	unsigned int nr_listeners;
	int epoll_fd, timer_fd;
};

static int watch(const struct nic *nic, int fd, void *what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = what};

	return epoll_ctl(nic->epoll_fd, EPOLL_CTL_ADD, fd, &ev)
		       ? err_set(-errno, "can't watch a descriptor: %s", strerror(errno))
		       : 0;
}

/* ---- slabs ---- */

static int share(struct client *c, const struct slab *slab, struct verbs_region *region,
		 struct wire_leased *out)
{
	out->slab = slab->id;
	out->bytes = slab->bytes;
	out->address = (uintptr_t)slab->map;
	return verbs_share(c->verbs, region, &out->key);
}

int nic_lease(struct client *c, const struct slab *slab, struct wire_leased *out)
{
	struct session *session = c->session;
	struct verbs_region **region = &session->region[session->tenant.nr_slabs - 1];
	int rc = verbs_register(verbs_domain(c->verbs), slab->map, slab->bytes, true, region);

	return rc ? rc : share(c, slab, *region, out);
}

int nic_lease_again(struct client *c, struct wire_leased *out)
{
	struct session *session = c->session;
	size_t i = c->nr_told;

	if (i == session->tenant.nr_slabs)
		return -ENOENT;
	c->nr_told++;
	return share(c, &session->tenant.slab[i], session->region[i], out);
}

/* ---- coming ---- */

static void refuse_knock(struct server *s, struct verbs_conn *conn, enum wire_error_code code,
			 const char *text)
{
	uint8_t buf[WIRE_MAX_BYTES];
	char from[72];

	log_warn("refused a client from=%s: %s", verbs_peer(conn, from, sizeof(from)), text);
	s->numbers.refused_clients++;
	verbs_refuse(conn, buf, client_refusal(buf, code, text));
}

/* What a connection is asked for with. Some devices pad it with zeros. */
static int decode_knock(const struct verbs_event *ev, struct wire_msg *out)
{
	int len = wire_length(ev->words, ev->words_bytes);
	int rc = len < 0 ? len : -EBADMSG;

	if (len > 0 && (size_t)len <= ev->words_bytes)
		rc = wire_decode(ev->words, (size_t)len, out);
	return !rc && out->type != WIRE_JOIN ? -EBADMSG : rc;
}

/* The old one can do nothing any more before the new one is let in: no write of it comes
 * late. */
static void replace(struct server *s, struct client *old)
{
	session_leave_to(old);
	server_drop(s, old);
}

/* @at: the session that it joins, or NULL. */
static int admit(struct server *s, struct verbs_conn *conn, struct session *at, unsigned int which)
{
	struct client *c;
	char from[72];
	int rc = client_open(-1, &c);

	if (rc) {
		verbs_close(conn);
		return rc;
	}
	c->verbs = conn;
	snprintf(c->who, sizeof(c->who), "from=%s", verbs_peer(conn, from, sizeof(from)));
	verbs_set_owner(conn, c);
	rc = verbs_admit(conn, at ? at->domain : NULL);
	if (!rc && !at)
		rc = watch(s->nic, verbs_domain_fd(verbs_domain(conn)), verbs_domain(conn));
	if (rc) {
		client_close(s, c);
		return rc;
	}
	c->has_joined = at != NULL;
	if (at)
		session_join(at, c, which);
	server_add(s, c, at ? 0 : SERVER_HELLO_TIMEOUT_MS);
	log_debug("a connection by RDMA %s device=%s", c->who, verbs_device(verbs_domain(conn)));
	return 0;
}

static int join(struct server *s, struct verbs_conn *conn, struct session *at, uint64_t which)
{
	struct client *old = at->member[which];

	if (old) {
		log_info("a broken connection is replaced name=%s %s", old->name, old->who);
		replace(s, old);
	}
	return admit(s, conn, at, (unsigned int)which);
}

static void on_knock(struct server *s, const struct verbs_event *ev)
{
	struct session *at = NULL;
	struct wire_msg in;
	int rc = decode_knock(ev, &in);

	if (!rc && in.join.session)
		at = session_find(s, &in.join, WIRE_ACCESS_RDMA);
	if (rc == -EPROTONOSUPPORT)
		refuse_knock(s, ev->conn, WIRE_ERR_VERSION, "this server speaks protocol 1");
	else if (rc || in.request >= SESSION_MAX_MEMBERS)
		refuse_knock(s, ev->conn, WIRE_ERR_MALFORMED, "not a client of this protocol");
	else if (in.join.session && !at)
		refuse_knock(s, ev->conn, WIRE_ERR_STALE, CLIENT_NO_SESSION);
	else if (s->nr_clients >= SERVER_MAX_CLIENTS)
		refuse_knock(s, ev->conn, WIRE_ERR_TOO_MANY_CLIENTS,
			     "this server has its 1024 clients already");
	else {
		rc = at ? join(s, ev->conn, at, in.request) : admit(s, ev->conn, NULL, 0);
		if (rc)
			log_warn("a connection by RDMA did not come about: %s", err_text(rc));
	}
}

/* ---- going ---- */

void nic_cut_off(struct server *s, struct client *c)
{
	struct client *other = session_other(c);

	if (other)
		server_drop(s, other);
	server_drop(s, c);
}

/* It is told why, and has a moment to hear it. */
static void refused(struct server *s, struct client *c, int rc)
{
	log_warn("dropped a client name=%s %s: %s", c->name, c->who, strerror(-rc));
	c->is_refused = true;
	server_set_deadline(s, c, shm_deadline_ns(LAST_WORDS_MS));
}

static unsigned int return_ms(const struct session *at)
{
	unsigned int ms = at->patience_s * 1000;

	return ms > RETURN_MS ? ms : RETURN_MS;
}

/* Its machine may be there still, and the way to it come back. */
static void broken(struct server *s, struct client *c, const char *why)
{
	if (c->is_broken)
		return;
	log_warn("a connection broke name=%s %s: %s", c->name, c->who, why);
	c->is_broken = true;
	if (!c->is_refused)
		server_set_deadline(s, c, shm_deadline_ns(c->session ? return_ms(c->session) : 0));
}

static void on_host(struct server *s)
{
	struct verbs_event ev;
	int rc = verbs_next(s->nic->host, &ev);

	if (rc < 0)
		log_error("RDMA: %s", strerror(-rc));
	else if (rc && ev.what == VERBS_KNOCKS)
		on_knock(s, &ev);
	else if (rc && ev.was_open)
		nic_cut_off(s, verbs_owner(ev.conn));
	else if (rc)
		broken(s, verbs_owner(ev.conn), "it did not come about");
}

/* Dead machines say nothing: each client is asked for a sign of life. */
static void on_timer(struct server *s)
{
	uint64_t times;

	if (read(s->nic->timer_fd, &times, sizeof(times)) != sizeof(times))
		return;
	for (struct client *c = s->clients; c; c = c->next) {
		if (!c->verbs || c->is_broken)
			continue;
		if (verbs_silent_ns(c->verbs) > SILENT_NS || verbs_probe(c->verbs))
			broken(s, c, "no sign of life");
	}
}

/* ---- messages ---- */

static int answer(struct server *s, struct client *c, const struct verbs_done *done)
{
	struct wire_msg in;
	int rc = wire_decode(done->words, done->bytes, &in);
	int type = rc ? 0 : in.type;

	rc = rc ? client_refuse_undecoded(c, rc, in.request) : client_answer(c, s, &in);
	server_count(&s->numbers, (enum wire_type)type, rc);
	return rc ? rc : verbs_heard(c->verbs, done->words);
}

/* False when the domain may be gone. */
static bool on_done(struct server *s, const struct verbs_done *done)
{
	struct client *c = verbs_owner(done->conn);
	int rc = 0;

	if (done->res)
		broken(s, c, verbs_why(done->conn));
	else if (!c->is_refused)
		rc = answer(s, c, done);
	if (rc == -EPIPE)
		nic_cut_off(s, c);
	else if (rc)
		refused(s, c, rc);
	return rc != -EPIPE;
}

/* All that had come before it was armed is in one round. */
static void on_domain(struct server *s, struct verbs_domain *d)
{
	struct verbs_done done[VERBS_ROUND];
	unsigned int n;

	verbs_fired(d);
	if (verbs_arm(d))
		log_error("RDMA device %s: can't be waited for", verbs_device(d));
	n = verbs_poll(d, done, VERBS_ROUND);
	for (unsigned int i = 0; i < n; i++)
		if (!on_done(s, &done[i]))
			return;
}

/* One at a time: what the next is about may be gone after it. */
void nic_serve(struct server *s)
{
	struct epoll_event ev;

	for (int i = 0; i < EVENTS && epoll_wait(s->nic->epoll_fd, &ev, 1, 0) > 0; i++) {
		if (ev.data.ptr == s->nic)
			on_host(s);
		else if (ev.data.ptr == &s->nic->timer_fd)
			on_timer(s);
		else
			on_domain(s, ev.data.ptr);
	}
}

/* ---- */

int nic_fd(const struct server *s)
{
	return s->nic->epoll_fd;
}

static int begin(struct server *s)
{
	const struct itimerspec each = {.it_interval.tv_sec = PROBE_S, .it_value.tv_sec = PROBE_S};
	struct nic *nic = calloc(1, sizeof(*nic));
	int rc;

	if (!nic)
		return err_set(-ENOMEM, "out of memory");
	s->nic = nic;
	nic->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	nic->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (nic->epoll_fd < 0 || nic->timer_fd < 0 ||
	    timerfd_settime(nic->timer_fd, 0, &each, NULL))
		return err_set(-errno, "can't set up: %s", strerror(errno));
	rc = verbs_host_open(&nic->host);
	if (!rc)
		rc = watch(nic, verbs_host_fd(nic->host), nic);
	return rc ? rc : watch(nic, nic->timer_fd, &nic->timer_fd);
}

int nic_listen(struct server *s, struct net_addr *a)
{
	int rc = s->nic ? 0 : begin(s);

	if (!rc)
		rc = verbs_listen(s->nic->host, a, &s->nic->listener[s->nic->nr_listeners]);
	if (!rc)
		s->nic->nr_listeners++;
	return rc;
}

void nic_unlisten(struct server *s)
{
	while (s->nic && s->nic->nr_listeners)
		verbs_unlisten(s->nic->listener[--s->nic->nr_listeners]);
}

void nic_end(struct server *s)
{
	if (!s->nic)
		return;
	nic_unlisten(s);
	verbs_host_close(s->nic->host);
	if (s->nic->timer_fd >= 0)
		close(s->nic->timer_fd);
	if (s->nic->epoll_fd >= 0)
		close(s->nic->epoll_fd);
	free(s->nic);
}
