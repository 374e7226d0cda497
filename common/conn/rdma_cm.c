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
#define REJECT_NOBODY  8  /* no such service: rej_reason of InfiniBand's CM, 12.6.7.2 */
#define REJECT_BY_PEER 28 /* the other program said no */

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
	/* It says how many reads it will have under way. */
	c->status = ev->param.conn.initiator_depth;
	return true;
}

/* That of a verbs_connect(), which has no owner yet, is its own to see. */
static bool on_end(struct verbs_conn *c, const struct rdma_cm_event *ev, struct verbs_event *out)
{
	c->state = c->state == CONN_OPEN ? CONN_OVER : CONN_FAILED;
	c->what = ev->event;
	c->status = ev->status;
	if (ev->event == RDMA_CM_EVENT_REJECTED)
		c->refusal_bytes = take_words(c->refusal, sizeof(c->refusal), &ev->param.conn);
	if (ev->event == RDMA_CM_EVENT_DEVICE_REMOVAL)
		c->why = "the device has gone";
	out->what = VERBS_OVER;
	out->conn = c;
	return c->owner != NULL;
}

/* True when @out was written. */
static bool on_event(const struct rdma_cm_event *ev, struct verbs_event *out)
{
	struct verbs_conn *c = ev->id->context;

	switch (ev->event) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		return on_knock(ev, out);
	case RDMA_CM_EVENT_ADDR_RESOLVED:
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		c->state = CONN_STEP;
		return false;
	case RDMA_CM_EVENT_ESTABLISHED:
		c->state = CONN_OPEN;
		return false;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_REJECTED:
	case RDMA_CM_EVENT_DISCONNECTED:
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
	case RDMA_CM_EVENT_ADDR_CHANGE:
		return c && on_end(c, ev, out);
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

static int say_why_not(const struct verbs_asking *ask, const struct verbs_conn *c, int code)
{
	char name[NET_NAME_MAX_BYTES];

	net_addr_format(name, sizeof(name), ask->to);
	switch (code) {
	case -ENODEV:
	case -EADDRNOTAVAIL:
		return err_set(code,
			       "server %s: no RDMA device here leads there: see rmem doctor; for a "
			       "test: rdma link add rxe0 type rxe netdev eth0",
			       name);
	case -ECONNREFUSED:
		return err_set(code,
			       "server %s: nobody listens there by RDMA: start rmemd --listen "
			       "rdma::%u; one that listens by tcp is tcp:%s",
			       name, ask->to->port, ask->to->host);
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
		return err_set(code, "server %s: can't connect (%s): %s", name,
			       rdma_event_str(c->what), strerror(-code));
	}
}

static int code_of(const struct verbs_conn *c)
{
	if (c->what == RDMA_CM_EVENT_REJECTED)
		return c->status == REJECT_NOBODY || c->status == REJECT_BY_PEER || c->status < 0
			       ? -ECONNREFUSED
			       : -EPROTO;
	if (c->what == RDMA_CM_EVENT_UNREACHABLE)
		return -ETIMEDOUT;
	return c->status < 0 ? c->status : -EIO;
}

/* Until the step that was begun has ended, well or not. */
static int wait_step(struct verbs_host *h, struct verbs_conn *c, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = h->channel->fd, .events = POLLIN};
	struct verbs_event ignored; /* the other connection's end shows when it is used */

	for (;;) {
		uint64_t now = verbs_now_ns();
		int rc = verbs_next(h, &ignored);

		if (rc < 0)
			return rc;
		if (c->state == CONN_FAILED || c->state == CONN_OVER)
			return code_of(c);
		if (c->state != CONN_WAITS)
			return 0;
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		if (!rc && poll(&p, 1, (int)((deadline_ns - now) / 1000000) + 1) < 0 &&
		    errno != EINTR)
			return -errno;
	}
}

static int ms_until(uint64_t deadline_ns)
{
	uint64_t now = verbs_now_ns();

	return deadline_ns > now ? (int)((deadline_ns - now) / 1000000) + 1 : 1;
}

static int find_way(struct verbs_host *h, struct verbs_conn *c, struct sockaddr *to,
		    uint64_t deadline_ns)
{
	uint8_t timeout = ACK_TIMEOUT;
	int rc;

	c->state = CONN_WAITS;
	rc = rdma_resolve_addr(c->id, NULL, to, ms_until(deadline_ns)) ? -errno : 0;
	if (!rc)
		rc = wait_step(h, c, deadline_ns);
	if (rc)
		return rc;
	if (rdma_set_option(c->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
			    sizeof(timeout)))
		c->status = 0; /* iWARP has TCP's time-outs */
	c->state = CONN_WAITS;
	rc = rdma_resolve_route(c->id, ms_until(deadline_ns)) ? -errno : 0;
	return rc ? rc : wait_step(h, c, deadline_ns);
}

static int own_domain(struct verbs_conn *c, struct verbs_conn *beside, unsigned int depth)
{
	struct verbs_domain *d = beside ? beside->domain : NULL;
	int rc;

	if (beside && beside->id->verbs != c->id->verbs)
		return err_set(-EXDEV, "RDMA: two connections to one server go by two devices");
	if (!beside) {
		rc = verbs_domain_open(c->id, &d);
		if (rc)
			return rc;
	}
	rc = verbs_conn_make(c, d, depth);
	if (!beside)
		verbs_domain_put(d); /* the connection has it now */
	return rc;
}

static int go_there(struct verbs_host *h, struct verbs_conn *c, const struct verbs_asking *ask)
{
	struct rdma_conn_param param = {.private_data = ask->words,
					.private_data_len = (uint8_t)ask->words_bytes,
					.responder_resources = (uint8_t)c->domain->nr_reads,
					.initiator_depth = (uint8_t)c->domain->nr_reads,
					.retry_count = NR_RETRIES,
					.rnr_retry_count = NR_RETRIES};

	c->state = CONN_WAITS;
	if (rdma_connect(c->id, &param))
		return -errno;
	return wait_step(h, c, ask->deadline_ns);
}

static int connect_to(struct verbs_host *h, struct verbs_asking *ask, struct sockaddr *to,
		      struct verbs_conn *c)
{
	int rc = find_way(h, c, to, ask->deadline_ns);

	if (rc)
		return say_why_not(ask, c, rc);
	rc = own_domain(c, ask->beside, ask->depth);
	if (rc)
		return rc;
	rc = go_there(h, c, ask);
	ask->refusal_bytes = c->refusal_bytes;
	memcpy(ask->refusal, c->refusal, c->refusal_bytes);
	if (rc == -ECONNREFUSED && c->status == REJECT_BY_PEER)
		return rc;
	return rc ? say_why_not(ask, c, rc) : 0;
}

int verbs_connect(struct verbs_host *h, struct verbs_asking *ask, struct verbs_conn **out)
{
	struct addrinfo *list = NULL;
	struct rdma_cm_id *id;
	struct verbs_conn *c;
	int rc = net_resolve(ask->to, ask->deadline_ns, &list);

	assert(ask->words_bytes <= VERBS_KNOCK_BYTES);
	ask->refusal_bytes = 0;
	if (rc)
		return rc;
	if (rdma_create_id(h->channel, &id, NULL, RDMA_PS_TCP)) {
		freeaddrinfo(list);
		return err_set(-errno, "RDMA: can't begin a connection: %s", strerror(errno));
	}
	c = conn_new(id);
	rc = c ? connect_to(h, ask, list->ai_addr, c) : err_set(-ENOMEM, "out of memory");
	freeaddrinfo(list);
	if (!rc)
		*out = c;
	else if (c)
		verbs_close(c);
	else
		rdma_destroy_id(id);
	return rc;
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

int verbs_admit(struct verbs_conn *c, struct verbs_conn *beside)
{
	struct rdma_conn_param param = {.rnr_retry_count = NR_RETRIES};
	int rc = own_domain(c, beside, 0);

	if (rc)
		return rc;
	/* As many reads at once as it asked for, if this device can. */
	param.responder_resources =
		(uint8_t)(c->status < (int)c->domain->nr_reads ? c->status
							       : (int)c->domain->nr_reads);
	param.initiator_depth = param.responder_resources;
	c->state = CONN_WAITS;
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
