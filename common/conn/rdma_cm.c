/* SPDX-License-Identifier: Apache-2.0 */
/* Connections by rdma_cm: asked for, let in, ended. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/conn/rdma_parts.h"

#define BACKLOG	       128
#define REJECT_NOBODY  8	     /* no such service: rej_reason of InfiniBand's CM, 12.6.7.2 */
#define REJECT_BY_PEER 28	     /* the other program said no */
#define STEP_MS	       2000	     /* for what is asked of this machine's kernel */
#define TRY_NS	       2500000000ULL /* the kernel would ask again after 4.3 s, who is lost once */

/* ---- host ---- */

int verbs_host_open(struct verbs_host **out)
{
	struct verbs_host *h = calloc(1, sizeof(*h));
	int flags;

	if (!h)
		return err_set(-ENOMEM, "out of memory");
	h->channel = rdma_create_event_channel();
	if (!h->channel) {
		free(h);
		return err_set(-ENODEV,
			       "this machine has no RDMA: modprobe rdma_ucm, and where there is no "
			       "such card: modprobe rdma_rxe; rdma link add rxe0 type rxe netdev "
			       "eth0");
	}
	flags = fcntl(h->channel->fd, F_GETFL);
	if (flags < 0 || fcntl(h->channel->fd, F_SETFL, flags | O_NONBLOCK)) {
		verbs_host_close(h);
		return err_set(-errno, "RDMA: %s", strerror(errno));
	}
	*out = h;
	return 0;
}

int verbs_host_fd(const struct verbs_host *h)
{
	return h->channel->fd;
}

void verbs_host_close(struct verbs_host *h)
{
	if (!h)
		return;
	rdma_destroy_event_channel(h->channel);
	free(h);
}

/* ---- asking, step by step ---- */

static int say_why_not(const struct net_addr *to, int code, const char *what)
{
	char name[NET_NAME_MAX_BYTES];

	net_addr_format(name, sizeof(name), to);
	switch (code) {
	case -EINVAL: /* siw, of this machine's address that no device has */
	case -ENODEV:
	case -EADDRNOTAVAIL:
		return err_set(-ENODEV,
			       "server %s: no RDMA device here leads there: see rmem doctor; for a "
			       "test: rdma link add rxe0 type rxe netdev eth0",
			       name);
	case -ECONNREFUSED:
		return err_set(code,
			       "server %s: nobody listens there by RDMA: start rmemd --listen "
			       "rdma::%u; one that listens by tcp is tcp:%s",
			       name, to->port, to->host);
	case -ETIMEDOUT:
		return err_set(
			code,
			"server %s did not answer in time: is the address right, and has that "
			"machine an RDMA device?",
			name);
	case -ENETUNREACH:
	case -EHOSTUNREACH:
		return err_set(code,
			       "server %s can't be reached from here: check address and routes",
			       name);
	default:
		return err_set(code, "server %s: can't connect (%s): %s", name, what,
			       strerror(-code));
	}
}

static int own_domain(struct verbs_conn *c, unsigned int depth)
{
	struct verbs_domain *d = c->wanted;
	int rc = 0;

	if (d && d->pd->context != c->id->verbs)
		return err_set(-EXDEV, "RDMA: two connections to one server go by two devices");
	if (!d)
		rc = verbs_domain_open(c->id, &d);
	if (rc)
		return rc;
	c->wanted = NULL;
	rc = verbs_conn_make(c, d, depth);
	verbs_domain_put(d); /* the connection has it now */
	return rc;
}

static int find_route(struct verbs_conn *c)
{
	uint8_t timeout = ACK_TIMEOUT;

	if (rdma_set_option(c->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
			    sizeof(timeout)))
		timeout = 0; /* iWARP has TCP's time-outs */
	if (rdma_resolve_route(c->id, STEP_MS))
		return say_why_not(&c->ask.to, -errno, "no route");
	return 0;
}

static int go_there(struct verbs_conn *c)
{
	struct rdma_conn_param param = {.private_data = c->ask.words,
					.private_data_len = (uint8_t)c->ask.words_bytes,
					.retry_count = NR_RETRIES,
					.rnr_retry_count = NR_RETRIES};
	int rc = own_domain(c, c->ask.depth);

	if (rc)
		return rc;
	param.responder_resources = param.initiator_depth = (uint8_t)c->domain->nr_reads;
	if (rdma_connect(c->id, &param))
		return say_why_not(&c->ask.to, -errno, "can't ask");
	return 0;
}

static int code_of(const struct rdma_cm_event *ev)
{
	switch (ev->event) {
	case RDMA_CM_EVENT_REJECTED:
		return ev->status == REJECT_NOBODY || ev->status == REJECT_BY_PEER || ev->status < 0
			       ? -ECONNREFUSED
			       : -EPROTO;
	case RDMA_CM_EVENT_UNREACHABLE:
		return -ETIMEDOUT;
	default:
		return ev->status < 0 ? ev->status : -EIO;
	}
}

/* ---- events ---- */

static struct verbs_conn *conn_new(struct rdma_cm_id *id)
{
	struct verbs_conn *c = calloc(1, sizeof(*c));

	if (c) {
		c->id = id;
		id->context = c;
	}
	return c;
}

static size_t take_words(uint8_t *to, size_t max, const struct rdma_conn_param *p)
{
	size_t bytes = p->private_data ? p->private_data_len : 0;

	bytes = bytes < max ? bytes : max;
	if (bytes)
		memcpy(to, p->private_data, bytes);
	return bytes;
}

static bool on_knock(const struct rdma_cm_event *ev, struct verbs_event *out)
{
	struct verbs_conn *c = conn_new(ev->id);

	if (!c) {
		rdma_reject(ev->id, NULL, 0);
		return false; /* and the id stays until the channel goes: there is no memory */
	}
	out->what = VERBS_KNOCKS;
	out->conn = c;
	out->words_bytes = take_words(out->words, sizeof(out->words), &ev->param.conn);
	c->nr_reads = ev->param.conn.initiator_depth;
	return true;
}

static bool asked(const struct verbs_conn *c)
{
	return c->ask.to.host[0] != 0;
}

/* @rc of a step, with err text. True when that was the end. */
static bool step_ended(struct verbs_conn *c, int rc, struct verbs_event *out)
{
	if (!rc)
		return false;
	c->state = CONN_FAILED;
	c->code = rc;
	snprintf(c->text, sizeof(c->text), "%s", err_text(rc));
	out->what = VERBS_FAILS;
	out->conn = c;
	return true;
}

static bool on_open(struct verbs_conn *c, struct verbs_event *out)
{
	c->state = CONN_OPEN;
	out->what = VERBS_OPENS;
	out->conn = c;
	return asked(c);
}

static bool on_end(struct verbs_conn *c, const struct rdma_cm_event *ev, struct verbs_event *out)
{
	/* iWARP has but one code for all refusals. */
	if (ev->event == RDMA_CM_EVENT_REJECTED && ev->status != REJECT_NOBODY)
		c->refusal_bytes = take_words(c->refusal, sizeof(c->refusal), &ev->param.conn);
	if (ev->event == RDMA_CM_EVENT_DEVICE_REMOVAL)
		c->why = "the device has gone";
	if (c->state == CONN_COMES && asked(c))
		return step_ended(
			c, say_why_not(&c->ask.to, code_of(ev), rdma_event_str(ev->event)), out);
	if (c->state == CONN_FAILED || c->state == CONN_OVER)
		return false;
	out->was_open = c->state == CONN_OPEN;
	c->state = CONN_OVER;
	out->what = VERBS_OVER;
	out->conn = c;
	return true;
}

/* True when @out was written. */
static bool on_event(const struct rdma_cm_event *ev, struct verbs_event *out)
{
	struct verbs_conn *c = ev->id->context;

	if (ev->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		return on_knock(ev, out);
	if (!c)
		return false;
	switch (ev->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		return step_ended(c, find_route(c), out);
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		return step_ended(c, go_there(c), out);
	case RDMA_CM_EVENT_ESTABLISHED:
		return on_open(c, out);
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_REJECTED:
	case RDMA_CM_EVENT_DISCONNECTED:
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
	case RDMA_CM_EVENT_ADDR_CHANGE:
		return on_end(c, ev, out);
	default:
		return false; /* the time that follows an end */
	}
}

int verbs_next(struct verbs_host *h, struct verbs_event *out)
{
	struct rdma_cm_event *ev;

	while (rdma_get_cm_event(h->channel, &ev) == 0) {
		bool is_told = on_event(ev, out);

		rdma_ack_cm_event(ev);
		if (is_told)
			return 1;
	}
	return errno == EAGAIN ? 0 : -errno;
}

/* ---- asking ---- */

int verbs_failure(const struct verbs_conn *c)
{
	return err_set(c->code, "%s", c->text);
}

size_t verbs_refusal(const struct verbs_conn *c, const uint8_t **words)
{
	*words = c->refusal;
	return c->refusal_bytes;
}

int verbs_ask(struct verbs_host *h, const struct verbs_asking *ask, uint64_t deadline_ns,
	      struct verbs_conn **out)
{
	struct addrinfo *list = NULL;
	struct rdma_cm_id *id;
	struct verbs_conn *c;
	int rc = net_resolve(&ask->to, deadline_ns, &list);

	assert(ask->words_bytes <= VERBS_KNOCK_BYTES && ask->to.host[0]);
	if (rc)
		return rc;
	if (rdma_create_id(h->channel, &id, NULL, RDMA_PS_TCP)) {
		freeaddrinfo(list);
		return err_set(-errno, "RDMA: can't begin a connection: %s", strerror(errno));
	}
	c = conn_new(id);
	if (!c) {
		rdma_destroy_id(id);
		freeaddrinfo(list);
		return err_set(-ENOMEM, "out of memory");
	}
	c->ask = *ask;
	c->wanted = ask->in ? verbs_domain_get(ask->in) : NULL;
	if (rdma_resolve_addr(id, NULL, list->ai_addr, STEP_MS))
		rc = say_why_not(&ask->to, -errno, "no such address");
	freeaddrinfo(list);
	if (rc)
		verbs_close(c);
	else
		*out = c;
	return rc;
}

/* Until @c is decided. Ends of others show again when they are used. */
static int wait_for(struct verbs_host *h, const struct verbs_conn *c, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = h->channel->fd, .events = POLLIN};
	struct verbs_event ev;

	for (;;) {
		uint64_t now = verbs_now_ns();
		int rc = verbs_next(h, &ev);

		if (rc < 0)
			return err_set(rc, "RDMA: %s", strerror(-rc));
		if (c->state == CONN_OPEN)
			return 0;
		if (c->state != CONN_COMES)
			return verbs_failure(c);
		if (now >= deadline_ns)
			return say_why_not(&c->ask.to, -ETIMEDOUT, "");
		if (!rc && poll(&p, 1, (int)((deadline_ns - now) / 1000000) + 1) < 0 &&
		    errno != EINTR)
			return err_set(-errno, "RDMA: %s", strerror(errno));
	}
}

int verbs_connect(struct verbs_host *h, const struct verbs_asking *ask, uint64_t deadline_ns,
		  struct verbs_conn **out)
{
	for (;;) {
		uint64_t soon_ns = verbs_now_ns() + TRY_NS;
		bool is_last = soon_ns >= deadline_ns;
		int rc;

		*out = NULL;
		rc = verbs_ask(h, ask, deadline_ns, out);
		if (!rc)
			rc = wait_for(h, *out, is_last ? deadline_ns : soon_ns);
		if (rc != -ETIMEDOUT || is_last)
			return rc;
		verbs_close(*out);
	}
}

/* ---- letting in ---- */

static int cannot_listen(const struct net_addr *a, int code)
{
	char name[NET_NAME_MAX_BYTES];

	net_addr_format(name, sizeof(name), a);
	if (code == -EADDRINUSE)
		return err_set(code, "%s: somebody listens there already: name another port", name);
	if (code == -ENODEV || code == -EADDRNOTAVAIL)
		return err_set(
			code,
			"%s: no RDMA device of this machine has that address: see rdma link; "
			"for a test: rdma link add rxe0 type rxe netdev eth0",
			name);
	return err_set(code, "%s: can't listen: %s", name, strerror(-code));
}

static int bind_and_listen(struct rdma_cm_id *id, const struct net_addr *a)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
	struct addrinfo *list = NULL;
	int rc = 0;

	if (a->host[0]) {
		rc = net_resolve(a, verbs_now_ns() + 5000000000ULL, &list);
		if (rc)
			return rc;
	}
	if (rdma_bind_addr(id, list ? list->ai_addr : (struct sockaddr *)&any) ||
	    rdma_listen(id, BACKLOG))
		rc = cannot_listen(a, -errno);
	if (list)
		freeaddrinfo(list);
	return rc;
}

int verbs_listen(struct verbs_host *h, struct net_addr *a, struct verbs_listener **out)
{
	struct verbs_listener *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(-ENOMEM, "out of memory");
	if (rdma_create_id(h->channel, &l->id, NULL, RDMA_PS_TCP)) {
		free(l);
		return err_set(-errno, "RDMA: %s", strerror(errno));
	}
	rc = bind_and_listen(l->id, a);
	if (rc) {
		verbs_unlisten(l);
		return rc;
	}
	a->port = ntohs(rdma_get_src_port(l->id));
	*out = l;
	return 0;
}

void verbs_unlisten(struct verbs_listener *l)
{
	rdma_destroy_id(l->id);
	free(l);
}

int verbs_admit(struct verbs_conn *c, struct verbs_domain *d)
{
	struct rdma_conn_param param = {.rnr_retry_count = NR_RETRIES};
	unsigned int nr_reads;
	int rc;

	c->wanted = d ? verbs_domain_get(d) : NULL;
	rc = own_domain(c, 0);
	if (rc)
		return rc;
	nr_reads = c->nr_reads < c->domain->nr_reads ? c->nr_reads : c->domain->nr_reads;
	param.responder_resources = param.initiator_depth = (uint8_t)nr_reads;
	if (rdma_accept(c->id, &param))
		return err_set(-errno, "RDMA device %s: can't accept: %s", c->domain->name,
			       strerror(errno));
	return 0;
}

void verbs_refuse(struct verbs_conn *c, const void *words, size_t bytes)
{
	assert(bytes <= VERBS_REFUSAL_BYTES);
	/* One that does not hear it gives up by itself. */
	if (rdma_reject(c->id, words, (uint8_t)bytes))
		c->state = CONN_OVER;
	verbs_close(c);
}

void verbs_close(struct verbs_conn *c)
{
	if (!c)
		return;
	if (c->state == CONN_OPEN && rdma_disconnect(c->id))
		c->state = CONN_OVER;
	verbs_conn_unmake(c);
	verbs_domain_put(c->wanted);
	rdma_destroy_id(c->id);
	free(c);
}

void verbs_set_owner(struct verbs_conn *c, void *owner)
{
	c->owner = owner;
}

void *verbs_owner(const struct verbs_conn *c)
{
	return c->owner;
}

const char *verbs_peer(const struct verbs_conn *c, char *buf, size_t buf_bytes)
{
	const struct sockaddr *sa = rdma_get_peer_addr(c->id);
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	char host[INET6_ADDRSTRLEN] = "?";
	bool is_v6 = sa->sa_family == AF_INET6;

	inet_ntop(sa->sa_family, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, host,
		  sizeof(host));
	snprintf(buf, buf_bytes, is_v6 ? "[%s]:%u" : "%s:%u", host,
		 ntohs(is_v6 ? v6->sin6_port : v4->sin_port));
	return buf;
}
